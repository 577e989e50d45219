//! Responses of others: names that are already taken, answers that make ours needless, records of ours that
//! somebody is about to forget.
//! Spec: RFC 6762 §6.6, §7.4, §8.1 (conflicts while probing), §9 (afterwards), §10.2 and §14 (two of our
//! interfaces on one network).
//! Not here: probes of others; see `probe`.

use core::time::Duration;

use heapless::Deque;

use super::link::{MULTICAST_INTERVAL, Phase, Reason};
use super::records::{Owner, RecordSet};
use super::registry::{Subject, Whose};
use super::{Event, Responder};
use crate::limits::RECORDS_PER_MESSAGE;
use crate::log::debug;
use crate::machine::Datagram;
use crate::mdns::PORT;
use crate::stats::count;
use crate::time::Instant;
use crate::wire::dns::{Message, Record, Type};

/// RFC 6762 §8.1: fifteen conflicts within ten seconds mean that something is wrong.
const CONFLICTS: usize = 15;
const CONFLICT_WINDOW: Duration = Duration::from_secs(10);

/// RFC 6762 §8.1: then at least five seconds pass before each further attempt.
pub(super) const CONFLICT_DELAY: Duration = Duration::from_secs(5);

/// RFC 6762 §8.1: how long a name may be fought over before somebody is told.
const PATIENCE: Duration = Duration::from_secs(60);

/// RFC 6762 §5.4 and mDNS practice: unicast responses belong to a query at most two seconds old.
const UNICAST_WINDOW: Duration = Duration::from_secs(2);

/// The state of a fight over one name.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Contest {
    /// When to tell that it has gone on for (another) minute.
    pub(super) tell_at: Option<Instant>,
    /// Too many conflicts: attempts are far apart until one succeeds.
    pub(super) slow: bool,
}

/// The last conflicts.
#[derive(Debug, Default)]
pub(super) struct ConflictLog(Deque<Instant, CONFLICTS>);

impl ConflictLog {
    /// Adds one and tells whether that makes too many.
    fn record(&mut self, now: Instant) -> bool {
        if self.0.is_full() {
            self.0.pop_front();
        }
        // There is room: one was just taken out.
        let _ = self.0.push_back(now);
        self.0.is_full() && self.0.front().is_some_and(|first| now.since(*first) <= CONFLICT_WINDOW)
    }
}

impl<const N: usize> Responder<N> {
    /// Handles a response; all its sections count for conflicts.
    pub(super) fn handle_response(
        &mut self,
        link: usize,
        datagram: &Datagram<'_>,
        message: &Message<'_>,
    ) {
        if datagram.remote.port() != PORT {
            count!(self.stats, wrong_source_port);
            return;
        }
        let Some(state) = self.links.get(link) else { return };
        if !datagram.destination.is_multicast() {
            let asked = state.probed_at.is_some_and(|at| self.now.since(at) <= UNICAST_WINDOW);
            if !asked || !self.is_on_link(link, datagram.remote.ip()) {
                count!(self.stats, unsolicited);
                return;
            }
        }
        let own = self.sent.contains(datagram.payload);
        if own {
            count!(self.stats, own_heard);
        }
        for (_, record) in message.records().take(RECORDS_PER_MESSAGE) {
            let Ok(record) = record else { continue };
            match self.registry.subject(&record.name) {
                Some(Subject::Owner(owner)) => self.handle_unique(link, owner, &record, own),
                Some(shared @ (Subject::Services | Subject::Type | Subject::Subtype(_))) => {
                    if !own && let Some(set) = self.registry.shared(shared, &record) {
                        self.handle_identical(link, set, record.ttl);
                    }
                }
                None => {}
            }
        }
    }

    /// Handles a record of one of our unique names.
    fn handle_unique(&mut self, link: usize, owner: Owner, record: &Record<'_>, own: bool) {
        let Some(state) = self.links.get_mut(link) else { return };
        match self.registry.whose(owner, record, state.id.interface) {
            Whose::Here(set) if !own && state.is_verified(owner) => {
                self.handle_identical(link, set, record.ttl);
            }
            Whose::Elsewhere(set) if record.cache_flush && state.is_verified(owner) => {
                // Another interface of ours is on the same network, and its announcement makes others forget
                // what was heard more than a second ago from this one (RFC 6762 §10.2).
                let negative = record.data.rtype() == Type::Nsec;
                if !negative && !state.slot(set).is_recent(self.now, MULTICAST_INTERVAL) {
                    state.schedule(set, self.now, Reason::Announcement);
                    self.wake = None;
                }
            }
            Whose::Here(_) | Whose::Elsewhere(_) => {}
            // Leaving is no claim.
            Whose::Theirs if own || record.ttl == 0 => {}
            Whose::Theirs => match state.phase(owner) {
                // Before the first probe a response may be stale, even our own of an earlier run.
                Phase::Idle | Phase::Waiting { .. } => {}
                Phase::Probing { .. } => self.deny(owner),
                Phase::Verified => {
                    let ours = owner.of_type(record.data.rtype()).is_some_and(|set| {
                        let interface = self.registry.interface(state.id.interface);
                        interface.is_some_and(|here| self.registry.count(set, here) > 0)
                    });
                    if ours {
                        self.challenge(link, owner);
                    }
                }
            },
        }
    }

    /// Handles a record identical to ours, with the TTL another host gives it.
    fn handle_identical(&mut self, link: usize, set: RecordSet, ttl: u32) {
        let Some(state) = self.links.get_mut(link) else { return };
        let interface = self.registry.interface(state.id.interface);
        if !self.speaks_for(link, set) {
            return;
        }
        let Some(state) = self.links.get_mut(link) else { return };
        if u64::from(ttl).saturating_mul(2) < u64::from(set.ttl()) {
            // RFC 6762 §6.6: others would forget it too early.
            state.schedule(set, self.now, Reason::Announcement);
            self.wake = None;
        } else if ttl >= set.ttl()
            && interface.is_some_and(|here| self.registry.count(set, here) == 1)
        {
            // RFC 6762 §7.4. A set of several records has to leave whole, so one does not replace it.
            if state.suppress(set) {
                count!(self.stats, duplicate_answers_suppressed);
            }
        }
    }

    /// RFC 6762 §9: somebody else uses a name that was verified on this link: probe for it again.
    fn challenge(&mut self, link: usize, owner: Owner) {
        count!(self.stats, conflicts);
        debug!("a name of ours is used by another host, conflict {}", self.stats.conflicts);
        self.tell(Event::Conflict { owner });
        let slow = self.note_conflict(owner);
        let delay = self.probing_delay(slow);
        if let Some(state) = self.links.get_mut(link) {
            state.silence(owner);
            state.set_phase(owner, Phase::Waiting { at: self.now + delay });
        }
        self.changed();
    }

    /// RFC 6762 §8.1: the name is taken: take another, on every link.
    fn deny(&mut self, owner: Owner) {
        count!(self.stats, conflicts);
        count!(self.stats, renames);
        debug!("a name is taken, renaming {}", self.stats.renames);
        let slow = self.note_conflict(owner);
        let announced = self.links.iter().any(|link| link.known.contains(owner));
        self.registry.rename(owner, announced);
        let delay = self.probing_delay(slow);
        let at = self.now + delay;
        for state in &mut self.links {
            match (owner, state.known.contains(owner)) {
                (Owner::Host, true) => state.host_renamed = true,
                (Owner::Instance(_), true) => state.renamed.insert(owner),
                (Owner::Host | Owner::Instance(_), false) => {}
            }
            state.known.remove(owner);
            if state.phase(owner) != Phase::Idle {
                state.silence(owner);
                state.set_phase(owner, Phase::Waiting { at });
            }
        }
        self.tell(Event::Renamed { owner });
        self.changed();
    }

    /// Counts a conflict and tells whether attempts have to be far apart.
    fn note_conflict(&mut self, owner: Owner) -> bool {
        let now = self.now;
        let many = self.conflicts.record(now);
        let Some(contest) = self.registry.contest_mut(owner) else { return many };
        contest.slow |= many;
        if contest.tell_at.is_none() {
            contest.tell_at = Some(now + PATIENCE);
        }
        contest.slow
    }

    /// Tells of names fought over for a minute (RFC 6762 §9).
    pub(super) fn handle_patience(&mut self) {
        for owner in Owner::all(N) {
            let now = self.now;
            let Some(contest) = self.registry.contest_mut(owner) else { continue };
            if contest.tell_at.is_some_and(|at| at <= now) {
                contest.tell_at = Some(now + PATIENCE);
                self.tell(Event::NoName { owner });
            }
        }
    }

    /// When the next name will have been fought over for a minute.
    pub(super) fn patience_at(&self) -> Option<Instant> {
        Owner::all(N).filter_map(|owner| self.registry.contest(owner)?.tell_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifteenth_conflict_in_ten_seconds_is_one_too_many() {
        let mut log = ConflictLog::default();
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        assert!((0..14).all(|n| !log.record(at(n * 500))));
        assert!(log.record(at(9_900)));
        assert!(!log.record(at(10_600)), "the first has left the window");
    }
}
