//! Our client finds what stock nodes hold.

use phase_tests::harness::key;
use phase_tests::libp2p::{Node, Plan, Ring, Stack};
use phase_tests::netns::Lan;

use crate::lab::{KEY, advert, candidates, discover};

#[test]
fn what_a_stock_node_puts_is_found_and_verified() {
    let lan = Lan::of(3).unwrap();
    let ring = Ring::start(lan.host(0), 8).unwrap();
    let bootstrap = ring.nodes[2].address();
    let plan = Plan { server: false, ..Plan::server(1, &[&bootstrap]) };
    let mut writer = Node::start(Stack::Rust056, lan.host(1), &plan).unwrap();
    assert_eq!(writer.put(KEY, &advert(lan.host(1), 7)).unwrap().len(), 8);

    let signer = key(7).peer_id().to_string();
    let done = discover(lan.host(2), &[&ring.nodes[5].address()], &["--trust", &signer]);
    assert_eq!(done.code(), 0, "{}{}", done.stdout, done.stderr);
    let found = &candidates(&done)[0];
    assert_eq!((&found["accepted"], &found["peer_id"]), (&true.into(), &signer.into()));
    let url = format!("http://{}:8080/stable/arm64/manifest.json", lan.host(1).ipv4);
    assert_eq!(found["url"], url);
}

#[test]
fn what_is_refused_is_explained() {
    let lan = Lan::of(3).unwrap();
    let mut node = Node::start(Stack::Rust057, lan.host(0), &Plan::server(1, &[])).unwrap();
    node.put(KEY, br#"{"manifest_url":"http://10.0.0.1/","version":"1"}"#).unwrap();
    let signer = key(7).peer_id().to_string();
    let more = ["--trust", &signer, "--explain"];
    let done = discover(lan.host(2), &[&node.address()], &more);
    assert_eq!(done.code(), 4, "{}{}", done.stdout, done.stderr);
    let reason = candidates(&done)[0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("E-"), "{}", done.stdout);
}

/// As the nodes of earlier programs are: they run no identify.
#[test]
fn a_node_without_identify_is_enough() {
    let lan = Lan::of(3).unwrap();
    let plan = Plan { identify: false, ..Plan::server(1, &[]) };
    let mut node = Node::start(Stack::Rust056, lan.host(0), &plan).unwrap();
    node.put(KEY, &advert(lan.host(1), 7)).unwrap();
    let signer = key(7).peer_id().to_string();
    let done = discover(lan.host(2), &[&node.address()], &["--trust", &signer]);
    assert_eq!(done.code(), 0, "{}{}", done.stdout, done.stderr);
    assert_eq!(candidates(&done)[0]["peer_id"], signer);
}

#[test]
fn a_node_is_reached_by_ipv6() {
    let lan = Lan::of(3).unwrap();
    let (host, plan) = (lan.host(0), Plan::server(1, &[]));
    let mut node =
        Node::start_at(Stack::Rust057, &host.namespace, host.ipv6.into(), &plan).unwrap();
    node.put(KEY, &advert(lan.host(1), 7)).unwrap();
    let signer = key(7).peer_id().to_string();
    let done = discover(lan.host(2), &[&node.address()], &["--trust", &signer]);
    assert_eq!(done.code(), 0, "{}{}", done.stdout, done.stderr);
    assert_eq!(candidates(&done)[0]["peer_id"], signer);
}

#[test]
fn where_nothing_is_stored_the_user_reads_who_was_asked() {
    let lan = Lan::of(2).unwrap();
    let node = Node::start(Stack::Rust057, lan.host(0), &Plan::server(1, &[])).unwrap();
    let done = discover(lan.host(1), &[&node.address()], &["--explain"]);
    assert_eq!(done.code(), 3, "{}{}", done.stdout, done.stderr);
    assert!(done.stderr.contains("no peer has a record"), "{}", done.stderr);
    let dead = format!("/ip4/{}/tcp/9", lan.host(0).ipv4);
    let done = discover(lan.host(1), &[&dead], &["--explain"]);
    assert!(done.stderr.contains("refused"), "{}", done.stderr);
}
