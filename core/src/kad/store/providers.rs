//! Provider records: which peers said that they have what a key stands for.
//!
//! The peer is the one that the connection proved, so nobody can be named against their will. The key is opaque.
//! Spec: libp2p `specs/kad-dht#content-provider-advertisement-and-discovery`.

use core::net::IpAddr;
use core::time::Duration;

use heapless::Vec;

use crate::kad::diversity::Group;
use crate::kad::validator::{Quota, Refusal};
use crate::kad::{Contact, Key};
use crate::limits::{
    KEYS_PER_GROUP, KEYS_PER_SOURCE, PROVIDER_KEY_MAX, PROVIDER_LIFETIME, PROVIDERS_PER_GROUP,
    PROVIDERS_PER_KEY,
};
use crate::time::Instant;

/// Keys that the peers of one IP prefix may provide: an image has two, its provider key and the raw one.
const PROVIDED_PER_GROUP: usize = 2 * KEYS_PER_GROUP;

/// A provider of a key.
#[derive(Clone, Debug)]
pub struct Provided {
    key: Key,
    contact: Contact,
    group: Option<Group>,
    expires_at: Instant,
}

/// Where the store keeps one provider of one key.
pub type ProviderSlot = Option<Provided>;

/// The provider records of a node, in slots that the caller gave.
#[derive(Clone, Debug)]
pub struct ProviderStore<S> {
    slots: S,
}

impl<S: AsRef<[ProviderSlot]> + AsMut<[ProviderSlot]>> ProviderStore<S> {
    /// An empty store; what the slots hold is dropped.
    #[must_use]
    pub fn new(mut slots: S) -> Self {
        slots.as_mut().fill(None);
        Self { slots }
    }

    /// Adds the peer that a connection from `source` proved as a provider of `key`, for 48 hours. The same again
    /// brings new addresses and another 48 hours.
    ///
    /// # Errors
    /// [`Refusal::Key`]: empty or longer than 80 octets; else the [`Quota`] it is over.
    pub fn add(
        &mut self,
        now: Instant,
        key: &[u8],
        contact: &Contact,
        source: IpAddr,
    ) -> Result<(), Refusal> {
        self.expire(now);
        if key.is_empty() || key.len() > PROVIDER_KEY_MAX {
            return Err(Refusal::Key);
        }
        let expires_at = now + Duration::from_secs(PROVIDER_LIFETIME);
        let group = Group::of_source(source);
        let new = Provided { key: Key::of(key), contact: contact.clone(), group, expires_at };
        let slots = self.slots.as_mut().iter_mut().flatten();
        let mut same =
            slots.filter(|one| one.key == new.key && one.contact.peer == new.contact.peer);
        if let Some(known) = same.next() {
            *known = new;
            return Ok(());
        }
        self.check(&new, source).map_err(Refusal::Quota)?;
        let slot = self.slots.as_mut().iter_mut().find(|slot| slot.is_none());
        *slot.ok_or(Refusal::Quota(Quota::Store))? = Some(new);
        Ok(())
    }

    /// The providers of `key`, the one that was refreshed last in front.
    #[must_use]
    pub fn get(&self, now: Instant, key: &[u8]) -> Vec<&Contact, PROVIDERS_PER_KEY> {
        let key = Key::of(key);
        let mut found: Vec<&Provided, PROVIDERS_PER_KEY> = Vec::new();
        for provider in self.iter().filter(|one| one.key == key && one.expires_at > now) {
            let at = found.partition_point(|other| other.expires_at >= provider.expires_at);
            // No more than fit are kept of one key.
            let _ = found.insert(at, provider);
        }
        found.into_iter().map(|provider| &provider.contact).collect()
    }

    /// Forgets what expired.
    pub fn expire(&mut self, now: Instant) {
        for slot in self.slots.as_mut() {
            if slot.as_ref().is_some_and(|provider| provider.expires_at <= now) {
                *slot = None;
            }
        }
    }

    /// When something expires next.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.iter().map(|provider| provider.expires_at).min()
    }

    /// Provided records stored.
    #[must_use]
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    fn iter(&self) -> impl Iterator<Item = &Provided> {
        self.slots.as_ref().iter().flatten()
    }

    fn check(&self, new: &Provided, source: IpAddr) -> Result<(), Quota> {
        let of_key = || self.iter().filter(|one| one.key == new.key);
        let in_group = |one: &&Provided| new.group.is_some() && one.group == new.group;
        // A prefix of the world is dear; an address on the LAN may be that of a host with many providers.
        let is_global = Group::of(source).is_some();
        if of_key().count() >= PROVIDERS_PER_KEY {
            Err(Quota::Signers)
        } else if is_global && of_key().filter(in_group).count() >= PROVIDERS_PER_GROUP {
            Err(Quota::Group)
        } else if self.iter().filter(|one| one.contact.peer == new.contact.peer).count()
            >= KEYS_PER_SOURCE
        {
            Err(Quota::Source)
        } else if self.iter().filter(in_group).count() >= PROVIDED_PER_GROUP {
            Err(Quota::Group)
        } else {
            Ok(())
        }
    }
}
