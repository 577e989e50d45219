//! A peer and where it can be dialled, owned: what is left of a Kademlia or identify message once it was read.
//! Not here: the octets of either ([`super::peer_id`] has those of the id).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::identity::PeerId;
use crate::limits::ADDRESSES_PER_PEER;

/// A peer with its TCP addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Who.
    pub peer: PeerId,
    /// Where; may be empty.
    pub addresses: Addresses,
}

impl Contact {
    /// A peer without addresses.
    #[must_use]
    pub const fn new(peer: PeerId) -> Self {
        Self { peer, addresses: Addresses::NONE }
    }

    /// A peer at one address.
    #[must_use]
    pub fn at(peer: PeerId, address: SocketAddr) -> Self {
        let mut contact = Self::new(peer);
        contact.addresses.add(address);
        contact
    }
}

/// Up to [`ADDRESSES_PER_PEER`] different TCP addresses, the one to try first in front. Kept small for tables of
/// many; the zone of an IPv6 address is not kept.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses([Packed; ADDRESSES_PER_PEER]);

/// An address in 19 octets; a place without one has port 0, which nobody can be dialled at.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Packed {
    /// As IPv4-mapped IPv6 address when `v4`.
    ip: [u8; 16],
    port: [u8; 2],
    v4: bool,
}

impl Packed {
    const NONE: Self = Self { ip: [0; 16], port: [0; 2], v4: false };

    fn new(address: SocketAddr) -> Self {
        let (ip, v4) = match address.ip() {
            IpAddr::V4(ip) => (ip.to_ipv6_mapped(), true),
            IpAddr::V6(ip) => (ip, false),
        };
        Self { ip: ip.octets(), port: address.port().to_be_bytes(), v4 }
    }

    fn get(&self) -> Option<SocketAddr> {
        let [_, _, _, _, _, _, _, _, _, _, _, _, v4 @ ..] = self.ip;
        let ip = if self.v4 {
            IpAddr::V4(Ipv4Addr::from(v4))
        } else {
            IpAddr::V6(Ipv6Addr::from(self.ip))
        };
        let port = u16::from_be_bytes(self.port);
        (port != 0).then(|| SocketAddr::new(ip, port))
    }
}

impl Addresses {
    /// None.
    pub const NONE: Self = Self([Packed::NONE; ADDRESSES_PER_PEER]);

    /// Each, the one to try first in front.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.0.iter().map_while(Packed::get)
    }

    /// The one to try first.
    #[must_use]
    pub fn first(&self) -> Option<SocketAddr> {
        self.iter().next()
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// Whether `address` is one of them.
    #[must_use]
    pub fn contains(&self, address: &SocketAddr) -> bool {
        self.iter().any(|one| one == *address)
    }

    /// Adds an address behind the others, unless it is there, its port is 0, or there is no room.
    pub fn add(&mut self, address: SocketAddr) {
        if address.port() == 0 || self.contains(&address) {
            return;
        }
        let at = self.count();
        if let Some(place) = self.0.get_mut(at) {
            *place = Packed::new(address);
        }
    }

    /// Adds an address that somebody else told of, unless nobody can be dialled there. One that is good only on the
    /// host or the link it belongs to stands behind the others, and gives way to them without room. An IPv4 address
    /// in the form of an IPv6 one is taken for what it is, so that it counts with its network.
    pub fn offer(&mut self, address: SocketAddr) {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let ip = address.ip();
        if ip.is_unspecified() || ip.is_multicast() || self.contains(&address) {
            return;
        }
        if is_near(&ip) {
            return self.add(address);
        }
        let kept = *self;
        *self = Self::NONE;
        kept.iter().filter(|other| !is_near(&other.ip())).for_each(|other| self.add(other));
        self.add(address);
        kept.iter().filter(|other| is_near(&other.ip())).for_each(|other| self.add(other));
    }

    /// Puts an address that was reached in front of the others; without room, the last one gives way.
    pub fn prefer(&mut self, address: SocketAddr) {
        if address.port() == 0 {
            return;
        }
        let mut rest = *self;
        rest.remove(&address);
        *self = Self::NONE;
        self.add(address);
        for other in rest.iter() {
            self.add(other);
        }
    }

    /// Takes out an address.
    pub fn remove(&mut self, address: &SocketAddr) {
        let rest = *self;
        *self = Self::NONE;
        for other in rest.iter().filter(|other| other != address) {
            self.add(other);
        }
    }
}

/// Loopback, or link-local.
fn is_near(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

impl FromIterator<SocketAddr> for Addresses {
    /// The first that are different and have a port.
    fn from_iter<I: IntoIterator<Item = SocketAddr>>(addresses: I) -> Self {
        let mut kept = Self::NONE;
        for address in addresses {
            kept.add(address);
        }
        kept
    }
}

impl core::fmt::Debug for Addresses {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 4001))
    }

    fn lasts(addresses: &Addresses) -> std::vec::Vec<SocketAddr> {
        addresses.iter().collect()
    }

    #[test]
    fn addresses_are_few_and_the_one_that_works_is_in_front() {
        let mut addresses: Addresses = [1, 2, 2, 3, 4, 5].map(at).into_iter().collect();
        assert_eq!(lasts(&addresses), [at(1), at(2), at(3), at(4)]);
        addresses.prefer(at(3));
        assert_eq!(lasts(&addresses), [at(3), at(1), at(2), at(4)]);
        addresses.prefer(at(9));
        assert_eq!(lasts(&addresses), [at(9), at(3), at(1), at(2)]);
        addresses.remove(&at(3));
        assert_eq!(lasts(&addresses), [at(9), at(1), at(2)]);
        assert!(addresses.contains(&at(1)) && !addresses.contains(&at(3)));
    }

    #[test]
    fn what_others_tell_of_is_kept_when_it_can_be_of_use() {
        let mut addresses = Addresses::NONE;
        let mut offer = |text: &str| {
            addresses.offer(text.parse().unwrap());
            addresses
        };
        for text in ["127.0.0.1:1", "[::1]:1", "0.0.0.0:1", "[::]:1", "224.0.0.1:1", "10.0.0.1:0"] {
            offer(text);
        }
        offer("169.254.0.1:1");
        offer("[fe80::1]:1");
        assert_eq!(offer("127.0.0.1:1").count(), 4);
        for text in ["192.0.2.1:4001", "[::ffff:192.0.2.1]:4001", "192.0.2.2:4001"] {
            offer(text);
        }
        let shown = std::format!("{:?}", lasts(&offer("192.0.2.3:4001")));
        assert_eq!(shown, "[192.0.2.1:4001, 192.0.2.2:4001, 192.0.2.3:4001, 127.0.0.1:1]");
    }

    #[test]
    fn an_address_comes_back_as_it_was() {
        for text in ["192.0.2.1:1", "[2001:db8::1]:4001", "[::ffff:192.0.2.1]:65535", "[::]:7"] {
            let address: SocketAddr = text.parse().unwrap();
            let contact = Contact::at(PeerId::from_octets([7; 32]).unwrap(), address);
            assert_eq!(lasts(&contact.addresses), [address]);
        }
        let mut addresses = Addresses::NONE;
        addresses.add(SocketAddr::from(([192, 0, 2, 1], 0)));
        addresses.prefer(SocketAddr::from(([192, 0, 2, 1], 0)));
        assert!(addresses.is_empty() && addresses == Addresses::NONE);
        assert_eq!(size_of::<Contact>(), 32 + 4 * 19);
    }
}
