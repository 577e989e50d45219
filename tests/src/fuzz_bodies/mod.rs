//! What each fuzz target checks, as functions of octets, so that ordinary tests run the same checks.
//!
//! To add a target `x` for a decoder: write `x.rs` here with `pub fn x(data: &[u8])`, which panics when a law is
//! broken; list it in [`TARGETS`]; add `tests/fuzz/fuzz_targets/x.rs` and its `[[bin]]` in
//! `tests/fuzz/Cargo.toml`; put a few small valid inputs into `tests/fuzz/corpus/x/`. `cargo test` replays
//! the corpus of every target in [`TARGETS`]; `cargo +nightly fuzz run x` in `tests/` finds more inputs.

mod advert;
mod client;
mod codecs;
mod connection;
mod dns_message;
mod dns_name;
mod kad;
mod libp2p;
mod manifest;
mod trust;
mod txt;
mod url;

pub use advert::{advert_json, advert_txt};
pub use client::{Sent, client, run as run_client};
pub use codecs::{base_codecs, peer_id, rfc3339};
pub use connection::connection;
pub use dns_message::dns_message;
pub use dns_name::dns_name;
pub use kad::{kad_request, kad_response};
pub use libp2p::{identify, multiaddr, multistream, noise_payload, protobuf, varint, yamux};
pub use manifest::manifest;
pub use trust::trust;
pub use txt::txt;
pub use url::url;

/// One fuzz target.
pub type Body = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: [(&str, Body); 22] = [
    ("advert_json", advert_json),
    ("advert_txt", advert_txt),
    ("base_codecs", base_codecs),
    ("client", client),
    ("connection", connection),
    ("dns_message", dns_message),
    ("dns_name", dns_name),
    ("identify", identify),
    ("kad_request", kad_request),
    ("kad_response", kad_response),
    ("manifest", manifest),
    ("multiaddr", multiaddr),
    ("multistream", multistream),
    ("noise_payload", noise_payload),
    ("peer_id", peer_id),
    ("protobuf", protobuf),
    ("rfc3339", rfc3339),
    ("trust", trust),
    ("txt", txt),
    ("url", url),
    ("varint", varint),
    ("yamux", yamux),
];
