//! Virtual machines for tests: QEMU with its network on a switch of [`crate::netns`] and its serial console read line by
//! line.
//!
//! Everything is emulated (TCG), so that an arm64 machine boots on any other. Nothing is downloaded here: `cargo xtask test`
//! and `cargo xtask qemu` bring the kernel and build the boot client first.

mod kernel;
pub mod lab;
mod machine;
pub mod second;

pub use kernel::Kernel;
pub use machine::{BOOTS_WITHIN, Machine, Tap, Vm};

use std::env;
use std::path::PathBuf;

use crate::Error;
use crate::process::workspace_root;

/// Names the directory that has the boot client for arm64; set by `cargo xtask test`.
pub const BOOT_DIRECTORY: &str = "PHASE_BOOT_DIR";

/// Where Debian's kernel for arm64 is unpacked to.
#[must_use]
pub fn kernel_directory() -> PathBuf {
    workspace_root().join("target/qemu/kernel-arm64")
}

/// The path of the boot client for arm64.
///
/// # Errors
/// [`Error::ToolMissing`] with what to do when nobody has built it.
pub fn boot_program() -> Result<PathBuf, Error> {
    let path =
        env::var_os(BOOT_DIRECTORY).map(|directory| PathBuf::from(directory).join("phase-boot"));
    path.filter(|path| path.is_file()).ok_or_else(|| Error::ToolMissing {
        tool: "phase-boot for arm64".to_owned(),
        instruction: format!(
            "run `cargo xtask test -p phase-tests --test qemu`, which builds it and sets {BOOT_DIRECTORY}"
        ),
    })
}

/// Where Debian's static busybox for arm64 is unpacked to.
#[must_use]
pub fn busybox_directory() -> PathBuf {
    workspace_root().join("target/qemu/busybox-arm64")
}

/// The path of busybox for arm64.
///
/// # Errors
/// [`Error::ToolMissing`] with what to do when nobody has brought it.
pub fn busybox() -> Result<PathBuf, Error> {
    let places = ["bin/busybox", "usr/bin/busybox"].map(|path| busybox_directory().join(path));
    places.into_iter().find(|path| path.is_file()).ok_or_else(|| Error::ToolMissing {
        tool: "busybox for arm64".to_owned(),
        instruction: "run `cargo xtask test -p phase-tests --test qemu`, which brings it"
            .to_owned(),
    })
}
