//! The output directory: one image, whole.
//! Not here: the names and what they promise (`phase_core::fetch::output`), where the files come from.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use phase_core::fetch::output::{CMDLINE, DTBS, MANIFEST, NAMES, is_hidden_name};
use phase_core::fetch::part::Expected;

use super::Image;
use super::part::{self, Part, is_complete};

/// What is written before it gets its name; the directory is locked, so that there is one at a time.
const DRAFT: &str = ".draft.part";

/// Octets that are copied at once.
const COPIED: usize = 64 * 1024;

/// Why the directory cannot be used.
#[derive(Debug)]
pub enum Error {
    /// The file system failed.
    Io {
        /// At which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Somebody else writes there.
    Busy(PathBuf),
    /// Too little room.
    Full {
        /// The directory.
        path: PathBuf,
        /// Octets free.
        have: u64,
        /// Octets needed.
        want: u64,
    },
    /// A file is not what it was when it was verified.
    Part {
        /// Its name.
        path: PathBuf,
        /// What is wrong with it.
        source: part::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Busy(path) => {
                let path = path.display();
                write!(
                    f,
                    "{path} is in use by another fetch; wait for it or choose another --output"
                )
            }
            Self::Full { path, have, want } => write!(
                f,
                "{} has room for {have} octets, {want} are needed; free some or choose another --output",
                path.display()
            ),
            Self::Part { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl std::error::Error for Error {}

/// Adds the path to an I/O error.
fn at(path: &Path) -> impl FnOnce(io::Error) -> Box<Error> + '_ {
    move |source| Box::new(Error::Io { path: path.to_owned(), source })
}

/// The directory, locked for as long as this value lives.
#[derive(Debug)]
pub struct Output {
    directory: PathBuf,
    lock: File,
}

impl Output {
    /// Makes the directory where it is missing and locks it.
    ///
    /// # Errors
    /// `Io`, `Busy`.
    pub fn open(directory: &Path) -> Result<Self, Box<Error>> {
        fs::create_dir_all(directory).map_err(at(directory))?;
        let lock = File::open(directory).map_err(at(directory))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { directory: directory.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(Box::new(Error::Busy(directory.to_owned()))),
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
    pub fn require_room(&self, want: u64) -> Result<(), Box<Error>> {
        let stat = nix::sys::statvfs::statvfs(&self.directory)
            .map_err(|errno| at(&self.directory)(errno.into()))?;
        // The types differ between targets.
        #[expect(clippy::useless_conversion, reason = "u32 on some targets")]
        let have =
            u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size()));
        if want > have {
            return Err(Box::new(Error::Full { path: self.directory.clone(), have, want }));
        }
        Ok(())
    }

    /// Whether `name` is here already, verified octet by octet.
    ///
    /// # Errors
    /// `Io`.
    pub fn has(&self, name: &str, expected: Expected) -> Result<bool, Box<Error>> {
        let path = self.directory.join(name);
        is_complete(&path, expected).map_err(at(&path))
    }

    /// Gives the fetched files of an image their names, removes what belonged to another image, and puts the manifest
    /// back last. Files with the same octets are fetched once, and have all their names here; `kept` are the names of
    /// files that are in place already and were verified.
    ///
    /// # Errors
    /// The directory then has no manifest, and is no image until a next run.
    pub fn commit(
        &self,
        image: &Image,
        fetched: Vec<(Vec<String>, Part)>,
        kept: Vec<String>,
    ) -> Result<(), Box<Error>> {
        remove(&self.directory.join(MANIFEST))?;
        let mut keep = kept;
        for (names, _) in &fetched {
            keep.extend_from_slice(names);
        }
        if image.cmdline.is_some() {
            keep.push(CMDLINE.to_owned());
        }
        self.remove_others(&keep)?;
        for (names, part) in fetched {
            self.publish(&names, part)?;
        }
        if let Some(cmdline) = &image.cmdline {
            self.write(CMDLINE, cmdline.as_bytes())?;
        }
        self.write(MANIFEST, &image.document)?;
        self.remove_parts()?;
        self.lock.sync_all().map_err(at(&self.directory))
    }

    fn publish(&self, names: &[String], part: Part) -> Result<(), Box<Error>> {
        let Some((name, twins)) = names.split_first() else { return Ok(()) };
        let path = self.place(name)?;
        if let Err(source) = part.publish(&path) {
            return Err(Box::new(Error::Part { path, source }));
        }
        for twin in twins {
            let twin = self.place(twin)?;
            let draft = self.directory.join(DRAFT);
            remove(&draft)?;
            let copied = copy(&path, &draft);
            copied.and_then(|()| fs::rename(&draft, &twin)).map_err(at(&twin))?;
        }
        Ok(())
    }

    /// The path of a name, whose directory is made.
    fn place(&self, name: &str) -> Result<PathBuf, Box<Error>> {
        let path = self.directory.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        Ok(path)
    }

    /// Writes a small file under another name first.
    fn write(&self, name: &str, octets: &[u8]) -> Result<(), Box<Error>> {
        let (draft, path) = (self.directory.join(DRAFT), self.directory.join(name));
        remove(&draft)?;
        let written = create(&draft).and_then(|mut file| {
            file.write_all(octets)?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        });
        written.map_err(at(&path))
    }

    /// Removes the files of an image that are not in `keep`.
    fn remove_others(&self, keep: &[String]) -> Result<(), Box<Error>> {
        for name in NAMES.iter().filter(|name| !keep.iter().any(|kept| kept == *name)) {
            remove(&self.directory.join(name))?;
        }
        self.remove_others_below(DTBS, keep)
    }

    /// The same for every file below a directory of the image.
    fn remove_others_below(&self, name: &str, keep: &[String]) -> Result<(), Box<Error>> {
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
    fn remove_parts(&self) -> Result<(), Box<Error>> {
        for entry in fs::read_dir(&self.directory).map_err(at(&self.directory))? {
            let entry = entry.map_err(at(&self.directory))?;
            if entry.file_name().to_str().is_some_and(is_hidden_name) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// A file that was not there before.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
    options.open(path)
}

/// Copies a file onto the disk. By reading and writing: the standard library tries every way that the kernel has, which
/// is more code than a second name for a file is worth.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let (mut from, mut to) = (File::open(from)?, create(to)?);
    let mut octets = vec![0; COPIED];
    loop {
        match from.read(&mut octets) {
            Ok(0) => return to.sync_all(),
            Ok(len) => to.write_all(octets.get(..len).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn remove(path: &Path) -> Result<(), Box<Error>> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
