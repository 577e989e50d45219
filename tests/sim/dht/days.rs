//! A network of the project's own nodes over two days, with all that happens in such a time.
//!
//! What is held: at no minute is the advert of a provider that runs absent from the nodes that it reaches. It may be
//! absent while the provider is off for longer than a lifetime, and comes back within a minute of its start.

use std::time::Duration;

use phase_core::time::UnixTime;
use phase_tests::harness::{DhtNode, HostId, Network, Station};

use super::{Wanted, add_node, add_provider, live_peers, look_up, stored};
use crate::secs;

const HOUR: u64 = 3600;

/// Seconds that an advert is good for.
const TTL: u64 = 3600;

/// The providers' numbers.
const PROVIDERS: [u64; 2] = [11, 12];

const BOTH: &[usize] = &[0, 1];

/// Two nodes without images, numbers 0 and 1, and two providers. All begin with node 0.
struct Days {
    network: Network,
    nodes: [HostId; 2],
    providers: [HostId; 2],
    /// The highest number of each provider's adverts so far.
    seqs: [u64; 2],
}

impl Days {
    fn new(seed: u64) -> Self {
        let mut network = Network::new(seed);
        let nodes = [add_node(&mut network, 0, &[]), add_node(&mut network, 1, &[0])];
        let providers = PROVIDERS.map(|number| add_provider(&mut network, number, &[0]));
        network.run(secs(60));
        Self { network, nodes, providers, seqs: [0; 2] }
    }

    /// The other hosts that have power.
    fn others(&self, provider: usize) -> Vec<HostId> {
        let own = self.providers[provider];
        let all = self.nodes.iter().chain(&self.providers).copied();
        all.filter(|host| *host != own && self.network.is_present(*host)).collect()
    }

    /// How many of the others have the provider's advert.
    fn holders(&self, provider: usize) -> usize {
        let others = self.others(provider);
        let has = |host: &&HostId| stored(&self.network, **host, PROVIDERS[provider]).is_some();
        others.iter().filter(has).count()
    }

    /// Lets that much time pass; in every minute of it each of `providers` has its advert at another node, and never
    /// an older one than before.
    fn pass(&mut self, time: u64, providers: &[usize]) {
        for _ in 0..time / 60 {
            self.network.run(secs(60));
            for provider in providers.iter().copied() {
                let number = PROVIDERS[provider];
                let others = self.others(provider);
                let held = others.iter().filter_map(|host| stored(&self.network, *host, number));
                let Some(seq) = held.max() else {
                    panic!("nobody has the advert of provider {number}");
                };
                assert!(seq >= self.seqs[provider], "provider {number} went back to {seq}");
                self.seqs[provider] = seq;
            }
        }
    }

    /// Power off, and on again after `pause` seconds, with what was kept.
    fn restart(&mut self, host: HostId, pause: u64, providers: &[usize]) {
        let kept = self.network.node_of::<DhtNode>(host).kept();
        self.network.unplug(host);
        self.pass(pause, providers);
        let node = self.network.node_of::<DhtNode>(host).restarted(self.network.now(), &kept);
        self.network.restart(host, Station::Node(Box::new(node)));
    }

    fn set_clock(&mut self, provider: usize, by: i64) {
        self.network.with_node(self.providers[provider], |_, node: &mut DhtNode| {
            node.clock = UnixTime(node.clock.0.saturating_add_signed(by));
        });
    }

    fn set_island(&mut self, hosts: [HostId; 2], island: u32) {
        hosts.into_iter().for_each(|host| self.network.set_island(host, island));
    }

    fn finds(&mut self, client: u64) -> [Option<Duration>; 2] {
        PROVIDERS.map(|number| {
            let wanted = Wanted { bootstraps: &[0], trusted: &[number] };
            look_up(&mut self.network, client + number, wanted).map(|found| found.took)
        })
    }
}

#[test]
fn adverts_are_in_the_network_in_every_minute_of_two_days() {
    let mut days = Days::new(1);
    assert_eq!(BOTH.iter().map(|at| days.holders(*at)).collect::<Vec<_>>(), [3, 3]);
    days.pass(4 * HOUR, BOTH);

    // A provider restarts: its numbers go on.
    let before = days.seqs[0];
    days.restart(days.providers[0], 60, BOTH);
    days.pass(60, BOTH);
    assert!(days.seqs[0] > before);

    // It is off for longer than its advert is good for, which is gone by then, and comes back.
    days.restart(days.providers[0], 2 * HOUR, &[1]);
    assert_eq!(days.holders(0), 0);
    days.pass(4 * HOUR, BOTH);
    assert_eq!(days.holders(0), 3);

    // The node that all began with is off for a while.
    days.restart(days.nodes[0], 3 * HOUR, BOTH);
    days.pass(2 * HOUR, BOTH);
    assert_eq!((days.holders(0), days.holders(1)), (3, 3));

    // A clock runs a day ahead, and is set right: numbers still rise.
    days.set_clock(1, 86_400);
    days.pass(3 * HOUR, BOTH);
    days.set_clock(1, -86_400 - 1200);
    days.pass(3 * HOUR, BOTH);
    days.set_clock(1, 1200);

    // Two islands for three hours. Each provider has one other node on its own.
    days.set_island([days.nodes[1], days.providers[1]], 1);
    days.pass(3 * HOUR, BOTH);
    assert_eq!((days.holders(0), days.holders(1)), (1, 1));
    days.set_island([days.nodes[1], days.providers[1]], 0);
    // The next refresh of a table finds the other island, and what is new in a table is given the adverts.
    days.pass(15 * 60, BOTH);
    assert_eq!((days.holders(0), days.holders(1)), (3, 3));
    assert!(days.finds(100).iter().all(Option::is_some));

    // Nodes come and go.
    for hour in 0..8 {
        days.restart(days.nodes[hour % 2], 20 * 60, BOTH);
        days.pass(40 * 60, BOTH);
    }
    days.pass(8 * HOUR, BOTH);

    // A provider stops for good: it is gone with its lifetime.
    days.network.unplug(days.providers[1]);
    days.pass(TTL + 60, &[0]);
    assert_eq!((days.holders(0), days.holders(1)), (2, 0));
    assert!(days.finds(200)[1].is_none());
    let end = days.network.now().as_micros() / 1_000_000;
    days.pass(48 * HOUR - end, &[0]);
    assert_eq!(live_peers(&days.network, days.nodes[0]), 2);
}
