//! Ed25519 identities: the key that signs, the peer id that names it, the signature.
//! Spec: RFC 8032 §5.1 (pure Ed25519), verified strictly: canonical S, no weak key, no weak R.
//! Not here: making keys (the driver has the entropy) and how a peer id is written
//! ([`crate::wire::peer_id`]).

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

use crate::wire::{self, peer_id, text};

/// A private key. Its octets are erased when it is dropped.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of a 32-octet seed (RFC 8032 §5.1.5), which must come from a good source of entropy.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, for keeping the key in a file.
    #[must_use]
    pub fn as_seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The id that belongs to this key.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        PeerId(self.0.verifying_key().to_bytes())
    }

    /// The public half of this key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.peer_id()
    }

    /// Signs octets. For the formats of this crate only: each of them puts its own domain and type in
    /// front, so that no signature can be taken for another's.
    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl core::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SecretKey({}, ..)", self.peer_id())
    }
}

/// A public key: a libp2p Ed25519 peer id *is* the key.
pub type PublicKey = PeerId;

/// Why a signature was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum VerifyError {
    /// The octets are no point of the curve, or a point of small order.
    Key,
    /// The key did not make this signature for this message.
    Signature,
}

/// A peer's Ed25519 public key: 32 octets that are not one of the weak keys. Whether they are a point of
/// the curve is found out by [`PeerId::verify`] or [`PeerId::check`], because that costs curve arithmetic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId([u8; 32]);

impl PeerId {
    /// The id of a key.
    ///
    /// # Errors
    /// `Malformed` for the encodings of the eight points of small order: they would verify a signature
    /// that nobody made.
    pub fn from_octets(key: [u8; 32]) -> Result<Self, wire::Error> {
        if is_weak(&key) { Err(wire::Error::Malformed("peer id")) } else { Ok(Self(key)) }
    }

    /// The key's 32 octets.
    #[must_use]
    pub const fn as_octets(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key as `ed25519:` and 64 hex digits, the form of manifests and trust files.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId(*self)
    }

    /// Whether the key can be used at all: a point of the curve, not of small order.
    #[must_use]
    pub fn check(&self) -> bool {
        self.point().is_ok()
    }

    fn point(&self) -> Result<VerifyingKey, VerifyError> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| VerifyError::Key)?;
        if key.is_weak() { Err(VerifyError::Key) } else { Ok(key) }
    }

    /// Verifies strictly. Costs two scalar multiplications: ask the trust store first.
    ///
    /// # Errors
    /// [`VerifyError`]; either way the message is not this peer's.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), VerifyError> {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.point()?.verify_strict(message, &signature).map_err(|_| VerifyError::Signature)
    }
}

impl core::fmt::Display for PeerId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(&peer_id::encode_text(self))
    }
}

impl core::fmt::Debug for PeerId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PeerId({self})")
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for PeerId {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=str}", peer_id::encode_text(self).as_str());
    }
}

impl core::str::FromStr for PeerId {
    type Err = wire::Error;

    fn from_str(text: &str) -> Result<Self, wire::Error> {
        peer_id::decode_text(text.as_bytes())
    }
}

/// Shows a key as `ed25519:` and 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId(PeerId);

impl KeyId {
    /// Octets of the text.
    pub const TEXT_LEN: usize = 72;

    /// Reads the text.
    ///
    /// # Errors
    /// `Malformed` when it is not `ed25519:` and 64 lower-case hex digits, or the key is weak.
    pub fn decode(text: &[u8]) -> Result<PeerId, wire::Error> {
        let hex = text.strip_prefix(b"ed25519:").ok_or(wire::Error::Malformed("key id"))?;
        PeerId::from_octets(text::decode_hex(hex)?)
    }
}

impl core::fmt::Display for KeyId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut hex = [0; 64];
        f.write_str("ed25519:")?;
        f.write_str(text::encode_hex(&self.0.0, &mut hex).map_err(|_| core::fmt::Error)?)
    }
}

/// An Ed25519 signature as it was made or received.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 64]);

impl core::fmt::Debug for Signature {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Signature(")?;
        for octet in self.0.iter().take(4) {
            write!(f, "{octet:02x}")?;
        }
        f.write_str("..)")
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Signature {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=[u8]:x}", self.0.as_slice());
    }
}

/// Whether the octets, without the sign bit, are one of the seven y of the points of small order: those of
/// order 1, 2 and 4, the two of order 8, and p and p + 1, which are 0 and 1 written differently.
fn is_weak(key: &[u8; 32]) -> bool {
    WEAK_Y.iter().any(|weak| {
        key.iter().zip(weak).enumerate().all(|(at, (&octet, &weak))| {
            let mask = if at == 31 { 0x7f } else { 0xff };
            octet & mask == weak
        })
    })
}

const fn y(low: u8, middle: u8, high: u8) -> [u8; 32] {
    let mut octets = [middle; 32];
    octets[0] = low;
    octets[31] = high;
    octets
}

const WEAK_Y: [[u8; 32]; 7] = [
    y(0x00, 0x00, 0x00),
    y(0x01, 0x00, 0x00),
    y(0xec, 0xff, 0x7f),
    y(0xed, 0xff, 0x7f),
    y(0xee, 0xff, 0x7f),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    /// RFC 8032 §7.1, test 1.
    const SEED: &[u8] = b"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

    fn key() -> SecretKey {
        SecretKey::from_seed(&text::decode_hex(SEED).unwrap())
    }

    #[test]
    fn rfc_8032_test_1_signs_and_verifies() {
        let signature = key().sign(b"");
        let expected = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
        assert_eq!(signature.0, text::decode_hex::<64>(expected.as_bytes()).unwrap());
        assert_eq!(key().peer_id().verify(b"", &signature), Ok(()));
        assert_eq!(key().peer_id().verify(b"x", &signature), Err(VerifyError::Signature));
    }

    #[test]
    fn the_table_of_weak_keys_is_that_of_the_curve() {
        for weak in WEAK_Y {
            for sign in [0, 0x80] {
                let mut octets = weak;
                octets[31] |= sign;
                assert!(PeerId::from_octets(octets).is_err());
                let point = VerifyingKey::from_bytes(&octets).unwrap();
                assert!(point.is_weak(), "{octets:02x?}");
            }
        }
    }

    #[test]
    fn octets_off_the_curve_are_refused_when_they_are_used() {
        let off = PeerId::from_octets([0x02; 32]).unwrap();
        let bad = (0..=255_u8)
            .map(|n| PeerId::from_octets([n.max(2); 32]).unwrap())
            .find(|id| !id.check())
            .unwrap_or(off);
        assert!(!bad.check());
        assert_eq!(bad.verify(b"", &Signature([0; 64])), Err(VerifyError::Key));
    }

    #[test]
    fn an_s_not_below_the_group_order_is_refused() {
        // L = 2^252 + 27742317777372353535851937790883648493, little endian.
        let order: [u8; 32] =
            text::decode_hex(b"edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
                .unwrap();
        let mut signature = key().sign(b"message");
        let mut carry = 0_u16;
        for (s, l) in signature.0[32..].iter_mut().zip(order) {
            let sum = u16::from(*s) + u16::from(l) + carry;
            *s = sum as u8;
            carry = sum >> 8;
        }
        assert_eq!(key().peer_id().verify(b"message", &signature), Err(VerifyError::Signature));
    }

    #[test]
    fn a_secret_key_does_not_print_itself() {
        let shown = format!("{:?}", key());
        assert!(!shown.contains("9d61") && !shown.contains("157"), "{shown}");
        assert!(shown.contains("12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV"));
    }

    #[test]
    fn key_ids_read_and_write() {
        let shown = format!("{}", key().peer_id().key_id());
        assert_eq!(shown.len(), KeyId::TEXT_LEN);
        assert_eq!(KeyId::decode(shown.as_bytes()), Ok(key().peer_id()));
        for wrong in ["", "ed25519:", &shown[8..], &shown.to_uppercase(), &shown[..71]] {
            assert!(KeyId::decode(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let weak = format!("ed25519:{:064}", 0);
        assert!(KeyId::decode(weak.as_bytes()).is_err());
    }
}
