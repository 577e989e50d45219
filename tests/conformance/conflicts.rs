//! 1.F: conflicts after establishment, and our own packets heard again.

use std::time::Duration;

use phase_core::provider::{Event, Name};
use phase_core::wire::dns::Type;
use phase_core::wire::record::Version;
use phase_tests::message::{Data, Packet, Rr};
use phase_tests::scripted::{
    HOST, INSTANCE, LAN, LAN6, OTHER, Script, Sent, config, foreign_srv, image, ms, peer, srv,
};

fn asks_for(sent: &Sent, name: &str) -> bool {
    sent.packet.questions.iter().any(|question| question.name == name)
}

#[test]
fn c1_a_conflicting_record_in_any_section_leads_back_to_probing() {
    let rival = || Packet::response();
    for claim in [
        rival().answer(foreign_srv()),
        rival().authority(foreign_srv()),
        rival().additional(foreign_srv()),
    ] {
        let mut script = Script::<4>::settled(1);
        script.hear(peer(), &claim);
        let start = script.now;
        let sent = script.during(ms(2000));
        assert!(asks_for(&sent[0], INSTANCE) && sent[0].at.since(start) <= ms(250));
        assert_eq!(sent.iter().filter(|one| asks_for(one, INSTANCE)).count(), 3);
        let (.., last) = (&sent[..3], &sent[3]);
        assert_eq!(last.packet.answers_of(INSTANCE, Type::Srv).count(), 1, "nobody denied it");
        assert!(script.events.iter().any(|(_, event)| matches!(event, Event::Conflict(_))));
    }
}

#[test]
fn c1_the_loser_ceases_to_use_the_name_and_takes_the_next() {
    let mut script = Script::<4>::settled(1);
    let claim = Packet::response().answer(foreign_srv());
    script.hear(peer(), &claim);
    assert!(script.ask(peer(), &Packet::query().ask(INSTANCE, Type::Txt)).iter().all(|one| {
        !one.packet.is_response()
            || one.at.since(script.now) == Duration::ZERO
            || one.packet.answers_of(INSTANCE, Type::Txt).count() == 1
    }));
    let mut script = Script::<4>::settled(1);
    script.hear(peer(), &claim);
    script.advance(ms(300));
    script.hear(peer(), &claim);
    script.advance(Duration::from_secs(5));
    script.take();
    assert!(script.ask(peer(), &Packet::query().ask(INSTANCE, Type::Srv)).is_empty());
    let second = "Bob's Mac stable arm64 7YJgL5pV (2)._phase-image._tcp.local";
    assert_eq!(script.ask(peer(), &Packet::query().ask(second, Type::Srv)).len(), 1);
}

#[test]
fn c1_names_are_not_answered_for_while_they_are_probed_again() {
    let mut script = Script::<4>::settled(1);
    script.hear(peer(), &Packet::response().answer(foreign_srv()));
    script.take();
    script.hear(peer(), &Packet::query().ask(INSTANCE, Type::Any));
    script.advance(ms(200));
    assert!(script.take().iter().all(|one| !one.packet.is_response()));
}

#[test]
fn c1_a_type_that_we_do_not_have_is_no_conflict() {
    let mut script = Script::<4>::settled(1);
    let text = Rr::new(HOST, Data::Txt(vec![0])).flush();
    script.hear(peer(), &Packet::response().answer(text));
    assert_eq!(script.provider.stats().conflicts, 0);
}

#[test]
fn c1_a_rivals_goodbye_is_no_conflict() {
    let mut script = Script::<4>::settled(1);
    script.hear(peer(), &Packet::response().answer(foreign_srv().ttl(0)));
    assert_eq!(script.provider.stats().conflicts, 0);
}

#[test]
fn c2_identical_records_are_never_a_conflict() {
    let mut script = Script::<4>::settled(1);
    script.hear(peer(), &Packet::response().answer(srv()));
    let loud = Data::Srv(0, 0, 8080, HOST.to_uppercase());
    let shouted = Rr::new(&INSTANCE.to_uppercase(), loud).flush();
    script.hear(peer(), &Packet::response().answer(shouted));
    assert_eq!(script.provider.stats().conflicts, 0);
}

#[test]
fn c2_our_own_packets_replayed_on_both_links_are_harmless_even_when_stale() {
    let mut script = Script::<4>::new(config(1));
    script.publish(image("stable", "arm64"));
    for link in [LAN, LAN6] {
        script.link_up(link, &["192.0.2.1/24", "fe80::1/64"]);
    }
    let old = script.during(Duration::from_secs(5));
    let version = Version::new("2025.12.01").unwrap();
    script.publish(phase_core::provider::Image { version, ..image("stable", "arm64") });
    script.advance(Duration::from_secs(5));
    script.take();
    for sent in &old {
        for (link, from) in [(LAN, "192.0.2.77:5353"), (LAN6, "[fe80::77]:5353")] {
            script.hear_on(link, from.parse().unwrap(), &sent.octets);
        }
    }
    script.advance(Duration::from_secs(5));
    let stats = script.provider.stats();
    assert_eq!((stats.conflicts, stats.renames), (0, 0));
    assert!(stats.own_heard >= 8);
}

#[test]
fn c3_instances_get_a_number_in_parentheses_and_hosts_one_after_a_hyphen() {
    let mut script = Script::<4>::new(config(1));
    script.publish(image("stable", "arm64"));
    script.link_up(LAN, &["192.0.2.1/24"]);
    script.advance(ms(300));
    let taken = Rr::new(HOST, Data::A([192, 0, 2, 7].into()));
    script.hear(peer(), &Packet::response().answer(foreign_srv()).answer(taken));
    let renamed = script.events.iter().filter_map(|(_, event)| match event {
        Event::Renamed(name) => Some(name.clone()),
        Event::SignatureDue { .. }
        | Event::Announced { .. }
        | Event::Conflict(_)
        | Event::NoName(_)
        | Event::Dht(_)
        | Event::Stopped => None,
    });
    let renamed: Vec<_> = renamed.collect();
    assert!(matches!(&renamed[1], Name::Host { label } if label == "my-mac-2"));
    assert!(matches!(&renamed[0], Name::Instance { label, number: 2, .. }
        if label == "Bob's Mac stable arm64 7YJgL5pV (2)"));
}

#[test]
fn c3_a_number_from_an_earlier_run_is_kept() {
    let mut script = Script::<4>::new(config(1));
    script.provider.publish_numbered(script.now, image("stable", "arm64"), 3).unwrap();
    script.link_up(LAN, &["192.0.2.1/24"]);
    let sent = script.during(ms(300));
    assert!(asks_for(&sent[0], "Bob's Mac stable arm64 7YJgL5pV (3)._phase-image._tcp.local"));
}

#[test]
fn c3_services_follow_a_renamed_host() {
    let mut script = Script::<4>::settled(1);
    let claim = Packet::response().answer(Rr::new(HOST, Data::A([192, 0, 2, 7].into())).flush());
    script.hear(peer(), &claim);
    script.advance(ms(300));
    script.hear(peer(), &claim);
    let sent = script.during(Duration::from_secs(5));
    let followed = Data::Srv(0, 0, 8080, "my-mac-2.local".into());
    let announced: Vec<_> =
        sent.iter().filter(|one| one.packet.answers.iter().any(|rr| rr.data == followed)).collect();
    assert_eq!(announced.len(), 2);
    assert!(announced[0].packet.answers_of("my-mac-2.local", Type::A).count() == 1);
}

#[test]
fn c4_the_address_of_another_interface_of_ours_is_no_conflict() {
    let mut script = Script::<4>::settled(1);
    script.link_up(OTHER, &["198.51.100.1/24"]);
    script.advance(ms(300));
    // While the second one probes, the first one's announcement reaches it, and its probe the first.
    let other = Rr::new(HOST, Data::A([192, 0, 2, 1].into())).flush();
    script.hear_on(
        OTHER,
        "192.0.2.1:5353".parse().unwrap(),
        &Packet::response().answer(other).encode(),
    );
    let probe = script.take().remove(0);
    script.hear_on(LAN, "198.51.100.1:5353".parse().unwrap(), &probe.octets);
    script.advance(Duration::from_secs(5));
    let stats = script.provider.stats();
    assert_eq!((stats.conflicts, stats.ties_lost, stats.renames), (0, 0, 0));
}
