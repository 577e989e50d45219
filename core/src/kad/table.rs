//! The routing table: for each distance up to 20 peers that were there, those that proved to last in front.
//!
//! A peer enters after an exchange with it, never on hearsay. A full bucket keeps its peers as long as they
//! answer: the newcomer waits while the one not seen for longest is probed, and takes its place if it fails.
//! Spec: libp2p `specs/kad-dht#kademlia-routing-table`; Kademlia (Maymounkov, Mazières 2002) §2.2, §2.4.
//!
//! The storage is handed in, one slot for each peer of all buckets together; 20 times the binary logarithm of
//! the number of peers in the network is always enough, 160 serve 10,000.

use core::time::Duration;

use heapless::Vec;

use super::diversity::{self, PER_BUCKET, PER_TABLE};
use super::{Contact, Distance, K, Key};
use crate::identity::PeerId;
use crate::rng::Rng;
use crate::time::Instant;

/// Failures in a row after which a peer is dropped.
const FAILURES_MAX: u8 = 3;

/// How long a peer is believed to be there without being probed for a newcomer.
const FRESH: Duration = Duration::from_secs(600);

/// How long a newcomer waits for the probe of the one it may replace.
const PENDING_PATIENCE: Duration = Duration::from_secs(60);

/// Buckets that can have a newcomer waiting at one time.
const PENDING: usize = 8;

/// The buckets that can be refreshed: the 12 farthest. Peers of nearer ones are found by looking for ourselves,
/// and a random id in them would take too many tries.
const REFRESHABLE: u8 = 12;

/// Hashes tried for a random id in a bucket: eight times what the nearest refreshable one needs on average.
const TRIES: u32 = 8 << REFRESHABLE;

/// A peer of the table.
#[derive(Clone, Debug)]
pub struct Entry {
    contact: Contact,
    distance: Distance,
    seen_at: Instant,
    /// Failures since it was seen; 1 from the start for a peer that was restored.
    failures: u8,
}

impl Entry {
    /// Who and where.
    #[must_use]
    pub const fn contact(&self) -> &Contact {
        &self.contact
    }

    /// When it was last there.
    #[must_use]
    pub const fn seen_at(&self) -> Instant {
        self.seen_at
    }

    /// Whether it was there when it was last turned to.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.failures == 0
    }

    fn bucket(&self) -> Option<u8> {
        self.distance.bucket()
    }
}

/// Where the table keeps one peer.
pub type Slot = Option<Entry>;

/// What became of a peer that was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is in the table and was before.
    Known,
    /// It is in the table now.
    Added,
    /// Its bucket is full of peers that were there; this one was not seen for longest. Turn to it, and tell
    /// [`Table::seen`] or [`Table::failed`] what came of it.
    Pending {
        /// The peer to turn to.
        probe: Contact,
    },
    /// It is not in the table.
    Refused(Refusal),
}

/// Why a peer is not in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Refusal {
    /// It is ourselves.
    Own,
    /// It cannot be dialled.
    NoAddress,
    /// There are enough peers of its IP prefix.
    Diversity,
    /// Its bucket has peers enough that last.
    Full,
}

#[derive(Clone, Debug)]
struct Pending {
    entry: Entry,
    probe: PeerId,
    until: Instant,
}

/// A routing table in slots that the caller gave.
#[derive(Clone, Debug)]
pub struct Table<S> {
    own: Key,
    slots: S,
    pending: Vec<Pending, PENDING>,
}

impl<S: AsRef<[Slot]> + AsMut<[Slot]>> Table<S> {
    /// An empty table of the peer `own`; what the slots hold is dropped.
    #[must_use]
    pub fn new(own: &PeerId, mut slots: S) -> Self {
        slots.as_mut().fill(None);
        Self { own: Key::of_peer(own), slots, pending: Vec::new() }
    }

    /// Notes that a peer that serves the DHT was there, and where it can be dialled.
    pub fn seen(&mut self, now: Instant, contact: &Contact) -> Seen {
        self.pending.retain(|pending| pending.until > now && pending.probe != contact.peer);
        let distance = Key::of_peer(&contact.peer).distance(&self.own);
        let Some(bucket) = distance.bucket() else { return Seen::Refused(Refusal::Own) };
        let entry = Entry { contact: contact.clone(), distance, seen_at: now, failures: 0 };
        let diverse = self.is_diverse(&entry);
        if let Some(known) = self.find_mut(&contact.peer) {
            known.seen_at = now;
            known.failures = 0;
            if diverse && !contact.addresses.is_empty() {
                known.contact = entry.contact;
            }
            return Seen::Known;
        }
        if contact.addresses.is_empty() {
            return Seen::Refused(Refusal::NoAddress);
        }
        if !diverse {
            return Seen::Refused(Refusal::Diversity);
        }
        if self.in_bucket(bucket).count() < K {
            return self.place(entry);
        }
        self.compete(now, bucket, entry)
    }

    /// Whether a peer would change anything here if it was seen now: otherwise it need not be turned to.
    #[must_use]
    pub fn wants(&self, now: Instant, contact: &Contact) -> bool {
        let distance = Key::of_peer(&contact.peer).distance(&self.own);
        let Some(bucket) = distance.bucket() else { return false };
        if self.entries().any(|known| known.contact.peer == contact.peer) {
            return true;
        }
        let entry = Entry { contact: contact.clone(), distance, seen_at: now, failures: 0 };
        let gives_way = |known: &Entry| !known.is_live() || now.since(known.seen_at) >= FRESH;
        let has_room = self.in_bucket(bucket).count() < K;
        !contact.addresses.is_empty()
            && (has_room || self.in_bucket(bucket).any(gives_way))
            && self.is_diverse(&entry)
    }

    /// Notes that a peer could not be reached or did not answer. A newcomer that waits takes its place; else it
    /// stays for a few failures, or for as long as nobody else answers either.
    pub fn failed(&mut self, peer: &PeerId) {
        let Some(entry) = self.find_mut(peer) else { return };
        entry.failures = entry.failures.saturating_add(1);
        let (failures, seen_at, bucket) = (entry.failures, entry.seen_at, entry.bucket());
        if let Some(at) = self.pending.iter().position(|one| one.entry.bucket() == bucket) {
            let newcomer = self.pending.swap_remove(at).entry;
            self.remove(peer);
            if self.is_diverse(&newcomer) {
                self.place(newcomer);
            }
            return;
        }
        // Without anybody else it is rather the network that is away.
        let others = self.entries().any(|other| other.is_live() && other.seen_at > seen_at);
        if failures >= FAILURES_MAX && others {
            self.remove(peer);
        }
    }

    /// Takes up a peer known from an earlier run. It counts as not there until it is [seen](Self::seen).
    pub fn restore(&mut self, contact: &Contact) -> bool {
        let distance = Key::of_peer(&contact.peer).distance(&self.own);
        let Some(bucket) = distance.bucket() else { return false };
        let seen_at = Instant::ZERO;
        let entry = Entry { contact: contact.clone(), distance, seen_at, failures: 1 };
        let known = self.entries().any(|known| known.contact.peer == contact.peer);
        let room = self.in_bucket(bucket).count() < K;
        if known || contact.addresses.is_empty() || !room || !self.is_diverse(&entry) {
            return false;
        }
        self.place(entry) == Seen::Added
    }

    /// Takes a peer out, as one that turned out to be another.
    pub fn remove(&mut self, peer: &PeerId) {
        let slots = self.slots.as_mut().iter_mut();
        for slot in slots.filter(|slot| holds(slot, peer)) {
            *slot = None;
        }
        self.pending.retain(|pending| pending.entry.contact.peer != *peer);
    }

    /// The `N` peers closest to `target` that are believed to be there, closest first: what others are told.
    #[must_use]
    pub fn closest_live<const N: usize>(&self, target: &Key) -> Vec<&Contact, N> {
        self.nearest(target, |entry| entry.is_live())
    }

    /// The `N` peers closest to `target`, closest first, also those that failed or were not seen in this run:
    /// what a lookup of our own begins with.
    #[must_use]
    pub fn closest<const N: usize>(&self, target: &Key) -> Vec<&Contact, N> {
        self.nearest(target, |_| true)
    }

    /// Every peer.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.slots.as_ref().iter().flatten()
    }

    /// Peers in the table.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries().count()
    }

    /// Peers in the table that are believed to be there.
    #[must_use]
    pub fn live_count(&self) -> usize {
        self.entries().filter(|entry| entry.is_live()).count()
    }

    /// Bucket and number of peers for each bucket that has one, the farthest (255) first.
    pub fn buckets(&self) -> impl Iterator<Item = (u8, usize)> {
        let count = |bucket| self.in_bucket(bucket).count();
        (0..=u8::MAX).rev().map(move |bucket| (bucket, count(bucket))).filter(|(_, n)| *n > 0)
    }

    /// The peers to look for so that the buckets are refreshed: one in each bucket that is farther than our
    /// closest peer, the farthest first, as far as ids can be found for them. `index` counts from 0; `None`
    /// after the last.
    #[must_use]
    pub fn refresh_target(&self, index: u8, rng: &mut Rng) -> Option<PeerId> {
        let nearest = self.entries().filter_map(Entry::bucket).min()?;
        let bucket = u8::MAX.checked_sub(index)?;
        if bucket < nearest || index >= REFRESHABLE {
            return None;
        }
        (0..TRIES).find_map(|_| {
            let mut octets = [0; 32];
            for chunk in octets.chunks_mut(8) {
                chunk.copy_from_slice(&rng.u64().to_be_bytes());
            }
            let peer = PeerId::from_octets(octets).ok()?;
            (Key::of_peer(&peer).distance(&self.own).bucket() == Some(bucket)).then_some(peer)
        })
    }

    fn find_mut(&mut self, peer: &PeerId) -> Option<&mut Entry> {
        self.slots.as_mut().iter_mut().flatten().find(|entry| entry.contact.peer == *peer)
    }

    fn in_bucket(&self, bucket: u8) -> impl Iterator<Item = &Entry> + Clone {
        self.entries().filter(move |entry| entry.bucket() == Some(bucket))
    }

    fn is_diverse(&self, new: &Entry) -> bool {
        let others = self.entries().filter(|entry| entry.contact.peer != new.contact.peer);
        let bucket = new.bucket();
        let near = others.clone().filter(|entry| entry.bucket() == bucket);
        let addresses = &new.contact.addresses;
        diversity::fits(addresses, &others.map(|entry| &entry.contact.addresses), PER_TABLE)
            && diversity::fits(addresses, &near.map(|entry| &entry.contact.addresses), PER_BUCKET)
    }

    /// Puts a newcomer into a free slot. Without one, the peer of the farthest bucket that was not seen for
    /// longest gives way if the newcomer is of a nearer bucket: far peers are easily found again.
    fn place(&mut self, entry: Entry) -> Seen {
        let slots = self.slots.as_mut();
        if let Some(slot) = slots.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(entry);
            return Seen::Added;
        }
        let farthest = slots.iter_mut().flatten().max_by_key(|known| {
            (known.bucket(), known.failures, core::cmp::Reverse(known.seen_at))
        });
        match farthest {
            Some(known) if known.bucket() > entry.bucket() => {
                *known = entry;
                Seen::Added
            }
            Some(_) | None => Seen::Refused(Refusal::Full),
        }
    }

    /// A newcomer to a full bucket.
    fn compete(&mut self, now: Instant, bucket: u8, entry: Entry) -> Seen {
        let stale = self.in_bucket(bucket).filter(|known| !known.is_live());
        let stale = stale.max_by_key(|known| (known.failures, core::cmp::Reverse(known.seen_at)));
        if let Some(peer) = stale.map(|known| known.contact.peer) {
            self.remove(&peer);
            return self.place(entry);
        }
        let oldest = self.in_bucket(bucket).min_by_key(|known| known.seen_at);
        let Some(oldest) = oldest.filter(|known| now.since(known.seen_at) >= FRESH) else {
            return Seen::Refused(Refusal::Full);
        };
        let probe = oldest.contact.clone();
        let waits = self.pending.iter().any(|pending| pending.entry.bucket() == Some(bucket));
        let until = now + PENDING_PATIENCE;
        let pending = Pending { entry, probe: probe.peer, until };
        if waits || self.pending.push(pending).is_err() {
            return Seen::Refused(Refusal::Full);
        }
        Seen::Pending { probe }
    }

    fn nearest<const N: usize>(
        &self,
        target: &Key,
        is_wanted: impl Fn(&Entry) -> bool,
    ) -> Vec<&Contact, N> {
        // The distance to the target is the XOR of both distances to us.
        let from_us = target.distance(&self.own);
        let mut found: Vec<(Distance, &Contact), N> = Vec::new();
        for entry in self.entries().filter(|entry| is_wanted(entry)) {
            let distance = entry.distance.xor(&from_us);
            let at = found.partition_point(|(other, _)| *other < distance);
            if found.is_full() && at < N {
                found.pop();
            }
            // Full here: N closer ones are known.
            let _ = found.insert(at, (distance, &entry.contact));
        }
        found.into_iter().map(|(_, contact)| contact).collect()
    }
}

fn holds(slot: &Slot, peer: &PeerId) -> bool {
    slot.as_ref().is_some_and(|entry| entry.contact.peer == *peer)
}

#[cfg(test)]
mod tests;
