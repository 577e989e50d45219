//! multistream-select 1.0: lines that say which protocol a connection or a stream will speak.
//! Spec: libp2p `specs/connections#multistream-select`; multiformats `multistream-select`.
//!
//! ```text
//! length  varint    octets that follow, the newline counted
//! text    ..        a protocol id, `na` or `ls`
//! newline 0a
//! ```
//!
//! A [`LineReader`] keeps no text: it remembers which of the known lines still match, so it costs a few octets
//! however long the line. Not implemented: the answer to `ls`; the simultaneous-open extension.

use super::Error;
use super::cursor::Writer;
use super::varint::{Form, Partial};
use crate::limits::MULTISTREAM_LINE_MAX;

macro_rules! lines {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// A line that is known here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub enum Line {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Line {
            /// Every known line.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$name),+];

            /// The text, without its newline.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

lines! {
    /// The first line of either side.
    Multistream = "/multistream/1.0.0",
    /// Refusal of what was proposed.
    Na = "na",
    /// Asks for all protocols.
    Ls = "ls",
    /// Encryption of a connection.
    Noise = "/noise",
    /// Streams of a connection.
    Yamux = "/yamux/1.0.0",
    /// Kademlia of this project's network.
    PhaseKad = "/phase/kad/1.0.0",
    /// Kademlia as libp2p's implementations speak it unless told otherwise.
    IpfsKad = "/ipfs/kad/1.0.0",
    /// Identify, answered.
    Identify = "/ipfs/id/1.0.0",
    /// Identify, unasked.
    IdentifyPush = "/ipfs/id/push/1.0.0",
    /// Ping.
    Ping = "/ipfs/ping/1.0.0",
}

impl Line {
    /// Octets on the wire.
    #[must_use]
    pub const fn encoded_len(self) -> usize {
        self.text().len().saturating_add(2)
    }

    /// Appends this line.
    pub fn encode(self, w: &mut Writer<'_>) {
        encode_line(w, self.text());
    }
}

impl core::fmt::Display for Line {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.text())
    }
}

/// Appends a line of any text, which must contain no newline.
pub fn encode_line(w: &mut Writer<'_>, text: &str) {
    w.varint_len(text.len().saturating_add(1));
    w.put(text.as_bytes());
    w.u8(b'\n');
}

/// What a [`LineReader`] made of the octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// The line goes on.
    Pending,
    /// A known line.
    Line(Line),
    /// A complete line that is not known here.
    Unknown,
}

/// Reads lines from octets as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineReader {
    phase: Phase,
    /// One bit for each of [`Line::ALL`] that matches so far.
    matching: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Length(Partial),
    Text { len: u16, at: u16 },
}

const EVERY_LINE: u16 = (1 << Line::ALL.len()) - 1;

impl Default for LineReader {
    fn default() -> Self {
        Self::new()
    }
}

impl LineReader {
    /// Waits for the first octet of a line.
    #[must_use]
    pub const fn new() -> Self {
        Self { phase: Phase::Length(Partial::new(Form::Strict)), matching: EVERY_LINE }
    }

    /// Takes octets up to the end of one line; tells how many were taken, and what they made. After a complete
    /// line the next octet begins another.
    ///
    /// # Errors
    /// `Malformed` when a line is empty, has a newline inside or none at its end, or its length is no number;
    /// `Unsupported` when it is longer than [`MULTISTREAM_LINE_MAX`]. The reader is of no use then.
    pub fn feed(&mut self, octets: &[u8]) -> Result<(usize, Read), Error> {
        let mut taken = 0_usize;
        for octet in octets {
            taken = taken.wrapping_add(1);
            match self.push(*octet)? {
                Read::Pending => {}
                read @ (Read::Line(_) | Read::Unknown) => return Ok((taken, read)),
            }
        }
        Ok((taken, Read::Pending))
    }

    /// Whether what was taken so far can become `line`.
    #[must_use]
    pub fn may_be(&self, line: Line) -> bool {
        let matches = Line::ALL.iter().zip(bits(self.matching)).any(|(it, set)| set && *it == line);
        match self.phase {
            Phase::Length(_) => matches,
            Phase::Text { len, .. } => {
                matches && line.text().len().saturating_add(1) == usize::from(len)
            }
        }
    }

    fn push(&mut self, octet: u8) -> Result<Read, Error> {
        match &mut self.phase {
            Phase::Length(partial) => {
                if let Some(len) = partial.push(octet).map_err(|_| WRONG)? {
                    self.phase = Phase::Text { len: checked_len(len)?, at: 0 };
                }
                Ok(Read::Pending)
            }
            Phase::Text { len, at } => {
                let (len, here) = (*len, *at);
                *at = here.wrapping_add(1);
                let is_last = *at == len;
                if (octet == b'\n') != is_last {
                    return Err(WRONG);
                }
                if is_last { Ok(self.complete(here)) } else { Ok(self.narrow(here, octet)) }
            }
        }
    }

    fn narrow(&mut self, at: u16, octet: u8) -> Read {
        self.keep(|line| line.text().as_bytes().get(usize::from(at)) == Some(&octet));
        Read::Pending
    }

    fn complete(&mut self, text_len: u16) -> Read {
        self.keep(|line| line.text().len() == usize::from(text_len));
        let found = Line::ALL.iter().zip(bits(self.matching)).find(|(_, set)| *set);
        *self = Self::new();
        found.map_or(Read::Unknown, |(line, _)| Read::Line(*line))
    }

    fn keep(&mut self, matches: impl Fn(Line) -> bool) {
        let mut bit = 1_u16;
        for line in Line::ALL {
            if !matches(line) {
                self.matching &= !bit;
            }
            bit = bit.wrapping_shl(1);
        }
    }
}

fn bits(set: u16) -> impl Iterator<Item = bool> {
    (0..u16::BITS).map(move |at| set.wrapping_shr(at) & 1 == 1)
}

fn checked_len(len: u64) -> Result<u16, Error> {
    match u16::try_from(len) {
        Ok(0) => Err(WRONG),
        Ok(len) if usize::from(len) <= MULTISTREAM_LINE_MAX => Ok(len),
        Ok(_) | Err(_) => Err(Error::Unsupported("multistream line of this length")),
    }
}

const WRONG: Error = Error::Malformed("multistream line");

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn encode(text: &str) -> Vec<u8> {
        let mut buffer = [0xa5; 300];
        let mut w = Writer::new(&mut buffer);
        encode_line(&mut w, text);
        let len = w.finish().unwrap();
        assert!(buffer[len..].iter().all(|octet| *octet == 0xa5));
        buffer[..len].to_vec()
    }

    #[test]
    fn every_known_line_comes_back_whole_and_in_single_octets() {
        for line in Line::ALL {
            let mut octets = encode(line.text());
            assert_eq!(octets.len(), line.encoded_len());
            octets.push(0x13);
            let mut reader = LineReader::new();
            assert_eq!(reader.feed(&octets), Ok((octets.len() - 1, Read::Line(line))));
            assert_eq!(reader, LineReader::new());
            for octet in &octets[..octets.len() - 2] {
                assert_eq!(reader.feed(&[*octet]), Ok((1, Read::Pending)));
            }
            assert_eq!(reader.feed(b"\n"), Ok((1, Read::Line(line))));
        }
    }

    #[test]
    fn the_octets_are_those_of_other_implementations() {
        assert_eq!(encode("/noise"), b"\x07/noise\n");
        assert_eq!(encode("na"), b"\x03na\n");
        assert_eq!(encode("/multistream/1.0.0"), b"\x13/multistream/1.0.0\n");
    }

    #[test]
    fn any_other_line_is_unknown_and_the_next_one_is_read() {
        for text in [
            "/tls/1.0.0",
            "/noise/",
            "/nois",
            "/NOISE",
            "/ipfs/kad/1.0.00",
            "/libp2p/simultaneous-connect",
            "x",
        ] {
            let mut octets = encode(text);
            let len = octets.len();
            octets.extend(encode("/noise"));
            let mut reader = LineReader::new();
            assert_eq!(reader.feed(&octets), Ok((len, Read::Unknown)), "{text}");
            assert_eq!(reader.feed(&octets[len..]), Ok((8, Read::Line(Line::Noise))));
        }
        let longest = "x".repeat(MULTISTREAM_LINE_MAX - 1);
        assert_eq!(LineReader::new().feed(&encode(&longest)), Ok((258, Read::Unknown)));
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for octets in [
            &b"\x00"[..],
            b"\x07/noise ",
            b"\x08/noise\n ",
            b"\x03n\n\n",
            b"\x83\x00na\n",
            b"\x81\x02",
            b"\xff\xff\xff\xff\x7f",
            b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
            b"\x01x",
            b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        ] {
            assert!(LineReader::new().feed(octets).is_err(), "{octets:?}");
        }
        assert_eq!(
            LineReader::new().feed(b"\x81\x02"),
            Err(Error::Unsupported("multistream line of this length"))
        );
    }

    #[test]
    fn a_reader_stays_small() {
        assert!(size_of::<LineReader>() <= 32);
    }
}
