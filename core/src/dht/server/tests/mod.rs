//! Whole networks of DHT nodes, with the streams between them carried by hand.

mod laws;
mod net;

use self::net::{Net, key, secret, signed};
use super::job::{Found, Job, Kind, Purpose, Under};
use super::*;
use crate::dht::finder::Reach;
use crate::dht::swarm::{Failure, Remote, Why};
use crate::kad::store::Source;
use crate::kad::{Contact, validator};
use crate::time::UnixTime;
use crate::wire::record;
use core::time::Duration;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A network whose nodes all begin with node 0.
fn network(count: usize) -> Net {
    let mut net = Net::new();
    for _ in 0..count {
        let number = net.add();
        if number > 0 {
            net.bootstrap(number, 0);
        }
        net.run(seconds(2));
    }
    net.run(seconds(20));
    net
}

#[test]
fn nodes_find_each_other_through_one_bootstrap() {
    let net = network(8);
    for number in 0..8 {
        let status = net.server(number).status();
        assert_eq!((status.peers, status.live_peers), (7, 7), "node {number}");
        assert!(status.refresh_at.is_some());
    }
    assert!(matches!(net.server(3).bootstraps()[0].reach(), Reach::Answered(_)));
}

#[test]
fn an_advert_is_put_at_every_peer_of_a_small_network_and_answered_by_all() {
    let mut net = network(6);
    net.publish(2, "stable", 7, 3600);
    net.run(seconds(5));
    let published = net.events(2).iter().find_map(|event| {
        let Event::Published { seq, peers, providers, .. } = event else { return None };
        Some((*seq, *peers, *providers))
    });
    assert_eq!(published, Some((7, 5, 5)));
    let stable = key("stable");
    for number in [0, 1, 3, 4, 5] {
        for key in [stable.clone(), stable.of(net.peer(2))] {
            assert_eq!(net.held(number, &key).as_deref(), Some(&*net.value(2, "stable")), "{key}");
        }
        for key in [&stable.provider_key()[..], &stable.octets()] {
            assert_eq!(net.providers(number, key), [net.peer(2)]);
        }
    }
    let status = net.server(2).publication(0).unwrap();
    assert_eq!((status.holders, status.failures, status.publish_at), (5, 0, None));
    assert!(status.published_at.is_some());
}

#[test]
fn two_providers_of_one_key_live_side_by_side() {
    let mut net = network(6);
    net.publish(1, "stable", 7, 3600);
    net.run(seconds(5));
    net.publish(2, "stable", 9_000_000, 3600);
    net.run(seconds(5));
    let stable = key("stable");
    for number in [0, 3, 4, 5] {
        for provider in [1, 2] {
            let held = net.held(number, &stable.of(net.peer(provider)));
            assert_eq!(held.as_deref(), Some(&*net.value(provider, "stable")));
        }
        assert_eq!(net.providers(number, &stable.provider_key()).len(), 2);
    }
    // Each answers with its own record, whatever the other put at it.
    assert_eq!(net.answer(1, 0, &stable), Some(net.value(1, "stable")));
    assert_eq!(net.answer(2, 0, &stable), Some(net.value(2, "stable")));
    assert!(!net.events(1).iter().any(|event| matches!(event, Event::Repaired { .. })));
}

#[test]
fn a_node_that_joins_later_is_given_the_adverts_too() {
    let mut net = network(4);
    net.publish(1, "stable", 7, 3600);
    net.run(seconds(5));
    let late = net.add();
    net.bootstrap(late, 0);
    net.run(seconds(30));
    assert!(net.held(late, &key("stable")).is_some());
}

#[test]
fn a_holder_that_was_spoilt_is_repaired_once_for_each_text() {
    let mut net = network(5);
    net.publish(1, "stable", 7, 3600);
    net.run(seconds(5));
    net.spoil(1, "stable");
    net.run(seconds(1200));
    let repaired = |net: &Net| {
        net.events(1).iter().filter(|event| matches!(event, Event::Repaired { .. })).count()
    };
    let first = repaired(&net);
    assert!((1..=4).contains(&first), "{first}");
    net.run(seconds(3000));
    assert!(repaired(&net) <= 4, "never again for this text");
}

#[test]
fn without_a_network_it_is_tried_again_with_back_off_and_at_once_when_it_changes() {
    let mut net = Net::new();
    let (lone, other) = (net.add(), net.add());
    net.set_reachable(other, false);
    net.bootstrap(lone, other);
    net.publish(lone, "stable", 7, 3600);
    net.run(seconds(3600));
    let failed = |net: &Net| {
        let events = net.events(lone).iter();
        events.filter(|event| matches!(event, Event::BootstrapFailed { .. })).count()
    };
    assert_eq!(failed(&net), 1, "told once");
    assert!(net.events(lone).iter().any(|event| matches!(
        event,
        Event::PublishFailed { why: PublishError::NoPeers, seq: 7, .. }
    )));
    let dials = net.dials(lone);
    assert!((10..40).contains(&dials), "{dials} dials in an hour");
    net.set_reachable(other, true);
    net.move_to(lone, [10, 0, 9, 9]);
    net.run(seconds(3));
    assert!(net.held(other, &key("stable")).is_some());
}

#[test]
fn a_bootstrap_whose_name_leads_elsewhere_is_told_of_when_it_fails_there_too() {
    let mut net = Net::new();
    for reachable in [true, false, false] {
        let number = net.add();
        net.set_reachable(number, reachable);
    }
    for (told, last) in [(1, 1), (2, 2)] {
        let now = net.now();
        let bootstrap = Bootstrap::new("lab", [([10, 0, 1, last], 4001).into()], None);
        net.server_mut(0).add_bootstrap(now, bootstrap).unwrap();
        net.run(seconds(60));
        let events = net.events(0).iter();
        let failed = events.filter(|event| matches!(event, Event::BootstrapFailed { .. }));
        assert_eq!(failed.count(), told);
    }
    assert_eq!(net.server(0).bootstraps().len(), 1);
}

#[test]
fn bootstraps_that_are_added_while_the_first_is_asked_are_asked_after_it() {
    let mut net = Net::new();
    for _ in 0..4 {
        net.add();
    }
    for with in [1, 2, 3] {
        net.bootstrap(0, with);
        assert!(net.server(0).next_wake().is_none_or(|wake| wake.at > net.now()), "{with}");
    }
    net.run(seconds(5));
    assert_eq!(net.server(0).status().live_peers, 3);
    let reached = net.server(0).bootstraps().iter();
    assert!(reached.map(|one| one.reach()).all(|reach| matches!(reach, Reach::Answered(_))));
}

#[test]
fn a_restart_finds_the_network_by_the_peers_that_were_kept() {
    let mut net = network(6);
    let mut octets = [0xa5; 4096];
    let len = net.server(3).persist(&mut octets);
    let some = net.server(3).persist(&mut octets[..PERSISTED_PEER_MAX * 3]);
    assert_eq!(some, 1 + (len - 1) * 2 / 5);
    net.restart(3);
    assert_eq!(net.server(3).status().peers, 0);
    let now = net.now();
    assert_eq!(net.server_mut(3).restore(now, &octets[..len]), 5);
    net.run(seconds(5));
    assert_eq!(net.server(3).status().live_peers, 5);
    for bad in [&[][..], &[2, 1, 1], &[1; 33], &[1, 0xff], &octets[..len - 3]] {
        let mut other = Net::new();
        other.add();
        let now = other.now();
        assert!(other.server_mut(0).restore(now, bad) < 5);
    }
}

#[test]
fn a_withdrawn_advert_and_a_stopped_node_end_with_their_lifetime() {
    let mut net = network(4);
    net.publish(1, "stable", 7, 600);
    net.publish(2, "testing", 7, 600);
    net.run(seconds(5));
    let now = net.now();
    net.server_mut(1).withdraw(now, 0);
    net.server_mut(2).stop();
    net.run(seconds(590));
    assert!(net.held(0, &key("stable")).is_some());
    net.run(seconds(20));
    assert_eq!(net.held(0, &key("stable")), None);
    assert_eq!(net.held(0, &key("testing")), None);
    assert_eq!(net.answer(1, 0, &key("stable")), None);
}

#[test]
fn a_number_that_the_network_holds_is_told_when_state_was_lost() {
    let mut net = network(4);
    net.publish(1, "stable", 500, 3600);
    net.run(seconds(5));
    net.restart(1);
    net.bootstrap(1, 0);
    net.publish(1, "stable", 3, 3600);
    net.run(seconds(10));
    let told: std::vec::Vec<_> = net
        .events(1)
        .iter()
        .filter_map(|event| {
            let Event::SequenceBehind { highest, .. } = event else { return None };
            Some(*highest)
        })
        .collect();
    assert_eq!(told, [500]);
}

#[test]
fn each_advert_is_told_the_number_that_the_network_holds_of_it() {
    let mut net = Net::new();
    net.add();
    let now = net.now();
    let channels = ["stable", "testing"];
    let server = net.server_mut(0);
    for (at, channel) in channels.into_iter().enumerate() {
        server.publish(now, at, &key(channel), &signed(0, channel, 3, 3600));
    }
    let mut buffer = [0; 1024];
    for (at, channel, seq) in [(0, "stable", 500), (1, "testing", 400), (1, "testing", 400)] {
        let value = signed(0, channel, seq, 3600);
        server.node.look_for_own(at, value.encode_json(&mut buffer).unwrap());
    }
    let told = core::iter::from_fn(|| server.poll_event());
    let told: std::vec::Vec<_> = told
        .filter_map(|event| {
            let Event::SequenceBehind { key, highest } = event else { return None };
            Some((key, highest))
        })
        .collect();
    assert_eq!(told, [(key("stable"), 500), (key("testing"), 400)]);
}

#[test]
fn who_connects_to_us_enters_the_table_once_it_was_dialled() {
    for reachable in [true, false] {
        let mut net = Net::new();
        let (node, visitor, other) = (net.add(), net.add(), net.add());
        net.set_reachable(visitor, reachable);
        net.bootstrap(visitor, node);
        net.run(seconds(5));
        assert_eq!(net.server(visitor).status().live_peers, 1);
        let status = net.server(node).status();
        assert_eq!(status.live_peers, usize::from(reachable), "{status:?}");
        let dials = net.dials(node);
        assert_eq!(dials, 1, "dialled back once");
        assert_eq!(net.find_node(node, other, b"anybody").len(), usize::from(reachable));
    }
}

#[test]
fn a_known_peer_is_dialled_again_only_when_it_says_that_it_moved() {
    let mut net = network(2);
    let (now, peer) = (net.now(), net.peer(1));
    let node = &mut net.server_mut(0).node;
    let known: SocketAddr = "10.0.1.1:4001".parse().unwrap();
    let elsewhere: SocketAddr = "203.0.113.66:80".parse().unwrap();
    let mut told = Contact::at(peer, elsewhere);
    told.addresses.add(known);
    node.note_visitor(now, &told, known.ip());
    assert!(node.dial_backs.is_empty(), "it is still where it was reached");
    node.note_visitor(now, &Contact::at(peer, elsewhere), known.ip());
    assert_eq!(node.dial_backs.len(), 1);
    let entries: std::vec::Vec<_> = node.table.entries().map(|entry| entry.contact()).collect();
    assert_eq!(entries, [&Contact::at(peer, known)], "nobody is told of the other address");
}

#[test]
fn a_crowd_of_visitors_leaves_room_for_our_own_dials() {
    let mut net = Net::new();
    net.add();
    let now = net.now();
    for number in 10..40_u8 {
        let address = SocketAddr::from(([203, number, 113, 1], 4001));
        let contact = Contact::at(secret(number.into()).peer_id(), address);
        net.server_mut(0).node.note_visitor(now, &contact, address.ip());
    }
    assert_eq!(net.server(0).node.dial_backs.len(), crate::kad::K);
    net.server_mut(0).handle_timeout(now);
    let calls = net.server(0).node.calls.iter();
    let dials = calls.filter(|call| call.purpose == Purpose::DialBack).count();
    assert_eq!(dials, crate::limits::DIAL_BACKS);
}

#[test]
fn a_spoilt_sub_key_is_repaired_too() {
    let mut net = network(5);
    net.publish(1, "stable", 7, 3600);
    net.run(seconds(5));
    let sub_key = key("stable").of(net.peer(1));
    net.forget(1);
    net.run(seconds(1200));
    let repaired = net.events(1).iter().filter(|event| matches!(event, Event::Published { .. }));
    assert!(repaired.count() >= 2, "what is missing is published again");
    assert!(net.held(0, &sub_key).is_some());
    // Somebody else's advert in our place is spoilt, though it is a good one elsewhere.
    let foreign = signed(2, "stable", 9, 3600);
    let mut buffer = [0; 1024];
    let foreign = foreign.encode_json(&mut buffer).unwrap();
    let now = net.now();
    let node = &mut net.server_mut(1).node;
    assert_eq!(node.judge(now, 0, Under::Base, foreign), Found::Good);
    assert_eq!(node.judge(now, 0, Under::SubKey, foreign), Found::Bad);
    let peer = secret(3).peer_id();
    let repair = Purpose::Repair { at: 0, under: Under::SubKey };
    assert_eq!(node.may_repair(0, Under::SubKey, peer), Some(repair));
    assert_eq!(node.may_repair(0, Under::SubKey, peer), None, "once for each text");
}

#[test]
fn the_signers_that_the_operator_trusts_have_room_in_a_full_store() {
    let mut net = network(2);
    let now = net.now();
    let stable = key("stable");
    let put = |net: &mut Net, number: usize| {
        let value = signed(number, "stable", 7, 3600);
        let mut buffer = [0; 1024];
        let value = value.encode_json(&mut buffer).unwrap();
        let ip = [10, 9, 9, u8::try_from(number).unwrap()];
        let remote = Remote {
            peer: secret(number).peer_id(),
            address: SocketAddr::from((ip, 50_000)),
            inbound: true,
        };
        let record =
            crate::wire::kad::Record { key: &stable.octets(), value, publisher: None, ttl: 0 };
        net.server_mut(0).node.put(now, &remote, &record).is_ok()
    };
    assert!((10..18).all(|number| put(&mut net, number)));
    assert!(!put(&mut net, 18), "eight signers of one key");
    net.server_mut(0).set_trusted([secret(18).peer_id()]);
    assert!(put(&mut net, 18));
    assert!(!put(&mut net, 19));
}

#[test]
fn liars_drop_nobody_from_the_table() {
    let mut net = network(3);
    let peer = net.peer(1);
    let node = &mut net.server_mut(0).node;
    let wrong = crate::connection::Error::WrongPeer { found: secret(9).peer_id() };
    let wrong = Why::Connection(wrong);
    let silent = Why::Tcp(crate::machine::CloseReason::TimedOut);
    let mut fail = |address: &str, why| {
        let address = Some(address.parse().unwrap());
        node.note_failed(&peer, &Failure { address, why });
        node.table.live_count()
    };
    for why in [silent, silent, silent, wrong] {
        assert_eq!(fail("203.0.113.66:80", why), 2, "it was never said to be there by itself");
    }
    assert_eq!(fail("10.0.1.1:4001", wrong), 1, "somebody else is where it was");
}

#[test]
fn what_liars_say_of_a_peer_comes_into_no_table() {
    let mut net = Net::new();
    net.add();
    let (now, peer) = (net.now(), secret(9).peer_id());
    let node = &mut net.server_mut(0).node;
    let address = "10.0.1.9:4001".parse().unwrap();
    let mut told = Contact::at(peer, address);
    told.addresses.add("203.0.113.66:80".parse().unwrap());
    let mut job = Job::new(Kind::Table { own: true }, node.own, &node.own_hash);
    assert!(job.query.asked(&told));
    node.jobs[0] = Some(job);
    let remote = Remote { peer, address, inbound: false };
    node.walked(now, 0, &remote, crate::wire::kad::Part::End);
    let known: std::vec::Vec<_> = node.table.entries().map(|entry| entry.contact()).collect();
    assert_eq!(known, [&Contact::at(peer, address)]);
}

#[test]
fn a_node_that_only_its_own_host_reaches_provides_nothing_elsewhere() {
    let mut net = network(3);
    let now = net.now();
    net.server_mut(0).set_addresses(now, &[]);
    net.publish(0, "stable", 7, 3600);
    net.run(seconds(5));
    let told = net.events(0).iter().find_map(|event| {
        let Event::Published { peers, providers, .. } = event else { return None };
        Some((*peers, *providers))
    });
    assert_eq!(told, Some((2, 0)));
    assert_eq!(net.providers(1, &key("stable").provider_key()), []);
}

#[test]
fn a_put_here_never_displaces_our_own_record() {
    let mut net = network(2);
    net.publish(0, "stable", 7, 3600);
    net.run(seconds(5));
    let stable = key("stable");
    let foreign = signed(5, "stable", 9_999, 3600);
    let mut buffer = [0; 1024];
    let value = foreign.encode_json(&mut buffer).unwrap();
    let source = Source { peer: secret(5).peer_id(), group: None };
    let (now, context) = (net.now(), validator::Context::default());
    let request = (&*stable.octets(), value, 0);
    let records = &mut net.server_mut(0).node.records;
    records.put(now, request, source, &context, |_| false).unwrap();
    assert_eq!(net.answer(0, 1, &stable), Some(net.value(0, "stable")));
}

#[test]
fn an_expired_advert_of_ours_is_answered_no_more() {
    let mut net = network(2);
    net.publish(0, "stable", 7, 60);
    net.run(seconds(30));
    assert!(net.answer(0, 1, &key("stable")).is_some());
    net.run(seconds(31));
    assert_eq!(net.answer(0, 1, &key("stable")), None);
}

#[test]
fn who_looks_for_us_finds_us_with_our_addresses() {
    let mut net = network(3);
    let own = crate::wire::peer_id::encode_multihash(&net.peer(0));
    let found = net.find_node(0, 1, &own);
    assert_eq!(found[0].peer, net.peer(0));
    assert!(!found[0].addresses.is_empty());
    assert!(!found.iter().any(|contact| contact.peer == net.peer(1)), "not the one who asks");
    assert_eq!(found.len(), 2);
}

#[test]
fn addresses_told_are_global_then_private_and_loopback_only_on_loopback() {
    let mut net = Net::new();
    let number = net.add();
    let now = net.now();
    let check = |net: &mut Net, ips: &[&str], expected: &[&str]| {
        let ips: std::vec::Vec<_> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        net.server_mut(number).set_addresses(now, &ips);
        let told: std::vec::Vec<_> = net.server(number).status().addresses.iter().collect();
        let expected: std::vec::Vec<_> = expected.iter().map(|at| at.parse().unwrap()).collect();
        assert_eq!(told, expected, "{ips:?}");
    };
    check(
        &mut net,
        &["127.0.0.1", "fe80::1", "10.0.0.1", "fd00::1", "2001:db8::1", "203.0.113.1"],
        &["203.0.113.1:4001", "[2001:db8::1]:4001", "10.0.0.1:4001", "[fd00::1]:4001"],
    );
    check(&mut net, &["127.0.0.1"], &["127.0.0.1:4001"]);
    check(&mut net, &[], &["127.0.0.1:4001"]);
}

#[test]
fn each_family_is_announced_with_its_own_port() {
    let mut net = Net::new();
    let number = net.add();
    let now = net.now();
    let ips = ["10.0.0.1", "fd00::1", "2001:db8::1"].map(|ip| ip.parse().unwrap());
    let one: SocketAddr = "192.0.2.7:5000".parse().unwrap();
    let check = |net: &mut Net, listen: Listening, expected: &[&str]| {
        let server = net.server_mut(number);
        server.node.set_listening(listen);
        server.set_addresses(now, &[]);
        server.set_addresses(now, &ips);
        let told: std::vec::Vec<_> = server.status().addresses.iter().collect();
        let expected: std::vec::Vec<SocketAddr> =
            expected.iter().map(|at| at.parse().unwrap()).collect();
        assert_eq!(told, expected, "{listen:?}");
    };
    let at = Addresses::NONE;
    let both = ["[2001:db8::1]:4002", "10.0.0.1:4001", "[fd00::1]:4002"];
    check(&mut net, Listening { v4: Some(4001), v6: Some(4002), at }, &both);
    check(&mut net, Listening { v4: Some(4001), v6: None, at }, &["10.0.0.1:4001"]);
    let at = [one].into_iter().collect();
    let mixed = ["192.0.2.7:5000", "10.0.0.1:4001"];
    check(&mut net, Listening { v4: Some(4001), v6: None, at }, &mixed);
    check(&mut net, Listening { v4: None, v6: None, at }, &["192.0.2.7:5000"]);
}

#[test]
fn peers_name_only_themselves_as_providers() {
    let mut net = network(3);
    let now = net.now();
    let remote = net.remote(1);
    let contact = Contact::at(net.peer(2), "10.0.0.3:4001".parse().unwrap());
    let providers = crate::wire::kad::Peers::of(&contact);
    let request = crate::wire::kad::Request::AddProvider { key: b"key", providers };
    let mut buffer = [0xa5; 256];
    let mut out = crate::wire::cursor::Writer::new(&mut buffer);
    let node = &mut net.server_mut(0).node;
    let answer = crate::dht::swarm::Owner::answer(node, now, &remote, request, &mut out);
    assert_eq!(answer, crate::connection::Answer::Nothing);
    assert_eq!(node.stats.providers_refused, 1);
    assert!(net.providers(0, b"key").is_empty());
}

#[test]
fn the_clock_that_was_told_goes_on() {
    let mut net = Net::new();
    net.add();
    let now = net.now();
    let server = net.server_mut(0);
    assert_eq!(server.node.context(now).clock, None);
    server.set_clock(now, UnixTime(1_000));
    assert_eq!(server.node.context(now + seconds(5)).clock, Some(UnixTime(1_005)));
    assert_eq!(record::TTL_MIN, 60);
}
