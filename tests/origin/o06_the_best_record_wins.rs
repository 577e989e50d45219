//! There, the first record that came was taken, so whoever answered fastest chose the image.

use phase_core::select::{Rank, Refusal, TrustClass, judge};
use phase_core::time::UnixTime;
use phase_core::wire::record::{Advert, Received, Version};
use phase_core::wire::trust::Trust;

use super::{advert, peer, signed, with_context};

#[test]
fn a_fast_stranger_does_not_win() {
    let trust = Trust::decode(format!("provider {}\n", peer(1)).as_bytes()).unwrap();
    with_context(&trust, |context, memory| {
        let loud = Advert { version: Version::new("999").unwrap(), ..advert(2) };
        assert_eq!(judge(&signed(2, loud), context, memory), Err(Refusal::Untrusted));
        let accepted = judge(&signed(1, advert(1)), context, memory).unwrap();
        assert_eq!(accepted.class, TrustClass::Pinned);
    });
}

#[test]
fn the_order_of_arrival_does_not_choose() {
    let trust =
        Trust::decode(format!("provider {}\nprovider {}\n", peer(1), peer(2)).as_bytes()).unwrap();
    with_context(&trust, |context, memory| {
        let mut ranks = Vec::new();
        for (n, version) in [(1, "1.9"), (2, "1.10")] {
            let version = Version::new(version).unwrap();
            let signed =
                signed(n, Advert { version, issued: UnixTime(1_764_158_400), ..advert(n) });
            let accepted = judge(&signed, context, memory).unwrap();
            let received = Received::Signed(signed);
            ranks.push((Rank::new(accepted, &received, context.carrier, None, &[0; 32]), n));
        }
        for _ in 0..2 {
            ranks.reverse();
            let best = ranks.iter().min_by(|(a, _), (b, _)| a.cmp(b)).unwrap();
            assert_eq!(best.1, 2);
        }
    });
}
