//! What kind of file a kernel is, and what an arm64 `Image` says of itself.
//!
//! A kernel that cannot be started is told by its first octets, so that the message says what it is and
//! what to do instead. Little-endian `Image` files of Linux 3.17 and later are taken.
//! Spec: Documentation/arch/arm64/booting.rst, "4. Call the kernel image"; Documentation/arch/x86/boot.rst,
//! "The Real-Mode Kernel Header".
//! Not here: unpacking; the signature inside a PE file, which is the kernel's own business.

use core::fmt;

/// Where the header of an arm64 `Image` ends.
const ARM64_HEADER_LEN: usize = 64;

/// Documentation/arch/arm64/booting.rst: bit 0 of `flags` is 1 for a big-endian kernel.
const FLAG_BIG_ENDIAN: u64 = 1;

/// No arm64 kernel is this large; a header that says so is damaged.
const IMAGE_SIZE_MAX: u64 = 1 << 30;

/// The architectures a kernel can be for, as far as this program starts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// arm64: an uncompressed `Image`.
    Arm64,
    /// `x86_64`: a `bzImage`.
    X86,
}

impl Machine {
    /// The machine that this program was built for; `None` where it cannot start a kernel.
    #[must_use]
    pub const fn own() -> Option<Self> {
        if cfg!(target_arch = "aarch64") {
            Some(Self::Arm64)
        } else if cfg!(target_arch = "x86_64") {
            Some(Self::X86)
        } else {
            None
        }
    }
}

/// What a file is, by its first octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An arm64 `Image`.
    Arm64Image,
    /// An x86 `bzImage`.
    BzImage,
    /// A riscv `Image`.
    RiscvImage,
    /// A 32-bit ARM `zImage`.
    ArmZimage,
    /// An EFI program that unpacks a kernel (`CONFIG_EFI_ZBOOT`).
    Zboot,
    /// Another EFI program, as a unified kernel image is.
    Efi,
    /// An ELF file, as `vmlinux` is.
    Elf,
    /// A file packed by the program of this name.
    Packed(&'static str),
    /// An image for U-Boot.
    Uimage,
    /// A device tree, or a FIT image that is written as one.
    DeviceTree,
    /// Nothing that is known.
    Unknown,
}

/// Signatures at the start of a file.
const SIGNATURES: &[(&[u8], Kind)] = &[
    (b"\x7fELF", Kind::Elf),
    (b"\x1f\x8b", Kind::Packed("gzip")),
    (b"\x28\xb5\x2f\xfd", Kind::Packed("zstd")),
    (b"\xfd7zXZ\0", Kind::Packed("xz")),
    (b"\x02\x21\x4c\x18", Kind::Packed("lz4")),
    (b"\x04\x22\x4d\x18", Kind::Packed("lz4")),
    (b"BZh", Kind::Packed("bzip2")),
    (b"\x5d\0\0", Kind::Packed("lzma")),
    (b"\x89LZO", Kind::Packed("lzop")),
    (b"\x27\x05\x19\x56", Kind::Uimage),
    (b"\xd0\x0d\xfe\xed", Kind::DeviceTree),
];

impl Kind {
    /// Looks at a whole file or its first 1,024 octets.
    #[must_use]
    pub fn of(file: &[u8]) -> Self {
        let has = |at: usize, magic: &[u8]| file.get(at..).is_some_and(|f| f.starts_with(magic));
        // An `Image` and a `bzImage` may begin as an EFI program does, so their own marks come first.
        if has(56, b"ARM\x64") {
            Self::Arm64Image
        } else if has(0x202, b"HdrS") {
            Self::BzImage
        } else if has(56, b"RSC\x05") {
            Self::RiscvImage
        } else if has(36, b"\x18\x28\x6f\x01") {
            Self::ArmZimage
        } else if has(0, b"MZ") && has(4, b"zimg") {
            Self::Zboot
        } else if has(0, b"MZ") {
            Self::Efi
        } else {
            let found = SIGNATURES.iter().find(|(magic, _)| has(0, magic));
            found.map_or(Self::Unknown, |(_, kind)| *kind)
        }
    }
}

/// What the header of an arm64 `Image` says; little-endian, checked for sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arm64Header {
    /// Octets from a 2 MiB boundary to the image.
    pub text_offset: u64,
    /// Octets from the start of the image that the kernel needs, its zeroed data included.
    pub image_size: u64,
}

/// Why a kernel cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It is of another kind than this machine starts.
    Kind {
        /// What it is.
        is: Kind,
        /// For which machine one is needed.
        wants: Machine,
    },
    /// An arm64 kernel without the size of its image: older than Linux 3.17.
    TooOld,
    /// An arm64 kernel for big-endian machines.
    BigEndian,
    /// A header whose numbers make no sense.
    Damaged(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind { is, wants } => describe_kind(f, *is, *wants),
            Self::TooOld => f.write_str(
                "the kernel's header has no image size, so it is older than Linux 3.17; provide a later one",
            ),
            Self::BigEndian => f.write_str(
                "the kernel is built for big-endian machines (CONFIG_CPU_BIG_ENDIAN); provide a little-endian one",
            ),
            Self::Damaged(what) => {
                write!(f, "the kernel's header is damaged ({what}); provide the file anew")
            }
        }
    }
}

impl core::error::Error for Error {}

fn describe_kind(f: &mut fmt::Formatter<'_>, is: Kind, wants: Machine) -> fmt::Result {
    let (machine, wanted) = match wants {
        Machine::Arm64 => ("arm64", "an uncompressed arm64 Image (arch/arm64/boot/Image)"),
        Machine::X86 => ("x86_64", "a bzImage (arch/x86/boot/bzImage)"),
    };
    write!(f, "the kernel is ")?;
    match is {
        Kind::Arm64Image => f.write_str("an arm64 Image")?,
        Kind::BzImage => f.write_str("an x86 bzImage")?,
        Kind::RiscvImage => f.write_str("a riscv Image")?,
        Kind::ArmZimage => f.write_str("a zImage for 32-bit ARM")?,
        Kind::Zboot => f.write_str("an EFI zboot image, which only EFI firmware unpacks")?,
        Kind::Efi => f.write_str(
            "an EFI program, as a unified kernel image is, without a kernel that kexec takes",
        )?,
        Kind::Elf => f.write_str("an ELF file, as vmlinux is")?,
        Kind::Packed(packer) => {
            return write!(
                f,
                "packed with {packer}; {machine} needs {wanted}: unpack it before it is provided"
            );
        }
        Kind::Uimage => f.write_str("an image for U-Boot (uImage)")?,
        Kind::DeviceTree => f.write_str("a device tree or a FIT image")?,
        Kind::Unknown => f.write_str("no kernel of a known kind")?,
    }
    write!(f, "; {machine} needs {wanted}")
}

/// Checks that a kernel is of the kind that `machine` starts.
///
/// # Errors
/// [`Error::Kind`] with what it is.
pub fn check_kind(kernel: &[u8], machine: Machine) -> Result<(), Error> {
    let is = Kind::of(kernel);
    let fits =
        matches!((is, machine), (Kind::Arm64Image, Machine::Arm64) | (Kind::BzImage, Machine::X86));
    if fits { Ok(()) } else { Err(Error::Kind { is, wants: machine }) }
}

impl Arm64Header {
    /// Reads the header of an arm64 `Image`.
    ///
    /// # Errors
    /// Another kind of file, or one that this program does not start.
    pub fn parse(kernel: &[u8]) -> Result<Self, Error> {
        check_kind(kernel, Machine::Arm64)?;
        let header = kernel.get(..ARM64_HEADER_LEN).ok_or(Error::Damaged("it is cut off"))?;
        let field = |at: usize| {
            let octets = header.get(at..).and_then(|rest| rest.first_chunk::<8>());
            octets.map_or(0, |octets| u64::from_le_bytes(*octets))
        };
        let (text_offset, image_size, flags) = (field(8), field(16), field(24));
        if image_size == 0 {
            return Err(Error::TooOld);
        }
        if flags & FLAG_BIG_ENDIAN != 0 {
            return Err(Error::BigEndian);
        }
        if text_offset >= super::layout::BLOCK {
            return Err(Error::Damaged("its text offset is 2 MiB or more"));
        }
        if !text_offset.is_multiple_of(super::layout::PAGE) {
            return Err(Error::Damaged("its text offset is no multiple of 64 KiB"));
        }
        if image_size > IMAGE_SIZE_MAX {
            return Err(Error::Damaged("its image size is more than 1 GiB"));
        }
        if image_size < super::length(kernel) {
            return Err(Error::Damaged("its image size is less than the file"));
        }
        Ok(Self { text_offset, image_size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first 64 octets of a Debian kernel 6.1 for arm64 (`vmlinuz-6.1.0-56-cloud-arm64`).
    const DEBIAN: &str = "4d5a40fa46634e1400000000000000000000ab01000000000a000000000000000000000000000000\
                          00000000000000000000000000000000\
                          41524d6440000000";

    fn debian() -> Vec<u8> {
        let digit = |c: u8| (c as char).to_digit(16).unwrap() as u8;
        let digits: Vec<u8> = DEBIAN.bytes().map(digit).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn file(at: usize, magic: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 1024];
        file[at..at + magic.len()].copy_from_slice(magic);
        file
    }

    fn check(file: &[u8], machine: Machine, text: &str) {
        assert_eq!(check_kind(file, machine).unwrap_err().to_string(), text);
    }

    #[test]
    fn the_header_of_a_real_kernel_is_read() {
        let header = Arm64Header::parse(&debian()).unwrap();
        assert_eq!(header, Arm64Header { text_offset: 0, image_size: 0x1ab_0000 });
    }

    #[test]
    fn what_a_file_is_instead_and_what_to_do_is_said() {
        check(
            b"\x1f\x8b\x08\0",
            Machine::Arm64,
            "the kernel is packed with gzip; arm64 needs an uncompressed arm64 Image (arch/arm64/boot/Image): \
             unpack it before it is provided",
        );
        let zboot = [b"MZ\0\0zimg".as_slice(), &[0; 1024]].concat();
        check(
            &zboot,
            Machine::Arm64,
            "the kernel is an EFI zboot image, which only EFI firmware unpacks; arm64 needs an uncompressed \
             arm64 Image (arch/arm64/boot/Image)",
        );
        check(
            &file(0x202, b"HdrS"),
            Machine::Arm64,
            "the kernel is an x86 bzImage; arm64 needs an uncompressed arm64 Image (arch/arm64/boot/Image)",
        );
        check(
            &debian(),
            Machine::X86,
            "the kernel is an arm64 Image; x86_64 needs a bzImage (arch/x86/boot/bzImage)",
        );
        check(
            b"",
            Machine::X86,
            "the kernel is no kernel of a known kind; x86_64 needs a bzImage (arch/x86/boot/bzImage)",
        );
    }

    #[test]
    fn every_kind_is_told_from_the_others() {
        let cases = [
            (file(56, b"RSC\x05"), Kind::RiscvImage),
            (file(36, b"\x18\x28\x6f\x01"), Kind::ArmZimage),
            (file(0, b"MZ"), Kind::Efi),
            (file(0, b"\x7fELF"), Kind::Elf),
            (file(0, b"\x28\xb5\x2f\xfd"), Kind::Packed("zstd")),
            (file(0, b"\xfd7zXZ\0"), Kind::Packed("xz")),
            (file(0, b"\x27\x05\x19\x56"), Kind::Uimage),
            (file(0, b"\xd0\x0d\xfe\xed"), Kind::DeviceTree),
            (file(0, b""), Kind::Unknown),
        ];
        for (file, kind) in cases {
            assert_eq!(Kind::of(&file), kind);
        }
        assert_eq!(Kind::of(b"MZ"), Kind::Efi);
    }

    #[test]
    fn headers_without_sense_are_refused() {
        let with = |at: usize, value: u64| {
            let mut kernel = debian();
            kernel[at..at + 8].copy_from_slice(&value.to_le_bytes());
            Arm64Header::parse(&kernel).unwrap_err()
        };
        assert_eq!(with(16, 0), Error::TooOld);
        assert_eq!(with(24, 1), Error::BigEndian);
        assert!(matches!(with(8, 0x20_0000), Error::Damaged(_)));
        assert!(matches!(with(8, 0x8_1000), Error::Damaged(_)));
        assert!(matches!(with(16, u64::MAX), Error::Damaged(_)));
        assert!(matches!(with(16, 63), Error::Damaged(_)));
        assert!(matches!(Arm64Header::parse(&debian()[..60]), Err(Error::Damaged(_))));
    }
}
