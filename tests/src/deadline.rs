//! Deadlines for tests that wait on real processes and sockets.
//!
//! A deadline is generous: it only ends a wait that would never end. Nothing waits for time to pass.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use phase_core::time::UnixTime;

use crate::Error;

/// Long enough for anything that happens at all, on a loaded machine with two cores.
pub const GENEROUS: Duration = Duration::from_secs(30);

/// How long [`until`] rests between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A point in time after which waiting is given up.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
}

impl Deadline {
    /// The deadline `after` from this moment.
    #[must_use]
    pub fn after(after: Duration) -> Self {
        Self { at: now() + after }
    }

    /// What is left, zero when the deadline has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(now())
    }

    /// Whether the deadline has passed.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.remaining().is_zero()
    }
}

/// Reads the wall clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "what real processes judge has real times")]
pub fn wall_clock() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixTime(since.map_or(0, |since| since.as_secs()))
}

/// Reads the monotonic clock.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "tests that wait on real processes need a real clock"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// Looks again and again until `look` gives a value; `what` names it in the error.
///
/// # Errors
/// [`Error::TooLate`] when `within` has passed, or the first error of `look`.
pub fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    let deadline = Deadline::after(within);
    loop {
        if let Some(value) = look()? {
            return Ok(value);
        }
        if deadline.has_passed() {
            let what = what.to_owned();
            return Err(Error::TooLate { what, after: within, context: String::new() });
        }
        thread::sleep(LOOK_EVERY);
    }
}
