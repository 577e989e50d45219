//! The manifest: which files make an image, signed by those who may release it.
//!
//! ```json
//! {"version":"0.1","manifest_version":1764158400,"channel":"stable","arch":"arm64",
//!  "created_at":"2025-11-26T12:00:00Z","expires_at":"2026-02-24T12:00:00Z","image_version":"2025.11.26",
//!  "artifacts":{
//!    "kernel":{"hash":"sha256:<64 hex>","size":9437184,"path":"vmlinuz"},
//!    "initramfs":{"hash":"sha256:<64 hex>","size":4194304,"urls":["http://mirror.example/initramfs.img"]},
//!    "dtbs":{"broadcom/bcm2711-rpi-4-b.dtb":{"hash":"sha256:<64 hex>","size":54321,"path":"dtbs/broadcom/…"}}},
//!  "cmdline":"console=ttyS0 quiet",
//!  "signatures":[{"keyid":"ed25519:<64 hex>","sig":"<base64>"}],
//!  "signed":{"data":"<base64 of the octets of the inner manifest>"}}
//! ```
//!
//! The *inner* manifest is the same object without `signatures` and `signed`, as octets in `signed.data`.
//! Those octets are what is signed (DSSE: type and length in front) and, after that is verified, what is
//! parsed. Nothing else of the document is used: its other members are a mirror for people and other
//! readers, and must equal the inner ones.
//!
//! | member | rule |
//! |---|---|
//! | `version` | the schema: `0.` and digits |
//! | `manifest_version` | 1 to 2^53 - 1, grows with every release: rollback protection |
//! | `channel`, `arch` | as in the advert; `arch` may be an alias |
//! | `created_at`, `expires_at` | `2025-11-26T12:00:00Z` |
//! | `image_version` | optional; the version that the advert claims |
//! | `artifacts` | `kernel` is needed; `initramfs`, `rootfs`, `dtbs` by name; others are ignored |
//! | `hash`, `size` | SHA-256; octets, at least 1 |
//! | `path`, `urls` | one of them: beside the manifest (or from `/`), or whole URLs, tried in that order |
//! | `cmdline` | optional; printable ASCII, at most 2,048 octets |
//!
//! Unknown members are ignored, known ones twice are refused. Escapes are allowed in `cmdline` only, and
//! only `\"` and `\\`.
//! Spec: DSSE 1.0 (`protocol.md`), RFC 8032.

mod encode;
mod error;
mod json;
mod text;
mod verify;
mod write;

pub use encode::{ArtifactDraft, Draft, Envelope, KeySignature, encode_document, read_document};
pub use error::{Error, Limit};
pub use text::CommandLine;
pub use verify::{Policy, Verified, claim, verify};

use super::digest::Digest;
use super::record::{Arch, Channel, Version};
use super::url::{self, Url};
use crate::limits::{ARTIFACTS_PER_MANIFEST, URLS_PER_ARTIFACT};
use crate::time::UnixTime;

/// What an artifact is for. Shown as `kernel`, `initramfs`, `rootfs` or `dtbs/` and the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Name<'a> {
    /// The kernel; every manifest has one.
    Kernel,
    /// The initial RAM file system.
    Initramfs,
    /// The root file system.
    Rootfs,
    /// A device tree, by its path below `dtbs/`: up to 128 octets of `A-Z a-z 0-9 . _ ~ + -` in
    /// segments that do not begin with a dot.
    Dtb(&'a str),
}

impl<'a> Name<'a> {
    /// Reads the form that is shown.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        match text {
            "kernel" => Some(Self::Kernel),
            "initramfs" => Some(Self::Initramfs),
            "rootfs" => Some(Self::Rootfs),
            _ => text.strip_prefix("dtbs/").filter(|name| text::is_dtb_name(name)).map(Self::Dtb),
        }
    }
}

impl core::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Kernel => f.pad("kernel"),
            Self::Initramfs => f.pad("initramfs"),
            Self::Rootfs => f.pad("rootfs"),
            Self::Dtb(name) => write!(f, "dtbs/{name}"),
        }
    }
}

/// One file of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Artifact<'a> {
    /// What it is for.
    pub name: Name<'a>,
    /// The digest of its octets.
    pub digest: Digest,
    /// How many octets: reading stops there.
    pub size: u64,
    path: Option<&'a str>,
    urls: heapless::Vec<&'a str, URLS_PER_ARTIFACT>,
}

impl Artifact<'_> {
    /// Its path: beside the manifest, or from `/`.
    #[must_use]
    pub const fn path(&self) -> Option<&str> {
        self.path
    }

    /// Where it can be had, in order: the path at the manifest's own origin, then the URLs.
    ///
    /// # Errors
    /// Items are errors where the path makes the URL too long.
    pub fn locations(&self, manifest: &Url) -> impl Iterator<Item = Result<Url, url::Error>> {
        let own = self.path.map(|path| manifest.join(path));
        own.into_iter().chain(self.urls.iter().map(|url| Url::parse_any(url)))
    }
}

/// An inner manifest, read and checked for form; it borrows the buffer it was decoded into.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Manifest<'a> {
    /// Grows with every release of a channel and architecture.
    pub manifest_version: u64,
    /// The channel it is for.
    pub channel: Channel,
    /// The architecture it is for, by its canonical name.
    pub arch: Arch,
    /// When it was made.
    pub created_at: UnixTime,
    /// When it must not be used any more.
    pub expires_at: UnixTime,
    /// The version of the image.
    pub image_version: Option<Version>,
    /// The kernel's command line.
    pub cmdline: Option<CommandLine<'a>>,
    artifacts: heapless::Vec<Artifact<'a>, ARTIFACTS_PER_MANIFEST>,
}

impl<'a> Manifest<'a> {
    /// The files, the kernel first.
    pub fn artifacts(&self) -> impl Iterator<Item = &Artifact<'a>> {
        self.artifacts.iter()
    }

    /// The file of this name.
    #[must_use]
    pub fn artifact(&self, name: Name<'_>) -> Option<&Artifact<'a>> {
        self.artifacts.iter().find(|artifact| artifact.name == name)
    }
}

#[cfg(test)]
mod tests;
