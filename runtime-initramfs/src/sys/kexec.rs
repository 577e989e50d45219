//! `kexec_load(2)` and `kexec_file_load(2)`, which neither nix nor a libc wraps.
//! Spec: `kexec_load(2)`; include/uapi/linux/kexec.h.

use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;

/// include/uapi/linux/kexec.h: `KEXEC_ARCH_AARCH64`.
const ARCH_AARCH64: libc::c_ulong = 183 << 16;

/// include/uapi/linux/kexec.h: `KEXEC_FILE_NO_INITRAMFS`.
const NO_INITRAMFS: libc::c_ulong = 4;

/// include/uapi/asm-generic/unistd.h, `arch/x86/entry/syscalls/syscall_64.tbl`: not every libc's table has it. `None`: the
/// architecture has other numbers.
const KEXEC_FILE_LOAD: Option<libc::c_long> = if cfg!(target_arch = "aarch64") {
    Some(294)
} else if cfg!(target_arch = "x86_64") {
    Some(320)
} else {
    None
};

/// Octets that the kernel copies, and where to.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// What is copied; zeros follow where the place is longer.
    pub octets: &'a [u8],
    /// The physical address.
    pub at: u64,
    /// Octets of the place.
    pub len: u64,
}

/// include/uapi/linux/kexec.h: `struct kexec_segment`.
#[repr(C)]
struct RawSegment {
    buf: *const libc::c_void,
    bufsz: libc::size_t,
    mem: *const libc::c_void,
    memsz: libc::size_t,
}

/// Loads segments for arm64; after [`crate::kexec`] starts it, the kernel jumps to `entry`, a physical address.
///
/// # Errors
/// What the kernel says; it checks the addresses.
pub fn load(entry: u64, segments: &[Segment<'_>]) -> Result<(), Errno> {
    let number = |value: u64| usize::try_from(value).map_err(|_| Errno::EADDRNOTAVAIL);
    let mut raw = Vec::with_capacity(segments.len());
    for segment in segments {
        raw.push(RawSegment {
            buf: segment.octets.as_ptr().cast(),
            bufsz: segment.octets.len(),
            mem: std::ptr::without_provenance(number(segment.at)?),
            memsz: number(segment.len)?,
        });
    }
    let entry = number(entry)?;
    // SAFETY: the kernel reads `raw.len()` segments, and through each the octets of a slice that outlives the call. It
    // writes nothing; the physical addresses are used when the machine is given up, and not by this process.
    let result = unsafe {
        libc::syscall(libc::SYS_kexec_load, entry, raw.len(), raw.as_ptr(), ARCH_AARCH64)
    };
    Errno::result(result).map(drop)
}

/// Loads a kernel from a file, an initial RAM file system from another, and a command line.
///
/// # Errors
/// What the kernel says; `ENOSYS` on architectures other than arm64 and `x86_64`.
pub fn load_file(
    kernel: BorrowedFd<'_>,
    initramfs: Option<BorrowedFd<'_>>,
    command_line: &CStr,
) -> Result<(), Errno> {
    let number = KEXEC_FILE_LOAD.ok_or(Errno::ENOSYS)?;
    let flags = if initramfs.is_some() { 0 } else { NO_INITRAMFS };
    let initramfs = initramfs.map_or(-1, |file| file.as_raw_fd());
    let line = command_line.to_bytes_with_nul();
    // SAFETY: the descriptors are open during the call, and the kernel reads the octets of the line with its end.
    let result = unsafe {
        libc::syscall(number, kernel.as_raw_fd(), initramfs, line.len(), line.as_ptr(), flags)
    };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn what_no_kernel_would_start_is_refused_by_the_kernel() {
        // Misaligned, outside of memory and for another machine: refused before anything is loaded, and by a machine
        // that does not allow it at all.
        let segments = [Segment { octets: b"no", at: u64::MAX, len: 1 }; 17];
        assert!(load(1, &segments).is_err());
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(load_file(file.as_fd(), None, c"").is_err());
    }
}
