//! What lies in the artifacts directory: images, and a warning for everything that is missing or ignored.
//! Looks at names and metadata only; reads nothing but the small file `version`. Blocking.
//! Not here: whether files are whole ([`super::settle`]), digests ([`super::hash`]).

use std::fs::{self, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use phase_core::limits::{
    ARTIFACTS_PER_MANIFEST, CMDLINE_MAX, DTB_MAX, INITRAMFS_MAX, KERNEL_MAX, ROOTFS_MAX,
};
use phase_core::wire::manifest::Name;
use phase_core::wire::record::{Channel, Version};

use super::version::date_version;
use super::warning::{Reason, Warning};
use super::{Fingerprint, ImageId, Role, canonical_arch};

/// Octets of the file `cmdline`: the longest command line and a line end.
const CMDLINE_FILE_MAX: u64 = CMDLINE_MAX as u64 + 1;
/// Images that one provider serves.
pub const IMAGES_MAX: usize = 32;
/// Directories below `dtbs/` that are looked into, one inside the other.
const DTB_DEPTH: usize = 4;
/// Device trees looked at in one image; many more than a manifest can list.
const DTB_FILES: usize = 4096;

/// Why the directory itself could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not exist.
    #[error(
        "the artifacts directory {0} does not exist; create it, or name another with --artifacts"
    )]
    Missing(PathBuf),
    /// It is something else.
    #[error(
        "{0} is not a directory; --artifacts wants the directory that holds {{channel}}/{{arch}}/vmlinuz"
    )]
    NotADirectory(PathBuf),
    /// It exists and cannot be read.
    #[error("cannot read the artifacts directory {path}: {source}")]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// One file as it was seen.
#[derive(Clone, Debug)]
pub struct FoundFile {
    /// What it is for.
    pub role: Role,
    /// Its path below the image's directory, with `/` between components.
    pub name: String,
    /// Its real path, without links.
    pub path: PathBuf,
    /// What it looked like.
    pub fingerprint: Fingerprint,
}

/// One image as it was seen: it has a kernel.
#[derive(Clone, Debug)]
pub struct FoundImage {
    /// Which image.
    pub id: ImageId,
    /// Its directory.
    pub directory: PathBuf,
    /// Its version.
    pub version: String,
    /// Its files: kernel first, then by role and name.
    pub files: Vec<FoundFile>,
}

/// The outcome of one look.
#[derive(Debug, Default)]
pub struct Scan {
    /// Images with a kernel, by channel and architecture.
    pub images: Vec<FoundImage>,
    /// What is missing or ignored, in the order of the directory.
    pub warnings: Vec<Warning>,
}

/// Looks at `root`.
///
/// # Errors
/// When `root` itself cannot be read. Everything below it that cannot be used becomes a warning.
pub fn scan(root: &Path) -> Result<Scan, Error> {
    let unreadable = |source: io::Error| {
        let path = root.to_owned();
        if source.kind() == io::ErrorKind::NotFound {
            Error::Missing(path)
        } else if source.kind() == io::ErrorKind::NotADirectory {
            Error::NotADirectory(path)
        } else {
            Error::Unreadable { path, source }
        }
    };
    let real = root.canonicalize().map_err(unreadable)?;
    let channels = list(&real).map_err(unreadable)?;
    let mut scanner = Scanner { root: real, scan: Scan::default() };
    for (name, path) in channels {
        scanner.channel(&name, &path);
    }
    Ok(scanner.scan)
}

/// Entries of a directory whose names do not begin with a dot, by name. Names that are not UTF-8 are shown with
/// replacement characters and fail every charset check that follows.
fn list(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut entries = fs::read_dir(directory)?
        .map(|entry| entry.map(|e| (e.file_name().to_string_lossy().into_owned(), e.path())))
        .collect::<io::Result<Vec<_>>>()?;
    entries.retain(|(name, _)| !name.starts_with('.') && name != "lost+found");
    entries.sort();
    Ok(entries)
}

struct Scanner {
    root: PathBuf,
    scan: Scan,
}

impl Scanner {
    fn warn(&mut self, place: impl Into<String>, reason: Reason) {
        self.scan.warnings.push(Warning { place: place.into(), reason });
    }

    /// The real path and metadata of `path`; `None`, with a warning unless it is simply absent, when it lies
    /// outside the root or cannot be looked at.
    fn resolve(&mut self, place: &str, path: &Path) -> Option<(PathBuf, Metadata)> {
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(e) if e.kind() == io::ErrorKind::NotFound && path.is_symlink() => {
                self.warn(place, Reason::DanglingLink);
                return None;
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
            Err(e) => {
                self.warn(place, Reason::Unreadable(e.kind()));
                return None;
            }
        };
        if !real.starts_with(&self.root) {
            self.warn(place, Reason::Outside);
            return None;
        }
        match fs::symlink_metadata(&real) {
            Ok(metadata) => Some((real, metadata)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => {
                self.warn(place, Reason::Unreadable(e.kind()));
                None
            }
        }
    }

    fn entries(&mut self, place: &str, directory: &Path) -> Vec<(String, PathBuf)> {
        match list(directory) {
            Ok(entries) => entries,
            // Removed between two looks: the next one will not see it.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => {
                self.warn(place, Reason::Unreadable(e.kind()));
                Vec::new()
            }
        }
    }

    fn channel(&mut self, channel: &str, path: &Path) {
        let Some((real, metadata)) = self.resolve(channel, path) else { return };
        if !metadata.is_dir() {
            return self.warn(channel, Reason::NotInAChannel);
        }
        if Channel::new(channel).is_err() {
            return self.warn(channel, Reason::BadChannel);
        }
        let entries = self.entries(channel, &real);
        if entries.is_empty() {
            self.warn(channel, Reason::EmptyChannel);
        }
        for (name, path) in entries {
            self.arch(channel, &name, &path);
        }
    }

    fn arch(&mut self, channel: &str, name: &str, path: &Path) {
        let place = format!("{channel}/{name}");
        let Some((real, metadata)) = self.resolve(&place, path) else { return };
        if !metadata.is_dir() {
            return self.warn(place, Reason::NotInAnArch);
        }
        let Some(arch) = canonical_arch(name) else {
            return self.warn(place, Reason::UnknownArch);
        };
        let id = ImageId { channel: channel.to_owned(), arch: arch.to_owned() };
        if self.scan.images.iter().any(|image| image.id == id) {
            return self.warn(place, Reason::SameArchTwice);
        }
        if self.scan.images.len() == IMAGES_MAX {
            return self.warn(place, Reason::TooManyImages);
        }
        self.image(&place, id, &real);
    }

    fn image(&mut self, place: &str, id: ImageId, directory: &Path) {
        let Some(kernel) = self.piece(place, directory, "vmlinuz", Role::Kernel, KERNEL_MAX) else {
            return;
        };
        let mut files = vec![kernel];
        let pieces = [
            ("initramfs.img", Role::Initramfs, INITRAMFS_MAX),
            ("rootfs.sqfs", Role::Rootfs, ROOTFS_MAX),
            ("cmdline", Role::Cmdline, CMDLINE_FILE_MAX),
        ];
        for (name, role, limit) in pieces {
            files.extend(self.piece(place, directory, name, role, limit));
        }
        // The command line is a member of the manifest, not one of its artifacts.
        let listed = files.iter().filter(|file| file.role != Role::Cmdline).count();
        let room = ARTIFACTS_PER_MANIFEST - listed;
        files.extend(self.device_trees(place, &id.arch, directory, room));
        let newest = files.iter().map(|f| f.fingerprint.modified()).max();
        let version = self
            .version(place, directory)
            .unwrap_or_else(|| newest.map(date_version).unwrap_or_default());
        self.scan.images.push(FoundImage { id, directory: directory.to_owned(), version, files });
    }

    /// One file of an image, if it is there and usable; a warning otherwise.
    fn piece(
        &mut self,
        place: &str,
        directory: &Path,
        name: &'static str,
        role: Role,
        limit: u64,
    ) -> Option<FoundFile> {
        let file = format!("{place}/{name}");
        let warnings = self.scan.warnings.len();
        let found = self.resolve(&file, &directory.join(name));
        let Some((path, metadata)) = found else {
            if self.scan.warnings.len() == warnings {
                self.warn(place, Reason::Missing(role));
            }
            return None;
        };
        let reason = if !metadata.is_file() {
            Reason::NotAFile(role)
        } else if metadata.len() == 0 {
            Reason::Empty(role)
        } else if metadata.len() > limit {
            Reason::TooLarge { role, size: metadata.len(), limit }
        } else {
            let fingerprint = Fingerprint::of(&metadata);
            return Some(FoundFile { role, name: name.to_owned(), path, fingerprint });
        };
        self.warn(file, reason);
        None
    }

    fn version(&mut self, place: &str, directory: &Path) -> Option<String> {
        let file = format!("{place}/version");
        let warnings = self.scan.warnings.len();
        let Some((path, metadata)) = self.resolve(&file, &directory.join("version")) else {
            if self.scan.warnings.len() == warnings {
                self.warn(place, Reason::NoVersion);
            }
            return None;
        };
        let mut text = String::new();
        let read = metadata.is_file()
            && fs::File::open(path).and_then(|f| f.take(128).read_to_string(&mut text)).is_ok();
        let version = text.trim();
        if read && Version::new(version).is_ok() {
            return Some(version.to_owned());
        }
        self.warn(file, Reason::BadVersion);
        None
    }

    fn device_trees(
        &mut self,
        place: &str,
        arch: &str,
        directory: &Path,
        room: usize,
    ) -> Vec<FoundFile> {
        let top = format!("{place}/dtbs");
        let found = self.resolve(&top, &directory.join("dtbs"));
        let Some((path, metadata)) = found else {
            // Machines of these architectures describe themselves to the kernel by other means.
            if !matches!(arch, "x86_64" | "i386" | "s390x") {
                self.warn(place, Reason::Missing(Role::DeviceTree));
            }
            return Vec::new();
        };
        if !metadata.is_dir() {
            self.warn(top, Reason::NotADirectory);
            return Vec::new();
        }
        let mut files = Vec::new();
        self.walk(&top, "dtbs", &path, DTB_DEPTH, &mut files);
        if files.len() > room {
            self.warn(top, Reason::TooManyDeviceTrees { found: files.len(), room });
            files.truncate(room);
        }
        files
    }

    fn walk(
        &mut self,
        place: &str,
        name: &str,
        directory: &Path,
        depth: usize,
        files: &mut Vec<FoundFile>,
    ) {
        for (entry, path) in self.entries(place, directory) {
            let place = format!("{place}/{entry}");
            let name = format!("{name}/{entry}");
            let Some((real, metadata)) = self.resolve(&place, &path) else { continue };
            if metadata.is_dir() && depth > 1 {
                self.walk(&place, &name, &real, depth - 1, files);
            } else if metadata.is_file() && entry.ends_with(".dtb") && files.len() < DTB_FILES {
                let (size, limit) = (metadata.len(), DTB_MAX);
                if size == 0 {
                    self.warn(place, Reason::Empty(Role::DeviceTree));
                } else if size > limit {
                    self.warn(place, Reason::TooLarge { role: Role::DeviceTree, size, limit });
                } else if Name::parse(&name).is_none() {
                    self.warn(place, Reason::BadFileName);
                } else {
                    let fingerprint = Fingerprint::of(&metadata);
                    files.push(FoundFile { role: Role::DeviceTree, name, path: real, fingerprint });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(files: &[&str]) -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            files.iter().for_each(|file| tree.write(file, b"content"));
            tree
        }

        fn write(&self, path: &str, content: &[u8]) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        fn link(&self, target: &str, path: &str) {
            symlink(target, self.0.path().join(path)).unwrap();
        }

        /// Images as `id: files`, and warnings as the operator reads them.
        fn look(&self) -> (Vec<String>, Vec<String>) {
            let seen = scan(self.0.path()).unwrap();
            let names = |image: &FoundImage| {
                image.files.iter().map(|f| f.name.clone()).collect::<Vec<_>>().join(" ")
            };
            let images = seen.images.iter().map(|i| format!("{}: {}", i.id, names(i))).collect();
            (images, seen.warnings.iter().map(ToString::to_string).collect())
        }
    }

    #[test]
    fn a_whole_image_is_found_without_a_warning() {
        let tree = Tree::new(&[
            "stable/aarch64/vmlinuz",
            "stable/aarch64/initramfs.img",
            "stable/aarch64/rootfs.sqfs",
            "stable/aarch64/cmdline",
            "stable/aarch64/dtbs/vendor/board.dtb",
            "stable/aarch64/dtbs/README",
            ".git/config",
        ]);
        tree.write("stable/aarch64/version", b" 2025.11.26\n");
        let expected =
            "stable/arm64: vmlinuz initramfs.img rootfs.sqfs cmdline dtbs/vendor/board.dtb";
        assert_eq!(tree.look(), (vec![expected.to_owned()], vec![]));
        assert_eq!(scan(tree.0.path()).unwrap().images[0].version, "2025.11.26");
    }

    #[test]
    fn every_missing_piece_is_named() {
        let tree = Tree::new(&["stable/arm64/vmlinuz", "stable/x86_64/initramfs.img"]);
        let (images, warnings) = tree.look();
        assert_eq!(images, ["stable/arm64: vmlinuz"]);
        let expected = [
            "stable/arm64: no initramfs.img: advertised without an initramfs",
            "stable/arm64: no rootfs.sqfs: advertised without a root file system",
            "stable/arm64: no cmdline: clients choose the kernel command line",
            "stable/arm64: no dtbs/: advertised without device trees",
            "stable/arm64: no version: the newest file's date is the version (YYYY.MM.DD)",
            "stable/x86_64: no vmlinuz: this image is not advertised until the kernel lies there",
        ];
        assert_eq!(warnings, expected);
    }

    #[test]
    fn every_ignored_directory_is_named_with_its_reason() {
        let tree =
            Tree::new(&["vmlinuz", "Stable/arm64/vmlinuz", "stable/sparc/vmlinuz", "stable/note"]);
        fs::create_dir(tree.0.path().join("testing")).unwrap();
        let (images, warnings) = tree.look();
        assert_eq!(images, [""; 0]);
        let expected = [
            "Stable: ignored: a channel is 1 to 32 of a-z 0-9 . _ - and begins with a letter or digit",
            "stable/note: ignored: files belong into an {arch}/ directory here",
            "stable/sparc: ignored: unknown architecture; known are arm, arm64, i386, loongarch64, ppc64le, riscv64, s390x, x86_64 (also aarch64, amd64)",
            "testing: nothing in this channel: put a kernel into it as {arch}/vmlinuz",
            "vmlinuz: ignored: files belong into {channel}/{arch}/, such as stable/arm64/",
        ];
        assert_eq!(warnings, expected);
    }

    #[test]
    fn one_architecture_under_two_names_is_served_once() {
        let tree = Tree::new(&["stable/amd64/vmlinuz", "stable/x86_64/vmlinuz"]);
        let (images, warnings) = tree.look();
        assert_eq!(images, ["stable/x86_64: vmlinuz"]);
        assert!(
            warnings.iter().any(|w| w.starts_with("stable/x86_64: ignored: another")),
            "{warnings:?}"
        );
    }

    #[test]
    fn links_are_followed_inside_the_directory_and_never_out_of_it() {
        let outside = Tree::new(&["secret"]);
        let tree = Tree::new(&["releases/arm64/vmlinuz", "releases/arm64/initramfs-6.1.img"]);
        tree.link("releases", "stable");
        tree.link("initramfs-6.1.img", "releases/arm64/initramfs.img");
        tree.link(outside.0.path().join("secret").to_str().unwrap(), "releases/arm64/rootfs.sqfs");
        tree.link("/nowhere/at/all", "releases/arm64/cmdline");
        let (images, warnings) = tree.look();
        let pieces = "vmlinuz initramfs.img";
        assert_eq!(
            images,
            [format!("releases/arm64: {pieces}"), format!("stable/arm64: {pieces}")]
        );
        for expected in [
            "stable/arm64/rootfs.sqfs: ignored: the link leads out of the artifacts directory",
            "stable/arm64/cmdline: ignored: the link leads nowhere",
        ] {
            assert!(warnings.iter().any(|w| w == expected), "{warnings:?}");
        }
    }

    #[test]
    fn only_regular_files_with_content_within_the_limits_are_pieces() {
        let tree = Tree::new(&["stable/arm64/initramfs.img"]);
        tree.write("stable/x86_64/vmlinuz", b"");
        nix::unistd::mkfifo(
            &tree.0.path().join("stable/arm64/vmlinuz"),
            nix::sys::stat::Mode::S_IRWXU,
        )
        .unwrap();
        tree.write("stable/arm/vmlinuz", b"");
        let large = fs::File::options().write(true).open(tree.0.path().join("stable/arm/vmlinuz"));
        large.unwrap().set_len(KERNEL_MAX + 1).unwrap();
        let (images, warnings) = tree.look();
        assert_eq!(images, [""; 0]);
        let expected = [
            "stable/arm/vmlinuz: 134217729 octets, clients accept 134217728 at most: this image is not advertised until the kernel lies there",
            "stable/arm64/vmlinuz: is not a regular file: this image is not advertised until the kernel lies there",
            "stable/x86_64/vmlinuz: is empty: this image is not advertised until the kernel lies there",
        ];
        assert_eq!(warnings, expected);
    }

    #[test]
    fn more_device_trees_than_a_manifest_lists_are_counted_and_left_out() {
        let tree = Tree::new(&["stable/arm64/vmlinuz"]);
        (0..20).for_each(|n| tree.write(&format!("stable/arm64/dtbs/b{n:02}.dtb"), b"d"));
        let (images, warnings) = tree.look();
        assert!(images[0].ends_with("dtbs/b14.dtb"), "{images:?}");
        let expected = "stable/arm64/dtbs: holds 20 device trees and a manifest has room for 15: the rest, in name order, is left out";
        assert!(warnings.iter().any(|w| w == expected), "{warnings:?}");
    }

    #[test]
    fn an_unusable_version_falls_back_to_the_date() {
        let tree = Tree::new(&["stable/arm64/vmlinuz"]);
        tree.write("stable/arm64/version", b"one two");
        let seen = scan(tree.0.path()).unwrap();
        assert!(seen.warnings.iter().any(|w| w.reason == Reason::BadVersion));
        assert_eq!(seen.images[0].version.len(), "2025.11.26".len());
    }

    #[test]
    fn names_cannot_write_escapes_to_the_terminal() {
        let tree = Tree::new(&["\u{1b}[2Jstable/arm64/vmlinuz"]);
        let (_, warnings) = tree.look();
        assert!(warnings[0].starts_with("\\u{1b}[2Jstable: ignored"), "{warnings:?}");
    }

    #[test]
    fn a_root_that_cannot_be_read_is_an_error_that_says_what_to_do() {
        let tree = Tree::new(&["file"]);
        let text = |path: &str| scan(&tree.0.path().join(path)).unwrap_err().to_string();
        assert!(
            text("missing")
                .ends_with("does not exist; create it, or name another with --artifacts")
        );
        assert!(text("file").contains("is not a directory"));
    }
}
