//! Kademlia nodes of other libp2p implementations, which really run: rust-libp2p 0.56 and 0.57, js-libp2p,
//! py-libp2p and go-libp2p. A stack that cannot be installed is a failure that says what to do.
#![forbid(unsafe_code)]

mod finding;
mod lab;
mod large;
mod matrix;
mod publishing;
mod stock;
