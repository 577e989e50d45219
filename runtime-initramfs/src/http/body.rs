//! A response whose head was checked: its body comes in pieces, where they lie in the receive buffer.
//! Spec: RFC 9112 §6.3.

use std::net::SocketAddr;

use phase_core::fetch::{Pace, SILENCE_MAX};

use super::chunks::{Chunks, Piece};
use super::error::{Error, Problem};
use super::head::{Etag, Framing, Head};
use super::within;
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
#[derive(Debug)]
pub struct Response<S> {
    address: SocketAddr,
    stream: S,
    start: u64,
    etag: Option<Etag>,
    length: Option<u64>,
    rest: Rest,
    pace: Pace,
}

impl<S: Stream> Response<S> {
    pub(super) fn new(address: SocketAddr, stream: S, start: u64, head: Head) -> Self {
        let (length, rest) = match head.framing {
            Framing::Length(octets) => (Some(octets), Rest::Length(octets)),
            Framing::Chunked => (None, Rest::Chunked(Box::default())),
            Framing::Close => (None, Rest::Close),
        };
        Self {
            address,
            stream,
            start,
            etag: head.etag,
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

    /// Waits for octets of the body and shows some of them, at least one, to `take`, once. `None`: the body has ended.
    ///
    /// # Errors
    /// `Silent`, `Slow`, `Broken`, `Early`, `NotHttp`.
    pub async fn read_with<R>(
        &mut self,
        take: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, Error> {
        let address = self.address;
        self.read(take).await.map_err(|problem| Error { address, problem })
    }

    async fn read<R>(&mut self, take: impl FnOnce(&[u8]) -> R) -> Result<Option<R>, Problem> {
        let mut take = Some(take);
        loop {
            if self.rest.is_over() {
                return Ok(None);
            }
            let rest = &mut self.rest;
            let reading = self.stream.read_with(|octets| rest.split(octets, &mut take));
            let reading = async { reading.await.map_err(|_| Problem::Broken) };
            let Some(split) = within(SILENCE_MAX, "sending a body", reading).await? else {
                let ends = matches!(self.rest, Rest::Close);
                return if ends { Ok(None) } else { Err(Problem::Early) };
            };
            let (count, taken) = split?;
            let pace = self.pace.count(clock::now(), count);
            pace.map_err(|slow| Problem::Slow { octets: slow.octets })?;
            if taken.is_some() {
                return Ok(taken);
            }
        }
    }

    /// The whole body, of at most `limit` octets.
    ///
    /// # Errors
    /// As [`Response::read_with`], and `TooLong` as soon as the bound is passed.
    pub async fn read_all(mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let address = self.address;
        let too_long = || Error { address, problem: Problem::TooLong { limit: limit as u64 } };
        if self.length.is_some_and(|length| length > limit as u64) {
            return Err(too_long());
        }
        let mut all = Vec::new();
        loop {
            let fits = |octets: &[u8]| {
                let fits = octets.len() <= limit.saturating_sub(all.len());
                if fits {
                    all.extend_from_slice(octets);
                }
                fits
            };
            match self.read_with(fits).await? {
                Some(true) => {}
                Some(false) => return Err(too_long()),
                None => return Ok(all),
            }
        }
    }
}

/// How many octets of the connection were used, and what became of those of the body, if there were any.
type Split<R> = Result<(usize, Option<R>), Problem>;

impl Rest {
    const fn is_over(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.is_over(),
            Self::Close => false,
        }
    }

    /// Shows `take` the octets of the body that `octets` begin with.
    fn split<R>(
        &mut self,
        octets: &[u8],
        take: &mut Option<impl FnOnce(&[u8]) -> R>,
    ) -> (usize, Split<R>) {
        let piece = match self {
            Self::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(octets.len());
                *left = left.saturating_sub(count as u64);
                Piece::Data(count)
            }
            Self::Chunked(chunks) => match chunks.next(octets) {
                Ok(piece) => piece,
                Err(problem) => return (octets.len(), Err(problem)),
            },
            Self::Close => Piece::Data(octets.len()),
        };
        match piece {
            Piece::Between(count) => (count, Ok((count, None))),
            Piece::Data(count) => {
                let data = octets.get(..count).unwrap_or(octets);
                (count, Ok((count, take.take().map(|take| take(data)))))
            }
        }
    }
}
