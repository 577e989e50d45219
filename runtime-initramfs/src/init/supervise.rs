//! The loop of the first process: prepare, let the work run, wait, and do what comes next.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::utsname::uname;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout};
use phase_core::exit::Exit;

use super::outcome::{Delays, Ended, Next, Plan};
use super::shell::{self, Shell};
use super::{modules, mounts};
use crate::cmdline::{self, Action};
use crate::console::{Console, Step};
use crate::sys;
use crate::sys::output::Output;

/// The words of the boot loader.
const COMMAND_LINE: &str = "/proc/cmdline";

/// Runs as the first process and never returns. `work` runs in a child process, once for each try; what it returns is
/// how it ended, and it has told of a failure itself. It reads its options from /proc/cmdline, whose words are known to
/// be right.
pub fn run(work: fn(&Console) -> Exit) -> ! {
    let mounts = mounts::mount_missing();
    take_console();
    let console = Console::of_first_process();
    tell_start(console);
    for mounts::Failed { at, kind, error } in mounts {
        console.step(Step::Boot, format_args!("{at} is not mounted ({kind}): {error}"));
    }
    block_signals();
    // The name is for people; nothing depends on it.
    let _ = fs::write("/proc/sys/kernel/hostname", "phase-boot");
    Supervisor { console, work, delays: Delays::default() }.run()
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Child {
    Exited(i32),
    Killed(Signal),
    /// Another process asked for the end of everything, as the programs `poweroff` and `reboot` of a shell do.
    Told(Next),
}

struct Supervisor {
    console: Console,
    work: fn(&Console) -> Exit,
    delays: Delays,
}

impl Supervisor {
    fn run(mut self) -> ! {
        let (plan, readable) = self.read_plan();
        let mut next = Next::Again;
        loop {
            let ended = match next {
                Next::Again => self.attempt(plan, readable),
                Next::Retry => {
                    let delay = self.delays.next();
                    self.console.step(
                        Step::Boot,
                        format_args!(
                            "trying again in {} s; phase.on-failure= can say otherwise",
                            delay.as_secs()
                        ),
                    );
                    thread::sleep(delay);
                    self.attempt(plan, readable)
                }
                Next::Shell(ended) => match self.shell() {
                    Ok(Child::Told(next)) => Err(next),
                    Ok(Child::Exited(_) | Child::Killed(_)) => Ok(ended),
                    Err(()) => Ok(Ended::Failure),
                },
                Next::Reboot => self.end(RebootMode::RB_AUTOBOOT, "starting the machine anew"),
                Next::Poweroff => self.end(RebootMode::RB_POWER_OFF, "switching the machine off"),
            };
            next = match ended {
                Ok(ended) => plan.next(ended, Shell::find().is_some()),
                Err(next) => next,
            };
        }
    }

    /// What the kernel command line wants, and whether all of its words can be followed.
    fn read_plan(&self) -> (Plan, bool) {
        let line = fs::read_to_string(COMMAND_LINE).unwrap_or_default();
        match cmdline::Options::parse(&line) {
            Ok(options) => (Plan { action: options.action, on_failure: options.on_failure }, true),
            Err(_) => {
                let on_failure = cmdline::on_failure_of(&line);
                (Plan { action: Action::default(), on_failure }, false)
            }
        }
    }

    /// One try, from the modules on.
    fn attempt(&self, plan: Plan, readable: bool) -> Result<Ended, Next> {
        if !readable {
            self.tell_command_line();
            return Ok(Ended::Failure);
        }
        self.load_modules();
        if plan.action == Action::Shell {
            return match self.shell() {
                Ok(Child::Told(next)) => Err(next),
                Ok(Child::Exited(_) | Child::Killed(_)) => Ok(Ended::ShellOfEnd),
                Err(()) => Ok(Ended::Failure),
            };
        }
        let child = sys::process::fork(|| {
            unblock_signals();
            (self.work)(&self.console).code()
        });
        let child = match child {
            Ok(child) => child,
            Err(errno) => {
                let error = io::Error::from(errno);
                self.failed(format_args!(
                    "no process can be started: {error}; give the machine more memory"
                ));
                return Ok(Ended::Failure);
            }
        };
        match wait_for(child) {
            Child::Exited(0) => Ok(Ended::Success),
            Child::Exited(_) => Ok(Ended::Failure),
            Child::Killed(signal) => {
                if signal == Signal::SIGKILL {
                    self.failed(format_args!(
                        "the boot client was killed, as the kernel does when memory runs out; give the machine more memory"
                    ));
                } else {
                    let number = signal as i32;
                    self.failed(format_args!(
                        "the boot client was ended by signal {number}, which is a fault of it"
                    ));
                }
                Ok(Ended::Failure)
            }
            Child::Told(next) => Err(next),
        }
    }

    fn tell_command_line(&self) {
        let line = fs::read_to_string(COMMAND_LINE).unwrap_or_default();
        if let Err(error) = cmdline::Options::parse(&line) {
            self.console.failed(
                Step::Boot,
                Exit::Usage,
                format_args!("{COMMAND_LINE}: {error}; correct it in the boot loader"),
            );
        }
    }

    fn load_modules(&self) {
        let report = match modules::load_listed() {
            Ok(None) => return,
            Ok(Some(report)) => report,
            Err(error) => {
                self.console.step(Step::Modules, format_args!("{}: {error}", modules::LIST));
                return;
            }
        };
        for failed in &report.failures {
            self.console.step(Step::Modules, format_args!("not loaded: {failed}"));
        }
        if report.loaded > 0 {
            self.console.step(
                Step::Modules,
                format_args!("{} loaded, {} there before", report.loaded, report.present),
            );
        }
    }

    /// A shell until it ends; an error when there is none.
    fn shell(&self) -> Result<Child, ()> {
        let Some(shell) = Shell::find() else {
            self.failed(format_args!(
                "there is no shell in this initramfs; put one at /bin/sh or /bin/busybox"
            ));
            return Err(());
        };
        self.console.step(Step::Boot, format_args!("a shell; leave it by exit"));
        match shell.start() {
            Ok(child) => Ok(wait_for(child)),
            Err(errno) => {
                let error = io::Error::from(errno);
                self.failed(format_args!(
                    "the shell cannot be started: {error}; give the machine more memory"
                ));
                Err(())
            }
        }
    }

    fn failed(&self, text: std::fmt::Arguments<'_>) {
        self.console.failed(Step::Boot, Exit::Internal, text);
    }

    /// Ends the machine's run. Where that is not allowed, as in a container, there is nothing left but to stay.
    fn end(&self, mode: RebootMode, what: &str) -> ! {
        self.console.step(Step::Boot, format_args!("{what}"));
        nix::unistd::sync();
        let result: Result<Infallible, Errno> = reboot(mode);
        let Err(errno) = result;
        let error = io::Error::from(errno);
        self.failed(format_args!("{what}: {error}; switch it off by hand"));
        loop {
            thread::sleep(Duration::from_secs(3600));
        }
    }
}

/// Says which program this is, on which kernel; its time is how long the kernel took until this process.
fn tell_start(console: Console) {
    // Fails for no buffer that exists.
    let Ok(kernel) = uname() else { return };
    let (name, release) = (kernel.sysname().display(), kernel.release().display());
    let (version, machine) = (env!("CARGO_PKG_VERSION"), kernel.machine().display());
    console.step(Step::Start, format_args!("phase-boot {version} on {name} {release}, {machine}"));
}

/// Standard input and output are the console, also where the kernel found none before /dev was mounted.
fn take_console() {
    if Output::Error.is_terminal() {
        return;
    }
    if let Ok(console) = shell::open(Path::new("/dev/console")) {
        // Without a console nobody sees the failure either.
        let _ = dup2_stdin(&console).and_then(|()| dup2_stdout(&console));
        let _ = dup2_stderr(&console);
    }
}

/// The signals that the first process waits for.
fn signals() -> SigSet {
    [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2].into_iter().collect()
}

/// They stay pending until they are waited for. Fails for no set of signals that exists.
fn block_signals() {
    let _ = signals().thread_block();
}

/// For a child, which inherits what is blocked.
pub(super) fn unblock_signals() {
    let _ = signals().thread_unblock();
}

/// Waits for the end of a child, and takes in every other process that ends without a parent.
fn wait_for(child: Pid) -> Child {
    loop {
        // The child may have ended before its signal is waited for.
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            match status {
                WaitStatus::Exited(pid, code) if pid == child => return Child::Exited(code),
                WaitStatus::Signaled(pid, signal, _) if pid == child => {
                    return Child::Killed(signal);
                }
                WaitStatus::StillAlive => break,
                WaitStatus::Exited(..)
                | WaitStatus::Signaled(..)
                | WaitStatus::Stopped(..)
                | WaitStatus::PtraceEvent(..)
                | WaitStatus::PtraceSyscall(_)
                | WaitStatus::Continued(_) => {}
            }
        }
        // The signals of BusyBox's programs reboot, halt and poweroff.
        let told = match signals().wait() {
            Ok(Signal::SIGTERM) => Some(Next::Reboot),
            Ok(Signal::SIGUSR1 | Signal::SIGUSR2) => Some(Next::Poweroff),
            Ok(_) | Err(_) => None,
        };
        if let Some(next) = told {
            return Child::Told(next);
        }
    }
}
