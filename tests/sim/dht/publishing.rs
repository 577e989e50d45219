//! Providers that publish for hours.

use phase_core::dht::server;
use phase_core::provider;
use phase_core::time::UnixTime;
use phase_core::wire::contact::Contact;
use phase_core::wire::record::{AdvertKey, SignedAdvert};
use phase_tests::harness::{
    DHT_PORT, DhtNode, DhtPeer, Door, EPOCH, HostId, Manner, Network, arch, channel, key,
};

use super::{Wanted, add_provider, address, ip, look_up};
use crate::secs;

/// Seconds between the signing of an advert and its end.
const TTL: u64 = 3600;

/// Stock nodes that all know each other and store whatever they are given, under numbers from `first` on.
fn add_stock(network: &mut Network, first: u64, count: u64) -> Vec<HostId> {
    let contact = |number| Contact::at(key(number).peer_id(), address(number));
    let add = |number| {
        let mut peer = DhtPeer::new(number);
        peer.book.manner = Manner::Stores;
        peer.book.closer =
            (first..first + count).filter(|other| *other != number).map(contact).collect();
        network.machine(peer, &[ip(number)], Door::Open(DHT_PORT))
    };
    (first..first + count).map(add).collect()
}

fn base_key() -> AdvertKey {
    AdvertKey::base(channel("stable"), arch("arm64"))
}

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
