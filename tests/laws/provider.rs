//! The provider under random links, packets, commands and times.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use phase_core::limits::{LINKS, TRANSMIT_MAX};
use phase_core::machine::{Datagram, Family, Input, Link, LinkId, Machine, Output, Port, Wake};
use phase_core::mdns::group;
use phase_core::provider::{Event, Image, Misuse, Provider};
use phase_core::rng::{Rng, Seed};
use phase_core::time::{Instant, UnixTime};
use phase_core::wire::dns::Type;
use phase_core::wire::record::{Arch, Channel, Version};
use phase_tests::message::{Data, Packet, Rr};
use phase_tests::scripted::{HOST, INSTANCE, SUBTYPE, TYPE, config, image, network};

const IMAGES: usize = 4;

/// Outputs after one input: every link may send probes, answers, goodbyes and farewells for every image.
const OUTPUTS_MAX: usize = LINKS * (IMAGES + 1) * 4 + 64;

/// A provider, a clock and a source of inputs.
struct World {
    provider: Provider<IMAGES>,
    now: Instant,
    rng: Rng,
    seq: u64,
    /// Every octet that left, with its time.
    log: Vec<(Instant, SocketAddr, Vec<u8>)>,
}

impl World {
    fn new(seed: u8) -> Self {
        let provider = Provider::new(Instant::ZERO, config(seed));
        let rng = Seed([seed; 32]).stream("world");
        Self { provider, now: Instant::ZERO, rng, seq: 1, log: Vec::new() }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.rng.u64() % bound
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        let at = self.below(of.len() as u64);
        of[usize::try_from(at).unwrap()]
    }

    /// Drains and holds the laws that every drain can show; gives the deadline.
    fn drain(&mut self) -> Option<Wake> {
        let mut buffer = [0xa5; TRANSMIT_MAX];
        for _ in 0..OUTPUTS_MAX {
            match self.provider.poll_output(&mut buffer) {
                Output::Transmit(transmit) => {
                    assert!(transmit.len <= TRANSMIT_MAX && transmit.len > 12);
                    let octets = buffer[..transmit.len].to_vec();
                    let _ = Packet::decode(&octets);
                    self.log.push((self.now, transmit.destination, octets));
                }
                Output::Event(Event::SignatureDue { count }) => {
                    let next = self.provider.sign(self.now, UnixTime(1_764_158_400), self.seq);
                    assert!(next - self.seq <= u64::from(count));
                    self.seq = next;
                }
                Output::Connection(..) | Output::Event(_) => {}
                Output::Timeout(wake) => {
                    let again = self.provider.poll_output(&mut buffer);
                    assert_eq!(again, Output::Timeout(wake), "idempotent");
                    assert!(wake.is_none_or(|wake| wake.at > self.now), "progresses: {wake:?}");
                    return wake;
                }
            }
        }
        panic!("does not drain");
    }

    fn link(&mut self) -> LinkId {
        let family = *self.pick(&[&Family::V4, &Family::V6]);
        LinkId { interface: u32::try_from(self.below(10)).unwrap(), family }
    }

    fn remote(&mut self, family: Family) -> SocketAddr {
        let port = *self.pick(&[&5353, &5353, &40_000, &0]);
        let last = u8::try_from(self.below(256)).unwrap();
        let ip: IpAddr = match family {
            Family::V4 => IpAddr::from([192, 0, 2, last]),
            Family::V6 => IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, u16::from(last)]),
        };
        SocketAddr::new(ip, port)
    }

    fn record(&mut self) -> Rr {
        let name = self.pick(&[HOST, INSTANCE, TYPE, SUBTYPE, "rival.local", "my-mac-2.local"]);
        let data = match self.below(6) {
            0 => Data::A([192, 0, 2, u8::try_from(self.below(4)).unwrap()].into()),
            1 => Data::Aaaa("fe80::1".parse().unwrap()),
            2 => Data::Ptr(INSTANCE.into()),
            3 => Data::Srv(0, 0, 8080, self.pick(&[HOST, "rival.local"]).into()),
            4 => Data::Txt(vec![0]),
            _ => Data::Raw(65, vec![1, 2, 3]),
        };
        let ttl = *self.pick(&[&0, &10, &120, &2250, &4500]);
        let record = Rr::new(name, data).ttl(ttl);
        if self.below(2) == 0 { record.flush() } else { record }
    }

    fn octets(&mut self) -> Vec<u8> {
        let mut packet = if self.below(2) == 0 { Packet::query() } else { Packet::response() };
        for _ in 0..self.below(4) {
            let name = self.pick(&[HOST, INSTANCE, TYPE, SUBTYPE, "rival.local"]);
            let qtype = *self.pick(&[&Type::Any, &Type::Ptr, &Type::Srv, &Type::A, &Type::Txt]);
            packet = packet.ask(name, qtype);
        }
        if self.below(3) == 0 {
            packet = packet.unicast();
        }
        if self.below(5) == 0 {
            packet = packet.truncated();
        }
        for _ in 0..self.below(3) {
            let record = self.record();
            packet = match self.below(3) {
                0 => packet.answer(record),
                1 => packet.authority(record),
                _ => packet.additional(record),
            };
        }
        let mut octets = packet.encode();
        match self.below(4) {
            0 => {
                let at = usize::try_from(self.below(octets.len() as u64)).unwrap();
                octets[at] ^= 1 << self.below(8);
            }
            1 => octets.truncate(usize::try_from(self.below(octets.len() as u64)).unwrap()),
            _ => {}
        }
        octets
    }

    /// One random input or command.
    fn step(&mut self) {
        let micros = *self.pick(&[&0, &50, &20_000, &130_000, &1_000_000, &20_000_000]);
        let pause = Duration::from_micros(self.below(micros + 1));
        self.now += pause;
        let now = self.now;
        match self.below(12) {
            0 => {
                let id = self.link();
                let networks =
                    [network("192.0.2.1/24"), network("fe80::1/64"), network("192.0.2.2/24")];
                let count = usize::try_from(self.below(4)).unwrap();
                let mtu = *self.pick(&[&0, &576, &1500, &u16::MAX]);
                let link = Link { id, mtu, networks: &networks[..count] };
                self.provider.handle_input(now, Input::LinkUp(link));
            }
            1 => {
                let id = self.link();
                self.provider.handle_input(now, Input::LinkDown(id));
            }
            2 => {
                let version = Version::new(&format!("{}", self.below(5))).unwrap();
                let channel = self.pick(&["stable", "testing", "a", "b", "c"]);
                let image = Image { version, ..image(channel, "arm64") };
                match self.provider.publish(now, image) {
                    Ok(()) => {}
                    Err(error) => assert_eq!(error, Misuse::TooManyImages { capacity: IMAGES }),
                }
            }
            3 => {
                let channel = Channel::new(self.pick(&["stable", "testing", "a", "b"])).unwrap();
                self.provider.withdraw(now, &channel, &Arch::new("arm64").unwrap());
            }
            4 | 5 => self.provider.handle_input(now, Input::Timeout),
            _ => {
                let link = self.link();
                let remote = self.remote(link.family);
                let own = IpAddr::from([192, 0, 2, 1]);
                let destination = if self.below(5) == 0 { own } else { group(link.family).ip() };
                let replay = self.log.last().filter(|_| now.as_micros().is_multiple_of(4)).cloned();
                let octets = replay.map_or_else(|| self.octets(), |(.., octets)| octets);
                let payload = octets.as_slice();
                let datagram = Datagram { link, port: Port::Mdns, remote, destination, payload };
                self.provider.handle_input(now, Input::Datagram(datagram));
            }
        }
    }
}

#[test]
fn the_provider_drains_progresses_is_idempotent_and_survives() {
    for seed in 0..8 {
        let mut world = World::new(seed);
        for _ in 0..1500 {
            world.step();
            world.drain();
        }
        assert!(world.log.len() > 250, "the world is alive: {}", world.log.len());
        assert!(world.provider.links().count() <= LINKS);
    }
}

#[test]
fn the_provider_survives_a_driver_that_does_not_drain() {
    for seed in 0..3 {
        let mut world = World::new(seed);
        for n in 0..3000 {
            world.step();
            if n % 50 == 0 {
                world.drain();
            }
        }
    }
}

#[test]
fn the_provider_is_deterministic() {
    let run = |seed| {
        let mut world = World::new(seed);
        for _ in 0..1000 {
            world.step();
            world.drain();
        }
        world.log
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn spurious_time_does_not_change_what_the_provider_sends() {
    let run = |spurious: bool| {
        let mut world = World::new(3);
        world.provider.publish(world.now, image("stable", "arm64")).unwrap();
        let networks = [network("192.0.2.1/24")];
        let id = LinkId { interface: 1, family: Family::V4 };
        let link = Link { id, mtu: 1500, networks: &networks };
        world.provider.handle_input(world.now, Input::LinkUp(link));
        let end = Instant::ZERO + Duration::from_secs(4000);
        while let Some(wake) = world.drain().filter(|wake| wake.at <= end) {
            if spurious {
                let early =
                    Instant::from_micros(world.now.as_micros().midpoint(wake.at.as_micros()));
                world.now = early;
                world.provider.handle_input(early, Input::Timeout);
                world.drain();
                world.provider.handle_input(early, Input::LinkUp(link));
                world.drain();
            }
            world.now = wake.at;
            world.provider.handle_input(world.now, Input::Timeout);
        }
        world.log
    };
    assert_eq!(run(false), run(true));
}

#[test]
fn an_idle_provider_wakes_only_to_sign() {
    let mut world = World::new(4);
    world.provider.publish(world.now, image("stable", "arm64")).unwrap();
    let networks = [network("192.0.2.1/24")];
    let id = LinkId { interface: 1, family: Family::V4 };
    let link = Link { id, mtu: 1500, networks: &networks };
    world.provider.handle_input(world.now, Input::LinkUp(link));
    let mut wakes = 0;
    while let Some(wake) =
        world.drain().filter(|wake| wake.at <= Instant::ZERO + Duration::from_secs(2000))
    {
        wakes += 1;
        world.now = wake.at;
        world.provider.handle_input(world.now, Input::Timeout);
    }
    assert!(wakes <= 6, "three probes, two announcements, no more: {wakes}");
    assert_eq!(world.drain().unwrap().why, "sign");
}
