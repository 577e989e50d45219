//! Multicast DNS and DNS-SD behaviour (RFC 6762, RFC 6763).
//!
//! [`service`]: the names; `responder`: the provider's half; `querier` and `cache`: the client's.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::machine::Family;

pub(crate) mod cache;
pub(crate) mod querier;
pub(crate) mod responder;
pub mod service;

/// RFC 6762 §3: the UDP port.
pub const PORT: u16 = 5353;

/// RFC 6762 §3: the IPv4 group.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);

/// RFC 6762 §3: the IPv6 group, with link-local scope.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// The group and port of a family.
#[must_use]
pub const fn group(family: Family) -> SocketAddr {
    match family {
        Family::V4 => SocketAddr::new(IpAddr::V4(GROUP_V4), PORT),
        Family::V6 => SocketAddr::new(IpAddr::V6(GROUP_V6), PORT),
    }
}
