//! What a bare server of ours knows and keeps: enough of a Kademlia node to be asked by stock ones, without
//! a routing table, a validator or an expiry.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use phase_core::connection::Answer;
use phase_core::identity::PeerId;
use phase_core::wire::contact::Contact;
use phase_core::wire::cursor::Writer;
use phase_core::wire::kad::{Record, Request, Response};

/// Shared by all connections of one identity.
#[derive(Debug)]
pub struct Shelf {
    /// Ourselves, with our addresses: closest to every key, since nobody else is known.
    pub own: Contact,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    providers: BTreeMap<Vec<u8>, Vec<Contact>>,
    closings: Vec<String>,
}

impl Shelf {
    /// An empty one.
    #[must_use]
    pub fn new(own: Contact) -> Self {
        Self { own, kept: Mutex::default() }
    }

    /// The value under a key.
    #[must_use]
    pub fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.kept().values.get(key).cloned()
    }

    /// Puts a value under a key.
    pub fn keep(&self, key: &[u8], value: &[u8]) {
        self.kept().values.insert(key.to_vec(), value.to_vec());
    }

    /// The providers of a key.
    #[must_use]
    pub fn providers(&self, key: &[u8]) -> Vec<Contact> {
        self.kept().providers.get(key).cloned().unwrap_or_default()
    }

    /// Adds a provider of a key.
    pub fn add_provider(&self, key: &[u8], provider: Contact) {
        let mut kept = self.kept();
        let known = kept.providers.entry(key.to_vec()).or_default();
        known.retain(|one| one.peer != provider.peer);
        known.push(provider);
    }

    /// Why connections ended, in order.
    #[must_use]
    pub fn closings(&self) -> Vec<String> {
        self.kept().closings.clone()
    }

    pub(super) fn note_closing(&self, why: String) {
        self.kept().closings.push(why);
    }

    pub(super) fn answer(
        &self,
        peer: &PeerId,
        request: &Request<'_>,
        out: &mut Writer<'_>,
    ) -> Answer {
        let closer = std::slice::from_ref(&self.own);
        match *request {
            Request::PutValue { record } => {
                self.keep(record.key, record.value);
                Response::PutValue { record }.encode(out);
            }
            Request::GetValue { key } => {
                let value = self.value(key);
                let record =
                    value.as_deref().map(|value| Record { key, value, publisher: None, ttl: 0 });
                Response::GetValue { record, closer }.encode(out);
            }
            Request::AddProvider { key, providers } => {
                // Only what the sender says of itself is true.
                for provider in providers.iter().filter(|one| one.peer == *peer) {
                    self.add_provider(key, provider);
                }
                return Answer::Nothing;
            }
            Request::GetProviders { key } => {
                let providers = self.providers(key);
                Response::GetProviders { providers: &providers, closer }.encode(out);
            }
            Request::FindNode { .. } => Response::FindNode { closer }.encode(out),
        }
        Answer::Reply
    }

    /// A panicking test must not hide its cause behind a poisoned lock.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
