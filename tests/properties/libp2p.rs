//! Properties of libp2p's formats: generated values come back, whole and in pieces; numbers, addresses and messages
//! are what the crates of other implementations make of them.

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

use phase_core::identity::{PeerId, SecretKey};
use phase_core::limits::{MULTISTREAM_LINE_MAX, RECORD_VALUE_MAX};
use phase_core::rng::Rng;
use phase_core::wire::contact::Contact;
use phase_core::wire::cursor::{Reader, Writer};
use phase_core::wire::identify::{Identified, Identify, Parser};
use phase_core::wire::kad::{
    Part, Peers, Record, Request, Response, ResponseParser, decode_request,
};
use phase_core::wire::multiaddr::{self, Address, Multiaddr, Protocol};
use phase_core::wire::multistream::{Line, LineReader, Read, encode_line};
use phase_core::wire::noise::{Extensions, Payload};
use phase_core::wire::yamux::{Flags, Header, Kind};
use phase_core::wire::{peer_id, varint};

use super::{below, rng};

fn octets(rng: &mut Rng, end: usize) -> Vec<u8> {
    (0..below(rng, end)).map(|_| octet(rng)).collect()
}

fn octet(rng: &mut Rng) -> u8 {
    u8::try_from(below(rng, 256)).expect("an octet")
}

/// A number of any width.
fn number(rng: &mut Rng) -> u64 {
    rng.u64() >> below(rng, 64)
}

/// One of a few: making keys takes longer than all else here.
fn peer(rng: &mut Rng) -> PeerId {
    static PEERS: LazyLock<[PeerId; 32]> =
        LazyLock::new(|| std::array::from_fn(|at| SecretKey::from_seed(&[at as u8; 32]).peer_id()));
    PEERS[below(rng, PEERS.len())]
}

fn socket(rng: &mut Rng) -> SocketAddr {
    let ip: IpAddr = if below(rng, 2) == 0 {
        [100 + octet(rng) % 20, octet(rng), octet(rng), octet(rng)].into()
    } else {
        let mut ip: [u8; 16] = std::array::from_fn(|_| octet(rng));
        ip[0] = 0x20;
        ip.into()
    };
    let port = 1 + below(rng, 65_535);
    SocketAddr::new(ip, u16::try_from(port).expect("a port"))
}

fn contact(rng: &mut Rng) -> Contact {
    let mut contact = Contact::new(peer(rng));
    for _ in 0..below(rng, 5) {
        contact.addresses.add(socket(rng));
    }
    contact
}

/// What `encode` writes, into a buffer in which every other octet keeps its value.
fn written(encode: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = vec![0xa5; 20_000];
    let mut w = Writer::new(&mut buffer);
    encode(&mut w);
    let len = w.finish().expect("it fits");
    assert!(buffer[len..].iter().all(|octet| *octet == 0xa5));
    buffer.truncate(len);
    buffer
}

/// Takes off the length in front of a message, which must be right.
fn unprefixed(octets: &[u8]) -> &[u8] {
    let mut r = Reader::new(octets);
    let len = varint::decode(&mut r).expect("a length");
    assert_eq!(usize::try_from(len), Ok(r.remaining()));
    r.rest()
}

/// Cuts octets into pieces of random sizes.
fn pieces<'a>(rng: &mut Rng, octets: &'a [u8]) -> Vec<&'a [u8]> {
    let mut rest = octets;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + below(rng, 40)).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

#[test]
fn numbers_are_those_of_the_crate_unsigned_varint() {
    let mut rng = rng("varints");
    for case in 0..50_000 {
        let value = number(&mut rng);
        let mut buffer = unsigned_varint::encode::u64_buffer();
        let theirs = unsigned_varint::encode::u64(value, &mut buffer);
        let mut ours = [0xa5; 12];
        let mut w = Writer::new(&mut ours);
        w.varint(value);
        assert_eq!(w.written(), theirs, "case {case}");
        assert_eq!(ours[theirs.len()], 0xa5, "case {case}");
        assert_eq!(varint::encoded_len(value), theirs.len());

        // Octets with the top bit set more often than not, so that long numbers are met.
        let random: Vec<u8> = (0..12)
            .map(|_| octet(&mut rng) | if below(&mut rng, 3) > 0 { 0x80 } else { 0 })
            .collect();
        let random = &random[..below(&mut rng, 13)];
        let mut r = Reader::new(random);
        let ours = varint::decode(&mut r).ok();
        let theirs = unsigned_varint::decode::u64(random).ok();
        let theirs = theirs.filter(|(_, rest)| random.len() - rest.len() <= varint::LEN_MAX);
        assert_eq!(ours.map(|value| (value, r.rest())), theirs, "case {case}: {random:x?}");
    }
}

#[test]
fn every_line_of_any_text_is_read_however_it_is_cut() {
    let mut rng = rng("lines");
    for case in 0..5_000 {
        let known = Line::ALL[below(&mut rng, Line::ALL.len())];
        let mut text = known.text().to_owned();
        if below(&mut rng, 2) == 0 {
            let at = below(&mut rng, text.len() + 1);
            text.insert_str(at, &"x".repeat(below(&mut rng, MULTISTREAM_LINE_MAX - text.len())));
        }
        let line = written(|w| encode_line(w, &text));
        let expected = if text == known.text() { Read::Line(known) } else { Read::Unknown };
        let mut reader = LineReader::new();
        let mut last = Read::Pending;
        for piece in pieces(&mut rng, &line) {
            assert_eq!(last, Read::Pending, "case {case}: {text}");
            let (taken, read) = reader.feed(piece).expect("a line");
            assert_eq!(taken, piece.len());
            last = read;
        }
        assert_eq!(last, expected, "case {case}: {text}");
    }
}

#[test]
fn payloads_and_heads_come_back() {
    let mut rng = rng("frames");
    for _ in 0..2_000 {
        let (key, sig) = (octets(&mut rng, 100), octets(&mut rng, 100));
        let extensions = (below(&mut rng, 2) == 0).then_some(Extensions::YAMUX);
        let payload = Payload { identity_key: &key, identity_sig: &sig, extensions };
        assert_eq!(Payload::decode(&written(|w| payload.encode(w))), Ok(payload));

        let kinds = [Kind::Data, Kind::WindowUpdate, Kind::Ping, Kind::GoAway];
        let kind = kinds[below(&mut rng, 4)];
        let flags = Flags(u16::try_from(rng.u64() & 0xffff).expect("16 bits"));
        let mut half = || u32::try_from(rng.u64() >> 32).expect("32 bits");
        let header = Header { kind, flags, stream: half(), len: half() };
        assert_eq!(Header::from_octets(&header.to_octets()), Ok(header));
    }
}

#[test]
fn addresses_are_those_of_the_crate_multiaddr() {
    let mut rng = rng("addresses");
    for case in 0..2_000 {
        let socket = socket(&mut rng);
        let peer = (below(&mut rng, 2) == 0).then(|| peer(&mut rng));
        let ours = written(|w| multiaddr::encode(socket, peer.as_ref(), w));
        let theirs = ::multiaddr::Multiaddr::try_from(ours.clone()).expect("a multiaddr");
        let text = theirs.to_string();
        assert_eq!(Multiaddr::new(&ours).to_string(), text, "case {case}");
        assert_eq!(Multiaddr::new(&ours).socket_addr(), Some(socket));
        assert_eq!(Multiaddr::new(&ours).peer(), peer);
        let address: Address = text.parse().expect("an address");
        assert_eq!(address.to_string(), text);
        assert_eq!((address.port, address.peer), (Some(socket.port()), peer));
        let theirs: ::multiaddr::Multiaddr = text.parse().expect("their own text");
        assert_eq!(theirs.to_vec(), ours, "case {case}");
    }
}

/// A protocol with a value that the text of both can hold.
fn protocol<'a>(rng: &mut Rng, name: &'a [u8], multihash: &'a [u8]) -> Protocol<'a> {
    let SocketAddr::V6(v6) = SocketAddr::new([0x20; 16].into(), socket(rng).port()) else {
        unreachable!("16 octets")
    };
    match below(rng, 15) {
        0 => Protocol::Ip4([octet(rng), octet(rng), octet(rng), octet(rng)].into()),
        1 => Protocol::Ip6(*v6.ip()),
        2 => Protocol::Ip6Zone(name),
        3 => Protocol::Dns(name),
        4 => Protocol::Dns4(name),
        5 => Protocol::Dns6(name),
        6 => Protocol::DnsAddr(name),
        7 => Protocol::Tcp(v6.port()),
        8 => Protocol::Udp(v6.port()),
        9 => Protocol::P2p(multihash),
        10 => Protocol::P2pCircuit,
        11 => Protocol::QuicV1,
        12 => Protocol::Ws,
        13 => Protocol::Wss,
        _ => Protocol::Tls,
    }
}

#[test]
fn paths_of_protocols_are_those_of_the_crate_multiaddr() {
    let mut rng = rng("paths");
    for case in 0..5_000 {
        let name: Vec<u8> =
            (0..=below(&mut rng, 20)).map(|_| b'a' + octet(&mut rng) % 26).collect();
        let multihash = peer_id::encode_multihash(&peer(&mut rng));
        let path: Vec<_> =
            (0..=below(&mut rng, 5)).map(|_| protocol(&mut rng, &name, &multihash)).collect();
        let ours = written(|w| path.iter().for_each(|one| one.encode(w)));
        let read: Result<Vec<_>, _> = Multiaddr::new(&ours).protocols().collect();
        assert_eq!(read.as_ref(), Ok(&path), "case {case}");
        let theirs = ::multiaddr::Multiaddr::try_from(ours.clone()).expect("a multiaddr");
        assert_eq!(theirs.iter().count(), path.len(), "case {case}");
        assert_eq!(Multiaddr::new(&ours).to_string(), theirs.to_string(), "case {case}");
    }
}

#[test]
fn random_octets_are_an_address_for_both_or_for_neither() {
    let mut rng = rng("octets of addresses");
    let mut agreed = 0;
    for case in 0..20_000 {
        let mut random = written(|w| multiaddr::encode(socket(&mut rng), Some(&peer(&mut rng)), w));
        for _ in 0..below(&mut rng, 3) {
            let at = below(&mut rng, random.len());
            random[at] ^= 1 << below(&mut rng, 8);
        }
        random
            .truncate(random.len() - if below(&mut rng, 4) == 0 { below(&mut rng, 5) } else { 0 });
        let ours: Result<Vec<_>, _> = Multiaddr::new(&random).protocols().collect();
        let theirs = ::multiaddr::Multiaddr::try_from(random.clone());
        // They know more protocols, and look into multihashes and texts, where ours waits until they are used.
        if let (Ok(_), Some(_)) = (&theirs, Multiaddr::new(&random).socket_addr()) {
            assert!(ours.is_ok(), "case {case}");
            agreed += 1;
        }
        if ours.is_ok() && Multiaddr::new(&random).peer().is_some() {
            assert!(theirs.is_ok(), "case {case}: {random:x?}");
        }
    }
    assert!(agreed > 5_000, "{agreed}");
}

#[test]
fn every_request_comes_back() {
    let mut rng = rng("requests");
    for case in 0..2_000 {
        let mut key = octets(&mut rng, 200);
        key.push(octet(&mut rng));
        let (value, publisher) = (octets(&mut rng, 1_500), octets(&mut rng, 60));
        let provider = contact(&mut rng);
        let request = match below(&mut rng, 5) {
            0 => Request::FindNode { key: &key },
            1 => Request::GetValue { key: &key },
            2 => Request::GetProviders { key: &key },
            3 => Request::AddProvider { key: &key, providers: Peers::of(&provider) },
            _ => {
                let publisher = (below(&mut rng, 2) == 0).then_some(&publisher[..]);
                let ttl = u32::try_from(number(&mut rng) >> 32).expect("32 bits");
                Request::PutValue { record: Record { key: &key, value: &value, publisher, ttl } }
            }
        };
        let octets = written(|w| request.encode(w));
        assert_eq!(octets.len(), request.encoded_len(), "case {case}");
        assert_eq!(decode_request(unprefixed(&octets)), Ok(request), "case {case}");
        let cut = below(&mut rng, octets.len());
        let _ = decode_request(&octets[..cut]);
    }
}

#[test]
fn every_response_comes_back_however_it_is_cut() {
    let mut rng = rng("responses");
    for case in 0..1_000 {
        let (key, value) = (octets(&mut rng, 120), octets(&mut rng, RECORD_VALUE_MAX + 1));
        let publisher = [7; 38];
        let record = Record { key: &key, value: &value, publisher: Some(&publisher), ttl: 7200 };
        let closer: Vec<_> = (0..below(&mut rng, 21)).map(|_| contact(&mut rng)).collect();
        let providers: Vec<_> = (0..below(&mut rng, 21)).map(|_| contact(&mut rng)).collect();
        let (response, record, closer, providers) = match below(&mut rng, 4) {
            0 => (Response::PutValue { record }, Some(record), &[][..], &[][..]),
            1 => {
                let record = (below(&mut rng, 2) == 0).then_some(record);
                (Response::GetValue { record, closer: &closer }, record, &closer[..], &[][..])
            }
            2 => {
                let response = Response::GetProviders { providers: &providers, closer: &closer };
                (response, None, &closer[..], &providers[..])
            }
            _ => (Response::FindNode { closer: &closer }, None, &closer[..], &[][..]),
        };
        let octets = written(|w| response.encode(w));
        let message = unprefixed(&octets);
        let mut parser = ResponseParser::new(u32::try_from(message.len()).expect("short"));
        let (mut records, mut closer, mut providers) =
            (record.iter(), closer.iter(), providers.iter());
        let mut ended = false;
        for piece in pieces(&mut rng, message) {
            let outcome = parser.feed(piece, &mut |part| match part {
                Part::Record(record) => assert_eq!(Some(&record), records.next(), "case {case}"),
                Part::Oversized => panic!("case {case}: it is short"),
                Part::Closer(contact) => assert_eq!(Some(&contact), closer.next(), "case {case}"),
                Part::Provider(contact) => assert_eq!(Some(&contact), providers.next()),
                Part::End => ended = true,
            });
            assert_eq!(outcome, Ok(()), "case {case}");
        }
        assert!(ended && records.next().is_none(), "case {case}");
        assert!(closer.next().is_none() && providers.next().is_none(), "case {case}");
    }
}

#[test]
fn every_identify_message_comes_back_however_it_is_cut() {
    let mut rng = rng("identify");
    for case in 0..1_000 {
        let Contact { peer, addresses } = contact(&mut rng);
        let protocols: Vec<_> = Line::ALL.into_iter().filter(|_| below(&mut rng, 2) == 0).collect();
        let observed = (below(&mut rng, 2) == 0).then(|| socket(&mut rng));
        let agent: String =
            (0..below(&mut rng, 64)).map(|at| char::from(b' ' + at as u8)).collect();
        let (version, addresses, protocols) = ("/phase/0.1.0", &addresses, &protocols[..]);
        let identify = Identify {
            peer,
            addresses,
            protocols,
            observed,
            protocol_version: version,
            agent: &agent,
        };
        let message = written(|w| identify.encode(w));
        let mut parser = Parser::new(u32::try_from(message.len()).expect("short"));
        let mut read: Option<Identified> = None;
        for piece in pieces(&mut rng, &message) {
            assert_eq!(read, None);
            read = parser.feed(piece).expect("a message").cloned();
        }
        let read = read.expect("it is whole");
        assert_eq!((read.peer, &read.addresses), (Some(peer), addresses), "case {case}");
        assert_eq!((read.observed, read.agent.as_str()), (observed, agent.as_str()));
        assert!(Line::ALL.into_iter().all(|line| read.speaks(line) == protocols.contains(&line)));
    }
}

/// Messages as rust-libp2p's Kademlia makes them, by the crate that it makes them with.
mod theirs {
    use phase_core::wire::contact::Contact;
    use phase_core::wire::kad::Record;
    use phase_core::wire::{cursor::Writer, multiaddr, peer_id};
    use quick_protobuf::Writer as Protobuf;

    const BYTES: u32 = 2;

    fn message(fill: impl FnOnce(&mut Protobuf<&mut Vec<u8>>)) -> Vec<u8> {
        let mut out = Vec::new();
        fill(&mut Protobuf::new(&mut out));
        out
    }

    fn bytes(w: &mut Protobuf<&mut Vec<u8>>, number: u32, octets: &[u8]) {
        w.write_with_tag(number << 3 | BYTES, |w| w.write_bytes(octets)).expect("a vector grows");
    }

    fn varint(w: &mut Protobuf<&mut Vec<u8>>, number: u32, value: u64) {
        w.write_with_tag(number << 3, |w| w.write_uint64(value)).expect("a vector grows");
    }

    pub(super) fn record(record: &Record<'_>) -> Vec<u8> {
        message(|w| {
            bytes(w, 1, record.key);
            bytes(w, 2, record.value);
            record.publisher.iter().for_each(|publisher| bytes(w, 666, publisher));
            if record.ttl != 0 {
                varint(w, 777, record.ttl.into());
            }
        })
    }

    pub(super) fn peer(contact: &Contact) -> Vec<u8> {
        message(|w| {
            bytes(w, 1, &peer_id::encode_multihash(&contact.peer));
            for address in contact.addresses.iter() {
                let mut buffer = [0; multiaddr::ENCODED_MAX];
                let mut octets = Writer::new(&mut buffer);
                multiaddr::encode(address, None, &mut octets);
                bytes(w, 2, octets.written());
            }
            varint(w, 3, 1);
        })
    }

    /// Type, record, closer peers and level of a response.
    pub(super) fn response(kind: u64, value: Option<&Record<'_>>, closer: &[Contact]) -> Vec<u8> {
        message(|w| {
            varint(w, 1, kind);
            value.iter().for_each(|value| bytes(w, 3, &record(value)));
            closer.iter().for_each(|contact| bytes(w, 8, &peer(contact)));
            varint(w, 10, 9);
        })
    }
}

#[test]
fn messages_have_the_octets_that_rust_libp2ps_protobuf_writes() {
    let mut rng = rng("messages of others");
    for case in 0..500 {
        let (key, value) = (octets(&mut rng, 120), octets(&mut rng, RECORD_VALUE_MAX + 1));
        let publisher = (below(&mut rng, 2) == 0).then_some(&[7; 38][..]);
        let ttl = u32::try_from(number(&mut rng) >> 32).expect("32 bits");
        let record = Record { key: &key, value: &value, publisher, ttl };
        assert_eq!(written(|w| record.encode(w)), theirs::record(&record), "case {case}");
        let closer: Vec<_> = (0..below(&mut rng, 21)).map(|_| contact(&mut rng)).collect();
        let got = Response::GetValue { record: Some(record), closer: &closer };
        let octets = written(|w| got.encode(w));
        assert_eq!(unprefixed(&octets), theirs::response(1, Some(&record), &closer), "case {case}");
        let octets = written(|w| Response::FindNode { closer: &closer }.encode(w));
        assert_eq!(unprefixed(&octets), theirs::response(4, None, &closer), "case {case}");
    }
}
