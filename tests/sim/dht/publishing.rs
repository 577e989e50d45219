//! Providers that publish for hours.

use phase_core::dht::server;
use phase_core::provider;
use phase_core::time::UnixTime;
use phase_core::wire::record::SignedAdvert;
use phase_tests::harness::{DhtNode, DhtPeer, EPOCH, HostId, Network, key};

use super::{Wanted, add_provider, add_stock, base_key, look_up};
use crate::secs;

/// Seconds between the signing of an advert and its end.
const TTL: u64 = 3600;

/// What a stock node holds under the base key of the provider `number`'s image, or under its sub-key.
fn held(network: &Network, host: HostId, number: u64) -> Option<SignedAdvert> {
    let book = &network.machine_of::<DhtPeer>(host).book;
    let peer = key(number).peer_id();
    let keys = [base_key(), base_key().of(peer)];
    let all = keys.iter().filter_map(|key| book.records.get(key.octets().as_slice()));
    let mut adverts = all.filter_map(|value| SignedAdvert::decode_json(value).ok());
    adverts.find(|signed| signed.advert().peer == peer)
}

fn published(network: &Network, host: HostId) -> usize {
    let events = &network.node_of::<DhtNode>(host).events;
    let published = |event: &provider::Event| {
        matches!(event, provider::Event::Dht(server::Event::Published { .. }))
    };
    events.iter().filter(|(_, event)| published(event)).count()
}

#[test]
fn a_clock_that_is_set_does_not_stop_the_refresh() {
    for jump in [-86_400_i64, 86_400 * 365] {
        let mut network = Network::new(2);
        let stock = add_stock(&mut network, 100, 3);
        let host = add_provider(&mut network, 1, &[100]);
        network.run(secs(2 * TTL));
        let before = published(&network, host);
        network.with_node(host, |_, node: &mut DhtNode| {
            node.clock = UnixTime(node.clock.0.saturating_add_signed(jump));
        });
        network.run(secs(2 * TTL));
        assert!(published(&network, host) >= before + 2, "{jump}");
        let issued = held(&network, stock[0], 1).unwrap().advert().issued;
        let expected = EPOCH.0.saturating_add_signed(jump);
        assert!(issued.0 > expected + TTL && issued.0 < expected + 5 * TTL, "{jump}: {issued:?}");
    }
}

#[test]
fn two_providers_do_not_fight_over_a_place() {
    let mut network = Network::new(6);
    add_stock(&mut network, 100, 6);
    let hosts = [add_provider(&mut network, 1, &[100]), add_provider(&mut network, 2, &[101])];
    network.run(secs(120));
    let puts = |n: &Network| hosts.iter().map(|h| n.tcp_traffic(*h).dials).sum::<u64>();
    let before = puts(&network);
    network.run(secs(TTL / 2));
    // Three looks each in this time, at three holders, and no more: neither takes the other's place.
    assert!(puts(&network) - before < 120, "{}", puts(&network) - before);
    for trusted in [1, 2] {
        let wanted = Wanted { bootstraps: &[102], trusted: &[trusted] };
        assert!(look_up(&mut network, trusted, wanted).is_some());
    }
}

#[test]
fn after_three_hours_without_network_it_is_published_within_six_minutes() {
    let mut network = Network::new(3);
    let stock = add_stock(&mut network, 100, 4);
    let host = add_provider(&mut network, 1, &[100]);
    network.run(secs(300));
    let before = published(&network, host);
    assert!(before > 0);
    // Its machine is told nothing: the cable to the world is cut somewhere else.
    network.set_reachable(host, false);
    network.run(secs(3 * TTL));
    assert_eq!(published(&network, host), before);
    let dials = network.tcp_traffic(host).dials;
    network.set_reachable(host, true);
    // The longest pause between two attempts is five minutes and a tenth.
    assert!(network.run_until(secs(360), |network| published(network, host) > before));
    let held = stock.iter().filter_map(|one| held(&network, *one, 1));
    let newest = held.map(|held| held.advert().issued.0).max().unwrap();
    let clock = EPOCH.0 + network.now().as_micros() / 1_000_000;
    assert!(newest > clock - TTL, "what is published is fresh");
    assert!(dials < 2000, "{dials} dials in three hours");
    let wanted = Wanted { bootstraps: &[101], trusted: &[1] };
    assert!(look_up(&mut network, 1, wanted).is_some());
}
