//! One image, looked at once: waits until it is settled, as [`super::keeper`] does, and hashes it. Blocking.

use std::path::Path;
use std::thread;

use super::hash::{self, Cache};
use super::scan::{self, scan};
use super::settle::Settler;
use super::warning::Warning;
use super::{Image, ImageId, canonical_arch};
use crate::clock::{self, Clock};

/// Why there is no such image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory.
    #[error(transparent)]
    Scan(#[from] scan::Error),
    /// A file.
    #[error(transparent)]
    Hash(#[from] hash::Error),
    /// There is no such image, and what the scan said of its directory.
    #[error("there is no image {id}: wanted is {id}/vmlinuz{}", because(.warnings))]
    Absent {
        /// Which was asked for.
        id: ImageId,
        /// What is wrong there.
        warnings: Vec<Warning>,
    },
}

fn because(warnings: &[Warning]) -> String {
    warnings.iter().map(|warning| format!("\n{warning}")).collect()
}

/// Takes the image `id` of `root` once nobody writes it any more, with the warnings about it. `waiting` is called
/// once if that takes time.
///
/// # Errors
/// [`Error`].
pub fn take(
    root: &Path,
    id: &ImageId,
    waiting: impl FnOnce(),
) -> Result<(Image, Vec<Warning>), Error> {
    let (clock, mut settler) = (Clock::start(), Settler::default());
    let mut waiting = Some(waiting);
    loop {
        let mut seen = scan(root)?;
        seen.images.retain(|image| image.id == *id);
        seen.warnings.retain(|warning| concerns(warning, id));
        let now = clock.now();
        let observed = settler.observe(now, clock::since_epoch(), &seen.images, |_| false);
        let Some(found) = seen.images.first() else {
            return Err(Error::Absent { id: id.clone(), warnings: seen.warnings });
        };
        match observed.look_again {
            Some(pause) => {
                if let Some(waiting) = waiting.take() {
                    waiting();
                }
                thread::sleep(pause);
            }
            None => return Ok((Cache::default().hash_image(found)?, seen.warnings)),
        }
    }
}

/// Whether a warning is about this image: its directory may be named by an alias of the architecture.
fn concerns(warning: &Warning, id: &ImageId) -> bool {
    let mut place = warning.place.split('/');
    place.next() == Some(&id.channel)
        && place.next().and_then(canonical_arch).is_none_or(|arch| arch == id.arch)
}
