//! How a connection ended, and what that means to those who wait for something on it.

use super::Why;
use crate::connection;
use crate::machine::CloseReason;

/// How a connection ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// By the other side, or on the way.
    Remote(CloseReason),
    /// By a breach of the rules.
    Error(connection::Error),
    /// By us: it was idle.
    Ours,
}

impl End {
    pub(super) const fn before_handshake(self) -> Why {
        match self {
            Self::Remote(reason) => Why::Tcp(reason),
            Self::Error(error) => Why::Connection(error),
            Self::Ours => Why::Tcp(CloseReason::Ended),
        }
    }

    pub(super) const fn after_handshake(self) -> Why {
        match self {
            Self::Remote(reason) => Why::Lost(reason),
            Self::Error(error) => Why::Connection(error),
            Self::Ours => Why::Lost(CloseReason::Ended),
        }
    }
}
