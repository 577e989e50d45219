//! Why a connection or a request ends.

use core::fmt;

use super::{noise, yamux};
use crate::identity::PeerId;
use crate::stats::{Stats, count};

/// Why a connection has ended. Each reason has one counter in [`Stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error {
    /// What answers there does not speak libp2p: its octets are no multistream lines.
    NotLibp2p,
    /// The remote does not speak Noise.
    NoNoise,
    /// The remote does not speak Yamux.
    NoYamux,
    /// The remote proposes only what we do not speak.
    Proposals,
    /// The Noise handshake failed, or a message does not decrypt.
    Noise(noise::Error),
    /// Another peer answers at this address.
    WrongPeer {
        /// Who proved to be there.
        found: PeerId,
    },
    /// A Noise message is longer than the receive buffer.
    FrameTooLarge {
        /// Octets of the message.
        len: usize,
    },
    /// The remote's frames break the rules.
    Yamux(yamux::Error),
    /// The remote ends the session, with this code (`specs/yamux`: 0 is normal).
    GoAway(u32),
    /// The handshake did not end in time.
    HandshakeTimedOut,
    /// The remote takes no octets.
    Stuck,
    /// TCP ended, or could not be set up.
    Lost,
    /// We closed it.
    Closed,
}

impl Error {
    /// Counts this reason.
    pub(super) const fn count(&self, stats: &mut Stats) {
        match self {
            Self::NotLibp2p => count!(stats, connections_not_libp2p),
            Self::NoNoise | Self::NoYamux | Self::Proposals => count!(stats, connections_refused),
            Self::Noise(_) => count!(stats, connections_noise),
            Self::WrongPeer { .. } => count!(stats, connections_wrong_peer),
            Self::FrameTooLarge { .. } => count!(stats, connections_oversized),
            Self::Yamux(yamux::Error::Flood) => count!(stats, connections_flooded),
            Self::Yamux(yamux::Error::Window) => count!(stats, connections_window),
            Self::Yamux(
                yamux::Error::Header(_) | yamux::Error::StreamId | yamux::Error::Duplicate,
            ) => count!(stats, connections_yamux),
            Self::GoAway(_) => count!(stats, connections_gone_away),
            Self::HandshakeTimedOut => count!(stats, connections_timed_out),
            Self::Stuck => count!(stats, connections_stuck),
            Self::Lost => count!(stats, connections_lost),
            Self::Closed => count!(stats, connections_closed),
        }
    }
}

impl From<noise::Error> for Error {
    fn from(error: noise::Error) -> Self {
        Self::Noise(error)
    }
}

impl From<yamux::Error> for Error {
    fn from(error: yamux::Error) -> Self {
        Self::Yamux(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLibp2p => f.write_str("what answers there does not speak libp2p"),
            Self::NoNoise => f.write_str("the remote does not speak Noise (/noise)"),
            Self::NoYamux => f.write_str("the remote does not speak Yamux (/yamux/1.0.0)"),
            Self::Proposals => f.write_str("the remote speaks neither Noise nor Yamux"),
            Self::Noise(error) => write!(f, "Noise: {error}"),
            Self::WrongPeer { found } => write!(f, "another peer is there: {found}"),
            Self::FrameTooLarge { len } => {
                write!(f, "a Noise message of {len} octets does not fit the receive buffer")
            }
            Self::Yamux(error) => write!(f, "Yamux: {error}"),
            Self::GoAway(code) => write!(f, "the remote ended the session (code {code})"),
            Self::HandshakeTimedOut => f.write_str("the handshake did not end in time"),
            Self::Stuck => f.write_str("the remote takes no octets"),
            Self::Lost => f.write_str("the TCP connection ended"),
            Self::Closed => f.write_str("closed"),
        }
    }
}

impl core::error::Error for Error {}

/// Why a request has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StreamError {
    /// The response did not come in time.
    TimedOut,
    /// The remote reset the stream: it refuses the request.
    Reset,
    /// The remote ended the stream before the response was whole.
    Ended,
    /// The remote does not speak the protocol.
    Refused,
    /// The response is malformed.
    Malformed,
    /// More responses come at once than can be read.
    Busy,
    /// The connection has ended.
    Closed,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "no response in time",
            Self::Reset => "the remote refused the request",
            Self::Ended => "the remote ended the stream before its response",
            Self::Refused => "the remote does not speak the protocol",
            Self::Malformed => "the response is malformed",
            Self::Busy => "too many responses at once",
            Self::Closed => "the connection has ended",
        })
    }
}

impl core::error::Error for StreamError {}

/// The connection cannot take another request: too many are in progress, or the octets of others are still on
/// their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NoRoom;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection has no room for another request")
    }
}

impl core::error::Error for NoRoom {}
