//! How a fetch reaches servers: whoever has a network gives it connections and resolves its names.
//! Everything here waits, until a deadline at the latest.
//! Not here: which addresses may be connected to, and how long is waited.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use phase_core::time::Instant;

/// Opens connections and resolves names.
pub trait Dial {
    /// Waits until there is a network at all, and says whether there is: a cable that was pulled is no fault of a server.
    fn wait_ready(&self, deadline: Instant) -> bool;

    /// Connects to `remote` and to no other address. The scope of an IPv6 link-local address is the index of an
    /// interface; 0: any.
    ///
    /// # Errors
    /// [`DialError`]; another address may do.
    fn dial(&self, remote: SocketAddr, deadline: Instant) -> Result<Box<dyn Stream>, DialError>;

    /// The addresses of `host`, a lower-case name, in the order to try them: a few.
    ///
    /// # Errors
    /// [`ResolveError`].
    fn resolve(&self, host: &str, deadline: Instant) -> Result<Vec<IpAddr>, ResolveError>;
}

/// A connection: octets in order, both ways. Dropping it closes it.
pub trait Stream {
    /// Sends all of `octets`, or at least puts them where they will be sent from.
    ///
    /// # Errors
    /// [`StreamError`].
    fn write_all(&mut self, octets: &[u8], deadline: Instant) -> Result<(), StreamError>;

    /// Waits for octets and shows some of them, at least one, to `take`, once and where they lie; `take` says how many of
    /// them it took: the others come again. `false`: the peer has ended the stream in order, and `take` was not called.
    ///
    /// # Errors
    /// [`StreamError`]; `take` was not called.
    fn read_with(
        &mut self,
        deadline: Instant,
        take: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Result<bool, StreamError>;
}

/// Why a connection is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// It broke.
    Broken,
    /// The deadline has passed.
    Silent,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialError {
    /// Nobody listens there, or a firewall says so.
    Refused,
    /// No interface leads there.
    NoRoute,
    /// No answer.
    TimedOut,
    /// Every socket is in use.
    NoSocket,
    /// The deadline has passed.
    Silent,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "the connection was refused",
            Self::NoRoute => "no interface leads there",
            Self::TimedOut | Self::Silent => "no answer",
            Self::NoSocket => "every socket is in use",
        })
    }
}

impl std::error::Error for DialError {}

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolveError {
    /// No name server is known.
    NoServer,
    /// No name server knows an address of it.
    NoAddress,
    /// The deadline has passed.
    Silent,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoServer => "no name server is known",
            Self::NoAddress => "no name server knows an address of it",
            Self::Silent => "the name servers do not answer",
        })
    }
}

impl std::error::Error for ResolveError {}
