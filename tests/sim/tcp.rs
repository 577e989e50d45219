//! The simulated TCP itself, with a machine that says something and one that says it back.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use phase_core::limits::TRANSMIT_MAX;
use phase_core::machine::{
    CloseReason, ConnectionId, ConnectionInput, ConnectionOutput, Input, Machine, Output,
    TransmitBuffer,
};
use phase_core::time::Instant;
use phase_tests::harness::{Door, HostId, Network, Recorded, Station, TcpConditions};

use crate::secs;

const PORT: u16 = 4001;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Connected,
    Accepted(SocketAddr),
    Heard(usize),
    Closed(CloseReason),
}

#[derive(Debug, Default)]
struct Wire {
    unsent: VecDeque<u8>,
    heard: Vec<u8>,
    room: usize,
    closing: bool,
}

/// Says `words` on each connection it dials, says back what it hears on those it accepts, and closes a dialled one
/// when all has come back.
#[derive(Debug)]
struct Echo {
    words: Vec<u8>,
    wires: BTreeMap<ConnectionId, Wire>,
    outputs: VecDeque<(ConnectionId, ConnectionOutput)>,
    events: VecDeque<(ConnectionId, Told)>,
    dialed: u32,
}

impl Echo {
    fn new(words: &[u8]) -> Self {
        Self {
            words: words.to_vec(),
            wires: BTreeMap::new(),
            outputs: VecDeque::new(),
            events: VecDeque::new(),
            dialed: 0,
        }
    }

    fn dial(&mut self, remote: SocketAddr) -> ConnectionId {
        let id = ConnectionId::Dialed(self.dialed);
        self.dialed += 1;
        self.wires
            .insert(id, Wire { unsent: self.words.iter().copied().collect(), ..Wire::default() });
        self.outputs.push_back((id, ConnectionOutput::Connect { remote }));
        id
    }
}

impl Machine for Echo {
    type Event = (ConnectionId, Told);

    fn handle_input(&mut self, _now: Instant, input: Input<'_>) {
        let Input::Connection(id, input) = input else { return };
        if matches!(input, ConnectionInput::Accepted { .. }) {
            assert!(self.wires.insert(id, Wire::default()).is_none(), "{id:?} is new");
        }
        let wire = self.wires.get_mut(&id).expect("nothing is said of a connection that is over");
        let told = match input {
            ConnectionInput::Connected => Told::Connected,
            ConnectionInput::Accepted { remote } => Told::Accepted(remote),
            ConnectionInput::Received(octets) => {
                assert!(!octets.is_empty());
                wire.heard.extend(octets);
                match id {
                    ConnectionId::Dialed(_) => wire.closing = wire.heard.len() == self.words.len(),
                    ConnectionId::Accepted(_) => wire.unsent.extend(octets),
                }
                Told::Heard(octets.len())
            }
            ConnectionInput::Writable { room } => {
                assert!(room > 0);
                wire.room = room;
                return;
            }
            ConnectionInput::Closed(reason) => {
                if let ConnectionId::Accepted(_) = id {
                    self.wires.remove(&id);
                }
                Told::Closed(reason)
            }
        };
        self.events.push_back((id, told));
    }

    fn poll_output(&mut self, buf: &mut TransmitBuffer) -> Output<Self::Event> {
        if let Some((id, output)) = self.outputs.pop_front() {
            return Output::Connection(id, output);
        }
        for (id, wire) in &mut self.wires {
            let len = wire.unsent.len().min(wire.room).min(TRANSMIT_MAX);
            if len > 0 {
                for (place, octet) in buf.iter_mut().zip(wire.unsent.drain(..len)) {
                    *place = octet;
                }
                wire.room -= len;
                return Output::Connection(*id, ConnectionOutput::Send { len });
            }
            if std::mem::take(&mut wire.closing) {
                return Output::Connection(*id, ConnectionOutput::Close);
            }
        }
        self.events.pop_front().map_or(Output::Timeout(None), Output::Event)
    }
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([203, 0, 113, last])
}

fn words(count: usize) -> Vec<u8> {
    (0..count).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect()
}

/// Two hosts, of which the first has dialled the second.
fn pair(
    seed: u64,
    count: usize,
    conditions: TcpConditions,
) -> (Network, HostId, HostId, ConnectionId) {
    let mut network = Network::new(seed);
    network.set_tcp(conditions);
    let a = network.machine(Echo::new(&words(count)), &[ip(1)], Door::Silent);
    let b = network.machine(Echo::new(&[]), &[ip(2)], Door::Open(PORT));
    let remote = network.listens_at(b)[0];
    let id = network.with_machine(a, |_, m: &mut Echo| m.dial(remote));
    (network, a, b, id)
}

fn heard(network: &Network, host: HostId, id: ConnectionId) -> &[u8] {
    &network.machine_of::<Echo>(host).wires[&id].heard
}

fn last(network: &Network, host: HostId) -> Option<Told> {
    network.told_by::<Echo>(host).last().map(|(_, (_, told))| *told)
}

#[test]
fn what_is_said_comes_back_however_it_is_cut() {
    let ms = Duration::from_millis;
    for (cut, window) in
        [(None, 65_536), (Some((1, 1)), 65_536), (Some((1, 9)), 7), (Some((1, 3000)), 1), (None, 1)]
    {
        for (loss, latency) in [(0.0, (ms(5), ms(5))), (0.1, (ms(0), ms(40)))] {
            let conditions = TcpConditions { latency, cut, window, loss, reset: 0.0 };
            let (mut network, a, b, id) = pair(7, 400, conditions);
            network.run(secs(600));
            assert_eq!(heard(&network, a, id), words(400), "{conditions:?}");
            assert_eq!(last(&network, b), Some(Told::Closed(CloseReason::Ended)), "{conditions:?}");
            assert_eq!(network.connection_count(), 0);
            if let Some((_, most)) = cut {
                let told = network.told_by::<Echo>(b).iter();
                let sizes = told.filter_map(|(_, (_, t))| match t {
                    Told::Heard(len) => Some(*len),
                    Told::Connected | Told::Accepted(_) | Told::Closed(_) => None,
                });
                assert!(sizes.max() <= Some(most));
            }
        }
    }
}

#[test]
fn a_connection_is_there_after_one_round_trip_and_octets_have_returned_after_two() {
    let latency = (Duration::from_millis(50), Duration::from_millis(50));
    let (mut network, a, b, _) = pair(1, 10, TcpConditions { latency, ..TcpConditions::default() });
    network.run(secs(1));
    let at = |host| {
        let told = network.told_by::<Echo>(host).iter();
        told.map(|(at, (_, told))| (at.as_micros() / 1000, *told)).collect::<Vec<_>>()
    };
    assert_eq!(at(a), [(100, Told::Connected), (200, Told::Heard(10))]);
    let remote = SocketAddr::new(ip(1), 32_768);
    let ended = Told::Closed(CloseReason::Ended);
    assert_eq!(at(b), [(150, Told::Accepted(remote)), (150, Told::Heard(10)), (250, ended)]);
    let (dialer, listener) = (network.tcp_traffic(a), network.tcp_traffic(b));
    assert_eq!((dialer.dials, dialer.connected, dialer.sends, dialer.octets_sent), (1, 1, 1, 10));
    assert_eq!((listener.accepted, listener.octets_received, listener.octets_sent), (1, 10, 10));
}

#[test]
fn dials_fail_as_they_do_in_the_world() {
    let check = |remote: SocketAddr, door, reason, after: std::ops::RangeInclusive<u64>| {
        let mut network = Network::new(1);
        let a = network.machine(Echo::new(b"hello"), &[ip(1)], Door::Silent);
        network.machine(Echo::new(&[]), &[ip(2)], door);
        network.set_nowhere(ip(3));
        network.with_machine(a, |_, m: &mut Echo| m.dial(remote));
        network.run(secs(200));
        let told = network.told_by::<Echo>(a);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].1.1, Told::Closed(reason));
        assert!(after.contains(&(told[0].0.as_micros() / 1000)), "{remote}: {told:?}");
        assert_eq!(network.connection_count(), 0);
    };
    let at = |last| SocketAddr::new(ip(last), PORT);
    check(at(2), Door::Refuses, CloseReason::Refused, 18..=22);
    check(at(2), Door::Open(PORT + 1), CloseReason::Refused, 18..=22);
    check(at(2), Door::Silent, CloseReason::TimedOut, 127_000..=127_020);
    check(at(9), Door::Silent, CloseReason::TimedOut, 127_000..=127_020);
    check(at(3), Door::Silent, CloseReason::Unreachable, 0..=0);
    let v6 = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], PORT));
    check(v6, Door::Silent, CloseReason::Unreachable, 0..=0);
}

#[test]
fn a_connection_can_be_lost_at_every_step() {
    let conditions = TcpConditions { cut: Some((1, 20)), window: 30, ..TcpConditions::default() };
    let mut lost = 0;
    for steps in 1.. {
        let (mut network, a, b, id) = pair(3, 100, conditions);
        if (0..steps).any(|_| !network.single_step(secs(1))) {
            break;
        }
        let open = |n: &Network, host| n.connections(host).len();
        if open(&network, a) == 0 {
            continue;
        }
        let accepted = open(&network, b) == 1;
        network.reset(a, id);
        network.run(secs(10));
        assert_eq!(last(&network, a), Some(Told::Closed(CloseReason::Reset)), "step {steps}");
        if accepted {
            assert_eq!(last(&network, b), Some(Told::Closed(CloseReason::Reset)), "step {steps}");
        }
        assert_eq!((open(&network, a), open(&network, b), network.connection_count()), (0, 0, 0));
        lost += 1;
    }
    assert!(lost > 20, "{lost}");
}

#[test]
fn segments_may_reset_by_chance() {
    let conditions = TcpConditions { reset: 0.05, cut: Some((1, 20)), ..TcpConditions::default() };
    let outcome = |seed| {
        let (mut network, a, ..) = pair(seed, 100, conditions);
        network.run(secs(10));
        assert_eq!(network.connection_count(), 0, "seed {seed}");
        last(&network, a)
    };
    let reset = |seed: &u64| outcome(*seed) == Some(Told::Closed(CloseReason::Reset));
    let resets = (0..100).filter(reset).count();
    assert!((20..90).contains(&resets), "{resets}");
}

#[test]
fn a_silent_death_is_noticed_by_who_sends() {
    let (mut network, a, b, id) = pair(1, 100, TcpConditions::default());
    network.run(Duration::from_millis(25));
    network.silence(a, id);
    network.run(secs(900));
    assert_eq!(last(&network, a), Some(Told::Connected));
    network.run(secs(60));
    assert_eq!(last(&network, a), Some(Told::Closed(CloseReason::TimedOut)));
    assert_eq!(network.told_by::<Echo>(b), []);
}

#[test]
fn a_sea_between_islands_delays_what_it_does_not_lose() {
    let (mut network, a, b, id) = pair(1, 100, TcpConditions::default());
    network.run(Duration::from_millis(25));
    network.set_island(b, 1);
    network.run(secs(60));
    assert_eq!(last(&network, a), Some(Told::Connected));
    network.set_island(b, 0);
    network.run(secs(120));
    assert_eq!(heard(&network, a, id), words(100));
}

#[test]
fn who_restarts_does_not_know_its_connections() {
    let (mut network, a, b, _) =
        pair(1, 100, TcpConditions { window: 10, ..TcpConditions::default() });
    network.run(Duration::from_millis(45));
    assert_eq!(network.connections(b).len(), 1);
    network.restart(b, Station::Node(Box::new(Recorded::new(Echo::new(&[])))));
    network.run(secs(10));
    assert_eq!(last(&network, a), Some(Told::Closed(CloseReason::Reset)));
    assert_eq!(network.told_by::<Echo>(b), []);
    let remote = network.listens_at(b)[0];
    let again = network.with_machine(a, |_, m: &mut Echo| m.dial(remote));
    network.run(secs(10));
    assert_eq!(heard(&network, a, again), words(100));
}

#[test]
fn the_same_seed_gives_the_same_connections() {
    let run = |seed| {
        let ms = Duration::from_millis;
        let cut = Some((1, 50));
        let conditions =
            TcpConditions { latency: (ms(1), ms(90)), cut, window: 100, loss: 0.05, reset: 0.002 };
        let (mut network, a, b, _) = pair(seed, 2000, conditions);
        network.run(secs(600));
        (network.told_by::<Echo>(a).to_vec(), network.told_by::<Echo>(b).to_vec())
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
