//! Kademlia responses, read as they come.

use core::ops::Range;

use super::peer::{ADDRESS, Draft, ID};
use super::{Record, field, record_field, ttl};
use crate::limits::{PEERS_PER_RESPONSE, RECORD_NAMES_MAX, RECORD_VALUE_MAX};
use crate::wire::Error;
use crate::wire::contact::Contact;
use crate::wire::multiaddr;
use crate::wire::peer_id;
use crate::wire::protobuf::{Scanner, Take, Visitor};

/// Something that a response holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// The first record; others in the same message are skipped.
    Record(Record<'a>),
    /// The first record was skipped: its value is longer than [`RECORD_VALUE_MAX`] octets, or its key and publisher
    /// than [`RECORD_NAMES_MAX`].
    Oversized,
    /// A peer that is closer to the key.
    Closer(Contact),
    /// A peer that provides what the key names.
    Provider(Contact),
    /// The message was read to its end. Nothing follows.
    End,
}

/// Reads one response; whatever its length, this is all the memory it takes. The type and the key of the message
/// are not looked at: the stream says which request is answered, and a record has its own key.
#[derive(Clone, Debug)]
pub struct ResponseParser {
    scanner: Scanner,
    state: State,
    ended: bool,
}

impl ResponseParser {
    /// Expects a message of `len` octets, the length in front of it not counted.
    #[must_use]
    pub const fn new(len: u32) -> Self {
        Self { scanner: Scanner::new(len), state: State::NEW, ended: false }
    }

    /// Octets of the message that are still to come.
    #[must_use]
    pub const fn remaining(&self) -> u32 {
        self.scanner.remaining()
    }

    /// Takes the next octets of the message and hands on what they complete; [`Part::End`] with the last. A message
    /// without octets ends at the first call, with none.
    ///
    /// # Errors
    /// `Truncated` or `Malformed` when they are no such message, or more than it has. The parser is of no use
    /// then; what was handed on stays true.
    pub fn feed(&mut self, octets: &[u8], sink: &mut impl FnMut(Part<'_>)) -> Result<(), Error> {
        self.scanner.feed(octets, &mut Visit { state: &mut self.state, sink })?;
        if self.scanner.is_complete() && !self.ended {
            self.ended = true;
            sink(Part::End);
        }
        Ok(())
    }
}

/// What is kept between octets.
#[derive(Clone, Debug)]
struct State {
    within: Within,
    /// The names and the value of the record, or one field of a peer.
    scratch: heapless::Vec<u8, SCRATCH, u16>,
    /// Where in the scratch the field begins that is copied.
    start: u16,
    record: RecordDraft,
    peer: Draft,
    records: usize,
    closer: usize,
    providers: usize,
}

/// Which message the fields belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Message,
    Record,
    Peer,
}

const SCRATCH: usize = RECORD_VALUE_MAX + RECORD_NAMES_MAX;

/// Octets of the longest address that is looked at; none that can be dialled is longer.
const ADDRESS_MAX: u32 = 64;
const _: () = assert!(multiaddr::ENCODED_MAX <= ADDRESS_MAX as usize);

/// Where the fields of the record stand in the scratch.
#[derive(Clone, Debug)]
struct RecordDraft {
    key: Range<u16>,
    value: Range<u16>,
    publisher: Option<Range<u16>>,
    ttl: u32,
    names_len: u32,
    is_oversized: bool,
}

impl RecordDraft {
    const NEW: Self =
        Self { key: 0..0, value: 0..0, publisher: None, ttl: 0, names_len: 0, is_oversized: false };
}

impl State {
    const NEW: Self = Self {
        within: Within::Message,
        scratch: heapless::Vec::new(),
        start: 0,
        record: RecordDraft::NEW,
        peer: Draft::NEW,
        records: 0,
        closer: 0,
        providers: 0,
    };

    fn begin_in_message(&mut self, number: u32) -> Take {
        let (seen, most, within) = match number {
            field::RECORD => (&mut self.records, 1, Within::Record),
            field::CLOSER => (&mut self.closer, PEERS_PER_RESPONSE, Within::Peer),
            field::PROVIDER => (&mut self.providers, PEERS_PER_RESPONSE, Within::Peer),
            _ => return Take::Skip,
        };
        if *seen >= most {
            return Take::Skip;
        }
        *seen = seen.saturating_add(1);
        self.within = within;
        self.scratch.clear();
        self.record = RecordDraft::NEW;
        self.peer = Draft::NEW;
        Take::Enter
    }

    fn begin_in_record(&mut self, number: u32, len: u32) -> Take {
        let fits = match number {
            record_field::KEY | record_field::PUBLISHER => {
                self.record.names_len = self.record.names_len.saturating_add(len);
                at_most(self.record.names_len, RECORD_NAMES_MAX)
            }
            record_field::VALUE => at_most(len, RECORD_VALUE_MAX),
            _ => return Take::Skip,
        };
        let room = SCRATCH.saturating_sub(self.scratch.len());
        if !fits || !at_most(len, room) {
            self.record.is_oversized = true;
            return Take::Skip;
        }
        self.start = self.end();
        Take::Copy
    }

    fn begin_in_peer(&mut self, number: u32, len: u32) -> Take {
        self.scratch.clear();
        self.start = 0;
        match number {
            ID if at_most(len, peer_id::MULTIHASH_LEN) => Take::Copy,
            ID => {
                self.peer.id(&[]);
                Take::Skip
            }
            ADDRESS if len <= ADDRESS_MAX => Take::Copy,
            _ => Take::Skip,
        }
    }

    fn end_in_record(&mut self, number: u32) {
        let copied = self.start..self.end();
        match number {
            record_field::KEY => self.record.key = copied,
            record_field::VALUE => self.record.value = copied,
            record_field::PUBLISHER => self.record.publisher = Some(copied),
            _ => {}
        }
    }

    fn end_in_peer(&mut self, number: u32) {
        match number {
            ID => self.peer.id(&self.scratch),
            ADDRESS => self.peer.address(&self.scratch),
            _ => {}
        }
    }

    /// Hands on the record or the peer that is complete.
    fn end_nested(&mut self, number: u32, sink: &mut impl FnMut(Part<'_>)) {
        self.within = Within::Message;
        match (number, self.peer.finish()) {
            (field::RECORD, _) if self.record.is_oversized => sink(Part::Oversized),
            (field::RECORD, _) => sink(Part::Record(Record {
                key: self.octets(&self.record.key),
                value: self.octets(&self.record.value),
                publisher: self.record.publisher.as_ref().map(|range| self.octets(range)),
                ttl: self.record.ttl,
            })),
            (field::CLOSER, Some(contact)) => sink(Part::Closer(contact)),
            (field::PROVIDER, Some(contact)) => sink(Part::Provider(contact)),
            (_, _) => {}
        }
    }

    fn octets(&self, range: &Range<u16>) -> &[u8] {
        self.scratch.get(usize::from(range.start)..usize::from(range.end)).unwrap_or(&[])
    }

    fn end(&self) -> u16 {
        u16::try_from(self.scratch.len()).unwrap_or(u16::MAX)
    }
}

fn at_most(len: u32, most: usize) -> bool {
    usize::try_from(len).is_ok_and(|len| len <= most)
}

struct Visit<'s, F> {
    state: &'s mut State,
    sink: &'s mut F,
}

impl<F: FnMut(Part<'_>)> Visitor for Visit<'_, F> {
    fn begin(&mut self, number: u32, len: u32) -> Take {
        match self.state.within {
            Within::Message => self.state.begin_in_message(number),
            Within::Record => self.state.begin_in_record(number, len),
            Within::Peer => self.state.begin_in_peer(number, len),
        }
    }

    fn octets(&mut self, octets: &[u8]) {
        // There is room: a field that is copied fits as a whole.
        let _ = self.state.scratch.extend_from_slice(octets);
    }

    fn end(&mut self, number: u32) {
        match (self.state.within, number) {
            (Within::Record, field::RECORD) | (Within::Peer, field::CLOSER | field::PROVIDER) => {
                self.state.end_nested(number, self.sink);
            }
            (Within::Record, _) => self.state.end_in_record(number),
            (Within::Peer, _) => self.state.end_in_peer(number),
            (Within::Message, _) => {}
        }
    }

    fn varint(&mut self, number: u32, value: u64) {
        if self.state.within == Within::Record && number == record_field::TTL {
            self.state.record.ttl = ttl(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{KEY, contact, unprefixed, written};
    use super::super::{Response, peer};
    use super::*;
    use std::vec::Vec;

    /// A part without its borrow.
    #[derive(Debug, PartialEq, Eq)]
    enum Seen {
        Record(Vec<u8>, Vec<u8>, Option<Vec<u8>>, u32),
        Oversized,
        Closer(Contact),
        Provider(Contact),
        End,
    }

    fn parse(message: &[u8], pieces: usize) -> (Vec<Seen>, Result<(), Error>) {
        let mut parser = ResponseParser::new(message.len() as u32);
        let mut seen = Vec::new();
        let mut sink = |part: Part<'_>| {
            seen.push(match part {
                Part::Record(Record { key, value, publisher, ttl }) => {
                    Seen::Record(key.into(), value.into(), publisher.map(Into::into), ttl)
                }
                Part::Oversized => Seen::Oversized,
                Part::Closer(contact) => Seen::Closer(contact),
                Part::Provider(contact) => Seen::Provider(contact),
                Part::End => Seen::End,
            });
        };
        let outcome = if message.is_empty() {
            parser.feed(&[], &mut sink)
        } else {
            message.chunks(pieces).try_for_each(|piece| parser.feed(piece, &mut sink))
        };
        (seen, outcome)
    }

    /// The parts of a message, the same however it is cut.
    fn parts(message: &[u8]) -> Vec<Seen> {
        let (whole, outcome) = parse(message, message.len().max(1));
        assert_eq!(outcome, Ok(()));
        for pieces in [1, 2, 3, 7, 64] {
            assert_eq!(parse(message, pieces).0, whole, "{pieces} at a time");
        }
        whole
    }

    fn seen(record: &Record<'_>) -> Seen {
        let publisher = record.publisher.map(Into::into);
        Seen::Record(record.key.into(), record.value.into(), publisher, record.ttl)
    }

    const RECORD: Record<'_> =
        Record { key: KEY, value: b"{\"v\":1}", publisher: Some(&[7; 38]), ttl: 7200 };

    #[test]
    fn every_response_comes_back_in_parts() {
        let (closer, providers) = ([contact(1), contact(2)], [contact(3)]);
        let octets = written(|w| Response::PutValue { record: RECORD }.encode(w));
        assert_eq!(parts(unprefixed(&octets)), [seen(&RECORD), Seen::End]);
        let response = Response::GetValue { record: Some(RECORD), closer: &closer };
        let octets = written(|w| response.encode(w));
        let [one, two] = closer.clone().map(Seen::Closer);
        assert_eq!(parts(unprefixed(&octets)), [seen(&RECORD), one, two, Seen::End]);
        let octets = written(|w| Response::GetValue { record: None, closer: &[] }.encode(w));
        assert_eq!(parts(unprefixed(&octets)), [Seen::End]);
        let response = Response::GetProviders { providers: &providers, closer: &closer };
        let octets = written(|w| response.encode(w));
        let [one, two] = closer.clone().map(Seen::Closer);
        let [three] = providers.map(Seen::Provider);
        assert_eq!(parts(unprefixed(&octets)), [one, two, three, Seen::End]);
        let octets = written(|w| Response::FindNode { closer: &closer }.encode(w));
        let [one, two] = closer.map(Seen::Closer);
        assert_eq!(parts(unprefixed(&octets)), [one, two, Seen::End]);
    }

    #[test]
    fn a_message_without_octets_ends() {
        assert_eq!(parts(&[]), [Seen::End]);
    }

    #[test]
    fn fields_come_in_any_order_and_unknown_ones_are_skipped() {
        let peer_with_its_id_last = written(|w| {
            w.bytes_field(7, &[1; 300]);
            w.varint_field(3, 2);
            w.bytes_field(ADDRESS, &[4, 10, 0, 0, 1, 6, 0, 1]);
            w.bytes_field(ADDRESS, &[0xff; 65]);
            w.bytes_field(ID, &peer_id::encode_multihash(&contact(1).peer));
        });
        let record = written(|w| {
            w.varint_field(record_field::TTL, 9);
            w.bytes_field(5, b"2026-11-22T00:00:00Z");
            w.bytes_field(record_field::VALUE, b"v");
            w.bytes_field(3, b"author");
            w.bytes_field(record_field::KEY, b"k");
        });
        let message = written(|w| {
            w.bytes_field(11, &[2; 213]);
            w.bytes_field(field::PROVIDER, &peer_with_its_id_last);
            w.bytes_field(field::RECORD, &record);
            w.varint_field(field::TYPE, 1);
            w.bytes_field(field::KEY, KEY);
        });
        let provider = Contact::at(contact(1).peer, ([10, 0, 0, 1], 1).into());
        let record = Record { key: b"k", value: b"v", publisher: None, ttl: 9 };
        assert_eq!(parts(&message), [Seen::Provider(provider), seen(&record), Seen::End]);
    }

    #[test]
    fn long_values_and_names_are_skipped_and_the_rest_is_read() {
        let value = [b'v'; RECORD_VALUE_MAX + 1];
        let key = [b'k'; RECORD_NAMES_MAX + 1];
        let fits = Record {
            key: &key[..100],
            value: &value[..RECORD_VALUE_MAX],
            publisher: Some(&key[..RECORD_NAMES_MAX - 100]),
            ttl: 0,
        };
        let closer = [contact(1)];
        let told = |record| {
            let response = Response::GetValue { record: Some(record), closer: &closer };
            parts(unprefixed(&written(|w| response.encode(w))))
        };
        let [peer] = closer.clone().map(Seen::Closer);
        assert_eq!(told(fits), [seen(&fits), peer, Seen::End]);
        for record in [
            Record { value: &value, ..fits },
            Record { key: &key[..101], ..fits },
            Record { key: &key, publisher: None, ..fits },
        ] {
            let [peer] = closer.clone().map(Seen::Closer);
            assert_eq!(told(record), [Seen::Oversized, peer, Seen::End]);
        }
    }

    #[test]
    fn a_field_that_is_repeated_until_the_scratch_is_full_makes_the_record_oversized() {
        let record = written(|w| {
            for _ in 0..3 {
                w.bytes_field(record_field::VALUE, &[b'v'; 600]);
            }
        });
        let message = written(|w| w.bytes_field(field::RECORD, &record));
        assert_eq!(parts(&message), [Seen::Oversized, Seen::End]);
    }

    #[test]
    fn only_the_first_record_is_handed_on() {
        let record = Record { key: b"k", value: b"v", publisher: None, ttl: 0 };
        let octets = written(|w| {
            for _ in 0..3 {
                w.bytes_field_head(field::RECORD, record.encoded_len());
                record.encode(w);
            }
        });
        assert_eq!(parts(&octets), [seen(&record), Seen::End]);
    }

    #[test]
    fn ten_thousand_peers_and_addresses_leave_a_few() {
        let one = written(|w| peer::encode(&contact(1), field::CLOSER, w));
        let seen = parts(&one.repeat(10_000));
        assert_eq!(seen.len(), PEERS_PER_RESPONSE + 1);
        let mut inner =
            written(|w| w.bytes_field(ID, &peer_id::encode_multihash(&contact(1).peer)));
        for port in 1..=10_000 {
            inner.extend(written(|w| {
                w.bytes_field_head(ADDRESS, 8);
                multiaddr::encode(([10, 0, 0, 1], port).into(), None, w);
            }));
        }
        let mut message = written(|w| w.bytes_field_head(field::CLOSER, inner.len()));
        message.extend(inner);
        let [Seen::Closer(contact), Seen::End] = &parts(&message)[..] else { panic!("one peer") };
        assert_eq!(contact.addresses.count(), crate::limits::ADDRESSES_PER_PEER);
    }

    #[test]
    fn a_message_cut_at_any_octet_is_refused_or_lacks_its_end() {
        let closer = [contact(1), contact(2)];
        let response = Response::GetValue { record: Some(RECORD), closer: &closer };
        let octets = written(|w| response.encode(w));
        let message = unprefixed(&octets);
        for len in 0..message.len() {
            let mut parser = ResponseParser::new(message.len() as u32);
            let mut ended = false;
            let outcome = parser.feed(&message[..len], &mut |part| ended |= part == Part::End);
            assert_eq!((outcome, ended), (Ok(()), false), "the rest is awaited");
            assert_eq!(parser.remaining() as usize, message.len() - len);
            // As if the message ended here: never more than what the whole has.
            let (cut, _) = parse(&message[..len], 1);
            let (whole, _) = parse(message, 1);
            let same = cut.iter().zip(&whole).take_while(|(a, b)| a == b).count();
            assert!(same + 1 >= cut.len(), "{len} octets");
        }
    }

    #[test]
    fn a_parser_stays_small() {
        assert!(size_of::<ResponseParser>() <= 1500, "{}", size_of::<ResponseParser>());
    }
}
