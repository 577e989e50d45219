//! What the test binaries, the benchmarks and `xtask` share: network namespaces, child processes and
//! deadlines.
//!
//! Nothing here skips: a missing tool or permission is an [`Error`] that says what to do.
#![forbid(unsafe_code)]

mod error;

pub mod cable;
pub mod conformance;
pub mod deadline;
pub mod fuzz_bodies;
pub mod harness;
pub mod initramfs;
mod install;
pub mod libp2p;
pub mod message;
pub mod netns;
pub mod peers;
pub mod process;
pub mod qemu;
pub mod relay;
pub mod room;
pub mod scripted;
pub mod subject;
pub mod wire_peer;

pub use error::Error;
