//! Loading an image by one of the kernel's two calls, and starting it.

use std::ffi::CString;
use std::fmt;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsFd as _;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::reboot::{RebootMode, reboot};

use super::fdt::{Chosen, Fdt, patch};
use super::header::{Arm64Header, Machine, check_kind};
use super::layout::Layout;
use super::memory::MemoryMap;
use super::refusal::{Call, Refusal};
use super::trampoline::trampoline;
use super::{Error, Image, MACHINE_TREE, Origin, devices, length};
use crate::sys;
use crate::sys::kexec::Segment;

/// Where physical memory is.
const IOMEM: &str = "/proc/iomem";

/// An image that the kernel holds; shown as how it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded(How);

#[derive(Clone, Debug, PartialEq, Eq)]
enum How {
    Addresses(Layout, Origin),
    Files,
}

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            How::Addresses(layout, origin) => {
                let Layout { kernel, device_tree, trampoline: _, initrd } = layout;
                write!(f, "loaded the kernel to {:#x}", kernel.start)?;
                if let Some(initrd) = initrd {
                    write!(f, ", the initramfs to {:#x}", initrd.start)?;
                }
                let origin = match origin {
                    Origin::Image => "the image's",
                    Origin::Machine => "this machine's",
                };
                write!(f, ", {origin} device tree to {:#x}", device_tree.start)
            }
            How::Files => f.write_str("loaded by kexec_file_load"),
        }
    }
}

/// Loads an image. What was loaded before is replaced. The image's memory is free afterwards.
///
/// # Errors
/// An image that this machine does not start, or a refusal of the kernel.
pub fn load(image: Image) -> Result<Loaded, Error> {
    match Machine::own().ok_or(Error::Architecture)? {
        Machine::X86 => {
            check_kind(&image.kernel, Machine::X86).map_err(Error::Header)?;
            by_files(image)
        }
        Machine::Arm64 => match by_addresses(&image) {
            Err(Error::Refused(refusal)) if refusal.is_of_this_call_alone() => {
                if image.device_tree.is_some() {
                    return Err(Error::TreeForbidden(refusal));
                }
                match by_files(image) {
                    // The first refusal says more than that the second call is not built in.
                    Err(Error::Refused(Refusal { errno: Errno::ENOSYS, .. })) => {
                        Err(Error::Refused(refusal))
                    }
                    other => other,
                }
            }
            other => other,
        },
    }
}

impl Loaded {
    /// Gives the machine to the second kernel. File systems are written back first, and network devices stopped.
    /// Returns when that failed; the devices work again then.
    #[must_use]
    pub fn start(self) -> Error {
        nix::unistd::sync();
        let stopped = devices::stop_network();
        let Err(errno) = reboot(RebootMode::RB_KEXEC);
        devices::start(stopped);
        Error::Refused(Refusal::on_this_machine(Call::Start, errno))
    }
}

/// arm64, `kexec_load(2)`.
fn by_addresses(image: &Image) -> Result<Loaded, Error> {
    let header = Arm64Header::parse(&image.kernel).map_err(Error::Header)?;
    let iomem = fs::read_to_string(IOMEM).map_err(|error| Error::Read(IOMEM, error))?;
    let memory = MemoryMap::parse(&iomem).map_err(Error::Memory)?;
    let machine = fs::read(MACHINE_TREE).map_err(|error| Error::Read(MACHINE_TREE, error))?;
    let machine = Fdt::parse(&machine).map_err(|e| Error::DeviceTree(Origin::Machine, e))?;
    let (origin, tree, machine) = match &image.device_tree {
        None => (Origin::Machine, machine, None),
        Some(tree) => {
            let tree = Fdt::parse(tree).map_err(|e| Error::DeviceTree(Origin::Image, e))?;
            (Origin::Image, tree, Some(machine))
        }
    };
    let patched = |chosen: &Chosen<'_>| {
        patch(&tree, machine.as_ref(), chosen).map_err(|e| Error::DeviceTree(origin, e))
    };
    let initramfs = image.initramfs.as_deref().filter(|file| !file.is_empty());
    let mut chosen = Chosen {
        command_line: &image.command_line,
        initrd: initramfs.map(|_| 0..0),
        kaslr_seed: Some(kaslr_seed()),
        rng_seed: rng_seed(),
    };
    // The addresses do not change how long it is.
    let tree_len = length(&patched(&chosen)?);
    let initramfs_len = initramfs.map_or(0, length);
    let layout = Layout::find(&memory, &header, tree_len, initramfs_len).map_err(Error::Layout)?;
    chosen.initrd =
        layout.initrd.as_ref().map(|at| at.start..at.start.saturating_add(initramfs_len));
    let tree = patched(&chosen)?;
    let code = trampoline(layout.device_tree.start, layout.kernel.start);
    let mut segments = vec![
        segment(&image.kernel, &layout.kernel),
        segment(&tree, &layout.device_tree),
        segment(&code, &layout.trampoline),
    ];
    segments.extend(initramfs.zip(layout.initrd.as_ref()).map(|(file, at)| segment(file, at)));
    sys::kexec::load(layout.trampoline.start, &segments)
        .map_err(|errno| Error::Refused(Refusal::on_this_machine(Call::Load, errno)))?;
    Ok(Loaded(How::Addresses(layout, origin)))
}

fn segment<'a>(octets: &'a [u8], at: &std::ops::Range<u64>) -> Segment<'a> {
    Segment { octets, at: at.start, len: at.end.saturating_sub(at.start) }
}

/// `kexec_file_load(2)`.
fn by_files(image: Image) -> Result<Loaded, Error> {
    let Image { kernel, initramfs, device_tree: _, command_line } = image;
    let kernel_file = in_memory(&kernel)?;
    // Not twice in memory while the kernel makes its own copy.
    drop(kernel);
    let packed = initramfs.filter(|file| !file.is_empty());
    let initramfs = packed.as_deref().map(in_memory).transpose()?;
    drop(packed);
    let line = CString::new(command_line).map_err(|e| Error::Memfd(e.into()))?;
    sys::kexec::load_file(kernel_file.as_fd(), initramfs.as_ref().map(File::as_fd), &line)
        .map_err(|errno| Error::Refused(Refusal::on_this_machine(Call::FileLoad, errno)))?;
    Ok(Loaded(How::Files))
}

/// A file in memory with these octets.
fn in_memory(octets: &[u8]) -> Result<File, Error> {
    let write = || {
        let mut file = File::from(memfd_create(c"phase-boot", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(octets)?;
        Ok(file)
    };
    write().map_err(Error::Memfd)
}

/// Where the second kernel puts itself need only be hard to guess.
fn kaslr_seed() -> [u8; 8] {
    let mut seed = [0; 8];
    sys::random::fill_insecurely(&mut seed);
    seed
}

/// None before the running kernel is seeded: the second one may credit what it is given as entropy.
fn rng_seed() -> Option<[u8; 32]> {
    let mut seed = [0; 32];
    sys::random::try_fill(&mut seed).ok().map(|()| seed)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use super::*;

    fn image(kernel: &[u8]) -> Image {
        Image {
            kernel: kernel.to_vec(),
            initramfs: None,
            device_tree: None,
            command_line: String::new(),
        }
    }

    #[test]
    fn what_is_no_kernel_is_refused_before_the_running_one_is_asked() {
        assert!(matches!(load(image(b"\x1f\x8b")), Err(Error::Header(_))));
    }

    #[test]
    fn a_file_in_memory_has_the_octets_of_the_image() {
        let mut file = in_memory(b"kernel").unwrap();
        file.rewind().unwrap();
        let mut octets = Vec::new();
        file.read_to_end(&mut octets).unwrap();
        assert_eq!(octets, b"kernel");
    }

    #[test]
    fn how_an_image_was_loaded_is_shown() {
        let layout = Layout {
            kernel: 0x4160_0000..0x4400_0000,
            device_tree: 0x4400_0000..0x4401_0000,
            trampoline: 0x441f_0000..0x4420_0000,
            initrd: Some(0x4420_0000..0x4430_0000),
        };
        assert_eq!(
            Loaded(How::Addresses(layout, Origin::Machine)).to_string(),
            "loaded the kernel to 0x41600000, the initramfs to 0x44200000, this machine's device tree to 0x44000000"
        );
    }
}
