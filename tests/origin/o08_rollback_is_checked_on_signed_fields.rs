//! There, the rollback check came before the signature, on a field that was not signed.

use phase_core::wire::manifest::Error;
use phase_core::wire::trust::Trust;

use super::{SAY, Say, document, peer, release, verified};

#[test]
fn the_signature_is_judged_before_the_version() {
    let strangers = document(2, &Say { manifest_version: 1, ..SAY });
    let result = verified(&strangers, &release(1), |policy| policy.floor = 50);
    assert_eq!(result, Err(Error::Threshold { signed: 0, needed: 1 }));
}

#[test]
fn an_older_version_is_refused_by_either_floor() {
    let text = document(1, &SAY);
    assert_eq!(verified(&text, &release(1), |policy| policy.floor = 100), Ok(()));
    let refused = Err(Error::Rollback { found: 100, floor: 101 });
    assert_eq!(verified(&text, &release(1), |policy| policy.floor = 101), refused);
    let file = format!("release {}\nmin-version stable 101\n", peer(1).key_id());
    let trust = Trust::decode(file.as_bytes()).unwrap();
    assert_eq!(verified(&text, &trust, |_| {}), refused);
}

#[test]
fn a_floor_that_cannot_be_read_is_an_error_and_not_zero() {
    for word in ["", " x", " -1", " 1x"] {
        let file = format!("release {}\nmin-version stable{word}\n", peer(1).key_id());
        assert!(Trust::decode(file.as_bytes()).is_err(), "{word}");
    }
}
