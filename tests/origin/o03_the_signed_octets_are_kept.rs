//! There, a map was serialised once to sign and once more to verify, in a random order of its entries.

use phase_core::limits::{MANIFEST_BUFFER, MANIFEST_WORK};
use phase_core::wire::manifest::{ArtifactDraft, Name, encode_document, read_document};

use super::{KERNEL, SAY, Say, document, release, verified};

#[test]
fn the_order_of_the_draft_does_not_matter() {
    let initramfs = ArtifactDraft { name: Name::Initramfs, path: Some("initramfs.img"), ..KERNEL };
    let rootfs = ArtifactDraft { name: Name::Rootfs, path: Some("rootfs.sqfs"), ..KERNEL };
    let one = document(1, &Say { artifacts: &[KERNEL, initramfs, rootfs], ..SAY });
    let other = document(1, &Say { artifacts: &[rootfs, KERNEL, initramfs], ..SAY });
    assert_eq!(one, other);
}

#[test]
fn a_document_read_and_written_a_hundred_times_still_verifies() {
    let first = document(1, &SAY);
    let mut text = first.clone();
    for _ in 0..100 {
        let mut buffer = vec![0; MANIFEST_BUFFER];
        let (envelope, signatures) = read_document(text.as_bytes(), &mut buffer).unwrap();
        let mut out = vec![0; MANIFEST_WORK];
        let again = encode_document(&envelope, &signatures, &mut out).unwrap();
        text = String::from_utf8(again.to_vec()).unwrap();
    }
    assert_eq!(text, first);
    assert_eq!(verified(&text, &release(1), |_| {}), Ok(()));
}

#[test]
fn another_writers_order_and_blanks_are_what_they_signed() {
    // What counts are the octets in `signed.data`, however they are laid out.
    let good = document(1, &SAY);
    let value: serde_json::Value = serde_json::from_str(&good).unwrap();
    let laid_out = serde_json::to_string_pretty(&value).unwrap();
    assert_ne!(laid_out, good);
    assert_eq!(verified(&laid_out, &release(1), |_| {}), Ok(()));
}
