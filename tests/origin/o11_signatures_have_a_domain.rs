//! There, one key signed bare hashes of receipts, manifests and more, so that one could pass for another.

use phase_core::limits::MANIFEST_BUFFER;
use phase_core::wire::manifest::read_document;

use super::{SAY, advert, arm64, document, peer, signed, stable};

#[test]
fn an_adverts_signature_is_no_manifests_and_the_other_way_round() {
    let text = document(1, &SAY);
    let mut buffer = vec![0; MANIFEST_BUFFER];
    let (envelope, signatures) = read_document(text.as_bytes(), &mut buffer).unwrap();
    let manifest_signature = signatures[0].signature;
    let advert_signature = *signed(1, advert(1)).signature();
    let mut buf = [0; 704];
    let advert_octets = advert(1).signed_octets(&stable(), &arm64(), &mut buf).unwrap();
    assert_eq!(peer(1).verify(envelope.message(), &manifest_signature), Ok(()));
    assert_eq!(peer(1).verify(advert_octets, &advert_signature), Ok(()));
    assert!(peer(1).verify(envelope.message(), &advert_signature).is_err());
    assert!(peer(1).verify(advert_octets, &manifest_signature).is_err());
    // Without domain and type in front, neither holds.
    assert!(peer(1).verify(envelope.inner(), &manifest_signature).is_err());
    let payload = &advert_octets[advert_octets.len() - 100..];
    assert!(peer(1).verify(payload, &advert_signature).is_err());
}

#[test]
fn the_domains_differ_from_the_first_octet() {
    let text = document(1, &SAY);
    let mut buffer = vec![0; MANIFEST_BUFFER];
    let (envelope, _) = read_document(text.as_bytes(), &mut buffer).unwrap();
    let mut buf = [0; 704];
    let advert_octets = advert(1).signed_octets(&stable(), &arm64(), &mut buf).unwrap();
    assert!(envelope.message().starts_with(b"DSSEv1 "));
    assert!(advert_octets.starts_with(b"\x11phase-boot-advert\x0f/phase/advert/1"));
}
