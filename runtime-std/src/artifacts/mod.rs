//! The artifacts directory: what lies there, whether it is whole, and its digests.
//!
//! ```text
//! DIR/{channel}/{arch}/vmlinuz        needed; without it nothing is advertised
//!                      initramfs.img  rootfs.sqfs  dtbs/**/*.dtb  cmdline  version
//! ```
//!
//! [`scan`] looks, [`settle`] waits until nobody writes, [`hash`] digests through open files, [`watch`] hears of
//! changes, and [`keeper`] ties them into a stream of [`keeper::Change`]s; [`once`] takes a single image,
//! and [`promote`] copies one into another channel.
//!
//! What is never published: a file somebody still writes, anything that is not a regular file, and anything whose
//! real path lies outside DIR (a symbolic link is followed only when it stays inside).
//!
//! Files are kept open from the moment they are hashed, so a file replaced by renaming another over it stays
//! served as it was hashed until the new one is published. A file written in place no longer matches: its image is
//! withdrawn until it is whole again.
//! Not here: manifests, HTTP.

pub mod hash;
pub mod keeper;
pub mod once;
pub mod promote;
pub mod scan;
pub mod settle;
pub mod version;
pub mod warning;
pub mod watch;

use std::fmt;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Architectures a directory may be named for, by their canonical names.
pub const KNOWN_ARCHS: [&str; 8] =
    ["arm", "arm64", "i386", "loongarch64", "ppc64le", "riscv64", "s390x", "x86_64"];

/// The canonical name of an architecture: `aarch64` is `arm64`, `amd64` is `x86_64`. `None` for a name that is
/// neither in [`KNOWN_ARCHS`] nor an alias of one.
#[must_use]
pub fn canonical_arch(name: &str) -> Option<&'static str> {
    let canonical = match name {
        "aarch64" => "arm64",
        "amd64" => "x86_64",
        other => other,
    };
    KNOWN_ARCHS.into_iter().find(|known| *known == canonical)
}

/// Which boot image: a channel and a canonical architecture.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId {
    /// The channel, as its directory is named.
    pub channel: String,
    /// The architecture, canonical.
    pub arch: String,
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.channel, self.arch)
    }
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The kernel.
    Kernel,
    /// The initial RAM file system.
    Initramfs,
    /// The root file system.
    Rootfs,
    /// The kernel's command line, as text.
    Cmdline,
    /// One device tree.
    DeviceTree,
}

/// What tells two states of a file apart without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint {
    device: u64,
    inode: u64,
    /// Octets.
    pub size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    /// The fingerprint of a file with this metadata.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether an open file still has the content it had: the same size and modification time. The inode's change
    /// time is left out, because renaming or unlinking a file moves it without touching the content.
    #[must_use]
    pub fn same_content(&self, now: &Self) -> bool {
        (self.device, self.inode, self.size, self.modified)
            == (now.device, now.inode, now.size, now.modified)
    }

    /// How long before `wall` (time since 1970) the file was last written or its inode changed; zero if that lies
    /// in the future.
    #[must_use]
    pub fn age(&self, wall: Duration) -> Duration {
        wall.saturating_sub(since_epoch(self.modified.max(self.changed)))
    }

    /// When the content was last written, as time since 1970.
    #[must_use]
    pub fn modified(&self) -> Duration {
        since_epoch(self.modified)
    }
}

fn since_epoch((seconds, nanos): (i64, i64)) -> Duration {
    Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0))
}

/// A file that was hashed through the descriptor it is served from.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// What it is for.
    pub role: Role,
    /// Its path below the image's directory, with `/` between components: also its URL path.
    pub name: String,
    /// Octets.
    pub size: u64,
    /// SHA-256 of its content.
    pub sha256: [u8; 32],
    /// The open file.
    pub file: Arc<File>,
    /// What the file looked like when it was hashed.
    pub fingerprint: Fingerprint,
}

impl Artifact {
    /// Whether the open file still is what was hashed.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.file.metadata().is_ok_and(|now| self.fingerprint.same_content(&Fingerprint::of(&now)))
    }
}

/// One whole boot image, ready to be served.
#[derive(Clone, Debug)]
pub struct Image {
    /// Which image.
    pub id: ImageId,
    /// Its directory.
    pub directory: PathBuf,
    /// The version, from the file `version` or the newest modification time.
    pub version: String,
    /// Its files: kernel first, then by role and name.
    pub artifacts: Vec<Artifact>,
}

impl Image {
    /// Whether every open file still is what was hashed.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.artifacts.iter().all(Artifact::is_unchanged)
    }

    /// Whether both hold the same version of the same octets under the same names.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.id == other.id
            && self.version == other.version
            && self.artifacts.len() == other.artifacts.len()
            && self
                .artifacts
                .iter()
                .zip(&other.artifacts)
                .all(|(a, b)| (&a.name, a.sha256, a.size) == (&b.name, b.sha256, b.size))
    }
}
