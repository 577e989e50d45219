//! What a node stores for others: records and provider records, in slots that the caller hands in.
//!
//! Both keep the oldest when they are full, as others do: who was there first is not driven out by a crowd. They
//! are never replicated to other nodes; that is the publisher's job, and so what is not refreshed ends.

mod providers;
mod rate;
mod records;

pub use providers::{Provided, ProviderSlot, ProviderStore};
pub use rate::RateLimit;
pub use records::{Put, RecordSlot, RecordStore, Source, Stored};

#[cfg(test)]
mod tests;
