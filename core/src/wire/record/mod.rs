//! The advert: what a provider says of the image it holds, signed.
//!
//! | member | what | signed |
//! |---|---|---|
//! | `url` | where the manifest is, [`crate::wire::url`] | yes |
//! | `peer_id` | who signs | yes |
//! | `provider_name` | a name for people, optional | yes |
//! | `last_updated` | when it was signed, `2025-11-26T12:00:00Z` | yes |
//! | `version` | the image's version, as claimed | yes |
//! | `seq` | 1 to 2^53 - 1, grows with every text this signer makes | yes |
//! | `ttl` | seconds it is good for, 60 to 604,800 | yes |
//! | `digest` | SHA-256 of the manifest's octets, optional | yes |
//! | `sig` | Ed25519 | - |
//!
//! Channel and architecture are in the signed key `/phase/{channel}/{arch}/manifest` and not in the
//! JSON: a record moved to another key does not verify there.
//!
//! `json.rs` and `txt.rs` are the two texts, `signed.rs` the octets under the signature, `field.rs` the
//! charsets. An advert without `sig` is another type, [`LegacyAdvert`], that nothing can verify.

mod field;
mod json;
mod key;
mod signed;
mod txt;

pub use field::{Arch, Channel, Field, ProviderName, Version};
pub use json::decode_json;
pub use key::{AdvertKey, KEY_MAX, PROVIDER_KEY_LEN};
pub use txt::{Txt, decode_txt, txt_strings};

use super::digest::Digest;
use super::url::{self, Url};
use super::{peer_id, text, unix_time};
use crate::identity::{PeerId, Signature};
use crate::time::UnixTime;

/// The largest `seq`: the largest integer that every JSON reader keeps exact.
pub const SEQ_MAX: u64 = (1 << 53) - 1;
/// The shortest lifetime in seconds.
pub const TTL_MIN: u32 = 60;
/// The longest lifetime in seconds: a week.
pub const TTL_MAX: u32 = 604_800;
/// The lifetime in seconds unless configured.
pub const TTL_DEFAULT: u32 = 3600;

/// What a provider says of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Advert {
    /// Where the manifest is.
    pub url: Url,
    /// Who says so.
    pub peer: PeerId,
    /// A name for people.
    pub name: Option<ProviderName>,
    /// When this was signed, by the provider's clock: up to the year 9999.
    pub issued: UnixTime,
    /// The image's version.
    pub version: Version,
    /// Greater than in every earlier text of this signer: 1 to [`SEQ_MAX`].
    pub seq: u64,
    /// Seconds after `issued` until it expires: [`TTL_MIN`] to [`TTL_MAX`].
    pub ttl: u32,
    /// The digest of the manifest's octets.
    pub digest: Option<Digest>,
}

impl Advert {
    /// When it expires.
    #[must_use]
    pub fn expires_at(&self) -> UnixTime {
        self.issued.plus(u64::from(self.ttl))
    }
}

/// An advert that carries a signature. That the signature is right is known after
/// [`SignedAdvert::verify`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SignedAdvert {
    advert: Advert,
    signature: Signature,
}

impl SignedAdvert {
    /// What it says.
    #[must_use]
    pub const fn advert(&self) -> &Advert {
        &self.advert
    }

    /// Its signature.
    #[must_use]
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Reads the JSON text; an unsigned advert is an error here.
    ///
    /// # Errors
    /// [`Error`], in the order of its variants.
    pub fn decode_json(octets: &[u8]) -> Result<Self, Error> {
        decode_json(octets)?.signed()
    }

    /// Reads the strings of a TXT record; an unsigned advert is an error here.
    ///
    /// # Errors
    /// [`Error`], in the order of its variants.
    pub fn decode_txt<'a>(strings: impl Iterator<Item = &'a [u8]>) -> Result<Self, Error> {
        decode_txt(strings)?.advert.signed()
    }
}

/// An advert in the format without signatures. It can be shown; nothing makes it a [`SignedAdvert`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LegacyAdvert {
    /// Where the manifest is said to be; inside the closed grammar too.
    pub url: Url,
    /// Who is said to say so: base58 characters, of any kind of key.
    pub peer_id: Option<heapless::String<64>>,
    /// A name for people, if it can be printed.
    pub name: Option<ProviderName>,
    /// When, if written as in a signed advert.
    pub issued: Option<UnixTime>,
    /// The image's version, if it can be printed.
    pub version: Option<Version>,
}

/// What a carrier brought.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Received {
    /// An advert with a signature still to be verified.
    Signed(SignedAdvert),
    /// An advert without.
    Unsigned(LegacyAdvert),
}

impl Received {
    /// The signed advert.
    ///
    /// # Errors
    /// [`Error::Unsigned`] when it has no signature.
    pub fn signed(self) -> Result<SignedAdvert, Error> {
        match self {
            Self::Signed(advert) => Ok(advert),
            Self::Unsigned(_) => Err(Error::Unsigned),
        }
    }

    /// Where the manifest is said to be.
    #[must_use]
    pub const fn url(&self) -> &Url {
        match self {
            Self::Signed(signed) => &signed.advert.url,
            Self::Unsigned(legacy) => &legacy.url,
        }
    }
}

/// Why a text is no advert, in the order in which it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error {
    /// Empty or too long.
    Size,
    /// Not a JSON object of the narrow profile, a known member of the wrong kind, or a member twice.
    Json,
    /// This member is missing or outside its charset or range.
    Field(Field),
    /// The URL is outside the closed grammar.
    Url(url::Error),
    /// There is no signature.
    Unsigned,
    /// The peer id is not that of a usable Ed25519 key.
    PeerId,
}

impl Error {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Size => "E-SIZE",
            Self::Json => "E-JSON",
            Self::Field(field) => field.code(),
            Self::Url(error) => error.code(),
            Self::Unsigned => "E-UNSIGNED",
            Self::PeerId => "E-PEERID",
        }
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Size => f.write_str("the advert is empty or too long"),
            Self::Json => f.write_str("the advert is not JSON of the narrow profile"),
            Self::Field(field) => f.write_str(field.rule()),
            Self::Url(error) => error.fmt(f),
            Self::Unsigned => f.write_str("the advert is not signed"),
            Self::PeerId => f.write_str("peer_id is not that of a usable Ed25519 key"),
        }
    }
}

impl core::error::Error for Error {}

/// The members as text, whichever carrier brought them. Both carriers are judged by the same code.
#[derive(Clone, Copy, Debug, Default)]
struct Members<'a> {
    url: Option<&'a str>,
    peer_id: Option<&'a str>,
    provider_name: Option<&'a str>,
    issued: Option<UnixTime>,
    version: Option<&'a str>,
    seq: Option<u64>,
    ttl: Option<u64>,
    digest: Option<&'a str>,
    sig: Option<&'a str>,
}

impl Members<'_> {
    fn received(&self) -> Result<Received, Error> {
        match self.sig {
            Some(_) => self.signed().map(Received::Signed),
            None => self.unsigned().map(Received::Unsigned),
        }
    }

    /// Fields first, then the URL, then whether it is signed, then the peer id: the order of the codes.
    fn signed(&self) -> Result<SignedAdvert, Error> {
        let need = |field| move || Error::Field(field);
        let url = self.url.ok_or_else(need(Field::Url))?;
        let peer_id = self.peer_id.ok_or_else(need(Field::PeerId))?;
        if !is_base58(peer_id) || peer_id.len() > peer_id::TEXT_LEN {
            return Err(Error::Field(Field::PeerId));
        }
        let name = self.provider_name.map(ProviderName::new).transpose()?;
        let issued = self.issued.ok_or_else(need(Field::LastUpdated))?;
        let version = Version::new(self.version.ok_or_else(need(Field::Version))?)?;
        let seq = self.seq.ok_or_else(need(Field::Seq))?;
        let ttl = self.ttl.and_then(|ttl| u32::try_from(ttl).ok()).ok_or_else(need(Field::Ttl))?;
        let digest = self.digest.map(|text| Digest::decode_base64url(text.as_bytes())).transpose();
        let digest = digest.map_err(|_| Error::Field(Field::Digest))?;
        let sig = self.sig.map(|text| text::decode_base64url(text.as_bytes())).transpose();
        let sig = sig.map_err(|_| Error::Field(Field::Sig))?;
        check_ranges(issued, seq, ttl)?;
        let url = Url::parse(url).map_err(Error::Url)?;
        let signature = Signature(sig.ok_or(Error::Unsigned)?);
        let peer = peer_id::decode_text(peer_id.as_bytes()).map_err(|_| Error::PeerId)?;
        let advert = Advert { url, peer, name, issued, version, seq, ttl, digest };
        Ok(SignedAdvert { advert, signature })
    }

    /// Only the URL has to be good; anything else that cannot be shown is left out.
    fn unsigned(&self) -> Result<LegacyAdvert, Error> {
        let url = self.url.ok_or(Error::Field(Field::Url))?;
        let peer_id = self.peer_id.filter(|text| is_base58(text));
        Ok(LegacyAdvert {
            url: Url::parse(url).map_err(Error::Url)?,
            peer_id: peer_id.and_then(|text| heapless::String::try_from(text).ok()),
            name: self.provider_name.and_then(|text| ProviderName::new(text).ok()),
            issued: self.issued,
            version: self.version.and_then(|text| Version::new(text).ok()),
        })
    }
}

fn check_ranges(issued: UnixTime, seq: u64, ttl: u32) -> Result<(), Error> {
    if issued > unix_time::MAX {
        Err(Error::Field(Field::LastUpdated))
    } else if !(1..=SEQ_MAX).contains(&seq) {
        Err(Error::Field(Field::Seq))
    } else if !(TTL_MIN..=TTL_MAX).contains(&ttl) {
        Err(Error::Field(Field::Ttl))
    } else {
        Ok(())
    }
}

fn is_base58(text: &str) -> bool {
    let is_digit = |c: u8| c.is_ascii_alphanumeric() && !matches!(c, b'0' | b'O' | b'I' | b'l');
    !text.is_empty() && text.bytes().all(is_digit)
}

#[cfg(test)]
mod tests;
