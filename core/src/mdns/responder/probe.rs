//! Probing: finding out whether a name is free before using it, and settling who gets it when two hosts
//! probe at once.
//! Spec: RFC 6762 §8.1 (probing), §8.2 (simultaneous probes), §6 (defence).
//! Not here: responses that deny a name; see `conflict`.

use core::time::Duration;

use heapless::Vec;

use super::conflict::CONFLICT_DELAY;
use super::link::{LinkState, Phase};
use super::records::{Owner, Owners};
use super::registry::{Registry, Subject, Whose};
use super::{Event, Responder};
use crate::limits::TRANSMIT_MAX;
use crate::log::debug;
use crate::machine::{Transmit, TransmitBuffer};
use crate::stats::count;
use crate::wire::Overflow;
use crate::wire::dns::{Class, Compression, Flags, Message, MessageWriter, Question, Record, Type};

/// RFC 6762 §8.1: three probes.
const PROBES: u8 = 3;

/// RFC 6762 §8.1: 250 ms between probes, and after the last one.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// RFC 6762 §8.1: a random delay of up to 250 ms before the first.
const PROBE_DELAY_MAX: Duration = Duration::from_millis(250);

/// RFC 6762 §8.2: who loses a tie waits a second and probes again.
const TIE_DELAY: Duration = Duration::from_secs(1);

/// Proposed records of another host that are compared with ours; ours are at most 8.
const TIE_RECORDS: usize = 16;

impl<const N: usize> Responder<N> {
    /// Begins the start-up steps of a name on a link, or ends its use where there is nothing to use it for.
    pub(super) fn start_probing(&mut self, link: usize, owner: Owner) {
        let Some(id) = self.links.get(link).map(|state| state.id) else { return };
        let ready = self.registry.is_ready(owner, id.interface);
        let slow = self.registry.contest(owner).is_some_and(|contest| contest.slow);
        let delay = self.probing_delay(slow);
        let now = self.now;
        let Some(state) = self.links.get_mut(link) else { return };
        state.silence(owner);
        let phase = if !ready {
            Phase::Idle
        } else if slow {
            Phase::Waiting { at: now + delay }
        } else {
            // Names that get ready together are probed for in one packet.
            let at = state.probing_from.filter(|at| *at > now).unwrap_or(now + delay);
            state.probing_from = Some(at);
            Phase::Waiting { at }
        };
        state.set_phase(owner, phase);
        self.changed();
    }

    /// How long to wait before the first probe.
    pub(super) fn probing_delay(&mut self, slow: bool) -> Duration {
        if slow { CONFLICT_DELAY } else { self.rng.duration(Duration::ZERO, PROBE_DELAY_MAX) }
    }

    /// Ends the probing of names that nobody denied.
    pub(super) fn handle_probing(&mut self) {
        for link in 0..self.links.len() {
            for owner in Owner::all(N) {
                let Some(state) = self.links.get_mut(link) else { break };
                if let Phase::Probing { sent: PROBES.., at } = state.phase(owner)
                    && at <= self.now
                {
                    state.set_phase(owner, Phase::Verified);
                    let id = state.id;
                    debug!("a name is verified on interface {}", id.interface);
                    self.settle(owner);
                    self.announce(link, owner);
                    self.tell(Event::Verified { link: id, owner });
                    self.changed();
                }
            }
        }
    }

    /// Ends the fight over a name once no link is without it.
    fn settle(&mut self, owner: Owner) {
        let fought = |state: &LinkState<N>| {
            matches!(state.phase(owner), Phase::Waiting { .. } | Phase::Probing { .. })
        };
        if !self.links.iter().any(fought)
            && let Some(contest) = self.registry.contest_mut(owner)
        {
            *contest = super::conflict::Contest::default();
        }
    }

    /// Writes the next probe of a link: all names whose turn it is, as many as fit.
    pub(super) fn poll_probe(&mut self, link: usize, buf: &mut TransmitBuffer) -> Option<Transmit> {
        let now = self.now;
        let state = self.links.get_mut(link)?;
        let mut due = Owners::<N>::EMPTY;
        for owner in Owner::all(N) {
            if is_due(state.phase(owner), now) {
                due.insert(owner);
            }
        }
        let mut count = due.iter().count();
        let mut limit = state.payload_max;
        let len = loop {
            if count == 0 {
                return None;
            }
            let room = buf.get_mut(..limit)?;
            let names = due.iter().take(count);
            match write_probe(&self.registry, state, names, !self.port_shared, room) {
                Ok(len) => break len,
                Err(Overflow) if count > 1 => count = count.div_ceil(2),
                // RFC 6762 §17: what does not fit alone goes in fragments.
                Err(Overflow) if limit < TRANSMIT_MAX => limit = TRANSMIT_MAX,
                Err(Overflow) => return None,
            }
        };
        for owner in due.iter().take(count) {
            let sent = match state.phase(owner) {
                Phase::Probing { sent, .. } => sent.saturating_add(1),
                Phase::Idle | Phase::Waiting { .. } | Phase::Verified => 1,
            };
            state.set_phase(owner, Phase::Probing { sent, at: now + PROBE_INTERVAL });
        }
        state.probed_at = Some(now);
        let id = state.id;
        self.wake = None;
        count!(self.stats, probes_sent);
        Some(self.multicast(id, buf, len))
    }

    /// Handles the proposed records of somebody's probe. Gives the names that are to be defended, and those
    /// that the probe is only our own echo for.
    pub(super) fn handle_probe(
        &mut self,
        link: usize,
        message: &Message<'_>,
    ) -> (Owners<N>, Owners<N>) {
        let (mut probed, mut foreign) = (Owners::<N>::EMPTY, Owners::<N>::EMPTY);
        let Some(state) = self.links.get(link) else { return (foreign, probed) };
        for record in message.authorities().flatten() {
            if let Some(Subject::Owner(owner)) = self.registry.subject(&record.name) {
                probed.insert(owner);
                if self.registry.whose(owner, &record, state.id.interface) == Whose::Theirs {
                    foreign.insert(owner);
                }
            }
        }
        for owner in foreign.iter() {
            probed.remove(owner);
            let phase = self.links.get(link).map(|state| state.phase(owner));
            if let Some(Phase::Probing { .. }) = phase {
                self.break_tie(link, owner, message);
            }
        }
        (foreign, probed)
    }

    /// RFC 6762 §8.2: the lexicographically later proposal wins; the loser waits and tries the same name again.
    fn break_tie(&mut self, link: usize, owner: Owner, message: &Message<'_>) {
        let now = self.now;
        let Some(state) = self.links.get_mut(link) else { return };
        let Some(interface) = self.registry.interface(state.id.interface) else { return };
        let Some(name) = self.registry.name_of(owner) else { return };
        let mut ours = self.registry.proposed(owner, interface);
        let theirs = message.authorities().flatten().filter(|record| record.name == name);
        let mut theirs: Vec<Record<'_>, TIE_RECORDS> = theirs.take(TIE_RECORDS).collect();
        ours.sort_unstable_by(Record::compare_for_tie_break);
        theirs.sort_unstable_by(Record::compare_for_tie_break);
        let pairs = ours.iter().zip(&theirs);
        let mut orders =
            pairs.map(|(a, b)| a.compare_for_tie_break(b)).filter(|order| order.is_ne());
        let order = orders.next().unwrap_or_else(|| ours.len().cmp(&theirs.len()));
        if order.is_lt() {
            count!(self.stats, ties_lost);
            state.set_phase(owner, Phase::Waiting { at: now + TIE_DELAY });
            self.wake = None;
        }
    }
}

fn is_due(phase: Phase, now: crate::time::Instant) -> bool {
    match phase {
        Phase::Waiting { at } => at <= now,
        Phase::Probing { sent, at } => sent < PROBES && at <= now,
        Phase::Idle | Phase::Verified => false,
    }
}

fn write_probe<const N: usize>(
    registry: &Registry<N>,
    state: &LinkState<N>,
    names: impl Iterator<Item = Owner> + Clone,
    unicast_response: bool,
    room: &mut [u8],
) -> Result<usize, Overflow> {
    let interface = registry.interface(state.id.interface).ok_or(Overflow)?;
    let mut w = MessageWriter::new(room, 0, Flags::QUERY, Compression::Multicast);
    for name in names.clone().filter_map(|owner| registry.name_of(owner)) {
        w.question(&Question { name, qtype: Type::Any, qclass: Class::In, unicast_response })?;
    }
    for owner in names {
        registry.proposed(owner, interface).iter().try_for_each(|record| w.authority(record))?;
    }
    w.finish()
}
