//! Nodes joined by octets that take no time, under a clock that jumps.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::vec::Vec;

use super::super::*;
use crate::dht::swarm::{Owner as _, Remote};
use crate::kad::Contact;
use crate::kad::store::Source;
use crate::kad::validator;
use crate::limits::TRANSMIT_MAX;
use crate::machine::CloseReason;
use crate::wire::cursor::Writer;
use crate::wire::kad::{Part, Request, ResponseParser};
use crate::wire::record::{Advert, AdvertKey, Arch, Channel, SignedAdvert, Version};
use crate::wire::url::Url;

pub(super) struct Heap;

impl Storage for Heap {
    type Connections = Box<[ServerSlot]>;
    type Peers = Box<[table::Slot]>;
    type Records = Box<[RecordSlot]>;
    type Providers = Box<[ProviderSlot]>;
    type Adverts = Box<[Publication]>;
}

const PORT: u16 = 4001;
const CLOCK: UnixTime = UnixTime(1_764_158_400);

pub(super) fn secret(number: usize) -> SecretKey {
    SecretKey::from_seed(&[u8::try_from(number).unwrap().saturating_add(1); 32])
}

pub(super) fn key(channel: &str) -> AdvertKey {
    AdvertKey::base(Channel::new(channel).unwrap(), Arch::new("arm64").unwrap())
}

pub(super) fn signed(number: usize, channel: &str, seq: u64, ttl: u32) -> SignedAdvert {
    let key = key(channel);
    let url = std::format!("http://192.0.2.{number}/{channel}/arm64/manifest.json");
    let advert = Advert {
        url: Url::parse(&url).unwrap(),
        peer: secret(number).peer_id(),
        name: None,
        issued: CLOCK,
        version: Version::new("1").unwrap(),
        seq,
        ttl,
        digest: None,
    };
    advert.sign(&secret(number), &key.channel, &key.arch).unwrap()
}

struct Host {
    server: Server<Heap>,
    ip: IpAddr,
    reachable: bool,
    dials: usize,
    events: Vec<Event>,
    adverts: BTreeMap<Vec<u8>, Vec<u8>>,
}

type Side = (usize, ConnectionId);

pub(super) struct Net {
    now: Instant,
    hosts: Vec<Host>,
    pipes: BTreeMap<(usize, std::string::String), Side>,
    accepted: u32,
}

fn name(id: ConnectionId) -> std::string::String {
    std::format!("{id:?}")
}

impl Net {
    pub(super) fn new() -> Self {
        let now = Instant::ZERO + Duration::from_secs(1);
        Self { now, hosts: Vec::new(), pipes: BTreeMap::new(), accepted: 0 }
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    pub(super) fn make(now: Instant, number: usize) -> Server<Heap> {
        let config = Config {
            seed: Seed([u8::try_from(number).unwrap(); 32]),
            key: secret(number),
            listen: Listening::everywhere(PORT),
            announce: Addresses::NONE,
            agent: "test",
            inbound: 16,
            allow_loopback: false,
            trusted: heapless::Vec::new(),
        };
        let parts = Parts {
            connections: (0..16).map(|_| ServerSlot::new()).collect(),
            peers: (0..64).map(|_| None).collect(),
            records: (0..64).map(|_| None).collect(),
            providers: (0..64).map(|_| None).collect(),
            adverts: (0..2).map(|_| Publication::EMPTY).collect(),
        };
        Server::new(now, &config, parts)
    }

    pub(super) fn add(&mut self) -> usize {
        let number = self.hosts.len();
        let ip = IpAddr::from([10, 0, 1, u8::try_from(number).unwrap()]);
        let server = Self::make(self.now, number);
        let (events, adverts) = (Vec::new(), BTreeMap::new());
        self.hosts.push(Host { server, ip, reachable: true, dials: 0, events, adverts });
        let now = self.now;
        self.server_mut(number).set_addresses(now, &[ip]);
        number
    }

    pub(super) fn restart(&mut self, number: usize) {
        let gone: Vec<_> =
            self.pipes.iter().filter(|(at, _)| at.0 == number).map(|(_, to)| *to).collect();
        self.pipes.retain(|at, to| at.0 != number && to.0 != number);
        for (to, id) in gone {
            self.feed(to, id, ConnectionInput::Closed(CloseReason::Reset));
        }
        let (now, ip) = (self.now, self.hosts[number].ip);
        self.hosts[number].server = Self::make(now, number);
        self.hosts[number].events.clear();
        self.server_mut(number).set_addresses(now, &[ip]);
    }

    pub(super) fn server(&self, number: usize) -> &Server<Heap> {
        &self.hosts[number].server
    }

    pub(super) fn server_mut(&mut self, number: usize) -> &mut Server<Heap> {
        &mut self.hosts[number].server
    }

    pub(super) fn events(&self, number: usize) -> &[Event] {
        &self.hosts[number].events
    }

    pub(super) fn dials(&self, number: usize) -> usize {
        self.hosts[number].dials
    }

    pub(super) fn peer(&self, number: usize) -> PeerId {
        secret(number).peer_id()
    }

    pub(super) fn remote(&self, number: usize) -> Remote {
        let address = SocketAddr::new(self.hosts[number].ip, 50_000);
        Remote { peer: self.peer(number), address, inbound: true }
    }

    pub(super) fn set_reachable(&mut self, number: usize, reachable: bool) {
        self.hosts[number].reachable = reachable;
    }

    pub(super) fn move_to(&mut self, number: usize, ip: [u8; 4]) {
        let (now, ip) = (self.now, IpAddr::from(ip));
        self.hosts[number].ip = ip;
        self.server_mut(number).set_addresses(now, &[ip]);
    }

    pub(super) fn bootstrap(&mut self, number: usize, with: usize) {
        let at = SocketAddr::new(self.hosts[with].ip, PORT);
        let now = self.now;
        let bootstrap = Bootstrap::new(&std::format!("{at}"), [at], None);
        self.server_mut(number).add_bootstrap(now, bootstrap).unwrap();
    }

    pub(super) fn publish(&mut self, number: usize, channel: &str, seq: u64, ttl: u32) {
        let signed = signed(number, channel, seq, ttl);
        let mut buffer = [0; 1024];
        let value = signed.encode_json(&mut buffer).unwrap().to_vec();
        let now = self.now;
        self.hosts[number].adverts.insert(channel.as_bytes().to_vec(), value);
        self.server_mut(number).publish(now, 0, &key(channel), &signed);
    }

    pub(super) fn value(&self, number: usize, channel: &str) -> Vec<u8> {
        self.hosts[number].adverts[channel.as_bytes()].clone()
    }

    /// What a node stores under a key for others.
    pub(super) fn held(&self, number: usize, key: &AdvertKey) -> Option<Vec<u8>> {
        let stored = self.server(number).node.records.get(self.now, &key.octets());
        stored.map(|stored| stored.value().to_vec())
    }

    pub(super) fn providers(&self, number: usize, key: &[u8]) -> Vec<PeerId> {
        let providers = self.server(number).node.providers.get(self.now, key);
        providers.into_iter().map(|contact| contact.peer).collect()
    }

    fn ask(
        &mut self,
        number: usize,
        by: usize,
        request: Request<'_>,
    ) -> Vec<(Option<Vec<u8>>, Contact)> {
        let mut buffer = [0xa5; 4096];
        let mut out = Writer::new(&mut buffer);
        let (now, remote) = (self.now, self.remote(by));
        self.server_mut(number).node.answer(now, &remote, request, &mut out);
        let len = out.finish().unwrap();
        let mut reader = crate::wire::cursor::Reader::new(&buffer[..len]);
        let body = crate::wire::varint::decode(&mut reader).unwrap();
        let mut parser = ResponseParser::new(u32::try_from(body).unwrap());
        let nobody = Contact::new(self.peer(number));
        let mut parts = Vec::new();
        parser
            .feed(reader.rest(), &mut |part| match part {
                Part::Record(record) => parts.push((Some(record.value.to_vec()), nobody.clone())),
                Part::Closer(contact) => parts.push((None, contact)),
                Part::Provider(_) | Part::Oversized | Part::End => {}
            })
            .unwrap();
        parts
    }

    /// What a node answers to a request for a record.
    pub(super) fn answer(&mut self, number: usize, by: usize, key: &AdvertKey) -> Option<Vec<u8>> {
        let parts = self.ask(number, by, Request::GetValue { key: &key.octets() });
        parts.into_iter().find_map(|(value, _)| value)
    }

    /// What a node answers to a search for a peer.
    pub(super) fn find_node(&mut self, number: usize, by: usize, key: &[u8]) -> Vec<Contact> {
        self.ask(number, by, Request::FindNode { key }).into_iter().map(|(_, one)| one).collect()
    }

    /// Every other node loses what it stores.
    pub(super) fn forget(&mut self, of: usize) {
        for number in (0..self.hosts.len()).filter(|number| *number != of) {
            let slots: Box<[RecordSlot]> = (0..64).map(|_| None).collect();
            self.server_mut(number).node.records =
                crate::kad::store::RecordStore::new(secret(number).peer_id(), slots);
        }
    }

    /// Puts an unsigned record in the place of a provider's advert at every other node.
    pub(super) fn spoil(&mut self, of: usize, channel: &str) {
        let value = br#"{"url":"http://192.0.2.66/manifest.json"}"#;
        let (now, context) = (self.now, validator::Context::default());
        let source = Source { peer: self.peer(99), group: None };
        for number in (0..self.hosts.len()).filter(|number| *number != of) {
            let records = &mut self.server_mut(number).node.records;
            let slots: Box<[RecordSlot]> = (0..64).map(|_| None).collect();
            *records = crate::kad::store::RecordStore::new(secret(number).peer_id(), slots);
            let request = (&*key(channel).octets(), &value[..], 0);
            records.put(now, request, source, &context, |_| false).unwrap();
        }
    }

    /// Lets that much time pass.
    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.drain();
            let wakes = self.hosts.iter().filter_map(|host| host.server.next_wake());
            let next = wakes.map(|wake| wake.at).min().filter(|at| *at <= end);
            let Some(next) = next else { break };
            assert!(next >= self.now);
            let stuck = next == self.now;
            self.now = next;
            for host in &mut self.hosts {
                if host.server.next_wake().is_some_and(|wake| wake.at <= next) {
                    let why = host.server.next_wake();
                    host.server.handle_timeout(next);
                    let after = host.server.next_wake();
                    assert!(!stuck || after.is_none_or(|wake| wake.at > next), "{why:?} {after:?}");
                }
            }
        }
        self.now = end;
    }

    fn feed(&mut self, number: usize, id: ConnectionId, input: ConnectionInput<'_>) {
        let now = self.now;
        self.hosts[number].server.handle_connection(now, id, input);
    }

    fn drain(&mut self) {
        loop {
            let mut quiet = true;
            for number in 0..self.hosts.len() {
                let mut buffer = [0xa5; TRANSMIT_MAX];
                while let Some((id, output)) = self.hosts[number].server.poll_output(&mut buffer) {
                    quiet = false;
                    self.carry(number, id, output, &buffer);
                }
                while let Some(event) = self.hosts[number].server.poll_event() {
                    self.hosts[number].events.push(event);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn carry(&mut self, number: usize, id: ConnectionId, output: ConnectionOutput, buffer: &[u8]) {
        let at = (number, name(id));
        match output {
            ConnectionOutput::Connect { remote } => {
                self.hosts[number].dials = self.hosts[number].dials.saturating_add(1);
                let found = self
                    .hosts
                    .iter()
                    .position(|host| host.reachable && SocketAddr::new(host.ip, PORT) == remote);
                let Some(to) = found else {
                    return self.feed(number, id, ConnectionInput::Closed(CloseReason::Refused));
                };
                self.accepted = self.accepted.wrapping_add(1);
                let theirs = ConnectionId::Accepted(self.accepted);
                self.pipes.insert(at, (to, theirs));
                self.pipes.insert((to, name(theirs)), (number, id));
                let from = SocketAddr::new(self.hosts[number].ip, 50_000);
                self.feed(to, theirs, ConnectionInput::Accepted { remote: from });
                self.feed(to, theirs, ConnectionInput::Writable { room: 65_536 });
                self.feed(number, id, ConnectionInput::Connected);
                self.feed(number, id, ConnectionInput::Writable { room: 65_536 });
            }
            ConnectionOutput::Send { len } => {
                let Some((to, theirs)) = self.pipes.get(&at).copied() else { return };
                self.feed(to, theirs, ConnectionInput::Received(&buffer[..len]));
                self.feed(number, id, ConnectionInput::Writable { room: 65_536 });
            }
            ConnectionOutput::Close => {
                let Some((to, theirs)) = self.pipes.remove(&at) else { return };
                self.pipes.remove(&(to, name(theirs)));
                self.feed(to, theirs, ConnectionInput::Closed(CloseReason::Ended));
            }
        }
    }
}
