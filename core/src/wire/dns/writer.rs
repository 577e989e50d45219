//! Writing a message, with name compression.
//! Spec: RFC 1035 §4.1, §4.1.4; RFC 6762 §18.14.
//!
//! The compression table is a tree of labels: an entry is a label at an offset with the offset of the rest
//! of its name. A name is looked up from its last label to its first and each label is compared with a
//! bounded number of others, so that writing is linear whatever the names are. Labels are matched by octets,
//! case included: what is written reads back as it was. The names written last are looked at first.

use super::name::Name;
use super::name_buf::NameBuf;
use super::{Flags, HEADER_LEN, Question, Record, RecordData, Section, Type};
use crate::wire::Overflow;
use crate::wire::cursor::{self, Writer};

/// Which names are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// All that this codec knows (RFC 6762 §18.14).
    Multicast,
    /// Not the target of SRV nor the name in NSEC: a legacy-unicast answer goes to a conventional resolver
    /// (RFC 6762 §18.14, RFC 2782, RFC 4034 §4.1.1).
    LegacyUnicast,
}

/// Writes one message into a buffer given by the caller, whose length is the limit.
///
/// Sections are written in order: questions, answers, authorities, additionals. What does not fit is left
/// out whole and the message stays valid.
#[derive(Debug)]
pub struct MessageWriter<'b> {
    out: Writer<'b>,
    suffixes: Suffixes,
    recent: Recent,
    counts: [u16; 4],
    section: Section,
    compression: Compression,
}

/// A place to come back to with [`MessageWriter::rewind`].
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    out: cursor::Mark,
    suffixes: usize,
    counts: [u16; 4],
    section: Section,
}

impl<'b> MessageWriter<'b> {
    /// Begins a message.
    #[must_use]
    #[inline]
    pub fn new(buffer: &'b mut [u8], id: u16, flags: Flags, compression: Compression) -> Self {
        let mut out = Writer::new(buffer);
        let ([i0, i1], [f0, f1]) = (id.to_be_bytes(), flags.0.to_be_bytes());
        out.put(&[i0, i1, f0, f1, 0, 0, 0, 0, 0, 0, 0, 0]);
        let (counts, section) = ([0; 4], Section::Question);
        let recent = Recent::new();
        Self { out, suffixes: Suffixes::new(), recent, counts, section, compression }
    }

    /// Octets written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether there is neither a question nor a record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts == [0; 4]
    }

    /// How many entries `section` has.
    #[must_use]
    pub const fn count(&self, section: Section) -> u16 {
        let [questions, answers, authorities, additionals] = self.counts;
        match section {
            Section::Question => questions,
            Section::Answer => answers,
            Section::Authority => authorities,
            Section::Additional => additionals,
        }
    }

    /// Replaces the flags, such as by [`Flags::TRUNCATED_QUERY`].
    pub fn set_flags(&mut self, flags: Flags) {
        self.out.patch(2, flags.0.to_be_bytes());
    }

    /// Appends a question.
    ///
    /// # Errors
    /// [`Overflow`] when it does not fit, or records were written: the message is as before.
    #[inline]
    pub fn question(&mut self, question: &Question<'_>) -> Result<(), Overflow> {
        self.entry(Section::Question, |w| {
            w.name(&question.name, true);
            let unicast = if question.unicast_response { 0x8000 } else { 0 };
            let class = u16::from(question.qclass) & 0x7FFF | unicast;
            let ([t0, t1], [c0, c1]) =
                (u16::from(question.qtype).to_be_bytes(), class.to_be_bytes());
            w.out.put(&[t0, t1, c0, c1]);
        })
    }

    /// Appends an answer.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    #[inline]
    pub fn answer(&mut self, record: &Record<'_>) -> Result<(), Overflow> {
        self.record(Section::Answer, record)
    }

    /// Appends an authority.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    #[inline]
    pub fn authority(&mut self, record: &Record<'_>) -> Result<(), Overflow> {
        self.record(Section::Authority, record)
    }

    /// Appends an additional record.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    #[inline]
    pub fn additional(&mut self, record: &Record<'_>) -> Result<(), Overflow> {
        self.record(Section::Additional, record)
    }

    /// Appends a record to `section`.
    ///
    /// # Errors
    /// [`Overflow`] when it does not fit, or a later section was begun: the message is as before.
    #[inline]
    pub fn record(&mut self, section: Section, record: &Record<'_>) -> Result<(), Overflow> {
        if section == Section::Question {
            return Err(Overflow);
        }
        self.entry(section, |w| w.write_record(record))
    }

    #[inline]
    fn entry(&mut self, section: Section, write: impl FnOnce(&mut Self)) -> Result<(), Overflow> {
        if section < self.section {
            return Err(Overflow);
        }
        let mark = self.mark();
        write(self);
        let [questions, answers, authorities, additionals] = &mut self.counts;
        let count = match section {
            Section::Question => questions,
            Section::Answer => answers,
            Section::Authority => authorities,
            Section::Additional => additionals,
        };
        match count.checked_add(1) {
            Some(more) if !self.out.overflowed() => {
                *count = more;
                self.section = section;
                Ok(())
            }
            Some(_) | None => {
                self.rewind(mark);
                Err(Overflow)
            }
        }
    }

    /// The place after what is written, for [`rewind`](Self::rewind).
    #[must_use]
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark {
            out: self.out.mark(),
            suffixes: self.suffixes.entries.len(),
            counts: self.counts,
            section: self.section,
        }
    }

    /// Forgets what was appended since `mark`.
    pub fn rewind(&mut self, mark: Mark) {
        // Without room for the header the overflow must stay.
        if self.out.len() >= HEADER_LEN {
            self.out.rewind(mark.out);
        }
        self.suffixes.truncate(mark.suffixes);
        self.recent.truncate(self.out.len());
        self.counts = mark.counts;
        self.section = mark.section;
    }

    /// Writes the counts into the header and gives the length of the message.
    ///
    /// # Errors
    /// [`Overflow`] when the buffer has no room for the header.
    #[inline]
    pub fn finish(mut self) -> Result<usize, Overflow> {
        let [[q0, q1], [n0, n1], [u0, u1], [d0, d1]] = self.counts.map(u16::to_be_bytes);
        self.out.patch(4, [q0, q1, n0, n1, u0, u1, d0, d1]);
        self.out.finish()
    }

    #[inline]
    fn write_record(&mut self, record: &Record<'_>) {
        self.name(&record.name, true);
        let rtype = record.data.rtype();
        let class = u16::from(record.class);
        let class = match (rtype == Type::Opt, record.cache_flush) {
            (true, _) => class,
            (false, false) => class & 0x7FFF,
            (false, true) => class | 0x8000,
        };
        let ([t0, t1], [c0, c1]) = (u16::from(rtype).to_be_bytes(), class.to_be_bytes());
        let [s0, s1, s2, s3] = record.ttl.to_be_bytes();
        self.out.put(&[t0, t1, c0, c1, s0, s1, s2, s3]);
        let hole = self.out.place_u16();
        let multicast = self.compression == Compression::Multicast;
        match &record.data {
            RecordData::A(address) => self.out.put(&address.octets()),
            RecordData::Aaaa(address) => self.out.put(&address.octets()),
            RecordData::Ptr(name) => self.name(name, true),
            RecordData::Srv(srv) => {
                self.out.put(&srv.numbers());
                self.name(&srv.target, multicast);
            }
            RecordData::Txt(txt) => self.out.put(txt.as_octets()),
            RecordData::Nsec(nsec) => {
                self.name(&nsec.next, multicast);
                self.out.put(nsec.types.as_octets());
            }
            RecordData::Unknown { rdata, .. } => self.out.put(rdata),
        }
        self.out.fill_len(hole);
    }

    #[inline]
    fn name(&mut self, name: &Name<'_>, compress: bool) {
        match name.flat_octets() {
            Some(flat) => self.flat_name(flat, compress),
            None => self.compressed_name(name, compress),
        }
    }

    /// A name out of a message that was received: rare, so it is copied first.
    #[inline(never)]
    fn compressed_name(&mut self, name: &Name<'_>, compress: bool) {
        match NameBuf::from_name(name) {
            Ok(copy) => self.flat_name(copy.as_name().flat_octets().unwrap_or(&[]), compress),
            // Every name fits.
            Err(Overflow) => self.out.overflow(),
        }
    }

    /// A name of these labels, given without the root octet.
    fn flat_name(&mut self, flat: &[u8], compress: bool) {
        if !compress || flat.is_empty() {
            self.out.put(flat);
            self.out.u8(0);
            return;
        }
        if let Some(at) = self.recent.find(flat) {
            self.out.u16(POINTER | at);
            return;
        }
        let labels = Labels::of(flat);
        let mut known = ROOT;
        let mut fresh = labels.count();
        while let Some(label) = fresh.checked_sub(1).and_then(|last| labels.get(last)) {
            let Some(at) = self.suffixes.find(known, label, self.out.written()) else { break };
            known = at;
            fresh = fresh.wrapping_sub(1);
        }
        let start = self.out.len();
        self.out.put(labels.before(fresh));
        if known == ROOT {
            self.out.u8(0);
        } else {
            self.out.u16(POINTER | known);
        }
        for index in (0..fresh).rev() {
            let at = start.wrapping_add(labels.start(index));
            let (Some(label), Ok(at @ ..POINTER_END)) = (labels.get(index), u16::try_from(at))
            else {
                return;
            };
            self.suffixes.insert(known, label, at);
            known = at;
        }
        self.recent.insert(known, flat);
    }
}

/// The labels of one uncompressed name by their place in it.
struct Labels<'a> {
    flat: &'a [u8],
    /// Where each label's length octet is.
    starts: heapless::Vec<u8, LABELS>,
}

impl<'a> Labels<'a> {
    #[inline]
    fn of(flat: &'a [u8]) -> Self {
        let mut starts = heapless::Vec::new();
        let mut at = 0_usize;
        while let (Some(len), Ok(start)) = (flat.get(at), u8::try_from(at)) {
            // A valid name has no more labels than there is room for.
            let _ = starts.push(start);
            at = at.wrapping_add(usize::from(*len)).wrapping_add(1);
        }
        Self { flat, starts }
    }

    #[inline]
    fn count(&self) -> usize {
        self.starts.len()
    }

    /// Where the label of this index starts; the end for the one past the last.
    #[inline]
    fn start(&self, index: usize) -> usize {
        self.starts.get(index).map_or(self.flat.len(), |start| usize::from(*start))
    }

    /// The label of this index with its length octet.
    #[inline]
    fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.flat.get(self.start(index)..self.start(index.wrapping_add(1)))
    }

    /// The labels before this index.
    #[inline]
    fn before(&self, index: usize) -> &'a [u8] {
        self.flat.get(..self.start(index)).unwrap_or(&[])
    }
}

/// The names written last: most names of a message are among them.
#[derive(Debug)]
struct Recent {
    names: [RecentName; RECENT],
    next: usize,
}

#[derive(Debug)]
struct RecentName {
    /// Offset in the message; [`ROOT`] where there is no name.
    at: u16,
    /// Its labels.
    flat: heapless::Vec<u8, RECENT_LEN>,
}

impl Recent {
    #[inline]
    const fn new() -> Self {
        Self {
            names: [const { RecentName { at: ROOT, flat: heapless::Vec::new() } }; RECENT],
            next: 0,
        }
    }

    #[inline]
    fn find(&self, flat: &[u8]) -> Option<u16> {
        self.names.iter().find(|name| name.flat.as_slice() == flat).map(|name| name.at)
    }

    #[inline]
    fn insert(&mut self, at: u16, flat: &[u8]) {
        let Some(name) = self.names.get_mut(self.next % RECENT) else { return };
        name.flat.clear();
        if name.flat.extend_from_slice(flat).is_ok() {
            name.at = at;
            self.next = self.next.wrapping_add(1);
        }
    }

    /// Forgets the names at `end` and behind it.
    fn truncate(&mut self, end: usize) {
        for name in &mut self.names {
            if usize::from(name.at) >= end {
                name.at = ROOT;
                name.flat.clear();
            }
        }
    }
}

/// A name has at most 127 labels: 255 octets, 2 for the shortest label.
const LABELS: usize = 128;

/// RFC 1035 §4.1.4: the two high bits of a pointer.
const POINTER: u16 = 0xC000;

/// RFC 1035 §4.1.4: a pointer has 14 bits.
const POINTER_END: u16 = 0x4000;

/// Not an offset of a name, since the header is there.
const ROOT: u16 = 0;

/// Names that are looked at first: service, instance, host, and one for what the message is about.
const RECENT: usize = 4;

/// Octets of a name that is looked at first; a longer one takes the longer way.
const RECENT_LEN: usize = 128;

/// Entries of the compression table: more than a message of one frame has distinct labels in our use.
const ENTRIES: usize = 96;

/// Lists that the entries are spread over.
const BUCKETS: usize = 32;

/// Entries looked at for one label; past them compression is only worse.
const STEPS: usize = 12;

/// No entry.
const NONE: u8 = u8::MAX;

/// The labels written so far. Entries leave in the reverse order of their coming.
#[derive(Debug)]
struct Suffixes {
    entries: heapless::Vec<Entry, ENTRIES>,
    heads: [u8; BUCKETS],
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Offset of the label's length octet.
    at: u16,
    /// Offset of the rest of the name, or [`ROOT`].
    parent: u16,
    hash: u16,
    bucket: u8,
    next: u8,
}

impl Suffixes {
    #[inline]
    const fn new() -> Self {
        Self { entries: heapless::Vec::new(), heads: [NONE; BUCKETS] }
    }

    #[inline]
    fn find(&self, parent: u16, label: &[u8], message: &[u8]) -> Option<u16> {
        let hash = hash(parent, label);
        let mut index = *self.heads.get(usize::from(bucket(hash)))?;
        for _ in 0..STEPS {
            let entry = self.entries.get(usize::from(index))?;
            if entry.hash == hash && entry.parent == parent {
                let at = usize::from(entry.at);
                if message.get(at..at.wrapping_add(label.len())) == Some(label) {
                    return Some(entry.at);
                }
            }
            index = entry.next;
        }
        None
    }

    #[inline]
    fn insert(&mut self, parent: u16, label: &[u8], at: u16) {
        let hash = hash(parent, label);
        let bucket = bucket(hash);
        let (Some(head), Ok(index)) =
            (self.heads.get_mut(usize::from(bucket)), u8::try_from(self.entries.len()))
        else {
            return;
        };
        if self.entries.push(Entry { at, parent, hash, bucket, next: *head }).is_ok() {
            *head = index;
        }
    }

    fn truncate(&mut self, len: usize) {
        while self.entries.len() > len {
            let Some(entry) = self.entries.pop() else { return };
            if let Some(head) = self.heads.get_mut(usize::from(entry.bucket)) {
                *head = entry.next;
            }
        }
    }
}

#[inline]
fn hash(parent: u16, label: &[u8]) -> u16 {
    let octets =
        if let (Some(first), Some(last)) = (label.first_chunk::<8>(), label.last_chunk::<8>()) {
            u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(23)
        } else {
            label.iter().fold(0_u64, |sum, octet| sum << 8 | u64::from(*octet))
        };
    let product = (octets ^ u64::from(parent) << 40).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    u16::try_from(product >> 48).unwrap_or(0)
}

#[inline]
fn bucket(hash: u16) -> u8 {
    let [_, low] = hash.to_be_bytes();
    low & 31
}

#[cfg(test)]
mod tests {
    use super::super::{Class, Message, Nsec, Srv, Txt, TypeWindow};
    use super::*;
    use crate::wire::cursor::Reader;
    use core::net::Ipv4Addr;
    use std::string::ToString as _;
    use std::vec::Vec;

    fn name(text: &str) -> NameBuf {
        NameBuf::from_text(text).unwrap()
    }

    fn record<'a>(owner: &'a NameBuf, data: RecordData<'a>) -> Record<'a> {
        let name = owner.as_name();
        Record { name, class: Class::In, cache_flush: true, ttl: 0x0102_0304, data }
    }

    #[test]
    fn octets_are_as_the_specification_says() {
        let (owner, host) = (name("x._t.local"), name("h.local"));
        let mut buffer = [0xa5; 128];
        let mut w = MessageWriter::new(&mut buffer, 0, Flags::RESPONSE, Compression::Multicast);
        let srv = Srv { priority: 1, weight: 2, port: 3, target: host.as_name() };
        w.answer(&record(&owner, RecordData::Srv(srv))).unwrap();
        let types = TypeWindow::of(&[Type::A]);
        let nsec = Nsec { next: host.as_name(), types: types.as_bitmap() };
        w.additional(&record(&host, RecordData::Nsec(nsec))).unwrap();
        let len = w.finish().unwrap();
        let expected = [
            &b"\x00\x00\x84\x00\x00\x00\x00\x01\x00\x00\x00\x01"[..],
            b"\x01x\x02_t\x05local\x00\x00\x21\x80\x01\x01\x02\x03\x04\x00\x0a\x00\x01\x00\x02\x00\x03",
            b"\x01h\xC0\x11",
            b"\xC0\x28\x00\x2f\x80\x01\x01\x02\x03\x04\x00\x05\xC0\x28\x00\x01\x40",
        ];
        assert_eq!(buffer[..len], expected.concat());
        assert!(buffer[len..].iter().all(|octet| *octet == 0xa5));
    }

    #[test]
    fn questions_carry_the_unicast_bit() {
        let owner = name("a");
        let mut buffer = [0xa5; 32];
        let mut w = MessageWriter::new(&mut buffer, 0x1234, Flags::QUERY, Compression::Multicast);
        assert!(w.is_empty());
        let (qtype, qclass) = (Type::Any, Class::In);
        let question = Question { name: owner.as_name(), qtype, qclass, unicast_response: true };
        w.question(&question).unwrap();
        w.question(&Question { unicast_response: false, ..question }).unwrap();
        w.set_flags(Flags::TRUNCATED_QUERY);
        assert_eq!((w.count(Section::Question), w.is_empty()), (2, false));
        let len = w.finish().unwrap();
        let expected = [
            &b"\x12\x34\x02\x00\x00\x02\x00\x00\x00\x00\x00\x00"[..],
            b"\x01a\x00\x00\xff\x80\x01\xC0\x0C\x00\xff\x00\x01",
        ];
        assert_eq!(buffer[..len], expected.concat());
    }

    #[test]
    fn legacy_answers_have_plain_names_in_srv_and_nsec() {
        let (owner, host) = (name("x._t.local"), name("h.local"));
        let (mut short, mut long) = ([0; 160], [0; 160]);
        let write = |buffer: &mut [u8], compression| {
            let mut w = MessageWriter::new(buffer, 0, Flags::RESPONSE, compression);
            let srv = Srv { priority: 0, weight: 0, port: 3, target: host.as_name() };
            w.answer(&record(&owner, RecordData::Ptr(owner.as_name()))).unwrap();
            w.answer(&record(&owner, RecordData::Srv(srv))).unwrap();
            let types = TypeWindow::of(&[]);
            let nsec = Nsec { next: host.as_name(), types: types.as_bitmap() };
            w.additional(&record(&host, RecordData::Nsec(nsec))).unwrap();
            w.finish().unwrap()
        };
        let short_len = write(&mut short, Compression::Multicast);
        let long_len = write(&mut long, Compression::LegacyUnicast);
        let plain = b"\x01h\x05local\x00";
        let count = |octets: &[u8]| octets.windows(plain.len()).filter(|w| w == plain).count();
        assert_eq!((count(&short[..short_len]), count(&long[..long_len])), (0, 2));
        let read = |octets| -> Vec<_> {
            Message::decode(octets)
                .unwrap()
                .records()
                .map(|(_, r)| r.unwrap().to_string())
                .collect()
        };
        assert_eq!(read(&short[..short_len]), read(&long[..long_len]));
    }

    #[test]
    fn a_record_that_does_not_fit_is_left_out_whole_at_every_size() {
        let owner = name("some.name.local");
        let txt = Txt::from_octets(b"\x03a=b").unwrap();
        let data = [
            RecordData::A(Ipv4Addr::LOCALHOST),
            RecordData::Ptr(owner.as_name()),
            RecordData::Txt(txt),
        ];
        let ends = [12, 43, 57, 73];
        for room in 12..80 {
            let mut buffer = std::vec![0xa5; 100];
            let mut w =
                MessageWriter::new(&mut buffer[..room], 0, Flags::RESPONSE, Compression::Multicast);
            let wrote: Vec<_> =
                data.iter().map(|data| w.answer(&record(&owner, *data)).is_ok()).collect();
            let fitting = ends.iter().filter(|end| **end <= room).count() - 1;
            let first_fits = wrote.iter().take_while(|ok| **ok).count();
            assert_eq!(first_fits, fitting, "{room} {wrote:?}");
            let count = w.count(Section::Answer);
            let len = w.finish().unwrap();
            assert!(len <= room);
            assert!(buffer[room..].iter().all(|octet| *octet == 0xa5));
            let read = Message::decode(&buffer[..len]).unwrap();
            assert_eq!(read.answers().filter(Result::is_ok).count(), usize::from(count));
            assert_eq!(read.count(Section::Answer), count);
        }
    }

    #[test]
    fn without_room_for_a_header_there_is_no_message() {
        for room in 0..12 {
            let mut buffer = [0xa5; 12];
            let mut w =
                MessageWriter::new(&mut buffer[..room], 0, Flags::QUERY, Compression::Multicast);
            let mark = w.mark();
            let root = NameBuf::new();
            assert_eq!(w.answer(&record(&root, RecordData::Txt(Txt::EMPTY))), Err(Overflow));
            w.rewind(mark);
            assert_eq!(w.finish(), Err(Overflow));
            assert_eq!(buffer, [0xa5; 12]);
        }
    }

    #[test]
    fn sections_come_in_order() {
        let root = NameBuf::new();
        let mut buffer = [0; 64];
        let mut w = MessageWriter::new(&mut buffer, 0, Flags::QUERY, Compression::Multicast);
        let record = record(&root, RecordData::Txt(Txt::EMPTY));
        let (qtype, qclass) = (Type::Any, Class::In);
        let question = Question { name: Name::ROOT, qtype, qclass, unicast_response: true };
        assert_eq!(w.record(Section::Question, &record), Err(Overflow));
        w.authority(&record).unwrap();
        assert_eq!(w.question(&question), Err(Overflow));
        assert_eq!(w.answer(&record), Err(Overflow));
        w.additional(&record).unwrap();
        assert_eq!(w.authority(&record), Err(Overflow));
        assert_eq!(w.finish(), Ok(12 + 12 + 12));
    }

    #[test]
    fn rewinding_forgets_names_and_counts() {
        let names = ["a.local", "b.local", "c.b.local", "d.c.b.local"].map(name);
        let write = |w: &mut MessageWriter<'_>, name: &NameBuf| {
            w.additional(&record(name, RecordData::Txt(Txt::EMPTY))).unwrap();
        };
        let (mut once, mut twice) = ([0; 256], [0; 256]);
        let mut w = MessageWriter::new(&mut once, 0, Flags::QUERY, Compression::Multicast);
        names.iter().for_each(|name| write(&mut w, name));
        let expected = w.finish().unwrap();

        let mut w = MessageWriter::new(&mut twice, 0, Flags::QUERY, Compression::Multicast);
        write(&mut w, &names[0]);
        let mark = w.mark();
        ["x.local", "c.b.local", "y.z.local"].map(name).iter().for_each(|name| write(&mut w, name));
        w.rewind(mark);
        assert_eq!(w.count(Section::Additional), 1);
        names[1..].iter().for_each(|name| write(&mut w, name));
        assert_eq!(w.finish(), Ok(expected));
        assert_eq!(once[..expected], twice[..expected]);
    }

    #[test]
    fn a_label_of_another_case_is_not_compressed_away() {
        let names = ["a.local", "b.LOCAL", "A.local"].map(name);
        let mut buffer = [0; 128];
        let mut w = MessageWriter::new(&mut buffer, 0, Flags::QUERY, Compression::Multicast);
        for name in &names {
            w.answer(&record(name, RecordData::Txt(Txt::EMPTY))).unwrap();
        }
        let len = w.finish().unwrap();
        let message = Message::decode(&buffer[..len]).unwrap();
        let read: Vec<_> = message.answers().map(|r| r.unwrap().name.to_string()).collect();
        assert_eq!(read, ["a.local.", "b.LOCAL.", "A.local."]);
    }

    #[test]
    fn many_names_far_into_a_message_still_read_back() {
        let mut buffer = std::vec![0; 60_000];
        let mut w = MessageWriter::new(&mut buffer, 0, Flags::QUERY, Compression::Multicast);
        let padding = [0; 255];
        let owner = |i: usize| name(&std::format!("n{i}.m{}.local", i % 7));
        for i in 0..200 {
            let rdata = &padding[..255];
            let owner = owner(i);
            w.answer(&record(&owner, RecordData::Unknown { rtype: Type::Unknown(99), rdata }))
                .unwrap();
        }
        let len = w.finish().unwrap();
        assert!(len > usize::from(POINTER_END));
        let mut r = Reader::new(&buffer[..len]);
        r.take(HEADER_LEN, "header").unwrap();
        for i in 0..200 {
            assert_eq!(Record::decode(&mut r).unwrap().name, owner(i));
        }
        assert!(r.is_empty());
    }
}
