//! The most memory that a process ever had: read in the moment of its end, before the kernel takes it back.
//! Spec: ptrace(2), `PTRACE_EVENT_EXIT`; proc(5), `VmHWM`.

use std::io;
use std::process::{Command, Stdio};

use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use phase_tests::netns::Host;

use crate::Error;

/// Runs `command` on `host` to its end.
///
/// # Errors
/// When it cannot be started or traced, or ends with an exit code other than 0.
pub(super) fn resident_kib(host: &Host, command: &Command) -> Result<u64, Error> {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args());
    copy.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            copy.env(key, value);
        }
    }
    // All from one thread: the kernel knows a tracer by its thread.
    let kib = host.namespace.inside(|| {
        let mut child = copy.spawn()?;
        let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
        ptrace::seize(pid, Options::PTRACE_O_TRACEEXIT)?;
        let kib = until_its_end(pid)?;
        let status = child.wait()?;
        Ok(status.success().then_some(kib))
    })?;
    let failed = || Error::Unexpected {
        what: format!("{command:?}"),
        found: "it ended without a result".to_owned(),
    };
    kib.ok_or_else(failed)
}

fn until_its_end(pid: Pid) -> io::Result<u64> {
    loop {
        let status = waitpid(pid, Some(WaitPidFlag::__WALL))?;
        if let WaitStatus::Stopped(_, signal) = status {
            ptrace::cont(pid, signal)?;
            continue;
        }
        if !matches!(status, WaitStatus::PtraceEvent(..)) {
            return Err(io::Error::other(format!("it did not end but {status:?}")));
        }
        let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        ptrace::detach(pid, None)?;
        return number.ok_or_else(|| io::ErrorKind::InvalidData.into());
    }
}
