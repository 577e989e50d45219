//! A connection at any phase: octets are what the remote sends, in the clear, or encrypted for it after a real
//! handshake.

use std::time::Duration;

use phase_core::connection::noise::{Cipher, Initiator, Responder};
use phase_core::connection::{
    Answer, Connection, Dial, Error, Handler, Identity, KadProtocol, NoRoom, StreamError, Tag,
};
use phase_core::identity::{PeerId, SecretKey};
use phase_core::limits::{RX_SMALL, TX_SERVER};
use phase_core::stats::Stats;
use phase_core::time::Instant;
use phase_core::wire::contact::Contact;
use phase_core::wire::cursor::Writer;
use phase_core::wire::identify::{Identified, Identify};
use phase_core::wire::kad::{Part, Record, Request, Response};
use phase_core::wire::multistream::Line;
use phase_core::wire::noise::message_len;

const KEY: &[u8] = b"/phase/stable/arm64/manifest";

/// Requests that are sent before anything is received.
const REQUESTS: u32 = 3;

/// Octets that leave for each that comes: a request of a few octets has an answer of at most half the buffer.
const AMPLIFICATION: usize = 2 * TX_SERVER;

/// Takes the octets as what a remote sends, whole and cut into single octets, and holds that neither makes a
/// difference, that every request has one end, and that everything is over after a while of silence.
///
/// The first octet chooses: who dials (1), whether the octets come after the handshake (2), what the remote is
/// expected to speak (4, 8), whether it is served (16).
///
/// # Panics
/// When a law is broken.
pub fn connection(data: &[u8]) {
    let Some((flags, octets)) = data.split_first() else { return };
    let whole = run(*flags, octets, usize::MAX);
    assert_eq!(whole, run(*flags, octets, 1), "cutting makes a difference");
}

/// Everything that the connection told and sent.
fn run(flags: u8, octets: &[u8], piece: usize) -> (Vec<String>, usize) {
    let mut world = World::new(flags);
    if flags & 2 == 0 {
        world.feed(octets, piece);
    } else if let Some(mut cipher) = world.shake(flags & 1 == 0) {
        for plain in octets.chunks(1024) {
            world.feed(&encrypted(&mut cipher, plain), piece);
        }
    }
    world.finish();
    (world.owner.told, world.sent)
}

struct World {
    connection: Box<Connection<RX_SMALL, TX_SERVER, 4>>,
    identity: Identity,
    owner: Owner,
    now: Instant,
    received: usize,
    sent: usize,
}

impl World {
    fn new(flags: u8) -> Self {
        let mut connection = Box::new(Connection::new());
        let now = Instant::ZERO;
        if flags & 1 == 0 {
            let prefer = match flags >> 2 & 3 {
                0 => None,
                1 => Some(KadProtocol::Phase),
                _ => Some(KadProtocol::Ipfs),
            };
            connection.dial(now, [0x22; 32], Dial { expected: None, prefer });
            for tag in 0..REQUESTS {
                connection.open(now, Request::GetValue { key: KEY }, Tag(tag)).unwrap();
            }
        } else {
            connection.accept(now, [0x22; 32]);
            let early = connection.open(now, Request::GetValue { key: KEY }, Tag(0));
            assert_eq!(early, Err(NoRoom));
        }
        let owner = Owner { serves: flags & 16 == 0, ..Owner::default() };
        Self { connection, identity: identity(1), owner, now, received: 0, sent: 0 }
    }

    /// Ends the handshake as the remote; what encrypts its messages.
    fn shake(&mut self, dialer: bool) -> Option<Cipher> {
        let lines = written(|w| {
            Line::Multistream.encode(w);
            Line::Noise.encode(w);
        });
        let theirs = identity(2);
        if dialer {
            let first = self.drain();
            let mut responder = None;
            let second = written(|w| {
                responder = Some(Responder::new(&theirs, [0x44; 32], &first[30..], w));
            });
            self.connection.handle_octets(
                self.now,
                &[lines, second].concat(),
                &self.identity,
                &mut self.owner,
            );
            let rest = self.drain();
            let end = 2 + message_len([rest[0], rest[1]]);
            return Some(responder?.ok()?.finish(&mut rest[2..end].to_vec()).ok()?.send);
        }
        let mut initiator = None;
        let first = written(|w| initiator = Some(Initiator::new([0x44; 32], w)));
        self.feed(&[lines, first].concat(), usize::MAX);
        let second = self.drain();
        let mut done = None;
        let third = written(|w| {
            done = Some(initiator.take().unwrap().finish(&theirs, &mut second[30..].to_vec(), w));
        });
        self.feed(&third, usize::MAX);
        Some(done?.ok()?.send)
    }

    /// Octets of the remote; what they make us send leaves when all have come.
    fn feed(&mut self, octets: &[u8], piece: usize) {
        for octets in octets.chunks(piece) {
            self.received += octets.len();
            self.connection.handle_octets(self.now, octets, &self.identity, &mut self.owner);
        }
        if self.connection.peer().is_some() {
            self.drain();
        }
        let most = (self.received + 64) * AMPLIFICATION;
        assert!(self.sent <= most, "{} for {}", self.sent, self.received);
    }

    fn drain(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut out = [0; 1472];
        loop {
            let len = self.connection.poll_send(self.now, &mut out, &mut self.owner);
            if len == 0 {
                break;
            }
            all.extend(&out[..len]);
        }
        self.sent += all.len();
        all
    }

    /// Silence, until nothing is awaited any more.
    fn finish(&mut self) {
        for _ in 0..64 {
            self.drain();
            let Some(wake) = self.connection.next_wake() else { break };
            assert!(wake.at > self.now, "{} is never over", wake.why);
            self.now = wake.at;
            self.connection.handle_timeout(self.now, &mut self.owner);
        }
        assert_eq!(self.connection.next_wake(), None);
        assert_eq!(self.connection.in_flight(), 0);
        if self.connection.is_open() {
            let since = self.connection.idle_since().expect("nothing is in progress");
            assert!(since <= self.now && self.now <= since + Duration::from_secs(300));
        }
        self.connection.handle_lost(&mut self.owner);
        self.owner.check();
    }
}

/// Notes what it is told, and answers everything.
#[derive(Default)]
struct Owner {
    serves: bool,
    stats: Stats,
    told: Vec<String>,
    ended: Vec<u32>,
    closed: u32,
}

impl Owner {
    fn end(&mut self, tag: u32) {
        assert!(tag < REQUESTS && !self.ended.contains(&tag), "{tag} ends again");
        self.ended.push(tag);
    }

    fn check(&self) {
        assert_eq!(self.closed, 1, "{:?}", self.told);
        let counted = self.stats.iter().filter(|(name, ..)| name.starts_with("connections_"));
        assert_eq!(counted.map(|(.., count)| count).sum::<u64>(), 1, "one reason is counted");
        assert!(
            self.ended.is_empty() || self.ended.len() == usize::try_from(REQUESTS).unwrap_or(0)
        );
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
        self.told.push(format!("established {peer}"));
    }

    fn answer(&mut self, _: &PeerId, request: Request<'_>, out: &mut Writer<'_>) -> Answer {
        self.told.push(format!("{request:?}"));
        let contact = Contact::at(secret(3).peer_id(), ([192, 168, 1, 3], 4001).into());
        match request {
            Request::PutValue { record } => Response::PutValue { record }.encode(out),
            Request::GetValue { key } => {
                let record = Some(Record { key, value: b"value", publisher: None, ttl: 1 });
                Response::GetValue { record, closer: &[contact] }.encode(out);
            }
            Request::AddProvider { .. } => return Answer::Nothing,
            Request::GetProviders { .. } => return Answer::Reset,
            Request::FindNode { .. } => Response::FindNode { closer: &[contact] }.encode(out),
        }
        Answer::Reply
    }

    fn request(&mut self, tag: Tag) -> Option<Request<'_>> {
        (tag != Tag(2)).then_some(Request::GetValue { key: KEY })
    }

    fn part(&mut self, _: &PeerId, Tag(tag): Tag, part: Part<'_>) {
        assert!(!self.ended.contains(&tag), "{part:?} after the end of {tag}");
        self.told.push(format!("{tag}: {part:?}"));
        if part == Part::End {
            self.end(tag);
        }
    }

    fn failed(&mut self, Tag(tag): Tag, why: StreamError) {
        self.told.push(format!("{tag}: {why}"));
        self.end(tag);
    }

    fn identified(&mut self, _: &PeerId, identified: &Identified) {
        self.told.push(format!("{identified:?}"));
    }

    fn identify(&mut self, out: &mut Writer<'_>) {
        let identify = Identify {
            peer: secret(1).peer_id(),
            addresses: &Contact::at(secret(1).peer_id(), ([192, 168, 1, 1], 4001).into()).addresses,
            protocols: &[Line::PhaseKad, Line::IpfsKad],
            observed: None,
            protocol_version: "",
            agent: "",
        };
        identify.encode(out);
    }

    fn closed(&mut self, why: Error) {
        self.told.push(why.to_string());
        self.closed += 1;
    }
}

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn identity(seed: u8) -> Identity {
    Identity::with_static_key(&secret(seed), [seed; 32])
}

/// One Noise message with its length.
fn encrypted(cipher: &mut Cipher, plain: &[u8]) -> Vec<u8> {
    let mut message = plain.to_vec();
    let tag = cipher.encrypt(&[], &mut message).unwrap();
    message.extend(tag);
    let len = u16::try_from(message.len()).unwrap();
    [&len.to_be_bytes()[..], &message].concat()
}

/// What `write` writes.
fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = [0; 512];
    let mut w = Writer::new(&mut buffer);
    write(&mut w);
    w.written().to_vec()
}
