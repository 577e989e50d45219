//! Reading and writing octets in order. Bounds are checked here, once; nothing panics.
//!
//! A [`Reader`] always sees from the start of the message up to its end, so that what it reads may point
//! back (RFC 1035 §4.1.4). A [`Writer`] remembers that something did not fit and goes on counting nothing:
//! callers write whole structures and ask once.

use super::{Error, Overflow};

/// A position in a message.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads `octets` from their start.
    #[must_use]
    pub const fn new(octets: &'a [u8]) -> Self {
        Self { octets, at: 0 }
    }

    /// Everything from the start of the message to this reader's end, what was read included.
    #[must_use]
    pub const fn visible(&self) -> &'a [u8] {
        self.octets
    }

    /// Octets from the start of the message to the next one that is read.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Octets that are left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.octets.len().saturating_sub(self.at)
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// Takes `len` octets.
    ///
    /// # Errors
    /// [`Error::Truncated`] naming `what` when fewer are left; nothing is taken.
    #[inline]
    pub fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], Error> {
        let end = self.at.saturating_add(len);
        let taken = self.octets.get(self.at..end).ok_or(Error::Truncated(what))?;
        self.at = end;
        Ok(taken)
    }

    /// Takes everything that is left.
    #[inline]
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = self.octets.get(self.at..).unwrap_or(&[]);
        self.at = self.octets.len();
        rest
    }

    /// Takes the next `len` octets as a reader of their own that still sees the message before them.
    ///
    /// # Errors
    /// [`Error::Truncated`] naming `what` when fewer are left; nothing is taken.
    #[inline]
    pub fn sub(&mut self, len: usize, what: &'static str) -> Result<Self, Error> {
        let end = self.at.saturating_add(len);
        let octets = self.octets.get(..end).ok_or(Error::Truncated(what))?;
        let sub = Self { octets, at: self.at };
        self.at = end;
        Ok(sub)
    }

    /// Takes `N` octets.
    ///
    /// # Errors
    /// [`Error::Truncated`] naming `what` when fewer are left; nothing is taken.
    #[inline]
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let rest = self.octets.get(self.at..).unwrap_or(&[]);
        let array = rest.first_chunk::<N>().ok_or(Error::Truncated(what))?;
        self.at = self.at.saturating_add(N);
        Ok(*array)
    }

    /// Takes one octet.
    ///
    /// # Errors
    /// [`Error::Truncated`] naming `what` at the end.
    #[inline]
    pub fn u8(&mut self, what: &'static str) -> Result<u8, Error> {
        Ok(u8::from_be_bytes(self.array(what)?))
    }

    /// Takes a 16-bit number in network order.
    ///
    /// # Errors
    /// [`Error::Truncated`] naming `what` when fewer than 2 octets are left.
    #[inline]
    pub fn u16(&mut self, what: &'static str) -> Result<u16, Error> {
        Ok(u16::from_be_bytes(self.array(what)?))
    }

    /// Takes a 32-bit number in network order.
    ///
    /// # Errors
    /// [`Error::Truncated`] naming `what` when fewer than 4 octets are left.
    #[inline]
    pub fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.array(what)?))
    }
}

/// Appends to a buffer given by the caller. The first write that does not fit sets a flag that sticks;
/// it and all later ones write nothing.
#[derive(Debug)]
pub struct Writer<'b> {
    octets: &'b mut [u8],
    len: usize,
    overflowed: bool,
}

/// A place to come back to with [`Writer::rewind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(usize);

/// Two octets left free for a number that is known later.
#[derive(Debug)]
#[must_use = "a hole that is not filled stays zero"]
pub struct HoleU16(usize);

impl<'b> Writer<'b> {
    /// Writes from the start of `octets`.
    #[must_use]
    pub const fn new(octets: &'b mut [u8]) -> Self {
        Self { octets, len: 0, overflowed: false }
    }

    /// Octets written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Octets that still fit.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.octets.len().saturating_sub(self.len)
    }

    /// Whether something did not fit since the start or the last [`rewind`](Self::rewind).
    #[must_use]
    pub const fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// What was written.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or(&[])
    }

    /// What was written since `mark`, to be changed in place.
    pub(crate) fn written_since_mut(&mut self, mark: Mark) -> &mut [u8] {
        self.octets.get_mut(mark.0..self.len).unwrap_or_default()
    }

    /// Appends `octets`, all or nothing.
    #[inline]
    pub fn put(&mut self, octets: &[u8]) {
        let end = self.len.saturating_add(octets.len());
        match self.octets.get_mut(self.len..end) {
            Some(room) if !self.overflowed => {
                room.copy_from_slice(octets);
                self.len = end;
            }
            Some(_) | None => self.overflowed = true,
        }
    }

    /// Appends one octet.
    #[inline]
    pub fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    /// Appends a 16-bit number in network order.
    #[inline]
    pub fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    /// Appends a 32-bit number in network order.
    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// Appends two zero octets, to be [filled](Self::fill) later.
    #[inline]
    pub fn place_u16(&mut self) -> HoleU16 {
        let hole = HoleU16(self.len);
        self.u16(0);
        hole
    }

    /// Writes `value` into `hole`.
    #[inline]
    #[expect(clippy::needless_pass_by_value, reason = "a hole is filled once")]
    pub fn fill(&mut self, hole: HoleU16, value: u16) {
        self.patch(hole.0, value.to_be_bytes());
    }

    /// Writes into `hole` how many octets follow it.
    #[inline]
    #[expect(clippy::needless_pass_by_value, reason = "a hole is filled once")]
    pub fn fill_len(&mut self, hole: HoleU16) {
        let len = self.len.saturating_sub(hole.0).saturating_sub(2);
        match u16::try_from(len) {
            Ok(len) => self.patch(hole.0, len.to_be_bytes()),
            Err(_) => self.overflowed = true,
        }
    }

    /// Overwrites octets that were written.
    #[inline]
    pub(crate) fn patch<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        let end = at.saturating_add(N);
        if end <= self.len
            && let Some(room) = self.octets.get_mut(at..end)
        {
            room.copy_from_slice(&value);
        }
    }

    /// Notes that something did not fit.
    pub(crate) const fn overflow(&mut self) {
        self.overflowed = true;
    }

    /// The place after what is written.
    #[must_use]
    pub const fn mark(&self) -> Mark {
        Mark(self.len)
    }

    /// Forgets what was written since `mark`, an overflow included.
    pub const fn rewind(&mut self, mark: Mark) {
        if mark.0 <= self.len {
            self.len = mark.0;
        }
        self.overflowed = false;
    }

    /// How many octets were written.
    ///
    /// # Errors
    /// [`Overflow`] when something did not fit.
    #[inline]
    pub const fn finish(self) -> Result<usize, Overflow> {
        if self.overflowed { Err(Overflow) } else { Ok(self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_network_order_and_the_end_is_named() {
        let mut r = Reader::new(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(r.u8("a"), Ok(1));
        assert_eq!(r.u16("b"), Ok(0x0203));
        assert_eq!(r.u32("c"), Ok(0x0405_0607));
        assert_eq!(r.u16("d"), Err(Error::Truncated("d")));
        assert_eq!(r.u32("d"), Err(Error::Truncated("d")));
        assert_eq!(r.array::<2>("d"), Err(Error::Truncated("d")));
        assert_eq!(r.take(2, "d"), Err(Error::Truncated("d")));
        assert_eq!(r.take(usize::MAX, "d"), Err(Error::Truncated("d")));
        assert_eq!((r.position(), r.remaining()), (7, 1), "a failed read takes nothing");
        assert_eq!(r.rest(), [8]);
        assert!(r.is_empty());
        assert_eq!(r.u8("e"), Err(Error::Truncated("e")));
        assert_eq!(r.rest(), []);
    }

    #[test]
    fn a_sub_reader_ends_at_its_length_and_sees_what_is_before_it() {
        let mut r = Reader::new(&[1, 2, 3, 4, 5]);
        r.u8("a").unwrap();
        let mut sub = r.sub(2, "b").unwrap();
        assert_eq!(sub.visible(), [1, 2, 3]);
        assert_eq!(sub.rest(), [2, 3]);
        assert_eq!(sub.u8("c"), Err(Error::Truncated("c")));
        assert_eq!(r.position(), 3);
        assert!(matches!(r.sub(3, "d"), Err(Error::Truncated("d"))));
        assert_eq!(r.rest(), [4, 5]);
    }

    #[test]
    fn writes_leave_the_rest_of_the_buffer_alone() {
        let mut buffer = [0xa5; 12];
        let mut w = Writer::new(&mut buffer);
        w.u8(1);
        w.u16(0x0203);
        let hole = w.place_u16();
        w.u32(0x0405_0607);
        w.put(&[8]);
        w.fill_len(hole);
        assert_eq!((w.len(), w.room(), w.is_empty()), (10, 2, false));
        assert_eq!(w.finish(), Ok(10));
        assert_eq!(buffer, [1, 2, 3, 0, 5, 4, 5, 6, 7, 8, 0xa5, 0xa5]);
    }

    #[test]
    fn an_overflow_sticks_until_rewound() {
        let mut buffer = [0xa5; 4];
        let mut w = Writer::new(&mut buffer);
        w.u16(1);
        let mark = w.mark();
        w.put(&[9, 9, 9]);
        w.u8(7);
        assert!(w.overflowed());
        assert_eq!(
            w.written(),
            [0, 1],
            "nothing is written after an overflow, even what would fit"
        );
        w.rewind(mark);
        assert!(!w.overflowed());
        w.put(&[2, 3]);
        w.u8(4);
        assert_eq!(w.finish(), Err(Overflow));
        assert_eq!(buffer, [0, 1, 2, 3]);
    }

    #[test]
    fn a_hole_is_filled_only_where_it_was_placed() {
        let mut buffer = [0xa5; 3];
        let mut w = Writer::new(&mut buffer);
        w.put(&[1, 2]);
        let hole = w.place_u16();
        w.fill(hole, 0xffff);
        assert!(w.overflowed());
        let mark = Mark(9);
        w.rewind(mark);
        assert_eq!(w.len(), 2, "a mark beyond the end does not lengthen");
        assert_eq!(buffer, [1, 2, 0xa5]);
    }
}
