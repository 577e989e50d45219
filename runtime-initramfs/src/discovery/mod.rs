//! Finds providers, on the LAN and in the DHT: the client machine of the core on a driver, until it is time to stop.
//! Not here: what is acceptable, and in which order (`phase_core::select`); fetching.

mod resolver;

use std::task::{Context, Poll};
use std::time::Duration;

use phase_core::client::patience::Patience;
use phase_core::client::{
    Candidate, CandidateId, Carriers, Client, Config, Event, HEAD_START, Mode,
};
use phase_core::dht::finder::{Bootstrap, ClientSlot, Finder, Wide as _};
use phase_core::limits::RX_FULL;
use phase_core::rng::Seed;
use phase_core::select::Stale;
use phase_core::time::Instant;
use phase_core::wire::multiaddr::Address;
use phase_core::wire::record::{Arch, Channel};
use phase_core::wire::trust::Trust;

use self::resolver::{Resolved, Resolver};
use crate::clock::{self, EPOCH, unix_time};
use crate::console::{Console, Step};
use crate::driver::Driver;
use crate::executor;
use crate::network::Network;
use crate::signal::Seen;
use crate::sys::{process, random};

/// How often the kernel is asked for random numbers that it does not have yet.
const SEED_AGAIN: Duration = Duration::from_millis(10);

/// Connections at one time: each of a lookup's three paths has one, and one is for a provider itself.
const CONNECTIONS: usize = 4;

/// Peers that one lookup keeps in mind.
const LOOKUP_CANDIDATES: usize = 32;

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
}

/// The client for both carriers. One that looks on the LAN alone has no slot for a connection.
type BothClient = Client<Finder<Box<[ClientSlot<RX_FULL>]>, RX_FULL, LOOKUP_CANDIDATES>>;

/// A discovery under way.
#[derive(Debug)]
pub struct Discovery {
    driver: Driver,
    client: Box<BothClient>,
    console: Console,
    patience: Patience,
    resolver: Resolver,
    /// What it saw of the network.
    seen: Seen,
    /// Bootstraps that lead nowhere, with the reason.
    unresolved: Vec<(Address, resolver::Error)>,
    /// When each candidate was first told, by the console's clock.
    found_at: Vec<(CandidateId, Duration)>,
    began: Instant,
}

impl Discovery {
    /// Begins to look, on every interface that is there or comes. Waits for nothing but random numbers, where keys for
    /// the DHT are made of them.
    pub fn begin(search: Search, network: Network, console: Console) -> Self {
        let (began, has_bootstraps) = (clock::now(), !search.bootstraps.is_empty());
        let patience = Patience::new(began, search.carriers, has_bootstraps, search.trust.mode());
        let carriers = patience.carriers();
        let seed = seed(carriers != Carriers::Lan, console);
        let slots = if carriers == Carriers::Lan { 0 } else { CONNECTIONS };
        let slots = std::iter::repeat_with(ClientSlot::default).take(slots).collect();
        let (channel, arch) = (search.channel, search.arch);
        let finder = Finder::new(clock::now(), &seed, slots, channel.clone(), arch.clone());
        let clock = unix_time();
        let config = Config {
            trust: search.trust,
            insecure: search.insecure,
            // A machine without a clock would refuse what has long expired by a clock that began in 1970.
            stale: if clock < EPOCH { Stale::Allow } else { Stale::Deny },
            clock: Some(clock),
            epoch: EPOCH,
            mode: Mode::OneShot,
            carriers,
            // The stack is ours alone.
            first_binder: true,
            ..Config::new(seed, channel, arch)
        };
        let client = Box::new(Client::with_dht(clock::now(), config, finder));
        let bootstraps = if carriers == Carriers::Lan { Vec::new() } else { search.bootstraps };
        Self {
            resolver: Resolver::new(network, bootstraps),
            driver: Driver::new(network),
            seen: Seen::default(),
            client,
            console,
            patience,
            unresolved: Vec::new(),
            found_at: Vec::new(),
            began,
        }
    }

    /// Runs until there is something to take, or the time is over. `limit`: the time that a user gave it.
    pub fn run(&mut self, limit: Option<Duration>) {
        self.patience.set_limit(limit);
        loop {
            let (now, resolving) = (clock::now(), !self.resolver.is_settled());
            match self.patience.deadline(now, self.client.found(), resolving) {
                Some(deadline) => self.next_event(deadline),
                None => return,
            }
        }
    }

    /// Goes on for so long, whatever is there already.
    pub fn collect(&mut self, time: Duration) {
        let deadline = clock::now() + time;
        while clock::now() < deadline {
            self.next_event(deadline);
        }
    }

    /// Waits for the next thing that happens, until `deadline` at the latest, and notes it.
    fn next_event(&mut self, deadline: Instant) {
        match executor::wait_until(deadline, |cx| self.poll_next(cx)) {
            Some(Happened::Event(event)) => self.note(event),
            Some(Happened::Configured) => self.patience.handle_configured(clock::now()),
            Some(Happened::Resolved(resolved)) => self.enter(*resolved),
            None => {}
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Happened> {
        if let Poll::Ready(event) = self.driver.poll_event(&mut *self.client, cx) {
            return Poll::Ready(Happened::Event(event));
        }
        let Some(configured) = self.patience.configured() else {
            let network = self.driver.network();
            return network.poll_configured(&mut self.seen, cx).map(|()| Happened::Configured);
        };
        // A search that begins without a network ends in vain.
        let head_start =
            if self.carriers() == Carriers::Auto { HEAD_START } else { Duration::ZERO };
        let enters_at = configured + head_start;
        if enters_at > clock::now() {
            executor::wake_at(enters_at.as_micros(), cx.waker());
            return Poll::Pending;
        }
        self.resolver.poll_next(cx).map(|resolved| Happened::Resolved(Box::new(resolved)))
    }

    fn note(&mut self, event: Event) {
        self.patience.handle_event(event);
        if let Some(id) = event.candidate()
            && !self.found_at.iter().any(|(known, _)| *known == id)
        {
            self.found_at.push((id, self.console.elapsed()));
        }
    }

    /// Begins with the peer that a bootstrap was resolved to.
    fn enter(&mut self, resolved: Resolved) {
        let Resolved { address, sockets } = resolved;
        self.unresolved.retain(|(before, _)| *before != address);
        match sockets {
            Ok(sockets) => {
                let bootstrap = Bootstrap::new(&address.to_string(), sockets, address.peer);
                // Those past the limit are not used; the report shows who is.
                let _ = self.client.dht_mut().add_bootstrap(clock::now(), bootstrap);
                if self.patience.handle_entry() {
                    let exhaustive = self.carriers() == Carriers::All;
                    self.client.dht_mut().begin(clock::now(), exhaustive);
                }
            }
            Err(error) => self.unresolved.push((address, error)),
        }
    }

    /// The machine, with all candidates.
    #[must_use]
    pub fn client(&self) -> &BothClient {
        &self.client
    }

    /// All candidates, the best first.
    #[must_use]
    pub fn candidates(&self) -> Vec<&Candidate> {
        self.client.candidates().collect()
    }

    /// The machine, to tell it what was learnt of a candidate.
    pub fn client_mut(&mut self) -> &mut BothClient {
        &mut self.client
    }

    /// Where it looks: the LAN alone where there is nobody to begin with in the DHT.
    #[must_use]
    pub const fn carriers(&self) -> Carriers {
        self.patience.carriers()
    }

    /// The driver, with the network.
    #[must_use]
    pub const fn driver(&self) -> &Driver {
        &self.driver
    }

    /// How long it has looked.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        clock::now().since(self.began)
    }

    /// What was done in the DHT and what came of it, a line for each step; empty where it was not searched.
    #[must_use]
    pub fn steps(&self) -> Vec<String> {
        let unresolved = self.unresolved.iter();
        let mut steps: Vec<String> =
            unresolved.map(|(address, error)| format!("bootstrap {address}: {error}")).collect();
        let report = self.client.dht().report();
        if self.carriers() != Carriers::Lan && !report.bootstraps().is_empty() {
            steps.extend(report.to_string().lines().map(ToOwned::to_owned));
        }
        steps
    }

    /// Whether any node of the DHT was reached.
    #[must_use]
    pub fn was_anybody_reached(&self) -> bool {
        self.client.dht().report().was_anybody_reached()
    }

    /// When a candidate was first told, by the console's clock.
    #[must_use]
    pub fn found_at(&self, id: CandidateId) -> Option<Duration> {
        self.found_at.iter().find(|(known, _)| *known == id).map(|(_, at)| *at)
    }
}

/// What a discovery waits for.
#[derive(Debug)]
enum Happened {
    Event(Event),
    Configured,
    Resolved(Box<Resolved>),
}

/// Entropy for a machine; `for_keys`: also for keys, for which it waits until the kernel has enough.
fn seed(for_keys: bool, console: Console) -> Seed {
    let mut seed = [0; 32];
    if for_keys {
        if random::try_fill(&mut seed).is_err() {
            console.step(Step::Discover, format_args!("waiting for the kernel's random numbers"));
            gather();
        }
        while random::try_fill(&mut seed).is_err() {
            executor::sleep(SEED_AGAIN);
        }
    } else {
        random::fill_insecurely(&mut seed);
    }
    Seed(seed)
}

/// Has the kernel gather randomness. Somebody must wait for it, and this process has links to serve meanwhile.
fn gather() {
    let wait = || {
        random::wait_until_seeded();
        0
    };
    if process::fork(wait).is_err() {
        random::wait_until_seeded();
    }
}
