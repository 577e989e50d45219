//! SHA-256 digests and their two texts: `sha256:` with hex (manifests), base64url (adverts).
//! One type and one parser, so that a digest with its prefix is never compared with one without.

use sha2::{Digest as _, Sha256};

use super::{Error, text};

/// A SHA-256 digest. Shown as `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Octets of the text with its prefix.
    pub const TEXT_LEN: usize = 71;

    /// The digest of these octets.
    #[must_use]
    pub fn of(octets: &[u8]) -> Self {
        Self(Sha256::digest(octets).into())
    }

    /// A digest computed elsewhere, as of a stream.
    #[must_use]
    pub const fn from_octets(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// The 32 octets.
    #[must_use]
    pub const fn as_octets(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads `sha256:` and 64 lower-case hex digits.
    ///
    /// # Errors
    /// `Malformed` for any other text.
    pub fn decode(text: &[u8]) -> Result<Self, Error> {
        let hex = text.strip_prefix(b"sha256:").ok_or(Error::Malformed("digest"))?;
        text::decode_hex(hex).map(Self)
    }

    /// Reads 43 characters of base64url.
    ///
    /// # Errors
    /// `Malformed` for any other text.
    pub fn decode_base64url(text: &[u8]) -> Result<Self, Error> {
        text::decode_base64url(text).map(Self)
    }
}

impl core::fmt::Display for Digest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut hex = [0; 64];
        f.write_str("sha256:")?;
        f.write_str(text::encode_hex(&self.0, &mut hex).map_err(|_| core::fmt::Error)?)
    }
}

impl core::fmt::Debug for Digest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl core::str::FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::decode(text.as_bytes())
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Digest {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "sha256:{=[u8]:02x}", self.0.as_slice());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;

    #[test]
    fn a_digest_has_one_text() {
        // FIPS 180-2 §B.1.
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse(), Ok(digest));
        let upper = text.to_uppercase();
        for wrong in ["", "sha256:", &text[7..], &upper, &text[..70], "sha512:00", "SHA256:"] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }
}
