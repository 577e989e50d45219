//! Hostile DNS messages: the six classes of RFC 9267 in every field that holds them, and replays of published
//! attacks on other implementations.

use std::net::Ipv4Addr;

use phase_core::limits::{QUESTIONS_PER_MESSAGE, RECORDS_PER_MESSAGE};
use phase_core::wire::Error;
use phase_core::wire::dns::{
    Class, Compression, Flags, Message, MessageWriter, NameBuf, Record, RecordData, Txt, Type,
};
use phase_tests::fuzz_bodies;

use super::{Vector, files};

/// Where a name can stand.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Field {
    Question,
    Owner,
    Ptr,
    SrvTarget,
    NsecNext,
}

const FIELDS: [Field; 5] =
    [Field::Question, Field::Owner, Field::Ptr, Field::SrvTarget, Field::NsecNext];

fn header(counts: [u16; 4]) -> Vec<u8> {
    let mut octets = vec![0, 0, 0x84, 0];
    octets.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
    octets
}

/// A record of class IN with TTL 120.
fn record(owner: &[u8], rtype: u16, data: &[u8]) -> Vec<u8> {
    let [high, low] = rtype.to_be_bytes();
    let mut octets = owner.to_vec();
    octets.extend([high, low, 0x80, 1, 0, 0, 0, 120]);
    octets.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    octets.extend(data);
    octets
}

fn good() -> Vec<u8> {
    record(b"\x01g\x05local\x00", 1, &[192, 0, 2, 1])
}

/// A message with `name` in `field` and a good record behind it; `name` stands at the second offset.
fn message_with(field: Field, name: &[u8]) -> Vec<u8> {
    let mut octets = match field {
        Field::Question => header([1, 1, 0, 0]),
        Field::Owner | Field::Ptr | Field::SrvTarget | Field::NsecNext => header([0, 2, 0, 0]),
    };
    match field {
        Field::Question => octets.extend([name, &[0, 12, 0, 1]].concat()),
        Field::Owner => octets.extend(record(name, 1, &[192, 0, 2, 9])),
        Field::Ptr => octets.extend(record(&[0], 12, name)),
        Field::SrvTarget => octets.extend(record(&[0], 33, &[&[0; 6], name].concat())),
        Field::NsecNext => octets.extend(record(&[0], 47, &[name, &[0, 1, 0x40]].concat())),
    }
    octets.extend(good());
    octets
}

fn offset_of(field: Field) -> u8 {
    match field {
        Field::Question | Field::Owner => 12,
        Field::Ptr | Field::NsecNext => 12 + 11,
        Field::SrvTarget => 12 + 11 + 6,
    }
}

/// Refused with an error in this field; in data, the good record behind it is still read.
fn assert_refused(field: Field, name: &[u8]) -> Error {
    let octets = message_with(field, name);
    fuzz_bodies::dns_message(&octets);
    let message = Message::decode(&octets).unwrap();
    if field == Field::Question {
        let questions: Vec<_> = message.questions().collect();
        assert_eq!(questions.len(), 1);
        return questions[0].unwrap_err();
    }
    let records: Vec<_> = message.answers().collect();
    let survivors = records.iter().filter(|record| record.is_ok()).count();
    assert_eq!(survivors, usize::from(field != Field::Owner), "{field:?} {name:?}");
    records[0].unwrap_err()
}

/// RFC 9267 §2 and §3: pointers forward, at themselves, in a circle, beyond the message and into the header.
#[test]
fn rfc_9267_compression_pointers() {
    for field in FIELDS {
        let here = offset_of(field);
        let pointers: [&[u8]; 7] = [
            &[0xC0, here],
            &[0xC0, here + 1],
            &[0xC0, here + 40],
            &[0xFF, 0xFF],
            &[0xC0, 0],
            &[0xC0, 11],
            &[1, b'a', 0xC0, here],
        ];
        for pointer in pointers {
            assert_eq!(
                assert_refused(field, pointer),
                Error::Malformed("compression pointer"),
                "{field:?} {pointer:?}"
            );
        }
    }
}

/// RFC 9267 §4: lengths of labels and names.
#[test]
fn rfc_9267_label_and_name_lengths() {
    let longest = [&[63][..], &[b'x'; 63]].concat().repeat(3);
    let fits = [&longest[..], &[62], &[b'y'; 62], &[0]].concat();
    let too_long = [&longest[..], &[63], &[b'y'; 63], &[0]].concat();
    let endless = [1, b'a'].repeat(4000);
    for field in FIELDS {
        for octet in [0x40, 0x41, 0x7F, 0x80, 0xBF] {
            let error = assert_refused(field, &[octet, 1, 2, 0]);
            assert_eq!(error, Error::Malformed("label type"));
        }
        assert_eq!(assert_refused(field, &too_long), Error::Malformed("name length"));
        assert_eq!(assert_refused(field, &endless), Error::Malformed("name length"));
        let octets = message_with(field, &fits);
        fuzz_bodies::dns_message(&octets);
        let message = Message::decode(&octets).unwrap();
        assert!(message.questions().all(|q| q.is_ok()) && message.answers().all(|r| r.is_ok()));
    }
}

/// RFC 9267 §5: a name without its root octet must not take octets behind its field.
#[test]
fn rfc_9267_missing_terminator() {
    for field in [Field::Ptr, Field::SrvTarget, Field::NsecNext] {
        let error = match field {
            // What stands for the end of the name is the bitmap.
            Field::NsecNext => Error::Malformed("NSEC window length"),
            Field::Question | Field::Owner | Field::Ptr | Field::SrvTarget => {
                Error::Truncated("name")
            }
        };
        assert_eq!(assert_refused(field, b"\x05local"), error);
        assert!(matches!(assert_refused(field, b"\x3flocal"), Error::Truncated("name")));
        assert!(matches!(
            assert_refused(field, b"\x05local\xC0"),
            Error::Truncated(_) | Error::Malformed(_)
        ));
    }
    for octets in [
        &b"\x05local"[..],
        b"\x05loc",
        b"\x05local\xC0",
        b"",
        b"\x05local\x00",
        b"\x05local\x00\x00\x0c\x80",
    ] {
        for counts in [[1, 0, 0, 0], [0, 1, 0, 0]] {
            let octets = [header(counts), octets.to_vec()].concat();
            let message = Message::decode(&octets).unwrap();
            assert!(
                message.questions().all(|q| q.is_err()) && message.answers().all(|r| r.is_err())
            );
            fuzz_bodies::dns_message(&octets);
        }
    }
}

/// RFC 9267 §6: RDLENGTH beyond the message, and too short or too long for its type.
#[test]
fn rfc_9267_record_data_length() {
    let data: [(u16, &[u8]); 6] = [
        (1, &[192, 0, 2, 1]),
        (28, &[0; 16]),
        (12, b"\x01h\x00"),
        (33, b"\x00\x00\x00\x00\x1f\x90\x01h\x00"),
        (16, b"\x03a=b"),
        (47, b"\x01h\x00\x00\x01\x40"),
    ];
    for (rtype, data) in data {
        let whole = record(&[0], rtype, data);
        for wrong in 0..=u16::try_from(data.len() + 40).unwrap() {
            let mut octets = [header([0, 2, 0, 0]), whole.clone(), good()].concat();
            octets[12 + 9..12 + 11].copy_from_slice(&wrong.to_be_bytes());
            fuzz_bodies::dns_message(&octets);
            let first = Message::decode(&octets).unwrap().answers().next().unwrap();
            let right = usize::from(wrong) == data.len();
            // Other lengths of TXT can hold strings too, and NSEC can say that there is no type.
            if !right && (rtype == 16 || (rtype == 47 && wrong == 3)) {
                continue;
            }
            assert_eq!(first.is_ok(), right, "type {rtype} length {wrong}");
        }
        let mut octets = [header([0, 1, 0, 0]), whole].concat();
        octets[12 + 9..12 + 11].copy_from_slice(&u16::MAX.to_be_bytes());
        let records: Vec<_> = Message::decode(&octets).unwrap().answers().collect();
        assert_eq!(records, [Err(Error::Truncated("record data"))]);
    }
}

/// RFC 9267 §7: counts that promise more than there is, or hide what is there.
#[test]
fn rfc_9267_counts() {
    for section in 0..4 {
        for count in [0, 1, 2, 64, 65, 0x7FFF, 0xFFFF] {
            let mut counts = [0; 4];
            counts[section] = count;
            let octets = [header(counts), good().repeat(2)].concat();
            fuzz_bodies::dns_message(&octets);
            let message = Message::decode(&octets).unwrap();
            let read = message.records().filter(|(_, record)| record.is_ok()).count();
            let expected = if section == 0 { 0 } else { usize::from(count.min(2)) };
            assert_eq!(read, expected);
            assert!(message.records().count() <= expected + 1);
        }
    }
}

/// zeroconf PYSEC-2026-3436, mdns-sd 253, CVE-2024-8508: long chains of pointers, and many records that walk one.
#[test]
fn a_chain_of_pointers_costs_no_more_than_its_limit() {
    let mut octets = header([0, 900, 0, 0]);
    let chain_start = 12 + 11;
    let mut chain = vec![0];
    for hop in 0..1500_u16 {
        let target = chain_start + if hop == 0 { 0 } else { 2 * hop - 1 };
        chain.extend((0xC000 | target).to_be_bytes());
    }
    let last = chain_start + u16::try_from(chain.len()).unwrap() - 2;
    octets.extend(record(&[0], 99, &chain));
    let pointer = (0xC000 | last).to_be_bytes();
    octets.extend(record(&[0], 12, &pointer).repeat(400));
    octets.truncate(9000);
    let message = Message::decode(&octets).unwrap();
    let records: Vec<_> = message.records().map(|(_, record)| record).collect();
    assert_eq!(records.len(), RECORDS_PER_MESSAGE);
    assert!(records[0].is_ok());
    assert!(
        records[1..].iter().all(|r| *r == Err(Error::Malformed("compression pointers: too many")))
    );
}

/// systemd-resolved CVE-2017-15908: NSEC bitmaps whose bits are all clear or all set made a loop endless.
#[test]
fn nsec_bitmaps_of_all_shapes_end() {
    for window in [0, 1, 255] {
        for len in 1..=32_u8 {
            for fill in [0, 0xFF] {
                let data = [&[0, window, len][..], &vec![fill; usize::from(len)]].concat();
                let octets = [header([0, 1, 0, 0]), record(&[0], 47, &data)].concat();
                fuzz_bodies::dns_message(&octets);
                let record = Message::decode(&octets).unwrap().answers().next().unwrap().unwrap();
                let RecordData::Nsec(nsec) = record.data else { panic!("not NSEC") };
                let types = usize::from(len) * if fill == 0 { 0 } else { 8 };
                assert_eq!(nsec.types.types().count(), types);
            }
        }
    }
    // RFC 6762 §6.1: what cannot be read costs that record alone.
    for broken in [
        &b"\x00\x00\x00"[..],
        b"\x00\x00\x21",
        b"\x00\x00\x02\x40",
        b"\x00\x00",
        b"\xC0\xFF\x00\x01\x40",
        b"",
    ] {
        let octets = [header([0, 2, 0, 0]), record(&[0], 47, broken), good()].concat();
        let records: Vec<_> = Message::decode(&octets).unwrap().answers().collect();
        assert!(records.len() == 2 && records[0].is_err() && records[1].is_ok(), "{broken:?}");
    }
}

/// Avahi CVE-2021-3502, CVE-2023-38469 to -38473, issue 455: labels and texts that reached an assertion.
#[test]
fn labels_and_texts_that_reached_assertions_in_avahi() {
    for label in [&b"."[..], b"\\", b"\\.", b"\x00", b"a.b", b"\xff\xfe", b"\\255", b"%h", b" "] {
        let name = [&[u8::try_from(label.len()).unwrap()], label, &[0]].concat();
        for field in FIELDS {
            let octets = message_with(field, &name);
            fuzz_bodies::dns_message(&octets);
            let message = Message::decode(&octets).unwrap();
            assert!(message.questions().all(|q| q.is_ok()) && message.answers().all(|r| r.is_ok()));
        }
    }
    // A TXT record as long as a length can say.
    let txt = [&[255][..], &[b'='; 255]].concat().repeat(255);
    let octets = [header([0, 1, 0, 0]), record(&[0], 16, &txt)].concat();
    fuzz_bodies::dns_message(&octets);
    let record = Message::decode(&octets).unwrap().answers().next().unwrap().unwrap();
    let RecordData::Txt(txt) = record.data else { panic!("not TXT") };
    assert_eq!(txt.strings().count(), 255);
}

/// Avahi issue 501: CNAME records that point at themselves; nothing here follows one.
#[test]
fn a_cname_is_opaque() {
    let octets = [header([0, 2, 0, 0]), record(b"\x01a\x00", 5, &[0xC0, 12]), good()].concat();
    fuzz_bodies::dns_message(&octets);
    let record = Message::decode(&octets).unwrap().answers().next().unwrap().unwrap();
    assert_eq!(record.data, RecordData::Unknown { rtype: Type::Unknown(5), rdata: &[0xC0, 12] });
}

/// mDNSResponder CVE-2015-7987, systemd-resolved CVE-2017-9445, a reboot by four octets: very short and very long.
#[test]
fn lengths_at_the_edges() {
    for len in 0..64 {
        for fill in [0, 0x41, 0xC0, 0xFF] {
            fuzz_bodies::dns_message(&vec![fill; len]);
        }
    }
    for len in [8_999, 9_000, 9_001, 65_535, 65_536] {
        fuzz_bodies::dns_message(&vec![0xFF; len]);
        let mut zeros = vec![0; len];
        zeros[..12].copy_from_slice(&header([u16::MAX; 4]));
        fuzz_bodies::dns_message(&zeros);
        if let Ok(message) = Message::decode(&zeros) {
            assert_eq!(message.questions().count(), QUESTIONS_PER_MESSAGE);
        }
    }
}

/// librespot 1102, mdns-sd 508: an unknown type is one record's matter, not the message's.
#[test]
fn unknown_types_and_classes_skip_nothing_else() {
    for rtype in
        (0..=260).chain([0x7FFF, 0x8000, 0xFFFF]).filter(|t| ![1, 12, 16, 28, 33, 47].contains(t))
    {
        let octets = [header([0, 2, 0, 0]), record(&[0], rtype, &[0xC0, 0xFF, 0]), good()].concat();
        fuzz_bodies::dns_message(&octets);
        let message = Message::decode(&octets).unwrap();
        assert_eq!(message.answers().filter(Result::is_ok).count(), 2, "type {rtype}");
    }
}

/// RUSTSEC-2026-0119: compression on writing compared every name with every other.
#[test]
fn writing_names_that_share_all_but_one_label_stays_small() {
    let mut buffer = vec![0; 60_000];
    let mut w = MessageWriter::new(&mut buffer, 0, Flags::RESPONSE, Compression::Multicast);
    let mut names = Vec::new();
    for number in 0..2000 {
        names.push(NameBuf::from_text(&format!("n{number}.a.b.c.d.e.f.g.h.local")).unwrap());
    }
    for owner in &names {
        let data = RecordData::Txt(Txt::EMPTY);
        let name = owner.as_name();
        w.answer(&Record { name, class: Class::In, cache_flush: true, ttl: 1, data }).unwrap();
    }
    let len = w.finish().unwrap();
    // Each name but the first is one label and a pointer: the table keeps the shared end however many come.
    assert!(len < 2000 * (6 + 2 + 10 + 1) + 64, "{len}");
}

/// Every vector cut at every length, and with every octet changed in ten ways.
#[test]
fn cut_and_changed_vectors_are_survived() {
    let mut cases = 0;
    for name in files("dns") {
        let octets = Vector::read("dns", &name).octets;
        let whole: Vec<_> =
            Message::decode(&octets).unwrap().records().map(|(_, r)| r.unwrap()).collect();
        for len in 0..octets.len() {
            let Ok(message) = Message::decode(&octets[..len]) else {
                assert!(len < 12);
                continue;
            };
            let read: Vec<_> = message.records().filter_map(|(_, record)| record.ok()).collect();
            assert!(read.len() <= whole.len() && read.iter().zip(&whole).all(|(a, b)| a == b));
            cases += 1;
        }
        for at in 0..octets.len() {
            let old = octets[at];
            for new in [
                0,
                1,
                0x3F,
                0x40,
                0x80,
                0xC0,
                0xFF,
                old ^ 0x20,
                old.wrapping_add(1),
                old.wrapping_sub(1),
            ] {
                let mut changed = octets.clone();
                changed[at] = new;
                survive(&changed);
                cases += 1;
            }
        }
    }
    assert!(cases >= 10_000, "{cases}");
}

/// Everything can be iterated, shown, and written again.
fn survive(octets: &[u8]) {
    let message = Message::decode(octets).unwrap();
    let mut buffer = [0; 9000];
    let mut w = MessageWriter::new(&mut buffer, 0, message.flags(), Compression::Multicast);
    for question in message.questions().flatten() {
        w.question(&question).unwrap();
    }
    let mut records = Vec::new();
    for (section, record) in message.records() {
        if let Ok(record) = record {
            w.record(section, &record).unwrap();
            records.push(record);
        }
    }
    let len = w.finish().unwrap();
    let again = Message::decode(&buffer[..len]).unwrap();
    assert!(again.records().map(|(_, record)| record.unwrap()).eq(records));
}

/// RFC 1035 §4.1.4: the example of compression.
#[test]
fn the_example_of_rfc_1035_reads_as_it_says() {
    let mut octets = vec![0; 93];
    octets[20..32].copy_from_slice(b"\x01F\x03ISI\x04ARPA\x00");
    octets[40..46].copy_from_slice(b"\x03FOO\xC0\x14");
    octets[64..66].copy_from_slice(b"\xC0\x1A");
    for (at, text) in [(20, "F.ISI.ARPA."), (40, "FOO.F.ISI.ARPA."), (64, "ARPA."), (92, ".")] {
        let mut reader = phase_core::wire::cursor::Reader::new(&octets);
        reader.take(at, "start").unwrap();
        let name = phase_core::wire::dns::Name::decode(&mut reader).unwrap();
        assert_eq!(name.to_string(), text);
    }
}

/// The good record of this file is good: without it nothing above says anything.
#[test]
fn the_good_record_is_read() {
    let octets = [header([0, 1, 0, 0]), good()].concat();
    let record = Message::decode(&octets).unwrap().answers().next().unwrap().unwrap();
    assert_eq!(record.data, RecordData::A(Ipv4Addr::new(192, 0, 2, 1)));
}
