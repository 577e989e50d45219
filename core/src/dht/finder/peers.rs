//! Which peers a search turned to, and what came of it: for its limit and for its report.

use core::net::SocketAddr;

use heapless::Vec;
use sha2::{Digest as _, Sha256};

use crate::identity::PeerId;
use crate::limits::PEERS_PER_SEARCH;

/// What came of asking a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Asked,
    Failed,
    Answered,
}

/// The peers of one search, by 32 bits of a digest: that two are taken for one is as unlikely as harmless.
#[derive(Debug, Default)]
pub(super) struct Peers {
    digests: Vec<u32, PEERS_PER_SEARCH, u8>,
    standings: Vec<Standing, PEERS_PER_SEARCH, u8>,
}

impl Peers {
    pub(super) fn clear(&mut self) {
        self.digests.clear();
        self.standings.clear();
    }

    /// Whether this peer may be asked: it was before, or one more may be.
    pub(super) fn may_ask(&self) -> bool {
        !self.digests.is_full()
    }

    pub(super) fn note(&mut self, peer: &PeerId, standing: Standing) {
        self.set(digest(peer.as_octets()), standing);
    }

    /// For a peer whose id is not known.
    pub(super) fn note_address(&mut self, address: SocketAddr, standing: Standing) {
        self.set(digest_of(address), standing);
    }

    /// The peer at this address turned out to be `peer`.
    pub(super) fn rename(&mut self, address: SocketAddr, peer: &PeerId) {
        let old = digest_of(address);
        if let Some(known) = self.digests.iter_mut().find(|known| **known == old) {
            *known = digest(peer.as_octets());
        }
    }

    pub(super) fn count(&self, at_least: Standing) -> u16 {
        let count = self.standings.iter().filter(|standing| **standing >= at_least).count();
        u16::try_from(count).unwrap_or(u16::MAX)
    }

    fn set(&mut self, digest: u32, standing: Standing) {
        let at = self.digests.iter().position(|known| *known == digest);
        if let Some(known) = at.and_then(|at| self.standings.get_mut(at)) {
            *known = standing.max(*known);
        } else if self.digests.push(digest).is_ok() {
            // There is room: they are as many. Those past the limit are not asked.
            let _ = self.standings.push(standing);
        }
    }
}

fn digest_of(address: SocketAddr) -> u32 {
    let mut octets = [0; 18];
    let (ip, port) = octets.split_at_mut(16);
    let v6 = match address.ip() {
        core::net::IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        core::net::IpAddr::V6(v6) => v6,
    };
    ip.copy_from_slice(&v6.octets());
    port.copy_from_slice(&address.port().to_be_bytes());
    digest(&octets)
}

fn digest(octets: &[u8]) -> u32 {
    let digest: [u8; 32] = Sha256::digest(octets).into();
    u32::from_be_bytes(*digest.first_chunk().unwrap_or(&[0; 4]))
}
