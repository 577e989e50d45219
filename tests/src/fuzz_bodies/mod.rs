//! What each fuzz target checks, as functions of octets, so that ordinary tests run the same checks.
//!
//! To add a target `x` for a decoder: write `x.rs` here with `pub fn x(data: &[u8])`, which panics when a law is
//! broken; list it in [`TARGETS`]; add `tests/fuzz/fuzz_targets/x.rs` and its `[[bin]]` in
//! `tests/fuzz/Cargo.toml`; put a few small valid inputs into `tests/fuzz/corpus/x/`. `cargo test` replays
//! the corpus of every target in [`TARGETS`]; `cargo +nightly fuzz run x` in `tests/` finds more inputs.

mod client;
mod dns_message;
mod dns_name;
mod txt;

pub use client::{Sent, client, run as run_client};
pub use dns_message::dns_message;
pub use dns_name::dns_name;
pub use txt::txt;

/// One fuzz target.
pub type Body = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: [(&str, Body); 4] =
    [("client", client), ("dns_message", dns_message), ("dns_name", dns_name), ("txt", txt)];
