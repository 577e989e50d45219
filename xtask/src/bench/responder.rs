//! The responders that are compared: the project's provider and the peers, all announcing one image.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use phase_tests::deadline;
use phase_tests::netns::{Host, Namespace};
use phase_tests::peers::{Peer, Publisher, Service};
use phase_tests::process::{Process, run, workspace_root};
use tempfile::TempDir;

use crate::Error;

/// The service type that everybody announces.
pub(super) const KIND: &str = "_phase-image._tcp";

/// The channel and the architecture of the image.
pub(super) const CHANNEL: &str = "stable";
/// See [`CHANNEL`].
pub(super) const ARCHITECTURE: &str = "arm64";

/// Longer than the provider waits after the last change of an image.
const LAIN: Duration = Duration::from_secs(1);

/// A responder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Responder {
    /// phase-provider.
    Ours,
    /// Another implementation.
    Peer(Peer),
}

/// The project's own.
pub(super) const OURS: Responder = Responder::Ours;

/// A responder that runs; dropping it ends it.
#[derive(Debug)]
pub(super) enum Running {
    /// phase-provider with its artifacts and its state.
    Ours {
        /// The daemon.
        process: Process,
        /// When it was started.
        started: Instant,
        /// Its artifacts and state.
        directory: TempDir,
    },
    /// Another implementation.
    Peer(Publisher),
}

impl Responder {
    /// The name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Peer(peer) => peer.name(),
        }
    }

    /// Whether it answers queries from ports other than 5353; those that never do are not asked.
    pub(super) fn answers_one_shot_queries(self) -> bool {
        self != Self::Peer(Peer::Bonjour)
    }

    /// Starts it on `host`.
    pub(super) fn start(self, host: &Host) -> Result<Running, Error> {
        match self {
            Self::Ours => start_ours(&host.namespace, Dht::None),
            // The strings of a signed advert, so that everybody's answers have about the same size.
            Self::Peer(peer) => {
                let txt = [
                    "txtvers=1",
                    "arch=arm64",
                    "channel=stable",
                    "version=2026.1",
                    "manifest=http://10.77.0.1:8080/stable/arm64/manifest.json",
                    "peer=12D3KooWSjSKUcnWqvjBGQvZ1z8hYHpDbk7tTpAPkPSUW6Mhd8nV",
                    "sig=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0-Pw",
                ];
                let service = Service { kind: KIND, instance: "bench", port: 8080, txt: &txt };
                Ok(Running::Peer(peer.publish(host, &service)?))
            }
        }
    }
}

impl Running {
    /// The process id of the responder.
    pub(super) fn pid(&self) -> u32 {
        match self {
            Self::Ours { process, .. } => process.pid(),
            Self::Peer(publisher) => publisher.pid(),
        }
    }

    /// When it was started.
    pub(super) fn started(&self) -> Instant {
        match self {
            Self::Ours { started, .. } => *started,
            Self::Peer(publisher) => publisher.started(),
        }
    }

    /// The peer id of the provider, to be trusted by the client; none for others.
    pub(super) fn peer_id(&self) -> Result<Option<String>, Error> {
        let Self::Ours { directory, .. } = self else { return Ok(None) };
        let mut show = Command::new(program("phase-provider"));
        show.args(["key", "show", "--state-dir"]).arg(directory.path().join("state"));
        Ok(Some(run(show)?.trim().to_owned()))
    }
}

/// The path of a program built for measuring.
pub(super) fn program(name: &str) -> PathBuf {
    workspace_root().join("target/release").join(name)
}

/// Whether the provider is a node of the DHT.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dht<'a> {
    /// It is not.
    None,
    /// It is, and begins with these multiaddrs.
    From(&'a [String]),
}

/// Starts the provider in `namespace`.
pub(super) fn start_ours(namespace: &Namespace, dht: Dht<'_>) -> Result<Running, Error> {
    let directory = tempfile::tempdir().map_err(|e| Error::os("make a directory", e))?;
    let image = directory.path().join("artifacts").join(CHANNEL).join(ARCHITECTURE);
    let failed = |e| Error::os("write a sample image", e);
    fs::create_dir_all(&image).map_err(failed)?;
    fs::write(image.join("vmlinuz"), [0x5a; 65_536]).map_err(failed)?;
    fs::write(image.join("version"), "2026.1\n").map_err(failed)?;
    // An image that somebody may still be copying is not announced; this one has lain there.
    thread::sleep(LAIN);
    let mut serve = namespace.command(program("phase-provider"));
    serve.args(["serve", "--name", "bench", "--listen", "0.0.0.0:8080", "--artifacts"]);
    serve.arg(directory.path().join("artifacts"));
    serve.arg("--state-dir").arg(directory.path().join("state"));
    match dht {
        Dht::None => _ = serve.arg("--no-dht"),
        Dht::From(bootstraps) => {
            serve.args(bootstraps.iter().flat_map(|address| ["--bootstrap", address]));
        }
    }
    let started = deadline::now();
    Ok(Running::Ours { process: Process::spawn(serve)?, started, directory })
}
