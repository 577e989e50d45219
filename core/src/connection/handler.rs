//! What a connection tells its owner, and what it asks.

use core::fmt;

use super::error::{Error, StreamError};
use crate::identity::PeerId;
use crate::stats::Stats;
use crate::wire::cursor::Writer;
use crate::wire::identify::Identified;
use crate::wire::kad;
use crate::wire::multistream::Line;

/// Names a request, for its owner. Tags of one connection that are in progress differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Tag(pub u32);

/// Under which name a peer speaks Kademlia. None of it is zero, so that zero is no name in an `Option`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum KadProtocol {
    /// `/phase/kad/1.0.0`, this project's network.
    Phase = 1,
    /// `/ipfs/kad/1.0.0`, what libp2p's implementations speak unless told otherwise.
    Ipfs = 2,
}

impl KadProtocol {
    pub(super) const fn line(self) -> Line {
        match self {
            Self::Phase => Line::PhaseKad,
            Self::Ipfs => Line::IpfsKad,
        }
    }
}

impl fmt::Display for KadProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line().fmt(f)
    }
}

/// What becomes of a remote's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The response was written.
    Reply,
    /// There is no response to this request; what was written is dropped.
    Nothing,
    /// The request is refused: its stream is reset, as every implementation does.
    Reset,
}

/// The owner of a connection, as the connection sees it.
pub trait Handler {
    /// Where the connection counts.
    fn stats(&mut self) -> &mut Stats;

    /// Whether this can be a side that remotes connect to, or that answers their requests. Where no handler is, the
    /// compiler leaves out what only such a side does: half of the handshake, and the requests.
    fn is_server(&self) -> bool {
        true
    }

    /// Whether the remote's Kademlia requests are answered at all: a client refuses the protocol.
    fn serves_kad(&self) -> bool;

    /// Whether they are answered under this name.
    fn serves(&self, _: KadProtocol) -> bool {
        self.serves_kad()
    }

    /// The remote has proved to be `peer`.
    fn established(&mut self, peer: &PeerId);

    /// Answers a request of the remote by writing a whole response, its length prefix included, to `out`.
    /// There is room for half the connection's output buffer. Called once for each request.
    fn answer(&mut self, peer: &PeerId, request: kad::Request<'_>, out: &mut Writer<'_>) -> Answer;

    /// The request `tag` once more, to be sent under another protocol: the remote speaks only that. `None` when it
    /// is not wanted any more; it fails then.
    fn request(&mut self, tag: Tag) -> Option<kad::Request<'_>>;

    /// A part of the response to the request `tag`; the last one is [`kad::Part::End`].
    fn part(&mut self, peer: &PeerId, tag: Tag, part: kad::Part<'_>);

    /// The request `tag` has failed: no part of its response comes any more.
    fn failed(&mut self, tag: Tag, why: StreamError);

    /// Whether remotes may be asked what they are; where no handler does, the compiler leaves out how.
    fn identifies(&self) -> bool {
        true
    }

    /// The remote says what it is.
    fn identified(&mut self, peer: &PeerId, identified: &Identified);

    /// Writes what we are to `out`: an identify message without its length prefix. There is room for half the
    /// connection's output buffer.
    fn identify(&mut self, out: &mut Writer<'_>);

    /// The connection has ended. Every request in progress was told to have failed before. What
    /// [`Connection::poll_send`](super::Connection::poll_send) still gives may be sent.
    fn closed(&mut self, why: Error);
}
