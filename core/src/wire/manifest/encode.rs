//! Making manifests: draft to inner octets, inner octets to signatures, both to the document.
//!
//! ```text
//! buffer   room for the head | inner octets
//!                  "DSSEv1 43 application/vnd.phase.boot-manifest.v1+json 1234 " + inner   is signed
//! ```

use core::fmt::Write as _;

use super::json;
use super::verify::{key, signature};
use super::write::{
    ArtifactJson, ArtifactsJson, EnvelopeJson, InnerJson, SignatureJson, SignedJson,
};
use super::{Error, Limit, Name};
use crate::identity::{KeyId, PeerId, SecretKey, Signature};
use crate::limits::{MANIFEST_INNER_MAX, MANIFEST_MAX, SIGNATURES_PER_MANIFEST};
use crate::time::UnixTime;
use crate::wire::digest::Digest;
use crate::wire::record::{Arch, Channel, Version};
use crate::wire::{text, unix_time};

/// The schema that is written.
const SCHEMA: &str = "0.1";
/// The type under the signature.
const KIND: &str = "application/vnd.phase.boot-manifest.v1+json";
/// Room in front of the inner octets for the head of what is signed.
const ROOM: usize = 64;
const _: () = assert!(crate::limits::MANIFEST_BUFFER == MANIFEST_INNER_MAX + ROOM);

/// What a manifest is to say.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Greater than in every earlier release: 1 to 2^53 - 1.
    pub manifest_version: u64,
    /// The channel.
    pub channel: &'a Channel,
    /// The architecture, by its canonical name.
    pub arch: &'a Arch,
    /// When it is made.
    pub created_at: UnixTime,
    /// When it must not be used any more.
    pub expires_at: UnixTime,
    /// The version of the image.
    pub image_version: Option<&'a Version>,
    /// The files, in any order; at most 16.
    pub artifacts: &'a [ArtifactDraft<'a>],
    /// The kernel's command line: printable ASCII.
    pub cmdline: Option<&'a str>,
}

/// What a manifest is to say of one file.
#[derive(Clone, Copy, Debug)]
pub struct ArtifactDraft<'a> {
    /// What it is for.
    pub name: Name<'a>,
    /// The digest of its octets.
    pub digest: Digest,
    /// How many octets.
    pub size: u64,
    /// Where it is, beside the manifest or from `/`.
    pub path: Option<&'a str>,
    /// Where else it is; at most 4.
    pub urls: &'a [&'a str],
}

/// A signature and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySignature {
    /// Whose it is.
    pub key: PeerId,
    /// The signature.
    pub signature: Signature,
}

/// The octets of an inner manifest, ready to be signed or verified.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'b> {
    /// The head, then the inner octets.
    message: &'b [u8],
    head: usize,
}

impl<'b> Envelope<'b> {
    /// Writes a draft as inner octets into `buffer`, which takes [`crate::limits::MANIFEST_BUFFER`].
    ///
    /// # Errors
    /// What a verifier would find wrong with it.
    pub fn encode(draft: &Draft<'_>, buffer: &'b mut [u8]) -> Result<Self, Error> {
        let room = buffer.get_mut(ROOM..).ok_or(Error::Size)?;
        let len = draft.write(room)?;
        let envelope = Self::finish(buffer, len)?;
        let manifest = json::read_inner(envelope.inner())?.values()?;
        if manifest.created_at > manifest.expires_at {
            return Err(Error::Times);
        }
        json::check_artifacts(&manifest)?;
        Ok(envelope)
    }

    /// Takes inner octets as they are.
    ///
    /// # Errors
    /// [`Error::Size`].
    pub(super) fn new(inner: &[u8], buffer: &'b mut [u8]) -> Result<Self, Error> {
        let room = buffer.get_mut(ROOM..).and_then(|room| room.get_mut(..inner.len()));
        room.ok_or(Error::Size)?.copy_from_slice(inner);
        Self::finish(buffer, inner.len())
    }

    /// Takes the base64 text of `signed.data`.
    pub(super) fn decode_data(data: &str, buffer: &'b mut [u8]) -> Result<Self, Error> {
        let room = buffer.get_mut(ROOM..).ok_or(Error::Size)?;
        if data.len() / 4 > room.len().min(MANIFEST_INNER_MAX) / 3 {
            return Err(Error::Size);
        }
        let decoded = text::decode_base64(data.as_bytes(), room);
        let len = decoded.map_err(|_| Error::Field("signed"))?.len();
        Self::finish(buffer, len)
    }

    /// `buffer` holds `len` inner octets after the room for the head: writes the head before them.
    fn finish(buffer: &'b mut [u8], len: usize) -> Result<Self, Error> {
        if len == 0 || len > MANIFEST_INNER_MAX {
            return Err(Error::Size);
        }
        let mut head = heapless::String::<ROOM>::new();
        write!(head, "DSSEv1 {} {KIND} {len} ", KIND.len()).map_err(|_| Error::Size)?;
        let start = ROOM.checked_sub(head.len()).ok_or(Error::Size)?;
        let message = buffer.get_mut(start..ROOM.saturating_add(len)).ok_or(Error::Size)?;
        let (front, _) = message.split_at_mut_checked(head.len()).ok_or(Error::Size)?;
        front.copy_from_slice(head.as_bytes());
        Ok(Self { message, head: head.len() })
    }

    /// The inner manifest's octets.
    #[must_use]
    pub fn inner(&self) -> &'b [u8] {
        self.message.get(self.head..).unwrap_or_default()
    }

    /// The octets under the signatures: DSSE's pre-authentication encoding.
    #[must_use]
    pub const fn message(&self) -> &'b [u8] {
        self.message
    }

    /// Signs.
    #[must_use]
    pub fn sign(&self, key: &SecretKey) -> KeySignature {
        KeySignature { key: key.peer_id(), signature: key.sign(self.message) }
    }
}

impl Draft<'_> {
    fn write(&self, out: &mut [u8]) -> Result<usize, Error> {
        let time = |time, name| unix_time::encode(time).ok_or(Error::Field(name));
        let mut hashes = heapless::Vec::new();
        for artifact in self.artifacts {
            let mut hash = heapless::String::new();
            write!(hash, "{}", artifact.digest).map_err(|_| Error::Field("hash"))?;
            hashes.push(hash).map_err(|_| Error::Limit(Limit::Artifacts))?;
        }
        let inner = InnerJson {
            version: SCHEMA,
            manifest_version: self.manifest_version,
            channel: self.channel.as_str(),
            arch: self.arch.as_str(),
            created_at: &time(self.created_at, "created_at")?,
            expires_at: &time(self.expires_at, "expires_at")?,
            image_version: self.image_version.map(Version::as_str),
            artifacts: self.artifacts(&hashes)?,
            cmdline: self.cmdline,
        };
        serde_json_core::to_slice(&inner, out).map_err(|_| Error::Size)
    }

    fn artifacts<'s>(&'s self, hashes: &'s Hashes) -> Result<ArtifactsJson<'s>, Error> {
        let mut all = ArtifactsJson::default();
        for (artifact, hash) in self.artifacts.iter().zip(hashes) {
            let json = ArtifactJson {
                hash,
                size: artifact.size,
                path: artifact.path,
                urls: artifact.urls,
            };
            let slot = match artifact.name {
                Name::Kernel => &mut all.kernel,
                Name::Initramfs => &mut all.initramfs,
                Name::Rootfs => &mut all.rootfs,
                Name::Dtb(name) => {
                    let pushed = all.dtbs.0.push((name, json));
                    pushed.map_err(|_| Error::Limit(Limit::Artifacts))?;
                    continue;
                }
            };
            if slot.replace(json).is_some() {
                return Err(Error::Field("artifacts"));
            }
        }
        all.dtbs.0.sort_unstable_by_key(|(name, _)| *name);
        Ok(all)
    }
}

/// The texts of the artifacts' digests, in their order.
type Hashes = heapless::Vec<
    heapless::String<{ Digest::TEXT_LEN }>,
    { crate::limits::ARTIFACTS_PER_MANIFEST },
>;

/// Writes the document: the inner object's members, then `signatures`, then `signed`.
///
/// # Errors
/// [`Error::Size`] when `out` is too short ([`crate::limits::MANIFEST_WORK`] is always enough) or the document would be longer than
/// [`MANIFEST_MAX`]; [`Error::Limit`] for more than 8 signatures.
pub fn encode_document<'o>(
    envelope: &Envelope<'_>,
    signatures: &[KeySignature],
    out: &'o mut [u8],
) -> Result<&'o [u8], Error> {
    let inner = envelope.inner();
    let members = inner.trim_ascii().strip_suffix(b"}").ok_or(Error::Json)?;
    out.get_mut(..members.len()).ok_or(Error::Size)?.copy_from_slice(members);
    let rest = out.get_mut(members.len()..).ok_or(Error::Size)?;
    let len = write_outside(inner, signatures, rest)?;
    // The envelope's opening brace becomes the comma between the two halves.
    *rest.first_mut().ok_or(Error::Size)? = b',';
    let len = members.len().saturating_add(len);
    if len > MANIFEST_MAX {
        return Err(Error::Size);
    }
    out.get(..len).ok_or(Error::Size)
}

/// Writes `{"signatures":[…],"signed":{"data":"…"}}`.
fn write_outside(
    inner: &[u8],
    signatures: &[KeySignature],
    out: &mut [u8],
) -> Result<usize, Error> {
    // The base64 text is made at the end of `out` and copied into place by the JSON writer.
    let data_len = inner.len().div_ceil(3).saturating_mul(4);
    let at = out.len().checked_sub(data_len).ok_or(Error::Size)?;
    let (front, back) = out.split_at_mut_checked(at).ok_or(Error::Size)?;
    let data = text::encode_base64(inner, back).map_err(|_| Error::Size)?;
    let mut texts = heapless::Vec::<_, SIGNATURES_PER_MANIFEST>::new();
    for signature in signatures {
        let (mut key, mut sig) = (heapless::String::<{ KeyId::TEXT_LEN }>::new(), [0; 88]);
        write!(key, "{}", signature.key.key_id()).map_err(|_| Error::Size)?;
        text::encode_base64(&signature.signature.0, &mut sig).map_err(|_| Error::Size)?;
        texts.push((key, sig)).map_err(|_| Error::Limit(Limit::Signatures))?;
    }
    let mut list = heapless::Vec::<_, SIGNATURES_PER_MANIFEST>::new();
    for (key, sig) in &texts {
        let sig = core::str::from_utf8(sig).map_err(|_| Error::Size)?;
        // As many as there are texts.
        let _ = list.push(SignatureJson { keyid: key, sig });
    }
    let json = EnvelopeJson { signatures: &list, signed: SignedJson { data } };
    serde_json_core::to_slice(&json, front).map_err(|_| Error::Size)
}

/// Takes a document apart to sign it once more or to show it. Nothing is verified; signatures that are not
/// Ed25519 are left out.
///
/// # Errors
/// [`Error`]: it is no document, or has no `signed.data`.
pub fn read_document<'b>(
    document: &[u8],
    buffer: &'b mut [u8],
) -> Result<(Envelope<'b>, heapless::Vec<KeySignature, SIGNATURES_PER_MANIFEST>), Error> {
    let (_, outside) = json::read_document(document)?;
    let envelope = Envelope::decode_data(outside.data.ok_or(Error::Unsigned)?, buffer)?;
    let mut signatures = heapless::Vec::new();
    for text in outside.signatures()? {
        if let (Some(key), Some(signature)) = (key(text), signature(text)) {
            let pushed = signatures.push(KeySignature { key, signature });
            pushed.map_err(|_| Error::Limit(Limit::Signatures))?;
        }
    }
    Ok((envelope, signatures))
}
