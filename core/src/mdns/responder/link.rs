//! What the responder remembers of one link: how far each name is through probing, and for every record
//! set when it was last multicast there and when it is due.
//! Spec: RFC 6762 §6 (one second between multicasts), §6.4 (aggregation), §8.1, §14 (state per interface).

use core::time::Duration;

use super::records::{Common, OfInstance, Owner, Owners, RecordSet, Records};
use crate::limits::TRANSMIT_MAX;
use crate::machine::{Family, LinkId};
use crate::time::Instant;

/// RFC 6762 §6: a record is multicast on an interface at most once in a second.
pub(super) const MULTICAST_INTERVAL: Duration = Duration::from_secs(1);

/// RFC 6762 §6: in defence of a name against a probe, at most once in 250 ms.
const DEFENCE_INTERVAL: Duration = Duration::from_millis(250);

/// RFC 6762 §6.4: an answer waits up to 500 ms longer to leave together with a later one.
const AGGREGATION: Duration = Duration::from_millis(500);

/// A time that never comes.
const NEVER: Instant = Instant::from_micros(u64::MAX);

/// How far a name is through the start-up steps of RFC 6762 §8 on one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing to use the name for: no address, or no signed advert.
    Idle,
    /// The first probe leaves at `at`; until then conflicting responses are not looked at.
    Waiting { at: Instant },
    /// `sent` probes are out; the next, or the end, comes at `at`.
    Probing { sent: u8, at: Instant },
    /// Nobody else uses it: it is announced, answered for and defended.
    Verified,
}

/// Why a record set is due: later ones override earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// Asked for; may wait for others, may be answered by somebody else.
    Answer,
    /// Asked for alone, and nobody else can answer.
    UniqueAnswer,
    /// New, changed, or to be corrected in caches.
    Announcement,
    /// Somebody probes for its name.
    Defence,
    /// No longer valid.
    Goodbye,
}

/// The multicast state of one record set on one link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    last: Option<Instant>,
    due: Instant,
    reason: Reason,
    repeats: u8,
}

impl Slot {
    const EMPTY: Self = Self { last: None, due: NEVER, reason: Reason::Answer, repeats: 0 };

    /// Whether it was multicast within `span` before `now`.
    pub(super) fn is_recent(&self, now: Instant, span: Duration) -> bool {
        self.last.is_some_and(|last| now.since(last) < span)
    }

    /// Until when it was multicast within `span` before.
    pub(super) fn recent_until(&self, span: Duration) -> Option<Instant> {
        self.last.map(|last| last + span)
    }

    /// When it may be multicast, wished for at `at`.
    fn earliest(&self, at: Instant, reason: Reason) -> Instant {
        let interval = match reason {
            Reason::Answer | Reason::UniqueAnswer | Reason::Announcement => MULTICAST_INTERVAL,
            Reason::Defence => DEFENCE_INTERVAL,
            // A goodbye is the last that is heard of the record: waiting would lose it.
            Reason::Goodbye => Duration::ZERO,
        };
        self.last.map_or(at, |last| at.max(last + interval))
    }

    fn is_urgent(&self) -> bool {
        self.reason > Reason::Answer
    }
}

/// One link.
#[derive(Debug)]
pub(super) struct LinkState<const N: usize> {
    pub(super) id: LinkId,
    /// The largest UDP payload that leaves in one frame.
    pub(super) payload_max: usize,
    host: Phase,
    instances: [Phase; N],
    common: [Slot; 4],
    records: [[Slot; 5]; N],
    /// The start of the probing that names getting ready can still join.
    pub(super) probing_from: Option<Instant>,
    /// The last probe sent: responses to it may come by unicast for a while.
    pub(super) probed_at: Option<Instant>,
    /// Names that have been announced here since they were taken, verified at present or not.
    pub(super) known: Owners<N>,
    /// Instances whose former name is to be said goodbye to.
    pub(super) renamed: Owners<N>,
    /// The host's old addresses are to be said goodbye to.
    pub(super) addresses_gone: bool,
    /// The host was renamed: service records are to be announced once its new name is verified.
    pub(super) host_renamed: bool,
}

impl<const N: usize> LinkState<N> {
    pub(super) fn new(id: LinkId, mtu: u16) -> Self {
        Self {
            id,
            payload_max: payload_max(id.family, mtu),
            host: Phase::Idle,
            instances: [Phase::Idle; N],
            common: [Slot::EMPTY; 4],
            records: [[Slot::EMPTY; 5]; N],
            probing_from: None,
            probed_at: None,
            known: Owners::EMPTY,
            renamed: Owners::EMPTY,
            addresses_gone: false,
            host_renamed: false,
        }
    }

    pub(super) fn set_mtu(&mut self, mtu: u16) {
        self.payload_max = payload_max(self.id.family, mtu);
    }

    pub(super) fn phase(&self, owner: Owner) -> Phase {
        match owner {
            Owner::Host => self.host,
            Owner::Instance(i) => self.instances.get(i).copied().unwrap_or(Phase::Idle),
        }
    }

    pub(super) fn set_phase(&mut self, owner: Owner, phase: Phase) {
        match owner {
            Owner::Host => self.host = phase,
            Owner::Instance(i) => {
                if let Some(slot) = self.instances.get_mut(i) {
                    *slot = phase;
                }
            }
        }
    }

    pub(super) fn is_verified(&self, owner: Owner) -> bool {
        self.phase(owner) == Phase::Verified
    }

    pub(super) fn slot(&self, set: RecordSet) -> &Slot {
        const NONE: &Slot = &Slot::EMPTY;
        match set {
            RecordSet::Common(c) => self.common.get(c.index()),
            RecordSet::Instance(i, r) => self.records.get(i).and_then(|of| of.get(r.index())),
        }
        .unwrap_or(NONE)
    }

    fn slot_mut(&mut self, set: RecordSet) -> Option<&mut Slot> {
        match set {
            RecordSet::Common(c) => self.common.get_mut(c.index()),
            RecordSet::Instance(i, r) => {
                self.records.get_mut(i).and_then(|of| of.get_mut(r.index()))
            }
        }
    }

    /// Has `set` multicast at `at`, or as soon after as the spacing allows. What is due already stays due.
    /// Tells whether that changed anything.
    pub(super) fn schedule(&mut self, set: RecordSet, at: Instant, reason: Reason) -> bool {
        let Some(slot) = self.slot_mut(set) else { return false };
        let before = (slot.due, slot.reason);
        slot.due = slot.due.min(slot.earliest(at, reason));
        slot.reason = slot.reason.max(reason);
        before != (slot.due, slot.reason)
    }

    /// As [`Self::schedule`], once more one second after the first (RFC 6762 §8.3).
    pub(super) fn announce(&mut self, set: RecordSet, at: Instant) {
        self.schedule(set, at, Reason::Announcement);
        if let Some(slot) = self.slot_mut(set) {
            slot.repeats = 1;
        }
    }

    /// Whether `sets` has a service record that is to be announced.
    pub(super) fn announces_service(&self, sets: &Records<N>) -> bool {
        sets.iter().any(|set| {
            matches!(set, RecordSet::Instance(_, OfInstance::Srv))
                && self.slot(set).reason == Reason::Announcement
        })
    }

    /// Drops a pending answer that another host has given (RFC 6762 §7.4).
    pub(super) fn suppress(&mut self, set: RecordSet) -> bool {
        match self.slot_mut(set) {
            Some(slot) if slot.due != NEVER && slot.reason <= Reason::UniqueAnswer => {
                slot.due = NEVER;
                slot.reason = Reason::Answer;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Forgets everything that waits for a name, because it is not ours to speak for at present.
    pub(super) fn silence(&mut self, owner: Owner) {
        let clear = |slot: &mut Slot| *slot = Slot { last: slot.last, ..Slot::EMPTY };
        match owner {
            Owner::Host => {
                for common in [Common::A, Common::Aaaa, Common::HostNsec] {
                    self.common.get_mut(common.index()).map(clear);
                }
            }
            Owner::Instance(i) => {
                if let Some(slots) = self.records.get_mut(i) {
                    slots.iter_mut().for_each(clear);
                }
            }
        }
    }

    /// Forgets that the service type is to be listed.
    pub(super) fn silence_services(&mut self) {
        if let Some(slot) = self.common.get_mut(Common::Services.index()) {
            *slot = Slot { last: slot.last, ..Slot::EMPTY };
        }
    }

    /// Forgets an instance.
    pub(super) fn forget(&mut self, index: usize) {
        self.set_phase(Owner::Instance(index), Phase::Idle);
        if let Some(slots) = self.records.get_mut(index) {
            *slots = [Slot::EMPTY; 5];
        }
        self.known.remove(Owner::Instance(index));
        self.renamed.remove(Owner::Instance(index));
    }

    /// The record sets with a slot, all of them.
    fn slots(&self) -> impl Iterator<Item = (RecordSet, &Slot)> {
        let common = Common::ALL.into_iter().map(RecordSet::Common);
        let instances = (0..N)
            .flat_map(|i| OfInstance::ALL.into_iter().map(move |r| RecordSet::Instance(i, r)));
        common.chain(instances).map(|set| (set, self.slot(set)))
    }

    fn every_slot(&self) -> impl Iterator<Item = &Slot> {
        self.common.iter().chain(self.records.iter().flatten())
    }

    /// When the next multicast leaves: at once for what is urgent; what may wait is held for what comes
    /// up to 500 ms later, so that both share a packet.
    pub(super) fn multicast_at(&self) -> Option<Instant> {
        let (mut urgent, mut first) = (NEVER, NEVER);
        for slot in self.every_slot() {
            let earliest = if slot.is_urgent() { &mut urgent } else { &mut first };
            *earliest = slot.due.min(*earliest);
        }
        if first != NEVER {
            let limit = first + AGGREGATION;
            let waiting = self.every_slot().filter(|slot| !slot.is_urgent() && slot.due <= limit);
            first = waiting.map(|slot| slot.due).max().unwrap_or(first);
        }
        let at = urgent.min(first);
        (at != NEVER).then_some(at)
    }

    /// What is due at `now`: goodbyes, and the rest.
    pub(super) fn due(&self, now: Instant) -> (Records<N>, Records<N>) {
        let (mut goodbyes, mut answers) = (Records::EMPTY, Records::EMPTY);
        for (set, slot) in self.slots().filter(|(_, slot)| slot.due <= now) {
            if slot.reason == Reason::Goodbye { &mut goodbyes } else { &mut answers }.insert(set);
        }
        (goodbyes, answers)
    }

    /// Notes that `sets` have been multicast at `now`.
    pub(super) fn sent(&mut self, sets: &Records<N>, now: Instant) {
        for set in sets.iter() {
            if let Some(slot) = self.slot_mut(set) {
                if slot.reason == Reason::Announcement && slot.due > now {
                    // Sent beside something else; it is to be announced once more all the same.
                    slot.last = Some(now);
                    slot.due = slot.earliest(slot.due, Reason::Announcement);
                    continue;
                }
                let again = slot.repeats > 0 && slot.reason == Reason::Announcement;
                *slot = Slot { last: Some(now), ..Slot::EMPTY };
                if again {
                    slot.due = now + MULTICAST_INTERVAL;
                    slot.reason = Reason::Announcement;
                }
            }
        }
    }

    /// The next step of a probing name.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        let phases = core::iter::once(&self.host).chain(&self.instances);
        phases
            .filter_map(|phase| match phase {
                Phase::Waiting { at } | Phase::Probing { at, .. } => Some(*at),
                Phase::Idle | Phase::Verified => None,
            })
            .min()
    }
}

/// RFC 6762 §17: the MTU of the interface less the IP and UDP headers, within what one transmit holds.
fn payload_max(family: Family, mtu: u16) -> usize {
    let headers = match family {
        Family::V4 => 28,
        Family::V6 => 48,
    };
    let smallest = match family {
        Family::V4 => 576,
        Family::V6 => 1280,
    };
    usize::from(mtu).max(smallest).saturating_sub(headers).min(TRANSMIT_MAX)
}
