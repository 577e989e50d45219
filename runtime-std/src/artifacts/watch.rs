//! Hearing of changes below the artifacts directory, and of files that are being written.
//! Linux: inotify, which also tells when a writer closes its file; macOS: `FSEvents`, which does not.
//! Not here: looking at what changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, RecursiveMode, Watcher as _};
use phase_core::time::Instant;

use crate::clock::Clock;

/// How long a file that was written and never closed counts as being written; a copy over a network may stall,
/// a program may keep a file open for ever.
const WRITER_PATIENCE: Duration = Duration::from_secs(30);

/// Files known to be written whose names are remembered.
const WRITERS_MAX: usize = 1024;

/// Whether closing a written file is reported here.
const CLOSES_ARE_SEEN: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Files that were written and not closed yet, with the time of the last write.
#[derive(Debug, Default)]
struct Writers(Mutex<BTreeMap<PathBuf, Instant>>);

impl Writers {
    fn with<R>(&self, f: impl FnOnce(&mut BTreeMap<PathBuf, Instant>) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes note of an event; tells whether the directory may look different after it.
    fn note(&self, now: Instant, event: &Event) -> bool {
        if event.need_rescan() {
            self.with(BTreeMap::clear);
            return true;
        }
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                self.with(|writers| writers.retain(|path, _| !event.paths.contains(path)));
                true
            }
            EventKind::Access(_) => false,
            EventKind::Modify(ModifyKind::Data(_)) if CLOSES_ARE_SEEN => {
                self.with(|writers| {
                    writers.retain(|_, last| now.since(*last) < WRITER_PATIENCE);
                    for path in &event.paths {
                        if writers.len() < WRITERS_MAX {
                            writers.insert(path.clone(), now);
                        }
                    }
                });
                true
            }
            EventKind::Any
            | EventKind::Create(_)
            | EventKind::Modify(_)
            | EventKind::Remove(_)
            | EventKind::Other => true,
        }
    }

    fn is_written(&self, now: Instant, path: &Path) -> bool {
        self.with(|writers| {
            writers.get(path).is_some_and(|last| now.since(*last) < WRITER_PATIENCE)
        })
    }
}

/// A watch on a directory and all below it; ends when dropped.
#[derive(Debug)]
pub struct Watch {
    writers: Arc<Writers>,
    pending: Arc<AtomicBool>,
    _watcher: notify::RecommendedWatcher,
}

impl Watch {
    /// Watches `root` (a real path) and calls `wake` after a change, once until [`Watch::take_pending`].
    ///
    /// # Errors
    /// When the system refuses, for example because too many directories are watched already.
    pub fn start(
        root: &Path,
        wake: impl Fn() + Send + 'static,
        clock: Clock,
    ) -> Result<Self, notify::Error> {
        let writers = Arc::new(Writers::default());
        let pending = Arc::new(AtomicBool::new(false));
        let (seen, flag) = (Arc::clone(&writers), Arc::clone(&pending));
        let handler = move |event: notify::Result<Event>| {
            let changed = event.map_or(true, |event| seen.note(clock.now(), &event));
            if changed && !flag.swap(true, Ordering::AcqRel) {
                wake();
            }
        };
        let mut watcher = notify::recommended_watcher(handler)?;
        watcher.watch(root, RecursiveMode::Recursive)?;
        Ok(Self { writers, pending, _watcher: watcher })
    }

    /// Arms the next call of `wake`.
    pub fn take_pending(&self) {
        self.pending.store(false, Ordering::Release);
    }

    /// Whether somebody is known to be writing the file at `path`.
    #[must_use]
    pub fn is_written(&self, now: Instant, path: &Path) -> bool {
        self.writers.is_written(now, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{DataChange, Flag};

    fn event(kind: EventKind) -> Event {
        Event::new(kind).add_path(PathBuf::from("/a"))
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_written_file_is_written_until_it_is_closed() {
        let (writers, now) = (Writers::default(), Instant::ZERO);
        let path = Path::new("/a");
        let write = event(EventKind::Modify(ModifyKind::Data(DataChange::Any)));
        assert!(writers.note(now, &write));
        assert!(writers.is_written(now, path));
        assert!(!writers.is_written(now, Path::new("/b")));
        assert!(!writers.is_written(now + WRITER_PATIENCE, path));
        assert!(writers.note(now, &event(EventKind::Access(AccessKind::Close(AccessMode::Write)))));
        assert!(!writers.is_written(now, path));
    }

    #[test]
    fn reading_is_no_change_and_a_lost_event_is() {
        let (writers, now) = (Writers::default(), Instant::ZERO);
        assert!(!writers.note(now, &event(EventKind::Access(AccessKind::Open(AccessMode::Any)))));
        assert!(writers.note(now, &Event::new(EventKind::Other).set_flag(Flag::Rescan)));
    }
}
