//! The keys under which adverts are kept in the DHT.
//!
//! ```text
//! base key      /phase/{channel}/{arch}/manifest              the advert of any provider
//! sub-key       /phase/{channel}/{arch}/manifest/{peer id}    the advert of that provider
//! provider key  12 20, SHA-256 of the base key                where Kademlia's provider records are
//! ```
//!
//! Not here: the octets under the signature, which have the base key too (`signed.rs`).

use super::{Arch, Channel};
use crate::identity::PeerId;
use crate::wire::digest::Digest;
use crate::wire::{Error, peer_id};

/// Octets of a key: 16 around a channel of 32 and an architecture of 16, a slash and a peer id of 52.
pub const KEY_MAX: usize = 128;

/// Octets of a provider key: the multihash code of SHA-256, the length, the digest.
pub const PROVIDER_KEY_LEN: usize = 34;

/// What an advert in the DHT is kept under.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AdvertKey {
    /// The channel.
    pub channel: Channel,
    /// The architecture.
    pub arch: Arch,
    /// The only signer of a sub-key; `None`: the base key.
    pub peer: Option<PeerId>,
}

impl AdvertKey {
    /// The base key of an image.
    #[must_use]
    pub const fn base(channel: Channel, arch: Arch) -> Self {
        Self { channel, arch, peer: None }
    }

    /// The sub-key of a provider below this key.
    #[must_use]
    pub fn of(&self, peer: PeerId) -> Self {
        Self { peer: Some(peer), ..self.clone() }
    }

    /// Reads a key; there is one text for each.
    ///
    /// # Errors
    /// `Malformed` when it is neither a base key nor a sub-key.
    pub fn decode(octets: &[u8]) -> Result<Self, Error> {
        const WRONG: Error = Error::Malformed("advert key");
        let text = core::str::from_utf8(octets).map_err(|_| WRONG)?;
        let mut segments = text.strip_prefix("/phase/").ok_or(WRONG)?.split('/');
        let channel = Channel::new(segments.next().ok_or(WRONG)?).map_err(|_| WRONG)?;
        let arch = Arch::new(segments.next().ok_or(WRONG)?).map_err(|_| WRONG)?;
        if segments.next() != Some("manifest") {
            return Err(WRONG);
        }
        let peer = segments.next().map(|text| peer_id::decode_text(text.as_bytes())).transpose();
        let peer = peer.map_err(|_| WRONG)?;
        if segments.next().is_some() { Err(WRONG) } else { Ok(Self { channel, arch, peer }) }
    }

    /// The octets that messages carry.
    #[must_use]
    pub fn octets(&self) -> heapless::Vec<u8, KEY_MAX> {
        self.text().into_bytes()
    }

    fn text(&self) -> heapless::String<KEY_MAX> {
        let mut text = base_key(&self.channel, &self.arch);
        if let Some(peer) = &self.peer {
            // The members at their caps make 117 octets.
            let _ = text.push('/');
            let _ = text.push_str(&peer_id::encode_text(peer));
        }
        text
    }

    /// The key of provider records, which every libp2p stack takes: a SHA-256 multihash of the base key.
    #[must_use]
    pub fn provider_key(&self) -> [u8; PROVIDER_KEY_LEN] {
        let base = Self { peer: None, ..self.clone() };
        let digest = Digest::of(&base.octets());
        let mut octets = [0x12, 0x20].into_iter().chain(*digest.as_octets());
        core::array::from_fn(|_| octets.next().unwrap_or(0))
    }
}

impl core::fmt::Display for AdvertKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.text())
    }
}

/// The text of the base key.
pub(super) fn base_key(channel: &Channel, arch: &Arch) -> heapless::String<KEY_MAX> {
    let mut text = heapless::String::new();
    for part in ["/phase/", channel.as_str(), "/", arch.as_str(), "/manifest"] {
        // The members at their caps make 64 octets.
        let _ = text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;

    const PEER: &str = "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV";

    #[test]
    fn keys_read_and_write() {
        for text in [
            "/phase/stable/arm64/manifest",
            &std::format!("/phase/stable/arm64/manifest/{PEER}"),
            &std::format!("/phase/{}/{}/manifest/{PEER}", "c".repeat(32), "a".repeat(16)),
        ] {
            let key = AdvertKey::decode(text.as_bytes()).unwrap();
            assert_eq!(key.to_string(), text);
            assert_eq!(key.octets(), text.as_bytes());
        }
        let base = AdvertKey::decode(b"/phase/stable/arm64/manifest").unwrap();
        assert_eq!(base.of(PEER.parse().unwrap()).to_string(), std::format!("{base}/{PEER}"));
    }

    #[test]
    fn the_provider_key_is_a_multihash_of_the_base_key() {
        let base = AdvertKey::decode(b"/phase/stable/arm64/manifest").unwrap();
        let key = base.provider_key();
        assert_eq!(key[..6], [0x12, 0x20, 0xef, 0xa1, 0x56, 0x75]);
        assert_eq!(key[32..], [0x34, 0x50]);
        assert_eq!(base.of(PEER.parse().unwrap()).provider_key(), key);
    }

    #[test]
    fn anything_else_is_no_key() {
        for text in [
            "",
            "/phase",
            "/phase/stable/arm64",
            "/phase/stable/arm64/manifest/",
            "/phase/stable/arm64/manifest/12D3KooW",
            "/phase/stable/arm64/manifest.json",
            "/phase/Stable/arm64/manifest",
            "/phase//arm64/manifest",
            "phase/stable/arm64/manifest",
            "/phase/stable/arm64/manifest\n",
            "/pk/stable/arm64/manifest",
            &std::format!("/phase/stable/arm64/manifest/{PEER}/x"),
        ] {
            assert!(AdvertKey::decode(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(AdvertKey::decode(b"/phase/\xff/arm64/manifest").is_err());
    }
}
