//! What a running provider reports of itself: measured, never configured. The same object is the answer of
//! `phase-provider status --json`, of `GET /` as JSON, and the source of the status page and the metrics.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A provider at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// The peer id that signs the adverts.
    pub peer_id: String,
    /// The provider's name, as configured or as the host is called.
    pub provider_name: String,
    /// The program's version.
    pub software: String,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// How manifests are signed: `release` keys, or the node's own (`single-key`).
    pub signing: String,
    /// Images served over HTTP.
    pub images: Vec<ImageStatus>,
    /// What is announced by mDNS and published in the DHT.
    pub adverts: Vec<AdvertStatus>,
    /// Links that mDNS is served on.
    pub links: Vec<LinkStatus>,
    /// Whether mDNS is served at all.
    pub mdns: bool,
    /// The node of the DHT; `null` without it.
    pub dht: Option<DhtStatus>,
    /// What is wrong with the provider as a whole.
    pub problems: Vec<String>,
    /// What is missing or ignored in the artifacts directory.
    pub warnings: Vec<String>,
    /// Counters of the mDNS machine: name to help text and value.
    pub counters: BTreeMap<String, (String, u64)>,
    /// Counters of the node of the DHT and its connections: name to help text and value.
    pub dht_counters: BTreeMap<String, (String, u64)>,
}

/// An image that is served.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImageStatus {
    /// The channel.
    pub channel: String,
    /// The architecture.
    pub arch: String,
    /// The version.
    pub version: String,
    /// The manifest's path on this server.
    pub manifest: String,
    /// The manifest's SHA-256, in hexadecimal.
    pub digest: String,
    /// The manifest's `manifest_version`.
    pub manifest_version: u64,
    /// When the manifest expires: RFC 3339.
    pub expires_at: String,
    /// The files.
    pub artifacts: Vec<ArtifactStatus>,
}

/// A file that is served.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ArtifactStatus {
    /// Its name below the image.
    pub name: String,
    /// Octets.
    pub size: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// An advert: an instance of the service on one interface, or a record in the DHT.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdvertStatus {
    /// What carries it: `lan` or `dht`.
    pub carrier: String,
    /// The channel.
    pub channel: String,
    /// The architecture.
    pub arch: String,
    /// The interface's index; 0 in the DHT.
    pub interface: u32,
    /// The instance name; it may have been changed after a conflict. Empty in the DHT.
    pub instance: String,
    /// The URL it announces.
    pub url: String,
    /// The sequence number of the signed advert.
    pub seq: u64,
    /// Where it stands: `unsigned`, `probing`, `announced`; in the DHT `unsigned`, `unpublished`, `published`.
    pub state: String,
    /// In the DHT: when it was published.
    pub publication: Option<PublicationStatus>,
}

/// How an advert stands in the DHT.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PublicationStatus {
    /// Seconds since it was published last.
    pub published_seconds_ago: Option<u64>,
    /// Seconds until it is published again.
    pub next_in_seconds: Option<u64>,
    /// Nodes that keep it.
    pub holders: usize,
    /// Attempts without success since it was published last.
    pub failures: u32,
}

/// The node of the DHT.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DhtStatus {
    /// Where it listens: multiaddrs.
    pub listening: Vec<String>,
    /// Where others are told that it can be dialled: multiaddrs.
    pub announced: Vec<String>,
    /// Peers in the routing table.
    pub peers: usize,
    /// Those of them that were there when they were last turned to.
    pub live_peers: usize,
    /// Buckets of the routing table that have peers, the farthest first.
    pub buckets: Vec<BucketStatus>,
    /// Peers there is a connection to.
    pub connections: usize,
    /// Records stored for others.
    pub records: usize,
    /// Provider records stored for others.
    pub provider_records: usize,
    /// Seconds until the routing table is refreshed; `null`: that is under way, or there is nobody to ask.
    pub refresh_in_seconds: Option<u64>,
    /// Where the DHT is entered.
    pub bootstraps: Vec<BootstrapStatus>,
}

/// A bucket of the routing table.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct BucketStatus {
    /// Its number: the distance of its peers is 2 to the power of it, and less than twice that.
    pub bucket: u8,
    /// Its peers.
    pub peers: usize,
}

/// A node that the DHT is entered by.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BootstrapStatus {
    /// As it was configured.
    pub address: String,
    /// Who is there.
    pub peer_id: Option<String>,
    /// `resolving`, `waiting`, `dialled`, `reached`, `answered` or `failed`.
    pub state: String,
    /// What went wrong last.
    pub error: Option<String>,
}

/// One interface in one family.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkStatus {
    /// The interface's name.
    pub name: String,
    /// The interface's index.
    pub interface: u32,
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// The interface's addresses in this family.
    pub addresses: Vec<IpAddr>,
}

impl Status {
    /// Whether nothing is wrong with the provider as a whole.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.problems.is_empty()
    }
}
