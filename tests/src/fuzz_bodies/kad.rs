//! Kademlia messages: requests whole, responses in pieces beside a reader that keeps everything.

use phase_core::limits::{
    ADDRESSES_PER_PEER, PEERS_PER_RESPONSE, RECORD_NAMES_MAX, RECORD_VALUE_MAX,
};
use phase_core::wire::contact::Contact;
use phase_core::wire::cursor::Reader;
use phase_core::wire::kad::{Part, Record, Request, ResponseParser, decode_request};
use phase_core::wire::protobuf::{Field, Fields, Value};
use phase_core::wire::{multiaddr::Multiaddr, peer_id, varint};

use super::libp2p::{pieces, written};

/// Holds that what was read as a request can be written, and reads as the same.
///
/// # Panics
/// When a law is broken.
pub fn kad_request(data: &[u8]) {
    let Ok(request) = decode_request(data) else { return };
    let len = request.encoded_len();
    let octets = written(len, |w| request.encode(w));
    assert_eq!(octets.len(), len);
    let mut r = Reader::new(&octets);
    let prefix = varint::decode(&mut r).expect("a length");
    assert_eq!(usize::try_from(prefix), Ok(r.remaining()));
    assert_eq!(decode_request(r.rest()), Ok(request));
    match request {
        Request::PutValue { record } => assert!(!record.key.is_empty()),
        Request::AddProvider { key, providers } => {
            assert!(!key.is_empty());
            assert!(providers.iter().count() <= PEERS_PER_RESPONSE);
        }
        Request::GetValue { key } | Request::GetProviders { key } | Request::FindNode { key } => {
            assert!(!key.is_empty())
        }
    }
}

/// A part without its borrow.
#[derive(Clone, Debug, PartialEq)]
enum Kept {
    Record { key: Vec<u8>, value: Vec<u8>, publisher: Option<Vec<u8>>, ttl: u32 },
    Oversized,
    Closer(Contact),
    Provider(Contact),
    End,
}

/// Holds that a response in pieces has the parts that its fields have.
///
/// # Panics
/// When a law is broken.
pub fn kad_response(data: &[u8]) {
    let (size, message) = pieces(data);
    let mut parts = Vec::new();
    let outcome = feed(message, size, &mut parts);
    let mut expected = Vec::new();
    match read_whole(message, &mut expected) {
        Some(()) => {
            assert_eq!(outcome, Ok(()));
            assert_eq!(parts, expected);
        }
        None => assert!(outcome.is_err() && !parts.contains(&Kept::End)),
    }
}

fn feed(message: &[u8], size: usize, parts: &mut Vec<Kept>) -> Result<(), phase_core::wire::Error> {
    let mut parser = ResponseParser::new(u32::try_from(message.len()).expect("short"));
    let mut sink = |part: Part<'_>| {
        parts.push(match part {
            Part::Record(Record { key, value, publisher, ttl }) => {
                assert!(value.len() <= RECORD_VALUE_MAX);
                let publisher: Option<Vec<u8>> = publisher.map(Into::into);
                Kept::Record { key: key.into(), value: value.into(), publisher, ttl }
            }
            Part::Oversized => Kept::Oversized,
            Part::Closer(contact) => Kept::Closer(contact),
            Part::Provider(contact) => Kept::Provider(contact),
            Part::End => Kept::End,
        });
    };
    parser.feed(&[], &mut sink)?;
    message.chunks(size).try_for_each(|piece| parser.feed(piece, &mut sink))
}

/// The parts of a message by the fields of the whole; none when a field of it cannot be read.
fn read_whole(message: &[u8], parts: &mut Vec<Kept>) -> Option<()> {
    let (mut records, mut closer, mut providers) = (0, 0, 0);
    for field in Fields::new(message) {
        let field = field.ok()?;
        let Value::Bytes(octets) = field.value else { continue };
        let seen = match field.number {
            3 => &mut records,
            8 => &mut closer,
            9 => &mut providers,
            _ => continue,
        };
        *seen += 1;
        if *seen > if field.number == 3 { 1 } else { PEERS_PER_RESPONSE } {
            continue;
        }
        let fields: Vec<Field<'_>> = Fields::new(octets).collect::<Result<_, _>>().ok()?;
        match field.number {
            3 => parts.push(record(&fields)),
            8 => parts.extend(contact(&fields).map(Kept::Closer)),
            _ => parts.extend(contact(&fields).map(Kept::Provider)),
        }
    }
    parts.push(Kept::End);
    Some(())
}

fn record(fields: &[Field<'_>]) -> Kept {
    let all = |number| {
        fields
            .iter()
            .filter(move |field| field.number == number)
            .filter_map(|f| f.value.bytes("").ok())
    };
    let last = |number| all(number).next_back().map(<[u8]>::to_vec);
    let names: usize = all(1).chain(all(666)).map(<[u8]>::len).sum();
    let values: usize = all(2).map(<[u8]>::len).sum();
    let is_oversized = names > RECORD_NAMES_MAX
        || all(2).any(|value| value.len() > RECORD_VALUE_MAX)
        || names + values > RECORD_NAMES_MAX + RECORD_VALUE_MAX;
    if is_oversized {
        return Kept::Oversized;
    }
    let ttl = fields.iter().filter(|field| field.number == 777);
    let ttl = ttl.filter_map(|field| field.value.varint("").ok()).next_back().unwrap_or(0);
    Kept::Record {
        key: last(1).unwrap_or_default(),
        value: last(2).unwrap_or_default(),
        publisher: last(666),
        ttl: u32::try_from(ttl).unwrap_or(u32::MAX),
    }
}

fn contact(fields: &[Field<'_>]) -> Option<Contact> {
    let mut peer = None;
    let mut addresses = phase_core::wire::contact::Addresses::NONE;
    for field in fields {
        let Value::Bytes(octets) = field.value else { continue };
        match field.number {
            1 => peer = peer_id::decode_multihash(octets).ok(),
            2 => {
                let multiaddr = Multiaddr::new(octets);
                let named = multiaddr.peer();
                let is_of_another = named.is_some() && peer.is_some() && named != peer;
                if let Some(address) = multiaddr.socket_addr().filter(|_| !is_of_another) {
                    addresses.offer(address);
                }
            }
            _ => {}
        }
    }
    assert!(addresses.count() <= ADDRESSES_PER_PEER);
    Some(Contact { peer: peer?, addresses })
}
