//! How many peers of one IP prefix are believed: addresses are cheap inside a prefix and dear across many, so
//! a crowd of made-up peers must not fill a bucket, a table or a store.
//! Spec: libp2p `specs/kad-dht` implementations (go-libp2p-kbucket's `peerdiversity`): prefixes of /16 and /48.
//!
//! Only global addresses are grouped by their prefix. Booting on a LAN is the main case, and there everybody shares
//! one: private addresses are grouped by themselves, with room for a host that runs many peers. Loopback addresses
//! have no group: whoever has one is this host.

use core::net::{IpAddr, SocketAddr};

use crate::wire::contact::Addresses;
use crate::wire::url::AddressClass;

/// Peers of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Of one prefix of global addresses.
    pub of_prefix: usize,
    /// At one address that is not global.
    pub of_address: usize,
}

/// Peers of one group in one bucket: of a host on the LAN, less than half of it.
pub const PER_BUCKET: Most = Most { of_prefix: 2, of_address: 8 };

/// Peers of one group in the whole table.
pub const PER_TABLE: Most = Most { of_prefix: 3, of_address: 16 };

/// Those who may be one and the same: an IP prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Group {
    v4: bool,
    prefix: [u8; 16],
}

impl Group {
    /// The /16 of a global IPv4 address or the /48 of a global IPv6 address; `None`: it is not global.
    #[must_use]
    pub fn of(ip: IpAddr) -> Option<Self> {
        (AddressClass::of(ip) == AddressClass::Global).then(|| Self::prefix(ip, 2, 6))
    }

    /// The group of a peer's address in a table: as [`Group::of`], else the address itself. `None`: this host.
    fn of_peer(ip: IpAddr) -> Option<Self> {
        let own =
            || (AddressClass::of(ip) != AddressClass::Loopback).then(|| Self::prefix(ip, 4, 16));
        Self::of(ip).or_else(own)
    }

    /// The group of the source of something to store: as [`Group::of`], else the IPv4 address or the /64 itself,
    /// so that one host on a LAN cannot fill a store. `None`: this host.
    #[must_use]
    pub fn of_source(ip: IpAddr) -> Option<Self> {
        let own =
            || (AddressClass::of(ip) != AddressClass::Loopback).then(|| Self::prefix(ip, 4, 8));
        Self::of(ip).or_else(own)
    }

    fn prefix(ip: IpAddr, v4_len: usize, v6_len: usize) -> Self {
        let mut prefix = [0; 16];
        match ip {
            IpAddr::V4(ip) => fill(&mut prefix, &ip.octets(), v4_len),
            IpAddr::V6(ip) => fill(&mut prefix, &ip.octets(), v6_len),
        }
        Self { v4: ip.is_ipv4(), prefix }
    }

    /// The group of every address that has one, and whether it is a prefix of global addresses.
    fn all(addresses: &Addresses) -> impl Iterator<Item = (Self, bool)> + '_ {
        let ips = addresses.iter().map(|address: SocketAddr| address.ip());
        ips.filter_map(|ip| Some((Self::of_peer(ip)?, Self::of(ip).is_some())))
    }
}

fn fill(prefix: &mut [u8; 16], octets: &[u8], len: usize) {
    for (to, from) in prefix.iter_mut().zip(octets).take(len) {
        *to = *from;
    }
}

/// Whether one more peer at `addresses` leaves no group with more than `most` peers, `others` counted.
pub fn fits<'a>(
    addresses: &Addresses,
    others: &(impl Iterator<Item = &'a Addresses> + Clone),
    most: Most,
) -> bool {
    Group::all(addresses).all(|group| {
        let same = others.clone().filter(|other| Group::all(other).any(|one| one == group));
        let (_, is_global) = group;
        same.count() < if is_global { most.of_prefix } else { most.of_address }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(text: &str) -> Option<Group> {
        Group::of(text.parse().unwrap())
    }

    #[test]
    fn only_global_addresses_have_a_group() {
        for text in ["10.0.0.1", "192.168.1.1", "100.64.0.1", "127.0.0.1", "fd00::1", "fe80::1"] {
            assert_eq!(group(text), None, "{text}");
        }
        assert_eq!(group("203.0.113.9"), group("203.0.7.7"));
        assert_ne!(group("203.0.113.9"), group("203.1.113.9"));
        assert_eq!(group("2001:db8:1:2::1"), group("2001:db8:1:ffff::1"));
        assert_ne!(group("2001:db8:1:2::1"), group("2001:db8:2:2::1"));
    }

    #[test]
    fn a_source_on_the_lan_is_a_group_by_itself() {
        let source = |text: &str| Group::of_source(text.parse().unwrap());
        assert_eq!(source("127.0.0.1"), None);
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
        assert_eq!(source("203.0.113.9"), group("203.0.7.7"));
        assert_eq!(source("fd00:1:2:3::1"), source("fd00:1:2:3::2"));
        assert_ne!(source("fd00:1:2:3::1"), source("fd00:1:2:4::1"));
    }

    #[test]
    fn a_peer_counts_once_in_each_of_its_groups() {
        let of = |texts: &[&str]| -> Addresses {
            texts.iter().map(|text| text.parse::<SocketAddr>().unwrap()).collect()
        };
        let others = [
            of(&["203.0.113.1:1", "203.0.113.1:2", "[2001:db8::1]:1"]),
            of(&["10.0.0.1:1", "203.0.113.2:1"]),
        ];
        let check = |texts: &[&str], of_prefix| {
            let most = Most { of_prefix, of_address: 2 };
            fits(&of(texts), &others.iter(), most)
        };
        assert!(check(&["203.0.1.1:1"], 3));
        assert!(!check(&["203.0.1.1:1"], 2));
        assert!(check(&["[2001:db8::2]:1"], 2));
        assert!(!check(&["[2001:db8::2]:1", "203.0.1.1:1"], 2), "each group counts");
        assert!(check(&["10.0.0.2:1"], 0), "a neighbour on the LAN is nobody else");
        assert!(check(&["10.0.0.1:2"], 0), "one more at the same host");
        let crowd = [of(&["10.0.0.1:1"]), of(&["10.0.0.1:2"]), of(&["127.0.0.1:1"])];
        let most = Most { of_prefix: 0, of_address: 2 };
        assert!(!fits(&of(&["10.0.0.1:3"]), &crowd.iter(), most), "a host with many");
        assert!(fits(&of(&["10.0.0.2:3"]), &crowd.iter(), most));
        let most = Most { of_prefix: 0, of_address: 0 };
        assert!(fits(&of(&["127.0.0.1:2", "[::1]:2"]), &crowd.iter(), most), "this host");
    }
}
