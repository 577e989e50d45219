//! One interface with its stack: addresses by DHCP and from routers, sockets for mDNS, and connections.
//!
//! An interface is made once and lives as long as the process, with the buffers of its sockets: what is used for a while
//! goes back to it.

use std::cell::{Cell, RefCell};
use std::future::{Future as _, poll_fn};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::task::{Context, Poll};

use embassy_net::tcp::TcpSocket;
use embassy_net::udp::{PacketMetadata, UdpSocket};
use embassy_net::{
    Config, ConfigV4, ConfigV6, DhcpConfig, Ipv6Cidr, Stack, StackResources, StaticConfigV6,
};
use phase_core::limits::DATAGRAM_MAX;
use phase_core::machine::{Network, Port};
use smoltcp::time::Duration as StackDuration;

use super::Error;
use super::tcp::CONNECTIONS;
use crate::clock;
use crate::console::{Console, Step};
use crate::executor;
use crate::link::router::{Routers, link_local, solicitation};
use crate::link::{Ethernet, Shared};
use crate::signal::Signal;
use crate::sys::interface::Control;
use crate::sys::netlink::Facts;
use crate::sys::packet::PacketSocket;
use crate::sys::random;

/// Sockets of one stack: DHCP, DNS, two for mDNS, and connections.
const SOCKETS: usize = 4 + CONNECTIONS;

/// Datagrams that wait to be looked at, and their octets.
const INBOX: (usize, usize) = (32, 32 * 1024);

/// Datagrams that wait to be sent, and their octets.
const OUTBOX: (usize, usize) = (8, 2 * DATAGRAM_MAX);

/// How long a DHCP server has to answer: on a LAN it takes a few milliseconds, and a frame may be lost.
const DHCP_RETRY: StackDuration = StackDuration::from_millis(500);

/// The same when none has answered for [`DHCP_PATIENCE`]: RFC 2131 §4.1 begins with it.
const DHCP_RETRY_LATER: StackDuration = StackDuration::from_secs(4);

/// How long it is asked at the first pace, in microseconds.
const DHCP_PATIENCE: u64 = 10_000_000;

/// RFC 4861 §10: solicitations, and the time between them in microseconds.
const SOLICITATIONS: (u8, u64) = (3, 4_000_000);

/// The length of the prefix of every IPv6 address here (RFC 4291 §2.5.1).
const PREFIX_LEN: u8 = 64;

/// An interface that is used.
pub struct Interface {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    ethernet: [u8; 6],
    mtu: u16,
    has_ipv6: bool,
    pub(super) stack: Stack<'static>,
    mdns: UdpSocket<'static>,
    ephemeral: UdpSocket<'static>,
    /// Connections that are not in use, the one that has rested longest in front.
    pub(super) idle: RefCell<Vec<TcpSocket<'static>>>,
    /// Connections that were made.
    pub(super) made: Cell<usize>,
    socket: &'static PacketSocket,
    shared: &'static Shared,
    routers: RefCell<Routers>,
    networks: RefCell<Vec<Network>>,
    /// Since when it has an address that leads beyond the link, in microseconds.
    since: Cell<Option<u64>>,
}

impl std::fmt::Debug for Interface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interface").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Interface {
    /// Makes the stack of an interface that is up. It runs as a task of the executor from here on.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::NotPermitted`].
    pub(super) fn open(
        facts: &Facts,
        ethernet: [u8; 6],
        has_ipv6: bool,
        control: &'static Control,
    ) -> Result<&'static Self, Error> {
        let name = facts.name.as_str();
        let socket = PacketSocket::open(facts.index, &Ethernet::groups(ethernet))
            .map_err(|error| Error::open(name, error))?;
        let socket: &'static PacketSocket = Box::leak(Box::new(socket));
        let shared: &'static Shared = Box::leak(Box::default());
        let mtu = u16::try_from(facts.mtu).unwrap_or(u16::MAX);
        let driver =
            Ethernet::new(socket, control, shared, (facts.index, ethernet, usize::from(mtu)));
        let mut seed = [0; 8];
        random::fill_insecurely(&mut seed);
        let resources = Box::leak(Box::new(StackResources::<SOCKETS>::new()));
        let (stack, mut runner) =
            embassy_net::new(driver, config(), resources, u64::from_ne_bytes(seed));
        executor::spawn(async move { runner.run().await });
        if has_ipv6 {
            // There is room for it: nobody else joins any.
            let _ = stack.join_multicast_group(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb));
        }
        Ok(Box::leak(Box::new(Self {
            index: facts.index,
            name: name.to_owned(),
            ethernet,
            mtu,
            has_ipv6,
            stack,
            mdns: udp(stack, 5353),
            ephemeral: udp(stack, 0),
            idle: RefCell::default(),
            made: Cell::new(0),
            socket,
            shared,
            routers: RefCell::default(),
            networks: RefCell::default(),
            since: Cell::new(None),
        })))
    }

    /// Its addresses; empty without a carrier.
    #[must_use]
    pub fn networks(&self) -> Vec<Network> {
        self.networks.borrow().clone()
    }

    /// The largest packet, in octets.
    #[must_use]
    pub const fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Whether it has a carrier.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.stack.is_link_up()
    }

    /// Since when it has an address that leads beyond the link, in microseconds of the monotonic clock.
    #[must_use]
    pub fn configured_since(&self) -> Option<u64> {
        self.since.get()
    }

    /// Whether it leads to hosts of this family that are not on its link.
    #[must_use]
    pub fn has_gateway(&self, is_ipv4: bool) -> bool {
        match is_ipv4 {
            true => self.stack.config_v4().is_some_and(|config| config.gateway.is_some()),
            false => self.stack.config_v6().is_some_and(|config| config.gateway.is_some()),
        }
    }

    /// The address to write from to `destination`; none: the stack knows.
    #[must_use]
    pub fn source_for(&self, destination: IpAddr) -> Option<IpAddr> {
        match destination {
            IpAddr::V4(_) => self.stack.config_v4().map(|config| config.address.address().into()),
            IpAddr::V6(ip) if ip.is_multicast() || ip.is_unicast_link_local() => {
                Some(link_local(self.ethernet).into())
            }
            IpAddr::V6(_) => None,
        }
    }

    /// The socket of a port.
    #[must_use]
    pub const fn udp(&self, port: Port) -> &UdpSocket<'static> {
        match port {
            Port::Mdns => &self.mdns,
            Port::Ephemeral => &self.ephemeral,
        }
    }

    /// Has the carrier looked at.
    pub(super) fn look(&self) {
        self.shared.look();
    }

    /// Looks after the addresses of this interface, and tells `changed` of them. Never ends.
    pub(super) async fn keep(&'static self, changed: &'static Signal, console: Console) {
        let mut was_up = false;
        let mut heard = crate::signal::Seen::default();
        // How many solicitations are left, and when to send the next.
        let (mut solicitations, mut solicit_at) = (0, 0);
        // When to ask for a lease less often.
        let mut slow_at = Some(u64::MAX);
        loop {
            let now = clock::monotonic_micros();
            let is_up = self.stack.is_link_up();
            if is_up != was_up {
                was_up = is_up;
                let state = if is_up { "is up" } else { "has no carrier" };
                console.step(Step::Link, format_args!("{} {state}", self.name));
                *self.routers.borrow_mut() = Routers::default();
                if slow_at.is_none() {
                    self.stack.set_config_v4(dhcp(DHCP_RETRY));
                }
                slow_at = Some(now.saturating_add(DHCP_PATIENCE));
                (solicitations, solicit_at) =
                    (if self.has_ipv6 { SOLICITATIONS.0 } else { 0 }, now);
            }
            if is_up && slow_at.is_some_and(|at| at <= now) && self.stack.config_v4().is_none() {
                slow_at = None;
                self.stack.set_config_v4(dhcp(DHCP_RETRY_LATER));
            }
            self.hear_routers(now);
            if is_up && solicitations > 0 && solicit_at <= now {
                self.socket.send(&solicitation(self.ethernet));
                (solicitations, solicit_at) = (solicitations - 1, now + SOLICITATIONS.1);
            }
            if self.routers.borrow().router().is_some() {
                solicitations = 0;
            }
            if self.update_networks(is_up, now, console) {
                changed.notify();
            }
            let solicit_at = (is_up && solicitations > 0).then_some(solicit_at);
            let is_asking = is_up && self.stack.config_v4().is_none();
            let router_end = self.routers.borrow().next_end();
            let deadline = [solicit_at, slow_at.filter(|_| is_asking), router_end];
            let deadline = deadline.into_iter().flatten().min();
            self.woken(&mut heard, deadline).await;
        }
    }

    /// Waits until something of this interface may have changed, or until `deadline`.
    async fn woken(&self, heard: &mut crate::signal::Seen, deadline: Option<u64>) {
        let mut waits = false;
        poll_fn(|cx: &mut Context<'_>| {
            if std::mem::replace(&mut waits, true) {
                return Poll::Ready(());
            }
            // The stack tells whoever waits for its configuration to come or to go of every change.
            let waiting = match self.stack.is_config_up() {
                true => pin!(self.stack.wait_config_down()).poll(cx),
                false => pin!(self.stack.wait_config_up()).poll(cx),
            };
            if let Some(at) = deadline {
                executor::wake_at(at, cx.waker());
            }
            if self.shared.router.poll_changed(heard, cx).is_ready() {
                Poll::Ready(())
            } else {
                waiting
            }
        })
        .await;
    }

    /// Takes what routers said, and gives the stack the address that is made of it.
    fn hear_routers(&self, now: u64) {
        let mut routers = self.routers.borrow_mut();
        for advertisement in self.shared.take_heard() {
            if self.has_ipv6 {
                routers.hear(now, &advertisement);
            }
        }
        routers.expire(now);
        let wanted = routers.address(self.ethernet).map(|address| StaticConfigV6 {
            address: Ipv6Cidr::new(address, PREFIX_LEN),
            gateway: routers.router(),
            dns_servers: routers.servers().iter().copied().collect(),
        });
        if wanted != self.stack.config_v6() {
            self.stack.set_config_v6(wanted.map_or(ConfigV6::None, ConfigV6::Static));
        }
    }

    /// Notes the addresses; whether they changed.
    fn update_networks(&self, is_up: bool, now: u64, console: Console) -> bool {
        let mut networks = Vec::new();
        if is_up {
            if let Some(config) = self.stack.config_v4() {
                let (address, prefix_len) = (config.address.address(), config.address.prefix_len());
                networks.push(Network { address: address.into(), prefix_len });
            }
            if let Some(config) = self.stack.config_v6() {
                let address = config.address.address().into();
                networks.push(Network { address, prefix_len: PREFIX_LEN });
            }
            if self.has_ipv6 {
                let address = link_local(self.ethernet).into();
                networks.push(Network { address, prefix_len: PREFIX_LEN });
            }
        }
        if *self.networks.borrow() == networks {
            return false;
        }
        if networks.iter().any(|network| network.address.is_ipv4()) {
            // A report of a membership needs an address to come from.
            let _ = self.stack.join_multicast_group(Ipv4Addr::new(224, 0, 0, 251));
        }
        let leads_beyond = networks.iter().any(|network| is_routable(network.address));
        self.since.set(self.since.get().or(Some(now)).filter(|_| leads_beyond));
        let before = self.networks.replace(networks);
        for network in self.networks.borrow().iter().filter(|n| is_routable(n.address)) {
            if !before.contains(network) {
                self.tell(network, console);
            }
        }
        true
    }

    /// Tells an address on the console.
    fn tell(&self, network: &Network, console: Console) {
        let (name, Network { address, prefix_len }) = (&self.name, network);
        match self.gateway(*address) {
            Some(gateway) => console.step(
                Step::Dhcp,
                format_args!("{name} has {address}/{prefix_len}, router {gateway}"),
            ),
            None => console
                .step(Step::Dhcp, format_args!("{name} has {address}/{prefix_len}, no router")),
        }
    }

    /// The router for what is not on the link, of the family of `address`.
    pub(super) fn gateway(&self, address: IpAddr) -> Option<IpAddr> {
        match address {
            IpAddr::V4(_) => self.stack.config_v4()?.gateway.map(IpAddr::from),
            IpAddr::V6(_) => self.stack.config_v6()?.gateway.map(IpAddr::from),
        }
    }

    /// The name servers.
    pub(super) fn servers(&self) -> Vec<IpAddr> {
        let mut servers = Vec::new();
        if let Some(config) = self.stack.config_v4() {
            servers.extend(config.dns_servers.iter().map(|ip| IpAddr::V4(*ip)));
        }
        if let Some(config) = self.stack.config_v6() {
            servers.extend(config.dns_servers.iter().map(|ip| IpAddr::V6(*ip)));
        }
        servers
    }
}

/// Whether an address leads beyond its link.
fn is_routable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.ipv4 = dhcp(DHCP_RETRY);
    config
}

/// A lease by DHCP, asked for again after `retry`.
fn dhcp(retry: StackDuration) -> ConfigV4 {
    let mut dhcp = DhcpConfig::default();
    dhcp.retry_config.discover_timeout = retry;
    dhcp.retry_config.initial_request_timeout = DHCP_RETRY;
    ConfigV4::Dhcp(dhcp)
}

/// A socket on `port`, or on one that the stack chooses, with buffers that stay.
fn udp(stack: Stack<'static>, port: u16) -> UdpSocket<'static> {
    let metadata = |count| vec![PacketMetadata::EMPTY; count].leak();
    let octets = |len| vec![0; len].leak();
    let (inbox, outbox) = (INBOX, OUTBOX);
    let mut socket = UdpSocket::new(
        stack,
        metadata(inbox.0),
        octets(inbox.1),
        metadata(outbox.0),
        octets(outbox.1),
    );
    // It is closed, and no port is 0 once the stack has chosen.
    let _ = socket.bind(port);
    // RFC 6762 §11.
    socket.set_hop_limit(Some(255));
    socket
}
