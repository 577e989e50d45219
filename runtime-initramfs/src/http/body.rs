//! A response whose head was checked: its body comes in pieces, where they lie in the receive buffer.
//! Spec: RFC 9112 §6.3.

use std::fmt;
use std::net::SocketAddr;

use phase_core::fetch::{Pace, SILENCE_MAX};

use super::chunks::{Chunks, Piece};
use super::error::{Error, Problem};
use super::head::{Etag, Framing, Head};
use super::problem_of;
use crate::clock;
use crate::fetch::dial::Stream;

/// Where in the body the next octet is.
#[derive(Debug)]
enum Rest {
    Length(u64),
    Chunked(Box<Chunks>),
    Close,
}

/// A response.
pub struct Response {
    address: SocketAddr,
    stream: Box<dyn Stream>,
    start: u64,
    etag: Option<Etag>,
    length: Option<u64>,
    rest: Rest,
    pace: Pace,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("rest", &self.rest).finish_non_exhaustive()
    }
}

impl Response {
    pub(super) fn new(
        address: SocketAddr,
        stream: Box<dyn Stream>,
        start: u64,
        head: &Head,
    ) -> Self {
        let (length, rest) = match head.framing {
            Framing::Length(octets) => (Some(octets), Rest::Length(octets)),
            Framing::Chunked => (None, Rest::Chunked(Box::default())),
            Framing::Close => (None, Rest::Close),
        };
        Self {
            address,
            stream,
            start,
            etag: head.etag.clone(),
            length,
            rest,
            pace: Pace::new(clock::now()),
        }
    }

    #[cfg(test)]
    pub(super) const fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// The offset of the body's first octet: 0, or what was asked for.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// The representation's strong `ETag`, to resume by.
    #[must_use]
    pub const fn etag(&self) -> Option<&Etag> {
        self.etag.as_ref()
    }

    /// How many octets the body announces.
    #[must_use]
    pub const fn length(&self) -> Option<u64> {
        self.length
    }

    /// Waits for octets of the body and shows some of them, at least one, to `take`, once. `false`: the body has ended.
    ///
    /// # Errors
    /// `Silent`, `Slow`, `Broken`, `Early`, `NotHttp`.
    pub fn read_with(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<bool, Error> {
        let address = self.address;
        self.read(take).map_err(|problem| Error { address, problem })
    }

    fn read(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<bool, Problem> {
        while !self.rest.is_over() {
            let rest = &mut self.rest;
            let (mut count, mut piece) = (0, Ok(Piece::Between(0)));
            let mut taking = |octets: &[u8]| {
                piece = rest.split(octets);
                count = match piece {
                    Ok(Piece::Data(count)) => {
                        take(octets.get(..count).unwrap_or(octets));
                        count
                    }
                    Ok(Piece::Between(count)) => count,
                    Err(_) => octets.len(),
                };
                count
            };
            let deadline = clock::now() + SILENCE_MAX;
            let read = self.stream.read_with(deadline, &mut taking);
            if !read.map_err(|error| problem_of(error, "sending a body", SILENCE_MAX))? {
                return if matches!(self.rest, Rest::Close) {
                    Ok(false)
                } else {
                    Err(Problem::Early)
                };
            }
            let piece = piece?;
            let pace = self.pace.count(clock::now(), count);
            pace.map_err(|slow| Problem::Slow { octets: slow.octets })?;
            match piece {
                Piece::Data(_) => return Ok(true),
                Piece::Between(_) => {}
            }
        }
        Ok(false)
    }

    /// The whole body, of at most `limit` octets.
    ///
    /// # Errors
    /// As [`Response::read_with`], and `TooLong` as soon as the bound is passed.
    pub fn read_all(mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let too_long =
            Error { address: self.address, problem: Problem::TooLong { limit: limit as u64 } };
        if self.length.is_some_and(|length| length > limit as u64) {
            return Err(too_long);
        }
        let (mut all, mut fits) = (Vec::new(), true);
        while self.read_with(&mut |octets| {
            fits = octets.len() <= limit.saturating_sub(all.len());
            if fits {
                all.extend_from_slice(octets);
            }
        })? {
            if !fits {
                return Err(too_long);
            }
        }
        Ok(all)
    }
}

impl Rest {
    const fn is_over(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.is_over(),
            Self::Close => false,
        }
    }

    /// What `octets` begin with.
    fn split(&mut self, octets: &[u8]) -> Result<Piece, Problem> {
        match self {
            Self::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(octets.len());
                *left = left.saturating_sub(count as u64);
                Ok(Piece::Data(count))
            }
            Self::Chunked(chunks) => chunks.next(octets),
            Self::Close => Ok(Piece::Data(octets.len())),
        }
    }
}
