//! DNS messages that other implementations sent.
//!
//! Lines `# question:`, `# answer:`, `# authority:` and `# additional:` are what another decoder (dnspython) reads
//! in them. `# reencode: legacy`: the octets come back with legacy-unicast compression; `no`: the other encoder
//! compresses differently, so only the values come back.

use phase_core::wire::dns::{Compression, Message, MessageWriter, Section};

use super::{Vector, files};

fn check(name: &str) {
    let vector = Vector::read("dns", name);
    let message = Message::decode(&vector.octets).expect("a header");
    assert_eq!(lines(&message), expected(&vector), "{name}");

    let rule = vector.value("reencode");
    let same: Vec<_> = [Compression::Multicast, Compression::LegacyUnicast]
        .into_iter()
        .map(|compression| {
            let again = reencode(&message, compression);
            let message = Message::decode(&again).expect("a header");
            assert_eq!(lines(&message), expected(&vector), "{name} written again");
            again == vector.octets
        })
        .collect();
    let expected = match (same[0], same[1]) {
        (true, _) => None,
        (false, true) => Some("legacy"),
        (false, false) => Some("no"),
    };
    assert_eq!(rule, expected, "{name}: `# reencode:` does not say what happens");
}

/// What the vector's head says the message holds.
fn expected(vector: &Vector) -> Vec<String> {
    let keys = ["question", "answer", "authority", "additional"];
    let entries = vector.head.iter().filter(|(key, _)| keys.contains(&key.as_str()));
    entries.map(|(key, value)| format!("{key}: {value}")).collect()
}

/// What this codec reads, in the same form.
fn lines(message: &Message<'_>) -> Vec<String> {
    let mut lines: Vec<_> = message
        .questions()
        .map(|question| format!("question: {}", question.expect("a question")))
        .collect();
    for (section, record) in message.records() {
        let key = match section {
            Section::Question => unreachable!("records are in no question"),
            Section::Answer => "answer",
            Section::Authority => "authority",
            Section::Additional => "additional",
        };
        lines.push(format!("{key}: {}", record.expect("a record")));
    }
    lines
}

fn reencode(message: &Message<'_>, compression: Compression) -> Vec<u8> {
    let mut buffer = vec![0xa5; 9000];
    let mut w = MessageWriter::new(&mut buffer, message.id(), message.flags(), compression);
    for question in message.questions() {
        w.question(&question.expect("a question")).expect("room");
    }
    for (section, record) in message.records() {
        w.record(section, &record.expect("a record")).expect("room");
    }
    let len = w.finish().expect("room");
    buffer.truncate(len);
    buffer
}

/// One test for each file; `every_file_is_checked` finds those that are not listed.
macro_rules! vectors {
    ($($name:ident)+) => {
        $(#[test] fn $name() { check(stringify!($name)); })+

        #[test]
        fn every_file_is_checked() {
            let listed: Vec<String> = [$(stringify!($name)),+].map(str::to_owned).into();
            assert_eq!(files("dns"), listed, "the list in dns.rs, sorted, and the files");
        }
    };
}

vectors! {
    avahi_announcement
    avahi_announcement_2
    avahi_announcement_3
    avahi_announcement_ipv6
    avahi_goodbye
    avahi_goodbye_ipv6
    avahi_legacy_address
    avahi_legacy_any
    avahi_legacy_host_any
    avahi_legacy_ptr
    avahi_legacy_srv
    avahi_legacy_txt
    avahi_probe
    avahi_probe_ipv6
    avahi_qm_address
    avahi_qm_any
    avahi_qm_host_any
    avahi_qm_ptr
    avahi_qm_service_types
    avahi_qm_subtype
    avahi_qm_three_questions
    avahi_qm_txt
    dnspython_nsec_two_windows
    dnspython_query_edns
    dnspython_unknown_types
    mdnssd_announcement
    mdnssd_announcement_ipv6
    mdnssd_goodbye
    mdnssd_goodbye_ipv6
    mdnssd_known_answer
    mdnssd_legacy_address
    mdnssd_legacy_any
    mdnssd_legacy_host_any
    mdnssd_legacy_ptr
    mdnssd_legacy_srv
    mdnssd_legacy_txt
    mdnssd_probe
    mdnssd_qm_address
    mdnssd_qm_any
    mdnssd_qm_host_any
    mdnssd_qm_ptr
    mdnssd_qm_service_types
    mdnssd_qm_srv
    mdnssd_qm_three_questions
    mdnssd_qm_txt
    mdnssd_query
    resolved_announcement
    resolved_announcement_2
    resolved_announcement_ipv6
    resolved_legacy_address
    resolved_legacy_any
    resolved_legacy_host_any
    resolved_legacy_ptr
    resolved_legacy_srv
    resolved_legacy_txt
    resolved_probe
    resolved_probe_ipv6
    resolved_qm_address
    resolved_qm_any
    resolved_qm_ptr
    resolved_qm_service_types
    resolved_qm_srv
    resolved_qm_three_questions
    resolved_qm_txt
    zeroconf_announcement
    zeroconf_announcement_2
    zeroconf_goodbye
    zeroconf_known_answer
    zeroconf_legacy_address
    zeroconf_legacy_any
    zeroconf_legacy_ptr
    zeroconf_legacy_srv
    zeroconf_legacy_txt
    zeroconf_probe
    zeroconf_qm_address
    zeroconf_qm_any
    zeroconf_qm_service_types
    zeroconf_qm_srv
    zeroconf_qm_three_questions
    zeroconf_qm_txt
    zeroconf_qu_ptr
    zeroconf_query
}
