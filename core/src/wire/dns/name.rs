//! Domain names: labels and compression.
//! Spec: RFC 1035 §3.1, §4.1.4; RFC 6762 §16 (case), §18.14 (compression), Appendix C (255 octets without
//! the root octet).
//!
//! A label is 1 to 63 arbitrary octets. A compression pointer must point below the start of the octets that
//! hold it, and what it points at must end before them: each octet of a message is read at most once for
//! one name, so decoding ends and is linear.
//! Not implemented: extended label types (RFC 6891 §5), Punycode (RFC 6762 §16 forbids it).

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

use super::HEADER_LEN;
use crate::limits::{NAME_MAX, POINTER_HOPS};
use crate::wire::cursor::Reader;
use crate::wire::{Error, Overflow};

/// RFC 1035 §4.1.4: the two high bits that make a pointer of a length octet.
const POINTER: u8 = 0xC0;

/// A valid name inside octets that it borrows: a whole message if it may be compressed, or only itself.
///
/// Comparison ignores ASCII case (RFC 6762 §16); the case is kept. Ordering is by labels from the first
/// to the last and only for sorted collections.
#[derive(Clone, Copy)]
pub struct Name<'a> {
    octets: &'a [u8],
    start: u16,
    /// Octets uncompressed, without the root octet.
    len: u8,
    /// No pointer inside: `octets[start..][..len]` are all labels.
    flat: bool,
}

impl<'a> Name<'a> {
    /// The root: no labels.
    pub const ROOT: Self = Self { octets: &[0], start: 0, len: 0, flat: true };

    /// Takes a name, which may point back into what the reader sees.
    ///
    /// # Errors
    /// [`Error::Truncated`] at the end of the message, [`Error::Malformed`] for a label type that is not
    /// 00 or 11, more than 255 octets, more than 16 pointers, or a pointer that does not go back.
    #[inline]
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        let octets = r.visible();
        let start = r.position();
        let (mut at, mut len) = (start, 0_usize);
        loop {
            let octet = *octets.get(at).ok_or(Error::Truncated("name"))?;
            if octet.wrapping_sub(1) < 63 {
                let step = usize::from(octet).wrapping_add(1);
                len = len.wrapping_add(step);
                at = at.wrapping_add(step);
                if len > NAME_MAX {
                    return Err(Error::Malformed("name length"));
                }
                continue;
            }
            let flat = octet == 0;
            let used = if flat { at.wrapping_add(1) } else { at.wrapping_add(2) };
            if !flat {
                len = follow(octets, at, start, len)?;
            }
            r.take(used.wrapping_sub(start), "name")?;
            let start = u16::try_from(start).map_err(|_| Error::Malformed("message length"))?;
            let len = u8::try_from(len).map_err(|_| Error::Malformed("name length"))?;
            return Ok(Self { octets, start, len, flat });
        }
    }

    /// A name that is known to be valid: `octets` are labels of `len` octets together, and the root octet.
    #[inline]
    pub(super) const fn from_valid(octets: &'a [u8], len: u8) -> Self {
        Self { octets, start: 0, len, flat: true }
    }

    /// Skips a name without following its pointer.
    #[inline]
    pub(super) fn skip(r: &mut Reader<'a>) -> Result<(), Error> {
        loop {
            let octet = r.u8("name")?;
            match octet {
                0 => return Ok(()),
                1..=63 => {
                    r.take(usize::from(octet), "name")?;
                }
                POINTER.. => {
                    r.u8("name")?;
                    return Ok(());
                }
                64..POINTER => return Err(Error::Malformed("label type")),
            }
        }
    }

    /// A name from uncompressed octets with the root octet at their end: a constant, or another format's.
    ///
    /// # Errors
    /// As [`decode`](Self::decode); pointers and trailing octets are malformed.
    pub const fn from_octets(octets: &'a [u8]) -> Result<Self, Error> {
        let mut rest = octets;
        let mut len: u8 = 0;
        loop {
            let Some((&octet, after)) = rest.split_first() else {
                return Err(Error::Truncated("name"));
            };
            if octet == 0 {
                if !after.is_empty() {
                    return Err(Error::Malformed("name: octets after the root"));
                }
                return Ok(Self { octets, start: 0, len, flat: true });
            }
            if octet > 63 {
                return Err(Error::Malformed("label type"));
            }
            let Some((_, after)) = after.split_at_checked(octet as usize) else {
                return Err(Error::Truncated("name"));
            };
            match len.checked_add(octet.wrapping_add(1)) {
                Some(sum) => len = sum,
                None => return Err(Error::Malformed("name length")),
            }
            rest = after;
        }
    }

    /// The labels from the first to the last, without the root.
    #[must_use]
    #[inline]
    pub fn labels(&self) -> Labels<'a> {
        Labels { octets: self.octets, at: usize::from(self.start) }
    }

    /// Octets on the wire uncompressed, the root octet included: 1 to 256.
    #[must_use]
    #[inline]
    pub fn encoded_len(&self) -> usize {
        usize::from(self.len).wrapping_add(1)
    }

    /// Whether this is the root.
    #[must_use]
    pub const fn is_root(&self) -> bool {
        self.len == 0
    }

    /// The uncompressed octets without the root octet, where no pointer is inside.
    #[must_use]
    #[inline]
    pub(super) fn flat_octets(&self) -> Option<&'a [u8]> {
        let start = usize::from(self.start);
        if self.flat {
            self.octets.get(start..start.wrapping_add(usize::from(self.len)))
        } else {
            None
        }
    }

    /// The first label and the rest; `None` for the root.
    #[must_use]
    #[inline]
    pub fn split_first(&self) -> Option<(&'a [u8], Self)> {
        let mut labels = self.labels();
        let label = labels.next()?;
        let step = u8::try_from(label.len()).ok()?.wrapping_add(1);
        let start = u16::try_from(labels.at).ok()?;
        Some((label, Self { start, len: self.len.wrapping_sub(step), ..*self }))
    }

    /// Whether this name is `other` or below it.
    #[must_use]
    pub fn is_subdomain_of(&self, other: &Name<'_>) -> bool {
        let mut rest = *self;
        while rest.len > other.len {
            match rest.split_first() {
                Some((_, parent)) => rest = parent,
                None => return false,
            }
        }
        rest == *other
    }

    /// A hash that ignores ASCII case and compression. Stable within one build; not against an attacker:
    /// compare the names too.
    #[must_use]
    #[inline]
    pub fn canonical_hash(&self) -> u32 {
        let mut state = 0_u64;
        for label in self.labels() {
            let (words, tail) = label.as_chunks::<8>();
            for word in words {
                state = mix(state, u64::from_le_bytes(*word));
            }
            let mut last = [0; 8];
            for (to, from) in last.iter_mut().zip(tail) {
                *to = *from;
            }
            // A length octet is at most 63 and so keeps labels apart.
            state = mix(state, u64::from_le_bytes(last)) ^ u64::try_from(label.len()).unwrap_or(0);
        }
        u32::try_from(state >> 32).unwrap_or(0)
    }

    /// Writes the uncompressed octets, the root octet included, and returns how many.
    ///
    /// # Errors
    /// [`Overflow`] when `out` is shorter than [`encoded_len`](Self::encoded_len).
    pub fn write_uncompressed(&self, out: &mut [u8]) -> Result<usize, Overflow> {
        let mut w = crate::wire::cursor::Writer::new(out);
        for label in self.labels() {
            w.u8(u8::try_from(label.len()).map_err(|_| Overflow)?);
            w.put(label);
        }
        w.u8(0);
        w.finish()
    }

    /// The uncompressed octets one by one, the root octet included.
    pub(super) fn uncompressed(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.labels()
            .flat_map(|label| {
                core::iter::once(u8::try_from(label.len()).unwrap_or(0))
                    .chain(label.iter().copied())
            })
            .chain(core::iter::once(0))
    }
}

/// Follows the pointer at `at` of the name that starts at `start`; gives the name's whole length.
#[inline]
fn follow(octets: &[u8], at: usize, start: usize, len: usize) -> Result<usize, Error> {
    let (mut octets, mut at, mut len) = (octets, at, len);
    // Where the octets that hold the current pointer begin; everything pointed at lies below.
    let mut floor = start;
    for _ in 0..POINTER_HOPS {
        let pair = octets.get(at..).and_then(|rest| rest.first_chunk::<2>());
        let pair = pair.ok_or(Error::Truncated("name"))?;
        let [high, low] = *pair;
        if high < POINTER {
            return Err(Error::Malformed("label type"));
        }
        let target = usize::from(u16::from_be_bytes([high & !POINTER, low]));
        if target >= floor || target < HEADER_LEN {
            return Err(Error::Malformed("compression pointer"));
        }
        octets = octets.get(..floor).unwrap_or(&[]);
        floor = target;
        at = target;
        loop {
            let octet = *octets.get(at).ok_or(Error::Malformed("compression pointer"))?;
            if octet == 0 {
                return Ok(len);
            }
            if octet > 63 {
                break;
            }
            let step = usize::from(octet).wrapping_add(1);
            len = len.wrapping_add(step);
            at = at.wrapping_add(step);
            if len > NAME_MAX {
                return Err(Error::Malformed("name length"));
            }
        }
    }
    Err(Error::Malformed("compression pointers: too many"))
}

/// One step of [`Name::canonical_hash`]: bit 5, the ASCII case, is set in every octet.
#[inline]
fn mix(state: u64, word: u64) -> u64 {
    let folded = (word | 0x2020_2020_2020_2020) ^ state;
    folded.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
}

/// The labels of a [`Name`].
#[derive(Clone, Debug)]
pub struct Labels<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let octet = *self.octets.get(self.at)?;
            let after = self.at.wrapping_add(1);
            if octet < POINTER {
                if octet == 0 {
                    return None;
                }
                self.at = after.wrapping_add(usize::from(octet));
                return self.octets.get(after..self.at);
            }
            let low = *self.octets.get(after)?;
            let target = usize::from(u16::from_be_bytes([octet & !POINTER, low]));
            // Holds for every name that was decoded; it is what makes this loop end.
            if target >= self.at {
                return None;
            }
            self.at = target;
        }
    }
}

#[inline]
fn labels_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && (a == b || a.eq_ignore_ascii_case(b))
}

impl PartialEq<Name<'_>> for Name<'_> {
    #[inline]
    fn eq(&self, other: &Name<'_>) -> bool {
        if self.len != other.len {
            return false;
        }
        if let (Some(a), Some(b)) = (self.flat_octets(), other.flat_octets())
            && a == b
        {
            return true;
        }
        let (mut a, mut b) = (self.labels(), other.labels());
        loop {
            match (a.next(), b.next()) {
                (Some(a), Some(b)) if labels_equal(a, b) => {}
                (None, None) => return true,
                (Some(_) | None, Some(_) | None) => return false,
            }
        }
    }
}

impl Eq for Name<'_> {}

impl Hash for Name<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.canonical_hash());
    }
}

impl PartialOrd for Name<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let lower = |octet: u8| octet.to_ascii_lowercase();
        self.uncompressed().map(lower).cmp(other.uncompressed().map(lower))
    }
}

/// Labels with dots between and after them. Dots and backslashes inside labels get a backslash; control
/// characters and octets that are not UTF-8 are `\DDD`, three decimal digits (RFC 1035 §5.1).
impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for label in self.labels() {
            write_escaped(f, label, &['.', '\\'])?;
            f.write_str(".")?;
        }
        Ok(())
    }
}

/// Writes `octets` as text: what is in `special` with a backslash, what cannot be shown as `\DDD`.
pub(super) fn write_escaped(
    f: &mut fmt::Formatter<'_>,
    octets: &[u8],
    special: &[char],
) -> fmt::Result {
    use fmt::Write as _;
    for chunk in octets.utf8_chunks() {
        for c in chunk.valid().chars() {
            if special.contains(&c) {
                f.write_char('\\')?;
                f.write_char(c)?;
            } else if c.is_control() {
                let mut utf8 = [0; 4];
                for octet in c.encode_utf8(&mut utf8).bytes() {
                    write!(f, "\\{octet:03}")?;
                }
            } else {
                f.write_char(c)?;
            }
        }
        for octet in chunk.invalid() {
            write!(f, "\\{octet:03}")?;
        }
    }
    Ok(())
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{InlineName, NameBuf};
    use super::*;
    use std::collections::BTreeSet;
    use std::string::ToString as _;
    use std::vec::Vec;

    /// Octets behind a header of zeros, read from offset `at`; gives the name and where reading stopped.
    fn decode(body: &[u8], at: usize, check: impl FnOnce(Result<(Name<'_>, usize), Error>)) {
        let mut message = std::vec![0; HEADER_LEN];
        message.extend_from_slice(body);
        let mut r = Reader::new(&message);
        r.take(at, "start").unwrap();
        check(Name::decode(&mut r).map(|name| (name, r.position())));
    }

    fn fails(body: &[u8], at: usize, error: Error) {
        decode(body, at, |name| assert_eq!(name.map(|(name, _)| name.to_string()), Err(error)));
    }

    #[test]
    fn plain_and_compressed_names_are_the_same() {
        let body = b"\x05local\x00\x04_tcp\xC0\x0C\x03foo\xC0\x13\xC0\x1A";
        decode(body, 12, |name| {
            let (name, end) = name.unwrap();
            assert_eq!((name.to_string().as_str(), end), ("local.", 19));
            assert_eq!(name.flat_octets(), Some(&b"\x05local"[..]));
        });
        for (at, end) in [(26, 32), (32, 34)] {
            decode(body, at, |name| {
                let (name, position) = name.unwrap();
                assert_eq!((name.to_string().as_str(), position), ("foo._tcp.local.", end));
                assert_eq!(name.encoded_len(), 16);
                assert_eq!(name.flat_octets(), None);
                let plain = Name::from_octets(b"\x03FOO\x04_tCP\x05local\x00").unwrap();
                assert_eq!(name, plain);
                assert_eq!(name.canonical_hash(), plain.canonical_hash());
                assert_eq!(name.cmp(&plain), Ordering::Equal);
                let mut out = [0xa5; 18];
                assert_eq!(name.write_uncompressed(&mut out), Ok(16));
                assert_eq!(&out, b"\x03foo\x04_tcp\x05local\x00\xa5\xa5");
                assert_eq!(name.write_uncompressed(&mut out[..15]), Err(Overflow));
            });
        }
    }

    #[test]
    fn pointers_must_go_back_before_the_octets_that_hold_them() {
        let pointer = Error::Malformed("compression pointer");
        fails(b"\xC0\x0C", 12, pointer);
        fails(b"\xC0\x0E\x00", 12, pointer);
        fails(b"\x01a\xC0\x0C", 12, pointer);
        fails(b"\xFF\xFF", 12, pointer);
        // Two pointers at each other.
        fails(b"\xC0\x0E\xC0\x0C", 14, pointer);
        // Into the header.
        fails(b"\xC0\x04", 12, pointer);
        // What is pointed at runs into the name that points.
        fails(b"\x03a\xC0\x0C\x00", 14, pointer);
        fails(b"\x02aa\x01b\xC0\x0C", 15, pointer);
    }

    #[test]
    fn broken_labels_are_refused_by_name() {
        fails(b"", 12, Error::Truncated("name"));
        fails(b"\x03ab", 12, Error::Truncated("name"));
        fails(b"\x03abc", 12, Error::Truncated("name"));
        fails(b"\x00\x01a\xC0", 13, Error::Truncated("name"));
        for octet in [0x40, 0x7F, 0x80, 0xBF] {
            fails(&[octet, 0, 0], 12, Error::Malformed("label type"));
            fails(&[1, b'a', octet, 0, 0xC0, 12], 16, Error::Malformed("label type"));
        }
    }

    #[test]
    fn sixteen_pointers_are_followed_and_not_one_more() {
        let mut body = std::vec![0];
        for hop in 0..17_u8 {
            let target = if hop == 0 { 12 } else { 11 + 2 * hop };
            body.extend_from_slice(&[0xC0, target]);
        }
        decode(&body, 13 + 30, |name| assert!(name.unwrap().0.is_root()));
        fails(&body, 13 + 32, Error::Malformed("compression pointers: too many"));
    }

    #[test]
    fn names_have_up_to_255_octets_and_a_root() {
        let mut longest = Vec::new();
        for len in [63, 63, 63, 62] {
            longest.push(len);
            longest.extend(core::iter::repeat_n(b'x', usize::from(len)));
        }
        longest.push(0);
        assert_eq!(longest.len(), 256);
        decode(&longest, 12, |name| assert_eq!(name.unwrap().0.encoded_len(), 256));
        let name = Name::from_octets(&longest).unwrap();
        let copy = NameBuf::from_name(&name).unwrap();
        assert_eq!(copy, name);
        assert_eq!(InlineName::<255>::from_name(&name), Err(Overflow));
        let mut full = copy;
        assert_eq!(full.push(b"y"), Err(Error::Malformed("name length")));
        assert_eq!(full, name);

        let mut longer = longest.clone();
        longer.splice(255.., *b"\x01y\x00");
        fails(&longer, 12, Error::Malformed("name length"));
        assert_eq!(Name::from_octets(&longer), Err(Error::Malformed("name length")));
        // The same length reached through a pointer.
        let mut pointing = longest.clone();
        pointing.extend_from_slice(b"\x01y\xC0\x0C");
        fails(&pointing, 12 + 256, Error::Malformed("name length"));
    }

    #[test]
    fn labels_hold_any_octets() {
        let octets = b"\x04a.\x00\\\x03\xffz\x1b\x00";
        let name = Name::from_octets(octets).unwrap();
        assert_eq!(name.labels().collect::<Vec<_>>(), [&b"a.\x00\\"[..], b"\xffz\x1b"]);
        assert_eq!(name.to_string(), r"a\.\000\\.\255z\027.");
        assert_eq!(NameBuf::from_text(&name.to_string()).unwrap(), name);
        let other = Name::from_octets(b"\x04a.\x00|\x03\xffz\x1b\x00").unwrap();
        assert_ne!(name, other, "only letters have a case");
    }

    #[test]
    fn from_octets_takes_one_plain_name_and_nothing_else() {
        let error = |octets| Name::from_octets(octets).unwrap_err();
        assert_eq!(error(b""), Error::Truncated("name"));
        assert_eq!(error(b"\x01"), Error::Truncated("name"));
        assert_eq!(error(b"\x01a"), Error::Truncated("name"));
        assert_eq!(error(b"\xC0\x00"), Error::Malformed("label type"));
        assert_eq!(error(b"\x00\x00"), Error::Malformed("name: octets after the root"));
        assert_eq!(Name::from_octets(b"\x00"), Ok(Name::ROOT));
        assert_eq!(NameBuf::default(), Name::ROOT);
    }

    #[test]
    fn subdomains_are_told_by_whole_labels() {
        let name = |text| NameBuf::from_text(text).unwrap();
        let below = |a, b| name(a).as_name().is_subdomain_of(&name(b).as_name());
        assert!(below("x._tcp.Local", "_TCP.local"));
        assert!(below("_tcp.local", "_tcp.local"));
        assert!(below("local", "."));
        assert!(!below("local", "_tcp.local"));
        assert!(!below("x_tcp.local", "_tcp.local"));
        assert!(!below("x.local", "_tcp.local"));
        assert_eq!(name("a.b").as_name().split_first().unwrap().1, name("b"));
        assert_eq!(Name::ROOT.split_first(), None);
    }

    #[test]
    fn label_borders_count_in_comparison_and_hash() {
        let names = ["ab.c", "a.bc", "abc", "a.b.c", "ab.c.d", "ab.d", "aaaaaaaa", "aaaaaaa.a"];
        let names: Vec<_> = names.iter().map(|text| NameBuf::from_text(text).unwrap()).collect();
        let hashes: BTreeSet<_> =
            names.iter().map(|name| name.as_name().canonical_hash()).collect();
        assert_eq!(hashes.len(), names.len());
        for (i, a) in names.iter().enumerate() {
            for (j, b) in names.iter().enumerate() {
                assert_eq!(a == b, i == j);
            }
        }
    }
}
