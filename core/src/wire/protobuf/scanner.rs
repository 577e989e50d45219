//! A protobuf message that comes in pieces: nothing of it is kept here, so its length costs no memory.

use super::{WireType, tag};
use crate::wire::Error;
use crate::wire::varint::{Form, Partial};

/// What to do with a field of octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// Step over it.
    Skip,
    /// Hand its octets on.
    Copy,
    /// It is a message: look at its fields. Inside a message that was entered, the same as `Skip`.
    Enter,
}

/// Whom a [`Scanner`] tells what it finds, in the order of the octets.
pub trait Visitor {
    /// A field of `len` octets begins.
    fn begin(&mut self, number: u32, len: u32) -> Take;
    /// The next octets of the field that is copied; never none.
    fn octets(&mut self, octets: &[u8]);
    /// The field that was copied or entered is complete.
    fn end(&mut self, number: u32);
    /// A field that holds a number.
    fn varint(&mut self, number: u32, value: u64);
}

/// Reads one message, and the messages in its fields, as the octets come.
#[derive(Clone, Debug)]
pub struct Scanner {
    /// Octets of the message that are still to come.
    left: u32,
    /// The field that was entered, and octets of it that are still to come; they count in `left` too.
    entered: Option<(u32, u32)>,
    step: Step,
    partial: Partial,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Tag,
    Varint(u32),
    Len(u32),
    Skip(u32),
    Copy { number: u32, left: u32 },
}

impl Scanner {
    /// Expects a message of `len` octets.
    #[must_use]
    pub const fn new(len: u32) -> Self {
        let partial = Partial::new(Form::Protobuf);
        Self { left: len, entered: None, step: Step::Tag, partial }
    }

    /// Whether the whole message was read.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.left == 0
    }

    /// Octets of the message that are still to come.
    #[must_use]
    pub const fn remaining(&self) -> u32 {
        self.left
    }

    /// Takes the next octets of the message.
    ///
    /// # Errors
    /// `Truncated` or `Malformed` when they are no such message, or more than it has. The scanner is of no use
    /// then.
    pub fn feed(&mut self, octets: &[u8], visitor: &mut impl Visitor) -> Result<(), Error> {
        let mut rest = octets;
        while let Some(first) = rest.first() {
            if self.left == 0 {
                return Err(Error::Malformed("end of the message"));
            }
            let taken = match self.step {
                Step::Skip(left) => self.skip(left, rest),
                Step::Copy { number, left } => self.copy(number, left, rest, visitor),
                Step::Tag | Step::Varint(_) | Step::Len(_) => {
                    self.consume(1);
                    self.number(*first, visitor)?;
                    1
                }
            };
            rest = rest.get(taken..).unwrap_or(&[]);
            self.settle(visitor)?;
        }
        Ok(())
    }

    fn skip(&mut self, left: u32, octets: &[u8]) -> usize {
        let (taken, len) = at_most(octets, left);
        self.step = match left.saturating_sub(len) {
            0 => Step::Tag,
            left => Step::Skip(left),
        };
        self.consume(len);
        taken.len()
    }

    fn copy(&mut self, number: u32, left: u32, octets: &[u8], to: &mut impl Visitor) -> usize {
        let (taken, len) = at_most(octets, left);
        to.octets(taken);
        self.consume(len);
        match left.saturating_sub(len) {
            0 => {
                self.step = Step::Tag;
                to.end(number);
            }
            left => self.step = Step::Copy { number, left },
        }
        taken.len()
    }

    /// Takes one octet of a tag, a value or a length.
    fn number(&mut self, octet: u8, visitor: &mut impl Visitor) -> Result<(), Error> {
        let Some(value) = self.partial.push(octet)? else { return Ok(()) };
        self.step = match self.step {
            Step::Tag => match tag(value)? {
                (number, WireType::Varint) => Step::Varint(number),
                (number, WireType::Bytes) => Step::Len(number),
                (_, WireType::Fixed32) => self.skippable(4)?,
                (_, WireType::Fixed64) => self.skippable(8)?,
            },
            Step::Varint(number) => {
                visitor.varint(number, value);
                Step::Tag
            }
            Step::Len(number) => self.begin(number, value, visitor)?,
            other @ (Step::Skip(_) | Step::Copy { .. }) => other,
        };
        Ok(())
    }

    fn begin(&mut self, number: u32, len: u64, visitor: &mut impl Visitor) -> Result<Step, Error> {
        let len = u32::try_from(len).map_err(|_| CUT_SHORT)?;
        let skip = self.skippable(len)?;
        Ok(match visitor.begin(number, len) {
            Take::Enter if self.entered.is_none() => {
                self.entered = Some((number, len));
                Step::Tag
            }
            Take::Copy if len > 0 => Step::Copy { number, left: len },
            Take::Copy => {
                visitor.end(number);
                Step::Tag
            }
            Take::Skip | Take::Enter => skip,
        })
    }

    /// How to step over `len` octets of the message that is read.
    fn skippable(&self, len: u32) -> Result<Step, Error> {
        if len > self.here() {
            return Err(CUT_SHORT);
        }
        Ok(if len == 0 { Step::Tag } else { Step::Skip(len) })
    }

    /// Octets that are still to come of the message that is read: the one entered, else the outer one.
    fn here(&self) -> u32 {
        self.entered.map_or(self.left, |(_, left)| left)
    }

    fn consume(&mut self, len: u32) {
        self.left = self.left.saturating_sub(len);
        if let Some((_, left)) = &mut self.entered {
            *left = left.saturating_sub(len);
        }
    }

    /// Leaves a message that was entered at its end; a field must not go beyond the end of its message.
    fn settle(&mut self, visitor: &mut impl Visitor) -> Result<(), Error> {
        if self.here() > 0 {
            return Ok(());
        }
        if self.step != Step::Tag || self.partial.is_begun() {
            return Err(CUT_SHORT);
        }
        if let Some((number, _)) = self.entered.take() {
            visitor.end(number);
        }
        Ok(())
    }
}

fn at_most(octets: &[u8], len: u32) -> (&[u8], u32) {
    match usize::try_from(len).ok().and_then(|len| octets.get(..len)) {
        Some(taken) => (taken, len),
        None => (octets, u32::try_from(octets.len()).unwrap_or(len)),
    }
}

const CUT_SHORT: Error = Error::Truncated("protobuf field");

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    /// Writes down what it is told; enters field 3, skips field 4, copies the others.
    #[derive(Default)]
    struct Log {
        lines: Vec<String>,
        copied: Vec<u8>,
    }

    impl Visitor for Log {
        fn begin(&mut self, number: u32, len: u32) -> Take {
            self.lines.push(format!("begin {number} {len}"));
            self.copied.clear();
            match number {
                3 => Take::Enter,
                4 => Take::Skip,
                _ => Take::Copy,
            }
        }

        fn octets(&mut self, octets: &[u8]) {
            assert!(!octets.is_empty());
            self.copied.extend(octets);
        }

        fn end(&mut self, number: u32) {
            self.lines.push(format!("end {number} {:x?}", self.copied));
            self.copied.clear();
        }

        fn varint(&mut self, number: u32, value: u64) {
            self.lines.push(format!("{number} = {value}"));
        }
    }

    fn scan(octets: &[u8], pieces: usize) -> (Vec<String>, Result<bool, Error>) {
        let mut scanner = Scanner::new(octets.len() as u32);
        let mut log = Log::default();
        for piece in octets.chunks(pieces) {
            if let Err(error) = scanner.feed(piece, &mut log) {
                return (log.lines, Err(error));
            }
        }
        (log.lines, Ok(scanner.is_complete()))
    }

    const MESSAGE: &[u8] = &[
        0x08, 0x96, 0x01, // 1: 150
        0x12, 0x02, 0xaa, 0xbb, // 2: two octets
        0x1a, 0x09, 0x0a, 0x01, 0xcc, 0x1a, 0x02, 0x08, 0x01, 0x10, 0x07, // 3: { 1, 3, 2: 7 }
        0x22, 0x03, 1, 2, 3, // 4: three octets
        0x15, 1, 2, 3, 4, // 2: fixed
        0x19, 1, 2, 3, 4, 5, 6, 7, 8, // 3: fixed
        0x1a, 0x00, // 3: empty
        0x12, 0x00, // 2: empty
    ];

    #[test]
    fn the_same_is_told_however_the_octets_are_cut() {
        let (whole, complete) = scan(MESSAGE, MESSAGE.len());
        assert_eq!(complete, Ok(true));
        assert_eq!(
            whole,
            [
                "1 = 150",
                "begin 2 2",
                "end 2 [aa, bb]",
                "begin 3 9",
                "begin 1 1",
                "end 1 [cc]",
                "begin 3 2",
                "2 = 7",
                "end 3 []",
                "begin 4 3",
                "begin 3 0",
                "end 3 []",
                "begin 2 0",
                "end 2 []",
            ]
        );
        for pieces in 1..MESSAGE.len() {
            assert_eq!(scan(MESSAGE, pieces), (whole.clone(), Ok(true)), "{pieces} at a time");
        }
    }

    #[test]
    fn a_message_that_ends_too_early_is_not_complete_and_one_cut_inside_a_field_is_refused() {
        let mut scanner = Scanner::new(MESSAGE.len() as u32 + 2);
        scanner.feed(MESSAGE, &mut Log::default()).unwrap();
        assert!(!scanner.is_complete());
        assert_eq!(scanner.remaining(), 2);
        for len in 1..MESSAGE.len() {
            let at_boundary = [3, 7, 18, 23, 28, 37, 39].contains(&len);
            assert_eq!(scan(&MESSAGE[..len], 1).1.is_ok(), at_boundary, "{len} octets");
        }
        assert!(Scanner::new(0).is_complete());
    }

    #[test]
    fn a_field_ends_inside_its_message() {
        for octets in [
            &[0x1a, 0x02, 0x0a, 0x01, 0xcc][..], // inner field beyond the inner message
            &[0x1a, 0x01, 0x0a, 0x00],           // inner tag without a length
            &[0x1a, 0x01, 0x80, 0x00],           // inner tag cut
            &[0x1a, 0x03, 0x0d, 1, 2, 3, 4],     // inner fixed beyond the inner message
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f], // 4 GiB
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f], // more
            &[0x0b],                             // a group
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], // 70 bits
        ] {
            for pieces in 1..=octets.len() {
                assert!(scan(octets, pieces).1.is_err(), "{octets:x?}");
            }
        }
    }

    #[test]
    fn octets_beyond_the_message_are_refused() {
        let mut scanner = Scanner::new(2);
        let beyond = scanner.feed(&[0x08, 0x01, 0x08], &mut Log::default());
        assert_eq!(beyond, Err(Error::Malformed("end of the message")));
    }
}
