//! Which physical memory a second kernel may be put into, from /proc/iomem.
//!
//! ```text
//! 40000000-bfffffff : System RAM
//!   40210000-41a5ffff : Kernel code
//!   41a60000-4215ffff : reserved
//!   42160000-4256ffff : Kernel data
//!   bb800000-bf7fffff : reserved
//! ```
//!
//! Free is "System RAM" at the outermost level without anything inside of it but the running kernel
//! itself, which is over when the second one is copied to its place. Other memory, as of hot-plugged and
//! virtual devices, has other names ("System RAM (kmem)") and is left alone.
//! Spec: kernel/resource.c (the form), arch/arm64/kernel/setup.c (which regions are entered).

use core::fmt;
use core::ops::Range;

/// Lines that are read; a large server has some hundreds.
const LINES_MAX: usize = 65_536;

/// The parts of the running kernel, all of which may be overwritten.
const RUNNING_KERNEL: &[&str] = &["Kernel code", "Kernel rodata", "Kernel data", "Kernel bss"];

/// Physical memory: what is there, and what of it is taken. Ranges in octets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryMap {
    ram: Vec<Range<u64>>,
    /// By their starts, as /proc/iomem has them.
    taken: Vec<Range<u64>>,
}

/// Why there is no memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The kernel shows this process zeros for addresses.
    Hidden,
    /// There is no "System RAM" in it.
    NoRam,
    /// The line of this number, from 1, has not the form of /proc/iomem.
    Line(usize),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hidden => f.write_str(
                "/proc/iomem shows no addresses to this process; run as root, with CAP_SYS_ADMIN",
            ),
            Self::NoRam => f.write_str("/proc/iomem has no \"System RAM\""),
            Self::Line(number) => write!(f, "/proc/iomem: line {number} is not understood"),
        }
    }
}

impl core::error::Error for Error {}

impl MemoryMap {
    /// Reads the text of /proc/iomem.
    ///
    /// # Errors
    /// A text that does not say where memory is.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut map = Self::default();
        let mut inside_ram = false;
        let mut hidden = false;
        for (index, line) in text.lines().enumerate() {
            if index >= LINES_MAX {
                return Err(Error::Line(index + 1));
            }
            let (range, name) = parse_line(line).ok_or(Error::Line(index + 1))?;
            if range == (0..1) {
                hidden |= name == "System RAM";
            } else if !line.starts_with(' ') {
                inside_ram = name == "System RAM";
                if inside_ram {
                    map.ram.push(range);
                }
            } else if inside_ram && !RUNNING_KERNEL.contains(&name) {
                map.take(range);
            }
        }
        match (map.ram.is_empty(), hidden) {
            (false, _) => Ok(map),
            (true, true) => Err(Error::Hidden),
            (true, false) => Err(Error::NoRam),
        }
    }

    /// Takes a range out of what is free.
    pub fn take(&mut self, range: Range<u64>) {
        let place = self.taken.partition_point(|taken| taken.start <= range.start);
        self.taken.insert(place, range);
    }

    /// The lowest free range of `len` octets whose start is a multiple of `align` (a power of two) and
    /// that lies in `within`.
    #[must_use]
    pub fn lowest(&self, len: u64, align: u64, within: &Range<u64>) -> Option<Range<u64>> {
        let lowest_in = |ram: &Range<u64>| {
            let limit = ram.end.min(within.end);
            let mut start = align_up(ram.start.max(within.start), align)?;
            loop {
                let candidate = start..start.checked_add(len)?;
                if candidate.end > limit {
                    return None;
                }
                let overlaps = |taken: &&Range<u64>| {
                    taken.start < candidate.end && candidate.start < taken.end
                };
                match self.taken.iter().find(overlaps) {
                    None => return Some(candidate),
                    // Ends behind where the candidate starts, so this gets on.
                    Some(taken) => start = align_up(taken.end, align)?,
                }
            }
        };
        self.ram.iter().filter_map(lowest_in).min_by_key(|range| range.start)
    }

    /// All memory, free or not, in octets.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.ram.iter().fold(0, |sum, ram| sum.saturating_add(ram.end.saturating_sub(ram.start)))
    }

    /// The longest free range, in octets: what a refusal shows.
    #[must_use]
    pub fn longest(&self) -> u64 {
        let mut longest = 0;
        for ram in &self.ram {
            let mut start = ram.start;
            for range in &self.taken {
                if range.end > start && range.start < ram.end {
                    longest = longest.max(range.start.saturating_sub(start));
                    start = range.end;
                }
            }
            longest = longest.max(ram.end.saturating_sub(start));
        }
        longest
    }
}

/// The next multiple of `align`, a power of two; `None` beyond the address space.
pub(super) fn align_up(value: u64, align: u64) -> Option<u64> {
    value.checked_next_multiple_of(align)
}

/// `START-END : NAME` after any white space; END is the last octet.
fn parse_line(line: &str) -> Option<(Range<u64>, &str)> {
    // One character is searched for with less code than a text.
    let (range, name) = line.trim_start_matches(' ').split_once(':')?;
    let (range, name) = (range.strip_suffix(' ')?, name.strip_prefix(' ')?);
    let (start, last) = range.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let last = u64::from_str_radix(last, 16).ok()?;
    (start <= last).then_some(())?;
    // A range up to the last octet of the address space holds no memory that is missed for one octet.
    Some((start..last.saturating_add(1), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANYWHERE: Range<u64> = 0..u64::MAX;
    const MIB: u64 = 1 << 20;

    const SMALL: &str = "\
09000000-09000fff : pl011@9000000
  09000000-09000fff : 9000000.pl011 pl011@9000000
40000000-5fffffff : System RAM
  40010000-415fffff : Kernel code
  41600000-41c3ffff : reserved
  41c40000-41feffff : Kernel data
  48000000-480fffff : reserved
4010000000-401fffffff : PCI ECAM
";

    #[test]
    fn free_memory_is_ram_without_what_is_reserved() {
        let map = MemoryMap::parse(SMALL).unwrap();
        assert_eq!(map.total(), 512 * MIB);
        assert_eq!(map.lowest(MIB, 2 * MIB, &ANYWHERE), Some(0x4000_0000..0x4010_0000));
        assert_eq!(map.lowest(30 * MIB, 2 * MIB, &ANYWHERE), Some(0x41e0_0000..0x43c0_0000));
        assert_eq!(map.lowest(128 * MIB, 2 * MIB, &ANYWHERE), Some(0x4820_0000..0x5020_0000));
        assert_eq!(map.lowest(400 * MIB, 2 * MIB, &ANYWHERE), None);
        assert_eq!(map.longest(), 0x5fff_ffff + 1 - 0x4810_0000);
    }

    #[test]
    fn a_search_stays_where_it_is_told_to() {
        let map = MemoryMap::parse(SMALL).unwrap();
        let within = 0x4900_0000..0x4a00_0000;
        assert_eq!(map.lowest(MIB, MIB, &within), Some(0x4900_0000..0x4910_0000));
        assert_eq!(map.lowest(17 * MIB, MIB, &within), None);
    }

    #[test]
    fn what_was_taken_is_not_given_again() {
        let mut map = MemoryMap::parse(SMALL).unwrap();
        let first = map.lowest(30 * MIB, 2 * MIB, &ANYWHERE).unwrap();
        map.take(first.clone());
        let second = map.lowest(30 * MIB, 2 * MIB, &ANYWHERE).unwrap();
        assert_eq!(second, first.end..first.end + 30 * MIB);
    }

    #[test]
    fn regions_of_other_kinds_of_memory_and_crash_kernels_are_left_alone() {
        let text = "00001000-0009ffff : System RAM\n\
                    00100000-3fffffff : System RAM\n  01000000-01ffffff : Kernel code\n  \
                    02000000-20ffffff : Crash kernel\n\
                    100000000-13fffffff : System RAM (kmem)\n";
        let map = MemoryMap::parse(text).unwrap();
        assert_eq!(map.lowest(64 * MIB, 2 * MIB, &ANYWHERE), Some(0x2100_0000..0x2500_0000));
        assert_eq!(map.lowest(1024 * MIB, 2 * MIB, &ANYWHERE), None);
    }

    #[test]
    fn hidden_addresses_and_texts_without_ram_are_told_apart() {
        let hidden = "00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\n";
        assert_eq!(MemoryMap::parse(hidden), Err(Error::Hidden));
        assert_eq!(MemoryMap::parse("00000000-00000fff : Reserved\n"), Err(Error::NoRam));
        assert_eq!(MemoryMap::parse(""), Err(Error::NoRam));
        assert_eq!(MemoryMap::parse("40000000-4fffffff : System RAM\nx\n"), Err(Error::Line(2)));
        assert_eq!(MemoryMap::parse("5-4 : System RAM\n"), Err(Error::Line(1)));
    }

    #[test]
    fn ranges_at_the_end_of_the_address_space_do_not_overflow() {
        let map = MemoryMap::parse("ffffffffffe00000-ffffffffffffffff : System RAM\n").unwrap();
        assert_eq!(
            map.lowest(MIB, 2 * MIB, &ANYWHERE),
            Some(0xffff_ffff_ffe0_0000..0xffff_ffff_fff0_0000)
        );
        assert_eq!(map.lowest(u64::MAX, 2 * MIB, &ANYWHERE), None);
    }
}
