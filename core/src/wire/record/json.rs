//! The advert as JSON.
//!
//! Narrow profile: at most 1,024 octets of UTF-8, first octet `{`, last octet `}`, no control characters
//! and no backslash anywhere. Unknown members are ignored, known members twice are refused. Only an
//! unsigned advert may have line ends and tabs between its tokens.

use serde::Serialize;

use super::{Error, Members, Received, SignedAdvert};
use crate::limits::ADVERT_JSON_MAX;
use crate::wire::json::{NotJson, Reader, Rules};
use crate::wire::{Overflow, peer_id, text, unix_time};

/// Every level an advert's 1,024 octets can have.
const DEPTH: usize = ADVERT_JSON_MAX / 2;
const PROFILE: Rules = Rules { line_ends: false, escapes: false, depth: DEPTH };
const UNSIGNED_PROFILE: Rules = Rules { line_ends: true, escapes: false, depth: DEPTH };

/// The members that are read, those that are numbers last.
const NAMES: [&str; 9] =
    ["url", "peer_id", "provider_name", "last_updated", "version", "digest", "sig", "seq", "ttl"];

/// What is written, in this order.
#[derive(Serialize)]
struct Json<'a> {
    url: &'a str,
    peer_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_name: Option<&'a str>,
    last_updated: &'a str,
    version: &'a str,
    seq: u64,
    ttl: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    sig: &'a str,
}

/// Reads an advert, signed or not. No signature is verified.
///
/// # Errors
/// [`Error`], in the order of its variants; never [`Error::Unsigned`].
pub fn decode_json(octets: &[u8]) -> Result<Received, Error> {
    if octets.is_empty() || octets.len() > ADVERT_JSON_MAX {
        return Err(Error::Size);
    }
    let has_profile_ends = octets.first() == Some(&b'{') && octets.last() == Some(&b'}');
    if has_profile_ends && let Ok(members) = read(octets, PROFILE) {
        return members.received();
    }
    match read(octets, UNSIGNED_PROFILE) {
        Ok(members) if members.sig.is_none() => members.received(),
        Ok(_) | Err(NotJson) => Err(Error::Json),
    }
}

fn read(octets: &[u8], profile: Rules) -> Result<Members<'_>, NotJson> {
    let mut reader = Reader::new(octets, profile)?;
    let (mut texts, mut numbers, mut seen) = ([None; 7], [None; 2], 0);
    while let Some(at) = reader.member(&NAMES, &mut seen)? {
        if let Some(text) = texts.get_mut(at) {
            *text = Some(reader.string()?);
        } else if let Some(number) = numbers.get_mut(at.saturating_sub(texts.len())) {
            *number = Some(reader.number()?);
        }
    }
    reader.end()?;
    let [url, peer_id, provider_name, last_updated, version, digest, sig] = texts;
    let [seq, ttl] = numbers;
    let issued = last_updated.and_then(|text| unix_time::decode(text.as_bytes()).ok());
    Ok(Members { url, peer_id, provider_name, issued, version, seq, ttl, digest, sig })
}

impl SignedAdvert {
    /// Writes the JSON text: the same octets each time.
    ///
    /// # Errors
    /// [`Overflow`] when `out` is too short; [`crate::limits::ADVERT_JSON_EMIT_MAX`] is always enough.
    pub fn encode_json<'b>(&self, out: &'b mut [u8]) -> Result<&'b [u8], Overflow> {
        let advert = &self.advert;
        let (mut digest, mut sig) = ([0; 43], [0; 86]);
        let digest = match &advert.digest {
            Some(octets) => Some(text::encode_base64url(octets.as_octets(), &mut digest)?),
            None => None,
        };
        let json = Json {
            url: advert.url.as_str(),
            peer_id: &peer_id::encode_text(&advert.peer),
            provider_name: advert.name.as_ref().map(|name| name.as_str()),
            last_updated: &unix_time::encode(advert.issued).ok_or(Overflow)?,
            version: advert.version.as_str(),
            seq: advert.seq,
            ttl: advert.ttl,
            digest,
            sig: text::encode_base64url(&self.signature.0, &mut sig)?,
        };
        let len = serde_json_core::to_slice(&json, out).map_err(|_| Overflow)?;
        out.get(..len).ok_or(Overflow)
    }
}
