//! Waits, on one thread, for what the program wants next, and runs the tasks beside it meanwhile; in one `ppoll` when
//! nothing can go on.
//!
//! The program is straight-line code that calls [`wait_until`] where it has to; a task is a future that runs while the
//! program waits. Who waits is woken by a task, by the time ([`wake_at`], which `embassy_time` uses) or by a file
//! descriptor ([`watch`]). Waking is remembered for each task by itself, so that only who was woken is polled: a network
//! stack wakes its runner whenever a socket is looked at, and a runner that shared a task with the looker would never
//! rest.
//!
//! Everything belongs to the thread that waits. Not here: priorities, other threads, signals.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::{TimeSpec, TimeValLike as _};
use phase_core::time::Instant;

use crate::clock;

/// Rounds in which somebody goes on by itself before the file descriptors are looked at again.
const ROUNDS: u32 = 16;

/// The longest wait at once, in microseconds: an hour.
const WAIT_MAX: u64 = 3_600_000_000;

/// What an executor did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Times that it waited and went on: what an idle machine pays for.
    pub wakeups: u64,
    /// Tasks that were polled, and looks at what the program waits for.
    pub polls: u64,
}

thread_local! {
    /// Of the thread that runs to the end of the process, which takes back what is left in it: nothing here ends with it.
    static RUNTIME: ManuallyDrop<Runtime> = const { ManuallyDrop::new(Runtime::new()) };
}

struct Runtime {
    alarms: RefCell<Vec<(u64, Waker)>>,
    watched: RefCell<Vec<(Rc<OwnedFd>, Waker)>>,
    /// Tasks that were polled before.
    tasks: RefCell<Vec<Task>>,
    /// Tasks that were not.
    spawned: RefCell<Vec<Task>>,
    /// The program's own. It is the same in every wait, so that an alarm of one that is over ends with the next.
    bell: OnceCell<Bell>,
    is_waiting: Cell<bool>,
    /// Rounds since the file descriptors were looked at.
    rounds: Cell<u32>,
    stats: Cell<Stats>,
}

impl Runtime {
    const fn new() -> Self {
        Self {
            alarms: RefCell::new(Vec::new()),
            watched: RefCell::new(Vec::new()),
            tasks: RefCell::new(Vec::new()),
            spawned: RefCell::new(Vec::new()),
            bell: OnceCell::new(),
            is_waiting: Cell::new(false),
            rounds: Cell::new(0),
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

    fn ring(&self) {
        self.flag.0.store(true, Ordering::Relaxed);
    }

    fn is_rung(&self) -> bool {
        self.flag.0.load(Ordering::Relaxed)
    }

    /// Polls if it was rung. Its alarm is taken back before: a timer that still waits sets it again.
    fn answer(
        &self,
        runtime: &Runtime,
        poll: &mut dyn FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> Poll<()> {
        if !self.flag.0.swap(false, Ordering::Relaxed) {
            return Poll::Pending;
        }
        runtime.alarms.borrow_mut().retain(|(_, waker)| !waker.will_wake(&self.waker));
        let mut stats = runtime.stats.get();
        stats.polls += 1;
        runtime.stats.set(stats);
        poll(&mut Context::from_waker(&self.waker))
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

/// Waits until `poll` is ready, at the latest until `deadline`, and runs the tasks meanwhile. `poll` is called at least
/// once.
///
/// # Panics
/// When it is called while a wait is under way, which is in a task or in `poll`: they return instead of waiting.
pub fn wait_until<T>(
    deadline: Instant,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    let mut value = None;
    RUNTIME.with(|runtime| {
        runtime.wait(deadline, &mut |cx| poll(cx).map(|ready| value = Some(ready)));
    });
    value
}

/// Waits for a future, at the latest until `deadline`: then it is dropped.
///
/// # Panics
/// As [`wait_until`].
pub fn finish_until<T>(deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    wait_until(deadline, |cx| future.as_mut().poll(cx))
}

/// Lets so much time pass.
///
/// # Panics
/// As [`wait_until`].
pub fn sleep(time: Duration) {
    let _: Option<()> = wait_until(clock::now() + time, |_| Poll::Pending);
}

/// Begins a task. It runs while the program waits.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    spawn_boxed(Box::pin(future));
}

fn spawn_boxed(future: Pin<Box<dyn Future<Output = ()>>>) {
    let task = Task { future, bell: Bell::new() };
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

impl Runtime {
    /// Runs the tasks until `poll` is ready or the deadline has come.
    ///
    /// It knows nothing of what is waited for: what every wait has of its own is only the closure.
    fn wait(&self, deadline: Instant, poll: &mut dyn FnMut(&mut Context<'_>) -> Poll<()>) {
        assert!(
            !self.is_waiting.replace(true),
            "a wait within a wait would keep the tasks from running"
        );
        let bell = self.bell.get_or_init(Bell::new);
        bell.ring();
        let mut tasks = self.tasks.take();
        loop {
            self.rounds.set(self.rounds.get() + 1);
            if self.rounds.get() == ROUNDS {
                self.look(true);
            }
            self.wake_due();
            tasks.append(&mut self.spawned.borrow_mut());
            tasks.retain_mut(|task| {
                let Task { future, bell } = task;
                bell.answer(self, &mut |cx| future.as_mut().poll(cx)).is_pending()
            });
            if bell.answer(self, poll).is_ready() || deadline <= clock::now() {
                break;
            }
            wake_at(deadline.as_micros(), &bell.waker);
            let goes_on = bell.is_rung()
                || tasks.iter().any(|task| task.bell.is_rung())
                || !self.spawned.borrow().is_empty();
            if !goes_on {
                self.look(false);
            }
        }
        self.tasks.replace(tasks);
        self.is_waiting.set(false);
    }

    fn wake_due(&self) {
        let mut alarms = self.alarms.borrow_mut();
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
    }

    /// Waits for the first alarm or file descriptor; only looks when a task goes on anyway.
    fn look(&self, goes_on: bool) {
        self.rounds.set(0);
        let alarm = self.alarms.borrow().iter().map(|(at, _)| *at).min();
        let micros = match alarm {
            _ if goes_on => Some(0),
            Some(at) => Some(at.saturating_sub(clock::monotonic_micros()).min(WAIT_MAX)),
            None => None,
        };
        let timeout = micros.map(|micros| TimeSpec::microseconds(micros.cast_signed()));
        let mut watched = self.watched.borrow_mut();
        let mut fds: Vec<PollFd<'_>> =
            watched.iter().map(|(fd, _)| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
        let polled = ppoll(&mut fds, timeout, None);
        if !goes_on {
            let mut stats = self.stats.get();
            stats.wakeups += 1;
            self.stats.set(stats);
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
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use embassy_time::Timer;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn a_wait_ends_no_earlier_than_it_should_and_costs_one_wake_up() {
        let before = clock::now();
        sleep(Duration::from_millis(20));
        assert!(clock::now().since(before) >= Duration::from_millis(20));
        assert!(stats().wakeups <= 2, "{:?}", stats());
    }

    #[test]
    fn what_is_ready_is_had_although_the_time_is_over() {
        assert_eq!(wait_until(Instant::ZERO, |_| Poll::Ready(1)), Some(1));
        assert_eq!(wait_until(Instant::ZERO, |_| Poll::<()>::Pending), None);
    }

    #[test]
    fn a_timer_in_a_future_is_waited_for() {
        let before = clock::now();
        let timer = Timer::after(embassy_time::Duration::from_millis(20));
        finish_until(before + LONG, timer).unwrap();
        assert!(clock::now().since(before) >= Duration::from_millis(20));
    }

    #[test]
    fn of_two_alarms_in_one_wait_both_come() {
        let before = clock::now();
        let [first, second] = [10, 30].map(|millis| before + Duration::from_millis(millis));
        let mut seen_first = false;
        let both = wait_until(before + LONG, |cx| {
            seen_first |= first <= clock::now() && clock::now() < second;
            for at in [second, first] {
                if clock::now() < at {
                    wake_at(at.as_micros(), cx.waker());
                }
            }
            if clock::now() < second { Poll::Pending } else { Poll::Ready(()) }
        });
        assert!(both.is_some() && seen_first);
    }

    #[test]
    fn an_alarm_of_a_wait_that_is_over_wakes_nobody() {
        let alarm = clock::now() + Duration::from_millis(5);
        let ready = wait_until(Instant::ZERO, |cx| {
            wake_at(alarm.as_micros(), cx.waker());
            Poll::Ready(())
        });
        ready.unwrap();
        let before = stats().wakeups;
        sleep(Duration::from_millis(20));
        assert_eq!(stats().wakeups, before + 1);
    }

    #[test]
    fn tasks_wake_one_another_and_go_on_in_the_next_wait() {
        let count = Rc::new(Cell::new(0));
        let counting = Rc::clone(&count);
        spawn(async move {
            loop {
                counting.set(counting.get() + 1);
                Timer::after(embassy_time::Duration::from_millis(5)).await;
            }
        });
        for wanted in [3, 5] {
            while count.get() < wanted {
                sleep(Duration::from_millis(1));
            }
        }
    }

    #[test]
    #[should_panic(expected = "a wait within a wait")]
    fn a_task_cannot_wait_for_tasks() {
        spawn(async { sleep(Duration::from_millis(1)) });
        sleep(Duration::from_millis(1));
    }

    #[test]
    fn a_file_descriptor_wakes_who_watches_it() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let fd = Rc::new(OwnedFd::from(reader));
        assert!(!is_readable_within(&fd, Duration::from_millis(10)));
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(10));
            writer.write_all(b"x").unwrap();
            std::thread::sleep(Duration::from_secs(1));
        });
        assert!(is_readable_within(&fd, LONG));
    }

    #[test]
    fn a_task_that_never_rests_keeps_nobody_from_time_and_files() {
        spawn(std::future::poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"x").unwrap();
        let fd = Rc::new(OwnedFd::from(reader));
        assert!(is_readable_within(&fd, LONG));
        sleep(Duration::from_millis(5));
    }

    #[test]
    fn a_program_that_never_waits_long_keeps_no_task_from_its_file() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"x").unwrap();
        let fd = Rc::new(OwnedFd::from(reader));
        let was_woken = Rc::new(Cell::new(false));
        let (watched, told) = (Cell::new(false), Rc::clone(&was_woken));
        spawn(std::future::poll_fn(move |cx| {
            if watched.replace(true) {
                told.set(true);
                return Poll::Ready(());
            }
            watch(&fd, cx.waker());
            Poll::Pending
        }));
        for _ in 0..=ROUNDS {
            wait_until(Instant::ZERO, |_| Poll::Ready(())).unwrap();
        }
        assert!(was_woken.get());
    }

    /// Whether `fd` is told to be readable in time.
    fn is_readable_within(fd: &Rc<OwnedFd>, limit: Duration) -> bool {
        let mut watched = false;
        let readable = wait_until(clock::now() + limit, |cx| {
            let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
            let is_ready = ppoll(&mut fds, Some(TimeSpec::microseconds(0)), None).unwrap() > 0;
            if is_ready && watched {
                return Poll::Ready(());
            }
            watched = true;
            watch(fd, cx.waker());
            Poll::Pending
        });
        readable.is_some()
    }
}
