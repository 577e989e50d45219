//! The advert as strings of a TXT record.
//! Spec: RFC 6763 §6: `key=value`, keys without regard to case, the first of a key counts, strings
//! without a key and unknown keys are ignored.
//!
//! ```text
//! txtvers=1 arch= channel= manifest= version= id= seq= ts= ttl= digest= name= sig=
//! ```
//!
//! `ts` is `last_updated` as seconds since 1970. The first five make an unsigned advert.
//!
//! Deviation: `manifest` is an absolute URL, although RFC 6763 §6.3 leaves host and port to SRV: the signature
//! has to cover where the manifest is, and unsigned adverts have always been read so.

use core::fmt::Write as _;

use super::{Arch, Channel, Error, Field, Members, Received, SignedAdvert};
use crate::time::UnixTime;
use crate::wire::{Overflow, peer_id, text};

/// An advert from a TXT record, with the key it says it is for. The signature covers the key that was
/// asked for, so `channel` and `arch` only save verifying what was not asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Txt {
    /// The channel.
    pub channel: Channel,
    /// The architecture, by its canonical name.
    pub arch: Arch,
    /// The advert.
    pub advert: Received,
}

/// Reads the strings of a TXT record. No signature is verified.
///
/// # Errors
/// [`Error`], in the order of its variants; never [`Error::Unsigned`] or [`Error::Json`].
pub fn decode_txt<'a>(strings: impl Iterator<Item = &'a [u8]>) -> Result<Txt, Error> {
    let mut values = [Value::Absent; KEYS.len()];
    let mut len = 0_usize;
    for string in strings {
        len = len.saturating_add(string.len()).saturating_add(1);
        if len > crate::limits::ADVERT_JSON_MAX {
            return Err(Error::Size);
        }
        let (key, value) = split(string);
        let known = KEYS.iter().zip(&mut values).find(|((name, _), _)| is_key(name, key));
        if let Some(((_, field), slot @ Value::Absent)) = known {
            *slot = Value::new(value, *field);
        }
    }
    let [vers, arch, channel, url, version, id, seq, ts, ttl, digest, name, sig] = values;
    if !matches!(vers.text()?, None | Some("1")) {
        return Err(Error::Field(Field::TxtVers));
    }
    let members = Members {
        url: url.text()?,
        peer_id: id.text()?,
        provider_name: name.text()?,
        issued: ts.number()?.map(UnixTime),
        version: version.text()?,
        seq: seq.number()?,
        ttl: ttl.number()?,
        digest: digest.text()?,
        sig: sig.text()?,
    };
    Ok(Txt {
        channel: Channel::new(channel.text()?.ok_or(Error::Field(Field::Channel))?)?,
        arch: Arch::canonical(arch.text()?.ok_or(Error::Field(Field::Arch))?)?,
        advert: members.received()?,
    })
}

/// The strings of a TXT record's data: each an octet of length and the text. Ends at the first that is
/// cut short.
pub fn txt_strings(rdata: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = rdata;
    core::iter::from_fn(move || {
        let (&len, after) = rest.split_first()?;
        let (string, after) = after.split_at_checked(usize::from(len))?;
        rest = after;
        Some(string)
    })
}

/// In the order in which they are written.
const KEYS: [(&str, Field); 12] = [
    ("txtvers", Field::TxtVers),
    ("arch", Field::Arch),
    ("channel", Field::Channel),
    ("manifest", Field::Url),
    ("version", Field::Version),
    ("id", Field::PeerId),
    ("seq", Field::Seq),
    ("ts", Field::LastUpdated),
    ("ttl", Field::Ttl),
    ("digest", Field::Digest),
    ("name", Field::ProviderName),
    ("sig", Field::Sig),
];

#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Absent,
    /// There, but without `=` or not UTF-8.
    Bad(Field),
    Text(&'a str, Field),
}

impl<'a> Value<'a> {
    fn new(value: Option<&'a [u8]>, field: Field) -> Self {
        match value.map(core::str::from_utf8) {
            Some(Ok(text)) => Self::Text(text, field),
            Some(Err(_)) | None => Self::Bad(field),
        }
    }

    const fn text(self) -> Result<Option<&'a str>, Error> {
        match self {
            Self::Absent => Ok(None),
            Self::Text(text, _) => Ok(Some(text)),
            Self::Bad(field) => Err(Error::Field(field)),
        }
    }

    fn number(self) -> Result<Option<u64>, Error> {
        match self {
            Self::Absent => Ok(None),
            Self::Text(text, field) => {
                text::decode_decimal(text.as_bytes()).map(Some).map_err(|_| Error::Field(field))
            }
            Self::Bad(field) => Err(Error::Field(field)),
        }
    }
}

/// The key, and what follows the first `=` if there is one.
fn split(string: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut parts = string.splitn(2, |&octet| octet == b'=');
    (parts.next().unwrap_or_default(), parts.next())
}

fn is_key(name: &str, key: &[u8]) -> bool {
    name.as_bytes().eq_ignore_ascii_case(key)
}

impl SignedAdvert {
    /// Writes the TXT record's data: each string after an octet of its length.
    ///
    /// # Errors
    /// [`Overflow`] when `out` is too short; [`crate::limits::ADVERT_TXT_MAX`] is always enough.
    pub fn encode_txt<'b>(
        &self,
        channel: &Channel,
        arch: &Arch,
        out: &'b mut [u8],
    ) -> Result<&'b [u8], Overflow> {
        let advert = &self.advert;
        let mut buf = [0; 86];
        let mut strings = Strings { out, len: 0 };
        strings.push(format_args!("txtvers=1"))?;
        strings.push(format_args!("arch={arch}"))?;
        strings.push(format_args!("channel={channel}"))?;
        strings.push(format_args!("manifest={}", advert.url))?;
        strings.push(format_args!("version={}", advert.version))?;
        strings.push(format_args!("id={}", peer_id::encode_text(&advert.peer)))?;
        strings.push(format_args!("seq={}", advert.seq))?;
        strings.push(format_args!("ts={}", advert.issued.0))?;
        strings.push(format_args!("ttl={}", advert.ttl))?;
        if let Some(digest) = &advert.digest {
            let digest = text::encode_base64url(digest.as_octets(), &mut buf)?;
            strings.push(format_args!("digest={digest}"))?;
        }
        if let Some(name) = &advert.name {
            strings.push(format_args!("name={name}"))?;
        }
        let sig = text::encode_base64url(&self.signature.0, &mut buf)?;
        strings.push(format_args!("sig={sig}"))?;
        let Strings { out, len } = strings;
        out.get(..len).ok_or(Overflow)
    }
}

struct Strings<'b> {
    out: &'b mut [u8],
    len: usize,
}

impl Strings<'_> {
    fn push(&mut self, string: core::fmt::Arguments<'_>) -> Result<(), Overflow> {
        let mut text = heapless::String::<255>::new();
        text.write_fmt(string).map_err(|_| Overflow)?;
        let rest = self.out.get_mut(self.len..).ok_or(Overflow)?;
        let (len, rest) = rest.split_first_mut().ok_or(Overflow)?;
        *len = u8::try_from(text.len()).map_err(|_| Overflow)?;
        rest.get_mut(..text.len()).ok_or(Overflow)?.copy_from_slice(text.as_bytes());
        self.len = self.len.saturating_add(1).saturating_add(text.len());
        Ok(())
    }
}
