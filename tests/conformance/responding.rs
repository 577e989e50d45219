//! 1.E: responding: what is answered, to whom, and what is left out. Delays are in `timing`.

use std::net::SocketAddr;
use std::time::Duration;

use phase_core::mdns::PORT;
use phase_core::wire::dns::{Class, Type};
use phase_tests::message::{Asked, Data, Packet, Rr};
use phase_tests::scripted::{
    HOST, INSTANCE, LAN, LAN6, SERVICES, SUBTYPE, Script, TYPE, config, image, ms, one_shot, peer,
    srv, subtype_ptr, type_ptr,
};

#[test]
fn r1_what_we_do_not_own_meets_silence() {
    let mut script = Script::<4>::settled(1);
    for (name, rtype) in [
        ("rival.local", Type::A),
        ("_http._tcp.local", Type::Ptr),
        ("_x86_64-stable._sub._phase-image._tcp.local", Type::Ptr),
        (TYPE, Type::Srv),
        (SERVICES, Type::Txt),
        (SUBTYPE, Type::A),
    ] {
        let packet = Packet::query().ask(name, rtype);
        assert!(script.ask(peer(), &packet).is_empty(), "{name} {rtype}");
        assert!(script.ask(one_shot(), &packet).is_empty(), "{name} {rtype}");
    }
}

#[test]
fn r2_records_of_others_are_not_answered_for() {
    let mut script = Script::<4>::settled(1);
    let rival = "rival stable arm64 12345678._phase-image._tcp.local";
    let theirs = Rr::new(TYPE, Data::Ptr(rival.into())).ttl(4500);
    script.hear(peer(), &Packet::response().answer(theirs));
    let sent = script.ask(peer(), &Packet::query().ask(TYPE, Type::Ptr));
    assert_eq!(sent[0].packet.answers, [type_ptr()]);
}

#[test]
fn r8_type_any_and_class_any_give_everything() {
    let mut script = Script::<4>::settled(1);
    let sent = script.ask(peer(), &Packet::query().ask(INSTANCE, Type::Any));
    let mut types: Vec<_> = sent[0].packet.answers.iter().map(|rr| rr.data.rtype()).collect();
    types.sort();
    assert_eq!(types, [Type::Txt, Type::Srv]);
    let (name, unicast) = (INSTANCE.into(), false);
    let mut packet = Packet::query();
    packet.questions.push(Asked { name, qtype: Type::Any, qclass: Class::Any, unicast });
    script.advance(ms(2000));
    assert_eq!(script.ask(peer(), &packet)[0].packet.answers.len(), 2);
    let sent = script.ask(peer(), &Packet::query().ask(HOST, Type::Any));
    assert_eq!(sent[0].packet.answers.len(), 2);
    assert_eq!(
        script.ask(peer(), &Packet::query().ask(TYPE, Type::Any))[0].packet.answers,
        [type_ptr()]
    );
}

#[test]
fn r10_a_type_that_our_name_does_not_have_is_denied() {
    let mut script = Script::<4>::new(config(1));
    script.publish(image("stable", "arm64"));
    script.link_up(LAN, &["192.0.2.1/24"]);
    script.advance(Duration::from_secs(10));
    let mut deny = |name: &str, rtype, has: &[u16]| {
        script.advance(ms(2000));
        let sent = script.ask(peer(), &Packet::query().ask(name, rtype));
        let expected = Rr::new(name, Data::Nsec(name.into(), has.to_vec())).flush();
        assert_eq!(sent[0].packet.answers, [expected], "{name} {rtype}");
    };
    deny(HOST, Type::Aaaa, &[1]);
    deny(HOST, Type::Txt, &[1]);
    deny(INSTANCE, Type::A, &[16, 33]);
    deny(INSTANCE, Type::from(65), &[16, 33]);
}

#[test]
fn r11_an_address_brings_the_other_family_or_its_denial() {
    let mut script = Script::<4>::settled(1);
    let sent = script.ask(peer(), &Packet::query().ask(HOST, Type::A));
    let additional: Vec<_> = sent[0].packet.additionals.iter().map(|rr| rr.data.rtype()).collect();
    assert_eq!(additional, [Type::Aaaa]);
    let mut script = Script::<4>::new(config(1));
    script.link_up(LAN, &["192.0.2.1/24"]);
    script.advance(Duration::from_secs(10));
    let sent = script.ask(peer(), &Packet::query().ask(HOST, Type::A));
    let nsec = Rr::new(HOST, Data::Nsec(HOST.into(), vec![1])).flush();
    assert_eq!(sent[0].packet.additionals, [nsec]);
}

#[test]
fn r12_no_link_denies_the_addresses_of_the_other_family() {
    let mut script = Script::<4>::settled(1);
    script.link_up(LAN6, &["192.0.2.1/24", "fe80::1/64"]);
    script.advance(Duration::from_secs(10));
    for (link, remote) in [(LAN, "192.0.2.9:5353"), (LAN6, "[fe80::9]:5353")] {
        for rtype in [Type::A, Type::Aaaa, Type::Any] {
            script.advance(ms(2000));
            script.take();
            script.hear_on(
                link,
                remote.parse().unwrap(),
                &Packet::query().ask(HOST, rtype).encode(),
            );
            let sent = script.take();
            assert!(sent[0].packet.records().all(|rr| rr.data.rtype() != Type::Nsec));
            assert_eq!(sent[0].packet.records().count(), 2);
        }
    }
}

#[test]
fn r13_qu_is_answered_by_unicast_while_the_multicast_is_fresh() {
    let mut script = Script::<4>::settled(1);
    let query = Packet::query().ask(INSTANCE, Type::Srv).unicast();
    let fresh = script.ask(peer(), &query);
    assert_eq!((fresh.len(), fresh[0].transmit.destination), (1, peer()));
    // A quarter of 120 s after the announcement.
    script.advance(Duration::from_secs(30));
    let stale = script.ask(peer(), &query);
    assert_eq!(stale.len(), 1);
    assert!(stale[0].is_multicast());
    let fresh = script.ask(peer(), &query);
    assert!(!fresh[0].is_multicast(), "that multicast made it fresh");
}

#[test]
fn r13_a_repeated_qu_query_gets_the_same_answer_until_a_multicast_is_due_or_something_changes() {
    let mut script = Script::<4>::settled(1);
    let query = Packet::query().ask(INSTANCE, Type::Txt).unicast();
    let other = SocketAddr::from(([192, 0, 2, 77], PORT));
    let first = script.ask(peer(), &query);
    let again = script.ask(other, &query);
    assert_eq!((first.len(), again.len()), (1, 1));
    assert_eq!(again[0].transmit.destination, other);
    assert_eq!(first[0].octets, again[0].octets);
    // Asked with an id all the same: a multicast DNS response has none.
    let mut octets = query.encode();
    octets[..2].copy_from_slice(&[0x12, 0x34]);
    script.hear_on(LAN, peer(), &octets);
    assert_eq!(script.take()[0].octets, first[0].octets);
    // The same octets from another port are another query.
    let legacy = script.ask(one_shot(), &query);
    assert_eq!(legacy[0].packet.questions.len(), 1);

    script.publish(image("testing", "arm64"));
    script.advance(ms(5000));
    script.take();
    let mut changed = image("stable", "arm64");
    changed.version = "2026.1".parse().unwrap();
    script.publish(changed);
    script.advance(ms(5000));
    script.take();
    let after = script.ask(peer(), &query);
    assert_ne!(after[0].packet.answers, first[0].packet.answers);
    assert_eq!(script.ask(other, &query)[0].octets, after[0].octets);

    // A quarter of 4,500 s after the announcement.
    script.advance(ms(1_126_000));
    script.take();
    let sent = script.ask(peer(), &query);
    assert!(sent[0].is_multicast());
}

#[test]
fn r14_a_qu_probe_is_answered_by_unicast_however_old_the_multicast_is() {
    let mut script = Script::<4>::settled(1);
    script.advance(Duration::from_secs(1800));
    let rival = Rr::new(INSTANCE, Data::Srv(0, 0, 1, "rival.local".into()));
    let sent =
        script.ask(peer(), &Packet::query().ask(INSTANCE, Type::Any).authority(rival).unicast());
    assert_eq!((sent.len(), sent[0].transmit.destination), (1, peer()));
}

#[test]
fn r15_qu_responses_keep_flush_bits_and_ttls_and_carry_no_question() {
    let mut script = Script::<4>::settled(1);
    let sent = script.ask(peer(), &Packet::query().ask(INSTANCE, Type::Srv).unicast().id(7));
    assert_eq!(sent[0].packet.answers, [srv()]);
    assert_eq!((sent[0].packet.id, sent[0].packet.questions.len()), (0, 0));
}

#[test]
fn r16_a_legacy_query_is_answered_by_unicast_with_its_id_and_question() {
    let mut script = Script::<4>::settled(1);
    for id in [0x1234, 0xABCD] {
        let query =
            Packet::query().ask("_ARM64-stable._sub._phase-image._tcp.local", Type::Ptr).id(id);
        let sent = script.ask(one_shot(), &query);
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].transmit.destination, one_shot());
        let packet = &sent[0].packet;
        assert_eq!((packet.id, packet.flags), (id, 0x8400));
        assert_eq!(packet.questions, query.questions, "in the querier's own case");
        assert_eq!(packet.answers.len(), 1);
    }
    let elsewhere = SocketAddr::from(([192, 0, 2, 33], 777));
    let sent = script.ask(elsewhere, &Packet::query().ask(HOST, Type::A).id(1));
    assert_eq!(sent[0].transmit.destination, elsewhere);
}

#[test]
fn r16_a_repeated_legacy_query_follows_what_changed() {
    let mut script = Script::<4>::settled(1);
    let query = Packet::query().ask(HOST, Type::A);
    let before = script.ask(one_shot(), &query);
    script.link_up(LAN, &["192.0.2.2/24", "fe80::1/64"]);
    assert!(
        script
            .ask(one_shot(), &query)
            .iter()
            .all(|one| one.is_multicast() || one.at.since(before[0].at) > ms(2250)),
        "not while the name is probed for"
    );
    script.advance(Duration::from_secs(5));
    let after = script.ask(one_shot(), &query);
    assert_eq!(before[0].packet.answers[0].data, Data::A([192, 0, 2, 1].into()));
    assert_eq!(after[0].packet.answers[0].data, Data::A([192, 0, 2, 2].into()));
}

#[test]
fn r17_legacy_responses_have_no_flush_bit() {
    let mut script = Script::<4>::settled(1);
    let sent = script.ask(one_shot(), &Packet::query().ask(INSTANCE, Type::Any));
    assert!(sent[0].packet.records().count() >= 2);
    assert!(sent[0].packet.records().all(|rr| !rr.flush));
}

#[test]
fn r18_legacy_ttls_are_at_most_10() {
    let mut script = Script::<4>::settled(1);
    let sent = script.ask(one_shot(), &Packet::query().ask(SUBTYPE, Type::Ptr));
    assert!(sent[0].packet.records().all(|rr| rr.ttl == 10));
}

/// A query with an OPT record that says how much the querier takes.
fn with_edns0(packet: &Packet, size: u16) -> Vec<u8> {
    let mut octets = packet.encode();
    octets[11] += 1;
    let [high, low] = size.to_be_bytes();
    octets.extend([0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]);
    octets
}

#[test]
fn r19_a_legacy_response_leaves_additional_records_out_first() {
    let mut script = Script::<4>::settled(1);
    let query = Packet::query().ask(SUBTYPE, Type::Ptr);
    let sent = script.ask(one_shot(), &query);
    assert!(sent[0].octets.len() <= 512);
    assert_eq!(sent[0].packet.answers.len(), 1);
    assert_eq!(sent[0].packet.flags, 0x8400, "nothing that was asked for is missing");
    script.hear_on(LAN, one_shot(), &with_edns0(&query, 1440));
    let sent = script.take();
    let mut types: Vec<_> = sent[0].packet.additionals.iter().map(|rr| rr.data.rtype()).collect();
    types.sort();
    assert_eq!(types, [Type::A, Type::Txt, Type::Aaaa, Type::Srv]);
    assert!(sent[0].octets.len() > 512);
}

#[test]
fn r19_a_legacy_response_whose_answers_do_not_fit_is_truncated() {
    let mut script = Script::<32>::new(config(1));
    (0..24).for_each(|n| script.publish(image(&format!("channel-{n}"), "arm64")));
    script.link_up(LAN, &["192.0.2.1/24"]);
    script.advance(Duration::from_secs(10));
    let query = Packet::query().ask(TYPE, Type::Ptr);
    let sent = script.ask(one_shot(), &query);
    assert!(sent[0].octets.len() <= 512);
    assert_eq!(sent[0].packet.flags, 0x8600);
    assert!((8..24).contains(&sent[0].packet.answers.len()));
    script.hear_on(LAN, one_shot(), &with_edns0(&query, 9000));
    let sent = script.take();
    assert!(sent[0].octets.len() <= 1472);
    assert_eq!((sent[0].packet.flags, sent[0].packet.answers.len()), (0x8400, 24));
}

#[test]
fn r20_a_known_answer_with_half_its_life_left_is_not_repeated() {
    let mut script = Script::<4>::settled(1);
    for ttl in [4500, 2251, 2250] {
        let query = Packet::query().ask(TYPE, Type::Ptr).answer(type_ptr().ttl(ttl));
        assert!(script.ask(peer(), &query).is_empty(), "{ttl}");
    }
    let half = Packet::query().ask(INSTANCE, Type::Srv).answer(srv().ttl(60));
    assert!(script.ask(peer(), &half).is_empty());
    assert!(script.ask(peer(), &half.unicast()).is_empty());
}

#[test]
fn r21_a_known_answer_with_less_is_repeated() {
    let mut script = Script::<4>::settled(1);
    for ttl in [2249, 2248, 1, 0] {
        let query = Packet::query().ask(TYPE, Type::Ptr).answer(type_ptr().ttl(ttl));
        assert_eq!(script.ask(peer(), &query).len(), 1, "{ttl}");
    }
    let query = Packet::query().ask(INSTANCE, Type::Srv).answer(srv().ttl(59));
    assert_eq!(script.ask(peer(), &query).len(), 1);
}

#[test]
fn r20_only_what_is_identical_is_known() {
    let mut script = Script::<4>::settled(1);
    let other = Rr::new(TYPE, Data::Ptr(format!("x.{TYPE}"))).ttl(4500);
    assert_eq!(script.ask(peer(), &Packet::query().ask(TYPE, Type::Ptr).answer(other)).len(), 1);
    let query = Packet::query().ask(SUBTYPE, Type::Ptr).answer(type_ptr());
    assert_eq!(script.ask(peer(), &query).len(), 1, "the subtype is another record");
    let query = Packet::query().ask(SUBTYPE, Type::Ptr).answer(subtype_ptr());
    assert!(script.ask(peer(), &query).is_empty());
}

#[test]
fn r23_an_answer_that_another_host_gives_is_dropped() {
    let mut script = Script::<4>::settled(1);
    script.take();
    script.hear(peer(), &Packet::query().ask(TYPE, Type::Ptr));
    script.advance(ms(10));
    script.hear(peer(), &Packet::response().answer(type_ptr()));
    script.advance(ms(1500));
    assert!(script.take().is_empty());
    assert_eq!(script.provider.stats().duplicate_answers_suppressed, 1);
    script.hear(peer(), &Packet::query().ask(TYPE, Type::Ptr));
    script.advance(ms(10));
    script.hear(peer(), &Packet::response().answer(type_ptr().ttl(4499)));
    assert_eq!(script.during(ms(1500)).len(), 1, "a shorter TTL does not replace ours");
}

#[test]
fn r23_an_announcement_is_not_dropped() {
    let mut script = Script::<4>::new(config(1));
    script.publish(image("stable", "arm64"));
    script.link_up(LAN, &["192.0.2.1/24"]);
    script.advance(ms(1200));
    script.hear(peer(), &Packet::response().answer(srv()).answer(type_ptr()));
    let sent = script.during(ms(1500));
    assert_eq!(sent[0].packet.answers_of(INSTANCE, Type::Srv).count(), 1);
}

#[test]
fn r24_an_identical_record_with_less_than_half_our_ttl_is_corrected() {
    let mut script = Script::<4>::settled(1);
    for (record, corrected) in
        [(srv().ttl(10), true), (srv().ttl(59), true), (srv().ttl(60), false), (srv().ttl(0), true)]
    {
        script.advance(ms(2000));
        let ttl = record.ttl;
        let sent = script.ask(peer(), &Packet::response().answer(record));
        assert_eq!(sent.iter().any(|one| one.packet.answers == [srv()]), corrected, "{ttl}");
    }
    let sent = script.ask(peer(), &Packet::response().answer(type_ptr().ttl(10)));
    assert_eq!(sent[0].packet.answers, [type_ptr()], "shared records too");
}

#[test]
fn r25_a_pointer_brings_everything_a_client_asks_next() {
    let mut script = Script::<4>::settled(1);
    for name in [TYPE, SUBTYPE] {
        script.advance(ms(2000));
        let sent = script.ask(peer(), &Packet::query().ask(name, Type::Ptr));
        assert_eq!(sent.len(), 1);
        let mut types: Vec<_> =
            sent[0].packet.additionals.iter().map(|rr| rr.data.rtype()).collect();
        types.sort();
        assert_eq!(types, [Type::A, Type::Txt, Type::Aaaa, Type::Srv]);
    }
}

#[test]
fn r25_a_record_multicast_within_the_last_second_is_not_added_again() {
    let mut script = Script::<4>::settled(1);
    script.hear(peer(), &Packet::query().ask(INSTANCE, Type::Srv));
    let sent = script.ask(peer(), &Packet::query().ask(TYPE, Type::Ptr));
    let types: Vec<_> = sent[0].packet.additionals.iter().map(|rr| rr.data.rtype()).collect();
    assert_eq!(types, [Type::Txt]);
}

#[test]
fn r26_a_service_record_brings_the_addresses() {
    let mut script = Script::<4>::settled(1);
    let sent = script.ask(peer(), &Packet::query().ask(INSTANCE, Type::Srv));
    let types: Vec<_> = sent[0].packet.additionals.iter().map(|rr| rr.data.rtype()).collect();
    assert_eq!(types, [Type::A, Type::Aaaa]);
}

#[test]
fn r27_the_service_type_is_listed_without_subtypes() {
    let mut script = Script::<4>::settled(1);
    let sent = script.ask(peer(), &Packet::query().ask(SERVICES, Type::Ptr));
    let listed = Rr::new(SERVICES, Data::Ptr(TYPE.into())).ttl(4500);
    assert_eq!(sent[0].packet.answers, [listed]);
    let mut empty = Script::<4>::new(config(1));
    empty.link_up(LAN, &["192.0.2.1/24"]);
    empty.advance(Duration::from_secs(5));
    assert!(empty.ask(peer(), &Packet::query().ask(SERVICES, Type::Ptr)).is_empty());
}

#[test]
fn r28_a_subtype_points_to_the_same_instance_and_no_other() {
    let mut script = Script::<4>::settled(1);
    script.publish(image("testing", "arm64"));
    script.advance(Duration::from_secs(5));
    let sent = script.ask(peer(), &Packet::query().ask(SUBTYPE, Type::Ptr));
    assert_eq!(sent[0].packet.answers, [subtype_ptr()]);
    let sent = script.ask(peer(), &Packet::query().ask(TYPE, Type::Ptr));
    assert_eq!(sent[0].packet.answers.len(), 2);
}

#[test]
fn no_record_is_twice_in_a_packet() {
    let mut script = Script::<4>::settled(1);
    let query =
        Packet::query().ask(TYPE, Type::Ptr).ask(SUBTYPE, Type::Any).ask(INSTANCE, Type::Any);
    let query = query.ask(INSTANCE, Type::Srv).ask(HOST, Type::Any).ask(HOST, Type::A);
    for remote in [peer(), one_shot()] {
        for sent in script.ask(remote, &query) {
            let mut records: Vec<_> = sent.packet.records().collect();
            let count = records.len();
            records.sort();
            records.dedup();
            assert_eq!(records.len(), count);
        }
    }
}

#[test]
fn responses_are_never_answered() {
    let mut script = Script::<4>::settled(1);
    let packet = Packet::response().ask(TYPE, Type::Ptr).answer(type_ptr());
    assert!(script.ask(peer(), &packet).is_empty());
    let elsewhere = SocketAddr::from(([192, 0, 2, 33], PORT));
    assert!(script.ask(elsewhere, &packet).is_empty());
}
