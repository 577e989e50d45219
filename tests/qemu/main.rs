//! Machines that boot over the network: virtual arm64 machines with a real kernel, against our provider.
//!
//! Run by `cargo xtask test`, which brings the kernel, QEMU and the boot client.

mod booting;
mod discovering;
mod idle;
mod scene;
mod tamper;
mod tool;
