//! The peers that a node knows, as octets for the next run.
//!
//! ```text
//! 01, then for each peer: postcard of (public key [u8; 32], addresses)
//! ```
//!
//! A node that restarts finds the network by them when no bootstrap peer answers.

use super::{Server, Storage};
use crate::identity::PeerId;
use crate::kad::Contact;
use crate::time::Instant;
use crate::wire::contact::Addresses;

const VERSION: u8 = 1;

/// Octets that are always enough for one peer.
pub const PERSISTED_PEER_MAX: usize = 32 + size_of::<Addresses>();

impl<S: Storage<RX>, const RX: usize> Server<S, RX> {
    /// Writes the peers of the routing table, those first that are there; as many as fit. Gives the number of
    /// octets.
    pub fn persist(&self, out: &mut [u8]) -> usize {
        let Some((version, mut rest)) = out.split_first_mut() else { return 0 };
        *version = VERSION;
        let room = rest.len();
        let live = self.node.table.entries().filter(|entry| entry.is_live());
        let others = self.node.table.entries().filter(|entry| !entry.is_live());
        for entry in live.chain(others) {
            let contact = entry.contact();
            let peer = (contact.peer.as_octets(), contact.addresses);
            if rest.len() < PERSISTED_PEER_MAX {
                break;
            }
            let Ok(written) = postcard::to_slice(&peer, rest).map(|written| written.len()) else {
                break;
            };
            rest = rest.split_at_mut_checked(written).map_or(&mut [][..], |(_, rest)| rest);
        }
        room.saturating_sub(rest.len()).saturating_add(1)
    }

    /// Takes up peers that an earlier run wrote, and turns to them and the bootstraps. What cannot be read is left
    /// out. Gives the number of peers.
    pub fn restore(&mut self, now: Instant, octets: &[u8]) -> usize {
        let Some((&VERSION, mut rest)) = octets.split_first() else { return 0 };
        let mut taken = 0_usize;
        while let Ok(((key, addresses), left)) =
            postcard::take_from_bytes::<([u8; 32], Addresses)>(rest)
        {
            rest = left;
            // Kept in one form only: without gaps, without an address twice.
            let addresses = addresses.iter().collect();
            let contact = PeerId::from_octets(key).map(|peer| Contact { peer, addresses });
            let restored = contact.is_ok_and(|contact| self.node.table.restore(&contact));
            taken = taken.saturating_add(usize::from(restored));
        }
        if taken > 0 {
            self.node.handle_network(now);
        }
        taken
    }
}
