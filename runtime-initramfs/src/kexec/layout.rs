//! Where the parts of a second arm64 kernel go in physical memory.
//!
//! ```text
//!   kernel:   a multiple of 2 MiB + text_offset, image_size octets
//!   control:  one block of 2 MiB: the device tree at its start, the trampoline in its last 64 KiB
//!   initrd:   a multiple of 64 KiB
//! ```
//!
//! Each goes to the lowest free place: kernels before Linux 4.6 cannot use memory below themselves, and
//! kernels before 4.2 look for the device tree within 512 MiB. Every address and length is a multiple of
//! 64 KiB, which is a whole number of pages whatever the page size of the running kernel.
//! Spec: Documentation/arch/arm64/booting.rst, "2. Setup the device tree", "4. Call the kernel image".

use core::fmt;
use core::ops::Range;

use super::header::Arm64Header;
use super::memory::{MemoryMap, align_up};

/// booting.rst: the kernel is placed from a 2 MiB boundary, and the device tree is mapped by blocks of 2 MiB.
pub(super) const BLOCK: u64 = 2 << 20;

/// The largest page of arm64; `kexec_load` wants whole pages.
pub(super) const PAGE: u64 = 64 << 10;

/// booting.rst: the initrd and the kernel lie in one window that starts at a multiple of 1 GiB...
const WINDOW_ALIGN: u64 = 1 << 30;

/// ...and is not longer than 32 GiB.
const WINDOW_LEN: u64 = 32 << 30;

/// booting.rst: a device tree has at most 2 MiB; in this layout the trampoline takes the last 64 KiB of them.
pub const DEVICE_TREE_MAX: u64 = BLOCK - PAGE;

/// Octets of the trampoline's place.
pub(super) const TRAMPOLINE_MAX: u64 = PAGE;

/// The places, whole pages each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The kernel, from its first octet; the data that it zeroes included.
    pub kernel: Range<u64>,
    /// The device tree.
    pub device_tree: Range<u64>,
    /// The code that runs between the kernels.
    pub trampoline: Range<u64>,
    /// The initial RAM file system, where there is one.
    pub initrd: Option<Range<u64>>,
}

/// Which part did not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The kernel.
    Kernel,
    /// The device tree and the trampoline.
    DeviceTree,
    /// The initial RAM file system.
    Initrd,
}

/// Why there is no layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No free range is long enough.
    NoRoom {
        /// For which part.
        part: Part,
        /// Octets that it needs in one piece.
        needs: u64,
        /// Octets of the longest free range.
        longest: u64,
        /// Octets of memory, free or not.
        total: u64,
    },
    /// The device tree has more octets than [`DEVICE_TREE_MAX`]: this many.
    DeviceTree(u64),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom { part, needs, longest, total } => {
                let part = match part {
                    Part::Kernel => "kernel",
                    Part::DeviceTree => "device tree",
                    Part::Initrd => "initramfs",
                };
                let kib = |octets: &u64| octets.div_ceil(1024);
                write!(
                    f,
                    "no room in memory for the {part}: it needs {} KiB in one piece, the longest free piece of \
                     {} KiB has {} KiB; give the machine more memory or make the image smaller",
                    kib(needs),
                    kib(total),
                    longest / 1024
                )
            }
            Self::DeviceTree(len) => {
                write!(
                    f,
                    "the device tree has {len} octets, {DEVICE_TREE_MAX} at most can be handed over"
                )
            }
        }
    }
}

impl core::error::Error for Error {}

impl Layout {
    /// Finds places for a kernel with this header, a device tree and an initrd of these lengths; an initrd of
    /// 0 octets is none.
    ///
    /// # Errors
    /// Too little memory in one piece, or a device tree that is too long.
    pub fn find(
        memory: &MemoryMap,
        header: &Arm64Header,
        device_tree_len: u64,
        initrd_len: u64,
    ) -> Result<Self, Error> {
        if device_tree_len > DEVICE_TREE_MAX {
            return Err(Error::DeviceTree(device_tree_len));
        }
        let mut memory = memory.clone();
        let mut place = |part, needs: Option<u64>, align, within: &Range<u64>| {
            let found = needs.and_then(|needs| memory.lowest(needs, align, within));
            let longest = memory.longest();
            let needs = needs.unwrap_or(u64::MAX);
            let found = found.ok_or_else(|| Error::NoRoom {
                part,
                needs,
                longest,
                total: memory.total(),
            })?;
            memory.take(found.clone());
            Ok(found)
        };
        let anywhere = 0..u64::MAX;
        let whole =
            align_up(header.image_size, PAGE).and_then(|len| len.checked_add(header.text_offset));
        let base = place(Part::Kernel, whole, BLOCK, &anywhere)?;
        let kernel = base.start.saturating_add(header.text_offset)..base.end;
        let control = place(Part::DeviceTree, Some(BLOCK), BLOCK, &anywhere)?;
        let split = control.end.saturating_sub(TRAMPOLINE_MAX);
        let device_tree_end = control.start.saturating_add(device_tree_len.next_multiple_of(PAGE));
        let initrd = if initrd_len == 0 {
            None
        } else {
            Some(place(Part::Initrd, align_up(initrd_len, PAGE), PAGE, &window(&kernel))?)
        };
        Ok(Self {
            kernel,
            device_tree: control.start..device_tree_end,
            trampoline: split..control.end,
            initrd,
        })
    }
}

/// Where an initrd may be beside this kernel.
fn window(kernel: &Range<u64>) -> Range<u64> {
    let last = align_up(kernel.end, WINDOW_ALIGN).unwrap_or(u64::MAX);
    let first = kernel.start - kernel.start % WINDOW_ALIGN;
    last.saturating_sub(WINDOW_LEN)..first.saturating_add(WINDOW_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    const DEBIAN: Arm64Header = Arm64Header { text_offset: 0, image_size: 0x1ab_0000 };

    /// /proc/iomem of QEMU 7.2's `virt` under Debian's kernel 6.1.192, by MiB of memory.
    const QEMU_512: &str = include_str!("../../../tests/vectors/iomem/qemu_virt_512.txt");
    const QEMU_128: &str = include_str!("../../../tests/vectors/iomem/qemu_virt_128.txt");

    fn memory(text: &str) -> MemoryMap {
        MemoryMap::parse(text).unwrap()
    }

    /// Two gibibytes at 0 and `more` above 4 GiB, as boards with memory on both sides of their devices have.
    fn two_banks(more: u64) -> MemoryMap {
        let end = 4 * GIB + more - 1;
        memory(&format!("00000000-7fffffff : System RAM\n100000000-{end:x} : System RAM\n"))
    }

    fn check(memory: &MemoryMap, header: &Arm64Header, tree: u64, initrd: u64) -> Layout {
        let layout = Layout::find(memory, header, tree, initrd).unwrap();
        let Layout { kernel, device_tree, trampoline, initrd: initrd_at } = layout.clone();
        assert_eq!((kernel.start - header.text_offset) % BLOCK, 0);
        assert!(kernel.end - kernel.start >= header.image_size);
        assert_eq!(device_tree.start % BLOCK, 0);
        assert!(device_tree.end - device_tree.start >= tree);
        assert_eq!(device_tree.start / BLOCK, (device_tree.end - 1) / BLOCK);
        let mut all = vec![kernel.clone(), device_tree, trampoline];
        all.extend(initrd_at.clone());
        all.sort_by_key(|range| range.start);
        assert!(all.windows(2).all(|pair| pair[0].end <= pair[1].start), "{all:x?}");
        assert!(all.iter().all(|range| range.start % PAGE == 0 && range.end % PAGE == 0));
        assert_eq!(initrd_at.is_some(), initrd > 0);
        if let Some(at) = initrd_at {
            assert!(at.end - at.start >= initrd);
            let start = kernel.start.min(at.start) / GIB * GIB;
            assert!(kernel.end.max(at.end) - start <= 32 * GIB);
        }
        layout
    }

    #[test]
    fn a_kernel_of_debian_fits_into_recorded_machines() {
        for text in [QEMU_512, QEMU_128] {
            check(&memory(text), &DEBIAN, 7_500, 600_000);
        }
    }

    #[test]
    fn every_part_is_aligned_for_images_of_all_sizes() {
        for text_offset in [0, 0x8_0000] {
            for image_size in [1, 0x1_0000, 0x1ab_0000, 0x1ab_0001, 300 * MIB] {
                let header = Arm64Header { text_offset, image_size };
                for (tree, initrd) in [(1, 0), (65_536, 1), (DEVICE_TREE_MAX, 700 * MIB)] {
                    check(&two_banks(GIB), &header, tree, initrd);
                }
            }
        }
    }

    #[test]
    fn without_an_initrd_there_is_no_place_for_it() {
        assert_eq!(check(&two_banks(GIB), &DEBIAN, 100, 0).initrd, None);
    }

    #[test]
    fn an_initrd_that_is_larger_than_the_first_bank_goes_to_the_second() {
        let layout = check(&two_banks(4 * GIB), &DEBIAN, 100, 3 * GIB);
        assert_eq!(layout.initrd.unwrap().start, 4 * GIB);
    }

    #[test]
    fn an_initrd_is_not_placed_outside_of_the_kernels_window() {
        let far = memory("00000000-03ffffff : System RAM\n1000000000-17ffffffff : System RAM\n");
        let error = Layout::find(&far, &DEBIAN, 100, 100 * MIB).unwrap_err();
        assert!(matches!(error, Error::NoRoom { part: Part::Initrd, .. }), "{error}");
    }

    #[test]
    fn what_has_no_room_is_named_with_numbers() {
        let small = memory("40000000-43ffffff : System RAM\n  40000000-427fffff : reserved\n");
        let error = Layout::find(&small, &DEBIAN, 100, MIB).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no room in memory for the kernel: it needs 27328 KiB in one piece, the longest free piece of 65536 \
             KiB has 24576 KiB; give the machine more memory or make the image smaller"
        );
        let huge = Layout::find(&small, &DEBIAN, DEVICE_TREE_MAX + 1, MIB);
        assert_eq!(huge, Err(Error::DeviceTree(DEVICE_TREE_MAX + 1)));
        let absurd = Layout::find(&two_banks(GIB), &DEBIAN, 100, u64::MAX);
        assert!(matches!(absurd, Err(Error::NoRoom { part: Part::Initrd, .. })));
    }
}
