//! From a question to the record sets that answer it, and from record sets to a packet.
//! Spec: RFC 6762 §6.1 (negative answers), §6.2 (addresses), §6.5 (ANY), §6.7 (legacy); RFC 6763 §9, §12.

use super::Responder;
use super::link::{LinkState, MULTICAST_INTERVAL};
use super::records::{Common, OfInstance, Owner, RecordSet, Records};
use super::registry::{Interface, Registry, Subject};
use crate::limits::TRANSMIT_MAX;
use crate::machine::TransmitBuffer;
use crate::wire::Overflow;
use crate::wire::dns::{
    Class, Compression, Flags, Message, MessageWriter, Question, Record, Section, Type,
};

/// RFC 6762 §6.7: a conventional resolver must not keep what it cannot be told has changed: 10 seconds.
const LEGACY_TTL: u32 = 10;

/// RFC 1035 §4.2.1: octets of a response to a querier that did not say it takes more (RFC 6891 §6.2.5).
const LEGACY_MAX: usize = 512;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// For multicast DNS queriers.
    Multicast,
    /// For conventional resolvers: short TTL, no cache-flush bit (RFC 6762 §6.7).
    Legacy,
    /// TTL 0 (RFC 6762 §10.1).
    Goodbye,
}

/// A response to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) flags: Flags,
    pub(super) limit: usize,
    pub(super) style: Style,
}

impl Packet {
    /// Writes as many of `answers` as fit, at least one, and gives them with the length of the message.
    pub(super) fn write<const N: usize>(
        self,
        registry: &Registry<N>,
        interface: u32,
        answers: &Records<N>,
        buf: &mut TransmitBuffer,
    ) -> (Records<N>, Option<usize>) {
        let additionals = Records::EMPTY;
        let (sent, _, len) = self.write_with(registry, interface, (answers, &additionals), buf);
        (sent, len)
    }

    /// As [`Self::write`], with as many of the additional records as fit behind all the answers; gives them too.
    pub(super) fn write_with<const N: usize>(
        self,
        registry: &Registry<N>,
        interface: u32,
        (answers, additionals): (&Records<N>, &Records<N>),
        buf: &mut TransmitBuffer,
    ) -> (Records<N>, Records<N>, Option<usize>) {
        let (mut sent, mut added) = (Records::EMPTY, Records::EMPTY);
        let Some(interface) = registry.interface(interface) else { return (*answers, added, None) };
        let mut limit = self.limit;
        loop {
            let Some(room) = buf.get_mut(..limit) else { return (*answers, added, None) };
            let mut w = MessageWriter::new(room, 0, self.flags, Compression::Multicast);
            let mut complete = true;
            for set in answers.iter() {
                complete =
                    put(registry, interface, set, &mut w, (Section::Answer, self.style)).is_ok();
                if !complete {
                    break;
                }
                sent.insert(set);
                if limit > self.limit {
                    break;
                }
            }
            if sent.is_empty() && limit < TRANSMIT_MAX {
                // RFC 6762 §17: one record that does not fit alone goes in fragments.
                limit = TRANSMIT_MAX;
                continue;
            }
            if complete && limit == self.limit {
                for set in additionals.by_use() {
                    if put(registry, interface, set, &mut w, (Section::Additional, self.style))
                        .is_ok()
                    {
                        added.insert(set);
                    }
                }
            }
            let empty = w.is_empty();
            if sent.is_empty() {
                // Nothing can be sent of it: it must not stay due.
                sent = *answers;
            }
            return (sent, added, w.finish().ok().filter(|_| !empty));
        }
    }
}

/// Writes all records of a set, or none.
fn put<const N: usize>(
    registry: &Registry<N>,
    interface: &Interface<N>,
    set: RecordSet,
    w: &mut MessageWriter<'_>,
    (section, style): (Section, Style),
) -> Result<(), Overflow> {
    let mark = w.mark();
    let result = registry.visit(set, interface, |record| {
        let record = match style {
            Style::Multicast => record,
            Style::Legacy => {
                Record { ttl: record.ttl.min(LEGACY_TTL), cache_flush: false, ..record }
            }
            Style::Goodbye => Record { ttl: 0, ..record },
        };
        w.record(section, &record)
    });
    if result.is_err() {
        w.rewind(mark);
    }
    result
}

impl<const N: usize> Responder<N> {
    /// Whether this host may speak for `set` on a link.
    pub(super) fn speaks_for(&self, link: usize, set: RecordSet) -> bool {
        let Some(state) = self.links.get(link) else { return false };
        match set {
            RecordSet::Common(Common::Services) => (0..N).any(|i| {
                self.registry.instance(i).is_some() && state.is_verified(Owner::Instance(i))
            }),
            RecordSet::Common(Common::A | Common::Aaaa | Common::HostNsec) => {
                state.is_verified(Owner::Host)
            }
            RecordSet::Instance(i, _) => state.is_verified(Owner::Instance(i)),
        }
    }

    /// The record sets that answer a question on a link.
    pub(super) fn answers(&self, link: usize, question: &Question<'_>) -> Records<N> {
        let mut answers = Records::EMPTY;
        if !matches!(question.qclass, Class::In | Class::Any) {
            return answers;
        }
        let Some(subject) = self.registry.subject(&question.name) else { return answers };
        let Some(state) = self.links.get(link) else { return answers };
        let Some(interface) = self.registry.interface(state.id.interface) else { return answers };
        let mut add = |set| {
            if self.speaks_for(link, set) {
                answers.insert(set);
            }
        };
        let any = question.qtype == Type::Any;
        let pointer = any || question.qtype == Type::Ptr;
        match subject {
            Subject::Services if pointer => add(RecordSet::Common(Common::Services)),
            Subject::Type if pointer => {
                for i in
                    (0..N).filter(|i| self.registry.instance(*i).is_some_and(|one| !one.leaving))
                {
                    add(RecordSet::Instance(i, OfInstance::TypePtr));
                }
            }
            Subject::Subtype(i) if pointer => add(RecordSet::Instance(i, OfInstance::SubtypePtr)),
            // Others may have such records: only silence is true (RFC 6762 §6).
            Subject::Services | Subject::Type | Subject::Subtype(_) => {}
            Subject::Owner(Owner::Instance(i)) if any => {
                add(RecordSet::Instance(i, OfInstance::Srv));
                add(RecordSet::Instance(i, OfInstance::Txt));
            }
            Subject::Owner(Owner::Host) if any => {
                for common in [Common::A, Common::Aaaa].map(RecordSet::Common) {
                    if self.registry.count(common, interface) > 0 {
                        add(common);
                    }
                }
            }
            Subject::Owner(owner) => {
                let set = owner.of_type(question.qtype);
                let set = set.filter(|set| self.registry.count(*set, interface) > 0);
                add(set.unwrap_or_else(|| owner.negative()));
            }
        }
        answers
    }

    /// What a querier will ask for next (RFC 6763 §12, RFC 6762 §6.2), without what it has been told.
    pub(super) fn additionals(&self, link: usize, answers: &Records<N>) -> Records<N> {
        let mut more = Records::EMPTY;
        let Some(state) = self.links.get(link) else { return more };
        let Some(interface) = self.registry.interface(state.id.interface) else { return more };
        let mut host = false;
        for set in answers.iter() {
            match set {
                RecordSet::Instance(i, OfInstance::TypePtr | OfInstance::SubtypePtr) => {
                    more.insert(RecordSet::Instance(i, OfInstance::Txt));
                    more.insert(RecordSet::Instance(i, OfInstance::Srv));
                    host = true;
                }
                RecordSet::Instance(_, OfInstance::Srv)
                | RecordSet::Common(Common::A | Common::Aaaa) => host = true,
                RecordSet::Instance(_, OfInstance::Txt | OfInstance::Nsec)
                | RecordSet::Common(Common::HostNsec | Common::Services) => {}
            }
        }
        if host && state.is_verified(Owner::Host) {
            for common in [Common::A, Common::Aaaa].map(RecordSet::Common) {
                let missing = self.registry.count(common, interface) == 0;
                more.insert(if missing { RecordSet::Common(Common::HostNsec) } else { common });
            }
        }
        more.subtract(answers);
        more
    }

    /// Writes the response to a legacy query into the next reply, and tells whether there is one.
    pub(super) fn write_legacy(&mut self, link: usize, query: &Message<'_>) -> Option<usize> {
        let state = self.links.get(link)?;
        let id = state.id;
        let (mut answers, mut questions) = (Records::EMPTY, 0_usize);
        for question in query.questions().flatten() {
            answers.extend(&self.answers(link, &question));
            questions = questions.saturating_add(1);
        }
        if answers.is_empty() {
            return None;
        }
        let more = self.additionals(link, &answers);
        let limit = legacy_limit(query, state);
        let interface = self.registry.interface(id.interface)?;
        let room = self.replies.room().get_mut(..limit)?;
        let mut w =
            MessageWriter::new(room, query.id(), Flags::RESPONSE, Compression::LegacyUnicast);
        for question in query.questions().flatten().take(questions) {
            w.question(&question).ok()?;
        }
        let style = Style::Legacy;
        let mut complete = true;
        for set in answers.iter() {
            complete &=
                put(&self.registry, interface, set, &mut w, (Section::Answer, style)).is_ok();
        }
        if !complete {
            w.set_flags(Flags(Flags::RESPONSE.0 | Flags::TRUNCATED_QUERY.0));
        }
        for set in more.by_use().filter(|_| complete) {
            // Additional records are the first to be left out (RFC 2181 §9).
            let _ = put(&self.registry, interface, set, &mut w, (Section::Additional, style));
        }
        w.finish().ok()
    }

    /// The additional records that may be multicast again already.
    ///
    /// Deviation: every announcement of an instance has the host's addresses, although RFC 6762 §6 leaves a second
    /// between two multicasts of a record and several instances may be announced in that time: RFC 6763 §12.2 wants
    /// them beside SRV, and bonjour-service takes them from nowhere else.
    pub(super) fn multicast_additionals(&self, link: usize, answers: &Records<N>) -> Records<N> {
        let mut more = self.additionals(link, answers);
        let Some(state) = self.links.get(link) else { return more };
        let announced = state.announces_service(answers);
        for set in more.iter() {
            let wanted = announced && matches!(set, RecordSet::Common(_));
            if !wanted && state.slot(set).is_recent(self.now, MULTICAST_INTERVAL) {
                more.remove(set);
            }
        }
        more
    }
}

/// How many octets a legacy querier takes: what its OPT record says, within one frame, or 512.
fn legacy_limit<const N: usize>(query: &Message<'_>, state: &LinkState<N>) -> usize {
    if query.count(Section::Additional) == 0 {
        return LEGACY_MAX.min(state.payload_max);
    }
    let opt = query.additionals().flatten().find(|record| record.data.rtype() == Type::Opt);
    let size = opt.map_or(LEGACY_MAX, |record| usize::from(u16::from(record.class)));
    size.max(LEGACY_MAX).min(state.payload_max)
}
