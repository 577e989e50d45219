//! Port 5353 shared with Avahi on either host, links with IPv6 alone, providers on two networks.

use phase_tests::deadline;
use phase_tests::netns::{Host, Lan, Namespace, Segment};
use phase_tests::peers::{AvahiDaemon, Peer};
use phase_tests::process::{Process, Stream};

use crate::lab::{
    KIND, Provider, SOON, assert_within, discover, discovered, discovered_at_last, wait_for_event,
};

#[test]
fn a_provider_beside_avahi_is_seen_by_others_and_seen_to_leave() {
    assert_within(SOON, "the loss after a stop", || {
        let lan = Lan::of(2).unwrap();
        let _avahi = AvahiDaemon::start(&lan.host(0).namespace).unwrap();
        let mut browser = Peer::MdnsSd.browse(lan.host(1), KIND).unwrap();
        let mut provider = Provider::start(lan.host(0), "Bench 3", &[("stable", "arm64")]);
        let found = browser.wait_for(|f| f.instance.starts_with("Bench 3 stable arm64")).unwrap();
        assert_eq!(found.port, 8080);
        discovered_at_last(&lan.host(1).namespace, &["--trust", &provider.peer_id()]);
        let stopping = deadline::now();
        provider.stop();
        browser.wait_until_lost(&found.instance).unwrap();
        stopping.elapsed()
    });
}

#[test]
fn avahi_sees_a_provider_on_its_own_host() {
    let lan = Lan::of(2).unwrap();
    let namespace = &lan.host(0).namespace;
    let avahi = AvahiDaemon::start(namespace).unwrap();
    let _provider = Provider::start(lan.host(0), "Bench 3", &[("stable", "arm64")]);
    let mut browser = Process::spawn(avahi.avahi_browse(namespace, &["-rp", KIND])).unwrap();
    let resolved = |l: &str| l.starts_with('=') && l.contains("Bench\\0323\\032stable");
    browser.wait_for_line(Stream::Stdout, resolved).unwrap();
}

#[test]
fn a_client_beside_avahi_finds_a_provider_at_once() {
    let lan = Lan::of(2).unwrap();
    let provider = Provider::start(lan.host(0), "Bench 3", &[("stable", "arm64")]);
    let _avahi = AvahiDaemon::start(&lan.host(1).namespace).unwrap();
    let (namespace, peer) = (&lan.host(1).namespace, provider.peer_id());
    discovered_at_last(namespace, &["--trust", &peer]);
    assert_within(SOON / 2, "a discovery beside Avahi", || {
        let starting = deadline::now();
        let done = discovered(namespace, &["--trust", &peer]);
        assert_eq!(done.code(), 0, "{}", done.stderr);
        starting.elapsed()
    });
}

#[test]
fn ipv6_alone_is_enough() {
    let lan = Lan::of(2).unwrap();
    for host in lan.hosts() {
        host.namespace.remove_address(Host::INTERFACE, &format!("{}/24", host.ipv4)).unwrap();
    }
    let provider = Provider::start(lan.host(0), "Bench 3", &[("stable", "arm64")]);
    let all = discovered_at_last(&lan.host(1).namespace, &["--trust", &provider.peer_id()]);
    let url = all[0]["url"].as_str().unwrap();
    assert_eq!(url, format!("http://[{}]:8080/stable/arm64/manifest.json", lan.host(0).ipv6));
}

#[test]
fn each_of_two_networks_is_told_the_address_on_it() {
    let lan = Lan::of(2).unwrap();
    let second = Segment::new().unwrap();
    second.attach(&lan.host(0).namespace, "eth1", &["10.78.0.1/24"]).unwrap();
    let other = Namespace::new("other").unwrap();
    second.attach(&other, "eth0", &["10.78.0.2/24"]).unwrap();
    let provider = Provider::start(lan.host(0), "Bench 3", &[("stable", "arm64")]);
    let peer = provider.peer_id();
    for (namespace, address) in [(&lan.host(1).namespace, "10.77.0.1"), (&other, "10.78.0.1")] {
        let all = discovered_at_last(namespace, &["--trust", &peer]);
        let url = format!("http://{address}:8080/stable/arm64/manifest.json");
        assert_eq!(all[0]["url"], url.as_str());
    }
}

#[test]
fn a_network_that_comes_later_is_served_within_three_seconds() {
    assert_within(SOON * 3 / 2, "finding the provider after link up", || {
        let lan = Lan::of(2).unwrap();
        lan.host(0).namespace.set_down(Host::INTERFACE).unwrap();
        let provider = Provider::start(lan.host(0), "Bench 3", &[("stable", "arm64")]);
        let mut watcher = discover(&lan.host(1).namespace, ("stable", "arm64"), &["--watch"]);
        provider.wait_until_told("serving stable/arm64");
        let raising = deadline::now();
        lan.host(0).namespace.set_up(Host::INTERFACE).unwrap();
        wait_for_event(&mut watcher, "found");
        raising.elapsed()
    });
}
