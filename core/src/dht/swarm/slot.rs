//! One place for a connection, with what the swarm notes of it.

use core::net::SocketAddr;
use core::time::Duration;

use heapless::Vec;

use super::{Owner, Relay, Remote, Settings, Tags};
use crate::connection::{self, Connection, StreamError, Tag};
use crate::identity::PeerId;
use crate::limits::TAGS_PER_PEER;
use crate::machine::ConnectionId;
use crate::stats::Stats;
use crate::time::Instant;

/// A place for one connection. `RX`, `TX` and `A` are those of [`Connection`].
#[derive(Debug)]
pub struct Slot<const RX: usize, const TX: usize, const A: usize> {
    pub(super) link: Option<Link>,
    pub(super) connection: Connection<RX, TX, A>,
}

/// How long a handshake may take while others wait for the slot.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How far a connection is.
// Numbered by one octet, so that the id tells whether there is a `Link` at all, and no link is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Nobody knows who is there.
    Handshake,
    /// The peer is known.
    Open,
    /// What was said is sent, at the latest until then, and it is closed.
    Closing(Instant),
    /// It is closed.
    Cut,
}

/// What is noted of a connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: ConnectionId,
    pub(super) address: SocketAddr,
    dialed: bool,
    /// When it got the slot.
    pub(super) since: Instant,
    /// Octets that the driver takes.
    pub(super) room: usize,
    pub(super) phase: Phase,
    pub(super) peer: Option<PeerId>,
    /// Requests under way.
    pub(super) open: Tags,
    /// Requests that wait for a stream.
    pub(super) waiting: Tags,
    /// Requests that failed and are to be told.
    pub(super) failed: Vec<(Tag, StreamError), TAGS_PER_PEER, u8>,
    pub(super) why: Option<connection::Error>,
    /// Its end was told.
    pub(super) told: bool,
}

impl Link {
    pub(super) const fn new(
        id: ConnectionId,
        address: SocketAddr,
        dialed: bool,
        room: usize,
        since: Instant,
    ) -> Self {
        Self {
            id,
            address,
            dialed,
            since,
            room,
            phase: Phase::Handshake,
            peer: None,
            open: Vec::new(),
            waiting: Vec::new(),
            failed: Vec::new(),
            why: None,
            told: false,
        }
    }

    pub(super) const fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing(_) | Phase::Cut)
    }

    pub(super) const fn is_inbound(&self) -> bool {
        !self.dialed
    }

    /// Who is there, once that is proved.
    pub(super) fn remote(&self) -> Option<Remote> {
        let peer = self.peer?;
        Some(Remote { peer, address: self.address, inbound: !self.dialed })
    }

    /// A request is over.
    pub(super) fn take(&mut self, tag: Tag) -> bool {
        let at = self.open.iter().position(|open| *open == tag);
        at.map(|at| self.open.remove(at)).is_some()
    }
}

impl<const RX: usize, const TX: usize, const A: usize> Slot<RX, TX, A> {
    /// A place without connection: all zeros, as [`Connection::new`].
    #[must_use]
    pub const fn new() -> Self {
        Self { link: None, connection: Connection::new() }
    }

    /// Whether there is no connection in it.
    #[must_use]
    pub const fn is_vacant(&self) -> bool {
        self.link.is_none()
    }

    /// The connection, and what it tells to.
    pub(super) fn split<'a, O: Owner>(
        &'a mut self,
        now: Instant,
        settings: &Settings,
        stats: &'a mut Stats,
        owner: &'a mut O,
    ) -> (&'a mut Connection<RX, TX, A>, Relay<'a, O>) {
        let Self { link, connection } = self;
        (connection, Relay { now, serves: settings.inbound > 0, link: link.as_mut(), stats, owner })
    }

    /// Who is there and may be asked.
    pub(super) fn peer(&self) -> Option<PeerId> {
        let link = self.link.as_ref()?;
        link.peer.filter(|_| link.phase == Phase::Open)
    }

    /// Forgets its connection.
    pub(super) fn vacate(&mut self) {
        if self.link.take().is_some() {
            self.connection.reset();
        }
    }

    /// Lets a request wait for a stream.
    pub(super) fn wait(&mut self, tag: Tag) -> Result<(), Tag> {
        self.link.as_mut().ok_or(tag)?.waiting.push(tag)
    }

    pub(super) fn set_room(&mut self, room: usize) {
        if let Some(link) = &mut self.link {
            link.room = room;
        }
    }

    pub(super) fn spend(&mut self, len: usize) {
        if let Some(link) = &mut self.link {
            link.room = link.room.saturating_sub(len);
        }
    }

    /// It is closed whatever was to be said.
    pub(super) fn cut(&mut self) {
        if let Some(link) = &mut self.link {
            link.phase = Phase::Cut;
            self.connection.reset();
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.phase == Phase::Cut)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.link.as_ref().is_some_and(Link::is_closing)
    }

    /// When it may be given to another if none is free: a peer that we dialled says nothing.
    pub(super) fn gives_way_at(&self) -> Option<Instant> {
        let link = self.link.as_ref()?;
        (link.dialed && link.phase == Phase::Handshake).then(|| link.since + PATIENCE)
    }

    /// Since when it carries nothing; `None` while it carries something.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let link = self.link.as_ref()?;
        let is_idle = link.phase != Phase::Handshake && link.open.is_empty();
        self.connection.idle_since().filter(|_| is_idle && link.waiting.is_empty())
    }

    /// When it is closed if nothing happens: an idle one, and one that does not take our last words.
    pub(super) fn closes_at(&self, idle: Duration) -> Option<Instant> {
        match self.link.as_ref()?.phase {
            Phase::Handshake | Phase::Cut => None,
            Phase::Open => self.idle_since().map(|since| since + idle),
            Phase::Closing(until) => Some(until),
        }
    }

    /// Whether it has no connection, or one that carries nothing.
    pub(super) fn is_free(&self) -> bool {
        self.link.is_none() || self.idle_since().is_some()
    }
}

impl<const RX: usize, const TX: usize, const A: usize> Default for Slot<RX, TX, A> {
    fn default() -> Self {
        Self::new()
    }
}
