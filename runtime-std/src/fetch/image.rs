//! A verified manifest as values that own their text: which files, how large, from where.
//! Not here: the verification itself, `phase_core::wire::manifest`.

use phase_core::identity::PeerId;
use phase_core::limits::MANIFEST_BUFFER;
use phase_core::time::UnixTime;
use phase_core::wire::digest::Digest;
use phase_core::wire::manifest::{self, Manifest, Name, Policy};
use phase_core::wire::record::{Arch, Channel, Version};
use phase_core::wire::url::Url;

use super::part::Expected;

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
    /// The files.
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
        let Manifest { manifest_version, channel, arch, image_version, cmdline, .. } =
            &verified.manifest;
        let items = verified.manifest.artifacts().map(|artifact| Item {
            name: artifact.name.to_string(),
            expected: Expected { size: artifact.size, digest: artifact.digest },
            // A location whose URL would be too long leads nowhere; the others remain.
            locations: url
                .map(|url| artifact.locations(url).filter_map(Result::ok).collect())
                .unwrap_or_default(),
            path: artifact.path().map(str::to_owned),
        });
        Ok(Self {
            items: items.collect(),
            digest: verified.digest,
            created_at: verified.manifest.created_at,
            expires_at: verified.manifest.expires_at,
            manifest_version: *manifest_version,
            channel: channel.clone(),
            arch: arch.clone(),
            version: image_version.clone(),
            cmdline: cmdline.map(|cmdline| cmdline.chars().collect()),
            signed_by: verified.signed_by.iter().copied().collect(),
            document,
        })
    }

    /// The files that are asked for.
    pub fn wanted(&self, selection: &[Selection]) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| {
            Name::parse(&item.name)
                .is_some_and(|name| selection.iter().any(|one| one.includes(name)))
        })
    }
}

/// Which files of an image are wanted.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
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
    fn includes(self, name: Name<'_>) -> bool {
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
