//! The routing table: order, eviction, diversity, and beside a plain list.

use super::*;
use crate::rng::Seed;
use core::cmp::Reverse;
use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::vec;

fn peer(number: u16) -> PeerId {
    let [high, low] = number.to_be_bytes();
    let mut octets = [0x55; 32];
    octets[..2].copy_from_slice(&[high, low]);
    PeerId::from_octets(octets).unwrap()
}

fn contact(number: u16) -> Contact {
    let [high, low] = number.to_be_bytes();
    Contact::at(peer(number), SocketAddr::from(([10, 0, high, low], 4001)))
}

fn global(number: u16, address: [u8; 4]) -> Contact {
    Contact::at(peer(number), SocketAddr::from((address, 4001)))
}

const OWN: u16 = 0;

fn table(slots: usize) -> Table<vec::Vec<Slot>> {
    Table::new(&peer(OWN), vec![None; slots])
}

fn bucket(number: u16) -> u8 {
    static BUCKETS: std::sync::OnceLock<vec::Vec<Option<u8>>> = std::sync::OnceLock::new();
    let of = |number| Key::of_peer(&peer(number)).distance(&Key::of_peer(&peer(OWN))).bucket();
    BUCKETS.get_or_init(|| (0..2000).map(of).collect())[usize::from(number)].unwrap()
}

/// The first `count` peers of the farthest bucket.
fn far(count: usize) -> vec::Vec<u16> {
    (1..2000).filter(|number| bucket(*number) == 255).take(count).collect()
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn has(table: &Table<vec::Vec<Slot>>, number: u16) -> bool {
    table.entries().any(|entry| entry.contact().peer == peer(number))
}

#[test]
fn ourselves_and_peers_without_address_are_not_taken() {
    let mut table = table(8);
    assert_eq!(table.seen(at(0), &contact(OWN)), Seen::Refused(Refusal::Own));
    let nowhere = Contact::new(peer(1));
    assert_eq!(table.seen(at(0), &nowhere), Seen::Refused(Refusal::NoAddress));
    assert_eq!(table.count(), 0);
}

#[test]
fn a_known_peer_brings_its_new_addresses() {
    let mut table = table(8);
    assert_eq!(table.seen(at(0), &contact(1)), Seen::Added);
    let moved = global(1, [203, 0, 113, 1]);
    assert_eq!(table.seen(at(1), &moved), Seen::Known);
    assert_eq!(table.entries().next().unwrap().contact(), &moved);
    assert_eq!(table.seen(at(2), &Contact::new(peer(1))), Seen::Known);
    assert_eq!(table.entries().next().unwrap().contact(), &moved, "no addresses say nothing");
}

#[test]
fn a_full_bucket_keeps_its_peers_while_they_answer() {
    let mut table = table(64);
    let numbers = far(23);
    for number in &numbers[..20] {
        assert_eq!(table.seen(at(0), &contact(*number)), Seen::Added);
    }
    let newcomer = contact(numbers[20]);
    assert_eq!(table.seen(at(1), &newcomer), Seen::Refused(Refusal::Full), "all were just seen");
    for number in &numbers[1..20] {
        table.seen(at(500), &contact(*number));
    }
    let probe = contact(numbers[0]);
    assert_eq!(table.seen(at(600), &newcomer), Seen::Pending { probe: probe.clone() });
    let third = contact(numbers[21]);
    assert_eq!(table.seen(at(601), &third), Seen::Refused(Refusal::Full), "one waits already");
    table.seen(at(602), &probe);
    table.failed(&peer(numbers[1]));
    assert!(!has(&table, numbers[20]), "the probe was answered: nobody waits");
    assert!(has(&table, numbers[1]), "one failure is none");
}

#[test]
fn a_newcomer_takes_the_place_of_a_probe_that_fails() {
    let mut table = table(64);
    let numbers = far(22);
    for number in &numbers[..20] {
        table.seen(at(0), &contact(*number));
    }
    for number in &numbers[1..20] {
        table.seen(at(500), &contact(*number));
    }
    assert!(matches!(table.seen(at(600), &contact(numbers[20])), Seen::Pending { .. }));
    table.failed(&peer(numbers[0]));
    assert!(!has(&table, numbers[0]) && has(&table, numbers[20]));
    assert_eq!(table.count(), 20);
    // One that failed gives way at once.
    table.failed(&peer(numbers[5]));
    assert_eq!(table.seen(at(601), &contact(numbers[21])), Seen::Added);
    assert!(!has(&table, numbers[5]));
}

#[test]
fn a_newcomer_does_not_wait_for_ever() {
    let mut table = table(64);
    let numbers = far(21);
    for number in &numbers[..20] {
        table.seen(at(0), &contact(*number));
    }
    assert!(matches!(table.seen(at(600), &contact(numbers[20])), Seen::Pending { .. }));
    table.seen(at(661), &contact(numbers[3]));
    table.failed(&peer(numbers[0]));
    assert!(!has(&table, numbers[20]) && has(&table, numbers[0]));
}

#[test]
fn a_peer_that_fails_three_times_is_dropped_unless_everybody_is_away() {
    let mut table = table(8);
    table.seen(at(0), &contact(1));
    table.seen(at(0), &contact(2));
    for _ in 0..5 {
        table.failed(&peer(1));
        table.failed(&peer(2));
    }
    assert_eq!(table.count(), 2, "the network is away");
    assert_eq!(table.live_count(), 0);
    table.seen(at(100), &contact(2));
    table.failed(&peer(1));
    assert!(!has(&table, 1) && has(&table, 2));
}

#[test]
fn peers_of_one_prefix_are_few_and_private_ones_many() {
    let mut table = table(64);
    let numbers = far(10);
    let mut refused = 0;
    for (last, number) in (1..).zip(&numbers) {
        let seen = table.seen(at(0), &global(*number, [203, 0, 113, last]));
        refused += usize::from(seen == Seen::Refused(Refusal::Diversity));
    }
    assert_eq!(refused, 8, "two of a prefix in a bucket");
    let near: vec::Vec<u16> = (1..2000).filter(|number| bucket(*number) < 254).take(2).collect();
    let seen = |table: &mut Table<_>, n| table.seen(at(0), &global(n, [203, 0, 7, 7]));
    assert_eq!(seen(&mut table, near[0]), Seen::Added, "another bucket");
    assert_eq!(seen(&mut table, near[1]), Seen::Refused(Refusal::Diversity), "three in the table");
    // A peer that is known cannot move where others are already.
    assert_eq!(table.seen(at(1), &contact(near[1])), Seen::Added);
    assert_eq!(table.seen(at(2), &global(near[1], [203, 0, 9, 9])), Seen::Known);
    let kept = table.entries().find(|entry| entry.contact().peer == peer(near[1])).unwrap();
    assert_eq!(kept.contact(), &contact(near[1]));
}

#[test]
fn one_host_on_the_lan_fills_neither_bucket_nor_table() {
    let mut table = table(160);
    let at_one = |number: u16| Contact::at(peer(number), SocketAddr::from(([10, 9, 9, 9], number)));
    let in_bucket =
        far(20).into_iter().filter(|number| table.seen(at(0), &at_one(*number)) == Seen::Added);
    assert_eq!(in_bucket.count(), 8);
    let all = (1..1000).filter(|number| table.seen(at(0), &at_one(*number)) == Seen::Added);
    assert_eq!(all.count(), 8, "16 in the table");
    for number in far(12) {
        table.seen(at(1), &contact(number));
    }
    assert!(far(12).into_iter().all(|number| has(&table, number)), "its neighbours have room");
}

#[test]
fn without_a_free_slot_far_peers_give_way_to_near_ones() {
    let mut table = table(4);
    for number in far(4) {
        table.seen(at(u64::from(number)), &contact(number));
    }
    let near = (1..2000).find(|number| bucket(*number) < 250).unwrap();
    assert_eq!(table.seen(at(3000), &contact(near)), Seen::Added);
    assert!(!has(&table, far(1)[0]), "the one not seen for longest");
    let another = *far(5).last().unwrap();
    assert_eq!(table.seen(at(3000), &contact(another)), Seen::Refused(Refusal::Full));
    assert_eq!(table.count(), 4);
}

#[test]
fn restored_peers_are_not_told_to_others_until_they_are_seen() {
    let mut table = table(8);
    assert!(table.restore(&contact(1)));
    assert!(!table.restore(&contact(1)));
    assert!(!table.restore(&contact(OWN)));
    assert_eq!(table.closest_live::<20>(&Key::of(b"x")).len(), 0);
    assert_eq!(table.closest::<20>(&Key::of(b"x")).len(), 1);
    table.seen(at(1), &contact(1));
    assert_eq!(table.closest_live::<20>(&Key::of(b"x")), [&contact(1)]);
}

#[test]
fn a_refresh_looks_into_every_bucket_farther_than_the_closest_peer() {
    let mut rng = Seed([2; 32]).stream("refresh");
    let mut table = table(200);
    assert_eq!(table.refresh_target(0, &mut rng), None);
    for number in 1..200 {
        table.seen(at(0), &contact(number));
    }
    let nearest = (1..200).map(bucket).min().unwrap();
    for index in 0..=255 - nearest {
        let target = table.refresh_target(index, &mut rng).unwrap();
        let distance = Key::of_peer(&target).distance(&Key::of_peer(&peer(OWN)));
        assert_eq!(distance.bucket(), Some(255 - index));
    }
    assert_eq!(
        table.refresh_target(256_u16.wrapping_sub(u16::from(nearest)) as u8, &mut rng),
        None
    );
}

/// What the table should do, the slow and obvious way.
#[derive(Default)]
struct Model {
    peers: BTreeMap<u16, (Instant, u8)>,
    pending: BTreeMap<u8, (u16, u16, Instant, Instant)>,
}

impl Model {
    fn in_bucket(&self, bucket_of: u8) -> vec::Vec<u16> {
        self.peers.keys().copied().filter(|number| bucket(*number) == bucket_of).collect()
    }

    fn seen(&mut self, now: Instant, number: u16) {
        self.pending.retain(|_, (_, probe, _, until)| *until > now && *probe != number);
        if let Some(known) = self.peers.get_mut(&number) {
            *known = (now, 0);
            return;
        }
        let others = self.in_bucket(bucket(number));
        if others.len() < K {
            self.peers.insert(number, (now, 0));
            return;
        }
        let state = |n: &u16| self.peers[n];
        let stale = others.iter().filter(|n| state(n).1 > 0);
        if let Some(worst) = stale.max_by_key(|n| (state(n).1, Reverse(state(n).0))).copied() {
            self.peers.remove(&worst);
            self.peers.insert(number, (now, 0));
            return;
        }
        let oldest = *others.iter().min_by_key(|n| state(n).0).unwrap();
        let waits = self.pending.contains_key(&bucket(number)) || self.pending.len() >= PENDING;
        if now.since(state(&oldest).0) >= FRESH && !waits {
            let until = now + PENDING_PATIENCE;
            self.pending.insert(bucket(number), (number, oldest, now, until));
        }
    }

    fn failed(&mut self, number: u16) {
        let Some(known) = self.peers.get_mut(&number) else { return };
        known.1 = known.1.saturating_add(1);
        let (seen_at, failures) = *known;
        if let Some((newcomer, _, seen, _)) = self.pending.remove(&bucket(number)) {
            self.peers.remove(&number);
            self.peers.insert(newcomer, (seen, 0));
        } else if failures >= FAILURES_MAX
            && self.peers.values().any(|(at, failures)| *failures == 0 && *at > seen_at)
        {
            self.peers.remove(&number);
        }
    }
}

#[test]
fn random_transitions_agree_with_the_model() {
    for seed in 0..10 {
        let mut rng = Seed([seed; 32]).stream("model");
        let mut table = table(400);
        let mut model = Model::default();
        // Each step at its own time, so that "longest" has one meaning.
        for step in 0..3_000_u64 {
            let now = at(step * if seed % 2 == 0 { 2 } else { 20 });
            let number = rng.u16() % 150 + 1;
            if rng.u16().is_multiple_of(4) {
                table.failed(&peer(number));
                model.failed(number);
            } else {
                table.seen(now, &contact(number));
                model.seen(now, number);
            }
            if !step.is_multiple_of(50) {
                continue;
            }
            let mut found: vec::Vec<_> =
                table.entries().map(|e| (e.contact.peer, e.seen_at, e.failures)).collect();
            found.sort();
            let mut expected: vec::Vec<_> =
                model.peers.iter().map(|(n, (seen, bad))| (peer(*n), *seen, *bad)).collect();
            expected.sort();
            assert_eq!(found, expected, "seed {seed}, step {step}");
            assert!(table.buckets().all(|(_, count)| count <= K));
            assert_eq!(table.buckets().map(|(_, count)| count).sum::<usize>(), table.count());
            let target = Key::of(&rng.u16().to_be_bytes());
            let mut sorted: vec::Vec<_> = table.entries().map(|e| e.contact.peer).collect();
            sorted.sort_by_key(|peer| Key::of_peer(peer).distance(&target));
            let closest: vec::Vec<_> =
                table.closest::<20>(&target).into_iter().map(|contact| contact.peer).collect();
            assert_eq!(closest, sorted[..sorted.len().min(20)]);
        }
    }
}
