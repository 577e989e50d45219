//! Discovery of signed boot images as a function of time and octets.
//!
//! Two machines, the provider and the client, share one contract
//! ([`machine::Machine`]): feed one input, drain outputs until the deadline, wait. They read no clock,
//! draw no randomness of their own, open nothing and allocate nothing; a driver does.
//!
//! `wire/x.rs` is the octets, `x.rs` is the behaviour. Every bound is in [`limits`].
#![no_std]
#![forbid(unsafe_code)]
#![warn(
    clippy::alloc_instead_of_core,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::std_instead_of_core,
    clippy::unwrap_used
)]
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation, clippy::std_instead_of_alloc))]

#[cfg(test)]
extern crate std;

pub mod client;
pub mod connection;
pub mod dht;
pub mod escape;
pub mod exit;
pub mod fetch;
pub mod identity;
pub mod kad;
pub mod limits;
mod log;
pub mod machine;
pub mod mdns;
pub mod provider;
pub mod rng;
pub mod schedule;
pub mod select;
pub mod stats;
pub mod time;
pub mod wire;
