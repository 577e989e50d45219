//! Reading and writing DNS messages beside the crates `domain` and `simple-dns`: nanoseconds for one message,
//! medians over interleaved rounds in one process, so that the ratios hold on a noisy machine too.
//!
//! The message is a provider's answer to its PTR question. Each codec reads every record with its data and
//! writes the same records from names that it already holds in its own form, into a buffer that is there.
#![expect(clippy::print_stdout, reason = "the table is the result")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use domain::base::iana::Rtype;
use domain::base::message_builder::{MessageBuilder, StaticCompressor};
use domain::base::{Message as DomainMessage, Name as DomainName, Ttl};
use domain::rdata::{
    A, Aaaa, AllRecordData, Nsec as DomainNsec, Ptr, Srv as DomainSrv, Txt as DomainTxt,
};
use phase_core::wire::dns::{
    Class, Compression, Flags, Message, MessageWriter, NameBuf, Nsec, Record, RecordData, Section,
    Srv, Txt, Type, TypeWindow,
};
use simple_dns::rdata as simple;

const ROUNDS: usize = 61;
const CALLS: u32 = 4000;

const SERVICE: &str = "_phase-image._tcp.local";
const INSTANCE: &str = "boot-server stable arm64._phase-image._tcp.local";
const HOST: &str = "boot-server.local";
const STRINGS: [&str; 5] = [
    "txtvers=1",
    "channel=stable",
    "arch=arm64",
    "version=2026.11.22",
    "manifest=http://192.168.178.20:8080/stable/arm64/manifest.json",
];
const V4: Ipv4Addr = Ipv4Addr::new(192, 168, 178, 20);
const V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x1234, 0x56ff, 0xfe78, 0x9abc);

/// One row: what is measured, and one closure that does it once and returns some count.
type Row<'a> = (&'static str, Box<dyn FnMut() -> usize + 'a>);

fn main() {
    let mut octets = vec![0; 1472];
    let len = write_ours(&Ours::new().records(), &mut octets);
    octets.truncate(len);
    println!("one message of {len} octets: PTR, SRV, TXT, A, AAAA, NSEC");
    table("read", read_rows(&octets));
    table("write", write_rows());
    let (chains, labels) = (chains(), many_names());
    println!("hostile, for one octet:");
    let per_octet = [
        ("9,000 octets of pointer chains, read", measure(|| read_ours(&chains), 40) / 9000.0),
        ("2,000 names of one end, written", measure(|| write_many(&labels), 20) / 36_000.0),
        ("200 names of one end, written", measure(|| write_many(&labels[..200]), 200) / 3600.0),
    ];
    for (what, ns) in per_octet {
        println!("  {what:<40} {ns:>8.1} ns");
    }
}

/// Measures all rows in turn, round by round, and prints the medians beside the first row's.
fn table(what: &str, mut rows: Vec<Row<'_>>) {
    let mut times = vec![Vec::new(); rows.len()];
    for _ in 0..ROUNDS {
        for ((_, call), times) in rows.iter_mut().zip(&mut times) {
            times.push(once(call, CALLS));
        }
    }
    let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
    println!("{what}:");
    for ((name, _), ns) in rows.iter().zip(&medians) {
        println!("  {name:<40} {ns:>8.1} ns   phase / this = {:.2}", medians[0] / ns);
    }
}

fn measure(mut call: impl FnMut() -> usize, calls: u32) -> f64 {
    median(&mut (0..ROUNDS).map(|_| once(&mut call, calls)).collect::<Vec<_>>())
}

/// Nanoseconds for one call.
fn once(call: &mut (impl FnMut() -> usize + ?Sized), calls: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(call());
    }
    start.elapsed().as_nanos() as f64 / f64::from(calls)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn read_rows(octets: &[u8]) -> Vec<Row<'_>> {
    assert_eq!(read_ours(octets), 6);
    assert_eq!(read_domain(octets), 6);
    assert_eq!(read_simple(octets), 6);
    vec![
        ("phase", Box::new(move || read_ours(black_box(octets)))),
        ("domain 0.12", Box::new(move || read_domain(black_box(octets)))),
        ("simple-dns 0.13", Box::new(move || read_simple(black_box(octets)))),
    ]
}

fn read_ours(octets: &[u8]) -> usize {
    let message = Message::decode(octets).expect("a header");
    message
        .records()
        .filter(|(_, record)| {
            black_box(record);
            record.is_ok()
        })
        .count()
}

fn read_domain(octets: &[u8]) -> usize {
    let message = DomainMessage::from_octets(octets).expect("a header");
    let mut count = 0;
    let mut section = message.answer().expect("answers");
    loop {
        for record in section.by_ref() {
            let record = record.expect("a record").to_any_record::<AllRecordData<_, _>>();
            count += usize::from(black_box(&record).is_ok());
        }
        match section.next_section().expect("a section") {
            Some(next) => section = next,
            None => return count,
        }
    }
}

fn read_simple(octets: &[u8]) -> usize {
    let packet = simple_dns::Packet::parse(octets).expect("a packet");
    let packet = black_box(packet);
    packet.answers.len() + packet.additional_records.len()
}

/// What our records borrow.
struct Ours {
    service: NameBuf,
    instance: NameBuf,
    host: NameBuf,
    txt: Vec<u8>,
    types: TypeWindow,
}

impl Ours {
    fn new() -> Self {
        let name = |text| NameBuf::from_text(text).expect("a name");
        Self {
            service: name(SERVICE),
            instance: name(INSTANCE),
            host: name(HOST),
            txt: STRINGS
                .iter()
                .flat_map(|s| [&[u8::try_from(s.len()).expect("short")], s.as_bytes()].concat())
                .collect(),
            types: TypeWindow::of(&[Type::A, Type::Aaaa]),
        }
    }

    fn records(&self) -> [Record<'_>; 6] {
        let make = |owner: usize, ttl, cache_flush, data| Record {
            name: [&self.service, &self.instance, &self.host][owner].as_name(),
            class: Class::In,
            cache_flush,
            ttl,
            data,
        };
        let srv = Srv { priority: 0, weight: 0, port: 8080, target: self.host.as_name() };
        let nsec = Nsec { next: self.host.as_name(), types: self.types.as_bitmap() };
        [
            make(0, 4500, false, RecordData::Ptr(self.instance.as_name())),
            make(1, 120, true, RecordData::Srv(srv)),
            make(1, 4500, true, RecordData::Txt(Txt::from_octets(&self.txt).expect("strings"))),
            make(2, 120, true, RecordData::A(V4)),
            make(2, 120, true, RecordData::Aaaa(V6)),
            make(2, 120, true, RecordData::Nsec(nsec)),
        ]
    }
}

fn write_ours(records: &[Record<'_>], out: &mut [u8]) -> usize {
    let mut w = MessageWriter::new(out, 0, Flags::RESPONSE, Compression::Multicast);
    for (at, record) in records.iter().enumerate() {
        let section = if at == 0 { Section::Answer } else { Section::Additional };
        w.record(section, record).expect("room");
    }
    w.finish().expect("room")
}

fn write_rows() -> Vec<Row<'static>> {
    let ours: &'static Ours = Box::leak(Box::new(Ours::new()));
    let records = ours.records();
    let mut out = [0; 1472];
    let simple = simple_packet();
    let mut simple_out = Vec::with_capacity(1472);
    let domain = Domain::new();
    vec![
        ("phase", Box::new(move || write_ours(black_box(&records), &mut out))),
        ("domain 0.12", Box::new(move || black_box(&domain).write())),
        (
            "simple-dns 0.13",
            Box::new(move || {
                simple_out.clear();
                let mut cursor = std::io::Cursor::new(&mut simple_out);
                black_box(&simple).write_compressed_to(&mut cursor).expect("room");
                simple_out.len()
            }),
        ),
    ]
}

/// What domain's records hold.
struct Domain {
    service: DomainName<Vec<u8>>,
    instance: DomainName<Vec<u8>>,
    host: DomainName<Vec<u8>>,
    txt: DomainTxt<Vec<u8>>,
    nsec: DomainNsec<octseq::Array<40>, DomainName<Vec<u8>>>,
}

impl Domain {
    fn new() -> Self {
        let name = |text: &str| {
            let mut octets = vec![0; 256];
            let name = NameBuf::from_text(text).expect("a name");
            let len = name.as_name().write_uncompressed(&mut octets).expect("room");
            octets.truncate(len);
            DomainName::from_octets(octets).expect("a name")
        };
        let mut types = domain::rdata::dnssec::RtypeBitmap::<octseq::Array<40>>::builder();
        types.add(Rtype::A).expect("room");
        types.add(Rtype::AAAA).expect("room");
        let host = name(HOST);
        Self {
            service: name(SERVICE),
            instance: name(INSTANCE),
            nsec: DomainNsec::new(host.clone(), types.finalize()),
            host,
            txt: DomainTxt::from_octets(Ours::new().txt).expect("strings"),
        }
    }

    fn write(&self) -> usize {
        let target = StaticCompressor::new(octseq::Array::<1472>::new());
        let mut answers = MessageBuilder::from_target(target).expect("room").answer();
        let ttl = Ttl::from_secs(120);
        let class = domain::base::iana::Class::from_int(0x8001);
        answers
            .push((&self.service, Ttl::from_secs(4500), Ptr::new(&self.instance)))
            .expect("room");
        let mut more = answers.additional();
        more.push((&self.instance, class, ttl, DomainSrv::new(0, 0, 8080, &self.host)))
            .expect("room");
        more.push((&self.instance, class, ttl, &self.txt)).expect("room");
        more.push((&self.host, class, ttl, A::new(V4))).expect("room");
        more.push((&self.host, class, ttl, Aaaa::new(V6))).expect("room");
        more.push((&self.host, class, ttl, &self.nsec)).expect("room");
        black_box(more.finish().as_slice()).len()
    }
}

fn simple_packet() -> simple_dns::Packet<'static> {
    let name = |text| simple_dns::Name::new(text).expect("a name");
    let record = |owner, data| {
        simple_dns::ResourceRecord::new(name(owner), simple_dns::CLASS::IN, 120, data)
            .with_cache_flush(true)
    };
    let mut packet = simple_dns::Packet::new_reply(0);
    packet.answers.push(record(SERVICE, simple::RData::PTR(simple::PTR(name(INSTANCE)))));
    let srv = simple::SRV { priority: 0, weight: 0, port: 8080, target: name(HOST) };
    let mut txt = simple::TXT::new();
    STRINGS.iter().for_each(|string| txt.add_string(string).expect("short"));
    let types = [simple_dns::TYPE::A, simple_dns::TYPE::AAAA];
    let nsec = simple::NSEC::from_types(name(HOST), &types);
    packet.additional_records.extend([
        record(INSTANCE, simple::RData::SRV(srv)),
        record(INSTANCE, simple::RData::TXT(txt)),
        record(HOST, simple::RData::A(simple::A { address: V4.to_bits() })),
        record(HOST, simple::RData::AAAA(simple::AAAA { address: V6.to_bits() })),
        record(HOST, simple::RData::NSEC(nsec)),
    ]);
    packet
}

/// 9,000 octets whose records all walk the longest chain of pointers that is followed.
fn chains() -> Vec<u8> {
    let mut octets = vec![0, 0, 0x84, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0];
    octets.extend([0, 0, 99, 0, 1, 0, 0, 0, 0, 0, 240]);
    let start = u16::try_from(octets.len()).expect("short");
    for hop in 0..15_u16 {
        octets.extend([7, b'l', b'o', b'n', b'g', b'i', b's', b'h']);
        let target = if hop == 0 { start + 8 } else { start + 10 * (hop - 1) };
        octets.extend(if hop == 0 { [0, 0] } else { (0xC000 | target).to_be_bytes() });
    }
    octets.resize(usize::from(start) + 240, 0);
    let last = (0xC000 | (start + 140)).to_be_bytes();
    while octets.len() < 9000 {
        octets.extend([last[0], last[1], 0, 12, 0, 1, 0, 0, 0, 0, 0, 2, last[0], last[1]]);
    }
    octets.truncate(9000);
    octets
}

fn many_names() -> Vec<NameBuf> {
    (0..2000)
        .map(|n| NameBuf::from_text(&format!("n{n}.a.b.c.d.e.f.g.h.local")).expect("a name"))
        .collect()
}

fn write_many(names: &[NameBuf]) -> usize {
    let mut out = [0; 60_000];
    let mut w = MessageWriter::new(&mut out, 0, Flags::RESPONSE, Compression::Multicast);
    for name in names {
        let (class, data) = (Class::In, RecordData::Txt(Txt::EMPTY));
        w.answer(&Record { name: name.as_name(), class, cache_flush: true, ttl: 1, data })
            .expect("room");
    }
    w.finish().expect("room")
}
