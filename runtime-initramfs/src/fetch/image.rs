//! A verified manifest as values that own their text: which files, how large, from where.
//! Not here: the verification itself, `phase_core::wire::manifest`.

use std::fmt;

use phase_core::identity::PeerId;
use phase_core::limits::MANIFEST_BUFFER;
use phase_core::time::UnixTime;
use phase_core::wire::digest::Digest;
use phase_core::wire::manifest::{self, Manifest, Name, Policy};
use phase_core::wire::record::{Arch, Channel, Version};
use phase_core::wire::url::Url;

/// What an artifact must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Octets, at least 1.
    pub size: u64,
    /// SHA-256.
    pub digest: Digest,
}

/// One file of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// `kernel`, `initramfs`, `rootfs` or `dtbs/…`: also its name in the output directory.
    pub name: String,
    /// What it must be.
    pub expected: Expected,
    /// Where it can be had, in order.
    pub locations: Vec<Url>,
    /// Its path as the manifest has it.
    pub path: Option<String>,
}

/// What a verified manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The document, octet for octet.
    pub document: Vec<u8>,
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
    pub cmdline: Option<String>,
    /// The files, the kernel first.
    pub items: Vec<Item>,
    /// Whose signatures counted; empty only in insecure mode.
    pub signed_by: Vec<PeerId>,
}

impl Image {
    /// Verifies a document. `url` is where it was found: what its relative paths begin at.
    ///
    /// # Errors
    /// What is wrong with it, with its stable code.
    pub fn verify(
        document: Vec<u8>,
        url: Option<&Url>,
        policy: &Policy<'_>,
    ) -> Result<Self, manifest::Error> {
        let mut buffer = vec![0; MANIFEST_BUFFER];
        let verified = manifest::verify(&document, &mut buffer, policy)?;
        let manifest = &verified.manifest;
        Ok(Self {
            digest: verified.digest,
            manifest_version: manifest.manifest_version,
            channel: manifest.channel.clone(),
            arch: manifest.arch.clone(),
            created_at: manifest.created_at,
            expires_at: manifest.expires_at,
            version: manifest.image_version.clone(),
            cmdline: manifest.cmdline.map(|cmdline| cmdline.chars().collect()),
            items: items(manifest, url),
            signed_by: verified.signed_by.iter().copied().collect(),
            document,
        })
    }

    /// The file of this name, such as `kernel`.
    #[must_use]
    pub fn item(&self, name: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.name == name)
    }

    /// The files that are asked for, in the order of [`Image::items`].
    #[must_use]
    pub fn wanted(&self, selection: &[Selection]) -> Vec<&Item> {
        let mut wanted = Vec::new();
        for item in &self.items {
            if let Some(name) = Name::parse(&item.name)
                && selection.iter().any(|one| one.includes(name))
            {
                wanted.push(item);
            }
        }
        wanted
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { manifest_version, channel, arch, version, .. } = self;
        let version = version.as_ref().map_or("-", Version::as_str);
        write!(f, "manifest {manifest_version} of {channel} {arch}, version {version}")
    }
}

fn items(manifest: &Manifest<'_>, url: Option<&Url>) -> Vec<Item> {
    let mut items = Vec::new();
    for artifact in manifest.artifacts() {
        let mut locations = Vec::new();
        if let Some(url) = url {
            // One whose URL would be too long leads nowhere; the others remain.
            for location in artifact.locations(url).flatten() {
                locations.push(location);
            }
        }
        items.push(Item {
            name: artifact.name.to_string(),
            expected: Expected { size: artifact.size, digest: artifact.digest },
            locations,
            path: artifact.path().map(str::to_owned),
        });
    }
    items
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
    /// Reads its name on a command line.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "kernel" => Self::Kernel,
            "initramfs" => Self::Initramfs,
            "rootfs" => Self::Rootfs,
            "dtbs" => Self::Dtbs,
            "all" => Self::All,
            _ => return None,
        })
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
