//! When an image is whole: the rule that keeps half-copied files from being published.
//!
//! An image is *settled* when none of its files changed for [`SETTLE`] (by their own time stamps, or as observed
//! here where a remote file system's clock differs) and nobody is known to be writing one. It is hashed then, and
//! published only if every file is still the same afterwards.
//! Not here: looking at files, hearing of writers.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use phase_core::time::Instant;

use super::scan::FoundImage;
use super::{Fingerprint, ImageId};

/// How long nothing may change before an image counts as whole. Tools that copy write many times a second; two
/// files copied one after the other are seldom this far apart.
pub const SETTLE: Duration = Duration::from_millis(500);

/// What was last seen of one image.
#[derive(Debug)]
struct Seen {
    state: Vec<(String, Fingerprint)>,
    version: String,
    since: Instant,
    handled: bool,
}

/// Remembers when each image last changed.
#[derive(Debug, Default)]
pub struct Settler {
    images: BTreeMap<ImageId, Seen>,
}

/// What follows from one look at the directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Images that are settled and were not reported as such before.
    pub settled: Vec<ImageId>,
    /// Images that changed and are not settled.
    pub unsettled: Vec<ImageId>,
    /// Images that were there at the last look.
    pub gone: Vec<ImageId>,
    /// When to look again, if something is unsettled.
    pub look_again: Option<Duration>,
}

impl Settler {
    /// Takes note of what lies in the directory. `wall` is the time since 1970; `is_written` tells whether a path has a known writer.
    pub fn observe(
        &mut self,
        now: Instant,
        wall: Duration,
        found: &[FoundImage],
        is_written: impl Fn(&Path) -> bool,
    ) -> Observed {
        let mut observed = Observed::default();
        let gone = |id: &ImageId| !found.iter().any(|image| image.id == *id);
        observed.gone = self.images.keys().filter(|id| gone(id)).cloned().collect();
        self.images.retain(|id, _| !gone(id));
        for image in found {
            let state: Vec<_> =
                image.files.iter().map(|f| (f.name.clone(), f.fingerprint)).collect();
            let seen = self.images.entry(image.id.clone()).or_insert_with(|| Seen {
                state: state.clone(),
                version: image.version.clone(),
                since: now,
                handled: false,
            });
            if seen.state != state || seen.version != image.version {
                *seen = Seen { state, version: image.version.clone(), since: now, handled: false };
            }
            if seen.handled {
                continue;
            }
            let youngest = image.files.iter().map(|f| f.fingerprint.age(wall)).min();
            let quiet = now.since(seen.since).max(youngest.unwrap_or_default());
            if image.files.iter().any(|f| is_written(&f.path)) {
                observed.unsettled.push(image.id.clone());
                observed.look_again.get_or_insert(SETTLE);
            } else if quiet < SETTLE {
                observed.unsettled.push(image.id.clone());
                let look_again = observed.look_again.get_or_insert(SETTLE);
                *look_again = SETTLE.saturating_sub(quiet).min(*look_again);
            } else {
                seen.handled = true;
                observed.settled.push(image.id.clone());
            }
        }
        observed
    }

    /// Makes the next look report this image again: hashing it failed.
    pub fn retry(&mut self, id: &ImageId) {
        if let Some(seen) = self.images.get_mut(id) {
            seen.handled = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifacts::Role;
    use crate::artifacts::scan::FoundFile;
    use std::fs;

    const OLD: Duration = Duration::from_secs(1 << 40);

    fn found(path: &Path) -> Vec<FoundImage> {
        let fingerprint = Fingerprint::of(&fs::metadata(path).unwrap());
        let file = FoundFile {
            role: Role::Kernel,
            name: "vmlinuz".into(),
            path: path.into(),
            fingerprint,
        };
        let id = ImageId { channel: "stable".into(), arch: "arm64".into() };
        let (directory, version) = (path.into(), "1".into());
        vec![FoundImage { id, directory, version, files: vec![file] }]
    }

    fn after(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn a_file_is_settled_once_after_half_a_second_without_change() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut settler = Settler::default();
        let images = found(file.path());
        let id = images[0].id.clone();
        let mut observe = |at, images: &[FoundImage]| {
            settler.observe(after(at), Duration::ZERO, images, |_| false)
        };
        let first = observe(0, &images);
        assert_eq!((first.unsettled, first.look_again), (vec![id.clone()], Some(SETTLE)));
        assert_eq!(observe(499, &images).settled, []);
        assert_eq!(observe(500, &images).settled, vec![id.clone()]);
        assert_eq!(observe(600, &images), Observed::default());
        fs::write(file.path(), "changed").unwrap();
        assert_eq!(observe(700, &found(file.path())).unsettled, vec![id.clone()]);
        assert_eq!(observe(1200, &found(file.path())).settled, vec![id.clone()]);
        assert_eq!(observe(1300, &[]).gone, [id]);
    }

    #[test]
    fn a_file_that_is_old_by_its_time_stamps_is_settled_at_once_unless_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let images = found(file.path());
        let held = Settler::default().observe(Instant::ZERO, OLD, &images, |_| true);
        assert_eq!((held.settled.len(), held.unsettled.len()), (0, 1));
        let free = Settler::default().observe(Instant::ZERO, OLD, &images, |_| false);
        assert_eq!((free.settled.len(), free.unsettled.len()), (1, 0));
    }

    #[test]
    fn what_could_not_be_hashed_is_reported_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let images = found(file.path());
        let mut settler = Settler::default();
        let settled =
            |settler: &mut Settler| settler.observe(Instant::ZERO, OLD, &images, |_| false).settled;
        let first = settled(&mut settler);
        assert_eq!(settled(&mut settler), []);
        settler.retry(&first[0]);
        assert_eq!(settled(&mut settler), first);
    }
}
