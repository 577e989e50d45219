//! The text of an address that people write: a bootstrap of the DHT.
//!
//! ```text
//! address = host "/tcp/" port ["/p2p/" peer] | "/dnsaddr/" name ["/tcp/" port] ["/p2p/" peer]
//! host    = "/ip4/" IPv4 | "/ip6/" IPv6 | "/dns/" name | "/dns4/" name | "/dns6/" name
//! peer    = 12D3KooW.. (base58) | bafzaajaiaej.. (a CID in base32)
//! ```
//!
//! Not here: resolving names.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::identity::PeerId;
use crate::wire::{self, peer_id, text};

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Invalid {
    /// It does not begin with a kind of host that can be dialled.
    Kind,
    /// No IPv4 address after `/ip4/`.
    Ip4,
    /// No IPv6 address after `/ip6/`.
    Ip6,
    /// No host name.
    Name,
    /// Not followed by `/tcp/`.
    Transport,
    /// Not 1 to 65535.
    Port,
    /// No peer id after `/p2p/`.
    Peer,
    /// The id of a peer with another key than Ed25519.
    KeyType,
    /// Something else follows.
    Trailing,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kind => "it must begin with /ip4/, /ip6/, /dns/, /dns4/, /dns6/ or /dnsaddr/",
            Self::Ip4 => "an IPv4 address must follow /ip4/",
            Self::Ip6 => "an IPv6 address without zone must follow /ip6/",
            Self::Name => {
                "the host name must be labels of letters, digits, - and _ with dots between"
            }
            Self::Transport => {
                "/tcp/ and a port must follow the host; other transports are not spoken"
            }
            Self::Port => "the port must be 1 to 65535 without leading zero",
            Self::Peer => "a peer id, 12D3KooW.. or bafzaajaiaej.., must follow /p2p/",
            Self::KeyType => "only peers with Ed25519 keys (12D3KooW..) can be dialled",
            Self::Trailing => "nothing may follow but /p2p/ and a peer id",
        })
    }
}

impl core::error::Error for Invalid {}

/// Octets of a host name: RFC 1035 §2.3.4, without the root.
const NAME_MAX: usize = 253;

/// A name that has to be resolved, as it was written.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HostName(heapless::String<NAME_MAX, u8>);

impl HostName {
    /// Takes a host name.
    ///
    /// # Errors
    /// [`Invalid::Name`] when it is none.
    pub fn new(name: &str) -> Result<Self, Invalid> {
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
        };
        let last = name.rsplit_once('.').map_or(name, |(_, last)| last);
        let is_name = name.split('.').all(is_label) && !last.bytes().all(|c| c.is_ascii_digit());
        let name = heapless::String::try_from(name).ok().filter(|_| is_name);
        name.map(Self).ok_or(Invalid::Name)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Where to dial.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name with addresses of either family.
    Dns(HostName),
    /// A name whose IPv4 addresses are dialled.
    Dns4(HostName),
    /// A name whose IPv6 addresses are dialled.
    Dns6(HostName),
    /// A name whose TXT records hold addresses.
    DnsAddr(HostName),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(ip)) => write!(f, "/ip4/{ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "/ip6/{ip}"),
            Self::Dns(name) => write!(f, "/dns/{name}"),
            Self::Dns4(name) => write!(f, "/dns4/{name}"),
            Self::Dns6(name) => write!(f, "/dns6/{name}"),
            Self::DnsAddr(name) => write!(f, "/dnsaddr/{name}"),
        }
    }
}

/// An address that people write. What is shown reads back as the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Where to dial.
    pub host: Host,
    /// The TCP port, 1 to 65535; none only for [`Host::DnsAddr`].
    pub port: Option<u16>,
    /// Whom to expect.
    pub peer: Option<PeerId>,
}

impl core::str::FromStr for Address {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut parts = text.strip_prefix('/').ok_or(Invalid::Kind)?.split('/');
        let host = parse_host(parts.next(), parts.next().unwrap_or_default())?;
        let mut next = parts.next();
        let port = match (next, &host) {
            (Some("tcp"), _) => {
                let port = parse_port(parts.next().unwrap_or_default())?;
                next = parts.next();
                Some(port)
            }
            (_, Host::DnsAddr(_)) => None,
            (_, Host::Ip(_) | Host::Dns(_) | Host::Dns4(_) | Host::Dns6(_)) => {
                return Err(Invalid::Transport);
            }
        };
        let peer = match next {
            None => None,
            Some("p2p") => Some(parse_peer(parts.next().unwrap_or_default())?),
            Some(_) => return Err(Invalid::Trailing),
        };
        match parts.next() {
            None => Ok(Self { host, port, peer }),
            Some(_) => Err(Invalid::Trailing),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)?;
        if let Some(port) = self.port {
            write!(f, "/tcp/{port}")?;
        }
        self.peer.as_ref().map_or(Ok(()), |peer| write!(f, "/p2p/{peer}"))
    }
}

fn parse_host(kind: Option<&str>, value: &str) -> Result<Host, Invalid> {
    let name = || HostName::new(value);
    match kind {
        Some("ip4") => {
            let ip = value.parse::<Ipv4Addr>().map_err(|_| Invalid::Ip4)?;
            Ok(Host::Ip(ip.into()))
        }
        Some("ip6") => {
            let ip = value.parse::<Ipv6Addr>().map_err(|_| Invalid::Ip6)?;
            Ok(Host::Ip(ip.into()))
        }
        Some("dns") => name().map(Host::Dns),
        Some("dns4") => name().map(Host::Dns4),
        Some("dns6") => name().map(Host::Dns6),
        Some("dnsaddr") => name().map(Host::DnsAddr),
        Some(_) | None => Err(Invalid::Kind),
    }
}

fn parse_port(text: &str) -> Result<u16, Invalid> {
    let port = text::decode_decimal(text.as_bytes()).ok().and_then(|port| u16::try_from(port).ok());
    port.filter(|port| *port != 0).ok_or(Invalid::Port)
}

fn parse_peer(text: &str) -> Result<PeerId, Invalid> {
    peer_id::decode_any_text(text.as_bytes()).map_err(|error| match error {
        wire::Error::Unsupported(_) => Invalid::KeyType,
        wire::Error::Truncated(_) | wire::Error::Malformed(_) => Invalid::Peer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::ToString as _;

    const PEER: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";

    #[test]
    fn every_form_that_people_write_reads_and_shows() {
        for text in [
            "/ip4/192.0.2.1/tcp/4001",
            "/ip6/2001:db8::1/tcp/1",
            "/dns/boot.example.org/tcp/65535",
            "/dns4/Boot_1.example.org/tcp/4001",
            "/dns6/localhost/tcp/4001",
            "/dnsaddr/bootstrap.example.org",
            "/dnsaddr/bootstrap.example.org/tcp/4001",
        ] {
            for text in [text.to_string(), format!("{text}/p2p/{PEER}")] {
                let address: Address = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
                assert_eq!(address.to_string(), text);
                assert_eq!(
                    address.peer.map(|peer| peer.to_string()).is_some(),
                    text.contains(PEER)
                );
            }
        }
        let address: Address = "/ip4/192.0.2.1/tcp/4001".parse().unwrap();
        let expected = Host::Ip(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!((address.host, address.port), (expected, Some(4001)));
    }

    #[test]
    fn other_texts_of_one_value_show_the_common_one() {
        let cid = "bafzaajaiaejcbcui4poxicprsx6vfwznhs5f24wkm4e36hmucin7g5eiag2a6324";
        let address: Address = format!("/ip6/2001:DB8:0::1/tcp/4001/p2p/{cid}").parse().unwrap();
        assert_eq!(address.to_string(), format!("/ip6/2001:db8::1/tcp/4001/p2p/{PEER}"));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let long = format!("/dns/{}/tcp/1", "a.".repeat(126) + "ab");
        for (text, why) in [
            ("", Invalid::Kind),
            ("192.0.2.1:4001", Invalid::Kind),
            ("/", Invalid::Kind),
            ("/p2p/x", Invalid::Kind),
            ("/ip6zone/eth0/ip6/fe80::1/tcp/1", Invalid::Kind),
            ("/unix/x", Invalid::Kind),
            ("/ip4", Invalid::Ip4),
            ("/ip4/192.0.2.1.5/tcp/1", Invalid::Ip4),
            ("/ip4/192.0.2.01/tcp/1", Invalid::Ip4),
            ("/ip4/boot.example/tcp/1", Invalid::Ip4),
            ("/ip6/fe80::1%eth0/tcp/1", Invalid::Ip6),
            ("/ip6/192.0.2.1/tcp/1", Invalid::Ip6),
            ("/dns//tcp/1", Invalid::Name),
            ("/dns/a..b/tcp/1", Invalid::Name),
            ("/dns/a./tcp/1", Invalid::Name),
            ("/dns/-a/tcp/1", Invalid::Name),
            ("/dns/192.0.2.1/tcp/1", Invalid::Name),
            ("/dns/a b/tcp/1", Invalid::Name),
            (&long, Invalid::Name),
            ("/ip4/192.0.2.1", Invalid::Transport),
            ("/ip4/192.0.2.1/", Invalid::Transport),
            ("/ip4/192.0.2.1/udp/4001/quic-v1", Invalid::Transport),
            ("/ip4/192.0.2.1/tcp", Invalid::Port),
            ("/ip4/192.0.2.1/tcp/0", Invalid::Port),
            ("/ip4/192.0.2.1/tcp/65536", Invalid::Port),
            ("/ip4/192.0.2.1/tcp/04001", Invalid::Port),
            ("/ip4/192.0.2.1/tcp/4001/", Invalid::Trailing),
            ("/ip4/192.0.2.1/tcp/4001/ws", Invalid::Trailing),
            ("/dnsaddr/a/udp/1", Invalid::Trailing),
            ("/ip4/192.0.2.1/tcp/4001/p2p", Invalid::Peer),
            ("/ip4/192.0.2.1/tcp/4001/p2p/12D3KooW", Invalid::Peer),
            (
                "/ip4/192.0.2.1/tcp/4001/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC",
                Invalid::KeyType,
            ),
            (&format!("/ip4/192.0.2.1/tcp/4001/p2p/{PEER}/p2p-circuit"), Invalid::Trailing),
            (&format!("/ip4/192.0.2.1/tcp/4001/p2p/{PEER}/"), Invalid::Trailing),
        ] {
            assert_eq!(text.parse::<Address>(), Err(why), "{text:?}");
        }
    }

    #[test]
    fn the_longest_host_name_is_taken() {
        let name = "a.".repeat(126) + "b";
        assert_eq!(name.len(), NAME_MAX);
        assert_eq!(HostName::new(&name).unwrap().as_str(), name);
    }
}
