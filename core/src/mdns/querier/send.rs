//! The messages of a querier.
//!
//! Spec: RFC 6762 §5.1 (one-shot queries), §5.3 (several questions in one message), §5.4 (QU), §7.1 and §7.2 (known
//! answers, and those that do not fit), §18 (header).

use core::time::Duration;

use super::links::MoreAnswers;
use super::names;
use super::{HostName, Querier};
use crate::limits::TRANSMIT_MAX;
use crate::machine::{LinkId, Port, Transmit, TransmitBuffer};
use crate::mdns::cache::Asks;
use crate::mdns::{group, service};
use crate::stats::count;
use crate::time::Deadline;
use crate::wire::dns::{
    Class, Compression, Flags, MessageWriter, Name, Question, Record, RecordData, Section, Type,
};

/// RFC 6762 §6: unicast responses count while they "answer a recent query (e.g., one sent within the last two
/// seconds)".
const UNICAST_WINDOW: Duration = Duration::from_secs(2);

impl Querier {
    /// The next message, one-shot queries first: nothing else is as quick.
    pub(crate) fn poll_transmit(&mut self, buf: &mut TransmitBuffer) -> Option<Transmit> {
        let transmit = self.one_shot(buf).or_else(|| self.multicast(buf));
        if transmit.is_some() {
            count!(self.stats, datagrams_sent);
        }
        transmit
    }

    fn one_shot(&mut self, buf: &mut TransmitBuffer) -> Option<Transmit> {
        loop {
            let (link, ask, name) = self.next_one_shot()?;
            if self.links.find(link).is_none() {
                continue;
            }
            let question = question(name.as_name(), ask, false);
            let id = self.rng.u16();
            let mut writer = MessageWriter::new(buf, id, Flags::QUERY, Compression::Multicast);
            let written = writer.question(&question);
            if let (Ok(()), Ok(len)) = (written, writer.finish()) {
                self.one_shots.push(self.now, link, id, &question);
                return Some(transmit(link, Port::Ephemeral, len));
            }
        }
    }

    /// The next question to send from the ephemeral port.
    fn next_one_shot(&mut self) -> Option<(LinkId, Asks, HostName)> {
        for link in self.links.iter_mut() {
            if let Some(ask) = link.one_shot.pop() {
                let id = link.id;
                return Some((id, ask, self.browse_question(ask)));
            }
        }
        for instance in self.cache.iter_mut() {
            if let Some(ask) = instance.one_shot.pop() {
                let name = names::instance(&instance.label).unwrap_or_default();
                return Some((instance.link, ask, copy(&name.as_name())));
            }
        }
        for host in self.hosts.iter_mut() {
            if let Some(ask) = host.one_shot.pop() {
                return Some((host.link, ask, host.name));
            }
        }
        None
    }

    fn browse_question(&self, ask: Asks) -> HostName {
        match ask {
            Asks::SUBTYPE => copy(&self.subtype.as_name()),
            _ => copy(&service::service_type().as_name()),
        }
    }

    fn multicast(&mut self, buf: &mut TransmitBuffer) -> Option<Transmit> {
        let waiting = |asks: Asks, link: LinkId, id: LinkId| link == id && !asks.is_empty();
        let due = self.links.iter().find(|link| {
            let id = link.id;
            link.more.is_some()
                || !link.multicast.is_empty()
                || self.cache.iter().any(|i| waiting(i.multicast, i.link, id))
                || self.hosts.iter().any(|h| waiting(h.multicast, h.link, id))
        });
        let (id, room) = due.map(|link| (link.id, link.room()))?;
        let buf = buf.get_mut(..room.min(TRANSMIT_MAX))?;
        let len = self.multicast_message(id, buf)?;
        Some(transmit(id, Port::Mdns, len))
    }

    /// Questions, then the known answers of the browse questions; what does not fit stays for the next message.
    fn multicast_message(&mut self, id: LinkId, buf: &mut [u8]) -> Option<usize> {
        let mut writer = MessageWriter::new(buf, 0, Flags::QUERY, Compression::Multicast);
        let link = self.links.find_mut(id)?;
        let more = link.more.take();
        let mut asks = link.multicast;
        link.multicast = Asks::NONE;
        let unicast = core::mem::take(&mut link.unicast_response);
        if unicast && !asks.is_empty() {
            link.unicast_until = Deadline::new(self.now + UNICAST_WINDOW);
        }
        let from = match more {
            // Questions wait until the known answers of those before them are out.
            Some(more) => {
                link.multicast = asks;
                link.unicast_response = unicast;
                asks = more.asks;
                more
            }
            None => {
                self.write_questions(id, asks, unicast, &mut writer);
                MoreAnswers { asks, sent: 0 }
            }
        };
        if let Some(sent) = self.write_known_answers(id, &from, &mut writer) {
            writer.set_flags(Flags::TRUNCATED_QUERY);
            if let Some(link) = self.links.find_mut(id) {
                link.more = Some(MoreAnswers { asks, sent });
            }
        }
        writer.finish().ok()
    }

    /// Writes the browse questions, and those of instances and hosts while they fit.
    fn write_questions(
        &mut self,
        id: LinkId,
        mut asks: Asks,
        unicast: bool,
        writer: &mut MessageWriter<'_>,
    ) {
        while let Some(ask) = asks.pop() {
            let name = self.browse_question(ask);
            // Two browse questions fit in the smallest message.
            let _ = writer.question(&question(name.as_name(), ask, unicast));
        }
        for instance in self.cache.iter_mut().filter(|instance| instance.link == id) {
            let name = names::instance(&instance.label).unwrap_or_default();
            ask_all(&mut instance.multicast, &name.as_name(), writer);
        }
        for host in self.hosts.iter_mut().filter(|host| host.link == id) {
            let name = host.name;
            ask_all(&mut host.multicast, &name.as_name(), writer);
        }
    }

    /// Writes known answers from `from` on. Returns how many are sent in all when there are more.
    fn write_known_answers(
        &self,
        id: LinkId,
        from: &MoreAnswers,
        writer: &mut MessageWriter<'_>,
    ) -> Option<u8> {
        let mut sent = 0_u8;
        let mut first = true;
        let mut asks = from.asks;
        while let Some(ask) = asks.pop() {
            let owner = self.browse_question(ask);
            for instance in self.cache.iter().filter(|i| i.link.interface == id.interface) {
                let Some(ttl) = instance.known_answer_ttl(ask, self.now) else { continue };
                sent = sent.saturating_add(1);
                if sent <= from.sent {
                    continue;
                }
                let Ok(target) = names::instance(&instance.label) else { continue };
                let data = RecordData::Ptr(target.as_name());
                let name = owner.as_name();
                let record = Record { name, class: Class::In, cache_flush: false, ttl, data };
                if writer.answer(&record).is_err() {
                    // One that does not fit in a message of its own is left out.
                    let continued = !first || writer.count(Section::Question) > 0;
                    return continued.then(|| sent.saturating_sub(1));
                }
                first = false;
            }
        }
        None
    }
}

/// Writes the questions of one name that fit, and takes them out of `asks`.
fn ask_all(asks: &mut Asks, name: &Name<'_>, writer: &mut MessageWriter<'_>) {
    let mut left = *asks;
    while let Some(ask) = left.pop() {
        if writer.question(&question(*name, ask, false)).is_err() {
            return;
        }
        asks.remove(ask);
    }
}

fn question(name: Name<'_>, ask: Asks, unicast_response: bool) -> Question<'_> {
    let qtype = match ask {
        Asks::TXT => Type::Txt,
        Asks::SRV => Type::Srv,
        Asks::A => Type::A,
        Asks::AAAA => Type::Aaaa,
        _ => Type::Ptr,
    };
    Question { name, qtype, qclass: Class::In, unicast_response }
}

/// A copy; a service instance or type has fewer octets than a host name may have.
fn copy(name: &Name<'_>) -> HostName {
    HostName::from_name(name).unwrap_or_default()
}

fn transmit(link: LinkId, port: Port, len: usize) -> Transmit {
    Transmit { link, port, destination: group(link.family), len }
}
