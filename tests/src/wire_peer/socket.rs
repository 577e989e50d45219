//! One UDP socket that reports what RFC 6762 cares about: source, destination, interface, TTL and time of
//! every datagram, and sends from any address of its host.
//! Spec: RFC 6762 §5 (ports), §11 (TTL).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{
    self, AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SetSockOpt, SockFlag,
    SockType, SockaddrIn, SockaddrIn6, SockaddrStorage, sockopt,
};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

/// The IPv4 group.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// The IPv6 group.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// The port of both groups.
pub const MDNS_PORT: u16 = 5353;

const LARGEST_DATAGRAM: usize = 65_536;
const WAKE_EVERY: Duration = Duration::from_millis(100);

/// A reading of the host's real-time clock, which also stamps received datagrams in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(Duration);

impl Stamp {
    /// The time it is.
    #[must_use]
    pub fn read() -> Self {
        clock_gettime(ClockId::CLOCK_REALTIME).map_or(Self(Duration::ZERO), Self::from)
    }

    /// The time from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<TimeSpec> for Stamp {
    fn from(t: TimeSpec) -> Self {
        Self(t.into())
    }
}

/// Which local port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// 5353: a full participant.
    Mdns,
    /// An ephemeral port: a one-shot querier.
    OneShot,
}

/// A received datagram and its envelope.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// When the kernel got it.
    pub at: Stamp,
    /// The local port it came to.
    pub door: Door,
    /// The sender.
    pub remote: SocketAddr,
    /// The address it was sent to.
    pub destination: IpAddr,
    /// The interface it came in by.
    pub interface: u32,
    /// IP TTL or hop limit on arrival.
    pub ttl: u8,
    /// The UDP payload.
    pub octets: Vec<u8>,
}

/// A socket of one family on one port and interface.
#[derive(Debug)]
pub struct Socket {
    udp: UdpSocket,
    door: Door,
    interface: u32,
}

impl Socket {
    /// Opens a socket on all IPv4 addresses; on [`Door::Mdns`] it joins the group on the interface that has
    /// the address `on`. Call it inside the namespace.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn v4(door: Door, on: Ipv4Addr, interface: u32) -> io::Result<Self> {
        let fd = Self::open(AddressFamily::Inet)?;
        sockopt::Ipv4PacketInfo.set(&fd, &true)?;
        sockopt::Ipv4RecvTtl.set(&fd, &true)?;
        sockopt::Ipv4Ttl.set(&fd, &255)?;
        socket::bind(
            fd.as_raw_fd(),
            &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, door.port())),
        )?;
        let udp = UdpSocket::from(fd);
        udp.set_multicast_ttl_v4(255)?;
        udp.set_multicast_loop_v4(false)?;
        if door == Door::Mdns {
            udp.join_multicast_v4(&GROUP_V4, &on)?;
        }
        Self::ready(udp, door, interface)
    }

    /// The same for IPv6.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn v6(door: Door, interface: u32) -> io::Result<Self> {
        let fd = Self::open(AddressFamily::Inet6)?;
        sockopt::Ipv6V6Only.set(&fd, &true)?;
        sockopt::Ipv6RecvPacketInfo.set(&fd, &true)?;
        sockopt::Ipv6RecvHopLimit.set(&fd, &true)?;
        sockopt::Ipv6Ttl.set(&fd, &255)?;
        sockopt::Ipv6MulticastHops.set(&fd, &255)?;
        let any = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, door.port(), 0, 0);
        socket::bind(fd.as_raw_fd(), &SockaddrIn6::from(any))?;
        let udp = UdpSocket::from(fd);
        udp.set_multicast_loop_v6(false)?;
        if door == Door::Mdns {
            udp.join_multicast_v6(&GROUP_V6, interface)?;
        }
        Self::ready(udp, door, interface)
    }

    fn open(family: AddressFamily) -> io::Result<OwnedFd> {
        let fd = socket::socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        sockopt::ReuseAddr.set(&fd, &true)?;
        sockopt::ReusePort.set(&fd, &true)?;
        sockopt::ReceiveTimestampns.set(&fd, &true)?;
        Ok(fd)
    }

    fn ready(udp: UdpSocket, door: Door, interface: u32) -> io::Result<Self> {
        udp.set_read_timeout(Some(WAKE_EVERY))?;
        Ok(Self { udp, door, interface })
    }

    /// The local port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.udp.local_addr().map_or(0, |a| a.port())
    }

    /// Sends from `source`, or from the address the kernel chooses, by this socket's interface.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn send(
        &self,
        source: Option<IpAddr>,
        destination: SocketAddr,
        octets: &[u8],
    ) -> io::Result<()> {
        let payload = [IoSlice::new(octets)];
        let fd = self.udp.as_raw_fd();
        let sent = match destination {
            SocketAddr::V4(to) => {
                let source = match source {
                    Some(IpAddr::V4(a)) => a,
                    Some(IpAddr::V6(_)) | None => Ipv4Addr::UNSPECIFIED,
                };
                let info = libc::in_pktinfo {
                    ipi_ifindex: libc::c_int::try_from(self.interface).unwrap_or(0),
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let control = [ControlMessage::Ipv4PacketInfo(&info)];
                socket::sendmsg(
                    fd,
                    &payload,
                    &control,
                    MsgFlags::empty(),
                    Some(&SockaddrIn::from(to)),
                )
            }
            SocketAddr::V6(to) => {
                let source = match source {
                    Some(IpAddr::V6(a)) => a,
                    Some(IpAddr::V4(_)) | None => Ipv6Addr::UNSPECIFIED,
                };
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
                    ipi6_ifindex: self.interface,
                };
                let control = [ControlMessage::Ipv6PacketInfo(&info)];
                socket::sendmsg(
                    fd,
                    &payload,
                    &control,
                    MsgFlags::empty(),
                    Some(&SockaddrIn6::from(to)),
                )
            }
        };
        sent.map(drop).map_err(io::Error::from)
    }

    /// Takes the next datagram; `None` when none came for a tenth of a second.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn receive(&self) -> io::Result<Option<Envelope>> {
        let mut buffer = vec![0; LARGEST_DATAGRAM];
        let mut space = nix::cmsg_space!(
            TimeSpec,
            libc::in6_pktinfo,
            libc::in_pktinfo,
            libc::c_int,
            libc::c_int
        );
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let got = match socket::recvmsg::<SockaddrStorage>(
            self.udp.as_raw_fd(),
            &mut parts,
            Some(&mut space),
            MsgFlags::empty(),
        ) {
            Ok(got) => got,
            // An ICMP error for an earlier send is no concern of the receiver.
            Err(nix::Error::EAGAIN | nix::Error::EINTR | nix::Error::ECONNREFUSED) => {
                return Ok(None);
            }
            Err(e) => return Err(e.into()),
        };
        let Some(remote) = got.address.as_ref().and_then(to_socket_addr) else { return Ok(None) };
        let mut envelope = Envelope {
            at: Stamp::read(),
            door: self.door,
            remote,
            destination: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            interface: 0,
            ttl: 0,
            octets: Vec::new(),
        };
        let len = got.bytes;
        for control in got.cmsgs()? {
            note(&mut envelope, &control);
        }
        buffer.truncate(len);
        envelope.octets = buffer;
        Ok(Some(envelope))
    }
}

impl Door {
    const fn port(self) -> u16 {
        match self {
            Self::Mdns => MDNS_PORT,
            Self::OneShot => 0,
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kernel sends only what was asked for; the rest is not ours"
)]
fn note(envelope: &mut Envelope, control: &ControlMessageOwned) {
    match control {
        ControlMessageOwned::ScmTimestampns(at) => envelope.at = (*at).into(),
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            envelope.destination = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into();
            envelope.interface = u32::try_from(info.ipi_ifindex).unwrap_or(0);
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            envelope.destination = Ipv6Addr::from(info.ipi6_addr.s6_addr).into();
            envelope.interface = info.ipi6_ifindex;
        }
        ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => {
            envelope.ttl = u8::try_from(*ttl).unwrap_or(0);
        }
        _ => {}
    }
}

fn to_socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|a| SocketAddr::V4(SocketAddrV4::new(a.ip(), a.port())));
    v4.or_else(|| address.as_sockaddr_in6().map(|a| SocketAddr::V6((*a).into())))
}
