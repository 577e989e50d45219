//! One stream: its negotiation, what runs on it, and what it owes the remote.
//! Spec: libp2p `specs/yamux`, `specs/connections#multistream-select`, `specs/ping`, `specs/identify`.
//!
//! A stream keeps no octets. What it has to send is noted as a debt and written when there is room
//! ([`super::flush`]), so that a negotiation, its acknowledgement and the answer leave in one frame.

use super::handler::{KadProtocol, Tag};
use crate::time::{Deadline, Instant};
use crate::wire::multistream::{Line, LineReader};
use crate::wire::varint::{Form, Partial};
use crate::wire::yamux::INITIAL_WINDOW;

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The remote has not said yet.
    Unknown,
    /// The remote pings us.
    Ping,
    /// The remote asks what we are.
    Identify,
    /// The remote asks for records and peers.
    Serve(KadProtocol),
    /// We ask whether the remote speaks `/phase/kad/1.0.0`, and nothing else.
    Probe,
    /// A request of ours.
    Request { tag: Tag, protocol: KadProtocol, answered: Answered },
    /// We ask what the remote is.
    Whois,
}

/// When a request of ours is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// When its response is whole.
    Response,
    /// When the remote has taken the protocol: there is no response.
    Accepted,
}

/// What the next octet of the remote belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// Octets that nobody reads: after a refusal the remote may have sent more.
    Ignored,
    /// The line that both sides begin with.
    Header(LineReader),
    /// A proposal of the remote, or its answer to ours.
    Protocol(LineReader),
    /// The length of a message.
    Prefix(Partial),
    /// A message, of which so many octets are to come.
    Body { left: u32 },
    /// A request is whole and waits for room for its answer.
    Waiting,
    /// Octets that are sent back.
    Echo,
    /// The remote refused the request's protocol; it is sent again once it is known to speak the other.
    Parked,
}

impl Stage {
    pub(super) const fn header() -> Self {
        Self::Header(LineReader::new())
    }

    pub(super) const fn protocol() -> Self {
        Self::Protocol(LineReader::new())
    }

    pub(super) const fn prefix() -> Self {
        Self::Prefix(Partial::new(Form::Strict))
    }
}

/// What a stream has still to send, besides answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Debts(u8);

impl Debts {
    /// That we take the stream.
    pub(super) const ACK: Self = Self(1);
    /// The line that both sides begin with.
    pub(super) const HEADER: Self = Self(1 << 1);
    /// The line of the protocol that we take.
    pub(super) const PROTOCOL: Self = Self(1 << 2);
    /// Our identify message.
    pub(super) const IDENTIFY: Self = Self(1 << 3);
    /// More window.
    pub(super) const WINDOW: Self = Self(1 << 4);
    /// That we send nothing more; the stream is free afterwards.
    pub(super) const FIN: Self = Self(1 << 5);
    /// That the stream is gone; it is free afterwards.
    pub(super) const RST: Self = Self(1 << 6);

    pub(super) const fn has(self, debt: Self) -> bool {
        self.0 & debt.0 != 0
    }

    pub(super) const fn add(&mut self, debt: Self) {
        self.0 |= debt.0;
    }

    pub(super) const fn clear(&mut self, debt: Self) {
        self.0 &= !debt.0;
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// A stream, or a place for one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    /// Its number; 0: there is none.
    pub(super) id: u32,
    /// Octets that we may send.
    pub(super) send_window: u32,
    /// Octets of the window that the remote has used.
    pub(super) received: u32,
    pub(super) purpose: Purpose,
    pub(super) stage: Stage,
    pub(super) debts: Debts,
    /// Refusals to send before the protocol that we take.
    pub(super) refusals: u8,
    /// Whether anything was refused: what follows may be no negotiation.
    pub(super) refused: bool,
    /// Which assembler its message is in.
    pub(super) assembler: Option<u8>,
    pub(super) remote_finished: bool,
    /// Whether FIN or RST is owed or sent: when nothing is owed any more, the stream is free.
    pub(super) is_ended: bool,
    pub(super) deadline: Deadline,
}

impl Stream {
    pub(super) const FREE: Self = Self {
        id: 0,
        send_window: 0,
        received: 0,
        purpose: Purpose::Unknown,
        stage: Stage::Ignored,
        debts: Debts(0),
        refusals: 0,
        refused: false,
        assembler: None,
        remote_finished: false,
        is_ended: false,
        deadline: Deadline::NONE,
    };

    /// A stream that the remote opens.
    pub(super) const fn accepted(id: u32, deadline: Instant) -> Self {
        let mut stream = Self::FREE;
        stream.id = id;
        stream.send_window = INITIAL_WINDOW;
        stream.stage = Stage::header();
        stream.debts = Debts::ACK;
        stream.deadline = Deadline::new(deadline);
        stream
    }

    /// A stream that we open.
    pub(super) fn opened(id: u32, purpose: Purpose, deadline: Deadline) -> Self {
        let (send_window, stage) = (INITIAL_WINDOW, Stage::header());
        Self { id, send_window, purpose, deadline, stage, ..Self::FREE }
    }

    /// Notes that `len` octets of data were sent.
    pub(super) fn has_sent(&mut self, len: usize) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.send_window = self.send_window.saturating_sub(len);
    }

    /// Whether its request waits to be sent under another protocol.
    pub(super) const fn is_parked(&self) -> bool {
        matches!(self.stage, Stage::Parked)
    }

    pub(super) const fn is_free(&self) -> bool {
        self.id == 0
    }

    /// Whether we opened it.
    pub(super) const fn is_ours(&self) -> bool {
        matches!(self.purpose, Purpose::Probe | Purpose::Request { .. } | Purpose::Whois)
    }

    /// The tag of a request of ours that has not ended.
    pub(super) const fn tag(&self) -> Option<Tag> {
        match self.purpose {
            Purpose::Request { tag, .. } => Some(tag),
            Purpose::Unknown
            | Purpose::Ping
            | Purpose::Identify
            | Purpose::Serve(_)
            | Purpose::Probe
            | Purpose::Whois => None,
        }
    }

    /// What a stream of ours proposes.
    pub(super) const fn proposed(&self) -> Line {
        match self.purpose {
            Purpose::Probe => Line::PhaseKad,
            Purpose::Request { protocol, .. } => protocol.line(),
            Purpose::Unknown
            | Purpose::Ping
            | Purpose::Identify
            | Purpose::Serve(_)
            | Purpose::Whois => Line::Identify,
        }
    }

    /// Resets a stream whose protocol was refused, and keeps its request.
    pub(super) const fn park(&mut self) {
        self.debts = Debts::RST;
        self.stage = Stage::Parked;
    }

    /// Resets the stream: nothing but that is sent on it, and nothing on it is read.
    pub(super) const fn reset(&mut self) {
        self.debts = Debts::RST;
        self.refusals = 0;
        self.quit();
    }

    /// Ends the stream behind what it owes; nothing on it is read.
    pub(super) const fn finish(&mut self) {
        self.debts.add(Debts::FIN);
        self.stage = Stage::Ignored;
        self.is_ended = true;
        self.deadline = Deadline::NONE;
        if self.is_ours() {
            self.purpose = Purpose::Unknown;
        }
    }

    const fn quit(&mut self) {
        self.stage = Stage::Ignored;
        self.purpose = Purpose::Unknown;
        self.is_ended = true;
        self.deadline = Deadline::NONE;
    }
}
