//! Where manifests are served, and which of a host's addresses their URLs have.

use core::net::{IpAddr, SocketAddr};

use crate::machine::Network;
use crate::wire::record::{Arch, Channel};
use crate::wire::url::{self, AddressClass, Url};

/// Where the manifests are served: the part of their URLs before the path
/// `/{channel}/{arch}/manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// At this TCP port of each interface's own address, by HTTP: a global or private IPv4 address, else such
    /// an IPv6 address, else a link-local one.
    Auto {
        /// The port.
        port: u16,
    },
    /// At the scheme, host and port of this URL, whatever the interface. Its path is not used.
    Fixed(Url),
}

impl Origin {
    /// A fixed origin such as `http://boot.example.org:8080`, with or without a slash at its end.
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub fn fixed(text: &str) -> Result<Self, url::Error> {
        let origin = text.strip_suffix('/').unwrap_or(text);
        let mut whole = heapless::String::<256>::new();
        core::fmt::write(&mut whole, format_args!("{origin}/manifest.json"))
            .map_err(|_| url::Error::Length)?;
        Url::parse(&whole).map(Self::Fixed)
    }

    pub(super) const fn is_auto(&self) -> bool {
        matches!(self, Self::Auto { .. })
    }

    /// The port, for the SRV record.
    pub(super) fn port(&self) -> u16 {
        match self {
            Self::Auto { port } => *port,
            Self::Fixed(url) => url.port(),
        }
    }

    /// The URL of an image's manifest on an interface with this address.
    pub(super) fn url(
        &self,
        address: Option<IpAddr>,
        channel: &Channel,
        arch: &Arch,
    ) -> Option<Url> {
        let mut path = heapless::String::<80>::new();
        core::fmt::write(&mut path, format_args!("/{channel}/{arch}/manifest.json")).ok()?;
        match self {
            Self::Fixed(url) => url.join(&path).ok(),
            Self::Auto { port } => {
                let address = SocketAddr::new(address?, *port);
                let mut whole = heapless::String::<192>::new();
                core::fmt::write(&mut whole, format_args!("http://{address}{path}")).ok()?;
                Url::parse(&whole).ok()
            }
        }
    }
}

/// The address an interface's URLs have.
pub(super) fn address_of(networks: &[Network]) -> Option<IpAddr> {
    let rank = |ip: IpAddr| match AddressClass::of(ip) {
        AddressClass::Private | AddressClass::Global => Some(u8::from(ip.is_ipv6())),
        AddressClass::LinkLocalV4 => Some(2),
        AddressClass::LinkLocalV6 => Some(3),
        AddressClass::Loopback | AddressClass::Unusable | AddressClass::Metadata => None,
    };
    let usable =
        networks.iter().filter_map(|network| Some((rank(network.address)?, network.address)));
    usable.min_by_key(|(rank, _)| *rank).map(|(_, ip)| ip)
}

/// The address that URLs in the DHT have: a global one, else a private one, IPv4 first; nobody far away can use
/// any other.
pub(super) fn announceable(addresses: &[IpAddr]) -> Option<IpAddr> {
    let rank = |ip: &IpAddr| match AddressClass::of(*ip) {
        AddressClass::Global => Some((0, ip.is_ipv6())),
        AddressClass::Private => Some((1, ip.is_ipv6())),
        AddressClass::LinkLocalV4
        | AddressClass::LinkLocalV6
        | AddressClass::Loopback
        | AddressClass::Unusable
        | AddressClass::Metadata => None,
    };
    let usable = addresses.iter().filter_map(|ip| Some((rank(ip)?, *ip)));
    usable.min_by_key(|(rank, _)| *rank).map(|(_, ip)| ip)
}
