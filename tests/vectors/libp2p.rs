//! libp2p's formats: deterministic vectors, and what other implementations sent in recorded connections.

#[path = "libp2p/hostile.rs"]
mod hostile;
#[path = "libp2p/transcripts.rs"]
mod transcripts;
#[path = "libp2p/vectors.rs"]
mod vectors;

use phase_core::wire::contact::Contact;
use phase_core::wire::cursor::{Reader, Writer};
use phase_core::wire::kad::{Part, ResponseParser};
use phase_core::wire::varint;
use serde_json::Value;

/// A file of this folder; it names its source and specification.
fn read(name: &str) -> Value {
    let path = super::folder_path("libp2p").join(name).with_extension("json");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let value: Value = serde_json::from_str(&text).expect("JSON");
    for key in ["source", "spec"] {
        assert!(value[key].is_string(), "{name} has no {key}");
    }
    value
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// The octets that a text in hex stands for.
fn octets(value: &Value) -> Vec<u8> {
    let digit = |octet: u8| char::from(octet).to_digit(16).expect("hex");
    let pairs = text(value).as_bytes().chunks(2);
    pairs.map(|pair| u8::try_from(digit(pair[0]) << 4 | digit(pair[1])).unwrap()).collect()
}

/// What `encode` writes, into a buffer in which every other octet keeps its value.
fn written(encode: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = [0xa5; 4096];
    let mut w = Writer::new(&mut buffer);
    encode(&mut w);
    let len = w.finish().expect("it fits");
    assert!(buffer[len..].iter().all(|octet| *octet == 0xa5));
    buffer[..len].to_vec()
}

/// Takes off the length in front of a message, which must be right.
fn unprefixed(octets: &[u8]) -> &[u8] {
    let mut r = Reader::new(octets);
    let len = varint::decode(&mut r).expect("a length");
    assert_eq!(usize::try_from(len).unwrap(), r.remaining());
    r.rest()
}

/// Key, value, publisher and lifetime.
type OwnedRecord = (Vec<u8>, Vec<u8>, Option<Vec<u8>>, u32);

/// What a response holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Response {
    record: Option<OwnedRecord>,
    closer: Vec<Contact>,
    providers: Vec<Contact>,
}

/// Reads a response whole and in pieces, which must give the same.
fn response(message: &[u8]) -> Response {
    let whole = response_in_pieces(message, message.len());
    for pieces in [1, 2, 5] {
        assert_eq!(response_in_pieces(message, pieces), whole);
    }
    whole
}

fn response_in_pieces(message: &[u8], pieces: usize) -> Response {
    let mut parser = ResponseParser::new(u32::try_from(message.len()).unwrap());
    let mut response = Response::default();
    let mut ended = false;
    for piece in message.chunks(pieces) {
        let outcome = parser.feed(piece, &mut |part| {
            assert!(!ended);
            match part {
                Part::Record(record) => {
                    assert_eq!(response.record, None);
                    let publisher = record.publisher.map(Into::into);
                    response.record =
                        Some((record.key.into(), record.value.into(), publisher, record.ttl));
                }
                Part::Oversized => panic!("no record here is too long"),
                Part::Closer(contact) => response.closer.push(contact),
                Part::Provider(contact) => response.providers.push(contact),
                Part::End => ended = true,
            }
        });
        assert_eq!(outcome, Ok(()));
    }
    assert!(ended);
    response
}
