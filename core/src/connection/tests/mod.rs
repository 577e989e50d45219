//! Connections joined by buffers, and remotes that are driven by hand.

#![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

mod behaviour;
mod exchange;
mod hostile;
mod limits;
mod replay;

use super::*;
use crate::identity::SecretKey;
use crate::limits::{RX_SMALL, TX_SERVER};
use crate::stats::Stats;
use crate::wire::contact::Contact;
use crate::wire::cursor::Writer;
use crate::wire::identify::{Identified, Identify};
use crate::wire::kad::{Part, Record, Response};
use crate::wire::multistream::Line;
use crate::wire::noise::message_len;
use crate::wire::yamux::{Flags, HEADER_LEN, Header};
use std::boxed::Box;
use std::string::String;
use std::vec::Vec;

const KEY: &[u8] = b"/phase/stable/arm64/manifest";
const VALUE: &[u8] = b"{\"v\":1}";

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn identity(seed: u8) -> Identity {
    Identity::with_static_key(&secret(seed), [seed.wrapping_mul(17); 32])
}

fn contact(seed: u8) -> Contact {
    Contact::at(secret(seed).peer_id(), ([192, 168, 1, seed], 4001).into())
}

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

/// What a connection told its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Established(PeerId),
    Asked(String),
    Record(u32, Vec<u8>),
    Oversized(u32),
    Closer(u32, PeerId),
    Provider(u32, PeerId),
    End(u32),
    Failed(u32, StreamError),
    Identified(Box<Identified>),
    Closed(Error),
}

/// An owner that serves one record.
struct Owner {
    stats: Stats,
    told: Vec<Told>,
    serves: bool,
    value: Vec<u8>,
    closer: Vec<Contact>,
    answer: Answer,
    peer: PeerId,
}

impl Owner {
    fn new(seed: u8) -> Self {
        Self {
            stats: Stats::default(),
            told: Vec::new(),
            serves: true,
            value: VALUE.to_vec(),
            closer: std::vec![contact(7), contact(8)],
            answer: Answer::Reply,
            peer: secret(seed).peer_id(),
        }
    }

    fn has(&self, what: &Told) -> bool {
        self.told.contains(what)
    }

    /// The reason why the connection ended, which must have been told last, once, and counted once.
    fn closed(&self) -> Option<Error> {
        let reasons = self.told.iter().filter(|it| matches!(it, Told::Closed(_))).count();
        let counted: u64 = self
            .stats
            .iter()
            .filter(|(name, ..)| name.starts_with("connections_"))
            .map(|(.., count)| count)
            .sum();
        assert_eq!(u64::try_from(reasons), Ok(counted), "{:?}", self.told);
        match self.told.last() {
            Some(Told::Closed(error)) => {
                assert_eq!(reasons, 1);
                Some(*error)
            }
            _ => {
                assert_eq!(reasons, 0);
                None
            }
        }
    }
}

impl Handler for Owner {
    fn stats(&mut self) -> &mut Stats {
        &mut self.stats
    }

    fn serves_kad(&self) -> bool {
        self.serves
    }

    fn established(&mut self, peer: &PeerId) {
        self.told.push(Told::Established(*peer));
    }

    fn answer(&mut self, _: &PeerId, request: Request<'_>, out: &mut Writer<'_>) -> Answer {
        let mut asked = std::format!("{request:?}");
        asked.truncate(asked.find([' ', '{', '(']).unwrap_or(asked.len()));
        self.told.push(Told::Asked(asked));
        let record = |key| Record { key, value: &self.value, publisher: None, ttl: 0 };
        match request {
            Request::PutValue { record } => Response::PutValue { record }.encode(out),
            Request::GetValue { key } => {
                Response::GetValue { record: Some(record(key)), closer: &self.closer }.encode(out);
            }
            Request::AddProvider { .. } => return Answer::Nothing,
            Request::GetProviders { .. } => {
                Response::GetProviders { providers: &self.closer, closer: &[] }.encode(out);
            }
            Request::FindNode { .. } => Response::FindNode { closer: &self.closer }.encode(out),
        }
        self.answer
    }

    fn request(&mut self, _: Tag) -> Option<Request<'_>> {
        Some(Request::GetValue { key: KEY })
    }

    fn part(&mut self, _: &PeerId, Tag(tag): Tag, part: Part<'_>) {
        self.told.push(match part {
            Part::Record(record) => Told::Record(tag, record.value.to_vec()),
            Part::Oversized => Told::Oversized(tag),
            Part::Closer(contact) => Told::Closer(tag, contact.peer),
            Part::Provider(contact) => Told::Provider(tag, contact.peer),
            Part::End => Told::End(tag),
        });
    }

    fn failed(&mut self, Tag(tag): Tag, why: StreamError) {
        self.told.push(Told::Failed(tag, why));
    }

    fn identified(&mut self, _: &PeerId, identified: &Identified) {
        self.told.push(Told::Identified(Box::new(identified.clone())));
    }

    fn identify(&mut self, out: &mut Writer<'_>) {
        let identify = Identify {
            peer: self.peer,
            addresses: &contact(3).addresses,
            protocols: &[Line::PhaseKad, Line::IpfsKad, Line::Identify, Line::Ping],
            observed: None,
            protocol_version: "phase/1",
            agent: "test",
        };
        identify.encode(out);
    }

    fn closed(&mut self, why: Error) {
        self.told.push(Told::Closed(why));
    }
}

/// A connection and its owner.
struct End<const RX: usize = RX_SMALL> {
    connection: Box<Connection<RX, TX_SERVER, 4>>,
    identity: Identity,
    owner: Owner,
    now: Instant,
    /// Times that it sent octets, first of all or after it had received some.
    flights: usize,
    has_heard: bool,
}

impl<const RX: usize> End<RX> {
    fn dialer(seed: u8, dial: Dial) -> Self {
        let mut end = Self::vacant(seed);
        end.connection.dial(end.now, [0x22; 32], dial);
        end
    }

    fn listener(seed: u8) -> Self {
        let mut end = Self::vacant(seed);
        end.connection.accept(end.now, [0x44; 32]);
        end
    }

    fn vacant(seed: u8) -> Self {
        Self {
            connection: Box::new(Connection::new()),
            identity: identity(seed),
            owner: Owner::new(seed),
            now: Instant::ZERO,
            flights: 0,
            has_heard: true,
        }
    }

    fn get(&mut self, tag: u32) {
        self.open(Request::GetValue { key: KEY }, tag).unwrap();
    }

    fn open(&mut self, request: Request<'_>, tag: u32) -> Result<(), NoRoom> {
        self.connection.open(self.now, request, Tag(tag))
    }

    fn feed(&mut self, octets: &[u8]) {
        self.has_heard = true;
        self.connection.handle_octets(self.now, octets, &self.identity, &mut self.owner);
    }

    /// Everything that is ready, taken `room` octets at a time.
    fn drain(&mut self, room: usize) -> Vec<u8> {
        let mut all = Vec::new();
        let mut out = std::vec![0xa5; room];
        loop {
            let len = self.connection.poll_send(self.now, &mut out, &mut self.owner);
            if len == 0 {
                return all;
            }
            self.flights = self.flights.saturating_add(usize::from(self.has_heard));
            self.has_heard = false;
            all.extend(&out[..len]);
        }
    }

    /// Lets time pass, serving each deadline on its way.
    fn wait(&mut self, until: Instant) {
        while let Some(wake) = self.connection.next_wake().filter(|it| it.at <= until) {
            assert!(wake.at >= self.now, "{} lies in the past", wake.why);
            self.now = wake.at;
            self.connection.handle_timeout(self.now, &mut self.owner);
            let next = self.connection.next_wake();
            assert!(next.is_none_or(|next| next.at > wake.at), "{} again", wake.why);
        }
        self.now = until;
    }
}

/// Carries octets both ways, `piece` at a time, until neither side has any.
fn join<const A: usize, const B: usize>(a: &mut End<A>, b: &mut End<B>, piece: usize, room: usize) {
    loop {
        let there = a.drain(room);
        there.chunks(piece).for_each(|octets| b.feed(octets));
        let back = b.drain(room);
        back.chunks(piece).for_each(|octets| a.feed(octets));
        if there.is_empty() && back.is_empty() {
            return;
        }
    }
}

/// What the remote of a [`Hand`] sent: a frame's head and its data.
type Frame = (Header, Vec<u8>);

/// A remote that is driven by hand, frame by frame.
struct Hand {
    send: Cipher,
    receive: Cipher,
    wire: Vec<u8>,
    plain: Vec<u8>,
}

impl Hand {
    /// Listens to `end`, which has dialled, as the peer of `seed`.
    fn listener<const RX: usize>(end: &mut End<RX>, seed: u8, early: bool) -> Self {
        if early {
            return Self::listener_after_noise(end, seed, true);
        }
        let mut hand = Self::listener_in_muxing(end, seed);
        end.feed(&hand.encrypt(&opening(Line::Yamux, |_| {})));
        hand
    }

    /// As [`listener`](Self::listener), with the proposal of Yamux not yet answered.
    fn listener_in_muxing<const RX: usize>(end: &mut End<RX>, seed: u8) -> Self {
        let mut hand = Self::listener_after_noise(end, seed, false);
        let lines = opening(Line::Yamux, |_| {});
        assert_eq!(hand.plain.drain(..lines.len()).collect::<Vec<_>>(), lines);
        hand
    }

    fn listener_after_noise<const RX: usize>(end: &mut End<RX>, seed: u8, early: bool) -> Self {
        let first = end.drain(1024);
        let lines = written(|w| {
            Line::Multistream.encode(w);
            Line::Noise.encode(w);
        });
        assert_eq!(first[..28], lines);
        let mut responder = None;
        let ours = if early { identity(seed) } else { identity(seed).without_muxer() };
        let second = written(|w| {
            responder = Some(noise::Responder::new(&ours, [0x66; 32], &first[30..], w).unwrap());
        });
        end.feed(&[&lines[..], &second].concat());
        let rest = end.drain(1024);
        let third = message_len([rest[0], rest[1]]);
        let done = responder.unwrap().finish(&mut rest[2..2 + third].to_vec()).unwrap();
        let mut hand = Self::new(done.send, done.receive);
        hand.wire = rest[2 + third..].to_vec();
        hand.decrypt();
        hand
    }

    /// Dials `end`, which listens, as the peer of `seed`.
    fn dialer<const RX: usize>(end: &mut End<RX>, seed: u8) -> Self {
        let mut initiator = None;
        end.feed(&written(|w| {
            Line::Multistream.encode(w);
            Line::Noise.encode(w);
            initiator = Some(noise::Initiator::new([0x66; 32], w));
        }));
        let answer = end.drain(1024);
        let mut second = answer[30..].to_vec();
        assert_eq!(second.len(), message_len([answer[28], answer[29]]));
        let mut done = None;
        let third = written(|w| {
            done = Some(initiator.unwrap().finish(&identity(seed), &mut second, w).unwrap());
        });
        end.feed(&third);
        let done = done.unwrap();
        Self::new(done.send, done.receive)
    }

    fn new(send: Cipher, receive: Cipher) -> Self {
        Self { send, receive, wire: Vec::new(), plain: Vec::new() }
    }

    /// One Noise message with its length.
    fn encrypt(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut message = plain.to_vec();
        let tag = self.send.encrypt(&[], &mut message).unwrap();
        message.extend(tag);
        let len = u16::try_from(message.len()).unwrap();
        [&len.to_be_bytes()[..], &message].concat()
    }

    fn decrypt(&mut self) {
        while let Some(head) = self.wire.first_chunk() {
            let end = 2 + message_len(*head);
            if self.wire.len() < end {
                return;
            }
            let mut message: Vec<u8> = self.wire.drain(..end).skip(2).collect();
            self.plain.extend(&*self.receive.decrypt(&[], &mut message).unwrap());
        }
    }

    /// Sends frames in one Noise message.
    fn send<const RX: usize>(&mut self, end: &mut End<RX>, frames: &[(Header, &[u8])]) {
        let mut plain = Vec::new();
        for (header, data) in frames {
            plain.extend(header.to_octets());
            plain.extend(*data);
        }
        end.feed(&self.encrypt(&plain));
    }

    /// Sends data on a stream.
    fn data<const RX: usize>(&mut self, end: &mut End<RX>, id: u32, flags: Flags, data: &[u8]) {
        let header = Header::data(id, flags, u32::try_from(data.len()).unwrap());
        self.send(end, &[(header, data)]);
    }

    /// The frames that `end` has sent.
    fn frames<const RX: usize>(&mut self, end: &mut End<RX>) -> Vec<Frame> {
        self.wire.extend(end.drain(1024));
        self.decrypt();
        let mut frames = Vec::new();
        while let Some(head) = self.plain.first_chunk::<HEADER_LEN>() {
            let header = Header::from_octets(head).unwrap();
            let len = HEADER_LEN + usize::try_from(header.body_len()).unwrap();
            frames.push((header, self.plain.drain(..len).skip(HEADER_LEN).collect()));
        }
        frames
    }
}

/// What `write` writes.
fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = std::vec![0xa5; 70_000];
    let mut w = Writer::new(&mut buffer);
    write(&mut w);
    let len = w.finish().unwrap();
    buffer.truncate(len);
    buffer
}

/// The lines that open a stream for `protocol`, and what follows.
fn opening(protocol: Line, body: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    written(|w| {
        Line::Multistream.encode(w);
        protocol.encode(w);
        body(w);
    })
}

/// A response with the served record.
fn response() -> Vec<u8> {
    let record = Record { key: KEY, value: VALUE, publisher: None, ttl: 0 };
    written(|w| Response::GetValue { record: Some(record), closer: &[contact(7)] }.encode(w))
}
