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

use core::net::IpAddr;

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
