//! There, clients asked for `aarch64` and the documents said `arm64`, so they never met.

use phase_core::wire::record::{Arch, decode_txt};

use super::{SAY, Say, advert, arm64, document, key, release, stable, verified};

#[test]
fn both_names_meet_at_one_key() {
    assert_eq!(Arch::canonical("aarch64"), Ok(arm64()));
    assert_eq!(Arch::canonical("amd64"), Arch::canonical("x86_64"));
    let asked = Arch::canonical("aarch64").unwrap();
    let signed = advert(1).sign(&key(1), &stable(), &arm64()).unwrap();
    assert_eq!(signed.verify(&stable(), &asked), Ok(()));
    let strings =
        ["arch=aarch64", "channel=stable", "manifest=http://h/stable/arm64/manifest.json"];
    let txt = decode_txt(strings.iter().map(|string| string.as_bytes())).unwrap();
    assert_eq!(txt.arch, asked);
}

#[test]
fn a_manifest_may_use_either() {
    let text = document(1, &Say { arch: "aarch64", ..SAY });
    assert!(text.contains("\"arch\":\"aarch64\""));
    assert_eq!(verified(&text, &release(1), |_| {}), Ok(()));
}
