//! The output directory: one image, whole.
//! Not here: the names and what they promise (`phase_core::fetch::output`), where the files come from.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use phase_core::fetch::output::{CMDLINE, DTBS, MANIFEST, NAMES, is_hidden_name};
use phase_core::fetch::part::Expected;

use super::part::{Complete, Part, is_complete};

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// At which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Somebody else writes there.
    #[error("{} is in use by another phase-fetch; wait for it or choose another --output", .0.display())]
    Busy(PathBuf),
    /// Too little room.
    #[error("{} has room for {have} octets, {want} are needed; free some or choose another --output", path.display())]
    Full {
        /// The directory.
        path: PathBuf,
        /// Octets free.
        have: u64,
        /// Octets needed.
        want: u64,
    },
}

/// Adds the path to an I/O error.
fn at(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
    move |source| Error::Io { path: path.to_owned(), source }
}

/// The directory, locked for as long as this value lives.
#[derive(Debug)]
pub struct Output {
    directory: PathBuf,
    lock: File,
}

/// One file of the image, ready for its name.
#[derive(Debug)]
pub enum Ready {
    /// Fetched and verified.
    Fetched(Complete),
    /// There already, and verified again.
    Kept,
    /// The same octets as the fetched file of this name.
    Twin(String),
}

impl Output {
    /// Makes the directory where it is missing and locks it.
    ///
    /// # Errors
    /// `Io`, `Busy`.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        fs::create_dir_all(directory).map_err(at(directory))?;
        let lock = File::open(directory).map_err(at(directory))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { directory: directory.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(Error::Busy(directory.to_owned())),
            Err(TryLockError::Error(source)) => Err(at(directory)(source)),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Checks that `want` octets fit.
    ///
    /// # Errors
    /// `Full`, `Io`.
    pub fn require_room(&self, want: u64) -> Result<(), Error> {
        let stat = nix::sys::statvfs::statvfs(&self.directory)
            .map_err(|errno| at(&self.directory)(errno.into()))?;
        // The types differ between systems.
        #[expect(clippy::useless_conversion, reason = "u32 on some systems")]
        let have =
            u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size()));
        if want > have {
            return Err(Error::Full { path: self.directory.clone(), have, want });
        }
        Ok(())
    }

    /// Whether `name` is here already, verified octet by octet.
    ///
    /// # Errors
    /// `Io`.
    pub fn has(&self, name: &str, expected: Expected) -> Result<bool, Error> {
        let path = self.directory.join(name);
        is_complete(&path, expected).map_err(at(&path))
    }

    /// The part of an artifact, with what an earlier try left of it.
    ///
    /// # Errors
    /// `Io`.
    pub fn part(&self, expected: Expected) -> Result<Part, Error> {
        Part::open(&self.directory, expected).map_err(at(&self.directory))
    }

    /// Gives every file its name, removes what belonged to another image, and puts the manifest back last.
    ///
    /// # Errors
    /// `Io`: the directory then has no manifest, and is no image until a next run.
    pub fn commit(
        &self,
        files: Vec<(String, Ready)>,
        cmdline: Option<&str>,
        manifest: &[u8],
    ) -> Result<(), Error> {
        let manifest_path = self.directory.join(MANIFEST);
        remove(&manifest_path)?;
        let mut keep: BTreeSet<String> = files.iter().map(|(name, _)| name.clone()).collect();
        if cmdline.is_some() {
            keep.insert(CMDLINE.into());
        }
        self.remove_others(&keep)?;
        let mut twins = Vec::new();
        for (name, ready) in files {
            match ready {
                Ready::Fetched(complete) => {
                    let path = self.place(&name)?;
                    complete.publish(&path).map_err(at(&path))?;
                }
                Ready::Kept => {}
                Ready::Twin(of) => twins.push((name, of)),
            }
        }
        for (name, of) in twins {
            let path = self.directory.join(of);
            let mut octets = File::open(&path).map_err(at(&path))?;
            self.write(&name, &mut octets)?;
        }
        if let Some(cmdline) = cmdline {
            self.write(CMDLINE, &mut cmdline.as_bytes())?;
        }
        self.write(MANIFEST, &mut &manifest[..])?;
        self.remove_parts()?;
        self.lock.sync_all().map_err(at(&self.directory))
    }

    /// The path of a name, whose directory is made.
    fn place(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.directory.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        Ok(path)
    }

    fn write(&self, name: &str, octets: &mut dyn io::Read) -> Result<(), Error> {
        let path = self.place(name)?;
        let mut file =
            tempfile::NamedTempFile::new_in(&self.directory).map_err(at(&self.directory))?;
        let written = io::copy(octets, &mut file).and_then(|_| file.as_file().sync_all());
        written.map_err(at(&path))?;
        readable(file.as_file()).map_err(at(&path))?;
        file.persist(&path).map_err(|error| at(&path)(error.error))?;
        Ok(())
    }

    /// Removes the files of an image that are not in `keep`.
    fn remove_others(&self, keep: &BTreeSet<String>) -> Result<(), Error> {
        for name in NAMES.iter().filter(|name| !keep.contains(**name)) {
            remove(&self.directory.join(name))?;
        }
        self.remove_others_below(DTBS, keep)
    }

    /// The same for every file below a directory of the image.
    fn remove_others_below(&self, name: &str, keep: &BTreeSet<String>) -> Result<(), Error> {
        let directory = self.directory.join(name);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(at(&directory)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(at(&directory))?;
            let name = format!("{name}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().map_err(at(&directory))?.is_dir() {
                self.remove_others_below(&name, keep)?;
            } else if !keep.contains(&name) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes what earlier tries for other images left.
    fn remove_parts(&self) -> Result<(), Error> {
        for entry in fs::read_dir(&self.directory).map_err(at(&self.directory))? {
            let entry = entry.map_err(at(&self.directory))?;
            if entry.file_name().to_str().is_some_and(is_hidden_name) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// As `umask` would have made it; temporary files are born private.
fn readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phase_core::wire::digest::Digest;

    fn fetched(output: &Output, octets: &[u8]) -> Ready {
        let mut part = output.part(expected(octets)).unwrap();
        part.append(octets).unwrap();
        Ready::Fetched(part.complete().unwrap())
    }

    fn expected(octets: &[u8]) -> Expected {
        Expected { size: octets.len() as u64, digest: Digest::of(octets) }
    }

    fn files(directory: &Path) -> Vec<String> {
        let mut names = Vec::new();
        let mut open = vec![directory.to_owned()];
        while let Some(next) = open.pop() {
            for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
                if entry.path().is_dir() {
                    open.push(entry.path());
                } else {
                    names.push(
                        entry.path().strip_prefix(directory).unwrap().to_str().unwrap().to_owned(),
                    );
                }
            }
        }
        names.sort();
        names
    }

    #[test]
    fn an_image_replaces_another_without_mixing() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("made/on/demand");
        let output = Output::open(&directory).unwrap();
        let old = vec![
            ("kernel".into(), fetched(&output, b"k1")),
            ("rootfs".into(), fetched(&output, b"r1")),
            ("dtbs/arm/a.dtb".into(), fetched(&output, b"d1")),
        ];
        output.commit(old, Some("quiet"), b"{1}").unwrap();
        assert_eq!(
            files(&directory),
            ["cmdline", "dtbs/arm/a.dtb", "kernel", "manifest.json", "rootfs"]
        );
        assert!(output.has("kernel", expected(b"k1")).unwrap());

        drop(output.part(expected(b"never finished")).unwrap());
        fs::write(directory.join("notes.txt"), b"mine").unwrap();
        let new = vec![
            ("kernel".into(), Ready::Kept),
            ("initramfs".into(), fetched(&output, b"i2")),
            ("dtbs/b.dtb".into(), fetched(&output, b"d2")),
        ];
        output.commit(new, None, b"{2}").unwrap();
        assert_eq!(
            files(&directory),
            ["dtbs/b.dtb", "initramfs", "kernel", "manifest.json", "notes.txt"]
        );
        assert_eq!(fs::read(directory.join("manifest.json")).unwrap(), b"{2}");
    }

    #[test]
    fn a_second_writer_is_told_to_wait() {
        let root = tempfile::tempdir().unwrap();
        let first = Output::open(root.path()).unwrap();
        assert!(matches!(Output::open(root.path()), Err(Error::Busy(_))));
        drop(first);
        Output::open(root.path()).unwrap();
    }

    #[test]
    fn a_failed_commit_leaves_no_manifest() {
        let root = tempfile::tempdir().unwrap();
        let output = Output::open(root.path()).unwrap();
        output.commit(vec![("kernel".into(), fetched(&output, b"k1"))], None, b"{1}").unwrap();
        // A directory where the kernel should go.
        fs::remove_file(root.path().join("kernel")).unwrap();
        fs::create_dir(root.path().join("kernel")).unwrap();
        let error = output
            .commit(vec![("kernel".into(), fetched(&output, b"k2"))], None, b"{2}")
            .unwrap_err();
        assert!(error.to_string().contains("kernel"), "{error}");
        assert!(!root.path().join(MANIFEST).exists());
    }

    #[test]
    fn too_little_room_is_told_in_octets() {
        let root = tempfile::tempdir().unwrap();
        let output = Output::open(root.path()).unwrap();
        output.require_room(1).unwrap();
        let error = output.require_room(u64::MAX).unwrap_err();
        assert!(error.to_string().contains("18446744073709551615 are needed"), "{error}");
    }
}
