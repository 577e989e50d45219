//! The client with its part of the DHT under random connections, octets, links and times.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use phase_core::client::{Carriers, Client, Config, Mode};
use phase_core::dht::finder::{Bootstrap, Finder, SmallFinder, SmallSlot};
use phase_core::limits::TRANSMIT_MAX;
use phase_core::machine::{
    CloseReason, ConnectionId, ConnectionInput, ConnectionOutput, Family, Input, Link, LinkId,
    Machine as _, Output, Wake,
};
use phase_core::rng::{Rng, Seed};
use phase_core::time::Instant;
use phase_core::wire::record::{Arch, Channel};
use phase_tests::scripted::network;

type Wide = Client<SmallFinder<Box<[SmallSlot]>>>;

/// More outputs than any input may cause.
const OUTPUTS_MAX: usize = 4096;

/// What a machine gave out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Given {
    Datagram(Vec<u8>),
    Connection(ConnectionId, ConnectionOutput, Vec<u8>),
    Event(String),
}

/// A connection as a driver knows it.
#[derive(Clone, Copy, Debug)]
struct Wire {
    id: ConnectionId,
    connected: bool,
    room: usize,
}

/// A driver that tells a machine what a script of random numbers says, and holds it to the contract.
struct Driver {
    client: Box<Wide>,
    now: Instant,
    wake: Option<Wake>,
    wires: Vec<Wire>,
    dialed: u32,
    accepted: u32,
    given: Vec<(Instant, Given)>,
}

impl Driver {
    fn new(carriers: Carriers, mode: Mode) -> Self {
        let (channel, arch) = (Channel::new("stable").unwrap(), Arch::new("arm64").unwrap());
        let seed = Seed([9; 32]);
        let config = Config { carriers, mode, ..Config::new(seed, channel.clone(), arch.clone()) };
        let slots = (0..3).map(|_| SmallSlot::new()).collect();
        let mut finder = Finder::new(Instant::ZERO, &seed, slots, channel, arch);
        for last in 1..=4 {
            let address = SocketAddr::new(IpAddr::from([203, 0, 113, last]), 4001);
            finder.add_bootstrap(Instant::ZERO, Bootstrap::new("b", [address], None)).unwrap();
        }
        let client = Box::new(Client::with_dht(Instant::ZERO, config, finder));
        let mut driver = Self {
            client,
            now: Instant::ZERO,
            wake: None,
            wires: Vec::new(),
            dialed: 0,
            accepted: 0,
            given: Vec::new(),
        };
        driver.drain();
        driver
    }

    fn input(&mut self, input: Input<'_>) {
        let served = matches!(input, Input::Timeout) && self.wake.is_some_and(|w| w.at <= self.now);
        self.client.handle_input(self.now, input);
        self.drain();
        if served {
            let later = self.wake.is_none_or(|wake| wake.at > self.now);
            assert!(later, "{:?} at {:?}: the next wake is not later", self.wake, self.now);
        }
    }

    fn drain(&mut self) {
        let mut buf = [0xa5; TRANSMIT_MAX];
        for _ in 0..OUTPUTS_MAX {
            let given = match self.client.poll_output(&mut buf) {
                Output::Transmit(transmit) => Given::Datagram(buf[..transmit.len].to_vec()),
                Output::Event(event) => Given::Event(format!("{event:?}")),
                Output::Connection(id, what) => {
                    let octets = self.connection(id, what, &buf);
                    Given::Connection(id, what, octets)
                }
                Output::Timeout(wake) => {
                    assert_eq!(
                        self.client.poll_output(&mut buf),
                        Output::Timeout(wake),
                        "idempotent"
                    );
                    self.wake = wake;
                    return;
                }
            };
            self.given.push((self.now, given));
        }
        panic!("the client does not drain");
    }

    /// Holds what is done with a connection to the contract; the octets that are sent.
    fn connection(&mut self, id: ConnectionId, what: ConnectionOutput, buf: &[u8]) -> Vec<u8> {
        let at = self.wires.iter().position(|wire| wire.id == id);
        match what {
            ConnectionOutput::Connect { .. } => {
                assert_eq!(id, ConnectionId::Dialed(self.dialed), "numbers are given in order");
                self.dialed += 1;
                self.wires.push(Wire { id, connected: false, room: 0 });
                assert!(self.wires.len() <= 32, "connections are bounded");
                Vec::new()
            }
            ConnectionOutput::Send { len } => {
                let wire = &mut self.wires[at.expect("a connection that is there")];
                assert!(wire.connected && len > 0 && len <= wire.room, "{len} of {}", wire.room);
                wire.room -= len;
                buf[..len].to_vec()
            }
            ConnectionOutput::Close => {
                self.wires.remove(at.expect("a connection that is there"));
                Vec::new()
            }
        }
    }

    /// Does one random thing.
    fn step(&mut self, rng: &mut Rng) {
        let draw = |rng: &mut Rng, below: u16| rng.u16() % below;
        let pick = |rng: &mut Rng, wires: &[Wire]| {
            let count = u16::try_from(wires.len()).unwrap();
            (count > 0).then(|| wires[usize::from(draw(rng, count))])
        };
        match draw(rng, 12) {
            0..=2 => {
                // What is told first of a new connection.
                let Some(wire) = self.wires.iter_mut().find(|wire| !wire.connected) else { return };
                wire.connected = true;
                let (id, room) = (wire.id, usize::from(draw(rng, 400)) + 1);
                self.input(Input::Connection(id, ConnectionInput::Connected));
                self.grant(id, room);
            }
            3..=5 => {
                let Some(wire) = pick(rng, &self.wires).filter(|wire| wire.connected) else {
                    return;
                };
                let octets = babble(rng);
                self.input(Input::Connection(wire.id, ConnectionInput::Received(&octets)));
            }
            6 => {
                let Some(wire) = pick(rng, &self.wires).filter(|wire| wire.connected) else {
                    return;
                };
                self.grant(wire.id, usize::from(draw(rng, 2000)) + 1);
            }
            7 => {
                let Some(wire) = pick(rng, &self.wires) else { return };
                self.wires.retain(|one| one.id != wire.id);
                let reasons = [CloseReason::Refused, CloseReason::TimedOut, CloseReason::Reset];
                let reason = reasons[usize::from(draw(rng, 3))];
                self.input(Input::Connection(wire.id, ConnectionInput::Closed(reason)));
            }
            8 => {
                let id = ConnectionId::Accepted(self.accepted);
                self.accepted += 1;
                self.wires.push(Wire { id, connected: true, room: 0 });
                let remote = SocketAddr::new(IpAddr::from([198, 51, 100, 1]), 5);
                self.input(Input::Connection(id, ConnectionInput::Accepted { remote }));
            }
            9 => {
                let networks =
                    [network(["192.0.2.1/24", "198.51.100.7/24"][usize::from(draw(rng, 2))])];
                let id = LinkId { interface: 1, family: Family::V4 };
                self.input(Input::LinkUp(Link { id, mtu: 1500, networks: &networks }));
            }
            10 => self.now += Duration::from_millis(u64::from(draw(rng, 400))),
            _ => {
                if let Some(wake) = self.wake {
                    self.now = self.now.max(wake.at);
                }
                self.input(Input::Timeout);
            }
        }
        if self.wake.is_some_and(|wake| wake.at < self.now) {
            self.input(Input::Timeout);
        }
    }

    fn grant(&mut self, id: ConnectionId, room: usize) {
        if let Some(wire) = self.wires.iter_mut().find(|wire| wire.id == id) {
            wire.room = room;
            self.input(Input::Connection(id, ConnectionInput::Writable { room }));
        }
    }
}

/// What a remote may say: what a listener begins with, or anything.
fn babble(rng: &mut Rng) -> Vec<u8> {
    match rng.u16() % 4 {
        0 => b"\x13/multistream/1.0.0\n\x07/noise\n".to_vec(),
        1 => b"\x13/multistream/1.0.0\n\x03na\n".to_vec(),
        _ => (0..rng.u16() % 300).map(|_| rng.u16().to_be_bytes()[0]).collect(),
    }
}

fn run(seed: u16, steps: usize) -> Vec<(Instant, Given)> {
    let carriers = [Carriers::Auto, Carriers::Wan, Carriers::All][usize::from(seed % 3)];
    let mode = if seed.is_multiple_of(2) { Mode::OneShot } else { Mode::Watch };
    let mut driver = Driver::new(carriers, mode);
    let mut rng = Seed([6; 32]).stream(&format!("finder {seed}"));
    for _ in 0..steps {
        driver.step(&mut rng);
    }
    driver.given
}

#[test]
fn the_client_of_the_dht_drains_progresses_is_idempotent_bounded_and_survives() {
    for seed in 0..120 {
        let given = run(seed, 800);
        let dials = given.iter().filter(|(_, given)| {
            matches!(given, Given::Connection(_, ConnectionOutput::Connect { .. }, _))
        });
        assert!(dials.count() > 2, "the script of {seed} does not reach the DHT");
    }
}

#[test]
fn the_client_of_the_dht_is_deterministic() {
    for seed in 0..6 {
        assert_eq!(run(seed, 1000), run(seed, 1000));
    }
}

#[test]
fn spurious_time_does_not_change_what_the_client_of_the_dht_does() {
    let run = |spurious: bool| {
        let mut driver = Driver::new(Carriers::Wan, Mode::Watch);
        let end = Instant::ZERO + Duration::from_secs(600);
        while let Some(wake) = driver.wake.filter(|wake| wake.at <= end) {
            if spurious {
                let between = driver.now.as_micros().midpoint(wake.at.as_micros());
                driver.now = Instant::from_micros(between);
                driver.input(Input::Timeout);
            }
            driver.now = driver.wake.map_or(end, |wake| wake.at);
            driver.input(Input::Timeout);
        }
        driver.given
    };
    assert_eq!(run(false), run(true));
}
