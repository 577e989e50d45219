//! What a DHT node tells its user.

use core::fmt;

use crate::dht::swarm::Failure;
use crate::identity::PeerId;
use crate::wire::record::AdvertKey;

/// What a DHT node tells its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An advert was published.
    Published {
        /// Its base key.
        key: AdvertKey,
        /// Its number.
        seq: u64,
        /// Peers that stored it under the base key.
        peers: usize,
        /// Peers that took us as a provider of the key.
        providers: usize,
        /// Peers that stored it under our sub-key.
        sub_keys: usize,
    },
    /// An advert could not be published; it is tried again, later each time.
    PublishFailed {
        /// Its base key.
        key: AdvertKey,
        /// Its number.
        seq: u64,
        /// Why.
        why: PublishError,
    },
    /// A bootstrap peer could not be reached, for the first time or for the first time again.
    BootstrapFailed {
        /// Its number, in the order in which they were added.
        number: usize,
        /// What went wrong.
        why: Failure,
    },
    /// A peer that held something invalid or outdated in the place of an advert was given the advert again.
    Repaired {
        /// The key of the record: the base key or our sub-key.
        key: AdvertKey,
        /// The peer.
        peer: PeerId,
    },
    /// The network holds an advert of ours with a higher number than the last one we know of: state was lost.
    /// Persist that numbers up to this one are used; the advert is signed again.
    SequenceBehind {
        /// The advert's base key.
        key: AdvertKey,
        /// The number.
        highest: u64,
    },
}

/// Why nobody holds an advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PublishError {
    /// No peer answered.
    NoPeers,
    /// Peers answered, and none of them took it.
    Refused {
        /// How many were given it.
        peers: usize,
    },
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPeers => f.write_str("no peer of the DHT answered"),
            Self::Refused { peers } => write!(f, "none of {peers} peers took it"),
        }
    }
}
