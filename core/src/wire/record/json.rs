//! The advert as JSON.
//!
//! Narrow profile: at most 1,024 octets of UTF-8, first octet `{`, last octet `}`, no control characters
//! and no backslash anywhere. Unknown members are ignored, known members twice are refused. Only an
//! unsigned advert may have line ends and tabs between its tokens.

use serde::{Deserialize, Serialize};

use super::{Error, LegacyAdvert, Members, Received, SignedAdvert};
use crate::limits::ADVERT_JSON_MAX;
use crate::wire::json::{self, Rules};
use crate::wire::{Overflow, peer_id, text, unix_time};

/// Every level an advert's 1,024 octets can have.
const DEPTH: usize = ADVERT_JSON_MAX / 2;
const PROFILE: Rules = Rules { line_ends: false, escapes: false, depth: DEPTH };
const UNSIGNED_PROFILE: Rules = Rules { line_ends: true, escapes: false, depth: DEPTH };

/// In the order in which they are written.
#[derive(Serialize, Deserialize)]
struct Json<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_updated: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<&'a str>,
}

impl<'a> Json<'a> {
    fn members(&self) -> Members<'a> {
        let time = self.last_updated.map(|text| unix_time::decode(text.as_bytes()));
        Members {
            url: self.url,
            peer_id: self.peer_id,
            provider_name: self.provider_name,
            issued: time.and_then(Result::ok),
            version: self.version,
            seq: self.seq,
            ttl: self.ttl,
            digest: self.digest,
            sig: self.sig,
        }
    }
}

/// Reads an advert, signed or not. No signature is verified.
///
/// # Errors
/// [`Error`], in the order of its variants; never [`Error::Unsigned`].
pub fn decode_json(octets: &[u8]) -> Result<Received, Error> {
    if octets.is_empty() || octets.len() > ADVERT_JSON_MAX {
        return Err(Error::Size);
    }
    let mut flat = heapless::Vec::new();
    let has_profile_ends = octets.first() == Some(&b'{') && octets.last() == Some(&b'}');
    if has_profile_ends && json::flatten(octets, PROFILE, &mut flat).is_ok() {
        let json = parse(&flat)?;
        let members = json.members();
        return match json.sig {
            Some(_) => members.signed().map(Received::Signed),
            None => members.unsigned().map(Received::Unsigned),
        };
    }
    decode_loose(octets).map(Received::Unsigned)
}

fn decode_loose(octets: &[u8]) -> Result<LegacyAdvert, Error> {
    let mut flat = heapless::Vec::new();
    json::flatten(octets, UNSIGNED_PROFILE, &mut flat).map_err(|_| Error::Json)?;
    let json = parse(&flat)?;
    if json.sig.is_some() { Err(Error::Json) } else { json.members().unsigned() }
}

fn parse(flat: &heapless::Vec<u8, ADVERT_JSON_MAX>) -> Result<Json<'_>, Error> {
    match serde_json_core::from_slice(flat) {
        Ok((json, len)) if len == flat.len() => Ok(json),
        Ok(_) | Err(_) => Err(Error::Json),
    }
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
            url: Some(advert.url.as_str()),
            peer_id: Some(&peer_id::encode_text(&advert.peer)),
            provider_name: advert.name.as_ref().map(|name| name.as_str()),
            last_updated: Some(&unix_time::encode(advert.issued).ok_or(Overflow)?),
            version: Some(advert.version.as_str()),
            seq: Some(advert.seq),
            ttl: Some(u64::from(advert.ttl)),
            digest,
            sig: Some(text::encode_base64url(&self.signature.0, &mut sig)?),
        };
        let len = serde_json_core::to_slice(&json, out).map_err(|_| Overflow)?;
        out.get(..len).ok_or(Overflow)
    }
}
