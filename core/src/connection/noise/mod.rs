//! The Noise handshake of libp2p: who the remote is, and two ciphers.
//! Spec: Noise Protocol Framework revision 34, §7.5 (pattern XX); libp2p `specs/noise`;
//! `specs/connections/inlined-muxer-negotiation`.
//!
//! ```text
//! -> e
//! <- e, ee, s, es, payload
//! -> s, se, payload
//! ```
//!
//! Each step takes a whole message, decrypts it in place and appends the next one, with its frame head. The
//! payload signs the static key with the identity; [`Identity`] keeps that signature, so a handshake signs
//! nothing. Yamux is always offered early. Not here: frames cut short and timeouts ([`super::Connection`]).
//!
//! Identities are Ed25519; other key types are refused, as is a Diffie-Hellman result of zeros.

mod cipher;

pub use cipher::Cipher;
use cipher::Symmetric;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::identity::{PeerId, SecretKey, Signature};
use crate::rng::Seed;
use crate::wire::cursor::Writer;
use crate::wire::multistream::Line;
use crate::wire::noise::{Extensions, Payload, SIGNATURE_PREFIX, TAG_LEN};
use crate::wire::{self, peer_id};

/// Why a handshake or a message was refused. None of them can be mended: the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error {
    /// A handshake message is too short, or the first one is not 32 octets.
    Message,
    /// A message was not encrypted by the other side of this handshake, or was changed on its way.
    Decrypt,
    /// A Diffie-Hellman result is zero: the remote's key is of small order.
    Contributory,
    /// The payload is malformed.
    Payload(wire::Error),
    /// The remote's identity is not an Ed25519 key.
    KeyType,
    /// The remote's identity did not sign its static key.
    Signature,
    /// A key has encrypted as much as it may.
    Exhausted,
    /// The next message does not fit the buffer.
    Room,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Message => f.write_str("a handshake message has a wrong length"),
            Self::Decrypt => f.write_str("a message does not decrypt"),
            Self::Contributory => f.write_str("the remote's Diffie-Hellman key is of small order"),
            Self::Payload(error) => write!(f, "handshake payload: {error}"),
            Self::KeyType => f.write_str("the remote's identity is not an Ed25519 key"),
            Self::Signature => f.write_str("the remote's identity did not sign its Noise key"),
            Self::Exhausted => f.write_str("the key has encrypted as much as it may"),
            Self::Room => f.write_str("a handshake message does not fit its buffer"),
        }
    }
}

impl core::error::Error for Error {}

/// Who we are on every connection of a machine: a peer id, a static key and what binds them.
pub struct Identity {
    peer: PeerId,
    secret: StaticSecret,
    public: PublicKey,
    signature: Signature,
    offers_muxer: bool,
}

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Identity({}, ..)", self.peer)
    }
}

impl Identity {
    /// The identity of `key` with a static key drawn from `seed`.
    #[must_use]
    pub fn new(key: &SecretKey, seed: &Seed) -> Self {
        Self::with_static_key(key, seed.secret("noise static", 0))
    }

    /// The identity of `key` with the static key `secret`: 32 octets of entropy.
    #[must_use]
    pub fn with_static_key(key: &SecretKey, secret: [u8; 32]) -> Self {
        let secret = StaticSecret::from(secret);
        let public = PublicKey::from(&secret);
        let signature = key.sign(&signed(&public));
        Self { peer: key.peer_id(), secret, public, signature, offers_muxer: true }
    }

    /// As a peer that does not negotiate its muxer early.
    #[cfg(test)]
    pub(crate) fn without_muxer(mut self) -> Self {
        self.offers_muxer = false;
        self
    }

    /// Our peer id.
    #[must_use]
    pub const fn peer_id(&self) -> PeerId {
        self.peer
    }

    fn payload(&self, w: &mut Writer<'_>) {
        let extensions = self.offers_muxer.then_some(Extensions::YAMUX);
        let identity_key = &peer_id::encode_protobuf(&self.peer);
        Payload { identity_key, identity_sig: &self.signature.0, extensions }.encode(w);
    }
}

/// What a finished handshake gives.
#[derive(Debug)]
pub struct Established {
    /// Who the remote has proved to be.
    pub remote: PeerId,
    /// Whether both sides offered Yamux: it is not negotiated again then.
    pub early_muxer: bool,
    /// Encrypts what we send.
    pub send: Cipher,
    /// Decrypts what we receive.
    pub receive: Cipher,
    /// The hash of the handshake, the same on both sides and on no other connection.
    pub hash: [u8; 32],
}

/// The dialer's side, after its first message.
pub struct Initiator {
    symmetric: Symmetric,
    ephemeral: StaticSecret,
}

impl core::fmt::Debug for Initiator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Initiator(..)")
    }
}

impl Initiator {
    /// Begins: `ephemeral` is 32 octets of entropy that are used once; appends the first message.
    #[must_use]
    pub fn new(ephemeral: [u8; 32], out: &mut Writer<'_>) -> Self {
        let mut symmetric = Symmetric::new();
        let ephemeral = StaticSecret::from(ephemeral);
        let public = PublicKey::from(&ephemeral);
        symmetric.mix_hash(public.as_bytes());
        // The payload of the first message is empty, and hashed.
        symmetric.mix_hash(&[]);
        frame(out, |out| out.put(public.as_bytes()));
        Self { symmetric, ephemeral }
    }

    /// Takes the second message, which is decrypted in place, and appends the third.
    ///
    /// # Errors
    /// [`Error`]: the connection ends.
    pub fn finish(
        self,
        identity: &Identity,
        message: &mut [u8],
        out: &mut Writer<'_>,
    ) -> Result<Established, Error> {
        let Self { mut symmetric, ephemeral } = self;
        let (remote_ephemeral, message) = public_key(message)?;
        symmetric.mix_hash(remote_ephemeral.as_bytes());
        mix_shared(&mut symmetric, &ephemeral, &remote_ephemeral)?;
        let (remote_static, payload) = encrypted_key(&mut symmetric, message)?;
        mix_shared(&mut symmetric, &ephemeral, &remote_static)?;
        let remote = Remote::read(symmetric.decrypt_and_hash(payload)?, &remote_static)?;

        let mut result = Ok(());
        frame(out, |out| {
            encrypt(&mut symmetric, out, &mut result, |out| out.put(identity.public.as_bytes()));
            if result.is_ok() {
                result = mix_shared(&mut symmetric, &identity.secret, &remote_ephemeral);
            }
            encrypt(&mut symmetric, out, &mut result, |out| identity.payload(out));
        });
        result?;
        if out.overflowed() {
            return Err(Error::Room);
        }
        let ciphers = symmetric.split();
        Ok(remote.established(identity.offers_muxer, ciphers, symmetric.hash()))
    }
}

/// The listener's side, after its message.
pub struct Responder {
    symmetric: Symmetric,
    ephemeral: StaticSecret,
    offers_muxer: bool,
}

impl core::fmt::Debug for Responder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Responder(..)")
    }
}

impl Responder {
    /// Takes the first message and appends the second; `ephemeral` is 32 octets of entropy that are used
    /// once.
    ///
    /// # Errors
    /// [`Error`]: the connection ends.
    pub fn new(
        identity: &Identity,
        ephemeral: [u8; 32],
        message: &[u8],
        out: &mut Writer<'_>,
    ) -> Result<Self, Error> {
        // specs/noise: the first message has no payload.
        let remote: [u8; 32] = message.try_into().map_err(|_| Error::Message)?;
        let remote = PublicKey::from(remote);
        let mut symmetric = Symmetric::new();
        symmetric.mix_hash(remote.as_bytes());
        symmetric.mix_hash(&[]);

        let ephemeral = StaticSecret::from(ephemeral);
        let public = PublicKey::from(&ephemeral);
        let mut result = Ok(());
        frame(out, |out| {
            out.put(public.as_bytes());
            symmetric.mix_hash(public.as_bytes());
            result = mix_shared(&mut symmetric, &ephemeral, &remote);
            encrypt(&mut symmetric, out, &mut result, |out| out.put(identity.public.as_bytes()));
            if result.is_ok() {
                result = mix_shared(&mut symmetric, &identity.secret, &remote);
            }
            encrypt(&mut symmetric, out, &mut result, |out| identity.payload(out));
        });
        result?;
        if out.overflowed() {
            return Err(Error::Room);
        }
        Ok(Self { symmetric, ephemeral, offers_muxer: identity.offers_muxer })
    }

    /// Takes the third message, which is decrypted in place.
    ///
    /// # Errors
    /// [`Error`]: the connection ends.
    pub fn finish(self, message: &mut [u8]) -> Result<Established, Error> {
        let Self { mut symmetric, ephemeral, offers_muxer } = self;
        let (remote_static, payload) = encrypted_key(&mut symmetric, message)?;
        mix_shared(&mut symmetric, &ephemeral, &remote_static)?;
        let remote = Remote::read(symmetric.decrypt_and_hash(payload)?, &remote_static)?;
        let (receive, send) = symmetric.split();
        Ok(remote.established(offers_muxer, (send, receive), symmetric.hash()))
    }
}

/// What the remote's payload proves.
struct Remote {
    peer: PeerId,
    offers_yamux: bool,
}

impl Remote {
    fn read(payload: &[u8], static_key: &PublicKey) -> Result<Self, Error> {
        let payload = Payload::decode(payload).map_err(Error::Payload)?;
        let peer = payload.peer().map_err(|error| match error {
            wire::Error::Unsupported(_) => Error::KeyType,
            wire::Error::Truncated(_) | wire::Error::Malformed(_) => Error::Payload(error),
        })?;
        let signature = Signature(*payload.signature().map_err(Error::Payload)?);
        peer.verify(&signed(static_key), &signature).map_err(|_| Error::Signature)?;
        let yamux = Line::Yamux.text().as_bytes();
        let offers_yamux =
            payload.extensions.is_some_and(|it| it.stream_muxers().any(|muxer| muxer == yamux));
        Ok(Self { peer, offers_yamux })
    }

    fn established(
        self,
        offers_muxer: bool,
        (send, receive): (Cipher, Cipher),
        hash: &[u8; 32],
    ) -> Established {
        Established {
            remote: self.peer,
            early_muxer: self.offers_yamux && offers_muxer,
            send,
            receive,
            hash: *hash,
        }
    }
}

/// What an identity signs.
fn signed(static_key: &PublicKey) -> [u8; 56] {
    let mut octets = SIGNATURE_PREFIX.iter().chain(static_key.as_bytes()).copied();
    core::array::from_fn(|_| octets.next().unwrap_or(0))
}

fn mix_shared(
    symmetric: &mut Symmetric,
    ours: &StaticSecret,
    theirs: &PublicKey,
) -> Result<(), Error> {
    let shared = ours.diffie_hellman(theirs);
    // RFC 7748 §6.1: a result of zeros would be the same for whoever listens.
    if !shared.was_contributory() {
        return Err(Error::Contributory);
    }
    symmetric.mix_key(shared.as_bytes());
    Ok(())
}

/// Splits a public key off the front.
fn public_key(message: &mut [u8]) -> Result<(PublicKey, &mut [u8]), Error> {
    let (key, rest) = message.split_first_chunk_mut::<32>().ok_or(Error::Message)?;
    Ok((PublicKey::from(*key), rest))
}

/// Splits an encrypted public key off the front and decrypts it.
fn encrypted_key<'a>(
    symmetric: &mut Symmetric,
    message: &'a mut [u8],
) -> Result<(PublicKey, &'a mut [u8]), Error> {
    let (key, rest) = message.split_first_chunk_mut::<{ 32 + TAG_LEN }>().ok_or(Error::Message)?;
    let key: [u8; 32] =
        (&*symmetric.decrypt_and_hash(key)?).try_into().map_err(|_| Error::Message)?;
    Ok((PublicKey::from(key), rest))
}

/// Appends a frame that `write` fills.
fn frame(out: &mut Writer<'_>, write: impl FnOnce(&mut Writer<'_>)) {
    let head = out.place_u16();
    write(out);
    out.fill_len(head);
}

/// Appends what `write` writes, encrypted, with its tag; nothing once `result` is an error.
fn encrypt(
    symmetric: &mut Symmetric,
    out: &mut Writer<'_>,
    result: &mut Result<(), Error>,
    write: impl FnOnce(&mut Writer<'_>),
) {
    if result.is_err() {
        return;
    }
    let begin = out.mark();
    write(out);
    match symmetric.encrypt_and_hash(out.written_since_mut(begin)) {
        Ok(tag) => out.put(&tag),
        Err(error) => *result = Err(error),
    }
}

#[cfg(test)]
mod tests;
