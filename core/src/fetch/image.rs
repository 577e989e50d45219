//! A verified manifest as a value of its own: which files an image has, how large, from where, under which names they are
//! left, and which of them are wanted.
//! Not here: the verification itself (`wire::manifest`).

use core::fmt;

use heapless::{String, Vec};

use super::part::Expected;
use crate::identity::PeerId;
use crate::limits::{
    ARTIFACTS_PER_MANIFEST, CMDLINE_MAX, DTB_NAME_MAX, SIGNATURES_PER_MANIFEST, URL_MAX,
    URLS_PER_ARTIFACT,
};
use crate::time::UnixTime;
use crate::wire::digest::Digest;
use crate::wire::manifest::{self, Artifact, Name, Policy, Verified};
use crate::wire::record::{Arch, Channel, Version};
use crate::wire::url::Url;

/// Octets of a file's name: of a device tree, whose path has `dtbs/` in front.
const NAME_MAX: usize = 5 + DTB_NAME_MAX;

/// Places of a file: beside the manifest, and its URLs.
const LOCATIONS: usize = 1 + URLS_PER_ARTIFACT;

/// One file of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// `kernel`, `initramfs`, `rootfs` or `dtbs/…`: also its name in the output directory.
    pub name: String<NAME_MAX, u8>,
    /// What it must be.
    pub expected: Expected,
    /// Where it can be had, in order.
    pub locations: Vec<Url, LOCATIONS, u8>,
    /// Its path as the manifest has it, where a URL has room for it.
    pub path: Option<String<URL_MAX, u8>>,
}

impl Item {
    fn new(artifact: &Artifact<'_>, url: Option<&Url>) -> Self {
        let mut item = Self {
            name: String::new(),
            expected: Expected { size: artifact.size, digest: artifact.digest },
            locations: Vec::new(),
            path: artifact.path().and_then(|path| String::try_from(path).ok()),
        };
        let parts = match artifact.name {
            Name::Kernel => ["kernel", ""],
            Name::Initramfs => ["initramfs", ""],
            Name::Rootfs => ["rootfs", ""],
            Name::Dtb(name) => ["dtbs/", name],
        };
        for part in parts {
            // Names are as long as there is room.
            let _ = item.name.push_str(part);
        }
        if let Some(url) = url {
            // One whose URL would be too long leads nowhere; the others remain. There are no more than places.
            for location in artifact.locations(url).flatten() {
                let _ = item.locations.push(location);
            }
        }
        item
    }

    /// The names it may have in a directory, to be tried in this order: a provider's file is called as in its path, a
    /// fetched one by its role.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let beside = self.path.as_deref().filter(|path| !path.starts_with('/'));
        beside.into_iter().chain([self.name.as_str()])
    }
}

/// What a verified manifest says. `D`: what has the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image<D> {
    /// The document, octet for octet.
    pub document: D,
    /// Its digest.
    pub digest: Digest,
    /// Which release of the channel and architecture.
    pub manifest_version: u64,
    /// The channel.
    pub channel: Channel,
    /// The architecture.
    pub arch: Arch,
    /// When the manifest was made.
    pub created_at: UnixTime,
    /// When it must not be used any more.
    pub expires_at: UnixTime,
    /// The image's version.
    pub version: Option<Version>,
    /// The kernel's command line.
    pub cmdline: Option<String<CMDLINE_MAX>>,
    /// The files, the kernel first.
    pub items: Vec<Item, ARTIFACTS_PER_MANIFEST>,
    /// Whose signatures counted; empty only in insecure mode.
    pub signed_by: Vec<PeerId, SIGNATURES_PER_MANIFEST>,
}

impl<D: AsRef<[u8]>> Image<D> {
    /// Verifies a document. `url` is where it was found: what its relative paths begin at. `buffer`: as for
    /// [`manifest::verify()`].
    ///
    /// # Errors
    /// What is wrong with it, with its stable code.
    pub fn verify(
        document: D,
        buffer: &mut [u8],
        url: Option<&Url>,
        policy: &Policy<'_>,
    ) -> Result<Self, manifest::Error> {
        let Verified { manifest, signed_by, digest } =
            manifest::verify(document.as_ref(), buffer, policy)?;
        let mut items = Vec::new();
        for artifact in manifest.artifacts() {
            // As many as in a manifest.
            let _ = items.push(Item::new(artifact, url));
        }
        let cmdline = manifest.cmdline.map(|signed| {
            let mut cmdline = String::new();
            for c in signed.chars() {
                // There is room for the longest.
                let _ = cmdline.push(c);
            }
            cmdline
        });
        Ok(Self {
            digest,
            manifest_version: manifest.manifest_version,
            cmdline,
            items,
            channel: manifest.channel,
            arch: manifest.arch,
            created_at: manifest.created_at,
            expires_at: manifest.expires_at,
            version: manifest.image_version,
            signed_by,
            document,
        })
    }
}

impl<D> Image<D> {
    /// The file of this name, such as `kernel`.
    #[must_use]
    pub fn item(&self, name: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.name == name)
    }

    /// The files that are asked for, in the order of [`Image::items`].
    pub fn wanted(&self, selection: &[Selection]) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| {
            Name::parse(&item.name)
                .is_some_and(|name| selection.iter().any(|one| one.includes(name)))
        })
    }

    /// Whether a file with the kernel's command line says what was signed; blanks and the end of its line do not count.
    #[must_use]
    pub fn is_cmdline(&self, text: &str) -> bool {
        self.cmdline.as_deref() == Some(text.trim_end())
    }

    /// The version of the image, or `-`.
    #[must_use]
    pub fn shown_version(&self) -> &str {
        self.version.as_ref().map_or("-", Version::as_str)
    }

    /// The line for an image that was verified: what it is, and by whom it is signed.
    pub fn verified_line(&self) -> impl fmt::Display {
        fmt::from_fn(|f| {
            let Self { channel, arch, manifest_version, .. } = self;
            let version = self.shown_version();
            write!(
                f,
                "verified {channel} {arch} version {version} manifest {manifest_version} signed by"
            )?;
            self.signed_by.iter().try_for_each(|key| write!(f, " {}", key.key_id()))
        })
    }
}

impl<D> fmt::Display for Image<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { manifest_version, channel, arch, .. } = self;
        write!(
            f,
            "manifest {manifest_version} of {channel} {arch}, version {}",
            self.shown_version()
        )
    }
}

/// Which files of an image are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The kernel.
    Kernel,
    /// The initial RAM file system.
    Initramfs,
    /// The root file system.
    Rootfs,
    /// Every device tree.
    Dtbs,
    /// Everything that the manifest names.
    All,
}

impl Selection {
    /// Each of them.
    pub const EVERY: [Self; 5] =
        [Self::Kernel, Self::Initramfs, Self::Rootfs, Self::Dtbs, Self::All];

    /// Its name on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Initramfs => "initramfs",
            Self::Rootfs => "rootfs",
            Self::Dtbs => "dtbs",
            Self::All => "all",
        }
    }

    /// Reads its name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|one| one.name() == text)
    }

    const fn includes(self, name: Name<'_>) -> bool {
        matches!(
            (self, name),
            (Self::All, _)
                | (Self::Kernel, Name::Kernel)
                | (Self::Initramfs, Name::Initramfs)
                | (Self::Rootfs, Name::Rootfs)
                | (Self::Dtbs, Name::Dtb(_))
        )
    }
}

#[cfg(test)]
mod tests;
