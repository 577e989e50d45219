//! The head of a response: read octet for octet up to its end and no further, then checked.
//! Spec: RFC 9112 §4, §5, §6.3 (the length of a body). Not here: the body.

use heapless::String as Text;
use httparse::{EMPTY_HEADER, Status};
use phase_core::fetch::{
    self, HEAD_MAX, HEAD_WAIT, Misfit, body_start, content_length, is_strong_etag,
};
use phase_core::time::Instant;

use super::error::{Problem, printable};
use crate::fetch::dial::{Stream, StreamError};

/// Header fields of one head.
const FIELDS_MAX: usize = 64;

/// Octets of an `ETag` that is remembered; a longer one guards no range.
pub const ETAG_MAX: usize = 128;

/// A strong `ETag`.
pub type Etag = Text<ETAG_MAX>;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many octets.
    Length(u64),
    /// In chunks, the last of which is empty.
    Chunked,
    /// With the connection.
    Close,
}

/// What a head says, as far as it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    status: u16,
    coding: Option<String>,
    range: Option<String>,
    location: Option<String>,
    pub(super) etag: Option<Etag>,
    pub(super) framing: Framing,
}

impl Head {
    /// The offset of the body's first octet, where `asked` is the one that was asked for.
    pub(super) fn check(&self, asked: u64) -> Result<u64, Problem> {
        let octets = |value| Option::map(value, str::as_bytes);
        let (coding, range) = (octets(self.coding.as_deref()), octets(self.range.as_deref()));
        let head = fetch::Head { status: self.status, coding, range };
        let shown =
            |value: &Option<String>, or: &str| value.clone().unwrap_or_else(|| or.to_owned());
        body_start(asked, &head).map_err(|misfit| match misfit {
            Misfit::Coding => {
                Problem::Header { name: "Content-Encoding", value: shown(&self.coding, "absent") }
            }
            Misfit::Range => {
                Problem::Header { name: "Content-Range", value: shown(&self.range, "absent") }
            }
            Misfit::Redirect => Problem::Redirect(shown(&self.location, "nowhere")),
            Misfit::Status => Problem::Status(self.status),
        })
    }
}

/// What is wrong with a connection on which a head was waited for.
pub(super) const fn problem_of(error: StreamError) -> Problem {
    super::problem_of(error, "its answer was waited for", HEAD_WAIT)
}

/// Reads one head; what follows it stays in the stream.
pub(super) fn read(stream: &mut dyn Stream, deadline: Instant) -> Result<Box<Head>, Problem> {
    let mut head = Vec::with_capacity(1024);
    let mut room = HEAD_MAX;
    loop {
        let mut parsed = Ok(None);
        let mut taking = |octets: &[u8]| {
            let (taken, what) = take(&mut head, &mut room, octets);
            parsed = what;
            taken
        };
        if !stream.read_with(deadline, &mut taking).map_err(problem_of)? {
            return Err(Problem::Early);
        }
        match parsed? {
            // RFC 9110 §15.2: an interim response precedes the one that was asked for.
            Some(parsed) if matches!(parsed.status, 100 | 102..=199) => head.clear(),
            Some(parsed) => return Ok(parsed),
            None if room == 0 => return Err(Problem::Head),
            None => {}
        }
    }
}

/// Adds what came to `head`, but nothing behind its end; says how many octets of it belong to the head.
fn take(
    head: &mut Vec<u8>,
    room: &mut usize,
    octets: &[u8],
) -> (usize, Result<Option<Box<Head>>, Problem>) {
    let before = head.len();
    let octets = octets.get(..*room).unwrap_or(octets);
    head.extend_from_slice(octets);
    let (taken, parsed) = match parse(head) {
        Ok(Some((end, parsed))) => (end.saturating_sub(before), Ok(Some(parsed))),
        Ok(None) => (octets.len(), Ok(None)),
        Err(problem) => (octets.len(), Err(problem)),
    };
    *room = room.saturating_sub(taken);
    (taken, parsed)
}

/// The head that `octets` begin with and where it ends, when all of it is there.
fn parse(octets: &[u8]) -> Result<Option<(usize, Box<Head>)>, Problem> {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let end = match response.parse(octets) {
        Ok(Status::Complete(end)) => end,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Problem::Head),
        Err(_) => return Err(Problem::NotHttp),
    };
    let fields: &[httparse::Header<'_>] = response.headers;
    let field = |name: &str| values(fields, name).next();
    let shown = |name: &str| field(name).map(printable);
    let etag = field("etag").filter(|value| is_strong_etag(value));
    let etag = etag.and_then(|value| std::str::from_utf8(value).ok()?.try_into().ok());
    let head = Box::new(Head {
        status: response.code.unwrap_or(0),
        coding: shown("content-encoding"),
        range: shown("content-range"),
        location: shown("location"),
        etag,
        framing: framing(fields)?,
    });
    Ok(Some((end, head)))
}

/// The values of a field, in their order.
fn values<'h>(fields: &'h [httparse::Header<'_>], name: &str) -> impl Iterator<Item = &'h [u8]> {
    fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name))
        .map(|field| field.value)
}

/// RFC 9112 §6.3. Two lengths, or a length beside a transfer coding, are signs of an attack or a fault.
fn framing(fields: &[httparse::Header<'_>]) -> Result<Framing, Problem> {
    let refuse = |name, value| Err(Problem::Header { name, value: printable(value) });
    let mut codings = values(fields, "transfer-encoding");
    let mut lengths = values(fields, "content-length");
    match (codings.next(), lengths.next()) {
        (Some(coding), None) => {
            let chunked = coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
            if chunked { Ok(Framing::Chunked) } else { refuse("Transfer-Encoding", coding) }
        }
        (Some(_), Some(length)) => refuse("Content-Length", length),
        (None, Some(length)) => match content_length(length) {
            Some(octets) if lengths.all(|other| other == length) => Ok(Framing::Length(octets)),
            Some(_) | None => refuse("Content-Length", length),
        },
        (None, None) => Ok(Framing::Close),
    }
}
