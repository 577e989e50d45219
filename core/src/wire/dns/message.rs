//! Reading a message: the header at once, questions and records one by one.
//! Spec: RFC 1035 §4.1; RFC 6762 §18.
//!
//! Octets after the last record are ignored.

use core::fmt;

use super::name::Name;
use super::{Flags, HEADER_LEN, Question, Record, RecordData, Section};
use crate::limits::{QUESTIONS_PER_MESSAGE, RECORDS_PER_MESSAGE};
use crate::wire::Error;
use crate::wire::cursor::Reader;

/// A message whose header was read. Everything behind the header is read, and checked, by the iterators.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    octets: &'a [u8],
    id: u16,
    flags: Flags,
    /// Questions, answers, authorities, additionals as the header says.
    counts: [u16; 4],
}

impl<'a> Message<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`Error::Truncated`] below 12 octets, [`Error::Malformed`] above 65,535.
    #[inline]
    pub fn decode(octets: &'a [u8]) -> Result<Self, Error> {
        if octets.len() > usize::from(u16::MAX) {
            return Err(Error::Malformed("message length"));
        }
        let [i0, i1, f0, f1, q0, q1, n0, n1, u0, u1, d0, d1] =
            Reader::new(octets).array::<HEADER_LEN>("message header")?;
        Ok(Self {
            octets,
            id: u16::from_be_bytes([i0, i1]),
            flags: Flags(u16::from_be_bytes([f0, f1])),
            counts: [[q0, q1], [n0, n1], [u0, u1], [d0, d1]].map(u16::from_be_bytes),
        })
    }

    /// The message id: 0 in multicast DNS, except in legacy-unicast exchanges.
    #[must_use]
    pub const fn id(&self) -> u16 {
        self.id
    }

    /// The flags.
    #[must_use]
    pub const fn flags(&self) -> Flags {
        self.flags
    }

    /// How many entries the header promises in `section`. A peer's claim.
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

    /// The questions, at most [`QUESTIONS_PER_MESSAGE`]. A broken one is the last item.
    #[must_use]
    #[inline]
    pub fn questions(&self) -> Questions<'a> {
        let left = usize::from(self.count(Section::Question)).min(QUESTIONS_PER_MESSAGE);
        Questions { reader: self.body(), left }
    }

    /// The answers. As for every section: records past the first [`RECORDS_PER_MESSAGE`] of the *message* are
    /// left out; broken data is an `Err` item after which the iteration goes on; a broken owner name or length,
    /// in this section or one before it, is the last item.
    #[must_use]
    pub fn answers(&self) -> Records<'a> {
        self.section(Section::Answer)
    }

    /// The authorities; see [`answers`](Self::answers).
    #[must_use]
    pub fn authorities(&self) -> Records<'a> {
        self.section(Section::Authority)
    }

    /// The additionals; see [`answers`](Self::answers).
    #[must_use]
    pub fn additionals(&self) -> Records<'a> {
        self.section(Section::Additional)
    }

    /// The records of all sections in order, in one pass; see [`answers`](Self::answers).
    #[must_use]
    #[inline]
    pub fn records(&self) -> AllRecords<'a> {
        let [questions, records @ ..] = self.counts;
        let mut reader = self.body();
        let broken = skip(&mut reader, usize::from(questions), 4).err();
        AllRecords { reader, broken, left: records, budget: RECORDS_PER_MESSAGE }
    }

    fn section(&self, section: Section) -> Records<'a> {
        let mut reader = self.body();
        let [questions, answers, authorities, additionals] = self.counts.map(usize::from);
        let (before, count) = match section {
            Section::Question => (0, 0),
            Section::Answer => (0, answers),
            Section::Authority => (answers, authorities),
            Section::Additional => (answers.saturating_add(authorities), additionals),
        };
        let left = count.min(RECORDS_PER_MESSAGE.saturating_sub(before));
        let skipped = if left == 0 {
            Ok(())
        } else {
            skip(&mut reader, questions, 4).and_then(|()| skip_records(&mut reader, before))
        };
        Records { reader, broken: skipped.err(), left }
    }

    #[inline]
    fn body(&self) -> Reader<'a> {
        let mut reader = Reader::new(self.octets);
        // The header was read, so it is there.
        let _ = reader.take(HEADER_LEN, "message header");
        reader
    }
}

/// Skips `count` names, whose pointers are not followed, each with `tail` octets behind it.
#[inline]
fn skip(reader: &mut Reader<'_>, count: usize, tail: usize) -> Result<(), Error> {
    for _ in 0..count {
        Name::skip(reader)?;
        reader.take(tail, "question")?;
    }
    Ok(())
}

/// Skips `count` records, each of which must have a valid owner.
fn skip_records(reader: &mut Reader<'_>, count: usize) -> Result<(), Error> {
    (0..count).try_for_each(|_| Record::decode_head(reader).map(|_| ()))
}

/// The questions of a [`Message`].
#[derive(Clone, Debug)]
pub struct Questions<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Iterator for Questions<'a> {
    type Item = Result<Question<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let question = Question::decode(&mut self.reader);
        if question.is_err() {
            self.left = 0;
        }
        Some(question)
    }
}

/// The records of one section of a [`Message`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    reader: Reader<'a>,
    broken: Option<Error>,
    left: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let record = match self.broken {
            Some(error) => Err(error),
            None => Record::decode_head(&mut self.reader),
        };
        match record {
            Ok((head, mut data)) => Some(head.with_data(&mut data)),
            Err(error) => {
                self.left = 0;
                Some(Err(error))
            }
        }
    }
}

/// The records of all sections of a [`Message`], each with its section.
#[derive(Clone, Debug)]
pub struct AllRecords<'a> {
    reader: Reader<'a>,
    broken: Option<Error>,
    left: [u16; 3],
    budget: usize,
}

impl<'a> Iterator for AllRecords<'a> {
    type Item = (Section, Result<Record<'a>, Error>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let [answers, authorities, additionals] = &mut self.left;
        let (left, section) = if *answers > 0 {
            (answers, Section::Answer)
        } else if *authorities > 0 {
            (authorities, Section::Authority)
        } else {
            (additionals, Section::Additional)
        };
        *left = left.checked_sub(1)?;
        self.budget = self.budget.checked_sub(1)?;
        let record = match self.broken {
            Some(error) => Err(error),
            None => Record::decode_head(&mut self.reader),
        };
        match record {
            Ok((head, mut data)) => Some((section, head.with_data(&mut data))),
            Err(error) => {
                self.left = [0; 3];
                Some((section, Err(error)))
            }
        }
    }
}

/// What stands before the data of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    name: Name<'a>,
    rtype: super::Type,
    class: u16,
    ttl: u32,
}

impl<'a> Head<'a> {
    #[inline]
    fn with_data(self, data: &mut Reader<'a>) -> Result<Record<'a>, Error> {
        let data = RecordData::decode(self.rtype, data)?;
        // RFC 6891 §6.1.2: the class of OPT is a length.
        let (class, cache_flush) = if self.rtype == super::Type::Opt {
            (self.class, false)
        } else {
            (self.class & 0x7FFF, self.class & 0x8000 != 0)
        };
        Ok(Record { name: self.name, class: class.into(), cache_flush, ttl: self.ttl, data })
    }
}

impl<'a> Record<'a> {
    /// Takes a record.
    ///
    /// # Errors
    /// [`Error`] naming the field that is cut short or malformed.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        let (head, mut data) = Self::decode_head(r)?;
        head.with_data(&mut data)
    }

    /// Takes a record, leaving its data to be decoded.
    #[inline]
    fn decode_head(r: &mut Reader<'a>) -> Result<(Head<'a>, Reader<'a>), Error> {
        let name = Name::decode(r)?;
        let [t0, t1, c0, c1, s0, s1, s2, s3, l0, l1] = r.array("record header")?;
        let data = r.sub(usize::from(u16::from_be_bytes([l0, l1])), "record data")?;
        let head = Head {
            name,
            rtype: u16::from_be_bytes([t0, t1]).into(),
            class: u16::from_be_bytes([c0, c1]),
            ttl: u32::from_be_bytes([s0, s1, s2, s3]),
        };
        Ok((head, data))
    }
}

impl<'a> Question<'a> {
    /// Takes a question.
    ///
    /// # Errors
    /// [`Error`] naming the field that is cut short or malformed.
    #[inline]
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        let name = Name::decode(r)?;
        let [t0, t1, c0, c1] = r.array("question")?;
        let class = u16::from_be_bytes([c0, c1]);
        Ok(Self {
            name,
            qtype: u16::from_be_bytes([t0, t1]).into(),
            qclass: (class & 0x7FFF).into(),
            unicast_response: class & 0x8000 != 0,
        })
    }
}

/// One line in the manner of tcpdump.
impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.flags)?;
        for question in self.questions() {
            match question {
                Ok(question) => write!(f, " {question}")?,
                Err(error) => write!(f, " [{error}]")?,
            }
        }
        let mut current = Section::Question;
        for (section, record) in self.records() {
            if section != current {
                write!(f, " {section}:")?;
            } else {
                f.write_str(",")?;
            }
            current = section;
            match record {
                Ok(record) => write!(f, " {record}")?,
                Err(error) => write!(f, " [{error}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Class, Type};
    use super::*;
    use std::string::ToString as _;
    use std::vec::Vec;

    /// A header with these counts and then `body`.
    fn message(counts: [u16; 4], body: &[u8]) -> Vec<u8> {
        let mut octets = std::vec![0, 0, 0x84, 0];
        octets.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
        octets.extend_from_slice(body);
        octets
    }

    /// A record of the root name.
    fn record(rtype: u8, data: &[u8]) -> Vec<u8> {
        let mut octets = std::vec![0, 0, rtype, 0x80, 1, 0, 0, 0, 120, 0];
        octets.push(u8::try_from(data.len()).unwrap());
        octets.extend_from_slice(data);
        octets
    }

    #[test]
    fn the_header_is_read_at_once() {
        let octets = [0x12, 0x34, 0xAF, 0xB5, 0, 1, 0, 2, 0, 3, 1, 4];
        let m = Message::decode(&octets).unwrap();
        assert_eq!(m.id(), 0x1234);
        let sections =
            [Section::Question, Section::Answer, Section::Authority, Section::Additional];
        assert_eq!(sections.map(|section| m.count(section)), [1, 2, 3, 0x104]);
        let flags = m.flags();
        assert!(flags.is_response() && flags.is_authoritative() && flags.is_truncated());
        assert_eq!((flags.opcode(), flags.rcode()), (5, 5));
        assert_eq!(flags.to_string(), "response aa tc opcode 5 rcode 5");
        for len in 0..12 {
            let error = Message::decode(&octets[..len]).unwrap_err();
            assert_eq!(error, Error::Truncated("message header"));
        }
        assert!(Message::decode(&std::vec![0; 65_535]).is_ok());
        let error = Message::decode(&std::vec![0; 65_536]).unwrap_err();
        assert_eq!(error, Error::Malformed("message length"));
    }

    #[test]
    fn broken_data_is_one_error_and_the_rest_is_read() {
        let body = [record(1, &[1, 2, 3]), record(47, &[0, 0]), record(1, &[1, 2, 3, 4])].concat();
        let octets = message([0, 2, 0, 1], &body);
        let m = Message::decode(&octets).unwrap();
        let records: Vec<_> = m.records().collect();
        assert_eq!(records[0], (Section::Answer, Err(Error::Truncated("A"))));
        assert_eq!(records[1], (Section::Answer, Err(Error::Truncated("NSEC window"))));
        let (section, last) = records[2];
        assert_eq!((section, last.unwrap().data.rtype()), (Section::Additional, Type::A));
        assert_eq!(m.answers().filter(Result::is_err).count(), 2);
        assert_eq!(m.additionals().collect::<Vec<_>>(), [last]);
    }

    #[test]
    fn a_broken_owner_or_length_ends_the_iteration() {
        let good = record(1, &[1, 2, 3, 4]);
        for broken in
            [&b"\x40"[..], b"\xC0\xFF", b"\x00\x00\x01", b"\x00\x00\x01\x00\x01\0\0\0\0\x00\xff"]
        {
            let octets = message([0, 3, 0, 2], &[&good, broken].concat());
            let m = Message::decode(&octets).unwrap();
            let answers: Vec<_> = m.answers().collect();
            assert!(answers[0].is_ok() && answers[1].is_err());
            assert_eq!(answers.len(), 2, "{broken:?}");
            assert_eq!(m.records().count(), 2);
            let additionals: Vec<_> = m.additionals().collect();
            assert_eq!(additionals.len(), 1);
            assert!(additionals[0].is_err());
        }
    }

    #[test]
    fn counts_beyond_the_message_end_with_one_error() {
        let octets = message([0xffff; 4], b"\x01a\x00\x00\x0c\x80\x01\x00");
        let m = Message::decode(&octets).unwrap();
        let questions: Vec<_> = m.questions().collect();
        let question = questions[0].unwrap();
        assert_eq!((question.qtype, question.qclass), (Type::Ptr, Class::In));
        assert!(question.unicast_response);
        assert_eq!(questions.len(), 2);
        for records in [m.answers(), m.authorities(), m.additionals()] {
            assert!(
                records.clone().count() <= 1 && records.into_iter().all(|record| record.is_err())
            );
        }
        assert_eq!(m.records().count(), 1);
    }

    #[test]
    fn only_the_first_questions_and_records_are_looked_at() {
        let questions = b"\x00\x00\x0c\x00\x01".repeat(40);
        let records = record(1, &[1, 2, 3, 4]).repeat(70);
        let octets = message([40, 30, 30, 10], &[questions, records].concat());
        let m = Message::decode(&octets).unwrap();
        assert_eq!(m.questions().filter(Result::is_ok).count(), QUESTIONS_PER_MESSAGE);
        let sections = [m.answers(), m.authorities(), m.additionals()];
        assert_eq!(sections.map(|records| records.filter(Result::is_ok).count()), [30, 30, 4]);
        assert_eq!(m.records().filter(|(_, record)| record.is_ok()).count(), RECORDS_PER_MESSAGE);
    }

    #[test]
    fn octets_after_the_last_record_are_ignored() {
        let octets =
            message([0, 1, 0, 0], &[record(1, &[1, 2, 3, 4]), std::vec![0xff; 9]].concat());
        let records: Vec<_> = Message::decode(&octets).unwrap().records().collect();
        assert_eq!(records.len(), 1);
        assert!(records[0].1.is_ok());
    }

    #[test]
    fn the_class_of_opt_is_a_length() {
        let octets = b"\x00\x00\x29\x95\xa0\x00\x00\x11\x94\x00\x00";
        let record = Record::decode(&mut Reader::new(octets)).unwrap();
        assert_eq!((record.class, record.cache_flush), (Class::Unknown(0x95a0), false));
        let octets = b"\x00\x00\x01\x95\xa0\x00\x00\x11\x94\x00\x04\x01\x02\x03\x04";
        let record = Record::decode(&mut Reader::new(octets)).unwrap();
        assert_eq!((record.class, record.cache_flush), (Class::Unknown(0x15a0), true));
    }

    #[test]
    fn a_message_is_one_line() {
        let body =
            [b"\x01a\x00\x00\xff\x80\x01".to_vec(), record(1, &[1, 2, 3, 4]), record(1, &[])];
        let octets = message([1, 2, 0, 0], &body.concat());
        assert_eq!(
            Message::decode(&octets).unwrap().to_string(),
            "0 response aa ANY? a. (QU) answers: . 120 IN (flush) A 1.2.3.4, [A is cut short]"
        );
    }
}
