//! What is announced where, when it is signed again, and what a caller is told.

use super::origin::{address_of, announceable};
use super::*;
use crate::limits::TRANSMIT_MAX;
use crate::machine::{Link, Network};
use crate::time::UnixTime;
use core::time::Duration;

fn provider<const N: usize>() -> Provider<N> {
    let config = Config {
        seed: Seed([1; 32]),
        key: SecretKey::from_seed(&[7; 32]),
        name: None,
        host: HostLabel::from_hostname("my-mac"),
        origin: Origin::Auto { port: 8080 },
        ttl: 3600,
    };
    Provider::new(Instant::ZERO, config)
}

fn image(channel: &str) -> Image {
    Image {
        channel: Channel::new(channel).unwrap(),
        arch: Arch::new("arm64").unwrap(),
        version: Version::new("1").unwrap(),
        digest: Digest::of(b""),
    }
}

fn network(text: &str) -> Network {
    Network { address: text.parse().unwrap(), prefix_len: 24 }
}

fn up<const N: usize>(provider: &mut Provider<N>, now: Instant, interface: u32, address: &str) {
    let id = LinkId { interface, family: Family::V4 };
    let networks = [network(address)];
    provider.handle_input(now, Input::LinkUp(Link { id, mtu: 1500, networks: &networks }));
}

fn seconds(count: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(count)
}

/// Feeds a timeout and gives how many signatures are asked for, if any.
fn asked<const N: usize>(provider: &mut Provider<N>, now: Instant) -> Option<u32> {
    let mut buffer = [0xa5; TRANSMIT_MAX];
    let mut due = None;
    provider.handle_input(now, Input::Timeout);
    loop {
        match provider.poll_output(&mut buffer) {
            Output::Transmit(_) | Output::Connection(..) => {}
            Output::Event(Event::SignatureDue { count }) => due = Some(count),
            Output::Event(_) => {}
            Output::Timeout(_) => return due,
        }
    }
}

#[test]
fn a_provider_holds_as_many_images_as_it_was_made_for() {
    let mut provider = provider::<2>();
    provider.publish(Instant::ZERO, image("a")).unwrap();
    provider.publish(Instant::ZERO, image("b")).unwrap();
    let error = provider.publish(Instant::ZERO, image("c")).unwrap_err();
    assert_eq!(error, Misuse::TooManyImages { capacity: 2 });
    provider.publish(Instant::ZERO, image("b")).unwrap();
    let arch = Arch::new("arm64").unwrap();
    assert!(provider.withdraw(Instant::ZERO, &image("a").channel, &arch));
    provider.publish(Instant::ZERO, image("c")).unwrap();
    provider.stop(Instant::ZERO);
    assert_eq!(provider.publish(Instant::ZERO, image("d")), Err(Misuse::Stopped));
}

#[test]
fn every_interface_and_image_is_signed_with_its_own_number() {
    let mut provider = provider::<4>();
    up(&mut provider, Instant::ZERO, 1, "192.0.2.1");
    up(&mut provider, Instant::ZERO, 2, "198.51.100.1");
    provider.publish(Instant::ZERO, image("a")).unwrap();
    provider.publish(Instant::ZERO, image("b")).unwrap();
    assert_eq!(asked(&mut provider, Instant::ZERO), Some(4));
    assert_eq!(provider.sign(Instant::ZERO, UnixTime(1_764_158_400), 10), 14);
    let mut numbers: std::vec::Vec<_> =
        provider.adverts().map(|advert| advert.signed.unwrap().0).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [10, 11, 12, 13]);
    let mut urls: std::vec::Vec<_> = provider
        .adverts()
        .map(|advert| std::string::ToString::to_string(&advert.url.unwrap()))
        .collect();
    urls.sort();
    assert_eq!(urls[0], "http://192.0.2.1:8080/a/arm64/manifest.json");
    assert_eq!(urls[3], "http://198.51.100.1:8080/b/arm64/manifest.json");
    assert_eq!(asked(&mut provider, Instant::ZERO), None);
}

#[test]
fn no_more_numbers_are_used_than_were_asked_for() {
    let mut provider = provider::<4>();
    up(&mut provider, Instant::ZERO, 1, "192.0.2.1");
    provider.publish(Instant::ZERO, image("a")).unwrap();
    assert_eq!(asked(&mut provider, Instant::ZERO), Some(1));
    provider.publish(Instant::ZERO, image("b")).unwrap();
    assert_eq!(provider.sign(Instant::ZERO, UnixTime(1), 10), 11);
    assert_eq!(asked(&mut provider, Instant::ZERO), Some(1), "the second is asked for by itself");
    assert_eq!(provider.sign(Instant::ZERO, UnixTime(1), 11), 12);
    assert_eq!(provider.sign(Instant::ZERO, UnixTime(1), 12), 12, "nothing was asked for");
}

#[test]
fn a_signature_that_does_not_come_is_asked_for_every_minute() {
    let mut provider = provider::<4>();
    up(&mut provider, Instant::ZERO, 1, "192.0.2.1");
    provider.publish(Instant::ZERO, image("a")).unwrap();
    assert_eq!(asked(&mut provider, Instant::ZERO), Some(1));
    assert_eq!(asked(&mut provider, seconds(59)), None);
    assert_eq!(asked(&mut provider, seconds(60)), Some(1));
    assert_eq!(provider.sign(seconds(60), UnixTime(1), 0), 0, "0 is no number");
    assert_eq!(asked(&mut provider, seconds(119)), None);
    assert_eq!(asked(&mut provider, seconds(120)), Some(1));
}

#[test]
fn adverts_are_signed_again_after_two_thirds_of_their_life() {
    let mut provider = provider::<4>();
    up(&mut provider, Instant::ZERO, 1, "192.0.2.1");
    provider.publish(Instant::ZERO, image("a")).unwrap();
    asked(&mut provider, Instant::ZERO);
    provider.sign(Instant::ZERO, UnixTime(1), 1);
    assert_eq!(asked(&mut provider, seconds(2159)), None);
    assert_eq!(asked(&mut provider, seconds(2641)), Some(1));
}

#[test]
fn a_new_address_is_signed_at_once_and_the_same_one_not() {
    let mut provider = provider::<4>();
    up(&mut provider, Instant::ZERO, 1, "192.0.2.1");
    provider.publish(Instant::ZERO, image("a")).unwrap();
    asked(&mut provider, Instant::ZERO);
    provider.sign(Instant::ZERO, UnixTime(1), 1);
    up(&mut provider, seconds(10), 1, "192.0.2.1");
    assert_eq!(asked(&mut provider, seconds(10)), None);
    up(&mut provider, seconds(20), 1, "192.0.2.2");
    assert_eq!(asked(&mut provider, seconds(20)), Some(1));
}

#[test]
fn urls_prefer_private_and_global_ipv4_then_ipv6_then_link_local() {
    let check = |of: &[&str], expected: Option<&str>| {
        let networks: std::vec::Vec<_> = of.iter().map(|text| network(text)).collect();
        assert_eq!(address_of(&networks), expected.map(|text| text.parse().unwrap()), "{of:?}");
    };
    check(&["fe80::1", "169.254.1.1", "2001:db8::1", "10.0.0.1"], Some("10.0.0.1"));
    check(&["fe80::1", "169.254.1.1", "fd12::1"], Some("fd12::1"));
    check(&["fe80::1", "169.254.1.1"], Some("169.254.1.1"));
    check(&["fe80::1"], Some("fe80::1"));
    check(&["127.0.0.1", "::1", "169.254.169.254"], None);
}

#[test]
fn a_fixed_origin_is_the_same_on_every_interface() {
    for text in ["https://boot.example.org", "https://boot.example.org/"] {
        let origin = Origin::fixed(text).unwrap();
        let image = image("stable");
        let url = origin.url(None, &image.channel, &image.arch).unwrap();
        assert_eq!(url.as_str(), "https://boot.example.org/stable/arm64/manifest.json");
        assert_eq!(origin.port(), 443);
    }
    assert!(Origin::fixed("ftp://boot.example.org").is_err());
    assert!(Origin::fixed("http://boot.example.org/a?b").is_err());
}

#[test]
fn urls_in_the_dht_prefer_global_addresses_and_are_never_local_ones() {
    let check = |of: &[&str], expected: Option<&str>| {
        let addresses: std::vec::Vec<_> = of.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(announceable(&addresses), expected.map(|text| text.parse().unwrap()), "{of:?}");
    };
    check(&["fe80::1", "10.0.0.1", "2001:db8::1", "203.0.113.1"], Some("203.0.113.1"));
    check(&["10.0.0.1", "2001:db8::1"], Some("2001:db8::1"));
    check(&["fd12::1", "10.0.0.1"], Some("10.0.0.1"));
    check(&["fe80::1", "169.254.1.1", "127.0.0.1", "::1", "169.254.169.254"], None);
}
