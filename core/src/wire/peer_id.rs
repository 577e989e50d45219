//! Peer ids: the texts `12D3KooW…` and `bafzaajaiaej…`, and the octets of an Ed25519 identity multihash.
//! Spec: libp2p `specs/peer-ids#peer-ids`.
//!
//! ```text
//! multihash   00 24             identity, 36 octets follow
//! protobuf    08 01 12 20       PublicKey { Type = Ed25519, Data = 32 octets
//! key         .. 32 octets ..   }
//! ```
//!
//! The base58 text is the one that is written, and the one that adverts and trust files may hold; the other, a
//! CID of version 1 in base32, is read where people paste addresses.
//! Not implemented: other key types and hashed ids (`Qm…`); they cannot sign an advert.

use super::Error;
use super::text;
use crate::identity::PeerId;

/// Octets of the text; every Ed25519 peer id has this many.
pub const TEXT_LEN: usize = 52;
/// Octets of the public key as libp2p's protobuf.
pub const PROTOBUF_LEN: usize = 36;
/// Octets of the multihash.
pub const MULTIHASH_LEN: usize = 38;

/// Octets of the text of a CID of version 1 in base32.
const CID_TEXT_LEN: usize = 65;
/// CID version 1, multicodec `libp2p-key`.
const CID_HEAD: [u8; 2] = [0x01, 0x72];
const MULTIHASH_HEAD: [u8; 2] = [0x00, 0x24];
const PROTOBUF_HEAD: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

/// Reads the base58 text.
///
/// # Errors
/// `Malformed` when it is no base58 text of a multihash of an Ed25519 key, or the key is weak.
pub fn decode_text(text: &[u8]) -> Result<PeerId, Error> {
    // Base58 costs the square of the length: look at the length first.
    if text.len() != TEXT_LEN {
        return Err(WRONG);
    }
    decode_multihash(&text::decode_base58::<MULTIHASH_LEN>(text).map_err(|_| WRONG)?)
}

/// Reads either text.
///
/// # Errors
/// `Unsupported` when it looks like the id of a peer with another type of key, `Malformed` when it is no text of
/// a peer id, or the key is weak.
pub fn decode_any_text(text: &[u8]) -> Result<PeerId, Error> {
    if let Some(cid) = text.strip_prefix(b"b")
        && text.len() == CID_TEXT_LEN
    {
        let octets = text::decode_base32::<{ MULTIHASH_LEN + 2 }>(cid).map_err(|_| WRONG)?;
        return decode_multihash(octets.strip_prefix(&CID_HEAD).ok_or(WRONG)?);
    }
    // RSA: a SHA-256 multihash. secp256k1: an identity multihash, one octet longer.
    if (text.len() == 46 && text.starts_with(b"Qm"))
        || (text.len() == 53 && text.starts_with(b"16Uiu2HA"))
    {
        return Err(OTHER_KEY);
    }
    decode_text(text)
}

/// Reads the multihash.
///
/// # Errors
/// `Malformed` when it is not the identity multihash of an Ed25519 key, or the key is weak.
pub fn decode_multihash(octets: &[u8]) -> Result<PeerId, Error> {
    decode_protobuf(octets.strip_prefix(&MULTIHASH_HEAD).ok_or(WRONG)?)
}

/// Reads the public key as protobuf.
///
/// # Errors
/// `Unsupported` when it is a key of another type, `Malformed` when it is not the one encoding of an Ed25519
/// key, or the key is weak.
pub fn decode_protobuf(octets: &[u8]) -> Result<PeerId, Error> {
    if matches!(octets, [0x08, 0x00 | 0x02 | 0x03, 0x12, ..]) {
        return Err(OTHER_KEY);
    }
    let key = octets.strip_prefix(&PROTOBUF_HEAD).ok_or(WRONG)?;
    PeerId::from_octets(key.try_into().map_err(|_| WRONG)?)
}

/// The multihash of `peer`.
#[must_use]
pub fn encode_multihash(peer: &PeerId) -> [u8; MULTIHASH_LEN] {
    let head = MULTIHASH_HEAD.iter().chain(&PROTOBUF_HEAD);
    let mut octets = head.chain(peer.as_octets()).copied();
    core::array::from_fn(|_| octets.next().unwrap_or(0))
}

/// The public key of `peer` as protobuf.
#[must_use]
pub fn encode_protobuf(peer: &PeerId) -> [u8; PROTOBUF_LEN] {
    let mut octets = PROTOBUF_HEAD.iter().chain(peer.as_octets()).copied();
    core::array::from_fn(|_| octets.next().unwrap_or(0))
}

/// The base58 text of `peer`.
#[must_use]
pub fn encode_text(peer: &PeerId) -> heapless::String<TEXT_LEN> {
    let mut buf = [0; TEXT_LEN];
    // 38 octets that begin 00 24 08 01 12 20 always make 52 characters: nothing is lost here.
    let text = text::encode_base58(&encode_multihash(peer), &mut buf).unwrap_or("");
    heapless::String::try_from(text).unwrap_or_default()
}

const WRONG: Error = Error::Malformed("peer id");
const OTHER_KEY: Error = Error::Unsupported("key of another type than Ed25519");

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    const TEXT: &str = "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV";
    const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    #[test]
    fn the_text_of_a_known_key_reads_and_writes() {
        let peer = decode_text(TEXT.as_bytes()).unwrap();
        assert_eq!(peer.as_octets(), &text::decode_hex::<32>(KEY.as_bytes()).unwrap());
        assert_eq!(encode_text(&peer).as_str(), TEXT);
        assert_eq!(decode_multihash(&encode_multihash(&peer)), Ok(peer));
        assert_eq!(decode_protobuf(&encode_protobuf(&peer)), Ok(peer));
    }

    #[test]
    fn the_text_has_one_length_at_both_ends_of_the_range() {
        for key in [[0x02; 32], [0xfe; 32]] {
            let peer = PeerId::from_octets(key).unwrap();
            assert_eq!(encode_text(&peer).len(), TEXT_LEN);
            assert_eq!(decode_text(encode_text(&peer).as_bytes()), Ok(peer));
        }
    }

    #[test]
    fn a_cid_reads_where_either_text_is_taken_and_only_there() {
        let base58 = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
        let cid = "bafzaajaiaejcbcui4poxicprsx6vfwznhs5f24wkm4e36hmucin7g5eiag2a6324";
        let peer = decode_text(base58.as_bytes()).unwrap();
        assert_eq!(decode_any_text(cid.as_bytes()), Ok(peer));
        assert_eq!(decode_any_text(base58.as_bytes()), Ok(peer));
        assert_eq!(decode_text(cid.as_bytes()), Err(WRONG));
        for bad in [
            cid.to_uppercase(),
            cid.replacen("bafza", "bafyb", 1),
            cid.replace('7', "1"),
            cid[..64].into(),
            std::format!("{cid}a"),
        ] {
            assert_eq!(decode_any_text(bad.as_bytes()), Err(WRONG), "{bad}");
        }
    }

    #[test]
    fn ids_of_other_key_types_are_told_from_junk() {
        for text in [
            "QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC",
            "16Uiu2HAmLhLvBoYaoZfaMUKuibM6ac163GwKY74c5kiSLg5KvLpY",
        ] {
            assert_eq!(decode_any_text(text.as_bytes()), Err(OTHER_KEY));
        }
        assert_eq!(decode_any_text(b"Qm"), Err(WRONG));
    }

    #[test]
    fn anything_but_an_ed25519_identity_is_refused() {
        let flipped: String = TEXT.replacen('K', "L", 1);
        for text in [
            "",
            "12D3KooW",
            flipped.as_str(),
            "QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC",
            "16Uiu2HAmLhLvBoYaoZfaMUKuibM6ac163GwKY74c5kiSLg5KvLpY",
            "bafzaajaiaejcbv25v3vvbqt3h3fxqq6ohdolzqg5jlhqsdsg4uz4ukmr3cz7gkga",
            "12D3KooW9tGaPdJo5jmCpadQ971nfiq4kLcQjeBPYTfutBTtckPH",
            " 12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV",
            "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5p0",
        ] {
            assert!(decode_text(text.as_bytes()).is_err(), "{text:?}");
        }
        let good = encode_multihash(&decode_text(TEXT.as_bytes()).unwrap());
        for at in 0..6 {
            let mut bad = good;
            bad[at] ^= 1;
            assert!(decode_multihash(&bad).is_err(), "octet {at}");
        }
        assert!(decode_multihash(&good[..37]).is_err());
    }
}
