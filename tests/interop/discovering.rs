//! Our client finds what other implementations publish: an unsigned service is shown and refused, a signed one is
//! accepted.

use std::time::{SystemTime, UNIX_EPOCH};

use phase_core::limits::ADVERT_TXT_MAX;
use phase_core::time::UnixTime;
use phase_core::wire::record::{Advert, Version};
use phase_core::wire::url::Url;
use phase_tests::harness::{arch, channel, key};
use phase_tests::netns::{Host, Lan};
use phase_tests::peers::{Peer, Service};
use phase_tests::wire_peer::message::txt_strings;

use crate::lab::{KIND, candidates, discovered};

/// The TXT strings of an advert of stable arm64 at `host`, signed now, and the signer's peer id.
fn signed_strings(host: &Host) -> (Vec<String>, String) {
    let key = key(1);
    #[expect(clippy::disallowed_methods, reason = "an advert is signed with the time it is")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let url = format!("http://{}:8080/stable/arm64/manifest.json", host.ipv4);
    let advert = Advert {
        url: Url::parse(&url).unwrap(),
        peer: key.peer_id(),
        name: None,
        issued: UnixTime(now),
        version: Version::new("2026.01.01").unwrap(),
        seq: now,
        ttl: 3600,
        digest: None,
    };
    let signed = advert.sign(&key, &channel("stable"), &arch("arm64")).unwrap();
    let mut buffer = [0; ADVERT_TXT_MAX];
    let raw = signed.encode_txt(&channel("stable"), &arch("arm64"), &mut buffer).unwrap();
    let strings = txt_strings(raw).unwrap();
    let text = strings.into_iter().map(|s| String::from_utf8(s).unwrap()).collect();
    (text, key.peer_id().to_string())
}

fn service<'a>(txt: &'a [&'a str]) -> Service<'a> {
    Service { kind: KIND, instance: "lab stable arm64", port: 8080, txt }
}

fn check_unsigned_is_refused(peer: Peer) {
    let lan = Lan::of(2).unwrap();
    let txt = [
        "txtvers=1",
        "arch=arm64",
        "channel=stable",
        "manifest=http://10.77.0.1:8080/stable/arm64/manifest.json",
        "version=2026.01.01",
    ];
    let _publisher = peer.publish(lan.host(0), &service(&txt)).unwrap();
    let done = discovered(&lan.host(1).namespace, &["--explain"]);
    assert_eq!(done.code(), 4, "{}{}", done.stdout, done.stderr);
    let all = candidates(&done);
    assert_eq!(all.len(), 1, "{}", done.stdout);
    assert_eq!((&all[0]["accepted"], &all[0]["reason"]), (&false.into(), &"E-UNSIGNED".into()));
    assert_eq!(all[0]["url"], "http://10.77.0.1:8080/stable/arm64/manifest.json");
}

fn check_signed_is_accepted(peer: Peer) {
    let lan = Lan::of(2).unwrap();
    let (strings, signer) = signed_strings(lan.host(0));
    let txt: Vec<&str> = strings.iter().map(String::as_str).collect();
    let _publisher = peer.publish(lan.host(0), &service(&txt)).unwrap();
    let done = discovered(&lan.host(1).namespace, &["--trust", &signer]);
    assert_eq!(done.code(), 0, "{}{}", done.stdout, done.stderr);
    let all = candidates(&done);
    assert_eq!((&all[0]["accepted"], &all[0]["trust"]), (&true.into(), &"pinned".into()));
    assert_eq!(all[0]["peer_id"], signer.as_str());
}

#[test]
fn an_unsigned_service_of_avahi_is_shown_and_refused() {
    check_unsigned_is_refused(Peer::Avahi);
}

#[test]
fn an_unsigned_service_of_mdns_sd_is_shown_and_refused() {
    check_unsigned_is_refused(Peer::MdnsSd);
}

#[test]
fn an_unsigned_service_of_zeroconf_is_shown_and_refused() {
    check_unsigned_is_refused(Peer::Zeroconf);
}

#[test]
fn an_unsigned_service_of_bonjour_is_shown_and_refused() {
    check_unsigned_is_refused(Peer::Bonjour);
}

#[test]
fn a_signed_service_of_avahi_is_accepted() {
    check_signed_is_accepted(Peer::Avahi);
}

#[test]
fn a_signed_service_of_mdns_sd_is_accepted() {
    check_signed_is_accepted(Peer::MdnsSd);
}

#[test]
fn a_signed_service_of_zeroconf_is_accepted() {
    check_signed_is_accepted(Peer::Zeroconf);
}

#[test]
fn a_signed_service_of_bonjour_is_accepted() {
    check_signed_is_accepted(Peer::Bonjour);
}
