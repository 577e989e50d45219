//! The provider's timers: what each is for, the earliest of them, and the jitter of the refresh.
//! Not here: what happens then; that is beside the state a timer belongs to.

use core::time::Duration;

use crate::machine::Wake;
use crate::rng::Rng;
use crate::time::Instant;

/// Every timer of the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Timer {
    /// When to send the next probe for a name, or to begin announcing it (RFC 6762 §8.1).
    Probe,
    /// When to multicast records that wait: announcements, answers, goodbyes (RFC 6762 §6, §8.3).
    Multicast,
    /// When to answer a querier that asked for a unicast response, or that has told all its known
    /// answers (RFC 6762 §5.4, §7.2).
    Reply,
    /// When to tell that a name has been fought over for a minute (RFC 6762 §9).
    NoName,
    /// When to have adverts signed: two thirds of their lifetime passed, or a change held back by the
    /// limit of ten updates a minute (RFC 6762 §8.4) may go out.
    Sign,
    /// When to turn to the DHT's bootstrap peers: at the start, when the network changed, while nobody answers,
    /// and when a table with few peers got one.
    Bootstrap,
    /// When to refresh the DHT's routing table: ten minutes after it was refreshed.
    Refresh,
    /// When to publish an advert in the DHT: it was signed, the network changed, or an attempt failed.
    Publish,
    /// When to read an advert back from peers that were given it.
    Audit,
    /// When to ask another peer of the DHT beside one that takes long.
    Slow,
}

impl Timer {
    /// The reason as shown in [`Wake::why`].
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Multicast => "multicast",
            Self::Reply => "reply",
            Self::NoName => "no name",
            Self::Sign => "sign",
            Self::Bootstrap => "bootstrap",
            Self::Refresh => "refresh",
            Self::Publish => "publish",
            Self::Audit => "audit",
            Self::Slow => "ask another beside",
        }
    }

    /// The deadline of this timer.
    #[must_use]
    pub const fn at(self, at: Instant) -> Wake {
        Wake { at, why: self.why() }
    }
}

/// How long after signing an advert it is signed again: two thirds of its lifetime, 10 % either way, so
/// that providers started together drift apart.
#[must_use]
pub fn refresh_delay(ttl_seconds: u32, rng: &mut Rng) -> Duration {
    let base = Duration::from_secs(u64::from(ttl_seconds)).saturating_mul(2) / 3;
    rng.duration(base.saturating_mul(9) / 10, base.saturating_mul(11) / 10)
}

/// RFC 6762 §8.4: at most ten updates in any minute: five at once, then one in twelve seconds.
const UPDATES_AT_ONCE: u32 = 5;
const UPDATE_INTERVAL: Duration = Duration::from_secs(12);

/// Spaces the updates of one record.
#[derive(Clone, Copy, Debug, Default)]
pub struct UpdateLimit {
    /// When all updates so far would have taken place at one in an interval.
    paid_until: Instant,
}

impl UpdateLimit {
    /// When the next update may take place, `now` or later; it counts from this call on.
    pub fn next(&mut self, now: Instant) -> Instant {
        let credit = UPDATE_INTERVAL.saturating_mul(UPDATES_AT_ONCE.saturating_sub(1));
        let at = now.max(self.paid_until - credit);
        self.paid_until = self.paid_until.max(at) + UPDATE_INTERVAL;
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn no_minute_has_more_than_ten_updates() {
        let mut limit = UpdateLimit::default();
        let mut now = Instant::ZERO + Duration::from_secs(500);
        let updates: std::vec::Vec<_> = (0..100)
            .map(|_| {
                now = limit.next(now);
                now
            })
            .collect();
        assert_eq!(updates[4], updates[0], "five at once");
        let minute = Duration::from_secs(60);
        for first in &updates {
            let within = updates.iter().filter(|at| *at >= first && at.since(*first) < minute);
            assert!(within.count() <= 10);
        }
    }

    #[test]
    fn refresh_falls_within_ten_percent_of_two_thirds() {
        let mut rng = Seed([3; 32]).stream("refresh");
        let delays: std::vec::Vec<_> = (0..1000).map(|_| refresh_delay(3600, &mut rng)).collect();
        assert!(delays.iter().all(|d| (2160..=2640).contains(&d.as_secs())));
        assert!(delays.iter().any(|d| d.as_secs() < 2200));
        assert!(delays.iter().any(|d| d.as_secs() > 2600));
    }
}
