//! Finds providers, on the LAN and in the DHT: the client machine of the core on a driver, until it is time to stop.
//! Not here: what is acceptable, and in which order (`phase_core::select`); fetching.

use std::collections::BTreeMap;
use std::time::Duration;

use phase_core::client::patience::Patience;
use phase_core::client::{Candidate, CandidateId, Carriers, Client, Config, Event, Mode};
use phase_core::dht::finder::{Bootstrap, Finder, Wide as _};
use phase_core::limits::{ASSEMBLERS_CLIENT, RX_FULL, TX_CLIENT};
use phase_core::rng::Seed;
use phase_core::time::Instant;
use phase_core::wire::multiaddr::Address;
use phase_core::wire::record::{Arch, Channel};
use phase_core::wire::trust::Trust;
use tokio::time::timeout;

use crate::bootstrap::{self, Peer, Resolved, Resolver};
use crate::clock::{Clock, EPOCH, unix_time};
use crate::driver::{Driver, NetOptions};
use crate::net;
use crate::net::connections::Manner;
use crate::slots::Slots;

/// Connections at one time: each of a lookup's three paths has one, one is for a provider itself, and as many may be
/// with peers that say nothing.
const CONNECTIONS: usize = 8;
/// Places for connections that are free: a path that goes on to another peer finds one.
const SPARE: usize = 2;

/// Peers that one lookup keeps in mind.
const LOOKUP_CANDIDATES: usize = 48;

/// Why a discovery could not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// What is looked for, and where.
#[derive(Clone, Debug)]
pub struct Search {
    /// The channel.
    pub channel: Channel,
    /// The architecture, by its canonical name.
    pub arch: Arch,
    /// Whom to believe.
    pub trust: Trust,
    /// Also accept unsigned adverts and unnamed signers.
    pub insecure: bool,
    /// Where to look.
    pub carriers: Carriers,
    /// Nodes to enter the DHT by.
    pub bootstraps: Vec<Address>,
    /// Exact names of the interfaces to ask on; empty: those that lead to other hosts.
    pub interfaces: Vec<String>,
    /// Find what is there, or follow what comes and goes.
    pub mode: Mode,
}

/// Connections to nodes that send messages of any size.
type Places = Slots<RX_FULL, TX_CLIENT, ASSEMBLERS_CLIENT>;

/// The client for both carriers. One that was told to look on the LAN alone has no slot for a connection.
type BothClient = Client<Finder<Places, RX_FULL, LOOKUP_CANDIDATES>>;

/// A discovery under way.
#[derive(Debug)]
pub struct Discovery {
    driver: Driver,
    client: Box<BothClient>,
    clock: Clock,
    patience: Patience,
    resolver: Resolver,
    /// Bootstraps whose names lead nowhere, with the reason.
    unresolved: Vec<bootstrap::Error>,
    /// When each candidate was first told, since the clock's start.
    found_at: BTreeMap<CandidateId, Instant>,
}

impl Discovery {
    /// Opens sockets and begins to ask with the first call of [`Discovery::next_event`] or
    /// [`Discovery::run`]. `clock`: what elapsed times are told by. Needs to be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error`]. Having no interface is not one.
    pub fn open(search: Search, clock: Clock) -> Result<Self, Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(Error::Random)?;
        let named = !search.interfaces.is_empty();
        let has_bootstraps = !search.bootstraps.is_empty();
        let carriers = search.carriers.with(has_bootstraps);
        let options = NetOptions {
            interfaces: search.interfaces,
            ephemeral: true,
            without_mdns: carriers == Carriers::Wan,
            manner: Manner::Brief,
            ..NetOptions::default()
        };
        let driver = Driver::open(options)?;
        let (now, trust_mode) = (driver.now(), search.trust.mode());
        let mut patience = Patience::new(now, search.carriers, has_bootstraps, trust_mode);
        // Addresses are the system's affair.
        patience.handle_configured(now);
        let (channel, arch) = (search.channel, search.arch);
        let slots = if carriers == Carriers::Lan { 0 } else { CONNECTIONS };
        let seed = Seed(seed);
        let finder = Finder::new(
            driver.now(),
            &seed,
            Places::new(SPARE, slots),
            channel.clone(),
            arch.clone(),
        );
        let config = Config {
            trust: search.trust,
            insecure: search.insecure,
            // Whoever names the loopback interface means this host.
            allow_loopback: named && driver.uses_loopback(),
            clock: Some(unix_time()),
            epoch: EPOCH,
            mode: search.mode,
            carriers,
            first_binder: driver.is_first_binder(),
            ..Config::new(seed, channel, arch)
        };
        let client = Box::new(Client::with_dht(driver.now(), config, finder));
        let bootstraps = if carriers == Carriers::Lan { Vec::new() } else { search.bootstraps };
        Ok(Self {
            driver,
            client,
            clock,
            patience,
            resolver: Resolver::new(bootstraps),
            unresolved: Vec::new(),
            found_at: BTreeMap::new(),
        })
    }

    /// The next thing the client tells. May be dropped at any time and called again.
    pub async fn next_event(&mut self) -> Event {
        loop {
            if let Some(event) = self.step().await {
                return event;
            }
        }
    }

    /// The next thing that happens, noted; what the client tells of it. May be dropped at any time and called again.
    async fn step(&mut self) -> Option<Event> {
        let event = tokio::select! {
            event = self.driver.next_event(&mut *self.client) => event,
            resolved = self.resolver.next() => {
                self.enter(resolved);
                return None;
            }
        };
        self.patience.handle_event(event);
        let now = self.clock.now();
        if let Some(id) = event.candidate() {
            self.found_at.entry(id).or_insert(now);
        }
        Some(event)
    }

    /// Begins with the peers that a bootstrap was resolved to.
    fn enter(&mut self, resolved: Resolved) {
        let now = self.driver.now();
        let text = self.resolver.addresses().nth(resolved.number).map(ToString::to_string);
        match resolved.peers {
            Ok(peers) => {
                for Peer { peer, addresses } in peers {
                    let text = text.as_deref().unwrap_or_default();
                    let bootstrap = Bootstrap::new(text, addresses, peer);
                    if let Err(full) = self.client.dht_mut().add_bootstrap(now, bootstrap) {
                        tracing::warn!("{full}: the rest is not used");
                    }
                }
                self.resolver.answers(resolved.number);
                if self.patience.handle_entry() {
                    let exhaustive = self.patience.carriers() == Carriers::All;
                    self.client.dht_mut().begin(now, exhaustive);
                }
            }
            Err(error) => {
                tracing::debug!("{error}");
                self.unresolved.retain(|before| before.address != error.address);
                self.unresolved.push(error);
                self.resolver.again(resolved.number);
            }
        }
    }

    /// Runs until there is something to take, or the time is over. `limit`: the time that a user gave it.
    pub async fn run(&mut self, limit: Option<Duration>) {
        self.patience.set_limit(limit);
        self.go_on().await;
    }

    /// Runs as long again, to the end.
    pub async fn run_again(&mut self) {
        self.patience.begin_again(self.driver.now());
        self.go_on().await;
    }

    /// Goes on for so long, whatever is there already.
    pub async fn collect(&mut self, time: Duration) {
        let deadline = self.driver.now() + time;
        while self.driver.now() < deadline {
            self.step_until(deadline).await;
        }
    }

    async fn go_on(&mut self) {
        loop {
            let (now, resolving) = (self.driver.now(), !self.resolver.is_settled());
            match self.patience.deadline(now, self.client.found(), resolving) {
                Some(deadline) => self.step_until(deadline).await,
                None => return,
            }
        }
    }

    async fn step_until(&mut self, deadline: Instant) {
        let time = deadline.since(self.driver.now());
        // Either way the candidates are there to be looked at.
        let _ = timeout(time, self.step()).await;
    }

    /// The machine, with all candidates.
    #[must_use]
    pub fn client(&self) -> &BothClient {
        &self.client
    }

    /// The machine, to tell it what was learnt of a candidate.
    pub fn client_mut(&mut self) -> &mut BothClient {
        &mut self.client
    }

    /// Where it looks: the LAN alone where there is nobody to begin with in the DHT.
    #[must_use]
    pub fn carriers(&self) -> Carriers {
        self.patience.carriers()
    }

    /// What was done in the DHT and what came of it, a line for each step; empty where it was not searched.
    #[must_use]
    pub fn steps(&self) -> Vec<String> {
        if self.carriers() == Carriers::Lan {
            return Vec::new();
        }
        let unresolved = self.unresolved.iter().map(|error| format!("bootstrap {error}"));
        let report = self.client.dht().report();
        let shown = if report.bootstraps().is_empty() { String::new() } else { report.to_string() };
        unresolved.chain(shown.lines().map(ToOwned::to_owned)).collect()
    }

    /// Whether any node of the DHT was reached.
    #[must_use]
    pub fn was_anybody_reached(&self) -> bool {
        self.client.dht().report().was_anybody_reached()
    }

    /// The time since the clock's start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.clock.now().since(Instant::ZERO)
    }

    /// The driver, with the interfaces and the time for [`Discovery::client_mut`].
    #[must_use]
    pub fn driver(&self) -> &Driver {
        &self.driver
    }

    /// The name of the interface a candidate was seen on.
    #[must_use]
    pub fn interface_of(&self, candidate: &Candidate) -> Option<&str> {
        let index = candidate.link()?.interface;
        let interfaces = self.driver.interfaces().iter();
        interfaces.map(|i| (i.index, i.name.as_str())).find(|(i, _)| *i == index).map(|(_, n)| n)
    }

    /// How long after the clock's start a candidate was first told.
    #[must_use]
    pub fn elapsed_of(&self, id: CandidateId) -> Option<Duration> {
        self.found_at.get(&id).map(|at| at.since(Instant::ZERO))
    }
}
