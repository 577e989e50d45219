//! Finds providers on the LAN: the client machine of the core on a driver, until it is time to stop.
//! Not here: what is acceptable, and in which order (`phase_core::select`); fetching.

use std::collections::BTreeMap;
use std::time::Duration;

use phase_core::client::{Candidate, CandidateId, Client, Config, Event, Mode};
use phase_core::rng::Seed;
use phase_core::select::TrustClass;
use phase_core::time::Instant;
use phase_core::wire::record::{Arch, Channel};
use phase_core::wire::trust::{self, Trust};
use tokio::time::{sleep, timeout};

use crate::clock::{Clock, EPOCH, unix_time};
use crate::driver::{Driver, NetOptions};
use crate::net;

/// How long a first acceptable advert waits for one that is trusted further.
const BETTER_WITHIN: Duration = Duration::from_millis(100);

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
    /// Exact names of the interfaces to ask on; empty: those that lead to other hosts.
    pub interfaces: Vec<String>,
    /// Find what is there, or follow what comes and goes.
    pub mode: Mode,
}

/// When a discovery is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// With the first acceptable advert; one that is not signed or whose signer is not named waits a moment
    /// for a better one, where there can be one.
    Found,
    /// When the time is over.
    TimeIsOver,
}

/// A discovery under way.
#[derive(Debug)]
pub struct Discovery {
    driver: Driver,
    client: Box<Client>,
    clock: Clock,
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
        let options =
            NetOptions { interfaces: search.interfaces, ephemeral: true, ..NetOptions::default() };
        let driver = Driver::open(options)?;
        let best_class = match search.trust.mode() {
            trust::Mode::Pinned => TrustClass::Pinned,
            trust::Mode::ReleaseOnly | trust::Mode::Unpinned => TrustClass::SelfSigned,
        };
        let config = Config {
            trust: search.trust,
            insecure: search.insecure,
            // Whoever names the loopback interface means this host.
            allow_loopback: named && driver.uses_loopback(),
            clock: Some(unix_time()),
            epoch: EPOCH,
            mode: search.mode,
            first_binder: driver.is_first_binder(),
            ..Config::new(Seed(seed), search.channel, search.arch)
        };
        let client = Box::new(Client::new(driver.now(), config));
        Ok(Self { driver, client, clock, found_at: BTreeMap::new(), best_class })
    }

    /// The next thing the client tells. May be dropped at any time and called again.
    pub async fn next_event(&mut self) -> Event {
        let event = self.driver.next_event(&mut *self.client).await;
        let now = self.clock.now();
        if let Some(id) = event.candidate() {
            self.found_at.entry(id).or_insert(now);
        }
        event
    }

    /// Runs until it is done, at most for `limit`.
    pub async fn run(&mut self, until: Until, limit: Duration) {
        let everything = async {
            loop {
                self.next_event().await;
                if until == Until::Found && self.client.best().is_some() {
                    break;
                }
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
        let _ = timeout(limit, everything).await;
    }

    fn best_accepted(&self) -> Option<TrustClass> {
        self.client.best()?.verdict().ok().map(|accepted| accepted.class)
    }

    /// The machine, with all candidates.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The machine, to tell it what was learnt of a candidate.
    pub fn client_mut(&mut self) -> &mut Client {
        &mut self.client
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
