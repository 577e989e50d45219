//! The project's own DHT node with its user: what `phase-provider serve` is, without sockets, files and clock.

use phase_core::dht::finder::Bootstrap;
use phase_core::dht::server::{self, Parts, Publication, Server, ServerSlot, Storage};
use phase_core::kad::store::{ProviderSlot, RecordSlot};
use phase_core::kad::table;
use phase_core::limits::TX_SERVER;
use phase_core::machine::{Input, Machine as _, Output, TransmitBuffer};
use phase_core::provider::{self, Event, Image, Origin, Provider};
use phase_core::time::{Instant, UnixTime};
use phase_core::wire::contact::Addresses;
use std::net::{IpAddr, SocketAddr};

use super::station::{IMAGES, Node};
use super::{EPOCH, key, provider_config, seed};

/// Where nodes listen.
pub const DHT_PORT: u16 = 4001;

/// Octets of a node's receive buffers: no peer of the simulations sends longer messages than its output buffer holds.
const RX: usize = TX_SERVER;

/// Storage on the heap.
#[derive(Debug)]
pub struct Boxed;

impl<const RX: usize> Storage<RX> for Boxed {
    type Connections = Box<[ServerSlot<RX>]>;
    type Peers = Box<[table::Slot]>;
    type Records = Box<[RecordSlot]>;
    type Providers = Box<[ProviderSlot]>;
    type Adverts = Box<[Publication]>;
}

/// How much a node can hold.
#[derive(Clone, Copy, Debug)]
pub struct DhtSize {
    /// Connections, of which half may be made by others.
    pub connections: usize,
    /// Peers of the routing table.
    pub peers: usize,
    /// Records, and provider records, of others.
    pub records: usize,
}

impl Default for DhtSize {
    fn default() -> Self {
        Self { connections: 16, peers: 160, records: 32 }
    }
}

/// A node, which is a provider once it has an image.
#[derive(Debug)]
pub struct DhtNode {
    /// The machine.
    pub machine: Box<Provider<IMAGES, Server<Boxed, RX>>>,
    /// What it told.
    pub events: Vec<(Instant, Event)>,
    /// The next sequence number: what a state file keeps.
    pub next_seq: u64,
    /// What its wall clock said when the simulation began.
    pub clock: UnixTime,
    number: u64,
    ip: IpAddr,
    size: DhtSize,
    ttl: u32,
    bootstraps: Vec<SocketAddr>,
    images: Vec<Image>,
}

/// What survives a restart of a node.
#[derive(Clone, Debug)]
pub struct Kept {
    next_seq: u64,
    table: Vec<u8>,
}

impl DhtNode {
    /// The node of `number`, without images, that lives at `ip` and begins with nodes at these addresses.
    #[must_use]
    pub fn new(now: Instant, number: u64, ip: IpAddr, bootstraps: &[SocketAddr]) -> Self {
        Self::with(now, number, ip, bootstraps, (DhtSize::default(), 3600))
    }

    /// As [`DhtNode::new`]; with a size, and the lifetime of adverts in seconds.
    ///
    /// # Panics
    /// When there are too many bootstraps: the test is wrong.
    #[must_use]
    pub fn with(
        now: Instant,
        number: u64,
        ip: IpAddr,
        bootstraps: &[SocketAddr],
        (size, ttl): (DhtSize, u32),
    ) -> Self {
        let mut node = Self {
            machine: Box::new(machine(now, number, ip, (size, ttl))),
            events: Vec::new(),
            next_seq: EPOCH.0,
            clock: EPOCH,
            number,
            ip,
            size,
            ttl,
            bootstraps: bootstraps.to_vec(),
            images: Vec::new(),
        };
        node.begin(now);
        node
    }

    /// The same node after a restart `now`, with what was kept.
    #[must_use]
    pub fn restarted(&self, now: Instant, kept: &Kept) -> Self {
        let mut node = Self {
            machine: Box::new(machine(now, self.number, self.ip, (self.size, self.ttl))),
            events: self.events.clone(),
            next_seq: kept.next_seq,
            images: Vec::new(),
            bootstraps: self.bootstraps.clone(),
            ..*self
        };
        node.machine.dht_mut().restore(now, &kept.table);
        node.begin(now);
        for image in &self.images {
            node.publish(now, image.clone());
        }
        node
    }

    /// What it would find after a restart.
    #[must_use]
    pub fn kept(&self) -> Kept {
        let mut table = vec![0; 64 * 1024];
        let len = self.machine.dht().persist(&mut table);
        table.truncate(len);
        Kept { next_seq: self.next_seq, table }
    }

    fn begin(&mut self, now: Instant) {
        for address in &self.bootstraps {
            let bootstrap = Bootstrap::new(&address.to_string(), [*address], None);
            self.machine.dht_mut().add_bootstrap(now, bootstrap).expect("room for a bootstrap");
        }
        self.machine.set_addresses(now, &[self.ip]);
    }

    /// Publishes an image.
    ///
    /// # Panics
    /// When there is no room: the test is wrong.
    pub fn publish(&mut self, now: Instant, image: Image) {
        self.machine.publish(now, image.clone()).expect("room for the image");
        self.images.push(image);
    }

    /// What the wall clock says at `now`.
    #[must_use]
    pub fn wall_clock(&self, now: Instant) -> UnixTime {
        self.clock.plus(now.as_micros() / 1_000_000)
    }
}

fn machine(
    now: Instant,
    number: u64,
    ip: IpAddr,
    (size, ttl): (DhtSize, u32),
) -> Provider<IMAGES, Server<Boxed, RX>> {
    let parts = Parts {
        connections: (0..size.connections).map(|_| ServerSlot::new()).collect(),
        peers: (0..size.peers).map(|_| table::Slot::default()).collect(),
        records: (0..size.records).map(|_| RecordSlot::default()).collect(),
        providers: (0..size.records).map(|_| ProviderSlot::default()).collect(),
        adverts: (0..IMAGES).map(|_| Publication::default()).collect(),
    };
    let seed = seed(number ^ now.as_micros().rotate_left(32));
    let config = server::Config {
        seed,
        key: key(number),
        listen: server::Listening::everywhere(DHT_PORT),
        announce: Addresses::NONE,
        agent: "phase-simulated/1",
        inbound: size.connections / 2,
        allow_loopback: false,
        trusted: nobody(),
    };
    let node = Server::new(now, &config, parts);
    let url = format!("http://{}:8080", SocketAddr::new(ip, 0).ip());
    let config = provider::Config {
        seed,
        origin: Origin::fixed(&url).expect("an origin"),
        ..provider_config(number, &format!("node-{number}"), ttl)
    };
    Provider::with_dht(now, config, node)
}

fn nobody<T: Default>() -> T {
    T::default()
}

impl Node for DhtNode {
    fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        self.machine.handle_input(now, input);
    }

    fn poll_output(&mut self, now: Instant, buf: &mut TransmitBuffer) -> Output<()> {
        match self.machine.poll_output(buf) {
            Output::Transmit(transmit) => Output::Transmit(transmit),
            Output::Connection(id, output) => Output::Connection(id, output),
            Output::Event(event) => {
                if matches!(event, Event::SignatureDue { .. }) {
                    let clock = self.wall_clock(now);
                    self.next_seq = self.machine.sign(now, clock, self.next_seq);
                }
                if let Event::Dht(server::Event::SequenceBehind { highest, .. }) = &event {
                    self.next_seq = self.next_seq.max(highest + 1);
                }
                self.events.push((now, event));
                Output::Event(())
            }
            Output::Timeout(wake) => Output::Timeout(wake),
        }
    }
}
