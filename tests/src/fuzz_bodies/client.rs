//! The client at any state: octets are read as a script of links, datagrams, commands and times.

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

use phase_core::client::{Client, Config, Event, Mode};
use phase_core::identity::SecretKey;
use phase_core::limits::{CANDIDATES, LINKS, TRANSMIT_MAX};
use phase_core::machine::{
    Datagram, Family, Input, Link, LinkId, Machine as _, Network, Output, Port, Wake,
};
use phase_core::mdns::group;
use phase_core::rng::Seed;
use phase_core::time::{Instant, UnixTime};
use phase_core::wire::dns::{Message, Type};
use phase_core::wire::record::{Advert, Arch, Channel, Received, Version};
use phase_core::wire::url::Url;

use crate::message::{Data, Packet, Rr};
use crate::scripted::{SUBTYPE, TYPE, network};

/// Outputs after one input: every link asks both questions in both ways and continues its known answers, every
/// instance and host asks for all it has, and every candidate has news.
const OUTPUTS_MAX: usize = LINKS * 16 + 256;

const INSTANCES: [&str; 4] = ["lab", "LAB", "other", "Bob's v1\\.2"];

/// A message that left: when, from which port, and its octets.
pub type Sent = (Instant, Port, Vec<u8>);

/// Runs a script and holds the laws of machines, and that nothing is accepted but what a key signed.
///
/// # Panics
/// When a law is broken.
pub fn client(data: &[u8]) {
    let _ = run(data);
}

/// Runs a script; gives what the client sent.
///
/// # Panics
/// When a law is broken.
#[must_use]
pub fn run(data: &[u8]) -> Vec<Sent> {
    let mut octets = Octets(data);
    let mut world = World::new(octets.next());
    while !octets.0.is_empty() {
        world.step(&mut octets);
        world.drain();
    }
    world.log
}

/// What is left of a script; zeros after its end.
struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn next(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.next()) % of.len()]
    }
}

struct World {
    client: Client,
    now: Instant,
    wake: Option<Wake>,
    log: Vec<Sent>,
    /// The last one-shot query.
    asked: Option<(LinkId, Vec<u8>)>,
}

impl World {
    fn new(flags: u8) -> Self {
        let (channel, arch) = wanted();
        let mut config = Config::new(Seed([9; 32]), channel, arch);
        config.mode = if flags & 1 == 0 { Mode::Watch } else { Mode::OneShot };
        config.first_binder = flags & 2 == 0;
        if flags & 4 == 0 {
            let word = SecretKey::from_seed(&[0; 32]).peer_id().to_string();
            config.trust.add_word(&word).expect("a peer id");
        }
        let client = Client::new(Instant::ZERO, config);
        Self { client, now: Instant::ZERO, wake: None, log: Vec::new(), asked: None }
    }

    fn step(&mut self, octets: &mut Octets<'_>) {
        match octets.next() % 10 {
            0 => self.now += Duration::from_micros(u64::from(octets.next()) * 977),
            1 => self.now += Duration::from_secs(u64::from(octets.next())),
            2 => self.now = self.wake.map_or(self.now, |wake| wake.at.max(self.now)),
            3 => self.link_up(octets),
            4 => {
                let link = link(octets);
                self.client.handle_input(self.now, Input::LinkDown(link));
            }
            5 => {
                let len = usize::from(octets.next()) * 2;
                let payload = octets.take(len);
                self.arrive(octets, payload);
            }
            6 | 7 => {
                let packet = packet(octets).encode();
                self.arrive(octets, &packet);
            }
            8 => self.reply(octets),
            _ => self.command(octets),
        }
        self.client.handle_input(self.now, Input::Timeout);
    }

    fn link_up(&mut self, octets: &mut Octets<'_>) {
        let id = link(octets);
        let all = [network("192.0.2.1/24"), network("fe80::1/64"), network("10.0.0.1/8")];
        let networks: &[Network] = &all[..usize::from(octets.next()) % 4];
        let mtu = octets.pick(&[1500, 576, 1280, 0, 9000]);
        self.client.handle_input(self.now, Input::LinkUp(Link { id, mtu, networks }));
    }

    fn arrive(&mut self, octets: &mut Octets<'_>, payload: &[u8]) {
        let link = link(octets);
        let remote = remote(octets, link.family);
        let port = octets.pick(&[Port::Mdns, Port::Mdns, Port::Ephemeral]);
        let own: IpAddr = [192, 0, 2, 1].into();
        let destination = octets.pick(&[group(link.family).ip(), own]);
        let datagram = Datagram { link, port, remote, destination, payload };
        self.client.handle_input(self.now, Input::Datagram(datagram));
    }

    /// Answers the last one-shot query as a responder does.
    fn reply(&mut self, octets: &mut Octets<'_>) {
        let Some((link, query)) = self.asked.clone() else { return };
        let query = Packet::decode(&query);
        let mut packet = packet(octets).id(query.id);
        packet.questions = query.questions;
        let payload = packet.encode();
        let remote = remote(octets, link.family);
        let destination = [192, 0, 2, 1].into();
        let port = Port::Ephemeral;
        let datagram = Datagram { link, port, remote, destination, payload: &payload };
        self.client.handle_input(self.now, Input::Datagram(datagram));
    }

    fn command(&mut self, octets: &mut Octets<'_>) {
        let at = usize::from(octets.next());
        let id = self.client.candidates().nth(at % CANDIDATES).map(|candidate| candidate.id());
        if let Some(id) = id {
            self.client.set_rtt(id, Duration::from_millis(u64::from(octets.next())));
            self.client.reconfirm(self.now, id);
        }
    }

    fn drain(&mut self) {
        let mut buf = [0xa5; TRANSMIT_MAX];
        for _ in 0..OUTPUTS_MAX {
            match self.client.poll_output(&mut buf) {
                Output::Transmit(transmit) => {
                    let octets = buf[..transmit.len].to_vec();
                    let message = Message::decode(&octets).expect("what is sent can be read");
                    assert!(message.questions().all(|question| question.is_ok()));
                    assert!(message.records().all(|(_, record)| record.is_ok()));
                    assert!(!message.flags().is_response());
                    if transmit.port == Port::Ephemeral {
                        assert_eq!(message.questions().count(), 1);
                        self.asked = Some((transmit.link, octets.clone()));
                    }
                    self.log.push((self.now, transmit.port, octets));
                }
                Output::Connection(..) => panic!("a machine for the LAN alone connects to nobody"),
                Output::Event(event) => self.check_event(event),
                Output::Timeout(wake) => {
                    assert_eq!(self.client.poll_output(&mut buf), Output::Timeout(wake));
                    assert!(wake.is_none_or(|wake| wake.at > self.now), "{wake:?}");
                    self.wake = wake;
                    return self.check_candidates();
                }
            }
        }
        panic!("the client does not drain");
    }

    fn check_event(&self, event: Event) {
        match event {
            Event::Accepted(id) => {
                assert!(self.client.candidate(id).expect("it was accepted").is_accepted());
            }
            Event::Refused(id) => {
                assert!(!self.client.candidate(id).expect("it was refused").is_accepted());
            }
            Event::Changed(id) => assert!(self.client.candidate(id).is_some()),
            Event::Lost(id) => {
                assert!(self.client.candidates().all(|candidate| candidate.id() != id));
            }
            Event::Searched => panic!("a client for the LAN alone searches nothing else"),
        }
    }

    /// Safety: what is accepted was signed for what is wanted. The accepted come first.
    fn check_candidates(&self) {
        let (channel, arch) = wanted();
        let mut refused = false;
        assert!(self.client.candidates().count() <= CANDIDATES);
        for candidate in self.client.candidates() {
            refused |= !candidate.is_accepted();
            assert_eq!(candidate.is_accepted(), !refused);
            if candidate.is_accepted() {
                let Some(Received::Signed(signed)) = candidate.claim() else {
                    panic!("an unsigned advert was accepted")
                };
                assert_eq!(signed.verify(&channel, &arch), Ok(()));
                assert!(self.client.addresses(candidate.id()).count() >= 1);
            }
        }
        let best = self.client.best().map(|best| best.id());
        let first = self.client.candidates().next().filter(|first| first.is_accepted());
        assert_eq!(best, first.map(|first| first.id()));
    }
}

fn wanted() -> (Channel, Arch) {
    (Channel::new("stable").expect("a channel"), Arch::new("arm64").expect("an architecture"))
}

fn link(octets: &mut Octets<'_>) -> LinkId {
    let choice = octets.next();
    let family = if choice & 1 == 0 { Family::V4 } else { Family::V6 };
    LinkId { interface: u32::from(choice >> 1) % 12, family }
}

fn remote(octets: &mut Octets<'_>, family: Family) -> SocketAddr {
    let last = octets.next();
    let ip: IpAddr = match family {
        Family::V4 => [192, 0, last >> 6, last].into(),
        Family::V6 => [0xfe80, 0, 0, 0, 0, 0, 0, u16::from(last)].into(),
    };
    SocketAddr::new(ip, octets.pick(&[5353, 5353, 5353, 40_000]))
}

fn packet(octets: &mut Octets<'_>) -> Packet {
    let shape = octets.next();
    let mut packet = if shape & 3 == 0 { Packet::query() } else { Packet::response() };
    if shape & 3 == 0 {
        packet = packet.ask(octets.pick(&[SUBTYPE, TYPE]), Type::Ptr);
        packet = if shape & 4 == 0 { packet } else { packet.truncated() };
        packet = if shape & 8 == 0 { packet } else { packet.unicast() };
    }
    for _ in 0..shape >> 5 {
        packet = packet.answer(record(octets));
    }
    packet
}

fn record(octets: &mut Octets<'_>) -> Rr {
    let instance = format!("{}.{TYPE}", octets.pick(&INSTANCES));
    let choice = octets.next();
    let (name, data) = match choice % 9 {
        0 => (SUBTYPE, Data::Ptr(instance)),
        1 => (TYPE, Data::Ptr(instance)),
        2 | 3 => (instance.as_str(), Data::Txt(octets.pick(&text_choices()).to_vec())),
        4 => {
            let host = octets.pick(&["lab.local", "my-mac.local"]);
            (instance.as_str(), Data::Srv(u16::from(choice >> 4), 0, 8080, host.to_owned()))
        }
        5 => ("lab.local", Data::A([192, 0, 2, octets.next() % 8].into())),
        6 => ("lab.local", Data::Aaaa([0xfe80, 0, 0, 0, 0, 0, 0, 9].into())),
        7 => ("lab.local", Data::Nsec("lab.local".to_owned(), vec![1])),
        _ => (instance.as_str(), Data::Raw(33, vec![0])),
    };
    let record = Rr::new(name, data).ttl(octets.pick(&[0, 1, 10, 120, 4500, u32::MAX]));
    if choice & 0x80 == 0 { record } else { record.flush() }
}

fn text_choices() -> [&'static [u8]; 12] {
    TEXTS.each_ref().map(Vec::as_slice)
}

/// TXT data of two signers with two numbers and two URLs each, of a stranger, one moved from another channel, an
/// unsigned one, and nothing.
static TEXTS: LazyLock<[Vec<u8>; 12]> = LazyLock::new(|| {
    std::array::from_fn(|n| {
        let n = u8::try_from(n).unwrap_or(0);
        match n {
            0..=7 => signed(n & 1, u64::from(n >> 1 & 1) + 1, n >> 2 & 1 == 1, "stable"),
            8 => signed(2, 1, false, "stable"),
            9 => signed(0, 9, false, "testing"),
            10 => b"\x0aarch=arm64\x0echannel=stable\x27manifest=http://192.0.2.9/manifest.json"
                .to_vec(),
            _ => vec![0],
        }
    })
});

fn signed(key: u8, seq: u64, local: bool, channel: &str) -> Vec<u8> {
    let key = SecretKey::from_seed(&[key; 32]);
    let (stable, arch) = wanted();
    let host = if local { "lab.local" } else { "192.0.2.9" };
    let advert = Advert {
        url: Url::parse(&format!("http://{host}/stable/arm64/manifest.json")).expect("a URL"),
        peer: key.peer_id(),
        name: None,
        issued: UnixTime(1_764_158_400),
        version: Version::new("1").expect("a version"),
        seq,
        ttl: 600,
        digest: None,
    };
    let channel = Channel::new(channel).expect("a channel");
    let signed = advert.sign(&key, &channel, &arch).expect("its own key");
    let mut buf = [0; 700];
    signed.encode_txt(&stable, &arch, &mut buf).expect("room").to_vec()
}
