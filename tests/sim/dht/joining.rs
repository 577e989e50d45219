//! Networks that come to be: who knows whom, how soon, and at what price.

use phase_tests::harness::{DhtNode, HostId, Network, Station};

use super::{add_node, add_provider, live_peers, stored};
use crate::secs;

/// Nodes that begin with node 0, `pause` seconds apart.
fn join(seed: u64, count: u64, pause: u64) -> (Network, Vec<HostId>) {
    let mut network = Network::new(seed);
    let hosts = (0..count)
        .map(|number| {
            let host = add_node(&mut network, number, if number == 0 { &[] } else { &[0] });
            network.run(secs(pause));
            host
        })
        .collect();
    (network, hosts)
}

fn knows_all(network: &Network, hosts: &[HostId]) -> bool {
    hosts.iter().all(|host| live_peers(network, *host) == hosts.len() - 1)
}

#[test]
fn fifteen_nodes_know_all_others_soon_and_without_a_storm() {
    for (seed, pause) in [(1, 0), (2, 3)] {
        let (mut network, hosts) = join(seed, 15, pause);
        // They look again after a quarter of a minute, after three quarters, and after two minutes more.
        let done = network.run_until(secs(300), |network| knows_all(network, &hosts));
        let known: Vec<_> = hosts.iter().map(|host| live_peers(&network, *host)).collect();
        assert!(done, "{pause} s apart: {known:?}");
        let dials = |network: &Network| -> u64 {
            hosts.iter().map(|host| network.tcp_traffic(*host).dials).sum()
        };
        let joined = dials(&network);
        network.run(secs(120));
        assert!(joined < 800, "{joined} dials of 15 nodes that joined {pause} s apart");
        assert!(
            dials(&network) - joined < 300,
            "{} in two quiet minutes",
            dials(&network) - joined
        );
        assert!(knows_all(&network, &hosts));
    }
}

#[test]
fn who_comes_late_is_given_the_adverts_and_who_went_is_forgotten() {
    let (mut network, hosts) = join(3, 5, 1);
    let provider = add_provider(&mut network, 20, &[0]);
    network.run(secs(30));
    let late = add_node(&mut network, 9, &[0]);
    network.run(secs(60));
    assert!(stored(&network, late, 20).is_some());
    // One node goes without a word. Nobody tells others of it for long.
    network.unplug(hosts[2]);
    network.run(secs(1500));
    for host in [hosts[0], hosts[1], late, provider] {
        assert_eq!(live_peers(&network, host), 5, "{host:?}");
    }
}

#[test]
fn a_whole_network_that_restarts_finds_itself_without_its_bootstrap() {
    let (mut network, hosts) = join(4, 6, 1);
    let provider = add_provider(&mut network, 20, &[0]);
    network.run(secs(60));
    let all: Vec<_> = hosts.iter().copied().skip(1).chain([provider]).collect();
    let kept: Vec<_> = all.iter().map(|host| network.node_of::<DhtNode>(*host).kept()).collect();
    // A power failure; the one that all began with stays off.
    network.unplug(hosts[0]);
    all.iter().for_each(|host| network.unplug(*host));
    network.run(secs(600));
    for (host, kept) in all.iter().zip(&kept) {
        let node = network.node_of::<DhtNode>(*host).restarted(network.now(), kept);
        network.restart(*host, Station::Node(Box::new(node)));
        network.run(secs(5));
    }
    network.run(secs(120));
    for host in &hosts[1..] {
        assert!(stored(&network, *host, 20).is_some(), "{host:?}");
        assert_eq!(live_peers(&network, *host), 5, "{host:?}");
    }
}
