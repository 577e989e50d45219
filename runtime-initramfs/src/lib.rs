//! The boot client's own parts: what the kernel command line asks of it.
//!
//! Everything that any client does is in `phase-core`; this crate holds what only a machine that boots
//! needs. Without std and without a heap.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod cmdline;
