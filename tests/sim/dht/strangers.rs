//! Strangers that overwrite what stock nodes hold, which let them: what a provider does about it.

use std::collections::BTreeMap;

use phase_core::dht::server;
use phase_core::provider;
use phase_core::time::{Instant, UnixTime};
use phase_core::wire::record::AdvertKey;
use phase_tests::harness::{DhtNode, DhtPeer, EPOCH, HostId, Network, advert_json, key};

use super::{Wanted, add_provider, add_stock, base_key, look_up};
use crate::secs;

const STOCK: u64 = 8;

/// The longest time from one signing to the next: two thirds of an hour and a tenth of it, and what publishing takes.
const REFRESH: u64 = 2640 + 60;

struct Net {
    network: Network,
    stock: Vec<HostId>,
    provider: HostId,
}

fn keys() -> [AdvertKey; 2] {
    [base_key(), base_key().of(key(1).peer_id())]
}

impl Net {
    /// Stock nodes that hold what a provider published.
    fn new(seed: u64) -> Self {
        let mut network = Network::new(seed);
        let stock = add_stock(&mut network, 100, STOCK);
        let provider = add_provider(&mut network, 1, &[100]);
        network.run(secs(60));
        let net = Self { network, stock, provider };
        assert_eq!(net.right(), 2 * stock_count());
        net
    }

    /// Places that have the provider's own advert, of all nodes and both keys.
    fn right(&self) -> usize {
        let own = key(1).peer_id().to_string();
        let books = self.stock.iter().map(|host| &self.network.machine_of::<DhtPeer>(*host).book);
        let values = books
            .flat_map(|book| keys().map(|key| book.records.get(key.octets().as_slice()).cloned()));
        values
            .flatten()
            .filter(|value| String::from_utf8_lossy(value).contains(&own))
            .filter(|value| !value.starts_with(b"{\"url\":\"http://192.0.2.66"))
            .count()
    }

    fn overwrite(&mut self, with: &[u8]) {
        for host in self.stock.clone() {
            self.network.with_machine(host, |_, peer: &mut DhtPeer| {
                for key in keys() {
                    peer.book.records.insert(key.octets().to_vec(), with.to_vec());
                }
            });
        }
    }

    fn events(&self) -> impl Iterator<Item = (Instant, &server::Event)> {
        let events = &self.network.node_of::<DhtNode>(self.provider).events;
        events.iter().filter_map(|(at, event)| match event {
            provider::Event::Dht(event) => Some((*at, event)),
            provider::Event::SignatureDue { .. }
            | provider::Event::Announced { .. }
            | provider::Event::Conflict(_)
            | provider::Event::Renamed(_)
            | provider::Event::NoName(_)
            | provider::Event::Stopped => None,
        })
    }

    /// The most repairs of one node's record between two publications, and repairs altogether.
    fn repairs(&self) -> (usize, usize) {
        let mut of_text: BTreeMap<String, usize> = BTreeMap::new();
        let (mut most, mut all) = (0, 0);
        for (_, event) in self.events() {
            match event {
                server::Event::Published { .. } => of_text.clear(),
                server::Event::Repaired { key, peer } => {
                    let count = of_text.entry(format!("{key} {peer}")).or_default();
                    *count += 1;
                    most = most.max(*count);
                    all += 1;
                }
                server::Event::PublishFailed { .. }
                | server::Event::BootstrapFailed { .. }
                | server::Event::SequenceBehind { .. } => {}
            }
        }
        (most, all)
    }
}

fn stock_count() -> usize {
    usize::try_from(STOCK).unwrap()
}

/// Ours, an hour and a half ago: somebody kept it and puts it again.
fn replayed() -> Vec<u8> {
    let issued = UnixTime(EPOCH.0 - 5400);
    advert_json(1, "http://192.0.2.66/stable/arm64/manifest.json", 3, (issued, 3600))
}

#[test]
fn what_a_stranger_overwrites_is_right_again_after_a_refresh_and_found_all_the_time() {
    let forged = {
        let mut text = String::from_utf8(replayed()).unwrap();
        text = text.replace("\"seq\":3", "\"seq\":9007199254740990");
        text.into_bytes()
    };
    let unsigned = br#"{"url":"http://192.0.2.66/stable/arm64/manifest.json"}"#.to_vec();
    for (seed, junk) in (10..).zip([unsigned, replayed(), forged, vec![b'x'; 1500]]) {
        let mut net = Net::new(seed);
        net.overwrite(&junk);
        assert_eq!(net.right(), 0);
        let wanted = Wanted { bootstraps: &[102], trusted: &[1] };
        let found = look_up(&mut net.network, 1, wanted).expect("the provider itself is asked");
        assert!(found.chosen.url.as_str().contains("stable/arm64/manifest.json"));
        assert!(!found.chosen.url.as_str().contains("192.0.2.66"), "{}", found.chosen.url.as_str());
        // Some are repaired after the first look at them, all are by the next refresh.
        net.network.run(secs(350));
        assert!(net.right() >= 4, "{} with {} octets", net.right(), junk.len());
        net.network.run(secs(REFRESH));
        assert_eq!(net.right(), 2 * stock_count(), "{} octets", junk.len());
        assert_eq!(net.repairs().0, 1);
    }
}

#[test]
fn another_providers_valid_advert_is_left_in_the_shared_place_and_not_in_ours() {
    let mut net = Net::new(20);
    let other = advert_json(7, "http://192.0.2.7/stable/arm64/manifest.json", 9, (EPOCH, 7200));
    net.overwrite(&other);
    net.network.run(secs(2000));
    let repaired: Vec<_> = net
        .events()
        .filter_map(|(_, event)| match event {
            server::Event::Repaired { key, .. } => Some(key.peer.is_some()),
            server::Event::Published { .. }
            | server::Event::PublishFailed { .. }
            | server::Event::BootstrapFailed { .. }
            | server::Event::SequenceBehind { .. } => None,
        })
        .collect();
    assert!(repaired.len() >= 6, "{repaired:?}");
    assert!(repaired.iter().all(|is_sub_key| *is_sub_key), "{repaired:?}");
}

#[test]
fn who_overwrites_without_end_starts_no_war_of_writers() {
    let mut net = Net::new(30);
    let hours = 4;
    for _ in 0..hours * 60 {
        net.overwrite(b"junk");
        net.network.run(secs(60));
    }
    let (most, all) = net.repairs();
    assert_eq!(most, 1, "at most one for each node, key and text");
    assert!(all <= 7 * 2 * stock_count(), "{all} repairs in {hours} hours of six refreshes");
    let dials = net.network.tcp_traffic(net.provider).dials;
    assert!(dials < 1500, "{dials} dials");
    let wanted = Wanted { bootstraps: &[102], trusted: &[1] };
    assert!(look_up(&mut net.network, 1, wanted).is_some());
}
