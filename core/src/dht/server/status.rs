//! What a DHT node shows its operator.

use super::{Publication, Server, Storage};
use crate::dht::finder::Bootstrap;
use crate::kad::store::RecordStore;
use crate::stats::NodeStats;
use crate::time::Instant;
use crate::wire::contact::Addresses;

/// The node as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where others are told that we can be dialled.
    pub addresses: Addresses,
    /// Peers in the routing table.
    pub peers: usize,
    /// Those of them that were there when they were last turned to.
    pub live_peers: usize,
    /// Peers there is a connection to.
    pub connections: usize,
    /// Records stored for others.
    pub records: usize,
    /// Provider records stored for others.
    pub provider_records: usize,
    /// When the routing table is refreshed; `None`: that is under way, or there is nobody to ask.
    pub refresh_at: Option<Instant>,
}

/// One publication as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicationStatus {
    /// When it was published last.
    pub published_at: Option<Instant>,
    /// When it is published next, as far as that is known: signing it again makes it due too.
    pub publish_at: Option<Instant>,
    /// Peers that stored it under the base key.
    pub holders: usize,
    /// Attempts without success since it was published last.
    pub failures: u32,
}

impl PublicationStatus {
    pub(super) fn of(publication: &Publication) -> Option<Self> {
        publication.advert.as_ref()?;
        Some(Self {
            published_at: publication.published_at,
            publish_at: publication.publish_at.get(),
            holders: publication.base.holders.len(),
            failures: publication.failures,
        })
    }
}

impl<S: Storage<RX>, const RX: usize> Server<S, RX> {
    /// The node as it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            addresses: self.node.contact.addresses,
            peers: self.node.table.count(),
            live_peers: self.node.table.live_count(),
            connections: self.swarm.remotes().count(),
            records: self.node.records.count(),
            provider_records: self.node.providers.count(),
            refresh_at: self.node.refresh_at.get(),
        }
    }

    /// What is stored for others.
    #[must_use]
    pub const fn records(&self) -> &RecordStore<S::Records> {
        &self.node.records
    }

    /// What the node counted.
    #[must_use]
    pub const fn stats(&self) -> &NodeStats {
        &self.node.stats
    }

    /// Bucket and number of peers for each bucket that has one, the farthest (255) first.
    pub fn buckets(&self) -> impl Iterator<Item = (u8, usize)> {
        self.node.table.buckets()
    }

    /// The bootstrap peers, in the order in which they were added, and how far each was reached.
    #[must_use]
    pub fn bootstraps(&self) -> &[Bootstrap] {
        &self.node.bootstraps
    }
}
