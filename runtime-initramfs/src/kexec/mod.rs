//! What is needed to start a second kernel: which files are kernels, where memory is free, the device tree.

pub mod fdt;
pub mod header;
pub mod layout;
pub mod memory;

/// Octets of a file in memory.
fn length(file: &[u8]) -> u64 {
    u64::try_from(file.len()).unwrap_or(u64::MAX)
}
