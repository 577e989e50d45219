//! What is owed to the remote and nobody waits for: it leaves with what somebody does, or a moment later.
//!
//! A ping, a question of who we are, a stream that has ended: answered at once, each costs a packet and makes the remote
//! work while it should answer us. As long as a request of ours is under way they are held back for [`MOMENT`]; the
//! next request takes them along, and a connection that has served its purpose ends without.
//! Not here: answers to requests of the remote, and more window. Somebody waits for these.

use core::time::Duration;

use super::mux::Mux;
use super::stream::{Debts, Stage, Stream};
use crate::limits::{STREAMS_PER_CONNECTION, STREAMS_PER_SIDE};
use crate::time::Instant;

/// How long what nobody waits for is held back. Implementations give a ping or identify 5 s and more.
const MOMENT: Duration = Duration::from_millis(100);

/// As soon as there are only so few places for streams left, those that have ended are given back.
const PLACES: usize = STREAMS_PER_CONNECTION - STREAMS_PER_SIDE + 1;

/// Whether something is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Nothing is.
    Nothing,
    /// Something is, until then.
    Until(Instant),
    /// What is owed is written as soon as there is room.
    Over,
}

impl<const TX: usize, const A: usize> Mux<TX, A> {
    /// Whether nothing of what is owed has to be written.
    pub(super) fn holds_back(&mut self, now: Instant) -> bool {
        let owes = |it: &Stream| !it.debts.is_empty() || it.refusals > 0;
        if self.pongs.is_empty() && self.refusals.is_empty() && !self.streams.iter().any(owes) {
            self.hold = Hold::Nothing;
            return false;
        }
        if self.hold == Hold::Nothing {
            self.hold = Hold::Until(now + MOMENT);
        }
        let places = self.streams.iter().filter(|it| it.is_free()).count();
        let is_crowded = places < PLACES || self.pongs.len() > 1 || !self.refusals.is_empty();
        let is_company = self.outgoing.has_plain() || self.streams.iter().any(Stream::is_urgent);
        if is_crowded || is_company || self.in_flight() == 0 {
            self.hold = Hold::Over;
        }
        self.let_go(now);
        self.hold != Hold::Over
    }

    /// Holds nothing back for longer than its moment.
    pub(super) fn let_go(&mut self, now: Instant) {
        if let Hold::Until(at) = self.hold
            && at <= now
        {
            self.hold = Hold::Over;
        }
    }

    /// When what is held back is written.
    pub(super) const fn held_until(&self) -> Option<Instant> {
        match self.hold {
            Hold::Until(at) => Some(at),
            Hold::Nothing | Hold::Over => None,
        }
    }
}

impl Stream {
    /// Whether somebody waits for what it owes: more window, an answer, or a request that is sent again behind it.
    const fn is_urgent(&self) -> bool {
        let waits = matches!(self.stage, Stage::Waiting | Stage::Parked);
        !self.is_free() && (self.debts.has(Debts::WINDOW) || waits)
    }
}
