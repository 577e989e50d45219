//! Links, datagrams under way, and the clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use phase_core::client::{self, Client};
use phase_core::machine::{
    ConnectionId, ConnectionInput, Datagram, Family, Input, Link, LinkId, Port, Transmit,
    TransmitBuffer,
};
use phase_core::provider::{self, Provider};
use phase_core::rng::Rng;
use phase_core::time::Instant;

use super::segment::{Conditions, Interface, Traffic};
use super::station::{IMAGES, Put, Seen, Station};
use super::tcp::{Door, Happening, Tcp};

const MDNS_PORT: u16 = 5353;
const EPHEMERAL_PORT: u16 = 40_000;

/// A broadcast domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentId(pub(super) usize);

/// A host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostId(pub(super) usize);

#[derive(Debug)]
pub(super) struct Host {
    pub(super) station: Station,
    interfaces: Vec<Interface>,
    pub(super) wake: Option<Instant>,
    /// What happens then.
    why: &'static str,
    /// The deadline that stands in the network's list.
    listed: Option<Instant>,
    asleep: bool,
    pub(super) present: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flying {
    at: Instant,
    order: u64,
    to: (HostId, usize),
    family_v4: bool,
    port_mdns: bool,
    remote: SocketAddr,
    destination: IpAddr,
    payload: Vec<u8>,
}

/// Where a datagram comes from and goes to.
#[derive(Clone, Copy)]
struct Envelope {
    remote: SocketAddr,
    destination: SocketAddr,
    /// The host and interface that are not given it again, unless it hears itself.
    sender: (HostId, usize),
    hears_itself: bool,
}

/// The LAN and its clock.
#[derive(Debug)]
pub struct Network {
    pub(super) now: Instant,
    seed: u64,
    rng: Rng,
    pub(super) hosts: Vec<Host>,
    /// Deadlines, of which only those that a host lists count.
    wakes: BinaryHeap<Reverse<(Instant, usize)>>,
    pub(super) tcp: Tcp,
    buffer: Box<TransmitBuffer>,
    segments: Vec<Conditions>,
    bridges: Vec<(SegmentId, SegmentId)>,
    reflectors: Vec<(SegmentId, SegmentId)>,
    flying: BinaryHeap<Reverse<Flying>>,
    order: u64,
    /// What machines sent.
    pub traffic: Traffic,
}

impl Network {
    /// An empty network.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::ZERO,
            seed,
            rng: super::seed(seed).stream("network"),
            hosts: Vec::new(),
            wakes: BinaryHeap::new(),
            tcp: Tcp::new(super::seed(seed).stream("tcp")),
            buffer: Box::new([0xa5; phase_core::limits::TRANSMIT_MAX]),
            segments: Vec::new(),
            bridges: Vec::new(),
            reflectors: Vec::new(),
            flying: BinaryHeap::new(),
            order: 0,
            traffic: Traffic::default(),
        }
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// A new segment.
    pub fn segment(&mut self, conditions: Conditions) -> SegmentId {
        self.segments.push(conditions);
        SegmentId(self.segments.len() - 1)
    }

    /// Changes the conditions of a segment.
    pub fn set_conditions(&mut self, segment: SegmentId, conditions: Conditions) {
        self.segments[segment.0] = conditions;
    }

    /// Joins two segments: what is sent on one is heard on both.
    pub fn bridge(&mut self, a: SegmentId, b: SegmentId) {
        self.bridges.push((a, b));
    }

    /// Sends every multicast of one segment on the other too, from a reflector's own address, both ways.
    pub fn reflect(&mut self, a: SegmentId, b: SegmentId) {
        self.reflectors.push((a, b));
    }

    /// Adds a host with an interface in each of `segments` and takes them up.
    pub fn host(&mut self, station: Station, segments: &[SegmentId]) -> HostId {
        let number = u16::try_from(self.hosts.len() + 1).unwrap_or(u16::MAX);
        let interfaces = segments.iter().map(|segment| Interface::of(*segment, number)).collect();
        self.settle(station, interfaces)
    }

    /// As [`Network::host`], without IPv4.
    pub fn host_v6_only(&mut self, station: Station, segment: SegmentId) -> HostId {
        let number = u16::try_from(self.hosts.len() + 1).unwrap_or(u16::MAX);
        let interface = Interface { v4: None, ..Interface::of(segment, number) };
        self.settle(station, vec![interface])
    }

    fn settle(&mut self, station: Station, interfaces: Vec<Interface>) -> HostId {
        let addresses = interfaces.iter().flat_map(|i| i.prefixes().into_iter().map(|p| p.address));
        self.tcp.add_host(addresses.collect(), Door::Refuses);
        self.add(station, interfaces)
    }

    /// Adds the host whose addresses [`Tcp`] has been told of.
    pub(super) fn add(&mut self, station: Station, interfaces: Vec<Interface>) -> HostId {
        let id = HostId(self.hosts.len());
        let (wake, listed) = (None, None);
        let why = "";
        let host = Host { station, interfaces, wake, why, listed, asleep: false, present: true };
        self.hosts.push(host);
        self.links_up(id);
        id
    }

    /// Adds a provider of `images`.
    ///
    /// # Panics
    /// When there are too many images: the test is wrong.
    pub fn provider(
        &mut self,
        config: provider::Config,
        images: &[provider::Image],
        segments: &[SegmentId],
    ) -> HostId {
        let id = self.host(Station::provider(self.now, config), segments);
        self.with_provider(id, |now, machine| {
            for image in images {
                machine.publish(now, image.clone()).expect("room for the images");
            }
        });
        id
    }

    /// Adds a client.
    pub fn client(&mut self, config: client::Config, segments: &[SegmentId]) -> HostId {
        self.host(Station::client(self.now, config), segments)
    }

    /// Gives the provider of a host a command and drains it.
    ///
    /// # Panics
    /// When there is none: the test is wrong.
    pub fn with_provider<T>(
        &mut self,
        id: HostId,
        command: impl FnOnce(Instant, &mut Provider<IMAGES>) -> T,
    ) -> T {
        let now = self.now;
        let Station::Provider { machine, .. } = &mut self.hosts[id.0].station else {
            panic!("host {} has no provider", id.0)
        };
        let result = command(now, machine);
        self.drain(id);
        result
    }

    /// The client of a host.
    ///
    /// # Panics
    /// When there is none: the test is wrong.
    #[must_use]
    pub fn client_of(&self, id: HostId) -> &Client {
        let Station::Client { machine, .. } = &self.hosts[id.0].station else {
            panic!("host {} has no client", id.0)
        };
        machine
    }

    /// What the client of a host told.
    ///
    /// # Panics
    /// When there is none: the test is wrong.
    #[must_use]
    pub fn seen(&self, id: HostId) -> &[Seen] {
        let Station::Client { seen, .. } = &self.hosts[id.0].station else {
            panic!("host {} has no client", id.0)
        };
        seen
    }

    /// What the provider of a host told.
    ///
    /// # Panics
    /// When there is none: the test is wrong.
    #[must_use]
    pub fn events(&self, id: HostId) -> &[(Instant, provider::Event)] {
        let Station::Provider { events, .. } = &self.hosts[id.0].station else {
            panic!("host {} has no provider", id.0)
        };
        events
    }

    /// The machine of a host and what it told.
    #[must_use]
    pub fn station(&self, id: HostId) -> &Station {
        &self.hosts[id.0].station
    }

    /// The IPv4 address of a host's first interface.
    #[must_use]
    pub fn ipv4(&self, id: HostId) -> Option<Ipv4Addr> {
        self.hosts[id.0].interfaces.first().and_then(|i| i.v4)
    }

    /// Takes a host away without a word: a power failure.
    pub fn unplug(&mut self, id: HostId) {
        let host = &mut self.hosts[id.0];
        (host.present, host.wake) = (false, None);
        self.tcp.end_life(id.0);
    }

    /// Stops the clock of a host's machine; what is sent to it meanwhile is lost.
    pub fn sleep(&mut self, id: HostId) {
        self.hosts[id.0].asleep = true;
        self.tcp.set_reachable(id.0, false);
    }

    /// Wakes a host: its links come up as they do after a suspend.
    pub fn wake(&mut self, id: HostId) {
        self.hosts[id.0].asleep = false;
        self.tcp.set_reachable(id.0, true);
        self.drain(id);
        self.links_down(id);
        self.links_up(id);
    }

    /// Pulls the cable of a host's interface, or plugs it in again.
    pub fn set_cable(&mut self, id: HostId, interface: usize, up: bool) {
        self.hosts[id.0].interfaces[interface].up = up;
        let any = self.hosts[id.0].interfaces.iter().any(|i| i.up);
        self.tcp.set_reachable(id.0, any);
        if up {
            self.links_up(id);
        } else {
            self.input_links(id, interface, false);
        }
    }

    /// Sends octets from a host's first interface to the IPv4 group, as its port 5353 would.
    pub fn inject(&mut self, id: HostId, octets: &[u8]) {
        let Some(source) = self.ipv4(id) else { return };
        let envelope = Envelope {
            remote: SocketAddr::new(source.into(), MDNS_PORT),
            destination: SocketAddr::from(([224, 0, 0, 251], MDNS_PORT)),
            sender: (id, 0),
            hears_itself: false,
        };
        let segment = self.hosts[id.0].interfaces[0].segment;
        self.carry(segment, envelope, octets);
    }

    /// Lets `duration` pass.
    pub fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until `done`, `limit` at most; whether it was done.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if !self.step(end) {
                self.now = end;
                return done(self);
            }
        }
        true
    }

    /// Does the next thing that happens up to `end`; `false`: there is none.
    pub(super) fn step(&mut self, end: Instant) -> bool {
        let datagram = self.flying.peek().map(|Reverse(f)| f.at);
        let connection = self.tcp.next_at(self.now);
        let arrival = datagram.into_iter().chain(connection).min();
        let bound = arrival.map_or(end, |at| at.min(end));
        match (self.next_wake(), arrival) {
            (Some((at, host)), arrival) if at <= bound && arrival.is_none_or(|a| at < a) => {
                self.now = self.now.max(at);
                self.hosts[host].listed = None;
                self.wakes.pop();
                self.input(HostId(host), Input::Timeout);
                let Host { wake, why, .. } = &self.hosts[host];
                let stuck = wake.is_some_and(|next| next <= self.now);
                assert!(
                    !stuck,
                    "the next wake of host {host}, to {why}, is not later than the one just served"
                );
            }
            (_, Some(at)) if at <= end => {
                self.now = self.now.max(at);
                if datagram == Some(at) {
                    if let Some(Reverse(flying)) = self.flying.pop() {
                        self.arrive(&flying);
                    }
                } else if let Some((host, id, happening)) = self.tcp.next(self.now) {
                    self.happen(HostId(host), id, &happening);
                }
            }
            _ => return false,
        }
        true
    }

    /// The earliest deadline of a host that is awake.
    fn next_wake(&mut self) -> Option<(Instant, usize)> {
        while let Some(Reverse((at, n))) = self.wakes.peek().copied() {
            let host = &mut self.hosts[n];
            let stands = host.listed == Some(at);
            if stands && host.wake == Some(at) && host.present && !host.asleep {
                return Some((at, n));
            }
            if stands {
                host.listed = None;
            }
            self.wakes.pop();
        }
        None
    }

    fn happen(&mut self, host: HostId, id: ConnectionId, happening: &Happening) {
        let input = match happening {
            Happening::Connected => ConnectionInput::Connected,
            Happening::Accepted(remote) => ConnectionInput::Accepted { remote: *remote },
            Happening::Received(octets) => ConnectionInput::Received(octets),
            Happening::Writable(room) => ConnectionInput::Writable { room: *room },
            Happening::Closed(reason) => ConnectionInput::Closed(*reason),
        };
        self.input(host, Input::Connection(id, input));
    }

    fn arrive(&mut self, flying: &Flying) {
        let (host, interface) = flying.to;
        let there = &self.hosts[host.0];
        if !there.present || there.asleep || !there.interfaces[interface].up {
            return;
        }
        let family = if flying.family_v4 { Family::V4 } else { Family::V6 };
        let datagram = Datagram {
            link: link_id(interface, family),
            port: if flying.port_mdns { Port::Mdns } else { Port::Ephemeral },
            remote: flying.remote,
            destination: flying.destination,
            payload: &flying.payload,
        };
        self.input(host, Input::Datagram(datagram));
    }

    fn input(&mut self, id: HostId, input: Input<'_>) {
        let now = self.now;
        self.hosts[id.0].station.handle_input(now, input);
        self.drain(id);
    }

    pub(super) fn drain(&mut self, id: HostId) {
        let (now, mut sent) = (self.now, Vec::new());
        let host = &mut self.hosts[id.0];
        let tcp = &mut self.tcp;
        let wake = host.station.drain(now, &mut self.buffer, |put, octets| match put {
            Put::Datagram(transmit) => sent.push((transmit, octets.to_vec())),
            Put::Connection(connection, output) => {
                tcp.output(now, id.0, connection, (output, octets));
            }
        });
        (host.wake, host.why) = (wake.map(|wake| wake.at), wake.map_or("", |wake| wake.why));
        if host.wake != host.listed {
            host.listed = host.wake;
            self.wakes.extend(host.wake.map(|at| Reverse((at, id.0))));
        }
        for (transmit, octets) in sent {
            self.send(id, &transmit, &octets);
        }
    }

    fn send(&mut self, id: HostId, transmit: &Transmit, octets: &[u8]) {
        self.traffic.datagrams += 1;
        self.traffic.octets += u64::try_from(octets.len()).unwrap_or(0);
        *self.traffic.by_second.entry(self.now.as_micros() / 1_000_000).or_default() += 1;
        let interface = usize::try_from(transmit.link.interface).unwrap_or(0).saturating_sub(1);
        let from = &self.hosts[id.0].interfaces[interface];
        let Some(source) = from.address(transmit.link.family).filter(|_| from.up) else { return };
        let port = if transmit.port == Port::Mdns { MDNS_PORT } else { EPHEMERAL_PORT };
        let envelope = Envelope {
            remote: SocketAddr::new(source, port),
            destination: transmit.destination,
            sender: (id, interface),
            hears_itself: true,
        };
        let segment = from.segment;
        self.carry(segment, envelope, octets);
        if transmit.destination.ip().is_multicast() {
            self.reflect_from(segment, envelope, octets);
        }
    }

    fn reflect_from(&mut self, segment: SegmentId, envelope: Envelope, octets: &[u8]) {
        for (a, b) in self.reflectors.clone() {
            let other = match segment {
                s if s == a => b,
                s if s == b => a,
                _ => continue,
            };
            let own: IpAddr = match envelope.remote {
                SocketAddr::V4(_) => Ipv4Addr::new(10, 0, 255, 254).into(),
                SocketAddr::V6(_) => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xfffe).into(),
            };
            let nobody = (HostId(usize::MAX), 0);
            let remote = SocketAddr::new(own, envelope.remote.port());
            self.carry(other, Envelope { remote, sender: nobody, ..envelope }, octets);
        }
    }

    /// Puts a datagram under way to every host that it is for.
    fn carry(&mut self, segment: SegmentId, envelope: Envelope, octets: &[u8]) {
        let reached = self.reached_from(segment);
        let ip = envelope.destination.ip();
        let family_v4 = ip.is_ipv4();
        let mut receivers = Vec::new();
        for (n, host) in self.hosts.iter().enumerate() {
            for (i, interface) in host.interfaces.iter().enumerate() {
                let own = (HostId(n), i) == envelope.sender;
                let family = if family_v4 { Family::V4 } else { Family::V6 };
                let address = interface.address(family);
                let wanted =
                    if ip.is_multicast() { address.is_some() } else { address == Some(ip) };
                if wanted && reached.contains(&interface.segment) && (!own || envelope.hears_itself)
                {
                    receivers.push(((HostId(n), i), interface.segment, own));
                }
            }
        }
        for (to, segment, own) in receivers {
            let conditions = self.segments[segment.0];
            let copies = 1 + u32::from(!own && self.chance(conditions.duplication));
            for _ in 0..copies {
                if !own && self.chance(conditions.loss) {
                    continue;
                }
                let (low, high) = conditions.latency;
                let delay =
                    if own { Duration::from_micros(20) } else { self.rng.duration(low, high) };
                self.order += 1;
                self.flying.push(Reverse(Flying {
                    at: self.now + delay,
                    order: self.order,
                    to,
                    family_v4,
                    port_mdns: envelope.destination.port() == MDNS_PORT,
                    remote: envelope.remote,
                    destination: ip,
                    payload: octets.to_vec(),
                }));
            }
        }
    }

    /// A segment and all that are bridged with it.
    fn reached_from(&self, segment: SegmentId) -> Vec<SegmentId> {
        let mut reached = vec![segment];
        let mut next = 0;
        while let Some(here) = reached.get(next).copied() {
            next += 1;
            for (a, b) in &self.bridges {
                let other = if *a == here { *b } else { *a };
                if (*a == here || *b == here) && !reached.contains(&other) {
                    reached.push(other);
                }
            }
        }
        reached
    }

    fn chance(&mut self, probability: f64) -> bool {
        super::chance(&mut self.rng, probability)
    }

    pub(super) fn links_up(&mut self, id: HostId) {
        for interface in 0..self.hosts[id.0].interfaces.len() {
            self.input_links(id, interface, true);
        }
    }

    fn links_down(&mut self, id: HostId) {
        for interface in 0..self.hosts[id.0].interfaces.len() {
            self.input_links(id, interface, false);
        }
    }

    fn input_links(&mut self, id: HostId, interface: usize, up: bool) {
        let there = &self.hosts[id.0].interfaces[interface];
        if up && !there.up {
            return;
        }
        let (prefixes, has_v4) = (there.prefixes(), there.v4.is_some());
        for family in [Family::V4, Family::V6] {
            if family == Family::V4 && !has_v4 {
                continue;
            }
            let link = link_id(interface, family);
            let input = if up {
                Input::LinkUp(Link { id: link, mtu: 1500, networks: &prefixes })
            } else {
                Input::LinkDown(link)
            };
            self.input(id, input);
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let at = self.now.as_micros();
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("simulation seed {}, at {at} µs of its time\n", self.seed),
            );
        }
    }
}

fn link_id(interface: usize, family: Family) -> LinkId {
    LinkId { interface: u32::try_from(interface + 1).unwrap_or(u32::MAX), family }
}
