//! The packet information that goes with each datagram: interface and local address.
//!
//! Spec: ip(7) `IP_PKTINFO`, RFC 3542 §6.1 `IPV6_PKTINFO`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::libc;
use nix::sys::socket::ControlMessageOwned;

/// Interface index and destination address of a received datagram.
pub(super) fn arrival(message: &ControlMessageOwned) -> Option<(u32, IpAddr)> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "sockets are asked for nothing else")]
    match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let destination = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
            Some((u32::try_from(info.ipi_ifindex).ok()?, destination.into()))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            Some((info.ipi6_ifindex, Ipv6Addr::from(info.ipi6_addr.s6_addr).into()))
        }
        _ => None,
    }
}

/// Sends by `interface` from `source`, or from what the system chooses.
pub(super) fn departure_v4(interface: u32, source: Option<IpAddr>) -> libc::in_pktinfo {
    let source = match source {
        Some(IpAddr::V4(source)) => source,
        Some(IpAddr::V6(_)) | None => Ipv4Addr::UNSPECIFIED,
    };
    libc::in_pktinfo {
        ipi_ifindex: interface.try_into().unwrap_or(0),
        ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) },
        ipi_addr: libc::in_addr { s_addr: 0 },
    }
}

/// Sends by `interface` from `source`, or from what the system chooses.
pub(super) fn departure_v6(interface: u32, source: Option<IpAddr>) -> libc::in6_pktinfo {
    let source = match source {
        Some(IpAddr::V6(source)) => source,
        Some(IpAddr::V4(_)) | None => Ipv6Addr::UNSPECIFIED,
    };
    libc::in6_pktinfo {
        ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
        ipi6_ifindex: interface,
    }
}
