//! There, expiry was not enforced, and times were compared as text with mixed offsets and fractions.

use phase_core::select::{Refusal, judge};
use phase_core::time::UnixTime;
use phase_core::wire::manifest::Error;
use phase_core::wire::record::Advert;
use phase_core::wire::trust::Trust;
use phase_core::wire::unix_time;

use super::{NOW, SAY, Say, advert, document, peer, release, signed, verified, with_context};

#[test]
fn a_manifest_expires() {
    let text = document(1, &Say { expires_at: NOW, ..SAY });
    assert_eq!(verified(&text, &release(1), |_| {}), Ok(()));
    let later = |policy: &mut phase_core::wire::manifest::Policy<'_>| policy.now = NOW.plus(1);
    assert_eq!(verified(&text, &release(1), later), Err(Error::Expired));
}

#[test]
fn an_advert_expires() {
    let trust = Trust::decode(format!("provider {}\n", peer(1)).as_bytes()).unwrap();
    with_context(&trust, |context, memory| {
        let old = signed(1, Advert { issued: UnixTime(NOW.0 - 3901), ..advert(1) });
        assert_eq!(judge(&old, context, memory), Err(Refusal::Expired));
    });
}

#[test]
fn no_time_with_an_offset_or_a_fraction_is_read() {
    for text in [
        "2025-11-26T12:00:00+00:00",
        "2025-11-26T13:00:00+01:00",
        "2025-11-26T12:00:00.5Z",
        "2025-11-26T12:00:00z",
        "2025-11-26 12:00:00Z",
    ] {
        assert!(unix_time::decode(text.as_bytes()).is_err(), "{text}");
    }
}
