//! 1.B: sockets, addresses, scope, as far as a machine decides them.

use std::net::{IpAddr, SocketAddr};

use phase_core::machine::Port;
use phase_core::mdns::{PORT, group};
use phase_core::wire::dns::Type;
use phase_tests::message::{Data, Packet, Rr};
use phase_tests::scripted::{
    HOST, INSTANCE, LAN, LAN6, OTHER, Script, TYPE, config, foreign_srv, image, ms, one_shot, peer,
};

/// A host beyond a router.
fn off_link(port: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 5], port))
}

#[test]
fn s3_probes_do_not_ask_for_unicast_when_the_port_is_shared() {
    let mut script = Script::<4>::new(config(1));
    script.provider.set_port_shared(true);
    script.link_up(LAN, &["192.0.2.1/24"]);
    let sent = script.during(ms(800));
    assert!(sent[0].packet.questions.iter().all(|question| !question.unicast));
}

#[test]
fn s4_everything_leaves_from_port_5353() {
    let mut script = Script::<4>::settled(1);
    let mut sent = script.ask(peer(), &Packet::query().ask(TYPE, Type::Ptr));
    sent.extend(script.ask(one_shot(), &Packet::query().ask(TYPE, Type::Ptr)));
    sent.extend(script.ask(peer(), &Packet::query().ask(INSTANCE, Type::Srv).unicast()));
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|s| s.transmit.port == Port::Mdns));
}

#[test]
fn s5_responses_from_another_port_do_not_count() {
    let mut script = Script::<4>::settled(1);
    let sent = script.ask(one_shot(), &Packet::response().answer(foreign_srv()));
    assert!(sent.is_empty());
    let stats = script.provider.stats();
    assert_eq!((stats.conflicts, stats.wrong_source_port), (0, 1));
}

#[test]
fn s6_responses_go_to_the_group_of_the_link() {
    let mut script = Script::<4>::settled(1);
    script.link_up(LAN6, &["192.0.2.1/24", "fe80::1/64"]);
    script.advance(ms(5000));
    let v4 = script.ask(peer(), &Packet::query().ask(INSTANCE, Type::Srv));
    assert_eq!(v4[0].transmit.destination, "224.0.0.251:5353".parse().unwrap());
    let remote: SocketAddr = "[fe80::9]:5353".parse().unwrap();
    script.hear_on(LAN6, remote, &Packet::query().ask(INSTANCE, Type::Srv).encode());
    let v6 = script.take();
    assert_eq!(v6[0].transmit.destination, "[ff02::fb]:5353".parse().unwrap());
    assert_eq!(v6[0].transmit.link, LAN6);
}

#[test]
fn s7_an_unsolicited_unicast_response_does_not_count() {
    let mut script = Script::<4>::settled(1);
    script.hear_unicast(peer(), &Packet::response().answer(foreign_srv()));
    let stats = script.provider.stats();
    assert_eq!((stats.conflicts, stats.unsolicited), (0, 1));
}

#[test]
fn s7_a_unicast_response_to_a_probe_counts() {
    let mut script = Script::<4>::new(config(1));
    script.link_up(LAN, &["192.0.2.1/24"]);
    script.advance(ms(300));
    let taken = Rr::new(HOST, Data::A([192, 0, 2, 7].into()));
    script.hear_unicast(peer(), &Packet::response().answer(taken));
    assert_eq!(script.provider.host_label(), "my-mac-2");
}

#[test]
fn s8_unicast_responses_count_from_the_link_only_and_multicast_ones_from_anywhere() {
    let taken = Packet::response().answer(Rr::new(HOST, Data::A([192, 0, 2, 7].into())));
    let mut script = Script::<4>::new(config(1));
    script.link_up(LAN, &["192.0.2.1/24"]);
    script.advance(ms(300));
    script.hear_unicast(off_link(PORT), &taken);
    assert_eq!(script.provider.host_label(), "my-mac");
    script.hear(off_link(PORT), &taken);
    assert_eq!(script.provider.host_label(), "my-mac-2");
}

#[test]
fn s9_a_unicast_query_is_answered_by_unicast() {
    let mut script = Script::<4>::settled(1);
    script.hear_unicast(peer(), &Packet::query().ask(INSTANCE, Type::Srv));
    let sent = script.take();
    assert_eq!(sent[0].transmit.destination, peer());
    assert_eq!(sent[0].packet.answers_of(INSTANCE, Type::Srv).count(), 1);
}

#[test]
fn s10_unicast_queries_from_outside_the_link_are_ignored() {
    let mut script = Script::<4>::settled(1);
    script.take();
    let packet = Packet::query().ask(INSTANCE, Type::Any);
    script.hear_unicast(off_link(PORT), &packet);
    script.hear_unicast(off_link(40_000), &packet);
    script.hear(off_link(40_000), &packet);
    script.advance(ms(1500));
    assert!(script.take().is_empty());
    assert_eq!(script.provider.stats().off_link, 3);
}

#[test]
fn s10_a_response_kept_for_the_link_is_not_given_outside_it() {
    let mut script = Script::<4>::settled(1);
    let packet = Packet::query().ask(INSTANCE, Type::Any);
    assert_eq!(script.ask(one_shot(), &packet).len(), 1);
    assert!(script.ask(off_link(40_000), &packet).is_empty());
}

#[test]
fn s11_a_qu_query_from_another_subnet_is_answered_by_multicast() {
    let mut script = Script::<4>::settled(1);
    let sent = script.ask(off_link(PORT), &Packet::query().ask(INSTANCE, Type::Srv).unicast());
    assert_eq!(sent.len(), 1);
    assert!(sent[0].is_multicast());
}

#[test]
fn s12_each_interface_gives_all_its_own_addresses_and_no_others() {
    let mut script = Script::<4>::settled(1);
    script.link_up(LAN6, &["192.0.2.1/24", "fe80::1/64", "2001:db8::1/64"]);
    script.link_up(LAN, &["192.0.2.1/24", "fe80::1/64", "2001:db8::1/64"]);
    script.link_up(OTHER, &["198.51.100.1/24"]);
    script.advance(ms(5000));
    let query = Packet::query().ask(HOST, Type::Any);
    let addresses = |script: &mut Script<4>, link, remote: &str| {
        script.take();
        script.hear_on(link, remote.parse().unwrap(), &query.encode());
        let packet = script.take().remove(0).packet;
        let mut found: Vec<_> = packet.answers.into_iter().map(|rr| rr.data).collect();
        found.sort();
        found
    };
    let address = |text: &str| Data::address(text.parse::<IpAddr>().unwrap());
    let lan = [address("192.0.2.1"), address("2001:db8::1"), address("fe80::1")];
    assert_eq!(addresses(&mut script, LAN, "192.0.2.9:5353"), lan);
    assert_eq!(addresses(&mut script, LAN6, "[fe80::9]:5353"), lan);
    assert_eq!(addresses(&mut script, OTHER, "198.51.100.9:5353"), [address("198.51.100.1")]);
}

#[test]
fn s13_the_host_name_is_probed_for_and_defended_on_every_link() {
    let mut script = Script::<4>::settled(1);
    script.take();
    script.link_up(OTHER, &["198.51.100.1/24"]);
    let sent = script.during(ms(900));
    let probes: Vec<_> = sent.iter().filter(|s| !s.packet.is_response()).collect();
    assert_eq!(probes.len(), 3);
    assert!(probes.iter().all(|s| s.transmit.link == OTHER));
    let rival = Rr::new(HOST, Data::A([192, 0, 2, 7].into())).flush();
    script.hear(peer(), &Packet::response().answer(rival));
    let sent = script.during(ms(900));
    let probes: Vec<_> = sent.iter().filter(|s| !s.packet.is_response()).collect();
    assert!(!probes.is_empty() && probes.iter().all(|s| s.transmit.link == LAN));
}

#[test]
fn s14_an_interface_with_ipv6_only_is_served() {
    let mut script = Script::<4>::new(config(1));
    script.publish(image("stable", "arm64"));
    script.link_up(LAN6, &["fe80::1/64"]);
    let sent = script.during(ms(3000));
    assert_eq!(sent.len(), 5);
    assert!(sent.iter().all(|s| s.transmit.destination == group(LAN6.family)));
    let text = &sent[4].packet.answers_of(INSTANCE, Type::Txt).next().unwrap().data;
    let Data::Txt(octets) = text else { panic!("{text:?}") };
    let url = b"manifest=http://[fe80::1]:8080/stable/arm64/manifest.json";
    assert!(octets.windows(url.len()).any(|w| w == url));
}

#[test]
fn a_query_on_a_link_that_is_not_up_is_counted_and_dropped() {
    let mut script = Script::<4>::settled(1);
    script.take();
    script.hear_on(OTHER, peer(), &Packet::query().ask(INSTANCE, Type::Srv).encode());
    assert!(script.take().is_empty());
    assert_eq!(script.provider.stats().unknown_link, 1);
}
