//! Which addresses peers may tell one another: those that lead to the same place on both sides.
//!
//! Loopback addresses are only for those who are met on loopback; link-local ones lack their scope. Private ones
//! stay, because networks of providers without a public address are the main case. Not here: which addresses an
//! advert may bring ([`crate::select::carrier`]).

use core::net::SocketAddr;

use crate::kad::Contact;
use crate::wire::url::AddressClass;

/// The contact with those of its addresses that may be told to, or were told by, who is at `remote`.
pub(super) fn usable(contact: &Contact, remote: SocketAddr) -> Contact {
    let class = |address: SocketAddr| AddressClass::of(address.ip().to_canonical());
    let addresses = contact.addresses.iter().filter(|address| match class(*address) {
        AddressClass::Global | AddressClass::Private => true,
        AddressClass::Loopback => class(remote) == AddressClass::Loopback,
        AddressClass::Unusable
        | AddressClass::Metadata
        | AddressClass::LinkLocalV4
        | AddressClass::LinkLocalV6 => false,
    });
    Contact { peer: contact.peer, addresses: addresses.collect() }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::identity::SecretKey;

    fn check(told: &str, remote: &str, usable_there: bool) {
        let peer = SecretKey::from_seed(&[1; 32]).peer_id();
        let contact = Contact::at(peer, told.parse().unwrap());
        let kept: Vec<_> = usable(&contact, remote.parse().unwrap()).addresses.iter().collect();
        assert_eq!(!kept.is_empty(), usable_there, "{told} and {remote}");
    }

    #[test]
    fn addresses_are_for_those_whom_they_lead_to_the_same_place() {
        for remote in ["198.51.100.7:4001", "192.168.1.7:4001", "127.0.0.1:4001", "[::1]:4001"] {
            check("198.51.100.1:4001", remote, true);
            check("192.168.1.1:4001", remote, true);
            check("[fd00::1]:4001", remote, true);
            check("169.254.1.1:4001", remote, false);
            check("[fe80::1]:4001", remote, false);
            check("169.254.169.254:80", remote, false);
            check("0.0.0.0:4001", remote, false);
            check("224.0.0.251:4001", remote, false);
        }
    }

    #[test]
    fn loopback_is_for_loopback_alone() {
        for told in ["127.0.0.1:4001", "[::1]:4001", "[::ffff:127.0.0.1]:4001"] {
            check(told, "127.0.0.1:5", true);
            check(told, "[::1]:5", true);
            check(told, "192.168.1.7:5", false);
            check(told, "198.51.100.7:5", false);
        }
    }
}
