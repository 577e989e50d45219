//! Queries: who is answered how, and when.
//! Spec: RFC 6762 §5.4 and §5.5 (unicast), §6 (delays), §6.7 (legacy), §7.1 and §7.2 (known answers), §11 (on-link).

use core::net::IpAddr;
use core::time::Duration;

use super::Responder;
use super::answer::{Packet, Style};
use super::link::Reason;
use super::pending::Pending;
use super::records::{Common, Owners, RecordSet, Records};
use super::registry::{Subject, Whose};
use super::replies::For;
use crate::machine::{Datagram, Transmit, TransmitBuffer};
use crate::mdns::PORT;
use crate::stats::count;
use crate::time::Instant;
use crate::wire::dns::{Flags, Message, Section};

/// RFC 6762 §6: a random delay of 20 to 120 ms where other hosts may answer too.
const SHARED_DELAY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(120));

/// RFC 6762 §7.2: 400 to 500 ms where more known answers are announced.
const TRUNCATED_DELAY: (Duration, Duration) =
    (Duration::from_millis(400), Duration::from_millis(500));

/// What a query asks for.
struct Asked<const N: usize> {
    /// By multicast.
    multicast: Records<N>,
    /// By unicast (QU).
    unicast: Records<N>,
    /// In defence of a name, by multicast.
    defence: Records<N>,
    /// In defence of a name, by unicast.
    unicast_defence: Records<N>,
}

impl<const N: usize> Responder<N> {
    /// Handles a query.
    pub(super) fn handle_query(
        &mut self,
        link: usize,
        datagram: &Datagram<'_>,
        message: &Message<'_>,
    ) {
        let Some(id) = self.links.get(link).map(|state| state.id) else { return };
        let legacy = datagram.remote.port() != PORT;
        let direct = !datagram.destination.is_multicast();
        let on_link = self.is_on_link(link, datagram.remote.ip());
        if (legacy || direct) && !on_link {
            // RFC 6762 §5.5, §11: whoever asks from outside is not answered, so that nobody is flooded.
            count!(self.stats, off_link);
            return;
        }
        if legacy {
            if let Some(len) = self.write_legacy(link, message) {
                self.replies.send(id, datagram.remote, message.id(), len);
                self.replies.keep(id, datagram.payload, For::Legacy);
            }
            return;
        }
        let (foreign, echo) = if message.count(Section::Authority) > 0 {
            self.handle_probe(link, message)
        } else {
            (Owners::EMPTY, Owners::EMPTY)
        };
        let mut asked = self.asked(link, message, (&foreign, &echo), (direct, on_link));
        let known = self.known_answers(link, message);
        asked.multicast.subtract(&known);
        asked.unicast.subtract(&known);
        let truncated = message.flags().is_truncated();
        let due = if truncated {
            self.now + self.rng.duration(TRUNCATED_DELAY.0, TRUNCATED_DELAY.1)
        } else {
            self.now
        };
        if let Some(held) = self.pending.held(id, datagram.remote) {
            held.multicast.subtract(&known);
            held.unicast.subtract(&known);
            held.extend(truncated, due);
            if truncated {
                held.multicast.extend(&core::mem::replace(&mut asked.multicast, Records::EMPTY));
                held.unicast.extend(&core::mem::replace(&mut asked.unicast, Records::EMPTY));
            }
            self.wake = None;
        }
        self.defend(link, datagram, &asked);
        if asked.multicast.is_empty() && asked.unicast.is_empty() {
            return;
        }
        if truncated {
            let querier = (id, datagram.remote);
            let pending = Pending::new(querier, due, asked.multicast, asked.unicast);
            if self.pending.push(pending.held()) {
                self.wake = None;
                return;
            }
            count!(self.stats, queries_not_held);
        }
        self.respond(link, datagram, message, &asked);
    }

    /// Sorts the questions by how their answers leave.
    fn asked(
        &self,
        link: usize,
        message: &Message<'_>,
        (foreign, echo): (&Owners<N>, &Owners<N>),
        (direct, on_link): (bool, bool),
    ) -> Asked<N> {
        let mut asked = Asked {
            multicast: Records::EMPTY,
            unicast: Records::EMPTY,
            defence: Records::EMPTY,
            unicast_defence: Records::EMPTY,
        };
        for question in message.questions().flatten() {
            let answers = self.answers(link, &question);
            if answers.is_empty() {
                continue;
            }
            let unicast = (question.unicast_response || direct) && on_link;
            let owner = match self.registry.subject(&question.name) {
                Some(Subject::Owner(owner)) => Some(owner),
                Some(Subject::Services | Subject::Type | Subject::Subtype(_)) | None => None,
            };
            let to = match owner {
                Some(owner) if echo.contains(owner) => continue,
                Some(owner) if foreign.contains(owner) && unicast => &mut asked.unicast_defence,
                Some(owner) if foreign.contains(owner) => &mut asked.defence,
                Some(_) | None if unicast => &mut asked.unicast,
                Some(_) | None => &mut asked.multicast,
            };
            to.extend(&answers);
        }
        asked
    }

    /// The record sets the querier has, with at least half of their lifetime left (RFC 6762 §7.1).
    fn known_answers(&mut self, link: usize, message: &Message<'_>) -> Records<N> {
        let mut known = Records::EMPTY;
        if message.count(Section::Answer) == 0 {
            return known;
        }
        let Some(here) = self.links.get(link).map(|state| state.id.interface) else { return known };
        let Some(interface) = self.registry.interface(here) else { return known };
        // A set of several records leaves whole unless all of them are known.
        let (mut a, mut aaaa) = (0_usize, 0_usize);
        for record in message.answers().flatten() {
            let set = match self.registry.subject(&record.name) {
                Some(Subject::Owner(owner)) => match self.registry.whose(owner, &record, here) {
                    Whose::Here(set) => Some(set),
                    Whose::Elsewhere(_) | Whose::Theirs => None,
                },
                Some(shared) => self.registry.shared(shared, &record),
                None => None,
            };
            let Some(set) = set else { continue };
            if u64::from(record.ttl).saturating_mul(2) < u64::from(set.ttl()) {
                continue;
            }
            let seen = match set {
                RecordSet::Common(Common::A) => &mut a,
                RecordSet::Common(Common::Aaaa) => &mut aaaa,
                RecordSet::Common(_) | RecordSet::Instance(..) => &mut 0,
            };
            *seen = seen.saturating_add(1);
            if *seen >= self.registry.count(set, interface) {
                known.insert(set);
                count!(self.stats, known_answers);
            }
        }
        known
    }

    /// RFC 6762 §6, §8.1: answers a probe for a name that is ours at once.
    fn defend(&mut self, link: usize, datagram: &Datagram<'_>, asked: &Asked<N>) {
        let now = self.now;
        for set in asked.defence.iter() {
            if let Some(state) = self.links.get_mut(link)
                && state.schedule(set, now, Reason::Defence)
            {
                self.wake = None;
            }
        }
        if !asked.unicast_defence.is_empty() {
            self.reply(link, datagram, &asked.unicast_defence);
        }
        if !asked.defence.is_empty() || !asked.unicast_defence.is_empty() {
            count!(self.stats, defences);
        }
    }

    /// Answers at once or after the random delay, by multicast and by unicast.
    fn respond(
        &mut self,
        link: usize,
        datagram: &Datagram<'_>,
        message: &Message<'_>,
        asked: &Asked<N>,
    ) {
        let (mut multicast, mut unicast) = (asked.multicast, asked.unicast);
        let now = self.now;
        let Some(state) = self.links.get_mut(link) else { return };
        let id = state.id;
        let mut until: Option<Instant> = None;
        for set in unicast.iter() {
            // RFC 6762 §5.4: others' caches are kept fresh by a multicast now and then.
            let quarter = Duration::from_secs(u64::from(set.ttl())) / 4;
            match state.slot(set).recent_until(quarter).filter(|end| now < *end) {
                Some(end) => until = Some(until.map_or(end, |sooner| sooner.min(end))),
                None => {
                    unicast.remove(set);
                    multicast.insert(set);
                }
            }
        }
        let alone = message.count(Section::Question) == 1;
        let unique = |records: &Records<N>| records.iter().all(RecordSet::is_unique);
        let at_once = alone && unique(&multicast) && unique(&unicast);
        let (delay, reason) = if at_once {
            (Duration::ZERO, Reason::UniqueAnswer)
        } else {
            (self.rng.duration(SHARED_DELAY.0, SHARED_DELAY.1), Reason::Answer)
        };
        for set in multicast.iter() {
            if state.schedule(set, now + delay, reason) {
                self.wake = None;
            }
        }
        if unicast.is_empty() {
            return;
        }
        if at_once {
            let whole = self.reply(link, datagram, &unicast);
            if let Some(until) =
                until.filter(|_| whole && multicast.is_empty() && is_plain(message))
            {
                self.replies.keep(id, datagram.payload, For::Unicast { until });
            }
            return;
        }
        self.wake = None;
        let querier = (id, datagram.remote);
        let pending = Pending::new(querier, now + delay, Records::EMPTY, unicast);
        if !self.pending.push(pending) {
            // Everybody is owed something: one multicast serves them all.
            count!(self.stats, queries_not_held);
            for set in unicast.iter() {
                if let Some(state) = self.links.get_mut(link) {
                    state.schedule(set, now + delay, reason);
                }
            }
        }
    }

    /// Answers by unicast at once, and tells whether that is the whole answer; what does not fit in one packet
    /// goes by multicast.
    fn reply(&mut self, link: usize, datagram: &Datagram<'_>, answers: &Records<N>) -> bool {
        let more = self.additionals(link, answers);
        let Some(state) = self.links.get_mut(link) else { return false };
        let packet =
            Packet { flags: Flags::RESPONSE, limit: state.payload_max, style: Style::Multicast };
        let room = self.replies.room();
        let sets = (answers, &more);
        let (sent, _, len) = packet.write_with(&self.registry, state.id.interface, sets, room);
        let mut left = *answers;
        left.subtract(&sent);
        for set in left.iter() {
            state.schedule(set, self.now, Reason::Answer);
            self.wake = None;
        }
        if let Some(len) = len {
            self.replies.send(state.id, datagram.remote, 0, len);
        }
        left.is_empty()
    }

    /// Takes a querier whose answer is due: its multicast part joins what the link sends, its unicast part is
    /// written.
    pub(super) fn poll_pending(&mut self, buf: &mut TransmitBuffer) -> Option<Transmit> {
        while let Some(pending) = self.pending.take_due(self.now) {
            self.wake = None;
            let Some(link) = self.links.iter().position(|state| state.id == pending.link) else {
                continue;
            };
            let (mut multicast, mut answers) = (pending.multicast, pending.unicast);
            // Names may have been given up in the meantime.
            for set in multicast.iter().chain(answers.iter()) {
                if !self.speaks_for(link, set) {
                    multicast.remove(set);
                    answers.remove(set);
                }
            }
            let Some(state) = self.links.get_mut(link) else { continue };
            for set in multicast.iter() {
                state.schedule(set, self.now, Reason::Answer);
            }
            if answers.is_empty() {
                continue;
            }
            let more = self.additionals(link, &answers);
            let state = self.links.get_mut(link)?;
            let packet = Packet {
                flags: Flags::RESPONSE,
                limit: state.payload_max,
                style: Style::Multicast,
            };
            let sets = (&answers, &more);
            let (sent, _, len) = packet.write_with(&self.registry, state.id.interface, sets, buf);
            answers.subtract(&sent);
            for set in answers.iter() {
                state.schedule(set, self.now, Reason::Answer);
            }
            if let Some(len) = len {
                return Some(self.unicast(pending.link, pending.remote, len));
            }
        }
        None
    }

    /// Whether a source is on the link (RFC 6762 §11): in a prefix of the interface, or link-local.
    pub(super) fn is_on_link(&self, link: usize, source: IpAddr) -> bool {
        let local = match source {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        let Some(state) = self.links.get(link) else { return false };
        local
            || self
                .registry
                .interface(state.id.interface)
                .is_some_and(|here| here.networks.iter().any(|network| network.contains(source)))
    }
}

/// Whether a query says nothing but its questions, and all of them: no known answers, no probe.
fn is_plain(query: &Message<'_>) -> bool {
    let rest = [Section::Answer, Section::Authority];
    !query.flags().is_truncated() && rest.into_iter().all(|section| query.count(section) == 0)
}
