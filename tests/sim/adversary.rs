//! What a client must never accept, whoever sends it, whatever else is on the LAN.

use phase_core::client::{Event, Mode};
use phase_core::time::UnixTime;
use phase_core::wire::record::{Advert, ProviderName, Version};
use phase_core::wire::url::Url;
use phase_tests::harness::{
    Conditions, EPOCH, HostId, Network, SegmentId, Station, arch, channel, key,
};
use phase_tests::wire_peer::message::txt;
use phase_tests::wire_peer::{Data, Message, Name, Record};

use crate::{accepted, add_client, add_provider, secs};

/// A LAN with a bystander who lies, provider 1 and a client that trusts provider 1 alone.
fn lan() -> (Network, SegmentId, HostId, HostId) {
    let mut network = Network::new(1);
    let lan = network.segment(Conditions::default());
    let liar = network.host(Station::Bystander(Vec::new()), &[lan]);
    let client = add_client(&mut network, (1000, 1), Mode::Watch, &[lan]);
    (network, lan, liar, client)
}

/// The TXT record data of an advert signed by the key of `number` for `arm64` of a channel.
fn signed(number: u64, signed_for: &str, issued: UnixTime, seq: u64) -> Vec<u8> {
    let advert = Advert {
        url: Url::parse("http://10.0.0.1:8080/stable/arm64/manifest.json").unwrap(),
        peer: key(number).peer_id(),
        name: Some(ProviderName::new("liar").unwrap()),
        issued,
        version: Version::new("9").unwrap(),
        seq,
        ttl: 3600,
        digest: None,
    };
    let signed = advert.sign(&key(number), &channel(signed_for), &arch("arm64")).unwrap();
    let mut buffer = [0; phase_core::limits::ADVERT_TXT_MAX];
    signed.encode_txt(&channel("stable"), &arch("arm64"), &mut buffer).unwrap().to_vec()
}

/// An announcement of an instance with this TXT record.
fn announcement(label: &str, text: Vec<u8>) -> Vec<u8> {
    let service = Name::new("_phase-image._tcp.local");
    let (instance, host) = (service.child(label), Name::new("liar.local"));
    let subtype = Name::new("_arm64-stable._sub._phase-image._tcp.local");
    Message::response(&[
        Record::new(&service, 4500, Data::Ptr(instance.clone())),
        Record::new(&subtype, 4500, Data::Ptr(instance.clone())),
        Record::new(&instance, 120, Data::Srv(0, 0, 8080, host.clone())).flushing(),
        Record::new(&instance, 4500, Data::Txt(text)).flushing(),
        Record::new(&host, 120, Data::A([10, 0, 0, 1].into())).flushing(),
    ])
    .encode()
}

/// The client must see the lie and refuse it with `code`.
fn check_refused(text: &[u8], code: &str) {
    let (mut network, _, liar, client) = lan();
    network.run(secs(1));
    for _ in 0..5 {
        network.inject(liar, &announcement("liar stable arm64", text.to_vec()));
        network.run(secs(2));
    }
    assert_eq!(accepted(&network, client), 0);
    let seen = network.seen(client);
    assert!(!seen.iter().any(|s| matches!(s.event, Event::Accepted(_))), "{seen:?}");
    assert!(seen.iter().any(|s| s.refusal == Some(code)), "{seen:?}");
}

#[test]
fn an_unsigned_advert_is_never_accepted() {
    let text = txt(&[
        "txtvers=1",
        "arch=arm64",
        "channel=stable",
        "manifest=http://10.0.0.1:8080/stable/arm64/manifest.json",
        "version=9",
    ]);
    check_refused(&text, "E-UNSIGNED");
}

#[test]
fn an_advert_of_an_untrusted_signer_is_never_accepted() {
    check_refused(&signed(66, "stable", EPOCH, EPOCH.0), "E-UNTRUSTED");
}

#[test]
fn an_advert_moved_from_another_channel_is_never_accepted() {
    check_refused(&signed(1, "testing", EPOCH, EPOCH.0), "E-SIG");
}

#[test]
fn an_expired_advert_is_never_accepted() {
    check_refused(&signed(1, "stable", UnixTime(EPOCH.0 - 4000), EPOCH.0), "E-EXPIRED");
}

#[test]
fn an_altered_signature_is_never_accepted() {
    let mut text = signed(1, "stable", EPOCH, EPOCH.0);
    let at = text.windows(8).position(|w| w == b"version=").unwrap() + 8;
    text[at] = b'8';
    check_refused(&text, "E-SIG");
}

#[test]
fn an_older_advert_of_a_known_signer_is_refused_and_takes_nothing_away() {
    let (mut network, lan, liar, client) = lan();
    add_provider(&mut network, 1, &[lan]);
    assert!(network.run_until(secs(5), |n| accepted(n, client) == 1));
    let old = signed(1, "stable", UnixTime(EPOCH.0 - 10), EPOCH.0 - 10);
    for _ in 0..5 {
        network.inject(liar, &announcement("liar stable arm64", old.clone()));
        network.run(secs(2));
        assert_eq!(accepted(&network, client), 1);
    }
    let seqs: Vec<_> = network.client_of(client).candidates().filter(|c| c.is_accepted()).collect();
    assert!(seqs.iter().all(|c| c.advert().is_some_and(|a| a.seq >= EPOCH.0)));
    assert!(network.seen(client).iter().any(|s| s.refusal == Some("E-SEQ")));
}

#[test]
fn forged_goodbyes_and_flushes_take_no_live_provider_away() {
    let (mut network, lan, liar, client) = lan();
    let provider = add_provider(&mut network, 1, &[lan]);
    assert!(network.run_until(secs(5), |n| accepted(n, client) == 1));
    network.run(secs(10));
    let label = network
        .with_provider(provider, |_, p| p.adverts().next().map(|a| a.label.as_str().to_owned()));
    let label = label.unwrap();
    let service = Name::new("_phase-image._tcp.local");
    let instance = service.child(&label);
    let goodbye = Message::response(&[
        Record::new(&service, 0, Data::Ptr(instance.clone())),
        Record::new(&instance, 0, Data::Srv(0, 0, 8080, Name::new("lab-1.local"))).flushing(),
    ]);
    let flush = Message::response(&[Record::new(
        &instance,
        4500,
        Data::Txt(txt(&["txtvers=1", "version=0"])),
    )
    .flushing()]);
    for _ in 0..20 {
        network.inject(liar, &goodbye.encode());
        network.inject(liar, &flush.encode());
        network.run(secs(5));
    }
    network.run(secs(10));
    assert!(
        network.client_of(client).candidates().any(|c| c.is_accepted()),
        "{:?}",
        network.seen(client)
    );
}

#[test]
fn a_flood_of_liars_does_not_push_a_trusted_provider_out() {
    let (mut network, lan, liar, client) = lan();
    network.run(secs(1));
    for n in 0..200_u64 {
        let text = signed(100 + n % 40, "stable", EPOCH, EPOCH.0 + n);
        network.inject(liar, &announcement(&format!("liar {n} stable arm64"), text));
    }
    network.run(secs(1));
    add_provider(&mut network, 1, &[lan]);
    assert!(network.run_until(secs(10), |n| accepted(n, client) == 1));
}

#[test]
fn random_octets_change_nothing() {
    let (mut network, lan, liar, client) = lan();
    add_provider(&mut network, 1, &[lan]);
    assert!(network.run_until(secs(5), |n| accepted(n, client) == 1));
    let mut rng = phase_tests::harness::seed(9).stream("octets");
    let whole = announcement("liar stable arm64", signed(66, "stable", EPOCH, EPOCH.0));
    for _ in 0..2000 {
        let mut octets = whole.clone();
        for _ in 0..8 {
            let [a, b, c, ..] = rng.u64().to_be_bytes();
            let at = usize::from(u16::from_be_bytes([a, b])) % octets.len();
            octets[at] = c;
        }
        let [cut, ..] = rng.u64().to_be_bytes();
        octets.truncate(octets.len().saturating_sub(usize::from(cut % 64)));
        network.inject(liar, &octets);
        network.run(std::time::Duration::from_millis(20));
    }
    network.run(secs(10));
    assert_eq!(accepted(&network, client), 1);
    let trusted = key(1).peer_id().to_string();
    let accepted = network.seen(client).iter().filter(|s| matches!(s.event, Event::Accepted(_)));
    assert!(accepted.into_iter().all(|s| s.peer.as_ref() == Some(&trusted)));
}
