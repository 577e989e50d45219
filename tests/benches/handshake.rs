//! Setting up a connection, beside `snow`: microseconds of both sides together, medians over interleaved rounds in
//! one process, so that the ratios hold on a noisy machine too.
//!
//! Noise XX as libp2p uses it: each side makes a key for this connection, does three Diffie-Hellman operations, and
//! checks the other's identity by an Ed25519 signature. What `snow` gives to it is the pattern alone, so the
//! signatures are checked beside it with the same crate and in the same way. A connection does what a handshake does
//! and negotiates multistream, Yamux and a stream, and gets a record.
#![expect(clippy::print_stdout, reason = "the table is the result")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::Instant as Clock;

use ed25519_dalek::{Signer as _, SigningKey};
use phase_core::connection::noise::{Initiator, Responder};
use phase_core::connection::{
    Answer, Connection, Dial, Error, Handler, Identity, KadProtocol, StreamError, Tag,
};
use phase_core::identity::{PeerId, SecretKey, Signature};
use phase_core::limits::{RX_SMALL, TX_SERVER};
use phase_core::stats::Stats;
use phase_core::time::Instant;
use phase_core::wire::cursor::Writer;
use phase_core::wire::identify::Identified;
use phase_core::wire::kad::{Part, Record, Request, Response};

const ROUNDS: usize = 41;
const CALLS: u32 = 40;
const KEY: &[u8] = b"/phase/stable/arm64/manifest";

type Row<'a> = (&'static str, Box<dyn FnMut() -> usize + 'a>);

fn main() {
    let (ours, theirs) = (identity(1), identity(2));
    let recorded = Recorded::new();
    let mut pair = Pair::new();
    let rows: Vec<Row<'_>> = vec![
        ("Noise XX with identities", Box::new(|| handshake(&ours, &theirs).len())),
        ("snow 0.10 and the same signatures", Box::new(|| snow(&recorded))),
        ("snow 0.10 alone", Box::new(|| snow_pattern(&recorded))),
        ("a connection and a record", Box::new(|| pair.exchange(&ours, &theirs))),
    ];
    table("set-up, both sides", rows);
}

fn identity(seed: u8) -> Identity {
    Identity::with_static_key(&SecretKey::from_seed(&[seed; 32]), [seed; 32])
}

fn table(what: &str, mut rows: Vec<Row<'_>>) {
    let mut times = vec![Vec::new(); rows.len()];
    for _ in 0..ROUNDS {
        for ((_, call), times) in rows.iter_mut().zip(&mut times) {
            let start = Clock::now();
            for _ in 0..CALLS {
                black_box(call());
            }
            times.push(start.elapsed().as_nanos() as f64 / f64::from(CALLS) / 1000.0);
        }
    }
    let medians: Vec<f64> = times
        .iter_mut()
        .map(|times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        })
        .collect();
    println!("{what}:");
    for ((name, _), us) in rows.iter().zip(&medians) {
        println!("  {name:<40} {us:>8.1} us   Noise XX / this = {:.2}", medians[0] / us);
    }
}

/// The three messages of a handshake.
fn handshake(ours: &Identity, theirs: &Identity) -> Vec<u8> {
    let mut buffer = [0; 512];
    let mut w = Writer::new(&mut buffer);
    let initiator = Initiator::new([3; 32], &mut w);
    let mut first = [0; 32];
    first.copy_from_slice(&w.written()[2..]);
    let begin = w.len();
    let responder = Responder::new(theirs, [4; 32], &first, &mut w).expect("a first message");
    let mut second = w.written()[begin + 2..].to_vec();
    let begin = w.len();
    let ours = initiator.finish(ours, &mut second, &mut w).expect("a second message");
    let mut third = w.written()[begin + 2..].to_vec();
    let theirs = responder.finish(&mut third).expect("a third message");
    assert_eq!(ours.hash, theirs.hash);
    w.written().to_vec()
}

/// What `snow` is given: a payload of the length of ours, and two signatures of the octets that an identity signs.
struct Recorded {
    payload: Vec<u8>,
    signed: [(PeerId, [u8; 56], Signature); 2],
}

impl Recorded {
    fn new() -> Self {
        let octets = [7; 56];
        let signed = [1, 2].map(|seed| {
            let key = SigningKey::from_bytes(&[seed; 32]);
            let peer = SecretKey::from_seed(&[seed; 32]).peer_id();
            (peer, octets, Signature(key.sign(&octets).to_bytes()))
        });
        Self { payload: vec![7; 104 + 16], signed }
    }
}

fn snow(recorded: &Recorded) -> usize {
    for (peer, signed, signature) in &recorded.signed {
        assert!(peer.verify(signed, signature).is_ok());
    }
    snow_pattern(recorded)
}

fn snow_pattern(recorded: &Recorded) -> usize {
    let params = || "Noise_XX_25519_ChaChaPoly_SHA256".parse().expect("a pattern");
    let mut a = snow::Builder::new(params())
        .local_private_key(&[1; 32])
        .and_then(snow::Builder::build_initiator)
        .expect("an initiator");
    let mut b = snow::Builder::new(params())
        .local_private_key(&[2; 32])
        .and_then(snow::Builder::build_responder)
        .expect("a responder");
    let (mut wire, mut payload) = ([0; 512], [0; 512]);
    let len = a.write_message(&[], &mut wire).expect("a first message");
    b.read_message(&wire[..len], &mut payload).expect("a first message");
    let len = b.write_message(&recorded.payload, &mut wire).expect("a second message");
    a.read_message(&wire[..len], &mut payload).expect("a second message");
    let len = a.write_message(&recorded.payload, &mut wire).expect("a third message");
    b.read_message(&wire[..len], &mut payload).expect("a third message");
    let (a, b) = (a.into_transport_mode(), b.into_transport_mode());
    assert!(a.is_ok() && b.is_ok());
    len
}

/// A connection and its remote.
struct Pair {
    ends: [Box<Connection<RX_SMALL, TX_SERVER, 4>>; 2],
    owners: [Owner; 2],
}

impl Pair {
    fn new() -> Self {
        Self {
            ends: [(); 2].map(|()| Box::new(Connection::new())),
            owners: <[Owner; 2]>::default(),
        }
    }

    /// Connects and gets a record; the octets on the wire.
    fn exchange(&mut self, ours: &Identity, theirs: &Identity) -> usize {
        let now = Instant::ZERO;
        let [a, b] = &mut self.ends;
        let [our_owner, their_owner] = &mut self.owners;
        our_owner.records = 0;
        let prefer = Some(KadProtocol::Ipfs);
        a.dial(now, [3; 32], Dial { expected: Some(theirs.peer_id()), prefer });
        b.accept(now, [4; 32]);
        a.open(now, Request::GetValue { key: KEY }, Tag(0)).expect("room for a request");
        let (mut out, mut total) = ([0; 1472], 0);
        loop {
            let there = a.poll_send(now, &mut out, our_owner);
            b.handle_octets(now, &out[..there], theirs, their_owner);
            let back = b.poll_send(now, &mut out, their_owner);
            a.handle_octets(now, &out[..back], ours, our_owner);
            total += there + back;
            if there == 0 && back == 0 {
                break;
            }
        }
        assert_eq!(our_owner.records, 1);
        total
    }
}

#[derive(Default)]
struct Owner {
    stats: Stats,
    records: usize,
}

impl Handler for Owner {
    fn stats(&mut self) -> &mut Stats {
        &mut self.stats
    }

    fn serves_kad(&self) -> bool {
        true
    }

    fn established(&mut self, _: &PeerId) {}

    fn answer(&mut self, _: &PeerId, request: Request<'_>, out: &mut Writer<'_>) -> Answer {
        let Request::GetValue { key } = request else { return Answer::Reset };
        let record = Some(Record { key, value: &[b'v'; 600], publisher: None, ttl: 0 });
        Response::GetValue { record, closer: &[] }.encode(out);
        Answer::Reply
    }

    fn request(&mut self, _: Tag) -> Option<Request<'_>> {
        None
    }

    fn part(&mut self, _: &PeerId, _: Tag, part: Part<'_>) {
        self.records += usize::from(matches!(part, Part::Record(_)));
    }

    fn failed(&mut self, _: Tag, why: StreamError) {
        unreachable!("{why}");
    }

    fn identified(&mut self, _: &PeerId, _: &Identified) {}

    fn identify(&mut self, _: &mut Writer<'_>) {}

    fn closed(&mut self, why: Error) {
        unreachable!("{why}");
    }
}
