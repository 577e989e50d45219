//! The octets under an advert's signature.
//!
//! ```text
//! message = uvarint len, "phase-boot-advert", uvarint len, "/phase/advert/1", uvarint len, payload
//! payload = key str, peer [u8; 32], seq u64, issued u64, ttl u32, version str,
//!           digest Option<[u8; 32]>, url str, name Option<str>          as postcard
//! ```
//!
//! Spec: libp2p `specs/RFC/0002-signed-envelopes` (the message), postcard 1 (both). Domain and type are
//! never sent. The octets are always made from parsed values, so how a peer wrote them does not matter.

use serde::{Serialize, Serializer};

use super::key::base_key;
use super::{Advert, Arch, Channel, Error, Field, SignedAdvert, check_ranges};
use crate::identity::{SecretKey, VerifyError};
use crate::wire::Overflow;

const DOMAIN: &str = "phase-boot-advert";
const KIND: &str = "/phase/advert/1";

/// Octets of the payload: every member at its cap makes 417.
const PAYLOAD_MAX: usize = 640;
/// Octets of the message: the payload with 36 in front.
const MESSAGE_MAX: usize = 704;

#[derive(Serialize)]
struct Payload<'a> {
    key: &'a str,
    peer: &'a [u8; 32],
    seq: u64,
    issued: u64,
    ttl: u32,
    version: &'a str,
    digest: Option<&'a [u8; 32]>,
    url: &'a str,
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct Message<'a> {
    domain: &'a str,
    kind: &'a str,
    payload: Octets<'a>,
}

struct Octets<'a>(&'a [u8]);

impl Serialize for Octets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl Advert {
    /// Writes the octets that are signed for `channel` and `arch`.
    ///
    /// # Errors
    /// [`Overflow`] when `out` is shorter than needed; 704 octets are always enough.
    pub fn signed_octets<'b>(
        &self,
        channel: &Channel,
        arch: &Arch,
        out: &'b mut [u8],
    ) -> Result<&'b [u8], Overflow> {
        let payload = Payload {
            key: &base_key(channel, arch),
            peer: self.peer.as_octets(),
            seq: self.seq,
            issued: self.issued.0,
            ttl: self.ttl,
            version: self.version.as_str(),
            digest: self.digest.as_ref().map(|digest| digest.as_octets()),
            url: self.url.as_str(),
            name: self.name.as_ref().map(|name| name.as_str()),
        };
        let mut buf = [0; PAYLOAD_MAX];
        let payload = postcard::to_slice(&payload, &mut buf).map_err(|_| Overflow)?;
        let message = Message { domain: DOMAIN, kind: KIND, payload: Octets(payload) };
        postcard::to_slice(&message, out).map(|octets| &*octets).map_err(|_| Overflow)
    }

    /// Signs for `channel` and `arch`. The key must be that of `self.peer`.
    ///
    /// # Errors
    /// [`Error::Field`]: a number is out of range, or the key is another peer's.
    pub fn sign(
        self,
        key: &SecretKey,
        channel: &Channel,
        arch: &Arch,
    ) -> Result<SignedAdvert, Error> {
        check_ranges(self.issued, self.seq, self.ttl)?;
        if !self.url.path().ends_with("/manifest.json") {
            return Err(Error::Url(crate::wire::url::Error::NotManifest));
        }
        if self.peer != key.peer_id() {
            return Err(Error::Field(Field::PeerId));
        }
        let mut buf = [0; MESSAGE_MAX];
        let message = self.signed_octets(channel, arch, &mut buf).map_err(|_| Error::Size)?;
        let signature = key.sign(message);
        Ok(SignedAdvert { advert: self, signature })
    }
}

impl SignedAdvert {
    /// Verifies the signature for the channel and architecture that were *asked for*. Costs curve
    /// arithmetic: ask the trust store first and count the calls.
    ///
    /// # Errors
    /// [`VerifyError`]: what the advert says is not what this peer signed for this key.
    pub fn verify(&self, channel: &Channel, arch: &Arch) -> Result<(), VerifyError> {
        let mut buf = [0; MESSAGE_MAX];
        let message = self.advert.signed_octets(channel, arch, &mut buf);
        let message = message.map_err(|_| VerifyError::Signature)?;
        self.advert.peer.verify(message, &self.signature)
    }
}
