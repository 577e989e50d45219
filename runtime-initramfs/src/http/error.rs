//! What can go wrong with a response, by whose fault it is.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use phase_core::fetch::{self, HEAD_MAX, RATE_WINDOW};

use crate::fetch::dial::DialError;

/// Octets of a stranger's text that are shown.
const SHOWN_MAX: usize = 200;

/// Why a response could not be had from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The server.
    pub address: SocketAddr,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No connection.
    Connect(DialError),
    /// The server stayed silent.
    Silent {
        /// What was waited for.
        step: &'static str,
        /// How long.
        wait: Duration,
    },
    /// The server trickles.
    Slow {
        /// Octets within the window.
        octets: u64,
    },
    /// The connection broke.
    Broken,
    /// The connection ended inside the head or the body.
    Early,
    /// What came is not HTTP.
    NotHttp,
    /// Not 200, or not 206 where a range was asked for.
    Status(u16),
    /// A redirect, and where it points: followed, it would lead to an address that nobody checked.
    Redirect(String),
    /// A header contradicts the request or itself.
    Header {
        /// Which.
        name: &'static str,
        /// Its value, with control characters escaped.
        value: String,
    },
    /// A head that does not end where every honest one does.
    Head,
    /// A body longer than what was asked for.
    TooLong {
        /// The bound.
        limit: u64,
    },
}

impl Problem {
    /// Whether asking the same server again may help.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Silent { .. } | Self::Broken | Self::Early => true,
            Self::Status(status) => fetch::is_passing(*status),
            Self::Slow { .. }
            | Self::NotHttp
            | Self::Redirect(_)
            | Self::Header { .. }
            | Self::Head
            | Self::TooLong { .. } => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, problem } = self;
        match problem {
            Problem::Connect(error) => write!(f, "cannot connect to {address}: {error}"),
            Problem::Silent { step, wait } => {
                write!(f, "{address} sent nothing for {} s while {step}", wait.as_secs())
            }
            Problem::Slow { octets } => {
                write!(f, "{address} sent {octets} octets in {} s: too slow", RATE_WINDOW.as_secs())
            }
            Problem::Broken => write!(f, "the connection to {address} broke"),
            Problem::Early => write!(f, "{address} ended the connection too early"),
            Problem::NotHttp => write!(f, "{address} does not speak HTTP/1.1"),
            Problem::Status(status) => write!(f, "{address} answered {status}"),
            Problem::Redirect(location) => {
                write!(f, "{address} redirects to {location}; redirects are not followed")
            }
            Problem::Header { name, value } => {
                write!(f, "{address} sent a {name} that does not fit the request: {value}")
            }
            Problem::Head => write!(f, "{address} sent a head of more than {HEAD_MAX} octets"),
            Problem::TooLong { limit } => {
                write!(f, "{address} sent more than the {limit} octets expected")
            }
        }
    }
}

impl std::error::Error for Error {}

/// A server's octets for a person's eyes: no control characters, bounded.
pub(super) fn printable(octets: &[u8]) -> String {
    let mut text = String::new();
    for octet in octets.iter().take(SHOWN_MAX) {
        // Writing to a `String` does not fail.
        let _ = write!(text, "{}", octet.escape_ascii());
    }
    text
}
