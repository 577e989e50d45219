//! Hostile octets for libp2p's formats: replays of published attacks on other implementations, and every message of
//! the vectors with each field broken in every way. Each is refused, by its name, or costs nothing.

use phase_core::kad::key::Key;
use phase_core::kad::query::{Config, Query};
use phase_core::limits::{ADDRESSES_PER_PEER, PEERS_PER_RESPONSE};
use phase_core::wire::contact::Contact;
use phase_core::wire::cursor::Writer;
use phase_core::wire::identify::{Identified, Parser};
use phase_core::wire::kad::{self, Part, Record, Request, ResponseParser, decode_request};
use phase_core::wire::multistream::LineReader;
use phase_core::wire::noise::Payload;
use phase_core::wire::protobuf::Fields;
use phase_core::wire::{Error, peer_id};
use phase_tests::fuzz_bodies;
use serde_json::Value;

use super::{octets, read, response, text, unprefixed, written};

const KEY: &[u8] = b"/phase/stable/arm64/manifest";

/// The messages of the vectors whose names contain `what`, by their names.
fn messages(vectors: &Value, what: &str) -> Vec<(String, Vec<u8>)> {
    let kad = vectors["kad"].as_object().expect("messages");
    let of = kad.iter().filter(|(name, _)| name.contains(what));
    of.map(|(name, whole)| (name.clone(), unprefixed(&octets(whole)).to_vec())).collect()
}

fn peer(vectors: &Value, name: &str) -> Contact {
    let peer = text(&vectors[name]["peer_id"]).parse().expect("a peer id");
    Contact::at(peer, "192.168.1.100:4001".parse().unwrap())
}

/// A field of each wire type but the one that octets have.
fn as_numbers(number: u32) -> [Vec<u8>; 3] {
    let tag = |kind: u64| written(|w| w.varint(u64::from(number) << 3 | kind));
    [[tag(0), vec![7]].concat(), [tag(1), vec![0; 8]].concat(), [tag(5), vec![0; 4]].concat()]
}

/// Octets that end every message they stand in, and why.
fn enders() -> Vec<(Vec<u8>, Error)> {
    let cut = Error::Truncated("protobuf field");
    vec![
        (vec![0x0b, 0x0c], Error::Unsupported("protobuf group")),
        (vec![0x0c], Error::Unsupported("protobuf group")),
        (vec![0x0e, 0x00], Error::Malformed("protobuf wire type")),
        (vec![0x0f, 0x00], Error::Malformed("protobuf wire type")),
        (vec![0x00, 0x00], Error::Malformed("protobuf field number")),
        (vec![0x07], Error::Malformed("protobuf wire type")),
        (vec![0x80, 0x80, 0x80, 0x80, 0x10, 0], Error::Malformed("protobuf field number")),
        (vec![0xff; 11], Error::Malformed("number")),
        ([&[0x78][..], &[0xff; 9], &[0x02]].concat(), Error::Malformed("number")),
        (vec![0x7a, 0x01], cut),
        (vec![0x7a, 0xff, 0xff, 0xff, 0xff, 0x0f], cut),
        (vec![0x7a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], cut),
        (vec![0x7d, 0, 0, 0], cut),
        (vec![0x79, 0, 0, 0, 0, 0, 0, 0], cut),
    ]
}

#[test]
fn requests_with_a_broken_field_are_refused_by_its_name() {
    let vectors = read("vectors");
    let requests = messages(&vectors, " req");
    assert_eq!(requests.len(), 8);
    let mut count = 0;
    let mut refuse = |name: &str, octets: &[u8], why: Error| {
        assert_eq!(decode_request(octets), Err(why), "{name}: {octets:x?}");
        count += 1;
    };
    for (name, message) in &requests {
        // Each broken field in front, behind, and between any two fields.
        let mut boundaries = vec![0];
        for at in 1..=message.len() {
            if Fields::new(&message[..at]).all(|field| field.is_ok()) {
                boundaries.push(at);
            }
        }
        assert_eq!(boundaries.last(), Some(&message.len()));
        for at in boundaries {
            let with = |broken: &[u8]| [&message[..at], broken, &message[at..]].concat();
            for (broken, why) in enders() {
                // What is cut short at the end is more of the message elsewhere.
                if at == message.len() || !matches!(why, Error::Truncated(_)) {
                    refuse(name, &with(&broken), why);
                }
            }
            for broken in as_numbers(2) {
                refuse(name, &with(&broken), Error::Malformed("kad key"));
            }
            for broken in as_numbers(3) {
                refuse(name, &with(&broken), Error::Malformed("kad record"));
            }
            refuse(name, &with(&[0x0a, 0x01, 0x01]), Error::Malformed("kad type"));
        }
        for kind in [5, 6, 127, u64::MAX] {
            let typed = written(|w| w.varint_field(1, kind));
            refuse(name, &[&message[..], &typed].concat(), Error::Unsupported("kad type"));
        }
    }
    assert!(count >= 500, "{count} messages");
}

#[test]
fn records_with_a_broken_field_or_under_another_key_are_refused() {
    let record = Record { key: KEY, value: b"v", publisher: None, ttl: 1 };
    let inner = written(|w| record.encode(w));
    let put = |inner: &[u8]| {
        written(|w| {
            w.bytes_field(2, KEY);
            w.bytes_field(3, inner);
        })
    };
    assert_eq!(decode_request(&put(&inner)), Ok(Request::PutValue { record }));
    for (number, why) in [(1, "record key"), (2, "record value"), (666, "publisher")] {
        for broken in as_numbers(number) {
            let octets = put(&[&inner[..], &broken].concat());
            assert_eq!(decode_request(&octets), Err(Error::Malformed(why)));
        }
    }
    let octets = put(&[&inner[..], &written(|w| w.bytes_field(777, b"1"))].concat());
    assert_eq!(decode_request(&octets), Err(Error::Malformed("record ttl")));
    for (broken, why) in enders() {
        assert_eq!(decode_request(&put(&[&inner[..], &broken].concat())), Err(why));
    }
    let other = Error::Malformed("record under another key");
    for key in [&KEY[1..], b"", b"/phase/stable/arm64/manifest/", b"/phase/stable/amd64/manifest"] {
        let octets = put(&written(|w| Record { key, ..record }.encode(w)));
        assert_eq!(decode_request(&octets), Err(other), "{key:?}");
    }
}

#[test]
fn responses_with_a_broken_field_are_refused_and_never_end() {
    let vectors = read("vectors");
    for (name, message) in messages(&vectors, " resp") {
        for (broken, why) in enders() {
            let octets = [&message[..], &broken].concat();
            for pieces in [1, 7, octets.len()] {
                let mut parser = ResponseParser::new(u32::try_from(octets.len()).unwrap());
                let mut ended = false;
                let outcome = octets.chunks(pieces).try_for_each(|piece| {
                    parser.feed(piece, &mut |part| ended |= part == Part::End)
                });
                assert_eq!((outcome, ended), (Err(why), false), "{name} {broken:x?}");
            }
        }
    }
}

#[test]
fn every_message_cut_at_every_octet_or_with_any_bit_flipped_breaks_no_law() {
    let vectors = read("vectors");
    let identify = unprefixed(&octets(&vectors["identify"]["msg"])).to_vec();
    let payload = octets(&vectors["noise_xx"]["payload2_plain"]);
    type Body = fn(&[u8]);
    let mut inputs: Vec<(Vec<u8>, Body)> = vec![(payload, fuzz_bodies::noise_payload)];
    inputs.push(([&[1][..], &identify].concat(), fuzz_bodies::identify));
    for (_, message) in messages(&vectors, " req") {
        inputs.push((message, fuzz_bodies::kad_request));
    }
    for (_, message) in messages(&vectors, " resp") {
        inputs.push(([&[1][..], &message].concat(), fuzz_bodies::kad_response));
        inputs.push(([&[3][..], &message].concat(), fuzz_bodies::protobuf));
    }
    for multiaddr in vectors["multiaddr"].as_object().expect("multiaddrs").values() {
        inputs.push((octets(multiaddr), fuzz_bodies::multiaddr));
    }
    for (input, body) in inputs {
        for len in 0..input.len() {
            body(&input[..len]);
        }
        for bit in 0..input.len() * 8 {
            let mut flipped = input.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            body(&flipped);
        }
    }
}

/// GHSA-xqvc-92cf-94j4 and CVE-2022-23486: a length that nobody could hold reserves no memory and is no promise.
#[test]
fn lengths_without_bound_cost_nothing() {
    let longest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let refused = Err(Error::Unsupported("multistream line of this length"));
    assert_eq!(LineReader::new().feed(&longest), refused);
    let mut field = vec![0x12];
    field.extend(longest);
    let cut = Error::Truncated("protobuf field");
    assert_eq!(decode_request(&field), Err(cut));
    assert_eq!(Payload::decode(&field), Err(cut));
    assert_eq!(Identified::decode(&field), Err(cut));
    // Four gigabytes are announced, and taken as they come: no more than the parser is ever held.
    let mut parser = ResponseParser::new(u32::MAX);
    let head = written(|w| w.bytes_field_head(9999, usize::try_from(u32::MAX - 8).unwrap()));
    assert_eq!(head.len(), 8);
    parser.feed(&head, &mut |part| panic!("{part:?}")).unwrap();
    let junk = vec![0xa5; 1 << 16];
    for _ in 0..64 {
        parser.feed(&junk, &mut |part| panic!("{part:?}")).unwrap();
    }
    assert_eq!(parser.remaining(), u32::MAX - 8 - (64 << 16));
    assert!(Parser::new(u32::MAX).feed(&head).unwrap().is_none());
}

#[test]
fn ten_thousand_peers_with_ten_thousand_addresses_leave_a_few() {
    let vectors = read("vectors");
    let own = peer(&vectors, "id_A").peer;
    let one = |number, addresses: u16| {
        let address = |port: u16| {
            written(|w| w.bytes_field(2, &[&[4, 10, 0, 0, 1, 6][..], &port.to_be_bytes()].concat()))
        };
        let inner = (1..=addresses).map(address).fold(
            written(|w| w.bytes_field(1, &peer_id::encode_multihash(&own))),
            |inner, address| [inner, address].concat(),
        );
        let mut buffer = vec![0; inner.len() + 16];
        let mut w = Writer::new(&mut buffer);
        w.bytes_field(number, &inner);
        w.written().to_vec()
    };
    let message = [one(8, 1).repeat(10_000), one(9, 1).repeat(10_000), one(8, 10_000)].concat();
    let read = response(&message);
    assert_eq!(read.closer.len(), PEERS_PER_RESPONSE);
    assert_eq!(read.providers.len(), PEERS_PER_RESPONSE, "the 21st is looked at, the 33rd is not");
    let read = response(&one(9, 10_000));
    assert_eq!(read.providers[0].addresses.count(), ADDRESSES_PER_PEER);
}

#[test]
fn a_lookup_that_is_told_of_itself_and_in_circles_goes_on_and_ends() {
    let vectors = read("vectors");
    let (own, liar) = (peer(&vectors, "id_A"), peer(&vectors, "id_B"));
    // The liar names us, itself, and both again.
    let closer = [own.clone(), liar.clone(), own.clone(), liar.clone()];
    let octets = written(|w| kad::Response::FindNode { closer: &closer }.encode(w));
    let told = response(unprefixed(&octets));
    assert_eq!(told.closer, closer);
    let mut query = Query::<24>::new(Key::of(KEY), Some(own.peer), Config::default());
    query.seed(&liar);
    let mut contacted = Vec::new();
    while let Some(contact) = query.poll_contact() {
        for heard in &told.closer {
            query.heard(&contact.peer, heard);
        }
        query.answered(&contact.peer);
        contacted.push(contact.peer);
        assert!(contacted.len() < 10, "it never ends");
    }
    assert_eq!(contacted, [liar.peer], "itself is not asked, and nobody twice");
    assert!(query.is_done());
}

#[test]
fn a_publisher_is_a_claim_and_a_record_keeps_its_own_key() {
    // A response may hold a record of any key and publisher: both are handed on as they are, and proved by nobody.
    let record = Record { key: b"/phase/other", value: b"v", publisher: Some(b"me"), ttl: 0 };
    let got = kad::Response::GetValue { record: Some(record), closer: &[] };
    let read = response(unprefixed(&written(|w| got.encode(w))));
    let expected = (b"/phase/other".to_vec(), b"v".to_vec(), Some(b"me".to_vec()), 0);
    assert_eq!(read.record, Some(expected));
}

#[test]
fn peers_with_other_keys_are_left_out() {
    let rsa = [&[0x12, 0x20][..], &[7; 32]].concat();
    let secp256k1 = [&[0x00, 0x25, 0x08, 0x02, 0x12, 0x21][..], &[2; 33]].concat();
    let weak = [&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20, 1][..], &[0; 31]].concat();
    let cid = [&[0x01, 0x72, 0x00, 0x24, 0x08, 0x01, 0x12, 0x20][..], &[7; 32]].concat();
    let closer = |id: Vec<u8>| {
        let inner = written(|w| w.bytes_field(1, &id));
        written(|w| w.bytes_field(8, &inner))
    };
    let message: Vec<u8> =
        [rsa, secp256k1, weak, cid, vec![], vec![0; 1000]].into_iter().flat_map(closer).collect();
    assert_eq!(response(&message).closer, []);
}
