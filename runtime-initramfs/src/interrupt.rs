//! SIGINT, SIGTERM and SIGHUP, so that a run that is interrupted gives back what it took before it ends by them.
//!
//! Not for the first process, which the kernel protects from signals that it does not handle.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::read;

use crate::executor;

/// Octets of `signalfd_siginfo`; the number of the signal is in the first four.
const SIGINFO: usize = 128;

/// Signals that are held back.
#[derive(Debug)]
pub struct Interrupts {
    fd: Rc<OwnedFd>,
    signals: SigSet,
}

impl Interrupts {
    /// Holds them back from here on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn hold() -> io::Result<Self> {
        let mut signals = SigSet::empty();
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().for_each(|s| signals.add(s));
        signals.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let fd = SignalFd::with_flags(&signals, flags)?;
        let fd = fd.as_fd().try_clone_to_owned()?;
        Ok(Self { fd: Rc::new(fd), signals })
    }

    /// Ready when there was one.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<Signal> {
        let mut information = [0; SIGINFO];
        if read(&self.fd, &mut information).is_ok_and(|len| len == SIGINFO)
            && let Some(number) = information.first_chunk::<4>()
            && let Ok(signal) = Signal::try_from(i32::from_ne_bytes(*number))
        {
            return Poll::Ready(signal);
        }
        executor::watch(&self.fd, cx.waker());
        Poll::Pending
    }

    /// Ends this process by the signal, as it would have ended without this.
    pub fn end_by(&self, signal: Signal) {
        let _ = self.signals.thread_unblock();
        let _ = raise(signal);
    }
}
