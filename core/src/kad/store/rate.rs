//! How many puts a peer may have judged: each costs a signature verification.

use core::time::Duration;

use heapless::Vec;

use crate::identity::PeerId;
use crate::limits::{PUT_SOURCES, PUTS_PER_SECOND};
use crate::time::Instant;

/// One bucket of tokens for each of the peers that put last.
#[derive(Clone, Debug, Default)]
pub struct RateLimit(Vec<Bucket, PUT_SOURCES>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    peer: PeerId,
    /// When all puts so far would have taken place at the rate allowed.
    paid_until: Instant,
}

impl RateLimit {
    /// Whether `peer` may put now; if so, it is counted.
    pub fn take(&mut self, now: Instant, peer: &PeerId) -> bool {
        let interval = Duration::from_secs(1) / u32::from(PUTS_PER_SECOND);
        let credit = Duration::from_secs(1).saturating_sub(interval);
        let bucket = match self.0.iter().position(|bucket| bucket.peer == *peer) {
            Some(at) => self.0.get_mut(at),
            None => self.make_room(now, *peer),
        };
        let Some(bucket) = bucket else { return false };
        let allowed = bucket.paid_until <= now + credit;
        if allowed {
            bucket.paid_until = bucket.paid_until.max(now) + interval;
        }
        allowed
    }

    /// A full bucket for a peer. One whose tokens are all there again is as good as none, so it gives way;
    /// without such a one, the peer has to wait.
    fn make_room(&mut self, now: Instant, peer: PeerId) -> Option<&mut Bucket> {
        if self.0.is_full() {
            let at = self.0.iter().position(|bucket| bucket.paid_until <= now)?;
            self.0.swap_remove(at);
        }
        self.0.push(Bucket { peer, paid_until: now }).ok()?;
        self.0.last_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> PeerId {
        PeerId::from_octets([number.max(3); 32]).unwrap()
    }

    #[test]
    fn ten_in_a_second_and_ten_at_once() {
        let mut limit = RateLimit::default();
        let mut now = Instant::ZERO + Duration::from_secs(9);
        assert_eq!((0..50).filter(|_| limit.take(now, &peer(9))).count(), 10);
        assert!(limit.take(now, &peer(8)), "each peer has its own");
        now += Duration::from_millis(100);
        assert_eq!((0..50).filter(|_| limit.take(now, &peer(9))).count(), 1);
        now += Duration::from_secs(60);
        assert_eq!((0..50).filter(|_| limit.take(now, &peer(9))).count(), 10);
    }

    #[test]
    fn a_crowd_of_peers_does_not_reset_the_limit() {
        let mut limit = RateLimit::default();
        let now = Instant::ZERO;
        let allowed = (3..=255).filter(|number| limit.take(now, &peer(*number))).count();
        assert_eq!(allowed, PUT_SOURCES);
        assert!(limit.take(now + Duration::from_secs(1), &peer(255)));
    }
}
