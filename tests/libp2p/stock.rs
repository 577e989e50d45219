//! The other implementations among themselves: what fails here is no fault of ours.

use phase_tests::libp2p::{Node, Plan, Ring, Stack, multihash};
use phase_tests::netns::Lan;

const KEY: &[u8] = b"/phase/stable/arm64/manifest";
const VALUE: &[u8] = br#"{"last_updated":"2026-01-01T00:00:00Z"}"#;

#[test]
fn a_value_put_into_a_ring_of_rust_nodes_is_on_all_of_them() {
    let lan = Lan::of(2).unwrap();
    let mut ring = Ring::start(lan.host(0), 8).unwrap();
    let bootstrap = ring.nodes[3].address();
    let plan = Plan { server: false, ..Plan::server(1, &[&bootstrap]) };
    let mut writer = Node::start(Stack::Rust057, lan.host(1), &plan).unwrap();
    assert_eq!(writer.put(KEY, VALUE).unwrap().len(), 8);
    assert_eq!(ring.holders(KEY, VALUE).unwrap(), 8);
    let plan = Plan { server: false, ..Plan::server(2, &[&bootstrap]) };
    let mut reader = Node::start(Stack::Rust056, lan.host(1), &plan).unwrap();
    let found = reader.get(KEY).unwrap();
    assert!(found.len() >= 2 && found.iter().all(|value| value == VALUE), "{found:?}");
}

#[test]
fn js_exchanges_values_and_providers_with_rust() {
    check_with_rust(Stack::Js);
}

#[test]
fn py_exchanges_values_and_providers_with_rust() {
    check_with_rust(Stack::Py);
}

#[test]
fn go_exchanges_providers_with_rust() {
    check_with_rust(Stack::Go);
}

/// Two rust-libp2p nodes, since go-libp2p lists no node that knows nobody else.
fn check_with_rust(stack: Stack) {
    let lan = Lan::of(2).unwrap();
    let (here, there) = (lan.host(0), lan.host(1));
    let mut first = Node::start(Stack::Rust056, here, &Plan::server(1, &[])).unwrap();
    let bootstrap = first.address();
    let mut second = Node::start(Stack::Rust057, here, &Plan::server(2, &[&bootstrap])).unwrap();
    second.wait_for("routed", Some(first.peer())).unwrap();
    first.wait_for("routed", Some(second.peer())).unwrap();

    let mut other = Node::start(stack, there, &Plan::server(3, &[&bootstrap])).unwrap();
    first.wait_for("identified", Some(other.peer())).unwrap();
    wait_until_it_knows(&mut other, first.peer());
    if stack.stores_values() {
        other.put(KEY, VALUE).unwrap();
        assert!(second.get(KEY).unwrap().iter().all(|value| value == VALUE));
        assert_eq!(other.get(KEY).unwrap()[0], VALUE);
    }
    let wanted = multihash(KEY);
    // In this order: py-libp2p does not ask others while it knows itself as a provider.
    first.provide(&wanted).unwrap();
    assert!(other.providers(&wanted).unwrap().contains(&first.peer().to_owned()));
    other.provide(&wanted).unwrap();
    assert!(second.providers(&wanted).unwrap().contains(&other.peer().to_owned()));
}

/// Its routing table is filled from identify, some time after it connected.
fn wait_until_it_knows(node: &mut Node, peer: &str) {
    phase_tests::deadline::until("a peer in the table", phase_tests::deadline::GENEROUS, || {
        Ok(node.peers()?.iter().any(|one| one == peer).then_some(()))
    })
    .unwrap();
}
