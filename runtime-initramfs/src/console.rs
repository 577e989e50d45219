//! The console: one line for each step, with the time that had passed.
//!
//! ```text
//! phase-boot[  0.471] start: phase-boot 0.1.0 on Linux 6.1.0-56-cloud-arm64, aarch64
//! phase-boot[  0.912] dhcp: eth0 has 10.0.0.7/24
//! phase-boot[  3.104] failed: dhcp: exit code 5: no server answered; check the cable
//! ```
//!
//! Lines go to standard error, which is /dev/console for the first process. Results go to standard output, and are not
//! written here.

use std::fmt;
use std::io;
use std::time::Duration;

use phase_core::exit::Exit;

use crate::clock;
use crate::sys::output::{self, Output};

/// The parts of a boot, as they are named on the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Saying which program this is.
    Start,
    /// Reading what is wanted, and what happens between the other steps.
    Boot,
    /// Loading kernel modules.
    Modules,
    /// Taking interfaces up.
    Link,
    /// Getting addresses.
    Dhcp,
    /// Looking for providers.
    Discover,
    /// Fetching and verifying the manifest.
    Manifest,
    /// Fetching artifacts.
    Fetch,
    /// Verifying artifacts.
    Verify,
    /// Starting the image.
    Kexec,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Start => "start",
            Self::Boot => "boot",
            Self::Modules => "modules",
            Self::Link => "link",
            Self::Dhcp => "dhcp",
            Self::Discover => "discover",
            Self::Manifest => "manifest",
            Self::Fetch => "fetch",
            Self::Verify => "verify",
            Self::Kexec => "kexec",
        })
    }
}

/// Where the lines of one run go, and when it began.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    /// The time since the kernel's start that is shown as zero.
    start: Duration,
    quiet: bool,
}

impl Console {
    /// The console of an ordinary process: times count from here.
    #[must_use]
    pub fn of_process() -> Self {
        Self { start: clock::since_kernel_start(), quiet: false }
    }

    /// The console of the first process: times count from the kernel's start.
    #[must_use]
    pub const fn of_first_process() -> Self {
        Self { start: Duration::ZERO, quiet: false }
    }

    /// The same without lines for steps; failures are told still.
    #[must_use]
    pub const fn quiet(self, quiet: bool) -> Self {
        Self { quiet, ..self }
    }

    /// The time since the start that its lines count from.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        clock::since_kernel_start().saturating_sub(self.start)
    }

    /// Tells what a step came to.
    pub fn step(&self, step: Step, text: fmt::Arguments<'_>) {
        if !self.quiet {
            self.write(format_args!("{step}: {text}"));
        }
    }

    /// Tells that the run failed in `step`, and returns how it ends. `text`: the reason, then what to do.
    pub fn failed(&self, step: Step, exit: Exit, text: fmt::Arguments<'_>) -> Exit {
        self.write(format_args!("failed: {step}: exit code {}: {text}", exit.code()));
        exit
    }

    /// Writes a line of an explanation that was asked for.
    pub fn explain(&self, text: fmt::Arguments<'_>) {
        self.write_line(format_args!("{text}\n"));
    }

    fn write(&self, text: fmt::Arguments<'_>) {
        let elapsed = self.elapsed();
        let (seconds, millis) = (elapsed.as_secs(), elapsed.subsec_millis());
        self.write_line(format_args!("phase-boot[{seconds:3}.{millis:03}] {text}\n"));
    }

    fn write_line(&self, text: fmt::Arguments<'_>) {
        // In one piece, so that lines of the kernel do not come between. When it is closed, nobody listens.
        let _ = output::write_all(Output::Error, text.to_string().as_bytes());
    }
}

/// Writes a result to standard output at once; how the command ends if that fails. A reader that has gone has what it
/// wanted.
#[must_use]
pub fn print(text: &str) -> Exit {
    match output::write_all(Output::Result, text.as_bytes()) {
        Ok(()) => Exit::Success,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
        Err(_) => Exit::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_counts_from_its_start_and_the_first_one_from_the_kernels() {
        let process = Console::of_process();
        let first = Console::of_first_process();
        assert!(process.elapsed() < Duration::from_secs(5));
        assert!(first.elapsed() >= process.elapsed());
    }

    #[test]
    fn a_failure_is_returned_as_it_is_to_end() {
        let console = Console::of_process().quiet(true);
        let exit = console.failed(Step::Dhcp, Exit::NoNetwork, format_args!("a test"));
        assert_eq!(exit, Exit::NoNetwork);
    }
}
