//! Yamux frames as they come in, cut anywhere.
//! Spec: libp2p `specs/yamux`.
//!
//! A frame is told by its head as soon as that is whole; its data is handed on in the pieces in which it comes, so
//! a frame of any length costs the same few octets.

use crate::wire::cursor::Reader;
use crate::wire::yamux::{Flags, HEADER_LEN, Header, Kind};
use crate::wire::{self};

/// Why the remote's frames were refused. Each ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error {
    /// A frame's head is malformed.
    Header(wire::Error),
    /// A stream is numbered as the remote may not, or a frame of a stream names the session.
    StreamId,
    /// A stream is opened that is open.
    Duplicate,
    /// More data than the window allows.
    Window,
    /// More pings, or more streams over the limit, than can be answered.
    Flood,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Header(error) => write!(f, "frame head: {error}"),
            Self::StreamId => f.write_str("a stream has a number that it may not have"),
            Self::Duplicate => f.write_str("a stream was opened twice"),
            Self::Window => f.write_str("more data than the window allows"),
            Self::Flood => f.write_str("more pings or streams than can be answered"),
        }
    }
}

impl core::error::Error for Error {}

/// What came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// The head of a frame. Data follows as [`Event::Data`], and FIN as [`Event::Fin`], whatever the flags say.
    Head(Header),
    /// Data of a stream.
    Data { stream: u32, octets: &'a [u8] },
    /// The remote sends nothing more on a stream.
    Fin { stream: u32 },
}

/// Finds the frames in a sequence of octets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receiver {
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Head { octets: [u8; HEADER_LEN], have: u8 },
    Body { stream: u32, left: u32, fin: bool },
}

const EMPTY: State = State::Head { octets: [0; HEADER_LEN], have: 0 };

impl Receiver {
    pub(super) const fn new() -> Self {
        Self { state: EMPTY }
    }

    /// Takes the next event from the front of `input`; none when it is used up.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Error> {
        match self.state {
            State::Body { stream, left: 0, fin } => {
                self.state = EMPTY;
                if fin { Ok(Some(Event::Fin { stream })) } else { self.next(input) }
            }
            State::Body { stream, left, fin } => {
                let len = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let Some((octets, rest)) = input.split_at_checked(len).filter(|_| len > 0) else {
                    return Ok(None);
                };
                *input = rest;
                let left = left.saturating_sub(u32::try_from(len).unwrap_or(left));
                self.state = State::Body { stream, left, fin };
                Ok(Some(Event::Data { stream, octets }))
            }
            State::Head { octets, have } => self.head(octets, have, input),
        }
    }

    fn head<'a>(
        &mut self,
        mut octets: [u8; HEADER_LEN],
        have: u8,
        input: &mut &'a [u8],
    ) -> Result<Option<Event<'a>>, Error> {
        let have = usize::from(have);
        let taken = octets.get_mut(have..).unwrap_or_default();
        let len = taken.len().min(input.len());
        let (Some(to), Some((from, rest))) = (taken.get_mut(..len), input.split_at_checked(len))
        else {
            return Ok(None);
        };
        to.copy_from_slice(from);
        *input = rest;
        let have = have.saturating_add(len);
        if have < HEADER_LEN {
            self.state = State::Head { octets, have: u8::try_from(have).unwrap_or(0) };
            return Ok(None);
        }
        let header = Header::decode(&mut Reader::new(&octets)).map_err(Error::Header)?;
        let of_stream = matches!(header.kind, Kind::Data | Kind::WindowUpdate);
        let fin = of_stream && header.flags.contains(Flags::FIN);
        self.state = State::Body { stream: header.stream, left: header.body_len(), fin };
        Ok(Some(Event::Head(header)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    type Seen = (Vec<Header>, Vec<u8>, Vec<u32>);

    /// The heads, the data and the FINs in `octets`, which come in pieces of `len`.
    fn events(octets: &[u8], len: usize) -> Result<Seen, Error> {
        let mut receiver = Receiver::new();
        let (mut heads, mut data, mut fins) = (Vec::new(), Vec::new(), Vec::new());
        for mut piece in octets.chunks(len) {
            while let Some(event) = receiver.next(&mut piece)? {
                match event {
                    Event::Head(header) => heads.push(header),
                    Event::Data { octets, .. } => data.extend(octets),
                    Event::Fin { stream } => fins.push(stream),
                }
            }
            assert_eq!(piece, []);
        }
        Ok((heads, data, fins))
    }

    #[test]
    fn frames_are_the_same_however_they_are_cut() {
        let mut octets = Vec::new();
        let data = Header::data(1, Flags::SYN.with(Flags::FIN), 5);
        let window = Header::window_update(2, Flags::FIN, 1 << 20);
        let heads = [data, window, Header::ping(7), Header::data(1, Flags::NONE, 0)];
        for head in heads {
            octets.extend(head.to_octets());
            octets.extend(&b"hello"[..usize::try_from(head.body_len()).unwrap()]);
        }
        for len in 1..=octets.len() {
            let (seen, data, fins) = events(&octets, len).unwrap();
            assert_eq!(seen, heads, "pieces of {len}");
            assert_eq!(data, b"hello");
            // A FIN is told once the octets after it begin, or with them.
            assert_eq!(fins, [1, 2]);
        }
    }

    #[test]
    fn heads_of_no_frame_are_refused() {
        assert!(matches!(events(b"\x01\0\0\0\0\0\0\0\0\0\0\0", 1), Err(Error::Header(_))));
        assert!(matches!(events(b"\0\x04\0\0\0\0\0\0\0\0\0\0", 12), Err(Error::Header(_))));
    }
}
