//! One HTTP/1.1 GET at a time, for octets that nobody vouches for until they are verified.
//! Spec: RFC 9110 §14 (ranges), RFC 9112.
//!
//! Connects to one checked address and to no other: no redirects, no proxies, no cookies, no credentials, no
//! content codings. The head, silence and slowness are bounded. Every response has a connection of its own.
//! A body may come with a length, in chunks (a recipient has to know them, RFC 9112 §7.1), or up to the end of the
//! connection; what needs a length asks for it ([`Response::length`]).
//! Not here: `https` (what is fetched is verified by signature and digest), which responses fit a request
//! (`phase_core::fetch`).

mod body;
mod chunks;
mod error;
mod head;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use phase_core::fetch::{CONNECT_MAX, HEAD_WAIT};

pub use self::body::Response;
pub use self::error::{Error, Problem};
pub use self::head::{ETAG_MAX, Etag};
use crate::clock;
use crate::fetch::dial::{Dial, DialError, StreamError};

/// The longest wait for a network that went away: a cable that is plugged in elsewhere, and another lease.
const NETWORK_WAIT: Duration = Duration::from_secs(30);

/// A server at an address that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Where to connect.
    pub address: SocketAddr,
    /// What the `Host` header says: the URL's authority.
    pub authority: &'a str,
}

/// The part of a representation that is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct From<'a> {
    /// The first octet wanted.
    pub offset: u64,
    /// Only if the representation is still this one (a strong `ETag`); else the whole.
    pub etag: Option<&'a str>,
}

/// What is wrong with a connection that was waited on for so long; `step`: what for.
const fn problem_of(error: StreamError, step: &'static str, wait: Duration) -> Problem {
    match error {
        StreamError::Broken => Problem::Broken,
        StreamError::Silent => Problem::Silent { step, wait },
    }
}

impl Origin<'_> {
    /// Asks for `path`, from an offset on, and checks the head of the response.
    ///
    /// # Errors
    /// Every [`Problem`] except those of a body. Try the next address or provider.
    pub fn get(&self, dial: &dyn Dial, path: &str, from: From<'_>) -> Result<Response, Error> {
        let response = self.ask(dial, path, from);
        response.map_err(|problem| Error { address: self.address, problem })
    }

    fn ask(&self, dial: &dyn Dial, path: &str, from: From<'_>) -> Result<Response, Problem> {
        if !dial.wait_ready(clock::now() + NETWORK_WAIT) {
            return Err(Problem::Connect(DialError::NoRoute));
        }
        let mut stream =
            dial.dial(self.address, clock::now() + CONNECT_MAX).map_err(|error| match error {
                DialError::Silent => Problem::Silent { step: "connecting", wait: CONNECT_MAX },
                DialError::Refused
                | DialError::NoRoute
                | DialError::TimedOut
                | DialError::NoSocket => Problem::Connect(error),
            })?;
        let deadline = clock::now() + HEAD_WAIT;
        stream
            .write_all(self.request(path, from).as_bytes(), deadline)
            .map_err(head::problem_of)?;
        let head = head::read(&mut *stream, deadline)?;
        let start = head.check(from.offset)?;
        Ok(Response::new(self.address, stream, start, &head))
    }

    /// The request. Paths and authorities come from URLs of the closed profile and validators from a head that was parsed: none
    /// of them has a line end.
    fn request(&self, path: &str, from: From<'_>) -> String {
        let mut text = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nAccept-Encoding: identity\r\nConnection: close\r\n",
            self.authority,
            concat!("phase-boot/", env!("CARGO_PKG_VERSION")),
        );
        if from.offset > 0 {
            // Writing to a `String` does not fail.
            let _ = write!(text, "Range: bytes={}-\r\n", from.offset);
            if let Some(etag) = from.etag {
                let _ = write!(text, "If-Range: {etag}\r\n");
            }
        }
        text.push_str("\r\n");
        text
    }
}
