//! 1.C: probing.

use std::time::Duration;

use phase_core::provider::{Event, Name};
use phase_core::wire::dns::{Class, Type};
use phase_tests::message::{Data, Packet, Rr};
use phase_tests::scripted::{
    HOST, INSTANCE, LAN, LAN6, OTHER, Script, Sent, config, foreign_srv, image, ms, peer, srv,
};

/// A provider of one image on a link that came up at this moment.
fn starting(seed: u8) -> Script<4> {
    let mut script = Script::new(config(seed));
    script.publish(image("stable", "arm64"));
    script.link_up(LAN, &["192.0.2.1/24", "fe80::1/64"]);
    script
}

/// As [`starting`], a moment after the first probe.
fn probing(seed: u8) -> Script<4> {
    let mut script = starting(seed);
    while script.sent.is_empty() {
        script.advance(ms(1));
    }
    script.take();
    script
}

fn probes(sent: &[Sent]) -> Vec<&Sent> {
    sent.iter().filter(|one| !one.packet.is_response()).collect()
}

fn label(script: &Script<4>) -> String {
    script.provider.adverts().next().unwrap().label.as_str().to_owned()
}

fn renamed(script: &Script<4>) -> usize {
    script.events.iter().filter(|(_, event)| matches!(event, Event::Renamed(_))).count()
}

#[test]
fn p1_every_unique_name_is_probed_for_before_it_is_used() {
    let mut script = starting(1);
    let query = Packet::query().ask(HOST, Type::A).ask(INSTANCE, Type::Any);
    for _ in 0..7 {
        script.hear(peer(), &query);
        script.advance(ms(100));
    }
    assert!(probes(&script.sent).len() == script.sent.len(), "nothing is answered while probing");
    let probe = &script.sent[0].packet;
    let names: Vec<_> = probe.questions.iter().map(|question| question.name.as_str()).collect();
    assert_eq!(names, [HOST, INSTANCE], "host and instance in one packet");
}

#[test]
fn p2_the_first_probe_waits_0_to_250_ms_uniformly() {
    let mut quarters = [0; 4];
    for seed in 0..200 {
        let mut script = starting(seed);
        let start = script.now;
        let wait = script.during(ms(300))[0].at.since(start);
        assert!(wait <= ms(250));
        quarters[usize::try_from(wait.as_micros() * 4 / 250_001).unwrap()] += 1;
    }
    assert!(quarters.iter().all(|count| (25..=80).contains(count)), "{quarters:?}");
}

#[test]
fn p3_three_probes_250_ms_apart_and_250_ms_of_silence() {
    let mut script = starting(1);
    let sent = script.during(ms(1100));
    assert_eq!(
        sent.iter().map(|s| s.packet.is_response()).collect::<Vec<_>>(),
        [false, false, false, true]
    );
    for pair in sent.windows(2) {
        assert_eq!(pair[1].at.since(pair[0].at), ms(250));
    }
}

#[test]
fn p4_probes_ask_for_any_type_in_class_in() {
    let sent = starting(1).during(ms(800));
    let questions = sent.iter().flat_map(|s| &s.packet.questions);
    assert!(questions.clone().count() >= 2);
    assert!(questions.into_iter().all(|q| q.qtype == Type::Any && q.qclass == Class::In));
}

#[test]
fn p5_probes_ask_for_unicast_responses() {
    let sent = starting(1).during(ms(800));
    assert!(sent.iter().flat_map(|s| &s.packet.questions).all(|question| question.unicast));
}

#[test]
fn p6_authorities_are_all_proposed_records_without_the_flush_bit() {
    let sent = starting(1).during(ms(300));
    let authorities = &sent[0].packet.authorities;
    let types = |name: &str| {
        let of = authorities.iter().filter(|rr| rr.name == name).map(|rr| rr.data.rtype());
        let mut types: Vec<_> = of.collect();
        types.sort();
        types
    };
    assert_eq!(types(HOST), [Type::A, Type::Aaaa]);
    assert_eq!(types(INSTANCE), [Type::Txt, Type::Srv]);
    assert!(authorities.iter().all(|rr| !rr.flush));
    assert!(sent[0].packet.answers.is_empty());
}

#[test]
fn p7_what_was_heard_before_does_not_replace_probing() {
    let mut script = Script::<4>::new(config(1));
    script.link_up(LAN, &["192.0.2.1/24"]);
    script.advance(Duration::from_secs(5));
    script.hear(peer(), &Packet::response().answer(foreign_srv()));
    script.take();
    script.publish(image("stable", "arm64"));
    assert_eq!(probes(&script.during(ms(1000))).len(), 3);
}

#[test]
fn p8_a_conflicting_response_while_probing_takes_the_name() {
    let mut script = probing(1);
    script.hear(peer(), &Packet::response().answer(foreign_srv()));
    assert_eq!(label(&script), "Bob's Mac stable arm64 7YJgL5pV (2)");
    let sent = script.during(ms(2000));
    let announced = sent.iter().flat_map(|s| &s.packet.answers);
    assert!(announced.clone().any(|rr| rr.name.starts_with("Bob's Mac stable arm64 7YJgL5pV (2)")));
    assert!(announced.into_iter().all(|rr| rr.name != INSTANCE), "the old name is never used");
    let first = sent.iter().find(|s| s.packet.questions.iter().any(|q| q.name.contains("(2)")));
    let first = first.unwrap().at;
    let mine = |s: &&Sent| s.packet.questions.iter().any(|q| q.name.contains("(2)"));
    assert_eq!(sent.iter().filter(mine).count(), 3);
    assert!(sent.iter().any(|s| s.packet.is_response() && s.at.since(first) == ms(750)));
}

#[test]
fn p9_conflicting_responses_before_the_first_probe_are_ignored() {
    let mut script = starting(1);
    script.hear(peer(), &Packet::response().answer(foreign_srv()));
    script.hear(peer(), &Packet::response().answer(Rr::new(HOST, Data::A([192, 0, 2, 7].into()))));
    script.advance(ms(2000));
    assert_eq!(renamed(&script), 0);
}

#[test]
fn p10_any_type_of_record_on_a_probed_name_is_a_conflict() {
    let mut script = probing(1);
    let text = Rr::new(HOST, Data::Txt(b"\x03a=b".to_vec()));
    script.hear(peer(), &Packet::response().answer(text));
    assert_eq!(script.provider.host_label(), "my-mac-2");
}

/// Lets a rival probe with these records; whether ours lost.
fn loses_to(records: Vec<Rr>) -> bool {
    let mut script = probing(1);
    let mut packet = Packet::query().ask(&records[0].name.clone(), Type::Any);
    packet.authorities = records;
    script.hear(peer(), &packet);
    assert_eq!(renamed(&script), 0);
    script.provider.stats().ties_lost == 1
}

#[test]
fn p11_tiebreak_compares_class_type_and_uncompressed_rdata() {
    let a = |last| Rr::new(HOST, Data::A([192, 0, 2, last].into()));
    let aaaa = || Rr::new(HOST, Data::Aaaa("fe80::1".parse().unwrap()));
    // Ours: 192.0.2.1, then fe80::1. The octets decide, as unsigned numbers.
    assert!(loses_to(vec![a(99)]));
    assert!(loses_to(vec![a(200)]));
    assert!(!loses_to(vec![a(0), aaaa()]));
    // The type decides before the data: TXT (16) is later than A (1).
    assert!(loses_to(vec![Rr::new(HOST, Data::Txt(vec![0]))]));
    // The cache-flush bit does not count.
    assert!(!loses_to(vec![a(0).flush(), aaaa().flush()]));

    // SRV targets as uncompressed octets: the length octet of the first label comes first.
    let srv_to = |target: &str| Rr::new(INSTANCE, Data::Srv(0, 0, 8080, target.into()));
    let with_text = |rr: Rr| vec![our_text(), rr];
    assert!(!loses_to(with_text(srv_to("zz.local"))), "2 is before 6");
    assert!(loses_to(with_text(srv_to("my-mad.local"))));
    assert!(!loses_to(with_text(srv_to("my-mab.local"))));
    assert!(loses_to(with_text(srv_to("aaaaaaa.local"))), "7 is after 6");
}

/// The text that [`probing`] proposes.
fn our_text() -> Rr {
    let sent = starting(1).during(ms(300));
    sent[0].packet.authorities.iter().find(|rr| rr.data.rtype() == Type::Txt).unwrap().clone()
}

#[test]
fn p12_the_loser_waits_a_second_and_probes_for_the_same_name_again() {
    let mut script = probing(1);
    let rival = Rr::new(HOST, Data::A([192, 0, 2, 200].into()));
    script.hear(peer(), &Packet::query().ask(HOST, Type::Any).authority(rival));
    let lost = script.now;
    let sent = script.during(ms(3000));
    let host = |s: &&Sent| s.packet.questions.iter().any(|q| q.name == HOST);
    let times: Vec<_> = sent.iter().filter(host).map(|s| s.at.since(lost)).collect();
    assert_eq!(times, [ms(1000), ms(1250), ms(1500)]);
    assert_eq!(script.provider.host_label(), "my-mac", "a stale probe does not cost the name");
    assert!(sent.iter().any(|s| s.packet.answers_of(HOST, Type::A).count() == 1));
}

#[test]
fn p12_the_winner_goes_on() {
    let mut script = probing(1);
    let rival = Rr::new(HOST, Data::A([192, 0, 2, 0].into()));
    script.hear(peer(), &Packet::query().ask(HOST, Type::Any).authority(rival));
    let sent = script.during(ms(800));
    assert_eq!(probes(&sent).len(), 2);
    assert!(sent.iter().any(|s| s.packet.answers_of(HOST, Type::A).count() == 1));
}

#[test]
fn p13_lists_are_sorted_and_the_one_with_records_left_wins() {
    let ours = [Data::A([192, 0, 2, 1].into()), Data::Aaaa("fe80::1".parse().unwrap())];
    let [a, aaaa] = ours.map(|data| Rr::new(HOST, data));
    let later = Rr::new(HOST, Data::Aaaa("fe80::2".parse().unwrap()));
    assert!(loses_to(vec![later.clone(), aaaa.clone(), a.clone()]), "ours and one more");
    assert!(loses_to(vec![later, a.clone()]), "sorted: A first, then the later AAAA");
    let only_a = Rr::new(HOST, Data::A([192, 0, 2, 0].into()));
    assert!(!loses_to(vec![aaaa, only_a, a]), "an earlier A is first");
}

#[test]
fn p13_our_own_probe_heard_again_changes_nothing() {
    let mut script = starting(1);
    script.advance(ms(300));
    let probe = script.take().remove(0);
    // By loopback, by another interface on the same network, and by a reflector.
    script.hear_on(LAN, "192.0.2.1:5353".parse().unwrap(), &probe.octets);
    script.hear_on(LAN, peer(), &probe.octets);
    script.advance(ms(2000));
    let stats = script.provider.stats();
    assert_eq!((stats.ties_lost, stats.conflicts), (0, 0));
    script.take();
    script.hear_on(LAN, peer(), &probe.octets);
    assert!(script.take().is_empty(), "an echo is not defended against");
}

#[test]
fn p14_after_fifteen_conflicts_in_ten_seconds_each_attempt_waits_five() {
    let mut script = probing(1);
    let mut attempts = Vec::new();
    for _ in 0..20 {
        let host = format!("{}.local", script.provider.host_label());
        let taken = Rr::new(&host, Data::A([192, 0, 2, 7].into()));
        script.hear(peer(), &Packet::response().answer(taken));
        attempts.push(script.now);
        let next = format!("{}.local", script.provider.host_label());
        script.take();
        while !script.sent.iter().any(|s| s.packet.questions.iter().any(|q| q.name == next)) {
            script.advance(ms(1));
        }
    }
    let gaps: Vec<_> = attempts.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    assert!(gaps[..14].iter().all(|gap| *gap <= ms(251)), "{gaps:?}");
    assert!(gaps[14..].iter().all(|gap| *gap >= Duration::from_secs(5)), "{gaps:?}");
}

#[test]
fn p15_nothing_but_host_and_instances_is_probed_for() {
    let sent = starting(1).during(ms(2000));
    let questions = sent.iter().flat_map(|s| &s.packet.questions);
    assert!(questions.into_iter().all(|q| q.name == HOST || q.name == INSTANCE));
}

#[test]
fn p16_a_link_that_comes_back_is_probed_and_announced_on_again() {
    let mut script = Script::<4>::settled(1);
    script.link_down(LAN);
    script.advance(Duration::from_secs(3));
    script.link_up(LAN, &["192.0.2.1/24", "fe80::1/64"]);
    let sent = script.during(ms(3000));
    assert_eq!(probes(&sent).len(), 3);
    assert_eq!(probes(&sent)[0].packet.questions.len(), 2);
    assert_eq!(sent.iter().filter(|s| s.packet.is_response()).count(), 2);
}

#[test]
fn p16_new_addresses_are_probed_for_and_announced() {
    let mut script = Script::<4>::settled(1);
    script.link_up(LAN, &["192.0.2.2/24", "fe80::1/64"]);
    let sent = script.during(ms(3000));
    let probe = probes(&sent)[0];
    assert_eq!(probe.packet.questions.len(), 1, "the instance is still ours");
    let new = Data::A([192, 0, 2, 2].into());
    assert!(probe.packet.authorities.iter().any(|rr| rr.data == new));
    let announced = sent.iter().filter(|s| s.packet.answers.iter().any(|rr| rr.data == new));
    assert_eq!(announced.count(), 2);
    let url = b"manifest=http://192.0.2.2:8080/";
    assert!(script.text(LAN).windows(url.len()).any(|w| w == url), "the URL follows");
}

#[test]
fn p16_the_same_link_again_unchanged_is_harmless() {
    let mut script = Script::<4>::settled(1);
    script.link_up(LAN, &["192.0.2.1/24", "fe80::1/64"]);
    assert!(script.during(ms(3000)).is_empty());
}

#[test]
fn p17_a_probe_for_our_name_is_answered_at_once() {
    let mut script = Script::<4>::settled(1);
    let probe = Packet::query().ask(INSTANCE, Type::Any).authority(foreign_srv());
    script.take();
    script.hear(peer(), &probe.clone().unicast());
    let sent = script.take();
    assert_eq!(sent[0].transmit.destination, peer(), "by unicast if asked for");
    assert_eq!(sent[0].packet.answers_of(INSTANCE, Type::Srv).count(), 1);
    assert_eq!(sent[0].packet.answers_of(INSTANCE, Type::Txt).count(), 1);
    script.hear(peer(), &probe);
    let sent = script.take();
    assert!(sent[0].is_multicast() && sent[0].packet.answers_of(INSTANCE, Type::Srv).count() == 1);
    let first = sent[0].at;
    script.hear(peer(), &probe);
    assert!(script.take().is_empty());
    script.advance(ms(1000));
    let again = script.take();
    assert_eq!(again[0].at.since(first), ms(250), "multicast in defence, at most every 250 ms");
    assert_eq!(again.len(), 1);
}

#[test]
fn p17_a_defence_is_not_delayed_by_other_questions() {
    let mut script = Script::<4>::settled(1);
    let probe = Packet::query().ask(INSTANCE, Type::Any).ask(HOST, Type::Any);
    let rival = Rr::new(HOST, Data::A([192, 0, 2, 7].into()));
    script.take();
    script.hear(peer(), &probe.authority(foreign_srv()).authority(rival));
    assert_eq!(script.take().len(), 1);
}

#[test]
fn p18_a_name_fought_over_for_a_minute_is_told() {
    let mut script = probing(1);
    let start = script.now;
    while script.now.since(start) < Duration::from_secs(70) {
        let host = format!("{}.local", script.provider.host_label());
        script.hear(
            peer(),
            &Packet::response().answer(Rr::new(&host, Data::A([192, 0, 2, 7].into()))),
        );
        script.advance(ms(100));
    }
    let told: Vec<_> = script
        .events
        .iter()
        .filter(|(_, event)| matches!(event, Event::NoName(Name::Host { .. })))
        .map(|(at, _)| at.since(start))
        .collect();
    assert_eq!(told, [Duration::from_secs(60)]);
}

#[test]
fn names_that_get_ready_together_share_their_probes_on_every_link() {
    let mut script = Script::<4>::new(config(1));
    (0..4).for_each(|n| script.publish(image(&format!("c{n}"), "arm64")));
    for link in [LAN, LAN6] {
        script.link_up(link, &["192.0.2.1/24", "fe80::1/64"]);
    }
    script.link_up(OTHER, &["198.51.100.1/24"]);
    let sent = script.during(ms(1100));
    for link in [LAN, LAN6, OTHER] {
        let of_link: Vec<_> =
            probes(&sent).into_iter().filter(|s| s.transmit.link == link).collect();
        let times: std::collections::BTreeSet<_> = of_link.iter().map(|s| s.at).collect();
        assert_eq!(times.len(), 3);
        let names: usize = of_link.iter().map(|s| s.packet.questions.len()).sum();
        assert_eq!(names, 15);
        for probe in of_link {
            for question in &probe.packet.questions {
                let records = probe.packet.authorities.iter().filter(|rr| rr.name == question.name);
                assert!(records.count() >= 1, "a name's records are in the packet of its question");
            }
        }
    }
}

#[test]
fn an_identical_record_of_a_twin_is_no_conflict() {
    let mut script = probing(1);
    script.hear(peer(), &Packet::response().answer(srv()));
    assert_eq!(renamed(&script), 0);
}
