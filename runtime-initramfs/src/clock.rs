//! The clocks: monotonic time for timers and machines, time since the kernel's start for the console, and the wall
//! clock, which a booting machine may not know.
//! The only file that reads one. Not here: what is made of an early wall clock (`phase_core::select::ClockFloor`).

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use phase_core::time::{Instant, UnixTime};

/// 2025-11-26: no advert in this format is older, and a clock that shows an earlier time is not believed.
pub const EPOCH: UnixTime = UnixTime(1_764_158_400);

/// Microseconds since an arbitrary start; never goes back. The kernel's timers run by the same clock.
#[must_use]
pub fn monotonic_micros() -> u64 {
    u64::try_from(read(ClockId::CLOCK_MONOTONIC).as_micros()).unwrap_or(u64::MAX)
}

/// The same for machines of the core.
#[must_use]
pub fn now() -> Instant {
    Instant::from_micros(monotonic_micros())
}

/// The time since the kernel started.
#[must_use]
pub fn since_kernel_start() -> Duration {
    read(ClockId::CLOCK_BOOTTIME)
}

/// The wall clock: seconds since 1970, as far as this machine knows. Without a real-time clock it begins at 0.
#[must_use]
pub fn unix_time() -> UnixTime {
    UnixTime(read(ClockId::CLOCK_REALTIME).as_secs())
}

/// Zero when the clock cannot be read, which no Linux does, or shows a time before its epoch.
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
    fn time_never_goes_back() {
        let mut last = now();
        for _ in 0..1000 {
            let next = now();
            assert!(next >= last);
            last = next;
        }
    }

    #[test]
    fn the_machine_has_run_for_a_while_and_the_wall_clock_is_past_2020() {
        assert!(since_kernel_start() > Duration::ZERO);
        assert!(unix_time() > UnixTime(1_577_836_800));
    }
}
