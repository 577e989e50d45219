//! One connection: two ends, and what is under way from each to the other.

use std::collections::VecDeque;
use std::net::SocketAddr;

use phase_core::machine::{CloseReason, ConnectionId};
use phase_core::time::Instant;

use super::{
    DIAL_TIMEOUT, Door, Due, Happening, RETRANSMISSION, RETRANSMISSION_MAX, Reason, SEND_TIMEOUT,
    Tcp,
};

/// Octets that arrive at one instant and are told as one.
const TOGETHER_MAX: usize = 65_536;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Dialer,
    Listener,
}

impl Side {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Listener,
            Self::Listener => Self::Dialer,
        }
    }

    pub(super) const fn index(self) -> usize {
        match self {
            Self::Dialer => 0,
            Self::Listener => 1,
        }
    }
}

#[derive(Debug)]
pub(super) struct End {
    pub(super) host: usize,
    pub(super) life: u32,
    /// What its machine calls it; a listener learns of it late.
    pub(super) id: Option<ConnectionId>,
    pub(super) address: SocketAddr,
    /// Whether its machine has it.
    pub(super) open: bool,
    /// Whether its machine was told that it is there.
    pub(super) made: bool,
    /// Room that its machine was told of and did not use.
    pub(super) room: usize,
}

#[derive(Debug)]
pub(super) enum Segment {
    /// The dialer asks (SYN).
    Open,
    /// The listener agrees (SYN and ACK).
    Agree,
    /// The dialer has heard it (ACK).
    Heard,
    Data(Vec<u8>),
    /// Nothing more comes (FIN).
    End,
}

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) under_way: VecDeque<(Instant, Segment)>,
    /// Octets sent whose acknowledgement has not come.
    pub(super) unacknowledged: usize,
    /// When the first segment under way was first sent.
    pub(super) first_try: Instant,
    tries: u32,
}

impl Default for Flow {
    fn default() -> Self {
        Self { under_way: VecDeque::new(), unacknowledged: 0, first_try: Instant::ZERO, tries: 0 }
    }
}

#[derive(Debug)]
pub(super) struct Pair {
    pub(super) ends: [End; 2],
    pub(super) flows: [Flow; 2],
    /// Nothing gets through any more.
    pub(super) silent: bool,
}

impl Pair {
    /// Whether nothing can come of it any more.
    pub(super) fn is_over(&self) -> bool {
        self.ends.iter().all(|end| !end.open)
            && self.flows.iter().all(|flow| flow.under_way.is_empty())
    }
}

impl Tcp {
    pub(super) fn happen(&mut self, now: Instant, what: Due) {
        match what {
            Due::Arrival(key, from) => self.arrive(now, key, from),
            Due::Acknowledged(key, side, count) => {
                let window = self.conditions.window;
                let Some(pair) = self.pairs.get_mut(&key) else { return };
                let flow = &mut pair.flows[side.index()];
                flow.unacknowledged = flow.unacknowledged.saturating_sub(count);
                let room = window.saturating_sub(flow.unacknowledged);
                // A system wakes its user when the buffer has become half empty, not for every segment.
                let known = pair.ends[side.index()].room;
                if room > known && known <= window / 2 {
                    self.told.push_back((key, side, Happening::Writable(room)));
                }
            }
            Due::Over(key, side, reason) => {
                self.told.push_back((key, side, Happening::Closed(reason.into())));
            }
        }
    }

    /// The first segment under way from a side arrives, or has to be sent again.
    fn arrive(&mut self, now: Instant, key: u64, from: Side) {
        let Some(pair) = self.pairs.get(&key) else { return };
        if pair.flows[from.index()].under_way.is_empty() {
            return;
        }
        let sender = &pair.ends[from.index()];
        let (host, again) = (sender.host, pair.flows[from.index()].tries > 0);
        if again && self.hosts[host].life != sender.life {
            // Nobody is there to send it again.
            return self.forget(key, from);
        }
        let at_home = self.places.get(&sender.address.ip()) == Some(&host);
        let to = pair.ends[from.other().index()].address.ip();
        let receiver = self.places.get(&to).copied();
        match receiver.filter(|to| at_home && !pair.silent && self.is_joined(host, *to)) {
            Some(receiver) => self.deliver(now, key, from, receiver),
            None => self.send_again(now, key, from),
        }
    }

    /// Whether a packet between two hosts gets there.
    fn is_joined(&self, a: usize, b: usize) -> bool {
        let (from, to) = (&self.hosts[a], &self.hosts[b]);
        to.present && to.reachable && from.reachable && from.island == to.island
    }

    fn send_again(&mut self, now: Instant, key: u64, from: Side) {
        let Some(pair) = self.pairs.get_mut(&key) else { return };
        let dialling =
            matches!(pair.flows[from.index()].under_way.front(), Some((_, Segment::Open)));
        let flow = &mut pair.flows[from.index()];
        let limit = if dialling { DIAL_TIMEOUT } else { SEND_TIMEOUT };
        if now.since(flow.first_try) >= limit {
            self.told.push_back((key, from, Happening::Closed(CloseReason::TimedOut)));
            return self.forget(key, from);
        }
        let wait = RETRANSMISSION.saturating_mul(1 << flow.tries.min(16)).min(RETRANSMISSION_MAX);
        flow.tries += 1;
        let again = (now + wait).min(flow.first_try + limit).max(now);
        self.at(again, Due::Arrival(key, from));
    }

    /// Drops what is under way from a side.
    fn forget(&mut self, key: u64, from: Side) {
        let Some(pair) = self.pairs.get_mut(&key) else { return };
        pair.flows[from.index()].under_way.clear();
        self.tidy(key);
    }

    /// Drops a connection of which nothing can come any more.
    pub(super) fn tidy(&mut self, key: u64) {
        let told = self.told.iter().any(|(other, ..)| *other == key);
        if !told && self.pairs.get(&key).is_some_and(Pair::is_over) {
            self.pairs.remove(&key);
        }
    }

    fn deliver(&mut self, now: Instant, key: u64, from: Side, receiver: usize) {
        if self.chance(self.conditions.reset) {
            return self.break_off(key);
        }
        let together = self.conditions.cut.is_none();
        let Some(pair) = self.pairs.get_mut(&key) else { return };
        let flow = &mut pair.flows[from.index()];
        let Some((_, mut segment)) = flow.under_way.pop_front() else { return };
        while let (true, Segment::Data(octets)) = (together, &mut segment) {
            match flow.under_way.front_mut() {
                Some((at, Segment::Data(more)))
                    if *at <= now && octets.len() + more.len() <= TOGETHER_MAX =>
                {
                    octets.append(more);
                    flow.under_way.pop_front();
                }
                Some(_) | None => break,
            }
        }
        flow.tries = 0;
        flow.first_try = now;
        let next = flow.under_way.front().map(|(at, _)| *at);
        if let Some(at) = next {
            self.at(at.max(now), Due::Arrival(key, from));
        }
        self.take(now, key, from, receiver, segment);
    }

    fn take(&mut self, now: Instant, key: u64, from: Side, receiver: usize, segment: Segment) {
        let to = from.other();
        let life = self.hosts[receiver].life;
        let Some(pair) = self.pairs.get_mut(&key) else { return };
        let stranger = pair.ends[to.index()].life != life;
        match segment {
            Segment::Open => self.knock(now, key, receiver),
            _ if stranger => {
                // It does not know the connection, and says so (RFC 9293 §3.10.7.1).
                self.forget(key, from);
                let at = now + self.delay(key);
                self.at(at, Due::Over(key, from, Reason::Reset));
            }
            Segment::Agree => {
                self.fly(now, key, to, Segment::Heard);
                self.told.push_back((key, to, Happening::Connected));
                self.told.push_back((key, to, Happening::Writable(self.conditions.window)));
            }
            Segment::Heard => {
                let host = &mut self.hosts[receiver];
                let id = ConnectionId::Accepted(host.next_accepted);
                host.next_accepted += 1;
                let remote = pair.ends[from.index()].address;
                let end = &mut pair.ends[to.index()];
                (end.id, end.open, end.made) = (Some(id), true, true);
                self.ends.insert((receiver, id), (key, to));
                self.told.push_back((key, to, Happening::Accepted(remote)));
                self.told.push_back((key, to, Happening::Writable(self.conditions.window)));
            }
            Segment::Data(octets) => {
                let acknowledged = Due::Acknowledged(key, from, octets.len());
                self.told.push_back((key, to, Happening::Received(octets)));
                let at = now + self.delay(key);
                self.at(at, acknowledged);
            }
            Segment::End => {
                self.told.push_back((key, to, Happening::Closed(CloseReason::Ended)));
            }
        }
    }

    /// A dialer's first segment has come to a host.
    fn knock(&mut self, now: Instant, key: u64, receiver: usize) {
        let Some(pair) = self.pairs.get_mut(&key) else { return };
        let door = self.hosts[receiver].door;
        let port = pair.ends[Side::Listener.index()].address.port();
        match door {
            Door::Open(open) if open == port => {
                let end = &mut pair.ends[Side::Listener.index()];
                (end.host, end.life) = (receiver, self.hosts[receiver].life);
                self.fly(now, key, Side::Listener, Segment::Agree);
            }
            Door::Open(_) | Door::Refuses => {
                let at = now + self.delay(key);
                self.at(at, Due::Over(key, Side::Dialer, Reason::Refused));
            }
            Door::Silent => {
                let at = now + DIAL_TIMEOUT;
                self.at(at, Due::Over(key, Side::Dialer, Reason::TimedOut));
            }
        }
    }
}
