//! Unsigned variable-length numbers: seven bits an octet, the lowest first, the top bit set on all but the last.
//! Spec: multiformats `unsigned-varint` (at most 9 octets, no more of them than needed); protobuf encoding (at
//! most 10 octets, more of them than needed allowed).
//!
//! Lengths, protocol codes and stream prefixes are the strict form; numbers inside protobuf are the lax one.

use super::Error;
use super::cursor::{Reader, Writer};

/// Octets of the longest number of the strict form: 63 bits.
pub const LEN_MAX: usize = 9;

/// Octets of the longest number inside protobuf: 64 bits.
pub const PROTOBUF_LEN_MAX: usize = 10;

/// Bits below those of the last octet that a number of either form may have.
const LAST_SHIFT: u32 = 56;
const PROTOBUF_LAST_SHIFT: u32 = 63;

/// Which encodings of a number are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// At most [`LEN_MAX`] octets, no more of them than needed.
    Strict,
    /// At most [`PROTOBUF_LEN_MAX`] octets; zeros at the end are taken, as protobuf allows.
    Protobuf,
}

/// A number of which some octets may be still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    value: u64,
    len: u8,
    form: Form,
}

impl Partial {
    /// A number of which nothing was seen.
    #[must_use]
    pub const fn new(form: Form) -> Self {
        Self { value: 0, len: 0, form }
    }

    /// Takes the next octet; the number when it was the last. After it, or after an error, the next octet
    /// begins another number.
    ///
    /// # Errors
    /// `Malformed` when the number is too long, or longer than needed in the strict form.
    #[inline]
    pub fn push(&mut self, octet: u8) -> Result<Option<u64>, Error> {
        let shift = u32::from(self.len).wrapping_mul(7);
        let bits = u64::from(octet & 0x7f);
        let last = octet & 0x80 == 0;
        let wrong = match self.form {
            Form::Strict => (last && octet == 0 && self.len > 0) || (!last && shift >= LAST_SHIFT),
            Form::Protobuf => shift >= PROTOBUF_LAST_SHIFT && octet > 1,
        };
        if wrong {
            *self = Self::new(self.form);
            return Err(WRONG);
        }
        self.value |= bits.wrapping_shl(shift);
        if last {
            let value = self.value;
            *self = Self::new(self.form);
            return Ok(Some(value));
        }
        self.len = self.len.saturating_add(1);
        Ok(None)
    }

    /// Whether octets of a number were seen, the last one not.
    #[must_use]
    pub const fn is_begun(&self) -> bool {
        self.len > 0
    }
}

/// Takes a number of the strict form.
///
/// # Errors
/// `Truncated` at the end, `Malformed` when it is too long or longer than needed.
#[inline]
pub fn decode(r: &mut Reader<'_>) -> Result<u64, Error> {
    decode_form(r, Form::Strict)
}

/// Takes a number as protobuf allows it.
///
/// # Errors
/// `Truncated` at the end, `Malformed` when it is too long.
#[inline]
pub fn decode_protobuf(r: &mut Reader<'_>) -> Result<u64, Error> {
    decode_form(r, Form::Protobuf)
}

fn decode_form(r: &mut Reader<'_>, form: Form) -> Result<u64, Error> {
    let mut partial = Partial::new(form);
    loop {
        if let Some(value) = partial.push(r.u8("number")?)? {
            return Ok(value);
        }
    }
}

/// Octets that `value` takes: 1 to 10; more than [`LEN_MAX`] from 2^63 on.
#[must_use]
#[inline]
pub const fn encoded_len(value: u64) -> usize {
    let bits = u64::BITS.saturating_sub((value | 1).leading_zeros());
    bits.div_ceil(7) as usize
}

impl Writer<'_> {
    /// Appends `value` in as few octets as it takes.
    #[inline]
    pub fn varint(&mut self, value: u64) {
        let mut octets = [0; PROTOBUF_LEN_MAX];
        let mut rest = value;
        let mut len = 0_usize;
        for octet in &mut octets {
            len = len.wrapping_add(1);
            let low = rest.to_le_bytes()[0] & 0x7f;
            rest >>= 7;
            if rest == 0 {
                *octet = low;
                break;
            }
            *octet = low | 0x80;
        }
        self.put(octets.get(..len).unwrap_or(&[]));
    }

    /// Appends a count of octets.
    #[inline]
    pub fn varint_len(&mut self, len: usize) {
        self.varint(len as u64);
    }
}

const WRONG: Error = Error::Malformed("number");

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn encode(value: u64) -> Vec<u8> {
        let mut buffer = [0xa5; 12];
        let mut w = Writer::new(&mut buffer);
        w.varint(value);
        let len = w.finish().unwrap();
        assert!(buffer[len..].iter().all(|octet| *octet == 0xa5));
        buffer[..len].to_vec()
    }

    #[test]
    fn every_width_comes_back() {
        for shift in 0..64_u32 {
            for value in [1 << shift, (1 << shift) - 1, (1_u64 << shift) | 0x55] {
                let octets = encode(value);
                assert_eq!(octets.len(), encoded_len(value));
                let mut r = Reader::new(&octets);
                assert_eq!(decode_protobuf(&mut r), Ok(value));
                assert!(r.is_empty());
                let strict = decode(&mut Reader::new(&octets));
                assert_eq!(strict, if value < 1 << 63 { Ok(value) } else { Err(WRONG) });
            }
        }
    }

    #[test]
    fn the_examples_of_the_specification_read_and_write() {
        for (value, octets) in [
            (1, &[0x01][..]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (255, &[0xff, 0x01]),
            (300, &[0xac, 0x02]),
            (16_384, &[0x80, 0x80, 0x01]),
        ] {
            assert_eq!(encode(value), octets);
            assert_eq!(decode(&mut Reader::new(octets)), Ok(value));
        }
    }

    #[test]
    fn the_strict_form_takes_one_encoding_of_a_value() {
        for octets in [&[0x80, 0x00][..], &[0x81, 0x00], &[0xff, 0x80, 0x00], &[0x80; 9]] {
            assert_eq!(decode(&mut Reader::new(octets)), Err(WRONG), "{octets:x?}");
        }
        assert_eq!(decode(&mut Reader::new(&[0x80; 8])), Err(Error::Truncated("number")));
        assert_eq!(decode(&mut Reader::new(&[])), Err(Error::Truncated("number")));
        let mut r = Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 9]);
        assert_eq!(decode(&mut r), Ok(u64::MAX >> 1));
        assert_eq!(r.rest(), [9]);
    }

    #[test]
    fn protobuf_takes_zeros_at_the_end_and_64_bits_no_more() {
        assert_eq!(decode_protobuf(&mut Reader::new(&[0x81, 0x80, 0x00])), Ok(1));
        let mut most = [0xff; 10];
        most[9] = 0x01;
        assert_eq!(decode_protobuf(&mut Reader::new(&most)), Ok(u64::MAX));
        most[9] = 0x02;
        assert_eq!(decode_protobuf(&mut Reader::new(&most)), Err(WRONG));
        most[9] = 0x80;
        assert_eq!(decode_protobuf(&mut Reader::new(&most)), Err(WRONG));
    }

    #[test]
    fn octets_that_come_one_at_a_time_make_the_same_number() {
        let mut partial = Partial::new(Form::Strict);
        assert_eq!(partial.push(0xac), Ok(None));
        assert!(partial.is_begun());
        assert_eq!(partial.push(0x02), Ok(Some(300)));
        assert!(!partial.is_begun());
        assert_eq!(partial.push(0x07), Ok(Some(7)), "the next number begins");
        assert_eq!(partial.push(0x80), Ok(None));
        assert_eq!(partial.push(0x00), Err(WRONG));
        assert_eq!(partial.push(0x00), Ok(Some(0)), "an error ends a number too");
    }
}
