//! A body in chunks, taken apart as it comes.
//! Spec: RFC 9112 §7.1. Extensions and trailers are not looked at: a trailer comes after the last octet that counts.

use httparse::{Status, parse_chunk_size};

use super::error::Problem;

/// Octets of a line with the length of a chunk, extensions included.
const LINE_MAX: usize = 256;

/// Where in the body the next octet is.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// Octets of the chunk that are still to come.
    left: u64,
    /// What has come of the line between two chunks.
    line: heapless::Vec<u8, LINE_MAX>,
    /// A chunk ended, and the line end behind it is to come.
    owes_line_end: bool,
    is_over: bool,
}

/// What some octets of the connection are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// So many octets of the body.
    Data(usize),
    /// So many octets between.
    Between(usize),
}

impl Chunks {
    /// Whether the last chunk was seen.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// What `octets`, at least one, begin with.
    pub(super) fn next(&mut self, octets: &[u8]) -> Result<Piece, Problem> {
        if self.left > 0 {
            let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(octets.len());
            self.left = self.left.saturating_sub(count as u64);
            self.owes_line_end = self.left == 0;
            return Ok(Piece::Data(count));
        }
        let end = octets.iter().position(|octet| *octet == b'\n');
        let taken = end.map_or(octets.len(), |end| end + 1);
        let part = octets.get(..taken).unwrap_or_default();
        self.line.extend_from_slice(part).map_err(|_| Problem::NotHttp)?;
        if end.is_some() {
            self.end_line()?;
            self.line.clear();
        }
        Ok(Piece::Between(taken))
    }

    fn end_line(&mut self) -> Result<(), Problem> {
        if self.owes_line_end {
            self.owes_line_end = false;
            return if self.line == b"\r\n" { Ok(()) } else { Err(Problem::NotHttp) };
        }
        // `parse_chunk_size` takes a line without digits for a length of 0.
        if !self.line.first().is_some_and(u8::is_ascii_hexdigit) {
            return Err(Problem::NotHttp);
        }
        match parse_chunk_size(&self.line) {
            Ok(Status::Complete((_, length))) => {
                self.left = length;
                self.is_over = length == 0;
                Ok(())
            }
            Ok(Status::Partial) | Err(_) => Err(Problem::NotHttp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body of `octets` when they come in pieces of `step`.
    fn body(octets: &[u8], step: usize) -> Result<Vec<u8>, Problem> {
        let (mut chunks, mut body) = (Chunks::default(), Vec::new());
        for mut piece in octets.chunks(step) {
            while !piece.is_empty() && !chunks.is_over() {
                let count = match chunks.next(piece)? {
                    Piece::Data(count) => {
                        body.extend_from_slice(&piece[..count]);
                        count
                    }
                    Piece::Between(count) => count,
                };
                piece = &piece[count..];
            }
        }
        if chunks.is_over() { Ok(body) } else { Err(Problem::Early) }
    }

    #[test]
    fn a_body_is_the_same_at_every_cut() {
        let octets = b"4\r\nWiki\r\n7;name=value\r\npedia i\r\nB\r\nn \r\nchunks.\r\n0\r\nTrailer: x\r\n\r\n";
        for step in 1..=octets.len() {
            assert_eq!(body(octets, step).unwrap(), b"Wikipedia in \r\nchunks.", "{step}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused_at_every_cut() {
        let long = [b"4;", &[b'x'; 300][..], b"\r\n"].concat();
        let cases: [&[u8]; 6] =
            [b"x\r\n", b"4\nWiki", b"4\r\nWikipedia\r\n", b"\r\n", b"11111111111111111\r\n", &long];
        for octets in cases {
            for step in 1..=octets.len() {
                assert_eq!(body(octets, step), Err(Problem::NotHttp), "{}", octets.escape_ascii());
            }
        }
    }
}
