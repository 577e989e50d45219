//! The project's providers in the DHT, over hours and days: among their like, among stock nodes, among liars. The
//! machines are those of `phase-provider` and `phase-discover`; only the network and the clock are not real.

mod days;
mod joining;
mod liars;
mod publishing;
mod strangers;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use phase_core::client::{Carriers, Client, Config, Event, Mode};
use phase_core::dht::finder::{Bootstrap, ClientSlot, Finder};
use phase_core::kad::store::Stored;
use phase_core::limits::RX_FULL;
use phase_core::time::UnixTime;
use phase_core::wire::contact::Contact;
use phase_core::wire::record::{Advert, AdvertKey};
use phase_tests::harness::{
    DHT_PORT, DhtNode, DhtPeer, Door, EPOCH, HostId, Manner, Network, arch, channel, client_config,
    image, key, pinned, seed,
};

use crate::secs;

/// The machine of `phase-discover --mode wan`.
type WideClient = Client<Finder<Box<[ClientSlot<RX_FULL>]>, RX_FULL>>;

/// Clients live in a network of their own.
const FIRST_CLIENT: u64 = 1 << 20;

/// The address of host `number`: few share a prefix, so that limits on prefixes are not what is tested.
fn ip(number: u64) -> IpAddr {
    let [.., high, middle, low] = number.to_be_bytes();
    let first = 11 + (low % 100);
    IpAddr::from([first, low, middle, high + 1])
}

fn address(number: u64) -> SocketAddr {
    SocketAddr::new(ip(number), DHT_PORT)
}

/// Adds node `number`, which begins with the nodes of these numbers.
fn add_node(network: &mut Network, number: u64, bootstraps: &[u64]) -> HostId {
    let bootstraps: Vec<SocketAddr> = bootstraps.iter().map(|n| address(*n)).collect();
    let node = DhtNode::new(network.now(), number, ip(number), &bootstraps);
    network.node(node, &[ip(number)], Door::Open(DHT_PORT))
}

/// Adds node `number` with an image.
fn add_provider(network: &mut Network, number: u64, bootstraps: &[u64]) -> HostId {
    let host = add_node(network, number, bootstraps);
    network.with_node(host, |now, node: &mut DhtNode| {
        node.publish(now, image("stable", "arm64", "1"));
    });
    host
}

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
struct Wanted<'a> {
    /// Where it begins.
    bootstraps: &'a [u64],
    /// The providers it trusts.
    trusted: &'a [u64],
}

/// What a search came to.
#[derive(Clone, Debug)]
struct Lookup {
    /// From its start to the first accepted candidate.
    took: Duration,
    /// The advert that was chosen at its end.
    chosen: Advert,
}

/// Looks up once, with a client of its own that is gone afterwards.
fn look_up(network: &mut Network, number: u64, wanted: Wanted<'_>) -> Option<Lookup> {
    let start = network.now();
    let host = add_client(network, number, wanted);
    let over = |n: &Network| {
        n.told_by::<WideClient>(host).iter().any(|(_, event)| *event == Event::Searched)
    };
    network.run_until(secs(15), over);
    let told = network.told_by::<WideClient>(host);
    let accepted = told.iter().find(|(_, event)| matches!(event, Event::Accepted(_)));
    let took = accepted.map(|(at, _)| at.since(start));
    let best = network.machine_of::<WideClient>(host).best();
    let chosen = best.and_then(|best| best.advert()).cloned();
    network.unplug(host);
    Some(Lookup { took: took?, chosen: chosen? })
}

fn add_client(network: &mut Network, number: u64, wanted: Wanted<'_>) -> HostId {
    let number = FIRST_CLIENT + number;
    let clock = UnixTime(EPOCH.0).plus(network.now().as_micros() / 1_000_000);
    let trust = pinned(wanted.trusted.iter().copied());
    let config = Config {
        carriers: Carriers::Wan,
        clock: Some(clock),
        ..client_config(number, trust, Mode::OneShot)
    };
    let slots = (0..3).map(|_| ClientSlot::new()).collect();
    let (channel, arch) = (config.channel.clone(), config.arch.clone());
    let mut finder = Finder::new(network.now(), &seed(number), slots, channel, arch);
    for bootstrap in wanted.bootstraps {
        let bootstrap = Bootstrap::new("", [address(*bootstrap)], None);
        finder.add_bootstrap(network.now(), bootstrap).unwrap();
    }
    let client: WideClient = Client::with_dht(network.now(), config, finder);
    network.machine(client, &[ip(number)], Door::Silent)
}

fn contact(number: u64) -> Contact {
    Contact::at(key(number).peer_id(), address(number))
}

fn base_key() -> AdvertKey {
    AdvertKey::base(channel("stable"), arch("arm64"))
}

/// Stock nodes that all know each other and store whatever they are given, under numbers from `first` on.
fn add_stock(network: &mut Network, first: u64, count: u64) -> Vec<HostId> {
    let add = |number| {
        let mut peer = DhtPeer::new(number);
        peer.book.manner = Manner::Stores;
        peer.book.closer =
            (first..first + count).filter(|other| *other != number).map(contact).collect();
        network.machine(peer, &[ip(number)], Door::Open(DHT_PORT))
    };
    (first..first + count).map(add).collect()
}

/// The number of a provider's advert that a node of ours stores under the base key; `None`: none, or it expired.
fn stored(network: &Network, host: HostId, provider: u64) -> Option<u64> {
    let (now, peer) = (network.now(), key(provider).peer_id());
    let records = network.node_of::<DhtNode>(host).machine.dht().records();
    let live = |stored: &&Stored| stored.expires_at() > now && stored.signer() == Some(&peer);
    records.iter().filter(|one| one.key().peer.is_none()).find(live).map(Stored::seq)
}

/// Peers that a node of ours believes to be there.
fn live_peers(network: &Network, host: HostId) -> usize {
    network.node_of::<DhtNode>(host).machine.dht().status().live_peers
}
