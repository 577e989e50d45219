//! Runs a machine of the core: sockets, interfaces and clock, and nothing of the protocol.
//!
//! ```no_run
//! # use phase_provider::driver::{Driver, NetOptions};
//! # async fn run<M: phase_core::machine::Machine>(mut machine: M) -> Result<(), phase_provider::net::Error> {
//! let mut driver = Driver::open(NetOptions::default())?;
//! loop {
//!     let event = driver.next_event(&mut machine).await;
//!     // Commands go to the machine between two events, with `driver.now()`.
//! #   drop(event);
//! }
//! # }
//! ```
//!
//! A driver serves one machine from its first input on. It is not `Send`: it lives in the task that
//! `Runtime::block_on` runs.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use nix::errno::Errno;
use phase_core::machine::{
    Datagram, Family, Input, Link, LinkId, Machine, Output, Port, Transmit, Wake,
};
use phase_core::time::Instant;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::net::connections::{ConnectionCounters, ConnectionLimits, Connections, Manner};
use crate::net::interfaces::{Interface, judge};
use crate::net::{self, Error, Inbox, Outbox, Queued, Socket, Watcher, open_sockets};

/// Changes of interfaces come in bursts: the list is read once, this long after the first.
const SETTLE: Duration = Duration::from_millis(20);

/// Batches received before other tasks of the thread get their turn.
const BATCHES_PER_TURN: u32 = 8;

/// What a driver opens.
#[derive(Clone, Debug, Default)]
pub struct NetOptions {
    /// Exact names of the interfaces to use; empty: those that lead to other hosts
    /// ([`crate::net::interfaces`]). Names that do not exist are waited for.
    pub interfaces: Vec<String>,
    /// Also opens ports of its own for one-shot queries (RFC 6762 §5.1), and goes without port 5353 where
    /// it cannot be had.
    pub ephemeral: bool,
    /// Opens no UDP socket at all.
    pub without_mdns: bool,
    /// TCP addresses to listen on; port 0: one that the system chooses.
    pub listen: Vec<SocketAddr>,
    /// How many TCP connections there may be.
    pub connections: ConnectionLimits,
    /// How TCP connections are dealt with that the machine dials.
    pub manner: Manner,
}

/// What became of datagrams that were to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that the system took.
    pub sent: u64,
    /// Datagrams that the system refused: no route, no buffer, or a firewall.
    pub refused: u64,
    /// Datagrams for a port or family that is not open.
    pub no_socket: u64,
}

/// Sockets, interfaces and a clock for one machine.
#[derive(Debug)]
pub struct Driver {
    clock: Clock,
    sockets: Vec<Socket>,
    first_binder: bool,
    named: Vec<String>,
    interfaces: Vec<Interface>,
    watcher: Watcher,
    /// When to read the list of interfaces.
    relist_at: Option<Instant>,
    /// Interfaces that were down since the list was read.
    lost: Vec<u32>,
    /// What the machine has not been told of links.
    news: VecDeque<News>,
    inbox: Inbox,
    /// The socket whose datagrams the inbox holds, and the number of the next.
    pending: Option<(usize, usize)>,
    /// The socket that is looked at first.
    turn: usize,
    batches: u32,
    outbox: Outbox,
    /// The sender of a unicast datagram and the address it wrote to: its answer leaves from there.
    answering: Option<(SocketAddr, IpAddr)>,
    connections: Connections,
    wake: Option<Wake>,
    counters: Counters,
    /// What was reported since the list of interfaces was read: interface, whether IPv4, why.
    refusals: Vec<(u32, bool, Errno)>,
}

/// Something to tell the machine of a link.
#[derive(Clone, Copy, Debug)]
enum News {
    Up(LinkId),
    Down(LinkId),
}

impl Driver {
    /// Opens the sockets and reads the interfaces. Needs to be called inside a tokio runtime with I/O and
    /// time.
    ///
    /// # Errors
    /// [`Error::Socket`] where neither IPv4 nor IPv6 gives a socket that is needed, [`Error::Listen`],
    /// [`Error::Interfaces`].
    /// No interface at all is not an error: those that come are used.
    pub fn open(options: NetOptions) -> Result<Self, Error> {
        let clock = Clock::start();
        let (sockets, first_binder) = match options.without_mdns {
            true => (Vec::new(), false),
            false => open_sockets(options.ephemeral)?,
        };
        let connections = Connections::open(&options.listen, options.connections, options.manner)
            .map_err(|(address, source)| Error::Listen { address, source })?;
        // Watched before it is read, so that no change falls between.
        let watcher = Watcher::open().map_err(Error::Interfaces)?;
        let mut driver = Self {
            clock,
            sockets,
            first_binder,
            named: options.interfaces,
            interfaces: Vec::new(),
            watcher,
            relist_at: None,
            lost: Vec::new(),
            news: VecDeque::new(),
            inbox: Inbox::new(),
            pending: None,
            turn: 0,
            batches: 0,
            outbox: Outbox::new(),
            answering: None,
            connections,
            wake: None,
            counters: Counters::default(),
            refusals: Vec::new(),
        };
        driver.relist().map_err(Error::Interfaces)?;
        Ok(driver)
    }

    /// The time to give to commands of the machine.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Whether port 5353 is open here.
    #[must_use]
    pub fn has_mdns_port(&self) -> bool {
        self.sockets.iter().any(|socket| socket.port == Port::Mdns)
    }

    /// Whether no other program of this host had port 5353 when it was opened: only then do unicast
    /// answers to it reach us for certain (RFC 6762 §15.1).
    #[must_use]
    pub fn is_first_binder(&self) -> bool {
        self.first_binder && self.has_mdns_port()
    }

    /// All interfaces, with why those that are not used are not.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Whether any interface is used.
    #[must_use]
    pub fn has_links(&self) -> bool {
        self.interfaces.iter().any(|interface| interface.links().next().is_some())
    }

    /// Whether the loopback interface is used, which only happens by name.
    #[must_use]
    pub fn uses_loopback(&self) -> bool {
        let used = self.interfaces.iter().filter(|interface| interface.excluded.is_none());
        used.flat_map(|interface| &interface.networks).any(|n| n.address.is_loopback())
    }

    /// What became of datagrams that were to be sent.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The TCP addresses that are listened on, with the ports that the system chose.
    pub fn listening(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.connections.listening()
    }

    /// How many TCP connections there are, those that are being closed included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// What became of TCP connections.
    #[must_use]
    pub fn connection_counters(&self) -> ConnectionCounters {
        self.connections.counters()
    }

    /// Uses other interfaces from here on; `interfaces` as in [`NetOptions`].
    pub fn set_interfaces(&mut self, interfaces: Vec<String>) {
        self.named = interfaces;
        self.relist_at = Some(self.clock.now());
    }

    /// Runs `machine` until it tells something. May be dropped at any time and called again: nothing is
    /// lost.
    pub async fn next_event<M: Machine>(&mut self, machine: &mut M) -> M::Event {
        loop {
            if let Some(event) = self.drain(machine) {
                self.flush();
                return event;
            }
            if self.feed(machine) {
                continue;
            }
            self.flush();
            if self.batches >= BATCHES_PER_TURN {
                self.give_way().await;
            }
            let received = self.receive();
            if !self.serve_connections(machine) && !received {
                self.batches = 0;
                self.wait().await;
            }
        }
    }

    /// Takes the machine's outputs up to an event or to the end.
    fn drain<M: Machine>(&mut self, machine: &mut M) -> Option<M::Event> {
        loop {
            if self.outbox.is_full() {
                self.flush();
            }
            let buffer = self.outbox.buffer()?;
            match machine.poll_output(buffer) {
                Output::Transmit(transmit) => self.enqueue(transmit),
                // No TCP is opened for a machine yet.
                Output::Connection(id, what) => {
                    self.connections.obey(self.clock.now(), id, what, buffer);
                }
                Output::Event(event) => return Some(event),
                Output::Timeout(wake) => {
                    self.answering = None;
                    self.wake = wake;
                    return None;
                }
            }
        }
    }

    /// Feeds one input that is here already; whether there was one.
    fn feed<M: Machine>(&mut self, machine: &mut M) -> bool {
        if let Some(news) = self.news.pop_front() {
            self.tell(machine, news);
            return true;
        }
        if self.connections.tell(machine, self.clock.now()) {
            return true;
        }
        if let Some((socket, next)) = self.pending {
            match self.inbox.get(next) {
                Some(_) => {
                    self.pending = Some((socket, next + 1));
                    self.hand_over(machine, socket, next);
                    return true;
                }
                None => self.pending = None,
            }
        }
        let now = self.clock.now();
        if self.relist_at.is_some_and(|at| at <= now) {
            self.relist_at = None;
            if let Err(error) = self.relist() {
                tracing::warn!("{}", Error::Interfaces(error));
            }
        }
        let due = self.wake.is_some_and(|wake| wake.at <= now);
        if due {
            machine.handle_input(now, Input::Timeout);
        }
        due || !self.news.is_empty()
    }

    fn tell<M: Machine>(&self, machine: &mut M, news: News) {
        let now = self.clock.now();
        match news {
            News::Down(id) => machine.handle_input(now, Input::LinkDown(id)),
            News::Up(id) => {
                if let Some(interface) = self.interfaces.iter().find(|i| i.index == id.interface) {
                    let link = Link { id, mtu: interface.mtu, networks: &interface.networks };
                    machine.handle_input(now, Input::LinkUp(link));
                }
            }
        }
    }

    /// Feeds one received datagram.
    fn hand_over<M: Machine>(&mut self, machine: &mut M, socket: usize, number: usize) {
        let (Some(socket), Some((arrived, payload))) =
            (self.sockets.get(socket), self.inbox.get(number))
        else {
            return;
        };
        // Every socket asks for it, so that only a broken system leaves it out.
        let Some((interface, destination)) = arrived.information else { return };
        if !destination.is_multicast() {
            self.answering = Some((arrived.remote, destination));
        }
        let datagram = Datagram {
            link: LinkId { interface, family: socket.family },
            port: socket.port,
            remote: arrived.remote,
            destination,
            payload,
        };
        machine.handle_input(self.clock.now(), Input::Datagram(datagram));
    }

    fn enqueue(&mut self, transmit: Transmit) {
        let Transmit { link, port, mut destination, len } = transmit;
        let suits = |socket: &Socket| socket.family == link.family && socket.port == port;
        let Some(socket) = self.sockets.iter().position(suits) else {
            self.counters.no_socket += 1;
            return;
        };
        let source = match (self.answering, &mut destination) {
            (Some((remote, local)), to) if remote == *to => Some(local),
            (_, SocketAddr::V4(to)) => {
                let ip = IpAddr::V4(*to.ip());
                let interface = self.interfaces.iter().find(|i| i.index == link.interface);
                interface.and_then(|interface| interface.source_for(ip))
            }
            (_, SocketAddr::V6(to)) => {
                if to.ip().is_unicast_link_local() || to.ip().is_multicast() {
                    to.set_scope_id(link.interface);
                }
                // The system knows scopes and preferences (RFC 6724).
                None
            }
        };
        let interface = link.interface;
        self.outbox.push(Queued { socket, interface, source, destination, len });
        self.counters.sent += 1;
    }

    fn flush(&mut self) {
        self.connections.flush();
        if self.outbox.is_empty() {
            return;
        }
        let Self { outbox, sockets, counters, refusals, .. } = self;
        outbox.flush(sockets, &mut |queued, error| {
            counters.sent -= 1;
            counters.refused += 1;
            let refusal = (queued.interface, queued.destination.is_ipv4(), error);
            if !refusals.contains(&refusal) {
                refusals.push(refusal);
                report_refusal(queued, error);
            }
        });
    }

    /// Receives from the first socket that has something; whether any had.
    fn receive(&mut self) -> bool {
        let count = self.sockets.len();
        for offset in 0..count {
            let number = (self.turn + offset) % count;
            let Some(socket) = self.sockets.get(number) else { continue };
            if socket.receive(&mut self.inbox) > 0 {
                self.pending = Some((number, 0));
                self.turn = number + 1;
                self.batches += 1;
                return true;
            }
        }
        false
    }

    /// Serves the TCP socket that has been ready longest; whether there was one.
    fn serve_connections<M: Machine>(&mut self, machine: &mut M) -> bool {
        let served = self.connections.serve(machine, self.clock.now());
        self.batches += u32::from(served);
        served
    }

    /// Lets other tasks run, and sees changes of interfaces also when datagrams never end.
    async fn give_way(&mut self) {
        self.batches = 0;
        tokio::task::yield_now().await;
        poll_fn(|cx| {
            self.poll_change(cx);
            Poll::Ready(())
        })
        .await;
    }

    fn poll_change(&mut self, cx: &mut Context<'_>) -> bool {
        let changed = self.watcher.poll_change(cx, &mut |index| self.lost.push(index)).is_ready();
        if changed {
            let now = self.clock.now();
            self.relist_at.get_or_insert(now + SETTLE);
        }
        changed
    }

    /// Waits until something can be fed.
    async fn wait(&mut self) {
        let wake_at = self.wake.map(|wake| wake.at);
        let connections = self.connections.deadline();
        let deadline = [wake_at, self.relist_at, connections].into_iter().flatten().min();
        let now = self.clock.now();
        let mut elapsed = pin!(deadline.map(|at| sleep(at.since(now))));
        poll_fn(|cx| {
            let mut ready = self.poll_change(cx);
            ready |= self.connections.poll(cx).is_ready();
            for socket in &self.sockets {
                ready |= socket.poll_readable(cx).is_ready();
            }
            if let Some(sleep) = elapsed.as_mut().as_pin_mut() {
                ready |= sleep.poll(cx).is_ready();
            }
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        if self.clock.woke_from_sleep() {
            // The host may be elsewhere: every link starts over.
            self.lost.extend(self.interfaces.iter().map(|interface| interface.index));
            self.relist_at = Some(self.clock.now());
        }
    }

    /// Reads the interfaces and notes what the machine has to be told.
    fn relist(&mut self) -> io::Result<()> {
        let new = judge(net::list()?, &self.named);
        let old = std::mem::replace(&mut self.interfaces, new);
        let lost = std::mem::take(&mut self.lost);
        self.refusals.clear();
        let before = |index: u32| old.iter().find(|i| i.index == index);
        let mut gone = Vec::new();
        for id in old.iter().flat_map(Interface::links) {
            let still = self.interfaces.iter().flat_map(Interface::links).any(|link| link == id);
            if !still || lost.contains(&id.interface) {
                gone.push(id);
            }
        }
        for id in &gone {
            self.leave(*id);
            self.news.push_back(News::Down(*id));
        }
        for interface in &self.interfaces {
            let changed = before(interface.index) != Some(interface);
            for id in interface.links() {
                if changed || gone.contains(&id) {
                    tracing::debug!(interface = interface.name, family = ?id.family, "link up");
                    self.join(id, &interface.name);
                    self.news.push_back(News::Up(id));
                }
            }
        }
        Ok(())
    }

    fn join(&self, id: LinkId, name: &str) {
        if let Some(socket) = self.mdns_socket(id.family)
            && let Err(error) = socket.join(id.interface)
        {
            tracing::warn!(
                "cannot join the mDNS group on {name} ({:?}): {error}. Other hosts' multicast is \
                     not heard there",
                id.family
            );
        }
    }

    fn leave(&self, id: LinkId) {
        tracing::debug!(interface = id.interface, family = ?id.family, "link down");
        if let Some(socket) = self.mdns_socket(id.family) {
            socket.leave(id.interface);
        }
    }

    fn mdns_socket(&self, family: Family) -> Option<&Socket> {
        self.sockets.iter().find(|s| s.port == Port::Mdns && s.family == family)
    }
}

fn report_refusal(queued: &Queued, error: Errno) {
    let (interface, destination) = (queued.interface, queued.destination);
    if cfg!(target_os = "macos") && error == Errno::EHOSTUNREACH {
        tracing::warn!(
            interface,
            "macOS refuses multicast to this program: allow it under System Settings, Privacy & \
             Security, Local Network"
        );
    } else if error == Errno::EPERM {
        tracing::warn!(interface, "a firewall of this host refuses to send to {destination}");
    } else {
        tracing::debug!(interface, %destination, %error, "not sent");
    }
}
