//! DNS messages as owned values, for writing a peer's packets and reading ours.
//! Not here: broken packets; tests write those octet by octet.

#![expect(clippy::missing_panics_doc, reason = "a helper panics where the test is wrong")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use phase_core::wire::dns::{
    self, Class, Compression, Flags, MessageWriter, NameBuf, Question, RecordData, Section, Txt,
    Type,
};

/// A record with its data as owned values. Names are text as [`dns::Name`] displays it, without the last dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rr {
    /// The owner.
    pub name: String,
    /// Seconds.
    pub ttl: u32,
    /// The cache-flush bit.
    pub flush: bool,
    /// Type and data.
    pub data: Data,
}

/// Owned record data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A name.
    Ptr(String),
    /// Priority, weight, port and target.
    Srv(u16, u16, u16, String),
    /// Strings as on the wire.
    Txt(Vec<u8>),
    /// The next name and the types of a negative record.
    Nsec(String, Vec<u16>),
    /// Type and octets of anything else.
    Raw(u16, Vec<u8>),
}

impl Data {
    /// An address.
    #[must_use]
    pub fn address(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::A(ip),
            IpAddr::V6(ip) => Self::Aaaa(ip),
        }
    }

    /// The type's number.
    #[must_use]
    pub fn rtype(&self) -> Type {
        match self {
            Self::A(_) => Type::A,
            Self::Aaaa(_) => Type::Aaaa,
            Self::Ptr(_) => Type::Ptr,
            Self::Srv(..) => Type::Srv,
            Self::Txt(_) => Type::Txt,
            Self::Nsec(..) => Type::Nsec,
            Self::Raw(code, _) => Type::from(*code),
        }
    }
}

impl Rr {
    /// A record with the TTL 120 and no cache-flush bit.
    #[must_use]
    pub fn new(name: &str, data: Data) -> Self {
        Self { name: name.into(), ttl: 120, flush: false, data }
    }

    /// With another TTL.
    #[must_use]
    pub fn ttl(self, ttl: u32) -> Self {
        Self { ttl, ..self }
    }

    /// With the cache-flush bit.
    #[must_use]
    pub fn flush(self) -> Self {
        Self { flush: true, ..self }
    }
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The name.
    pub name: String,
    /// The type.
    pub qtype: Type,
    /// The class.
    pub qclass: Class,
    /// The QU bit.
    pub unicast: bool,
}

/// A message as owned values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// The id.
    pub id: u16,
    /// The flags.
    pub flags: u16,
    /// The questions.
    pub questions: Vec<Asked>,
    /// The answers.
    pub answers: Vec<Rr>,
    /// The authorities.
    pub authorities: Vec<Rr>,
    /// The additional records.
    pub additionals: Vec<Rr>,
}

impl Packet {
    /// An empty query.
    #[must_use]
    pub fn query() -> Self {
        Self::default()
    }

    /// An empty response.
    #[must_use]
    pub fn response() -> Self {
        Self { flags: Flags::RESPONSE.0, ..Self::default() }
    }

    /// With a question.
    #[must_use]
    pub fn ask(mut self, name: &str, qtype: Type) -> Self {
        let name = name.into();
        self.questions.push(Asked { name, qtype, qclass: Class::In, unicast: false });
        self
    }

    /// With every question asking for a unicast response.
    #[must_use]
    pub fn unicast(mut self) -> Self {
        self.questions.iter_mut().for_each(|question| question.unicast = true);
        self
    }

    /// With another id.
    #[must_use]
    pub fn id(self, id: u16) -> Self {
        Self { id, ..self }
    }

    /// With the TC bit.
    #[must_use]
    pub fn truncated(self) -> Self {
        Self { flags: self.flags | Flags::TRUNCATED_QUERY.0, ..self }
    }

    /// With an answer.
    #[must_use]
    pub fn answer(mut self, record: Rr) -> Self {
        self.answers.push(record);
        self
    }

    /// With an authority.
    #[must_use]
    pub fn authority(mut self, record: Rr) -> Self {
        self.authorities.push(record);
        self
    }

    /// With an additional record.
    #[must_use]
    pub fn additional(mut self, record: Rr) -> Self {
        self.additionals.push(record);
        self
    }

    /// The octets.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut buffer = vec![0xa5; 9000];
        let flags = Flags(self.flags);
        let mut w = MessageWriter::new(&mut buffer, self.id, flags, Compression::Multicast);
        for asked in &self.questions {
            let name = name(&asked.name);
            w.question(&Question {
                name: name.as_name(),
                qtype: asked.qtype,
                qclass: asked.qclass,
                unicast_response: asked.unicast,
            })
            .expect("a test's message fits");
        }
        let sections = [
            (Section::Answer, &self.answers),
            (Section::Authority, &self.authorities),
            (Section::Additional, &self.additionals),
        ];
        for (section, records) in sections {
            records.iter().for_each(|record| encode(&mut w, section, record));
        }
        let len = w.finish().expect("a test's message fits");
        buffer.truncate(len);
        buffer
    }

    /// Reads a whole message, every record of which must be good.
    #[must_use]
    pub fn decode(octets: &[u8]) -> Self {
        let message = dns::Message::decode(octets).expect("a header");
        let mut packet = Self { id: message.id(), flags: message.flags().0, ..Self::default() };
        for question in message.questions() {
            let question = question.expect("a good question");
            packet.questions.push(Asked {
                name: text(&question.name),
                qtype: question.qtype,
                qclass: question.qclass,
                unicast: question.unicast_response,
            });
        }
        for (section, record) in message.records() {
            let record = decode(&record.expect("a good record"));
            match section {
                Section::Question => {}
                Section::Answer => packet.answers.push(record),
                Section::Authority => packet.authorities.push(record),
                Section::Additional => packet.additionals.push(record),
            }
        }
        packet
    }

    /// Whether it is a response.
    #[must_use]
    pub fn is_response(&self) -> bool {
        Flags(self.flags).is_response()
    }

    /// All records.
    pub fn records(&self) -> impl Iterator<Item = &Rr> {
        self.answers.iter().chain(&self.authorities).chain(&self.additionals)
    }

    /// The answers of a name (ASCII case ignored) and type.
    pub fn answers_of(&self, name: &str, rtype: Type) -> impl Iterator<Item = &Rr> {
        self.answers
            .iter()
            .filter(move |rr| rr.name.eq_ignore_ascii_case(name) && rr.data.rtype() == rtype)
    }
}

fn name(text: &str) -> NameBuf {
    NameBuf::from_text(text).expect("a name")
}

fn text(name: &dns::Name<'_>) -> String {
    let mut text = name.to_string();
    text.pop();
    text
}

fn encode(w: &mut MessageWriter<'_>, section: Section, record: &Rr) {
    let owner = name(&record.name);
    let target;
    let types;
    let data = match &record.data {
        Data::A(ip) => RecordData::A(*ip),
        Data::Aaaa(ip) => RecordData::Aaaa(*ip),
        Data::Ptr(to) => {
            target = name(to);
            RecordData::Ptr(target.as_name())
        }
        Data::Srv(priority, weight, port, to) => {
            target = name(to);
            RecordData::Srv(dns::Srv {
                priority: *priority,
                weight: *weight,
                port: *port,
                target: target.as_name(),
            })
        }
        Data::Txt(octets) => RecordData::Txt(Txt::from_octets(octets).expect("TXT strings")),
        Data::Nsec(next, has) => {
            target = name(next);
            let has: Vec<_> = has.iter().copied().map(Type::from).collect();
            types = dns::TypeWindow::of(&has);
            RecordData::Nsec(dns::Nsec { next: target.as_name(), types: types.as_bitmap() })
        }
        Data::Raw(code, rdata) => RecordData::Unknown { rtype: Type::from(*code), rdata },
    };
    let record = dns::Record {
        name: owner.as_name(),
        class: Class::In,
        cache_flush: record.flush,
        ttl: record.ttl,
        data,
    };
    w.record(section, &record).expect("a test's message fits");
}

fn decode(record: &dns::Record<'_>) -> Rr {
    let data = match &record.data {
        RecordData::A(ip) => Data::A(*ip),
        RecordData::Aaaa(ip) => Data::Aaaa(*ip),
        RecordData::Ptr(to) => Data::Ptr(text(to)),
        RecordData::Srv(srv) => Data::Srv(srv.priority, srv.weight, srv.port, text(&srv.target)),
        RecordData::Txt(txt) => Data::Txt(txt.as_octets().to_vec()),
        RecordData::Nsec(nsec) => {
            Data::Nsec(text(&nsec.next), nsec.types.types().map(u16::from).collect())
        }
        RecordData::Unknown { rtype, rdata } => Data::Raw(u16::from(*rtype), rdata.to_vec()),
    };
    Rr { name: text(&record.name), ttl: record.ttl, flush: record.cache_flush, data }
}
