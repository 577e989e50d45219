//! How a fetch reaches servers: whoever has a network gives it connections and resolves its names.
//! Not here: which addresses may be connected to, and time limits.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use embedded_io_async::Write;

/// Addresses of one name that are tried.
pub const ADDRESSES_MAX: usize = 8;

/// The addresses of a name.
pub type Addresses = heapless::Vec<IpAddr, ADDRESSES_MAX>;

/// Opens connections and resolves names.
#[expect(async_fn_in_trait, reason = "one thread runs everything: no future needs to be Send")]
pub trait Dial {
    /// A connection. Dropping it closes it.
    type Stream<'a>: Stream
    where
        Self: 'a;

    /// Waits until there is a network at all: a cable that was pulled is no fault of a server.
    async fn ready(&self);

    /// Connects to `remote` and to no other address. The scope of an IPv6 link-local address is the index of an
    /// interface; 0: any. The caller gives up when it takes too long.
    ///
    /// # Errors
    /// [`DialError`]; another address may do.
    async fn dial(&self, remote: SocketAddr) -> Result<Self::Stream<'_>, DialError>;

    /// The addresses of `host`, a lower-case name, in the order to try them.
    ///
    /// # Errors
    /// [`ResolveError`].
    async fn resolve(&self, host: &str) -> Result<Addresses, ResolveError>;
}

/// A connection: octets in order, both ways.
#[expect(async_fn_in_trait, reason = "one thread runs everything: no future needs to be Send")]
pub trait Stream: Write {
    /// Waits for octets and shows some of them, at least one, to `take`, where they lie; `take` says how many of
    /// them it took: the others come again. `None`: the peer has ended the stream in order, and `take` was not called.
    ///
    /// # Errors
    /// The connection broke.
    async fn read_with<R>(
        &mut self,
        take: impl FnOnce(&[u8]) -> (usize, R),
    ) -> Result<Option<R>, Self::Error>;
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
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "the connection was refused",
            Self::NoRoute => "no interface leads there",
            Self::TimedOut => "no answer",
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
    /// It took too long.
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
