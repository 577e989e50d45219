//! Manifests of images: what a hashed image says of itself, signed. There is no way to make one without a key.
//!
//! With release keys in the state directory every one of them signs and the node's key does not; without any, the
//! node's key signs (single-key mode).
//! Not here: the format (`phase_core::wire::manifest`), when one is made.

use std::io;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use phase_core::identity::{PeerId, SecretKey};
use phase_core::limits::{CMDLINE_MAX, MANIFEST_BUFFER, MANIFEST_WORK, SIGNATURES_PER_MANIFEST};
use phase_core::time::UnixTime;
use phase_core::wire::digest::Digest;
use phase_core::wire::manifest::{self, ArtifactDraft, Draft, Envelope, Name, encode_document};
use phase_core::wire::record::{self, Arch, Channel, Version};
use sha2::{Digest as _, Sha256};

use crate::artifacts::{Artifact, Image, Role};
use crate::http::catalog::Manifest;
use crate::state::{StateDir, key};

/// How long a manifest may be used after it was made. Long enough for a provider to be away over a holiday, short
/// enough that an old image cannot be replayed for ever.
pub const LIFETIME: u64 = 30 * 86_400;

/// When a manifest is made anew: half of its lifetime is left then.
pub const RENEW_AFTER: u64 = LIFETIME / 2;

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image cannot be described.
    #[error("{0}")]
    Manifest(manifest::Error),
    /// A name is not of the closed charset. Scanning lets none pass.
    #[error("a name cannot be written: {0}")]
    Field(record::Error),
    /// The command line cannot be read.
    #[error("cannot read cmdline: {0}")]
    Cmdline(io::Error),
    /// More release keys than a manifest has room for.
    #[error(
        "{0} release keys; a manifest has room for {SIGNATURES_PER_MANIFEST} signatures: move some away"
    )]
    TooManyKeys(usize),
    /// A key was given more than once.
    #[error("{0} was given twice; verifiers count a key once")]
    SameKeyTwice(PeerId),
    /// A key file.
    #[error(transparent)]
    Key(#[from] key::Error),
}

impl From<manifest::Error> for Error {
    fn from(error: manifest::Error) -> Self {
        Self::Manifest(error)
    }
}

impl From<record::Error> for Error {
    fn from(error: record::Error) -> Self {
        Self::Field(error)
    }
}

/// The keys that sign manifests: at least one.
#[derive(Debug)]
pub struct Signer {
    first: SecretKey,
    others: Vec<SecretKey>,
    single_key: bool,
}

impl Signer {
    /// The release keys of the state directory, or else the node's key.
    ///
    /// # Errors
    /// When a release key is there and cannot be used: the others alone might not meet a threshold.
    pub fn load(state: &StateDir, node: &SecretKey) -> Result<Self, Error> {
        let release = key::load_release(state)?;
        if release.len() > SIGNATURES_PER_MANIFEST {
            return Err(Error::TooManyKeys(release.len()));
        }
        let mut keys = release.into_iter().map(|(_, key)| key);
        Ok(match keys.next() {
            Some(first) => Self { first, others: keys.collect(), single_key: false },
            None => Self { first: node.clone(), others: Vec::new(), single_key: true },
        })
    }

    /// These keys, whoever's they are.
    ///
    /// # Errors
    /// When there are more than a manifest has room for, or one is there twice.
    pub fn of(first: SecretKey, others: Vec<SecretKey>) -> Result<Self, Error> {
        let signer = Self { first, others, single_key: false };
        let keys: Vec<_> = signer.keys().collect();
        if keys.len() > SIGNATURES_PER_MANIFEST {
            return Err(Error::TooManyKeys(keys.len()));
        }
        let twice = keys.iter().enumerate().find(|(n, key)| keys[..*n].contains(key));
        match twice {
            Some((_, key)) => Err(Error::SameKeyTwice(*key)),
            None => Ok(signer),
        }
    }

    /// Whether the node's own key signs.
    #[must_use]
    pub const fn is_single_key(&self) -> bool {
        self.single_key
    }

    /// The keys that sign.
    pub fn keys(&self) -> impl Iterator<Item = PeerId> {
        std::iter::once(&self.first).chain(&self.others).map(SecretKey::peer_id)
    }

    /// Makes and signs the manifest of `image` at `now`, to be used for `lifetime` seconds.
    ///
    /// # Errors
    /// When the image cannot be described within the format's limits.
    pub fn make(
        &self,
        image: &Image,
        manifest_version: u64,
        now: UnixTime,
        lifetime: u64,
    ) -> Result<Manifest, Error> {
        let (channel, arch) = (Channel::new(&image.id.channel)?, Arch::canonical(&image.id.arch)?);
        let version = Version::new(&image.version)?;
        let artifacts: Vec<_> = image.artifacts.iter().filter_map(draft).collect();
        let cmdline = cmdline(image).map_err(Error::Cmdline)?;
        let expires_at = now.plus(lifetime);
        let draft = Draft {
            manifest_version,
            channel: &channel,
            arch: &arch,
            created_at: now,
            expires_at,
            image_version: Some(&version),
            artifacts: &artifacts,
            cmdline: cmdline.as_deref(),
        };
        let mut buffer = vec![0; MANIFEST_BUFFER];
        let envelope = Envelope::encode(&draft, &mut buffer)?;
        let keys = std::iter::once(&self.first).chain(&self.others);
        let signatures: Vec<_> = keys.map(|key| envelope.sign(key)).collect();
        let mut out = vec![0; MANIFEST_WORK];
        let document = Bytes::copy_from_slice(encode_document(&envelope, &signatures, &mut out)?);
        let sha256 = *Digest::of(&document).as_octets();
        Ok(Manifest { document, sha256, version: manifest_version, expires_at: expires_at.0 })
    }
}

fn draft(artifact: &Artifact) -> Option<ArtifactDraft<'_>> {
    let name = match artifact.role {
        Role::Kernel => Name::Kernel,
        Role::Initramfs => Name::Initramfs,
        Role::Rootfs => Name::Rootfs,
        Role::DeviceTree => Name::parse(&artifact.name)?,
        Role::Cmdline => return None,
    };
    let digest = Digest::from_octets(artifact.sha256);
    Some(ArtifactDraft { name, digest, size: artifact.size, path: Some(&artifact.name), urls: &[] })
}

/// The command line of the image: its file without the line end. One that the format cannot hold is left out with a
/// warning: clients choose their own then.
fn cmdline(image: &Image) -> io::Result<Option<String>> {
    let Some(artifact) = image.artifacts.iter().find(|a| a.role == Role::Cmdline) else {
        return Ok(None);
    };
    let mut octets = vec![0; usize::try_from(artifact.size).unwrap_or(0)];
    artifact.file.read_exact_at(&mut octets, 0)?;
    let line = octets.trim_ascii();
    if line.len() > CMDLINE_MAX || !line.iter().all(|octet| matches!(octet, b' '..=b'~')) {
        tracing::warn!(
            "{}/cmdline: left out of the manifest: must be one line of printable ASCII, at most {CMDLINE_MAX} octets",
            image.id
        );
        return Ok(None);
    }
    Ok(std::str::from_utf8(line).ok().filter(|line| !line.is_empty()).map(str::to_owned))
}

/// A digest over what a manifest says of the image, without its times: the same for the same release.
#[must_use]
pub fn content(image: &Image) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |octets: &[u8]| {
        hash.update((octets.len() as u64).to_be_bytes());
        hash.update(octets);
    };
    add(image.version.as_bytes());
    for artifact in &image.artifacts {
        add(artifact.name.as_bytes());
        add(&artifact.sha256);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifacts::hash::Cache;
    use crate::artifacts::scan::scan;
    use phase_core::wire::manifest::{Policy, verify};
    use phase_core::wire::trust::Trust;
    use std::fs;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn image(files: &[(&str, &str)]) -> (tempfile::TempDir, Image) {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("stable/arm64");
        fs::create_dir_all(directory.join("dtbs/vendor")).unwrap();
        for (name, content) in files {
            fs::write(directory.join(name), content).unwrap();
        }
        let seen = scan(root.path()).unwrap();
        let image = Cache::default().hash_image(&seen.images[0]).unwrap();
        (root, image)
    }

    const WHOLE: [(&str, &str); 5] = [
        ("vmlinuz", "kernel"),
        ("initramfs.img", "initramfs"),
        ("cmdline", "console=ttyS0 quiet\n"),
        ("version", "2026.1\n"),
        ("dtbs/vendor/board.dtb", "tree"),
    ];

    fn state() -> (tempfile::TempDir, StateDir) {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::open(parent.path().join("state")).unwrap();
        (parent, state)
    }

    fn check(document: &[u8], trust: &str) -> Result<usize, manifest::Error> {
        let (channel, arch) = (Channel::new("stable").unwrap(), Arch::canonical("arm64").unwrap());
        let trust = Trust::decode(trust.as_bytes()).unwrap();
        let policy = Policy {
            channel: &channel,
            arch: &arch,
            trust: &trust,
            floor: 0,
            now: NOW,
            digest: None,
            version: None,
            insecure: false,
        };
        let mut buffer = vec![0; MANIFEST_BUFFER];
        let verified = verify(document, &mut buffer, &policy)?;
        assert_eq!(
            verified.manifest.cmdline.map(|c| c.to_string()).as_deref(),
            Some("console=ttyS0 quiet")
        );
        let names: Vec<_> = verified.manifest.artifacts().map(|a| a.name.to_string()).collect();
        assert_eq!(names, ["kernel", "initramfs", "dtbs/vendor/board.dtb"]);
        Ok(verified.signed_by.len())
    }

    #[test]
    fn o18_without_release_keys_the_node_signs_and_its_clients_verify() {
        let (_parent, state) = state();
        let node = key::generate().unwrap();
        let signer = Signer::load(&state, &node).unwrap();
        assert!(signer.is_single_key());
        let (_root, image) = image(&WHOLE);
        let manifest = signer.make(&image, 7, NOW, LIFETIME).unwrap();
        assert_eq!(check(&manifest.document, &format!("provider {}", node.peer_id())), Ok(1));
        let other = key::generate().unwrap();
        assert!(check(&manifest.document, &format!("provider {}", other.peer_id())).is_err());
    }

    #[test]
    fn with_release_keys_all_of_them_sign_and_the_node_does_not() {
        let (_parent, state) = state();
        let node = key::generate().unwrap();
        let release = [key::generate().unwrap(), key::generate().unwrap()];
        for (name, secret) in ["a", "b"].into_iter().zip(&release) {
            key::store(&key::release_file(&state, name).unwrap(), secret).unwrap();
        }
        let signer = Signer::load(&state, &node).unwrap();
        assert!(!signer.is_single_key());
        let (_root, image) = image(&WHOLE);
        let document = signer.make(&image, 7, NOW, LIFETIME).unwrap().document;
        let [a, b] = release.each_ref().map(|secret| secret.peer_id().key_id().to_string());
        assert_eq!(
            check(&document, &format!("release {a}\nrelease {b}\nthreshold stable 2")),
            Ok(2)
        );
        assert!(check(&document, &format!("provider {}", node.peer_id())).is_err());
    }

    #[test]
    fn a_command_line_that_cannot_be_signed_is_left_out() {
        let signer = Signer { first: key::generate().unwrap(), others: vec![], single_key: true };
        for text in ["console=\u{1b}[2J", "\u{fc}ber"] {
            let (_root, image) = image(&[("vmlinuz", "k"), ("cmdline", text)]);
            let document = signer.make(&image, 1, NOW, LIFETIME).unwrap().document;
            assert!(!document.windows(7).any(|w| w == b"cmdline"), "{text:?}");
        }
    }

    #[test]
    fn the_content_digest_is_of_the_release_alone() {
        let (_a, first) = image(&WHOLE);
        let (_b, same) = image(&WHOLE);
        assert_eq!(content(&first), content(&same));
        let mut changed = WHOLE;
        changed[3].1 = "2026.2";
        assert_ne!(content(&first), content(&image(&changed).1));
        changed = WHOLE;
        changed[0].1 = "other";
        assert_ne!(content(&first), content(&image(&changed).1));
    }
}
