//! Points of the key space and the XOR metric.
//! Spec: libp2p `specs/kad-dht#distance`: a point is the SHA-256 of what it stands for, a peer's multihash or
//! the octets of a key; the distance of two points is their XOR as a number in network order.

use sha2::{Digest as _, Sha256};

use crate::identity::PeerId;
use crate::wire::peer_id;

/// Bits of a point.
pub const BITS: usize = 256;

/// A point of the key space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// The point of a key that messages carry, such as `/phase/stable/arm64/manifest`.
    #[must_use]
    pub fn of(preimage: &[u8]) -> Self {
        Self(Sha256::digest(preimage).into())
    }

    /// The point of a peer: that of its multihash.
    #[must_use]
    pub fn of_peer(peer: &PeerId) -> Self {
        Self::of(&peer_id::encode_multihash(peer))
    }

    /// How far apart two points are.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Distance {
        let mut octets = self.0;
        for (octet, theirs) in octets.iter_mut().zip(other.0) {
            *octet ^= theirs;
        }
        Distance(octets)
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Key(")?;
        for octet in self.0.iter().take(4) {
            write!(f, "{octet:02x}")?;
        }
        f.write_str("..)")
    }
}

/// The distance of two points: 0 to 2^256 - 1, compared as that number. For three points, the distance of two
/// is never greater than the sum of the others, and each point has exactly one other at a given distance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Distance([u8; 32]);

impl Distance {
    /// None.
    pub const ZERO: Self = Self([0; 32]);
    /// The greatest.
    pub const MAX: Self = Self([0xff; 32]);

    /// The distance of two points that have these distances to a third.
    #[must_use]
    pub fn xor(&self, other: &Self) -> Self {
        Key(self.0).distance(&Key(other.0))
    }

    /// The bucket of points at this distance: the position of its highest bit, 0 for distance 1 to 255 for the
    /// farther half of all points. `None`: no distance at all.
    #[must_use]
    pub fn bucket(&self) -> Option<u8> {
        let (at, octet) = self.0.iter().enumerate().find(|(_, octet)| **octet != 0)?;
        let above = u8::try_from(at).ok()?.checked_mul(8)?;
        u8::MAX.checked_sub(above)?.checked_sub(u8::try_from(octet.leading_zeros()).ok()?)
    }
}

impl core::fmt::Debug for Distance {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.bucket() {
            Some(bucket) => write!(f, "Distance(2^{bucket}..)"),
            None => f.write_str("Distance(0)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;
    use crate::rng::Seed;
    use crate::wire::text;

    /// Of the shared vectors of libp2p nodes: SHA-256 of the base key.
    const BASE: &[u8] = b"efa15675a8377ec68d78bf599f3a82fb68cbaf6198e7ac3d9ef7f608e80a3450";

    #[test]
    fn the_point_of_a_key_is_its_sha_256() {
        let expected = text::decode_hex::<32>(BASE).unwrap();
        assert_eq!(Key::of(b"/phase/stable/arm64/manifest").0, expected);
    }

    #[test]
    fn the_point_of_a_peer_is_that_of_its_multihash() {
        let point = Key::of_peer(&SecretKey::from_seed(&[1; 32]).peer_id());
        assert_eq!(point.0[..4], [0x2e, 0xa9, 0x9e, 0x04]);
        assert_eq!(point.0[30..], [0x12, 0x2e]);
    }

    #[test]
    fn the_bucket_is_the_highest_bit_of_the_distance() {
        let zero = Key([0; 32]);
        assert_eq!(zero.distance(&zero).bucket(), None);
        for bit in 0..BITS {
            let mut octets = [0; 32];
            octets[31 - bit / 8] = 1 << (bit % 8);
            assert_eq!(zero.distance(&Key(octets)).bucket(), Some(bit as u8));
            octets[31] |= 1;
            assert_eq!(zero.distance(&Key(octets)).bucket(), Some(bit as u8));
        }
    }

    #[test]
    fn distance_is_a_metric_with_one_point_at_each_distance() {
        let mut rng = Seed([5; 32]).stream("keys");
        let mut draw = || Key(core::array::from_fn(|_| rng.u64() as u8));
        for _ in 0..2_000 {
            let (a, b, c) = (draw(), draw(), draw());
            assert_eq!(a.distance(&b), b.distance(&a));
            assert_eq!(a.distance(&a), Distance::ZERO);
            assert_ne!(a.distance(&b), Distance::ZERO);
            // XOR: d(a, c) = d(a, b) ^ d(b, c), which is at most their sum.
            let (ab, bc) = (a.distance(&b).0, b.distance(&c).0);
            let sum = ab.iter().zip(bc).map(|(x, y)| x ^ y);
            assert!(sum.eq(a.distance(&c).0));
            // Whoever is nearer to a shares a longer prefix with it, or differs in a lower bit.
            let nearer = a.distance(&b) < a.distance(&c);
            let bits = |k: &Key| {
                k.0.iter().map(|o| std::format!("{o:08b}")).collect::<std::string::String>()
            };
            let xor = |k: &Key| bits(&Key(a.distance(k).0));
            assert_eq!(nearer, xor(&b) < xor(&c));
            let shared = bits(&a).bytes().zip(bits(&b).bytes()).take_while(|(x, y)| x == y).count();
            assert_eq!(usize::from(a.distance(&b).bucket().unwrap()), BITS - 1 - shared);
        }
    }
}
