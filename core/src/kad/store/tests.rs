//! Stores: quotas, expiry, and which record is answered.

use super::*;
use crate::identity::{PeerId, SecretKey};
use crate::kad::Contact;
use crate::kad::diversity::Group;
use crate::kad::validator::{Context, Quota, Refusal};
use crate::limits;
use crate::select;
use crate::time::{Instant, UnixTime};
use crate::wire::record::{Advert, AdvertKey, Arch, Channel, Version};
use crate::wire::url::Url;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use sha2::{Digest as _, Sha256};
use std::vec::Vec;
use std::{format, vec};

const NOW: UnixTime = UnixTime(1_764_158_400);

fn secret(number: u16) -> SecretKey {
    let mut seed = [9; 32];
    seed[..2].copy_from_slice(&number.to_be_bytes());
    SecretKey::from_seed(&seed)
}

fn peer(number: u16) -> PeerId {
    secret(number).peer_id()
}

fn key(channel: &str) -> AdvertKey {
    AdvertKey::base(Channel::new(channel).unwrap(), Arch::new("arm64").unwrap())
}

/// What signer `number` says with that `seq`; `padding` lengthens the URL.
fn value(number: u16, key: &AdvertKey, seq: u64, ttl: u32, padding: usize) -> Vec<u8> {
    let secret = secret(number);
    let url = format!("http://192.0.2.1/x{}/manifest.json", "x".repeat(padding));
    let advert = Advert {
        url: Url::parse(&url).unwrap(),
        peer: secret.peer_id(),
        name: None,
        issued: NOW,
        version: Version::new("1").unwrap(),
        seq,
        ttl,
        digest: None,
    };
    let signed = advert.sign(&secret, &key.channel, &key.arch).unwrap();
    signed.encode_json(&mut [0xa5; 1024]).unwrap().to_vec()
}

fn source(number: u16) -> Source {
    let [high, low] = number.to_be_bytes();
    let ip = IpAddr::V4(Ipv4Addr::new(10, 0, high, low));
    Source { peer: peer(number), group: Group::of_source(ip) }
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

struct Shelf {
    store: RecordStore<Vec<RecordSlot>>,
    now: Instant,
    clock: Option<UnixTime>,
    trusted: Vec<PeerId>,
}

impl Shelf {
    fn new(slots: usize) -> Self {
        let store = RecordStore::new(peer(0), vec![None; slots]);
        Self { store, now: at(0), clock: None, trusted: Vec::new() }
    }

    fn put(&mut self, key: &AdvertKey, value: &[u8], source: Source) -> Result<Put, Refusal> {
        self.put_for(key, value, 0, source)
    }

    fn put_for(
        &mut self,
        key: &AdvertKey,
        value: &[u8],
        ttl: u32,
        source: Source,
    ) -> Result<Put, Refusal> {
        let context = Context { clock: self.clock, allow_loopback: false };
        let request = (&*key.octets(), value, ttl);
        let trusted = &self.trusted;
        self.store.put(self.now, request, source, &context, |peer| trusted.contains(peer))
    }

    fn get(&self, key: &AdvertKey) -> Option<&[u8]> {
        self.store.get(self.now, &key.octets()).map(Stored::value)
    }
}

fn quota<T>(quota: Quota) -> Result<T, Refusal> {
    Err(Refusal::Quota(quota))
}

#[test]
fn foreign_namespaces_and_junk_are_not_stored() {
    let mut shelf = Shelf::new(4);
    let value = value(1, &key("stable"), 1, 3600, 0);
    for name in ["/pk/x", "/ipns/x", "/phase/stable/arm64/manifest.json", ""] {
        let request = (name.as_bytes(), &*value, 0);
        let put = shelf.store.put(at(0), request, source(1), &Context::default(), |_| true);
        assert_eq!(put, Err(Refusal::Key));
    }
    let refusal = shelf.put(&key("stable"), b"{}", source(1)).unwrap_err();
    assert_eq!(refusal.code(), "E-FIELD:url");
    assert_eq!(shelf.put(&key("stable").of(peer(2)), &value, source(1)), Err(Refusal::Signer));
    assert_eq!(shelf.store.count(), 0);
}

#[test]
fn a_record_lives_as_long_as_advert_request_and_two_hours_allow() {
    let check = |signed, asked, clock: Option<u64>, expected| {
        let mut shelf = Shelf::new(4);
        shelf.clock = clock.map(UnixTime);
        let value = value(1, &key("stable"), 1, signed, 0);
        assert_eq!(shelf.put_for(&key("stable"), &value, asked, source(1)), Ok(Put::Stored));
        assert_eq!(shelf.store.next_expiry(), Some(at(expected)));
        shelf.now = at(expected) - Duration::from_micros(1);
        assert!(shelf.get(&key("stable")).is_some());
        shelf.now = at(expected);
        assert_eq!(shelf.get(&key("stable")), None);
        shelf.store.expire(shelf.now);
        assert_eq!(shelf.store.count(), 0);
    };
    check(3600, 0, None, 3600);
    check(604_800, 0, None, 7200);
    check(3600, 60, None, 60);
    check(3600, 9999, None, 3600);
    check(3600, 0, Some(NOW.0), 3600);
    check(3600, 0, Some(NOW.0 + 3000), 900);
}

#[test]
fn equal_octets_live_longer_and_newer_ones_replace() {
    let mut shelf = Shelf::new(4);
    let stable = key("stable");
    let (first, second) = (value(1, &stable, 5, 3600, 0), value(1, &stable, 6, 3600, 0));
    assert_eq!(shelf.put(&stable, &first, source(1)), Ok(Put::Stored));
    shelf.now = at(1000);
    assert_eq!(shelf.put(&stable, &first, source(1)), Ok(Put::Refreshed));
    assert_eq!(shelf.store.next_expiry(), Some(at(4600)));
    assert_eq!(shelf.put_for(&stable, &first, 60, source(1)), Ok(Put::Refreshed));
    assert_eq!(shelf.store.next_expiry(), Some(at(4600)), "never shorter");
    assert_eq!(shelf.put(&stable, &second, source(1)), Ok(Put::Stored));
    assert_eq!(shelf.get(&stable), Some(&*second));
    assert_eq!(shelf.put(&stable, &first, source(1)), Ok(Put::Older));
    assert_eq!(shelf.get(&stable), Some(&*second));
    let bent = value(1, &stable, 6, 3600, 5);
    let refusal = Refusal::Advert(select::Refusal::Equivocation);
    assert_eq!(shelf.put(&stable, &bent, source(1)), Err(refusal));
    assert_eq!(shelf.get(&stable), Some(&*second));
    assert_eq!(shelf.store.count(), 1);
}

#[test]
fn a_put_of_one_provider_leaves_the_other_providers_record() {
    let mut shelf = Shelf::new(8);
    let stable = key("stable");
    let (b, c) = (value(1, &stable, 5, 3600, 0), value(2, &stable, 9_000_000, 3600, 0));
    shelf.put(&stable, &b, source(1)).unwrap();
    shelf.put(&stable, &c, source(2)).unwrap();
    let held: Vec<_> = shelf.store.iter().map(Stored::value).collect();
    assert!(held.contains(&&*b) && held.contains(&&*c));
    shelf.put(&stable.of(peer(1)), &b, source(1)).unwrap();
    assert_eq!(shelf.put(&stable.of(peer(1)), &c, source(2)), Err(Refusal::Signer));
    assert_eq!(shelf.get(&stable.of(peer(1))), Some(&*b));
}

#[test]
fn a_ninth_signer_waits_unless_the_node_trusts_it() {
    let mut shelf = Shelf::new(64);
    let stable = key("stable");
    for number in 1..=8 {
        let ttl = 3600 - u32::from(number);
        let value = value(number, &stable, 1, ttl, 0);
        assert_eq!(shelf.put(&stable, &value, source(number)), Ok(Put::Stored));
    }
    let ninth = value(9, &stable, 1, 3600, 0);
    assert_eq!(shelf.put(&stable, &ninth, source(9)), quota(Quota::Signers));
    let update = value(3, &stable, 2, 3600, 0);
    assert_eq!(shelf.put(&stable, &update, source(3)), Ok(Put::Stored), "known signers go on");
    shelf.trusted.push(peer(9));
    assert_eq!(shelf.put(&stable, &ninth, source(9)), Ok(Put::Stored));
    let signers: Vec<_> = shelf.store.iter().filter_map(Stored::signer).copied().collect();
    assert!(!signers.contains(&peer(8)), "the one that would have expired first");
    assert_eq!(signers.len(), 8);
    // One that expired makes room for anybody.
    shelf.now = at(3600 - 7);
    let tenth = value(10, &stable, 1, 3600, 0);
    assert_eq!(shelf.put(&stable, &tenth, source(10)), Ok(Put::Stored));
}

#[test]
fn one_unsigned_record_is_kept_where_nobody_signs() {
    let mut shelf = Shelf::new(8);
    let stable = key("stable");
    let unsigned = |path: &str| {
        format!(r#"{{"url":"http://192.0.2.1/{path}/manifest.json","peer_id":"x"}}"#).into_bytes()
    };
    let (a, b) = (unsigned("a"), unsigned("b"));
    assert_eq!(shelf.put(&stable, &a, source(1)), Ok(Put::Stored));
    assert_eq!(shelf.get(&stable), Some(&*a));
    assert_eq!(shelf.put(&stable, &b, source(2)), quota(Quota::Signers), "the first is kept");
    assert_eq!(shelf.put(&stable, &b, source(1)), Ok(Put::Stored), "its source may change it");
    let signed = value(3, &stable, 1, 3600, 0);
    assert_eq!(shelf.put(&stable, &signed, source(3)), Ok(Put::Stored));
    assert_eq!(shelf.get(&stable), Some(&*signed), "a signed one is the answer");
    assert_eq!(shelf.put(&stable, &b, source(1)), Ok(Put::Refreshed));
    let testing = key("testing");
    let signed = value(3, &testing, 1, 3600, 0);
    shelf.put(&testing, &signed, source(3)).unwrap();
    assert_eq!(shelf.put(&testing, &a, source(1)), quota(Quota::Signers));
}

#[test]
fn one_peer_may_have_64_keys_stored_and_one_prefix_32() {
    let mut shelf = Shelf::new(200);
    let put = |shelf: &mut Shelf, number: u16, source| {
        let key = key(&format!("c{number}"));
        shelf.put(&key, &value(1, &key, 1, 3600, 0), source)
    };
    let anywhere = Source { group: None, ..source(1) };
    for number in 0..64 {
        assert_eq!(put(&mut shelf, number, anywhere), Ok(Put::Stored));
    }
    assert_eq!(put(&mut shelf, 64, anywhere), quota(Quota::Source));
    assert_eq!(put(&mut shelf, 7, anywhere), Ok(Put::Refreshed));
    let group = Group::of("203.0.113.1".parse().unwrap());
    for number in 100..132 {
        let source = Source { group, ..source(number) };
        assert_eq!(put(&mut shelf, number, source), Ok(Put::Stored));
    }
    assert_eq!(put(&mut shelf, 132, Source { group, ..source(132) }), quota(Quota::Group));
    assert_eq!(put(&mut shelf, 132, source(132)), Ok(Put::Stored));
}

#[test]
fn a_full_store_takes_no_more_but_what_the_node_trusts() {
    let mut shelf = Shelf::new(3);
    for number in 1..=3 {
        let key = key(&format!("c{number}"));
        let value = if number == 3 {
            br#"{"url":"http://192.0.2.1/manifest.json"}"#.to_vec()
        } else {
            value(number, &key, 1, 3600 + u32::from(number), 0)
        };
        assert_eq!(shelf.put(&key, &value, source(number)), Ok(Put::Stored));
    }
    let put = |shelf: &mut Shelf, number| {
        let key = key(&format!("c{number}"));
        shelf.put(&key, &value(number, &key, 1, 3600, 0), source(number))
    };
    assert_eq!(put(&mut shelf, 4), Ok(Put::Stored), "the unsigned one gives way");
    assert_eq!(shelf.get(&key("c3")), None);
    assert_eq!(put(&mut shelf, 5), quota(Quota::Store));
    shelf.trusted.push(peer(5));
    assert_eq!(put(&mut shelf, 5), Ok(Put::Stored));
    assert_eq!(shelf.get(&key("c4")), None, "the one that would have expired first");
    assert_eq!(shelf.store.count(), 3);
}

#[test]
fn no_more_slots_than_1024_and_no_more_octets_than_a_mebibyte_are_used() {
    let records = limits::RECORDS;
    let mut shelf = Shelf::new(records + 50);
    let long = value(1, &key("stable"), 1, 3600, 100).len();
    assert!(records * long < limits::RECORDS_OCTETS, "slots end first for what is emitted");
    // A thousand signatures take too long here: unsigned records of full length from many sources.
    let unsigned = |size: usize| {
        let head = r#"{"url":"http://192.0.2.1/manifest.json","x":""#;
        format!("{head}{}\"}}", "x".repeat(size - head.len() - 2)).into_bytes()
    };
    let mut put = |number: u16, size| {
        shelf.put(&key(&format!("c{number}")), &unsigned(size), source(number / 16))
    };
    let records = u16::try_from(records).unwrap();
    assert!((0..records).all(|number| put(number, 1024) == Ok(Put::Stored)));
    assert_eq!(put(records, 100), quota(Quota::Store), "1,024 of 1,024 octets are both limits");
    assert_eq!(shelf.store.count(), limits::RECORDS);
}

#[test]
fn the_answer_is_the_signer_with_the_least_hash() {
    let mut shelf = Shelf::new(16);
    let stable = key("stable");
    let values: Vec<_> = (1..=8).map(|number| value(number, &stable, 1, 3600, 0)).collect();
    for (number, value) in (1..).zip(&values) {
        shelf.put(&stable, value, source(number)).unwrap();
    }
    let least = (1..=8_u16).min_by_key(|number| {
        let hash = [*peer(0).as_octets(), *peer(*number).as_octets()].concat();
        <[u8; 32]>::from(Sha256::digest(hash))
    });
    let expected = &values[usize::from(least.unwrap()) - 1];
    assert_eq!(shelf.get(&stable), Some(&**expected));
    // Different nodes answer with different signers.
    let mut answers: Vec<_> = (20..60)
        .map(|own| {
            let mut store = RecordStore::new(peer(own), vec![None; 16]);
            for (number, value) in (1..).zip(&values) {
                let request = (&*stable.octets(), &**value, 0);
                store.put(at(0), request, source(number), &Context::default(), |_| false).unwrap();
            }
            *store.get(at(0), &stable.octets()).unwrap().signer().unwrap()
        })
        .collect();
    answers.sort();
    answers.dedup();
    assert!(answers.len() >= 6, "{}", answers.len());
}

fn contact(number: u16) -> Contact {
    let [high, low] = number.to_be_bytes();
    Contact::at(peer(number), ([10, 0, high, low], 4001).into())
}

fn lan(number: u16) -> IpAddr {
    contact(number).addresses.first().unwrap().ip()
}

#[test]
fn providers_of_a_key_are_told_the_newest_first_until_two_days_passed() {
    let mut store = ProviderStore::new(vec![None; 8]);
    for number in 1..=3 {
        store.add(at(number.into()), b"key", &contact(number), lan(number)).unwrap();
    }
    store.add(at(10), b"key", &contact(1), lan(1)).unwrap();
    let get = |store: &ProviderStore<_>, now| -> Vec<PeerId> {
        store.get(now, b"key").into_iter().map(|contact| contact.peer).collect()
    };
    assert_eq!(get(&store, at(10)), [peer(1), peer(3), peer(2)]);
    assert!(store.get(at(10), b"other").is_empty());
    let day = 24 * 3600;
    assert_eq!(store.next_expiry(), Some(at(2 * day + 2)));
    assert_eq!(get(&store, at(2 * day + 3)), [peer(1)]);
    store.expire(at(2 * day + 3));
    assert_eq!(store.count(), 1);
}

#[test]
fn providers_have_quotas_too() {
    let mut store = ProviderStore::new(vec![None; 400]);
    for number in 0..20 {
        assert_eq!(store.add(at(0), b"key", &contact(number), lan(number)), Ok(()));
    }
    let add = |store: &mut ProviderStore<_>, key: &[u8], number, source: &str| {
        store.add(at(0), key, &contact(number), source.parse().unwrap())
    };
    assert_eq!(add(&mut store, b"key", 20, "10.9.9.9"), quota(Quota::Signers));
    assert_eq!(add(&mut store, b"key", 7, "10.9.9.9"), Ok(()), "a known one is refreshed");
    assert_eq!(add(&mut store, b"", 1, "10.9.9.9"), Err(Refusal::Key));
    assert_eq!(add(&mut store, &[1; 81], 1, "10.9.9.9"), Err(Refusal::Key));
    for (number, last) in (30..33).zip(1..) {
        assert_eq!(add(&mut store, b"k", number, &format!("203.0.113.{last}")), Ok(()));
    }
    assert_eq!(add(&mut store, b"k", 33, "203.0.7.7"), quota(Quota::Group), "a crowd of a prefix");
    for number in 40..45 {
        assert_eq!(add(&mut store, b"k", number, "10.1.1.1"), Ok(()), "one host on the LAN");
    }
    for key in 0..64_u8 {
        assert_eq!(add(&mut store, &[key], 50, "127.0.0.1"), Ok(()));
    }
    assert_eq!(add(&mut store, &[64], 50, "127.0.0.1"), quota(Quota::Source));
    for key in 0..59_u8 {
        assert_eq!(add(&mut store, &[99, key], 51, "10.1.1.1"), Ok(()));
    }
    assert_eq!(add(&mut store, &[99, 59], 52, "10.1.1.1"), quota(Quota::Group));
    let mut small = ProviderStore::new(vec![None; 1]);
    assert_eq!(add(&mut small, b"a", 1, "127.0.0.1"), Ok(()));
    assert_eq!(add(&mut small, b"b", 1, "127.0.0.1"), quota(Quota::Store));
}
