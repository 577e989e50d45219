//! Dials: which addresses of whom are tried, when, and what waits for it.
//! Spec: RFC 8305 §5: attempts 250 ms apart, the first that connects wins.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use heapless::{Deque, Vec};

use super::{Busy, Failure, Tags, Target, Why};
use crate::connection::Tag;
use crate::identity::PeerId;
use crate::limits::{
    ADDRESSES_PER_PEER, DIALS, DIALS_PER_HOST, DIALS_PER_LISTENER, DIALS_REMEMBERED,
};
use crate::machine::{CloseReason, ConnectionId, Wake};
use crate::time::Instant;
use crate::wire::contact::Addresses;

/// RFC 8305 §5: the time between two attempts.
const STAGGER: Duration = Duration::from_millis(250);

/// How long a TCP connection may take: three times the longest round trip worth having, and a retransmission.
const CONNECT: Duration = Duration::from_secs(3);

/// How long a connection that is there waits for a slot.
const SLOT: Duration = Duration::from_secs(3);

/// The time over which dials to one host are counted.
const RATE: Duration = Duration::from_secs(1);

/// How far an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// To be told to the driver.
    Wanted,
    /// The driver connects.
    Connecting,
    /// It is there, and waits for a slot.
    Connected,
    /// It has a slot: the handshake is under way.
    Bound,
}

/// One address that is tried.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    id: u32,
    address: SocketAddr,
    stage: Stage,
    room: usize,
    deadline: Instant,
}

/// One peer that is dialled.
#[derive(Debug)]
struct Dial {
    peer: Option<PeerId>,
    /// Those that are still worth trying.
    addresses: Addresses,
    attempts: Vec<Attempt, ADDRESSES_PER_PEER, u8>,
    tags: Tags,
    /// When the next address is tried.
    next_at: Instant,
    last: Failure,
}

impl Dial {
    fn next_address(&self) -> Option<SocketAddr> {
        let tried = |address: &SocketAddr| self.attempts.iter().any(|a| a.address == *address);
        self.addresses.iter().find(|address| !tried(address))
    }

    /// Whether there is a connection: no other address is needed as long as it does well.
    fn is_connected(&self) -> bool {
        self.attempts.iter().any(|a| matches!(a.stage, Stage::Connected | Stage::Bound))
    }

    fn fail(&mut self, now: Instant, at: usize, why: Why) {
        if at < self.attempts.len() {
            let attempt = self.attempts.swap_remove(at);
            self.addresses.remove(&attempt.address);
            self.last = Failure { address: Some(attempt.address), why };
            self.next_at = now;
        }
    }
}

/// What a dial came to.
pub(super) enum Step {
    /// No address is left.
    Failed { tags: Tags, failure: Failure },
    /// This connection is there and needs a slot.
    Bind { id: ConnectionId },
}

/// A connection that was given a slot.
pub(super) struct Bound {
    pub(super) peer: Option<PeerId>,
    pub(super) address: SocketAddr,
    pub(super) room: usize,
    pub(super) tags: Tags,
}

/// Every dial that is under way.
#[derive(Debug)]
pub(super) struct Dials {
    table: Vec<Dial, DIALS, u8>,
    /// Dials of late: of each host only so many in a second.
    recent: Deque<(SocketAddr, Instant), DIALS_REMEMBERED>,
    next_id: u32,
}

impl Dials {
    pub(super) const fn new() -> Self {
        Self { table: Vec::new(), recent: Deque::new(), next_id: 0 }
    }

    /// Dials that have no slot yet.
    pub(super) fn unbound(&self) -> usize {
        let bound = |dial: &&Dial| dial.attempts.iter().any(|a| a.stage == Stage::Bound);
        self.table.len().saturating_sub(self.table.iter().filter(bound).count())
    }

    /// Adds a request to the dial of its peer, or begins one. The connection, if it has a slot.
    pub(super) fn add(
        &mut self,
        now: Instant,
        target: &Target,
        tag: Tag,
    ) -> Result<Option<ConnectionId>, Busy> {
        let is_it = |dial: &&mut Dial| match target.peer {
            Some(_) => dial.peer == target.peer,
            None => dial.peer.is_none() && dial.addresses == target.addresses,
        };
        if let Some(dial) = self.table.iter_mut().find(is_it) {
            dial.tags.push(tag).map_err(|_| Busy)?;
            let bound = dial.attempts.iter().find(|a| a.stage == Stage::Bound);
            return Ok(bound.map(|a| ConnectionId::Dialed(a.id)));
        }
        let dial = Dial {
            peer: target.peer,
            addresses: target.addresses,
            attempts: Vec::new(),
            tags: core::iter::once(tag).collect(),
            next_at: now,
            last: Failure { address: None, why: Why::NoAddress },
        };
        self.table.push(dial).map_err(|_| Busy)?;
        Ok(None)
    }

    /// Forgets every dial.
    pub(super) fn clear(&mut self, mut cut: impl FnMut(ConnectionId)) {
        while let Some(dial) = self.table.pop() {
            cut_all(&dial.attempts, None, &mut cut);
        }
    }

    /// A connection is there: the other attempts at this peer are given up. `false`: it is not wanted.
    pub(super) fn connected(
        &mut self,
        now: Instant,
        id: ConnectionId,
        mut cut: impl FnMut(ConnectionId),
    ) -> bool {
        let Some((at, dial)) = self.find(id) else { return false };
        if let Some(attempt) = dial.attempts.get_mut(at) {
            attempt.stage = Stage::Connected;
            attempt.deadline = now + SLOT;
        }
        cut_all(&dial.attempts, Some(id), &mut cut);
        dial.attempts.retain(|attempt| ConnectionId::Dialed(attempt.id) == id);
        true
    }

    pub(super) fn set_room(&mut self, id: ConnectionId, room: usize) {
        if let Some((at, dial)) = self.find(id)
            && let Some(attempt) = dial.attempts.get_mut(at)
        {
            attempt.room = room;
        }
    }

    /// A connection is over before its handshake was done.
    pub(super) fn closed(&mut self, now: Instant, id: ConnectionId, why: Why) {
        if let Some((at, dial)) = self.find(id) {
            dial.fail(now, at, why);
        }
    }

    /// The slot has it now.
    pub(super) fn bind(&mut self, id: ConnectionId) -> Option<Bound> {
        let (at, dial) = self.find(id)?;
        let attempt = dial.attempts.get_mut(at)?;
        attempt.stage = Stage::Bound;
        let (address, room) = (attempt.address, attempt.room);
        Some(Bound { peer: dial.peer, address, room, tags: dial.tags.clone() })
    }

    /// The handshake is done, and with it the dial.
    pub(super) fn established(&mut self, id: ConnectionId, mut cut: impl FnMut(ConnectionId)) {
        if let Some((_, dial)) = self.find(id) {
            cut_all(&dial.attempts, Some(id), &mut cut);
        }
        self.table.retain(|dial| !dial.attempts.iter().any(|a| ConnectionId::Dialed(a.id) == id));
    }

    /// A request of a dial is over.
    pub(super) fn drop_tag(&mut self, id: ConnectionId, tag: Tag) {
        if let Some((_, dial)) = self.find(id) {
            dial.tags.retain(|one| *one != tag);
        }
    }

    /// Runs what is due; returns one thing that the swarm has to see to. `slots`: there may be one to bind to.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        slots: bool,
        mut cut: impl FnMut(ConnectionId),
    ) -> Option<Step> {
        for at in 0..self.table.len() {
            self.expire(now, at, &mut cut);
        }
        for at in 0..self.table.len() {
            self.begin(now, at);
            let Some(dial) = self.table.get_mut(at) else { continue };
            let waits = dial.attempts.iter().find(|a| a.stage == Stage::Connected);
            if let Some(attempt) = waits.filter(|_| slots) {
                return Some(Step::Bind { id: ConnectionId::Dialed(attempt.id) });
            }
            if dial.attempts.is_empty() && dial.next_address().is_none() {
                let Dial { tags, last, .. } = self.table.swap_remove(at);
                return Some(Step::Failed { tags, failure: last });
            }
        }
        None
    }

    /// The next address that the driver has to connect to.
    pub(super) fn poll_connect(&mut self) -> Option<(ConnectionId, SocketAddr)> {
        let mut attempts = self.table.iter_mut().flat_map(|dial| dial.attempts.iter_mut());
        let attempt = attempts.find(|attempt| attempt.stage == Stage::Wanted)?;
        attempt.stage = Stage::Connecting;
        Some((ConnectionId::Dialed(attempt.id), attempt.address))
    }

    /// When to poll again.
    pub(super) fn next_wake(&self) -> Option<Wake> {
        let mut wake = None;
        for dial in &self.table {
            for attempt in dial.attempts.iter().filter(|a| a.stage != Stage::Bound) {
                let at = attempt.deadline;
                wake = Wake::earliest(wake, Some(Wake { at, why: "to give up an address" }));
            }
            if !dial.is_connected() && dial.next_address().is_some() && self.has_room() {
                let at = dial.next_at;
                wake = Wake::earliest(wake, Some(Wake { at, why: "to try the next address" }));
            }
        }
        wake
    }

    fn find(&mut self, id: ConnectionId) -> Option<(usize, &mut Dial)> {
        self.table.iter_mut().find_map(|dial| {
            let is_it = |attempt: &Attempt| ConnectionId::Dialed(attempt.id) == id;
            dial.attempts.iter().position(is_it).map(|at| (at, dial))
        })
    }

    /// Gives up attempts that took too long.
    fn expire(&mut self, now: Instant, at: usize, cut: &mut impl FnMut(ConnectionId)) {
        let Some(dial) = self.table.get_mut(at) else { return };
        let late = |attempt: &Attempt| attempt.stage != Stage::Bound && attempt.deadline <= now;
        while let Some(at) = dial.attempts.iter().position(late) {
            let attempt = dial.attempts.get(at).copied();
            let Some(Attempt { id, stage, .. }) = attempt else { return };
            cut(ConnectionId::Dialed(id));
            let had_no_slot = stage == Stage::Connected;
            dial.fail(
                now,
                at,
                if had_no_slot { Why::Busy } else { Why::Tcp(CloseReason::TimedOut) },
            );
        }
    }

    /// Tries the next address if it is time, unless its host was dialled too often of late.
    fn begin(&mut self, now: Instant, at: usize) {
        if !self.has_room() {
            return;
        }
        let Some(dial) = self.table.get(at) else { return };
        let due = dial.next_at <= now && !dial.is_connected() && !dial.attempts.is_full();
        let Some(address) = dial.next_address().filter(|_| due) else { return };
        let free_at = self.free_at(now, address);
        let id = self.next_id;
        let Some(dial) = self.table.get_mut(at) else { return };
        if let Some(at) = free_at {
            dial.next_at = at;
            return;
        }
        let attempt =
            Attempt { id, address, stage: Stage::Wanted, room: 0, deadline: now + CONNECT };
        // There is room: it was looked at.
        let _ = dial.attempts.push(attempt);
        dial.next_at = now + STAGGER;
        self.next_id = id.wrapping_add(1);
        if self.recent.is_full() {
            self.recent.pop_front();
        }
        // There is room: some was made.
        let _ = self.recent.push_back((address, now));
    }

    /// Whether one more address may be tried at the same time.
    fn has_room(&self) -> bool {
        let attempts = self.table.iter().flat_map(|dial| dial.attempts.iter());
        let under_way = attempts.filter(|a| matches!(a.stage, Stage::Wanted | Stage::Connecting));
        under_way.count() < DIALS
    }

    /// When this address may be dialled, if not now.
    fn free_at(&self, now: Instant, address: SocketAddr) -> Option<Instant> {
        let of = |is_it: &dyn Fn(&SocketAddr) -> bool, most: usize| {
            let is_late = |(a, at): &&(SocketAddr, Instant)| is_it(a) && now.since(*at) < RATE;
            let many = self.recent.iter().filter(is_late).count() >= most;
            let oldest = self.recent.iter().filter(is_late).map(|(_, at)| *at + RATE).min();
            oldest.filter(|_| many)
        };
        let ip: IpAddr = address.ip();
        of(&|a| *a == address, DIALS_PER_LISTENER).max(of(&|a| a.ip() == ip, DIALS_PER_HOST))
    }
}

/// Gives up every attempt but one, as far as the driver knows of it.
fn cut_all(attempts: &[Attempt], but: Option<ConnectionId>, cut: &mut impl FnMut(ConnectionId)) {
    for attempt in attempts.iter().filter(|attempt| attempt.stage != Stage::Wanted) {
        let id = ConnectionId::Dialed(attempt.id);
        if Some(id) != but && attempt.stage != Stage::Bound {
            cut(id);
        }
    }
}
