//! The peers a search begins with, and how far each was reached.

use core::net::SocketAddr;

use heapless::String;

use crate::dht::swarm::{Failure, Target};
use crate::identity::PeerId;
use crate::limits::BOOTSTRAP_TEXT_MAX;
use crate::wire::contact::Addresses;

/// A peer to begin with, as the user named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    text: String<BOOTSTRAP_TEXT_MAX, u8>,
    addresses: Addresses,
    peer: Option<PeerId>,
    pub(in crate::dht) reach: Reach,
}

/// How far a bootstrap was reached in the search under way, or in the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Not tried yet.
    Waiting,
    /// It is dialled.
    Dialled,
    /// It is there: its handshake is done.
    Reached(PeerId),
    /// It answered.
    Answered(PeerId),
    /// It could not be reached, or did not answer.
    Failed(Failure),
}

impl Bootstrap {
    /// `text`: as the user wrote it, for messages; it is kept without the peer id at its end, and past
    /// [`BOOTSTRAP_TEXT_MAX`] octets it is cut. `addresses`: what it was resolved to. `peer`: who has to be there,
    /// if that was said.
    #[must_use]
    pub fn new(
        text: &str,
        addresses: impl IntoIterator<Item = SocketAddr>,
        peer: Option<PeerId>,
    ) -> Self {
        let mut kept = String::new();
        for (at, c) in text.char_indices() {
            let is_peer = text.get(at..).is_some_and(|rest| rest.starts_with("/p2p/"));
            if is_peer || kept.push(c).is_err() {
                break;
            }
        }
        let addresses = addresses.into_iter().collect();
        Self { text: kept, addresses, peer, reach: Reach::Waiting }
    }

    /// What the user wrote, without the peer id.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where it is.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// How far it was reached.
    #[must_use]
    pub const fn reach(&self) -> &Reach {
        &self.reach
    }

    pub(in crate::dht) const fn target(&self) -> Target {
        Target { peer: self.peer, addresses: self.addresses }
    }

    /// Whether this is what the same words lead to, perhaps to other addresses by now.
    pub(in crate::dht) fn is_named_like(&self, other: &Self) -> bool {
        (&self.text, self.peer) == (&other.text, other.peer)
    }

    pub(in crate::dht) fn is_same(&self, other: &Self) -> bool {
        self.target() == other.target()
    }
}

impl core::fmt::Display for Bootstrap {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "bootstrap {}", self.text)?;
        if let Some(peer) = &self.peer {
            write!(f, "/p2p/{peer}")?;
        }
        f.write_str(": ")?;
        match &self.reach {
            Reach::Waiting => f.write_str("not tried"),
            Reach::Dialled => f.write_str("no answer yet"),
            Reach::Reached(peer) => write!(f, "connected to {peer}, no answer yet"),
            Reach::Answered(peer) => write!(f, "{peer} answered"),
            Reach::Failed(failure) => failure.fmt(f),
        }
    }
}
