//! Implementations under test behind one trait: ours and others, each publishing the same services
//! `_phase-image._tcp` with a subtype and a TXT record, or browsing for them.

mod avahi;
mod browsing;
mod phase;
mod scripted;

pub use avahi::Avahi;
pub use browsing::Browsing;
pub use phase::Phase;
pub use scripted::Scripted;

use std::path::Path;
use std::time::Duration;

use crate::Error;
use crate::netns::Host;
use crate::process::Process;

/// How long a clean stop may take.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What a subject publishes.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The start of every instance's label.
    pub name: String,
    /// Channel and architecture of every instance.
    pub pairs: Vec<(String, String)>,
}

impl Wanted {
    /// One instance for every pair, all called `name`.
    #[must_use]
    pub fn new(name: &str, pairs: &[(&str, &str)]) -> Self {
        let pairs = pairs.iter().map(|(c, a)| ((*c).to_owned(), (*a).to_owned())).collect();
        Self { name: name.to_owned(), pairs }
    }

    fn label(&self, channel: &str, arch: &str) -> String {
        format!("{} {channel} {arch}", self.name)
    }
}

/// The label of the subtype that a client asks for.
#[must_use]
pub fn subtype(channel: &str, arch: &str) -> String {
    format!("_{arch}-{channel}")
}

/// The five strings of an unsigned advert.
fn unsigned_txt(channel: &str, arch: &str, version: &str) -> Vec<String> {
    vec![
        "txtvers=1".to_owned(),
        format!("arch={arch}"),
        format!("channel={channel}"),
        format!("manifest=http://10.77.0.1:8080/{channel}/{arch}/manifest.json"),
        format!("version={version}"),
    ]
}

/// An implementation of an mDNS responder.
pub trait Subject: Sync {
    /// Its name in tables.
    fn name(&self) -> &'static str;

    /// Makes sure that it can be started.
    ///
    /// # Errors
    /// What is missing and how to get it.
    fn install(&self) -> Result<(), Error>;

    /// Starts it on `host`, publishing `wanted`, with its files in `directory`, which holds what it left
    /// there when it is started again; it need not have announced anything when this returns.
    ///
    /// # Errors
    /// Why it does not start.
    fn start(
        &self,
        host: &Host,
        wanted: &Wanted,
        directory: &Path,
    ) -> Result<Box<dyn Running>, Error>;

    /// Starts it on `host` as a browser.
    ///
    /// # Errors
    /// Why it does not start.
    fn browse(&self, host: &Host) -> Result<Box<dyn Browsing>, Error>;

    /// Starts it on `host` as a one-shot querier that ends by itself; `None` when it has none.
    fn query_once(&self, host: &Host) -> Option<Result<Process, Error>> {
        let _ = host;
        None
    }
}

/// A subject at work. Dropping it kills it.
pub trait Running: Send {
    /// Changes the TXT record of the first instance.
    ///
    /// # Errors
    /// Why it cannot.
    fn change_txt(&mut self) -> Result<(), Error>;

    /// Publishes one more instance.
    ///
    /// # Errors
    /// Why it cannot.
    fn add(&mut self, channel: &str, arch: &str) -> Result<(), Error>;

    /// Withdraws an instance.
    ///
    /// # Errors
    /// Why it cannot.
    fn remove(&mut self, channel: &str, arch: &str) -> Result<(), Error>;

    /// Stops it the way its user would.
    ///
    /// # Errors
    /// When it does not end.
    fn stop(self: Box<Self>) -> Result<(), Error>;

    /// What it has written so far.
    fn output(&self) -> String;

    /// Its process id.
    fn pid(&self) -> u32;
}

/// Every subject, ours first.
#[must_use]
pub fn all() -> Vec<Box<dyn Subject>> {
    use crate::peers::Peer;
    vec![
        Box::new(Phase),
        Box::new(Avahi),
        Box::new(Scripted(Peer::MdnsSd)),
        Box::new(Scripted(Peer::Zeroconf)),
        Box::new(Scripted(Peer::Bonjour)),
    ]
}
