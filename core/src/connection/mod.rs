//! One libp2p connection over TCP, as a plain value: octets in, octets out.
//! Spec: libp2p `specs/connections`, `specs/noise`, `specs/yamux`.
//!
//! ```text
//! TCP octets -> multistream: /noise -> Noise XX -> [multistream: /yamux/1.0.0] -> Yamux streams
//!                                                                    each: multistream -> ping, identify, Kademlia
//! ```
//!
//! Every step is taken without waiting for the one before where the protocols allow it: a dialer sends two flights,
//! `[/noise, message 1]` and `[message 3, muxer, stream, protocol, request]`, and has its response in the third
//! round trip, TCP's included. A [`Connection`] owns its buffers and its timeouts; time, octets and entropy come in
//! as arguments, and what happens goes to a [`Handler`].
//!
//! Not implemented: TLS, QUIC, mplex, simultaneous open, `ls`, identify push, pings of our own.

mod courtesy;
mod error;
mod flush;
mod handler;
mod handshake;
mod mux;
pub mod noise;
mod outgoing;
mod read;
mod stream;
pub mod yamux;

use core::time::Duration;

pub use error::{Error, NoRoom, StreamError};
pub use handler::{Answer, Handler, KadProtocol, Tag};
pub use noise::Identity;

use crate::identity::PeerId;
use crate::limits::TX_CLIENT;
use crate::machine::Wake;
use crate::time::{Deadline, Instant};
use crate::wire::kad::Request;
use crate::wire::yamux::{GoAway, Header};
use handshake::Phase;
use mux::{Context, Mux};
use noise::Cipher;

/// From the first octet to streams. Honest peers need one round trip and a few milliseconds.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// From a request to its whole response. go-libp2p and rust-libp2p wait 10 s; a lookup does better to ask another.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// How long octets may wait for a remote that takes none.
pub const STUCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a stream of the remote may be silent. rust-libp2p pings on one stream every 15 s.
pub const STREAM_IDLE: Duration = Duration::from_secs(60);

/// What a dialer knows of the remote before it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dial {
    /// Who must be there; anybody when none.
    pub expected: Option<PeerId>,
    /// The Kademlia that it probably speaks, as most peers before it did; with [`KadProtocol::Ipfs`] it is not
    /// asked for the other until it refuses that.
    pub prefer: Option<KadProtocol>,
}

/// One connection after TCP was set up, or a vacant place for one.
///
/// - `RX`: octets of the receive buffer, which holds one Noise message and its length: 65,537 take what any peer
///   may send, [`crate::limits::RX_SMALL`] what rust-libp2p does.
/// - `TX`: octets of the output buffer; answers and identify messages take at most half of it.
/// - `A`: messages that may be half received, or wait to be answered, at one time.
///
/// It is large: it is made once, vacant, and filled in place.
pub struct Connection<const RX: usize, const TX: usize = TX_CLIENT, const A: usize = 2> {
    rx: [u8; RX],
    /// Octets of the frame that is being received.
    received: usize,
    phase: Phase,
    mux: Mux<TX, A>,
    send: Option<Cipher>,
    receive: Option<Cipher>,
    expected: Option<PeerId>,
    peer: Option<PeerId>,
    /// When the handshake has failed.
    handshake: Deadline,
    /// Since when the remote has taken none of the octets that are ready.
    stuck: Deadline,
}

impl<const RX: usize, const TX: usize, const A: usize> core::fmt::Debug for Connection<RX, TX, A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Connection")
            .field("phase", &self.phase)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl<const RX: usize, const TX: usize, const A: usize> Default for Connection<RX, TX, A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const RX: usize, const TX: usize, const A: usize> Connection<RX, TX, A> {
    /// A vacant place: all zeros, so that one in a `static` needs no octets of flash, and is never on the stack.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            rx: [0; RX],
            received: 0,
            phase: Phase::Vacant,
            mux: Mux::new(),
            send: None,
            receive: None,
            expected: None,
            peer: None,
            handshake: Deadline::NONE,
            stuck: Deadline::NONE,
        }
    }

    /// Makes the place vacant again. Nobody is told.
    pub fn reset(&mut self) {
        self.restart(Instant::ZERO, 1, None);
        self.phase = Phase::Vacant;
        self.handshake = Deadline::NONE;
    }

    /// Begins a connection that we have dialled, `now` that TCP is set up; what was here before is forgotten.
    /// `ephemeral`: 32 octets of entropy that are used for nothing else
    /// ([`Seed::secret`](crate::rng::Seed::secret)).
    pub fn dial(&mut self, now: Instant, ephemeral: [u8; 32], dial: Dial) {
        self.restart(now, 1, dial.prefer);
        self.expected = dial.expected;
        self.begin_dialer(ephemeral);
        self.note_unsent(now);
    }

    /// Begins a connection that the remote has dialled; what was here before is forgotten. `ephemeral` as for
    /// [`dial`](Self::dial).
    pub fn accept(&mut self, now: Instant, ephemeral: [u8; 32]) {
        self.restart(now, 2, None);
        self.begin_listener(ephemeral);
    }

    fn restart(&mut self, now: Instant, first_id: u32, prefer: Option<KadProtocol>) {
        self.received = 0;
        self.mux.reset(now, first_id, prefer);
        self.send = None;
        self.receive = None;
        self.expected = None;
        self.peer = None;
        self.handshake = Deadline::new(now + HANDSHAKE_TIMEOUT);
        self.stuck = Deadline::NONE;
    }

    /// Takes octets from TCP, cut anywhere; all of them are used. `identity` is the same for all calls.
    pub fn handle_octets(
        &mut self,
        now: Instant,
        octets: &[u8],
        identity: &Identity,
        handler: &mut impl Handler,
    ) {
        if let Err(error) = self.take(now, octets, identity, handler) {
            self.fail(error, handler);
        }
        self.note_unsent(now);
    }

    /// Moves the next octets for TCP to `out`, and answers requests that waited for room; the number of octets, 0
    /// when there are none until something else happens.
    pub fn poll_send(&mut self, now: Instant, out: &mut [u8], handler: &mut impl Handler) -> usize {
        let mut len = 0_usize;
        loop {
            let room = out.get_mut(len..).unwrap_or_default();
            len = len.saturating_add(self.mux.outgoing.poll(room));
            if len >= out.len() {
                break;
            }
            if let (Some(peer), Phase::Open) = (&self.peer, &self.phase)
                && !self.mux.holds_back(now)
            {
                self.mux.flush(&mut Context { now, peer, handler: &mut *handler });
            }
            match self.send.as_mut().map(|cipher| self.mux.outgoing.seal(cipher)) {
                Some(Ok(true)) => {}
                Some(Ok(false)) | None => break,
                Some(Err(error)) => {
                    if !self.is_closed() {
                        self.end(error.into(), handler);
                    }
                    break;
                }
            }
        }
        if len > 0 {
            self.stuck = Deadline::NONE;
        }
        self.note_unsent(now);
        len
    }

    /// Sends a request; its response, or its failure, comes under `tag`. A dialer may call it before the handshake
    /// has ended: the request leaves with the handshake's last message.
    ///
    /// # Errors
    /// [`NoRoom`]: nothing was sent; a request in progress must end, or octets must leave, before another can be sent.
    pub fn open(&mut self, now: Instant, request: Request<'_>, tag: Tag) -> Result<(), NoRoom> {
        let deadline = self.request_deadline(now)?;
        self.mux.open(now, &request, tag, deadline)?;
        self.note_unsent(now);
        Ok(())
    }

    /// Asks what the remote is; [`Handler::identified`] tells. Nothing is told when it does not answer.
    ///
    /// # Errors
    /// [`NoRoom`] as for [`open`](Self::open).
    pub fn open_identify(&mut self, now: Instant) -> Result<(), NoRoom> {
        let deadline = self.request_deadline(now)?;
        self.mux.open_identify(now, deadline)?;
        self.note_unsent(now);
        Ok(())
    }

    /// When a request that is sent now has failed; the clock of one that waits for the handshake does not run yet.
    fn request_deadline(&self, now: Instant) -> Result<Deadline, NoRoom> {
        if self.is_open() {
            Ok(Deadline::new(now + REQUEST_TIMEOUT))
        } else if self.phase.is_dialing() {
            Ok(Deadline::NONE)
        } else {
            Err(NoRoom)
        }
    }

    /// Ends the connection in order: the remote is told, requests in progress fail.
    pub fn close(&mut self, handler: &mut impl Handler) {
        if matches!(self.phase, Phase::Vacant | Phase::Closed) {
            return;
        }
        self.go_away(GoAway::Normal);
        self.end(Error::Closed, handler);
    }

    /// TCP has ended, or could not be set up.
    pub fn handle_lost(&mut self, handler: &mut impl Handler) {
        if !matches!(self.phase, Phase::Vacant | Phase::Closed) {
            self.end(Error::Lost, handler);
        }
    }

    /// The next deadline: the handshake's, a request's, or that of octets which do not leave or are held back. What
    /// is to be sent is polled after each.
    #[must_use]
    pub fn next_wake(&self) -> Option<Wake> {
        let wake = |at: Option<Instant>, why| at.map(|at| Wake { at, why });
        let handshake = wake(self.handshake.get(), "give up a handshake");
        let stuck = wake(self.stuck.get(), "give up a connection that takes no octets");
        let stream = wake(self.mux.deadline(), "give up a request");
        let held = wake(self.mux.held_until(), "answer what nobody waits for");
        Wake::earliest(Wake::earliest(handshake, stuck), Wake::earliest(stream, held))
            .filter(|_| !matches!(self.phase, Phase::Vacant | Phase::Closed))
    }

    /// Serves the deadlines that have come.
    pub fn handle_timeout(&mut self, now: Instant, handler: &mut impl Handler) {
        if matches!(self.phase, Phase::Vacant | Phase::Closed) {
            return;
        }
        if self.handshake.is_due(now) {
            self.end(Error::HandshakeTimedOut, handler);
        } else if self.stuck.is_due(now) {
            self.end(Error::Stuck, handler);
        } else if let Some(peer) = &self.peer {
            self.mux.let_go(now);
            self.mux.expire(&mut Context { now, peer, handler });
            self.note_unsent(now);
        }
    }

    /// Whether this place is free.
    #[must_use]
    pub const fn is_vacant(&self) -> bool {
        matches!(self.phase, Phase::Vacant)
    }

    /// Whether the connection has ended. What [`poll_send`](Self::poll_send) still gives may be sent.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether the handshake and the choice of the muxer are over, and the connection is not.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Who the remote has proved to be.
    #[must_use]
    pub const fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    /// The Kademlia that the remote has shown to speak.
    #[must_use]
    pub const fn kad_protocol(&self) -> Option<KadProtocol> {
        self.mux.spoken
    }

    /// Requests of ours without an end.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.mux.in_flight()
    }

    /// Since when nothing was asked by either side; none while a request is in progress or octets wait, and before
    /// the connection is open. Pings count as nothing.
    #[must_use]
    pub fn idle_since(&self) -> Option<Instant> {
        (self.is_open() && !self.mux.is_busy()).then_some(self.mux.active_at)
    }

    /// Starts the clock when octets wait, stops it when none do.
    fn note_unsent(&mut self, now: Instant) {
        if self.mux.outgoing.is_empty() {
            self.stuck = Deadline::NONE;
        } else if self.stuck == Deadline::NONE {
            self.stuck = Deadline::new(now + STUCK_TIMEOUT);
        }
    }

    /// Ends the connection because of what the remote did, and tells it so.
    fn fail(&mut self, error: Error, handler: &mut impl Handler) {
        if !matches!(error, Error::GoAway(_)) {
            self.go_away(GoAway::ProtocolError);
        }
        self.end(error, handler);
    }

    fn end(&mut self, error: Error, handler: &mut impl Handler) {
        self.phase = Phase::Closed;
        self.handshake = Deadline::NONE;
        self.stuck = Deadline::NONE;
        error.count(handler.stats());
        self.mux.fail_all(handler);
        handler.closed(error);
    }

    fn go_away(&mut self, why: GoAway) {
        if self.is_open() {
            // Without room for it the remote sees the end of TCP alone, which says the same.
            let _ = self.mux.outgoing.frame(Header::go_away(why));
        }
    }
}

#[cfg(test)]
mod tests;
