//! An artifact on its way, in memory or in a hidden file: resumable, and given away only whole and verified. Its octets
//! are in memory once at most.
//! Not here: what is whole and when it goes on (`phase_core::fetch::part`), where the octets come from.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use phase_core::fetch::output::hidden_name;
use phase_core::fetch::part::{Expected, Flaw, Tally};

/// Octets read at a time when a file is hashed.
const BLOCK: usize = 256 * 1024;

/// Why a part is not the artifact, or cannot be kept.
#[derive(Debug)]
pub enum Error {
    /// The file system failed.
    Io(io::Error),
    /// There is no memory for it.
    Memory {
        /// Octets wanted.
        want: u64,
    },
    /// It is another one, or not all of it is here.
    Flaw(Flaw),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot write: {error}"),
            Self::Memory { want } => {
                write!(f, "there are no {want} octets of memory for it")
            }
            Self::Flaw(flaw) => flaw.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Where the octets are.
#[derive(Debug)]
enum Store {
    Memory(Vec<u8>),
    File { file: File, path: PathBuf },
}

/// An artifact being fetched.
#[derive(Debug)]
pub struct Part {
    store: Store,
    tally: Tally,
}

impl Part {
    /// A part in memory, with room for the whole artifact and not more.
    ///
    /// # Errors
    /// `Memory`.
    pub fn in_memory(expected: Expected) -> Result<Self, Error> {
        let mut octets = Vec::new();
        let want = expected.size;
        let reserved = usize::try_from(want).map(|size| octets.try_reserve_exact(size));
        if !matches!(reserved, Ok(Ok(()))) {
            return Err(Error::Memory { want });
        }
        Ok(Self { store: Store::Memory(octets), tally: Tally::new(expected) })
    }

    /// The part of the artifact in `directory`, with what an earlier try left there.
    ///
    /// # Errors
    /// `Io`.
    pub fn in_directory(directory: &Path, expected: Expected) -> Result<Self, Error> {
        let path = directory.join(hidden_name(&expected.digest).to_string());
        // A link planted under this name must not lead the writing elsewhere.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(&path)?;
        let tally = tally(expected, &mut file)?;
        let mut part = Self { store: Store::File { file, path }, tally };
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
        match &mut self.store {
            Store::Memory(all) => all.extend_from_slice(octets),
            Store::File { file, .. } => file.write_all(octets)?,
        }
        self.tally.count(octets);
        Ok(())
    }

    /// Throws away what is here.
    ///
    /// # Errors
    /// What the file system says.
    pub fn restart(&mut self) -> io::Result<()> {
        match &mut self.store {
            Store::Memory(all) => all.clear(),
            Store::File { file, .. } => {
                file.set_len(0)?;
                file.rewind()?;
            }
        }
        self.tally.restart();
        Ok(())
    }

    /// Checks length and digest.
    ///
    /// # Errors
    /// `Flaw`; octets with another digest were thrown away.
    pub fn verify(&mut self) -> Result<(), Error> {
        let verdict = self.tally.verify();
        if let Err(Flaw::Digest { .. }) = verdict {
            self.restart()?;
        }
        verdict.map_err(Error::Flaw)
    }

    /// The verified octets of a part in memory; of a file, none.
    ///
    /// # Errors
    /// As [`Part::verify`].
    pub fn into_octets(mut self) -> Result<Vec<u8>, Error> {
        self.verify()?;
        match self.store {
            Store::Memory(octets) => Ok(octets),
            Store::File { .. } => Ok(Vec::new()),
        }
    }

    /// Makes a verified file durable and gives it its name, in one step; memory is written there.
    ///
    /// # Errors
    /// As [`Part::verify`].
    pub fn publish(mut self, name: &Path) -> Result<(), Error> {
        self.verify()?;
        match self.store {
            Store::Memory(octets) => std::fs::write(name, octets)?,
            Store::File { file, path } => {
                file.sync_all()?;
                std::fs::rename(path, name)?;
            }
        }
        Ok(())
    }

    /// Throws it away, the file too.
    pub fn discard(self) {
        if let Store::File { path, .. } = self.store {
            // What cannot be removed stays hidden, under the digest that it must still match.
            let _ = std::fs::remove_file(path);
        }
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
        let count = file.read(&mut block)?;
        let Some(octets) = block.get(..count).filter(|octets| !octets.is_empty()) else {
            return Ok(tally);
        };
        tally.count(octets);
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
    fn a_part_in_memory_has_exactly_the_room_it_needs() {
        let mut part = Part::in_memory(expected(b"kernel")).unwrap();
        part.append(b"ker").unwrap();
        assert_eq!((part.tally().here(), part.tally().missing()), (3, 3));
        assert!(matches!(part.verify(), Err(Error::Flaw(Flaw::Short { have: 3, want: 6 }))));
        part.append(b"nel").unwrap();
        let octets = part.into_octets().unwrap();
        assert_eq!((octets.as_slice(), octets.capacity()), (&b"kernel"[..], 6));
    }

    #[test]
    fn memory_that_is_not_there_is_told_in_octets() {
        let want = Expected { size: 1 << 60, digest: Digest::of(b"") };
        let error = Part::in_memory(want).unwrap_err().to_string();
        assert_eq!(error, "there are no 1152921504606846976 octets of memory for it");
    }

    #[test]
    fn a_file_becomes_visible_only_when_published() {
        let directory = tempfile::tempdir().unwrap();
        let want = expected(b"kernel");
        let mut part = Part::in_directory(directory.path(), want).unwrap();
        part.append(b"ker").unwrap();
        part.append(b"nel").unwrap();
        let name = directory.path().join("kernel");
        assert!(!is_complete(&name, want).unwrap());
        part.publish(&name).unwrap();
        assert!(is_complete(&name, want).unwrap());
        assert_eq!(names(directory.path()), ["kernel"]);
    }

    #[test]
    fn a_file_goes_on_where_the_last_try_ended() {
        let directory = tempfile::tempdir().unwrap();
        let want = expected(b"kernel");
        Part::in_directory(directory.path(), want).unwrap().append(b"ker").unwrap();
        let mut part = Part::in_directory(directory.path(), want).unwrap();
        assert_eq!((part.tally().here(), part.tally().missing()), (3, 3));
        part.append(b"nel").unwrap();
        part.verify().unwrap();
    }

    #[test]
    fn other_content_is_thrown_away() {
        let directory = tempfile::tempdir().unwrap();
        let want = expected(b"kernel");
        for mut part in
            [Part::in_memory(want).unwrap(), Part::in_directory(directory.path(), want).unwrap()]
        {
            part.append(b"KERNEL").unwrap();
            let error = part.verify().unwrap_err();
            assert!(matches!(error, Error::Flaw(Flaw::Digest { .. })), "{error}");
            assert_eq!(part.tally().here(), 0);
            part.append(b"kernel").unwrap();
            part.verify().unwrap();
        }
    }

    #[test]
    fn an_overlong_rest_of_an_earlier_try_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let want = expected(b"kernel");
        std::fs::write(directory.path().join(hidden_name(&want.digest).to_string()), b"kernel-")
            .unwrap();
        assert_eq!(Part::in_directory(directory.path(), want).unwrap().tally().here(), 0);
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
        assert!(Part::in_directory(directory.path(), want).is_err());
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    }
}
