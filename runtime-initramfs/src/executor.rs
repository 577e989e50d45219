//! Runs tasks on one thread, and waits in one `ppoll` when none of them can go on.
//!
//! A task is woken by another task, by the time ([`wake_at`], which `embassy_time` uses) or by a file descriptor
//! ([`watch`]). Waking is remembered for each task by itself, so that only who was woken is polled: a network stack wakes
//! its runner whenever a socket is looked at, and a runner that shared a task with the looker would never rest.
//!
//! Everything belongs to the thread that calls [`run`]. Not here: priorities, other threads, signals.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::{TimeSpec, TimeValLike as _};

use crate::clock;

/// Rounds of tasks that go on by themselves before the file descriptors are looked at again.
const ROUNDS: u32 = 16;

/// The longest wait at once, in microseconds: an hour.
const WAIT_MAX: u64 = 3_600_000_000;

/// What an executor did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Times that it waited and went on: what an idle machine pays for.
    pub wakeups: u64,
    /// Tasks that were polled.
    pub polls: u64,
}

thread_local! {
    /// Of the thread that runs to the end of the process, which takes back what is left in it: nothing here ends with it.
    static RUNTIME: ManuallyDrop<Runtime> = const { ManuallyDrop::new(Runtime::new()) };
}

struct Runtime {
    alarms: RefCell<Vec<(u64, Waker)>>,
    watched: RefCell<Vec<(Rc<OwnedFd>, Waker)>>,
    spawned: RefCell<Vec<Task>>,
    stats: Cell<Stats>,
}

impl Runtime {
    const fn new() -> Self {
        Self {
            alarms: RefCell::new(Vec::new()),
            watched: RefCell::new(Vec::new()),
            spawned: RefCell::new(Vec::new()),
            stats: Cell::new(Stats { wakeups: 0, polls: 0 }),
        }
    }
}

/// Whether a task was woken since it was polled last.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How a task is woken, and whether it was.
struct Bell {
    flag: Arc<Flag>,
    waker: Waker,
}

impl Bell {
    fn new() -> Self {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        Self { waker: Waker::from(Arc::clone(&flag)), flag }
    }

    fn is_rung(&self) -> bool {
        self.flag.0.load(Ordering::Relaxed)
    }

    /// Polls `future` if it was woken. Its alarm is taken back before: a timer that still waits sets it again.
    fn answer<T>(&self, mut future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Poll<T> {
        if !self.flag.0.swap(false, Ordering::Relaxed) {
            return Poll::Pending;
        }
        RUNTIME.with(|runtime| {
            runtime.alarms.borrow_mut().retain(|(_, waker)| !waker.will_wake(&self.waker));
            let mut stats = runtime.stats.get();
            stats.polls += 1;
            runtime.stats.set(stats);
        });
        future.as_mut().poll(&mut Context::from_waker(&self.waker))
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    bell: Bell,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").finish_non_exhaustive()
    }
}

/// Runs `main` to its end, and beside it every task that was spawned. Those that have not ended go on in the next run.
pub fn run<T>(main: impl Future<Output = T>) -> T {
    let mut main = pin!(main);
    let bell = Bell::new();
    let mut tasks: Vec<Task> = Vec::new();
    let mut round = 0_u32;
    loop {
        wake_due();
        adopt(&mut tasks);
        tasks.retain_mut(|task| task.bell.answer(task.future.as_mut()).is_pending());
        if let Poll::Ready(value) = bell.answer(main.as_mut()) {
            RUNTIME.with(|runtime| runtime.spawned.borrow_mut().append(&mut tasks));
            return value;
        }
        adopt(&mut tasks);
        round = round.wrapping_add(1);
        let goes_on = bell.is_rung() || tasks.iter().any(|task| task.bell.is_rung());
        if !goes_on || round.is_multiple_of(ROUNDS) {
            wait(goes_on);
        }
    }
}

/// Begins a task. It runs while [`run`] does.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    let task = Task { future: Box::pin(future), bell: Bell::new() };
    RUNTIME.with(|runtime| runtime.spawned.borrow_mut().push(task));
}

/// Wakes `waker` when `at` has come, in microseconds of [`clock::monotonic_micros`]. A task has one alarm, the earliest;
/// it is over when the task is polled.
pub fn wake_at(at: u64, waker: &Waker) {
    RUNTIME.with(|runtime| {
        let mut alarms = runtime.alarms.borrow_mut();
        match alarms.iter_mut().find(|(_, other)| other.will_wake(waker)) {
            Some((earliest, _)) => *earliest = at.min(*earliest),
            None => alarms.push((at, waker.clone())),
        }
    });
}

/// Wakes `waker` once when `fd` can be read, or has an error to tell.
pub fn watch(fd: &Rc<OwnedFd>, waker: &Waker) {
    RUNTIME.with(|runtime| {
        let mut watched = runtime.watched.borrow_mut();
        let same =
            |(other, its): &(Rc<OwnedFd>, Waker)| Rc::ptr_eq(other, fd) && its.will_wake(waker);
        if !watched.iter().any(same) {
            watched.push((Rc::clone(fd), waker.clone()));
        }
    });
}

/// What was done on this thread.
#[must_use]
pub fn stats() -> Stats {
    RUNTIME.with(|runtime| runtime.stats.get())
}

fn adopt(tasks: &mut Vec<Task>) {
    RUNTIME.with(|runtime| tasks.append(&mut runtime.spawned.borrow_mut()));
}

fn wake_due() {
    RUNTIME.with(|runtime| {
        let mut alarms = runtime.alarms.borrow_mut();
        if alarms.is_empty() {
            return;
        }
        let now = clock::monotonic_micros();
        alarms.retain(|(at, waker)| {
            if *at <= now {
                waker.wake_by_ref();
            }
            *at > now
        });
    });
}

/// Waits for the first alarm or file descriptor; only looks when a task goes on anyway.
fn wait(goes_on: bool) {
    RUNTIME.with(|runtime| {
        let alarm = runtime.alarms.borrow().iter().map(|(at, _)| *at).min();
        let micros = match alarm {
            _ if goes_on => Some(0),
            Some(at) => Some(at.saturating_sub(clock::monotonic_micros()).min(WAIT_MAX)),
            None => None,
        };
        let timeout = micros.map(|micros| TimeSpec::microseconds(micros.cast_signed()));
        let mut watched = runtime.watched.borrow_mut();
        let mut fds: Vec<PollFd<'_>> =
            watched.iter().map(|(fd, _)| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
        let polled = ppoll(&mut fds, timeout, None);
        if !goes_on {
            let mut stats = runtime.stats.get();
            stats.wakeups += 1;
            runtime.stats.set(stats);
        }
        match polled {
            Ok(0) | Err(Errno::EINTR) => return,
            // Out of memory: what can be read is read later.
            Err(_) => return,
            Ok(_) => {}
        }
        let ready: Vec<bool> =
            fds.iter().map(|fd| fd.revents().is_none_or(|events| !events.is_empty())).collect();
        let mut ready = ready.into_iter();
        watched.retain(|(_, waker)| {
            let is_ready = ready.next().unwrap_or(false);
            if is_ready {
                waker.wake_by_ref();
            }
            !is_ready
        });
    });
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write as _;
    use std::time::Duration as StdDuration;

    use embassy_time::{Duration, Instant, Timer, with_timeout};

    use super::*;

    #[test]
    fn a_timer_ends_no_earlier_than_it_should_and_costs_one_wake_up() {
        let before = Instant::now();
        run(Timer::after(Duration::from_millis(20)));
        assert!(before.elapsed() >= Duration::from_millis(20));
        assert!(stats().wakeups <= 2, "{:?}", stats());
    }

    #[test]
    fn of_two_timers_in_one_task_both_end() {
        let before = Instant::now();
        run(embassy_futures::join::join(
            Timer::after(Duration::from_millis(30)),
            Timer::after(Duration::from_millis(10)),
        ));
        assert!(before.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn tasks_wake_one_another_and_go_on_in_the_next_run() {
        let count = Rc::new(Cell::new(0));
        let counting = Rc::clone(&count);
        spawn(async move {
            loop {
                counting.set(counting.get() + 1);
                Timer::after(Duration::from_millis(5)).await;
            }
        });
        let reached = |wanted| {
            let count = Rc::clone(&count);
            async move {
                while count.get() < wanted {
                    Timer::after(Duration::from_millis(1)).await;
                }
            }
        };
        run(reached(3));
        run(reached(5));
    }

    #[test]
    fn a_file_descriptor_wakes_who_watches_it() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let fd = Rc::new(OwnedFd::from(reader));
        let nothing = run(with_timeout(Duration::from_millis(10), readable(&fd)));
        assert!(nothing.is_err());
        std::thread::spawn(move || {
            std::thread::sleep(StdDuration::from_millis(10));
            writer.write_all(b"x").unwrap();
            std::thread::sleep(StdDuration::from_secs(1));
        });
        run(with_timeout(Duration::from_secs(10), readable(&fd))).unwrap();
    }

    #[test]
    fn a_task_that_never_rests_keeps_nobody_from_time_and_files() {
        spawn(async {
            loop {
                embassy_futures::yield_now().await;
            }
        });
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"x").unwrap();
        let fd = Rc::new(OwnedFd::from(reader));
        run(with_timeout(Duration::from_secs(10), readable(&fd))).unwrap();
        run(Timer::after(Duration::from_millis(5)));
    }

    /// Ends when `fd` was told to be readable.
    async fn readable(fd: &Rc<OwnedFd>) {
        let mut watched = false;
        poll_fn(|cx| {
            let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
            let is_ready = ppoll(&mut fds, Some(TimeSpec::microseconds(0)), None).unwrap() > 0;
            if is_ready && watched {
                return Poll::Ready(());
            }
            watched = true;
            watch(fd, cx.waker());
            Poll::Pending
        })
        .await;
    }
}
