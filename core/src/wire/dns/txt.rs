//! TXT record data as DNS-SD uses it: strings `key`, `key=` and `key=value`.
//! Spec: RFC 1035 §3.3.14 (strings), RFC 6763 §6 (keys).

use core::fmt;

use super::name::write_escaped;
use crate::wire::cursor::{Reader, Writer};
use crate::wire::{Error, Overflow};

/// The data of a TXT record. Equality is by octets; no data at all equals one empty string (RFC 6763 §6.1).
#[derive(Clone, Copy, Debug)]
pub struct Txt<'a> {
    octets: &'a [u8],
}

impl<'a> Txt<'a> {
    /// One empty string: how a TXT record with nothing to say is written (RFC 6763 §6.1).
    pub const EMPTY: Self = Self { octets: &[0] };

    /// Takes everything that is left as strings.
    ///
    /// # Errors
    /// [`Error::Truncated`] when the last string is longer than what is left.
    #[inline]
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        Self::from_octets(r.rest())
    }

    /// Strings, each behind its length octet.
    ///
    /// # Errors
    /// [`Error::Truncated`] when the last string is longer than what is left.
    #[inline]
    pub fn from_octets(octets: &'a [u8]) -> Result<Self, Error> {
        let mut at = 0_usize;
        while let Some(&len) = octets.get(at) {
            at = at.wrapping_add(usize::from(len)).wrapping_add(1);
        }
        if at == octets.len() { Ok(Self { octets }) } else { Err(Error::Truncated("TXT string")) }
    }

    /// The data as on the wire: at least one octet.
    #[must_use]
    pub const fn as_octets(&self) -> &'a [u8] {
        if self.octets.is_empty() { &[0] } else { self.octets }
    }

    /// The strings that are not empty, in order (RFC 6763 §6.1: an empty one says nothing).
    #[must_use]
    #[inline]
    pub const fn strings(&self) -> Strings<'a> {
        Strings { rest: self.octets }
    }

    /// The first attribute named `key`, ASCII case ignored; later ones count as absent (RFC 6763 §6.4).
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Attribute<'a> {
        for string in self.strings() {
            let split = string.iter().position(|octet| *octet == b'=');
            let (name, value) = match split {
                Some(at) => (string.get(..at), string.get(at.wrapping_add(1)..)),
                None => (Some(string), None),
            };
            if name.is_some_and(|name| !name.is_empty() && name.eq_ignore_ascii_case(key)) {
                return match value {
                    None => Attribute::NoValue,
                    Some([]) => Attribute::Empty,
                    Some(value) => Attribute::Value(value),
                };
            }
        }
        Attribute::Absent
    }
}

impl PartialEq<Txt<'_>> for Txt<'_> {
    fn eq(&self, other: &Txt<'_>) -> bool {
        self.as_octets() == other.as_octets()
    }
}

impl Eq for Txt<'_> {}

/// The strings in quotes, with spaces between.
impl fmt::Display for Txt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for string in self.strings() {
            write!(f, "{separator}\"")?;
            write_escaped(f, string, &['"', '\\'])?;
            f.write_str("\"")?;
            separator = " ";
        }
        if separator.is_empty() { f.write_str("\"\"") } else { Ok(()) }
    }
}

/// The strings of a [`Txt`] that are not empty.
#[derive(Clone, Debug)]
pub struct Strings<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let (len, rest) = self.rest.split_first()?;
            let (string, rest) = rest.split_at_checked(usize::from(*len))?;
            self.rest = rest;
            if !string.is_empty() {
                return Some(string);
            }
        }
    }
}

/// The four states of an attribute (RFC 6763 §6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute<'a> {
    /// No string has this key.
    Absent,
    /// `key`
    NoValue,
    /// `key=`
    Empty,
    /// `key=value`: any octets, at least one.
    Value(&'a [u8]),
}

impl<'a> Attribute<'a> {
    /// The value; empty for `key=`, `None` for `key` and for no key.
    #[must_use]
    pub const fn value(self) -> Option<&'a [u8]> {
        match self {
            Self::Absent | Self::NoValue => None,
            Self::Empty => Some(&[]),
            Self::Value(value) => Some(value),
        }
    }
}

/// Makes TXT record data in a buffer given by the caller.
#[derive(Debug)]
pub struct TxtWriter<'b> {
    out: &'b mut [u8],
    len: usize,
    overflowed: bool,
}

impl<'b> TxtWriter<'b> {
    /// Writes from the start of `out`.
    #[must_use]
    pub const fn new(out: &'b mut [u8]) -> Self {
        Self { out, len: 0, overflowed: false }
    }

    /// Appends `key=value`, or `key` without a value. Does not judge the key: RFC 6763 §6.4 wants 1 to 9
    /// printable ASCII characters without `=`.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) -> &mut Self {
        match value {
            None => self.string(&[key]),
            Some(value) => self.string(&[key, b"=", value]),
        }
    }

    /// Appends one string made of `parts`: at most 255 octets together.
    pub fn string(&mut self, parts: &[&[u8]]) -> &mut Self {
        let total = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        let room = self.out.get_mut(self.len..).unwrap_or(&mut []);
        let mut w = Writer::new(room);
        match u8::try_from(total) {
            Ok(len) => w.u8(len),
            Err(_) => self.overflowed = true,
        }
        for part in parts {
            w.put(part);
        }
        match w.finish() {
            Ok(used) if !self.overflowed => self.len = self.len.saturating_add(used),
            Ok(_) | Err(Overflow) => self.overflowed = true,
        }
        self
    }

    /// The data; one empty string where nothing was appended (RFC 6763 §6.1).
    ///
    /// # Errors
    /// [`Overflow`] when a string was longer than 255 octets or the buffer was too small.
    pub fn finish(self) -> Result<Txt<'b>, Overflow> {
        if self.overflowed {
            return Err(Overflow);
        }
        let out: &'b [u8] = self.out;
        out.get(..self.len).map(|octets| Txt { octets }).ok_or(Overflow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;
    use std::vec::Vec;

    fn txt(octets: &[u8]) -> Txt<'_> {
        Txt::from_octets(octets).unwrap()
    }

    #[test]
    fn nothing_and_one_empty_string_are_equal() {
        assert_eq!(txt(b""), Txt::EMPTY);
        assert_eq!(txt(b"").as_octets(), [0]);
        assert_eq!(Txt::EMPTY.strings().count(), 0);
        assert_eq!(Txt::EMPTY.to_string(), "\"\"");
        let mut buffer = [0xa5; 4];
        assert_eq!(TxtWriter::new(&mut buffer).finish(), Ok(Txt::EMPTY));
        assert_eq!(TxtWriter::new(&mut []).finish(), Ok(Txt::EMPTY));
    }

    #[test]
    fn strings_must_end_with_the_data() {
        for broken in [&b"\x01"[..], b"\x02a", b"\x01ab", b"\x00\xff"] {
            assert_eq!(Txt::from_octets(broken), Err(Error::Truncated("TXT string")), "{broken:?}");
        }
        let strings: Vec<_> = txt(b"\x00\x01a\x00\x02bc\x00").strings().collect();
        assert_eq!(strings, [&b"a"[..], b"bc"]);
    }

    #[test]
    fn attributes_have_four_states() {
        let data = txt(b"\x01a\x02b=\x04c=\x00=\x03A=1\x04=a=1\x01=\x03d=x\x03D=y");
        assert_eq!(data.get(b"a"), Attribute::NoValue);
        assert_eq!(data.get(b"A"), Attribute::NoValue, "the first one wins");
        assert_eq!(data.get(b"b"), Attribute::Empty);
        assert_eq!(data.get(b"C"), Attribute::Value(b"\x00="));
        assert_eq!(data.get(b"d"), Attribute::Value(b"x"));
        assert_eq!(data.get(b"e"), Attribute::Absent);
        assert_eq!(data.get(b""), Attribute::Absent, "a string that begins with = says nothing");
        let values = [b"a", b"b", b"c", b"e"].map(|key| data.get(key).value());
        assert_eq!(values, [None, Some(&[][..]), Some(b"\x00="), None]);
    }

    #[test]
    fn written_attributes_read_back() {
        let mut buffer = [0xa5; 32];
        let mut w = TxtWriter::new(&mut buffer);
        w.push(b"txtvers", Some(b"1")).push(b"flag", None).push(b"none", Some(b""));
        w.string(&[b"x", b"=", b"\xff"]);
        let written = w.finish().unwrap();
        assert_eq!(written.as_octets(), b"\x09txtvers=1\x04flag\x05none=\x03x=\xff");
        assert_eq!(written.to_string(), r#""txtvers=1" "flag" "none=" "x=\255""#);
        let len = written.as_octets().len();
        assert_eq!(buffer[len..], std::vec![0xa5; 32 - len]);
    }

    #[test]
    fn what_does_not_fit_is_reported() {
        let mut buffer = [0xa5; 300];
        let fits = |len: usize, room: usize, buffer: &mut [u8]| {
            let value = std::vec![b'v'; len];
            let mut w = TxtWriter::new(&mut buffer[..room]);
            w.push(b"k", Some(&value)).push(b"z", None);
            w.finish().map(|txt| txt.as_octets().len())
        };
        assert_eq!(fits(253, 300, &mut buffer), Ok(258));
        assert_eq!(fits(254, 300, &mut buffer), Err(Overflow));
        assert_eq!(fits(253, 258, &mut buffer), Ok(258));
        assert_eq!(fits(253, 257, &mut buffer), Err(Overflow));
    }

    #[test]
    fn text_of_hostile_strings_has_no_control_characters() {
        let shown = txt(b"\x06\x1b[31m\"\x04\x07\x7f\xc2\x9b").to_string();
        assert_eq!(shown, r#""\027[31m\"" "\007\127\194\155""#);
    }
}
