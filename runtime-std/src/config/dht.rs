//! Addresses of the DHT in flags and configuration: where to listen, and what others are told.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use phase_core::wire::multiaddr::{Address, Host, Invalid};

/// Where nodes of the DHT listen when nothing is said: the port that libp2p nodes have by custom.
pub const PORT: u16 = 4001;

/// All addresses of either family, at [`PORT`].
pub const LISTEN_DEFAULT: [Endpoint; 2] = [
    Endpoint(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT)),
    Endpoint(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), PORT)),
];

/// An address and port of this host, written as a multiaddr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint(pub SocketAddr);

/// Why a text is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotEndpoint {
    /// It is no multiaddr.
    #[error(transparent)]
    Invalid(Invalid),
    /// It names a host.
    #[error("it must begin with /ip4/ or /ip6/ and an address of this host, not a name")]
    Name,
    /// It names a peer.
    #[error("it ends with the port: the peer is this node")]
    Peer,
    /// Nobody can connect to it.
    #[error("others cannot connect to this address")]
    Unspecified,
}

impl Endpoint {
    /// Reads an address to listen on; port 0 lets the system choose.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn listen(text: &str) -> Result<Self, NotEndpoint> {
        match text.strip_suffix("/tcp/0") {
            Some(host) => {
                let Self(mut address) = format!("{host}/tcp/1").parse()?;
                address.set_port(0);
                Ok(Self(address))
            }
            None => text.parse(),
        }
    }

    /// Reads an address to tell others of.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn announce(text: &str) -> Result<Self, NotEndpoint> {
        let endpoint: Self = text.parse()?;
        let ip = endpoint.0.ip();
        if ip.is_unspecified() || ip.is_multicast() {
            return Err(NotEndpoint::Unspecified);
        }
        Ok(endpoint)
    }
}

impl FromStr for Endpoint {
    type Err = NotEndpoint;

    fn from_str(text: &str) -> Result<Self, NotEndpoint> {
        let address: Address = text.parse().map_err(NotEndpoint::Invalid)?;
        match (address.host, address.port, address.peer) {
            (_, _, Some(_)) => Err(NotEndpoint::Peer),
            (Host::Ip(ip), Some(port), None) => Ok(Self(SocketAddr::new(ip, port))),
            _ => Err(NotEndpoint::Name),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/tcp/{}", Host::Ip(self.0.ip()), self.0.port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_addresses_of_this_host() {
        for text in ["/ip4/0.0.0.0/tcp/4001", "/ip6/::1/tcp/1"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        assert_eq!(Endpoint::listen("/ip6/::/tcp/0").unwrap().0.to_string(), "[::]:0");
        assert_eq!(
            LISTEN_DEFAULT.map(|e| e.to_string()),
            ["/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001"]
        );
        let peer = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
        for (text, why) in [
            ("/dns4/localhost/tcp/4001".to_owned(), NotEndpoint::Name),
            (format!("/ip4/192.0.2.1/tcp/4001/p2p/{peer}"), NotEndpoint::Peer),
            ("0.0.0.0:4001".to_owned(), NotEndpoint::Invalid(Invalid::Kind)),
            ("/ip4/192.0.2.1/tcp/70000".to_owned(), NotEndpoint::Invalid(Invalid::Port)),
        ] {
            assert_eq!(Endpoint::listen(&text), Err(why), "{text}");
        }
        assert_eq!(Endpoint::announce("/ip4/0.0.0.0/tcp/4001"), Err(NotEndpoint::Unspecified));
        assert!(Endpoint::announce("/ip4/192.0.2.1/tcp/4001").is_ok());
    }
}
