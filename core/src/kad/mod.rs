//! Kademlia as data structures: the metric, the routing table, the lookup, and what a node stores for others.
//!
//! | file | what |
//! |---|---|
//! | `key.rs` | points of the key space and their distance |
//! | `table.rs` | the routing table: buckets of 20 peers, liveness, eviction |
//! | `diversity.rs` | how many peers of one IP prefix are believed |
//! | `query.rs` | one iterative lookup along disjoint paths |
//! | `validator.rs` | which records are worth storing |
//! | `store/` | the records and provider records that are stored |
//!
//! Spec: libp2p `specs/kad-dht`. Nothing here knows connections, draws randomness or reads a clock; storage is
//! sized by const parameters or handed in by the caller.

pub mod diversity;
pub mod key;
pub mod query;
pub mod store;
pub mod table;
pub mod validator;

pub use crate::wire::contact::Contact;
pub use key::{Distance, Key};
pub use query::Query;
pub use table::Table;

/// libp2p `specs/kad-dht`: k, the peers of a bucket and the peers a record is put at.
pub const K: usize = 20;

/// libp2p `specs/kad-dht`: α, the peers that a lookup waits for at one time. 3, as in the Kademlia paper and
/// rust-libp2p: each costs a connection.
pub const ALPHA: usize = 3;

/// The disjoint paths of a lookup: as many, so that one liar on the way misleads a third of it at most.
pub const PATHS: usize = 3;
