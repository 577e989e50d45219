//! From TCP to streams: the phases of a connection, one after the other.
//! Spec: libp2p `specs/connections#multistream-select`, `specs/noise`,
//! `specs/connections/inlined-muxer-negotiation`.

use zeroize::Zeroizing;

use super::error::Error;
use super::handler::Handler;
use super::mux::Context;
use super::noise::{self, Established, Identity, Initiator, Responder};
use super::{Connection, HANDSHAKE_TIMEOUT, REQUEST_TIMEOUT};
use crate::identity::PeerId;
use crate::limits::CONNECTION_PROPOSALS;
use crate::time::{Deadline, Instant};
use crate::wire::multistream::{Line, LineReader, Read};
use crate::wire::noise::{FRAME_HEAD_LEN, message_len};

/// How far a connection is.
// Numbered by an octet of its own, so that zero is the first: see `Connection::new`.
#[repr(u8)]
pub(super) enum Phase {
    /// There is none.
    Vacant,
    /// The dialer has proposed Noise and sent its first message.
    Proposed { lines: Lines, initiator: Initiator },
    /// The dialer waits for the second message.
    Initiated(Initiator),
    /// The listener waits for a proposal.
    Asked { lines: Lines, ephemeral: Zeroizing<[u8; 32]> },
    /// The listener waits for the first message.
    Listening { ephemeral: Zeroizing<[u8; 32]> },
    /// The listener has answered and waits for the third message.
    Responded(Responder),
    /// The dialer has proposed Yamux.
    Muxing(Lines),
    /// The listener waits for a proposal of a muxer.
    MuxAsked(Lines),
    /// Streams.
    Open,
    /// It has ended.
    Closed,
}

impl core::fmt::Debug for Phase {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Vacant => "vacant",
            Self::Proposed { .. } | Self::Asked { .. } => "chooses Noise",
            Self::Initiated(_) | Self::Listening { .. } | Self::Responded(_) => "shakes hands",
            Self::Muxing(_) | Self::MuxAsked(_) => "chooses Yamux",
            Self::Open => "open",
            Self::Closed => "closed",
        })
    }
}

impl Phase {
    /// Whether this is a dialer's handshake.
    pub(super) const fn is_dialing(&self) -> bool {
        match self {
            Self::Proposed { .. } | Self::Initiated(_) | Self::Muxing(_) => true,
            Self::Vacant
            | Self::Asked { .. }
            | Self::Listening { .. }
            | Self::Responded(_)
            | Self::MuxAsked(_)
            | Self::Open
            | Self::Closed => false,
        }
    }
}

/// A negotiation of the whole connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    reader: LineReader,
    /// Whether the remote's first line was seen.
    begun: bool,
    refused: u8,
}

/// What a line of the remote means.
enum Step {
    /// More lines must come.
    Pending,
    /// The remote's first line.
    Begun,
    /// What is wanted: the remote proposes it, or takes our proposal.
    Agreed,
    /// Anything else.
    Other(Read),
}

impl Lines {
    const NEW: Self = Self { reader: LineReader::new(), begun: false, refused: 0 };

    /// Takes octets up to the end of a line.
    fn step(&mut self, octets: &mut &[u8], wanted: Line) -> Result<Step, Error> {
        let (taken, read) = self.reader.feed(octets).map_err(|_| Error::NotLibp2p)?;
        *octets = octets.get(taken..).unwrap_or_default();
        match read {
            Read::Pending if !self.begun && !self.reader.may_be(Line::Multistream) => {
                // Waiting for the end of a line that is none would hide what is wrong until the timeout.
                Err(Error::NotLibp2p)
            }
            Read::Pending => Ok(Step::Pending),
            Read::Line(Line::Multistream) if !self.begun => {
                self.begun = true;
                Ok(Step::Begun)
            }
            _ if !self.begun => Err(Error::NotLibp2p),
            Read::Line(line) if line == wanted => Ok(Step::Agreed),
            read @ (Read::Line(_) | Read::Unknown) => Ok(Step::Other(read)),
        }
    }

    /// As dialer: whether the remote takes `wanted`.
    fn reply(&mut self, octets: &mut &[u8], wanted: Line, refused: Error) -> Result<bool, Error> {
        match self.step(octets, wanted)? {
            Step::Agreed => Ok(true),
            Step::Pending | Step::Begun => Ok(false),
            Step::Other(Read::Line(Line::Na)) => Err(refused),
            Step::Other(_) => Err(Error::NotLibp2p),
        }
    }

    /// As listener: the line to answer with, and whether `wanted` is agreed on by it.
    fn proposal(
        &mut self,
        octets: &mut &[u8],
        wanted: Line,
    ) -> Result<Option<(Line, bool)>, Error> {
        match self.step(octets, wanted)? {
            Step::Pending => Ok(None),
            Step::Begun => Ok(Some((Line::Multistream, false))),
            Step::Agreed => Ok(Some((wanted, true))),
            Step::Other(_) if self.refused >= CONNECTION_PROPOSALS => Err(Error::Proposals),
            Step::Other(_) => {
                self.refused = self.refused.saturating_add(1);
                Ok(Some((Line::Na, false)))
            }
        }
    }
}

impl<const RX: usize, const TX: usize, const A: usize> Connection<RX, TX, A> {
    pub(super) fn begin_dialer(&mut self, ephemeral: [u8; 32]) {
        let mut initiator = None;
        // The room for the handshake is larger than both flights.
        let _ = self.mux.outgoing.ready(|w| {
            Line::Multistream.encode(w);
            Line::Noise.encode(w);
            initiator = Some(Initiator::new(ephemeral, w));
        });
        self.phase = initiator
            .map_or(Phase::Closed, |initiator| Phase::Proposed { lines: Lines::NEW, initiator });
    }

    pub(super) fn begin_listener(&mut self, ephemeral: [u8; 32]) {
        self.phase = Phase::Asked { lines: Lines::NEW, ephemeral: Zeroizing::new(ephemeral) };
    }

    /// Takes octets from TCP, phase by phase.
    pub(super) fn take(
        &mut self,
        now: Instant,
        mut octets: &[u8],
        identity: &Identity,
        handler: &mut impl Handler,
    ) -> Result<(), Error> {
        while !octets.is_empty() {
            match &mut self.phase {
                Phase::Asked { .. } if handler.is_server() => self.noise_proposal(&mut octets)?,
                Phase::Vacant | Phase::Asked { .. } | Phase::Closed => return Ok(()),
                Phase::Proposed { .. } => self.noise_reply(&mut octets)?,
                Phase::Initiated(_)
                | Phase::Listening { .. }
                | Phase::Responded(_)
                | Phase::Muxing(_)
                | Phase::MuxAsked(_)
                | Phase::Open => {
                    if let Some(end) = self.receive_frame(&mut octets)? {
                        self.message(now, end, identity, handler)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// As dialer, sees whether the remote takes Noise.
    fn noise_reply(&mut self, octets: &mut &[u8]) -> Result<(), Error> {
        if let Phase::Proposed { lines, .. } = &mut self.phase
            && lines.reply(octets, Line::Noise, Error::NoNoise)?
            && let Phase::Proposed { initiator, .. } =
                core::mem::replace(&mut self.phase, Phase::Closed)
        {
            self.phase = Phase::Initiated(initiator);
        }
        Ok(())
    }

    /// As listener, answers a proposal in the clear.
    fn noise_proposal(&mut self, octets: &mut &[u8]) -> Result<(), Error> {
        if let Phase::Asked { lines, ephemeral } = &mut self.phase
            && let Some((line, agreed)) = lines.proposal(octets, Line::Noise)?
        {
            // The room for the handshake is larger than all the lines that are answered.
            let _ = self.mux.outgoing.ready(|w| line.encode(w));
            if agreed {
                self.phase = Phase::Listening { ephemeral: ephemeral.clone() };
            }
        }
        Ok(())
    }

    /// Takes octets up to the end of a Noise frame; where the frame ends in the buffer, when it is whole.
    fn receive_frame(&mut self, octets: &mut &[u8]) -> Result<Option<usize>, Error> {
        if self.received < FRAME_HEAD_LEN {
            self.fill(octets, FRAME_HEAD_LEN);
        }
        let Some(head) = self.rx.first_chunk().filter(|_| self.received >= FRAME_HEAD_LEN) else {
            return Ok(None);
        };
        let len = message_len(*head);
        let end = len.saturating_add(FRAME_HEAD_LEN);
        if end > RX {
            return Err(Error::FrameTooLarge { len });
        }
        self.fill(octets, end);
        if self.received < end {
            return Ok(None);
        }
        self.received = 0;
        Ok(Some(end))
    }

    /// Takes octets until `end` of the buffer is reached.
    fn fill(&mut self, octets: &mut &[u8], end: usize) {
        let room = self.rx.get_mut(self.received..end).unwrap_or_default();
        let len = room.len().min(octets.len());
        if let (Some(room), Some((taken, rest))) =
            (room.get_mut(..len), octets.split_at_checked(len))
        {
            room.copy_from_slice(taken);
            *octets = rest;
            self.received = self.received.saturating_add(len);
        }
    }

    /// Takes a whole Noise message, which ends at `end` of the buffer.
    fn message(
        &mut self,
        now: Instant,
        end: usize,
        identity: &Identity,
        handler: &mut impl Handler,
    ) -> Result<(), Error> {
        let message = self.rx.get_mut(FRAME_HEAD_LEN..end).unwrap_or_default();
        let out = &mut self.mux.outgoing;
        match core::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Initiated(initiator) => {
                let mut finished = Err(noise::Error::Room);
                // Nothing of the third message leaves when the remote is another peer: it would learn who we are.
                let fits = out.ready_if(|w| {
                    finished = initiator.finish(identity, message, w);
                    finished.as_ref().is_ok_and(|it| is_expected(self.expected, &it.remote).is_ok())
                });
                let established = finished?;
                is_expected(self.expected, &established.remote)?;
                if !fits {
                    return Err(noise::Error::Room.into());
                }
                self.initiated(now, established, handler);
            }
            Phase::Listening { ephemeral } if handler.is_server() => {
                let mut responder = Err(noise::Error::Room);
                let fits =
                    out.ready(|w| responder = Responder::new(identity, *ephemeral, message, w));
                let responder = responder?;
                if !fits {
                    return Err(noise::Error::Room.into());
                }
                self.phase = Phase::Responded(responder);
            }
            Phase::Responded(responder) if handler.is_server() => {
                let established = responder.finish(message)?;
                self.responded(now, established, handler);
            }
            phase @ (Phase::Vacant
            | Phase::Proposed { .. }
            | Phase::Asked { .. }
            | Phase::Listening { .. }
            | Phase::Responded(_)
            | Phase::Muxing(_)
            | Phase::MuxAsked(_)
            | Phase::Open
            | Phase::Closed) => {
                self.phase = phase;
                self.decrypt(now, end, handler)?;
            }
        }
        Ok(())
    }

    /// The dialer's handshake has ended.
    fn initiated(&mut self, now: Instant, established: Established, handler: &mut impl Handler) {
        let early = established.early_muxer;
        self.mux.outgoing.end_handshake(|w| {
            if !early {
                Line::Multistream.encode(w);
                Line::Yamux.encode(w);
            }
        });
        self.phase = if early { Phase::Open } else { Phase::Muxing(Lines::NEW) };
        self.establish(now, established, handler);
    }

    /// The listener's handshake has ended.
    fn responded(&mut self, now: Instant, established: Established, handler: &mut impl Handler) {
        self.mux.outgoing.end_handshake(|_| {});
        self.phase =
            if established.early_muxer { Phase::Open } else { Phase::MuxAsked(Lines::NEW) };
        self.establish(now, established, handler);
    }

    fn establish(&mut self, now: Instant, established: Established, handler: &mut impl Handler) {
        self.peer = Some(established.remote);
        self.send = Some(established.send);
        self.receive = Some(established.receive);
        self.handshake =
            if self.is_open() { Deadline::NONE } else { Deadline::new(now + HANDSHAKE_TIMEOUT) };
        self.mux.start(now, now + REQUEST_TIMEOUT);
        handler.established(&established.remote);
    }

    /// Decrypts the message that ends at `end` of the buffer and takes what is in it.
    fn decrypt(
        &mut self,
        now: Instant,
        end: usize,
        handler: &mut impl Handler,
    ) -> Result<(), Error> {
        let message = self.rx.get_mut(FRAME_HEAD_LEN..end).unwrap_or_default();
        let (Some(cipher), Some(peer)) = (&mut self.receive, &self.peer) else { return Ok(()) };
        let mut plain = &*cipher.decrypt(&[], message)?;
        while !plain.is_empty() {
            let agreed = if let Phase::Muxing(lines) = &mut self.phase {
                lines.reply(&mut plain, Line::Yamux, Error::NoYamux)?
            } else if let Phase::MuxAsked(lines) = &mut self.phase
                && handler.is_server()
            {
                let answer = lines.proposal(&mut plain, Line::Yamux)?;
                if let Some((line, _)) = answer {
                    // The output is empty but for a few such lines.
                    let _ = self.mux.outgoing.plain(&mut |w| line.encode(w));
                }
                answer.is_some_and(|(_, agreed)| agreed)
            } else {
                return self.mux.receive(plain, &mut Context { now, peer, handler });
            };
            if agreed {
                self.phase = Phase::Open;
                self.handshake = Deadline::NONE;
            }
        }
        Ok(())
    }
}

fn is_expected(expected: Option<PeerId>, found: &PeerId) -> Result<(), Error> {
    match expected {
        Some(expected) if expected != *found => Err(Error::WrongPeer { found: *found }),
        Some(_) | None => Ok(()),
    }
}
