//! 1.E: when answers leave.

use std::net::SocketAddr;
use std::time::Duration;

use phase_core::mdns::PORT;
use phase_core::wire::dns::Type;
use phase_tests::message::Packet;
use phase_tests::scripted::{
    HOST, INSTANCE, LAN, SUBTYPE, Script, TYPE, image, ms, one_shot, peer, subtype_ptr, type_ptr,
};

/// Asks and gives how long the first response took.
fn delay(script: &mut Script<4>, packet: &Packet) -> Duration {
    script.advance(ms(2000));
    let start = script.now;
    let sent = script.ask(peer(), packet);
    sent.first().expect("an answer").at.since(start)
}

/// Whether counts over equal bins are as uniform as 999 of 1,000 samples of a uniform distribution: the
/// chi-square statistic with nine degrees of freedom.
fn is_uniform(bins: &[u32; 10]) -> bool {
    let expected = f64::from(bins.iter().sum::<u32>()) / 10.0;
    let chi_square: f64 = bins.iter().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
    chi_square < 27.88
}

#[test]
fn r3_one_question_about_unique_records_is_answered_without_delay() {
    let mut script = Script::<4>::settled(1);
    for (name, rtype) in [
        (INSTANCE, Type::Srv),
        (INSTANCE, Type::Txt),
        (INSTANCE, Type::Any),
        (INSTANCE, Type::A),
        (HOST, Type::A),
        (HOST, Type::Txt),
    ] {
        assert_eq!(delay(&mut script, &Packet::query().ask(name, rtype)), Duration::ZERO);
        let unicast = Packet::query().ask(name, rtype).unicast();
        assert_eq!(delay(&mut script, &unicast), Duration::ZERO);
    }
}

#[test]
fn r4_shared_answers_are_delayed_20_to_120_ms_uniformly() {
    let mut script = Script::<4>::settled(1);
    let mut bins = [0; 10];
    for n in 0..1000 {
        let packet = Packet::query().ask(if n % 2 == 0 { TYPE } else { SUBTYPE }, Type::Ptr);
        let delay = delay(&mut script, &packet);
        assert!((ms(20)..=ms(120)).contains(&delay), "{delay:?}");
        bins[usize::try_from((delay - ms(20)).as_micros() / 10_001).unwrap()] += 1;
    }
    assert!(is_uniform(&bins), "{bins:?}");
}

#[test]
fn r5_a_truncated_query_is_answered_400_to_500_ms_after_its_last_packet() {
    let mut script = Script::<4>::settled(1);
    let query = Packet::query().ask(TYPE, Type::Ptr).truncated();
    let mut bins = [0; 10];
    for _ in 0..500 {
        let delay = delay(&mut script, &query);
        assert!((ms(400)..=ms(500)).contains(&delay), "{delay:?}");
        bins[usize::try_from((delay - ms(400)).as_micros() / 10_001).unwrap()] += 1;
    }
    assert!(is_uniform(&bins), "{bins:?}");
    script.advance(ms(2000));
    script.take();
    for _ in 0..4 {
        script.hear(peer(), &query);
        script.advance(ms(300));
    }
    assert!(script.take().is_empty());
    let sent = script.during(ms(210));
    assert_eq!(sent.len(), 1, "400 to 500 ms after the fourth");
}

#[test]
fn r6_several_questions_are_all_answered_after_20_to_120_ms() {
    let mut script = Script::<4>::settled(1);
    let query = Packet::query().ask(INSTANCE, Type::Srv).ask(HOST, Type::A);
    for _ in 0..50 {
        let delay = delay(&mut script, &query);
        assert!((ms(20)..=ms(120)).contains(&delay));
    }
    script.advance(ms(2000));
    let sent = script.ask(peer(), &query.clone().ask(SUBTYPE, Type::Ptr));
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].packet.answers.len(), 3);
    let foreign = Packet::query().ask(INSTANCE, Type::Srv).ask("rival.local", Type::A);
    assert!(delay(&mut script, &foreign) >= ms(20), "others may answer the rest");
}

#[test]
fn r7_answers_that_are_close_leave_together() {
    for seed in 0..50 {
        let mut script = Script::<4>::settled(seed);
        script.take();
        script.hear(peer(), &Packet::query().ask(TYPE, Type::Ptr));
        script.advance(ms(15));
        script.hear(peer(), &Packet::query().ask(SUBTYPE, Type::Ptr));
        let sent = script.during(ms(1500));
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].packet.answers.len(), 2);
    }
}

#[test]
fn r7_no_answer_waits_more_than_500_ms_for_others() {
    let mut script = Script::<32>::new(phase_tests::scripted::config(1));
    (0..32).for_each(|n| script.publish(image(&format!("c{n}"), "arm64")));
    script.link_up(LAN, &["192.0.2.1/24"]);
    script.advance(Duration::from_secs(10));
    script.take();
    let start = script.now;
    for n in 0..32 {
        let name = format!("_arm64-c{n}._sub.{TYPE}");
        script.hear(peer(), &Packet::query().ask(&name, Type::Ptr));
        script.advance(ms(25));
    }
    let first = script.sent.first().expect("an answer").at.since(start);
    assert!(first >= ms(400) && first <= ms(620), "{first:?}");
    script.advance(ms(2000));
    let answered: usize = script.take().iter().map(|one| one.packet.answers.len()).sum();
    assert_eq!(answered, 32);
}

#[test]
fn r9_a_record_is_multicast_once_a_second_and_the_answer_is_delayed_not_dropped() {
    let mut script = Script::<4>::settled(1);
    script.take();
    let query = Packet::query().ask(INSTANCE, Type::Srv);
    script.hear(peer(), &query);
    script.advance(ms(250));
    script.hear(peer(), &query);
    script.advance(ms(2000));
    let sent = script.take();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1].at.since(sent[0].at), ms(1000));
}

#[test]
fn r9_a_flood_of_queries_costs_one_multicast_a_second() {
    let mut script = Script::<4>::settled(1);
    script.take();
    let start = script.now;
    let query = Packet::query().ask(TYPE, Type::Ptr).ask(INSTANCE, Type::Any).ask(HOST, Type::Any);
    for n in 0..10_000_u32 {
        let [.., low] = n.to_be_bytes();
        script.hear(SocketAddr::from(([192, 0, 2, low], PORT)), &query);
        script.advance(ms(1));
    }
    let sent = script.take();
    assert!(sent.len() <= 11, "{}", sent.len());
    for set in [(TYPE, Type::Ptr), (INSTANCE, Type::Srv), (INSTANCE, Type::Txt), (HOST, Type::A)] {
        let times: Vec<_> = sent
            .iter()
            .filter(|one| one.packet.records().any(|rr| (rr.name.as_str(), rr.data.rtype()) == set))
            .map(|one| one.at)
            .collect();
        assert!(times.windows(2).all(|pair| pair[1].since(pair[0]) >= ms(1000)));
        assert!(times.len() >= 9 && times[0].since(start) <= ms(120));
    }
}

#[test]
fn r15_qu_answers_about_shared_records_are_delayed_too() {
    let mut script = Script::<4>::settled(1);
    let query = Packet::query().ask(SUBTYPE, Type::Ptr).unicast();
    for n in 0..100 {
        script.advance(ms(10));
        let start = script.now;
        let sent = script.ask(peer(), &query);
        let delay = sent[0].at.since(start);
        assert!((ms(20)..=ms(120)).contains(&delay), "{n}: {delay:?}");
        assert_eq!(sent[0].transmit.destination, peer());
        assert_eq!(sent[0].packet.answers, [subtype_ptr()]);
    }
}

#[test]
fn r15_many_qu_queriers_at_once_are_all_answered() {
    let mut script = Script::<4>::settled(1);
    script.take();
    let query = Packet::query().ask(SUBTYPE, Type::Ptr).unicast();
    for last in 1..=200 {
        script.hear(SocketAddr::from(([192, 0, 2, last], PORT)), &query);
    }
    let sent = script.during(ms(200));
    let (multicast, unicast): (Vec<_>, Vec<_>) = sent.iter().partition(|one| one.is_multicast());
    assert_eq!(
        (multicast.len(), unicast.len()),
        (1, 64),
        "past the bound one multicast serves them"
    );
    assert_eq!(script.provider.stats().queries_not_held, 136);
}

#[test]
fn r16_legacy_queries_are_answered_at_once() {
    let mut script = Script::<4>::settled(1);
    script.take();
    for packet in [
        Packet::query().ask(SUBTYPE, Type::Ptr),
        Packet::query().ask(TYPE, Type::Ptr).ask(HOST, Type::A),
        Packet::query().ask(INSTANCE, Type::Any).truncated(),
    ] {
        script.hear(one_shot(), &packet);
        assert_eq!(script.take().len(), 1);
    }
}

#[test]
fn r16_twenty_thousand_one_shots_of_one_source_are_all_answered() {
    let mut script = Script::<4>::settled(1);
    let query = Packet::query().ask(SUBTYPE, Type::Ptr);
    for n in 0..20_000_u16 {
        script.hear(one_shot(), &query.clone().id(n));
        assert_eq!(script.take().len(), 1);
        script.advance(Duration::from_micros(50));
    }
}

#[test]
fn r22_known_answers_in_a_later_packet_of_the_same_source_delete_pending_ones() {
    let mut script = Script::<4>::settled(1);
    script.take();
    let query = Packet::query().ask(TYPE, Type::Ptr).truncated();
    script.hear(peer(), &query);
    script.advance(ms(100));
    script.hear(peer(), &Packet::query().answer(type_ptr()));
    script.advance(ms(2000));
    assert!(script.take().is_empty());
    // From another source they are no business of the first.
    script.hear(peer(), &query);
    script.advance(ms(100));
    let other = SocketAddr::from(([192, 0, 2, 10], PORT));
    script.hear(other, &Packet::query().answer(type_ptr()));
    assert_eq!(script.during(ms(2000)).len(), 1);
}

#[test]
fn r22_more_than_16_packets_do_not_extend_the_wait() {
    let mut script = Script::<4>::settled(1);
    script.take();
    let start = script.now;
    let query = Packet::query().ask(TYPE, Type::Ptr).truncated();
    while script.sent.is_empty() {
        script.hear(peer(), &query);
        script.advance(ms(100));
    }
    let waited = script.sent[0].at.since(start);
    assert!((ms(1800)..=ms(2100)).contains(&waited), "{waited:?}");
}

#[test]
fn r22_the_sixty_fifth_source_is_answered_without_waiting() {
    let mut script = Script::<4>::settled(1);
    script.take();
    let query = Packet::query().ask(TYPE, Type::Ptr).truncated();
    for last in 1..=64 {
        script.hear(SocketAddr::from(([192, 0, 2, last], PORT)), &query);
    }
    assert!(script.during(ms(150)).is_empty());
    script.hear(SocketAddr::from(([192, 0, 2, 65], PORT)), &query);
    assert_eq!(script.during(ms(150)).len(), 1);
}
