//! Implementations as browsers for `_phase-image._tcp`.

use crate::Error;
use crate::netns::Host;
use crate::peers::{self, Peer};
use crate::process::{self, Process, Stream};

/// A browser at work. Dropping it kills it.
pub trait Browsing: Send {
    /// Whether it has told that an instance with this label was found.
    fn has_found(&self, label: &str) -> bool;

    /// Whether it has told that an instance with this label is gone.
    fn has_lost(&self, label: &str) -> bool;
}

/// The service all of them look for.
const KIND: &str = "_phase-image._tcp";

pub(super) fn peer(peer: Peer, host: &Host) -> Result<Box<dyn Browsing>, Error> {
    Ok(Box::new(peer.browse(host, KIND)?))
}

/// `phase-discover --watch`, which shows unsigned services too.
pub(super) fn phase(host: &Host) -> Result<Box<dyn Browsing>, Error> {
    let mut command = host.namespace.command(process::binary("phase-discover")?);
    command.args(["--watch", "--json", "--insecure", "--channel", "stable", "--arch", "arm64"]);
    Ok(Box::new(Watcher(Process::spawn(command)?)))
}

struct Watcher(Process);

impl Watcher {
    /// The label is part of the version that the scripted responder publishes.
    fn told(&self, event: &str, label: &str) -> bool {
        let event = format!("\"event\":\"{event}\"");
        self.0.output(Stream::Stdout).lines().any(|l| l.contains(&event) && l.contains(label))
    }
}

impl Browsing for Watcher {
    fn has_found(&self, label: &str) -> bool {
        self.told("found", label)
    }

    fn has_lost(&self, label: &str) -> bool {
        self.told("lost", label)
    }
}

impl Browsing for peers::Browser {
    fn has_found(&self, label: &str) -> bool {
        let found = |l: &str| l.starts_with("found\t") || l.starts_with('=');
        self.output().lines().any(|l| found(l) && l.contains(label))
    }

    fn has_lost(&self, label: &str) -> bool {
        let lost = |l: &str| l.starts_with("lost\t") || l.starts_with('-');
        self.output().lines().any(|l| lost(l) && l.contains(label))
    }
}
