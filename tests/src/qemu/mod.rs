//! Virtual machines for tests: QEMU with its network on a switch of [`crate::netns`] and its serial console read line by
//! line.
//!
//! Everything is emulated (TCG), so that a machine boots on any other. Nothing is downloaded here: `cargo xtask test` and
//! `cargo xtask qemu` bring the kernels and build the boot client first.

mod board;
mod kernel;
pub mod lab;
mod machine;
pub mod second;

pub use board::Board;
pub use kernel::Kernel;
pub use machine::{BOOTS_WITHIN, Machine, Tap, Vm};
