//! Protobuf messages: the fields of a complete message, those of one that comes in pieces, and writing them.
//! Spec: protobuf encoding (wire types 0, 1, 2 and 5).
//!
//! Fields come in the order of the octets; unknown ones are the caller's to skip; which of two with one number
//! counts is the caller's to say (the last, as protobuf has it). Not implemented: groups (wire types 3 and 4).

mod scanner;

pub use scanner::{Scanner, Take, Visitor};

use super::Error;
use super::cursor::{Reader, Writer};
use super::varint;

/// The largest number of a field.
pub const NUMBER_MAX: u32 = (1 << 29) - 1;

/// How the value of a field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireType {
    /// A variable-length number.
    Varint,
    /// Eight octets.
    Fixed64,
    /// A length and as many octets.
    Bytes,
    /// Four octets.
    Fixed32,
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number.
    Varint(u64),
    /// Eight octets, not interpreted.
    Fixed64([u8; 8]),
    /// Octets: a byte string, a text or a message.
    Bytes(&'a [u8]),
    /// Four octets, not interpreted.
    Fixed32([u8; 4]),
}

impl<'a> Value<'a> {
    /// The octets of a field that must be `bytes`, `string` or a message.
    ///
    /// # Errors
    /// `Malformed` naming `what` when it was written as a number.
    pub const fn bytes(self, what: &'static str) -> Result<&'a [u8], Error> {
        match self {
            Self::Bytes(octets) => Ok(octets),
            Self::Varint(_) | Self::Fixed64(_) | Self::Fixed32(_) => Err(Error::Malformed(what)),
        }
    }

    /// The value of a field that must be a variable-length number.
    ///
    /// # Errors
    /// `Malformed` naming `what` when it was written otherwise.
    pub const fn varint(self, what: &'static str) -> Result<u64, Error> {
        match self {
            Self::Varint(value) => Ok(value),
            Self::Bytes(_) | Self::Fixed64(_) | Self::Fixed32(_) => Err(Error::Malformed(what)),
        }
    }
}

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// What the field is: 1 to [`NUMBER_MAX`].
    pub number: u32,
    /// What it holds.
    pub value: Value<'a>,
}

/// The number and wire type that a tag stands for.
///
/// # Errors
/// `Malformed` when the number is out of its range, `Unsupported` for groups.
#[inline]
pub fn tag(value: u64) -> Result<(u32, WireType), Error> {
    let kind = match value & 7 {
        0 => WireType::Varint,
        1 => WireType::Fixed64,
        2 => WireType::Bytes,
        5 => WireType::Fixed32,
        3 | 4 => return Err(Error::Unsupported("protobuf group")),
        _ => return Err(Error::Malformed("protobuf wire type")),
    };
    match u32::try_from(value >> 3) {
        Ok(number @ 1..=NUMBER_MAX) => Ok((number, kind)),
        Ok(_) | Err(_) => Err(Error::Malformed("protobuf field number")),
    }
}

impl<'a> Field<'a> {
    /// Takes the next field.
    ///
    /// # Errors
    /// `Truncated` or `Malformed` when it is no field; the rest cannot be read then.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        let (number, kind) = tag(varint::decode_protobuf(r)?)?;
        let value = match kind {
            WireType::Varint => Value::Varint(varint::decode_protobuf(r)?),
            WireType::Fixed64 => Value::Fixed64(r.array("protobuf field")?),
            WireType::Fixed32 => Value::Fixed32(r.array("protobuf field")?),
            WireType::Bytes => {
                let len = varint::decode_protobuf(r)?;
                let len = usize::try_from(len).map_err(|_| Error::Truncated("protobuf field"))?;
                Value::Bytes(r.take(len, "protobuf field")?)
            }
        };
        Ok(Self { number, value })
    }
}

/// The fields of a complete message, in order. An error is the last item.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    reader: Reader<'a>,
}

impl<'a> Fields<'a> {
    /// The fields of `message`.
    #[must_use]
    pub const fn new(message: &'a [u8]) -> Self {
        Self { reader: Reader::new(message) }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let field = Field::decode(&mut self.reader);
        if field.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(field)
    }
}

/// Octets of a field that holds a number.
#[must_use]
pub const fn varint_field_len(number: u32, value: u64) -> usize {
    head_len(number).saturating_add(varint::encoded_len(value))
}

/// Octets of a field that holds `len` octets, all included.
#[must_use]
pub const fn bytes_field_len(number: u32, len: usize) -> usize {
    head_len(number).saturating_add(varint::encoded_len(len as u64)).saturating_add(len)
}

const fn head_len(number: u32) -> usize {
    varint::encoded_len((number as u64) << 3)
}

impl Writer<'_> {
    /// Appends a field that holds a number. `number`: 1 to [`NUMBER_MAX`].
    #[inline]
    pub fn varint_field(&mut self, number: u32, value: u64) {
        self.varint(u64::from(number) << 3);
        self.varint(value);
    }

    /// Appends a field that holds octets. `number`: 1 to [`NUMBER_MAX`].
    #[inline]
    pub fn bytes_field(&mut self, number: u32, octets: &[u8]) {
        self.bytes_field_head(number, octets.len());
        self.put(octets);
    }

    /// Begins a field that holds the `len` octets that the caller appends next. `number`: 1 to [`NUMBER_MAX`].
    #[inline]
    pub fn bytes_field_head(&mut self, number: u32, len: usize) {
        self.varint((u64::from(number) << 3) | 2);
        self.varint_len(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn read(octets: &[u8]) -> Vec<Result<Field<'_>, Error>> {
        Fields::new(octets).collect()
    }

    #[test]
    fn the_examples_of_the_specification_read_and_write() {
        // Test1 { a: 150 }, Test2 { b: "testing" }: protobuf.dev, "Encoding".
        let octets = [0x08, 0x96, 0x01, 0x12, 0x07, b't', b'e', b's', b't', b'i', b'n', b'g'];
        assert_eq!(
            read(&octets),
            [
                Ok(Field { number: 1, value: Value::Varint(150) }),
                Ok(Field { number: 2, value: Value::Bytes(b"testing") }),
            ]
        );
        let mut buffer = [0xa5; 16];
        let mut w = Writer::new(&mut buffer);
        w.varint_field(1, 150);
        w.bytes_field(2, b"testing");
        assert_eq!(w.finish(), Ok(12));
        assert_eq!(buffer[..12], octets);
        assert_eq!(buffer[12..], [0xa5; 4]);
        assert_eq!(varint_field_len(1, 150) + bytes_field_len(2, 7), 12);
    }

    #[test]
    fn large_field_numbers_have_the_tags_that_others_write() {
        let mut buffer = [0xa5; 16];
        let mut w = Writer::new(&mut buffer);
        w.bytes_field(666, &[]);
        w.varint_field(777, 0);
        assert_eq!(w.written(), [0xd2, 0x29, 0x00, 0xc8, 0x30, 0x00]);
        assert_eq!(bytes_field_len(666, 0), 3);
        assert_eq!(varint_field_len(777, 0), 3);
        assert_eq!(bytes_field_len(1, 200), 203);
        assert_eq!(bytes_field_len(NUMBER_MAX, 0), 6);
    }

    #[test]
    fn fixed_widths_are_stepped_over() {
        let octets = [0x09, 1, 2, 3, 4, 5, 6, 7, 8, 0x15, 1, 2, 3, 4, 0x18, 1];
        assert_eq!(
            read(&octets),
            [
                Ok(Field { number: 1, value: Value::Fixed64([1, 2, 3, 4, 5, 6, 7, 8]) }),
                Ok(Field { number: 2, value: Value::Fixed32([1, 2, 3, 4]) }),
                Ok(Field { number: 3, value: Value::Varint(1) }),
            ]
        );
    }

    #[test]
    fn what_is_no_field_ends_the_message() {
        for octets in [
            &[0x00, 1][..],                                                      // number 0
            &[0x0b, 0x0c],                                                       // a group
            &[0x0e, 1],                                                          // wire type 6
            &[0x0f, 1],                                                          // wire type 7
            &[0x0a, 2, 1],                                                       // one octet short
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], // 2^64 - 1 octets
            &[0x08],                                                             // no value
            &[0x09, 1, 2, 3],                   // seven octets expected
            &[0x80],                            // half a tag
            &[0x80, 0x80, 0x80, 0x80, 0x10, 1], // number 2^29
        ] {
            let mut fields = Fields::new(octets);
            assert!(matches!(fields.next(), Some(Err(_))), "{octets:x?}");
            assert_eq!(fields.next(), None, "{octets:x?}");
        }
    }

    #[test]
    fn a_value_of_another_wire_type_is_refused_by_name() {
        assert_eq!(Value::Varint(1).bytes("key"), Err(Error::Malformed("key")));
        assert_eq!(Value::Bytes(b"1").varint("ttl"), Err(Error::Malformed("ttl")));
        assert_eq!(Value::Fixed32([0; 4]).varint("ttl"), Err(Error::Malformed("ttl")));
        assert_eq!(Value::Bytes(b"1").bytes("key"), Ok(&b"1"[..]));
        assert_eq!(Value::Varint(1).varint("ttl"), Ok(1));
    }
}
