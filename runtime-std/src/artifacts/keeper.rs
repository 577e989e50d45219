//! Keeps knowing what the artifacts directory holds, on a thread of its own: waits for a change, looks, waits
//! until it settles, hashes, and tells. Requests never wait for it and cannot make it work.
//! Not here: what is done with an image.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::hash::{self, Cache};
use super::scan::{self, FoundImage, scan};
use super::settle::{SETTLE, Settler};
use super::warning::{Reason, Warning};
use super::watch::Watch;
use super::{Fingerprint, Image, ImageId, Role};
use crate::clock::{self, Clock};

/// How often the directory is looked at without being told of a change: network file systems tell of none.
const RESCAN: Duration = Duration::from_secs(60);

/// How long to collect changes before looking.
const GATHER: Duration = Duration::from_millis(50);

/// The architectures that are configured for a channel; channels that are not listed may hold any.
pub type Expected = BTreeMap<String, BTreeSet<String>>;

/// What the keeper tells.
#[derive(Debug)]
pub enum Change {
    /// An image is whole: new, or other than before (possibly only in its open files).
    Ready(Image),
    /// An image can no longer be served.
    Gone(ImageId, Gone),
    /// What is missing or ignored is other than before.
    Warnings {
        /// What the operator was not told before.
        fresh: Vec<Warning>,
        /// Everything.
        all: Vec<Warning>,
    },
    /// The directory itself cannot be read; every image is gone.
    Unreadable(scan::Error),
    /// A file of an image cannot be read.
    NotHashed(ImageId, hash::Error),
    /// Changes are not reported by the system; they are noticed within a minute.
    NotWatched(notify::Error),
    /// The directory was looked at: everything above is told. `images` are settled or not.
    Looked {
        /// How many images lie there.
        images: usize,
        /// How many of them are not whole yet.
        unsettled: usize,
    },
}

/// Why an image is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Its kernel or directory was removed.
    Removed,
    /// One of its files is being rewritten in place.
    Rewritten,
}

#[derive(Debug)]
enum Signal {
    Changed,
    Rescan(Option<Expected>),
    Stop,
}

/// A handle on the thread; dropping it ends the thread.
#[derive(Debug)]
pub struct Keeper {
    signals: mpsc::Sender<Signal>,
}

impl Keeper {
    /// Starts keeping `root`, telling `tell` on the keeper's thread. `tell` returns whether to go on.
    ///
    /// # Errors
    /// When `root` cannot be read now, or no thread can be had.
    pub fn start(
        root: &Path,
        expected: Expected,
        clock: Clock,
        tell: impl FnMut(Change) -> bool + Send + 'static,
    ) -> Result<Self, StartError> {
        scan(root)?;
        let (signals, inbox) = mpsc::channel();
        let work = Work {
            root: root.to_owned(),
            expected,
            clock,
            watch: None,
            signals: signals.clone(),
            settler: Settler::default(),
            cache: Cache::default(),
            ready: BTreeMap::new(),
            told: BTreeSet::new(),
            tell: Box::new(tell),
            going: true,
        };
        thread::Builder::new().name("artifacts".into()).spawn(move || work.run(&inbox))?;
        Ok(Self { signals })
    }

    /// Looks at the directory again, hashes nothing that is known, and repeats every warning.
    pub fn rescan(&self, expected: Option<Expected>) {
        // The thread ends only with the process or after the receiver of its changes.
        let _ended = self.signals.send(Signal::Rescan(expected));
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ended = self.signals.send(Signal::Stop);
    }
}

/// Why a keeper does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory cannot be read.
    #[error(transparent)]
    Directory(#[from] scan::Error),
    /// No thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

struct Work {
    root: PathBuf,
    expected: Expected,
    clock: Clock,
    watch: Option<Watch>,
    signals: mpsc::Sender<Signal>,
    settler: Settler,
    cache: Cache,
    ready: BTreeMap<ImageId, Image>,
    told: BTreeSet<Warning>,
    tell: Box<dyn FnMut(Change) -> bool + Send>,
    going: bool,
}

impl Work {
    fn run(mut self, inbox: &mpsc::Receiver<Signal>) {
        self.watch();
        while self.going {
            let wait = self.look();
            match inbox.recv_timeout(wait) {
                Ok(Signal::Changed) => thread::sleep(GATHER),
                Ok(Signal::Rescan(expected)) => {
                    if let Some(expected) = expected {
                        self.expected = expected;
                    }
                    self.told.clear();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn tell(&mut self, change: Change) {
        self.going = self.going && (self.tell)(change);
    }

    fn watch(&mut self) {
        let Ok(root) = self.root.canonicalize() else { return };
        let signals = self.signals.clone();
        let wake = move || drop(signals.send(Signal::Changed));
        match Watch::start(&root, wake, self.clock) {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => self.tell(Change::NotWatched(error)),
        }
    }

    /// Looks once and tells what is different; returns how long to wait for a change before the next look.
    fn look(&mut self) -> Duration {
        if let Some(watch) = &self.watch {
            watch.take_pending();
        }
        let mut seen = match scan(&self.root) {
            Ok(seen) => seen,
            Err(error) => return self.lost(error),
        };
        if self.watch.is_none() {
            self.watch();
        }
        self.expect(&mut seen);
        self.warn(seen.warnings);
        let (now, wall) = (self.clock.now(), clock::since_epoch());
        let watch = self.watch.as_ref();
        let is_written = |path: &Path| watch.is_some_and(|w| w.is_written(now, path));
        let observed = self.settler.observe(now, wall, &seen.images, is_written);
        for id in observed.gone {
            self.gone(id, Gone::Removed);
        }
        let unsettled = observed.unsettled.len();
        for id in observed.unsettled {
            if self.ready.get(&id).is_some_and(|image| !image.is_unchanged()) {
                self.gone(id, Gone::Rewritten);
            }
        }
        let mut wait = observed.look_again.unwrap_or(RESCAN);
        for id in &observed.settled {
            if let Some(found) = seen.images.iter().find(|image| image.id == *id)
                && !self.hash(found)
            {
                wait = wait.min(SETTLE);
            }
        }
        self.cache.retain(seen.images.iter().flat_map(|image| &image.files));
        self.tell(Change::Looked { images: seen.images.len(), unsettled });
        wait
    }

    fn lost(&mut self, error: scan::Error) -> Duration {
        self.watch = None;
        self.settler = Settler::default();
        for id in self.ready.keys().cloned().collect::<Vec<_>>() {
            self.gone(id, Gone::Removed);
        }
        let warning =
            Warning { place: String::new(), reason: Reason::Unreadable(std::io::ErrorKind::Other) };
        if self.told.insert(warning) {
            self.tell(Change::Unreadable(error));
        }
        // Nothing tells of the directory coming back.
        Duration::from_secs(2)
    }

    fn gone(&mut self, id: ImageId, why: Gone) {
        if self.ready.remove(&id).is_some() {
            self.tell(Change::Gone(id, why));
        }
    }

    /// Applies the configured architectures of each channel.
    fn expect(&self, seen: &mut scan::Scan) {
        let listed =
            |id: &ImageId| self.expected.get(&id.channel).is_none_or(|a| a.contains(&id.arch));
        for image in seen.images.iter().filter(|image| !listed(&image.id)) {
            let warning = Warning { place: image.id.to_string(), reason: Reason::NotConfigured };
            seen.warnings.push(warning);
        }
        seen.images.retain(|image| listed(&image.id));
        for (channel, archs) in &self.expected {
            for arch in archs {
                let id = ImageId { channel: channel.clone(), arch: arch.clone() };
                let place = id.to_string();
                let warned =
                    |w: &Warning| w.place == place && w.reason == Reason::Missing(Role::Kernel);
                let found = seen.images.iter().any(|image| image.id == id);
                if !found && !seen.warnings.iter().any(warned) {
                    seen.warnings.push(Warning { place, reason: Reason::ConfiguredAndMissing });
                }
            }
        }
    }

    fn warn(&mut self, warnings: Vec<Warning>) {
        let current: BTreeSet<_> = warnings.into_iter().collect();
        if current == self.told {
            return;
        }
        let fresh = current.difference(&self.told).cloned().collect();
        let all = current.iter().cloned().collect();
        self.told = current;
        self.tell(Change::Warnings { fresh, all });
    }

    /// Hashes an image and tells; false when it must be tried again soon.
    fn hash(&mut self, found: &FoundImage) -> bool {
        let failed = match self.cache.hash_image(found) {
            Ok(image) if still_there(found) && image.is_unchanged() => {
                self.ready.insert(found.id.clone(), image.clone());
                self.tell(Change::Ready(image));
                return true;
            }
            Ok(_) => None,
            Err(hash::Error::Changing { .. }) => None,
            Err(error @ hash::Error::Unreadable { .. }) => Some(error),
        };
        self.settler.retry(&found.id);
        if self.ready.get(&found.id).is_some_and(|image| !image.is_unchanged()) {
            self.gone(found.id.clone(), Gone::Rewritten);
        }
        let again_soon = failed.is_none();
        if let Some(error) = failed {
            self.gone(found.id.clone(), Gone::Removed);
            self.tell(Change::NotHashed(found.id.clone(), error));
        }
        !again_soon
    }
}

/// Whether every path still leads to the file that was hashed.
fn still_there(found: &FoundImage) -> bool {
    found.files.iter().all(|file| {
        fs::symlink_metadata(&file.path).is_ok_and(|now| Fingerprint::of(&now) == file.fingerprint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::io::{Seek as _, Write as _};
    use std::sync::mpsc::Receiver;

    /// Longer than any step takes on a busy machine; a step that never comes fails the test.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn keep(root: &Path) -> (Keeper, Receiver<Change>) {
        let (sender, changes) = mpsc::channel();
        let tell = move |change| sender.send(change).is_ok();
        (Keeper::start(root, Expected::new(), Clock::start(), tell).unwrap(), changes)
    }

    fn write(root: &Path, path: &str, content: &[u8]) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn next<T>(changes: &Receiver<Change>, mut wanted: impl FnMut(Change) -> Option<T>) -> T {
        loop {
            let change = changes.recv_timeout(PATIENCE).expect("the keeper tells in time");
            if let Some(found) = wanted(change) {
                return found;
            }
        }
    }

    fn next_ready(changes: &Receiver<Change>) -> Image {
        next(changes, |change| if let Change::Ready(image) = change { Some(image) } else { None })
    }

    fn next_gone(changes: &Receiver<Change>) -> (String, Gone) {
        next(changes, |change| {
            if let Change::Gone(id, why) = change { Some((id.to_string(), why)) } else { None }
        })
    }

    #[test]
    fn images_come_change_and_go() {
        let root = tempfile::tempdir().unwrap();
        let (_keeper, changes) = keep(root.path());
        write(root.path(), "testing/amd64/vmlinuz", b"kernel");
        let image = next_ready(&changes);
        assert_eq!(image.id.to_string(), "testing/x86_64");
        let digest: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(b"kernel").into();
        assert_eq!(image.artifacts[0].sha256, digest);

        write(root.path(), "testing/amd64/new", b"other kernel");
        fs::rename(
            root.path().join("testing/amd64/new"),
            root.path().join("testing/amd64/vmlinuz"),
        )
        .unwrap();
        let changed = next_ready(&changes);
        assert_ne!(changed.artifacts[0].sha256, digest);
        assert!(image.is_unchanged(), "the replaced file is still open and whole");

        fs::remove_file(root.path().join("testing/amd64/vmlinuz")).unwrap();
        assert_eq!(next_gone(&changes), ("testing/x86_64".into(), Gone::Removed));
    }

    #[test]
    fn a_file_rewritten_in_place_withdraws_its_image_until_it_is_whole() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "stable/arm64/vmlinuz", b"kernel");
        let (_keeper, changes) = keep(root.path());
        let before = next_ready(&changes);
        write(root.path(), "stable/arm64/vmlinuz", b"longer kernel");
        assert_eq!(next_gone(&changes), ("stable/arm64".into(), Gone::Rewritten));
        assert!(!before.is_unchanged());
        assert_eq!(next_ready(&changes).artifacts[0].size, 13);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_half_copied_kernel_is_never_ready() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("stable/arm64")).unwrap();
        let (_keeper, changes) = keep(root.path());
        next(&changes, |c| matches!(c, Change::Looked { .. }).then_some(()));
        let path = root.path().join("stable/arm64/vmlinuz");
        let mut copy = OpenOptions::new().create_new(true).write(true).open(path).unwrap();
        copy.write_all(b"first half, ").unwrap();
        // Two looks later the file has held still for longer than it must: only its writer holds it back.
        let mut quiet = 0;
        next(&changes, |change| {
            assert!(!matches!(change, Change::Ready(_)), "half a kernel is ready: {change:?}");
            quiet += u32::from(matches!(change, Change::Looked { unsettled: 1, .. }));
            (quiet == 4).then_some(())
        });
        copy.write_all(b"second half").unwrap();
        copy.rewind().unwrap();
        drop(copy);
        assert_eq!(next_ready(&changes).artifacts[0].size, 23);
    }

    #[test]
    fn what_is_missing_is_told_once_and_again_on_request() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "stable/arm64/vmlinuz", b"kernel");
        let (keeper, changes) = keep(root.path());
        let warnings = |changes: &Receiver<Change>| {
            next(
                changes,
                |c| if let Change::Warnings { fresh, .. } = c { Some(fresh) } else { None },
            )
        };
        let first = warnings(&changes);
        assert!(first.iter().any(|w| w.to_string().contains("no initramfs.img")), "{first:?}");
        next_ready(&changes);
        let listed = Expected::from([("stable".into(), BTreeSet::from(["x86_64".into()]))]);
        keeper.rescan(Some(listed));
        let second = warnings(&changes);
        let told: Vec<_> = second.iter().map(ToString::to_string).collect();
        assert!(
            told.iter().any(|w| w.starts_with("stable/x86_64: the configuration lists it")),
            "{told:?}"
        );
        assert_eq!(next_gone(&changes), ("stable/arm64".into(), Gone::Removed));
    }

    #[test]
    fn a_directory_that_vanishes_takes_its_images_along_and_brings_them_back() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("artifacts");
        write(&root, "stable/arm64/vmlinuz", b"kernel");
        let (_keeper, changes) = keep(&root);
        next_ready(&changes);
        fs::rename(&root, parent.path().join("elsewhere")).unwrap();
        assert_eq!(next_gone(&changes), ("stable/arm64".into(), Gone::Removed));
        fs::rename(parent.path().join("elsewhere"), &root).unwrap();
        next_ready(&changes);
    }
}
