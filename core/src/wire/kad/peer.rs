//! The peers in a Kademlia message.

use crate::identity::PeerId;
use crate::limits::PEERS_PER_RESPONSE;
use crate::wire::contact::{Addresses, Contact};
use crate::wire::cursor::Writer;
use crate::wire::multiaddr::{self, Multiaddr};
use crate::wire::peer_id;
use crate::wire::protobuf::{Field, Fields, bytes_field_len, varint_field_len};

pub(super) const ID: u32 = 1;
pub(super) const ADDRESS: u32 = 2;
const CONNECTION: u32 = 3;
/// "Connected", as rust-libp2p says of a peer it gives away.
const CONNECTED: u64 = 1;

/// The peers of one field of a message, or one peer to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Peers<'a>(Source<'a>);

#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    Message { message: &'a [u8], number: u32 },
    One(&'a Contact),
}

impl<'a> Peers<'a> {
    /// One peer.
    #[must_use]
    pub const fn of(contact: &'a Contact) -> Self {
        Self(Source::One(contact))
    }

    /// The peers in the fields `number` of a message.
    pub(super) const fn in_message(message: &'a [u8], number: u32) -> Self {
        Self(Source::Message { message, number })
    }

    /// Each peer with an Ed25519 key, with its addresses that can be dialled; the first [`PEERS_PER_RESPONSE`] are
    /// looked at.
    pub fn iter(&self) -> impl Iterator<Item = Contact> + use<'a> {
        let (message, number, one) = match self.0 {
            Source::Message { message, number } => (message, number, None),
            Source::One(contact) => (&[][..], 0, Some(contact)),
        };
        let decoded = Fields::new(message)
            .filter_map(Result::ok)
            .filter(move |field| field.number == number)
            .take(PEERS_PER_RESPONSE)
            .filter_map(|field| decode(&field));
        one.cloned().into_iter().chain(decoded)
    }
}

impl PartialEq for Peers<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Peers<'_> {}

/// One peer of a whole message; none when it is malformed or has a key of another type.
fn decode(field: &Field<'_>) -> Option<Contact> {
    let mut draft = Draft::NEW;
    for field in Fields::new(field.value.bytes("peer").ok()?) {
        let field = field.ok()?;
        match field.number {
            ID => draft.id(field.value.bytes("peer id").ok()?),
            ADDRESS => draft.address(field.value.bytes("address").ok()?),
            _ => {}
        }
    }
    draft.finish()
}

/// A peer that is read field by field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft {
    peer: Option<PeerId>,
    addresses: Addresses,
}

impl Draft {
    pub(super) const NEW: Self = Self { peer: None, addresses: Addresses::NONE };

    pub(super) fn id(&mut self, multihash: &[u8]) {
        self.peer = peer_id::decode_multihash(multihash).ok();
    }

    /// Keeps what can be dialled, unless it names a peer other than the one whose it is.
    pub(super) fn address(&mut self, octets: &[u8]) {
        let multiaddr = Multiaddr::new(octets);
        let Some(address) = multiaddr.socket_addr() else { return };
        let is_of_another = match (self.peer, multiaddr.peer()) {
            (Some(whose), Some(named)) => whose != named,
            (None, _) | (_, None) => false,
        };
        if !is_of_another {
            self.addresses.offer(address);
        }
    }

    pub(super) fn finish(self) -> Option<Contact> {
        self.peer.map(|peer| Contact { peer, addresses: self.addresses })
    }
}

/// Appends `contact` as the field `number` of a message.
pub(super) fn encode(contact: &Contact, number: u32, w: &mut Writer<'_>) {
    w.bytes_field_head(number, inner_len(contact));
    w.bytes_field(ID, &peer_id::encode_multihash(&contact.peer));
    for address in contact.addresses.iter() {
        w.bytes_field_head(ADDRESS, multiaddr::encoded_len(address, false));
        multiaddr::encode(address, None, w);
    }
    w.varint_field(CONNECTION, CONNECTED);
}

/// Octets that [`encode`] writes.
pub(super) fn encoded_len(contact: &Contact, number: u32) -> usize {
    bytes_field_len(number, inner_len(contact))
}

fn inner_len(contact: &Contact) -> usize {
    let head = bytes_field_len(ID, peer_id::MULTIHASH_LEN);
    let tail = varint_field_len(CONNECTION, CONNECTED);
    let lens = contact
        .addresses
        .iter()
        .map(|address| bytes_field_len(ADDRESS, multiaddr::encoded_len(address, false)));
    lens.fold(head.saturating_add(tail), usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{contact, written};
    use super::*;
    use crate::wire::protobuf::Value;
    use std::vec::Vec;

    const CLOSER: u32 = 8;

    fn peers(message: &[u8]) -> Vec<Contact> {
        Peers::in_message(message, CLOSER).iter().collect()
    }

    fn inner(octets: &[u8]) -> Option<Contact> {
        decode(&Field { number: CLOSER, value: Value::Bytes(octets) })
    }

    #[test]
    fn peers_come_back_with_all_their_addresses_and_with_none() {
        let mut many = contact(1);
        many.addresses.add("[2001:db8::1]:65535".parse().unwrap());
        let bare = Contact::new(contact(2).peer);
        let octets = written(|w| {
            for contact in [&many, &bare] {
                let before = w.len();
                encode(contact, CLOSER, w);
                assert_eq!(w.len() - before, encoded_len(contact, CLOSER));
            }
        });
        assert_eq!(peers(&octets), [many, bare]);
    }

    #[test]
    fn a_peer_that_cannot_be_read_is_left_out_and_the_others_stay() {
        let octets = written(|w| {
            w.bytes_field(CLOSER, &[0x0a, 0x22, 0x12]); // cut short
            w.bytes_field(CLOSER, &[0x0a, 0x03, 0x12, 0x01, 0x00]); // another type of key
            w.varint_field(CLOSER, 7);
            encode(&contact(1), CLOSER, w);
            encode(&contact(2), 9, w);
        });
        assert_eq!(peers(&octets), [contact(1)]);
    }

    #[test]
    fn an_address_that_names_another_peer_is_left_out() {
        let id = peer_id::encode_multihash(&contact(1).peer);
        let at = |last, seed| {
            written(|w| {
                multiaddr::encode(([10, 0, 0, last], 1).into(), Some(&contact(seed).peer), w);
            })
        };
        let octets = written(|w| {
            w.bytes_field(ID, &id);
            w.bytes_field(ADDRESS, &at(1, 1));
            w.bytes_field(ADDRESS, &at(2, 2));
            w.bytes_field(ADDRESS, &[0xff]);
        });
        assert_eq!(inner(&octets), Some(Contact::at(contact(1).peer, ([10, 0, 0, 1], 1).into())));
    }

    #[test]
    fn ten_thousand_peers_and_addresses_leave_a_few() {
        let one = written(|w| encode(&contact(1), CLOSER, w));
        assert_eq!(peers(&one.repeat(10_000)).len(), PEERS_PER_RESPONSE);
        let mut octets =
            written(|w| w.bytes_field(ID, &peer_id::encode_multihash(&contact(1).peer)));
        for port in 1..=10_000 {
            octets.extend(written(|w| {
                w.bytes_field_head(ADDRESS, 8);
                multiaddr::encode(([10, 0, 0, 1], port).into(), None, w);
            }));
        }
        assert_eq!(inner(&octets).unwrap().addresses.count(), crate::limits::ADDRESSES_PER_PEER);
    }
}
