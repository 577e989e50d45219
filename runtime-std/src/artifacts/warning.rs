//! What is missing in the artifacts directory, or ignored, and what to do about it.

use std::fmt;
use std::io;

use super::{KNOWN_ARCHS, Role};

/// One thing the operator should know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// The directory or file, below the artifacts directory.
    pub place: String,
    /// What is the matter.
    pub reason: Reason,
}

/// What is the matter with a directory or file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A file of the image is not there.
    Missing(Role),
    /// A file of the image has no content.
    Empty(Role),
    /// A file of the image is larger than clients accept, in octets.
    TooLarge {
        /// What it is for.
        role: Role,
        /// Its size.
        size: u64,
        /// The largest size.
        limit: u64,
    },
    /// A file of the image is a directory, a pipe, a device or a socket.
    NotAFile(Role),
    /// `dtbs` is not a directory.
    NotADirectory,
    /// There is no file `version`.
    NoVersion,
    /// The file `version` holds no version.
    BadVersion,
    /// A device tree's path cannot be written in a URL.
    BadFileName,
    /// More device trees than a manifest can list.
    TooManyDeviceTrees {
        /// How many there are.
        found: usize,
        /// How many fit.
        room: usize,
    },
    /// A directory's name is no channel.
    BadChannel,
    /// A channel with no architecture in it.
    EmptyChannel,
    /// A file lies beside the channels.
    NotInAChannel,
    /// A file lies beside the architectures.
    NotInAnArch,
    /// A directory's name is no architecture.
    UnknownArch,
    /// Two directories for one architecture under two of its names.
    SameArchTwice,
    /// The configuration lists other architectures for this channel.
    NotConfigured,
    /// The configuration lists this image and it is not there.
    ConfiguredAndMissing,
    /// More images than one provider serves.
    TooManyImages,
    /// A symbolic link leads out of the artifacts directory.
    Outside,
    /// A symbolic link leads nowhere.
    DanglingLink,
    /// It cannot be read.
    Unreadable(io::ErrorKind),
}

impl Role {
    /// The file (or directory) of an image with this role.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Kernel => "vmlinuz",
            Self::Initramfs => "initramfs.img",
            Self::Rootfs => "rootfs.sqfs",
            Self::Cmdline => "cmdline",
            Self::DeviceTree => "dtbs/",
        }
    }

    const fn consequence(self) -> &'static str {
        match self {
            Self::Kernel => "this image is not advertised until the kernel lies there",
            Self::Initramfs => "advertised without an initramfs",
            Self::Rootfs => "advertised without a root file system",
            Self::Cmdline => "clients choose the kernel command line",
            Self::DeviceTree => "advertised without device trees",
        }
    }
}

impl Reason {
    /// Whether only a file is missing that an image may be without.
    #[must_use]
    pub const fn is_optional(&self) -> bool {
        match self {
            Self::Missing(role) => !matches!(role, Role::Kernel),
            Self::NoVersion => true,
            Self::Empty(_)
            | Self::TooLarge { .. }
            | Self::NotAFile(_)
            | Self::NotADirectory
            | Self::BadVersion
            | Self::BadFileName
            | Self::TooManyDeviceTrees { .. }
            | Self::BadChannel
            | Self::EmptyChannel
            | Self::NotInAChannel
            | Self::NotInAnArch
            | Self::UnknownArch
            | Self::SameArchTwice
            | Self::NotConfigured
            | Self::ConfiguredAndMissing
            | Self::TooManyImages
            | Self::Outside
            | Self::DanglingLink
            | Self::Unreadable(_) => false,
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names of files are not ours: they may hold terminal escapes.
        write!(f, "{}: {}", self.place.escape_debug(), self.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(role) => write!(f, "no {}: {}", role.file_name(), role.consequence()),
            Self::Empty(role) => write!(f, "is empty: {}", role.consequence()),
            Self::TooLarge { role, size, limit } => write!(
                f,
                "{size} octets, clients accept {limit} at most: {}",
                role.consequence()
            ),
            Self::NotAFile(role) => write!(f, "is not a regular file: {}", role.consequence()),
            Self::NotADirectory => f.write_str("is not a directory: advertised without device trees"),
            Self::NoVersion => {
                f.write_str("no version: the newest file's date is the version (YYYY.MM.DD)")
            }
            Self::BadVersion => f.write_str(
                "ignored: must hold one version of 1 to 32 letters, digits or . _ + ~ -; the newest file's date is used",
            ),
            Self::BadFileName => {
                f.write_str("ignored: the path below dtbs/ may hold 128 letters, digits and . _ ~ + - only")
            }
            Self::TooManyDeviceTrees { found, room } => write!(
                f,
                "holds {found} device trees and a manifest has room for {room}: the rest, in name order, is left out"
            ),
            Self::BadChannel => f.write_str(
                "ignored: a channel is 1 to 32 of a-z 0-9 . _ - and begins with a letter or digit",
            ),
            Self::EmptyChannel => {
                f.write_str("nothing in this channel: put a kernel into it as {arch}/vmlinuz")
            }
            Self::NotInAChannel => {
                f.write_str("ignored: files belong into {channel}/{arch}/, such as stable/arm64/")
            }
            Self::NotInAnArch => f.write_str("ignored: files belong into an {arch}/ directory here"),
            Self::UnknownArch => {
                write!(f, "ignored: unknown architecture; known are {}", KNOWN_ARCHS.join(", "))?;
                f.write_str(" (also aarch64, amd64)")
            }
            Self::SameArchTwice => {
                f.write_str("ignored: another directory holds this architecture under its other name")
            }
            Self::NotConfigured => {
                f.write_str("ignored: the configuration does not list this architecture for the channel")
            }
            Self::ConfiguredAndMissing => {
                f.write_str("the configuration lists it, and there is no vmlinuz in that directory")
            }
            Self::TooManyImages => {
                write!(f, "ignored: {} images are served at most", super::scan::IMAGES_MAX)
            }
            Self::Outside => {
                f.write_str("ignored: the link leads out of the artifacts directory")
            }
            Self::DanglingLink => f.write_str("ignored: the link leads nowhere"),
            Self::Unreadable(kind) => write!(f, "ignored: cannot be read ({kind})"),
        }
    }
}
