//! What the server did, counted.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Counts since the server was started.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: Counter,)+
        }

        impl Counters {
            /// Name, help text and value of every counter.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name.get()),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Connections accepted.
    connections,
    /// Connections closed at once because too many were open.
    connections_refused,
    /// Connections ended because nothing was read or written for too long.
    connections_timed_out,
    /// Requests answered.
    requests,
    /// Requests answered with a manifest.
    manifests,
    /// Requests answered with an artifact or a part of one.
    artifacts,
    /// Requests answered with 304.
    not_modified,
    /// Requests refused with a status of 400 to 499.
    refused,
    /// Requests failed with a status of 500 to 599.
    failed,
    /// Artifacts not sent, or not sent to the end, because the file is no longer what was hashed.
    changed_files,
    /// Octets of artifacts handed to connections.
    artifact_octets,
}

/// One count.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn count(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
