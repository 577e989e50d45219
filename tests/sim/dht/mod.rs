//! The project's providers among stock nodes of the DHT, over hours. The machines are those of `phase-provider` and `phase-discover`; only the network and the clock are not real.

mod publishing;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use phase_core::client::{Carriers, Client, Config, Event, Mode};
use phase_core::dht::finder::{Bootstrap, ClientSlot, Finder};
use phase_core::limits::RX_FULL;
use phase_core::time::UnixTime;
use phase_tests::harness::{
    DHT_PORT, DhtNode, Door, EPOCH, HostId, Network, client_config, image, pinned, seed,
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

/// Looks up once, with a client of its own that is gone afterwards; from its start to the first accepted candidate.
fn look_up(network: &mut Network, number: u64, wanted: Wanted<'_>) -> Option<Duration> {
    let start = network.now();
    let host = add_client(network, number, wanted);
    let over = |n: &Network| {
        n.told_by::<WideClient>(host).iter().any(|(_, event)| *event == Event::Searched)
    };
    network.run_until(secs(15), over);
    let told = network.told_by::<WideClient>(host);
    let accepted = told.iter().find(|(_, event)| matches!(event, Event::Accepted(_)));
    let found = accepted.map(|(at, _)| at.since(start));
    network.unplug(host);
    found
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
