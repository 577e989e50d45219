//! Brings one artifact from one server into its part: resumes where a connection broke, stops where the signed size
//! ends. Octets go from the receive buffer into the part, and nowhere between.
//! Spec: RFC 9110 §14.2 (Range), §13.1.5 (If-Range). Not here: the choice of the server.

use std::fmt;
use std::io;

use phase_core::fetch::part::{Body, Unfit};
use phase_core::fetch::{PAUSE, Tries};

use super::dial::Dial;
use super::part::Part;
use crate::executor;
use crate::http::{self, Etag, From, Origin, Response};

/// Why an artifact could not be brought.
#[derive(Debug)]
pub enum Error {
    /// The server; another may do.
    Http(http::Error),
    /// The server has another artifact under this name, or does not say how long it is; another may do.
    Unfit(Unfit),
    /// This machine; no other server helps.
    Write(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(error) => error.fmt(f),
            Self::Unfit(Unfit::Size { announced, signed }) => {
                write!(f, "it has {announced} octets there, the manifest says {signed}")
            }
            Self::Unfit(Unfit::NoLength) => f.write_str("the server does not say how long it is"),
            Self::Write(error) => write!(f, "cannot write: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl std::convert::From<http::Error> for Error {
    fn from(error: http::Error) -> Self {
        Self::Http(error)
    }
}

impl std::convert::From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// What can happen on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// So many octets are here.
    Here(u64),
    /// The download broke after so many octets and goes on from there.
    Broke(u64),
}

/// Brings what is missing of `part`. `watch` is told what happens.
///
/// # Errors
/// [`Error`]; what came before it stays in the part.
pub fn fill(
    dial: &dyn Dial,
    origin: Origin<'_>,
    path: &str,
    part: &mut Part,
    watch: &mut dyn FnMut(Event),
) -> Result<(), Error> {
    let mut etag: Option<Etag> = None;
    let mut tries = Tries::default();
    while part.tally().missing() > 0 {
        let before = part.tally().here();
        let from = From { offset: before, etag: etag.as_deref() };
        let response = origin.get(dial, path, from);
        let outcome = match response {
            Ok(response) => receive(response, part, &mut etag, watch),
            Err(error) => Err(error.into()),
        };
        let error = match outcome {
            Ok(()) => continue,
            Err(Error::Http(error)) if error.problem.is_passing() => error,
            Err(error) => return Err(error),
        };
        if !tries.go_on(part.tally().here() > before) {
            return Err(error.into());
        }
        watch(Event::Broke(part.tally().here()));
        executor::sleep(PAUSE);
    }
    Ok(())
}

/// One body, up to the end of the part.
fn receive(
    mut response: Response,
    part: &mut Part,
    etag: &mut Option<Etag>,
    watch: &mut dyn FnMut(Event),
) -> Result<(), Error> {
    match part.tally().check_body(response.start(), response.length()).map_err(Error::Unfit)? {
        Body::Rest => {}
        Body::Whole => part.restart()?,
    }
    *etag = response.etag().cloned();
    // The body ends with the part: their lengths were compared.
    let mut appended = Ok(());
    while response.read_with(&mut |octets| appended = part.append(octets))? {
        std::mem::replace(&mut appended, Ok(()))?;
        watch(Event::Here(part.tally().here()));
    }
    Ok(())
}
