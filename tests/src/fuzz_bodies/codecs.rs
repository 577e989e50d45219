//! The small texts: times, peer ids, and the base encodings.

use phase_core::identity::{KeyId, PeerId};
use phase_core::time::UnixTime;
use phase_core::wire::{peer_id, text, unix_time};

/// Holds that every time has one text, both ways.
///
/// # Panics
/// When a law is broken.
pub fn rfc3339(data: &[u8]) {
    if let Ok(time) = unix_time::decode(data) {
        assert_eq!(unix_time::encode(time).expect("it was read").as_bytes(), data);
    }
    if let Some(seconds) = data.first_chunk() {
        let time = UnixTime(u64::from_be_bytes(*seconds));
        match unix_time::encode(time) {
            Some(text) => assert_eq!(unix_time::decode(text.as_bytes()), Ok(time)),
            None => assert!(time > unix_time::MAX),
        }
    }
}

/// Holds that every peer id has one text, one multihash and one protobuf.
///
/// # Panics
/// When a law is broken.
pub fn peer_id(data: &[u8]) {
    if let Ok(peer) = peer_id::decode_text(data) {
        assert_eq!(peer_id::encode_text(&peer).as_bytes(), data);
        assert_eq!(KeyId::decode(peer.key_id().to_string().as_bytes()), Ok(peer));
    }
    if let Ok(peer) = peer_id::decode_any_text(data) {
        let is_cid = data.first() == Some(&b'b');
        assert_eq!(peer_id::decode_text(data).ok(), (!is_cid).then_some(peer));
    }
    if let Ok(peer) = peer_id::decode_multihash(data) {
        assert_eq!(peer_id::encode_multihash(&peer), data);
    }
    if let Ok(peer) = peer_id::decode_protobuf(data) {
        assert_eq!(peer_id::encode_protobuf(&peer), data);
    }
    if let Some(key) = data.first_chunk()
        && let Ok(peer) = PeerId::from_octets(*key)
    {
        assert_eq!(peer.to_string().parse(), Ok(peer));
    }
}

/// Holds that every base encoding has one text for each value, both ways.
///
/// # Panics
/// When a law is broken.
pub fn base_codecs(data: &[u8]) {
    const N: usize = 38;
    let mut out = [0xa5; 2 * N];
    if let Ok(octets) = text::decode_base64url::<N>(data) {
        assert_eq!(text::encode_base64url(&octets, &mut out).expect("fits").as_bytes(), data);
    }
    if let Ok(octets) = text::decode_hex::<N>(data) {
        assert_eq!(text::encode_hex(&octets, &mut out).expect("fits").as_bytes(), data);
    }
    if let Ok(octets) = text::decode_base58::<N>(data) {
        assert_eq!(text::encode_base58(&octets, &mut out).expect("fits").as_bytes(), data);
    }
    let mut decoded = vec![0xa5; data.len()];
    if let Ok(octets) = text::decode_base64(data, &mut decoded) {
        let mut again = vec![0xa5; data.len()];
        assert_eq!(text::encode_base64(octets, &mut again).expect("fits").as_bytes(), data);
    }
    if let Ok(number) = text::decode_decimal(data) {
        assert_eq!(number.to_string().as_bytes(), data);
    }
    if let Some(octets) = data.first_chunk::<N>() {
        let text = text::encode_base58(octets, &mut out).expect("fits");
        assert_eq!(text::decode_base58(text.as_bytes()), Ok(*octets));
        let text = text::encode_base64url(octets, &mut out).expect("fits");
        assert_eq!(text::decode_base64url(text.as_bytes()), Ok(*octets));
    }
}
