//! Kademlia responses, written.

use super::{FIND_NODE, GET_PROVIDERS, GET_VALUE, MESSAGE_MAX, PUT_VALUE, Record, field, peer};
use crate::wire::contact::Contact;
use crate::wire::cursor::Writer;
use crate::wire::protobuf::{bytes_field_len, varint_field_len};
use crate::wire::varint;

/// What a peer is told in return. Peers stand in the order in which they matter: those that do not fit are left
/// out from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response<'a> {
    /// It is kept: the record again.
    PutValue {
        /// What is kept.
        record: Record<'a>,
    },
    /// A value, if there is one, and the closest peers.
    GetValue {
        /// The value with its key.
        record: Option<Record<'a>>,
        /// Peers closest to the key.
        closer: &'a [Contact],
    },
    /// The providers that are known, and the closest peers.
    GetProviders {
        /// Who provides.
        providers: &'a [Contact],
        /// Peers closest to the key.
        closer: &'a [Contact],
    },
    /// The closest peers.
    FindNode {
        /// Peers closest to the key.
        closer: &'a [Contact],
    },
}

/// The level of all responses of rust-libp2p.
const CLUSTER_LEVEL: u64 = 9;

impl<'a> Response<'a> {
    /// Appends the response behind its length. It takes no more than the writer's room and [`MESSAGE_MAX`], unless
    /// it is longer without any peer.
    pub fn encode(&self, w: &mut Writer<'_>) {
        let parts = self.parts();
        let bare = parts.bare_len();
        let prefix = varint::encoded_len(MESSAGE_MAX as u64);
        let room = w.room().saturating_sub(prefix).min(MESSAGE_MAX).saturating_sub(bare);
        let (providers, room) = fitting(parts.providers, field::PROVIDER, room);
        let (closer, room_left) = fitting(parts.closer, field::CLOSER, room.left);
        let peers = room.used.saturating_add(room_left.used);
        w.varint_len(bare.saturating_add(peers));
        if parts.kind != PUT_VALUE {
            w.varint_field(field::TYPE, parts.kind);
        }
        if let Some(record) = &parts.record {
            if parts.kind == PUT_VALUE {
                w.bytes_field(field::KEY, record.key);
            }
            w.bytes_field_head(field::RECORD, record.encoded_len());
            record.encode(w);
        }
        closer.iter().for_each(|contact| peer::encode(contact, field::CLOSER, w));
        providers.iter().for_each(|contact| peer::encode(contact, field::PROVIDER, w));
        if parts.kind != PUT_VALUE {
            w.varint_field(field::CLUSTER_LEVEL, CLUSTER_LEVEL);
        }
    }

    const fn parts(&self) -> Parts<'a> {
        let (kind, record, closer, providers): (_, _, &[Contact], &[Contact]) = match *self {
            Self::PutValue { record } => (PUT_VALUE, Some(record), &[], &[]),
            Self::GetValue { record, closer } => (GET_VALUE, record, closer, &[]),
            Self::GetProviders { providers, closer } => (GET_PROVIDERS, None, closer, providers),
            Self::FindNode { closer } => (FIND_NODE, None, closer, &[]),
        };
        Parts { kind, record, closer, providers }
    }
}

struct Parts<'a> {
    kind: u64,
    record: Option<Record<'a>>,
    closer: &'a [Contact],
    providers: &'a [Contact],
}

impl Parts<'_> {
    /// Octets without any peer.
    fn bare_len(&self) -> usize {
        let record =
            self.record.map_or(0, |record| bytes_field_len(field::RECORD, record.encoded_len()));
        if self.kind == PUT_VALUE {
            let key = self.record.map_or(0, |record| record.key.len());
            return bytes_field_len(field::KEY, key).saturating_add(record);
        }
        varint_field_len(field::TYPE, self.kind)
            .saturating_add(record)
            .saturating_add(varint_field_len(field::CLUSTER_LEVEL, CLUSTER_LEVEL))
    }
}

struct Room {
    used: usize,
    left: usize,
}

/// The first of `contacts` that fit into `room` octets.
fn fitting(contacts: &[Contact], number: u32, room: usize) -> (&[Contact], Room) {
    let mut used = 0_usize;
    let count = contacts
        .iter()
        .take_while(|contact| {
            let with = used.saturating_add(peer::encoded_len(contact, number));
            let fits = with <= room;
            if fits {
                used = with;
            }
            fits
        })
        .count();
    let room = Room { used, left: room.saturating_sub(used) };
    (contacts.get(..count).unwrap_or(&[]), room)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{KEY, contact, unprefixed, written};
    use super::*;
    use crate::wire::cursor::Reader;
    use std::vec::Vec;

    const RECORD: Record<'_> = Record { key: KEY, value: b"v", publisher: None, ttl: 0 };

    /// The peers of a message, closer ones and providers.
    fn peers(message: &[u8]) -> [usize; 2] {
        [field::CLOSER, field::PROVIDER]
            .map(|number| super::super::Peers::in_message(message, number).iter().count())
    }

    #[test]
    fn a_stored_record_is_echoed_with_its_key_and_without_a_type() {
        let octets = written(|w| Response::PutValue { record: RECORD }.encode(w));
        let request = written(|w| super::super::Request::PutValue { record: RECORD }.encode(w));
        assert_eq!(octets, request);
    }

    #[test]
    fn peers_that_do_not_fit_are_left_out_from_the_end_and_providers_go_first() {
        let contacts: Vec<_> = (1..=20).map(contact).collect();
        let (closer, providers) = (&contacts[..], &contacts[..3]);
        let response = Response::GetProviders { providers, closer };
        let full = written(|w| response.encode(w));
        assert_eq!(peers(unprefixed(&full)), [20, 3]);
        let mut fewest = usize::MAX;
        for room in (0..full.len()).rev() {
            let mut buffer = [0xa5; 4096];
            let mut w = Writer::new(&mut buffer[..room]);
            response.encode(&mut w);
            let Ok(len) = w.finish() else {
                assert!(room < 8, "only what has no room for the rest overflows");
                continue;
            };
            let [closer, providers] = peers(unprefixed(&buffer[..len]));
            assert!(closer == 0 || providers == 3, "providers go first");
            assert!(closer + providers <= fewest);
            fewest = closer + providers;
        }
        assert_eq!(fewest, 0);
    }

    #[test]
    fn a_message_is_never_longer_than_rust_libp2p_takes() {
        let contacts: Vec<Contact> = core::iter::repeat_n(contact(1), 400).collect();
        let response = Response::GetValue { record: Some(RECORD), closer: &contacts };
        let mut buffer = std::vec![0xa5; 40_000];
        let mut w = Writer::new(&mut buffer);
        response.encode(&mut w);
        let len = w.finish().unwrap();
        let mut r = Reader::new(&buffer[..len]);
        let message = varint::decode(&mut r).unwrap();
        assert_eq!(message, r.remaining() as u64);
        assert!((MESSAGE_MAX - 60..=MESSAGE_MAX).contains(&r.remaining()));
    }
}
