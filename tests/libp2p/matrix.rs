//! One connection of ours beside each stack, as dialer and as listener, operation by operation, and then 100
//! seconds of nothing but pings.

use std::fmt::{self, Write as _};
use std::thread;
use std::time::Duration;

use phase_core::identity::PeerId;
use phase_core::wire::contact::Contact;
use phase_core::wire::kad::{Peers, Record, Request};
use phase_core::wire::peer_id;
use phase_tests::Error;
use phase_tests::deadline::{self, Deadline, GENEROUS};
use phase_tests::libp2p::link::{Link, Local};
use phase_tests::libp2p::listener::Listener;
use phase_tests::libp2p::{Node, Plan, Stack, multihash};
use phase_tests::netns::{Host, Lan};

/// Longer than any stack's ping, keep-alive and idle timers.
const IDLE: Duration = Duration::from_secs(100);

const OURS: &[u8] = b"/phase/stable/arm64/manifest";
const THEIRS: &[u8] = b"/phase/testing/arm64/manifest";
const VALUE: &[u8] = br#"{"last_updated":"2026-01-01T00:00:00Z"}"#;

const OPERATIONS: [&str; 8] = [
    "identify",
    "ping",
    "FIND_NODE",
    "PUT_VALUE",
    "GET_VALUE",
    "ADD_PROVIDER",
    "GET_PROVIDERS",
    "idle 100 s",
];

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What became of an operation.
#[derive(Debug)]
enum Outcome {
    Ok,
    /// The stack cannot be brought to it.
    None,
    Failed(String),
}

/// A stack, our role, and what became of each operation.
type Row = (Stack, &'static str, Vec<Outcome>);

#[test]
fn every_stack_does_with_ours_what_it_can() {
    let lan = Lan::of(6).unwrap();
    let (ours, others) = (lan.host(0), &lan.hosts()[1..]);
    let rows: Vec<Row> = thread::scope(|scope| {
        let mut running = Vec::new();
        for (number, (stack, host)) in (1_u8..).zip(Stack::ALL.into_iter().zip(others)) {
            let dialer = scope.spawn(move || as_dialer(stack, ours, host, number));
            running.push((stack, "dialer", dialer));
            let listener = scope.spawn(move || as_listener(stack, ours, host, number));
            running.push((stack, "listener", listener));
        }
        running
            .into_iter()
            .map(|(stack, role, row)| (stack, role, joined(row.join().unwrap())))
            .collect()
    });
    let table = table(&rows);
    let failed: Vec<String> = rows
        .iter()
        .flat_map(|(stack, role, row)| {
            row.iter().zip(OPERATIONS).filter_map(move |(outcome, operation)| match outcome {
                Outcome::Failed(why) => {
                    Some(format!("{} ({role}), {operation}: {why}", stack.name()))
                }
                Outcome::Ok | Outcome::None => None,
            })
        })
        .collect();
    assert!(failed.is_empty(), "{table}\n{}", failed.join("\n"));
    check_recorded(&table);
}

/// A row; where the stack could not even be started, every operation has failed.
fn joined(row: Result<Vec<Outcome>, Error>) -> Vec<Outcome> {
    row.unwrap_or_else(|why| OPERATIONS.map(|_| Outcome::Failed(why.to_string())).into())
}

fn check_recorded(table: &str) {
    const RECORDED: &str = include_str!("matrix.txt");
    if std::env::var_os("PHASE_RECORD").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/libp2p/matrix.txt"), table).unwrap();
        return;
    }
    let hint = "what works has changed; if that is meant, record it: \
                PHASE_RECORD=1 cargo test -p phase-tests --test libp2p";
    assert_eq!(table, RECORDED, "{hint}");
}

fn table(rows: &[Row]) -> String {
    let mut text = format!("{:<17} {:<9}", "stack", "we are");
    for operation in OPERATIONS {
        write!(text, "  {operation}").unwrap();
    }
    for (stack, role, row) in rows {
        write!(text, "\n{:<17} {role:<9}", stack.name()).unwrap();
        for (outcome, operation) in row.iter().zip(OPERATIONS) {
            let word = match outcome {
                Outcome::Ok => "ok",
                Outcome::None => "-",
                Outcome::Failed(_) => "FAILED",
            };
            write!(text, "  {word:<width$}", width = operation.len()).unwrap();
        }
    }
    let mut text: String = text.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
    text.push('\n');
    text.push_str(NOTES);
    text
}

const NOTES: &str = "\
dialer: we ask, the stack answers; listener: the stack asks, we answer. ping: the stack pings us.
-  go-libp2p stores no values but /pk and /ipns; p2pd has no command to ping.
";

/// Our dialer at a node of `stack` that knows two others: go-libp2p lists nobody who knows nobody else.
fn as_dialer(stack: Stack, ours: &Host, host: &Host, number: u8) -> Result<Vec<Outcome>, Error> {
    let patient =
        |seed, bootstraps: &[&str]| Plan { idle: Some(3 * IDLE), ..Plan::server(seed, bootstraps) };
    let companion = Node::start(Stack::Rust057, host, &patient(number + 10, &[]))?;
    let bootstrap = companion.address();
    let other = Node::start(Stack::Rust057, host, &patient(number + 80, &[&bootstrap]))?;
    companion.wait_for("routed", Some(other.peer()))?;
    let mut node = Node::start(stack, host, &patient(number, &[&bootstrap]))?;
    wait_until_known(&mut node, companion.peer())?;

    let local = Local::new(number + 20, (ours.ipv4, 4000 + u16::from(number)).into());
    let expected = peer(node.peer());
    let us = local.peer().to_string();
    let mut link = Link::dial(&local, &ours.namespace, node.socket(), Some(expected))?;
    let begun = Deadline::after(IDLE);
    let mut row = vec![
        outcome(|| {
            let agent = link.identify()?.agent;
            let known = ["rust-libp2p/", "js-libp2p/", "py-libp2p/", "p2pd/"];
            check(known.iter().any(|one| agent.starts_with(one)), &agent)
        }),
        unless(stack == Stack::Go, || link.serve_during(|| pinged(stack, &mut node, &us))),
    ];
    row.extend(ask_all(stack, &mut node, &mut link, &local, &companion));
    row.push(outcome(|| {
        link.stay(begun.remaining())?;
        let heard = link.ask(Request::FindNode { key: &multihash_of(&local.peer()) })?;
        check(heard.end == Some(Ok(())), &heard)
    }));
    Ok(row)
}

/// The Kademlia operations of a dialer.
fn ask_all(
    stack: Stack,
    node: &mut Node,
    link: &mut Link,
    local: &Local,
    companion: &Node,
) -> Vec<Outcome> {
    let us = local.peer().to_string();
    let third = peer(companion.peer());
    let find_node = outcome(|| {
        let heard = link.ask(Request::FindNode { key: &multihash_of(&third) })?;
        let at = |c: &Contact| c.peer == third && c.addresses.contains(&companion.socket());
        check(heard.closer.iter().any(at), &heard)
    });
    let put_value = unless(!stack.stores_values(), || {
        let record = Record { key: OURS, value: VALUE, publisher: None, ttl: 0 };
        let heard = link.ask(Request::PutValue { record })?;
        check(heard.end == Some(Ok(())), &heard)?;
        let stored = link.serve_during(|| node.stored(OURS))?;
        check(stored.as_deref() == Some(VALUE), &stored)
    });
    let get_value = unless(!stack.stores_values(), || {
        link.serve_during(|| node.put(THEIRS, VALUE))?;
        let heard = link.ask(Request::GetValue { key: THEIRS })?;
        check(heard.values == [VALUE], &heard)
    });
    let add_provider = outcome(|| {
        let (key, providers) = (multihash(OURS), Peers::of(&local.shelf.own));
        let heard = link.ask(Request::AddProvider { key: &key, providers })?;
        check(heard.end == Some(Ok(())), &heard)?;
        // Nothing says when it is done.
        link.serve_during(|| {
            deadline::until("us as a provider", GENEROUS, || {
                Ok(node.providers(&key)?.contains(&us).then_some(()))
            })
        })?;
        Ok(())
    });
    let get_providers = outcome(|| {
        let key = multihash(THEIRS);
        link.serve_during(|| node.provide(&key))?;
        // js-libp2p tells of itself only once it is sure of its addresses.
        deadline::until("the node as a provider", GENEROUS, || {
            let heard = link.ask(Request::GetProviders { key: &key })?;
            let is_told = heard.providers.iter().any(|one| one.peer.to_string() == node.peer());
            Ok(is_told.then_some(()))
        })?;
        Ok(())
    });
    vec![find_node, put_value, get_value, add_provider, get_providers]
}

/// A node of `stack` that has us as its bootstrap.
fn as_listener(stack: Stack, ours: &Host, host: &Host, number: u8) -> Result<Vec<Outcome>, Error> {
    let address = (ours.ipv4, 4100 + u16::from(number)).into();
    let listener = Listener::start(&ours.namespace, address, number + 40)?;
    let (local, bootstrap) = (listener.local(), listener.multiaddr());
    let plan = Plan { idle: Some(3 * IDLE), ..Plan::server(number + 60, &[&bootstrap]) };
    let mut node = Node::start(stack, host, &plan)?;
    let begun = Deadline::after(IDLE);
    let us = local.peer().to_string();
    let mut row = vec![
        outcome(|| is_identified(stack, &mut node, &us)),
        unless(stack == Stack::Go, || pinged(stack, &mut node, &us)),
    ];
    wait_until_known(&mut node, &us)?;
    row.extend(answer_all(stack, &mut node, local));
    thread::sleep(begun.remaining());
    row.push(outcome(|| {
        let closings = local.shelf.closings();
        check(closings.is_empty(), &(closings, node.output()))?;
        let found = node.closest(OURS)?;
        check(found.contains(&us), &found)
    }));
    Ok(row)
}

/// The Kademlia operations of a listener.
fn answer_all(stack: Stack, node: &mut Node, local: &Local) -> Vec<Outcome> {
    let us = local.peer().to_string();
    let find_node = outcome(|| {
        let found = node.closest(OURS)?;
        check(found.contains(&us), &found)
    });
    let put_value = unless(!stack.stores_values(), || {
        node.put(OURS, VALUE)?;
        let stored = local.shelf.value(OURS);
        check(stored.as_deref() == Some(VALUE), &stored)
    });
    let get_value = unless(!stack.stores_values(), || {
        local.shelf.keep(THEIRS, VALUE);
        let found = node.get(THEIRS)?;
        check(found.contains(&VALUE.to_vec()), &found)
    });
    // What they look for comes first, since some ask nobody while they provide it themselves.
    let get_providers = outcome(|| {
        local.shelf.add_provider(&multihash(THEIRS), local.shelf.own.clone());
        let found = node.providers(&multihash(THEIRS))?;
        check(found.contains(&us), &found)
    });
    let add_provider = outcome(|| {
        let peer = node.peer().to_owned();
        node.provide(&multihash(OURS))?;
        // Nothing answers it.
        deadline::until("the provider on our shelf", GENEROUS, || {
            let providers = local.shelf.providers(&multihash(OURS));
            Ok(providers.iter().any(|one| one.peer.to_string() == peer).then_some(()))
        })?;
        Ok(())
    });
    vec![find_node, put_value, get_value, add_provider, get_providers]
}

/// The node has taken our identify message.
fn is_identified(stack: Stack, node: &mut Node, us: &str) -> Result<(), Failure> {
    const KAD: &str = "/ipfs/kad/1.0.0";
    match stack {
        Stack::Rust056 | Stack::Rust057 | Stack::Js => {
            let event = node.wait_for("identified", Some(us))?;
            check(event["agent"] == "phase-tests", &event)?;
            check(event["protocols"].to_string().contains(KAD), &event)
        }
        Stack::Py => {
            let found = deadline::until("our protocols at py-libp2p", GENEROUS, || {
                let found = node.find(&format!("protocols {us}"))?;
                Ok((!found.is_empty()).then_some(found))
            })?;
            check(found.iter().any(|one| one == KAD), &found)
        }
        // It lists a peer only after identify.
        Stack::Go => Ok(wait_until_known(node, us)?),
    }
}

/// The node's ping came back.
fn pinged(stack: Stack, node: &mut Node, us: &str) -> Result<(), Failure> {
    match stack {
        // By itself, right after it connected.
        Stack::Rust056 | Stack::Rust057 => {
            let event = node.wait_for("ping", Some(us))?;
            check(event["micros"].is_u64(), &event)
        }
        Stack::Js | Stack::Py | Stack::Go => Ok(node.find(&format!("ping {us}")).map(drop)?),
    }
}

/// Does an operation, unless the stack cannot.
fn unless(cannot: bool, operation: impl FnOnce() -> Result<(), Failure>) -> Outcome {
    if cannot { Outcome::None } else { outcome(operation) }
}

fn outcome(operation: impl FnOnce() -> Result<(), Failure>) -> Outcome {
    operation().map_or_else(|why| Outcome::Failed(why.to_string()), |()| Outcome::Ok)
}

/// Fails with what was seen.
fn check(holds: bool, seen: &impl fmt::Debug) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(format!("{seen:?}").into()) }
}

/// Routing tables are filled from identify, some time after a connection; go-libp2p shows its own only in a
/// lookup, which fails while it is empty.
fn wait_until_known(node: &mut Node, peer: &str) -> Result<(), Error> {
    deadline::until(&format!("{peer} in the table"), GENEROUS, || {
        let closest = node.ask("closest 6162")?;
        let known =
            closest["found"].as_array().is_some_and(|found| found.iter().any(|p| p == peer));
        Ok(known.then_some(()))
    })
}

fn peer(text: &str) -> PeerId {
    text.parse().unwrap()
}

/// The octets of a peer id as Kademlia messages hold it.
fn multihash_of(peer: &PeerId) -> Vec<u8> {
    peer_id::encode_multihash(peer).to_vec()
}
