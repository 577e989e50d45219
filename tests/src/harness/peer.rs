//! A peer of the DHT that answers as a test tells it, honestly or not.

use std::collections::BTreeMap;

use phase_core::connection::{Answer, Identity, KadProtocol, Tag};
use phase_core::dht::swarm::{Failure, Owner, Remote, Settings, Slot, Swarm};
use phase_core::identity::PeerId;
use phase_core::limits::{RX_FULL, TX_SERVER};
use phase_core::machine::{Input, Machine, Output, TransmitBuffer};
use phase_core::stats::Stats;
use phase_core::time::Instant;
use phase_core::wire::contact::{Addresses, Contact};
use phase_core::wire::cursor::Writer;
use phase_core::wire::identify::{Identified, Identify};
use phase_core::wire::kad::{Part, Record, Request, Response};
use phase_core::wire::multistream::Line;

use super::{key, seed};

/// Connections that it takes.
const SLOTS: usize = 8;

type PeerSlot = Slot<RX_FULL, TX_SERVER, 4>;

/// How a peer meets requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// Answers what it knows.
    #[default]
    Answers,
    /// Resets the stream.
    Resets,
    /// Never answers.
    Hangs,
    /// Answers, and stores whatever anybody gives it in the place of what it had, as nodes of rust-libp2p do.
    Stores,
}

/// What a peer knows, and what it was asked.
#[derive(Debug, Default)]
pub struct Book {
    /// Values by their keys.
    pub records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Providers by their keys.
    pub providers: BTreeMap<Vec<u8>, Vec<Contact>>,
    /// Takes no more providers, as nodes of rust-libp2p that have twenty of a key.
    pub providers_full: bool,
    /// Peers that it tells of in every answer.
    pub closer: Vec<Contact>,
    /// How it meets requests.
    pub manner: Manner,
    /// The only name it speaks Kademlia under; stock nodes know `/ipfs/kad/1.0.0`.
    pub only: Option<KadProtocol>,
    /// Who asked for which key, in the order they came.
    pub asked: Vec<(PeerId, Vec<u8>)>,
}

impl Book {
    /// Keeps what a request brings, if it brings something.
    fn store(
        &mut self,
        remote: &Remote,
        request: &Request<'_>,
        out: &mut Writer<'_>,
    ) -> Option<Answer> {
        match request {
            Request::PutValue { record } => {
                self.records.insert(record.key.to_vec(), record.value.to_vec());
                Response::PutValue { record: *record }.encode(out);
                Some(Answer::Reply)
            }
            Request::AddProvider { key, providers } => {
                let told: Vec<Contact> =
                    providers.iter().filter(|contact| contact.peer == remote.peer).collect();
                let known = self.providers.entry(key.to_vec()).or_default();
                if !self.providers_full {
                    known.retain(|contact| contact.peer != remote.peer);
                    known.extend(told);
                }
                Some(Answer::Nothing)
            }
            Request::GetValue { .. } | Request::GetProviders { .. } | Request::FindNode { .. } => {
                None
            }
        }
    }
}

impl Owner for Book {
    fn request(&mut self, _: Tag) -> Option<Request<'_>> {
        None
    }

    fn reached(&mut self, _: Tag, _: &Remote) {}

    fn speaks(&self, protocol: KadProtocol) -> bool {
        self.only.is_none_or(|only| only == protocol)
    }

    fn part(&mut self, _: Instant, _: Tag, _: &Remote, _: Part<'_>) {}

    fn failed(&mut self, _: Instant, _: Tag, _: &Failure) {}

    fn answer(
        &mut self,
        _: Instant,
        remote: &Remote,
        request: Request<'_>,
        out: &mut Writer<'_>,
    ) -> Answer {
        let (Request::GetValue { key }
        | Request::GetProviders { key }
        | Request::FindNode { key }
        | Request::AddProvider { key, .. }
        | Request::PutValue { record: Record { key, .. } }) = request;
        self.asked.push((remote.peer, key.to_vec()));
        match self.manner {
            Manner::Resets => return Answer::Reset,
            Manner::Hangs => return Answer::Nothing,
            Manner::Answers => {}
            Manner::Stores => {
                if let Some(answer) = self.store(remote, &request, out) {
                    return answer;
                }
            }
        }
        let value = self.records.get(key);
        let record = value.map(|value| Record { key, value, publisher: None, ttl: 0 });
        let providers = self.providers.get(key).map_or(&[][..], Vec::as_slice);
        let closer = self.closer.as_slice();
        let response = match request {
            Request::GetValue { .. } => Response::GetValue { record, closer },
            Request::GetProviders { .. } => Response::GetProviders { providers, closer },
            Request::FindNode { .. } => Response::FindNode { closer },
            Request::AddProvider { .. } | Request::PutValue { .. } => return Answer::Reset,
        };
        response.encode(out);
        Answer::Reply
    }

    fn identified(&mut self, _: Instant, _: &Remote, _: &Identified) {}

    fn identify(&mut self, remote: &Remote, out: &mut Writer<'_>) {
        let identify = Identify {
            peer: remote.peer,
            addresses: &Addresses::NONE,
            protocols: match self.only {
                Some(KadProtocol::Phase) => &[Line::PhaseKad],
                Some(KadProtocol::Ipfs) => &[Line::IpfsKad],
                None => &[Line::PhaseKad, Line::IpfsKad],
            },
            observed: None,
            protocol_version: "",
            agent: "",
        };
        identify.encode(out);
    }

    fn left(&mut self, _: Instant, _: &Remote) {}
}

/// A peer of the DHT with the key of `number`.
#[derive(Debug)]
pub struct DhtPeer {
    swarm: Swarm<Box<[PeerSlot]>, RX_FULL, TX_SERVER, 4>,
    /// What it knows and was asked.
    pub book: Book,
}

impl DhtPeer {
    /// A peer that knows nothing.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self::with_slots(number, SLOTS)
    }

    /// As [`DhtPeer::new`], for so many connections.
    #[must_use]
    pub fn with_slots(number: u64, count: usize) -> Self {
        let settings =
            Settings { inbound: count, idle: std::time::Duration::from_secs(120), prefer: None };
        let slots = (0..count).map(|_| PeerSlot::new()).collect();
        let identity = Identity::new(&key(number), &seed(number));
        let swarm = Swarm::new(Instant::ZERO, slots, identity, seed(number), settings);
        Self { swarm, book: Book::default() }
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        self.swarm.stats()
    }
}

impl Machine for DhtPeer {
    type Event = ();

    fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        if let Input::Connection(id, input) = input {
            self.swarm.handle_connection(now, id, input, &mut self.book);
        }
        self.swarm.handle_timeout(now, &mut self.book);
        self.swarm.pump(now, &mut self.book);
    }

    fn poll_output(&mut self, buf: &mut TransmitBuffer) -> Output<()> {
        match self.swarm.poll_output(buf, &mut self.book) {
            Some((id, what)) => Output::Connection(id, what),
            None => Output::Timeout(self.swarm.next_wake()),
        }
    }
}
