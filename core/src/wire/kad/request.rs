//! Kademlia requests.

use super::{
    ADD_PROVIDER, FIND_NODE, GET_PROVIDERS, GET_VALUE, PUT_VALUE, Peers, Record, field, peer,
};
use crate::wire::Error;
use crate::wire::cursor::Writer;
use crate::wire::protobuf::{Fields, bytes_field_len, varint_field_len};
use crate::wire::varint;

/// What one peer asks another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Keep this. Answered by the same record.
    PutValue {
        /// What to keep.
        record: Record<'a>,
    },
    /// The value under a key, and the peers closest to it.
    GetValue {
        /// The octets that are hashed, not their hash.
        key: &'a [u8],
    },
    /// Remember that the sender provides what the key names. Not answered.
    AddProvider {
        /// The octets that are hashed, not their hash.
        key: &'a [u8],
        /// The sender with its addresses. One is written, though more may be read.
        providers: Peers<'a>,
    },
    /// The providers of what the key names, and the peers closest to it.
    GetProviders {
        /// The octets that are hashed, not their hash.
        key: &'a [u8],
    },
    /// The peers closest to a key.
    FindNode {
        /// The octets that are hashed, not their hash: a peer's multihash, or any others.
        key: &'a [u8],
    },
}

/// The level of all requests of rust-libp2p: it once counted how far a lookup had gone.
const CLUSTER_LEVEL: u64 = 10;

/// Reads a whole request, without the length in front of it.
///
/// # Errors
/// `Truncated` or `Malformed` when it is none, lacks what it needs, or puts a record under another key than the
/// record's; `Unsupported` for PING and unknown types.
pub fn decode_request(message: &[u8]) -> Result<Request<'_>, Error> {
    let (mut kind, mut key, mut record) = (PUT_VALUE, &[][..], None);
    for found in Fields::new(message) {
        let found = found?;
        match found.number {
            field::TYPE => kind = found.value.varint("kad type")?,
            field::KEY => key = found.value.bytes("kad key")?,
            field::RECORD => record = Some(found.value.bytes("kad record")?),
            _ => {}
        }
    }
    if kind > FIND_NODE {
        return Err(Error::Unsupported("kad type"));
    }
    if key.is_empty() {
        return Err(Error::Malformed("kad key"));
    }
    Ok(match kind {
        GET_VALUE => Request::GetValue { key },
        GET_PROVIDERS => Request::GetProviders { key },
        FIND_NODE => Request::FindNode { key },
        ADD_PROVIDER => {
            Request::AddProvider { key, providers: Peers::in_message(message, field::PROVIDER) }
        }
        _ => {
            let record = Record::decode(record.ok_or(Error::Malformed("kad record"))?)?;
            if record.key != key {
                return Err(Error::Malformed("record under another key"));
            }
            Request::PutValue { record }
        }
    })
}

impl Request<'_> {
    /// Appends the request behind its length.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.varint_len(self.message_len());
        match *self {
            Self::PutValue { record } => {
                w.bytes_field(field::KEY, record.key);
                w.bytes_field_head(field::RECORD, record.encoded_len());
                record.encode(w);
            }
            Self::GetValue { key } => encode_keyed(GET_VALUE, key, w),
            Self::GetProviders { key } => encode_keyed(GET_PROVIDERS, key, w),
            Self::FindNode { key } => encode_keyed(FIND_NODE, key, w),
            Self::AddProvider { key, providers } => {
                w.varint_field(field::TYPE, ADD_PROVIDER);
                w.bytes_field(field::KEY, key);
                for provider in providers.iter() {
                    peer::encode(&provider, field::PROVIDER, w);
                }
                w.varint_field(field::CLUSTER_LEVEL, CLUSTER_LEVEL);
            }
        }
    }

    /// Octets that [`encode`](Self::encode) writes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let len = self.message_len();
        varint::encoded_len(len as u64).saturating_add(len)
    }

    fn message_len(&self) -> usize {
        let keyed = |kind, key: &[u8]| {
            varint_field_len(field::TYPE, kind)
                .saturating_add(bytes_field_len(field::KEY, key.len()))
                .saturating_add(varint_field_len(field::CLUSTER_LEVEL, CLUSTER_LEVEL))
        };
        match self {
            Self::PutValue { record } => bytes_field_len(field::KEY, record.key.len())
                .saturating_add(bytes_field_len(field::RECORD, record.encoded_len())),
            Self::GetValue { key } => keyed(GET_VALUE, key),
            Self::GetProviders { key } => keyed(GET_PROVIDERS, key),
            Self::FindNode { key } => keyed(FIND_NODE, key),
            Self::AddProvider { key, providers } => providers
                .iter()
                .map(|provider| peer::encoded_len(&provider, field::PROVIDER))
                .fold(keyed(ADD_PROVIDER, key), usize::saturating_add),
        }
    }
}

fn encode_keyed(kind: u64, key: &[u8], w: &mut Writer<'_>) {
    w.varint_field(field::TYPE, kind);
    w.bytes_field(field::KEY, key);
    w.varint_field(field::CLUSTER_LEVEL, CLUSTER_LEVEL);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{KEY, contact, unprefixed, written};
    use super::*;
    use std::vec::Vec;

    fn check(request: Request<'_>) -> Vec<u8> {
        let octets = written(|w| request.encode(w));
        assert_eq!(octets.len(), request.encoded_len());
        assert_eq!(decode_request(unprefixed(&octets)), Ok(request));
        octets
    }

    #[test]
    fn every_request_comes_back() {
        let publisher = Some(&[7; 38][..]);
        let record = Record { key: KEY, value: &[b'v'; 1024], publisher, ttl: 3600 };
        check(Request::PutValue { record });
        check(Request::PutValue {
            record: Record { value: &[], publisher: None, ttl: 0, ..record },
        });
        check(Request::GetValue { key: KEY });
        check(Request::GetProviders { key: &[0xff; 34] });
        check(Request::FindNode { key: &[0; 38] });
        let provider = contact(1);
        check(Request::AddProvider { key: KEY, providers: Peers::of(&provider) });
    }

    #[test]
    fn requests_have_the_octets_of_rust_libp2p() {
        let octets = check(Request::GetValue { key: KEY });
        assert_eq!(octets[..5], [0x22, 0x08, 0x01, 0x12, 0x1c]);
        assert_eq!(&octets[5..33], KEY);
        assert_eq!(octets[33..], [0x50, 0x0a]);
    }

    #[test]
    fn a_message_without_a_type_puts_a_value_and_fields_come_in_any_order() {
        let record = Record { key: b"k", value: b"v", publisher: None, ttl: 0 };
        let octets = [0x5a, 1, 0xff, 0x1a, 6, 0x12, 1, b'v', 0x0a, 1, b'k', 0x12, 1, b'k'];
        assert_eq!(decode_request(&octets), Ok(Request::PutValue { record }));
        let typed_last = [0x12, 1, b'k', 0x08, 0x04];
        assert_eq!(decode_request(&typed_last), Ok(Request::FindNode { key: b"k" }));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for (octets, why) in [
            (&[][..], Error::Malformed("kad key")),
            (&[0x08, 0x04], Error::Malformed("kad key")),
            (&[0x08, 0x04, 0x12, 0x00], Error::Malformed("kad key")),
            (&[0x08, 0x05, 0x12, 1, b'k'], Error::Unsupported("kad type")),
            (&[0x08, 0x80, 0x01, 0x12, 1, b'k'], Error::Unsupported("kad type")),
            (&[0x0a, 0x00, 0x12, 1, b'k'], Error::Malformed("kad type")),
            (&[0x12, 1, b'k'], Error::Malformed("kad record")),
            (&[0x12, 1, b'k', 0x1a, 0], Error::Malformed("record under another key")),
            (
                &[0x12, 1, b'k', 0x1a, 3, 0x0a, 1, b'K'],
                Error::Malformed("record under another key"),
            ),
            (&[0x12, 2, b'k'], Error::Truncated("protobuf field")),
        ] {
            assert_eq!(decode_request(octets), Err(why), "{octets:x?}");
        }
    }

    #[test]
    fn no_cut_of_a_request_reads_as_the_whole() {
        let provider = contact(1);
        let request = Request::AddProvider { key: KEY, providers: Peers::of(&provider) };
        let octets = check(request);
        let message = unprefixed(&octets);
        // Without the level at its end a request is the same one.
        for len in 0..message.len() - 2 {
            assert_ne!(decode_request(&message[..len]), Ok(request), "{len} octets");
        }
    }
}
