//! A client's search in a small DHT of peers that do as they are told.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use phase_core::client::{Carriers, Client, Config, Event, HEAD_START, Mode, Source};
use phase_core::connection::{self, KadProtocol};
use phase_core::dht::finder::{Bootstrap, ClientSlot, Finder, Nothing, Reach};
use phase_core::dht::swarm::Why;
use phase_core::identity::PeerId;
use phase_core::kad::Key;
use phase_core::limits::RX_FULL;
use phase_core::machine::{
    CloseReason, ConnectionId, ConnectionInput, ConnectionOutput, Input, Machine, Output,
    TransmitBuffer,
};
use phase_core::time::{Instant, UnixTime};
use phase_core::wire::contact::{Addresses, Contact};
use phase_core::wire::record::{Advert, AdvertKey, Version};
use phase_core::wire::url::Url;
use phase_tests::harness::{
    Conditions, DhtPeer, Door, EPOCH, HostId, Manner, Network, Recorded, SegmentId, Station,
    TcpConditions, arch, channel, client_config, image, key, pinned, seed,
};

use crate::{add_provider, secs};

type WideClient = Client<Finder<Box<[ClientSlot<RX_FULL>]>, RX_FULL>>;

const PORT: u16 = 4001;
const ONE_WAY: Duration = Duration::from_millis(50);
const ROUND_TRIP: Duration = Duration::from_millis(100);

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn ip(number: u64) -> IpAddr {
    IpAddr::from([203, 0, 113, u8::try_from(number).unwrap()])
}

fn address(number: u64) -> SocketAddr {
    SocketAddr::new(ip(number), PORT)
}

fn peer(number: u64) -> PeerId {
    key(number).peer_id()
}

fn contact(number: u64) -> Contact {
    Contact::at(peer(number), address(number))
}

fn base_key() -> AdvertKey {
    AdvertKey::base(channel("stable"), arch("arm64"))
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

/// What provider `number` says.
fn advert(number: u64) -> Advert {
    Advert {
        url: url(&format!("http://{}:8080/stable/arm64/manifest.json", ip(number))),
        peer: peer(number),
        name: None,
        issued: EPOCH,
        version: Version::new("1").unwrap(),
        seq: 10,
        ttl: 3600,
        digest: None,
    }
}

/// What provider `number` publishes.
fn record(number: u64, change: impl FnOnce(&mut Advert)) -> Vec<u8> {
    let mut advert = advert(number);
    change(&mut advert);
    let signed = advert.sign(&key(number), &channel("stable"), &arch("arm64")).unwrap();
    signed.encode_json(&mut [0; 600]).unwrap().to_vec()
}

fn network(seed: u64) -> Network {
    let mut network = Network::new(seed);
    network.set_tcp(TcpConditions { latency: (ONE_WAY, ONE_WAY), ..TcpConditions::default() });
    network
}

/// A peer that is reached at the address of its number.
fn add_peer(network: &mut Network, number: u64, change: impl FnOnce(&mut DhtPeer)) -> HostId {
    let mut peer = DhtPeer::new(number);
    change(&mut peer);
    network.machine(peer, &[ip(number)], Door::Open(PORT))
}

/// The number of the client.
const CLIENT: u64 = 200;

fn config(trusted: &[u64]) -> Config {
    let trust = pinned(trusted.iter().copied());
    Config { carriers: Carriers::Wan, ..client_config(CLIENT, trust, Mode::OneShot) }
}

/// A client that begins with these bootstraps.
fn new_client(now: Instant, config: Config, bootstraps: &[Bootstrap]) -> WideClient {
    let slots = (0..3).map(|_| ClientSlot::new()).collect();
    let (channel, arch) = (config.channel.clone(), config.arch.clone());
    let mut finder = Finder::new(now, &seed(CLIENT), slots, channel, arch);
    for bootstrap in bootstraps {
        finder.add_bootstrap(now, bootstrap.clone()).unwrap();
    }
    Client::with_dht(now, config, finder)
}

fn add_client(network: &mut Network, config: Config, bootstraps: &[Bootstrap]) -> HostId {
    network.machine(new_client(Instant::ZERO, config, bootstraps), &[ip(CLIENT)], Door::Silent)
}

fn bootstrap(number: u64) -> Bootstrap {
    let text = format!("/ip4/{}/tcp/{PORT}", ip(number));
    Bootstrap::new(&text, [address(number)], None)
}

fn told(network: &Network, client: HostId) -> &[(Instant, Event)] {
    network.told_by::<WideClient>(client)
}

/// When the first candidate was accepted.
fn accepted_at(network: &Network, client: HostId) -> Option<Duration> {
    let accepted = told(network, client).iter().find(|(_, e)| matches!(e, Event::Accepted(_)));
    accepted.map(|(at, _)| at.since(Instant::ZERO))
}

fn is_searched(network: &Network, client: HostId) -> bool {
    told(network, client).iter().any(|(_, event)| *event == Event::Searched)
}

/// The codes of the refused candidates.
fn refusals(network: &Network, client: HostId) -> Vec<&'static str> {
    let client = network.machine_of::<WideClient>(client);
    client.candidates().filter_map(|c| c.verdict().err().map(|r| r.code())).collect()
}

#[test]
fn a_cold_lookup_at_a_stock_node_takes_three_round_trips_and_two_flights() {
    let mut net = network(1);
    add_peer(&mut net, 1, |peer| {
        peer.book.only = Some(KadProtocol::Ipfs);
        peer.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
    });
    let client = add_client(&mut net, config(&[7]), &[bootstrap(1)]);
    net.run(ROUND_TRIP * 3 - millis(1));
    assert_eq!(accepted_at(&net, client), None);
    assert_eq!(net.tcp_traffic(client).sends, 2, "flights after SYN");
    net.run(millis(1));
    assert_eq!(accepted_at(&net, client), Some(ROUND_TRIP * 3));
    let best = net.machine_of::<WideClient>(client).best().unwrap();
    assert_eq!(best.source(), Source::Dht { responder: peer(1), direct: false });
    assert_eq!(best.remote(), address(1));
}

#[test]
fn a_node_of_our_network_alone_costs_two_round_trips_more() {
    // It refuses what every known node speaks, this project's own too, and is then asked whether it speaks the other.
    let mut net = network(1);
    add_peer(&mut net, 1, |peer| {
        peer.book.only = Some(KadProtocol::Phase);
        peer.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
    });
    let client = add_client(&mut net, config(&[7]), &[bootstrap(1)]);
    assert!(net.run_until(secs(10), |net| is_searched(net, client)));
    assert_eq!(accepted_at(&net, client), Some(ROUND_TRIP * 5));
}

/// Connects so often to one address, and says nothing.
#[derive(Debug)]
struct Flood {
    to: SocketAddr,
    count: u32,
    begun: u32,
}

impl Machine for Flood {
    type Event = ();

    fn handle_input(&mut self, _: Instant, _: Input<'_>) {}

    fn poll_output(&mut self, _: &mut TransmitBuffer) -> Output<()> {
        if self.begun == self.count {
            return Output::Timeout(None);
        }
        let id = ConnectionId::Dialed(self.begun);
        self.begun += 1;
        Output::Connection(id, ConnectionOutput::Connect { remote: self.to })
    }
}

#[test]
fn a_flood_of_connections_from_one_host_keeps_nobody_else_out() {
    let mut net = network(25);
    let mut asked = DhtPeer::with_slots(1, 24);
    asked.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
    let asked = net.machine(asked, &[ip(1)], Door::Open(PORT));
    net.machine(Flood { to: address(1), count: 100, begun: 0 }, &[ip(66)], Door::Silent);
    net.run(secs(1));
    let client = new_client(net.now(), config(&[7]), &[bootstrap(1)]);
    let client = net.machine(client, &[ip(CLIENT)], Door::Silent);
    assert!(net.run_until(secs(2), |net| accepted_at(net, client).is_some()));
    let stats = *net.machine_of::<DhtPeer>(asked).stats();
    assert_eq!(stats.connections_over_limit, 84, "all but 16");
    // Those that say nothing are given up in time.
    net.run(secs(10));
    assert_eq!(net.connections(asked).len(), 0);
    assert_eq!(net.machine_of::<DhtPeer>(asked).stats().connections_timed_out, 16);
}

#[test]
fn idle_connections_give_way_to_new_ones() {
    let mut net = network(26);
    let asked = net.machine(DhtPeer::with_slots(1, 2), &[ip(1)], Door::Open(PORT));
    let clients: Vec<_> = (0..6)
        .map(|number| {
            net.run(secs(2));
            let config = Config { carriers: Carriers::All, ..config(&[7]) };
            let client = new_client(net.now(), config, &[bootstrap(1)]);
            net.machine(client, &[ip(CLIENT + number)], Door::Silent)
        })
        .collect();
    net.run(secs(3));
    for client in clients {
        assert!(is_searched(&net, client), "{client:?}");
        let report = net.machine_of::<WideClient>(client).dht().report();
        assert_eq!(report.nothing(), Some(Nothing::NoRecord), "{report}");
    }
    assert!(net.connections(asked).len() <= 2);
}

#[test]
fn one_dead_bootstrap_of_two_costs_less_than_600_ms() {
    for door in [Door::Silent, Door::Refuses] {
        let mut net = network(2);
        let dead = add_peer(&mut net, 1, |_| {});
        net.set_door(dead, door);
        add_peer(&mut net, 2, |peer| {
            peer.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
        });
        let client = add_client(&mut net, config(&[7]), &[bootstrap(1), bootstrap(2)]);
        assert!(net.run_until(secs(10), |net| is_searched(net, client)));
        let late = accepted_at(&net, client).unwrap() - ROUND_TRIP * 3;
        assert!(late < millis(if door == Door::Refuses { 101 } else { 251 }), "{late:?}");
    }
}

#[test]
fn a_bootstrap_that_fails_is_named_with_the_reason() {
    let check = |why: Why, make: &dyn Fn(&mut Network) -> Bootstrap| {
        let mut net = network(3);
        let bootstrap = make(&mut net);
        let client = add_client(&mut net, config(&[7]), &[bootstrap]);
        assert!(net.run_until(secs(11), |net| is_searched(net, client)));
        let report = net.machine_of::<WideClient>(client).dht().report();
        let Reach::Failed(failure) = report.bootstraps()[0].reach() else {
            panic!("{report}");
        };
        assert_eq!(failure.why, why, "{report}");
        assert_eq!(report.nothing(), Some(Nothing::NoneReached));
        assert!(report.to_string().contains(report.bootstraps()[0].text()), "{report}");
    };
    check(Why::Tcp(CloseReason::Refused), &|net| {
        let host = add_peer(net, 1, |_| {});
        net.set_door(host, Door::Refuses);
        bootstrap(1)
    });
    check(Why::Tcp(CloseReason::TimedOut), &|net| {
        let host = add_peer(net, 1, |_| {});
        net.set_door(host, Door::Silent);
        bootstrap(1)
    });
    check(Why::Tcp(CloseReason::Unreachable), &|net| {
        net.set_nowhere(ip(9));
        bootstrap(9)
    });
    check(Why::NoAddress, &|_| Bootstrap::new("/dns4/nowhere.example/tcp/4001", [], None));
}

/// Says the same to everybody who connects, and hears nothing.
#[derive(Debug)]
struct Babbler {
    words: Vec<u8>,
    /// Connections, the octets still to be said, and the room for them.
    wires: Vec<(ConnectionId, Vec<u8>, usize)>,
}

impl Babbler {
    fn new(words: &[u8]) -> Self {
        Self { words: words.to_vec(), wires: Vec::new() }
    }
}

impl Machine for Babbler {
    type Event = ();

    fn handle_input(&mut self, _: Instant, input: Input<'_>) {
        let Input::Connection(id, input) = input else { return };
        match input {
            ConnectionInput::Accepted { .. } => self.wires.push((id, self.words.clone(), 0)),
            ConnectionInput::Writable { room } => {
                self.wires.iter_mut().filter(|wire| wire.0 == id).for_each(|wire| wire.2 = room);
            }
            ConnectionInput::Closed(_) => self.wires.retain(|wire| wire.0 != id),
            ConnectionInput::Connected | ConnectionInput::Received(_) => {}
        }
    }

    fn poll_output(&mut self, buf: &mut TransmitBuffer) -> Output<()> {
        for (id, words, room) in &mut self.wires {
            let len = words.len().min(*room).min(buf.len());
            if len > 0 {
                buf[..len].copy_from_slice(&words[..len]);
                words.drain(..len);
                *room -= len;
                return Output::Connection(*id, ConnectionOutput::Send { len });
            }
        }
        Output::Timeout(None)
    }
}

/// What the search says of its only bootstrap, after it has ended.
fn failure_of(network: &mut Network, bootstrap: Bootstrap) -> Why {
    let client = add_client(network, config(&[7]), &[bootstrap]);
    assert!(network.run_until(secs(11), |net| is_searched(net, client)));
    let report = network.machine_of::<WideClient>(client).dht().report();
    assert_eq!(report.nothing(), Some(Nothing::NoneReached), "{report}");
    let Reach::Failed(failure) = report.bootstraps()[0].reach() else { panic!("{report}") };
    failure.why
}

#[test]
fn what_is_no_libp2p_peer_is_told_apart() {
    let check = |words: &[u8], expected: connection::Error| {
        let mut net = network(4);
        net.machine(Babbler::new(words), &[ip(1)], Door::Open(PORT));
        assert_eq!(failure_of(&mut net, bootstrap(1)), Why::Connection(expected));
    };
    check(b"HTTP/1.1 400 Bad Request\r\n\r\n", connection::Error::NotLibp2p);
    check(b"", connection::Error::HandshakeTimedOut);
    check(b"\x13/multistream/1.0.0\n\x03na\n", connection::Error::NoNoise);
}

#[test]
fn another_peer_at_the_address_is_named() {
    let mut net = network(5);
    add_peer(&mut net, 1, |_| {});
    let named = Bootstrap::new("one", [address(1)], Some(peer(2)));
    let expected = connection::Error::WrongPeer { found: peer(1) };
    assert_eq!(failure_of(&mut net, named), Why::Connection(expected));
}

#[test]
fn the_next_address_of_a_peer_is_tried_when_one_leads_nowhere() {
    // Nobody, somebody else, a silent host, and the peer itself.
    let mut net = network(6);
    net.set_nowhere(ip(1));
    add_peer(&mut net, 2, |_| {});
    let silent = add_peer(&mut net, 3, |_| {});
    net.set_door(silent, Door::Silent);
    add_peer(&mut net, 4, |peer| {
        peer.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
    });
    let addresses = [address(1), address(2), address(3), address(4)];
    let four = Bootstrap::new("four", addresses, Some(peer(4)));
    let client = add_client(&mut net, config(&[7]), &[four]);
    assert!(net.run_until(secs(2), |net| accepted_at(net, client).is_some()));
}

#[test]
fn a_record_is_found_at_the_end_of_a_chain() {
    let mut net = network(7);
    for number in 1..=12 {
        add_peer(&mut net, number, |peer| {
            peer.book.closer = vec![contact(number + 1)];
            if number == 12 {
                peer.book.closer.clear();
                peer.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
            }
        });
    }
    let client = add_client(&mut net, config(&[7]), &[bootstrap(1)]);
    assert!(net.run_until(secs(10), |net| is_searched(net, client)));
    let report = net.machine_of::<WideClient>(client).dht().report();
    assert!(accepted_at(&net, client).is_some(), "{report}");
    assert_eq!(report.counts().asked, 12, "{report}");
    assert_eq!(report.counts().answered, 12, "{report}");
}

#[test]
fn t3_the_first_answer_is_not_taken_while_a_later_record_may_come() {
    let mut net = network(7);
    add_peer(&mut net, 1, |peer| {
        peer.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
        peer.book.closer = vec![contact(2)];
    });
    add_peer(&mut net, 2, |peer| {
        peer.book.records.insert(base_key().octets().to_vec(), record(7, |a| a.seq = 11));
    });
    let client = add_client(&mut net, config(&[7]), &[bootstrap(1)]);
    let machine = |net: &Network| net.machine_of::<WideClient>(client).is_settled();
    assert!(net.run_until(secs(10), |net| accepted_at(net, client).is_some()));
    assert!(!machine(&net), "somebody is left to ask");
    assert!(net.run_until(secs(10), machine));
    let best = net.machine_of::<WideClient>(client).best().unwrap();
    assert_eq!(best.advert().unwrap().seq, 11);
}

#[test]
fn where_nobody_is_left_to_ask_the_first_answer_is_taken_at_once() {
    let mut net = network(7);
    add_peer(&mut net, 1, |peer| {
        peer.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
    });
    let client = add_client(&mut net, config(&[7]), &[bootstrap(1)]);
    assert!(net.run_until(secs(10), |net| accepted_at(net, client).is_some()));
    assert!(net.machine_of::<WideClient>(client).is_settled());
}

#[test]
fn bad_records_are_refused_by_name_and_the_search_goes_on() {
    let other = AdvertKey::base(channel("testing"), arch("arm64"));
    let transplanted = {
        let advert = Advert { seq: 1, ..advert(7) };
        let signed = advert.sign(&key(7), &other.channel, &other.arch).unwrap();
        signed.encode_json(&mut [0; 600]).unwrap().to_vec()
    };
    let unsigned = br#"{"url":"http://203.0.113.7:8080/stable/arm64/manifest.json","peer_id":"12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV","last_updated":"2025-11-26T12:00:00Z"}"#;
    let bad = [
        (record(7, |advert| advert.issued = UnixTime(EPOCH.0 - 8000)), "E-EXPIRED"),
        (unsigned.to_vec(), "E-UNSIGNED"),
        (transplanted, "E-SIG"),
        (record(8, |_| {}), "E-UNTRUSTED"),
        (b"junk".to_vec(), "E-JSON"),
        (
            record(7, |advert| advert.url = url("http://127.0.0.1:1/stable/arm64/manifest.json")),
            "E-POLICY",
        ),
    ];
    for (value, code) in &bad {
        let mut net = network(8);
        add_peer(&mut net, 1, |peer| {
            peer.book.records.insert(base_key().octets().to_vec(), value.clone());
            peer.book.closer = vec![contact(2)];
        });
        add_peer(&mut net, 2, |peer| {
            peer.book.records.insert(base_key().octets().to_vec(), record(7, |a| a.seq = 11));
        });
        let client = add_client(&mut net, config(&[7]), &[bootstrap(1)]);
        assert!(net.run_until(secs(10), |net| is_searched(net, client)), "{code}");
        assert_eq!(refusals(&net, client), [*code]);
        assert!(accepted_at(&net, client).is_some(), "{code}");
    }
    let mut net = network(9);
    for (number, (value, _)) in (1..).zip(&bad) {
        add_peer(&mut net, number, |peer| {
            peer.book.records.insert(base_key().octets().to_vec(), value.clone());
            peer.book.closer = vec![contact(number + 1)];
        });
    }
    let client = add_client(&mut net, config(&[7]), &[bootstrap(1)]);
    assert!(net.run_until(secs(10), |net| is_searched(net, client)));
    let report = net.machine_of::<WideClient>(client).dht().report();
    assert_eq!(report.nothing(), Some(Nothing::AllRefused), "{report}");
    assert_eq!(refusals(&net, client).len(), bad.len());
}

#[test]
fn a_provider_whose_record_was_overwritten_is_asked_itself() {
    let mut net = network(10);
    add_peer(&mut net, 1, |peer| {
        peer.book.records.insert(base_key().octets().to_vec(), record(66, |_| {}));
        let named = vec![contact(66), contact(7)];
        peer.book.providers.insert(base_key().provider_key().to_vec(), named);
    });
    let provider = add_peer(&mut net, 7, |peer| {
        peer.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
    });
    let stranger = add_peer(&mut net, 66, |_| {});
    let client = add_client(&mut net, config(&[7]), &[bootstrap(1)]);
    assert!(net.run_until(secs(10), |net| is_searched(net, client)));
    let best = net.machine_of::<WideClient>(client).best().unwrap();
    assert_eq!(best.source(), Source::Dht { responder: peer(7), direct: true });
    assert_eq!(accepted_at(&net, client), Some(ROUND_TRIP * 6), "three more round trips");
    assert_eq!(refusals(&net, client), ["E-UNTRUSTED"]);
    assert_eq!(net.tcp_traffic(provider).accepted, 1);
    assert_eq!(net.tcp_traffic(stranger).accepted, 0, "nobody dials whom nobody trusts");
}

#[test]
fn the_sub_key_of_a_pinned_provider_is_looked_up_when_all_else_fails() {
    let mut net = network(11);
    add_peer(&mut net, 1, |peer| {
        peer.book.records.insert(base_key().octets().to_vec(), record(66, |_| {}));
        let sub_key = base_key().of(self::peer(7)).octets().to_vec();
        peer.book.records.insert(sub_key, record(7, |_| {}));
    });
    let client = add_client(&mut net, config(&[6, 7]), &[bootstrap(1)]);
    assert!(net.run_until(secs(10), |net| is_searched(net, client)));
    let best = net.machine_of::<WideClient>(client).best().unwrap();
    assert_eq!(best.peer(), Some(&peer(7)));
}

#[test]
fn the_raw_key_is_asked_for_providers_too() {
    let mut net = network(12);
    add_peer(&mut net, 1, |peer| {
        let named = vec![contact(7)];
        peer.book.providers.insert(base_key().octets().to_vec(), named);
    });
    add_peer(&mut net, 7, |peer| {
        peer.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
    });
    let client = add_client(&mut net, config(&[7]), &[bootstrap(1)]);
    assert!(net.run_until(secs(10), |net| is_searched(net, client)));
    assert!(accepted_at(&net, client).is_some());
}

#[test]
fn a_peer_that_lies_about_others_costs_a_bounded_time() {
    let mut net = network(13);
    add_peer(&mut net, 1, |peer| peer.book.closer = (100..=119).map(contact).collect());
    add_peer(&mut net, 2, |peer| {
        peer.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
    });
    for number in 100..=119 {
        let host = add_peer(&mut net, number, |_| {});
        net.set_door(host, Door::Silent);
    }
    let client = add_client(&mut net, config(&[7]), &[bootstrap(1), bootstrap(2)]);
    assert!(net.run_until(secs(10), |net| accepted_at(net, client).is_some()));
    assert!(accepted_at(&net, client).unwrap() < secs(1), "{:?}", accepted_at(&net, client));
    // Alone, it keeps a search busy until its time is over, and no longer.
    let client = {
        let mut net = network(14);
        add_peer(&mut net, 1, |peer| peer.book.closer = (100..=119).map(contact).collect());
        let client = add_client(&mut net, config(&[7]), &[bootstrap(1)]);
        assert!(net.run_until(secs(11), |net| is_searched(net, client)));
        let report = net.machine_of::<WideClient>(client).dht().report().to_string();
        assert!(report.contains("no peer has a record"), "{report}");
        net.tcp_traffic(client).dials
    };
    assert!(client <= 64, "{client}");
}

#[test]
fn peers_that_reset_or_hang_are_passed_by() {
    for manner in [Manner::Resets, Manner::Hangs] {
        let mut net = network(15);
        add_peer(&mut net, 1, |peer| peer.book.closer = vec![contact(2), contact(3)]);
        add_peer(&mut net, 2, |peer| peer.book.manner = manner);
        add_peer(&mut net, 3, |peer| {
            peer.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
        });
        let client = add_client(&mut net, config(&[7]), &[bootstrap(1)]);
        assert!(net.run_until(secs(10), |net| is_searched(net, client)));
        let at = accepted_at(&net, client);
        assert!(at.is_some_and(|at| at <= ROUND_TRIP * 6), "{at:?}");
    }
}

#[test]
fn octets_one_at_a_time_and_room_for_one_change_nothing() {
    let mut net = network(16);
    let latency = (millis(1), millis(1));
    net.set_tcp(TcpConditions {
        latency,
        cut: Some((1, 1)),
        window: 1,
        ..TcpConditions::default()
    });
    add_peer(&mut net, 1, |peer| {
        peer.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
    });
    let client = add_client(&mut net, config(&[7]), &[bootstrap(1)]);
    assert!(net.run_until(secs(10), |net| accepted_at(net, client).is_some()));
}

#[test]
fn a_connection_may_be_lost_at_any_time() {
    for cut_at in 0..80 {
        let mut net = network(17);
        add_peer(&mut net, 1, |peer| peer.book.closer = vec![contact(2)]);
        add_peer(&mut net, 2, |peer| {
            peer.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
        });
        let client = add_client(&mut net, config(&[7]), &[bootstrap(1), bootstrap(2)]);
        net.run(millis(cut_at * 10));
        for (connection, _) in net.connections(client) {
            net.reset(client, connection);
        }
        // If this search came to nothing, the next one does not.
        assert!(net.run_until(secs(30), |net| accepted_at(net, client).is_some()), "{cut_at}");
    }
}

#[test]
fn a_network_that_resets_everything_now_and_then_is_searched_until_something_is_found() {
    for number in 0..20 {
        let mut net = network(100 + number);
        net.set_tcp(TcpConditions { reset: 0.1, loss: 0.1, ..TcpConditions::default() });
        for number in 1..=5 {
            add_peer(&mut net, number, |peer| {
                peer.book.closer = (1..=5).map(contact).collect();
                if number > 3 {
                    peer.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
                }
            });
        }
        let bootstraps = [bootstrap(1), bootstrap(2), bootstrap(3)];
        let client = add_client(&mut net, config(&[7]), &bootstraps);
        assert!(net.run_until(secs(300), |net| accepted_at(net, client).is_some()), "{number}");
    }
}

#[test]
fn a_search_that_found_nothing_is_done_again_with_growing_pauses() {
    let mut net = network(18);
    add_peer(&mut net, 1, |_| {});
    let client = add_client(&mut net, config(&[7]), &[bootstrap(1)]);
    net.run(secs(200));
    let ended: Vec<_> = told(&net, client)
        .iter()
        .filter(|(_, e)| *e == Event::Searched)
        .map(|(at, _)| *at)
        .collect();
    let pauses: Vec<_> = ended.windows(2).map(|two| two[1].since(two[0]).as_secs()).collect();
    assert_eq!(pauses[..4], [5, 10, 20, 40], "{pauses:?}");
}

#[test]
fn a_client_that_watches_asks_again_after_half_the_lifetime() {
    let mut net = network(19);
    let host = add_peer(&mut net, 1, |peer| {
        peer.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
    });
    let config = Config { mode: Mode::Watch, ..config(&[7]) };
    let client = add_client(&mut net, config, &[bootstrap(1)]);
    net.run(secs(1700));
    assert_eq!(net.tcp_traffic(host).accepted, 1);
    net.with_machine(host, |_, peer: &mut DhtPeer| {
        peer.book.records.insert(base_key().octets().to_vec(), record(7, |a| a.seq = 11));
    });
    net.run(secs(110));
    assert_eq!(net.tcp_traffic(host).accepted, 2);
    let best = net.machine_of::<WideClient>(client).best().unwrap();
    assert_eq!(best.advert().unwrap().seq, 11);
}

#[test]
fn all_carriers_ask_to_the_end_and_list_every_provider() {
    let mut net = network(20);
    for number in 1..=6 {
        add_peer(&mut net, number, |peer| {
            peer.book.closer = vec![contact(number + 1)];
            peer.book.records.insert(base_key().octets().to_vec(), record(number, |_| {}));
        });
    }
    add_peer(&mut net, 7, |_| {});
    let config = Config { carriers: Carriers::All, ..config(&[1, 2, 3, 4, 5, 6]) };
    let client = add_client(&mut net, config, &[bootstrap(1)]);
    assert!(net.run_until(secs(10), |net| is_searched(net, client)));
    let machine = net.machine_of::<WideClient>(client);
    assert_eq!(machine.candidates().filter(|c| c.is_accepted()).count(), 6);
}

#[test]
fn peers_that_accept_and_say_nothing_do_not_hold_up_the_others() {
    let mut net = network(21);
    add_peer(&mut net, 1, |peer| peer.book.closer = (2..=12).map(contact).collect());
    for number in 2..=11 {
        net.machine(Babbler::new(b""), &[ip(number)], Door::Open(PORT));
    }
    add_peer(&mut net, 12, |peer| {
        peer.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
    });
    let client = add_client(&mut net, config(&[7]), &[bootstrap(1)]);
    assert!(net.run_until(secs(10), |net| accepted_at(net, client).is_some()));
}

#[test]
fn false_addresses_of_a_provider_do_not_hide_it() {
    let mut net = network(22);
    // The first answer names the provider at the addresses of others, the second one where it is.
    let lies: Addresses = (100..104).map(address).collect();
    add_peer(&mut net, 1, |peer| {
        let named = vec![Contact { peer: self::peer(7), addresses: lies }];
        peer.book.providers.insert(base_key().provider_key().to_vec(), named);
        peer.book.closer = vec![contact(2)];
    });
    let slow = add_peer(&mut net, 2, |peer| {
        peer.book.providers.insert(base_key().provider_key().to_vec(), vec![contact(7)]);
    });
    net.set_distance(slow, millis(150));
    for number in 100..104 {
        add_peer(&mut net, number, |_| {});
    }
    add_peer(&mut net, 7, |peer| {
        peer.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
    });
    let client = add_client(&mut net, config(&[7]), &[bootstrap(1)]);
    assert!(net.run_until(secs(10), |net| accepted_at(net, client).is_some()));
}

#[test]
fn without_bootstraps_a_client_waits_for_one() {
    let mut net = network(23);
    add_peer(&mut net, 1, |peer| {
        peer.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
    });
    let client = add_client(&mut net, config(&[7]), &[]);
    net.run(secs(5));
    assert!(!is_searched(&net, client));
    let nothing = net.machine_of::<WideClient>(client).dht().report().nothing();
    assert_eq!(nothing, Some(Nothing::NoBootstrap));
    net.with_machine(client, |now, machine: &mut WideClient| {
        machine.dht_mut().add_bootstrap(now, bootstrap(1)).unwrap();
        machine.handle_input(now, Input::Timeout);
    });
    assert!(net.run_until(ROUND_TRIP * 3, |net| accepted_at(net, client).is_some()));
}

#[test]
fn the_report_has_a_line_for_each_step_and_a_last_one_that_says_why() {
    let mut net = network(24);
    let refuses = add_peer(&mut net, 1, |_| {});
    net.set_door(refuses, Door::Refuses);
    add_peer(&mut net, 2, |peer| {
        peer.book.closer = vec![contact(3)];
        peer.book.providers.insert(base_key().provider_key().to_vec(), vec![contact(66)]);
    });
    add_peer(&mut net, 3, |peer| peer.book.manner = Manner::Resets);
    let named = format!("/ip4/203.0.113.2/tcp/4001/p2p/{}", peer(2));
    let named = Bootstrap::new(&named, [address(2)], Some(peer(2)));
    let client = add_client(&mut net, config(&[7]), &[bootstrap(1), named]);
    assert!(net.run_until(secs(10), |net| is_searched(net, client)));
    let report = net.machine_of::<WideClient>(client).dht().report().to_string();
    let (two, three) = (peer(2), peer(3));
    let expected = format!(
        "bootstrap /ip4/203.0.113.1/tcp/4001: 203.0.113.1:4001: connection refused\n\
         bootstrap /ip4/203.0.113.2/tcp/4001/p2p/{two}: {two} answered\n\
         asked 3 peers: 1 answered, 2 did not\n\
         the last one that did not: {three} 203.0.113.3:4001: the remote refused the request\n\
         1 provider named, 0 asked for their own record\n\
         0 records, 0 accepted\n\
         no peer has a record; check channel and architecture, and that a provider publishes into this DHT"
    );
    assert_eq!(report, expected);
}

/// A client on a LAN that also knows a bootstrap, with the carriers and the mode.
fn add_client_on_lan(
    network: &mut Network,
    lan: SegmentId,
    carriers: Carriers,
    mode: Mode,
) -> HostId {
    let now = network.now();
    let clock = Some(EPOCH.plus(now.as_micros() / 1_000_000));
    let config = Config { carriers, mode, clock, ..config(&[1, 7]) };
    let client = new_client(now, config, &[bootstrap(1)]);
    network.host(Station::Node(Box::new(Recorded::new(client))), &[lan])
}

/// A LAN and a DHT that has what provider 7 publishes.
fn lan_and_dht(seed: u64) -> (Network, SegmentId, HostId) {
    let mut net = network(seed);
    let lan = net.segment(Conditions::default());
    let dht = add_peer(&mut net, 1, |peer| {
        peer.book.records.insert(base_key().octets().to_vec(), record(7, |_| {}));
    });
    (net, lan, dht)
}

#[test]
fn auto_leaves_the_dht_alone_when_the_lan_answers() {
    let (mut net, lan, _) = lan_and_dht(30);
    add_provider(&mut net, 1, &[lan]);
    net.run(secs(60));
    let client = add_client_on_lan(&mut net, lan, Carriers::Auto, Mode::OneShot);
    net.run(secs(20));
    assert_eq!(net.tcp_traffic(client).dials, 0);
    let best = net.machine_of::<WideClient>(client).best().unwrap();
    assert!(matches!(best.source(), Source::Lan(_)));
}

#[test]
fn auto_asks_the_dht_too_after_the_head_start() {
    let (mut net, lan, _) = lan_and_dht(31);
    let client = add_client_on_lan(&mut net, lan, Carriers::Auto, Mode::OneShot);
    net.run(HEAD_START - millis(1));
    assert_eq!(net.tcp_traffic(client).dials, 0);
    assert!(net.run_until(secs(5), |net| accepted_at(net, client).is_some()));
    assert_eq!(accepted_at(&net, client), Some(HEAD_START + ROUND_TRIP * 3));
}

#[test]
fn the_other_carriers_use_what_they_name() {
    for (carriers, lan_used, dht_used) in
        [(Carriers::Lan, true, false), (Carriers::Wan, false, true), (Carriers::All, true, true)]
    {
        let (mut net, lan, _) = lan_and_dht(32);
        add_provider(&mut net, 1, &[lan]);
        net.run(secs(60));
        let client = add_client_on_lan(&mut net, lan, carriers, Mode::OneShot);
        net.run(secs(20));
        let machine = net.machine_of::<WideClient>(client);
        let has = |is_it: &dyn Fn(&Source) -> bool| {
            machine.candidates().any(|c| c.is_accepted() && is_it(&c.source()))
        };
        assert_eq!(has(&|source| matches!(source, Source::Lan(_))), lan_used, "{carriers:?}");
        assert_eq!(has(&|source| matches!(source, Source::Dht { .. })), dht_used, "{carriers:?}");
        let sent = machine.stats().datagrams_sent;
        assert_eq!(sent > 0, lan_used, "{carriers:?}: {sent} datagrams");
    }
}

#[test]
fn auto_ends_the_search_when_the_lan_answers_late_and_resumes_it_when_the_lan_falls_silent() {
    let (mut net, lan, dht) = lan_and_dht(33);
    net.set_distance(dht, secs(1));
    let client = add_client_on_lan(&mut net, lan, Carriers::Auto, Mode::Watch);
    net.run(millis(1000));
    assert_eq!(net.connections(client).len(), 1, "the search is under way");
    let provider = add_provider(&mut net, 1, &[lan]);
    assert!(net.run_until(secs(20), |net| accepted_at(net, client).is_some()));
    let lan_only = |net: &Network| {
        let machine = net.machine_of::<WideClient>(client);
        machine.best().is_some_and(|best| matches!(best.source(), Source::Lan(_)))
    };
    assert!(net.run_until(secs(20), lan_only));
    net.run(secs(3));
    assert!(net.connections(client).is_empty(), "and now it is not");
    let dials = net.tcp_traffic(client).dials;
    net.run(secs(1000));
    assert_eq!(net.tcp_traffic(client).dials, dials, "nor does it begin again");
    net.unplug(provider);
    net.set_distance(dht, Duration::ZERO);
    let from_dht = |net: &Network| {
        let machine = net.machine_of::<WideClient>(client);
        machine.best().is_some_and(|best| matches!(best.source(), Source::Dht { .. }))
    };
    assert!(net.run_until(secs(8000), from_dht));
}

#[test]
fn of_one_provider_on_both_carriers_the_lan_is_kept_whichever_text_is_later() {
    for in_dht in [1, u64::from(u32::MAX) * 2] {
        let (mut net, lan, dht) = lan_and_dht(34);
        // The same image: version and digest are those of the one on the LAN.
        let same = image("stable", "arm64", "2026.01.01");
        net.with_machine(dht, |_, peer: &mut DhtPeer| {
            let value = record(1, |advert| {
                advert.seq = in_dht;
                advert.version = same.version.clone();
                advert.digest = Some(same.digest);
            });
            peer.book.records.insert(base_key().octets().to_vec(), value);
        });
        // The DHT answers first.
        let client = add_client_on_lan(&mut net, lan, Carriers::All, Mode::Watch);
        net.run(secs(5));
        let source = |net: &Network| {
            net.machine_of::<WideClient>(client).best().map(phase_core::client::Candidate::source)
        };
        assert!(matches!(source(&net), Some(Source::Dht { .. })));
        add_provider(&mut net, 1, &[lan]);
        net.run(secs(30));
        assert!(matches!(source(&net), Some(Source::Lan(_))), "{in_dht}: {:?}", source(&net));
        net.run(secs(3000));
        assert!(matches!(source(&net), Some(Source::Lan(_))), "{in_dht}: {:?}", source(&net));
        let machine = net.machine_of::<WideClient>(client);
        assert_eq!(machine.candidates().filter(|c| c.is_accepted()).count(), 1);
    }
}

#[test]
fn a_chain_of_ever_nearer_peers_is_not_followed_for_ever() {
    let mut net = network(27);
    let latency = (millis(2), millis(2));
    net.set_tcp(TcpConditions { latency, ..TcpConditions::default() });
    // Each tells of one that is nearer to the key.
    let target = Key::of(&base_key().octets());
    let mut numbers: Vec<u64> = (1..=120).collect();
    numbers.sort_by_key(|number| Reverse(target.distance(&Key::of_peer(&peer(*number)))));
    for two in numbers.windows(2) {
        add_peer(&mut net, two[0], |peer| peer.book.closer = vec![contact(two[1])]);
    }
    let client = add_client(&mut net, config(&[7]), &[bootstrap(numbers[0])]);
    assert!(net.run_until(secs(5), |net| is_searched(net, client)), "before its time is over");
    let report = net.machine_of::<WideClient>(client).dht().report();
    assert!((22..=64).contains(&report.counts().asked), "{report}");
}
