//! Many hosts, hosts with several interfaces, segments that are bridged or reflected.

use std::collections::BTreeSet;

use phase_core::client::Mode;
use phase_core::provider;
use phase_tests::harness::{Conditions, HostId, Network, Station, image, provider_config};

use crate::{TTL, accepted, add_client, add_provider, secs};

fn renames(network: &Network, host: HostId) -> usize {
    let events = network.events(host).iter();
    events.filter(|(_, e)| matches!(e, provider::Event::Renamed(_))).count()
}

fn host_labels(network: &mut Network, hosts: &[HostId]) -> BTreeSet<String> {
    hosts
        .iter()
        .map(|h| network.with_provider(*h, |_, p| p.host_label().to_ascii_lowercase()))
        .collect()
}

fn check_names_converge(seed: u64, conditions: Conditions) {
    const HOSTS: u64 = 8;
    let mut network = Network::new(seed);
    let lan = network.segment(conditions);
    let hosts: Vec<_> = (1..=HOSTS)
        .map(|n| {
            let config = provider_config(n, "same", TTL);
            network.provider(config, &[image("stable", "arm64", "1")], &[lan])
        })
        .collect();
    network.run(secs(120));
    let labels = host_labels(&mut network, &hosts);
    assert_eq!(labels.len(), hosts.len(), "host names {labels:?}");
    let before: Vec<_> = hosts.iter().map(|h| renames(&network, *h)).collect();
    network.run(secs(1800));
    let after: Vec<_> = hosts.iter().map(|h| renames(&network, *h)).collect();
    assert_eq!(before, after, "names keep changing");
    for host in &hosts {
        let announced = network
            .with_provider(*host, |_, p| p.adverts().all(|a| a.announced_v4 && a.announced_v6));
        assert!(announced, "an advert is not announced");
    }
}

#[test]
fn hosts_of_one_name_settle_on_names_of_their_own() {
    for seed in 0..10 {
        check_names_converge(seed, Conditions::default());
    }
}

#[test]
fn names_converge_under_loss_and_duplication() {
    for seed in 0..10 {
        check_names_converge(
            seed,
            Conditions { loss: 0.1, duplication: 0.1, ..Conditions::default() },
        );
    }
}

#[test]
fn fifty_hosts_and_ten_watchers_are_no_storm() {
    let mut network = Network::new(1);
    let lan = network.segment(Conditions::default());
    let hosts: Vec<_> = (1..=50).map(|n| add_provider(&mut network, n, &[lan])).collect();
    network.run(secs(30));
    let clients: Vec<_> =
        (0..10).map(|n| add_client(&mut network, (1000 + n, 50), Mode::Watch, &[lan])).collect();
    network.run(secs(3600));
    // Started at once: three probes and two announcements each, on two families.
    let start = network.traffic.by_second.range(..5).map(|(_, c)| *c).max().unwrap_or(0);
    assert!(start <= 50 * 2 * 4, "{start} datagrams in one second of the start");
    // Settled: watchers ask ever more seldom, here all at once: two one-shot questions on two families, answered
    // by each host, and a multicast answer of each host on each family.
    let peak = network.traffic.peak(60);
    assert!(peak <= 10 * 4 * (50 + 1) + 50 * 2 + 10 * 2, "{peak} datagrams in one second");
    let settled: u64 = network.traffic.by_second.range(60..).map(|(_, c)| *c).sum();
    assert!(settled <= 20_000, "{settled} datagrams in an hour");
    assert!(clients.iter().all(|c| accepted(&network, *c) > 0));
    assert!(hosts.iter().all(|h| renames(&network, *h) == 0));
}

#[test]
fn a_quiet_lan_is_silent() {
    let mut network = Network::new(1);
    let lan = network.segment(Conditions::default());
    for number in 1..=3 {
        add_provider(&mut network, number, &[lan]);
    }
    network.run(secs(30));
    let before = network.traffic.datagrams;
    // Adverts are signed again after 2,160 s at the earliest.
    network.run(secs(2000));
    assert_eq!(network.traffic.datagrams, before);
}

#[test]
fn two_interfaces_on_one_lan_are_no_conflict() {
    for seed in 0..10 {
        let mut network = Network::new(seed);
        let (a, b) =
            (network.segment(Conditions::default()), network.segment(Conditions::default()));
        network.bridge(a, b);
        let host = add_provider(&mut network, 1, &[a, b]);
        let client = add_client(&mut network, (1000, 1), Mode::Watch, &[a]);
        network.run(secs(30));
        assert_eq!(renames(&network, host), 0);
        assert!(accepted(&network, client) > 0);
        let before = network.traffic.datagrams;
        network.run(secs(40));
        let more = network.traffic.datagrams - before;
        assert!(more <= 24, "{more} datagrams in 40 s: the host answers itself");
    }
}

#[test]
fn a_bridge_that_appears_later_ends_in_peace() {
    let mut network = Network::new(1);
    let (a, b) = (network.segment(Conditions::default()), network.segment(Conditions::default()));
    let host = add_provider(&mut network, 1, &[a, b]);
    let other = add_provider(&mut network, 2, &[b]);
    let client = add_client(&mut network, (1000, 2), Mode::Watch, &[a]);
    network.run(secs(60));
    assert_eq!(accepted(&network, client), 1);
    network.bridge(a, b);
    network.run(secs(3700));
    assert_eq!((renames(&network, host), renames(&network, other)), (0, 0));
    assert!(accepted(&network, client) >= 2, "{} accepted", accepted(&network, client));
    assert!(network.traffic.peak(120) <= 60, "{} datagrams in a second", network.traffic.peak(120));
}

#[test]
fn a_reflector_that_repeats_everything_causes_no_rename_and_no_storm() {
    for seed in 0..10 {
        let mut network = Network::new(seed);
        let (a, b) =
            (network.segment(Conditions::default()), network.segment(Conditions::default()));
        network.reflect(a, b);
        let hosts = [
            add_provider(&mut network, 1, &[a]),
            add_provider(&mut network, 2, &[b]),
            add_provider(&mut network, 3, &[a, b]),
        ];
        let client = add_client(&mut network, (1000, 3), Mode::Watch, &[a]);
        network.run(secs(120));
        for host in hosts {
            assert_eq!(renames(&network, host), 0, "seed {seed}");
        }
        assert!(accepted(&network, client) >= 2);
        assert!(
            network.traffic.peak(30) <= 40,
            "{} datagrams in a second",
            network.traffic.peak(30)
        );
    }
}

#[test]
fn two_lans_of_one_host_each_learn_the_address_they_can_reach() {
    let mut network = Network::new(1);
    let (a, b) = (network.segment(Conditions::default()), network.segment(Conditions::default()));
    add_provider(&mut network, 1, &[a, b]);
    network.run(secs(10));
    for (segment, prefix) in [(a, "http://10.0."), (b, "http://10.1.")] {
        let client = add_client(&mut network, (1000, 1), Mode::OneShot, &[segment]);
        assert!(network.run_until(secs(1), |n| accepted(n, client) == 1));
        let url = network.client_of(client).best().and_then(|c| c.url()).map(ToString::to_string);
        assert!(url.as_ref().is_some_and(|u| u.starts_with(prefix)), "{url:?}");
    }
}

#[test]
fn ipv6_alone_is_enough() {
    let mut network = Network::new(1);
    let lan = network.segment(Conditions::default());
    let station = Station::provider(network.now(), provider_config(1, "lab", TTL));
    let provider = network.host_v6_only(station, lan);
    network
        .with_provider(provider, |now, p| p.publish(now, image("stable", "arm64", "1")))
        .unwrap();
    let config =
        phase_tests::harness::client_config(9, phase_tests::harness::pinned([1]), Mode::OneShot);
    network.run(secs(5));
    let station = Station::client(network.now(), config);
    let client = network.host_v6_only(station, lan);
    assert!(network.run_until(secs(1), |n| accepted(n, client) == 1));
}
