//! 1.D: announcing, updating, goodbye.

use std::time::Duration;

use phase_core::provider::Event;
use phase_core::wire::dns::Type;
use phase_core::wire::record::{Arch, Channel, Version};
use phase_tests::message::{Data, Packet, Rr};
use phase_tests::scripted::{
    HOST, INSTANCE, LAN, LAN6, OTHER, SERVICES, SUBTYPE, Script, Sent, TYPE, config, image, ms,
    peer,
};

fn responses(sent: Vec<Sent>) -> Vec<Sent> {
    sent.into_iter().filter(|one| one.packet.is_response()).collect()
}

fn started() -> Vec<Sent> {
    let mut script = Script::<4>::new(config(1));
    script.publish(image("stable", "arm64"));
    script.link_up(LAN, &["192.0.2.1/24", "fe80::1/64"]);
    responses(script.during(Duration::from_secs(20)))
}

#[test]
fn a1_two_announcements_one_second_apart() {
    let sent = started();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1].at.since(sent[0].at), ms(1000));
    assert!(sent.iter().all(Sent::is_multicast));
}

#[test]
fn a2_every_new_record_is_in_the_answer_section() {
    for sent in started() {
        let has = |name, rtype| assert_eq!(sent.packet.answers_of(name, rtype).count(), 1);
        has(HOST, Type::A);
        has(HOST, Type::Aaaa);
        has(INSTANCE, Type::Srv);
        has(INSTANCE, Type::Txt);
        has(TYPE, Type::Ptr);
        has(SUBTYPE, Type::Ptr);
        has(SERVICES, Type::Ptr);
    }
}

#[test]
fn a2_each_packet_has_two_instances_at_most_and_the_addresses_they_are_reached_by() {
    let mut script = Script::<8>::new(config(1));
    for (channel, arch) in [("stable", "arm64"), ("stable", "x86_64"), ("testing", "arm64")] {
        script.publish(image(channel, arch));
    }
    script.publish(image("testing", "x86_64"));
    script.link_up(LAN, &["192.0.2.1/24", "fe80::1/64"]);
    let sent = responses(script.during(Duration::from_secs(20)));
    let times: Vec<_> = sent.iter().map(|one| one.at).collect();
    assert_eq!(sent.len(), 4, "two packets, twice");
    assert!(times[0] == times[1] && times[2] == times[3] && times[2].since(times[0]) == ms(1000));
    for one in &sent {
        let of = |rtype| one.packet.answers.iter().filter(move |rr| rr.data.rtype() == rtype);
        assert_eq!((of(Type::Srv).count(), of(Type::Txt).count()), (2, 2));
        // The type and the subtype point to the instances that are here, and to no other.
        let here: Vec<_> = of(Type::Srv).map(|rr| rr.name.clone()).collect();
        for pointer in of(Type::Ptr).filter(|rr| rr.name != SERVICES) {
            assert!(here.iter().any(|name| pointer.data == Data::Ptr(name.clone())), "{pointer:?}");
        }
        for rtype in [Type::A, Type::Aaaa] {
            let addresses = one.packet.records().filter(|rr| rr.data.rtype() == rtype);
            assert_eq!(addresses.count(), 1, "{rtype}");
        }
        assert!(one.octets.len() <= 1452);
    }
    // Announced, not only added: the first packet of each moment has them as answers.
    for first in [&sent[0], &sent[2]] {
        assert_eq!(first.packet.answers_of(HOST, Type::A).count(), 1);
    }
}

#[test]
fn a2_an_instance_that_comes_a_moment_later_brings_the_addresses_again() {
    let mut script = Script::<4>::new(config(1));
    script.publish(image("stable", "arm64"));
    script.link_up(LAN, &["192.0.2.1/24", "fe80::1/64"]);
    script.advance(ms(300));
    script.publish(image("testing", "arm64"));
    let sent = responses(script.during(Duration::from_secs(20)));
    for one in
        sent.iter().filter(|s| s.packet.answers.iter().any(|rr| rr.data.rtype() == Type::Srv))
    {
        let addresses = one.packet.records().filter(|rr| rr.name == HOST);
        assert_eq!(addresses.count(), 2, "{one:?}");
    }
    let first = sent.iter().position(|s| s.packet.answers_of(HOST, Type::A).count() == 1).unwrap();
    let again =
        sent[first + 1..].iter().filter(|s| s.packet.answers_of(HOST, Type::A).count() == 1);
    assert_eq!(again.count(), 1, "announced twice all the same");
    let services =
        sent.iter().flat_map(|s| &s.packet.answers).filter(|rr| rr.data.rtype() == Type::Srv);
    assert_eq!(services.count(), 4);
}

#[test]
fn a2_instances_of_the_greatest_length_leave_one_by_one_with_the_addresses() {
    let mut script = Script::<8>::new(config(1));
    for channel in ["c", "d", "e"] {
        script.publish(image(&channel.repeat(32), &"a".repeat(16)));
    }
    let long = ["192.0.2.1/24", "fe80::1/64", "fd12:3456:789a:bcde:f012:3456:789a:bcde/64"];
    script.link_up(LAN, &long);
    let sent = responses(script.during(Duration::from_secs(20)));
    for one in &sent {
        let services = one.packet.answers.iter().filter(|rr| rr.data.rtype() == Type::Srv).count();
        let addresses = one.packet.records().filter(|rr| rr.data.rtype() == Type::Aaaa).count();
        assert!(services <= 2 && addresses == 2, "{one:?}");
    }
    let all = sent.iter().flat_map(|one| &one.packet.answers);
    assert_eq!(all.filter(|rr| rr.data.rtype() == Type::Srv).count(), 6, "each of three twice");
}

#[test]
fn a3_nothing_is_announced_without_a_reason() {
    let mut script = Script::<4>::settled(1);
    assert!(script.during(Duration::from_secs(600)).is_empty());
}

#[test]
fn a4_a_changed_text_is_announced_again() {
    let mut script = Script::<4>::settled(1);
    let before = script.text(LAN);
    let version = Version::new("2025.12.01").unwrap();
    script.take();
    script.publish(phase_core::provider::Image { version, ..image("stable", "arm64") });
    script.advance(Duration::from_secs(5));
    let sent = script.take();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1].at.since(sent[0].at), ms(1000));
    for one in &sent {
        assert_eq!(one.packet.answers.len(), 1, "only what changed");
        assert!(one.packet.answers[0].flush && one.packet.answers[0].ttl == 4500);
        assert_ne!(one.packet.answers[0].data, Data::Txt(before.clone()));
    }
}

#[test]
fn a4_a_new_image_is_probed_for_and_announced_beside_the_others() {
    let mut script = Script::<4>::settled(1);
    script.publish(image("testing", "arm64"));
    let sent = script.during(Duration::from_secs(5));
    assert_eq!(sent.len(), 5);
    assert_eq!(sent[0].packet.questions.len(), 1);
    let names: Vec<_> = sent[4].packet.answers.iter().map(|rr| rr.name.as_str()).collect();
    assert!(!names.contains(&HOST) && !names.contains(&INSTANCE));
    assert!(names.contains(&"_arm64-testing._sub._phase-image._tcp.local"));
}

#[test]
fn a4_the_former_name_is_said_goodbye_to_before_the_new_one_is_announced() {
    let mut script = Script::<4>::settled(1);
    let rival = Rr::new(INSTANCE, Data::Srv(0, 0, 1, "rival.local".into())).flush();
    let claim = Packet::response().answer(rival);
    script.hear(peer(), &claim);
    script.advance(ms(300));
    script.take();
    script.hear(peer(), &claim);
    script.advance(Duration::from_secs(4));
    let sent = responses(script.take());
    let goodbye = |rr: &Rr| rr.ttl == 0 && rr.data == Data::Ptr(INSTANCE.into());
    assert_eq!(sent[0].packet.answers.iter().filter(|rr| goodbye(rr)).count(), 2);
    assert!(sent[1].packet.answers.iter().all(|rr| rr.ttl > 0));
}

#[test]
fn a5_at_most_ten_updates_a_minute() {
    let mut script = Script::<4>::settled(1);
    let mut updates = Vec::new();
    for n in 0..1800_u32 {
        let version = Version::new(&format!("1.{n}")).unwrap();
        script.publish(phase_core::provider::Image { version, ..image("stable", "arm64") });
        script.advance(ms(100));
        for sent in script.take() {
            for rr in sent.packet.answers {
                updates.push((sent.at, rr.data));
            }
        }
    }
    updates.dedup_by(|a, b| a.1 == b.1);
    assert!(updates.len() >= 15, "and not far fewer: {}", updates.len());
    for (first, _) in &updates {
        let minute = updates
            .iter()
            .filter(|(at, _)| at >= first && at.since(*first) < Duration::from_secs(60));
        assert!(minute.count() <= 10);
    }
    script.advance(Duration::from_secs(20));
    let text = String::from_utf8_lossy(&script.text(LAN)).into_owned();
    assert!(text.contains("version=1.1799"), "the last change arrives");
}

fn goodbyes(sent: &[Sent]) -> Vec<&Rr> {
    sent.iter().flat_map(|one| &one.packet.answers).filter(|rr| rr.ttl == 0).collect()
}

#[test]
fn a6_a_clean_stop_says_goodbye_on_every_link() {
    let mut script = Script::<4>::settled(1);
    script.link_up(LAN6, &["192.0.2.1/24", "fe80::1/64"]);
    script.advance(Duration::from_secs(5));
    script.take();
    script.provider.stop(script.now);
    script.drain();
    let sent = script.take();
    for link in [LAN, LAN6] {
        let of_link: Vec<_> =
            sent.iter().filter(|one| one.transmit.link == link).cloned().collect();
        let names: Vec<_> =
            goodbyes(&of_link).iter().map(|rr| (rr.name.clone(), rr.data.rtype())).collect();
        for (name, rtype) in [
            (TYPE, Type::Ptr),
            (SUBTYPE, Type::Ptr),
            (INSTANCE, Type::Srv),
            (INSTANCE, Type::Txt),
            (HOST, Type::A),
            (HOST, Type::Aaaa),
        ] {
            assert!(names.contains(&(name.into(), rtype)), "{name} {rtype}");
        }
    }
    assert_eq!(
        goodbyes(&sent).len(),
        sent.iter().map(|s| s.packet.records().count()).sum::<usize>()
    );
    assert!(script.events.iter().any(|(_, event)| *event == Event::Stopped));
    let query = Packet::query().ask(INSTANCE, Type::Srv);
    assert!(script.ask(peer(), &query).is_empty());
    script.link_up(OTHER, &["198.51.100.1/24"]);
    assert!(script.during(Duration::from_secs(5)).is_empty());
}

#[test]
fn a6_a_stop_while_probing_has_nothing_to_say() {
    let mut script = Script::<4>::new(config(1));
    script.publish(image("stable", "arm64"));
    script.link_up(LAN, &["192.0.2.1/24", "fe80::1/64"]);
    script.advance(ms(400));
    script.take();
    script.provider.stop(script.now);
    script.advance(Duration::from_secs(5));
    assert!(script.take().is_empty());
    assert!(script.events.iter().any(|(_, event)| *event == Event::Stopped));
}

#[test]
fn a6_a_withdrawn_image_says_goodbye_and_the_others_stay() {
    let mut script = Script::<4>::settled(1);
    script.publish(image("testing", "arm64"));
    script.advance(Duration::from_secs(5));
    script.take();
    let (channel, arch) = (Channel::new("stable").unwrap(), Arch::new("arm64").unwrap());
    assert!(script.provider.withdraw(script.now, &channel, &arch));
    assert!(!script.provider.withdraw(script.now, &channel, &arch));
    script.drain();
    let sent = script.take();
    assert_eq!(goodbyes(&sent).len(), 4);
    assert!(
        goodbyes(&sent)
            .iter()
            .all(|rr| rr.name == INSTANCE || rr.data == Data::Ptr(INSTANCE.into()))
    );
    let sent = script.ask(peer(), &Packet::query().ask(TYPE, Type::Ptr));
    assert_eq!(sent[0].packet.answers.len(), 1);
    assert!(script.ask(peer(), &Packet::query().ask(INSTANCE, Type::Srv)).is_empty());
}

#[test]
fn a6_addresses_of_a_family_that_is_gone_are_said_goodbye_to() {
    let mut script = Script::<4>::settled(1);
    script.link_up(LAN, &["192.0.2.1/24"]);
    let sent = script.take();
    assert_eq!(goodbyes(&sent).len(), 1);
    assert_eq!(goodbyes(&sent)[0].data, Data::Aaaa("fe80::1".parse().unwrap()));
}

#[test]
fn a7_all_records_of_a_unique_set_are_sent_together() {
    let mut script = Script::<4>::new(config(1));
    script.link_up(LAN, &["192.0.2.1/24", "192.0.2.2/24", "192.0.2.3/24"]);
    script.advance(Duration::from_secs(5));
    let known = Rr::new(HOST, Data::A([192, 0, 2, 2].into()));
    let sent = script.ask(peer(), &Packet::query().ask(HOST, Type::A).answer(known));
    assert_eq!(sent[0].packet.answers_of(HOST, Type::A).count(), 3);
    let mut all = Packet::query().ask(HOST, Type::A);
    for last in 1..=3 {
        all = all.answer(Rr::new(HOST, Data::A([192, 0, 2, last].into())));
    }
    assert!(script.ask(peer(), &all).is_empty(), "every member is known");
}

#[test]
fn a8_ttls_are_120_for_records_with_a_host_and_4500_for_others() {
    for sent in started() {
        for rr in sent.packet.records() {
            let expected = match rr.data.rtype() {
                Type::A | Type::Aaaa | Type::Srv | Type::Nsec => 120,
                Type::Ptr | Type::Txt => 4500,
                Type::Opt | Type::Any | Type::Unknown(_) => panic!("{rr:?}"),
            };
            assert_eq!(rr.ttl, expected, "{rr:?}");
        }
    }
}

#[test]
fn a9_two_interfaces_on_one_network_repair_each_others_flush_once() {
    let mut script = Script::<4>::settled(1);
    script.link_up(OTHER, &["198.51.100.1/24"]);
    script.advance(Duration::from_secs(5));
    // What one sends, the other hears.
    let mut heard = 0;
    let query = Packet::query().ask(HOST, Type::A);
    script.take();
    script.hear(peer(), &query);
    let start = script.now;
    while script.now.since(start) < Duration::from_secs(30) {
        for sent in script.take() {
            let link = if sent.transmit.link == LAN { OTHER } else { LAN };
            script.hear_on(link, "192.0.2.1:5353".parse().unwrap(), &sent.octets);
            heard += 1;
        }
        script.advance(ms(10));
    }
    assert_eq!(heard, 2, "the answer, and the other interface's own addresses");
    assert_eq!(script.provider.stats().conflicts, 0);
}
