//! Connections to many peers: dials them, takes theirs, carries requests on whichever connection there is, and
//! closes what nobody needs.
//!
//! ```text
//! ask(target, tag) ─┬─ a connection to that peer ───────────────► request(tag) ─► part(tag) .. End
//!                   └─ dial: its addresses, 250 ms apart ─► slot ─┘             └► failed(tag)
//! ```
//!
//! - A request is not kept: its [`Owner`] is asked for it when it can be sent, again when the peer's next
//!   address has to be tried. Requests to a peer that is dialled ride in the flight that ends the handshake.
//! - Every tag ends exactly once: with [`Part::End`] or with [`Owner::failed`].
//! - A connection that carries nothing is closed after [`Settings::idle`], and gives way to a new one before.
//!
//! Spec: libp2p `specs/connections`; the stagger: RFC 8305 §5 (Happy Eyeballs).
//! Not here: one connection ([`crate::connection`]), and who to ask ([`crate::kad::query`]).

mod dial;
mod end;
mod relay;
mod slot;

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use heapless::Vec;

use self::dial::{Dials, Step};
use self::end::End;
use self::relay::Relay;
pub use self::slot::Slot;
use self::slot::{Link, Phase};
use crate::connection::{self, Answer, Identity, KadProtocol, StreamError, Tag};
use crate::identity::PeerId;
use crate::limits::{CLOSING, DIALS, INBOUND_PER_IP, TAGS_PER_PEER};
use crate::machine::{CloseReason, ConnectionId, ConnectionInput, ConnectionOutput, Wake};
use crate::rng::Seed;
use crate::stats::{Stats, count};
use crate::time::Instant;
use crate::wire::contact::Addresses;
use crate::wire::cursor::Writer;
use crate::wire::identify::Identified;
use crate::wire::kad::{Part, Request};

/// A connection that is used by nobody for this long may give way to one that a stranger wants.
const SETTLED: Duration = Duration::from_secs(1);

/// Dials that may be under way beside those there is a slot for: some lead nowhere.
const DIALS_AHEAD: usize = 2;

/// Who is at the other end of a connection, as its handshake proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The peer.
    pub peer: PeerId,
    /// The address it was reached at, or came from.
    pub address: SocketAddr,
    /// It connected to us.
    pub inbound: bool,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Nobody else will do; `None`: whoever is there.
    pub peer: Option<PeerId>,
    /// Where, the address to try first in front.
    pub addresses: Addresses,
}

/// Why a request got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The address that was tried last.
    pub address: Option<SocketAddr>,
    /// What went wrong there.
    pub why: Why,
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.address {
            Some(address) => write!(f, "{address}: {}", self.why),
            None => self.why.fmt(f),
        }
    }
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is no address to dial.
    NoAddress,
    /// No TCP connection could be made, or it ended before the handshake did.
    Tcp(CloseReason),
    /// The handshake failed, or the peer broke the rules after it.
    Connection(connection::Error),
    /// The connection ended after the handshake.
    Lost(CloseReason),
    /// This request failed; the connection may live on.
    Stream(StreamError),
    /// Too many requests to this peer at one time, or no connection to spare.
    Busy,
}

impl core::fmt::Display for Why {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoAddress => f.write_str("no address to dial"),
            Self::Tcp(reason) => reason.fmt(f),
            Self::Connection(error) => error.fmt(f),
            Self::Lost(reason) => write!(f, "{reason} before it answered"),
            Self::Stream(error) => error.fmt(f),
            Self::Busy => f.write_str("no connection to spare"),
        }
    }
}

/// Whose swarm it is: makes requests, takes answers, and answers the requests of others.
pub trait Owner {
    /// The request of a tag; `None` when it is not wanted any more. May be asked for again.
    fn request(&mut self, tag: Tag) -> Option<Request<'_>>;

    /// The peer of this tag is there: the handshake is done.
    fn reached(&mut self, tag: Tag, remote: &Remote);

    /// A piece of an answer. [`Part::End`] comes last, and nothing more of this tag.
    fn part(&mut self, now: Instant, tag: Tag, remote: &Remote, part: Part<'_>);

    /// There will be no answer.
    fn failed(&mut self, now: Instant, tag: Tag, failure: &Failure);

    /// Whether connections of others may be taken and requests answered, as [`Settings::inbound`] says.
    fn is_server(&self) -> bool {
        true
    }

    /// Whether requests are answered under this name.
    fn speaks(&self, _: KadProtocol) -> bool {
        true
    }

    /// Answers a request of a peer.
    fn answer(
        &mut self,
        now: Instant,
        remote: &Remote,
        request: Request<'_>,
        out: &mut Writer<'_>,
    ) -> Answer;

    /// Whether peers are asked to tell about themselves (libp2p `specs/identify`).
    fn identifies(&self) -> bool {
        false
    }

    /// A peer told about itself.
    fn identified(&mut self, now: Instant, remote: &Remote, identified: &Identified);

    /// Writes what we tell about ourselves to a peer, without length prefix.
    fn identify(&mut self, remote: &Remote, out: &mut Writer<'_>);

    /// A connection whose handshake was done is over.
    fn left(&mut self, now: Instant, remote: &Remote);
}

/// How a swarm works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Connections of others that are taken; 0: none, and no request is answered.
    pub inbound: usize,
    /// How long a connection is kept that carries nothing.
    pub idle: Duration,
    /// The Kademlia that peers are taken to speak before any has shown what it speaks; [`Dial::prefer`] tells what
    /// follows from it.
    ///
    /// [`Dial::prefer`]: connection::Dial::prefer
    pub prefer: Option<KadProtocol>,
}

/// Connections to many peers, in slots that the caller gives; see the module.
///
/// `RX`, `TX` and `A` are those of [`connection::Connection`]; `D`: peers that are dialled at one time.
#[derive(Debug)]
pub struct Swarm<S, const RX: usize, const TX: usize, const A: usize, const D: usize = DIALS> {
    slots: S,
    identity: Identity,
    seed: Seed,
    settings: Settings,
    dials: Dials<D>,
    /// To be closed: connections whose slot was needed, and those that were refused.
    closing: Vec<ConnectionId, CLOSING, u8>,
    /// Ephemeral keys drawn so far.
    ephemerals: u64,
    /// What the peers of late spoke.
    prefer: Option<KadProtocol>,
    now: Instant,
    stats: Stats,
}

impl<S, const RX: usize, const TX: usize, const A: usize, const D: usize> Swarm<S, RX, TX, A, D>
where
    S: AsRef<[Slot<RX, TX, A>]> + AsMut<[Slot<RX, TX, A>]>,
{
    /// A swarm without connections: what the slots held is forgotten. `seed`: for the ephemeral keys of handshakes.
    #[must_use]
    pub fn new(
        now: Instant,
        mut slots: S,
        identity: Identity,
        seed: Seed,
        settings: Settings,
    ) -> Self {
        slots.as_mut().iter_mut().for_each(Slot::vacate);
        Self {
            slots,
            identity,
            seed,
            settings,
            dials: Dials::new(),
            closing: Vec::new(),
            ephemerals: 0,
            prefer: settings.prefer,
            now,
            stats: Stats::default(),
        }
    }

    /// Our peer id.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.identity.peer_id()
    }

    /// Counters.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The counters, for what the owner counts.
    pub const fn stats_mut(&mut self) -> &mut Stats {
        &mut self.stats
    }

    /// Peers there is a connection to, whose handshake is done.
    pub fn remotes(&self) -> impl Iterator<Item = Remote> {
        self.slots.as_ref().iter().filter_map(|slot| slot.link.as_ref()?.remote())
    }

    /// Whether one more peer can be dialled now without waiting for a slot. More may be asked; they wait.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let slots = self.slots.as_ref().iter();
        let free = slots.filter(|slot| slot.is_free()).count();
        self.dials.unbound() < free.saturating_add(DIALS_AHEAD).min(D)
    }

    /// Asks a peer: on a connection that there is, or by dialling it. The request is taken from the owner in
    /// the next [`Swarm::pump`]; the tag ends as [`Owner`] says.
    ///
    /// # Errors
    /// [`Busy`] when there are as many dials, or requests to this peer, as there can be; the tag is not used.
    pub fn ask(&mut self, now: Instant, target: &Target, tag: Tag) -> Result<(), Busy> {
        let busiest = |slot: &&mut Slot<RX, TX, A>| slot.connection.in_flight();
        let slots = self.slots.as_mut().iter_mut();
        let connected = slots.filter(|slot| target.peer.is_some() && slot.peer() == target.peer);
        if let Some(slot) = connected.min_by_key(busiest) {
            return slot.wait(tag).map_err(|_| Busy);
        }
        let bound = self.dials.add(now, target, tag)?;
        let slot = bound.and_then(|id| slot_of(self.slots.as_mut(), id));
        // The tags of a dial and of its slot are the same: there is room.
        let _ = slot.map(|(_, slot)| slot.wait(tag));
        Ok(())
    }

    /// Gives up every dial and closes every connection. Tags that are under way end without being told.
    pub fn stop(&mut self) {
        self.dials.clear(|id| push(&mut self.closing, id));
        for slot in self.slots.as_mut() {
            slot.connection.reset();
            if let Some(link) = &mut slot.link {
                link.phase = Phase::Cut;
                link.told = true;
            }
        }
    }

    /// Something happened to a connection. A [`Swarm::pump`] has to follow.
    pub fn handle_connection(
        &mut self,
        now: Instant,
        id: ConnectionId,
        input: ConnectionInput<'_>,
        owner: &mut impl Owner,
    ) {
        self.now = now;
        if let Some((at, slot)) = slot_of(self.slots.as_mut(), id) {
            match input {
                ConnectionInput::Received(octets) => {
                    let (connection, mut relay) =
                        slot.split(now, &self.settings, &mut self.stats, owner);
                    connection.handle_octets(now, octets, &self.identity, &mut relay);
                    self.settle(now, at, owner);
                }
                ConnectionInput::Writable { room } => slot.set_room(room),
                ConnectionInput::Closed(reason) => self.vacate(now, at, End::Remote(reason), owner),
                ConnectionInput::Connected | ConnectionInput::Accepted { .. } => {}
            }
            return;
        }
        match input {
            ConnectionInput::Accepted { remote } => self.accept(now, id, remote, owner),
            ConnectionInput::Connected => {
                if !self.dials.connected(now, id, |cut| push(&mut self.closing, cut)) {
                    push(&mut self.closing, id);
                }
            }
            ConnectionInput::Writable { room } => self.dials.set_room(id, room),
            ConnectionInput::Closed(reason) => self.dials.closed(now, id, Why::Tcp(reason)),
            // Of a connection that is being closed.
            ConnectionInput::Received(_) => {}
        }
    }

    /// Runs every timer that is due. A [`Swarm::pump`] has to follow.
    pub fn handle_timeout(&mut self, now: Instant, owner: &mut impl Owner) {
        self.now = now;
        for at in 0..self.slots.as_ref().len() {
            let Some(slot) = self.slots.as_mut().get_mut(at).filter(|slot| slot.link.is_some())
            else {
                continue;
            };
            let (connection, mut relay) = slot.split(now, &self.settings, &mut self.stats, owner);
            if connection.next_wake().is_some_and(|wake| wake.at <= now) {
                connection.handle_timeout(now, &mut relay);
            }
            self.settle(now, at, owner);
            let Some(slot) = self.slots.as_mut().get_mut(at) else { continue };
            if slot.closes_at(self.settings.idle).is_none_or(|at| now < at) {
                continue;
            }
            if slot.is_closing() {
                slot.cut();
            } else {
                let (connection, mut relay) =
                    slot.split(now, &self.settings, &mut self.stats, owner);
                connection.close(&mut relay);
                self.settle(now, at, owner);
            }
        }
    }

    /// Begins what can be begun: dials, handshakes, requests. Ends dials that lead nowhere. Returns whether the
    /// owner was told something, and may want to ask more.
    pub fn pump(&mut self, now: Instant, owner: &mut impl Owner) -> bool {
        self.now = now;
        let (mut told, mut slots) = (false, true);
        while let Some(step) = self.dials.poll(now, slots, |cut| push(&mut self.closing, cut)) {
            match step {
                Step::Failed { tags, failure } => {
                    count!(self.stats, dials_failed);
                    told = true;
                    tags.iter().for_each(|tag| owner.failed(now, *tag, &failure));
                }
                Step::Bind { id } => slots = self.bind(now, id, owner),
            }
        }
        for at in 0..self.slots.as_ref().len() {
            told |= self.open(now, at, owner);
        }
        told
    }

    /// When to run [`Swarm::handle_timeout`] and [`Swarm::pump`].
    #[must_use]
    pub fn next_wake(&self) -> Option<Wake> {
        let mut wake = self.dials.next_wake();
        let is_short = self.dials.waits_for_slot();
        for slot in self.slots.as_ref() {
            if slot.link.is_none() {
                continue;
            }
            let gives_way = slot.gives_way_at().filter(|_| is_short);
            let gives_way = gives_way.map(|at| Wake { at, why: "to give a slot to another peer" });
            wake = Wake::earliest(wake, gives_way);
            wake = Wake::earliest(wake, slot.connection.next_wake());
            let idle = slot.closes_at(self.settings.idle);
            let idle = idle.map(|at| Wake { at, why: "to close a connection" });
            wake = Wake::earliest(wake, idle);
        }
        wake
    }

    /// The next thing to do with a connection; octets to send are put into `buf`.
    pub fn poll_output(
        &mut self,
        buf: &mut [u8],
        owner: &mut impl Owner,
    ) -> Option<(ConnectionId, ConnectionOutput)> {
        if let Some(id) = self.closing.pop() {
            return Some((id, ConnectionOutput::Close));
        }
        if let Some((id, remote)) = self.dials.poll_connect() {
            count!(self.stats, dials);
            return Some((id, ConnectionOutput::Connect { remote }));
        }
        for at in 0..self.slots.as_ref().len() {
            let Some(slot) = self.slots.as_mut().get_mut(at) else { continue };
            let Some(link) = &slot.link else { continue };
            let (id, room) = (link.id, link.room.min(buf.len()));
            let out = buf.get_mut(..room).unwrap_or_default();
            let (connection, mut relay) =
                slot.split(self.now, &self.settings, &mut self.stats, owner);
            let len = connection.poll_send(self.now, out, &mut relay).min(room);
            if len > 0 {
                slot.spend(len);
                return Some((id, ConnectionOutput::Send { len }));
            }
            if slot.is_closing() && (room > 0 || slot.is_cut()) {
                self.vacate(self.now, at, End::Ours, owner);
                return Some((id, ConnectionOutput::Close));
            }
        }
        None
    }

    /// Somebody connected to us.
    fn accept(
        &mut self,
        now: Instant,
        id: ConnectionId,
        remote: SocketAddr,
        owner: &mut impl Owner,
    ) {
        let links = self.slots.as_ref().iter().filter_map(|slot| slot.link.as_ref());
        let inbound = links.filter(|link| link.is_inbound());
        let (mut all, mut of_ip) = (0_usize, 0_usize);
        for link in inbound {
            all = all.saturating_add(1);
            of_ip = of_ip.saturating_add(usize::from(is_one_host(link.address.ip(), remote.ip())));
        }
        let crowded = of_ip >= INBOUND_PER_IP;
        let full = all >= self.settings.inbound;
        let may = !crowded && owner.is_server();
        let Some(at) = may.then(|| self.take_slot(now, SETTLED, full, owner)).flatten() else {
            count!(self.stats, connections_over_limit);
            push(&mut self.closing, id);
            return;
        };
        count!(self.stats, connections_accepted);
        let ephemeral = self.next_ephemeral();
        if let Some(slot) = self.slots.as_mut().get_mut(at) {
            slot.link = Some(Link::new(id, remote, false, 0, now));
            slot.connection.accept(now, ephemeral);
        }
    }

    /// Gives a dialled connection that is there a slot, and opens the requests that wait for it.
    fn bind(&mut self, now: Instant, id: ConnectionId, owner: &mut impl Owner) -> bool {
        let Some(at) = self.take_slot(now, Duration::ZERO, false, owner) else { return false };
        let ephemeral = self.next_ephemeral();
        let Some(bound) = self.dials.bind(id) else { return false };
        let Some(slot) = self.slots.as_mut().get_mut(at) else { return false };
        let dial = connection::Dial { expected: bound.peer, prefer: self.prefer };
        slot.link = Some(Link::new(id, bound.address, true, bound.room, now));
        slot.connection.dial(now, ephemeral, dial);
        for tag in bound.tags {
            // There is room: a dial has as many as a slot.
            let _ = slot.wait(tag);
        }
        true
    }

    /// A slot without a connection; one whose connection was idle for `idle` is cleared. `inbound`: only in
    /// the place of a connection that somebody made to us.
    fn take_slot(
        &mut self,
        now: Instant,
        idle: Duration,
        inbound: bool,
        owner: &mut impl Owner,
    ) -> Option<usize> {
        let mut slots = self.slots.as_ref().iter();
        if !inbound && let Some(at) = slots.position(|slot| slot.link.is_none()) {
            return Some(at);
        }
        let slots = self.slots.as_ref().iter().enumerate();
        let idle_since = slots.filter_map(|(at, slot)| {
            let link = slot.link.as_ref()?;
            let may = !inbound || link.is_inbound();
            let since = slot.idle_since().filter(|since| may && now.since(*since) >= idle)?;
            Some((since, at))
        });
        let (end, at) = match (idle_since.min(), inbound) {
            (Some((_, at)), _) => (End::Ours, at),
            (None, true) => return None,
            (None, false) => (End::Error(connection::Error::HandshakeTimedOut), self.tarpit(now)?),
        };
        if let Some(link) = self.slots.as_ref().get(at).and_then(|slot| slot.link.as_ref()) {
            push(&mut self.closing, link.id);
        }
        self.vacate(now, at, end, owner);
        Some(at)
    }

    /// A slot whose peer says nothing for long.
    fn tarpit(&self, now: Instant) -> Option<usize> {
        let slots = self.slots.as_ref().iter().enumerate();
        let late = slots.filter_map(|(at, slot)| Some((slot.gives_way_at()?, at)));
        late.filter(|(until, _)| *until <= now).min().map(|(_, at)| at)
    }

    /// Opens the requests that wait for a connection, as far as it has room for them.
    fn open(&mut self, now: Instant, at: usize, owner: &mut impl Owner) -> bool {
        let mut told = false;
        let Some(slot) = self.slots.as_mut().get_mut(at) else { return false };
        loop {
            let Some(link) = &mut slot.link else { return told };
            let Some(tag) = link.waiting.first().copied() else { break };
            let Some(request) = owner.request(tag) else {
                link.waiting.remove(0);
                self.dials.drop_tag(link.id, tag);
                continue;
            };
            if link.open.is_full() || slot.connection.open(now, request, tag).is_err() {
                break;
            }
            link.waiting.remove(0);
            // There is room: it was looked at.
            let _ = link.open.push(tag);
            if let Some(remote) = link.remote() {
                told = true;
                owner.reached(tag, &remote);
            }
        }
        told
    }

    /// After a connection was given something: notes what became of it.
    fn settle(&mut self, now: Instant, at: usize, owner: &mut impl Owner) {
        let Some(slot) = self.slots.as_mut().get_mut(at) else { return };
        let Some(link) = &mut slot.link else { return };
        if link.is_closing() {
            return;
        }
        self.prefer = slot.connection.kad_protocol().or(self.prefer);
        if slot.connection.is_closed() {
            let why = link.why.map_or(End::Ours, End::Error);
            link.phase = Phase::Closing(now + FLUSH);
            self.tell_end(now, at, why, owner);
            return;
        }
        let failed = core::mem::take(&mut link.failed);
        // A listener can open streams only when the muxer is chosen too, which is later than who is there.
        let is_ready = !link.is_inbound() || slot.connection.is_open();
        if link.phase == Phase::Handshake && link.peer.is_some() && is_ready {
            link.phase = Phase::Open;
            self.dials.established(link.id, |cut| push(&mut self.closing, cut));
            if owner.identifies() {
                // It has room: no stream was opened by either side but for the requests that wait.
                let _ = slot.connection.open_identify(now);
            }
        }
        let address = Some(link.address);
        for (tag, why) in failed {
            self.dials.drop_tag(link.id, tag);
            owner.failed(now, tag, &Failure { address, why: Why::Stream(why) });
        }
    }

    /// Makes a slot free. The driver closes the connection, or has done so.
    fn vacate(&mut self, now: Instant, at: usize, end: End, owner: &mut impl Owner) {
        self.tell_end(now, at, end, owner);
        let Some(slot) = self.slots.as_mut().get_mut(at) else { return };
        slot.vacate();
    }

    /// Tells that a connection is over, once. Before its handshake was done, the next address is tried.
    fn tell_end(&mut self, now: Instant, at: usize, end: End, owner: &mut impl Owner) {
        let slot = self.slots.as_mut().get_mut(at);
        let Some(link) = slot.and_then(|slot| slot.link.as_mut()) else { return };
        if core::mem::replace(&mut link.told, true) {
            return;
        }
        let Some(remote) = link.remote() else {
            self.dials.closed(now, link.id, end.before_handshake());
            return;
        };
        let failure = Failure { address: Some(link.address), why: end.after_handshake() };
        let failed = link.failed.iter().map(|(tag, _)| tag);
        for tag in link.open.iter().chain(&link.waiting).chain(failed) {
            owner.failed(now, *tag, &failure);
        }
        owner.left(now, &remote);
    }

    fn next_ephemeral(&mut self) -> [u8; 32] {
        self.ephemerals = self.ephemerals.wrapping_add(1);
        self.seed.secret("ephemeral key", self.ephemerals)
    }
}

/// There are as many dials, or requests to one peer, as there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// How long our last words may take.
const FLUSH: Duration = Duration::from_secs(1);

/// Requests that are under way with one peer.
type Tags = Vec<Tag, TAGS_PER_PEER, u8>;

fn slot_of<const RX: usize, const TX: usize, const A: usize>(
    slots: &mut [Slot<RX, TX, A>],
    id: ConnectionId,
) -> Option<(usize, &mut Slot<RX, TX, A>)> {
    let mut slots = slots.iter_mut().enumerate();
    slots.find(|(_, slot)| slot.link.as_ref().is_some_and(|link| link.id == id))
}

/// Notes a connection to close. There is room for all that one input can end.
fn push(closing: &mut Vec<ConnectionId, CLOSING, u8>, id: ConnectionId) {
    let noted = closing.push(id);
    debug_assert!(noted.is_ok(), "more connections to close than there can be");
}

/// Whether two addresses are of one host, as far as can be told: an IPv6 host has a /64 for itself.
fn is_one_host(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            a.segments().iter().take(4).eq(b.segments().iter().take(4))
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _) => a == b,
    }
}
