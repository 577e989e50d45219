//! Values longer than ours ever are, in the largest messages that each stack sends: they are skipped, and the
//! connection goes on.

use phase_core::wire::kad::Request;
use phase_tests::libp2p::link::{Link, Local};
use phase_tests::libp2p::{Node, Plan, Stack};
use phase_tests::netns::Lan;

const LARGE: &[u8] = b"/phase/large/arm64/manifest";
const SMALL: &[u8] = b"/phase/small/arm64/manifest";

#[test]
fn rust_sends_values_of_16_kib() {
    check(Stack::Rust056, 16_000);
    check(Stack::Rust057, 16_000);
}

/// In Yamux frames of more than 64 KiB and Noise messages of exactly that.
#[test]
fn js_sends_values_of_200_kib() {
    check(Stack::Js, 200_000);
}

#[test]
fn py_sends_values_of_200_kib() {
    check(Stack::Py, 200_000);
}

fn check(stack: Stack, len: usize) {
    let lan = Lan::of(2).unwrap();
    let mut node = Node::start(stack, lan.host(0), &Plan::server(1, &[])).unwrap();
    node.put(LARGE, &vec![b'x'; len]).unwrap();
    node.put(SMALL, b"small").unwrap();
    let ours = lan.host(1);
    let local = Local::new(2, (ours.ipv4, 4001).into());
    let mut link = Link::dial(&local, &ours.namespace, node.socket(), None).unwrap();
    let heard = link.ask(Request::GetValue { key: LARGE }).unwrap();
    assert_eq!((&heard.end, heard.oversized), (&Some(Ok(())), 1), "{heard:?}");
    let heard = link.ask(Request::GetValue { key: SMALL }).unwrap();
    assert_eq!(heard.values, [b"small"]);
}
