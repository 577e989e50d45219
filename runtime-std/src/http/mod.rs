//! The HTTP server: manifests, artifacts, a status page, health and metrics. Reads only.
//!
//! | path | answer |
//! |---|---|
//! | `/` | status: a page, or JSON if `Accept` asks for `application/json` |
//! | `/health` | 200 or 503 with the checks, as JSON |
//! | `/metrics` | counters in the Prometheus text format |
//! | `/{channel}/{arch}/manifest.json` | the current manifest |
//! | `/{channel}/{arch}/{file}` | an artifact of the manifest, by its `path` |
//! | `/by-digest/{sha256}.json` | a manifest by its digest, for two advert lifetimes after it was replaced |
//!
//! Paths are looked up in the [`catalog::Catalog`], never in the file system, so no path can name a file that was not
//! published. No request makes the server hash, scan or sign.
//! Spec: RFC 9110, RFC 9112 (by hyper). Not implemented: HTTP/2, TLS, compression, several ranges in one request.

mod body;
pub mod catalog;
mod condition;
mod connection;
pub mod counters;
mod pages;
mod range;
mod rejection;
mod routes;
pub mod server;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use catalog::Catalog;
use counters::Counters;

use crate::clock::Clock;
use crate::status::Status;

/// Asks the daemon how it is; `None` when it does not answer.
pub type AskStatus =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Option<Status>> + Send>> + Send + Sync>;

/// What every request sees.
#[derive(Clone)]
pub struct Shared {
    /// What is served.
    pub catalog: Arc<Catalog>,
    /// What was done.
    pub counters: Arc<Counters>,
    /// How the daemon is.
    pub status: AskStatus,
    /// For the age of kept manifests.
    pub clock: Clock,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("counters", &self.counters).finish_non_exhaustive()
    }
}
