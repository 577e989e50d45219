//! Taking an image over from one channel into another, so that a running provider sees the old one or the new one,
//! never a mixture. Blocking.
//!
//! Everything is copied into a hidden directory beside the target, read back and compared, written to the disk, and
//! then put in place by one renaming.
//! Not here: signing and announcing; the provider that serves the directory sees the change and does that.

use std::cmp::Ordering;
use std::fs::{self, File, Permissions};
use std::io::{self, Seek as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use phase_core::fetch::part::Expected;
use phase_core::wire::digest::Digest;

use super::{Artifact, Image, ImageId, canonical_arch, once, scan, version};
use crate::fetch::part::is_complete;

/// Names in an image's directory.
const NAMES: [&str; 6] = ["vmlinuz", "initramfs.img", "rootfs.sqfs", "cmdline", "version", "dtbs"];

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image to be taken, or the directory.
    #[error(transparent)]
    Source(#[from] once::Error),
    /// The directory changed to a state in which it cannot be read.
    #[error(transparent)]
    Scan(#[from] scan::Error),
    /// The target is newer.
    #[error(
        "{to} has version {there}, which is newer than {from}'s {version}; --force replaces it"
    )]
    Newer {
        /// The image to be taken.
        from: String,
        /// Its version.
        version: String,
        /// The image to be replaced.
        to: String,
        /// Its version.
        there: String,
    },
    /// The target's directory, or that of its channel, is a symbolic link.
    #[error("{0} is a symbolic link; remove it, then promote again")]
    Link(PathBuf),
    /// Something in the target's directory would be lost.
    #[error("{0} is not part of an image and would be lost; move it away")]
    Foreign(PathBuf),
    /// A copy is not what it was copied from.
    #[error("{0} changed while it was copied, or was not written as it is; try again")]
    Differs(PathBuf),
    /// The file system.
    #[error("cannot write {path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// The target holds just that already.
    Same,
    /// There was none.
    New,
    /// An image of this version was replaced.
    Replaced(String),
}

/// Copies `image`, taken from below `root`, into `channel`, keeping its version.
///
/// # Errors
/// [`Error`]; the target is as it was then.
pub fn promote(root: &Path, image: &Image, channel: &str, force: bool) -> Result<Done, Error> {
    let to = ImageId { channel: channel.to_owned(), arch: image.id.arch.clone() };
    let there = match once::take(root, &to, || ()) {
        Ok((there, _)) => Some(there),
        Err(once::Error::Absent { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(there) = &there {
        if there.version == image.version && same_files(there, image) {
            return Ok(Done::Same);
        }
        if !force && version::compare(&there.version, &image.version) == Ordering::Greater {
            let (from, version) = (image.id.to_string(), image.version.clone());
            return Err(Error::Newer {
                from,
                version,
                to: to.to_string(),
                there: there.version.clone(),
            });
        }
    }
    let parent = root.join(channel);
    let target = target(&parent, &to.arch)?;
    fs::create_dir_all(&parent).map_err(at(&parent))?;
    let staged = tempfile::Builder::new().prefix(".promote-").tempdir_in(&parent);
    let staged = staged.map_err(at(&parent))?;
    copy(image, staged.path())?;
    put_in_place(staged, &target).map_err(at(&target))?;
    for directory in [&*parent, root] {
        sync(directory)?;
    }
    Ok(there.map_or(Done::New, |there| Done::Replaced(there.version)))
}

fn same_files(a: &Image, b: &Image) -> bool {
    let key = |artifact: &Artifact| (artifact.name.clone(), artifact.sha256);
    a.artifacts.iter().map(key).eq(b.artifacts.iter().map(key))
}

fn at(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path: path.clone(), source }
}

fn sync(directory: &Path) -> Result<(), Error> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(at(directory))
}

/// Where the image belongs: an alias of the architecture is used if there is a directory of that name.
fn target(parent: &Path, arch: &str) -> Result<PathBuf, Error> {
    if parent.is_symlink() {
        return Err(Error::Link(parent.to_owned()));
    }
    let named = |entry: &fs::DirEntry| {
        entry.file_name().to_str().and_then(canonical_arch).is_some_and(|name| name == arch)
    };
    let entries = fs::read_dir(parent).into_iter().flatten().filter_map(Result::ok);
    let Some(target) = entries.filter(named).map(|entry| entry.path()).min() else {
        return Ok(parent.join(arch));
    };
    if target.is_symlink() {
        return Err(Error::Link(target));
    }
    for entry in fs::read_dir(&target).map_err(at(&target))? {
        let path = entry.map_err(at(&target))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_none_or(|name| !NAMES.contains(&name)) {
            return Err(Error::Foreign(path));
        }
    }
    only_device_trees(&target.join("dtbs"))?;
    Ok(target)
}

fn only_device_trees(directory: &Path) -> Result<(), Error> {
    if !directory.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(directory).map_err(at(directory))? {
        let path = entry.map_err(at(directory))?.path();
        if path.is_dir() && !path.is_symlink() {
            only_device_trees(&path)?;
        } else if path.extension().is_none_or(|extension| extension != "dtb") {
            return Err(Error::Foreign(path));
        }
    }
    Ok(())
}

/// Copies the files of `image`, reads them back, and sees them written to the disk.
fn copy(image: &Image, directory: &Path) -> Result<(), Error> {
    let mut directories = vec![directory.to_owned()];
    for artifact in &image.artifacts {
        let path = directory.join(&artifact.name);
        let parent = path.parent().unwrap_or(directory);
        if !directories.iter().any(|made| made == parent) {
            fs::create_dir_all(parent).map_err(at(parent))?;
            directories
                .extend(parent.ancestors().take_while(|up| *up != directory).map(Into::into));
        }
        copy_file(artifact, &path).map_err(at(&path))?;
        let digest = Digest::from_octets(artifact.sha256);
        let expected = Expected { size: artifact.size, digest };
        if !artifact.is_unchanged() || !is_complete(&path, expected).map_err(at(&path))? {
            return Err(Error::Differs(image.directory.join(&artifact.name)));
        }
    }
    let path = directory.join("version");
    fs::write(&path, format!("{}\n", image.version)).map_err(at(&path))?;
    File::open(&path).and_then(|file| file.sync_all()).map_err(at(&path))?;
    // Temporary directories are made for their owner alone.
    fs::set_permissions(directory, Permissions::from_mode(0o755)).map_err(at(directory))?;
    directories.iter().try_for_each(|directory| sync(directory))
}

fn copy_file(artifact: &Artifact, path: &Path) -> io::Result<()> {
    let mut from = &*artifact.file;
    from.rewind()?;
    let mut to = File::create_new(path)?;
    io::copy(&mut from, &mut to)?;
    to.sync_all()
}

/// Makes `staged` the directory at `target` and removes what was there.
fn put_in_place(staged: tempfile::TempDir, target: &Path) -> io::Result<()> {
    if target.exists() {
        exchange(staged.path(), target)?;
        // It holds what was there now.
        return staged.close();
    }
    fs::rename(staged.path(), target)?;
    // Nothing is left to be removed.
    let _ = staged.keep();
    Ok(())
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    match renameat2(AT_FDCWD, a, AT_FDCWD, b, RenameFlags::RENAME_EXCHANGE) {
        // The file system or the kernel cannot.
        Err(nix::Error::EINVAL | nix::Error::ENOSYS) => replace(a, b),
        done => Ok(done?),
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    replace(a, b)
}

/// In two steps: a provider that looks in between sees no image, and never half of one.
fn replace(a: &Path, b: &Path) -> io::Result<()> {
    let aside = a.with_extension("old");
    fs::rename(b, &aside)?;
    if let Err(error) = fs::rename(a, b) {
        fs::rename(&aside, b)?;
        return Err(error);
    }
    fs::rename(&aside, a)
}
