//! Identify: what a peer says of itself, and of us.
//! Spec: libp2p `specs/identify`.
//!
//! ```text
//! 1 publicKey   2 listenAddrs*   3 protocols*   4 observedAddr   5 protocolVersion   6 agentVersion
//! 8 signedPeerRecord
//! ```
//!
//! On the stream the message stands behind its length, a [`varint`](super::varint), and the stream ends after it.
//! Others write up to 8 KiB of it, so it is read as it comes: the protocols that matter here, a few addresses and
//! the start of a name are kept. Nothing in it is proved but, by the connection, the key.
//! Not implemented: signed peer records.

use core::net::SocketAddr;

use super::contact::Addresses;
use super::cursor::Writer;
use super::multiaddr::{self, Multiaddr};
use super::multistream::Line;
use super::protobuf::{Scanner, Take, Visitor};
use super::{Error, peer_id};
use crate::identity::PeerId;

/// Octets of the name of another implementation that are kept.
pub const AGENT_MAX: usize = 64;

mod field {
    pub(super) const PUBLIC_KEY: u32 = 1;
    pub(super) const LISTEN_ADDRESS: u32 = 2;
    pub(super) const PROTOCOL: u32 = 3;
    pub(super) const OBSERVED: u32 = 4;
    pub(super) const PROTOCOL_VERSION: u32 = 5;
    pub(super) const AGENT: u32 = 6;
}

/// What is written.
#[derive(Clone, Copy, Debug)]
pub struct Identify<'a> {
    /// Who.
    pub peer: PeerId,
    /// Where the sender can be dialled.
    pub addresses: &'a Addresses,
    /// What it speaks.
    pub protocols: &'a [Line],
    /// Where it sees the receiver.
    pub observed: Option<SocketAddr>,
    /// The network it belongs to.
    pub protocol_version: &'a str,
    /// Its name and version.
    pub agent: &'a str,
}

impl Identify<'_> {
    /// Appends the message, without the length in front of it.
    pub fn encode(&self, w: &mut Writer<'_>) {
        let address = |number, address, w: &mut Writer<'_>| {
            w.bytes_field_head(number, multiaddr::encoded_len(address, false));
            multiaddr::encode(address, None, w);
        };
        w.bytes_field(field::PUBLIC_KEY, &peer_id::encode_protobuf(&self.peer));
        self.addresses.iter().for_each(|listen| address(field::LISTEN_ADDRESS, listen, w));
        for protocol in self.protocols {
            w.bytes_field(field::PROTOCOL, protocol.text().as_bytes());
        }
        if let Some(observed) = self.observed {
            address(field::OBSERVED, observed, w);
        }
        w.bytes_field(field::PROTOCOL_VERSION, self.protocol_version.as_bytes());
        w.bytes_field(field::AGENT, self.agent.as_bytes());
    }
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified {
    /// Whose message this says it is; none without a key, or with one of another type than Ed25519.
    pub peer: Option<PeerId>,
    /// Where the sender says it can be dialled.
    pub addresses: Addresses,
    /// Where it sees us.
    pub observed: Option<SocketAddr>,
    /// Its name and version: the first [`AGENT_MAX`] octets, `?` for what is not printable ASCII.
    pub agent: heapless::String<AGENT_MAX, u8>,
    /// One bit for each of [`Line::ALL`].
    protocols: u16,
}

impl Identified {
    const NONE: Self = Self {
        peer: None,
        addresses: Addresses::NONE,
        observed: None,
        agent: heapless::String::new(),
        protocols: 0,
    };

    /// Reads a whole message, without the length in front of it.
    ///
    /// # Errors
    /// `Truncated` or `Malformed` when it is none.
    pub fn decode(message: &[u8]) -> Result<Self, Error> {
        let len = u32::try_from(message.len()).map_err(|_| Error::Malformed("identify"))?;
        let mut parser = Parser::new(len);
        match parser.feed(message)? {
            Some(identified) => Ok(identified.clone()),
            None => Err(Error::Truncated("identify")),
        }
    }

    /// Whether the sender says that it speaks a protocol.
    #[must_use]
    pub fn speaks(&self, protocol: Line) -> bool {
        bit(protocol.text().as_bytes()) & self.protocols != 0
    }
}

/// The bit of a known line; 0 for any other.
fn bit(text: &[u8]) -> u16 {
    let mut bit = 1;
    for line in Line::ALL {
        if line.text().as_bytes() == text {
            return bit;
        }
        bit <<= 1;
    }
    0
}

/// Octets of a field that are looked at; none that matters is longer.
const FIELD_MAX: usize = 64;
const _: () = assert!(multiaddr::ENCODED_MAX <= FIELD_MAX && AGENT_MAX <= FIELD_MAX);

/// Reads one message as it comes.
#[derive(Clone, Debug)]
pub struct Parser {
    scanner: Scanner,
    state: State,
}

#[derive(Clone, Debug)]
struct State {
    read: Identified,
    scratch: heapless::Vec<u8, FIELD_MAX, u8>,
}

impl Parser {
    /// Expects a message of `len` octets, the length in front of it not counted.
    #[must_use]
    pub const fn new(len: u32) -> Self {
        let state = State { read: Identified::NONE, scratch: heapless::Vec::new() };
        Self { scanner: Scanner::new(len), state }
    }

    /// Takes the next octets of the message; what it said, once it is whole. A message without octets is whole at
    /// the first call, with none.
    ///
    /// # Errors
    /// `Truncated` or `Malformed` when they are no such message, or more than it has. The parser is of no use
    /// then.
    pub fn feed(&mut self, octets: &[u8]) -> Result<Option<&Identified>, Error> {
        self.scanner.feed(octets, &mut self.state)?;
        Ok(self.scanner.is_complete().then_some(&self.state.read))
    }
}

impl Visitor for State {
    fn begin(&mut self, number: u32, len: u32) -> Take {
        self.scratch.clear();
        let is_short = usize::try_from(len).is_ok_and(|len| len <= FIELD_MAX);
        match number {
            field::AGENT => Take::Copy,
            field::PUBLIC_KEY | field::LISTEN_ADDRESS | field::PROTOCOL | field::OBSERVED
                if is_short =>
            {
                Take::Copy
            }
            _ => Take::Skip,
        }
    }

    fn octets(&mut self, octets: &[u8]) {
        // Only a name may be longer than the scratch; its start is kept.
        let room = FIELD_MAX.saturating_sub(self.scratch.len());
        let taken = octets.get(..room).unwrap_or(octets);
        let _ = self.scratch.extend_from_slice(taken);
    }

    fn end(&mut self, number: u32) {
        match number {
            field::PUBLIC_KEY => self.read.peer = peer_id::decode_protobuf(&self.scratch).ok(),
            field::PROTOCOL => self.read.protocols |= bit(&self.scratch),
            field::OBSERVED => self.read.observed = Multiaddr::new(&self.scratch).socket_addr(),
            field::LISTEN_ADDRESS => {
                if let Some(address) = Multiaddr::new(&self.scratch).socket_addr() {
                    self.read.addresses.offer(address);
                }
            }
            field::AGENT => {
                self.read.agent.clear();
                for octet in &self.scratch {
                    let shown = if matches!(octet, b' '..=b'~') { *octet } else { b'?' };
                    let _ = self.read.agent.push(char::from(shown));
                }
            }
            _ => {}
        }
    }

    fn varint(&mut self, _number: u32, _value: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;
    use std::vec::Vec;

    fn peer(seed: u8) -> PeerId {
        SecretKey::from_seed(&[seed; 32]).peer_id()
    }

    fn addresses(texts: &[&str]) -> Addresses {
        texts.iter().map(|text| text.parse::<SocketAddr>().unwrap()).collect()
    }

    fn written(identify: &Identify<'_>) -> Vec<u8> {
        let mut buffer = [0xa5; 1024];
        let mut w = Writer::new(&mut buffer);
        identify.encode(&mut w);
        let len = w.finish().unwrap();
        assert!(buffer[len..].iter().all(|octet| *octet == 0xa5));
        buffer[..len].to_vec()
    }

    fn message(addresses: &Addresses) -> Vec<u8> {
        written(&Identify {
            peer: peer(1),
            addresses,
            protocols: &[Line::Identify, Line::PhaseKad],
            observed: Some("10.0.0.7:50000".parse().unwrap()),
            protocol_version: "/phase/0.1.0",
            agent: "phase/0.1",
        })
    }

    #[test]
    fn a_message_comes_back_however_it_is_cut() {
        let addresses = addresses(&["192.168.1.100:4001", "[2001:db8::1]:4001"]);
        let octets = message(&addresses);
        let read = Identified::decode(&octets).unwrap();
        assert_eq!((read.peer, read.addresses), (Some(peer(1)), addresses));
        assert_eq!(read.observed, Some("10.0.0.7:50000".parse().unwrap()));
        assert_eq!(read.agent, "phase/0.1");
        for line in Line::ALL {
            let expected = matches!(line, Line::Identify | Line::PhaseKad);
            assert_eq!(read.speaks(line), expected, "{line}");
        }
        for pieces in 1..octets.len() {
            let mut parser = Parser::new(octets.len() as u32);
            let mut whole = None;
            for piece in octets.chunks(pieces) {
                assert_eq!(whole, None);
                whole = parser.feed(piece).unwrap().cloned();
            }
            assert_eq!(whole.as_ref(), Some(&read), "{pieces} at a time");
        }
    }

    #[test]
    fn the_octets_are_those_of_the_vector() {
        let octets = written(&Identify {
            peer: peer(1),
            addresses: &addresses(&["192.168.1.100:4001"]),
            protocols: &[Line::Identify, Line::IpfsKad],
            observed: None,
            protocol_version: "",
            agent: "",
        });
        assert_eq!(octets[..4], [0x0a, 0x24, 0x08, 0x01]);
        let rest = b"\x12\x08\x04\xc0\xa8\x01\x64\x06\x0f\xa1\x1a\x0e/ipfs/id/1.0.0\x1a\x0f/ipfs/kad/1.0.0";
        assert_eq!(&octets[38..octets.len() - 4], rest);
    }

    #[test]
    fn much_and_strange_is_read_without_being_kept() {
        let mut octets = Vec::new();
        for port in 1..=10_000_u16 {
            let mut buffer = [0; 16];
            let mut w = Writer::new(&mut buffer);
            w.bytes_field_head(field::LISTEN_ADDRESS, 8);
            multiaddr::encode(([127, 0, 0, 1], port).into(), None, &mut w);
            octets.extend_from_slice(w.written());
        }
        let mut buffer = [0; 1024];
        let mut w = Writer::new(&mut buffer);
        w.bytes_field(field::LISTEN_ADDRESS, &[4, 10, 0, 0, 1, 6, 0, 1]);
        w.bytes_field(field::LISTEN_ADDRESS, &[0xff; 65]);
        w.bytes_field(field::PROTOCOL, &[b'/'; 200]);
        w.bytes_field(field::PROTOCOL, b"/ipfs/ping/1.0.0");
        w.bytes_field(field::AGENT, &[b'a', b'\n', 0xff].repeat(40));
        w.bytes_field(8, &[8; 300]);
        w.varint_field(9, 9);
        octets.extend_from_slice(w.written());
        let read = Identified::decode(&octets).unwrap();
        assert_eq!(read.addresses.first(), Some("10.0.0.1:1".parse().unwrap()));
        assert_eq!(read.addresses.count(), crate::limits::ADDRESSES_PER_PEER);
        assert!(read.speaks(Line::Ping) && !read.speaks(Line::IpfsKad));
        assert_eq!(read.agent, "a??".repeat(22)[..AGENT_MAX]);
        assert_eq!((read.peer, read.observed), (None, None));
    }

    #[test]
    fn keys_of_other_types_and_addresses_that_are_not_dialled_are_none() {
        let mut octets = [0x0a, 5, 8, 0, 0x12, 1, 0x30].to_vec();
        octets.extend([0x22, 6, 0x35, 1, b'a', 6, 0, 1]);
        let read = Identified::decode(&octets).unwrap();
        assert_eq!((read.peer, read.observed), (None, None));
        assert_eq!(Identified::decode(&[]), Ok(Identified::NONE));
    }

    #[test]
    fn every_cut_of_a_message_is_awaited_or_refused() {
        let octets = message(&addresses(&["192.168.1.100:4001"]));
        for len in 0..octets.len() {
            let mut parser = Parser::new(octets.len() as u32);
            assert_eq!(parser.feed(&octets[..len]), Ok(None), "{len} octets");
            if let Ok(cut) = Identified::decode(&octets[..len]) {
                assert_ne!(Ok(cut), Identified::decode(&octets));
            }
        }
        let mut parser = Parser::new(1);
        assert!(parser.feed(&[0x0a]).is_err());
        assert!(size_of::<Parser>() <= 336, "{}", size_of::<Parser>());
    }
}
