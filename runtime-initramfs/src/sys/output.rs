//! Standard output and standard error, without a buffer: everything is written at once.
//!
//! The standard library's handles have locks and buffers for many threads, and a flush at the end, which are 2 KiB of code.
//! Spec: write(2), isatty(3).

use std::io;
use std::os::fd::RawFd;

/// Where text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output: results.
    Result,
    /// Standard error: the console.
    Error,
}

impl Output {
    const fn fd(self) -> RawFd {
        match self {
            Self::Result => libc::STDOUT_FILENO,
            Self::Error => libc::STDERR_FILENO,
        }
    }

    /// Whether it is a terminal.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        // SAFETY: no pointer is passed.
        unsafe { libc::isatty(self.fd()) == 1 }
    }
}

/// Writes all of `text`.
///
/// # Errors
/// What write(2) says; some of the text may be written then.
pub fn write_all(to: Output, mut text: &[u8]) -> io::Result<()> {
    while !text.is_empty() {
        // SAFETY: the pointer and the length are those of a slice.
        let count = unsafe { libc::write(to.fd(), text.as_ptr().cast(), text.len()) };
        match usize::try_from(count) {
            Ok(count) => text = text.get(count..).unwrap_or_default(),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(())
}
