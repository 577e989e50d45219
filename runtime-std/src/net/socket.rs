//! One UDP socket of one family that serves every interface.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::task::{Context, Poll};

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use phase_core::limits::DATAGRAM_MAX;
use phase_core::machine::{Family, Port};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket as RawSocket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::{GROUP_V4, GROUP_V6, Inbox, MDNS_PORT};

/// Datagrams received or sent at once.
pub(crate) const BATCH: usize = 32;

/// Octets of a datagram that are received: one more than is looked at, so that a longer one shows.
pub(crate) const RECEIVE_MAX: usize = DATAGRAM_MAX + 1;

/// RFC 6762 §11: every datagram leaves with TTL 255, so that a receiver can tell it was not routed.
const TTL: u32 = 255;

/// Octets of the receive buffer that are asked for: a burst of 1,000 queries is not lost while an answer is signed.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A received datagram without its payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    pub(crate) remote: SocketAddr,
    /// Interface and destination address, where the system told them.
    pub(crate) information: Option<(u32, IpAddr)>,
    /// Octets of the payload.
    pub(crate) len: usize,
}

/// A UDP socket of one family.
#[derive(Debug)]
pub(crate) struct Socket {
    io: UdpSocket,
    pub(crate) family: Family,
    pub(crate) port: Port,
}

impl Socket {
    /// Opens port 5353, shared with whoever else shares it; also tells whether nobody had it before
    /// (RFC 6762 §15.1).
    ///
    /// # Errors
    /// `AddrInUse` when another program has it for itself, or what else the system said.
    pub(crate) fn mdns(family: Family) -> io::Result<(Self, bool)> {
        let raw = prepare(family)?;
        let address = SocketAddr::new(unspecified(family), MDNS_PORT).into();
        // Alone first: whether that fails is the answer, and to share can be said afterwards too.
        let first = match raw.bind(&address) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => false,
            Err(error) => return Err(error),
        };
        raw.set_reuse_address(true)?;
        raw.set_reuse_port(true)?;
        if !first {
            raw.bind(&address)?;
        }
        Ok((Self::new(raw, family, Port::Mdns)?, first))
    }

    /// Opens a port of the system's choice, to which nobody else's answers go.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn ephemeral(family: Family) -> io::Result<Self> {
        let raw = prepare(family)?;
        raw.bind(&SocketAddr::new(unspecified(family), 0).into())?;
        Self::new(raw, family, Port::Ephemeral)
    }

    fn new(raw: RawSocket, family: Family, port: Port) -> io::Result<Self> {
        let io = UdpSocket::from_std(StdUdpSocket::from(raw))?;
        Ok(Self { io, family, port })
    }

    pub(super) fn fd(&self) -> RawFd {
        self.io.as_raw_fd()
    }

    /// Becomes a member of the mDNS group on an interface; to be one already is fine.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn join(&self, interface: u32) -> io::Result<()> {
        let socket = SockRef::from(&self.io);
        let joined = match self.family {
            Family::V4 => {
                let interface = InterfaceIndexOrAddress::Index(interface);
                socket.join_multicast_v4_n(&GROUP_V4, &interface)
            }
            Family::V6 => socket.join_multicast_v6(&GROUP_V6, interface),
        };
        match joined {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
            other => other,
        }
    }

    /// Ends the membership on an interface; the system did so already where the interface is gone.
    pub(crate) fn leave(&self, interface: u32) {
        let socket = SockRef::from(&self.io);
        let left = match self.family {
            Family::V4 => {
                let interface = InterfaceIndexOrAddress::Index(interface);
                socket.leave_multicast_v4_n(&GROUP_V4, &interface)
            }
            Family::V6 => socket.leave_multicast_v6(&GROUP_V6, interface),
        };
        if let Err(error) = left {
            tracing::trace!(interface, %error, "not a member");
        }
    }

    /// Ready when datagrams may have arrived.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.io.poll_recv_ready(cx).map(drop)
    }

    /// Moves what has arrived into `inbox`; how many datagrams.
    pub(crate) fn receive(&self, inbox: &mut Inbox) -> usize {
        let mut count = 0;
        let all = self.io.try_io(Interest::READABLE, || {
            match inbox.receive(self.fd(), self.family) {
                Ok(BATCH..) => return Ok(()),
                // The socket is empty now: the runtime is told here, without another system call, and
                // still sees what arrives meanwhile.
                Ok(some) => count = some,
                Err(Errno::EAGAIN) => {}
                // It waits for the next arrival too, instead of failing without end.
                Err(error) => tracing::debug!(%error, "cannot receive"),
            }
            Err(io::ErrorKind::WouldBlock.into())
        });
        all.map_or(count, |()| BATCH)
    }
}

fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// A socket with every option but the shared port.
fn prepare(family: Family) -> io::Result<RawSocket> {
    let domain = match family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    };
    let socket = RawSocket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    match family {
        Family::V4 => {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
            socket.set_ttl_v4(TTL)?;
            socket.set_multicast_ttl_v4(TTL)?;
            // Other programs of this host listen too.
            socket.set_multicast_loop_v4(true)?;
            #[cfg(any(target_os = "linux", target_os = "android"))]
            socket.set_multicast_all_v4(false)?;
        }
        Family::V6 => {
            socket.set_only_v6(true)?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            socket.set_unicast_hops_v6(TTL)?;
            socket.set_multicast_hops_v6(TTL)?;
            socket.set_multicast_loop_v6(true)?;
            #[cfg(any(target_os = "linux", target_os = "android"))]
            socket.set_multicast_all_v6(false)?;
        }
    }
    if let Err(error) = socket.set_recv_buffer_size(RECEIVE_BUFFER) {
        tracing::debug!(%error, "the receive buffer keeps its size");
    }
    Ok(socket)
}
