//! Domain names of their own: built from labels or text, kept without borrowing.
//! Spec: RFC 1035 §3.1, §5.1 (escapes); RFC 6762 Appendix C (length).

use core::fmt;

use super::name::Name;
use crate::limits::{LABEL_MAX, NAME_MAX};
use crate::wire::{Error, Overflow};

/// A name of its own with room for every valid name.
pub type NameBuf = InlineName<{ NAME_MAX + 1 }>;

/// A name of its own in at most `N` octets, uncompressed, the root octet included.
#[derive(Clone, Copy)]
pub struct InlineName<const N: usize> {
    octets: [u8; N],
    /// Without the root octet, which always follows.
    len: u8,
}

impl<const N: usize> InlineName<N> {
    const ROOM: () = assert!(N >= 1 && N <= NAME_MAX + 1, "a name has 1 to 256 octets");

    /// The root.
    #[must_use]
    pub const fn new() -> Self {
        let () = Self::ROOM;
        Self { octets: [0; N], len: 0 }
    }

    /// A name of these labels, the first one first.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn from_labels<'l>(labels: impl IntoIterator<Item = &'l [u8]>) -> Result<Self, Error> {
        let mut name = Self::new();
        for label in labels {
            name.push(label)?;
        }
        Ok(name)
    }

    /// A name from text as [`Name`] displays it; the last dot may be missing.
    ///
    /// # Errors
    /// [`Error::Malformed`] for an empty label or a broken escape; as [`push`](Self::push).
    pub fn from_text(text: &str) -> Result<Self, Error> {
        let mut name = Self::new();
        let text = if text == "." { "" } else { text };
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let mut label = heapless::Vec::<u8, LABEL_MAX>::new();
            while let Some((&octet, mut after)) = rest.split_first() {
                rest = after;
                if octet == b'.' {
                    break;
                }
                let octet = if octet == b'\\' { unescape(&mut after)? } else { octet };
                rest = after;
                label.push(octet).map_err(|_| Error::Malformed("label length"))?;
            }
            name.push(&label)?;
        }
        Ok(name)
    }

    /// A copy of `name`.
    ///
    /// # Errors
    /// [`Overflow`] when it has more than `N` octets.
    pub fn from_name(name: &Name<'_>) -> Result<Self, Overflow> {
        let mut copy = Self::new();
        let used = name.write_uncompressed(&mut copy.octets)?;
        copy.len = u8::try_from(used.saturating_sub(1)).map_err(|_| Overflow)?;
        Ok(copy)
    }

    /// Appends a label, as the last one before the root.
    ///
    /// # Errors
    /// [`Error::Malformed`] unless it has 1 to 63 octets and the name stays within `N`; the name is unchanged.
    pub fn push(&mut self, label: &[u8]) -> Result<(), Error> {
        let Some(octet) = u8::try_from(label.len()).ok().filter(|len| (1..=63).contains(len))
        else {
            return Err(Error::Malformed("label length"));
        };
        let start = usize::from(self.len);
        let end = start.saturating_add(label.len()).saturating_add(1);
        let (Some(room), Ok(len)) = (self.octets.get_mut(start..=end), u8::try_from(end)) else {
            return Err(Error::Malformed("name length"));
        };
        if let [first, middle @ .., root] = room {
            *first = octet;
            middle.copy_from_slice(label);
            *root = 0;
        }
        self.len = len;
        Ok(())
    }

    /// Appends the labels of `name`.
    ///
    /// # Errors
    /// As [`push`](Self::push); the name then ends after the last label that fitted.
    pub fn append(&mut self, name: &Name<'_>) -> Result<(), Error> {
        name.labels().try_for_each(|label| self.push(label))
    }

    /// The name, borrowed.
    #[must_use]
    #[inline]
    pub fn as_name(&self) -> Name<'_> {
        let octets = self.octets.get(..=usize::from(self.len)).unwrap_or(&[0]);
        Name::from_valid(octets, self.len)
    }
}

/// Takes what follows a backslash.
fn unescape(rest: &mut &[u8]) -> Result<u8, Error> {
    let broken = Error::Malformed("escape in a name");
    if let Some((digits, after)) = rest.split_first_chunk::<3>()
        && digits.iter().all(u8::is_ascii_digit)
    {
        *rest = after;
        let value = digits.iter().fold(0_u16, |sum, digit| {
            sum.wrapping_mul(10).wrapping_add(u16::from(digit.wrapping_sub(b'0')))
        });
        return u8::try_from(value).map_err(|_| broken);
    }
    let (&octet, after) = rest.split_first().ok_or(broken)?;
    *rest = after;
    if octet.is_ascii_digit() { Err(broken) } else { Ok(octet) }
}

impl<const N: usize> Default for InlineName<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize, const M: usize> PartialEq<InlineName<M>> for InlineName<N> {
    fn eq(&self, other: &InlineName<M>) -> bool {
        self.as_name() == other.as_name()
    }
}

impl<const N: usize> Eq for InlineName<N> {}

impl<const N: usize> PartialEq<Name<'_>> for InlineName<N> {
    fn eq(&self, other: &Name<'_>) -> bool {
        self.as_name() == *other
    }
}

impl<const N: usize> PartialEq<InlineName<N>> for Name<'_> {
    fn eq(&self, other: &InlineName<N>) -> bool {
        *self == other.as_name()
    }
}

impl<const N: usize> fmt::Display for InlineName<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_name().fmt(f)
    }
}

impl<const N: usize> fmt::Debug for InlineName<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.as_name(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;

    #[test]
    fn text_is_read_strictly() {
        let text = |text: &str| NameBuf::from_text(text).map(|name| name.to_string());
        assert_eq!(text("a.b"), Ok("a.b.".into()));
        assert_eq!(text("a.b."), Ok("a.b.".into()));
        assert_eq!(text(""), Ok(".".into()));
        assert_eq!(text("."), Ok(".".into()));
        assert_eq!(text("Café – 1.local"), Ok("Café – 1.local.".into()));
        let label = Err(Error::Malformed("label length"));
        assert_eq!(text("a..b"), label);
        assert_eq!(text(".a"), label);
        assert_eq!(text(&"x".repeat(64)), label);
        for broken in [r"a\", r"a\25", r"a\256", r"a\9x"] {
            assert_eq!(text(broken), Err(Error::Malformed("escape in a name")), "{broken}");
        }
    }

    #[test]
    fn building_reports_what_does_not_fit() {
        let mut name = InlineName::<8>::from_labels([&b"abc"[..]]).unwrap();
        assert_eq!(name.push(b""), Err(Error::Malformed("label length")));
        assert_eq!(name.push(&[b'x'; 64]), Err(Error::Malformed("label length")));
        assert_eq!(name.push(b"defg"), Err(Error::Malformed("name length")));
        assert_eq!(name.to_string(), "abc.");
        name.push(b"de").unwrap();
        assert_eq!(name.to_string(), "abc.de.");
        let mut two = InlineName::<5>::new();
        assert_eq!(
            two.append(&NameBuf::from_text("a.b.c").unwrap().as_name()),
            Err(Error::Malformed("name length"))
        );
        assert_eq!(two.to_string(), "a.b.");
    }
}
