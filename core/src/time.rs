//! Time as the machines see it: a monotonic [`Instant`] made by the driver, and the wall clock
//! ([`UnixTime`]) that appears only inside signed records.
//! Not here: reading a clock.

use core::cmp::Ordering;
use core::ops::{Add, AddAssign, Sub};
use core::time::Duration;

/// Microseconds since an arbitrary start, chosen by the driver; never goes back. Tests start at [`Instant::ZERO`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Instant(u64);

impl Instant {
    /// The driver's start.
    pub const ZERO: Self = Self(0);

    /// The instant `micros` microseconds after the start.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Saturates at the end of time (584,000 years) instead of overflowing.
impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(micros(rhs)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

/// Saturates at [`Instant::ZERO`].
impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(micros(rhs)))
    }
}

/// Whole microseconds, saturating. [`Duration::as_micros`] counts in 128 bits, which no machine here has.
pub(crate) fn micros(duration: Duration) -> u64 {
    let seconds = duration.as_secs().saturating_mul(1_000_000);
    seconds.saturating_add(u64::from(duration.subsec_micros()))
}

/// An instant or none in eight octets, for tables of many; none is the last of all. It is kept as the microseconds
/// from it to the end of time, so that a vacant place in a table is all zeros and begins in no octet of flash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline(u64);

impl Deadline {
    /// No instant: the end of time stands for it.
    pub(crate) const NONE: Self = Self(0);

    /// At `at`.
    pub(crate) const fn new(at: Instant) -> Self {
        Self(!at.0)
    }

    /// The instant.
    pub(crate) fn get(self) -> Option<Instant> {
        (self != Self::NONE).then_some(Instant(!self.0))
    }

    /// Whether there is an instant and it is not later than `now`.
    pub(crate) fn is_due(self, now: Instant) -> bool {
        self != Self::NONE && !self.0 <= now.0
    }
}

impl Ord for Deadline {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.cmp(&self.0)
    }
}

impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl core::fmt::Debug for Deadline {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.get().fmt(f)
    }
}

/// Seconds since 1970-01-01T00:00:00Z, without leap seconds. Appears only in signed records and where their
/// validity is judged; a booting machine may not know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// This time plus `seconds`, saturating.
    #[must_use]
    pub const fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Instant::ZERO - Duration::from_secs(1), Instant::ZERO);
        let end = Instant::from_micros(u64::MAX);
        assert_eq!(end + Duration::MAX, end);
        assert_eq!(Instant::ZERO.since(end), Duration::ZERO);
        assert_eq!(UnixTime(u64::MAX).plus(1), UnixTime(u64::MAX));
    }

    #[test]
    fn microseconds_are_those_of_the_duration() {
        let ends = [Duration::ZERO, Duration::from_nanos(1_999), Duration::from_micros(u64::MAX)];
        for duration in ends.into_iter().chain([Duration::new(3, 999_999_999)]) {
            assert_eq!(u128::from(micros(duration)), duration.as_micros());
        }
        assert_eq!(micros(Duration::MAX), u64::MAX);
    }

    #[test]
    fn deadlines_are_in_the_order_of_their_instants_and_none_is_the_last() {
        let (one, two) = (Instant::from_micros(1), Instant::from_micros(2));
        let [first, second] = [one, two].map(Deadline::new);
        assert!(first < second && second < Deadline::NONE);
        assert_eq!(second.min(first).get(), Some(one));
        assert!(second.is_due(two) && !second.is_due(one));
        assert_eq!(Deadline::NONE.get(), None);
        assert!(!Deadline::NONE.is_due(Instant::from_micros(u64::MAX)));
    }
}
