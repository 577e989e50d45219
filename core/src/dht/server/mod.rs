//! The provider's DHT node: a server of the DHT that keeps adverts of its own in it.
//!
//! ```text
//! start ─► bootstraps: FIND_NODE(own id) ─► along the closest peers ─► each bucket     again every 10 min
//!        ─► a network of few: the same                                                  after 15 s, 45 s, ..
//! visitor ─► dialled once where it says that it listens ─► routing table
//! advert ─► closest to the base key:      PUT_VALUE, ADD_PROVIDER under the raw key
//!        ─► closest to the provider key:  ADD_PROVIDER
//!        ─► closest to the sub-key:       PUT_VALUE                                     again when it is signed
//!        ─► three holders of each record: GET_VALUE, every twelfth of the lifetime ─► PUT_VALUE where it is spoilt
//! ```
//!
//! A holder is given a text a second time once at most for each key, and never in the place of another provider's
//! valid advert under the key that all share: there is no war of writers. Nothing is withdrawn: what a stopped provider published ends with its lifetime.
//!
//! | file | what |
//! |---|---|
//! | `node.rs` | the state and what changes it |
//! | `answer.rs` | requests of others, answers to ours |
//! | `drive.rs` | what to ask next; all deadlines ([`crate::schedule::Timer`]) |
//! | `job.rs`, `publication.rs` | one lookup with what follows it; one advert |
//! | `event.rs`, `status.rs`, `persist.rs` | what is told, shown and kept |
//!
//! Spec: libp2p `specs/kad-dht`.

mod answer;
mod drive;
mod event;
mod job;
mod node;
mod persist;
mod publication;
mod status;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use heapless::Vec;

pub use self::event::{Event, PublishError};
use self::node::Node;
pub use self::persist::PERSISTED_PEER_MAX;
pub use self::publication::Publication;
pub use self::status::{PublicationStatus, Status};
use super::finder::{Bootstrap, Full};
use super::swarm::{Settings, Slot, Swarm};
use crate::connection::Identity;
use crate::identity::{PeerId, SecretKey};
use crate::kad::store::{ProviderSlot, RecordSlot};
use crate::kad::table;
use crate::limits::{ASSEMBLERS_SERVER, RX_FULL, TRUSTED, TX_SERVER};
use crate::machine::{ConnectionId, ConnectionInput, ConnectionOutput, Wake};
use crate::rng::Seed;
use crate::stats::Stats;
use crate::time::{Instant, UnixTime};
use crate::wire::contact::Addresses;
use crate::wire::record::{AdvertKey, SignedAdvert};

/// How long a connection is kept that carries nothing. Others keep theirs for 10 s.
const IDLE: Duration = Duration::from_secs(15);

/// The place of one connection of a node. `RX`: octets of the longest Noise message that is taken, and its length;
/// others send messages of every length, so a node among strangers takes all ([`RX_FULL`]).
pub type ServerSlot<const RX: usize = RX_FULL> = Slot<RX, TX_SERVER, ASSEMBLERS_SERVER>;

type ServerSwarm<S, const RX: usize> =
    Swarm<<S as Storage<RX>>::Connections, RX, TX_SERVER, ASSEMBLERS_SERVER>;

/// Where a node keeps what it holds: arrays on a device, boxed slices where there is a heap. `RX` is that of
/// [`ServerSlot`].
pub trait Storage<const RX: usize = RX_FULL> {
    /// One place for each connection.
    type Connections: AsRef<[ServerSlot<RX>]> + AsMut<[ServerSlot<RX>]>;
    /// One place for each peer of the routing table; 160 serve a network of 10,000.
    type Peers: AsRef<[table::Slot]> + AsMut<[table::Slot]>;
    /// One place for each record stored for others, at most [`crate::limits::RECORDS`].
    type Records: AsRef<[RecordSlot]> + AsMut<[RecordSlot]>;
    /// One place for each provider record stored for others.
    type Providers: AsRef<[ProviderSlot]> + AsMut<[ProviderSlot]>;
    /// One place for each advert of our own: as many as the provider has images.
    type Adverts: AsRef<[Publication]> + AsMut<[Publication]>;
}

/// The places themselves; see [`Storage`].
#[derive(Debug)]
pub struct Parts<S: Storage<RX>, const RX: usize = RX_FULL> {
    /// For connections.
    pub connections: S::Connections,
    /// For the routing table.
    pub peers: S::Peers,
    /// For records of others.
    pub records: S::Records,
    /// For provider records of others.
    pub providers: S::Providers,
    /// For our own adverts.
    pub adverts: S::Adverts,
}

/// What a node is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// Entropy for delays and the keys of handshakes.
    pub seed: Seed,
    /// Who the node is.
    pub key: SecretKey,
    /// Where connections of others are taken.
    pub listen: Listening,
    /// Where others can dial us, if that is not where we listen.
    pub announce: Addresses,
    /// Name and version, as identify tells them.
    pub agent: &'static str,
    /// Connections of others that are taken at one time.
    pub inbound: usize,
    /// Also store and keep adverts with loopback addresses, for tests on one machine.
    pub allow_loopback: bool,
    /// Signers that the store prefers when it is full.
    pub trusted: Vec<PeerId, TRUSTED>,
}

/// Where connections of others are taken: at TCP ports of every address of the host, each family at its own, and at
/// single addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The port at every IPv4 address.
    pub v4: Option<u16>,
    /// The port at every IPv6 address.
    pub v6: Option<u16>,
    /// Beside those.
    pub at: Addresses,
}

impl Listening {
    /// At one port of every address.
    #[must_use]
    pub const fn everywhere(port: u16) -> Self {
        Self { v4: Some(port), v6: Some(port), at: Addresses::NONE }
    }

    /// Where it is listened at an address of the host, if that is at every address of its family.
    fn at(&self, ip: IpAddr) -> Option<SocketAddr> {
        let port = if ip.is_ipv4() { self.v4 } else { self.v6 };
        port.map(|port| SocketAddr::new(ip, port))
    }

    /// Where this host reaches itself, if anywhere.
    fn loopback(&self) -> Option<SocketAddr> {
        let everywhere = self.at(Ipv4Addr::LOCALHOST.into());
        everywhere.or_else(|| self.at(Ipv6Addr::LOCALHOST.into()))
    }
}

/// A DHT node with the adverts of its provider; see the module.
pub struct Server<S: Storage<RX>, const RX: usize = RX_FULL> {
    swarm: ServerSwarm<S, RX>,
    node: Node<S, RX>,
    stopped: bool,
}

impl<S: Storage<RX>, const RX: usize> core::fmt::Debug for Server<S, RX> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Server").field("node", &self.node).finish_non_exhaustive()
    }
}

impl<S: Storage<RX>, const RX: usize> Server<S, RX> {
    /// A node that knows nobody.
    #[must_use]
    pub fn new(now: Instant, config: &Config, parts: Parts<S, RX>) -> Self {
        let identity = Identity::new(&config.key, &config.seed);
        let settings = Settings { inbound: config.inbound, idle: IDLE, prefer: None };
        let (node, connections) = Node::new(config, parts);
        let swarm = Swarm::new(now, connections, identity, config.seed, settings);
        Self { swarm, node, stopped: false }
    }

    /// Adds a peer to begin with, and turns to it at once. One of the same name is replaced: its name may lead
    /// elsewhere by now.
    ///
    /// # Errors
    /// [`Full`] when there are [`crate::limits::BOOTSTRAPS`] already.
    pub fn add_bootstrap(&mut self, now: Instant, bootstrap: Bootstrap) -> Result<(), Full> {
        if self.node.bootstraps.iter().any(|known| known.is_same(&bootstrap)) {
            return Ok(());
        }
        let mut known = (0_u8..).zip(self.node.bootstraps.iter_mut());
        match known.find(|(_, known)| known.is_named_like(&bootstrap)) {
            Some((number, known)) => {
                *known = bootstrap;
                self.node.forget_bootstrap_failed(number);
            }
            None => self.node.bootstraps.push(bootstrap).map_err(|_| Full)?,
        }
        self.node.handle_network(now);
        self.run(now);
        Ok(())
    }

    /// Signers that the store prefers from now on when it is full.
    /// There is room for [`TRUSTED`].
    pub fn set_trusted(&mut self, trusted: impl IntoIterator<Item = PeerId>) {
        self.node.trusted = trusted.into_iter().take(TRUSTED).collect();
    }

    /// Does what can be done without waiting.
    fn run(&mut self, now: Instant) {
        if self.stopped {
            return;
        }
        // Each round asks somebody new or ends somebody's turn, of whom there are only so many.
        loop {
            self.node.drive(now, &mut self.swarm);
            if !self.swarm.pump(now, &mut self.node) {
                break;
            }
        }
    }
}

/// What a provider needs of the DHT: [`Server`] has it, and `()` for a provider on the LAN only.
pub trait Dht: sealed::Sealed {
    /// A place for what is kept beside a node; there is none where there is no node.
    type Place<T: core::fmt::Debug>: AsRef<[T]> + AsMut<[T]> + core::fmt::Debug;

    /// Puts something into its place.
    fn place<T: core::fmt::Debug>(beside: T) -> Self::Place<T>;

    /// Something happened to a connection.
    fn handle_connection(&mut self, now: Instant, id: ConnectionId, input: ConnectionInput<'_>);

    /// Runs every timer that is due.
    fn handle_timeout(&mut self, now: Instant);

    /// When to run [`Dht::handle_timeout`].
    fn next_wake(&self) -> Option<Wake>;

    /// What to do next with a connection.
    fn poll_output(&mut self, buf: &mut [u8]) -> Option<(ConnectionId, ConnectionOutput)>;

    /// What to tell the user.
    fn poll_event(&mut self) -> Option<Event>;

    /// The addresses of the host's interfaces are these.
    fn set_addresses(&mut self, now: Instant, addresses: &[IpAddr]);

    /// The wall clock says `time`.
    fn set_clock(&mut self, now: Instant, time: UnixTime);

    /// Publishes an advert in the place `at`, at once.
    fn publish(&mut self, now: Instant, at: usize, key: &AdvertKey, signed: &SignedAdvert);

    /// Keeps the advert in the place `at` up no longer.
    fn withdraw(&mut self, now: Instant, at: usize);

    /// The publication in the place `at`.
    fn publication(&self, at: usize) -> Option<PublicationStatus>;

    /// Closes every connection, and publishes and answers nothing any more.
    fn stop(&mut self);

    /// Adds the counters of connections.
    fn add_stats(&self, stats: &mut Stats);
}

mod sealed {
    #[expect(unnameable_types, reason = "that nobody else can implement it is what it is for")]
    pub trait Sealed {}
    impl Sealed for () {}
    impl<S: super::Storage<RX>, const RX: usize> Sealed for super::Server<S, RX> {}
}

impl Dht for () {
    type Place<T: core::fmt::Debug> = [T; 0];
    fn place<T: core::fmt::Debug>(_: T) -> [T; 0] {
        []
    }
    fn handle_connection(&mut self, _: Instant, _: ConnectionId, _: ConnectionInput<'_>) {}
    fn handle_timeout(&mut self, _: Instant) {}
    fn next_wake(&self) -> Option<Wake> {
        None
    }
    fn poll_output(&mut self, _: &mut [u8]) -> Option<(ConnectionId, ConnectionOutput)> {
        None
    }
    fn poll_event(&mut self) -> Option<Event> {
        None
    }
    fn set_addresses(&mut self, _: Instant, _: &[IpAddr]) {}
    fn set_clock(&mut self, _: Instant, _: UnixTime) {}
    fn publish(&mut self, _: Instant, _: usize, _: &AdvertKey, _: &SignedAdvert) {}
    fn withdraw(&mut self, _: Instant, _: usize) {}
    fn publication(&self, _: usize) -> Option<PublicationStatus> {
        None
    }
    fn stop(&mut self) {}
    fn add_stats(&self, _: &mut Stats) {}
}

impl<S: Storage<RX>, const RX: usize> Dht for Server<S, RX> {
    type Place<T: core::fmt::Debug> = [T; 1];

    fn place<T: core::fmt::Debug>(beside: T) -> [T; 1] {
        [beside]
    }

    fn handle_connection(&mut self, now: Instant, id: ConnectionId, input: ConnectionInput<'_>) {
        self.swarm.handle_connection(now, id, input, &mut self.node);
        self.run(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if !self.stopped {
            self.swarm.handle_timeout(now, &mut self.node);
            self.run(now);
        }
    }

    fn next_wake(&self) -> Option<Wake> {
        if self.stopped {
            return None;
        }
        Wake::earliest(self.swarm.next_wake(), self.node.next_wake())
    }

    fn poll_output(&mut self, buf: &mut [u8]) -> Option<(ConnectionId, ConnectionOutput)> {
        self.swarm.poll_output(buf, &mut self.node)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.node.events.pop_front()
    }

    fn set_addresses(&mut self, now: Instant, addresses: &[IpAddr]) {
        self.node.set_addresses(now, addresses);
        self.run(now);
    }

    fn set_clock(&mut self, now: Instant, time: UnixTime) {
        self.node.set_clock(now, time);
    }

    fn publish(&mut self, now: Instant, at: usize, key: &AdvertKey, signed: &SignedAdvert) {
        self.node.forget_audit(at);
        if let Some(publication) = self.node.publication(at) {
            publication.set(now, key, signed);
        }
        self.run(now);
    }

    fn withdraw(&mut self, now: Instant, at: usize) {
        self.node.abandon(at);
        if let Some(publication) = self.node.publication(at) {
            publication.clear();
        }
        self.run(now);
    }

    fn publication(&self, at: usize) -> Option<PublicationStatus> {
        self.node.adverts.as_ref().get(at).and_then(PublicationStatus::of)
    }

    fn stop(&mut self) {
        self.stopped = true;
        self.swarm.stop();
    }

    fn add_stats(&self, stats: &mut Stats) {
        stats.add(self.swarm.stats());
    }
}

#[cfg(test)]
mod tests;
