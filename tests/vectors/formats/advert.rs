//! The advert's published example: every octet, and what a change of one does.

use std::collections::BTreeMap;

use phase_core::identity::{PeerId, SecretKey, VerifyError};
use phase_core::time::UnixTime;
use phase_core::wire::digest::Digest;
use phase_core::wire::record::{
    Advert, Arch, Channel, Error, ProviderName, SignedAdvert, Version, txt_strings,
};
use phase_core::wire::url::Url;

use super::{hex, read, secret};

struct Example {
    values: BTreeMap<String, String>,
}

impl Example {
    fn read() -> Self {
        let lines = read("advert.txt");
        let lines = lines.lines().filter(|line| !line.starts_with('#'));
        let pair = |line: &str| {
            let (key, value) = line.split_once(' ').expect("a key and a value");
            (key.to_owned(), value.to_owned())
        };
        Self { values: lines.map(pair).collect() }
    }

    fn text(&self, key: &str) -> &str {
        &self.values[key]
    }

    fn key(&self) -> SecretKey {
        secret(self.text("secret"))
    }

    fn asked(&self) -> (Channel, Arch) {
        (self.text("channel").parse().unwrap(), self.text("arch").parse().unwrap())
    }

    fn advert(&self) -> Advert {
        Advert {
            url: Url::parse("http://192.168.1.100:8080/stable/arm64/manifest.json").unwrap(),
            peer: self.key().peer_id(),
            name: Some(ProviderName::new("my-mac").unwrap()),
            issued: UnixTime(1_764_158_400),
            version: Version::new("2025.11.26").unwrap(),
            seq: 1_764_158_400,
            ttl: 3600,
            digest: Some(Digest::from_octets([0xab; 32])),
        }
    }
}

fn message(payload: &[u8]) -> Vec<u8> {
    let mut message = vec![17];
    message.extend(b"phase-boot-advert\x0f/phase/advert/1");
    let len = payload.len();
    assert!((128..256).contains(&len), "a length of two octets");
    message.extend([u8::try_from(len & 0x7f | 0x80).unwrap(), 1]);
    message.extend(payload);
    message
}

#[test]
fn the_example_signs_to_the_published_octets() {
    let example = Example::read();
    let (channel, arch) = example.asked();
    let peer = example.key().peer_id();
    assert_eq!(peer.as_octets().as_slice(), hex(example.text("public")));
    assert_eq!(peer.to_string(), example.text("peer_id"));
    let advert = example.advert();
    let mut buf = [0xa5; 704];
    let expected = message(&hex(example.text("payload")));
    assert_eq!(expected.len(), 214);
    assert_eq!(advert.signed_octets(&channel, &arch, &mut buf).unwrap(), expected);
    let signed = advert.sign(&example.key(), &channel, &arch).unwrap();
    assert_eq!(signed.signature().0.as_slice(), hex(example.text("sig")));
    let mut buf = [0xa5; 600];
    assert_eq!(signed.encode_json(&mut buf).unwrap(), example.text("json").as_bytes());
}

#[test]
fn the_example_decodes_verifies_and_is_written_again() {
    let example = Example::read();
    let (channel, arch) = example.asked();
    let text = example.text("json").as_bytes();
    assert_eq!(text.len(), 391);
    let signed = SignedAdvert::decode_json(text).unwrap();
    assert_eq!(signed.advert(), &example.advert());
    assert_eq!(signed.verify(&channel, &arch), Ok(()));
    assert_eq!(signed.encode_json(&mut [0; 600]).unwrap(), text);
}

#[test]
fn the_minimal_example_signs_to_the_published_octets() {
    let example = Example::read();
    let (channel, arch) = example.asked();
    let advert = Advert { name: None, digest: None, ..example.advert() };
    let mut buf = [0; 704];
    assert_eq!(advert.signed_octets(&channel, &arch, &mut buf).unwrap().len(), 175);
    let signed = advert.sign(&example.key(), &channel, &arch).unwrap();
    assert_eq!(signed.signature().0.as_slice(), hex(example.text("minimal_sig")));
    let mut buf = [0; 600];
    let json = signed.encode_json(&mut buf).unwrap();
    assert_eq!(json.len(), 311);
    assert_eq!(SignedAdvert::decode_json(json), Ok(signed));
}

#[test]
fn the_example_does_not_verify_for_another_key_or_as_a_weak_peer() {
    let example = Example::read();
    let (channel, arch) = example.asked();
    let signed = SignedAdvert::decode_json(example.text("json").as_bytes()).unwrap();
    let testing = Channel::new("testing").unwrap();
    assert_eq!(signed.verify(&testing, &arch), Err(VerifyError::Signature));
    let x86 = Arch::new("x86_64").unwrap();
    assert_eq!(signed.verify(&channel, &x86), Err(VerifyError::Signature));
    let weak = example.text("weak_peer_id");
    let text = example.text("json").replace(example.text("peer_id"), weak);
    assert_eq!(SignedAdvert::decode_json(text.as_bytes()), Err(Error::PeerId));
    assert!(weak.parse::<PeerId>().is_err());
}

#[test]
fn no_flip_of_a_single_bit_is_accepted_in_json() {
    let example = Example::read();
    let (channel, arch) = example.asked();
    let text = example.text("json").as_bytes();
    let (mut accepted, mut tried) = (0, 0);
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut changed = text.to_vec();
            changed[at] ^= 1 << bit;
            tried += 1;
            let read = SignedAdvert::decode_json(&changed);
            accepted += u32::from(read.is_ok_and(|read| read.verify(&channel, &arch).is_ok()));
        }
    }
    assert_eq!((accepted, tried), (0, 3128));
}

#[test]
fn a_flip_of_a_single_bit_in_txt_changes_nothing_or_is_refused() {
    let example = Example::read();
    let (channel, arch) = example.asked();
    let signed = example.advert().sign(&example.key(), &channel, &arch).unwrap();
    let mut buf = [0; 640];
    let rdata = signed.encode_txt(&channel, &arch, &mut buf).unwrap();
    assert_eq!(rdata.len(), 365);
    for at in 0..rdata.len() {
        for bit in 0..8 {
            let mut changed = rdata.to_vec();
            changed[at] ^= 1 << bit;
            let read = SignedAdvert::decode_txt(txt_strings(&changed));
            // What verifies says the same: a key in the other case, or a string nobody needs.
            if let Ok(read) = read.and_then(|read| {
                read.verify(&channel, &arch).map(|()| read).map_err(|_| Error::PeerId)
            }) {
                assert_eq!(read, signed, "octet {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn no_signature_with_a_small_order_part_is_accepted() {
    let example = Example::read();
    let (channel, arch) = example.asked();
    let identity = "0100000000000000000000000000000000000000000000000000000000000000";
    let order_8 = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a";
    let zero = "0".repeat(64);
    for r in [identity, order_8, &zero] {
        for s in [zero.as_str(), identity] {
            let octets: [u8; 64] = hex(&format!("{r}{s}")).try_into().unwrap();
            let mut sig = [0; 86];
            let sig = phase_core::wire::text::encode_base64url(&octets, &mut sig).unwrap();
            let json = example.text("json");
            let (before, _) = json.rsplit_once(':').unwrap();
            let read = SignedAdvert::decode_json(format!("{before}:\"{sig}\"}}").as_bytes());
            let verified = read.unwrap().verify(&channel, &arch);
            assert_eq!(verified, Err(VerifyError::Signature), "{r} {s}");
        }
    }
}
