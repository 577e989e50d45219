//! `phase-discover` in the DHT: what it finds, and what it says when it does not.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use phase_core::wire::record::Advert;
use phase_tests::deadline::GENEROUS;
use phase_tests::netns::{Lan, Namespace};
use phase_tests::process::{Finished, Process};
use serde_json::Value;

use crate::node::{Knowledge, Node, multiaddr, value_of};
use crate::publisher::{LONG_AGO, Publisher, Scripted, arm64, key, peer, signed, stable, text_of};

const PROGRAM: &str = env!("CARGO_BIN_EXE_phase-discover");
/// Everybody may be told of it, and nobody is there.
const URL: &str = "http://203.0.113.9:8080/stable/arm64/manifest.json";
const LAN_URL: &str = "http://10.77.0.1:8080/stable/arm64/manifest.json";

#[test]
fn a_record_is_found_verified_and_said_to_come_from_the_dht() {
    let host = Namespace::new("wan").unwrap();
    let node = Node::start(&host, "127.0.0.1:0", 9, Knowledge::default().value(value(1)));
    for bootstrap in [node.multiaddr(), multiaddr(node.address)] {
        let trusted = peer(1).to_string();
        let found =
            wan(&host, &["--bootstrap", &bootstrap, "--trust", &trusted, "--json", "--explain"]);
        assert_eq!(found.code(), 0, "{}", found.stderr);
        let candidate = only_line(&found.stdout);
        for (member, value) in [
            ("url", Value::from(URL)),
            ("peer_id", peer(1).to_string().into()),
            ("source", "dht".into()),
            ("responder", node.peer.to_string().into()),
            ("trust", "pinned".into()),
            ("accepted", true.into()),
            ("interface", Value::Null),
            ("remote", "127.0.0.1".into()),
        ] {
            assert_eq!(candidate[member], value, "{member}");
        }
        let answered = format!("bootstrap {bootstrap}: {} answered", node.peer);
        assert!(found.stderr.contains(&answered), "{}", found.stderr);
    }
}

#[test]
fn a_pinned_provider_that_is_reached_itself_is_direct() {
    let host = Namespace::new("wan").unwrap();
    let provider = Node::start(&host, "127.0.0.1:0", 1, Knowledge::default().value(value(1)));
    let knowledge = Knowledge::default().provider(provider.peer, provider.address);
    let node = Node::start(&host, "127.0.0.1:0", 9, knowledge);
    let trusted = peer(1).to_string();
    let found = wan(&host, &["--bootstrap", &node.multiaddr(), "--trust", &trusted, "--json"]);
    assert_eq!(found.code(), 0, "{}", found.stderr);
    let candidate = only_line(&found.stdout);
    assert_eq!((&candidate["source"], &candidate["url"]), (&"direct".into(), &URL.into()));
}

#[test]
fn the_bootstrap_of_a_trust_file_is_used() {
    let host = Namespace::new("wan").unwrap();
    let node = Node::start(&host, "127.0.0.1:0", 9, Knowledge::default().value(value(1)));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "provider {}\nbootstrap {}", peer(1), node.multiaddr()).unwrap();
    let found = wan(&host, &["--trust", file.path().to_str().unwrap(), "--quiet"]);
    assert_eq!((found.code(), found.stdout.trim()), (0, URL), "{}", found.stderr);
}

#[test]
fn one_dead_bootstrap_of_two_does_not_matter() {
    let host = Namespace::new("wan").unwrap();
    let node = Node::start(&host, "127.0.0.1:0", 9, Knowledge::default().value(value(1)));
    let dead = multiaddr(nobody(&host));
    let found = wan(&host, &["--bootstrap", &dead, "--bootstrap", &node.multiaddr(), "--quiet"]);
    assert_eq!((found.code(), found.stdout.trim()), (0, URL), "{}", found.stderr);
}

#[test]
fn auto_takes_the_lan_first_and_the_dht_when_the_lan_has_nothing() {
    let lan = Lan::of(2).unwrap();
    let (host, client) = (lan.host(0), lan.host(1));
    let address = format!("{}:0", host.ipv4);
    let knowledge = Knowledge::default().value(value(1));
    let node = Node::start(&host.namespace, &address, 9, knowledge);
    let bootstrap = ["--bootstrap", &node.multiaddr(), "--json"];
    let found = discover(&client.namespace, &bootstrap);
    assert_eq!(found.code(), 0, "{}", found.stderr);
    assert_eq!(only_line(&found.stdout)["source"], "dht");

    let text = text_of(&signed(2, LAN_URL));
    let script = Scripted::new(host.ipv4, &[("one", text)]);
    let _publisher = Publisher::scripted_on(&host.namespace, &[], script);
    let found = discover(&client.namespace, &bootstrap);
    assert_eq!(only_line(&found.stdout)["source"], "lan");

    let found =
        discover(&client.namespace, &["--mode", "all", "--bootstrap", bootstrap[1], "--json"]);
    let lines = found.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let sources: Vec<_> = lines.map(|line| line["source"].clone()).collect();
    assert_eq!(sources, ["lan", "dht"], "{}", found.stderr);
}

#[test]
fn records_that_are_refused_are_told_with_their_code() {
    let host = Namespace::new("wan").unwrap();
    let advert = signed(1, URL);
    let expired = Advert { issued: LONG_AGO, ..advert.advert().clone() };
    let expired = expired.sign(&key(1), &stable(), &arm64()).unwrap();
    let mut forged = value_of(&advert);
    let at = forged.windows(10).position(|w| w == b"2025.11.26").unwrap();
    forged[at + 9] = b'7';
    let unsigned = format!(
        r#"{{"url":"{URL}","peer_id":"{}","last_updated":"2026-01-01T00:00:00Z"}}"#,
        peer(1)
    );
    let loopback = signed(1, "http://127.0.0.1:8080/stable/arm64/manifest.json");
    for (code, value) in [
        ("E-EXPIRED", value_of(&expired)),
        ("E-SIG", forged),
        ("E-UNSIGNED", unsigned.into_bytes()),
        ("E-POLICY", value_of(&loopback)),
        ("E-JSON", b"no record at all".to_vec()),
    ] {
        let node = Node::start(&host, "127.0.0.1:0", 9, Knowledge::default().value(value));
        let trusted = peer(1).to_string();
        let found =
            wan(&host, &["--bootstrap", &node.multiaddr(), "--trust", &trusted, "--explain"]);
        assert_eq!((found.code(), &*found.stdout), (4, ""), "{code}: {}", found.stderr);
        let told = format!("refused: {code} ");
        assert!(found.stderr.contains(&told), "{code}: {}", found.stderr);
        assert!(found.stderr.contains(&format!("(from {})", node.peer)), "{}", found.stderr);
    }
}

#[test]
fn when_nothing_is_found_the_address_and_the_step_are_told() {
    let host = Namespace::new("wan").unwrap();
    let empty = Node::start(&host, "127.0.0.1:0", 9, Knowledge::default());
    let other = format!("{}/p2p/{}", multiaddr(empty.address), peer(8));
    let http = Door::open(&host, b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    let silent = Door::open(&host, b"");
    for (bootstrap, parts) in [
        (multiaddr(nobody(&host)), vec!["connection refused", "no bootstrap peer answered"]),
        (empty.multiaddr(), vec![" answered", "no peer has a record"]),
        (other, vec![&*empty.peer.to_string(), "no bootstrap peer answered"]),
        (multiaddr(http.0), vec!["no bootstrap peer answered"]),
        (multiaddr(silent.0), vec!["no bootstrap peer answered"]),
        ("/ip4/192.0.2.1/tcp/4001".to_owned(), vec!["no route to it", "no bootstrap peer"]),
        (
            "/dns4/no-such-host.invalid/tcp/4001".to_owned(),
            vec!["cannot resolve no-such-host.invalid"],
        ),
        ("/dnsaddr/no-such-host.invalid".to_owned(), vec!["no TXT records of _dnsaddr.no-such"]),
    ] {
        let found = wan(&host, &["--bootstrap", &bootstrap]);
        assert!([3, 5].contains(&found.code()), "{bootstrap}: {}", found.stderr);
        assert_eq!(found.stdout, "");
        let told = |part: &&&str| found.stderr.contains(**part);
        assert_eq!(parts.iter().find(|part| !told(part)), None, "{bootstrap}: {}", found.stderr);
        assert!(found.stderr.contains(&bootstrap), "{bootstrap}: {}", found.stderr);
    }
}

#[test]
fn bad_addresses_are_usage_errors_that_name_what_is_wrong() {
    let host = Namespace::new("wan").unwrap();
    for (bootstrap, part) in [
        ("192.0.2.1:4001", "it must begin with /ip4/"),
        ("/ip4/192.0.2.1/udp/4001/quic-v1", "other transports are not spoken"),
        ("/ip4/192.0.2.1/tcp/0", "the port must be 1 to 65535"),
        ("/ip4/192.0.2.300/tcp/4001", "an IPv4 address must follow /ip4/"),
        ("/onion3/x:80", "it must begin with /ip4/"),
        ("/ip4/192.0.2.1/tcp/4001/p2p/12D3KooW", "a peer id"),
        (
            "/ip4/192.0.2.1/tcp/4001/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC",
            "only peers with Ed25519 keys",
        ),
    ] {
        let found = wan(&host, &["--bootstrap", bootstrap]);
        assert_eq!(found.code(), 2, "{bootstrap}: {}", found.stderr);
        let both = found.stderr.contains(bootstrap) && found.stderr.contains(part);
        assert!(both, "{bootstrap}: {}", found.stderr);
    }
    let found = wan(&host, &[]);
    assert_eq!((found.code(), &*found.stdout), (2, ""));
    assert!(found.stderr.contains("--mode wan needs a node"), "{}", found.stderr);
    assert!(found.stderr.contains("--bootstrap /ip4/"), "{}", found.stderr);
}

// Helpers.

fn value(number: u8) -> Vec<u8> {
    value_of(&signed(number, URL))
}

fn wan(namespace: &Namespace, arguments: &[&str]) -> Finished {
    discover(namespace, &[&["--mode", "wan"], arguments].concat())
}

fn discover(namespace: &Namespace, arguments: &[&str]) -> Finished {
    let mut command = namespace.command(PROGRAM);
    command.args(["--arch", "arm64"]).args(arguments);
    Process::spawn(command).unwrap().wait(GENEROUS).unwrap()
}

fn only_line(stdout: &str) -> Value {
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    serde_json::from_str(stdout).unwrap()
}

fn listener(namespace: &Namespace) -> TcpListener {
    namespace.inside(|| TcpListener::bind("127.0.0.1:0")).unwrap()
}

/// An address that nobody listens at.
fn nobody(namespace: &Namespace) -> SocketAddr {
    listener(namespace).local_addr().unwrap()
}

/// A port where every connection is told the same, once it said something, and is then left alone.
struct Door(SocketAddr);

impl Door {
    fn open(namespace: &Namespace, says: &'static [u8]) -> Self {
        let listener = listener(namespace);
        let address = listener.local_addr().unwrap();
        // It ends with the process: there is nothing to undo.
        thread::spawn(move || {
            let mut kept = Vec::new();
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut octet = [0];
                if stream.read_exact(&mut octet).and_then(|()| stream.write_all(says)).is_ok() {
                    kept.push(stream);
                }
            }
        });
        Self(address)
    }
}
