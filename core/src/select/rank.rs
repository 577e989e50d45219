//! Which accepted advert to try first.

use core::cmp::Ordering;
use core::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{Accepted, Carrier, TrustClass, compare_versions};
use crate::time::UnixTime;
use crate::wire::record::{Received, Version};

/// The place of an accepted advert among others; the *least* is the best. Compared in this order: expired
/// ones last; class; claimed version, among pinned signers only; carrier; time to connect, in four steps;
/// newest; a hash that is different in each boot, to spread the load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rank {
    accepted: Accepted,
    version: Option<Version>,
    distance: u8,
    connect: u8,
    issued: UnixTime,
    spread: [u8; 8],
}

impl Rank {
    /// `connect`: the measured time to connect to the URL, if it was. `nonce`: random, the same for all
    /// adverts of one discovery.
    #[must_use]
    pub fn new(
        accepted: Accepted,
        received: &Received,
        carrier: Carrier<'_>,
        connect: Option<Duration>,
        nonce: &[u8; 32],
    ) -> Self {
        let mut hash = Sha256::new();
        hash.update(nonce);
        let (version, issued) = match received {
            Received::Signed(signed) => {
                let advert = signed.advert();
                hash.update(advert.peer.as_octets());
                (Some(advert.version.clone()), advert.issued)
            }
            Received::Unsigned(legacy) => {
                hash.update(legacy.url.as_str());
                (None, UnixTime(0))
            }
        };
        let hash: [u8; 32] = hash.finalize().into();
        Self {
            accepted,
            version: version.filter(|_| accepted.class == TrustClass::Pinned),
            distance: carrier.distance(),
            connect: connect_step(connect),
            issued,
            spread: *hash.first_chunk().unwrap_or(&[0; 8]),
        }
    }
}

/// Below 2, 20 and 100 ms, above, and not known.
const fn connect_step(connect: Option<Duration>) -> u8 {
    match connect {
        None => 4,
        Some(time) => match time.as_millis() {
            0..2 => 0,
            2..20 => 1,
            20..100 => 2,
            _ => 3,
        },
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        let versions = match (&self.version, &other.version) {
            (Some(a), Some(b)) => compare_versions(b.as_str(), a.as_str()),
            (Some(_), None) | (None, Some(_)) | (None, None) => Ordering::Equal,
        };
        (self.accepted.stale.cmp(&other.accepted.stale))
            .then(other.accepted.class.cmp(&self.accepted.class))
            .then(versions)
            .then(self.distance.cmp(&other.distance))
            .then(self.connect.cmp(&other.connect))
            .then(other.issued.cmp(&self.issued))
            .then(self.spread.cmp(&other.spread))
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
