//! The DNS codec: what is written reads back; every octet string is survived.

use std::net::{Ipv4Addr, Ipv6Addr};

use phase_core::rng::Rng;
use phase_core::wire::cursor::Reader;
use phase_core::wire::dns::{
    Class, Compression, Flags, Message, MessageWriter, Name, NameBuf, Nsec, Question, Record,
    RecordData, Section, Srv, Txt, TxtWriter, Type, TypeWindow,
};
use phase_tests::fuzz_bodies;

use super::{below, rng};

const CASES: usize = 10_000;

#[test]
fn a_written_message_reads_back_as_it_was() {
    let mut rng = rng("messages");
    for case in 0..CASES {
        let parts = Parts::draw(&mut rng);
        let records = parts.records(&mut rng);
        let questions = parts.questions(&mut rng);
        let (id, flags) = (rng.u16(), Flags(rng.u16()));
        let compression = [Compression::Multicast, Compression::LegacyUnicast][below(&mut rng, 2)];
        let mut buffer = vec![0xa5; 9000];
        let mut w = MessageWriter::new(&mut buffer, id, flags, compression);
        questions.iter().for_each(|question| w.question(question).expect("room"));
        for (section, record) in &records {
            w.record(*section, record).expect("room");
        }
        let len = w.finish().expect("room");
        assert!(
            buffer[len..].iter().all(|octet| *octet == 0xa5),
            "case {case}: wrote past its end"
        );

        let message = Message::decode(&buffer[..len]).expect("a header");
        assert_eq!((message.id(), message.flags()), (id, flags), "case {case}");
        let read: Vec<_> = message.questions().map(|q| q.expect("a question")).collect();
        assert_eq!(read, questions, "case {case}");
        let read: Vec<_> =
            message.records().map(|(section, r)| (section, r.expect("a record"))).collect();
        assert_eq!(read, records, "case {case}");
        for (read, wrote) in read.iter().zip(&records) {
            // Equality ignores case; the text does not.
            assert_eq!(read.1.to_string(), wrote.1.to_string(), "case {case}");
        }
        fuzz_bodies::dns_message(&buffer[..len]);
    }
}

#[test]
fn a_full_buffer_leaves_whole_records_out_and_the_message_valid() {
    let mut rng = rng("rooms");
    for case in 0..CASES {
        let parts = Parts::draw(&mut rng);
        let records = parts.records(&mut rng);
        let room = 12 + below(&mut rng, 400);
        let mut buffer = vec![0xa5; room + 8];
        let mut w =
            MessageWriter::new(&mut buffer[..room], 0, Flags::RESPONSE, Compression::Multicast);
        let fitted: Vec<_> =
            records.iter().filter(|(s, record)| w.record(*s, record).is_ok()).collect();
        let len = w.finish().expect("room for the header");
        assert!(buffer[room..].iter().all(|octet| *octet == 0xa5), "case {case}");
        let message = Message::decode(&buffer[..len]).expect("a header");
        let read: Vec<_> =
            message.records().map(|(section, r)| (section, r.expect("a record"))).collect();
        assert!(read.iter().eq(fitted), "case {case}");
    }
}

#[test]
fn compression_never_makes_a_message_longer() {
    let mut rng = rng("lengths");
    for case in 0..CASES {
        let parts = Parts::draw(&mut rng);
        let records = parts.records(&mut rng);
        let plain: usize = records
            .iter()
            .map(|(_, record)| record.name.encoded_len() + 10 + record.data.uncompressed_len())
            .sum();
        let mut buffer = vec![0; 9000];
        let mut w = MessageWriter::new(&mut buffer, 0, Flags::RESPONSE, Compression::Multicast);
        for (section, record) in &records {
            w.record(*section, record).expect("room");
        }
        assert!(w.finish().expect("room") <= 12 + plain, "case {case}");
    }
}

#[test]
fn the_tie_break_is_a_total_order() {
    let mut rng = rng("order");
    for case in 0..CASES {
        let parts = [Parts::draw(&mut rng), Parts::draw(&mut rng)];
        let mut records: Vec<_> = parts.iter().flat_map(|parts| parts.records(&mut rng)).collect();
        records.sort_by(|(_, a), (_, b)| a.compare_for_tie_break(b));
        for (at, (_, a)) in records.iter().enumerate() {
            for (_, b) in &records[at..] {
                let order = a.compare_for_tie_break(b);
                assert!(order.is_le(), "case {case}: {a} {b}");
                assert_eq!(order, b.compare_for_tie_break(a).reverse(), "case {case}");
            }
        }
    }
}

/// Every string of up to six of these octets behind a header, read as a name from each of its offsets.
#[test]
fn reading_a_name_ends_for_every_small_packet() {
    const OCTETS: [u8; 9] = [0, 1, 2, 63, 64, 0xC0, 12, 13, 15];
    let mut accepted = 0_u32;
    for len in 1..=6_u32 {
        for number in 0..9_usize.pow(len) {
            let mut packet = vec![0; 12];
            packet.extend((0..len).map(|digit| OCTETS[number / 9_usize.pow(digit) % 9]));
            for at in 12..packet.len() {
                let mut reader = Reader::new(&packet);
                reader.take(at, "start").expect("inside");
                if let Ok(name) = Name::decode(&mut reader) {
                    accepted += 1;
                    let octets: usize = name.labels().map(|label| label.len() + 1).sum();
                    assert_eq!(octets + 1, name.encoded_len(), "{packet:?}");
                }
            }
        }
    }
    assert!(accepted > 100_000, "the octets make names: {accepted}");
}

#[test]
fn random_octets_are_survived() {
    let mut rng = rng("octets");
    for _ in 0..CASES {
        let len = below(&mut rng, 300);
        // Small numbers and pointers make more of a message than uniform octets.
        let octets: Vec<u8> = (0..len)
            .map(|_| match below(&mut rng, 4) {
                0 => 0,
                1 => u8::try_from(below(&mut rng, 64)).expect("below 64"),
                2 => 0xC0,
                _ => rng.u16().to_be_bytes()[0],
            })
            .collect();
        for (_, body) in fuzz_bodies::TARGETS {
            body(&octets);
        }
    }
}

/// Owned values that a message is made of.
struct Parts {
    names: Vec<NameBuf>,
    txt: Vec<u8>,
    window: TypeWindow,
    opaque: Vec<u8>,
}

impl Parts {
    fn draw(rng: &mut Rng) -> Self {
        let names = (0..=below(rng, 6)).map(|_| draw_name(rng)).collect();
        let mut buffer = vec![0xa5; 1300];
        let mut w = TxtWriter::new(&mut buffer);
        for _ in 0..below(rng, 5) {
            let value = draw_octets(rng, 60);
            w.push(b"key", [None, Some(value.as_slice())][below(rng, 2)]);
        }
        let txt = w.finish().expect("room").as_octets().to_vec();
        let types: Vec<_> = (0..below(rng, 5)).map(|_| Type::from(rng.u16() & 0xff)).collect();
        Self { names, txt, window: TypeWindow::of(&types), opaque: draw_octets(rng, 40) }
    }

    fn name(&self, rng: &mut Rng) -> Name<'_> {
        self.names[below(rng, self.names.len())].as_name()
    }

    fn questions(&self, rng: &mut Rng) -> Vec<Question<'_>> {
        let count = below(rng, 4);
        let draw = |_| Question {
            name: self.name(rng),
            qtype: rng.u16().into(),
            qclass: (rng.u16() & 0x7FFF).into(),
            unicast_response: rng.u16() & 1 == 1,
        };
        (0..count).map(draw).collect()
    }

    fn records(&self, rng: &mut Rng) -> Vec<(Section, Record<'_>)> {
        let sections = [Section::Answer, Section::Authority, Section::Additional];
        let mut records: Vec<_> =
            (0..below(rng, 12)).map(|_| (sections[below(rng, 3)], self.record(rng))).collect();
        records.sort_by_key(|(section, _)| *section);
        records
    }

    fn record(&self, rng: &mut Rng) -> Record<'_> {
        let data = match below(rng, 8) {
            0 => RecordData::A(Ipv4Addr::from_bits(rng.u64() as u32)),
            1 => RecordData::Aaaa(Ipv6Addr::from_bits(u128::from(rng.u64()) << 64)),
            2 => RecordData::Ptr(self.name(rng)),
            3 => RecordData::Srv(Srv {
                priority: rng.u16(),
                weight: rng.u16(),
                port: rng.u16(),
                target: self.name(rng),
            }),
            4 => RecordData::Txt(Txt::from_octets(&self.txt).expect("written as strings")),
            5 => RecordData::Nsec(Nsec { next: self.name(rng), types: self.window.as_bitmap() }),
            6 => RecordData::Unknown { rtype: Type::Opt, rdata: &self.opaque },
            _ => RecordData::Unknown {
                rtype: Type::Unknown(1000 + rng.u16() % 9),
                rdata: &self.opaque,
            },
        };
        let opt = data.rtype() == Type::Opt;
        let class = if opt { Class::from(rng.u16()) } else { Class::from(rng.u16() & 0x7FFF) };
        let cache_flush = !opt && rng.u16() & 1 == 1;
        Record { name: self.name(rng), class, cache_flush, ttl: rng.u64() as u32, data }
    }
}

/// A name of few different labels, so that names share their ends, in both cases; now and then a long one.
fn draw_name(rng: &mut Rng) -> NameBuf {
    const LABELS: [&[u8]; 8] = [
        b"local",
        b"LOCAL",
        b"_tcp",
        b"_phase-image",
        b"a",
        b"b",
        b"Bob's v1.2 (stable)",
        b"\x00\xff.",
    ];
    let mut name = NameBuf::new();
    for _ in 0..below(rng, 6) {
        name.push(LABELS[below(rng, 8)]).expect("short labels");
    }
    while below(rng, 8) == 0 {
        let label = draw_octets(rng, 62);
        if label.is_empty() || name.push(&label).is_err() {
            break;
        }
    }
    name
}

fn draw_octets(rng: &mut Rng, end: usize) -> Vec<u8> {
    (0..below(rng, end)).map(|_| rng.u16().to_be_bytes()[0]).collect()
}
