//! The boot client: finds a signed boot image from an initramfs, over a network stack of its own.
//!
//! Everything that any client does is in `phase-core`; this crate has the clock, the executor, the network and the
//! command line of a machine that boots. It is for Linux; elsewhere it has only [`cmdline`], which any machine can
//! check. Not here: what is acceptable (`phase_core::select`).

pub mod cmdline;

#[cfg(target_os = "linux")]
pub mod acquire;
#[cfg(target_os = "linux")]
pub mod clock;
#[cfg(target_os = "linux")]
pub mod commands;
#[cfg(target_os = "linux")]
pub mod console;
#[cfg(target_os = "linux")]
pub mod discovery;
#[cfg(target_os = "linux")]
pub mod driver;
#[cfg(target_os = "linux")]
pub mod executor;
#[cfg(target_os = "linux")]
#[cfg(target_os = "linux")]
pub mod fetch;
#[cfg(target_os = "linux")]
pub mod http;
#[cfg(target_os = "linux")]
pub mod init;
#[cfg(target_os = "linux")]
pub mod interrupt;
#[cfg(target_os = "linux")]
pub mod kexec;
#[cfg(target_os = "linux")]
pub mod link;
#[cfg(target_os = "linux")]
pub mod network;
#[cfg(target_os = "linux")]
pub mod options;
#[cfg(target_os = "linux")]
pub mod signal;
#[cfg(target_os = "linux")]
pub mod sys;
#[cfg(all(test, target_os = "linux"))]
mod testing;
#[cfg(target_os = "linux")]
pub mod trust;
