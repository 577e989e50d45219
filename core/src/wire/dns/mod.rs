//! Multicast DNS messages.
//! Spec: RFC 1035 §4.1 (format), RFC 6762 §18 (what multicast changes).
//!
//! ```text
//! header | questions | answers | authorities | additionals
//! header: id 2, flags 2, four counts of 2
//! question: name, type 2, class 2 (top bit: a unicast response is wanted)
//! record: name, type 2, class 2 (top bit: flush the cache), TTL 4, length 2, data
//! ```
//! [`Message`] reads, [`MessageWriter`] writes; both borrow everything.
//! Not implemented: EDNS(0) options and TSIG; records of unknown types are kept as opaque data.

use core::cmp::Ordering;
use core::fmt;

use crate::wire::open_enum;

mod message;
mod name;
mod name_buf;
mod rdata;
mod txt;
mod writer;

pub use message::{AllRecords, Message, Questions, Records};
pub use name::{Labels, Name};
pub use name_buf::{InlineName, NameBuf};
pub use rdata::{Nsec, RecordData, Srv, TypeBitmap, TypeWindow};
pub use txt::{Attribute, Strings, Txt, TxtWriter};
pub use writer::{Compression, Mark, MessageWriter};

/// RFC 1035 §4.1.1: octets of the header.
pub const HEADER_LEN: usize = 12;

open_enum! {
    /// A record type, or a question's.
    pub enum Type(u16) {
        /// RFC 1035 §3.4.1: an IPv4 address.
        A = 1,
        /// RFC 1035 §3.3.12: a name.
        Ptr = 12,
        /// RFC 1035 §3.3.14: strings.
        Txt = 16,
        /// RFC 3596 §2.1: an IPv6 address.
        Aaaa = 28,
        /// RFC 2782: host and port of a service.
        Srv = 33,
        /// RFC 6891 §6.1.1: not a record but extended flags; its class is a length.
        Opt = 41,
        /// RFC 4034 §4, RFC 6762 §6.1: the types that a name has.
        Nsec = 47,
        /// RFC 1035 §3.2.3: in a question, every type.
        Any = 255,
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::Ptr => "PTR",
            Self::Txt => "TXT",
            Self::Aaaa => "AAAA",
            Self::Srv => "SRV",
            Self::Opt => "OPT",
            Self::Nsec => "NSEC",
            Self::Any => "ANY",
            Self::Unknown(code) => return write!(f, "TYPE{code}"),
        })
    }
}

open_enum! {
    /// A class without the top bit, whose meaning RFC 6762 §18.12 and §18.13 change.
    pub enum Class(u16) {
        /// RFC 1035 §3.2.4: the Internet.
        In = 1,
        /// RFC 1035 §3.2.5: in a question, every class.
        Any = 255,
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In => f.write_str("IN"),
            Self::Any => f.write_str("ANY"),
            Self::Unknown(code) => write!(f, "CLASS{code}"),
        }
    }
}

/// The four parts of a message, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Section {
    /// Questions.
    Question,
    /// Answers; in a query the known answers (RFC 6762 §7.1).
    Answer,
    /// Authorities; in a query the records that are probed for (RFC 6762 §8.2).
    Authority,
    /// Additional records.
    Additional,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Question => "questions",
            Self::Answer => "answers",
            Self::Authority => "authorities",
            Self::Additional => "additionals",
        })
    }
}

/// The second 16 bits of the header (RFC 1035 §4.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Flags(pub u16);

impl Flags {
    /// RFC 6762 §18: a query.
    pub const QUERY: Self = Self(0x0000);
    /// RFC 6762 §18.3: a query whose known answers go on in the next message.
    pub const TRUNCATED_QUERY: Self = Self(0x0200);
    /// RFC 6762 §18: a response, authoritative.
    pub const RESPONSE: Self = Self(0x8400);

    /// Whether this is a response.
    #[must_use]
    pub const fn is_response(self) -> bool {
        self.0 & 0x8000 != 0
    }

    /// RFC 6762 §18.3: messages with another opcode than 0 are ignored.
    #[must_use]
    pub const fn opcode(self) -> u16 {
        self.0 >> 11 & 0xF
    }

    /// RFC 6762 §18.4.
    #[must_use]
    pub const fn is_authoritative(self) -> bool {
        self.0 & 0x0400 != 0
    }

    /// RFC 6762 §18.5: in a query, more known answers follow.
    #[must_use]
    pub const fn is_truncated(self) -> bool {
        self.0 & 0x0200 != 0
    }

    /// RFC 6762 §18.11: messages with another response code than 0 are ignored.
    #[must_use]
    pub const fn rcode(self) -> u16 {
        self.0 & 0xF
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_response() { "response" } else { "query" })?;
        for (set, text) in [(self.is_authoritative(), " aa"), (self.is_truncated(), " tc")] {
            if set {
                f.write_str(text)?;
            }
        }
        if self.opcode() != 0 || self.rcode() != 0 {
            write!(f, " opcode {} rcode {}", self.opcode(), self.rcode())?;
        }
        Ok(())
    }
}

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// The name that is asked for.
    pub name: Name<'a>,
    /// The type.
    pub qtype: Type,
    /// The class; its top bit is not written.
    pub qclass: Class,
    /// RFC 6762 §5.4: the QU bit.
    pub unicast_response: bool,
}

impl fmt::Display for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bit = if self.unicast_response { "QU" } else { "QM" };
        write!(f, "{}? {} ({bit})", self.qtype, self.name)?;
        if self.qclass == Class::In { Ok(()) } else { write!(f, " {}", self.qclass) }
    }
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The owner.
    pub name: Name<'a>,
    /// The class; its top bit is not written, except for OPT, where all of it is a length.
    pub class: Class,
    /// RFC 6762 §10.2: this record's set is unique, older members go.
    pub cache_flush: bool,
    /// Seconds to keep it; 0 is a goodbye (RFC 6762 §10.1).
    pub ttl: u32,
    /// Type and data.
    pub data: RecordData<'a>,
}

impl Record<'_> {
    /// The order of RFC 6762 §8.2: class without the cache-flush bit, type, raw octets of the data with
    /// uncompressed names. Owner and TTL do not count.
    #[must_use]
    pub fn compare_for_tie_break(&self, other: &Record<'_>) -> Ordering {
        let key = |record: &Record<'_>| {
            (u16::from(record.class) & 0x7FFF, u16::from(record.data.rtype()))
        };
        key(self).cmp(&key(other)).then_with(|| self.data.compare_uncompressed(&other.data))
    }
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flush = if self.cache_flush { " (flush)" } else { "" };
        write!(f, "{} {} {}{flush} {}", self.name, self.ttl, self.class, self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use std::string::ToString as _;
    use std::vec::Vec;

    fn name(text: &str) -> NameBuf {
        NameBuf::from_text(text).unwrap()
    }

    #[test]
    fn a_response_reads_back_as_it_was_written() {
        let (service, instance) =
            (name("_phase-image._tcp.local"), name("Bob\\.s v1._phase-image._tcp.local"));
        let host = name("bob.local");
        let types = TypeWindow::of(&[Type::A, Type::Aaaa]);
        let record = |owner: &'static NameBuf, flush, data| Record {
            name: owner.as_name(),
            class: Class::In,
            cache_flush: flush,
            ttl: 120,
            data,
        };
        let leak =
            |n: NameBuf| -> &'static NameBuf { std::boxed::Box::leak(std::boxed::Box::new(n)) };
        let (service, instance, host) = (leak(service), leak(instance), leak(host));
        let srv = Srv { priority: 0, weight: 0, port: 8080, target: host.as_name() };
        let records = [
            record(service, false, RecordData::Ptr(instance.as_name())),
            record(instance, true, RecordData::Srv(srv)),
            record(instance, true, RecordData::Txt(Txt::from_octets(b"\x09txtvers=1").unwrap())),
            record(host, true, RecordData::A(Ipv4Addr::new(192, 0, 2, 1))),
            record(host, true, RecordData::Aaaa(Ipv6Addr::LOCALHOST)),
            record(
                host,
                true,
                RecordData::Nsec(Nsec { next: host.as_name(), types: types.as_bitmap() }),
            ),
        ];
        for compression in [Compression::Multicast, Compression::LegacyUnicast] {
            let mut buffer = [0xa5; 512];
            let mut w = MessageWriter::new(&mut buffer, 7, Flags::RESPONSE, compression);
            let (first, rest) = records.split_first().unwrap();
            w.answer(first).unwrap();
            rest.iter().for_each(|record| w.additional(record).unwrap());
            let len = w.finish().unwrap();
            let message = Message::decode(&buffer[..len]).unwrap();
            assert_eq!((message.id(), message.flags()), (7, Flags::RESPONSE));
            let back: Vec<_> = message.records().map(|(_, record)| record.unwrap()).collect();
            assert_eq!(back, records);
            assert_eq!(message.answers().count(), 1);
            assert_eq!(message.authorities().count(), 0);
            assert_eq!(message.additionals().map(Result::unwrap).collect::<Vec<_>>(), rest);
        }
        assert_eq!(
            records[1].to_string(),
            "Bob\\.s v1._phase-image._tcp.local. 120 IN (flush) SRV 0 0 8080 bob.local."
        );
        assert_eq!(records[5].data.to_string(), "NSEC bob.local. A AAAA");
    }
}
