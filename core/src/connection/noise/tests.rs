//! The handshake against vectors, recorded connections and forged messages.

use super::*;
use std::string::ToString as _;
use std::vec::Vec;

const VECTORS: &str = include_str!("../../../../tests/vectors/libp2p/vectors.json");

/// Transcripts of a client with fixed keys against other implementations; the last number tells whether that
/// client offered Yamux early.
const TRANSCRIPTS: [(&str, &str, bool); 6] = [
    ("go", include_str!("../../../../tests/vectors/libp2p/go_plain.json"), false),
    ("js", include_str!("../../../../tests/vectors/libp2p/js_plain.json"), false),
    ("js, early", include_str!("../../../../tests/vectors/libp2p/js_early.json"), true),
    ("py", include_str!("../../../../tests/vectors/libp2p/py_plain.json"), false),
    ("rust", include_str!("../../../../tests/vectors/libp2p/rust_plain.json"), false),
    ("rust, early", include_str!("../../../../tests/vectors/libp2p/rust_early.json"), true),
];

fn identity(seed: u8, secret: u8) -> Identity {
    Identity::with_static_key(&SecretKey::from_seed(&[seed; 32]), [secret; 32])
}

/// What `write` writes.
fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = [0xa5; 512];
    let mut w = Writer::new(&mut buffer);
    write(&mut w);
    assert!(!w.overflowed());
    w.written().to_vec()
}

/// Both sides of the vectors' handshake, each with the message it makes.
fn handshake() -> (Vec<u8>, Vec<u8>, Vec<u8>, Established, Established) {
    let (dialer, listener) = (identity(1, 0x11), identity(2, 0x33));
    let mut initiator = None;
    let first = written(|w| initiator = Some(Initiator::new([0x22; 32], w)));
    let mut responder = None;
    let second = written(|w| {
        responder = Some(Responder::new(&listener, [0x44; 32], &first[2..], w).unwrap());
    });
    let mut initiated = None;
    let third = written(|w| {
        let mut message = second[2..].to_vec();
        initiated = Some(initiator.unwrap().finish(&dialer, &mut message, w).unwrap());
    });
    let responded = responder.unwrap().finish(&mut third[2..].to_vec()).unwrap();
    (first, second, third, initiated.unwrap(), responded)
}

#[test]
fn messages_hash_and_keys_are_those_of_the_vectors() {
    let (first, second, third, mut initiated, mut responded) = handshake();
    assert_eq!(first, octets(VECTORS, "msg1"));
    assert_eq!(second, octets(VECTORS, "msg2"));
    assert_eq!(third, octets(VECTORS, "msg3"));
    let hash = octets(VECTORS, "handshake_hash");
    assert_eq!(initiated.hash.to_vec(), hash);
    assert_eq!(responded.hash.to_vec(), hash);
    assert_eq!(initiated.send.key().to_vec(), octets(VECTORS, "k_init_to_resp"));
    assert_eq!(initiated.receive.key().to_vec(), octets(VECTORS, "k_resp_to_init"));
    assert_eq!((initiated.remote, responded.remote), (identity(2, 0).peer, identity(1, 0).peer));
    assert!(initiated.early_muxer && responded.early_muxer);

    let plain = octets(VECTORS, "t0_plain_yamux_open_get");
    let mut message = plain.clone();
    let tag = initiated.send.encrypt(&[], &mut message).unwrap();
    message.extend(tag);
    assert_eq!(message, octets(VECTORS, "t0_frame")[2..]);
    assert_eq!(responded.receive.decrypt(&[], &mut message).unwrap(), plain);
}

#[test]
fn recorded_handshakes_give_the_recorded_hash_and_keys() {
    for (name, transcript, early) in TRANSCRIPTS {
        let mut initiator = None;
        let first = written(|w| initiator = Some(Initiator::new([0x22; 32], w)));
        let recorded = recorded(transcript);
        let sent = |octets: &[u8]| recorded.iter().any(|(sent, it)| *sent && it == octets);
        assert!(sent(&first), "{name}");
        // Of what the remote sent, the second message is the first frame that is not a multistream line.
        let mut received =
            recorded.iter().filter(|(sent, _)| !sent).flat_map(|(_, it)| it.clone()).skip(20 + 8);
        let head = [received.next().unwrap(), received.next().unwrap()];
        let mut second: Vec<u8> = received.take(wire::noise::message_len(head)).collect();
        let ours = identity(9, 0x11);
        let ours = if early { ours } else { ours.without_muxer() };
        let mut done = None;
        let third = written(|w| {
            done = Some(initiator.unwrap().finish(&ours, &mut second, w).unwrap());
        });
        let done = done.unwrap();
        assert!(sent(&third), "{name}");
        assert_eq!(done.remote.to_string(), text(transcript, "remote_peer_id"), "{name}");
        assert_eq!(done.hash.to_vec(), octets(transcript, "handshake_hash"), "{name}");
        assert_eq!(done.send.key().to_vec(), octets(transcript, "k_tx"), "{name}");
        assert_eq!(done.receive.key().to_vec(), octets(transcript, "k_rx"), "{name}");
        assert_eq!(done.early_muxer, name == "js, early", "{name}");
    }
}

#[test]
fn every_changed_octet_of_the_second_message_is_noticed() {
    let dialer = identity(1, 0x11);
    let second = octets(VECTORS, "msg2");
    for at in 2..second.len() {
        let mut message = second[2..].to_vec();
        message[at - 2] ^= 0x40;
        written(|w| {
            let initiator = Initiator::new([0x22; 32], w);
            let error = initiator.finish(&dialer, &mut message, w).unwrap_err();
            assert_eq!(error, Error::Decrypt, "octet {at}");
        });
    }
}

#[test]
fn every_changed_octet_of_the_third_message_is_noticed() {
    let listener = identity(2, 0x33);
    let (first, third) = (octets(VECTORS, "msg1"), octets(VECTORS, "msg3"));
    for at in 2..third.len() {
        let mut message = third[2..].to_vec();
        message[at - 2] ^= 0x40;
        written(|w| {
            let responder = Responder::new(&listener, [0x44; 32], &first[2..], w).unwrap();
            assert_eq!(responder.finish(&mut message).unwrap_err(), Error::Decrypt, "octet {at}");
        });
    }
}

#[test]
fn messages_cut_short_are_refused() {
    let (second, third) = (octets(VECTORS, "msg2"), octets(VECTORS, "msg3"));
    for len in 0..second.len() - 2 {
        written(|w| {
            let initiator = Initiator::new([0x22; 32], w);
            let mut message = second[2..2 + len].to_vec();
            let error = initiator.finish(&identity(1, 0x11), &mut message, w).unwrap_err();
            assert!(matches!(error, Error::Message | Error::Decrypt), "{len}: {error}");
        });
    }
    for len in 0..third.len() - 2 {
        written(|w| {
            let first = octets(VECTORS, "msg1");
            let responder = Responder::new(&identity(2, 0x33), [0x44; 32], &first[2..], w).unwrap();
            let error = responder.finish(&mut third[2..2 + len].to_vec()).unwrap_err();
            assert!(matches!(error, Error::Message | Error::Decrypt), "{len}: {error}");
        });
    }
    for len in [0, 31, 33, 64] {
        written(|w| {
            let refused = Responder::new(&identity(2, 0x33), [0x44; 32], &[9; 64][..len], w);
            assert_eq!(refused.unwrap_err(), Error::Message, "{len}");
        });
    }
}

#[test]
fn keys_of_small_order_are_refused() {
    // The points of order 1, 2, 4 and 8 (RFC 7748 §6.1), and two encodings past the field's prime.
    for hex in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        let key = decode_hex(hex);
        written(|w| {
            let refused = Responder::new(&identity(2, 0x33), [0x44; 32], &key, w);
            assert_eq!(refused.unwrap_err(), Error::Contributory, "{hex}");
        });
        written(|w| {
            let mut second = key.clone();
            second.resize(200, 0);
            let initiator = Initiator::new([0x22; 32], w);
            let refused = initiator.finish(&identity(1, 0x11), &mut second, w);
            assert_eq!(refused.unwrap_err(), Error::Contributory, "{hex}");
        });
    }
}

#[test]
fn an_identity_that_did_not_sign_the_static_key_is_refused() {
    let mut thief = identity(2, 0x33);
    thief.signature = identity(2, 0x55).signature;
    assert_eq!(refusal(&thief), Error::Signature);
    let mut other = identity(2, 0x33);
    other.peer = identity(3, 0).peer;
    assert_eq!(refusal(&other), Error::Signature);
}

#[test]
fn payloads_of_other_keys_are_refused_by_name() {
    let read = |hex: &str| {
        let static_key = PublicKey::from([7; 32]);
        Remote::read(&decode_hex(hex), &static_key).err()
    };
    let signature = "0a".repeat(64);
    assert_eq!(read(&std::format!("0a0808021204deadbeef1240{signature}")), Some(Error::KeyType));
    assert_eq!(read(&std::format!("0a0808001204deadbeef1240{signature}")), Some(Error::KeyType));
    assert!(matches!(read("0a0408011220"), Some(Error::Payload(_))));
    assert!(matches!(read(""), Some(Error::Payload(_))));
    assert!(matches!(read("ff"), Some(Error::Payload(_))));
    let weak = std::format!("0a2408011220{}1240{signature}", "00".repeat(32));
    assert!(matches!(read(&weak), Some(Error::Payload(_))));
    let short = std::format!("0a2408011220{}123f{}", "07".repeat(32), "0a".repeat(63));
    assert!(matches!(read(&short), Some(Error::Payload(_))));
}

#[test]
fn a_third_message_without_room_is_an_error() {
    let mut buffer = [0; 34 + 100];
    let mut w = Writer::new(&mut buffer);
    let initiator = Initiator::new([0x22; 32], &mut w);
    let mut second = octets(VECTORS, "msg2")[2..].to_vec();
    let error = initiator.finish(&identity(1, 0x11), &mut second, &mut w).unwrap_err();
    assert_eq!(error, Error::Room);
}

/// Why a dialer refuses `listener`.
fn refusal(listener: &Identity) -> Error {
    let mut buffer = [0; 512];
    let mut w = Writer::new(&mut buffer);
    let initiator = Initiator::new([0x22; 32], &mut w);
    let first = w.written()[2..].to_vec();
    let begin = w.mark();
    Responder::new(listener, [0x44; 32], &first, &mut w).unwrap();
    let mut second = w.written_since_mut(begin)[2..].to_vec();
    initiator.finish(&identity(1, 0x11), &mut second, &mut w).unwrap_err()
}

/// The string of the first member `name`.
fn text<'a>(json: &'a str, name: &str) -> &'a str {
    let after = json.split_once(&std::format!("\"{name}\": \"")).unwrap().1;
    after.split_once('"').unwrap().0
}

fn octets(json: &str, name: &str) -> Vec<u8> {
    decode_hex(text(json, name))
}

fn decode_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// What went over the wire: whether it was sent, and its octets.
fn recorded(json: &str) -> Vec<(bool, Vec<u8>)> {
    let begin = json.find("\"wire\"").unwrap();
    let end = json.find("\"plaintext_log\"").unwrap();
    let entries = json[begin..end].split("\"d\": \"").skip(1);
    let read = |entry: &str| (entry.starts_with("tx"), octets(entry, "b"));
    entries.map(read).collect()
}
