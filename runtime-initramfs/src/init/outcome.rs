//! What the first process does when the work, or a shell, has ended: a table, and the times between tries.
//!
//! | after | `phase.on-failure=` | then |
//! |---|---|---|
//! | a failure | `retry` | again, after 1 s, 2 s, 4 s, up to a minute |
//! | a failure | `reboot`, `poweroff` | that |
//! | a failure | `shell` | a shell, and when it ends, again at once; without a shell as `retry` |
//! | `discover` or `fetch` that succeeded | | a shell, and when it ends, off; without a shell off |
//! | the shell of `phase.action=shell` | | off |

use std::time::Duration;

use crate::cmdline::{Action, OnFailure};

/// The longest time between tries.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// What has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The work, well: nothing was to be started.
    Success,
    /// The work, or the shell that was asked for could not be had.
    Failure,
    /// A shell after a failure.
    ShellOfFailure,
    /// A shell that was asked for, or one after success.
    ShellOfEnd,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Once more, after the next delay.
    Retry,
    /// Once more, at once.
    Again,
    /// A shell; its end is this.
    Shell(Ended),
    /// Start the machine anew.
    Reboot,
    /// Switch it off.
    Poweroff,
}

/// What the first process is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) action: Action,
    pub(super) on_failure: OnFailure,
}

impl Plan {
    /// What comes after `ended`; `has_shell`: whether there is one.
    pub(super) const fn next(self, ended: Ended, has_shell: bool) -> Next {
        match (ended, self.on_failure) {
            (Ended::Success, _) if has_shell => Next::Shell(Ended::ShellOfEnd),
            (Ended::Success | Ended::ShellOfEnd, _) => Next::Poweroff,
            (Ended::ShellOfFailure, _) => Next::Again,
            (Ended::Failure, OnFailure::Reboot) => Next::Reboot,
            (Ended::Failure, OnFailure::Poweroff) => Next::Poweroff,
            (Ended::Failure, OnFailure::Shell) if has_shell => Next::Shell(Ended::ShellOfFailure),
            (Ended::Failure, OnFailure::Retry | OnFailure::Shell) => Next::Retry,
        }
    }
}

/// Times between tries: 1 s, doubled up to a minute.
#[derive(Debug)]
pub(super) struct Delays {
    next: Duration,
}

impl Default for Delays {
    fn default() -> Self {
        Self { next: Duration::from_secs(1) }
    }
}

impl Delays {
    /// The time to wait this time.
    pub(super) fn next(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(DELAY_MAX);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(on_failure: OnFailure) -> Plan {
        Plan { action: Action::Boot, on_failure }
    }

    #[test]
    fn a_failure_is_followed_by_what_was_asked_for() {
        let after = |on_failure, has_shell| plan(on_failure).next(Ended::Failure, has_shell);
        assert_eq!(after(OnFailure::Retry, true), Next::Retry);
        assert_eq!(after(OnFailure::Reboot, true), Next::Reboot);
        assert_eq!(after(OnFailure::Poweroff, true), Next::Poweroff);
        assert_eq!(after(OnFailure::Shell, true), Next::Shell(Ended::ShellOfFailure));
        assert_eq!(after(OnFailure::Shell, false), Next::Retry);
    }

    #[test]
    fn success_ends_in_a_shell_or_switched_off() {
        for on_failure in
            [OnFailure::Retry, OnFailure::Reboot, OnFailure::Poweroff, OnFailure::Shell]
        {
            let plan = plan(on_failure);
            assert_eq!(plan.next(Ended::Success, true), Next::Shell(Ended::ShellOfEnd));
            assert_eq!(plan.next(Ended::Success, false), Next::Poweroff);
            assert_eq!(plan.next(Ended::ShellOfEnd, true), Next::Poweroff);
            assert_eq!(plan.next(Ended::ShellOfFailure, true), Next::Again);
        }
    }

    #[test]
    fn tries_become_rarer_up_to_a_minute() {
        let mut delays = Delays::default();
        let seconds: Vec<_> = (0..8).map(|_| delays.next().as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
