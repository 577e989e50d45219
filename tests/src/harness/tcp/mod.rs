//! Simulated TCP (RFC 9293) as a machine sees it: connections that are made, refused or never answered, octets in
//! order after a time, cut anywhere, with little room, reset or silently dead at any moment.
//! A lost segment is a late one; half-open connections, urgent data and congestion windows are left out.
//! Everything that the contract of [`ConnectionOutput`] forbids a machine is a panic here.

mod pair;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use phase_core::limits::TRANSMIT_MAX;
use phase_core::machine::{CloseReason, ConnectionId, ConnectionOutput};
use phase_core::rng::Rng;
use phase_core::time::Instant;

use pair::{End, Flow, Pair, Segment, Side};

/// The first wait before something is sent again (RFC 6298 §2 asks for 1 s, systems use less).
const RETRANSMISSION: Duration = Duration::from_millis(200);

/// The longest wait before something is sent again.
const RETRANSMISSION_MAX: Duration = Duration::from_secs(120);

/// After this a dial without an answer fails, as on Linux with its 6 retries.
const DIAL_TIMEOUT: Duration = Duration::from_secs(127);

/// After this a connection whose octets are not acknowledged fails, as on Linux with its 15 retries.
const SEND_TIMEOUT: Duration = Duration::from_secs(924);

/// Happenings at one instant; more is a machine that dials or sends without end.
const AT_ONCE_MAX: u32 = 2_000_000;

/// How TCP goes on a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TcpConditions {
    /// The shortest and longest time one way; each host may add its own ([`super::Network::set_distance`]).
    pub latency: (Duration, Duration),
    /// The fewest and most octets that arrive together; `None`: what was sent together arrives together, and
    /// what arrives at one instant arrives as one.
    pub cut: Option<(usize, usize)>,
    /// Octets that one side may have under way: the room that a machine is told of. 1 and up.
    pub window: usize,
    /// Probability of 0 to 1 that a segment has to be sent again, 200 ms later.
    pub loss: f64,
    /// Probability of 0 to 1 that a segment is the last: both sides find the connection reset.
    pub reset: f64,
}

impl Default for TcpConditions {
    fn default() -> Self {
        let latency = (Duration::from_millis(9), Duration::from_millis(11));
        Self { latency, cut: None, window: 65_536, loss: 0.0, reset: 0.0 }
    }
}

/// How a host meets those who connect to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Accepts at this port, refuses at others.
    Open(u16),
    /// Refuses at every port.
    Refuses,
    /// Answers nobody, as behind a firewall or a translator.
    Silent,
}

/// What a host did with TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpTraffic {
    /// Connections that its machine asked for.
    pub dials: u64,
    /// Of those, the ones that were made.
    pub connected: u64,
    /// Connections that others made to it.
    pub accepted: u64,
    /// Times that its machine gave octets to send.
    pub sends: u64,
    /// Those octets.
    pub octets_sent: u64,
    /// Octets that arrived.
    pub octets_received: u64,
}

/// Something to tell a machine.
#[derive(Debug)]
pub(super) enum Happening {
    Connected,
    Accepted(SocketAddr),
    Received(Vec<u8>),
    Writable(usize),
    Closed(CloseReason),
}

#[derive(Debug)]
struct Host {
    addresses: Vec<IpAddr>,
    door: Door,
    /// Counts restarts: the connections of an earlier life are unknown to the later one.
    life: u32,
    present: bool,
    reachable: bool,
    /// Hosts of different islands cannot reach each other.
    island: u32,
    distance: Duration,
    dialed: BTreeSet<ConnectionId>,
    next_port: u16,
    next_accepted: u32,
    traffic: TcpTraffic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The first segment of a flow arrives: pair, and the side that sent it.
    Arrival(u64, Side),
    /// So many octets of a side are acknowledged.
    Acknowledged(u64, Side, usize),
    /// A side learns that the connection is over.
    Over(u64, Side, Reason),
}

/// A [`CloseReason`] with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    Refused,
    Unreachable,
    TimedOut,
    Reset,
}

impl From<Reason> for CloseReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Refused => Self::Refused,
            Reason::Unreachable => Self::Unreachable,
            Reason::TimedOut => Self::TimedOut,
            Reason::Reset => Self::Reset,
        }
    }
}

/// All connections of a network.
#[derive(Debug)]
pub(super) struct Tcp {
    pub(super) conditions: TcpConditions,
    rng: Rng,
    hosts: Vec<Host>,
    places: BTreeMap<IpAddr, usize>,
    /// No way leads to these.
    nowhere: BTreeSet<IpAddr>,
    pairs: BTreeMap<u64, Pair>,
    ends: BTreeMap<(usize, ConnectionId), (u64, Side)>,
    next_pair: u64,
    queue: BinaryHeap<Reverse<(Instant, u64, Due)>>,
    order: u64,
    told: VecDeque<(u64, Side, Happening)>,
    at_once: (Instant, u32),
}

impl Tcp {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            conditions: TcpConditions::default(),
            rng,
            hosts: Vec::new(),
            places: BTreeMap::new(),
            nowhere: BTreeSet::new(),
            pairs: BTreeMap::new(),
            ends: BTreeMap::new(),
            next_pair: 0,
            queue: BinaryHeap::new(),
            order: 0,
            told: VecDeque::new(),
            at_once: (Instant::ZERO, 0),
        }
    }

    /// Adds the next host.
    pub(super) fn add_host(&mut self, addresses: Vec<IpAddr>, door: Door) {
        for address in &addresses {
            let other = self.places.insert(*address, self.hosts.len());
            assert!(other.is_none(), "two hosts have the address {address}");
        }
        self.hosts.push(Host {
            addresses,
            door,
            life: 0,
            present: true,
            reachable: true,
            island: 0,
            distance: Duration::ZERO,
            dialed: BTreeSet::new(),
            next_port: 32_768,
            next_accepted: 0,
            traffic: TcpTraffic::default(),
        });
    }

    pub(super) fn set_door(&mut self, host: usize, door: Door) {
        self.hosts[host].door = door;
    }

    pub(super) fn set_island(&mut self, host: usize, island: u32) {
        self.hosts[host].island = island;
    }

    pub(super) fn set_distance(&mut self, host: usize, distance: Duration) {
        self.hosts[host].distance = distance;
    }

    pub(super) fn set_nowhere(&mut self, address: IpAddr) {
        self.nowhere.insert(address);
    }

    pub(super) fn set_reachable(&mut self, host: usize, reachable: bool) {
        self.hosts[host].reachable = reachable;
    }

    /// Gives a host other addresses; what went over those that it has no more is never answered.
    pub(super) fn set_addresses(&mut self, host: usize, addresses: Vec<IpAddr>) {
        self.places.retain(|_, owner| *owner != host);
        for address in &addresses {
            let other = self.places.insert(*address, host);
            assert!(other.is_none(), "two hosts have the address {address}");
        }
        self.hosts[host].addresses = addresses;
    }

    /// Takes a host away with all that it knows, without a word.
    pub(super) fn end_life(&mut self, host: usize) {
        self.hosts[host].present = false;
        self.hosts[host].life += 1;
        self.ends.retain(|(owner, _), _| *owner != host);
        for pair in self.pairs.values_mut() {
            for end in &mut pair.ends {
                if end.host == host {
                    end.open = false;
                }
            }
        }
    }

    /// Brings it back: it knows no connection.
    pub(super) fn begin_life(&mut self, host: usize) {
        let host = &mut self.hosts[host];
        (host.present, host.next_accepted) = (true, 0);
        host.dialed.clear();
    }

    pub(super) fn addresses(&self, host: usize) -> &[IpAddr] {
        &self.hosts[host].addresses
    }

    pub(super) fn door(&self, host: usize) -> Door {
        self.hosts[host].door
    }

    pub(super) fn traffic(&self, host: usize) -> TcpTraffic {
        self.hosts[host].traffic
    }

    /// Connections that are not over, with all hosts together.
    pub(super) fn count(&self) -> usize {
        self.pairs.len()
    }

    /// The open connections of a host.
    pub(super) fn open(&self, host: usize) -> Vec<(ConnectionId, SocketAddr)> {
        let range = (host, ConnectionId::Dialed(0))..=(host, ConnectionId::Accepted(u32::MAX));
        let open = self.ends.range(range).map(|((_, id), (pair, side))| {
            (*id, self.pairs[pair].ends[side.other().index()].address)
        });
        open.collect()
    }

    /// Both sides of a connection find it reset, now.
    pub(super) fn reset(&mut self, host: usize, id: ConnectionId) {
        let (pair, _) = self.ends[&(host, id)];
        self.break_off(pair);
    }

    /// From now on nothing of a connection reaches the other side; nobody is told.
    pub(super) fn silence(&mut self, host: usize, id: ConnectionId) {
        let (pair, _) = self.ends[&(host, id)];
        if let Some(pair) = self.pairs.get_mut(&pair) {
            pair.silent = true;
        }
    }

    fn break_off(&mut self, pair: u64) {
        for flow in self.pairs.get_mut(&pair).into_iter().flat_map(|p| &mut p.flows) {
            flow.under_way.clear();
        }
        for side in [Side::Dialer, Side::Listener] {
            self.told.push_back((pair, side, Happening::Closed(CloseReason::Reset)));
        }
    }

    /// What a machine put out.
    pub(super) fn output(
        &mut self,
        now: Instant,
        host: usize,
        id: ConnectionId,
        (output, octets): (ConnectionOutput, &[u8]),
    ) {
        match output {
            ConnectionOutput::Connect { remote } => self.dial(now, host, id, remote),
            ConnectionOutput::Send { len } => {
                assert!((1..=TRANSMIT_MAX).contains(&len), "sends 1 to TRANSMIT_MAX octets: {len}");
                self.send(now, (host, id), &octets[..len]);
            }
            ConnectionOutput::Close => {
                let there = self.ends.remove(&(host, id));
                let Some((key, side)) = there else {
                    panic!("host {host} closes {id:?}, which is not open");
                };
                self.close(now, key, side);
            }
        }
    }

    fn close(&mut self, now: Instant, key: u64, side: Side) {
        let Some(pair) = self.pairs.get_mut(&key) else { return };
        let end = &mut pair.ends[side.index()];
        end.open = false;
        if end.made {
            self.fly(now, key, side, Segment::End);
        } else {
            // A dial that is given up leaves nothing behind.
            self.pairs.remove(&key);
        }
    }

    fn dial(&mut self, now: Instant, host: usize, id: ConnectionId, remote: SocketAddr) {
        assert!(matches!(id, ConnectionId::Dialed(_)), "host {host} connects under {id:?}");
        let there = &mut self.hosts[host];
        assert!(there.dialed.insert(id), "host {host} uses {id:?} twice");
        there.traffic.dials += 1;
        let local = there.addresses.iter().find(|a| a.is_ipv4() == remote.is_ipv4()).copied();
        let port = there.next_port;
        there.next_port = if port == u16::MAX { 32_768 } else { port + 1 };
        let own = SocketAddr::new(local.unwrap_or_else(|| remote.ip()), port);
        let life = there.life;
        let dialer =
            End { host, life, id: Some(id), address: own, open: true, made: false, room: 0 };
        // Who it reaches is found when it arrives.
        let listener = End {
            host: usize::MAX,
            life: 0,
            id: None,
            address: remote,
            open: false,
            made: false,
            room: 0,
        };
        let key = self.next_pair;
        self.next_pair += 1;
        let flows = [Flow::default(), Flow::default()];
        self.pairs.insert(key, Pair { ends: [dialer, listener], flows, silent: false });
        self.ends.insert((host, id), (key, Side::Dialer));
        if local.is_none() || self.nowhere.contains(&remote.ip()) {
            self.at(now, Due::Over(key, Side::Dialer, Reason::Unreachable));
        } else {
            self.fly(now, key, Side::Dialer, Segment::Open);
        }
    }

    fn send(&mut self, now: Instant, (host, id): (usize, ConnectionId), octets: &[u8]) {
        let Some((key, side)) = self.ends.get(&(host, id)).copied() else {
            panic!("host {host} sends on {id:?}, which is not open");
        };
        let traffic = &mut self.hosts[host].traffic;
        traffic.sends += 1;
        traffic.octets_sent += octets.len() as u64;
        let Some(pair) = self.pairs.get_mut(&key) else { return };
        let end = &mut pair.ends[side.index()];
        let room = end.room;
        assert!(octets.len() <= room, "host {host} sends {} into room {room}", octets.len());
        end.room -= octets.len();
        pair.flows[side.index()].unacknowledged += octets.len();
        let mut rest = octets;
        while !rest.is_empty() {
            let most = self.conditions.cut.map_or(rest.len(), |(low, high)| {
                low + usize::try_from(self.rng.u64() % (high - low + 1) as u64).unwrap_or(0)
            });
            let (first, later) = rest.split_at(most.clamp(1, rest.len()));
            self.fly(now, key, side, Segment::Data(first.to_vec()));
            rest = later;
        }
    }

    fn at(&mut self, at: Instant, due: Due) {
        self.order += 1;
        self.queue.push(Reverse((at, self.order, due)));
    }

    /// Puts a segment under way, behind those of its side that are.
    fn fly(&mut self, now: Instant, key: u64, from: Side, segment: Segment) {
        let at = now + self.delay(key);
        let Some(pair) = self.pairs.get_mut(&key) else { return };
        let flow = &mut pair.flows[from.index()];
        let at = flow.under_way.back().map_or(at, |(last, _)| at.max(*last));
        flow.under_way.push_back((at, segment));
        if flow.under_way.len() == 1 {
            flow.first_try = now;
            self.at(at, Due::Arrival(key, from));
        }
    }

    fn delay(&mut self, key: u64) -> Duration {
        let (low, high) = self.conditions.latency;
        let mut delay = self.rng.duration(low, high);
        if self.chance(self.conditions.loss) {
            delay += RETRANSMISSION;
        }
        let ends = self.pairs.get(&key).map(|p| [p.ends[0].host, p.ends[1].host]);
        for host in ends.into_iter().flatten() {
            delay += self.hosts.get(host).map_or(Duration::ZERO, |h| h.distance);
        }
        delay
    }

    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && super::chance(&mut self.rng, probability)
    }

    /// When something happens next.
    pub(super) fn next_at(&self, now: Instant) -> Option<Instant> {
        if !self.told.is_empty() {
            return Some(now);
        }
        self.queue.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next thing to tell a machine at `now`.
    pub(super) fn next(&mut self, now: Instant) -> Option<(usize, ConnectionId, Happening)> {
        loop {
            while let Some((key, side, happening)) = self.told.pop_front() {
                let told = self.tell(key, side, happening);
                self.tidy(key);
                if told.is_some() {
                    return told;
                }
            }
            let due = self.queue.peek().is_some_and(|Reverse((at, ..))| *at <= now);
            if !due {
                return None;
            }
            let Reverse((_, _, what)) = self.queue.pop()?;
            self.at_once = if self.at_once.0 == now { (now, self.at_once.1 + 1) } else { (now, 0) };
            assert!(self.at_once.1 < AT_ONCE_MAX, "something goes on without end at one instant");
            self.happen(now, what);
        }
    }

    /// What the end hears, if it is still there.
    fn tell(
        &mut self,
        key: u64,
        side: Side,
        mut happening: Happening,
    ) -> Option<(usize, ConnectionId, Happening)> {
        let pair = self.pairs.get_mut(&key)?;
        let unacknowledged = pair.flows[side.index()].unacknowledged;
        let end = &mut pair.ends[side.index()];
        let id = end.id.filter(|_| end.open)?;
        let traffic = &mut self.hosts[end.host].traffic;
        match &mut happening {
            Happening::Connected => {
                end.made = true;
                traffic.connected += 1;
            }
            Happening::Accepted(_) => traffic.accepted += 1,
            Happening::Received(octets) => traffic.octets_received += octets.len() as u64,
            Happening::Writable(room) => {
                *room = self.conditions.window.saturating_sub(unacknowledged);
                end.room = *room;
                if *room == 0 {
                    return None;
                }
            }
            Happening::Closed(_) => {
                end.open = false;
                self.ends.remove(&(end.host, id));
            }
        }
        Some((end.host, id, happening))
    }
}
