//! Records that peers put here.
//!
//! | what | limit |
//! |---|---|
//! | records, octets of values | the slots, at most 1,024; 1 MiB |
//! | signers under one key | 8; a ninth waits until one expires, unless the node trusts it |
//! | unsigned records | one under a base key, as long as nobody signs there |
//! | keys put by one peer, by one IP prefix | 64, 32 |
//! | lifetime | what the advert, the request and 2 hours allow, the least of them |

use core::time::Duration;

use heapless::Vec;
use sha2::{Digest as _, Sha256};

use crate::identity::PeerId;
use crate::kad::diversity::Group;
use crate::kad::validator::{self, Context, Quota, Refusal, Valid};
use crate::limits::{
    ADVERT_JSON_MAX, KEYS_PER_GROUP, KEYS_PER_SOURCE, RECORD_LIFETIME_MAX, RECORDS, RECORDS_OCTETS,
    SIGNERS_PER_KEY,
};
use crate::select;
use crate::time::Instant;
use crate::wire::record::{AdvertKey, TTL_DEFAULT};

/// Who put a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The peer that the connection proved.
    pub peer: PeerId,
    /// Its IP prefix, as [`Group::of_source`] has it.
    pub group: Option<Group>,
}

/// A record that is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    key: AdvertKey,
    /// `None`: not signed.
    signer: Option<PeerId>,
    seq: u64,
    value: Vec<u8, ADVERT_JSON_MAX, u16>,
    expires_at: Instant,
    source: Source,
    trusted: bool,
}

impl Stored {
    /// The key.
    #[must_use]
    pub const fn key(&self) -> &AdvertKey {
        &self.key
    }

    /// Who signed it.
    #[must_use]
    pub const fn signer(&self) -> Option<&PeerId> {
        self.signer.as_ref()
    }

    /// The number that its signer gave it; 0: not signed.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// Its octets, as they came.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// When it is forgotten.
    #[must_use]
    pub const fn expires_at(&self) -> Instant {
        self.expires_at
    }
}

/// Where the store keeps one record.
pub type RecordSlot = Option<Stored>;

/// What became of a record that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Put {
    /// It is stored.
    Stored,
    /// It was stored already and lives longer now.
    Refreshed,
    /// Its signer has said something later, and that is kept. The put is answered all the same.
    Older,
}

/// The records of a node, in slots that the caller gave; those past 1,024 are not used.
#[derive(Clone, Debug)]
pub struct RecordStore<S> {
    own: PeerId,
    slots: S,
}

impl<S: AsRef<[RecordSlot]> + AsMut<[RecordSlot]>> RecordStore<S> {
    /// An empty store of the peer `own`; what the slots hold is dropped.
    #[must_use]
    pub fn new(own: PeerId, mut slots: S) -> Self {
        slots.as_mut().fill(None);
        Self { own, slots }
    }

    /// Judges a record and stores it. `ttl`: seconds the request asks for, 0 for as long as it is good;
    /// `is_trusted` tells whom the node's own trust store names. What expired is forgotten first.
    ///
    /// # Errors
    /// [`Refusal`]: it is not stored, and what was stored stays as it is.
    pub fn put(
        &mut self,
        now: Instant,
        request: (&[u8], &[u8], u32),
        source: Source,
        context: &Context,
        is_trusted: impl Fn(&PeerId) -> bool,
    ) -> Result<Put, Refusal> {
        self.expire(now);
        let (key, value, ttl) = request;
        let key = AdvertKey::decode(key).map_err(|_| Refusal::Key)?;
        let valid = validator::validate(&key, value, context)?;
        let wanted = if ttl == 0 { u32::MAX } else { ttl };
        let (signer, seq, good_for) = match &valid {
            Valid::Signed(signed) => {
                let advert = signed.advert();
                // An advert that is put again and again ends with its signature's time all the same.
                let left = context.clock.map_or(u64::MAX, |clock| {
                    advert.expires_at().plus(select::EXPIRY_GRACE).0.saturating_sub(clock.0)
                });
                let left = u32::try_from(left).unwrap_or(u32::MAX);
                (Some(advert.peer), advert.seq, advert.ttl.min(left))
            }
            Valid::Unsigned(_) => (None, 0, TTL_DEFAULT),
        };
        let lifetime = Duration::from_secs(good_for.min(wanted).min(RECORD_LIFETIME_MAX).into());
        // The validator takes no longer value than fits here.
        let octets = Vec::from_slice(value).map_err(|_| Refusal::Quota(Quota::Store))?;
        let new = Stored {
            key,
            signer,
            seq,
            value: octets,
            expires_at: now + lifetime,
            source,
            trusted: signer.is_some_and(|signer| is_trusted(&signer)),
        };
        self.store(new)
    }

    /// The record to answer a request for `key` with. Of several signers it is the one for which
    /// SHA-256(own peer, signer) is least: each node answers with one, and different nodes with different
    /// ones. An unsigned record is the answer only where there is no other.
    #[must_use]
    pub fn get(&self, now: Instant, key: &[u8]) -> Option<&Stored> {
        let key = AdvertKey::decode(key).ok()?;
        let live = self.iter().filter(|stored| stored.key == key && stored.expires_at > now);
        live.min_by_key(|stored| {
            let signer = stored.signer.map(|signer| rank(&self.own, &signer));
            (signer.is_none(), signer)
        })
    }

    /// Forgets what expired.
    pub fn expire(&mut self, now: Instant) {
        for slot in self.slots.as_mut() {
            if slot.as_ref().is_some_and(|stored| stored.expires_at <= now) {
                *slot = None;
            }
        }
    }

    /// When something expires next.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.iter().map(|stored| stored.expires_at).min()
    }

    /// Every record.
    pub fn iter(&self) -> impl Iterator<Item = &Stored> {
        self.slots.as_ref().iter().take(RECORDS).flatten()
    }

    /// Records stored.
    #[must_use]
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    fn of_key<'a>(&'a self, key: &'a AdvertKey) -> impl Iterator<Item = &'a Stored> {
        self.iter().filter(move |stored| stored.key == *key)
    }

    fn store(&mut self, new: Stored) -> Result<Put, Refusal> {
        let slots = self.slots.as_mut().iter_mut().take(RECORDS).flatten();
        let mut same = slots.filter(|stored| stored.key == new.key && stored.signer == new.signer);
        if let Some(known) = same.next() {
            let is_equal = known.value == new.value;
            if is_equal {
                known.expires_at = known.expires_at.max(new.expires_at);
                return Ok(Put::Refreshed);
            }
            if new.signer.is_none() && known.source.peer != new.source.peer {
                return Err(Refusal::Quota(Quota::Signers));
            }
            if new.signer.is_some() && new.seq < known.seq {
                return Ok(Put::Older);
            }
            if new.signer.is_some() && new.seq == known.seq {
                return Err(Refusal::Advert(select::Refusal::Equivocation));
            }
            self.check_source(&new)?;
            return self.replace(new);
        }
        self.check_source(&new)?;
        self.check_signers(&new)?;
        self.add(new)
    }

    /// Whether there is room for one more signer under the key; a trusted one makes room for itself.
    fn check_signers(&mut self, new: &Stored) -> Result<(), Refusal> {
        let signed = self.of_key(&new.key).filter(|stored| stored.signer.is_some()).count();
        let full = if new.signer.is_none() { signed > 0 } else { signed >= SIGNERS_PER_KEY };
        if !full {
            return Ok(());
        }
        let gives_way =
            |stored: &Stored| stored.key == new.key && stored.signer.is_some() && !stored.trusted;
        if new.trusted && self.evict(gives_way) {
            Ok(())
        } else {
            Err(Refusal::Quota(Quota::Signers))
        }
    }

    /// Whether the source may have one more record stored; the one that `new` replaces is not counted.
    fn check_source(&self, new: &Stored) -> Result<(), Refusal> {
        let others =
            || self.iter().filter(|stored| stored.key != new.key || stored.signer != new.signer);
        let of_peer = others().filter(|stored| stored.source.peer == new.source.peer);
        let of_group = others().filter(|stored| stored.source.group == new.source.group);
        if of_peer.count() >= KEYS_PER_SOURCE {
            return Err(Refusal::Quota(Quota::Source));
        }
        if new.source.group.is_some() && of_group.count() >= KEYS_PER_GROUP {
            return Err(Refusal::Quota(Quota::Group));
        }
        Ok(())
    }

    fn replace(&mut self, new: Stored) -> Result<Put, Refusal> {
        let octets = self.octets_without(&new).saturating_add(new.value.len());
        let slots = self.slots.as_mut().iter_mut().take(RECORDS).flatten();
        let mut same = slots.filter(|stored| stored.key == new.key && stored.signer == new.signer);
        match same.next() {
            Some(known) if octets <= RECORDS_OCTETS => {
                *known = new;
                Ok(Put::Stored)
            }
            Some(_) | None => Err(Refusal::Quota(Quota::Store)),
        }
    }

    /// Stores a record that replaces none. In a full store an unsigned record gives way to a signed one, and any
    /// other to one the node trusts.
    fn add(&mut self, new: Stored) -> Result<Put, Refusal> {
        loop {
            let fits = self.octets_without(&new).saturating_add(new.value.len()) <= RECORDS_OCTETS;
            let mut slots = self.slots.as_mut().iter_mut().take(RECORDS);
            if let (true, Some(slot)) = (fits, slots.find(|slot| slot.is_none())) {
                *slot = Some(new);
                return Ok(Put::Stored);
            }
            let evicted = new.signer.is_some()
                && (self.evict(|stored| stored.signer.is_none())
                    || (new.trusted && self.evict(|stored| !stored.trusted)));
            if !evicted {
                return Err(Refusal::Quota(Quota::Store));
            }
        }
    }

    /// Drops the one that expires first of those that give way; `false`: there is none.
    fn evict(&mut self, gives_way: impl Fn(&Stored) -> bool) -> bool {
        let slots = self.slots.as_mut().iter_mut().take(RECORDS);
        let candidates = slots.filter(|slot| slot.as_ref().is_some_and(&gives_way));
        let first = candidates.min_by_key(|slot| slot.as_ref().map(|stored| stored.expires_at));
        first.map(|slot| *slot = None).is_some()
    }

    fn octets_without(&self, new: &Stored) -> usize {
        let others = self.iter().filter(|one| one.key != new.key || one.signer != new.signer);
        others.map(|stored| stored.value.len()).fold(0, usize::saturating_add)
    }
}

/// The number that decides which signer this node answers with.
fn rank(own: &PeerId, signer: &PeerId) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(own.as_octets());
    hash.update(signer.as_octets());
    hash.finalize().into()
}
