//! Rows Q, and those of W, S and D that bind a querier, against the client machine.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use phase_core::machine::{Family, Input, Port};
use phase_core::time::Instant;
use phase_core::wire::dns::{Message, Type};

use crate::lan::{
    Lan, Rec, SUBTYPE, Sent, TYPE, V4, V6, at, instance, ms, response, signed, signed_url, unsigned,
};

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
const OFF_LINK: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9));

fn mdns(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, 5353)
}

/// Everything a responder says about one instance.
fn full(seq: u64) -> Vec<Rec> {
    let name = instance("lab");
    vec![
        Rec::ptr(SUBTYPE, &name, 4500),
        Rec::ptr(TYPE, &name, 4500),
        Rec::txt(&name, &signed(seq), 4500),
        Rec::srv(&name, "lab.local", 120),
    ]
}

fn goodbye(recs: Vec<Rec>) -> Vec<Rec> {
    recs.into_iter().map(|rec| rec.with_ttl(0)).collect()
}

fn watching() -> Lan {
    let mut lan = Lan::watch();
    lan.up(&V4);
    lan
}

#[test]
fn q1_the_first_multicast_query_waits_20_to_120_ms_uniformly() {
    let mut quarters = [0_u32; 4];
    for seed in 0..1000_u32 {
        let mut lan = Lan::with(|config| {
            config.seed.0[..4].copy_from_slice(&seed.to_be_bytes());
        });
        lan.up(&V4);
        lan.run_for(ms(200));
        let first = lan.multicasts()[0].at.since(Instant::ZERO);
        assert!((ms(20)..=ms(120)).contains(&first), "{first:?}");
        quarters[usize::try_from((first - ms(20)).as_micros() / 25_001).unwrap()] += 1;
    }
    assert!(quarters.iter().all(|n| (200..300).contains(n)), "{quarters:?}");
}

#[test]
fn q2_gaps_double_from_one_second_up_to_an_hour() {
    let mut lan = watching();
    lan.run_for(Duration::from_secs(6 * 3600));
    let times: Vec<Instant> = lan.multicasts().iter().map(|sent| sent.at).collect();
    let gaps: Vec<u64> = times.windows(2).map(|w| w[1].since(w[0]).as_secs()).collect();
    assert_eq!(gaps[..12], [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048]);
    assert!(gaps[12..].iter().all(|gap| *gap == 3600), "{gaps:?}");
}

#[test]
fn q3_known_answers_are_sent_while_half_their_life_is_left_without_flush_bit() {
    let mut lan = watching();
    let mut recs = full(1);
    recs[1] = Rec::ptr(TYPE, &instance("lab"), 10);
    lan.multicast(&V4, HOST, &recs);
    // The query after 1 s carries both; the one after 7 s no more the short-lived one.
    lan.run_for(ms(1200));
    let query = lan.last_browse();
    let known: Vec<_> = query.message().answers().map(|r| r.unwrap()).collect();
    assert_eq!(known.len(), 2);
    assert!(known.iter().all(|record| !record.cache_flush && record.ttl >= 8));
    lan.run_until(at(7.5));
    let query = lan.last_browse();
    let owners: Vec<_> = query.message().answers().map(|r| r.unwrap().name.to_string()).collect();
    assert_eq!(owners, [format!("{SUBTYPE}.")]);
}

#[test]
fn q4_known_answers_that_do_not_fit_follow_at_once_without_questions() {
    let mut lan = Lan::watch();
    lan.up(&V4.with_mtu(576));
    for n in 0..20_u8 {
        let name = instance(&format!("a rather long instance name that takes room {n:02}"));
        let source = IpAddr::from([192, 0, 2, 100 + n]);
        lan.multicast(&V4, source, &[Rec::ptr(TYPE, &name, 4500)]);
    }
    lan.sent.clear();
    lan.run_until(at(0.12));
    let queries: Vec<&Sent> = lan
        .multicasts()
        .into_iter()
        .filter(|sent| sent.message().answers().next().is_some())
        .collect();
    assert!(queries.len() >= 3, "{}", queries.len());
    let last = queries.len() - 1;
    let mut listed = BTreeMap::new();
    for (n, query) in queries.iter().enumerate() {
        assert!(query.octets.len() <= 576 - 28);
        assert_eq!(query.at, queries[0].at);
        assert_eq!(query.message().flags().is_truncated(), n != last);
        assert_eq!(query.message().questions().next().is_some(), n == 0);
        for record in query.message().answers() {
            *listed.entry(record.unwrap().data.to_string()).or_insert(0) += 1;
        }
    }
    assert_eq!(listed.len(), 20);
    assert!(listed.values().all(|n| *n == 1));
}

#[test]
fn q5_a_question_that_another_host_just_asked_is_not_asked() {
    let asks = |lan: &Lan, from: f64, name: &str| {
        lan.multicasts().iter().any(|sent| sent.at > at(from) && sent.asks(name, Type::Ptr))
    };
    let mut lan = watching();
    let second = lan.run_to_multicast(2);
    lan.run_until(second - ms(100));
    lan.query(HOST, (SUBTYPE, Type::Ptr), false, &[]);
    let before = (second - ms(50)).as_micros() as f64 / 1e6;
    lan.run_until(second + ms(50));
    assert!(!asks(&lan, before, SUBTYPE));
    assert!(asks(&lan, before, TYPE));
    assert_eq!(lan.client.stats().questions_suppressed, 1);

    // It knows an answer that we do not know: we ask.
    let mut lan = watching();
    let second = lan.run_to_multicast(2);
    lan.run_until(second - ms(100));
    let known = Rec::ptr(SUBTYPE, &instance("unknown to us"), 4500);
    lan.query(HOST, (SUBTYPE, Type::Ptr), false, &[known]);
    lan.run_until(second + ms(50));
    assert!(asks(&lan, before, SUBTYPE));

    // Its answers go to it alone: we ask.
    let mut lan = watching();
    let second = lan.run_to_multicast(2);
    lan.run_until(second - ms(100));
    lan.query(HOST, (SUBTYPE, Type::Ptr), true, &[]);
    lan.run_until(second + ms(50));
    assert!(asks(&lan, before, SUBTYPE));
}

#[test]
fn q6_only_the_first_question_on_a_link_asks_for_unicast_responses() {
    let mut lan = watching();
    lan.run_for(Duration::from_secs(120));
    let queries = lan.multicasts();
    assert!(queries[0].questions().iter().all(|question| question.unicast_response));
    let later = queries[1..].iter().flat_map(|sent| sent.questions());
    assert!(later.into_iter().all(|question| !question.unicast_response));
}

#[test]
fn s3_a_second_binder_of_port_5353_never_asks_for_unicast_responses() {
    let mut lan = Lan::with(|config| config.first_binder = false);
    lan.up(&V4);
    lan.run_for(Duration::from_secs(120));
    let queries = lan.multicasts();
    assert!(queries.len() > 5);
    let questions = queries.iter().flat_map(|sent| sent.questions());
    assert!(questions.into_iter().all(|question| !question.unicast_response));
}

#[test]
fn q7_records_in_use_are_refreshed_at_80_to_95_percent_and_others_are_not() {
    let mut lan = watching();
    lan.run_until(at(0.5));
    lan.multicast(&V4, HOST, &full(1));
    let name = instance("lab");
    let other = instance("other");
    lan.multicast(&V4, HOST, &[Rec::txt(&other, &unsigned("testing", "x86_64"), 100)]);
    lan.sent.clear();
    lan.run_until(at(120.4));
    let srv: Vec<f64> = lan
        .multicasts()
        .iter()
        .filter(|sent| sent.asks(&name, Type::Srv))
        .map(|sent| sent.at.since(at(0.5)).as_secs_f64() / 1.2)
        .collect();
    assert_eq!(srv.len(), 4, "{srv:?}");
    for (percent, low) in srv.iter().zip([80.0, 85.0, 90.0, 95.0]) {
        assert!((low..=low + 2.0).contains(percent), "{srv:?}");
    }
    assert!(!lan.multicasts().iter().any(|sent| sent.asks(&other, Type::Txt)));

    let mut lan = Lan::one_shot();
    lan.up(&V4);
    lan.multicast(&V4, HOST, &full(1));
    lan.run_until(at(4500.0));
    assert!(!lan.sent.iter().any(|sent| sent.asks(&name, Type::Srv)));
    assert!(!lan.sent.iter().any(|sent| sent.asks(&name, Type::Txt)));
}

#[test]
fn q8_a_record_ends_with_its_ttl_and_a_second_after_a_goodbye() {
    // SRV carries the liveness of the host: 120 s, then a second in which the host is asked.
    let mut lan = watching();
    lan.multicast(&V4, HOST, &full(1));
    let id = lan.accepted();
    lan.run_until(at(119.9));
    assert!(!lan.is_lost(id));
    lan.run_until(at(121.1));
    assert!(lan.is_lost(id));
    assert_eq!(lan.client.candidates().count(), 0);

    let mut lan = watching();
    lan.multicast(&V4, HOST, &full(1));
    let id = lan.accepted();
    lan.run_until(at(1.0));
    lan.multicast(&V4, HOST, &goodbye(full(1)));
    lan.run_until(at(1.5));
    let query = lan.last_browse();
    assert_eq!(query.message().answers().count(), 0, "no known answer of what said goodbye");
    assert!(!lan.is_lost(id));
    lan.run_until(at(2.01));
    assert!(lan.is_lost(id));
}

#[test]
fn q9_the_flush_bit_ends_older_addresses_in_a_second() {
    let mut lan = watching();
    let name = instance("lab");
    let (old, new): (IpAddr, IpAddr) = ([192, 0, 2, 9].into(), [192, 0, 2, 10].into());
    let txt = signed_url(1, "http://lab.local:8080/stable/arm64/manifest.json");
    let recs = [Rec::txt(&name, &txt, 4500), Rec::a("lab.local", [192, 0, 2, 9], 120)];
    lan.multicast(&V4, HOST, &recs);
    let id = lan.accepted();
    let addresses = |lan: &Lan| lan.client.addresses(id).collect::<Vec<_>>();
    assert_eq!(addresses(&lan), [old]);
    lan.run_until(at(2.0));
    lan.multicast(&V4, HOST, &[Rec::a("lab.local", [192, 0, 2, 10], 120)]);
    assert_eq!(addresses(&lan), [old, new]);
    lan.run_until(at(3.01));
    assert_eq!(addresses(&lan), [new]);
    // Members of one set that come within a second stay together.
    lan.multicast(&V4, HOST, &[Rec::a("lab.local", [192, 0, 2, 11], 120)]);
    lan.run_until(at(3.5));
    lan.multicast(&V4, HOST, &[Rec::a("lab.local", [192, 0, 2, 12], 120)]);
    lan.run_until(at(6.0));
    assert_eq!(addresses(&lan).len(), 2);
    // Another host has no say in it.
    let stranger = IpAddr::from([192, 0, 2, 66]);
    lan.multicast(&V4, stranger, &[Rec::a("lab.local", [192, 0, 2, 66], 120)]);
    assert!(!addresses(&lan).contains(&stranger));
}

#[test]
fn q10_an_answer_ends_the_series_of_a_unique_question() {
    let mut lan = watching();
    let name = instance("lab");
    lan.multicast(&V4, HOST, &[Rec::ptr(SUBTYPE, &name, 4500)]);
    lan.run_until(at(0.5));
    assert!(lan.sent.iter().any(|sent| sent.asks(&name, Type::Txt)));
    lan.multicast(
        &V4,
        HOST,
        &[Rec::txt(&name, &signed(1), 4500), Rec::srv(&name, "lab.local", 120)],
    );
    lan.sent.clear();
    lan.run_until(at(60.0));
    assert!(!lan.sent.iter().any(|sent| sent.asks(&name, Type::Txt)));
    assert!(!lan.sent.iter().any(|sent| sent.asks(&name, Type::Srv)));
}

#[test]
fn q11_known_answers_of_others_are_not_believed() {
    let mut lan = watching();
    let name = instance("lab");
    let recs = [Rec::ptr(SUBTYPE, &name, 4500), Rec::txt(&name, &signed(1), 4500)];
    lan.query(HOST, (SUBTYPE, Type::Ptr), false, &recs);
    lan.run_until(at(10.0));
    assert_eq!(lan.client.candidates().count(), 0);
    assert!(!lan.sent.iter().any(|sent| sent.asks(&name, Type::Txt)));
}

#[test]
fn q12_an_announcement_that_nobody_asked_for_is_used() {
    let mut lan = Lan::one_shot();
    lan.up(&V4);
    lan.multicast(&V4, HOST, &full(1));
    let id = lan.accepted();
    assert_eq!(lan.client.best().map(|best| best.id()), Some(id));
}

#[test]
fn q13_what_was_learned_on_a_link_goes_with_it() {
    let mut lan = watching();
    lan.up(&V6);
    lan.multicast(&V4, HOST, &full(1));
    let id = lan.accepted();
    // The interface is still there by IPv6.
    lan.input(Input::LinkDown(V4.id));
    assert!(!lan.is_lost(id));
    lan.input(Input::LinkDown(V6.id));
    assert!(lan.is_lost(id));
    lan.up(&V4);
    lan.run_for(ms(200));
    assert_eq!(lan.last_browse().message().answers().count(), 0);
}

#[test]
fn q14_reconfirm_asks_at_least_twice_and_gives_up_after_ten_seconds() {
    let mut lan = watching();
    lan.multicast(&V4, HOST, &full(1));
    let id = lan.accepted();
    let name = instance("lab");
    lan.run_until(at(2.0));
    lan.sent.clear();
    lan.reconfirm(id);
    lan.run_until(at(11.9));
    assert!(!lan.is_lost(id));
    let asked = lan.multicasts().iter().filter(|sent| sent.asks(&name, Type::Txt)).count();
    assert!(asked >= 2, "{asked}");
    lan.run_until(at(12.01));
    assert!(lan.is_lost(id));

    let mut lan = watching();
    lan.multicast(&V4, HOST, &full(1));
    let id = lan.accepted();
    lan.reconfirm(id);
    lan.run_until(at(5.0));
    lan.multicast(&V4, HOST, &full(1));
    lan.run_until(at(60.0));
    assert!(!lan.is_lost(id), "it answered");
}

#[test]
fn q15_queries_of_others_that_nobody_answers_put_a_record_in_doubt() {
    let mut lan = watching();
    lan.multicast(&V4, HOST, &full(1));
    let id = lan.accepted();
    let other = IpAddr::from([192, 0, 2, 77]);
    lan.run_until(at(20.0));
    lan.query(other, (SUBTYPE, Type::Ptr), false, &[]);
    lan.run_until(at(21.0));
    lan.query(other, (SUBTYPE, Type::Ptr), false, &[]);
    lan.run_until(at(30.9));
    assert!(!lan.is_lost(id));
    lan.run_until(at(31.01));
    assert!(lan.is_lost(id));

    // One answer, and it stays; so it does where the answer was listed as known.
    let mut lan = watching();
    lan.multicast(&V4, HOST, &full(1));
    let id = lan.accepted();
    for second in 0..8 {
        lan.run_until(at(20.0 + f64::from(second)));
        let known = Rec::ptr(SUBTYPE, &instance("lab"), 4400);
        lan.query(other, (SUBTYPE, Type::Ptr), false, &[known]);
        if second % 2 == 0 {
            lan.query(other, (SUBTYPE, Type::Ptr), false, &[]);
            lan.multicast(&V4, HOST, &full(1));
        }
    }
    lan.run_until(at(40.0));
    assert!(!lan.is_lost(id));
}

#[test]
fn q16_a_restricted_nsec_ends_a_question_and_any_other_says_nothing() {
    let name = instance("lab");
    let asked_later = |nsec: Rec| {
        let mut lan = watching();
        let txt = signed_url(1, "http://lab.local:8080/stable/arm64/manifest.json");
        let a = Rec::a("lab.local", [192, 0, 2, 9], 120);
        lan.multicast(&V4, HOST, &[Rec::txt(&name, &txt, 4500), a, nsec]);
        lan.run_until(at(5.0));
        lan.sent.iter().any(|sent| sent.asks("lab.local", Type::Aaaa))
    };
    assert!(!asked_later(Rec::nsec("lab.local", "lab.local", &[Type::A])));
    assert!(asked_later(Rec::nsec("lab.local", "zzz.local", &[Type::A])), "odd next name");
    assert!(asked_later(Rec::nsec("lab.local", "lab.local", &[Type::A, Type::Aaaa])));

    // What is known is not denied.
    let mut lan = watching();
    lan.multicast(&V4, HOST, &full(1));
    let id = lan.accepted();
    lan.multicast(&V4, HOST, &[Rec::nsec(&name, &name, &[Type::Srv])]);
    lan.run_until(at(5.0));
    assert!(!lan.is_lost(id));
}

#[test]
fn q17_a_one_shot_query_is_answered_within_two_to_three_seconds_or_not_at_all() {
    let check = |seconds: f64| {
        let mut lan = Lan::one_shot();
        lan.up(&V4);
        let query = lan.one_shot_for(SUBTYPE);
        lan.run_until(at(seconds));
        lan.reply(&query, HOST, &full(1));
        lan.client.candidates().count()
    };
    assert_eq!(check(0.001), 1);
    assert_eq!(check(2.0), 1);
    assert_eq!(check(3.0), 0);
}

#[test]
fn q18_records_that_are_not_sent_along_are_asked_for() {
    let name = instance("lab");
    let mut lan = watching();
    let query = lan.one_shot_for(SUBTYPE);
    lan.reply(&query, HOST, &[Rec::ptr(SUBTYPE, &name, 10)]);
    let txt_query = lan.sent.iter().find(|sent| sent.asks(&name, Type::Txt)).unwrap().clone();
    assert_eq!(txt_query.transmit.port, Port::Ephemeral);
    assert_eq!(txt_query.at, lan.now, "at once");
    assert!(lan.sent.iter().any(|sent| sent.asks(&name, Type::Srv)));
    let txt = signed_url(1, "http://lab.local:8080/stable/arm64/manifest.json");
    lan.reply(&txt_query, HOST, &[Rec::txt(&name, &txt, 10)]);
    let id = lan.accepted();
    assert_eq!(lan.client.addresses(id).collect::<Vec<_>>(), [HOST], "its own address until then");
    let a_query = lan.sent.iter().find(|sent| sent.asks("lab.local", Type::A)).unwrap().clone();
    lan.reply(&a_query, HOST, &[Rec::a("lab.local", [192, 0, 2, 10], 10)]);
    assert_eq!(lan.client.addresses(id).collect::<Vec<_>>(), [IpAddr::from([192, 0, 2, 10])]);
    // Nobody answers the rest: the questions go on by multicast and end.
    lan.sent.clear();
    lan.run_until(at(3.0));
    assert!(lan.multicasts().iter().any(|sent| sent.asks(&name, Type::Srv)));
}

#[test]
fn s1_continuous_queries_leave_port_5353_for_the_group_of_the_family() {
    let mut lan = watching();
    lan.up(&V6);
    lan.run_for(Duration::from_secs(5));
    for family in [Family::V4, Family::V6] {
        let group = match family {
            Family::V4 => "224.0.0.251:5353".parse().unwrap(),
            Family::V6 => "[ff02::fb]:5353".parse::<SocketAddr>().unwrap(),
        };
        let of_family: Vec<_> =
            lan.sent.iter().filter(|sent| sent.transmit.link.family == family).collect();
        assert!(of_family.iter().any(|sent| sent.transmit.port == Port::Mdns));
        assert!(of_family.iter().all(|sent| sent.transmit.destination == group));
    }
}

#[test]
fn s2_one_shot_queries_leave_the_ephemeral_port_at_once_with_one_question_each() {
    let mut lan = Lan::one_shot();
    lan.up(&V4);
    lan.up(&V6);
    assert_eq!(lan.now, Instant::ZERO);
    assert_eq!(lan.sent.len(), 4);
    for sent in &lan.sent {
        assert_eq!(sent.transmit.port, Port::Ephemeral);
        let questions = sent.questions();
        assert_eq!(questions.len(), 1);
        assert!(!questions[0].unicast_response);
    }
    let ids: std::collections::BTreeSet<u16> =
        lan.sent.iter().map(|sent| sent.message().id()).collect();
    assert_eq!(ids.len(), 4, "ids are random");
}

#[test]
fn s5_responses_from_another_port_than_5353_are_ignored() {
    let mut lan = watching();
    lan.multicast_from(&V4, SocketAddr::new(HOST, 5354), &full(1));
    let query = lan.one_shot_for(SUBTYPE);
    lan.reply_from(&query, SocketAddr::new(HOST, 5354), &full(1));
    assert_eq!(lan.client.candidates().count(), 0);
    assert_eq!(lan.client.stats().wrong_source_port, 2);
}

#[test]
fn s7_unicast_responses_count_only_for_two_seconds_after_they_were_asked_for() {
    let check = |first_binder: bool, seconds: f64| {
        let mut lan = Lan::with(|config| config.first_binder = first_binder);
        lan.up(&V4);
        lan.run_until(at(seconds));
        lan.unicast(&V4, mdns(HOST), &full(1));
        lan.client.candidates().count()
    };
    assert_eq!(check(true, 0.01), 0, "not asked yet");
    assert_eq!(check(true, 0.2), 1);
    assert_eq!(check(true, 2.0), 1);
    assert_eq!(check(true, 2.2), 0);
    assert_eq!(check(false, 0.2), 0, "never asked");
}

#[test]
fn s8_unicast_responses_count_from_the_link_only_and_multicast_ones_from_anywhere() {
    let mut lan = watching();
    lan.run_until(at(0.2));
    lan.unicast(&V4, mdns(OFF_LINK), &full(1));
    let query = lan.one_shot_for(SUBTYPE);
    lan.reply(&query, OFF_LINK, &full(1));
    assert_eq!(lan.client.candidates().count(), 0);
    assert_eq!(lan.client.stats().off_link, 2);
    lan.multicast(&V4, OFF_LINK, &full(1));
    assert_eq!(lan.client.candidates().count(), 1);
}

#[test]
fn a_one_shot_reply_must_repeat_id_and_question_and_come_by_the_same_link() {
    let mut lan = Lan::one_shot();
    lan.up(&V4);
    lan.up(&V6);
    let query = lan.one_shot_for(SUBTYPE);
    let mut wrong_id = query.clone();
    wrong_id.octets[0] ^= 1;
    lan.reply(&wrong_id, HOST, &full(1));
    let mut wrong_question = query.clone();
    wrong_question.octets[20] ^= 1;
    lan.reply(&wrong_question, HOST, &full(1));
    let mut wrong_link = query.clone();
    wrong_link.transmit.link = V6.id;
    lan.reply(&wrong_link, "fe80::9".parse().unwrap(), &full(1));
    assert_eq!(lan.client.candidates().count(), 0);
    assert_eq!(lan.client.stats().unsolicited, 3);
    lan.run_for(ms(7));
    lan.reply(&query, HOST, &full(1));
    let id = lan.accepted();
    assert_eq!(lan.client.candidate(id).unwrap().rtt(), Some(ms(7)));
}

#[test]
fn w1_queries_have_id_0_and_the_id_of_a_response_is_ignored() {
    let mut lan = watching();
    lan.run_for(Duration::from_secs(5));
    assert!(lan.multicasts().iter().all(|sent| sent.message().id() == 0));
    let mut octets = response(0, None, &full(1));
    octets[..2].copy_from_slice(&[0xAB, 0xCD]);
    lan.deliver(&V4, mdns(HOST), &octets);
    assert_eq!(lan.client.candidates().count(), 1);
}

#[test]
fn w2_w5_w6_header_bits_are_clear_in_queries_and_ignored_in_responses() {
    let mut lan = watching();
    lan.run_for(Duration::from_secs(5));
    assert!(lan.sent.iter().all(|sent| sent.octets[2..4] == [0, 0]));
    // AA clear; TC, RD, RA, Z, AD, CD set.
    for bits in [[0x80, 0x00], [0x86, 0x00], [0x85, 0x00], [0x87, 0xF0]] {
        let mut lan = watching();
        let mut octets = response(0, None, &full(1));
        octets[2..4].copy_from_slice(&bits);
        lan.deliver(&V4, mdns(HOST), &octets);
        assert_eq!(lan.client.candidates().count(), 1, "{bits:?}");
    }
}

#[test]
fn w3_w4_messages_with_an_opcode_or_a_response_code_are_ignored() {
    for bits in [[0x8C, 0x00], [0x84, 0x03], [0xFC, 0x00], [0x84, 0x0F]] {
        let mut lan = watching();
        let mut octets = response(0, None, &full(1));
        octets[2..4].copy_from_slice(&bits);
        lan.deliver(&V4, mdns(HOST), &octets);
        assert_eq!(lan.client.candidates().count(), 0, "{bits:?}");
        assert_eq!(lan.client.stats().ignored_code, 1);
    }
}

#[test]
fn w7_questions_in_a_response_are_ignored() {
    let mut lan = watching();
    let octets = response(0, Some((TYPE, Type::Ptr)), &full(1));
    lan.deliver(&V4, mdns(HOST), &octets);
    assert_eq!(lan.client.candidates().count(), 1);
}

#[test]
fn w10_datagrams_up_to_9000_octets_are_read_and_longer_ones_dropped() {
    let mut lan = watching();
    let mut octets = response(0, None, &full(1));
    octets.resize(9000, 0);
    let mut long = octets.clone();
    long.push(0);
    lan.deliver(&V4, mdns(HOST), &long);
    assert_eq!(lan.client.candidates().count(), 0);
    assert_eq!(lan.client.stats().oversized, 1);
    lan.deliver(&V4, mdns(HOST), &octets);
    assert_eq!(lan.client.candidates().count(), 1);
}

#[test]
fn w11_names_compare_without_regard_to_ascii_case() {
    let mut lan = watching();
    let upper = instance("Lab").to_uppercase();
    lan.multicast(&V4, HOST, &[Rec::ptr(&SUBTYPE.to_uppercase(), &upper, 4500)]);
    lan.multicast(&V4, HOST, &[Rec::txt(&instance("lab"), &signed(1), 4500)]);
    assert_eq!(lan.client.candidates().count(), 1);
    lan.sent.clear();
    lan.run_for(ms(1500));
    assert!(!lan.sent.iter().any(|sent| sent.asks(&upper, Type::Txt)), "it is the same instance");
}

#[test]
fn w15_w16_a_broken_or_unknown_record_hides_no_other() {
    let mut lan = watching();
    let name = instance("lab");
    let recs = [
        Rec::raw("lab.local", 47, &[0xC0]),
        Rec::raw(&name, 65, &[1, 2, 3]),
        Rec::raw(&name, 33, &[0]),
        Rec::raw(&name, 16, &[200, 1]),
        Rec::ptr(SUBTYPE, &name, 4500),
        Rec::txt(&name, &signed(1), 4500),
    ];
    lan.multicast(&V4, HOST, &recs);
    assert_eq!(lan.client.candidates().count(), 1);
    assert_eq!(lan.client.stats().malformed_records, 3);
}

#[test]
fn w17_an_opt_record_is_tolerated() {
    let mut lan = watching();
    let mut recs = vec![Rec::raw("", 41, &[])];
    recs.extend(full(1));
    lan.multicast(&V4, HOST, &recs);
    assert_eq!(lan.client.candidates().count(), 1);
}

#[test]
fn d1_an_instance_name_is_one_label_of_any_text() {
    let mut lan = watching();
    let name = r"Bob's v1\.2 (stabil\195\169)._phase-image._tcp.local";
    lan.multicast(&V4, HOST, &[Rec::ptr(SUBTYPE, name, 4500), Rec::txt(name, &signed(1), 4500)]);
    let id = lan.accepted();
    assert_eq!(lan.client.candidate(id).unwrap().instance(), "Bob's v1.2 (stabilé)");
}

#[test]
fn d3_an_empty_txt_record_says_nothing_and_harms_nothing() {
    for octets in [&[0][..], &[], &[0, 0]] {
        let mut lan = watching();
        let name = instance("lab");
        lan.multicast(&V4, HOST, &[Rec::ptr(SUBTYPE, &name, 4500), Rec::txt(&name, octets, 4500)]);
        assert_eq!(lan.client.candidates().count(), 0);
        lan.multicast(&V4, HOST, &full(1));
        assert_eq!(lan.client.candidates().count(), 1);
    }
}

#[test]
fn d5_d6_unknown_keys_are_ignored_keys_have_no_case_and_the_first_one_counts() {
    let mut lan = watching();
    let mut txt = vec![2, b'=', b'x', 1, b'z'];
    // ARCH=… in capitals, then a second arch.
    let upper: Vec<u8> = {
        let mut octets = signed(1);
        let at = octets.windows(5).position(|w| w == b"arch=").unwrap();
        octets[at..at + 4].make_ascii_uppercase();
        octets
    };
    txt.extend_from_slice(&upper);
    txt.extend_from_slice(b"\x0barch=x86_64\x06future");
    lan.multicast(&V4, HOST, &[Rec::txt(&instance("lab"), &txt, 4500)]);
    lan.accepted();
}

#[test]
fn d7_values_are_octets() {
    let mut lan = watching();
    let mut txt = b"\x04x=\xFF\x00".to_vec();
    txt.extend_from_slice(&signed(1));
    lan.multicast(&V4, HOST, &[Rec::txt(&instance("lab"), &txt, 4500)]);
    lan.accepted();
}

#[test]
fn d8_another_version_of_the_txt_format_is_ignored() {
    let mut lan = watching();
    let mut txt = b"\x09txtvers=2".to_vec();
    txt.extend_from_slice(&signed(1));
    lan.multicast(&V4, HOST, &[Rec::txt(&instance("lab"), &txt, 4500)]);
    assert_eq!(lan.client.candidates().count(), 0);
}

#[test]
fn d9_the_service_name_has_at_most_15_characters_and_runs_over_tcp() {
    let mut lan = watching();
    lan.run_for(Duration::from_secs(2));
    for sent in &lan.sent {
        for question in sent.questions() {
            let labels: Vec<_> = question.name.labels().map(<[u8]>::to_vec).collect();
            let [.., service, protocol, domain] = labels.as_slice() else { panic!() };
            assert!(service.len() <= 16 && service[0] == b'_');
            assert_eq!((protocol.as_slice(), domain.as_slice()), (&b"_tcp"[..], &b"local"[..]));
        }
    }
}

#[test]
fn d10_of_several_srv_records_the_preferred_one_tells_whether_the_host_is_there() {
    let mut lan = watching();
    let name = instance("lab");
    let srv = |priority, weight, port, ttl| Rec::srv_at(&name, (priority, weight, port), ttl);
    lan.multicast(&V4, HOST, &[Rec::txt(&name, &signed(1), 4500)]);
    let recs = [srv(10, 0, 1, 120), srv(0, 1, 2, 600), srv(0, 9, 3, 1200), srv(5, 99, 4, 120)];
    for rec in recs {
        lan.multicast(&V4, HOST, &[rec.shared()]);
    }
    let id = lan.accepted();
    lan.run_until(at(1190.0));
    assert!(!lan.is_lost(id), "the record of priority 0 and weight 9 lives");
    lan.run_until(at(1202.0));
    assert!(lan.is_lost(id));
}

#[test]
fn messages_can_be_read_back() {
    let octets = response(7, Some((SUBTYPE, Type::Ptr)), &full(1));
    let message = Message::decode(&octets).unwrap();
    assert_eq!(message.id(), 7);
    assert_eq!(message.answers().filter(Result::is_ok).count(), 4);
}
