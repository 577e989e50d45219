//! The kinds of machines that boot: one description of each, which everything here reads that differs between them.
//!
//! Spec: QEMU's "virt" for arm64; its "q35" for `x86_64`, an ordinary PC with a BIOS, PCI and ACPI.
//! Not here: building programs for them (xtask); what the boot client itself knows of a processor.

use std::env;
use std::path::PathBuf;

use crate::Error;
use crate::process::workspace_root;

/// A kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    /// A 64-bit ARM board.
    Arm64,
    /// A 64-bit PC.
    X86_64,
}

/// What is known of a kind of machine.
struct Description {
    name: &'static str,
    debian: &'static str,
    emulator: &'static str,
    emulator_package: &'static str,
    options: &'static [&'static str],
    card: &'static str,
    console: &'static str,
    boot_directory: &'static str,
}

const ARM64: Description = Description {
    name: "arm64",
    debian: "arm64",
    emulator: "qemu-system-aarch64",
    emulator_package: "qemu-system-arm",
    options: &["-M", "virt", "-cpu", "cortex-a72"],
    card: "virtio-net-device",
    console: "ttyAMA0",
    boot_directory: "PHASE_BOOT_DIR_ARM64",
};

const X86_64: Description = Description {
    name: "x86_64",
    debian: "amd64",
    emulator: "qemu-system-x86_64",
    emulator_package: "qemu-system-x86",
    // A processor without instructions for random numbers, as PCs before 2012 have.
    options: &["-M", "q35", "-cpu", "qemu64"],
    // Without its boot program, which the BIOS would run for nothing.
    card: "virtio-net-pci,romfile=",
    console: "ttyS0",
    boot_directory: "PHASE_BOOT_DIR_X86_64",
};

impl Board {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Arm64, Self::X86_64];

    const fn description(self) -> &'static Description {
        match self {
            Self::Arm64 => &ARM64,
            Self::X86_64 => &X86_64,
        }
    }

    /// The name of its architecture in images, files and options.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.description().name
    }

    /// Debian's name of its architecture.
    #[must_use]
    pub const fn debian(self) -> &'static str {
        self.description().debian
    }

    /// The program that emulates it.
    #[must_use]
    pub const fn emulator(self) -> &'static str {
        self.description().emulator
    }

    /// Debian's package that has this program.
    #[must_use]
    pub const fn emulator_package(self) -> &'static str {
        self.description().emulator_package
    }

    /// The emulator's options for it.
    pub(super) const fn options(self) -> &'static [&'static str] {
        self.description().options
    }

    /// The emulator's name of an Ethernet card for it, with what every such card is told.
    pub(super) const fn card(self) -> &'static str {
        self.description().card
    }

    /// Words for its kernel: messages to the serial port, few of them, and an end of the machine when the kernel fails.
    ///
    /// The kernel's tests of its own ciphers at every start are left out: the boot client uses none of these, and emulated
    /// they take a quarter of a second.
    #[must_use]
    pub fn words(self) -> String {
        format!("console={} panic=-1 quiet cryptomgr.notests", self.description().console)
    }

    /// Debian's package that depends on its kernel of the day.
    #[must_use]
    pub fn kernel_package(self) -> String {
        let debian = self.debian();
        format!("linux-image-cloud-{debian}:{debian}")
    }

    /// Debian's package of a busybox for it that needs no libraries.
    #[must_use]
    pub fn busybox_package(self) -> String {
        format!("busybox-static:{}", self.debian())
    }

    /// Where Debian's kernel for it is unpacked to.
    #[must_use]
    pub fn kernel_directory(self) -> PathBuf {
        self.place("kernel")
    }

    /// Where Debian's busybox for it is unpacked to.
    #[must_use]
    pub fn busybox_directory(self) -> PathBuf {
        self.place("busybox")
    }

    fn place(self, what: &str) -> PathBuf {
        workspace_root().join("target/qemu").join(format!("{what}-{}", self.name()))
    }

    /// Names the variable with the directory that has the boot client for it; set by `cargo xtask test`.
    #[must_use]
    pub const fn boot_directory(self) -> &'static str {
        self.description().boot_directory
    }

    /// The path of the boot client for it.
    ///
    /// # Errors
    /// [`Error::ToolMissing`] with what to do when nobody has built it.
    pub fn boot_program(self) -> Result<PathBuf, Error> {
        let variable = self.boot_directory();
        let directory = env::var_os(variable).map(PathBuf::from);
        let path = directory.map(|directory| directory.join("phase-boot"));
        path.filter(|path| path.is_file()).ok_or_else(|| Error::ToolMissing {
            tool: format!("phase-boot for {}", self.name()),
            instruction: format!(
                "run `cargo xtask test -p phase-tests --test qemu`, which builds it and sets {variable}"
            ),
        })
    }

    /// The path of busybox for it.
    ///
    /// # Errors
    /// [`Error::ToolMissing`] with what to do when nobody has brought it.
    pub fn busybox(self) -> Result<PathBuf, Error> {
        let directory = self.busybox_directory();
        let places = ["bin/busybox", "usr/bin/busybox"].map(|path| directory.join(path));
        places.into_iter().find(|path| path.is_file()).ok_or_else(|| Error::ToolMissing {
            tool: format!("busybox for {}", self.name()),
            instruction: "run `cargo xtask test -p phase-tests --test qemu`, which brings it"
                .to_owned(),
        })
    }
}
