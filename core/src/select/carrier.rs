//! Which URLs an advert may bring, by how it came.
//!
//! | address | LAN | DHT |
//! |---|---|---|
//! | unspecified, loopback, multicast, reserved, metadata | never | never |
//! | 169.254/16 | only if we have such an address on that interface | never |
//! | `fe80::/10` | yes; the scope is the interface | never: nobody knows the scope |
//! | private | if on that link, else only from a pinned provider | if on a link of ours, else only from a pinned provider |
//! | global | yes | yes |
//! | a name | yes; its address is checked by [`check_address`] after it is resolved | likewise |

use core::net::{IpAddr, SocketAddr, SocketAddrV6};

use super::{Context, Policy};
use crate::machine::Network;
use crate::wire::url::{AddressClass, Host, Url};

/// How an advert came.
#[derive(Clone, Copy, Debug)]
pub enum Carrier<'a> {
    /// By multicast DNS.
    Lan {
        /// The addresses and prefixes of the interface it came by.
        networks: &'a [Network],
    },
    /// From the DHT.
    Dht {
        /// The addresses and prefixes of all interfaces.
        networks: &'a [Network],
        /// The signer itself answered.
        direct: bool,
    },
}

impl Carrier<'_> {
    /// How near it is; less is better.
    pub(super) const fn distance(&self) -> u8 {
        match self {
            Self::Lan { .. } => 0,
            Self::Dht { direct: true, .. } => 1,
            Self::Dht { direct: false, .. } => 2,
        }
    }
}

/// Checks the URL of an advert.
///
/// # Errors
/// The [`Policy`] that forbids it.
pub fn check_url(url: &Url, context: &Context<'_>, pinned: bool) -> Result<(), Policy> {
    match url.host() {
        Host::Ip(ip) => check_address(ip, context.carrier, pinned, context.allow_loopback)?,
        // RFC 6761 §6.3: this name is the loopback address everywhere.
        Host::Name(name) if name == "localhost" || name.ends_with(".localhost") => {
            if !context.allow_loopback {
                return Err(Policy::Class(AddressClass::Loopback));
            }
        }
        Host::Name(_) => {}
    }
    let expected = url.is_expected_path(context.channel.as_str(), context.arch.as_str());
    if expected || pinned { Ok(()) } else { Err(Policy::Path) }
}

/// Checks an address that a URL led to. Connect to the address that was checked and to no other.
///
/// # Errors
/// The [`Policy`] that forbids it.
pub fn check_address(
    ip: IpAddr,
    carrier: Carrier<'_>,
    pinned: bool,
    allow_loopback: bool,
) -> Result<(), Policy> {
    let (Carrier::Lan { networks } | Carrier::Dht { networks, .. }) = carrier;
    let is_lan = matches!(carrier, Carrier::Lan { .. });
    let class = AddressClass::of(ip);
    let allowed = match class {
        AddressClass::Unusable | AddressClass::Metadata => return Err(Policy::Class(class)),
        AddressClass::Loopback if allow_loopback => true,
        AddressClass::Loopback => return Err(Policy::Class(class)),
        AddressClass::LinkLocalV4 | AddressClass::LinkLocalV6 if !is_lan => {
            return Err(Policy::Class(class));
        }
        AddressClass::LinkLocalV4 => networks
            .iter()
            .any(|network| AddressClass::of(network.address) == AddressClass::LinkLocalV4),
        AddressClass::Private => pinned || networks.iter().any(|network| network.contains(ip)),
        AddressClass::LinkLocalV6 | AddressClass::Global => true,
    };
    if allowed { Ok(()) } else { Err(Policy::OffLink(class)) }
}

/// How the URL of an advert came, for the addresses that its host name leads to.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// The interface the advert came by: the scope of `fe80::/10` addresses. None: it came from the DHT.
    pub interface: Option<u32>,
    /// The addresses and prefixes of that interface; of all, if it came from the DHT.
    pub networks: &'a [Network],
    /// The provider is pinned.
    pub pinned: bool,
}

impl Way<'_> {
    /// Where to connect for `ip`, which the host of the URL is or was resolved to. Loopback addresses are for
    /// adverts that came by the loopback interface.
    ///
    /// # Errors
    /// The [`Policy`] that forbids it.
    pub fn destination(&self, ip: IpAddr, port: u16) -> Result<SocketAddr, Policy> {
        let loopback = self.networks.iter().any(|network| network.address.is_loopback());
        let carrier = match self.interface {
            Some(_) => Carrier::Lan { networks: self.networks },
            None => Carrier::Dht { networks: self.networks, direct: false },
        };
        check_address(ip, carrier, self.pinned, loopback)?;
        Ok(match ip {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                SocketAddrV6::new(ip, port, 0, self.interface.unwrap_or(0)).into()
            }
            IpAddr::V4(_) | IpAddr::V6(_) => SocketAddr::new(ip, port),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn destination(
        interface: Option<u32>,
        network: &str,
        pinned: bool,
        ip: &str,
    ) -> Result<std::string::String, Policy> {
        let networks = [Network { address: network.parse().unwrap(), prefix_len: 24 }];
        let way = Way { interface, networks: &networks, pinned };
        way.destination(ip.parse().unwrap(), 80).map(|destination| destination.to_string())
    }

    #[test]
    fn an_address_of_an_advert_is_checked_by_the_way_it_came() {
        let lan = |ip| destination(Some(7), "10.0.0.1", false, ip);
        assert_eq!(lan("10.0.0.9"), Ok("10.0.0.9:80".into()));
        assert_eq!(lan("fe80::1"), Ok("[fe80::1%7]:80".into()));
        assert!(lan("10.0.9.9").is_err() && lan("127.0.0.1").is_err());
        assert_eq!(destination(Some(7), "10.0.0.1", true, "10.0.9.9"), Ok("10.0.9.9:80".into()));
        assert_eq!(
            destination(Some(1), "127.0.0.1", false, "127.0.0.1"),
            Ok("127.0.0.1:80".into())
        );
        let dht = |ip| destination(None, "10.0.0.1", false, ip);
        assert_eq!(dht("10.0.0.9"), Ok("10.0.0.9:80".into()));
        assert!(dht("fe80::1").is_err() && dht("10.0.9.9").is_err());
    }
}
