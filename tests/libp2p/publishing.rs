//! Our provider in a DHT of stock nodes.

use phase_tests::deadline::{self, GENEROUS};
use phase_tests::harness::key;
use phase_tests::libp2p::{Node, Plan, Ring, Stack, hex, multihash};
use phase_tests::netns::Lan;

use crate::lab::{KEY, Provider, advert_for, candidates, discover, discover_channel, sub_key};

/// The whole way: a provider on one host, stock nodes on another, a client on a third.
#[test]
fn a_provider_is_found_through_a_ring_of_stock_nodes() {
    let lan = Lan::of(4).unwrap();
    let mut ring = Ring::start(lan.host(1), 8).unwrap();
    let provider = Provider::start(lan.host(0), &[&ring.nodes[0].address()], &[]);
    for node in &mut ring.nodes {
        provider.wait_until_stored(node, KEY);
    }
    provider.wait_until_stored(&mut ring.nodes[6], &sub_key(&provider.peer));

    let far = ring.nodes[7].address();
    let done = discover(lan.host(2), &[&far], &["--trust", &provider.peer, "--explain"]);
    assert_eq!(done.code(), 0, "{}{}\n{}", done.stdout, done.stderr, provider.output());
    let found = &candidates(&done)[0];
    assert_eq!((&found["accepted"], &found["trust"]), (&true.into(), &"pinned".into()));
    let url = format!("http://{}:8080/stable/arm64/manifest.json", lan.host(0).ipv4);
    assert_eq!(
        (found["url"].as_str(), found["peer_id"].as_str()),
        (Some(&*url), Some(&*provider.peer))
    );

    // Stock clients read the same.
    let plan = Plan { server: false, ..Plan::server(1, &[&far]) };
    let mut client = Node::start(Stack::Rust057, lan.host(3), &plan).unwrap();
    let values = client.get(KEY).unwrap();
    assert!(!values.is_empty() && values.iter().all(|v| provider.has_signed(v)), "{values:?}");
    deadline::until("the provider record", GENEROUS, || {
        Ok(client.providers(&multihash(KEY))?.contains(&provider.peer).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_stranger_who_overwrites_the_key_hides_nobody_and_is_overwritten() {
    let lan = Lan::of(4).unwrap();
    let mut ring = Ring::start(lan.host(1), 8).unwrap();
    let bootstrap = ring.nodes[0].address();
    // The shortest lifetime, so that the next refresh is soon.
    let provider = Provider::start(lan.host(0), &[&bootstrap], &["--record-ttl", "60"]);
    for node in &mut ring.nodes {
        provider.wait_until_stored(node, KEY);
    }
    let plan = Plan { server: false, ..Plan::server(1, &[&bootstrap]) };
    let mut stranger = Node::start(Stack::Rust056, lan.host(3), &plan).unwrap();
    let lie = br#"{"manifest_url":"http://192.0.2.66/","version":"9"}"#;
    assert!(stranger.put(KEY, lie).unwrap().len() >= 8);
    assert_eq!(ring.holders(KEY, lie).unwrap(), 8);

    let done = discover(lan.host(2), &[&bootstrap], &["--trust", &provider.peer, "--explain"]);
    assert_eq!(done.code(), 0, "{}{}\n{}", done.stdout, done.stderr, provider.output());
    assert_eq!(candidates(&done)[0]["peer_id"], provider.peer.as_str());

    // At its next refresh at the latest: two thirds of the lifetime.
    deadline::until("the lie to be gone", 3 * GENEROUS, || {
        Ok((ring.holders(KEY, lie)? == 0).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", provider.output()));
}

/// Nodes that know nobody else find each other, and what the other stores, through our provider.
#[test]
fn a_provider_is_a_bootstrap_for_stock_nodes() {
    let lan = Lan::of(4).unwrap();
    let provider = Provider::start(lan.host(0), &[], &[]);
    let start = |seed, stack, host: usize| {
        Node::start(stack, lan.host(host), &Plan::server(seed, &[&provider.address])).unwrap()
    };
    let mut first = start(1, Stack::Rust056, 1);
    let mut second = start(2, Stack::Rust057, 2);
    deadline::until("the first node at the second", GENEROUS, || {
        second.ask("bootstrap")?;
        Ok(second.peers()?.iter().any(|peer| peer == first.peer()).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}\n{}", provider.output(), second.output()));
    assert!(first.put(b"/other/key", b"value").unwrap().iter().any(|peer| peer == second.peer()));
    assert_eq!(second.stored(b"/other/key").unwrap().unwrap(), b"value");

    // What it publishes is on them, and found through them.
    provider.wait_until_stored(&mut second, KEY);
    let done = discover(lan.host(3), &[&second.address()], &["--trust", &provider.peer]);
    assert_eq!(done.code(), 0, "{}{}", done.stdout, done.stderr);
}

/// As the nodes of earlier programs are: they run no identify.
#[test]
fn nodes_without_identify_are_published_to() {
    let lan = Lan::of(3).unwrap();
    let plain =
        |seed, bootstraps: &[&str]| Plan { identify: false, ..Plan::server(seed, bootstraps) };
    let mut first = Node::start(Stack::Rust056, lan.host(0), &plain(1, &[])).unwrap();
    let bootstrap = first.address();
    let second = Node::start(Stack::Rust057, lan.host(0), &plain(2, &[&bootstrap])).unwrap();
    let provider = Provider::start(lan.host(1), &[&bootstrap, &second.address()], &[]);
    provider.wait_until_stored(&mut first, KEY);
    let done = discover(lan.host(2), &[&bootstrap], &["--trust", &provider.peer]);
    assert_eq!(done.code(), 0, "{}{}", done.stdout, done.stderr);
}

/// Nobody keeps an advert alive but its provider.
#[test]
fn a_stopped_provider_is_gone_after_its_lifetime() {
    let lan = Lan::of(3).unwrap();
    let mut node = Node::start(Stack::Rust057, lan.host(1), &Plan::server(1, &[])).unwrap();
    let lifetime = ["--record-ttl", "60"];
    let provider = Provider::start(lan.host(0), &[&node.address()], &lifetime);
    provider.wait_until_stored(&mut node, KEY);
    let trust = ["--trust", &provider.peer.clone()];
    assert_eq!(discover(lan.host(2), &[&node.address()], &trust).code(), 0);
    drop(provider);
    assert_eq!(discover(lan.host(2), &[&node.address()], &trust).code(), 0);
    deadline::until("the end of the advert", 3 * GENEROUS, || {
        let done = discover(lan.host(2), &[&node.address()], &trust);
        Ok((done.code() != 0).then_some(()))
    })
    .unwrap();
}

#[test]
fn js_nodes_carry_our_adverts() {
    check_carrier(Stack::Js);
}

#[test]
fn py_nodes_carry_our_adverts() {
    check_carrier(Stack::Py);
}

/// It stores no values under our keys: the provider record leads to the provider itself.
#[test]
fn go_nodes_carry_our_provider_records() {
    check_carrier(Stack::Go);
}

/// One node of `stack` is all that the provider, the client and the stack's own client know.
fn check_carrier(stack: Stack) {
    let lan = Lan::of(3).unwrap();
    let mut node = Node::start(stack, lan.host(1), &Plan::server(1, &[])).unwrap();
    let provider = Provider::start(lan.host(0), &[&node.address()], &[]);
    if stack.stores_values() {
        provider.wait_until_stored(&mut node, KEY);
        assert!(node.get(KEY).unwrap().iter().any(|value| provider.has_signed(value)));
    }
    deadline::until("the provider record", GENEROUS, || {
        let found = node.ask(&format!("providers {}", hex(&multihash(KEY))))?;
        Ok(found.to_string().contains(&provider.peer).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}\n{}", provider.output(), node.output()));
    let done = discover(lan.host(2), &[&node.address()], &["--trust", &provider.peer, "--explain"]);
    assert_eq!(done.code(), 0, "{}{}\n{}", done.stdout, done.stderr, node.output());
    assert_eq!(candidates(&done)[0]["peer_id"], provider.peer.as_str());
}

#[test]
fn js_nodes_enter_by_our_provider() {
    check_joined(Stack::Js);
}

#[test]
fn py_nodes_enter_by_our_provider() {
    check_joined(Stack::Py);
}

#[test]
fn go_nodes_enter_by_our_provider() {
    check_joined(Stack::Go);
}

/// A node of `stack` that knows our provider alone: each stores what the other publishes.
fn check_joined(stack: Stack) {
    let lan = Lan::of(3).unwrap();
    let mut provider = Provider::start(lan.host(0), &[], &[]);
    let mut node = Node::start(stack, lan.host(1), &Plan::server(1, &[&provider.address])).unwrap();
    if stack.stores_values() {
        provider.wait_until_stored(&mut node, KEY);
        // Signed by another, so that our node takes it.
        let other = b"/phase/testing/arm64/manifest";
        let value = advert_for(lan.host(1), 7, "testing");
        node.put(other, &value).unwrap();
        let done = discover_channel(lan.host(2), "testing", &[&provider.address]);
        assert_eq!(done.code(), 0, "{}{}\n{}", done.stdout, done.stderr, provider.output());
        assert_eq!(candidates(&done)[0]["peer_id"], key(7).peer_id().to_string());
    }
    let theirs = multihash(b"/other/key");
    deadline::until("a provider record at our provider", GENEROUS, || {
        Ok(node.ask(&format!("provide {}", hex(&theirs)))?.get("error").is_none().then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}\n{}", provider.output(), node.output()));
    provider.wait_until_published();
    // Its provider record of our advert leads a client to our provider.
    let done = discover(lan.host(2), &[&node.address()], &["--trust", &provider.peer]);
    assert_eq!(done.code(), 0, "{}{}\n{}", done.stdout, done.stderr, node.output());
}
