//! The std runtime: sockets, files, clock, entropy, HTTP and command lines around the machines of `phase-core`.
//!
//! Every protocol decision is made in the core; [`driver`] only carries octets, links and time to it.
#![forbid(unsafe_code)]

pub mod artifacts;
pub mod bootstrap;
pub mod cli;
pub mod clock;
pub mod config;
pub mod discovery;
pub mod doctor;
pub mod driver;
pub mod fetch;
pub mod http;
pub mod manifests;
pub mod net;
pub mod serve;
pub mod slots;
pub mod state;
pub mod status;
