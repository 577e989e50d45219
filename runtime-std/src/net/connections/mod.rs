//! TCP connections for the driver: listening, dialling, and a bounded queue of octets for each.
//!
//! One task serves all of them; a connection that is idle costs nothing. Not here: what is said on them, whom to
//! dial, and for how long to wait for anything but the last octets of a connection that was closed.

mod listener;
mod ready;
mod slot;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use phase_core::machine::{
    CloseReason, ConnectionId, ConnectionInput, ConnectionOutput, Input, Machine, TransmitBuffer,
};
use phase_core::time::Instant;
use tokio::net::TcpStream;

use self::listener::{Accept, Listener};
use self::ready::{Ready, Token};
pub use self::slot::Manner;
use self::slot::{Slot, State, reason};

/// How long the last octets of a closed connection may take.
const CLOSING_MAX: Duration = Duration::from_secs(3);

/// Octets received at once: the largest Noise message and its length.
const RECEIVE_MAX: usize = 65_537;

/// How long nothing is accepted after the system had no room for another connection.
const PAUSE: Duration = Duration::from_millis(200);

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Together, those that are being closed included.
    pub total: usize,
    /// Accepted ones together; less than `total`, so that dialling goes on.
    pub accepted: usize,
    /// Accepted ones from one IPv4 address or one IPv6 /64.
    pub accepted_per_address: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { total: 256, accepted: 192, accepted_per_address: 48 }
    }
}

/// What became of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounters {
    /// Connections accepted and told to the machine.
    pub accepted: u64,
    /// Connections accepted and closed at once: there are too many.
    pub refused_total: u64,
    /// Connections accepted and closed at once: there are too many from that address.
    pub refused_per_address: u64,
    /// Connections asked for by the machine.
    pub dialed: u64,
    /// Connections that could not be begun: too many, or the system had no room.
    pub not_dialed: u64,
    /// Octets sent.
    pub octets_sent: u64,
    /// Octets received.
    pub octets_received: u64,
}

/// All connections of one machine.
#[derive(Debug)]
pub(crate) struct Connections {
    listeners: Vec<Listener>,
    slots: BTreeMap<ConnectionId, Slot>,
    limits: ConnectionLimits,
    manner: Manner,
    ready: Ready,
    /// Connections that could not be begun.
    failed: VecDeque<(ConnectionId, CloseReason)>,
    /// Connections with something to tell the machine.
    news: VecDeque<ConnectionId>,
    /// Connections with something to send.
    unsent: Vec<ConnectionId>,
    /// Connections that were closed, the oldest first.
    closing: VecDeque<(Instant, ConnectionId)>,
    /// Nothing is accepted until then.
    paused: Option<Instant>,
    next_accepted: u32,
    buffer: Box<[u8]>,
    counters: ConnectionCounters,
}

impl Connections {
    /// Listens on all of `addresses`. `manner`: of those that are dialled.
    ///
    /// # Errors
    /// The first that cannot be listened on, and why.
    pub(crate) fn open(
        addresses: &[SocketAddr],
        limits: ConnectionLimits,
        manner: Manner,
    ) -> Result<Self, (SocketAddr, io::Error)> {
        let ready = Ready::default();
        let mut listeners = Vec::with_capacity(addresses.len());
        for address in addresses {
            let bell = ready.doorbell(Token::Listener(listeners.len()));
            let listener = Listener::open(*address, bell).map_err(|error| (*address, error))?;
            listeners.push(listener);
        }
        Ok(Self {
            listeners,
            slots: BTreeMap::new(),
            limits,
            manner,
            ready,
            failed: VecDeque::new(),
            news: VecDeque::new(),
            unsent: Vec::new(),
            closing: VecDeque::new(),
            paused: None,
            next_accepted: 0,
            buffer: Box::default(),
            counters: ConnectionCounters::default(),
        })
    }

    /// The addresses that are listened on, with the ports the system chose.
    pub(crate) fn listening(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.listeners.iter().map(|listener| listener.address)
    }

    pub(crate) const fn counters(&self) -> ConnectionCounters {
        self.counters
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Does what the machine says; `buffer` holds the octets of [`ConnectionOutput::Send`].
    pub(crate) fn obey(
        &mut self,
        now: Instant,
        id: ConnectionId,
        what: ConnectionOutput,
        buffer: &TransmitBuffer,
    ) {
        match what {
            ConnectionOutput::Connect { remote } => self.dial(id, remote),
            ConnectionOutput::Send { len } => {
                let (Some(slot), Some(octets)) = (self.slots.get_mut(&id), buffer.get(..len))
                else {
                    return;
                };
                slot.give(octets);
                self.counters.octets_sent += octets.len() as u64;
                if self.unsent.last() != Some(&id) {
                    self.unsent.push(id);
                }
            }
            ConnectionOutput::Close => self.close(now, id),
        }
    }

    fn dial(&mut self, id: ConnectionId, remote: SocketAddr) {
        self.counters.dialed += 1;
        let slot = if self.slots.len() < self.limits.total {
            Slot::dial(remote, self.manner, self.ready.doorbell(Token::Connection(id)))
        } else {
            Err(io::Error::other("too many connections"))
        };
        match slot {
            Ok(slot) => drop(self.slots.insert(id, slot)),
            Err(error) => {
                tracing::debug!(%remote, %error, "not dialled");
                self.counters.not_dialed += 1;
                self.failed.push_back((id, reason(&error, true)));
            }
        }
    }

    fn close(&mut self, now: Instant, id: ConnectionId) {
        self.failed.retain(|(failed, _)| *failed != id);
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let until = now + CLOSING_MAX;
        slot.close(until);
        match slot.state() {
            State::Gone => drop(self.slots.remove(&id)),
            State::Connecting | State::Open | State::Closing { .. } | State::Over(_) => {
                self.closing.push_back((until, id));
            }
        }
    }

    /// Sends what the machine gave since the last time, as far as the system takes it.
    pub(crate) fn flush(&mut self) {
        for id in std::mem::take(&mut self.unsent) {
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.flush();
                self.follow(id);
            }
        }
    }

    /// Feeds one piece of news that is here already; whether there was one.
    pub(crate) fn tell<M: Machine>(&mut self, machine: &mut M, now: Instant) -> bool {
        if let Some((id, reason)) = self.failed.pop_front() {
            machine.handle_input(now, Input::Connection(id, ConnectionInput::Closed(reason)));
            return true;
        }
        while let Some(id) = self.news.pop_front() {
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            let Some(input) = slot.next_news() else { continue };
            if matches!(input, ConnectionInput::Closed(_)) {
                self.slots.remove(&id);
            } else if slot.has_news() {
                self.news.push_front(id);
            }
            machine.handle_input(now, Input::Connection(id, input));
            return true;
        }
        false
    }

    /// Serves the socket that has been ready longest, and feeds what it received; whether there was one.
    pub(crate) fn serve<M: Machine>(&mut self, machine: &mut M, now: Instant) -> bool {
        self.give_up_late(now);
        if self.paused.is_some_and(|until| until <= now) {
            self.paused = None;
            self.listeners.iter().for_each(Listener::wake);
        }
        match self.ready.pop() {
            None => false,
            Some(Token::Listener(number)) => {
                self.accept(number, now);
                true
            }
            Some(Token::Connection(id)) => {
                self.advance(id, machine, now);
                true
            }
        }
    }

    /// Ready when [`Connections::tell`] or [`Connections::serve`] has something to do.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.news.is_empty() && self.failed.is_empty() {
            self.ready.poll(cx)
        } else {
            Poll::Ready(())
        }
    }

    /// When [`Connections::serve`] has something to do at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let closing = self.closing.front().map(|(until, _)| *until);
        closing.into_iter().chain(self.paused).min()
    }

    fn advance<M: Machine>(&mut self, id: ConnectionId, machine: &mut M, now: Instant) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        if self.buffer.is_empty() {
            self.buffer = vec![0; RECEIVE_MAX].into();
        }
        slot.bell.answer();
        let received = slot.advance(&mut self.buffer);

        self.follow(id);
        if let Some(count) = received {
            self.counters.octets_received += count as u64;
            let octets = self.buffer.get(..count).unwrap_or_default();
            let received = ConnectionInput::Received(octets);
            machine.handle_input(now, Input::Connection(id, received));
        }
    }

    /// Notes what has become of a connection.
    fn follow(&mut self, id: ConnectionId) {
        let Some(slot) = self.slots.get(&id) else { return };
        if slot.state() == State::Gone {
            self.slots.remove(&id);
        } else if slot.has_news() {
            self.news.push_back(id);
        }
    }

    /// Accepts one connection.
    fn accept(&mut self, number: usize, now: Instant) {
        let Some(listener) = self.listeners.get(number) else { return };
        listener.answer();
        if self.paused.is_some() {
            return;
        }
        match listener.accept() {
            Accept::Nothing => {}
            Accept::NoRoom(error) => {
                tracing::warn!("no connection is accepted for a moment: {error}");
                self.paused = Some(now + PAUSE);
            }
            Accept::Connection(stream, remote) => self.admit(stream, remote),
        }
    }

    /// Takes an accepted connection, unless there are too many.
    fn admit(&mut self, stream: TcpStream, remote: SocketAddr) {
        let accepted = |slot: &&Slot| slot.is_accepted();
        let total = self.slots.values().filter(accepted).count();
        if total >= self.limits.accepted || self.slots.len() >= self.limits.total {
            self.counters.refused_total += 1;
            return;
        }
        let group = group(remote.ip());
        let same = |slot: &Slot| slot.is_accepted() && self::group(slot.remote.ip()) == group;
        let from_there = self.slots.values().filter(|slot| same(slot)).count();
        if from_there >= self.limits.accepted_per_address {
            self.counters.refused_per_address += 1;
            return;
        }
        let id = ConnectionId::Accepted(self.next_accepted);
        match Slot::accepted(stream, remote, self.ready.doorbell(Token::Connection(id))) {
            Ok(slot) => {
                // Four thousand million connections: at a thousand a second, seven weeks.
                self.next_accepted = self.next_accepted.wrapping_add(1);
                self.counters.accepted += 1;
                self.slots.insert(id, slot);
                self.news.push_back(id);
            }
            Err(error) => tracing::debug!(%remote, %error, "gone before it was accepted"),
        }
    }

    fn give_up_late(&mut self, now: Instant) {
        while let Some((until, id)) = self.closing.front().copied()
            && until <= now
        {
            self.closing.pop_front();
            let late = |slot: &Slot| matches!(slot.state(), State::Closing { .. });
            if self.slots.get(&id).is_some_and(late) {
                self.slots.remove(&id);
            }
        }
    }
}

/// Whose connections are counted together: one IPv4 address, one IPv6 /64.
fn group(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}
