//! Multicast DNS sockets, TCP connections and the interfaces of this host, for the driver.
//!
//! One UDP socket for each family and port serves every interface: each datagram says by which interface it
//! came or leaves (`IP_PKTINFO`, RFC 3542 §6.1), so that a link costs a group membership and nothing else.
//! Not here: what is said on the wire.

#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "batch_linux.rs"]
mod batch;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "batch_portable.rs"]
mod batch;
pub mod connections;
mod control;
pub mod interfaces;
mod open;
mod outbox;
mod socket;
#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "system_netlink.rs"]
mod system;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "system_getifaddrs.rs"]
mod system;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

pub(crate) use batch::Inbox;
pub(crate) use open::open_sockets;
pub(crate) use outbox::{Outbox, Queued};
pub(crate) use socket::Socket;
pub(crate) use system::{Watcher, list};

/// Whether this host has the family of an address, and that address.
pub(crate) fn has_family(address: SocketAddr) -> bool {
    // Any port will do.
    std::net::TcpListener::bind((address.ip(), 0)).is_ok()
}

/// RFC 6762 §3.
pub(crate) const MDNS_PORT: u16 = 5353;
/// RFC 6762 §3.
pub(crate) const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// RFC 6762 §3.
pub(crate) const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// Why a driver could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither family gave the socket that is needed.
    #[error("cannot open UDP port {port}: {source}{}", advice(*port, source))]
    Socket {
        /// 5353, or 0 for an ephemeral one.
        port: u16,
        /// What the system said last.
        source: io::Error,
    },
    /// A TCP address cannot be listened on.
    #[error("cannot listen on TCP {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The interfaces cannot be listed or watched.
    #[error("cannot list the network interfaces: {0}")]
    Interfaces(#[source] io::Error),
}

fn advice(port: u16, source: &io::Error) -> &'static str {
    if port == MDNS_PORT && source.kind() == io::ErrorKind::AddrInUse {
        ". Another program holds it for itself: stop it, or make it share the port"
    } else {
        ""
    }
}
