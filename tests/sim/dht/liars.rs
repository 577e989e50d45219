//! A network where every fifth node lies: of peers that do not exist, with stale or forged records, or by silence.

use phase_core::kad::Key;
use phase_core::time::UnixTime;
use phase_tests::harness::{DHT_PORT, DhtPeer, Door, EPOCH, Manner, Network, advert_json, key};

use super::{Wanted, add_node, add_provider, add_stock, base_key, contact, ip, look_up, stored};
use crate::secs;

const HONEST: u64 = 14;
const LIARS: u64 = 4;
const FIRST_LIAR: u64 = 200;
const PROVIDERS: [u64; 2] = [50, 51];

const EVIL: &str = "http://192.0.2.66/stable/arm64/manifest.json";

/// The four kinds, one after the other.
fn add_liar(network: &mut Network, number: u64) {
    let mut peer = DhtPeer::with_slots(number, 24);
    let book = &mut peer.book;
    let others = (FIRST_LIAR..FIRST_LIAR + LIARS).filter(|other| *other != number).map(contact);
    book.closer = others.collect();
    let stale = advert_json(PROVIDERS[0], EVIL, 3, (UnixTime(EPOCH.0 - 7200), 3600));
    let mut record = |value: Vec<u8>| {
        for key in [base_key(), base_key().of(key(PROVIDERS[0]).peer_id())] {
            book.records.insert(key.octets().to_vec(), value.clone());
        }
    };
    match number % LIARS {
        0 => {
            // Peers that do not exist, as many as an answer has room for.
            book.closer = (10_000 * number..10_000 * number + 20).map(contact).collect();
        }
        1 => record(stale),
        2 => {
            let forged =
                String::from_utf8(stale).unwrap().replace("\"seq\":3", "\"seq\":4000000000");
            record(forged.into_bytes());
            let fake: Vec<_> = (20_000..20_020).map(contact).collect();
            book.providers.insert(base_key().provider_key().to_vec(), fake);
        }
        _ => book.manner = Manner::Hangs,
    }
    network.machine(peer, &[ip(number)], Door::Open(DHT_PORT));
}

#[test]
fn lookups_succeed_among_liars_and_nobody_is_led_astray() {
    let mut network = Network::new(1);
    (0..LIARS).for_each(|number| add_liar(&mut network, FIRST_LIAR + number));
    let liar = |number: u64| FIRST_LIAR + number % LIARS;
    let nodes: Vec<_> = (0..HONEST)
        .map(|number| {
            // Each knows a liar from the start.
            let node = match number {
                0 => add_node(&mut network, number, &[liar(number)]),
                _ => add_node(&mut network, number, &[0, liar(number)]),
            };
            network.run(secs(1));
            node
        })
        .collect();
    for number in PROVIDERS {
        add_provider(&mut network, number, &[1, liar(number)]);
    }
    network.run(secs(120));
    let holders = nodes.iter().filter(|node| stored(&network, **node, PROVIDERS[0]).is_some());
    assert!(holders.count() >= 12, "the peers closest to the key are honest for the most part");
    for number in 0..16 {
        let trusted = [PROVIDERS[usize::from(number % 2 == 1)]];
        // A third begins with a liar alone besides one honest node, others with one of each kind.
        let bootstraps = [liar(number), number % HONEST];
        let wanted = Wanted { bootstraps: &bootstraps, trusted: &trusted };
        let found = look_up(&mut network, number, wanted);
        let found = found.unwrap_or_else(|| panic!("lookup {number} found nothing"));
        assert_eq!(found.chosen.peer, key(trusted[0]).peer_id());
        assert_ne!(found.chosen.url.as_str(), EVIL);
    }
    // Who begins with liars only is led nowhere, and nowhere else.
    let only: Vec<_> = (FIRST_LIAR..FIRST_LIAR + LIARS).collect();
    let wanted = Wanted { bootstraps: &only, trusted: &PROVIDERS };
    assert!(look_up(&mut network, 100, wanted).is_none());
}

#[test]
fn twenty_made_up_providers_do_not_hide_the_one_that_is_trusted() {
    let mut network = Network::new(2);
    let stock = add_stock(&mut network, 100, 6);
    // Before the provider comes, every node lists as many others as it keeps.
    for host in stock {
        network.with_machine(host, |_, peer: &mut DhtPeer| {
            let fake: Vec<_> = (20_000..20_020).map(contact).collect();
            for key in [base_key().provider_key().to_vec(), base_key().octets().to_vec()] {
                peer.book.providers.insert(key, fake.clone());
            }
            peer.book.providers_full = true;
        });
    }
    add_provider(&mut network, PROVIDERS[0], &[100]);
    network.run(secs(60));
    let wanted = Wanted { bootstraps: &[103], trusted: &PROVIDERS[..1] };
    let found = look_up(&mut network, 1, wanted).expect("its records and its sub-key need no list");
    assert_eq!(found.chosen.peer, key(PROVIDERS[0]).peer_id());
}

/// The numbers of the peers closest to the point of these octets, of many that were made up for it.
fn near(octets: &[u8], count: usize) -> Vec<u64> {
    let target = Key::of(octets);
    let mut made_up: Vec<_> = (1_000_000..1_000_000 + 25 * u64::try_from(count).unwrap()).collect();
    made_up.sort_by_cached_key(|number| Key::of_peer(&key(*number).peer_id()).distance(&target));
    made_up.truncate(count);
    made_up
}

/// CVE-2023-26248: made-up peers closer to a key than any other take whatever is put there, and answer with each other.
#[test]
fn a_ring_of_made_up_peers_around_the_key_does_not_hide_the_provider_that_is_trusted() {
    let mut network = Network::new(3);
    let mut ring = near(&base_key().octets(), 20);
    ring.extend(near(&base_key().provider_key(), 20));
    ring.sort_unstable();
    ring.dedup();
    for number in &ring {
        let mut peer = DhtPeer::new(*number);
        peer.book.closer =
            ring.iter().copied().filter(|n| n != number).take(32).map(contact).collect();
        network.machine(peer, &[ip(*number)], Door::Open(DHT_PORT));
    }
    let stock = add_stock(&mut network, 100, 6);
    for host in &stock {
        network.with_machine(*host, |_, peer: &mut DhtPeer| {
            peer.book.closer.extend(ring.iter().copied().take(26).map(contact));
        });
    }
    add_provider(&mut network, PROVIDERS[0], &[100]);
    network.run(secs(120));
    let holds = |network: &Network, host| {
        let book = &network.machine_of::<DhtPeer>(host).book;
        book.records.contains_key(base_key().octets().as_slice())
    };
    assert!(stock.iter().any(|host| !holds(&network, *host)), "the ring drew it away from some");
    let wanted = Wanted { bootstraps: &[103], trusted: &PROVIDERS[..1] };
    let found = look_up(&mut network, 1, wanted).expect("its sub-key or itself");
    assert_eq!(found.chosen.peer, key(PROVIDERS[0]).peer_id());
}
