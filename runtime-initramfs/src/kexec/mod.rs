//! Starting the verified image: a second kernel is loaded into memory and takes the machine over.
//!
//! On arm64 by `kexec_load(2)`, which takes addresses: this program finds the places, writes the device tree and brings
//! the code between the kernels. It needs no more memory than the image once more, and it is the only way to hand over
//! a device tree that came with the image. Where the running kernel forbids it (lockdown and IMA want a file whose
//! signature they can check) or lacks it, `kexec_file_load(2)` is tried. On `x86_64` always the latter.
//!
//! Nothing here knows what was verified: the caller hands over octets that were, from memory and not from a file that
//! could change in between.
//! Spec: Documentation/arch/arm64/booting.rst; `kexec_load(2)`.
//! Not here: crash kernels; `x86_64` by `kexec_load(2)`; other architectures.

pub mod command_line;
pub mod device_tree;
mod devices;
pub mod fdt;
pub mod header;
pub mod layout;
mod load;
pub mod memory;
pub mod refusal;
mod trampoline;

pub use load::{Loaded, load};

use std::fmt;
use std::io;

/// A file of the running kernel about its own device tree.
pub const MACHINE_TREE: &str = "/sys/firmware/fdt";

/// What is to be started; verified by the caller.
#[derive(Clone, Debug)]
pub struct Image {
    /// The kernel.
    pub kernel: Vec<u8>,
    /// The initial RAM file system.
    pub initramfs: Option<Vec<u8>>,
    /// A device tree that came with the image; `None`: the running machine's.
    pub device_tree: Option<Vec<u8>>,
    /// The second kernel's command line ([`command_line::join`]).
    pub command_line: String,
}

/// Why an image was not started.
#[derive(Debug)]
pub enum Error {
    /// This program starts no kernels on this architecture.
    Architecture,
    /// The kernel is not one that this machine starts.
    Header(header::Error),
    /// A file of the running kernel cannot be read.
    Read(&'static str, io::Error),
    /// Where memory is cannot be found out.
    Memory(memory::Error),
    /// There is no room.
    Layout(layout::Error),
    /// The device tree of this origin cannot be used.
    DeviceTree(Origin, fdt::Error),
    /// The image, or the command line, cannot be put into a file in memory.
    Memfd(io::Error),
    /// The running kernel refused.
    Refused(refusal::Refusal),
    /// The running kernel takes files alone (the refusal says why), and no device tree with them.
    TreeForbidden(refusal::Refusal),
}

/// Where a device tree came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// With the image.
    Image,
    /// From the running machine.
    Machine,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Architecture => {
                f.write_str("phase-boot starts kernels on arm64 and x86_64 alone")
            }
            Self::Header(error) => error.fmt(f),
            Self::Read(path, error) => {
                write!(f, "{path}: {error}; is it mounted, and is this run as root?")
            }
            Self::Memory(error) => error.fmt(f),
            Self::Layout(error) => error.fmt(f),
            Self::DeviceTree(Origin::Image, error) => {
                write!(f, "the image's device tree cannot be used: {error}")
            }
            Self::DeviceTree(Origin::Machine, error) => {
                write!(f, "{MACHINE_TREE} cannot be used: {error}")
            }
            Self::Memfd(error) => write!(f, "no file in memory for the image: {error}"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::TreeForbidden(refusal) => write!(
                f,
                "{refusal}; nor can the device tree of the image be handed over another way: provide the image \
                 without one"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Architecture => None,
            Self::Header(error) => Some(error),
            Self::Read(_, error) | Self::Memfd(error) => Some(error),
            Self::Memory(error) => Some(error),
            Self::Layout(error) => Some(error),
            Self::DeviceTree(_, error) => Some(error),
            Self::Refused(refusal) | Self::TreeForbidden(refusal) => Some(refusal),
        }
    }
}

/// Octets of a file in memory.
fn length(file: &[u8]) -> u64 {
    u64::try_from(file.len()).unwrap_or(u64::MAX)
}
