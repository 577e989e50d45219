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
    /// What is announced by mDNS; empty without it.
    pub adverts: Vec<AdvertStatus>,
    /// Links that mDNS is served on.
    pub links: Vec<LinkStatus>,
    /// Whether mDNS is served at all.
    pub mdns: bool,
    /// What is wrong with the provider as a whole.
    pub problems: Vec<String>,
    /// What is missing or ignored in the artifacts directory.
    pub warnings: Vec<String>,
    /// Counters of the mDNS machine: name to help text and value.
    pub counters: BTreeMap<String, (String, u64)>,
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

/// An instance of the service on one interface.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdvertStatus {
    /// The channel.
    pub channel: String,
    /// The architecture.
    pub arch: String,
    /// The interface's index.
    pub interface: u32,
    /// The instance name; it may have been changed after a conflict.
    pub instance: String,
    /// The URL it announces.
    pub url: String,
    /// The sequence number of the signed advert.
    pub seq: u64,
    /// Where it stands: `probing`, `announcing`, `announced`, ….
    pub state: String,
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
