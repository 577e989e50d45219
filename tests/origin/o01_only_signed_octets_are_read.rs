//! There, the signature was checked over `signed.data`, and everything else was read from outside of it.

use phase_core::wire::manifest::Error;

use super::{SAY, document, release, verified};

#[test]
fn an_old_signed_part_does_not_vouch_for_other_members() {
    let good = document(1, &SAY);
    let trust = release(1);
    assert_eq!(verified(&good, &trust, |_| {}), Ok(()));
    let evil = good.replacen(&"01".repeat(32), &"66".repeat(32), 1).replacen("vmlinuz", "evil", 1);
    assert_eq!(verified(&evil, &trust, |_| {}), Err(Error::Mirror));
    let newer = good.replacen("\"manifest_version\":100", "\"manifest_version\":999", 1);
    assert_eq!(verified(&newer, &trust, |_| {}), Err(Error::Mirror));
}

#[test]
fn a_document_whose_signed_part_is_missing_is_unsigned() {
    let good = document(1, &SAY);
    let bare = good.replacen("\"signed\"", "\"unsigned\"", 1);
    assert_eq!(verified(&bare, &release(1), |_| {}), Err(Error::Unsigned));
}
