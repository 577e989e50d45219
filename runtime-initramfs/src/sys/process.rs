//! Processes: fork, and the terminal of a shell.
//! Spec: fork(2), setsid(2), `ioctl_tty(2)`.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::process;

use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid};

/// Runs `child` in a process of its own, which ends with the code that it returns.
///
/// # Errors
/// What fork(2) says; `EDEADLK` in a process with several threads, of which the child would have one and the locks of
/// all.
pub fn fork(child: impl FnOnce() -> u8) -> Result<Pid, Errno> {
    // Where /proc is not mounted nothing has run that starts threads.
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(Errno::EDEADLK);
    }
    // SAFETY: this thread is the only one, so no lock is held by another that the child lacks.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let _abort = AbortOnUnwind;
            process::exit(child().into());
        }
    }
}

/// A panic of the child must not go on in what the parent does.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        process::abort();
    }
}

/// What the process reads from.
///
/// # Errors
/// It is closed.
pub fn standard_input() -> io::Result<File> {
    // SAFETY: nothing here closes descriptor 0, and one that is closed gives an error.
    let input = unsafe { BorrowedFd::borrow_raw(libc::STDIN_FILENO) };
    Ok(File::from(input.try_clone_to_owned()?))
}

/// Makes a terminal the controlling one of this process, which must lead its session: keys such as Ctrl-C work then.
///
/// # Errors
/// What the terminal's driver says.
pub fn take_terminal(terminal: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: the request takes a number and no pointer, and the descriptor is open.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_process_with_threads_is_not_forked() {
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv());
        assert_eq!(fork(|| 0), Err(Errno::EDEADLK));
        drop(done);
        assert!(thread.join().unwrap().is_err());
    }

    #[test]
    fn what_is_no_terminal_cannot_be_taken() {
        let file = File::open("/dev/null").unwrap();
        assert_eq!(take_terminal(file.as_fd()), Err(Errno::ENOTTY));
    }
}
