//! A client on links, with the clock and the other hosts in the test's hands.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use phase_core::client::{CandidateId, Client, Config, Event, Mode};
use phase_core::identity::SecretKey;
use phase_core::limits::TRANSMIT_MAX;
use phase_core::machine::{
    Datagram, Family, Input, Link, LinkId, Machine as _, Network, Output, Port, Transmit, Wake,
};
use phase_core::rng::Seed;
use phase_core::time::{Instant, UnixTime};
use phase_core::wire::dns::{
    Class, Compression, Flags, Message, MessageWriter, NameBuf, Nsec, Question, Record, RecordData,
    Srv, Txt, Type, TypeWindow,
};
use phase_core::wire::record::{Advert, Arch, Channel, SignedAdvert, Version};
use phase_core::wire::url::Url;

pub(crate) const TYPE: &str = "_phase-image._tcp.local";
pub(crate) const SUBTYPE: &str = "_arm64-stable._sub._phase-image._tcp.local";

/// Above every octet a test needs.
const ROOM: usize = 9100;
/// A bound on the outputs of one drain that no correct machine reaches.
const OUTPUTS: usize = 1000;

/// A link as a test describes it.
#[derive(Clone, Debug)]
pub(crate) struct TestLink {
    pub(crate) id: LinkId,
    mtu: u16,
    networks: &'static [Network],
}

const NETWORKS: &[Network] = &[
    Network { address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), prefix_len: 24 },
    Network { address: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)), prefix_len: 64 },
];

/// The IPv4 and IPv6 links of interface 2, with `192.0.2.1/24` and `fe80::1/64`.
pub(crate) const V4: TestLink =
    TestLink { id: LinkId { interface: 2, family: Family::V4 }, mtu: 1500, networks: NETWORKS };
pub(crate) const V6: TestLink =
    TestLink { id: LinkId { interface: 2, family: Family::V6 }, mtu: 1500, networks: NETWORKS };

impl TestLink {
    pub(crate) const fn on_interface(mut self, interface: u32) -> Self {
        self.id.interface = interface;
        self
    }

    pub(crate) const fn with_mtu(self, mtu: u16) -> Self {
        Self { mtu, ..self }
    }

    pub(crate) const fn with_networks(self, networks: &'static [Network]) -> Self {
        Self { networks, ..self }
    }
}

/// A message the client sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Instant,
    pub(crate) transmit: Transmit,
    pub(crate) octets: Vec<u8>,
}

impl Sent {
    pub(crate) fn message(&self) -> Message<'_> {
        Message::decode(&self.octets).unwrap()
    }

    pub(crate) fn questions(&self) -> Vec<Question<'_>> {
        self.message().questions().map(Result::unwrap).collect()
    }

    pub(crate) fn asks(&self, name: &str, qtype: Type) -> bool {
        let name = NameBuf::from_text(name).unwrap();
        self.questions().iter().any(|q| q.name == name.as_name() && q.qtype == qtype)
    }
}

/// The client with what it said so far.
#[derive(Debug)]
pub(crate) struct Lan {
    pub(crate) client: Client,
    pub(crate) now: Instant,
    pub(crate) sent: Vec<Sent>,
    pub(crate) events: Vec<Event>,
    pub(crate) wake: Option<Wake>,
}

impl Lan {
    /// A client for stable and arm64 that watches, with `change` made to its configuration.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let (channel, arch) = (Channel::new("stable").unwrap(), Arch::new("arm64").unwrap());
        let mut config = Config::new(Seed([7; 32]), channel, arch);
        config.mode = Mode::Watch;
        config.first_binder = true;
        change(&mut config);
        let client = Client::new(Instant::ZERO, config);
        Self { client, now: Instant::ZERO, sent: Vec::new(), events: Vec::new(), wake: None }
    }

    pub(crate) fn watch() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn one_shot() -> Self {
        Self::with(|config| config.mode = Mode::OneShot)
    }

    pub(crate) fn input(&mut self, input: Input<'_>) {
        self.client.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        let mut buf = [0xa5; TRANSMIT_MAX];
        for _ in 0..OUTPUTS {
            match self.client.poll_output(&mut buf) {
                Output::Transmit(transmit) => {
                    let octets = buf[..transmit.len].to_vec();
                    self.sent.push(Sent { at: self.now, transmit, octets });
                }
                Output::Connection(..) => panic!("a machine for the LAN alone connects to nobody"),
                Output::Event(event) => self.events.push(event),
                Output::Timeout(wake) => {
                    assert!(wake.is_none_or(|wake| wake.at > self.now), "{wake:?}");
                    self.wake = wake;
                    return;
                }
            }
        }
        panic!("the client does not drain");
    }

    pub(crate) fn up(&mut self, link: &TestLink) {
        self.input(Input::LinkUp(Link { id: link.id, mtu: link.mtu, networks: link.networks }));
    }

    /// Lets time pass; every wake is served on time.
    pub(crate) fn run_until(&mut self, end: Instant) {
        while let Some(wake) = self.wake.filter(|wake| wake.at <= end) {
            self.now = wake.at;
            self.input(Input::Timeout);
        }
        self.now = end;
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Lets time pass up to just before the `n`th multicast query, counted from 1, and says when it is due.
    pub(crate) fn run_to_multicast(&mut self, n: usize) -> Instant {
        loop {
            let sent = self.sent.iter().filter(|sent| sent.transmit.port == Port::Mdns).count();
            let wake = self.wake.unwrap();
            if sent + 1 == n {
                return wake.at;
            }
            self.run_until(wake.at);
        }
    }

    fn datagram(&mut self, link: LinkId, port: Port, from: SocketAddr, to: IpAddr, octets: &[u8]) {
        let remote = from;
        self.input(Input::Datagram(Datagram {
            link,
            port,
            remote,
            destination: to,
            payload: octets,
        }));
    }

    /// Octets sent to the group.
    pub(crate) fn deliver(&mut self, link: &TestLink, from: SocketAddr, octets: &[u8]) {
        let group = phase_core::mdns::group(link.id.family).ip();
        self.datagram(link.id, Port::Mdns, from, group, octets);
    }

    /// A multicast response.
    pub(crate) fn multicast(&mut self, link: &TestLink, from: IpAddr, recs: &[Rec]) {
        self.multicast_from(link, SocketAddr::new(from, 5353), recs);
    }

    pub(crate) fn multicast_from(&mut self, link: &TestLink, from: SocketAddr, recs: &[Rec]) {
        self.deliver(link, from, &response(0, None, recs));
    }

    /// A response to our port 5353 alone.
    pub(crate) fn unicast(&mut self, link: &TestLink, from: SocketAddr, recs: &[Rec]) {
        let own = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        self.datagram(link.id, Port::Mdns, from, own, &response(0, None, recs));
    }

    /// A reply to a one-shot query.
    pub(crate) fn reply(&mut self, query: &Sent, from: IpAddr, recs: &[Rec]) {
        self.reply_from(query, SocketAddr::new(from, 5353), recs);
    }

    pub(crate) fn reply_from(&mut self, query: &Sent, from: SocketAddr, recs: &[Rec]) {
        let question = query.questions()[0];
        let name = question.name.to_string();
        let id = query.message().id();
        let octets = response(id, Some((&name, question.qtype)), recs);
        let own = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        self.datagram(query.transmit.link, Port::Ephemeral, from, own, &octets);
    }

    /// A multicast query of another host with its known answers.
    pub(crate) fn query(&mut self, from: IpAddr, question: (&str, Type), qu: bool, known: &[Rec]) {
        let mut buf = vec![0; ROOM];
        let mut writer = MessageWriter::new(&mut buf, 0, Flags::QUERY, Compression::Multicast);
        let name = NameBuf::from_text(question.0).unwrap();
        let question = Question {
            name: name.as_name(),
            qtype: question.1,
            qclass: Class::In,
            unicast_response: qu,
        };
        writer.question(&question).unwrap();
        known.iter().for_each(|rec| rec.write(&mut writer));
        let len = writer.finish().unwrap();
        buf.truncate(len);
        self.deliver(&V4, SocketAddr::new(from, 5353), &buf);
    }

    /// The only candidate, which must be accepted.
    pub(crate) fn accepted(&self) -> CandidateId {
        let candidates: Vec<_> = self.client.candidates().collect();
        assert_eq!(candidates.len(), 1);
        assert!(candidates[0].is_accepted(), "{:?}", candidates[0].verdict());
        assert!(self.events.contains(&Event::Accepted(candidates[0].id())));
        candidates[0].id()
    }

    pub(crate) fn is_lost(&self, id: CandidateId) -> bool {
        self.events.contains(&Event::Lost(id))
    }

    /// Messages from port 5353.
    pub(crate) fn multicasts(&self) -> Vec<&Sent> {
        self.sent.iter().filter(|sent| sent.transmit.port == Port::Mdns).collect()
    }

    /// The last message from port 5353 that asks for instances.
    pub(crate) fn last_browse(&self) -> &Sent {
        self.multicasts().into_iter().rfind(|sent| sent.asks(SUBTYPE, Type::Ptr)).unwrap()
    }

    /// The first one-shot query for a name.
    pub(crate) fn one_shot_for(&self, name: &str) -> Sent {
        let is_it =
            |sent: &&Sent| sent.transmit.port == Port::Ephemeral && sent.asks(name, Type::Ptr);
        self.sent.iter().find(is_it).unwrap().clone()
    }

    pub(crate) fn reconfirm(&mut self, id: CandidateId) {
        self.client.reconfirm(self.now, id);
        self.drain();
    }
}

/// `seconds` after the start.
pub(crate) fn at(seconds: f64) -> Instant {
    Instant::ZERO + Duration::from_secs_f64(seconds)
}

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn instance(label: &str) -> String {
    format!("{label}.{TYPE}")
}

/// A record of another host.
#[derive(Clone, Debug)]
pub(crate) struct Rec {
    owner: NameBuf,
    flush: bool,
    ttl: u32,
    data: Data,
}

#[derive(Clone, Debug)]
enum Data {
    Ptr(NameBuf),
    Txt(Vec<u8>),
    Srv(u16, u16, u16, NameBuf),
    A(Ipv4Addr),
    Nsec(NameBuf, Vec<Type>),
    Raw(u16, Vec<u8>),
}

impl Rec {
    fn new(owner: &str, flush: bool, ttl: u32, data: Data) -> Self {
        Self { owner: NameBuf::from_text(owner).unwrap(), flush, ttl, data }
    }

    pub(crate) fn ptr(owner: &str, target: &str, ttl: u32) -> Self {
        Self::new(owner, false, ttl, Data::Ptr(NameBuf::from_text(target).unwrap()))
    }

    pub(crate) fn txt(owner: &str, octets: &[u8], ttl: u32) -> Self {
        Self::new(owner, true, ttl, Data::Txt(octets.to_vec()))
    }

    pub(crate) fn srv(owner: &str, target: &str, ttl: u32) -> Self {
        let target = NameBuf::from_text(target).unwrap();
        Self::new(owner, true, ttl, Data::Srv(0, 0, 8080, target))
    }

    /// SRV by priority, weight and port.
    pub(crate) fn srv_at(owner: &str, (priority, weight, port): (u16, u16, u16), ttl: u32) -> Self {
        let target = NameBuf::from_text("lab.local").unwrap();
        Self::new(owner, true, ttl, Data::Srv(priority, weight, port, target))
    }

    pub(crate) fn a(owner: &str, octets: [u8; 4], ttl: u32) -> Self {
        Self::new(owner, true, ttl, Data::A(octets.into()))
    }

    pub(crate) fn nsec(owner: &str, next: &str, types: &[Type]) -> Self {
        let next = NameBuf::from_text(next).unwrap();
        Self::new(owner, true, 120, Data::Nsec(next, types.to_vec()))
    }

    pub(crate) fn raw(owner: &str, rtype: u16, octets: &[u8]) -> Self {
        Self::new(owner, true, 120, Data::Raw(rtype, octets.to_vec()))
    }

    /// Without the cache-flush bit.
    pub(crate) fn shared(self) -> Self {
        Self { flush: false, ..self }
    }

    pub(crate) fn with_ttl(self, ttl: u32) -> Self {
        Self { ttl, ..self }
    }

    fn write(&self, writer: &mut MessageWriter<'_>) {
        let window;
        let data = match &self.data {
            Data::Ptr(target) => RecordData::Ptr(target.as_name()),
            Data::Txt(octets) => RecordData::Txt(Txt::from_octets(octets).unwrap()),
            Data::Srv(priority, weight, port, target) => RecordData::Srv(Srv {
                priority: *priority,
                weight: *weight,
                port: *port,
                target: target.as_name(),
            }),
            Data::A(ip) => RecordData::A(*ip),
            Data::Nsec(next, types) => {
                window = TypeWindow::of(types);
                RecordData::Nsec(Nsec { next: next.as_name(), types: window.as_bitmap() })
            }
            Data::Raw(rtype, rdata) => RecordData::Unknown { rtype: (*rtype).into(), rdata },
        };
        let record = Record {
            name: self.owner.as_name(),
            class: Class::In,
            cache_flush: self.flush,
            ttl: self.ttl,
            data,
        };
        writer.answer(&record).unwrap();
    }
}

/// A response with these answers.
pub(crate) fn response(id: u16, question: Option<(&str, Type)>, recs: &[Rec]) -> Vec<u8> {
    let mut buf = vec![0; ROOM];
    let mut writer = MessageWriter::new(&mut buf, id, Flags::RESPONSE, Compression::Multicast);
    if let Some((name, qtype)) = question {
        let name = NameBuf::from_text(name).unwrap();
        let name = name.as_name();
        let question = Question { name, qtype, qclass: Class::In, unicast_response: false };
        writer.question(&question).unwrap();
    }
    recs.iter().for_each(|rec| rec.write(&mut writer));
    let len = writer.finish().unwrap();
    buf.truncate(len);
    buf
}

/// Whose adverts these are by default.
pub(crate) fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

/// An advert, to be changed and signed.
pub(crate) fn advert(key: &SecretKey, seq: u64) -> Advert {
    Advert {
        url: Url::parse("http://192.0.2.9:8080/stable/arm64/manifest.json").unwrap(),
        peer: key.peer_id(),
        name: None,
        issued: UnixTime(1_764_158_400),
        version: Version::new("2025.11.26").unwrap(),
        seq,
        ttl: 3600,
        digest: None,
    }
}

/// The data of the TXT record of an advert, signed for `channel` and told to be for stable.
pub(crate) fn txt_for(channel: &str, key: &SecretKey, advert: Advert) -> Vec<u8> {
    let arch = Arch::new("arm64").unwrap();
    let signed: SignedAdvert = advert.sign(key, &Channel::new(channel).unwrap(), &arch).unwrap();
    let mut buf = [0; 700];
    let stable = Channel::new("stable").unwrap();
    signed.encode_txt(&stable, &arch, &mut buf).unwrap().to_vec()
}

/// The data of the TXT record of an advert.
pub(crate) fn txt_of(key: &SecretKey, advert: Advert) -> Vec<u8> {
    txt_for("stable", key, advert)
}

/// The TXT record of the usual provider.
pub(crate) fn signed(seq: u64) -> Vec<u8> {
    txt_of(&key(1), advert(&key(1), seq))
}

/// The same with another URL.
pub(crate) fn signed_url(seq: u64, url: &str) -> Vec<u8> {
    txt_of(&key(1), Advert { url: Url::parse(url).unwrap(), ..advert(&key(1), seq) })
}

/// The four strings of a publisher that does not sign.
pub(crate) fn unsigned(channel: &str, arch: &str) -> Vec<u8> {
    let strings = [
        format!("arch={arch}"),
        format!("channel={channel}"),
        format!("manifest=http://192.0.2.9:8080/{channel}/{arch}/manifest.json"),
        "version=2025.11.26".to_owned(),
    ];
    let mut octets = Vec::new();
    for string in strings {
        octets.push(u8::try_from(string.len()).unwrap());
        octets.extend_from_slice(string.as_bytes());
    }
    octets
}
