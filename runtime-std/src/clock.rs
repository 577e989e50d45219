//! The clocks: monotonic time that goes on while the machine sleeps, and the wall clock.
//! The only file that reads one.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use phase_core::time::{Instant, UnixTime};

/// Counts suspended time too, so that records age while a laptop sleeps.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CONTINUOUS: ClockId = ClockId::CLOCK_BOOTTIME;
/// Counts suspended time too: on macOS this is `mach_continuous_time`.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CONTINUOUS: ClockId = ClockId::CLOCK_MONOTONIC;

/// Stands still while the machine sleeps.
#[cfg(any(target_os = "linux", target_os = "android"))]
const AWAKE: ClockId = ClockId::CLOCK_MONOTONIC;
/// Stands still while the machine sleeps.
#[cfg(target_os = "macos")]
const AWAKE: ClockId = ClockId::from_raw(nix::libc::CLOCK_UPTIME_RAW);
/// No clock of this system is known to stand still during sleep.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos")))]
const AWAKE: ClockId = ClockId::CLOCK_MONOTONIC;

/// 2025-11-26: no advert in this format is older, and a clock that shows an earlier time is not believed.
pub const EPOCH: UnixTime = UnixTime(1_764_158_400);

/// How far the two clocks must part before it is called sleep.
const SLEEP_MIN: Duration = Duration::from_secs(1);

/// Monotonic time since this value was made; copies share the start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Duration,
    /// Continuous time minus awake time: the time slept since boot, when last looked at.
    slept: Duration,
}

impl Clock {
    /// A clock that shows [`Instant::ZERO`] now.
    #[must_use]
    pub fn start() -> Self {
        let start = read(CONTINUOUS);
        Self { start, slept: start.saturating_sub(read(AWAKE)) }
    }

    /// The time since [`Clock::start`], suspended time included.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::ZERO + read(CONTINUOUS).saturating_sub(self.start)
    }

    /// Whether the machine slept for a second or more since this was last asked.
    pub fn woke_from_sleep(&mut self) -> bool {
        let slept = read(CONTINUOUS).saturating_sub(read(AWAKE));
        let more = slept.saturating_sub(self.slept);
        self.slept = slept;
        more >= SLEEP_MIN
    }
}

/// The wall clock: seconds since 1970, as far as this machine knows.
#[must_use]
pub fn unix_time() -> UnixTime {
    UnixTime(read(ClockId::CLOCK_REALTIME).as_secs())
}

/// The wall clock as time since 1970, for comparing with time stamps of files.
#[must_use]
pub fn since_epoch() -> Duration {
    read(ClockId::CLOCK_REALTIME)
}

/// Zero when the clock cannot be read, which no supported system does, or shows a time before its epoch.
fn read(clock: ClockId) -> Duration {
    clock_gettime(clock).map_or(Duration::ZERO, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        let nanos = u32::try_from(time.tv_nsec()).unwrap_or(0);
        Duration::new(seconds, nanos)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_starts_at_zero_and_never_goes_back() {
        let clock = Clock::start();
        let mut last = clock.now();
        assert!(last.since(Instant::ZERO) < Duration::from_secs(5));
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn a_machine_that_stays_awake_did_not_sleep() {
        let mut clock = Clock::start();
        assert!(!clock.woke_from_sleep());
    }

    #[test]
    fn the_wall_clock_is_past_2020() {
        assert!(unix_time() > UnixTime(1_577_836_800));
    }
}
