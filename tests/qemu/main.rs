//! Machines that boot over the network: virtual ones with a real kernel, against our provider. Of arm64 where nothing else is
//! said; `pc` has those of `x86_64`.
//!
//! Run by `cargo xtask test`, which brings the kernels, QEMU and the boot client.

mod booting;
mod discovering;
mod idle;
mod pc;
mod scene;
mod tamper;
mod tool;
