//! From a document and a policy to a manifest that may be used.

use super::encode::Envelope;
use super::json::{self, Outside, SignatureText};
use super::{Error, Manifest};
use crate::identity::{KeyId, PeerId, Signature};
use crate::limits::SIGNATURES_PER_MANIFEST;
use crate::time::UnixTime;
use crate::wire::digest::Digest;
use crate::wire::record::{Arch, Channel, Version};
use crate::wire::text::decode_base64;
use crate::wire::trust::Trust;

/// What a manifest must be.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// The channel that was asked for.
    pub channel: &'a Channel,
    /// The architecture that was asked for, by its canonical name.
    pub arch: &'a Arch,
    /// Who may sign, how many must, and the lowest version.
    pub trust: &'a Trust,
    /// The highest `manifest_version` that ran well on this machine; 0: none. The trust store's lowest
    /// version counts too.
    pub floor: u64,
    /// The earliest time it can be ([`crate::select::ClockFloor::floor`]).
    pub now: UnixTime,
    /// The digest of the document, when an advert named it.
    pub digest: Option<&'a Digest>,
    /// The version of the image, when an advert named it.
    pub version: Option<&'a Version>,
    /// Take it without any signature; everything else is checked all the same.
    pub insecure: bool,
}

impl<'a> Policy<'a> {
    /// For a manifest that no advert named, on a machine where none ran before.
    #[must_use]
    pub const fn new(
        channel: &'a Channel,
        arch: &'a Arch,
        trust: &'a Trust,
        now: UnixTime,
        insecure: bool,
    ) -> Self {
        Self { channel, arch, trust, floor: 0, now, digest: None, version: None, insecure }
    }
}

/// A manifest that passed, and who vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<'b> {
    /// What was signed.
    pub manifest: Manifest<'b>,
    /// The different trusted keys whose signatures are right; empty only with [`Policy::insecure`].
    pub signed_by: heapless::Vec<PeerId, SIGNATURES_PER_MANIFEST>,
    /// The digest of the document.
    pub digest: Digest,
}

/// Verifies a document. `buffer` receives the inner manifest, which the result borrows;
/// [`crate::limits::MANIFEST_BUFFER`] octets hold the longest. At most 8 signatures are verified.
///
/// # Errors
/// The first [`Error`], in the order of its variants.
pub fn verify<'b>(
    document: &[u8],
    buffer: &'b mut [u8],
    policy: &Policy<'_>,
) -> Result<Verified<'b>, Error> {
    let (outer, outside) = json::read_document(document)?;
    let trusted = policy.trust.keys().any(|key| policy.trust.is_authority(key, policy.channel));
    if !trusted && !policy.insecure {
        return Err(Error::NoTrust);
    }
    let (envelope, signed_by) = match outside.data {
        Some(data) => {
            let envelope = Envelope::decode_data(data, buffer)?;
            let signed_by = count_signatures(&envelope, &outside, policy)?;
            (envelope, signed_by)
        }
        None if policy.insecure => (Envelope::new(document, buffer)?, heapless::Vec::new()),
        None => return Err(Error::Unsigned),
    };
    let inner = json::read_inner(envelope.inner())?;
    inner.check_schema()?;
    if inner != outer {
        return Err(Error::Mirror);
    }
    let manifest = inner.values()?;
    check(&manifest, policy)?;
    let digest = Digest::of(document);
    if policy.digest.is_some_and(|named| *named != digest) {
        return Err(Error::Digest);
    }
    let named = policy.version.zip(manifest.image_version.as_ref());
    if named.is_some_and(|(named, found)| named != found) {
        return Err(Error::Version);
    }
    Ok(Verified { manifest, signed_by, digest })
}

/// The channel and architecture that a document claims to be for, where it does. Nothing is verified: use them only
/// to ask [`verify`] for just that.
#[must_use]
pub fn claim(document: &[u8]) -> (Option<Channel>, Option<Arch>) {
    match json::read_document(document) {
        Ok((outer, _)) => (outer.channel(), outer.arch()),
        Err(_) => (None, None),
    }
}

/// The different trusted keys that signed; an error when they are too few.
fn count_signatures(
    envelope: &Envelope<'_>,
    outside: &Outside<'_>,
    policy: &Policy<'_>,
) -> Result<heapless::Vec<PeerId, SIGNATURES_PER_MANIFEST>, Error> {
    let mut signed_by = heapless::Vec::new();
    let mut wrong = false;
    let signatures = outside.signatures()?;
    for text in signatures {
        // A key that is not trusted may be of any kind: whatever it says is passed over.
        let Some(key) =
            key(text).filter(|key| policy.trust.authority(key, policy.channel).is_some())
        else {
            continue;
        };
        if signed_by.contains(&key) {
            continue;
        }
        match signature(text) {
            Some(signature) if key.verify(envelope.message(), &signature).is_ok() => {
                // As many signatures as places.
                let _ = signed_by.push(key);
            }
            Some(_) | None => wrong = true,
        }
    }
    let needed = policy.trust.threshold(policy.channel);
    let signed = u8::try_from(signed_by.len()).unwrap_or(u8::MAX);
    if signed >= needed || policy.insecure {
        Ok(signed_by)
    } else if wrong {
        Err(Error::Signature)
    } else if signatures.is_empty() {
        Err(Error::Unsigned)
    } else {
        Err(Error::Threshold { signed, needed })
    }
}

pub(super) fn key(text: &SignatureText<'_>) -> Option<PeerId> {
    KeyId::decode(text.keyid?.as_bytes()).ok()
}

pub(super) fn signature(text: &SignatureText<'_>) -> Option<Signature> {
    let mut octets = [0; 64];
    let decoded = decode_base64(text.sig?.as_bytes(), &mut octets).ok()?;
    decoded.try_into().ok().map(Signature)
}

fn check(manifest: &Manifest<'_>, policy: &Policy<'_>) -> Result<(), Error> {
    if manifest.channel != *policy.channel {
        return Err(Error::Channel);
    }
    if manifest.arch != *policy.arch {
        return Err(Error::Arch);
    }
    let floor = policy.floor.max(policy.trust.min_version(policy.channel));
    if manifest.manifest_version < floor {
        return Err(Error::Rollback { found: manifest.manifest_version, floor });
    }
    if manifest.created_at > manifest.expires_at {
        return Err(Error::Times);
    }
    if manifest.expires_at < policy.now {
        return Err(Error::Expired);
    }
    json::check_artifacts(manifest)
}
