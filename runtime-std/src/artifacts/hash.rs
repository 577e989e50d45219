//! SHA-256 of files, streamed, through the descriptor they are served from, remembered until a file changes.
//! Blocking: call it from a blocking thread only.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::OFlag;
use sha2::{Digest as _, Sha256};

use super::scan::{FoundFile, FoundImage};
use super::{Artifact, Fingerprint, Image};

/// Octets read at a time.
const CHUNK: usize = 256 * 1024;

/// Why an image could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is not what the scan saw, or changed while it was read: look again later.
    #[error("{path} changes while it is read")]
    Changing {
        /// The file.
        path: PathBuf,
    },
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Digests of files by path and fingerprint.
#[derive(Debug, Default)]
pub struct Cache {
    digests: BTreeMap<(PathBuf, Fingerprint), [u8; 32]>,
}

impl Cache {
    /// Opens and hashes every file of `found`. Files whose fingerprint is known are opened but not read.
    ///
    /// # Errors
    /// When a file cannot be read or does not hold still; nothing of the image is usable then.
    pub fn hash_image(&mut self, found: &FoundImage) -> Result<Image, Error> {
        let artifacts =
            found.files.iter().map(|file| self.hash_file(file)).collect::<Result<_, _>>()?;
        Ok(Image {
            id: found.id.clone(),
            directory: found.directory.clone(),
            version: found.version.clone(),
            artifacts,
        })
    }

    /// Forgets every digest whose file is not among `live`.
    pub fn retain<'a>(&mut self, live: impl Iterator<Item = &'a FoundFile>) {
        let live: Vec<_> = live.map(|file| (&file.path, file.fingerprint)).collect();
        self.digests.retain(|(path, print), _| live.contains(&(path, *print)));
    }

    fn hash_file(&mut self, found: &FoundFile) -> Result<Artifact, Error> {
        let unreadable = |source| Error::Unreadable { path: found.path.clone(), source };
        let changing = || Error::Changing { path: found.path.clone() };
        let file = open(&found.path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() || Fingerprint::of(&metadata) != found.fingerprint {
            return Err(changing());
        }
        let key = (found.path.clone(), found.fingerprint);
        let sha256 = match self.digests.get(&key) {
            Some(known) => *known,
            None => {
                digest(&file, found.fingerprint.size).map_err(unreadable)?.ok_or_else(changing)?
            }
        };
        let after = file.metadata().map_err(unreadable)?;
        if Fingerprint::of(&after) != found.fingerprint {
            return Err(changing());
        }
        self.digests.insert(key, sha256);
        Ok(Artifact {
            role: found.role,
            name: found.name.clone(),
            size: found.fingerprint.size,
            sha256,
            file: Arc::new(file),
            fingerprint: found.fingerprint,
        })
    }
}

/// Opens a file without following a link in its last component and without waiting for a pipe's writer.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

/// The digest of exactly `size` octets; `None` when the file turns out shorter or longer.
fn digest(mut file: &File, size: u64) -> io::Result<Option<[u8; 32]>> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut total = 0_u64;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        total += count as u64;
        if total > size {
            return Ok(None);
        }
        hash.update(&buffer[..count]);
    }
    Ok((total == size).then(|| hash.finalize().into()))
}
