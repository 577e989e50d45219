//! Deterministic vectors: every format, both ways where one encoding is the only one.

use std::net::SocketAddr;

use phase_core::identity::{PeerId, SecretKey, Signature};
use phase_core::kad::key::Key;
use phase_core::wire::contact::Contact;
use phase_core::wire::identify::{Identified, Identify, Parser};
use phase_core::wire::kad::{self, Peers, Record, Request, decode_request};
use phase_core::wire::multiaddr::{self, Address, Multiaddr};
use phase_core::wire::multistream::{Line, LineReader, Read};
use phase_core::wire::noise::{Extensions, Payload, SIGNATURE_PREFIX, message_len};
use phase_core::wire::peer_id;
use phase_core::wire::yamux::{Flags, GoAway, HEADER_LEN, Header, INITIAL_WINDOW};
use serde_json::Value;

use super::{Response, octets, read, response, text, unprefixed, written};

const KEY: &[u8] = b"/phase/stable/arm64/manifest";
const VALUE: &[u8] = b"{\"v\":1}";

fn vectors() -> Value {
    read("vectors")
}

fn peer(id: &Value) -> PeerId {
    SecretKey::from_seed(&octets(&id["seed"]).try_into().expect("32 octets")).peer_id()
}

/// The peer at the address that the vectors use.
fn contact(peer: PeerId) -> Contact {
    Contact::at(peer, "192.168.1.100:4001".parse().unwrap())
}

#[test]
fn identities_have_their_keys_ids_and_points() {
    let vectors = vectors();
    for id in [&vectors["id_A"], &vectors["id_B"]] {
        let peer = peer(id);
        assert_eq!(peer.as_octets().to_vec(), octets(&id["ed25519_pub"]));
        assert_eq!(peer_id::encode_protobuf(&peer).to_vec(), octets(&id["pubkey_pb"]));
        assert_eq!(peer_id::decode_protobuf(&octets(&id["pubkey_pb"])), Ok(peer));
        assert_eq!(peer_id::encode_multihash(&peer).to_vec(), octets(&id["peer_id_bytes"]));
        assert_eq!(peer_id::decode_multihash(&octets(&id["peer_id_bytes"])), Ok(peer));
        assert_eq!(peer.to_string(), text(&id["peer_id"]));
        assert_eq!(peer_id::decode_any_text(text(&id["peer_id"]).as_bytes()), Ok(peer));
        assert_eq!(peer_id::decode_any_text(text(&id["cidv1_b32"]).as_bytes()), Ok(peer));
        assert_eq!(Key::of_peer(&peer).0.to_vec(), octets(&id["kad_key_sha256"]));
    }
}

#[test]
fn noise_payloads_read_and_write_and_their_signatures_hold() {
    let vectors = vectors();
    let noise = &vectors["noise_xx"];
    for (payload, sig, fixed, id) in [
        ("payload2_plain", "sig2", "resp_static", &vectors["id_B"]),
        ("payload3_plain", "sig3", "init_static", &vectors["id_A"]),
    ] {
        let octets_of = |name: &str| octets(&noise[name]);
        let whole = octets_of(payload);
        let payload = Payload::decode(&whole).expect("a payload");
        assert_eq!(payload.peer(), Ok(peer(id)));
        assert_eq!(payload.identity_sig, octets_of(sig));
        assert_eq!(payload.extensions, Some(Extensions::YAMUX));
        assert_eq!(written(|w| payload.encode(w)), whole);
        let secret: [u8; 32] = octets_of(fixed).try_into().expect("32 octets");
        let public = x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(secret));
        let signature = Signature(*payload.signature().expect("64 octets"));
        let signed = [SIGNATURE_PREFIX.as_slice(), public.as_bytes()].concat();
        assert_eq!(peer(id).verify(&signed, &signature), Ok(()));
        let of_another_key = [SIGNATURE_PREFIX.as_slice(), &secret].concat();
        assert!(peer(id).verify(&of_another_key, &signature).is_err());
    }
}

#[test]
fn noise_frames_have_their_length_in_front() {
    let vectors = vectors();
    for name in ["msg1", "msg2", "msg3", "t0_frame"] {
        let frame = octets(&vectors["noise_xx"][name]);
        assert_eq!(message_len([frame[0], frame[1]]), frame.len() - 2, "{name}");
    }
}

#[test]
fn multistream_lines_read_and_write() {
    let vectors = vectors();
    let lines = vectors["multistream"].as_object().expect("lines");
    assert_eq!(lines.len(), 9);
    for (name, line) in lines {
        let line = octets(line);
        let known = Line::ALL.into_iter().find(|known| known.text() == name);
        let known = known.unwrap_or_else(|| panic!("{name} is not known"));
        assert_eq!(written(|w| known.encode(w)), line);
        assert_eq!(LineReader::new().feed(&line), Ok((line.len(), Read::Line(known))));
        let mut reader = LineReader::new();
        let (last, head) = line.split_last().expect("octets");
        for octet in head {
            assert_eq!(reader.feed(&[*octet]), Ok((1, Read::Pending)));
        }
        assert_eq!(reader.feed(&[*last]), Ok((1, Read::Line(known))));
    }
}

#[test]
fn kad_requests_read_and_are_written_as_rust_libp2p_writes_them() {
    let vectors = vectors();
    let peer = peer(&vectors["id_A"]);
    let multihash = peer_id::encode_multihash(&peer);
    let provider_key = octets(&vectors["kad"]["provider_key_multihash"]);
    let provider = contact(peer);
    let bare = Record { key: KEY, value: VALUE, publisher: None, ttl: 0 };
    let published = Record { publisher: Some(&multihash), ttl: 3600, ..bare };
    let requests = [
        ("GET_VALUE req (rust form, clusterLevelRaw=10)", Request::GetValue { key: KEY }, true),
        ("GET_VALUE req (minimal/go form)", Request::GetValue { key: KEY }, false),
        ("PUT_VALUE req minimal", Request::PutValue { record: bare }, true),
        (
            "PUT_VALUE req rust (publisher=666,ttl=777)",
            Request::PutValue { record: published },
            true,
        ),
        ("PUT_VALUE req go/js (timeReceived)", Request::PutValue { record: bare }, false),
        ("FIND_NODE req (A)", Request::FindNode { key: &multihash }, true),
        (
            "ADD_PROVIDER req",
            Request::AddProvider { key: &provider_key, providers: Peers::of(&provider) },
            true,
        ),
        ("GET_PROVIDERS req", Request::GetProviders { key: &provider_key }, true),
    ];
    for (name, request, is_ours) in requests {
        let whole = octets(&vectors["kad"][name]);
        assert_eq!(decode_request(unprefixed(&whole)), Ok(request), "{name}");
        let ours = written(|w| request.encode(w));
        assert_eq!(ours == whole, is_ours, "{name}");
        assert_eq!(request.encoded_len(), ours.len(), "{name}");
    }
}

#[test]
fn kad_responses_read_and_are_written_as_rust_libp2p_writes_them() {
    let vectors = vectors();
    let closer = [contact(peer(&vectors["id_B"]))];
    let whole = octets(&vectors["kad"]["GET_VALUE resp: record+1 closer (go form, key echoed)"]);
    let record = Some((KEY.to_vec(), VALUE.to_vec(), None, 0));
    let expected = Response { record, closer: closer.to_vec(), providers: Vec::new() };
    assert_eq!(response(unprefixed(&whole)), expected);
    let whole = octets(&vectors["kad"]["FIND_NODE resp: 1 closer (rust form, clusterLevelRaw=9)"]);
    let expected = Response { closer: closer.to_vec(), ..Response::default() };
    assert_eq!(response(unprefixed(&whole)), expected);
    assert_eq!(written(|w| kad::Response::FindNode { closer: &closer }.encode(w)), whole);
}

#[test]
fn the_key_of_a_value_is_hashed_to_its_point() {
    let kad = &vectors()["kad"];
    assert_eq!(octets(&kad["key_hex"]), KEY);
    assert_eq!(Key::of(KEY).0.to_vec(), octets(&kad["kad_key_sha256"]));
    let multihash = [&[0x12, 0x20][..], &Key::of(KEY).0].concat();
    assert_eq!(multihash, octets(&kad["provider_key_multihash"]));
}

#[test]
fn multiaddrs_show_the_text_they_were_made_from() {
    let vectors = vectors();
    let multiaddrs = vectors["multiaddr"].as_object().expect("multiaddrs");
    assert_eq!(multiaddrs.len(), 7);
    for (name, whole) in multiaddrs {
        let whole = octets(whole);
        let multiaddr = Multiaddr::new(&whole);
        assert_eq!(&multiaddr.to_string(), name);
        let again = written(|w| {
            multiaddr.protocols().for_each(|protocol| protocol.expect("known").encode(w));
        });
        assert_eq!(again, whole);
        // What can be dialled, and only that, is an address that people write, without a name.
        let address = name.parse::<Address>().ok();
        let address = address.filter(|address| matches!(address.host, multiaddr::Host::Ip(_)));
        assert_eq!(address.is_some(), multiaddr.socket_addr().is_some(), "{name}");
        if let (Some(address), Some(socket)) = (address, multiaddr.socket_addr()) {
            assert_eq!(&address.to_string(), name);
            assert_eq!(multiaddr.peer(), address.peer);
            let ours = written(|w| multiaddr::encode(socket, address.peer.as_ref(), w));
            assert_eq!(ours, whole);
        }
    }
}

#[test]
fn the_identify_message_reads_and_writes() {
    let vectors = vectors();
    let whole = octets(&vectors["identify"]["msg"]);
    let message = unprefixed(&whole);
    let peer = peer(&vectors["id_A"]);
    let addresses = contact(peer).addresses;
    let observed: Option<SocketAddr> = Some("10.0.0.7:50000".parse().unwrap());
    let identify = Identify {
        peer,
        addresses: &addresses,
        protocols: &[Line::Identify, Line::IpfsKad],
        observed,
        protocol_version: "/phase/0.1.0",
        agent: "phase/0.1",
    };
    assert_eq!(written(|w| identify.encode(w)), message);
    let read = Identified::decode(message).expect("a message");
    assert_eq!((read.peer, read.addresses, read.observed), (Some(peer), addresses, observed));
    assert_eq!(read.agent, "phase/0.1");
    assert!(read.speaks(Line::Identify) && read.speaks(Line::IpfsKad));
    assert!(!read.speaks(Line::PhaseKad) && !read.speaks(Line::Ping));
    let mut parser = Parser::new(u32::try_from(message.len()).unwrap());
    let (last, head) = message.split_last().expect("octets");
    for octet in head {
        assert_eq!(parser.feed(&[*octet]), Ok(None));
    }
    assert_eq!(parser.feed(&[*last]), Ok(Some(&read)));
}

#[test]
fn yamux_heads_read_and_write() {
    let vectors = vectors();
    let yamux = vectors["yamux"].as_object().expect("frames");
    let headers = [
        ("SYN data sid=1 len=5 \"hello\"", Header::data(1, Flags::SYN, 5)),
        ("ACK window sid=1", Header::window_update(1, Flags::ACK, 0)),
        ("FIN data sid=1", Header::data(1, Flags::FIN, 0)),
        ("RST win sid=3", Header::window_update(3, Flags::RST, 0)),
        ("PING SYN 7", Header::ping(7)),
        ("PING ACK 7", Header::pong(7)),
        ("GOAWAY normal", Header::go_away(GoAway::Normal)),
        ("WINDOW +262144 sid=2", Header::window_update(2, Flags::NONE, INITIAL_WINDOW)),
    ];
    assert_eq!(headers.len(), yamux.len());
    for (name, header) in headers {
        let frame = octets(&yamux[name]);
        let head = frame.first_chunk::<HEADER_LEN>().expect("a head");
        assert_eq!(Header::from_octets(head), Ok(header), "{name}");
        assert_eq!(&header.to_octets(), head, "{name}");
        assert_eq!(usize::try_from(header.body_len()).unwrap(), frame.len() - HEADER_LEN);
    }
}
