//! Something that changes and wakes those who wait for that, on one thread.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

/// Counts changes.
#[derive(Debug, Default)]
pub struct Signal {
    count: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

/// What somebody has seen of a [`Signal`]; the first look at it is a change.
#[derive(Debug, Default)]
pub struct Seen(u64);

impl Signal {
    /// Tells a change.
    pub fn notify(&self) {
        self.count.set(self.count.get().wrapping_add(1));
        self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
    }

    /// Ready when there was a change since `seen`, which is brought up to date.
    pub fn poll_changed(&self, seen: &mut Seen, cx: &Context<'_>) -> Poll<()> {
        let count = self.count.get().wrapping_add(1);
        if seen.0 != count {
            seen.0 = count;
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_once_by_everybody() {
        let signal = Signal::default();
        let cx = Context::from_waker(Waker::noop());
        let (mut one, mut other) = (Seen::default(), Seen::default());
        assert!(signal.poll_changed(&mut one, &cx).is_ready(), "the first look");
        assert!(signal.poll_changed(&mut one, &cx).is_pending());
        signal.notify();
        signal.notify();
        assert!(signal.poll_changed(&mut one, &cx).is_ready());
        assert!(signal.poll_changed(&mut one, &cx).is_pending());
        assert!(signal.poll_changed(&mut other, &cx).is_ready());
        assert!(signal.poll_changed(&mut other, &cx).is_pending());
    }
}
