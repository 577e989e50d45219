//! What a client believes, and what an attacker on the link can do to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use phase_core::client::{Candidate, Config, Event};
use phase_core::limits::{CANDIDATES, CANDIDATES_PER_SOURCE, VERIFICATIONS};
use phase_core::machine::{Input, Network};
use phase_core::select::{Refusal, TrustClass};
use phase_core::time::UnixTime;
use phase_core::wire::dns::Type;
use phase_core::wire::record::{Advert, Version};

use crate::lan::{
    Lan, Rec, SUBTYPE, TYPE, V4, V6, advert, at, instance, key, ms, response, signed, signed_url,
    txt_for, txt_of, unsigned,
};

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 66));

/// A client that names the provider of key 1.
fn pinned(config: &mut Config) {
    config.trust.add_word(&key(1).peer_id().to_string()).unwrap();
}

fn text(label: &str, txt: &[u8]) -> Rec {
    Rec::txt(&instance(label), txt, 4500)
}

fn full() -> Vec<Rec> {
    let name = instance("lab");
    let srv = Rec::srv(&name, "lab.local", 120);
    vec![Rec::ptr(SUBTYPE, &name, 4500), Rec::ptr(TYPE, &name, 4500), text("lab", &signed(1)), srv]
}

fn codes(lan: &Lan) -> Vec<&'static str> {
    let code = |c: &Candidate| c.verdict().map_or_else(Refusal::code, |_| "accepted");
    lan.client.candidates().map(code).collect()
}

#[test]
fn the_answer_to_the_first_query_is_accepted_in_the_same_drain() {
    let mut lan = Lan::one_shot();
    lan.up(&V4);
    let query = lan.one_shot_for(SUBTYPE);
    lan.run_for(ms(1));
    lan.reply(&query, HOST, &full());
    let id = lan.accepted();
    let best = lan.client.best().unwrap();
    assert_eq!(best.rtt(), Some(ms(1)));
    assert_eq!(best.url().unwrap().as_str(), "http://192.0.2.9:8080/stable/arm64/manifest.json");
    assert_eq!(lan.client.addresses(id).collect::<Vec<_>>(), [HOST]);
    // Nothing is urgent any more: the questions of the first 120 ms are left out.
    lan.sent.clear();
    lan.run_for(ms(500));
    assert!(lan.sent.is_empty());
}

#[test]
fn a_silent_network_costs_only_the_wakes_of_the_back_off() {
    let mut lan = Lan::one_shot();
    lan.up(&V4);
    let mut wakes = 0;
    while lan.wake.unwrap().at <= at(3600.0) {
        let next = lan.wake.unwrap().at;
        lan.run_until(next);
        wakes += 1;
    }
    assert!(wakes <= 13, "{wakes}");
}

#[test]
fn other_channels_and_architectures_are_no_candidates() {
    let mut lan = Lan::watch();
    lan.up(&V4);
    lan.multicast(&V4, HOST, &[text("a", &unsigned("testing", "arm64"))]);
    lan.multicast(&V4, HOST, &[text("b", &unsigned("stable", "x86_64"))]);
    assert_eq!(lan.client.candidates().count(), 0);
    assert_eq!(lan.client.stats().adverts_not_wanted, 2);
    lan.multicast(&V4, HOST, &[text("c", &unsigned("stable", "aarch64"))]);
    assert_eq!(lan.client.candidates().count(), 1);
}

#[test]
fn an_unsigned_advert_is_shown_and_refused() {
    let mut lan = Lan::watch();
    lan.up(&V4);
    lan.multicast(&V4, HOST, &[text("old mac", &unsigned("stable", "arm64"))]);
    assert_eq!(codes(&lan), ["E-UNSIGNED"]);
    let candidate = lan.client.candidates().next().unwrap();
    assert_eq!(
        candidate.url().unwrap().as_str(),
        "http://192.0.2.9:8080/stable/arm64/manifest.json"
    );
    assert_eq!(candidate.instance(), "old mac");
    assert_eq!(candidate.version(), Some("2025.11.26"));
    assert!(lan.client.best().is_none());
    assert_eq!(lan.events, [Event::Refused(candidate.id())]);

    let mut lan = Lan::with(|config| config.insecure = true);
    lan.up(&V4);
    lan.multicast(&V4, HOST, &[text("old mac", &unsigned("stable", "arm64"))]);
    assert_eq!(lan.client.best().unwrap().verdict().unwrap().class, TrustClass::Unsigned);
}

#[test]
fn an_unreadable_advert_is_shown_and_refused() {
    let mut lan = Lan::watch();
    lan.up(&V4);
    let mut txt = unsigned("stable", "arm64");
    let at = txt.windows(4).position(|w| w == b"http").unwrap();
    txt[at..at + 4].copy_from_slice(b"file");
    lan.multicast(&V4, HOST, &[text("odd", &txt)]);
    assert_eq!(codes(&lan), ["E-URL:scheme"]);
}

#[test]
fn t2_an_advert_moved_from_another_channel_is_refused() {
    let mut lan = Lan::with(pinned);
    lan.up(&V4);
    lan.multicast(&V4, HOST, &[text("lab", &txt_for("testing", &key(1), advert(&key(1), 1)))]);
    assert_eq!(codes(&lan), ["E-SIG"]);
    lan.multicast(&V4, HOST, &[text("lab", &signed(1))]);
    assert_eq!(codes(&lan), ["accepted", "E-SIG"]);
}

#[test]
fn t3_an_older_advert_of_a_signer_is_refused_and_a_newer_one_takes_its_place() {
    let mut lan = Lan::with(pinned);
    lan.up(&V4);
    lan.multicast(&V4, HOST, &[text("lab", &signed(2))]);
    let id = lan.accepted();
    lan.multicast(&V4, ATTACKER, &[text("replay", &signed(1))]);
    assert_eq!(codes(&lan), ["accepted", "E-SEQ"]);
    lan.multicast(&V4, HOST, &[text("lab", &signed(3))]);
    assert_eq!(codes(&lan), ["accepted", "E-SEQ"]);
    assert_eq!(lan.client.best().map(|best| best.id()), Some(id));
    assert_eq!(lan.client.best().unwrap().advert().unwrap().seq, 3);
    assert!(lan.events.contains(&Event::Changed(id)));
    lan.run_until(at(30.0));
    assert!(!lan.is_lost(id), "the text it replaced ends silently");
}

#[test]
fn two_adverts_of_one_seq_are_both_refused() {
    let mut lan = Lan::with(pinned);
    lan.up(&V4);
    lan.multicast(&V4, HOST, &[text("lab", &signed(1))]);
    let other = signed_url(1, "http://192.0.2.10:8080/stable/arm64/manifest.json");
    lan.multicast(&V4, HOST, &[text("twin", &other)]);
    assert_eq!(codes(&lan), ["E-EQUIV", "E-EQUIV"]);
    assert!(lan.client.best().is_none());
}

#[test]
fn an_unsigned_string_added_to_a_signed_advert_changes_nothing() {
    let mut lan = Lan::with(pinned);
    lan.up(&V4);
    lan.multicast(&V4, HOST, &[text("lab", &signed(1))]);
    let id = lan.accepted();
    let mut txt = signed(1);
    txt.extend_from_slice(b"\x05x=bad");
    lan.multicast(&V4, ATTACKER, &[text("lab", &txt)]);
    assert_eq!(lan.accepted(), id);
    assert_eq!(lan.client.candidate(id).unwrap().remote().ip(), HOST);
}

#[test]
fn t7_a_stranger_is_refused_before_any_curve_arithmetic() {
    let mut lan = Lan::with(pinned);
    lan.up(&V4);
    lan.multicast(&V4, ATTACKER, &[text("evil", &txt_of(&key(2), advert(&key(2), 1)))]);
    assert_eq!(codes(&lan), ["E-UNTRUSTED"]);
    assert_eq!(lan.client.stats().verifications, 0);
}

#[test]
fn t8_a_spoofed_goodbye_takes_no_candidate_whose_host_answers() {
    let mut lan = Lan::with(pinned);
    lan.up(&V4);
    lan.multicast(&V4, HOST, &full());
    let id = lan.accepted();
    lan.run_until(at(10.0));
    lan.sent.clear();
    let goodbye: Vec<Rec> = full().into_iter().map(|rec| rec.with_ttl(0)).collect();
    lan.multicast(&V4, ATTACKER, &goodbye);
    lan.run_until(at(10.2));
    let query = lan.sent.iter().find(|sent| sent.asks(&instance("lab"), Type::Txt)).unwrap();
    let query = query.clone();
    lan.reply(&query, HOST, &[Rec::txt(&instance("lab"), &signed(1), 10)]);
    lan.run_until(at(16.0));
    assert!(!lan.is_lost(id));
    lan.multicast(&V4, HOST, &full());
    lan.run_until(at(100.0));
    assert!(!lan.is_lost(id));
}

#[test]
fn t8_a_spoofed_flush_takes_no_candidate_whose_host_answers() {
    let mut lan = Lan::with(pinned);
    lan.up(&V4);
    lan.multicast(&V4, HOST, &full());
    let id = lan.accepted();
    lan.run_until(at(10.0));
    lan.sent.clear();
    lan.multicast(&V4, ATTACKER, &[text("lab", &unsigned("stable", "arm64"))]);
    assert_eq!(codes(&lan), ["accepted", "E-UNSIGNED"]);
    lan.run_until(at(10.5));
    assert!(lan.sent.iter().any(|sent| sent.asks(&instance("lab"), Type::Txt)));
    lan.multicast(&V4, HOST, &[text("lab", &signed(1))]);
    lan.run_until(at(12.0));
    assert!(!lan.is_lost(id));
    lan.multicast(&V4, HOST, &[text("lab", &signed(1))]);
    lan.run_until(at(13.1));
    assert_eq!(codes(&lan), ["accepted"], "the flush of the right one ended the wrong one");
}

#[test]
fn t8_in_one_discovery_a_goodbye_only_lowers_the_rank() {
    let mut lan = Lan::one_shot();
    lan.up(&V4);
    lan.multicast(&V4, HOST, &full());
    let id = lan.accepted();
    let other = txt_of(&key(2), Advert { issued: UnixTime(1), ..advert(&key(2), 1) });
    lan.multicast(&V4, IpAddr::from([192, 0, 2, 10]), &[text("other", &other)]);
    assert_eq!(lan.client.best().map(|best| best.id()), Some(id), "the newest");
    let goodbye: Vec<Rec> = full().into_iter().map(|rec| rec.with_ttl(0)).collect();
    lan.multicast(&V4, HOST, &goodbye);
    lan.run_for(Duration::from_secs(2));
    assert_eq!(codes(&lan), ["accepted", "accepted"]);
    assert_ne!(lan.client.best().map(|best| best.id()), Some(id));
    assert!(lan.client.candidate(id).unwrap().is_demoted());
}

#[test]
fn in_one_discovery_what_lapses_is_neither_lost_nor_ranked_lower() {
    let mut lan = Lan::one_shot();
    lan.up(&V4);
    let query = lan.one_shot_for(SUBTYPE);
    let short: Vec<Rec> = full().into_iter().map(|rec| rec.with_ttl(10)).collect();
    lan.reply(&query, HOST, &short);
    let id = lan.accepted();
    lan.run_until(at(60.0));
    assert_eq!(lan.events, [Event::Accepted(id)]);
    assert!(!lan.client.candidate(id).unwrap().is_demoted());
}

#[test]
fn a_provider_that_stops_is_lost_within_two_seconds() {
    let mut lan = Lan::watch();
    lan.up(&V4);
    lan.up(&V6);
    lan.multicast(&V4, HOST, &full());
    let id = lan.accepted();
    lan.run_until(at(50.0));
    let goodbye: Vec<Rec> = full().into_iter().map(|rec| rec.with_ttl(0)).collect();
    lan.multicast(&V4, HOST, &goodbye);
    lan.multicast(&V6, "fe80::9".parse().unwrap(), &goodbye);
    lan.run_until(at(52.0));
    assert!(lan.is_lost(id));
    assert_eq!(lan.client.candidates().count(), 0);
    assert!(lan.client.candidate(id).is_some(), "told what it was until the next input");
    lan.input(Input::Timeout);
    assert!(lan.client.candidate(id).is_none());
}

#[test]
fn t10_t11_a_hostile_packet_hides_no_good_one() {
    let good = response(0, None, &full());
    for cut in 0..good.len() {
        let mut lan = Lan::watch();
        lan.up(&V4);
        lan.deliver(&V4, std::net::SocketAddr::new(ATTACKER, 5353), &good[..cut]);
        let mut lied = good.clone();
        lied[7] = 0xFF;
        lied[cut] ^= 0xC0;
        lan.deliver(&V4, std::net::SocketAddr::new(ATTACKER, 5353), &lied);
        lan.multicast(&V4, HOST, &full());
        assert!(lan.client.best().is_some(), "cut at {cut}");
    }
}

#[test]
fn a_flood_of_junk_evicts_no_verified_candidate() {
    let mut lan = Lan::with(pinned);
    lan.up(&V4);
    lan.multicast(&V4, HOST, &full());
    let id = lan.client.best().unwrap().id();
    for n in 0..2000_u32 {
        let [.., b, c, d] = n.to_be_bytes();
        let source = IpAddr::from([192, 0, 2, 100 + d % 100]);
        let mut txt = unsigned("stable", "arm64");
        txt.extend_from_slice(&[3, b, c, d]);
        let name = format!("junk {n}");
        lan.multicast(&V4, source, &[Rec::ptr(SUBTYPE, &instance(&name), 4500), text(&name, &txt)]);
        lan.run_for(ms(1));
    }
    assert_eq!(lan.client.candidates().count(), CANDIDATES);
    assert_eq!(lan.client.best().map(|best| best.id()), Some(id));
    // Its records were kept as well: it is still followed.
    let goodbye: Vec<Rec> = full().into_iter().map(|rec| rec.with_ttl(0)).collect();
    lan.multicast(&V4, HOST, &goodbye);
    lan.run_for(Duration::from_secs(2));
    assert!(lan.is_lost(id));
}

#[test]
fn a_flood_before_the_good_answer_does_not_keep_it_out() {
    let mut lan = Lan::with(pinned);
    lan.up(&V4);
    for n in 0..100_u8 {
        // From the address of the good one too.
        let source = if n % 2 == 0 { HOST } else { IpAddr::from([192, 0, 2, 100 + n]) };
        let mut txt = unsigned("stable", "arm64");
        txt.extend_from_slice(&[1, n]);
        lan.multicast(&V4, source, &[text(&format!("junk {n}"), &txt)]);
    }
    lan.multicast(&V4, HOST, &full());
    assert!(lan.client.best().is_some());
}

#[test]
fn one_source_has_at_most_two_candidates_and_one_signer_one() {
    let mut lan = Lan::watch();
    lan.up(&V4);
    for n in 1..20 {
        let txt = txt_of(&key(n), advert(&key(n), 1));
        lan.multicast(&V4, HOST, &[text(&format!("lab {n}"), &txt)]);
    }
    assert_eq!(lan.client.candidates().count(), CANDIDATES_PER_SOURCE);
    for n in 1..20 {
        let source = IpAddr::from([192, 0, 2, 100 + n]);
        lan.multicast(&V4, source, &[text(&format!("again {n}"), &signed(u64::from(n) + 1))]);
    }
    let peer = key(1).peer_id();
    let of_signer = lan.client.candidates().filter(|c| c.peer() == Some(&peer) && c.is_accepted());
    assert_eq!(of_signer.count(), 1);
}

#[test]
fn a_named_provider_makes_room_among_strangers() {
    let mut lan = Lan::with(|config| {
        pinned(config);
        config.insecure = true;
    });
    lan.up(&V4);
    for n in 0..40_u8 {
        let source = IpAddr::from([192, 0, 2, 100 + n]);
        let txt = txt_of(&key(50 + n), advert(&key(50 + n), 1));
        lan.multicast(&V4, source, &[text(&format!("stranger {n}"), &txt)]);
    }
    assert_eq!(codes(&lan), ["accepted"; CANDIDATES]);
    lan.multicast(&V4, HOST, &full());
    let best = lan.client.best().unwrap();
    assert_eq!(best.verdict().unwrap().class, TrustClass::Pinned);
    assert_eq!(lan.client.candidates().count(), CANDIDATES);
    assert_eq!(lan.events.iter().filter(|event| matches!(event, Event::Lost(_))).count(), 1);
}

#[test]
fn t20_forged_signatures_cost_at_most_64_verifications_and_one_source_a_quarter() {
    let forged = |n: u64| {
        let mut txt = txt_of(&key(1), advert(&key(1), n + 10));
        let at = txt.len() - 1;
        txt[at - 40] = if txt[at - 40] == b'A' { b'B' } else { b'A' };
        txt
    };
    let mut lan = Lan::with(|config| {
        pinned(config);
        config.mode = phase_core::client::Mode::OneShot;
    });
    lan.up(&V4);
    for n in 0..100 {
        lan.multicast(&V4, ATTACKER, &[text("forged", &forged(n))]);
    }
    assert_eq!(lan.client.stats().verifications, 16);
    lan.multicast(&V4, HOST, &full());
    assert!(lan.client.best().is_some(), "others are still judged");
    for n in 100..400 {
        let source = IpAddr::from([192, 0, 2, u8::try_from(n % 200).unwrap() + 20]);
        lan.multicast(&V4, source, &[text("forged", &forged(n))]);
    }
    assert_eq!(lan.client.stats().verifications, u64::try_from(VERIFICATIONS).unwrap());
    // The same octets again cost nothing.
    lan.multicast(&V4, HOST, &full());
    assert!(lan.client.best().is_some());
}

#[test]
fn a_watching_client_verifies_again_after_a_minute() {
    let mut lan = Lan::watch();
    lan.up(&V4);
    for n in 0..100_u8 {
        let source = IpAddr::from([192, 0, 2, 100 + n]);
        let txt = txt_of(&key(100 + n), advert(&key(100 + n), 1));
        lan.multicast(&V4, source, &[text(&format!("lab {n}"), &txt)]);
    }
    assert_eq!(lan.client.stats().verifications, u64::try_from(VERIFICATIONS).unwrap());
    lan.run_for(Duration::from_secs(61));
    lan.multicast(&V4, HOST, &full());
    assert_eq!(lan.client.stats().verifications, u64::try_from(VERIFICATIONS).unwrap() + 1);
}

#[test]
fn names_flooded_at_us_make_no_flood_of_questions() {
    let mut lan = Lan::watch();
    lan.up(&V4);
    lan.run_until(at(0.5));
    lan.sent.clear();
    for n in 0..1000_u32 {
        let source = IpAddr::from([192, 0, 2, u8::try_from(n % 200).unwrap() + 20]);
        lan.multicast(&V4, source, &[Rec::ptr(TYPE, &instance(&format!("junk {n}")), 4500)]);
    }
    lan.run_until(at(1.4));
    assert!(lan.sent.len() < 200, "{}", lan.sent.len());
}

const PRIVATE: &[Network] =
    &[Network { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), prefix_len: 24 }];
const LINK_LOCAL: &[Network] =
    &[Network { address: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)), prefix_len: 64 }];

#[test]
fn a_private_address_off_the_link_is_accepted_when_the_link_gets_that_address() {
    let mut lan = Lan::watch();
    let before = V6.with_networks(LINK_LOCAL);
    lan.up(&before);
    let txt = signed_url(1, "http://10.0.0.9:8080/stable/arm64/manifest.json");
    lan.multicast(&before, "fe80::9".parse().unwrap(), &[text("lab", &txt)]);
    assert_eq!(codes(&lan), ["E-POLICY"]);
    lan.up(&V4.with_networks(PRIVATE));
    assert_eq!(codes(&lan), ["accepted"]);
    let id = lan.client.best().unwrap().id();
    assert_eq!(lan.events, [Event::Refused(id), Event::Accepted(id)]);
}

#[test]
fn a_link_local_url_is_accepted_with_its_interface() {
    let mut lan = Lan::watch();
    lan.up(&V6);
    let txt = signed_url(1, "http://[fe80::9]:8080/stable/arm64/manifest.json");
    lan.multicast(&V6, "fe80::9".parse().unwrap(), &[text("lab", &txt)]);
    let id = lan.accepted();
    assert_eq!(lan.client.candidate(id).unwrap().link().unwrap().interface, 2);
}

#[test]
fn a_candidate_on_two_interfaces_survives_the_loss_of_one() {
    let wlan = V4.on_interface(3);
    let mut lan = Lan::watch();
    lan.up(&V4);
    lan.up(&wlan);
    lan.multicast(&V4, HOST, &full());
    lan.multicast(&wlan, HOST, &full());
    let id = lan.accepted();
    lan.input(Input::LinkDown(V4.id));
    assert!(!lan.is_lost(id));
    assert_eq!(lan.client.candidate(id).unwrap().link(), Some(wlan.id));
    lan.input(Input::LinkDown(wlan.id));
    assert!(lan.is_lost(id));
}

#[test]
fn candidates_rank_by_class_then_version_then_time_to_connect() {
    let mut lan = Lan::with(|config| {
        pinned(config);
        config.trust.add_word(&key(2).peer_id().to_string()).unwrap();
        config.insecure = true;
    });
    lan.up(&V4);
    let host = |n| IpAddr::from([192, 0, 2, n]);
    let version = |n: u8, v: &str| {
        let version = Version::new(v).unwrap();
        txt_of(&key(n), Advert { version, ..advert(&key(n), 1) })
    };
    lan.multicast(&V4, host(9), &[text("one", &version(1, "1.2"))]);
    lan.multicast(&V4, host(10), &[text("two", &version(2, "1.10"))]);
    lan.multicast(&V4, host(11), &[text("three", &version(3, "9"))]);
    lan.multicast(&V4, host(12), &[text("four", &version(4, "9"))]);
    let order = |lan: &Lan| -> Vec<String> {
        lan.client.candidates().map(|c| c.instance().to_owned()).collect()
    };
    assert_eq!(order(&lan)[..2], ["two", "one"]);
    let id = |lan: &Lan, name: &str| {
        lan.client.candidates().find(|c| c.instance() == name).unwrap().id()
    };
    let (three, four) = (id(&lan, "three"), id(&lan, "four"));
    lan.client.set_rtt(three, ms(50));
    lan.client.set_rtt(four, ms(1));
    assert_eq!(order(&lan), ["two", "one", "four", "three"]);
    lan.client.set_rtt(three, ms(0));
    lan.client.set_rtt(four, ms(500));
    assert_eq!(order(&lan), ["two", "one", "three", "four"]);
}

#[test]
fn an_advert_is_refused_when_its_time_is_over() {
    let issued = UnixTime(1_764_158_400);
    let mut lan = Lan::with(|config| config.clock = Some(issued.plus(3600 + 300 - 10)));
    lan.up(&V4);
    lan.multicast(&V4, HOST, &full());
    let id = lan.accepted();
    lan.run_until(at(10.0));
    assert!(lan.client.best().is_some());
    lan.run_until(at(11.0));
    assert_eq!(codes(&lan), ["E-EXPIRED"]);
    assert!(lan.events.contains(&Event::Refused(id)));

    // Without a clock it is good for as long as it says, from when it was first seen.
    let mut lan = Lan::one_shot();
    lan.up(&V4);
    lan.multicast(&V4, HOST, &full());
    lan.run_until(at(3900.0));
    assert!(lan.client.best().is_some());
    lan.run_until(at(3902.0));
    assert_eq!(codes(&lan), ["E-EXPIRED"]);
}

#[test]
fn a_link_that_changes_its_address_is_asked_again() {
    let mut lan = Lan::watch();
    lan.up(&V4);
    lan.run_until(at(100.0));
    lan.sent.clear();
    lan.up(&V4);
    assert!(lan.sent.is_empty(), "unchanged");
    lan.up(&V4.with_networks(PRIVATE));
    assert_eq!(lan.sent.len(), 2);
    // A flapping link is asked once a second.
    lan.sent.clear();
    for _ in 0..10 {
        lan.up(&V4);
        lan.up(&V4.with_networks(PRIVATE));
        lan.run_for(ms(10));
    }
    lan.run_for(ms(2000));
    assert!(lan.sent.len() < 10, "{}", lan.sent.len());
}

#[test]
fn links_past_the_bound_are_refused_and_counted() {
    let mut lan = Lan::watch();
    for interface in 1..100 {
        lan.up(&V4.on_interface(interface));
    }
    assert!(lan.client.stats().links_refused > 80);
    lan.run_for(Duration::from_secs(1));
}
