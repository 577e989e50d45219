//! `phase-provider serve`: ties the artifacts directory, manifests, the HTTP server, the machine of mDNS and DHT, the state and
//! the control socket together.
//!
//! ```text
//! artifacts (own thread) --Change--> daemon --publish--> Provider <--Driver--> network
//!                                    | state.bin, manifests
//! control socket, /, /health --Ask-> |  --put--> Catalog <-- HTTP (own threads)
//! ```
//! The DHT node is a part of the Provider; `dht.rs` resolves its bootstraps and keeps its peers.
//! Not here: what any of them does.

pub mod control;
mod daemon;
mod dht;
mod manager;
mod node;
mod report;
mod start;

pub(crate) use dht::listen as dht_addresses;
pub use start::{Error, Rehearsal, rehearse, run, sign_once};

use tokio::sync::{mpsc, oneshot};

use crate::status::Status;

/// Room for questions that wait for the daemon.
const QUESTIONS: usize = 64;

/// What the daemon is asked.
#[derive(Debug)]
enum Ask {
    /// How it is.
    Status(oneshot::Sender<Status>),
    /// To read its configuration again and look at the artifacts; the errors, if any.
    Reload(oneshot::Sender<Result<Vec<String>, String>>),
}

/// Where the daemon is asked.
type Asker = mpsc::Sender<Ask>;

/// The daemon's status; `None` when it is gone.
async fn ask_status(asker: Asker) -> Option<Status> {
    let (answer, answered) = oneshot::channel();
    asker.send(Ask::Status(answer)).await.ok()?;
    answered.await.ok()
}
