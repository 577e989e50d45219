//! One direction of an encrypted connection, and the symmetric state of a handshake.
//! Spec: Noise Protocol Framework revision 34, §5.1 (`CipherState`), §5.2 (`SymmetricState`), §12.3
//! (ChaCha20-Poly1305), §4.3 (HKDF).
//!
//! Not implemented: rekeying, which libp2p does not use.

use chacha20poly1305::{AeadInOut as _, ChaCha20Poly1305, KeyInit as _, Tag};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use super::Error;
use crate::wire::noise::{PROTOCOL_NAME, TAG_LEN};

/// A key and the number of messages it has encrypted.
#[derive(ZeroizeOnDrop)]
pub struct Cipher {
    key: [u8; 32],
    /// Noise §5.1: 2^64 - 1 is never used.
    nonce: u64,
}

impl core::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Cipher({} messages)", self.nonce)
    }
}

impl Cipher {
    /// A cipher that has encrypted nothing.
    #[must_use]
    pub const fn new(key: [u8; 32]) -> Self {
        Self { key, nonce: 0 }
    }

    /// A cipher that has encrypted `nonce` messages.
    #[cfg(test)]
    pub(crate) const fn with_nonce(key: [u8; 32], nonce: u64) -> Self {
        Self { key, nonce }
    }

    /// The key.
    #[cfg(test)]
    pub(crate) const fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Encrypts `octets` in place; the tag that belongs behind them.
    ///
    /// # Errors
    /// [`Error::Exhausted`] when the key may encrypt no more.
    pub fn encrypt(
        &mut self,
        associated: &[u8],
        octets: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Error> {
        let nonce = self.next_nonce()?;
        let tag = ChaCha20Poly1305::new(&self.key.into())
            .encrypt_inout_detached(&nonce.into(), associated, octets.into())
            .map_err(|_| Error::Exhausted)?;
        Ok(tag.into())
    }

    /// Decrypts `octets`, whose last 16 are the tag, in place; the plain octets.
    ///
    /// # Errors
    /// [`Error::Decrypt`] when they were not encrypted by this key at this place; they are of no use then.
    /// [`Error::Exhausted`] when the key may decrypt no more.
    pub fn decrypt<'a>(
        &mut self,
        associated: &[u8],
        octets: &'a mut [u8],
    ) -> Result<&'a mut [u8], Error> {
        let nonce = self.next_nonce()?;
        let (plain, tag) = octets.split_last_chunk_mut::<TAG_LEN>().ok_or(Error::Decrypt)?;
        ChaCha20Poly1305::new(&self.key.into())
            .decrypt_inout_detached(&nonce.into(), associated, plain.into(), &Tag::from(*tag))
            .map_err(|_| Error::Decrypt)?;
        Ok(plain)
    }

    /// Noise §12.3: 32 zero bits and the counter, little endian.
    fn next_nonce(&mut self) -> Result<[u8; 12], Error> {
        let nonce = self.nonce;
        self.nonce = nonce.checked_add(1).ok_or(Error::Exhausted)?;
        let mut octets = [0; 12];
        if let Some(counter) = octets.last_chunk_mut::<8>() {
            *counter = nonce.to_le_bytes();
        }
        Ok(octets)
    }
}

/// What both sides hash and mix until the handshake ends.
#[derive(ZeroizeOnDrop)]
pub(super) struct Symmetric {
    chaining_key: [u8; 32],
    #[zeroize(skip)]
    hash: [u8; 32],
    cipher: Option<Cipher>,
}

impl Symmetric {
    /// The protocol's name is 32 octets: it is the hash and the chaining key. libp2p's prologue is empty, and
    /// is hashed all the same.
    pub(super) fn new() -> Self {
        let mut symmetric =
            Self { chaining_key: *PROTOCOL_NAME, hash: *PROTOCOL_NAME, cipher: None };
        symmetric.mix_hash(&[]);
        symmetric
    }

    pub(super) const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    pub(super) fn mix_hash(&mut self, octets: &[u8]) {
        let mut hash = Sha256::new();
        hash.update(self.hash);
        hash.update(octets);
        self.hash = hash.finalize().into();
    }

    pub(super) fn mix_key(&mut self, secret: &[u8; 32]) {
        let (chaining_key, key) = hkdf(&self.chaining_key, secret);
        self.chaining_key = chaining_key;
        self.cipher = Some(Cipher::new(key));
    }

    /// Encrypts `octets` in place and hashes the ciphertext; the tag.
    pub(super) fn encrypt_and_hash(&mut self, octets: &mut [u8]) -> Result<[u8; TAG_LEN], Error> {
        let associated = self.hash;
        let cipher = self.cipher.as_mut().ok_or(Error::Exhausted)?;
        let tag = cipher.encrypt(&associated, octets)?;
        let mut hash = Sha256::new();
        hash.update(self.hash);
        hash.update(&*octets);
        hash.update(tag);
        self.hash = hash.finalize().into();
        Ok(tag)
    }

    /// Hashes `octets`, a ciphertext and its tag, and decrypts them in place.
    pub(super) fn decrypt_and_hash<'a>(
        &mut self,
        octets: &'a mut [u8],
    ) -> Result<&'a mut [u8], Error> {
        let associated = self.hash;
        self.mix_hash(octets);
        self.cipher.as_mut().ok_or(Error::Exhausted)?.decrypt(&associated, octets)
    }

    /// The ciphers of both directions: the initiator's first.
    pub(super) fn split(&self) -> (Cipher, Cipher) {
        let (first, second) = hkdf(&self.chaining_key, &[]);
        (Cipher::new(first), Cipher::new(second))
    }
}

/// Noise §4.3, two outputs.
fn hkdf(chaining_key: &[u8; 32], input: &[u8]) -> ([u8; 32], [u8; 32]) {
    let mut secret = mac(chaining_key, &[input]);
    let first = mac(&secret, &[&[1]]);
    let second = mac(&secret, &[&first, &[2]]);
    secret.zeroize();
    (first, second)
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new(&block(key).into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// RFC 2104: a short key is filled with zeros to the block of the hash.
fn block(key: &[u8; 32]) -> [u8; 64] {
    let mut block = [0; 64];
    if let Some(front) = block.first_chunk_mut::<32>() {
        *front = *key;
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_encrypts_no_more_than_its_counter_allows() {
        let mut cipher = Cipher::with_nonce([7; 32], u64::MAX - 1);
        assert!(cipher.encrypt(&[], &mut [0; 3]).is_ok());
        assert_eq!(cipher.encrypt(&[], &mut [0; 3]), Err(Error::Exhausted));
        assert_eq!(cipher.decrypt(&[], &mut [0; 19]), Err(Error::Exhausted));
    }

    #[test]
    fn every_changed_octet_is_noticed() {
        let mut sealed = *b"some octets and room for the tag";
        let tag = Cipher::new([7; 32]).encrypt(b"ad", &mut sealed[..16]).unwrap();
        sealed[16..].copy_from_slice(&tag);
        assert_eq!(
            Cipher::new([7; 32]).decrypt(b"ad", &mut sealed.clone()).unwrap(),
            b"some octets and "
        );
        for at in 0..sealed.len() {
            let mut changed = sealed;
            changed[at] ^= 1;
            assert_eq!(Cipher::new([7; 32]).decrypt(b"ad", &mut changed), Err(Error::Decrypt));
        }
        assert_eq!(Cipher::new([7; 32]).decrypt(b"da", &mut sealed.clone()), Err(Error::Decrypt));
        assert_eq!(Cipher::new([7; 32]).decrypt(&[], &mut [0; 15]), Err(Error::Decrypt));
    }
}
