//! An artifact on its way: a hidden file that is hashed while it grows, can be resumed, and becomes visible
//! only whole and verified.
//!
//! The file's name holds the wanted digest, so that what one provider began another can finish, in this run
//! or the next. Not here: where the octets come from.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use phase_core::wire::digest::Digest;
use sha2::{Digest as _, Sha256};

/// Octets read at a time when a file is hashed.
const BLOCK: usize = 1024 * 1024;

/// What an artifact must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Octets.
    pub size: u64,
    /// SHA-256.
    pub digest: Digest,
}

/// Why a complete part is not the artifact.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Fewer octets than wanted.
    #[error("{have} of {want} octets are here")]
    Short {
        /// Octets here.
        have: u64,
        /// Octets wanted.
        want: u64,
    },
    /// Other content.
    #[error("the content is {have}, the manifest says {want}")]
    Digest {
        /// What was computed.
        have: Digest,
        /// What was signed.
        want: Digest,
    },
}

/// The hidden name of what will be `digest`.
fn hidden_name(digest: &Digest) -> String {
    let text = digest.to_string();
    format!(".{}.part", text.strip_prefix("sha256:").unwrap_or(&text))
}

/// An artifact being fetched.
#[derive(Debug)]
pub struct Part {
    path: PathBuf,
    file: File,
    hash: Sha256,
    written: u64,
    expected: Expected,
}

impl Part {
    /// Opens the part of the artifact in `directory`, with what an earlier try left there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(directory: &Path, expected: Expected) -> io::Result<Self> {
        let path = directory.join(hidden_name(&expected.digest));
        // A link planted under this name must not lead the writing elsewhere.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC)
            .open(&path)?;
        let mut part = Self { path, file, hash: Sha256::new(), written: 0, expected };
        part.written = hash_into(&mut part.hash, &mut part.file)?;
        if part.written > expected.size {
            part.restart()?;
        }
        Ok(part)
    }

    /// Octets that are here: the offset to resume from.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Octets still to come.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        self.expected.size.saturating_sub(self.written)
    }

    /// Adds octets. The caller offers no more than [`Part::missing`].
    ///
    /// # Errors
    /// What the file system says, a full disk among it.
    pub fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        self.file.write_all(octets)?;
        self.hash.update(octets);
        self.written += octets.len() as u64;
        Ok(())
    }

    /// Throws away what is here.
    ///
    /// # Errors
    /// What the file system says.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.hash = Sha256::new();
        self.written = 0;
        Ok(())
    }

    /// Checks length and digest, and makes the octets durable.
    ///
    /// # Errors
    /// `Short`: fetch on. `Digest`: the octets are thrown away; some source lied.
    pub fn complete(mut self) -> Result<Complete, Error> {
        let Expected { size, digest } = self.expected;
        if self.written != size {
            return Err(Error::Short { have: self.written, want: size });
        }
        let have = Digest::from_octets(self.hash.clone().finalize().into());
        if have != digest {
            self.restart()?;
            self.discard();
            return Err(Error::Digest { have, want: digest });
        }
        self.file.sync_all()?;
        Ok(Complete { path: self.path })
    }

    /// Removes the file.
    pub fn discard(self) {
        // What cannot be removed stays hidden, under the digest that it must still match.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A verified artifact under its hidden name.
#[derive(Debug)]
pub struct Complete {
    path: PathBuf,
}

impl Complete {
    /// Gives it its name, in one step.
    ///
    /// # Errors
    /// What the file system says.
    pub fn publish(self, name: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, name)
    }
}

/// Whether the file at `path` is the artifact; `false` where there is none.
///
/// # Errors
/// What the file system says, except that there is no such file.
pub fn is_complete(path: &Path, expected: Expected) -> io::Result<bool> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() != expected.size {
        return Ok(false);
    }
    let mut hash = Sha256::new();
    hash_into(&mut hash, &mut file)?;
    Ok(Digest::from_octets(hash.finalize().into()) == expected.digest)
}

/// Hashes from the file's position to its end; the octets that were read.
fn hash_into(hash: &mut Sha256, file: &mut File) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut total = 0;
    loop {
        match file.read(&mut block)? {
            0 => return Ok(total),
            count => {
                hash.update(&block[..count]);
                total += count as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(octets: &[u8]) -> Expected {
        Expected { size: octets.len() as u64, digest: Digest::of(octets) }
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_part_becomes_visible_only_when_published() {
        let directory = tempfile::tempdir().unwrap();
        let want = expected(b"kernel");
        let mut part = Part::open(directory.path(), want).unwrap();
        part.append(b"ker").unwrap();
        part.append(b"nel").unwrap();
        let complete = part.complete().unwrap();
        let name = directory.path().join("kernel");
        assert!(!is_complete(&name, want).unwrap());
        complete.publish(&name).unwrap();
        assert!(is_complete(&name, want).unwrap());
        assert_eq!(names(directory.path()), ["kernel"]);
    }

    #[test]
    fn a_part_goes_on_where_the_last_try_ended() {
        let directory = tempfile::tempdir().unwrap();
        let want = expected(b"kernel");
        let mut part = Part::open(directory.path(), want).unwrap();
        part.append(b"ker").unwrap();
        drop(part);
        let mut part = Part::open(directory.path(), want).unwrap();
        assert_eq!((part.written(), part.missing()), (3, 3));
        part.append(b"nel").unwrap();
        part.complete().unwrap();
    }

    #[test]
    fn a_short_part_stays_for_the_next_try() {
        let directory = tempfile::tempdir().unwrap();
        let mut part = Part::open(directory.path(), expected(b"kernel")).unwrap();
        part.append(b"ker").unwrap();
        assert!(matches!(part.complete(), Err(Error::Short { have: 3, want: 6 })));
        assert_eq!(names(directory.path()).len(), 1);
    }

    #[test]
    fn other_content_is_thrown_away() {
        let directory = tempfile::tempdir().unwrap();
        let mut part = Part::open(directory.path(), expected(b"kernel")).unwrap();
        part.append(b"KERNEL").unwrap();
        let error = part.complete().unwrap_err();
        assert!(matches!(error, Error::Digest { .. }), "{error}");
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn an_overlong_rest_of_an_earlier_try_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let want = expected(b"kernel");
        std::fs::write(directory.path().join(hidden_name(&want.digest)), b"kernel-").unwrap();
        assert_eq!(Part::open(directory.path(), want).unwrap().written(), 0);
    }

    #[test]
    fn a_planted_link_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let want = expected(b"kernel");
        let victim = directory.path().join("victim");
        std::fs::write(&victim, b"precious").unwrap();
        std::os::unix::fs::symlink(&victim, directory.path().join(hidden_name(&want.digest)))
            .unwrap();
        assert!(Part::open(directory.path(), want).is_err());
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    }
}
