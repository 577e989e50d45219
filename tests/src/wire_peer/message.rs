//! DNS messages as the scripted peer writes and reads them: owned, permissive, able to say what is not allowed.
//! Spec: RFC 1035 §4, RFC 6762 §18.
//! Kept apart from `phase_core::wire::dns` so that a fault of the codec under test cannot hide itself.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Record type numbers.
pub mod rtype {
    /// An IPv4 address.
    pub const A: u16 = 1;
    /// A pointer to another name.
    pub const PTR: u16 = 12;
    /// Key-value strings.
    pub const TXT: u16 = 16;
    /// An IPv6 address.
    pub const AAAA: u16 = 28;
    /// Host and port of a service.
    pub const SRV: u16 = 33;
    /// EDNS(0) pseudo-record.
    pub const OPT: u16 = 41;
    /// Which types exist at a name.
    pub const NSEC: u16 = 47;
    /// A service binding, whose target is never compressed.
    pub const SVCB: u16 = 64;
    /// The type HTTPS clients ask for.
    pub const HTTPS: u16 = 65;
    /// Any type, in questions.
    pub const ANY: u16 = 255;
}

/// The Internet class.
pub const IN: u16 = 1;

/// Header bit: response.
pub const QR: u16 = 0x8000;
/// Header bit: authoritative answer.
pub const AA: u16 = 0x0400;
/// Header bit: truncated, or "more known answers follow".
pub const TC: u16 = 0x0200;

const TOP_BIT: u16 = 0x8000;
const POINTER_HOPS: usize = 64;

/// A domain name as its labels, root left out; compared without regard to ASCII case.
#[derive(Clone, Default)]
pub struct Name(pub Vec<Vec<u8>>);

impl Name {
    /// The labels of a dotted name; a label with dots needs [`Name::child`].
    #[must_use]
    pub fn new(dotted: &str) -> Self {
        Self(dotted.split('.').filter(|l| !l.is_empty()).map(|l| l.as_bytes().to_vec()).collect())
    }

    /// This name below one more label.
    #[must_use]
    pub fn child(&self, label: &str) -> Self {
        let mut labels = vec![label.as_bytes().to_vec()];
        labels.extend(self.0.iter().cloned());
        Self(labels)
    }

    /// This name without its first label.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self(self.0.iter().skip(1).cloned().collect())
    }

    /// The first label, as text.
    #[must_use]
    pub fn first(&self) -> String {
        self.0.first().map(|l| String::from_utf8_lossy(l).into_owned()).unwrap_or_default()
    }

    /// Octets on the wire without compression, root octet included.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        1 + self.0.iter().map(|l| l.len() + 1).sum::<usize>()
    }

    /// The name with every ASCII letter in upper case.
    #[must_use]
    pub fn to_upper(&self) -> Self {
        Self(self.0.iter().map(|l| l.to_ascii_uppercase()).collect())
    }

    /// Whether `other` has the very same octets, case included.
    #[must_use]
    pub fn is_identical(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    fn folded(&self) -> Vec<Vec<u8>> {
        self.0.iter().map(|l| l.to_ascii_lowercase()).collect()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.folded() == other.folded()
    }
}
impl Eq for Name {}
impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.folded().cmp(&other.folded())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(".");
        }
        for (n, label) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(".")?;
            }
            f.write_str(&String::from_utf8_lossy(label).replace('.', "\\."))?;
        }
        Ok(())
    }
}
impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The data of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// RFC 1035 §3.4.1.
    A(Ipv4Addr),
    /// RFC 3596 §2.2.
    Aaaa(Ipv6Addr),
    /// RFC 1035 §3.3.12.
    Ptr(Name),
    /// RFC 2782: priority, weight, port, target.
    Srv(u16, u16, u16, Name),
    /// The raw octets of RFC 1035 §3.3.14.
    Txt(Vec<u8>),
    /// RFC 4034 §4.1: next name, raw type bitmap.
    Nsec(Name, Vec<u8>),
    /// Any other type, or octets that are meant to be wrong.
    Raw(Vec<u8>),
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What is asked about.
    pub name: Name,
    /// The type asked for.
    pub qtype: u16,
    /// The class asked for, without the top bit.
    pub qclass: u16,
    /// The top bit of the class: a unicast response is wanted (RFC 6762 §5.4).
    pub unicast: bool,
}

impl Question {
    /// A QM question of class IN.
    #[must_use]
    pub fn new(name: &Name, qtype: u16) -> Self {
        Self { name: name.clone(), qtype, qclass: IN, unicast: false }
    }

    /// The same as a QU question.
    #[must_use]
    pub fn qu(name: &Name, qtype: u16) -> Self {
        Self { unicast: true, ..Self::new(name, qtype) }
    }
}

/// A resource record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The owner.
    pub name: Name,
    /// The type.
    pub rtype: u16,
    /// The class, without the top bit.
    pub class: u16,
    /// The top bit of the class: cache-flush (RFC 6762 §10.2).
    pub flush: bool,
    /// Seconds.
    pub ttl: u32,
    /// The data.
    pub data: Data,
    /// On receipt: whether a name inside the data was compressed.
    pub compressed_data: bool,
}

impl Record {
    /// A record of class IN whose type follows from its data; `Raw` needs [`Record::raw`].
    #[must_use]
    pub fn new(name: &Name, ttl: u32, data: Data) -> Self {
        let rtype = match &data {
            Data::A(_) => rtype::A,
            Data::Aaaa(_) => rtype::AAAA,
            Data::Ptr(_) => rtype::PTR,
            Data::Srv(..) => rtype::SRV,
            Data::Txt(_) => rtype::TXT,
            Data::Nsec(..) => rtype::NSEC,
            Data::Raw(_) => 0,
        };
        Self {
            name: name.clone(),
            rtype,
            class: IN,
            flush: false,
            ttl,
            data,
            compressed_data: false,
        }
    }

    /// A record of any type with the given octets.
    #[must_use]
    pub fn raw(name: &Name, rtype: u16, ttl: u32, octets: &[u8]) -> Self {
        Self { rtype, ..Self::new(name, ttl, Data::Raw(octets.to_vec())) }
    }

    /// The same with the cache-flush bit set.
    #[must_use]
    pub fn flushing(self) -> Self {
        Self { flush: true, ..self }
    }

    /// The same with another TTL.
    #[must_use]
    pub fn with_ttl(self, ttl: u32) -> Self {
        Self { ttl, ..self }
    }

    /// Whether name, type and data are equal: the same resource record in the sense of RFC 6762 §7.1.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.rtype == other.rtype
            && self.class == other.class
            && self.data == other.data
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flush = if self.flush { " flush" } else { "" };
        write!(f, "{} {} type {}{flush} ", self.name, self.ttl, self.rtype)?;
        match &self.data {
            Data::A(a) => write!(f, "{a}"),
            Data::Aaaa(a) => write!(f, "{a}"),
            Data::Ptr(n) => write!(f, "{n}"),
            Data::Srv(p, w, port, n) => write!(f, "{p} {w} {port} {n}"),
            Data::Txt(t) => write!(f, "{}", t.escape_ascii()),
            Data::Nsec(n, bits) => write!(f, "{n} {:?}", bitmap_types(bits)),
            Data::Raw(r) => write!(f, "{} octets", r.len()),
        }
    }
}

/// The types of an NSEC bitmap; empty when it is malformed.
#[must_use]
pub fn bitmap_types(bits: &[u8]) -> Vec<u16> {
    let mut types = Vec::new();
    let mut rest = bits;
    while let [block, len, tail @ ..] = rest {
        let Some(octets) = tail.get(..usize::from(*len)) else { return Vec::new() };
        for (n, octet) in octets.iter().enumerate() {
            for bit in 0..8_u16 {
                if octet & (0x80 >> bit) != 0 {
                    types.push(u16::from(*block) * 256 + u16::try_from(n).unwrap_or(0) * 8 + bit);
                }
            }
        }
        rest = &tail[octets.len()..];
    }
    types
}

/// TXT record data of the given strings.
#[must_use]
pub fn txt(strings: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for s in strings {
        out.push(u8::try_from(s.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(s.as_bytes());
    }
    if out.is_empty() { vec![0] } else { out }
}

/// The strings of TXT record data; `None` when a length runs past the end.
#[must_use]
pub fn txt_strings(data: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    let mut rest = data;
    while let [len, tail @ ..] = rest {
        let string = tail.get(..usize::from(*len))?;
        strings.push(string.to_vec());
        rest = &tail[string.len()..];
    }
    Some(strings)
}

/// A DNS message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The id.
    pub id: u16,
    /// The second 16 bits of the header.
    pub flags: u16,
    /// The question section.
    pub questions: Vec<Question>,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The authority section.
    pub authorities: Vec<Record>,
    /// The additional section.
    pub additionals: Vec<Record>,
}

impl Message {
    /// A query.
    #[must_use]
    pub fn query(questions: &[Question]) -> Self {
        Self { questions: questions.to_vec(), ..Self::default() }
    }

    /// A query with one question.
    #[must_use]
    pub fn ask(question: &Question) -> Self {
        Self::query(std::slice::from_ref(question))
    }

    /// A multicast response.
    #[must_use]
    pub fn response(answers: &[Record]) -> Self {
        Self { flags: QR | AA, answers: answers.to_vec(), ..Self::default() }
    }

    /// Whether QR is set.
    #[must_use]
    pub const fn is_response(&self) -> bool {
        self.flags & QR != 0
    }

    /// Whether it is a probe: a query with proposed records (RFC 6762 §8.1).
    #[must_use]
    pub fn is_probe(&self) -> bool {
        !self.is_response() && !self.authorities.is_empty()
    }

    /// Records of the answer and the additional section.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.answers.iter().chain(&self.additionals)
    }

    /// The first record of `rtype` at `name`, in the answer or the additional section.
    #[must_use]
    pub fn find(&self, name: &Name, rtype: u16) -> Option<&Record> {
        self.records().find(|r| r.name == *name && r.rtype == rtype)
    }

    /// The first answer of `rtype` at `name`.
    #[must_use]
    pub fn answer(&self, name: &Name, rtype: u16) -> Option<&Record> {
        self.answers.iter().find(|r| r.name == *name && r.rtype == rtype)
    }

    /// The octets, names written in full.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encode_with(false)
    }

    /// The octets with every name compressed, in record data too.
    #[must_use]
    pub fn encode_compressed(&self) -> Vec<u8> {
        self.encode_with(true)
    }

    fn encode_with(&self, compress: bool) -> Vec<u8> {
        let mut e = Encoder { out: Vec::new(), suffixes: compress.then(BTreeMap::new) };
        let count = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        e.u16(self.id);
        e.u16(self.flags);
        e.u16(count(self.questions.len()));
        e.u16(count(self.answers.len()));
        e.u16(count(self.authorities.len()));
        e.u16(count(self.additionals.len()));
        for q in &self.questions {
            e.name(&q.name);
            e.u16(q.qtype);
            e.u16(q.qclass | if q.unicast { TOP_BIT } else { 0 });
        }
        for r in self.answers.iter().chain(&self.authorities).chain(&self.additionals) {
            e.record(r);
        }
        e.out
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// What was wrong, for evidence.
    pub fn decode(octets: &[u8]) -> Result<Self, String> {
        let mut d = Decoder { octets, at: 0 };
        let mut message = Self { id: d.u16()?, flags: d.u16()?, ..Self::default() };
        let counts = [d.u16()?, d.u16()?, d.u16()?, d.u16()?];
        for _ in 0..counts[0] {
            let (name, _) = d.name()?;
            let (qtype, class) = (d.u16()?, d.u16()?);
            message.questions.push(Question {
                name,
                qtype,
                qclass: class & !TOP_BIT,
                unicast: class & TOP_BIT != 0,
            });
        }
        for (count, section) in [
            (counts[1], &mut message.answers),
            (counts[2], &mut message.authorities),
            (counts[3], &mut message.additionals),
        ] {
            for _ in 0..count {
                section.push(d.record()?);
            }
        }
        if d.at != octets.len() {
            return Err(format!("{} octets after the last record", octets.len() - d.at));
        }
        Ok(message)
    }
}

struct Encoder {
    out: Vec<u8>,
    suffixes: Option<BTreeMap<Vec<Vec<u8>>, u16>>,
}

impl Encoder {
    fn u16(&mut self, v: u16) {
        self.out.extend_from_slice(&v.to_be_bytes());
    }

    fn name(&mut self, name: &Name) {
        for (n, label) in name.0.iter().enumerate() {
            let suffix = name.0[n..].to_vec();
            if let Some(suffixes) = &mut self.suffixes {
                if let Some(at) = suffixes.get(&suffix) {
                    let pointer = 0xc000 | *at;
                    return self.u16(pointer);
                }
                if let Some(at) = u16::try_from(self.out.len()).ok().filter(|at| *at < 0x4000) {
                    suffixes.insert(suffix, at);
                }
            }
            self.out.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
            self.out.extend_from_slice(label);
        }
        self.out.push(0);
    }

    fn record(&mut self, r: &Record) {
        self.name(&r.name);
        self.u16(r.rtype);
        self.u16(r.class | if r.flush { TOP_BIT } else { 0 });
        self.out.extend_from_slice(&r.ttl.to_be_bytes());
        let hole = self.out.len();
        self.u16(0);
        match &r.data {
            Data::A(a) => self.out.extend_from_slice(&a.octets()),
            Data::Aaaa(a) => self.out.extend_from_slice(&a.octets()),
            Data::Ptr(n) => self.name(n),
            Data::Srv(priority, weight, port, target) => {
                self.u16(*priority);
                self.u16(*weight);
                self.u16(*port);
                self.name(target);
            }
            Data::Nsec(next, bits) => {
                self.name(next);
                self.out.extend_from_slice(bits);
            }
            Data::Txt(raw) | Data::Raw(raw) => self.out.extend_from_slice(raw),
        }
        let len = u16::try_from(self.out.len() - hole - 2).unwrap_or(u16::MAX);
        self.out[hole..hole + 2].copy_from_slice(&len.to_be_bytes());
    }
}

struct Decoder<'a> {
    octets: &'a [u8],
    at: usize,
}

impl Decoder<'_> {
    fn u8(&mut self) -> Result<u8, String> {
        let v = *self.octets.get(self.at).ok_or("cut short")?;
        self.at += 1;
        Ok(v)
    }

    fn u16(&mut self) -> Result<u16, String> {
        Ok(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    fn take(&mut self, len: usize) -> Result<Vec<u8>, String> {
        let v = self.octets.get(self.at..self.at + len).ok_or("cut short")?.to_vec();
        self.at += len;
        Ok(v)
    }

    /// The name here, and whether it was compressed.
    fn name(&mut self) -> Result<(Name, bool), String> {
        let (mut labels, mut resume, mut hops) = (Vec::new(), None, 0);
        loop {
            let len = self.u8()?;
            match len {
                0 => break,
                1..=63 => labels.push(self.take(usize::from(len))?),
                0xc0.. => {
                    let target = usize::from(u16::from_be_bytes([len & 0x3f, self.u8()?]));
                    resume.get_or_insert(self.at);
                    hops += 1;
                    if hops > POINTER_HOPS {
                        return Err("compression loop".into());
                    }
                    self.at = target;
                }
                _ => return Err(format!("label type {len:#04x}")),
            }
        }
        if let Some(at) = resume {
            self.at = at;
        }
        Ok((Name(labels), resume.is_some()))
    }

    fn record(&mut self) -> Result<Record, String> {
        let (name, _) = self.name()?;
        let (rtype, class) = (self.u16()?, self.u16()?);
        let ttl = u32::from(self.u16()?) << 16 | u32::from(self.u16()?);
        let len = usize::from(self.u16()?);
        let end = self.at + len;
        let mut compressed_data = false;
        let data = match (rtype, len) {
            (rtype::A, 4) => {
                let o = self.take(4)?;
                Data::A(Ipv4Addr::new(o[0], o[1], o[2], o[3]))
            }
            (rtype::AAAA, 16) => {
                let mut o = [0; 16];
                o.copy_from_slice(&self.take(16)?);
                Data::Aaaa(o.into())
            }
            (rtype::PTR, _) => {
                let (n, c) = self.name()?;
                compressed_data = c;
                Data::Ptr(n)
            }
            (rtype::SRV, _) => {
                let (priority, weight, port) = (self.u16()?, self.u16()?, self.u16()?);
                let (n, c) = self.name()?;
                compressed_data = c;
                Data::Srv(priority, weight, port, n)
            }
            (rtype::NSEC, _) => {
                let (n, c) = self.name()?;
                compressed_data = c;
                let bits = self.take(end.checked_sub(self.at).ok_or("NSEC name past its data")?)?;
                Data::Nsec(n, bits)
            }
            (rtype::TXT, _) => Data::Txt(self.take(len)?),
            _ => Data::Raw(self.take(len)?),
        };
        if self.at != end {
            return Err(format!("data of type {rtype} at {name} does not fill its length"));
        }
        Ok(Record {
            name,
            rtype,
            class: class & !TOP_BIT,
            flush: class & TOP_BIT != 0,
            ttl,
            data,
            compressed_data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_both_encodings() {
        let service = Name::new("_phase-image._tcp.local");
        let instance = service.child("Bob's v1.2 (stable)");
        let host = Name::new("host.local");
        let message = Message {
            id: 7,
            flags: QR | AA,
            questions: vec![Question::qu(&service, rtype::PTR)],
            answers: vec![
                Record::new(&service, 4500, Data::Ptr(instance.clone())),
                Record::new(&instance, 120, Data::Srv(0, 0, 8080, host.clone())).flushing(),
            ],
            authorities: vec![Record::new(&instance, 4500, Data::Txt(txt(&["txtvers=1"])))],
            additionals: vec![
                Record::new(&host, 120, Data::A(Ipv4Addr::new(10, 0, 0, 1))),
                Record::new(&host, 120, Data::Nsec(host.clone(), vec![0, 1, 0x40])),
            ],
        };
        let plain = message.encode();
        assert_eq!(Message::decode(&plain).unwrap(), message);
        let packed = message.encode_compressed();
        assert!(packed.len() < plain.len());
        let mut read = Message::decode(&packed).unwrap();
        assert!(read.answers[1].compressed_data);
        for r in read.answers.iter_mut().chain(&mut read.additionals) {
            r.compressed_data = false;
        }
        assert_eq!(read, message);
        assert_eq!(bitmap_types(&[0, 1, 0x40]), [1]);
        assert!(Message::decode(&plain[..plain.len() - 1]).is_err());
    }
}
