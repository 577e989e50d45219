//! Noise as libp2p frames and fills it: the frame's length, and the payload that proves an identity.
//! Spec: libp2p `specs/noise` (frames and payload), `specs/connections/inlined-muxer-negotiation`.
//!
//! ```text
//! frame    length   2 octets, network order     octets that follow
//!          message  a Noise message, its tag counted
//! payload  1 identity_key  PublicKey of the sender
//!          2 identity_sig  Sign(identity, "noise-libp2p-static-key:" || static key)
//!          4 extensions    { 1 webtransport_certhashes*, 2 stream_muxers* }
//! ```
//!
//! Unknown fields are skipped. Not implemented: certificate hashes. The handshake itself is
//! `connection/noise.rs`.

use super::cursor::Writer;
use super::protobuf::{Fields, bytes_field_len};
use super::{Error, peer_id};
use crate::identity::PeerId;

/// The handshake; it is 32 octets long, so it begins the transcript as it is.
pub const PROTOCOL_NAME: &[u8; 32] = b"Noise_XX_25519_ChaChaPoly_SHA256";

/// What is signed before the sender's static key.
pub const SIGNATURE_PREFIX: &[u8; 24] = b"noise-libp2p-static-key:";

/// Octets before a message: its length.
pub const FRAME_HEAD_LEN: usize = 2;

/// Octets of the longest message.
pub const MESSAGE_MAX: usize = 65_535;

/// Octets of the tag at the end of an encrypted message or key.
pub const TAG_LEN: usize = 16;

/// Octets of an Ed25519 signature.
pub const SIGNATURE_LEN: usize = 64;

/// Octets of the message that follows a frame's first two.
#[must_use]
pub const fn message_len(head: [u8; FRAME_HEAD_LEN]) -> usize {
    u16::from_be_bytes(head) as usize
}

/// The first two octets of a frame with `len` octets of message; none when they are more than
/// [`MESSAGE_MAX`].
#[must_use]
pub fn frame_head(len: usize) -> Option<[u8; FRAME_HEAD_LEN]> {
    u16::try_from(len).ok().map(u16::to_be_bytes)
}

/// Who sends, and what else it can do; encrypted in the second and third message of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    /// The sender's public key as protobuf; [`peer`](Self::peer) reads it.
    pub identity_key: &'a [u8],
    /// The signature of [`SIGNATURE_PREFIX`] and the sender's static key.
    pub identity_sig: &'a [u8],
    /// Present when the sender negotiates its muxer early.
    pub extensions: Option<Extensions<'a>>,
}

const IDENTITY_KEY: u32 = 1;
const IDENTITY_SIG: u32 = 2;
const EXTENSIONS: u32 = 4;

impl<'a> Payload<'a> {
    /// Reads a whole payload.
    ///
    /// # Errors
    /// `Truncated` or `Malformed` when it is no message of this kind or lacks a key or a signature.
    pub fn decode(octets: &'a [u8]) -> Result<Self, Error> {
        let (mut key, mut sig, mut extensions) = (None, None, None);
        for field in Fields::new(octets) {
            let field = field?;
            match field.number {
                IDENTITY_KEY => key = Some(field.value.bytes("identity_key")?),
                IDENTITY_SIG => sig = Some(field.value.bytes("identity_sig")?),
                EXTENSIONS => {
                    extensions = Some(Extensions::decode(field.value.bytes("extensions")?)?);
                }
                _ => {}
            }
        }
        let identity_key = key.ok_or(Error::Malformed("payload without identity_key"))?;
        let identity_sig = sig.ok_or(Error::Malformed("payload without identity_sig"))?;
        Ok(Self { identity_key, identity_sig, extensions })
    }

    /// Appends the payload.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.bytes_field(IDENTITY_KEY, self.identity_key);
        w.bytes_field(IDENTITY_SIG, self.identity_sig);
        if let Some(extensions) = &self.extensions {
            w.bytes_field(EXTENSIONS, extensions.0);
        }
    }

    /// Octets that [`encode`](Self::encode) writes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        bytes_field_len(IDENTITY_KEY, self.identity_key.len())
            .saturating_add(bytes_field_len(IDENTITY_SIG, self.identity_sig.len()))
            .saturating_add(self.extensions.map_or(0, |e| bytes_field_len(EXTENSIONS, e.0.len())))
    }

    /// Who the sender says it is. The signature proves it, not this.
    ///
    /// # Errors
    /// `Unsupported` when the key is of another type than Ed25519, `Malformed` when it is none or weak.
    pub fn peer(&self) -> Result<PeerId, Error> {
        peer_id::decode_protobuf(self.identity_key)
    }

    /// The signature, when it has the length of an Ed25519 one.
    ///
    /// # Errors
    /// `Malformed` when it has another.
    pub fn signature(&self) -> Result<&'a [u8; SIGNATURE_LEN], Error> {
        self.identity_sig.try_into().map_err(|_| Error::Malformed("identity_sig"))
    }
}

/// Extensions of a [`Payload`], well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions<'a>(&'a [u8]);

const STREAM_MUXERS: u32 = 2;

impl<'a> Extensions<'a> {
    /// One muxer: Yamux.
    pub const YAMUX: Extensions<'static> = Extensions(b"\x12\x0c/yamux/1.0.0");

    fn decode(octets: &'a [u8]) -> Result<Self, Error> {
        for field in Fields::new(octets) {
            let field = field?;
            if field.number == STREAM_MUXERS {
                field.value.bytes("stream_muxers")?;
            }
        }
        Ok(Self(octets))
    }

    /// The muxers the sender speaks, those it prefers first.
    pub fn stream_muxers(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        Fields::new(self.0)
            .filter_map(Result::ok)
            .filter(|field| field.number == STREAM_MUXERS)
            .filter_map(|field| field.value.bytes("stream_muxers").ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;
    use std::vec::Vec;

    const MUXER: &[u8] = b"/yamux/1.0.0";

    fn encode(payload: &Payload<'_>) -> Vec<u8> {
        let mut buffer = [0xa5; 256];
        let mut w = Writer::new(&mut buffer);
        payload.encode(&mut w);
        let len = w.finish().unwrap();
        assert_eq!(len, payload.encoded_len());
        assert!(buffer[len..].iter().all(|octet| *octet == 0xa5));
        buffer[..len].to_vec()
    }

    #[test]
    fn a_payload_comes_back_with_and_without_extensions() {
        let peer = SecretKey::from_seed(&[1; 32]).peer_id();
        let key = peer_id::encode_protobuf(&peer);
        for extensions in [None, Some(Extensions::YAMUX), Some(Extensions(&[]))] {
            let payload = Payload { identity_key: &key, identity_sig: &[7; 64], extensions };
            let octets = encode(&payload);
            assert_eq!(Payload::decode(&octets), Ok(payload));
            assert_eq!(payload.peer(), Ok(peer));
            assert_eq!(payload.signature(), Ok(&[7; 64]));
        }
        assert!(Extensions::YAMUX.stream_muxers().eq([MUXER]));
    }

    #[test]
    fn fields_come_in_any_order_and_unknown_ones_are_skipped() {
        let octets = [
            &[0x22, 0x14, 0x0a, 0x01, 0xff, 0x12, 0x01, b'm', 0x12, 0x0c][..],
            MUXER,
            &[0x1a, 0x01, 0xff, 0x12, 0x01, 0x05, 0x0a, 0x01, 0x06, 0x28, 0x01],
        ]
        .concat();
        let payload = Payload::decode(&octets).unwrap();
        assert_eq!((payload.identity_key, payload.identity_sig), (&[6][..], &[5][..]));
        assert!(payload.extensions.unwrap().stream_muxers().eq([&b"m"[..], MUXER]));
        assert_eq!(payload.signature(), Err(Error::Malformed("identity_sig")));
    }

    #[test]
    fn a_payload_without_a_proof_is_refused() {
        for octets in [
            &[][..],
            &[0x0a, 0x01, 0x06],
            &[0x12, 0x01, 0x05],
            &[0x0a, 0x01, 0x06, 0x10, 0x05],
            &[0x0a, 0x01, 0x06, 0x12, 0x02, 0x05],
            &[0x0a, 0x01, 0x06, 0x12, 0x01, 0x05, 0x22, 0x02, 0x10, 0x01],
            &[0x0a, 0x01, 0x06, 0x12, 0x01, 0x05, 0x22, 0x01, 0x12],
        ] {
            assert!(Payload::decode(octets).is_err(), "{octets:x?}");
        }
    }

    #[test]
    fn every_cut_of_a_payload_is_refused_or_lacks_what_was_cut() {
        let key = peer_id::encode_protobuf(&SecretKey::from_seed(&[1; 32]).peer_id());
        let extensions = Some(Extensions::YAMUX);
        let octets = encode(&Payload { identity_key: &key, identity_sig: &[7; 64], extensions });
        let without = 38 + 66;
        for len in 0..octets.len() {
            let cut = Payload::decode(&octets[..len]);
            assert_eq!(cut.is_ok(), len == without, "{len} octets");
        }
    }

    #[test]
    fn a_key_of_another_type_is_told_from_a_broken_one() {
        let payload = |identity_key| Payload { identity_key, identity_sig: &[], extensions: None };
        let rsa = [0x08, 0x00, 0x12, 0x01, 0x30];
        assert!(matches!(payload(&rsa[..]).peer(), Err(Error::Unsupported(_))));
        assert!(matches!(payload(&[0xff; 36][..]).peer(), Err(Error::Malformed(_))));
    }

    #[test]
    fn frames_are_prefixed_by_their_length() {
        assert_eq!(frame_head(32), Some([0, 32]));
        assert_eq!(frame_head(MESSAGE_MAX), Some([0xff, 0xff]));
        assert_eq!(frame_head(MESSAGE_MAX + 1), None);
        assert_eq!(message_len([0x01, 0x02]), 258);
    }
}
