//! `phase-boot kexec`: starts an image from a directory that `fetch` left, or files that nobody signed where
//! `--insecure` says so.
//!
//! Files are read into memory first and verified there: what is started is what was verified, whatever happens to the
//! files meanwhile.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use phase_core::escape::Escaped;
use phase_core::exit::Exit;
use phase_core::fetch::image::Item;
use phase_core::fetch::output::MANIFEST;
use phase_core::fetch::part::Expected;
use phase_core::limits::MANIFEST_MAX;
use phase_core::wire::digest::Digest;
use phase_core::wire::manifest::{self, Name, Policy};

use crate::acquire::earliest_now;
use crate::console::{Console, Step};
use crate::fetch::{self, Image};
use crate::kexec::command_line::{self, COMMAND_LINE_MAX};
use crate::kexec::fdt::FDT_MAX;
use crate::kexec::{self, device_tree};
use crate::options::{Options, Starting};
use crate::trust;

/// The longest file that is read without a manifest that says how long it is.
const FILE_MAX: u64 = 1 << 30;

/// Why there is nothing to start.
#[derive(Debug)]
pub(super) enum Error {
    Trust(trust::Error),
    /// Of a file that the operator named.
    Read(String, io::Error),
    TooLong(String, u64),
    Manifest(manifest::Error),
    /// A file of the image that was not fetched.
    Fetch(Box<fetch::Error>),
    /// A file of the image that cannot be read.
    Missing(String, io::Error),
    Other(String, Digest),
    NoTree(String),
    CommandLine(command_line::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trust(error) => error.fmt(f),
            Self::Read(path, error) => write!(f, "{}: {error}", Escaped(path)),
            Self::TooLong(path, max) => write!(f, "{}: longer than {max} octets", Escaped(path)),
            Self::Manifest(error) => write!(f, "{MANIFEST}: {error}"),
            Self::Fetch(error) => error.fmt(f),
            Self::Missing(path, error) => {
                write!(f, "{}: {error}; fetch the image again", Escaped(path))
            }
            Self::Other(path, signed) => write!(
                f,
                "{} is not the file that was signed ({signed}); fetch the image again",
                Escaped(path)
            ),
            Self::NoTree(name) => {
                write!(f, "the manifest has no device tree dtbs/{}", Escaped(name))
            }
            Self::CommandLine(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// What the shell is told.
    pub(super) const fn exit(&self) -> Exit {
        match self {
            Self::Trust(_)
            | Self::Read(..)
            | Self::TooLong(..)
            | Self::NoTree(_)
            | Self::CommandLine(_) => Exit::Usage,
            Self::Fetch(error) => error.exit(),
            Self::Manifest(error) => Exit::of_manifest(error),
            Self::Missing(..) | Self::Other(..) => Exit::VerificationFailed,
        }
    }
}

/// Runs the command; the exit status is its result.
#[must_use]
pub fn run(options: &Options, console: Console) -> Exit {
    if options.insecure {
        console
            .step(Step::Verify, format_args!("insecure: what is started, nobody need have signed"));
    }
    let image = match &options.starting.directory {
        Some(directory) => verified(Path::new(directory), options, console),
        None => unverified(&options.starting),
    };
    match image {
        Ok(image) => start(image, options.starting.load_only, console),
        Err(error) => console.failed(Step::Verify, error.exit(), format_args!("{error}")),
    }
}

/// Loads an image and, unless it is to be loaded only, gives the machine to it: returns when that failed.
pub fn start(image: kexec::Image, load_only: bool, console: Console) -> Exit {
    let failed = |error: kexec::Error| {
        console.failed(Step::Kexec, Exit::KexecFailed, format_args!("{error}"))
    };
    match kexec::load(image) {
        Ok(loaded) => {
            console.step(Step::Kexec, format_args!("{loaded}"));
            if load_only { Exit::Success } else { failed(loaded.start()) }
        }
        Err(error) => failed(error),
    }
}

/// The image in a directory.
fn verified(
    directory: &Path,
    options: &Options,
    console: Console,
) -> Result<kexec::Image, Box<Error>> {
    let (trust, _) = trust::load(&options.trust).map_err(|error| Box::new(Error::Trust(error)))?;
    let path = directory.join(MANIFEST).display().to_string();
    let document = read(&path, MANIFEST_MAX as u64)?;
    let (channel, _) = manifest::claim(&document);
    let channel = channel.filter(|_| !options.said.channel);
    let own = Options::default();
    let channel = channel.as_ref().unwrap_or(&options.channel);
    // An image for another machine cannot be started.
    let policy = Policy::new(channel, &own.arch, &trust, earliest_now(&trust), options.insecure);
    let image =
        fetch::verify(document, None, &policy).map_err(|error| Box::new(Error::Manifest(error)))?;
    console.step(Step::Verify, format_args!("{image}"));
    let mut of = |item: &Item| read_verified(directory, &item.name, item.expected);
    assemble(&image, &options.starting, &mut of)
}

/// The octets of a file.
type Octets = Result<Vec<u8>, Box<Error>>;

/// What is started of a verified image; `of` brings a file of it.
pub(super) fn assemble(
    image: &Image,
    starting: &Starting,
    of: &mut dyn FnMut(&Item) -> Octets,
) -> Result<kexec::Image, Box<Error>> {
    let wanted = starting.device_tree.as_deref();
    let trees = trees(image, wanted);
    if let Some(wanted) = wanted
        && wanted != device_tree::NONE
        && trees.is_empty()
    {
        return Err(Box::new(Error::NoTree(wanted.to_owned())));
    }
    let command_line = join(image.cmdline.as_deref(), &starting.append)?;
    let mut file = |name: &str| match image.item(name) {
        Some(item) => of(item).map(Some),
        None => Ok(None),
    };
    // A manifest without a kernel is not accepted.
    let kernel = file("kernel")?.unwrap_or_default();
    let initramfs = file("initramfs")?;
    let mut device_tree = None;
    let machine = device_tree::of_machine().unwrap_or_default();
    for tree in trees {
        let tree = of(tree)?;
        if wanted.is_some() || device_tree::is_for(&tree, &machine) {
            device_tree = Some(tree);
            break;
        }
    }
    Ok(kexec::Image { kernel, initramfs, device_tree, command_line })
}

/// The device trees of an image that are looked at: the one that was asked for, else all where this machine has one to
/// compare them with.
pub(super) fn trees<'i>(image: &'i Image, wanted: Option<&str>) -> Vec<&'i Item> {
    let wanted = match wanted {
        Some(device_tree::NONE) => return Vec::new(),
        None if device_tree::of_machine().is_none() => return Vec::new(),
        Some(wanted) => Some(Name::Dtb(wanted).to_string()),
        None => None,
    };
    let is_wanted = |item: &&Item| match &wanted {
        Some(wanted) => item.name == wanted.as_str(),
        None => item.name.starts_with("dtbs/"),
    };
    image.items.iter().filter(is_wanted).collect()
}

/// Files that the operator named.
fn unverified(starting: &Starting) -> Result<kexec::Image, Box<Error>> {
    let Starting {
        kernel, initramfs, device_tree, command_line, command_line_file, append, ..
    } = starting;
    let file = |path: &Option<String>, max| path.as_deref().map(|path| read(path, max)).transpose();
    let line = match file(command_line_file, COMMAND_LINE_MAX as u64 + 1)? {
        Some(line) => Some(String::from_utf8_lossy(&line).into_owned()),
        None => command_line.clone(),
    };
    Ok(kexec::Image {
        kernel: file(kernel, FILE_MAX)?.unwrap_or_default(),
        initramfs: file(initramfs, FILE_MAX)?,
        device_tree: file(device_tree, FDT_MAX as u64)?,
        command_line: join(line.as_deref(), append)?,
    })
}

fn join(line: Option<&str>, append: &[String]) -> Result<String, Box<Error>> {
    let line = command_line::join(line, append.iter().map(String::as_str));
    line.map_err(|error| Box::new(Error::CommandLine(error)))
}

/// Reads a file of at most `max` octets.
fn read(path: &str, max: u64) -> Octets {
    let octets = read_at_most(Path::new(path), max.saturating_add(1));
    let octets = octets.map_err(|error| Box::new(Error::Read(path.to_owned(), error)))?;
    if octets.len() as u64 > max {
        return Err(Box::new(Error::TooLong(path.to_owned(), max)));
    }
    Ok(octets)
}

/// Reads a file of the image and verifies what was read.
fn read_verified(directory: &Path, name: &str, expected: Expected) -> Octets {
    let path = directory.join(name);
    let shown = path.display().to_string();
    let octets = match read_at_most(&path, expected.size.saturating_add(1)) {
        Ok(octets) => octets,
        Err(error) => return Err(Box::new(Error::Missing(shown, error))),
    };
    if octets.len() as u64 == expected.size && Digest::of(&octets) == expected.digest {
        Ok(octets)
    } else {
        Err(Box::new(Error::Other(shown, expected.digest)))
    }
}

fn read_at_most(path: &Path, len: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    // In one piece, so that memory is not taken twice while it grows.
    let known = file.metadata()?.len().min(len);
    let mut octets = Vec::with_capacity(usize::try_from(known).unwrap_or(0));
    file.take(len).read_to_end(&mut octets)?;
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn expected(octets: &[u8]) -> Expected {
        Expected { size: octets.len() as u64, digest: Digest::of(octets) }
    }

    #[test]
    fn a_file_of_the_image_is_taken_only_as_it_was_signed() {
        let directory = tempfile::tempdir().unwrap();
        let read = || read_verified(directory.path(), "kernel", expected(b"signed"));
        assert!(matches!(*read().unwrap_err(), Error::Missing(..)));
        for other in ["signee", "signed and more", ""] {
            fs::write(directory.path().join("kernel"), other).unwrap();
            assert!(matches!(*read().unwrap_err(), Error::Other(..)), "{other}");
        }
        fs::write(directory.path().join("kernel"), "signed").unwrap();
        assert_eq!(read().unwrap(), b"signed");
    }

    #[test]
    fn files_that_are_too_long_are_not_read_to_the_end() {
        let error = read("/dev/zero", 1000).unwrap_err();
        assert_eq!(error.to_string(), "/dev/zero: longer than 1000 octets");
    }

    #[test]
    fn files_of_the_operator_become_an_image() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str, octets: &str| {
            let path = directory.path().join(name);
            fs::write(&path, octets).unwrap();
            Some(path.display().to_string())
        };
        let image = unverified(&Starting {
            kernel: path("k", "kernel"),
            command_line_file: path("c", "quiet\n"),
            append: vec!["init=/x".into()],
            ..Starting::default()
        });
        let image = image.unwrap();
        assert_eq!((image.kernel.as_slice(), image.initramfs), (b"kernel".as_slice(), None));
        assert_eq!(image.command_line, "quiet init=/x");
    }
}
