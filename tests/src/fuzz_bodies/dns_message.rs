//! A whole DNS message: decode, write again, and compare with another decoder.

use phase_core::limits::{DATAGRAM_MAX, QUESTIONS_PER_MESSAGE, RECORDS_PER_MESSAGE};
use phase_core::wire::dns::{
    Compression, Message, MessageWriter, Question, Record, RecordData, Section,
};
use simple_dns::rdata::RData;

use super::dns_name::check_name;

/// What of a message can be read.
#[derive(Debug, PartialEq)]
struct Parts<'a> {
    questions: Vec<Question<'a>>,
    records: Vec<(Section, Record<'a>)>,
}

/// Holds the laws of the message codec for any octets, as a message.
///
/// # Panics
/// When a law is broken.
pub fn dns_message(data: &[u8]) {
    let Ok(message) = Message::decode(data) else {
        assert!(
            data.len() < 12 || data.len() > 65_535,
            "only its length refuses a message at once"
        );
        return;
    };
    let _ = message.to_string();
    check_iterators(&message);
    let parts = read(&message);
    for question in &parts.questions {
        check_name(&question.name);
    }
    for (_, record) in &parts.records {
        check_record(record);
    }
    for pair in parts.records.windows(2) {
        let (a, b) = (&pair[0].1, &pair[1].1);
        assert_eq!(a.compare_for_tie_break(b), b.compare_for_tie_break(a).reverse());
    }
    if data.len() > DATAGRAM_MAX {
        return;
    }
    // A record of 14 octets can become one of 522 when its names are written in full.
    let room = (64 + data.len() * 40).min(65_535);
    for compression in [Compression::Multicast, Compression::LegacyUnicast] {
        let mut first = vec![0xa5; room];
        let len = write(&message, &parts, compression, &mut first);
        let again = Message::decode(&first[..len]).expect("what was written has a header");
        let read_again = read(&again);
        assert_eq!(read_again, parts, "what was written reads back");
        let mut second = vec![0x5a; room];
        assert_eq!(write(&again, &read_again, compression, &mut second), len);
        assert_eq!(first[..len], second[..len], "writing twice changes nothing");
        write_cut(&message, &parts, compression, len);
    }
    compare_with_simple_dns(data, &message, &parts);
}

/// The four ways to iterate agree and keep to their limits.
fn check_iterators(message: &Message<'_>) {
    assert!(message.questions().count() <= QUESTIONS_PER_MESSAGE);
    let all: Vec<_> = message.records().filter_map(|(_, record)| record.ok()).collect();
    let sections = [message.answers(), message.authorities(), message.additionals()];
    let apart: Vec<_> = sections.into_iter().flatten().filter_map(Result::ok).collect();
    assert_eq!(all, apart);
    assert!(message.records().count() <= RECORDS_PER_MESSAGE);
}

fn read<'a>(message: &Message<'a>) -> Parts<'a> {
    Parts {
        questions: message.questions().filter_map(Result::ok).collect(),
        records: message
            .records()
            .filter_map(|(section, record)| record.ok().map(|record| (section, record)))
            .collect(),
    }
}

fn check_record(record: &Record<'_>) {
    check_name(&record.name);
    if let Some(name) = record.data.name() {
        check_name(&name);
    }
    let len = record.data.uncompressed_len();
    let mut plain = vec![0xa5; len];
    assert_eq!(record.data.write_uncompressed(&mut plain), Ok(len));
    let mut reader = phase_core::wire::cursor::Reader::new(&plain);
    let copy = RecordData::decode(record.data.rtype(), &mut reader).expect("plain data reads back");
    assert_eq!(copy, record.data);
    assert!(copy.compare_uncompressed(&record.data).is_eq());
    if let RecordData::Txt(txt) = &record.data {
        super::txt(txt.as_octets());
    }
}

fn write(
    message: &Message<'_>,
    parts: &Parts<'_>,
    compression: Compression,
    out: &mut [u8],
) -> usize {
    let mut w = MessageWriter::new(out, message.id(), message.flags(), compression);
    for question in &parts.questions {
        w.question(question).expect("room for a question");
    }
    for (section, record) in &parts.records {
        w.record(*section, record).expect("room for a record");
    }
    w.finish().expect("room")
}

/// With less room, a message holds what fits and stays whole.
fn write_cut(message: &Message<'_>, parts: &Parts<'_>, compression: Compression, len: usize) {
    let room = 12 + (len - 12) / 2;
    let mut out = vec![0xa5; room];
    let mut w = MessageWriter::new(&mut out, message.id(), message.flags(), compression);
    let questions: Vec<_> = parts
        .questions
        .iter()
        .copied()
        .take_while(|question| w.question(question).is_ok())
        .collect();
    let records: Vec<_> = parts
        .records
        .iter()
        .copied()
        .filter(|(section, record)| w.record(*section, record).is_ok())
        .collect();
    let len = w.finish().expect("room for a header");
    let cut = Message::decode(&out[..len]).expect("a header");
    assert_eq!(read(&cut), Parts { questions, records });
}

/// Where both accept the whole message, both must see the same.
fn compare_with_simple_dns(data: &[u8], message: &Message<'_>, parts: &Parts<'_>) {
    let counts = [Section::Answer, Section::Authority, Section::Additional]
        .iter()
        .map(|section| usize::from(message.count(*section)));
    let whole = counts.sum::<usize>() == parts.records.len()
        && usize::from(message.count(Section::Question)) == parts.questions.len();
    let Ok(other) = simple_dns::Packet::parse(data) else { return };
    if !whole {
        return;
    }
    for (ours, theirs) in parts.questions.iter().zip(&other.questions) {
        assert!(same_name(&ours.name, &theirs.qname), "{ours} {theirs:?}");
        assert_eq!(ours.unicast_response, theirs.unicast_response);
    }
    let sections = [(Section::Answer, &other.answers), (Section::Authority, &other.name_servers)];
    for (section, theirs) in sections {
        let ours = parts.records.iter().filter(|(s, _)| *s == section).map(|(_, record)| record);
        // It keeps OPT apart wherever it stands.
        if ours.clone().count() == theirs.len() {
            ours.zip(theirs).for_each(|(ours, theirs)| compare_records(ours, theirs));
        }
    }
}

fn compare_records(ours: &Record<'_>, theirs: &simple_dns::ResourceRecord<'_>) {
    assert!(same_name(&ours.name, &theirs.name), "{ours} {theirs:?}");
    assert_eq!((ours.ttl, ours.cache_flush), (theirs.ttl, theirs.cache_flush));
    let same = match (&ours.data, &theirs.rdata) {
        (RecordData::A(a), RData::A(b)) => a.to_bits() == b.address,
        (RecordData::Aaaa(a), RData::AAAA(b)) => a.to_bits() == b.address,
        (RecordData::Ptr(a), RData::PTR(b)) => same_name(a, &b.0),
        (RecordData::Srv(a), RData::SRV(b)) => {
            (a.priority, a.weight, a.port) == (b.priority, b.weight, b.port)
                && same_name(&a.target, &b.target)
        }
        (RecordData::Nsec(a), RData::NSEC(b)) => same_name(&a.next, &b.next_name),
        _ => true,
    };
    assert!(same, "{ours} {theirs:?}");
}

fn same_name(ours: &phase_core::wire::dns::Name<'_>, theirs: &simple_dns::Name<'_>) -> bool {
    ours.labels().eq(theirs.get_labels().iter().map(AsRef::as_ref))
}
