//! Dials: which addresses of whom are tried, when, and what waits for it.
//! Spec: RFC 8305 §5: attempts 250 ms apart, the first that connects wins.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use heapless::{Deque, Vec};
use sha2::{Digest as _, Sha256};

use super::{Busy, Failure, Tags, Target, Why};
use crate::connection::Tag;
use crate::identity::PeerId;
use crate::limits::{ADDRESSES_PER_PEER, DIALS_PER_HOST, DIALS_PER_LISTENER, DIALS_REMEMBERED};
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
    /// Its number among the peer's addresses.
    address: u8,
    stage: Stage,
    room: u32,
    deadline: Instant,
}

/// One peer that is dialled.
#[derive(Debug)]
struct Dial {
    peer: Option<PeerId>,
    addresses: Addresses,
    /// Those that failed, one bit each.
    failed: u8,
    attempts: Vec<Attempt, ADDRESSES_PER_PEER, u8>,
    tags: Tags,
    /// When the next address is tried.
    next_at: Instant,
    last: Failure,
}

impl Dial {
    /// The next address to try, with its number.
    fn next_address(&self) -> Option<(u8, SocketAddr)> {
        let tried = |at: u8| self.attempts.iter().any(|attempt| attempt.address == at);
        let mut numbered = (0_u8..).zip(self.addresses.iter());
        numbered.find(|(at, _)| self.failed & bit(*at) == 0 && !tried(*at))
    }

    fn address_of(&self, attempt: &Attempt) -> Option<SocketAddr> {
        self.addresses.iter().nth(usize::from(attempt.address))
    }

    /// Whether there is a connection: no other address is needed as long as it does well.
    fn is_connected(&self) -> bool {
        self.attempts.iter().any(|a| matches!(a.stage, Stage::Connected | Stage::Bound))
    }

    fn fail(&mut self, now: Instant, at: usize, why: Why) {
        if at < self.attempts.len() {
            let attempt = self.attempts.swap_remove(at);
            self.failed |= bit(attempt.address);
            self.last = Failure { address: self.address_of(&attempt), why };
            self.next_at = now;
        }
    }
}

const fn bit(at: u8) -> u8 {
    match 1_u8.checked_shl(at as u32) {
        Some(bit) => bit,
        None => 0,
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

/// A dial of late, by 32 bits of a digest of host and port and of the host alone: that two are taken for one is
/// as unlikely as harmless.
#[derive(Clone, Copy, Debug)]
struct Recent {
    listener: u32,
    host: u32,
    at: Instant,
}

impl Recent {
    fn new(address: SocketAddr, at: Instant) -> Self {
        let host = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut hash = Sha256::new_with_prefix(host.octets());
        let of_host = hash.clone();
        hash.update(address.port().to_be_bytes());
        let cut = |hash: Sha256| {
            let digest: [u8; 32] = hash.finalize().into();
            u32::from_be_bytes(*digest.first_chunk().unwrap_or(&[0; 4]))
        };
        Self { listener: cut(hash), host: cut(of_host), at }
    }
}

/// Every dial that is under way, `D` at most.
#[derive(Debug)]
pub(super) struct Dials<const D: usize> {
    table: Vec<Dial, D, u8>,
    /// Dials of late: of each host only so many in a second.
    recent: Deque<Recent, DIALS_REMEMBERED>,
    next_id: u32,
}

impl<const D: usize> Dials<D> {
    pub(super) const fn new() -> Self {
        Self { table: Vec::new(), recent: Deque::new(), next_id: 0 }
    }

    /// Dials that have no slot yet.
    pub(super) fn unbound(&self) -> usize {
        let bound = |dial: &&Dial| dial.attempts.iter().any(|a| a.stage == Stage::Bound);
        self.table.len().saturating_sub(self.table.iter().filter(bound).count())
    }

    /// Whether a connection that is there waits for a slot.
    pub(super) fn waits_for_slot(&self) -> bool {
        let mut attempts = self.table.iter().flat_map(|dial| dial.attempts.iter());
        attempts.any(|attempt| attempt.stage == Stage::Connected)
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
            failed: 0,
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
            attempt.room = u32::try_from(room).unwrap_or(u32::MAX);
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
        let attempt = *attempt;
        let address = dial.address_of(&attempt)?;
        let room = usize::try_from(attempt.room).unwrap_or(usize::MAX);
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
        self.table.iter_mut().find_map(|dial| {
            let attempt = dial.attempts.iter_mut().find(|a| a.stage == Stage::Wanted)?;
            attempt.stage = Stage::Connecting;
            let attempt = *attempt;
            Some((ConnectionId::Dialed(attempt.id), dial.address_of(&attempt)?))
        })
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
        let Some((number, address)) = dial.next_address().filter(|_| due) else { return };
        let recent = Recent::new(address, now);
        let free_at = self.free_at(now, &recent);
        let id = self.next_id;
        let Some(dial) = self.table.get_mut(at) else { return };
        if let Some(at) = free_at {
            dial.next_at = at;
            return;
        }
        let deadline = now + CONNECT;
        let attempt = Attempt { id, address: number, stage: Stage::Wanted, room: 0, deadline };
        // There is room: it was looked at.
        let _ = dial.attempts.push(attempt);
        dial.next_at = now + STAGGER;
        self.next_id = id.wrapping_add(1);
        if self.recent.is_full() {
            self.recent.pop_front();
        }
        // There is room: some was made.
        let _ = self.recent.push_back(recent);
    }

    /// Whether one more address may be tried at the same time.
    fn has_room(&self) -> bool {
        let attempts = self.table.iter().flat_map(|dial| dial.attempts.iter());
        let under_way = attempts.filter(|a| matches!(a.stage, Stage::Wanted | Stage::Connecting));
        under_way.count() < D
    }

    /// When this address may be dialled, if not now.
    fn free_at(&self, now: Instant, new: &Recent) -> Option<Instant> {
        let of = |is_it: &dyn Fn(&Recent) -> bool, most: usize| {
            let counts = |recent: &&Recent| is_it(recent) && now.since(recent.at) < RATE;
            let many = self.recent.iter().filter(counts).count() >= most;
            let oldest = self.recent.iter().filter(counts).map(|recent| recent.at + RATE).min();
            oldest.filter(|_| many)
        };
        let listener = of(&|recent| recent.listener == new.listener, DIALS_PER_LISTENER);
        listener.max(of(&|recent| recent.host == new.host, DIALS_PER_HOST))
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
