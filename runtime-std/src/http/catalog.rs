//! What the server serves: the current image of each channel and architecture, and manifests by digest.
//! Written by the daemon, read by requests, never both for longer than a pointer takes to copy.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use phase_core::time::Instant;

use crate::artifacts::{Image, ImageId};

/// Manifests kept by digest that are not current; enough for one change a minute over two default lifetimes.
const OLD_MANIFESTS_MAX: usize = 128;

/// A signed manifest as it is sent.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The document.
    pub document: Bytes,
    /// SHA-256 of the document.
    pub sha256: [u8; 32],
    /// Its `manifest_version`.
    pub version: u64,
    /// When it expires: seconds since 1970.
    pub expires_at: u64,
}

/// An image with its manifest.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The files.
    pub image: Image,
    /// The manifest that lists them.
    pub manifest: Manifest,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    entries: BTreeMap<ImageId, Arc<Entry>>,
    /// Manifests that were current, with the time at which each is forgotten.
    old: BTreeMap<[u8; 32], (Bytes, Instant)>,
}

/// The shared catalog.
#[derive(Debug, Default)]
pub struct Catalog(RwLock<Arc<Contents>>);

impl Catalog {
    fn read(&self) -> Arc<Contents> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Contents)) {
        let mut contents = self.0.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut contents));
    }

    /// Serves `entry` in place of what was served for its image; a manifest that is replaced stays reachable by its
    /// digest for `keep`.
    pub fn put(&self, now: Instant, entry: Entry, keep: Duration) {
        self.change(|contents| {
            let id = entry.image.id.clone();
            let current = entry.manifest.sha256;
            if let Some(before) = contents.entries.insert(id, Arc::new(entry)) {
                contents.retire(now, &before.manifest, keep);
            }
            contents.old.remove(&current);
        });
    }

    /// Serves this image no longer; its manifest stays reachable by its digest for `keep`.
    pub fn remove(&self, now: Instant, id: &ImageId, keep: Duration) {
        self.change(|contents| {
            if let Some(before) = contents.entries.remove(id) {
                contents.retire(now, &before.manifest, keep);
            }
        });
    }

    /// The current entry of an image.
    #[must_use]
    pub fn get(&self, id: &ImageId) -> Option<Arc<Entry>> {
        self.read().entries.get(id).cloned()
    }

    /// Every current entry.
    #[must_use]
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        self.read().entries.values().cloned().collect()
    }

    /// The manifest with this digest, current or kept.
    #[must_use]
    pub fn manifest(&self, now: Instant, sha256: &[u8; 32]) -> Option<Bytes> {
        let contents = self.read();
        let current = contents.entries.values().map(|e| &e.manifest).find(|m| m.sha256 == *sha256);
        let kept = || contents.old.get(sha256).filter(|(_, until)| now < *until);
        current.map(|m| m.document.clone()).or_else(|| kept().map(|(document, _)| document.clone()))
    }
}

impl Contents {
    fn retire(&mut self, now: Instant, manifest: &Manifest, keep: Duration) {
        self.old.retain(|_, (_, until)| now < *until);
        if self.old.len() >= OLD_MANIFESTS_MAX
            && let Some(first) =
                self.old.iter().min_by_key(|(_, (_, until))| *until).map(|(k, _)| *k)
        {
            self.old.remove(&first);
        }
        self.old.insert(manifest.sha256, (manifest.document.clone(), now + keep));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(document: &'static [u8]) -> Entry {
        let id = ImageId { channel: "stable".into(), arch: "arm64".into() };
        let image = Image { id, directory: "/".into(), version: "1".into(), artifacts: vec![] };
        let document = Bytes::from_static(document);
        let sha256 = <sha2::Sha256 as sha2::Digest>::digest(&document).into();
        Entry { image, manifest: Manifest { document, sha256, version: 1, expires_at: 0 } }
    }

    #[test]
    fn replaced_manifests_are_kept_by_digest_for_their_time() {
        let catalog = Catalog::default();
        let keep = Duration::from_secs(7200);
        let (first, second) = (entry(b"first"), entry(b"second"));
        let (a, b) = (first.manifest.sha256, second.manifest.sha256);
        let after = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        catalog.put(after(0), first.clone(), keep);
        catalog.put(after(10), second, keep);
        assert_eq!(catalog.manifest(after(7209), &a).as_deref(), Some(&b"first"[..]));
        assert_eq!(catalog.manifest(after(7210), &a), None);
        assert_eq!(catalog.manifest(after(9999), &b).as_deref(), Some(&b"second"[..]));
        catalog.put(after(20), first, keep);
        assert_eq!(catalog.manifest(after(9999), &a).as_deref(), Some(&b"first"[..]));
        let id = catalog.entries()[0].image.id.clone();
        catalog.remove(after(30), &id, keep);
        assert!(catalog.get(&id).is_none());
        assert!(catalog.manifest(after(40), &a).is_some());
    }

    #[test]
    fn the_number_of_kept_manifests_is_bounded() {
        let catalog = Catalog::default();
        for n in 0..1000_u32 {
            let mut entry = entry(b"");
            entry.manifest.sha256[..4].copy_from_slice(&n.to_be_bytes());
            catalog.put(Instant::ZERO, entry, Duration::from_secs(u64::from(n) + 1));
        }
        assert_eq!(catalog.read().old.len(), OLD_MANIFESTS_MAX);
    }
}
