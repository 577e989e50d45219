//! Finds providers, on the LAN and in the DHT: the client machine of the core on a driver, until it is time to stop.
//! Not here: what is acceptable, and in which order (`phase_core::select`); fetching.

use std::collections::BTreeMap;
use std::time::Duration;

use phase_core::client::{Candidate, CandidateId, Carriers, Client, Config, Event, Mode};
use phase_core::dht::finder::{Bootstrap, Finder, Reach, Wide as _};
use phase_core::limits::{ASSEMBLERS_CLIENT, RX_FULL, TX_CLIENT};
use phase_core::rng::Seed;
use phase_core::select::TrustClass;
use phase_core::time::Instant;
use phase_core::wire::multiaddr::Address;
use phase_core::wire::record::{Arch, Channel};
use phase_core::wire::trust::{self, Trust};
use tokio::time::{sleep, timeout};

use crate::bootstrap::{self, Peer, Resolved, Resolver};
use crate::clock::{Clock, EPOCH, unix_time};
use crate::driver::{Driver, NetOptions};
use crate::net;
use crate::net::connections::Manner;
use crate::slots::Slots;

/// How long a first acceptable advert waits for one that is trusted further.
const BETTER_WITHIN: Duration = Duration::from_millis(100);

/// How long to look on the LAN when nothing is said: three questions on each link, the last after a second.
const LAN_TIME: Duration = Duration::from_secs(3);

/// How long to look in the DHT when nothing is said: names to resolve, and one search, which ends by itself.
const DHT_TIME: Duration = Duration::from_secs(15);

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

/// When a discovery is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// With the first acceptable advert from the LAN or its provider itself, or the end of the search in the DHT that
    /// found one; one that is not signed or whose signer is not named waits a moment for a better one, where there can
    /// be one.
    Found,
    /// When the time is over.
    TimeIsOver,
}

/// How long a discovery goes on when it is not done before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// So long in any case.
    pub least: Duration,
    /// And so long while the DHT is being searched.
    pub most: Duration,
}

impl Patience {
    /// Exactly this long.
    #[must_use]
    pub const fn exactly(time: Duration) -> Self {
        Self { least: time, most: time }
    }

    /// What a user said, or else what it takes: on a LAN three questions on each link, the last after a second; in
    /// the DHT one search.
    #[must_use]
    pub fn of(said: Option<Duration>, carriers: Carriers) -> Self {
        match (said, carriers) {
            (Some(time), _) => Self::exactly(time),
            (None, Carriers::Lan) => Self::exactly(LAN_TIME),
            (None, Carriers::Wan) => Self { least: Duration::ZERO, most: DHT_TIME },
            (None, Carriers::Auto | Carriers::All) => Self { least: LAN_TIME, most: DHT_TIME },
        }
    }
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
    carriers: Carriers,
    resolver: Resolver,
    /// Bootstraps whose names lead nowhere, with the reason.
    unresolved: Vec<bootstrap::Error>,
    /// Whether a search in the DHT is over and nobody new to begin with was found since.
    searched: bool,
    /// When each candidate was first told, since the clock's start.
    found_at: BTreeMap<CandidateId, Instant>,
    /// The furthest that an advert can be trusted here.
    best_class: TrustClass,
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
        // With nobody to begin with there is no DHT to search.
        let carriers = match search.carriers {
            Carriers::Auto | Carriers::All if search.bootstraps.is_empty() => Carriers::Lan,
            Carriers::Auto | Carriers::Lan | Carriers::Wan | Carriers::All => search.carriers,
        };
        let options = NetOptions {
            interfaces: search.interfaces,
            ephemeral: true,
            without_mdns: carriers == Carriers::Wan,
            manner: Manner::Brief,
            ..NetOptions::default()
        };
        let driver = Driver::open(options)?;
        let best_class = match search.trust.mode() {
            trust::Mode::Pinned => TrustClass::Pinned,
            trust::Mode::ReleaseOnly | trust::Mode::Unpinned => TrustClass::SelfSigned,
        };
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
            carriers,
            resolver: Resolver::new(bootstraps),
            unresolved: Vec::new(),
            searched: false,
            found_at: BTreeMap::new(),
            best_class,
        })
    }

    /// The next thing the client tells. May be dropped at any time and called again.
    pub async fn next_event(&mut self) -> Event {
        let event = loop {
            let resolved = tokio::select! {
                event = self.driver.next_event(&mut *self.client) => break event,
                resolved = self.resolver.next() => resolved,
            };
            self.enter(resolved);
        };
        self.searched |= event == Event::Searched;
        let now = self.clock.now();
        if let Some(id) = event.candidate() {
            self.found_at.entry(id).or_insert(now);
        }
        event
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
                if std::mem::take(&mut self.searched) {
                    self.client.dht_mut().begin(now, self.carriers == Carriers::All);
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

    /// Runs until it is done, or patience is over.
    pub async fn run(&mut self, until: Until, patience: Patience) {
        let everything = async {
            let mut least = std::pin::pin!(sleep(patience.least));
            let mut had_its_time = false;
            while !(had_its_time && self.has_searched()) {
                tokio::select! {
                    _ = self.next_event() => {}
                    () = &mut least, if !had_its_time => had_its_time = true,
                }
                if until == Until::Found && self.client.is_settled() {
                    break;
                }
            }
            if self.client.best().is_none() || until == Until::TimeIsOver {
                return;
            }
            let better = async {
                while self.best_accepted() < Some(self.best_class) {
                    self.next_event().await;
                }
            };
            tokio::select! {
                () = better => {}
                () = sleep(BETTER_WITHIN) => {}
            }
        };
        // Either way the candidates are there to be looked at.
        let _ = timeout(patience.most, everything).await;
    }

    /// Whether the DHT has nothing under way that could bring something.
    fn has_searched(&self) -> bool {
        let nobody = self.client.dht().report().bootstraps().is_empty();
        let is_settled = self.resolver.is_settled();
        self.carriers == Carriers::Lan || (is_settled && (self.searched || nobody))
    }

    fn best_accepted(&self) -> Option<TrustClass> {
        self.client.best()?.verdict().ok().map(|accepted| accepted.class)
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
        self.carriers
    }

    /// What was done in the DHT and what came of it, a line for each step; empty where it was not searched.
    #[must_use]
    pub fn steps(&self) -> Vec<String> {
        if self.carriers == Carriers::Lan {
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
        let report = self.client.dht().report();
        let reached =
            |one: &Bootstrap| matches!(one.reach(), Reach::Reached(_) | Reach::Answered(_));
        report.counts().answered > 0 || report.bootstraps().iter().any(reached)
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
