//! When a question is asked again.
//!
//! Spec: RFC 6762 §5.1 (one-shot queries, at once), §5.2 (first multicast after 20 to 120 ms, then gaps of 1 s that
//! double up to an hour).

use core::time::Duration;

use crate::rng::Rng;
use crate::time::{Deadline, Instant};

/// RFC 6762 §5.2: bounds of the delay of the first multicast query.
const FIRST_DELAY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(120));

/// RFC 6762 §5.2: "the interval between the first two queries MUST be at least one second".
const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// RFC 6762 §5.2: "MAY cap the interval at a maximum of 60 minutes".
const INTERVAL_MAX: Duration = Duration::from_secs(60 * 60);

/// What to send at a step of the series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// One-shot queries from the ephemeral port alone.
    OneShot,
    /// The first multicast query: the only one that may ask for unicast responses (RFC 6762 §5.4).
    First,
    /// A repetition, by both ways.
    Again,
}

/// A series of questions with back-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Series {
    next_at: Deadline,
    steps: u8,
}

impl Series {
    /// A series that asks nothing.
    pub(crate) const fn idle() -> Self {
        Self { next_at: Deadline::NONE, steps: 0 }
    }

    /// A series whose one-shot queries are due at `at`.
    pub(crate) const fn starting(at: Instant) -> Self {
        Self { next_at: Deadline::new(at), steps: 0 }
    }

    /// A series whose one-shot queries are due 20 to 120 ms after `now`, for questions that many hosts may ask at
    /// once.
    pub(crate) fn spread(now: Instant, rng: &mut Rng) -> Self {
        Self::starting(now + rng.duration(FIRST_DELAY.0, FIRST_DELAY.1))
    }

    /// When the next step is due.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.next_at.get()
    }

    /// Steps taken.
    pub(crate) const fn steps(&self) -> u8 {
        self.steps
    }

    /// Ends the series: what was asked for is known.
    pub(crate) const fn stop(&mut self) {
        *self = Self::idle();
    }

    /// Takes the step that is due, and plans the next one from `now`: late wakes never make a gap short.
    pub(crate) fn take(&mut self, now: Instant, rng: &mut Rng) -> Option<Step> {
        if !self.next_at.is_due(now) {
            return None;
        }
        let step = match self.steps {
            0 => Step::OneShot,
            1 => Step::First,
            _ => Step::Again,
        };
        let wait = match step {
            Step::OneShot => rng.duration(FIRST_DELAY.0, FIRST_DELAY.1),
            Step::First => FIRST_INTERVAL,
            Step::Again => {
                let doublings = u32::from(self.steps).saturating_sub(1).min(12);
                FIRST_INTERVAL.saturating_mul(1_u32 << doublings).min(INTERVAL_MAX)
            }
        };
        self.next_at = Deadline::new(now + wait);
        self.steps = self.steps.saturating_add(1);
        Some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn a_series_asks_at_once_then_after_20_to_120_ms_then_with_doubling_gaps() {
        let mut rng = Seed([3; 32]).stream("series");
        let mut series = Series::starting(Instant::ZERO);
        assert_eq!(series.take(Instant::ZERO, &mut rng), Some(Step::OneShot));
        let first = series.next_at().unwrap();
        let delay = first.since(Instant::ZERO);
        assert!(delay >= Duration::from_millis(20) && delay <= Duration::from_millis(120));
        assert_eq!(series.take(first - Duration::from_micros(1), &mut rng), None);
        assert_eq!(series.take(first, &mut rng), Some(Step::First));
        let mut last = first;
        for gap in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600] {
            let next = series.next_at().unwrap();
            assert_eq!(next.since(last), Duration::from_secs(gap));
            assert_eq!(series.take(next, &mut rng), Some(Step::Again));
            last = next;
        }
        series.stop();
        assert_eq!(series.next_at(), None);
    }

    #[test]
    fn a_late_wake_makes_no_gap_short() {
        let mut rng = Seed([3; 32]).stream("series");
        let mut series = Series::starting(Instant::ZERO);
        let late = Instant::ZERO + Duration::from_secs(100);
        assert_eq!(series.take(late, &mut rng), Some(Step::OneShot));
        assert!(series.next_at().unwrap() > late);
    }
}
