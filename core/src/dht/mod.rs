//! Taking part in the DHT: connections to many peers, and what is asked and answered on them.
//!
//! | file | what |
//! |---|---|
//! | `swarm/` | dials peers, keeps their connections, and carries requests by tag |
//! | `finder/` | the client's search for adverts |
//! | `server/` | the provider's node: it answers others, and publishes |
//! | `scope.rs` | which addresses peers may tell one another |
//!
//! Spec: libp2p `specs/kad-dht`. The data structures are in [`crate::kad`], one connection in
//! [`crate::connection`].

pub mod finder;
mod scope;
pub mod server;
pub mod swarm;
