//! Multiaddrs: addresses as a path of protocols, each a code and, for most, a value.
//! Spec: multiformats `multiaddr`, libp2p `specs/addressing`.
//!
//! ```text
//! 04 c0a80164  06 0fa1  a503 26 0024080112208a88..     /ip4/192.168.1.100/tcp/4001/p2p/12D3KooWK99V..
//! ```
//!
//! The octets of an unknown protocol have no length, so nothing after them can be read. Dialled are IPv4 and IPv6
//! addresses with TCP, by nobody in between. The text that people write is [`Address`].
//! Not implemented: zones, relays and every other transport.

mod address;

pub use address::{Address, Host, HostName, Invalid};

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::cursor::{Reader, Writer};
use super::{Error, peer_id, text, varint};
use crate::identity::PeerId;

/// Octets of the longest multiaddr that [`encode`] writes: IPv6, TCP and a peer.
pub const ENCODED_MAX: usize = 17 + 3 + PEER_LEN;

const PEER_LEN: usize = 3 + peer_id::MULTIHASH_LEN;

/// The octets of a multiaddr, whatever they are; reading them shows whether they are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multiaddr<'a>(&'a [u8]);

/// One protocol of a multiaddr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol<'a> {
    /// An IPv4 address.
    Ip4(Ipv4Addr),
    /// An IPv6 address.
    Ip6(Ipv6Addr),
    /// The zone of the IPv6 address that follows.
    Ip6Zone(&'a [u8]),
    /// A name with addresses of either family.
    Dns(&'a [u8]),
    /// A name with IPv4 addresses.
    Dns4(&'a [u8]),
    /// A name with IPv6 addresses.
    Dns6(&'a [u8]),
    /// A name whose TXT records hold multiaddrs.
    DnsAddr(&'a [u8]),
    /// A TCP port.
    Tcp(u16),
    /// A UDP port.
    Udp(u16),
    /// A peer, by its multihash.
    P2p(&'a [u8]),
    /// The peer before relays to what follows.
    P2pCircuit,
    /// QUIC version 1.
    QuicV1,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// TLS.
    Tls,
}

const IP4: u64 = 0x04;
const TCP: u64 = 0x06;
const IP6: u64 = 0x29;
const IP6ZONE: u64 = 0x2a;
const DNS: u64 = 0x35;
const DNS4: u64 = 0x36;
const DNS6: u64 = 0x37;
const DNSADDR: u64 = 0x38;
const UDP: u64 = 273;
const P2P_CIRCUIT: u64 = 290;
const P2P: u64 = 421;
const TLS: u64 = 448;
const QUIC_V1: u64 = 461;
const WS: u64 = 477;
const WSS: u64 = 478;

impl<'a> Protocol<'a> {
    /// Takes one protocol.
    ///
    /// # Errors
    /// `Unsupported` when its code is not known here; `Truncated` or `Malformed` when it is none.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        const WHAT: &str = "multiaddr";
        Ok(match varint::decode(r)? {
            IP4 => Self::Ip4(Ipv4Addr::from(r.array::<4>(WHAT)?)),
            IP6 => Self::Ip6(Ipv6Addr::from(r.array::<16>(WHAT)?)),
            IP6ZONE => Self::Ip6Zone(value(r)?),
            DNS => Self::Dns(value(r)?),
            DNS4 => Self::Dns4(value(r)?),
            DNS6 => Self::Dns6(value(r)?),
            DNSADDR => Self::DnsAddr(value(r)?),
            TCP => Self::Tcp(r.u16(WHAT)?),
            UDP => Self::Udp(r.u16(WHAT)?),
            P2P => Self::P2p(value(r)?),
            P2P_CIRCUIT => Self::P2pCircuit,
            QUIC_V1 => Self::QuicV1,
            WS => Self::Ws,
            WSS => Self::Wss,
            TLS => Self::Tls,
            _ => return Err(Error::Unsupported("multiaddr protocol")),
        })
    }

    /// Appends this protocol.
    pub fn encode(&self, w: &mut Writer<'_>) {
        let mut valued = |code, octets: &[u8]| {
            w.varint(code);
            w.varint_len(octets.len());
            w.put(octets);
        };
        match self {
            Self::Ip6Zone(zone) => valued(IP6ZONE, zone),
            Self::Dns(name) => valued(DNS, name),
            Self::Dns4(name) => valued(DNS4, name),
            Self::Dns6(name) => valued(DNS6, name),
            Self::DnsAddr(name) => valued(DNSADDR, name),
            Self::P2p(multihash) => valued(P2P, multihash),
            Self::Ip4(ip) => {
                w.varint(IP4);
                w.put(&ip.octets());
            }
            Self::Ip6(ip) => {
                w.varint(IP6);
                w.put(&ip.octets());
            }
            Self::Tcp(port) => {
                w.varint(TCP);
                w.u16(*port);
            }
            Self::Udp(port) => {
                w.varint(UDP);
                w.u16(*port);
            }
            Self::P2pCircuit => w.varint(P2P_CIRCUIT),
            Self::QuicV1 => w.varint(QUIC_V1),
            Self::Ws => w.varint(WS),
            Self::Wss => w.varint(WSS),
            Self::Tls => w.varint(TLS),
        }
    }
}

fn value<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], Error> {
    let len = usize::try_from(varint::decode(r)?).map_err(|_| Error::Truncated("multiaddr"))?;
    r.take(len, "multiaddr")
}

/// As in the text of a multiaddr; octets outside printable ASCII, `/` and `%` as `%` and two hex digits.
impl fmt::Display for Protocol<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip4(ip) => write!(f, "/ip4/{ip}"),
            Self::Ip6(ip) => write!(f, "/ip6/{ip}"),
            Self::Ip6Zone(zone) => write!(f, "/ip6zone/{}", Escaped(zone)),
            Self::Dns(name) => write!(f, "/dns/{}", Escaped(name)),
            Self::Dns4(name) => write!(f, "/dns4/{}", Escaped(name)),
            Self::Dns6(name) => write!(f, "/dns6/{}", Escaped(name)),
            Self::DnsAddr(name) => write!(f, "/dnsaddr/{}", Escaped(name)),
            Self::Tcp(port) => write!(f, "/tcp/{port}"),
            Self::Udp(port) => write!(f, "/udp/{port}"),
            Self::P2p(multihash) => {
                let mut buf = [0; 96];
                match text::encode_base58(multihash, &mut buf) {
                    Ok(base58) => write!(f, "/p2p/{base58}"),
                    Err(_) => write!(f, "/p2p/{}", Escaped(multihash)),
                }
            }
            Self::P2pCircuit => f.write_str("/p2p-circuit"),
            Self::QuicV1 => f.write_str("/quic-v1"),
            Self::Ws => f.write_str("/ws"),
            Self::Wss => f.write_str("/wss"),
            Self::Tls => f.write_str("/tls"),
        }
    }
}

struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for octet in self.0 {
            match octet {
                b'/' | b'%' => write!(f, "%{octet:02x}")?,
                octet if octet.is_ascii_graphic() => write!(f, "{}", char::from(*octet))?,
                octet => write!(f, "%{octet:02x}")?,
            }
        }
        Ok(())
    }
}

impl<'a> Multiaddr<'a> {
    /// Takes `octets` for a multiaddr.
    #[must_use]
    pub const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// The octets.
    #[must_use]
    pub const fn as_octets(&self) -> &'a [u8] {
        self.0
    }

    /// The protocols, in order. An error is the last item.
    #[must_use]
    pub const fn protocols(&self) -> Protocols<'a> {
        Protocols { reader: Reader::new(self.0) }
    }

    /// The address to dial: an IP address, TCP and, at most, the peer. Anything else is none.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.dialable().map(|(address, _)| address)
    }

    /// The last peer that is named, when it is one with an Ed25519 key.
    #[must_use]
    pub fn peer(&self) -> Option<PeerId> {
        let last = self.protocols().filter_map(|protocol| match protocol {
            Ok(Protocol::P2p(multihash)) => Some(multihash),
            Ok(_) | Err(_) => None,
        });
        peer_id::decode_multihash(last.last()?).ok()
    }

    /// The address to dial, and the multihash of the peer when it is named.
    fn dialable(&self) -> Option<(SocketAddr, Option<&'a [u8]>)> {
        let mut protocols = self.protocols();
        let ip: IpAddr = match protocols.next()? {
            Ok(Protocol::Ip4(ip)) => ip.into(),
            Ok(Protocol::Ip6(ip)) => ip.into(),
            Ok(_) | Err(_) => return None,
        };
        let Protocol::Tcp(port) = protocols.next()?.ok()? else { return None };
        let peer = match protocols.next() {
            None => None,
            Some(Ok(Protocol::P2p(multihash))) if protocols.next().is_none() => Some(multihash),
            Some(_) => return None,
        };
        Some((SocketAddr::new(ip, port), peer))
    }
}

impl fmt::Display for Multiaddr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.protocols().try_for_each(|protocol| match protocol {
            Ok(protocol) => protocol.fmt(f),
            Err(error) => write!(f, "/({error})"),
        })
    }
}

/// The protocols of a [`Multiaddr`].
#[derive(Clone, Debug)]
pub struct Protocols<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for Protocols<'a> {
    type Item = Result<Protocol<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let protocol = Protocol::decode(&mut self.reader);
        if protocol.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(protocol)
    }
}

/// Appends `address` over TCP and, when it is named, `peer`. The scope of an IPv6 address is left out.
pub fn encode(address: SocketAddr, peer: Option<&PeerId>, w: &mut Writer<'_>) {
    match address.ip() {
        IpAddr::V4(ip) => Protocol::Ip4(ip).encode(w),
        IpAddr::V6(ip) => Protocol::Ip6(ip).encode(w),
    }
    Protocol::Tcp(address.port()).encode(w);
    if let Some(peer) = peer {
        Protocol::P2p(&peer_id::encode_multihash(peer)).encode(w);
    }
}

/// Octets that [`encode`] writes.
#[must_use]
pub const fn encoded_len(address: SocketAddr, has_peer: bool) -> usize {
    let ip = match address {
        SocketAddr::V4(_) => 5_usize,
        SocketAddr::V6(_) => 17,
    };
    ip.saturating_add(3).saturating_add(if has_peer { PEER_LEN } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;
    use std::string::ToString as _;
    use std::vec::Vec;

    fn octets(hex: &str) -> Vec<u8> {
        let digit = |c: u8| char::from(c).to_digit(16).unwrap() as u8;
        hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }

    fn written(address: SocketAddr, peer: Option<&PeerId>) -> Vec<u8> {
        let mut buffer = [0xa5; ENCODED_MAX + 1];
        let mut w = Writer::new(&mut buffer);
        encode(address, peer, &mut w);
        let len = w.finish().unwrap();
        assert_eq!(len, encoded_len(address, peer.is_some()));
        assert!(buffer[len..].iter().all(|octet| *octet == 0xa5));
        buffer[..len].to_vec()
    }

    const PEER: &str = "a50326\
        0024080112208a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";

    #[test]
    fn addresses_that_are_dialled_read_and_write() {
        let peer = SecretKey::from_seed(&[1; 32]).peer_id();
        for (text, hex) in [
            ("192.168.1.100:4001", "04c0a80164060fa1"),
            ("[fe80::1]:4001", "29fe800000000000000000000000000001060fa1"),
        ] {
            let address: SocketAddr = text.parse().unwrap();
            let bare = octets(hex);
            assert_eq!(written(address, None), bare);
            assert_eq!(Multiaddr::new(&bare).socket_addr(), Some(address));
            assert_eq!(Multiaddr::new(&bare).peer(), None);
            let named = [bare, octets(PEER)].concat();
            assert_eq!(written(address, Some(&peer)), named);
            assert_eq!(Multiaddr::new(&named).socket_addr(), Some(address));
            assert_eq!(Multiaddr::new(&named).peer(), Some(peer));
        }
    }

    #[test]
    fn every_protocol_comes_back_and_shows_its_text() {
        for (text, hex) in [
            ("/ip4/192.168.1.100/tcp/4001", "04c0a80164060fa1"),
            (
                "/ip6zone/eth0/ip6/fe80::1/tcp/4001",
                "2a046574683029fe800000000000000000000000000001060fa1",
            ),
            ("/dns4/boot.example.org/tcp/4001", "3610626f6f742e6578616d706c652e6f7267060fa1"),
            ("/dns/a.b/tcp/443/wss", "3503612e620601bbde03"),
            ("/dns6/a/dnsaddr/b", "370161380162"),
            ("/ip4/10.0.0.1/udp/4001/quic-v1", "040a00000191020fa1cd03"),
            ("/p2p/2/p2p-circuit/tls/ws", "a5030101a202c003dd03"),
            ("/dns/%00%2f%ff", "3503002fff"),
        ] {
            let octets = octets(hex);
            let multiaddr = Multiaddr::new(&octets);
            assert_eq!(multiaddr.to_string(), text);
            let mut buffer = [0xa5; 64];
            let mut w = Writer::new(&mut buffer);
            multiaddr.protocols().for_each(|protocol| protocol.unwrap().encode(&mut w));
            assert_eq!(w.written(), octets);
        }
    }

    #[test]
    fn what_cannot_be_dialled_has_no_socket_address() {
        for hex in [
            "",
            "04c0a80164",             // no port
            "060fa1",                 // no address
            "04c0a8016491020fa1cd03", // QUIC
            "04c0a80164060fa1dd03",   // WebSocket
            "2a046574683029fe800000000000000000000000000001060fa1",
            "3503612e620601bb",                 // a name
            "04c0a80164060fa1a5030101a202",     // by a relay
            "04c0a80164060fa1a5030101a5030101", // two peers
            "04c0a80164060fa1ffff7f",           // an unknown protocol after it
            "04c0a80164060f",                   // cut short
            "04c0a80164060fa1a50305",           // cut short
        ] {
            assert_eq!(Multiaddr::new(&octets(hex)).socket_addr(), None, "{hex}");
        }
    }

    #[test]
    fn reading_stops_at_what_has_no_length() {
        let octets = octets("04c0a80164ffff7f060fa1");
        let mut protocols = Multiaddr::new(&octets).protocols();
        assert!(matches!(protocols.next(), Some(Ok(Protocol::Ip4(_)))));
        assert_eq!(protocols.next(), Some(Err(Error::Unsupported("multiaddr protocol"))));
        assert_eq!(protocols.next(), None);
        assert_eq!(
            Multiaddr::new(&octets).to_string(),
            "/ip4/192.168.1.100/(multiaddr protocol is not supported)"
        );
    }

    #[test]
    fn a_peer_of_another_key_type_is_none() {
        let octets = octets("04c0a80164060fa1a503021200");
        let multiaddr = Multiaddr::new(&octets);
        assert_eq!((multiaddr.socket_addr().is_some(), multiaddr.peer()), (true, None));
    }
}
