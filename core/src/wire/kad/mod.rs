//! Kademlia messages.
//! Spec: libp2p `specs/kad-dht#rpc-messages`.
//!
//! ```text
//! message  1 type (absent: PUT_VALUE)   2 key   3 record   8 closerPeers*   9 providerPeers*   10 clusterLevelRaw
//! record   1 key   2 value   5 timeReceived   666 publisher   777 ttl
//! peer     1 id   2 addrs*   3 connection
//! ```
//!
//! On the stream every message stands behind its length, a [`varint`](super::varint). Requests are short and read
//! whole ([`decode_request`]); responses may be long and are read as they come ([`ResponseParser`]). Fields come
//! in any order; unknown ones are skipped. What is written has the fields and the order that rust-libp2p writes.
//! Not implemented: PING, which has its own protocol; the times and signatures in records, which prove nothing.

mod parser;
mod peer;
mod request;
mod response;

pub use parser::{Part, ResponseParser};
pub use peer::Peers;
pub use request::{Request, decode_request};
pub use response::Response;

use super::Error;
use super::cursor::Writer;
use super::protobuf::{Fields, bytes_field_len, varint_field_len};

/// Octets of the longest message that is written: rust-libp2p takes no more than 16 KiB.
pub const MESSAGE_MAX: usize = 16_383;

/// Numbers of the fields of a message.
mod field {
    pub(super) const TYPE: u32 = 1;
    pub(super) const KEY: u32 = 2;
    pub(super) const RECORD: u32 = 3;
    pub(super) const CLOSER: u32 = 8;
    pub(super) const PROVIDER: u32 = 9;
    pub(super) const CLUSTER_LEVEL: u32 = 10;
}

/// Numbers of the fields of a record.
mod record_field {
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
    pub(super) const PUBLISHER: u32 = 666;
    pub(super) const TTL: u32 = 777;
}

const PUT_VALUE: u64 = 0;
const GET_VALUE: u64 = 1;
const ADD_PROVIDER: u64 = 2;
const GET_PROVIDERS: u64 = 3;
const FIND_NODE: u64 = 4;

/// A value under a key. Nothing in it is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where the value belongs: the octets that are hashed, not their hash.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// Who published it, by its own word: a multihash, or anything else.
    pub publisher: Option<&'a [u8]>,
    /// How long it shall be kept, in seconds; 0: not said.
    pub ttl: u32,
}

impl<'a> Record<'a> {
    /// Reads a whole record.
    ///
    /// # Errors
    /// `Truncated` or `Malformed` when it is none.
    pub fn decode(octets: &'a [u8]) -> Result<Self, Error> {
        let mut record = Record { key: &[], value: &[], publisher: None, ttl: 0 };
        for field in Fields::new(octets) {
            let field = field?;
            match field.number {
                record_field::KEY => record.key = field.value.bytes("record key")?,
                record_field::VALUE => record.value = field.value.bytes("record value")?,
                record_field::PUBLISHER => record.publisher = Some(field.value.bytes("publisher")?),
                record_field::TTL => record.ttl = ttl(field.value.varint("record ttl")?),
                _ => {}
            }
        }
        Ok(record)
    }

    /// Appends the record, without its length.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.bytes_field(record_field::KEY, self.key);
        w.bytes_field(record_field::VALUE, self.value);
        if let Some(publisher) = self.publisher {
            w.bytes_field(record_field::PUBLISHER, publisher);
        }
        if self.ttl != 0 {
            w.varint_field(record_field::TTL, u64::from(self.ttl));
        }
    }

    /// Octets that [`encode`](Self::encode) writes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let publisher =
            self.publisher.map_or(0, |p| bytes_field_len(record_field::PUBLISHER, p.len()));
        let ttl = match self.ttl {
            0 => 0,
            ttl => varint_field_len(record_field::TTL, u64::from(ttl)),
        };
        bytes_field_len(record_field::KEY, self.key.len())
            .saturating_add(bytes_field_len(record_field::VALUE, self.value.len()))
            .saturating_add(publisher)
            .saturating_add(ttl)
    }
}

/// More seconds than fit are as many as fit.
fn ttl(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;
    use crate::wire::contact::Contact;
    use std::vec::Vec;

    pub(super) const KEY: &[u8] = b"/phase/stable/arm64/manifest";

    pub(super) fn contact(seed: u8) -> Contact {
        let peer = SecretKey::from_seed(&[seed; 32]).peer_id();
        Contact::at(peer, ([192, 168, 1, 100], 4001).into())
    }

    /// What `encode` writes, into a buffer in which every other octet keeps its value.
    pub(super) fn written(encode: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut buffer = [0xa5; 4096];
        let mut w = Writer::new(&mut buffer);
        encode(&mut w);
        let len = w.finish().unwrap();
        assert!(buffer[len..].iter().all(|octet| *octet == 0xa5));
        buffer[..len].to_vec()
    }

    /// Takes off the length in front of a message, which must be right.
    pub(super) fn unprefixed(octets: &[u8]) -> &[u8] {
        let mut r = crate::wire::cursor::Reader::new(octets);
        let len = crate::wire::varint::decode(&mut r).unwrap();
        assert_eq!(len, r.remaining() as u64);
        r.rest()
    }

    #[test]
    fn a_record_comes_back_with_and_without_what_may_be_absent() {
        let publisher = [7; 38];
        for (publisher, ttl) in [(None, 0), (Some(&publisher[..]), 7200), (Some(&[][..]), 1)] {
            let record = Record { key: KEY, value: b"{\"v\":1}", publisher, ttl };
            let octets = written(|w| record.encode(w));
            assert_eq!(octets.len(), record.encoded_len());
            assert_eq!(Record::decode(&octets), Ok(record));
        }
    }

    #[test]
    fn a_record_of_others_has_fields_that_are_skipped_and_a_ttl_that_is_cut() {
        let octets = [
            &[0xc8, 0x30, 0xff, 0xff, 0xff, 0xff, 0x1f][..], // ttl: 33 bits
            &[0x2a, 0x01, b'2', 0x1a, 0x01, 0x00, 0x22, 0x01, 0x00], // time, author, signature
            &[0x12, 0x01, b'v', 0x0a, 0x01, b'k'],
        ]
        .concat();
        let expected = Record { key: b"k", value: b"v", publisher: None, ttl: u32::MAX };
        assert_eq!(Record::decode(&octets), Ok(expected));
        assert!(Record::decode(&[0x08, 0x01]).is_err(), "a key that is a number");
        assert!(Record::decode(&[0xca, 0x30, 0x00]).is_err(), "a ttl that is octets");
    }
}
