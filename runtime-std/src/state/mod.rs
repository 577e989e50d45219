//! What survives a restart: keys and the state file, in one directory that one daemon uses at a time.
//!
//! ```text
//! STATE/identity.key      the node's key, 0600
//!       release/NAME.key  release keys, 0600; with any, manifests are signed with all of them and not the node's
//!       state.bin         sequence number, manifest versions, names changed after conflicts
//!       dht.bin           peers of the DHT that the last run knew
//!       lock              held by the running daemon
//!       control.sock      where it is asked (`serve::control`)
//! ```

pub mod key;
pub mod saved;

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be made, read or written.
    #[error(
        "cannot use {path}: {source}; it must be a directory this user may write to, or give --state-dir"
    )]
    Unusable {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another daemon uses it: two would give out the same sequence numbers.
    #[error(
        "{0} is used by a running phase-provider; stop that one, or give --state-dir another directory"
    )]
    Locked(PathBuf),
}

/// The state directory.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

/// Holds the directory for one daemon; given back when dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the lock lasts as long as the file is open")] File);

impl StateDir {
    /// The directory at `path`, made (0700) if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(path: PathBuf) -> Result<Self, Error> {
        match DirBuilder::new().recursive(true).mode(0o700).create(&path) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(Error::Unusable { path, source }),
        }
    }

    /// The directory at `path`, which must be there for there to be anything in it.
    #[must_use]
    pub const fn existing(path: PathBuf) -> Self {
        Self(path)
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The node's key.
    #[must_use]
    pub fn identity_file(&self) -> PathBuf {
        self.0.join("identity.key")
    }

    /// The directory of release keys.
    #[must_use]
    pub fn release_dir(&self) -> PathBuf {
        self.0.join("release")
    }

    /// The state file.
    #[must_use]
    pub fn saved_file(&self) -> PathBuf {
        self.0.join("state.bin")
    }

    /// The peers of the DHT that the last run knew.
    #[must_use]
    pub fn dht_file(&self) -> PathBuf {
        self.0.join("dht.bin")
    }

    /// The socket of the running daemon.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    /// Takes the directory for this process.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it.
    pub fn lock(&self) -> Result<Lock, Error> {
        let path = self.0.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|source| Error::Unusable { path: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => Err(Error::Locked(self.0.clone())),
            Err(TryLockError::Error(source)) => Err(Error::Unusable { path, source }),
        }
    }
}

/// Replaces the file at `path` by `content`, readable by its owner alone, so that after a crash it holds the old
/// content or the new, whole.
///
/// # Errors
/// As the file system says; the old content is untouched then.
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let file = write_beside(path, content)?;
    file.persist(path).map_err(|error| error.error)?;
    sync_directory(path)
}

/// As [`replace_file`], but fails with `AlreadyExists` if there is a file.
///
/// # Errors
/// As the file system says.
pub fn create_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let file = write_beside(path, content)?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    sync_directory(path)
}

/// As [`replace_file`], but readable by everybody.
///
/// # Errors
/// As the file system says; the old content is untouched then.
pub fn replace_public_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let file = write_beside(path, content)?;
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.persist(path).map_err(|error| error.error)?;
    sync_directory(path)
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn write_beside(path: &Path, content: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    // Temporary files are made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(directory_of(path))?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn one_directory_serves_one_daemon_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::open(parent.path().join("a/b")).unwrap();
        assert_eq!(fs::metadata(state.path()).unwrap().permissions().mode() & 0o777, 0o700);
        let lock = state.lock().unwrap();
        assert!(
            state.lock().unwrap_err().to_string().contains("is used by a running phase-provider")
        );
        drop(lock);
        state.lock().unwrap();
    }

    #[test]
    fn files_are_replaced_whole_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        create_file(&path, b"one").unwrap();
        assert_eq!(create_file(&path, b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        replace_file(&path, b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let error = StateDir::open("/proc/phase".into()).unwrap_err().to_string();
        assert!(error.starts_with("cannot use /proc/phase: "), "{error}");
    }
}
