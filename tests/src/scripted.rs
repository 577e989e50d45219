//! A provider under a script: a clock that jumps, links that come and go, a peer's packets in, every
//! datagram and event out with its time. Signatures are given at once.
//! Not here: a network between machines; see the harness.

#![expect(clippy::missing_panics_doc, reason = "a helper panics where the test is wrong")]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use phase_core::identity::SecretKey;
use phase_core::limits::TRANSMIT_MAX;
use phase_core::machine::{
    Datagram, Family, Input, Link, LinkId, Machine, Network, Output, Port, Transmit,
};
use phase_core::mdns::service::HostLabel;
use phase_core::mdns::{PORT, group};
use phase_core::provider::{Config, Event, Image, Origin, Provider};
use phase_core::rng::Seed;
use phase_core::time::{Instant, UnixTime};
use phase_core::wire::digest::Digest;
use phase_core::wire::dns::Type;
use phase_core::wire::record::{Arch, Channel, ProviderName, Version};

use crate::message::{Data, Packet, Rr};

/// The host's label; its name is [`HOST`].
pub const HOST_LABEL: &str = "my-mac";
/// The host's name.
pub const HOST: &str = "my-mac.local";
/// The service type.
pub const TYPE: &str = "_phase-image._tcp.local";
/// The subtype of the image `stable` for `arm64`.
pub const SUBTYPE: &str = "_arm64-stable._sub._phase-image._tcp.local";
/// The list of service types.
pub const SERVICES: &str = "_services._dns-sd._udp.local";
/// The instance of the image `stable` for `arm64`.
pub const INSTANCE: &str = "Bob's Mac stable arm64 7YJgL5pV._phase-image._tcp.local";
/// The port in SRV.
pub const HTTP_PORT: u16 = 8080;

/// The link most tests use: interface 2 with 192.0.2.1/24 and `fe80::1/64`.
pub const LAN: LinkId = LinkId { interface: 2, family: Family::V4 };
/// The same interface by IPv6.
pub const LAN6: LinkId = LinkId { interface: 2, family: Family::V6 };
/// A second interface: 198.51.100.1/24.
pub const OTHER: LinkId = LinkId { interface: 3, family: Family::V4 };

/// A datagram that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When.
    pub at: Instant,
    /// How.
    pub transmit: Transmit,
    /// The octets.
    pub octets: Vec<u8>,
    /// What they say.
    pub packet: Packet,
}

impl Sent {
    /// Whether it went to the group.
    #[must_use]
    pub fn is_multicast(&self) -> bool {
        self.transmit.destination.ip().is_multicast()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Script<const N: usize> {
    /// The machine.
    pub provider: Box<Provider<N>>,
    /// The clock.
    pub now: Instant,
    /// Everything sent and not yet taken.
    pub sent: Vec<Sent>,
    /// Everything told, with its time.
    pub events: Vec<(Instant, Event)>,
    next_seq: u64,
}

/// The configuration most tests use, with this much entropy.
#[must_use]
pub fn config(seed: u8) -> Config {
    // RFC 8032 §7.1, test 1.
    let key = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let octet = |at: usize| u8::from_str_radix(&key[2 * at..2 * at + 2], 16).expect("hex");
    Config {
        seed: Seed([seed; 32]),
        key: SecretKey::from_seed(&std::array::from_fn(octet)),
        name: Some(ProviderName::new("Bob's Mac").expect("a name")),
        host: HostLabel::new(HOST_LABEL).expect("a label"),
        origin: Origin::Auto { port: HTTP_PORT },
        ttl: 3600,
    }
}

/// The image of a channel and architecture.
#[must_use]
pub fn image(channel: &str, arch: &str) -> Image {
    Image {
        channel: Channel::new(channel).expect("a channel"),
        arch: Arch::new(arch).expect("an architecture"),
        version: Version::new("2025.11.26").expect("a version"),
        digest: Digest::of(channel.as_bytes()),
    }
}

/// Milliseconds.
#[must_use]
pub const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A network such as `192.0.2.1/24`.
#[must_use]
pub fn network(text: &str) -> Network {
    let (address, prefix) = text.split_once('/').expect("a prefix");
    Network {
        address: address.parse().expect("an address"),
        prefix_len: prefix.parse().expect("a length"),
    }
}

/// A peer on the link, at port 5353.
#[must_use]
pub fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 9], PORT))
}

/// A one-shot querier on the link.
#[must_use]
pub fn one_shot() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 9], 40_000))
}

impl<const N: usize> Script<N> {
    /// A provider without images or links, at a time that is not zero.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let now = Instant::ZERO + Duration::from_secs(1000);
        let provider = Box::new(Provider::new(now, config));
        Self { provider, now, sent: Vec::new(), events: Vec::new(), next_seq: 1_764_158_400 }
    }

    /// A provider of the image `stable` for `arm64` on [`LAN`], verified and quiet for ten seconds.
    #[must_use]
    pub fn settled(seed: u8) -> Self {
        let mut script = Self::new(config(seed));
        script.publish(image("stable", "arm64"));
        script.link_up(LAN, &["192.0.2.1/24", "fe80::1/64"]);
        script.advance(Duration::from_secs(12));
        script.take();
        script.events.clear();
        script
    }

    /// Publishes an image.
    pub fn publish(&mut self, image: Image) {
        self.provider.publish(self.now, image).expect("room for an image");
        self.drain();
    }

    /// Brings a link up with an MTU of 1,500, or changes its addresses.
    pub fn link_up(&mut self, id: LinkId, networks: &[&str]) {
        self.link_up_mtu(id, networks, 1500);
    }

    /// Brings a link up.
    pub fn link_up_mtu(&mut self, id: LinkId, networks: &[&str], mtu: u16) {
        let networks: Vec<_> = networks.iter().map(|text| network(text)).collect();
        let link = Link { id, mtu, networks: &networks };
        self.provider.handle_input(self.now, Input::LinkUp(link));
        self.drain();
    }

    /// Takes a link away.
    pub fn link_down(&mut self, id: LinkId) {
        self.provider.handle_input(self.now, Input::LinkDown(id));
        self.drain();
    }

    /// Lets a datagram arrive on a link, at the group.
    pub fn hear_on(&mut self, link: LinkId, remote: SocketAddr, octets: &[u8]) {
        self.arrive(link, remote, group(link.family).ip(), octets);
    }

    /// Lets a message arrive on [`LAN`], at the group.
    pub fn hear(&mut self, remote: SocketAddr, packet: &Packet) {
        self.hear_on(LAN, remote, &packet.encode());
    }

    /// Lets a message arrive on [`LAN`], at our own address.
    pub fn hear_unicast(&mut self, remote: SocketAddr, packet: &Packet) {
        self.arrive(LAN, remote, IpAddr::from([192, 0, 2, 1]), &packet.encode());
    }

    /// Lets a datagram arrive.
    pub fn arrive(&mut self, link: LinkId, remote: SocketAddr, destination: IpAddr, octets: &[u8]) {
        let datagram = Datagram { link, port: Port::Mdns, remote, destination, payload: octets };
        self.provider.handle_input(self.now, Input::Datagram(datagram));
        self.drain();
    }

    /// Lets time pass, timer by timer.
    pub fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(wake) = self.drain().filter(|at| *at <= end) {
            self.now = wake.max(self.now);
            self.provider.handle_input(self.now, Input::Timeout);
        }
        self.now = end;
    }

    /// Takes every output; gives the next deadline.
    pub fn drain(&mut self) -> Option<Instant> {
        let mut buffer = [0xa5; TRANSMIT_MAX];
        loop {
            match self.provider.poll_output(&mut buffer) {
                Output::Transmit(transmit) => {
                    let octets = buffer[..transmit.len].to_vec();
                    let packet = Packet::decode(&octets);
                    self.sent.push(Sent { at: self.now, transmit, octets, packet });
                }
                Output::Connection(..) => panic!("a machine for the LAN alone connects to nobody"),
                Output::Event(event) => {
                    if let Event::SignatureDue { count } = event {
                        let issued = UnixTime(self.next_seq);
                        let next = self.provider.sign(self.now, issued, self.next_seq);
                        assert!(next - self.next_seq <= u64::from(count), "more than asked for");
                        self.next_seq = next;
                    }
                    self.events.push((self.now, event));
                }
                Output::Timeout(wake) => return wake.map(|wake| wake.at),
            }
        }
    }

    /// Takes what was sent.
    pub fn take(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent)
    }

    /// Lets time pass and takes what was sent in it.
    pub fn during(&mut self, span: Duration) -> Vec<Sent> {
        self.take();
        self.advance(span);
        self.take()
    }

    /// Sends a query by multicast and takes what is sent within a second and a half.
    pub fn ask(&mut self, remote: SocketAddr, packet: &Packet) -> Vec<Sent> {
        self.take();
        self.hear(remote, packet);
        self.advance(ms(1500));
        self.take()
    }

    /// The TXT record data on an interface, by asking for it.
    pub fn text(&mut self, link: LinkId) -> Vec<u8> {
        self.take();
        let query = Packet::query().ask(INSTANCE, Type::Txt);
        let local = if link == OTHER { [198, 51, 100, 9] } else { [192, 0, 2, 9] };
        self.hear_on(link, SocketAddr::from((local, 40_001)), &query.encode());
        let sent = self.take();
        match &sent.first().expect("an answer").packet.answers.first().expect("TXT").data {
            Data::Txt(octets) => octets.clone(),
            Data::A(_)
            | Data::Aaaa(_)
            | Data::Ptr(_)
            | Data::Srv(..)
            | Data::Nsec(..)
            | Data::Raw(..) => {
                panic!("not TXT")
            }
        }
    }
}

/// The SRV record of [`INSTANCE`].
#[must_use]
pub fn srv() -> Rr {
    Rr::new(INSTANCE, Data::Srv(0, 0, HTTP_PORT, HOST.into())).flush()
}

/// Somebody else's SRV record of [`INSTANCE`].
#[must_use]
pub fn foreign_srv() -> Rr {
    Rr::new(INSTANCE, Data::Srv(0, 0, 9999, "rival.local".into())).flush()
}

/// The PTR record of the service type to [`INSTANCE`].
#[must_use]
pub fn type_ptr() -> Rr {
    Rr::new(TYPE, Data::Ptr(INSTANCE.into())).ttl(4500)
}

/// The PTR record of the subtype to [`INSTANCE`].
#[must_use]
pub fn subtype_ptr() -> Rr {
    Rr::new(SUBTYPE, Data::Ptr(INSTANCE.into())).ttl(4500)
}
