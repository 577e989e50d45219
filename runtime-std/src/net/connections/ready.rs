//! Which sockets have something to do, so that idle ones cost nothing when the driver waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use phase_core::machine::ConnectionId;

/// A socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A listening one, by its number.
    Listener(usize),
    /// A connection.
    Connection(ConnectionId),
}

/// The sockets that are ready, in the order in which they became so.
#[derive(Clone, Debug, Default)]
pub(super) struct Ready(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Token>,
    /// The task that waits for one.
    task: Option<Waker>,
}

/// Wakes the driver's task for one socket.
#[derive(Debug)]
pub(super) struct Doorbell {
    token: Token,
    /// Whether the token is in the queue.
    rung: AtomicBool,
    ready: Ready,
}

impl Ready {
    /// A bell for one socket; it has not rung.
    pub(super) fn doorbell(&self, token: Token) -> Arc<Doorbell> {
        Arc::new(Doorbell { token, rung: AtomicBool::new(false), ready: self.clone() })
    }

    /// The socket that has been ready longest. Its bell must be [`Doorbell::answer`]ed before it is polled.
    pub(super) fn pop(&self) -> Option<Token> {
        self.lock().queue.pop_front()
    }

    /// Ready when a socket is.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.queue.is_empty() {
            match &mut inner.task {
                Some(task) => task.clone_from(cx.waker()),
                task => *task = Some(cx.waker().clone()),
            }
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// Nothing here can be left half done by a panic.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Doorbell {
    /// Lets it ring again.
    pub(super) fn answer(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

impl Wake for Doorbell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let task = {
            let mut inner = self.ready.lock();
            inner.queue.push_back(self.token);
            inner.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_rings_once_until_it_is_answered() {
        let ready = Ready::default();
        let bell = ready.doorbell(Token::Listener(3));
        let context = Context::from_waker(Waker::noop());
        assert!(ready.poll(&context).is_pending());
        bell.wake_by_ref();
        bell.wake_by_ref();
        assert!(ready.poll(&context).is_ready());
        assert_eq!(ready.pop(), Some(Token::Listener(3)));
        assert_eq!(ready.pop(), None);
        bell.wake_by_ref();
        assert_eq!(ready.pop(), None, "nobody answered it");
        bell.answer();
        bell.wake_by_ref();
        assert_eq!(ready.pop(), Some(Token::Listener(3)));
    }
}
