//! Starting the daemon: everything that can fail before anything is announced.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use phase_core::identity::SecretKey;
use phase_core::mdns::service::HostLabel;
use phase_core::provider::{self, Origin};
use phase_core::rng::Seed;
use tokio::sync::mpsc;

use super::daemon::Daemon;
use super::dht::Entrance;
use super::manager::Manager;
use super::node::Node;
use super::{Ask, QUESTIONS, ask_status, control, dht};
use crate::artifacts::Image;
use crate::artifacts::keeper::{Change, Keeper, StartError};
use crate::artifacts::warning::Warning;
use crate::clock::{self, Clock};
use crate::config::settings::{Flags, Settings};
use crate::driver::{Driver, NetOptions};
use crate::http::catalog::{Catalog, Manifest};
use crate::http::counters::Counters;
use crate::http::server::{self, Server};
use crate::http::{AskStatus, Shared};
use crate::manifests::{self, Signer};
use crate::net;
use crate::state::saved::{BadClock, Saved, Unreadable};
use crate::state::{self, Lock, StateDir, key};

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The state file.
    #[error(transparent)]
    Saved(#[from] Unreadable),
    /// The node's key.
    #[error(transparent)]
    Key(#[from] key::Error),
    /// The release keys.
    #[error(transparent)]
    Signer(#[from] manifests::Error),
    /// The clock.
    #[error(transparent)]
    Clock(#[from] BadClock),
    /// The artifacts directory.
    #[error(transparent)]
    Artifacts(#[from] StartError),
    /// The HTTP server.
    #[error(transparent)]
    Http(#[from] server::Error),
    /// The advertised URL.
    #[error("--advertise-url: {0}")]
    Origin(phase_core::wire::url::Error),
    /// The network.
    #[error("{source}{}", dht_advice(source))]
    Net {
        /// What.
        #[from]
        source: net::Error,
    },
    /// The control socket.
    #[error(
        "cannot open the control socket {path}: {source}; --state-dir may be too long a path (100 octets at most)"
    )]
    Control {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something of the system.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// What to do about it.
fn dht_advice(error: &net::Error) -> &'static str {
    match error {
        net::Error::Listen { .. } => {
            ", where the DHT should be; choose another port with --dht-listen /ip4/0.0.0.0/tcp/PORT, or --no-dht"
        }
        net::Error::Socket { .. } | net::Error::Interfaces(_) => "",
    }
}

/// What is read before anything is opened.
struct Base {
    state: StateDir,
    _lock: Lock,
    key: SecretKey,
    saved: Saved,
    signer: Signer,
}

fn open_state(directory: PathBuf) -> Result<Base, Error> {
    let state = StateDir::open(directory)?;
    let lock = state.lock()?;
    let (key, made) = key::load_or_create(&state)?;
    if made {
        tracing::info!("made a new identity: {}", state.identity_file().display());
    }
    let (saved, torn) = Saved::load(&state)?;
    if let Some(aside) = torn {
        tracing::warn!("the state file was torn: begun anew; the torn one is {}", aside.display());
    }
    saved.check_clock(clock::unix_time())?;
    let signer = Signer::load(&state, &key)?;
    Ok(Base { state, _lock: lock, key, saved, signer })
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot be started.
pub async fn run(settings: Settings, flags: Flags, config: Option<PathBuf>) -> Result<(), Error> {
    let clock = Clock::start();
    let base = open_state(settings.state_dir.clone())?;
    let listener = server::listen(settings.listen)?;
    let (tell, changes) = mpsc::unbounded_channel();
    let expected = settings.channels.clone();
    let tell = move |change| tell.send(change).is_ok();
    let keeper = Keeper::start(&settings.artifacts, expected, clock, tell)?;

    let (asker, questions) = mpsc::channel::<Ask>(QUESTIONS);
    let listening = control::listen(&base.state)
        .map_err(|source| Error::Control { path: base.state.control_socket(), source })?;
    let status: AskStatus = {
        let asker = asker.clone();
        Arc::new(move || Box::pin(ask_status(asker.clone())))
    };
    let (catalog, counters) = (Arc::new(Catalog::default()), Arc::new(Counters::default()));
    let shared = Shared { catalog, counters, status, clock };
    let server = Server::start(listener, shared.clone())?;

    let (driver, node) = open_network(&settings, &base, server.address(), clock)?;
    let entrance = Entrance::new(&settings);
    let Base { state, _lock, saved, signer, .. } = base;
    let mut daemon = Daemon {
        settings,
        flags,
        config,
        state,
        saved,
        signer,
        shared,
        clock,
        started: clock.now(),
        driver,
        node,
        entrance,
        keeper,
        manager: Manager::connect(),
        ready: false,
        warnings: Vec::new(),
        unreadable: None,
        unpublished: BTreeMap::new(),
        unhashed: BTreeMap::new(),
        unhashed_now: BTreeMap::new(),
        not_saved: None,
        bad_clock: None,
    };
    tokio::select! {
        ended = daemon.run(changes, questions) => ended?,
        () = control::serve(&listening, &asker) => {}
    }
    server.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// The network and the machine on it.
fn open_network(
    settings: &Settings,
    base: &Base,
    address: SocketAddr,
    clock: Clock,
) -> Result<(Option<Driver>, Node), Error> {
    let driver = open_driver(settings)?;
    let now = driver.as_ref().map_or_else(|| clock.now(), Driver::now);
    let mut node = machine(settings, base, address, now, driver.as_ref())?;
    if let Some(driver) = &driver {
        node.set_port_shared(!driver.is_first_binder());
        dht::restore(&mut node, &base.state, driver);
    }
    introduce(settings, base, address, driver.as_ref());
    Ok((driver, node))
}

/// The network of what is wanted: none for HTTP alone.
fn open_driver(settings: &Settings) -> Result<Option<Driver>, Error> {
    if !settings.mdns && !settings.dht {
        return Ok(None);
    }
    let options = NetOptions {
        interfaces: settings.interfaces.clone(),
        without_mdns: !settings.mdns,
        listen: dht::listen(settings),
        ..NetOptions::default()
    };
    Ok(Some(Driver::open(options)?))
}

fn machine(
    settings: &Settings,
    base: &Base,
    address: SocketAddr,
    now: phase_core::time::Instant,
    driver: Option<&Driver>,
) -> Result<Node, Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(key::Error::Entropy)?;
    let seed = Seed(seed);
    let hostname = nix::unistd::gethostname().map_err(io::Error::from)?;
    let saved = base.saved.host.as_deref().and_then(|label| HostLabel::new(label).ok());
    let host = saved.unwrap_or_else(|| HostLabel::from_hostname(&hostname.to_string_lossy()));
    let config = provider::Config {
        seed,
        key: base.key.clone(),
        name: settings.name.clone(),
        host,
        origin: origin(settings, address)?,
        ttl: settings.record_ttl,
    };
    let dht = driver.filter(|_| settings.dht);
    let dht = dht.map(|driver| dht::config(settings, &base.key, seed, driver));
    Ok(Node::new(now, config, settings.mdns, dht.as_ref()))
}

/// Where clients are sent: what is configured, or the one address that is listened on, or each interface's own.
fn origin(settings: &Settings, address: SocketAddr) -> Result<Origin, Error> {
    if let Some(url) = &settings.advertise_url {
        return Origin::fixed(url.as_str()).map_err(Error::Origin);
    }
    if address.ip().is_unspecified() {
        return Ok(Origin::Auto { port: address.port() });
    }
    if address.ip().is_loopback() && settings.mdns {
        tracing::warn!(
            "--listen {address} serves this host alone: clients elsewhere will refuse the advert; \
             use --listen 0.0.0.0:{}, or --no-mdns",
            address.port()
        );
    }
    Origin::fixed(&format!("http://{address}")).map_err(Error::Origin)
}

/// Says who this is, how to trust it, and where it serves.
fn introduce(settings: &Settings, base: &Base, address: SocketAddr, driver: Option<&Driver>) {
    let peer = base.key.peer_id();
    tracing::info!("peer id {peer}");
    tracing::info!(
        "to trust it, put this line into clients' trust file: {}",
        trust_line(&base.key, settings)
    );
    if base.signer.is_single_key() {
        tracing::info!(
            "single-key mode: manifests are signed with the node's key; there are no release keys"
        );
    } else {
        let keys: Vec<_> = base.signer.keys().map(|key| key.key_id().to_string()).collect();
        tracing::info!("manifests are signed with release keys: {}", keys.join(", "));
    }
    let directory = settings.artifacts.display();
    match &settings.advertise_url {
        Some(url) => tracing::info!("serving {directory} at http://{address}, announced as {url}"),
        None => tracing::info!("serving {directory} at http://{address}"),
    }
    let Some(driver) = driver else {
        return tracing::info!("not announced: mDNS and DHT are off");
    };
    if settings.dht {
        dht::introduce(settings, &peer.to_string(), driver);
    }
    if !settings.mdns {
        return tracing::info!("not announced on the local network: mDNS is off");
    }
    let used: Vec<_> = driver.interfaces().iter().filter(|i| i.links().next().is_some()).collect();
    if used.is_empty() {
        tracing::warn!("no interface to announce on yet; those that come up are used");
    }
    for interface in used {
        let addresses: Vec<_> = interface.networks.iter().map(|n| n.address.to_string()).collect();
        tracing::info!("announcing on {}: {}", interface.name, addresses.join(", "));
    }
}

/// The line of a trust file for this provider.
pub(crate) fn trust_line(key: &SecretKey, settings: &Settings) -> String {
    // Names in trust files are one word.
    let name = settings.name.as_ref().map(|name| name.as_str());
    let word =
        name.filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
    match word {
        Some(word) => format!("provider {} name={word}", key.peer_id()),
        None => format!("provider {}", key.peer_id()),
    }
}

/// What `serve --once` found.
#[derive(Debug, Default)]
pub struct Rehearsal {
    /// One line for each image: what would be announced.
    pub images: Vec<String>,
    /// What is missing or ignored.
    pub warnings: Vec<Warning>,
    /// What would not be served, and why.
    pub failures: Vec<String>,
}

/// Scans, hashes and signs as `serve` would, opens nothing to the network and changes no state but a missing key.
///
/// # Errors
/// When the daemon would not start.
pub fn rehearse(settings: &Settings) -> Result<Rehearsal, Error> {
    let mut base = open_state(settings.state_dir.clone())?;
    let (tell, changes) = std::sync::mpsc::channel();
    let expected = settings.channels.clone();
    let tell = move |change| tell.send(change).is_ok();
    let _keeper = Keeper::start(&settings.artifacts, expected, Clock::start(), tell)?;
    let now = clock::unix_time();
    let mut found = Rehearsal::default();
    while let Ok(change) = changes.recv() {
        match change {
            Change::Ready(image) => {
                let id = image.id.to_string();
                let content = manifests::content(&image);
                let (version, _) = base.saved.manifest_version(now, &id, content);
                match base.signer.make(&image, version, now, manifests::LIFETIME) {
                    Ok(manifest) => found.images.push(format!(
                        "{id}\t{}\tmanifest {version}\t{} octets\t{} files",
                        image.version,
                        manifest.document.len(),
                        image.artifacts.len()
                    )),
                    Err(error) => found.failures.push(format!("{id}: {error}")),
                }
            }
            Change::Warnings { all, .. } => found.warnings = all,
            Change::NotHashed(id, error) => found.failures.push(format!("{id}: {error}")),
            Change::Unreadable(error) => found.failures.push(error.to_string()),
            Change::Gone(..) | Change::NotWatched(_) => {}
            Change::Looked { unsettled: 0, .. } => break,
            Change::Looked { .. } => {}
        }
    }
    Ok(found)
}

/// Signs the manifest of `image` as the daemon with this state would, and remembers its version. Tells whether the
/// node's own key signed.
///
/// # Errors
/// When the daemon would not sign, or runs: it signs itself then.
pub fn sign_once(
    directory: PathBuf,
    image: &Image,
    lifetime: u64,
) -> Result<(Manifest, bool), Error> {
    let mut base = open_state(directory)?;
    let now = clock::unix_time();
    let content = manifests::content(image);
    let (version, is_new) = base.saved.manifest_version(now, &image.id.to_string(), content);
    if is_new {
        base.saved.store(&base.state).map_err(|error| {
            let path = base.state.saved_file();
            io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
        })?;
    }
    let manifest = base.signer.make(image, version, now, lifetime)?;
    Ok((manifest, base.signer.is_single_key()))
}
