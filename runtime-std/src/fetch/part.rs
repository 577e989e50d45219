//! An artifact on its way: a hidden file that can be resumed, and becomes visible only whole and verified.
//! Not here: what is whole and when it goes on (`phase_core::fetch::part`), where the octets come from.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use phase_core::fetch::output::hidden_name;
use phase_core::fetch::part::{Expected, Flaw, Tally};

/// Octets read at a time when a file is hashed.
const BLOCK: usize = 1024 * 1024;

/// Why a complete part is not the artifact.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is another one, or not all of it is here.
    #[error(transparent)]
    Flaw(#[from] Flaw),
}

/// An artifact being fetched.
#[derive(Debug)]
pub struct Part {
    path: PathBuf,
    file: File,
    tally: Tally,
}

impl Part {
    /// Opens the part of the artifact in `directory`, with what an earlier try left there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(directory: &Path, expected: Expected) -> io::Result<Self> {
        let path = directory.join(hidden_name(&expected.digest).to_string());
        // A link planted under this name must not lead the writing elsewhere.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC)
            .open(&path)?;
        let tally = tally(expected, &mut file)?;
        let mut part = Self { path, file, tally };
        if part.tally.is_too_long() {
            part.restart()?;
        }
        Ok(part)
    }

    /// What is here of it.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Adds octets. The caller offers no more than are missing.
    ///
    /// # Errors
    /// What the file system says, a full disk among it.
    pub fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        self.file.write_all(octets)?;
        self.tally.count(octets);
        Ok(())
    }

    /// Throws away what is here.
    ///
    /// # Errors
    /// What the file system says.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.tally.restart();
        Ok(())
    }

    /// Checks length and digest, and makes the octets durable.
    ///
    /// # Errors
    /// `Flaw`; octets with another digest are thrown away.
    pub fn complete(mut self) -> Result<Complete, Error> {
        if let Err(flaw) = self.tally.verify() {
            if let Flaw::Digest { .. } = flaw {
                self.restart()?;
                self.discard();
            }
            return Err(flaw.into());
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
    Ok(tally(expected, &mut file)?.verify().is_ok())
}

/// Counts what is in a file.
fn tally(expected: Expected, file: &mut File) -> io::Result<Tally> {
    let (mut tally, mut block) = (Tally::new(expected), vec![0; BLOCK]);
    loop {
        match file.read(&mut block)? {
            0 => return Ok(tally),
            count => tally.count(&block[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use phase_core::wire::digest::Digest;

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
        assert_eq!((part.tally().here(), part.tally().missing()), (3, 3));
        part.append(b"nel").unwrap();
        part.complete().unwrap();
    }

    #[test]
    fn a_short_part_stays_for_the_next_try() {
        let directory = tempfile::tempdir().unwrap();
        let mut part = Part::open(directory.path(), expected(b"kernel")).unwrap();
        part.append(b"ker").unwrap();
        assert!(matches!(part.complete(), Err(Error::Flaw(Flaw::Short { have: 3, want: 6 }))));
        assert_eq!(names(directory.path()).len(), 1);
    }

    #[test]
    fn other_content_is_thrown_away() {
        let directory = tempfile::tempdir().unwrap();
        let mut part = Part::open(directory.path(), expected(b"kernel")).unwrap();
        part.append(b"KERNEL").unwrap();
        let error = part.complete().unwrap_err();
        assert!(matches!(error, Error::Flaw(Flaw::Digest { .. })), "{error}");
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn an_overlong_rest_of_an_earlier_try_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let want = expected(b"kernel");
        std::fs::write(directory.path().join(hidden_name(&want.digest).to_string()), b"kernel-")
            .unwrap();
        assert_eq!(Part::open(directory.path(), want).unwrap().tally().here(), 0);
    }

    #[test]
    fn a_planted_link_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let want = expected(b"kernel");
        let victim = directory.path().join("victim");
        std::fs::write(&victim, b"precious").unwrap();
        std::os::unix::fs::symlink(
            &victim,
            directory.path().join(hidden_name(&want.digest).to_string()),
        )
        .unwrap();
        assert!(Part::open(directory.path(), want).is_err());
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    }
}
