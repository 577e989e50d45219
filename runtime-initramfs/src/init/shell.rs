//! A shell on the console, where the initramfs has one.
//!
//! It leads a session of its own on the device behind the console, so that Ctrl-C and job control work: the console
//! itself cannot be a controlling terminal.
//! Spec: setsid(2), tty(4); Documentation/ABI/testing/sysfs-tty, `/sys/class/tty/console/active`.

use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, execve, setsid};

use super::supervise::unblock_signals;
use crate::sys;

/// Programs that are shells, and how they are called.
const SHELLS: &[(&CStr, &[&CStr])] = &[
    (c"/bin/sh", &[c"-sh"]),
    (c"/bin/busybox", &[c"sh", c"-l"]),
    (c"/usr/bin/sh", &[c"-sh"]),
    (c"/usr/bin/busybox", &[c"sh", c"-l"]),
];

const ENVIRONMENT: &[&CStr] = &[c"HOME=/", c"PATH=/usr/sbin:/usr/bin:/sbin:/bin", c"TERM=vt102"];

/// What a shell ends with that could not be executed, as of sh(1).
const NOT_EXECUTED: u8 = 126;

/// A shell that is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shell {
    program: &'static CStr,
    arguments: &'static [&'static CStr],
}

impl Shell {
    /// The first one that is there.
    pub(super) fn find() -> Option<Self> {
        let is_there =
            |program: &CStr| program.to_str().is_ok_and(|path| Path::new(path).is_file());
        let found = SHELLS.iter().find(|(program, _)| is_there(program));
        found.map(|(program, arguments)| Self { program, arguments })
    }

    /// Starts it on the console.
    ///
    /// # Errors
    /// What fork(2) says.
    pub(super) fn start(self) -> Result<Pid, Errno> {
        sys::process::fork(|| {
            // Without a terminal of its own it still is a shell.
            let _ = take_console();
            unblock_signals();
            // Returns only when it failed; the exit status says so.
            let _ = execve(self.program, self.arguments, ENVIRONMENT);
            NOT_EXECUTED
        })
    }
}

/// Makes the console's device standard input and output, and the controlling terminal.
fn take_console() -> io::Result<()> {
    setsid()?;
    let terminal = open(&device())?;
    dup2_stdin(&terminal)?;
    dup2_stdout(&terminal)?;
    dup2_stderr(&terminal)?;
    sys::process::take_terminal(terminal.as_fd())?;
    Ok(())
}

/// Opens a terminal for reading and writing.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(path)
}

/// The device behind the console: the last one that is active.
fn device() -> PathBuf {
    let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let name = active.split_ascii_whitespace().next_back().unwrap_or("console");
    Path::new("/dev").join(name)
}
