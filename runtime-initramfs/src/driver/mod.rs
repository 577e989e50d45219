//! Runs a machine of the core on the stacks of a [`Network`]: datagrams, links and connections, and nothing of the protocol.
//!
//! ```no_run
//! # use phase_boot::{driver::Driver, executor, network::Network};
//! # use phase_core::{machine::Machine, time::Instant};
//! # fn run<M: Machine>(mut machine: M, network: Network, deadline: Instant) {
//! let mut driver = Driver::new(network);
//! while let Some(event) = executor::wait_until(deadline, |cx| driver.poll_event(&mut machine, cx)) {
//!     // Commands go to the machine between two events, with `phase_boot::clock::now()`.
//! #   drop(event);
//! }
//! # }
//! ```
//!
//! A driver serves one machine from its first input on. Nobody else has port 5353 on these stacks.
//! Not implemented: accepting connections.

mod connections;

use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, Waker, ready};

use embassy_net::udp::UdpMetadata;
use phase_core::limits::TRANSMIT_MAX;
use phase_core::machine::{
    Datagram, Family, Input, Link, LinkId, Machine, Network as Prefix, Output, Port, Transmit,
    TransmitBuffer, Wake,
};

use self::connections::Connections;
use crate::clock;
use crate::executor;
use crate::network::{Interface, Network};
use crate::signal::Seen;

/// Octets of a received datagram that can be told: the largest that comes in one frame with jumbo frames.
const RECEIVE_MAX: usize = 9 * 1024;

/// The ports of an interface that are received from.
const PORTS: [Port; 2] = [Port::Mdns, Port::Ephemeral];

/// What became of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams given to the stacks to send.
    pub sent: u64,
    /// Datagrams that the stacks did not take: no address, or too many at one time.
    pub refused: u64,
    /// Datagrams received.
    pub received: u64,
}

/// A link that the machine was told of.
#[derive(Debug)]
struct Known {
    id: LinkId,
    networks: Vec<Prefix>,
}

/// Something to tell the machine of a link.
#[derive(Debug)]
enum News {
    Up(LinkId),
    Down(LinkId),
}

/// Sockets, links and connections for one machine.
#[derive(Debug)]
pub struct Driver {
    network: Network,
    seen: Seen,
    known: Vec<Known>,
    news: Vec<News>,
    connections: Connections,
    transmit: Box<TransmitBuffer>,
    receive: Box<[u8]>,
    /// The socket that is looked at first, so that none is never looked at.
    turn: usize,
    /// Whether connections were looked at last, not datagrams.
    was_connections: bool,
    wake: Option<Wake>,
    counters: Counters,
}

impl Driver {
    /// A driver on every interface of `network`, also on those that come.
    #[must_use]
    pub fn new(network: Network) -> Self {
        Self {
            connections: Connections::new(network),
            network,
            seen: Seen::default(),
            known: Vec::new(),
            news: Vec::new(),
            transmit: Box::new([0; TRANSMIT_MAX]),
            receive: vec![0; RECEIVE_MAX].into(),
            turn: 0,
            was_connections: false,
            wake: None,
            counters: Counters::default(),
        }
    }

    /// The network it runs on.
    #[must_use]
    pub const fn network(&self) -> Network {
        self.network
    }

    /// Whether the machine has a link.
    #[must_use]
    pub fn has_links(&self) -> bool {
        !self.known.is_empty()
    }

    /// What became of datagrams.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Runs `machine` until it tells something or has to wait: then it is to be called again by whoever `cx` wakes.
    pub fn poll_event<M: Machine>(
        &mut self,
        machine: &mut M,
        cx: &mut Context<'_>,
    ) -> Poll<M::Event> {
        loop {
            if let Some(event) = self.drain(machine) {
                return Poll::Ready(event);
            }
            ready!(self.poll_feed(machine, cx));
        }
    }

    /// Takes the machine's outputs up to an event or to the end.
    fn drain<M: Machine>(&mut self, machine: &mut M) -> Option<M::Event> {
        loop {
            match machine.poll_output(&mut self.transmit) {
                Output::Transmit(transmit) => self.send(transmit),
                Output::Connection(id, what) => self.connections.obey(id, what, &self.transmit),
                Output::Event(event) => return Some(event),
                Output::Timeout(wake) => {
                    self.wake = wake;
                    return None;
                }
            }
        }
    }

    /// Ready when the machine was fed one input.
    fn poll_feed<M: Machine>(&mut self, machine: &mut M, cx: &mut Context<'_>) -> Poll<()> {
        while self.network.poll_changed(&mut self.seen, cx).is_ready() {
            self.relist();
        }
        let now = clock::now();
        if !self.news.is_empty() {
            let news = self.news.remove(0);
            self.tell(machine, &news);
            return Poll::Ready(());
        }
        if self.wake.is_some_and(|wake| wake.at <= now) {
            machine.handle_input(now, Input::Timeout);
            return Poll::Ready(());
        }
        for _ in 0..2 {
            // Neither keeps the other from being looked at, however much there is.
            self.was_connections = !self.was_connections;
            let fed = match self.was_connections {
                true => self.connections.poll(machine, cx),
                false => self.poll_datagram(machine, cx),
            };
            if fed.is_ready() {
                return fed;
            }
        }
        if let Some(wake) = self.wake {
            executor::wake_at(wake.at.as_micros(), cx.waker());
        }
        Poll::Pending
    }

    /// Feeds the next datagram; ready when there was one.
    fn poll_datagram<M: Machine>(&mut self, machine: &mut M, cx: &mut Context<'_>) -> Poll<()> {
        let interfaces = self.network.interfaces();
        let count = interfaces.len() * PORTS.len();
        for offset in 0..count {
            let number = (self.turn + offset) % count;
            let (Some(interface), Some(port)) =
                (interfaces.get(number / PORTS.len()), PORTS.get(number % PORTS.len()))
            else {
                continue;
            };
            let received = interface.udp(*port).poll_recv_from(&mut self.receive, cx);
            let Poll::Ready(received) = received else { continue };
            self.turn = number + 1;
            self.counters.received += 1;
            // One that is longer than any frame is dropped.
            if let Ok((len, metadata)) = received {
                self.hand_over(machine, interface, *port, (len, metadata));
            }
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Feeds a received datagram.
    fn hand_over<M: Machine>(
        &self,
        machine: &mut M,
        interface: &Interface,
        port: Port,
        (len, metadata): (usize, UdpMetadata),
    ) {
        let ip = IpAddr::from(metadata.endpoint.addr);
        let mut remote = SocketAddr::new(ip, metadata.endpoint.port);
        if let SocketAddr::V6(remote) = &mut remote
            && remote.ip().is_unicast_link_local()
        {
            remote.set_scope_id(interface.index);
        }
        let (Some(destination), Some(payload)) =
            (metadata.local_address.map(IpAddr::from), self.receive.get(..len))
        else {
            return;
        };
        let family = if ip.is_ipv4() { Family::V4 } else { Family::V6 };
        let link = LinkId { interface: interface.index, family };
        // The stack is told of a group before the machine is told of the link.
        if self.known.iter().any(|known| known.id == link) {
            let datagram = Datagram { link, port, remote, destination, payload };
            machine.handle_input(clock::now(), Input::Datagram(datagram));
        }
    }

    /// Gives a datagram to the stack of its link.
    fn send(&mut self, transmit: Transmit) {
        let Transmit { link, port, destination, len } = transmit;
        let (Some(interface), Some(payload)) =
            (self.network.interface(link.interface), self.transmit.get(..len))
        else {
            self.counters.refused += 1;
            return;
        };
        let metadata = UdpMetadata {
            endpoint: destination.into(),
            local_address: interface.source_for(destination.ip()).map(Into::into),
            meta: Default::default(),
        };
        // What the stack has no room for is lost, as a datagram may be.
        let mut nobody = Context::from_waker(Waker::noop());
        match interface.udp(port).poll_send_to(payload, metadata, &mut nobody) {
            Poll::Ready(Ok(())) => self.counters.sent += 1,
            Poll::Ready(Err(_)) | Poll::Pending => self.counters.refused += 1,
        }
    }

    /// Notes what the machine has to be told of links.
    fn relist(&mut self) {
        let mut there: Vec<Known> = Vec::new();
        for interface in self.network.interfaces() {
            let networks = interface.networks();
            for family in [Family::V4, Family::V6] {
                let is_its = |prefix: &Prefix| prefix.address.is_ipv4() == (family == Family::V4);
                if networks.iter().any(is_its) {
                    let id = LinkId { interface: interface.index, family };
                    there.push(Known { id, networks: networks.clone() });
                }
            }
        }
        for before in &self.known {
            if !there.iter().any(|one| one.id == before.id) {
                self.news.push(News::Down(before.id));
            }
        }
        for one in &there {
            let before = self.known.iter().find(|before| before.id == one.id);
            if before.is_none_or(|before| before.networks != one.networks) {
                self.news.push(News::Up(one.id));
            }
        }
        self.known = there;
    }

    fn tell<M: Machine>(&self, machine: &mut M, news: &News) {
        let now = clock::now();
        match *news {
            News::Down(id) => machine.handle_input(now, Input::LinkDown(id)),
            News::Up(id) => {
                let known = self.known.iter().find(|known| known.id == id);
                let interface = self.network.interface(id.interface);
                if let Some((known, interface)) = known.zip(interface) {
                    let link = Link { id, mtu: interface.mtu(), networks: &known.networks };
                    machine.handle_input(now, Input::LinkUp(link));
                }
            }
        }
    }
}
