//! 1.A: the wire format.

use phase_core::wire::dns::{Class, Type};
use phase_tests::message::{Asked, Data, Packet, Rr};
use phase_tests::scripted::{
    HOST, INSTANCE, LAN, LAN6, SUBTYPE, Script, TYPE, config, foreign_srv, image, ms, one_shot,
    peer,
};

#[test]
fn w1_multicast_responses_carry_id_0_whatever_was_asked() {
    let mut script = Script::<4>::settled(1);
    let sent = script.ask(peer(), &Packet::query().ask(INSTANCE, Type::Srv).id(0x1234));
    assert_eq!(sent[0].packet.id, 0);
    assert!(sent[0].is_multicast());
}

#[test]
fn w2_responses_are_authoritative_and_queries_are_not() {
    let mut script = Script::<4>::new(config(1));
    script.publish(image("stable", "arm64"));
    script.link_up(LAN, &["192.0.2.1/24"]);
    let sent = script.during(ms(3000));
    let (probes, responses): (Vec<_>, Vec<_>) = sent.iter().partition(|s| !s.packet.is_response());
    assert_eq!((probes.len(), responses.len()), (3, 2));
    assert!(probes.iter().all(|s| s.packet.flags == 0x0000));
    assert!(responses.iter().all(|s| s.packet.flags == 0x8400));
}

#[test]
fn w3_another_opcode_is_ignored() {
    let mut script = Script::<4>::settled(1);
    for flags in [1 << 11, 5 << 11] {
        let packet = Packet { flags, ..Packet::query().ask(INSTANCE, Type::Srv) };
        assert!(script.ask(peer(), &packet).is_empty());
        assert!(script.ask(one_shot(), &packet).is_empty());
    }
    assert_eq!(script.provider.stats().ignored_code, 4);
}

#[test]
fn w4_another_response_code_is_ignored() {
    let mut script = Script::<4>::settled(1);
    let packet = Packet { flags: 3, ..Packet::query().ask(INSTANCE, Type::Srv) };
    assert!(script.ask(peer(), &packet).is_empty());
    assert!(script.ask(one_shot(), &packet).is_empty());
}

#[test]
fn w5_multicast_responses_are_never_truncated() {
    let mut script = Script::<32>::new(config(1));
    (0..32).for_each(|n| script.publish(image(&format!("channel-{n}"), "arm64")));
    script.link_up(LAN, &["192.0.2.1/24"]);
    script.advance(ms(5000));
    let sent = script.ask(peer(), &Packet::query().ask(TYPE, Type::Ptr));
    assert!(!sent.is_empty());
    assert!(sent.iter().all(|s| s.packet.flags == 0x8400));
}

#[test]
fn w6_the_other_header_bits_are_ignored() {
    let mut script = Script::<4>::settled(1);
    // AA, RD, RA, Z, AD, CD.
    let packet = Packet { flags: 0x05F0, ..Packet::query().ask(INSTANCE, Type::Srv) };
    let sent = script.ask(peer(), &packet);
    assert_eq!(sent[0].packet.flags, 0x8400);
}

#[test]
fn w7_multicast_responses_have_no_questions_and_questions_in_responses_are_ignored() {
    let mut script = Script::<4>::settled(1);
    let sent = script.ask(peer(), &Packet::query().ask(INSTANCE, Type::Any));
    assert!(sent[0].packet.questions.is_empty());
    let packet = Packet::response().ask(INSTANCE, Type::Any);
    assert!(script.ask(peer(), &packet).is_empty());
    script.hear(peer(), &packet.answer(foreign_srv()));
    assert_eq!(script.provider.stats().conflicts, 1, "the record behind the question counts");
}

#[test]
fn w8_names_and_names_in_record_data_are_compressed() {
    let mut script = Script::<4>::settled(1);
    let sent = script.ask(peer(), &Packet::query().ask(SUBTYPE, Type::Ptr));
    let occurrences =
        |text: &[u8]| sent[0].octets.windows(text.len()).filter(|w| *w == text).count();
    assert_eq!(occurrences(b"_phase-image"), 1);
    assert_eq!(occurrences(b"\x05local"), 1);
    assert_eq!(occurrences(b"\x06my-mac"), 1);
}

#[test]
fn w9_the_srv_target_is_not_compressed_in_legacy_responses() {
    let mut script = Script::<4>::settled(1);
    let sent = script.ask(one_shot(), &Packet::query().ask(INSTANCE, Type::Srv));
    let target = b"\x06my-mac\x05local\x00";
    let rdata = [&[0, 0, 0, 0, 0x1F, 0x90][..], target].concat();
    assert!(sent[0].octets.windows(rdata.len()).any(|w| w == rdata));
}

#[test]
fn w10_packets_stay_within_the_mtu() {
    for (link, mtu, max) in
        [(LAN, 1500, 1472), (LAN6, 1500, 1452), (LAN6, 1280, 1232), (LAN, 9000, 1472)]
    {
        let mut script = Script::<32>::new(config(1));
        (0..32).for_each(|n| script.publish(image(&format!("channel-{n}"), "arm64")));
        script.link_up_mtu(link, &["192.0.2.1/24", "fe80::1/64"], mtu);
        let sent = script.during(ms(4000));
        assert!(sent.len() > 20);
        assert!(sent.iter().all(|s| s.octets.len() <= max), "{mtu}");
        assert!(sent.iter().any(|s| s.octets.len() > max / 2), "packets are filled");
        let announced = sent.iter().flat_map(|s| s.packet.answers_of(TYPE, Type::Ptr)).count();
        assert_eq!(announced, 64, "every instance twice");
    }
}

#[test]
fn w10_a_record_that_does_not_fit_alone_is_sent_in_fragments() {
    let mut script = Script::<1>::new(config(1));
    script.publish(image(&"c".repeat(32), &"a".repeat(16)));
    script.link_up_mtu(LAN, &["192.0.2.1/24"], 576);
    let sent = script.during(ms(4000));
    let texts =
        sent.iter().filter(|s| s.packet.answers.iter().any(|rr| rr.data.rtype() == Type::Txt));
    assert_eq!(texts.count(), 2);
    assert!(
        sent.iter()
            .filter(|s| s.packet.is_response())
            .all(|s| s.octets.len() <= 548 || s.packet.records().count() == 1)
    );
}

#[test]
fn w10_datagrams_over_9000_octets_are_dropped() {
    let mut script = Script::<4>::settled(1);
    let mut octets = Packet::query().ask(INSTANCE, Type::Srv).encode();
    octets.resize(9001, 0);
    script.take();
    script.hear_on(LAN, peer(), &octets);
    assert!(script.take().is_empty());
    assert_eq!(script.provider.stats().oversized, 1);
    octets.resize(9000, 0);
    script.hear_on(LAN, peer(), &octets);
    assert_eq!(script.take().len(), 1);
}

#[test]
fn w11_names_are_compared_without_ascii_case_and_sent_with_ours() {
    let mut script = Script::<4>::settled(1);
    let sent = script.ask(peer(), &Packet::query().ask("_PHASE-IMAGE._Tcp.LOCAL", Type::Ptr));
    let answer = &sent[0].packet.answers[0];
    assert_eq!((answer.name.as_str(), &answer.data), (TYPE, &Data::Ptr(INSTANCE.into())));
    let known = Rr::new("_Phase-Image._TCP.local", Data::Ptr(INSTANCE.to_uppercase())).ttl(4500);
    script.advance(ms(2000));
    let sent = script.ask(peer(), &Packet::query().ask(TYPE, Type::Ptr).answer(known));
    assert!(sent.is_empty(), "a known answer in another case is known");
}

#[test]
fn w12_a_name_of_255_octets_is_read() {
    let mut script = Script::<4>::settled(1);
    let longest =
        [&"a".repeat(63), &"b".repeat(63), &"c".repeat(63), "d".repeat(62).as_str()].join(".");
    let packet = Packet::query().ask(&longest, Type::Any).ask(INSTANCE, Type::Srv);
    let sent = script.ask(peer(), &packet);
    assert_eq!(sent[0].packet.answers_of(INSTANCE, Type::Srv).count(), 1);
}

#[test]
fn w14_the_flush_bit_is_on_unique_records_and_on_nothing_else() {
    let mut script = Script::<4>::new(config(1));
    script.publish(image("stable", "arm64"));
    script.link_up(LAN, &["192.0.2.1/24", "fe80::1/64"]);
    let sent = script.during(ms(3000));
    let unique = |rr: &Rr| rr.data.rtype() != Type::Ptr;
    for one in &sent {
        let response = one.packet.is_response();
        assert!(one.packet.records().all(|rr| rr.flush == (response && unique(rr))), "{one:?}");
    }
    let legacy = script.ask(one_shot(), &Packet::query().ask(TYPE, Type::Ptr));
    assert!(legacy[0].packet.records().all(|rr| !rr.flush));
}

#[test]
fn w15_a_broken_nsec_does_not_discard_its_message() {
    let mut script = Script::<4>::settled(1);
    let broken = Rr::new(INSTANCE, Data::Raw(47, vec![0]));
    let packet = Packet::response().answer(broken).answer(foreign_srv());
    script.hear(peer(), &packet);
    assert_eq!(script.provider.stats().conflicts, 1);
}

#[test]
fn w16_an_unknown_type_or_class_skips_one_question() {
    let mut script = Script::<4>::settled(1);
    let mut packet = Packet::query().ask("rival.local", Type::from(65)).ask(INSTANCE, Type::Srv);
    let (name, unicast) = (INSTANCE.into(), false);
    packet.questions.push(Asked { name, qtype: Type::Txt, qclass: Class::from(3), unicast });
    let sent = script.ask(peer(), &packet);
    assert_eq!(sent[0].packet.answers.len(), 1);
    assert_eq!(sent[0].packet.answers[0].data.rtype(), Type::Srv);
}

#[test]
fn w17_edns0_is_tolerated() {
    let mut script = Script::<4>::settled(1);
    // The class field, 1440, is a length; encoded here as an owner-less record of type 41.
    let mut octets = Packet::query().ask(HOST, Type::A).encode();
    octets[11] = 1;
    octets.extend([0, 0, 41, 0x85, 0xA0, 0, 0, 0, 0, 0, 0]);
    script.hear_on(LAN, peer(), &octets);
    let sent = script.take();
    assert_eq!(sent[0].packet.answers_of(HOST, Type::A).count(), 1);
}
