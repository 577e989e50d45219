//! How many puts a peer, and the peers of one IP prefix, may have judged: each costs a signature verification.

use core::time::Duration;

use heapless::Vec;

use crate::identity::PeerId;
use crate::kad::diversity::Group;
use crate::limits::{PUT_SOURCES, PUTS_PER_SECOND, PUTS_PER_SECOND_GROUP};
use crate::time::Instant;

/// Buckets of tokens for those who put last: one for each peer, one for each prefix.
///
/// There are always buckets for newcomers, for otherwise a few who put without end would keep everybody else out:
/// the fullest bucket is given away. Whose bucket that was begins with a full one again, which a crowd of made-up
/// peers may use; the bucket of their prefix is what holds these.
#[derive(Clone, Debug, Default)]
pub struct RateLimit {
    peers: Buckets<PeerId>,
    groups: Buckets<Group>,
}

impl RateLimit {
    /// Whether `peer` of `group` may put now; if so, it is counted. `None`: this host, which no prefix holds.
    pub fn take(&mut self, now: Instant, peer: &PeerId, group: Option<Group>) -> bool {
        let per_second = |puts: u8| Duration::from_secs(1) / u32::from(puts);
        let mut of_group =
            group.and_then(|group| self.groups.get(now, group, per_second(PUTS_PER_SECOND_GROUP)));
        if of_group.as_ref().is_some_and(|bucket| !bucket.has_token(now)) {
            return false;
        }
        let mut of_peer = self.peers.get(now, *peer, per_second(PUTS_PER_SECOND));
        if of_peer.as_ref().is_some_and(|bucket| !bucket.has_token(now)) {
            return false;
        }
        of_peer.iter_mut().for_each(|bucket| bucket.spend(now));
        of_group.iter_mut().for_each(|bucket| bucket.spend(now));
        true
    }
}

#[derive(Clone, Debug)]
struct Buckets<T>(Vec<(T, Instant), PUT_SOURCES>);

impl<T> Default for Buckets<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// A bucket that holds one second's tokens.
struct Bucket<'a> {
    /// When all puts so far would have taken place at the rate allowed.
    paid_until: &'a mut Instant,
    interval: Duration,
}

impl Bucket<'_> {
    fn has_token(&self, now: Instant) -> bool {
        *self.paid_until <= now + Duration::from_secs(1).saturating_sub(self.interval)
    }

    fn spend(&mut self, now: Instant) {
        *self.paid_until = (*self.paid_until).max(now) + self.interval;
    }
}

impl<T: Copy + PartialEq> Buckets<T> {
    /// The bucket of `whose`; a full one if it had none, in the place of the fullest if there is no other.
    fn get(&mut self, now: Instant, whose: T, interval: Duration) -> Option<Bucket<'_>> {
        let known = self.0.iter().position(|(of, _)| *of == whose);
        let at = known.or_else(|| {
            if self.0.is_full() {
                let all = self.0.iter().enumerate();
                let fullest = all.min_by_key(|(_, (_, paid_until))| *paid_until);
                self.0.swap_remove(fullest?.0);
            }
            self.0.push((whose, now)).ok()?;
            self.0.len().checked_sub(1)
        })?;
        let (_, paid_until) = self.0.get_mut(at)?;
        Some(Bucket { paid_until, interval })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> PeerId {
        PeerId::from_octets([number.max(3); 32]).unwrap()
    }

    fn group(number: u8) -> Option<Group> {
        Group::of_source([10, 0, 0, number].into())
    }

    fn second() -> Instant {
        Instant::ZERO + Duration::from_secs(9)
    }

    #[test]
    fn ten_in_a_second_and_ten_at_once() {
        for group in [None, group(1)] {
            let mut limit = RateLimit::default();
            let mut now = second();
            assert_eq!((0..50).filter(|_| limit.take(now, &peer(9), group)).count(), 10);
            assert!(limit.take(now, &peer(8), group), "each peer has its own");
            now += Duration::from_millis(100);
            assert_eq!((0..50).filter(|_| limit.take(now, &peer(9), group)).count(), 1);
            now += Duration::from_secs(60);
            assert_eq!((0..50).filter(|_| limit.take(now, &peer(9), group)).count(), 10);
        }
    }

    #[test]
    fn a_crowd_of_peers_of_one_prefix_has_forty_in_a_second() {
        let mut limit = RateLimit::default();
        let mut now = second();
        let mut crowd = |now| {
            let peers = (0..5).flat_map(|_| 3..=255);
            peers.filter(|number| limit.take(now, &peer(*number), group(1))).count()
        };
        assert_eq!(crowd(now), 40);
        now += Duration::from_secs(1);
        assert_eq!(crowd(now), 40);
        assert!(limit.take(now, &peer(9), group(2)), "others are not held for it");
    }

    #[test]
    fn a_crowd_that_puts_without_end_keeps_nobody_out() {
        let mut limit = RateLimit::default();
        let mut now = second();
        for _ in 0..50 {
            // As many peers, and as many prefixes, as there are buckets, and each takes all it may.
            for number in 100..100 + u8::try_from(PUT_SOURCES).unwrap() {
                while limit.take(now, &peer(number), group(number)) {}
            }
            assert!(limit.take(now, &peer(99), group(1)));
            now += Duration::from_millis(100);
        }
    }
}
