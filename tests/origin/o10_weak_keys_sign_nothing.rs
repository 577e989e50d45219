//! There, signatures were verified loosely: a key of small order "signs" every message.

use phase_core::identity::{PeerId, Signature, VerifyError};
use phase_core::wire::record::{Error, SignedAdvert};
use phase_core::wire::trust::Trust;

use super::{advert, signed};

const WEAK: &str = "12D3KooW9tGaPdJo5jmCpadQ971nfiq4kLcQjeBPYTfutBTtckPH";

#[test]
fn a_weak_peer_is_refused_wherever_it_appears() {
    assert!(WEAK.parse::<PeerId>().is_err());
    assert!(Trust::decode(format!("provider {WEAK}\n").as_bytes()).is_err());
    let signed = signed(1, advert(1));
    let mut buf = [0; 600];
    let text = std::str::from_utf8(signed.encode_json(&mut buf).unwrap()).unwrap();
    let weak = text.replace(&signed.advert().peer.to_string(), WEAK);
    assert_eq!(SignedAdvert::decode_json(weak.as_bytes()), Err(Error::PeerId));
    for key in ["0".repeat(64), format!("01{}", "0".repeat(62)), format!("ec{}7f", "f".repeat(60))]
    {
        assert!(Trust::decode(format!("release ed25519:{key}\n").as_bytes()).is_err(), "{key}");
    }
}

#[test]
fn the_signature_that_fits_every_weak_key_fits_no_other() {
    let mut octets = [0; 64];
    octets[0] = 1;
    let found = super::peer(1).verify(b"anything", &Signature(octets));
    assert_eq!(found, Err(VerifyError::Signature));
}
