//! The network of this program: a stack of its own on every Ethernet interface that nobody else uses.
//!
//! Which interfaces those are is decided here, also when they come later. An interface with addresses of the kernel is
//! refused: the kernel would answer on it too, and break off connections that it does not know. Addresses come by DHCP
//! and from routers; the interface that has one first carries connections that leave their link, and mDNS goes on every
//! one.
//!
//! Not here: protocols above TCP and UDP; who is looked for.

mod interface;
mod kernel;
mod lease;
mod resolve;
mod tcp;

use std::cell::{Ref, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll, ready};

use phase_core::time::Instant;

pub use self::interface::Interface;
use self::kernel::Ipv6;
pub use self::resolve::{ADDRESSES, ResolveError, Wanted};
pub use self::tcp::{ConnectError, SEND, Stream};
use crate::console::{Console, Step};
use crate::executor;
use crate::signal::{Seen, Signal};
use crate::sys::interface::Control;
use crate::sys::netlink::{self, Facts, Watcher};
use crate::sys::packet::PacketSocket;

/// The smallest packet that IPv6 works with (RFC 8200 §5).
const MTU_MIN: u32 = 1280;

/// Why there is no network at all.
#[derive(Debug)]
pub enum Error {
    /// Packet sockets are not for this user.
    NotPermitted,
    /// The interfaces cannot be read.
    Interfaces(io::Error),
    /// An interface cannot be opened.
    Open {
        /// Its name.
        name: String,
        /// What the kernel says.
        source: io::Error,
    },
}

impl Error {
    fn open(name: &str, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::PermissionDenied {
            Self::NotPermitted
        } else {
            Self::Open { name: name.to_owned(), source }
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotPermitted => f.write_str(
                "a packet socket needs CAP_NET_RAW; run this as root, or use phase-discover, which needs no privilege",
            ),
            Self::Interfaces(source) => write!(f, "cannot read the interfaces: {source}"),
            Self::Open { name, source } => write!(f, "cannot use {name}: {source}"),
        }
    }
}

impl std::error::Error for Error {}

/// Why an interface is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Excluded {
    /// It is no Ethernet interface.
    NotEthernet,
    /// It is a port of a bridge or part of a bond.
    Port,
    /// The kernel has this address on it.
    Taken(IpAddr),
    /// Its packets are too short, in octets.
    Mtu(u32),
    /// It is down and cannot be taken up.
    Down(String),
    /// Others were named.
    NotNamed,
    /// It cannot be opened.
    Broken(String),
}

impl std::fmt::Display for Excluded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotEthernet => f.write_str("no Ethernet interface"),
            Self::Port => f.write_str("part of a bridge or a bond"),
            Self::Taken(address) => write!(
                f,
                "the kernel has {address} on it, and two cannot answer; take that away, or use phase-discover"
            ),
            Self::Mtu(mtu) => write!(f, "its packets have {mtu} octets, {MTU_MIN} are needed"),
            Self::Down(error) => {
                write!(f, "it is down, and taking it up needs CAP_NET_ADMIN: {error}")
            }
            Self::NotNamed => f.write_str("not named"),
            Self::Broken(error) => f.write_str(error),
        }
    }
}

/// All interfaces of this program; copies are the same network, which lives as long as the process.
#[derive(Clone, Copy, Debug)]
pub struct Network(&'static Inner);

#[derive(Debug)]
struct Inner {
    console: Console,
    /// Exact names of the interfaces to use; empty: every one that can be.
    named: Vec<String>,
    control: Control,
    interfaces: RefCell<Vec<&'static Interface>>,
    excluded: RefCell<Vec<(String, Excluded)>>,
    /// Interfaces whose kernel's IPv6 was turned off.
    turned_off: RefCell<Vec<String>>,
    changed: Signal,
}

impl Network {
    /// Takes every interface that can be used up and begins to ask for addresses, as tasks of the executor.
    ///
    /// # Errors
    /// [`Error`]. Having no interface is not one: those that come are used.
    pub fn open(named: Vec<String>, console: Console) -> Result<Self, Error> {
        PacketSocket::probe().map_err(|error| Error::open("packet sockets", error))?;
        // Watched before they are read, so that no change falls between.
        let watcher = Watcher::open().map_err(Error::Interfaces)?;
        let network = Self(Box::leak(Box::new(Inner {
            console,
            named,
            control: Control::open().map_err(Error::Interfaces)?,
            interfaces: RefCell::default(),
            excluded: RefCell::default(),
            turned_off: RefCell::default(),
            changed: Signal::default(),
        })));
        if let Err(error) = network.relist() {
            network.release();
            return Err(error);
        }
        executor::spawn(network.watch(watcher));
        Ok(network)
    }

    /// The interfaces that are used.
    #[must_use]
    pub fn interfaces(self) -> Vec<&'static Interface> {
        self.0.interfaces.borrow().clone()
    }

    /// The interface with this number, if it is used.
    #[must_use]
    pub fn interface(self, index: u32) -> Option<&'static Interface> {
        self.0.interfaces.borrow().iter().find(|one| one.index == index).copied()
    }

    /// The names of all others, with why they are not used.
    #[must_use]
    pub fn excluded(self) -> Ref<'static, Vec<(String, Excluded)>> {
        self.0.excluded.borrow()
    }

    /// The interfaces that have an address that leads beyond their link, in the order in which they got it.
    #[must_use]
    pub fn configured(self) -> Vec<&'static Interface> {
        let mut ordered: Vec<&'static Interface> = Vec::new();
        for interface in self.0.interfaces.borrow().iter() {
            let Some(since) = interface.configured_since() else { continue };
            // There are few; a sort would be 4 KiB of code.
            let is_later = |one: &&'static Interface| one.configured_since() > Some(since);
            let at = ordered.iter().position(is_later).unwrap_or(ordered.len());
            ordered.insert(at, interface);
        }
        ordered
    }

    /// Whether any interface has an address that leads beyond its link.
    #[must_use]
    pub fn is_configured(self) -> bool {
        self.0.interfaces.borrow().iter().any(|one| one.configured_since().is_some())
    }

    /// Ready when an interface came, or changed its addresses, since `seen`.
    pub fn poll_changed(self, seen: &mut Seen, cx: &Context<'_>) -> Poll<()> {
        self.0.changed.poll_changed(seen, cx)
    }

    /// Ready when any interface has an address that leads beyond its link. `seen`: what the caller saw of
    /// [`Network::poll_changed`].
    pub fn poll_configured(self, seen: &mut Seen, cx: &Context<'_>) -> Poll<()> {
        while !self.is_configured() {
            ready!(self.poll_changed(seen, cx));
        }
        Poll::Ready(())
    }

    /// Waits until any interface has an address that leads beyond its link, at the latest until `deadline`; whether
    /// one has.
    #[must_use]
    pub fn wait_configured(self, deadline: Instant) -> bool {
        let mut seen = Seen::default();
        executor::wait_until(deadline, |cx| self.poll_configured(&mut seen, cx)).is_some()
    }

    /// Gives the kernel back what was taken from it: IPv6. The interfaces stay up.
    pub fn release(self) {
        for name in self.0.turned_off.take() {
            kernel::turn_ipv6_on(&name);
        }
    }

    const fn control(self) -> &'static Control {
        &self.0.control
    }

    /// Looks at the interfaces again whenever the kernel tells of a change. Never ends.
    async fn watch(self, watcher: Watcher) {
        loop {
            poll_fn(|cx| {
                if watcher.take_change() {
                    return Poll::Ready(());
                }
                executor::watch(watcher.fd(), cx.waker());
                Poll::Pending
            })
            .await;
            self.0.interfaces.borrow().iter().for_each(|one| one.look());
            if let Err(error) = self.relist() {
                self.0.console.step(Step::Link, format_args!("{error}"));
            }
        }
    }

    /// Opens the interfaces that can be used and are not.
    fn relist(self) -> Result<(), Error> {
        let all = netlink::list().map_err(Error::Interfaces)?;
        let mut excluded = Vec::new();
        for facts in all {
            if self.interface(facts.index).is_some() {
                continue;
            }
            match self.usable(&facts) {
                Ok(ethernet) => {
                    if let Some(why) = self.open_interface(&facts, ethernet)? {
                        excluded.push((facts.name, why));
                    }
                }
                Err(why) => excluded.push((facts.name, why)),
            }
        }
        *self.0.excluded.borrow_mut() = excluded;
        Ok(())
    }

    /// The Ethernet address of an interface that can be used.
    fn usable(self, facts: &Facts) -> Result<[u8; 6], Excluded> {
        let ethernet = facts.ethernet.ok_or(Excluded::NotEthernet)?;
        if !self.0.named.is_empty() && !self.0.named.contains(&facts.name) {
            return Err(Excluded::NotNamed);
        }
        if facts.is_port {
            return Err(Excluded::Port);
        }
        if facts.mtu < MTU_MIN {
            return Err(Excluded::Mtu(facts.mtu));
        }
        let is_link_local =
            |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let mut addresses = facts.networks.iter().map(|network| network.address);
        match addresses.find(|ip| !is_link_local(ip)) {
            Some(address) => Err(Excluded::Taken(address)),
            None => Ok(ethernet),
        }
    }

    /// Opens an interface; why it is not used, where the others may be used still.
    fn open_interface(self, facts: &Facts, ethernet: [u8; 6]) -> Result<Option<Excluded>, Error> {
        let name = &facts.name;
        let ipv6 = kernel::turn_ipv6_off(name);
        if ipv6 == Ipv6::TurnedOff {
            self.0.turned_off.borrow_mut().push(name.clone());
        }
        if !facts.is_up
            && let Err(error) = self.0.control.set_up(name)
        {
            return Ok(Some(Excluded::Down(error.to_string())));
        }
        let has_ipv6 = ipv6 != Ipv6::Taken;
        match Interface::open(facts, ethernet, has_ipv6, &self.0.control) {
            Ok(interface) => {
                let keeper = interface.keep(&self.0.changed, self.0.console);
                executor::spawn(keeper);
                self.0.interfaces.borrow_mut().push(interface);
                self.0.changed.notify();
                Ok(None)
            }
            Err(Error::NotPermitted) => Err(Error::NotPermitted),
            Err(error) => Ok(Some(Excluded::Broken(error.to_string()))),
        }
    }
}
