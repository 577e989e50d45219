//! The provider of the core with the carriers that are configured, as one machine.

use std::collections::BTreeMap;
use std::net::IpAddr;

use phase_core::dht::server::{Config, Parts, Publication, Server, Storage};
use phase_core::identity::PeerId;
use phase_core::kad::store::{ProviderSlot, RecordSlot};
use phase_core::kad::table;
use phase_core::limits::{ASSEMBLERS_SERVER, RECORDS, RX_FULL, TX_SERVER};
use phase_core::machine::{Input, LinkId, Machine, Output, TransmitBuffer};
use phase_core::mdns::service::Label;
use phase_core::provider::{self, AdvertStatus, Event, Image, Misuse, Provider};
use phase_core::stats::Stats;
use phase_core::time::{Instant, UnixTime};
use phase_core::wire::record::{Arch, Channel};

use crate::artifacts::scan::IMAGES_MAX;
use crate::slots::Slots;

/// Connections at one time, of 80 KiB each: idle ones make room for those that are wanted.
const CONNECTIONS: usize = 20;
/// Places for connections that are free as long as there may be more: a lookup goes on to that many peers at once.
const SPARE: usize = 6;
/// Of those, connections of others: the rest is for lookups of our own.
const INBOUND: usize = 12;
/// Peers of the routing table.
const PEERS: usize = 360;
/// Provider records stored for others.
const PROVIDER_RECORDS: usize = 1024;

/// Storage on the heap.
#[derive(Debug)]
pub(super) struct Heap;

impl Storage for Heap {
    type Connections = Slots<RX_FULL, TX_SERVER, ASSEMBLERS_SERVER>;
    type Peers = Box<[table::Slot]>;
    type Records = Box<[RecordSlot]>;
    type Providers = Box<[ProviderSlot]>;
    type Adverts = Box<[Publication]>;
}

/// A node of the DHT.
pub(super) type DhtNode = Server<Heap>;

/// Connections of others that are taken at one time.
pub(super) const fn inbound() -> usize {
    INBOUND
}

fn dht_node(now: Instant, config: &Config) -> DhtNode {
    let parts = Parts {
        connections: Slots::new(SPARE, CONNECTIONS),
        peers: std::iter::repeat_with(table::Slot::default).take(PEERS).collect(),
        records: std::iter::repeat_with(RecordSlot::default).take(RECORDS).collect(),
        providers: std::iter::repeat_with(ProviderSlot::default).take(PROVIDER_RECORDS).collect(),
        adverts: std::iter::repeat_with(|| Publication::EMPTY).take(IMAGES_MAX).collect(),
    };
    Server::new(now, config, parts)
}

/// The provider; see the module.
#[derive(Debug)]
pub(super) struct Node {
    provider: Kind,
    /// Without mDNS: the addresses of the links, which the provider is told instead of the links.
    links: Option<BTreeMap<LinkId, Vec<IpAddr>>>,
}

#[derive(Debug)]
enum Kind {
    Lan(Box<Provider<IMAGES_MAX>>),
    Both(Box<Provider<IMAGES_MAX, DhtNode>>),
}

macro_rules! each {
    ($node:expr, $provider:ident => $what:expr) => {
        match $node {
            Kind::Lan($provider) => $what,
            Kind::Both($provider) => $what,
        }
    };
}

impl Node {
    /// A provider that announces by mDNS, where that is wanted, and takes part in the DHT, where that is.
    pub(super) fn new(
        now: Instant,
        config: provider::Config,
        mdns: bool,
        dht: Option<&Config>,
    ) -> Self {
        let provider = match dht {
            None => Kind::Lan(Box::new(Provider::new(now, config))),
            Some(dht) => Kind::Both(Box::new(Provider::with_dht(now, config, dht_node(now, dht)))),
        };
        Self { provider, links: (!mdns).then(BTreeMap::new) }
    }

    pub(super) fn set_port_shared(&mut self, shared: bool) {
        each!(&mut self.provider, provider => provider.set_port_shared(shared));
    }

    pub(super) fn publish_numbered(
        &mut self,
        now: Instant,
        image: Image,
        number: u16,
    ) -> Result<(), Misuse> {
        each!(&mut self.provider, provider => provider.publish_numbered(now, image, number))
    }

    pub(super) fn withdraw(&mut self, now: Instant, channel: &Channel, arch: &Arch) {
        each!(&mut self.provider, provider => provider.withdraw(now, channel, arch));
    }

    pub(super) fn sign(&mut self, now: Instant, issued: UnixTime, first_seq: u64) {
        each!(&mut self.provider, provider => provider.sign(now, issued, first_seq));
    }

    pub(super) fn stop(&mut self, now: Instant) {
        each!(&mut self.provider, provider => provider.stop(now));
    }

    pub(super) fn peer_id(&self) -> PeerId {
        each!(&self.provider, provider => provider.peer_id())
    }

    pub(super) fn host_label(&self) -> Label {
        each!(&self.provider, provider => provider.host_label())
    }

    pub(super) fn adverts(&self) -> Box<dyn Iterator<Item = AdvertStatus<'_>> + '_> {
        each!(&self.provider, provider => Box::new(provider.adverts()))
    }

    pub(super) fn links(&self) -> Vec<LinkId> {
        each!(&self.provider, provider => provider.links().collect())
    }

    /// What was counted on the LAN.
    pub(super) fn stats(&self) -> &Stats {
        each!(&self.provider, provider => provider.stats())
    }

    /// What was counted of connections.
    pub(super) fn connection_stats(&self) -> Option<Stats> {
        match &self.provider {
            Kind::Lan(_) => None,
            Kind::Both(provider) => Some(provider.connection_stats()),
        }
    }

    /// The part of the DHT, where there is one.
    pub(super) fn dht(&self) -> Option<&DhtNode> {
        match &self.provider {
            Kind::Lan(_) => None,
            Kind::Both(provider) => Some(provider.dht()),
        }
    }

    /// The part of the DHT for commands, where there is one.
    pub(super) fn dht_mut(&mut self) -> Option<&mut DhtNode> {
        match &mut self.provider {
            Kind::Lan(_) => None,
            Kind::Both(provider) => Some(provider.dht_mut()),
        }
    }

    /// Tells the addresses of the links instead of the links.
    fn follow(&mut self, now: Instant, id: LinkId, addresses: Option<Vec<IpAddr>>) {
        let Some(links) = &mut self.links else { return };
        match addresses {
            Some(addresses) => drop(links.insert(id, addresses)),
            None => drop(links.remove(&id)),
        }
        let mut all: Vec<_> = links.values().flatten().copied().collect();
        all.sort();
        all.dedup();
        match &mut self.provider {
            Kind::Lan(_) => {}
            Kind::Both(provider) => provider.set_addresses(now, &all),
        }
    }
}

impl Machine for Node {
    type Event = Event;

    fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::LinkUp(link) if self.links.is_some() => {
                let addresses = link.networks.iter().map(|network| network.address).collect();
                self.follow(now, link.id, Some(addresses));
            }
            Input::LinkDown(id) if self.links.is_some() => self.follow(now, id, None),
            Input::Datagram(_)
            | Input::LinkUp(_)
            | Input::LinkDown(_)
            | Input::Connection(..)
            | Input::Timeout => {
                each!(&mut self.provider, provider => provider.handle_input(now, input));
            }
        }
    }

    fn poll_output(&mut self, buf: &mut TransmitBuffer) -> Output<Event> {
        each!(&mut self.provider, provider => provider.poll_output(buf))
    }
}
