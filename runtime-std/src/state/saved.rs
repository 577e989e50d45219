//! The state file: what the provider must not forget, as postcard with a version in front, replaced whole.
//!
//! A lost or torn file heals: sequence numbers and manifest versions begin at the present time, which is above what
//! was used before (formats 1.6). A torn one is kept beside it for inspection.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use phase_core::time::UnixTime;
use phase_core::wire::record::SEQ_MAX;
use serde::{Deserialize, Serialize};

use super::{StateDir, replace_file};

/// The layout of the file.
const FORMAT: u8 = 1;

/// No clock is right before this: 2025-11-26, when the record format was fixed.
pub const EPOCH: UnixTime = UnixTime(1_764_115_200);

/// How far the last sequence number may lie ahead of the clock.
const AHEAD_MAX: u64 = 86_400;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The last sequence number given out; 0: none.
    pub last_seq: u64,
    /// The host label in use, if it was changed after a conflict.
    pub host: Option<String>,
    /// By `{channel}/{arch}`; images that are gone are remembered too, so that their versions never go back.
    pub images: BTreeMap<String, SavedImage>,
}

/// What is remembered of one image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedImage {
    /// The last manifest version given out.
    pub manifest_version: u64,
    /// A digest over names and digests of the files that version lists.
    pub content: [u8; 32],
    /// The number of the instance name in use; 1 unless it was changed after a conflict.
    pub name_number: u16,
}

/// Why the provider must not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadClock {
    /// The clock is before [`EPOCH`].
    #[error(
        "the clock shows {0} seconds since 1970, which is before this program was made: set the clock (NTP), then start again"
    )]
    TooEarly(u64),
    /// Earlier runs signed with a clock far ahead of this one.
    #[error(
        "the clock was set back: sequence number {last} was given out and the clock shows {now}. Records signed now would count as old. \
         Set the clock; if it is right and was wrong before, wait one week and delete {file} (records expire by then), or take a new identity"
    )]
    WentBack {
        /// The last sequence number.
        last: u64,
        /// The clock, in seconds since 1970.
        now: u64,
        /// The state file's name.
        file: &'static str,
    },
}

/// Why the state cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {source}")]
pub struct Unreadable {
    path: PathBuf,
    source: io::Error,
}

impl Saved {
    /// Reads the state file. The second value is where a torn one was put.
    ///
    /// # Errors
    /// When there is one and the system does not let us read it.
    pub fn load(state: &StateDir) -> Result<(Self, Option<PathBuf>), Unreadable> {
        if let Some(saved) = Self::peek(state)? {
            return Ok((saved, None));
        }
        let path = state.saved_file();
        let aside = path.with_extension("bad");
        fs::rename(&path, &aside).map_err(|source| Unreadable { path, source })?;
        Ok((Self::default(), Some(aside)))
    }

    /// Reads the state file and leaves it as it is; `None` when it is torn.
    ///
    /// # Errors
    /// As [`Saved::load`].
    pub fn peek(state: &StateDir) -> Result<Option<Self>, Unreadable> {
        let path = state.saved_file();
        match fs::read(&path) {
            Ok(octets) => Ok(Self::decode(&octets)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Some(Self::default())),
            Err(source) => Err(Unreadable { path, source }),
        }
    }

    fn decode(octets: &[u8]) -> Option<Self> {
        let body = octets.strip_prefix(&[FORMAT])?;
        postcard::take_from_bytes(body)
            .ok()
            .filter(|(_, rest)| rest.is_empty())
            .map(|(saved, _)| saved)
    }

    /// Writes the state file; it is on the disk when this returns.
    ///
    /// # Errors
    /// As the file system says: nothing may be signed then.
    pub fn store(&self, state: &StateDir) -> io::Result<()> {
        let images = self.images.iter().map(|(id, image)| id.len() + size_of_val(image) + 16);
        let host = self.host.as_ref().map_or(0, String::len);
        let mut buffer = vec![0; 64 + host + images.sum::<usize>()];
        buffer[0] = FORMAT;
        let written = postcard::to_slice(self, &mut buffer[1..]).map_err(io::Error::other)?.len();
        replace_file(&state.saved_file(), &buffer[..=written])
    }

    /// Whether this clock may sign (formats 1.6).
    ///
    /// # Errors
    /// [`BadClock`], with what to do.
    pub fn check_clock(&self, now: UnixTime) -> Result<(), BadClock> {
        if now < EPOCH {
            return Err(BadClock::TooEarly(now.0));
        }
        if self.last_seq > now.0.saturating_add(AHEAD_MAX) {
            return Err(BadClock::WentBack { last: self.last_seq, now: now.0, file: "state.bin" });
        }
        Ok(())
    }

    /// Takes `count` sequence numbers: above all before, and no lower than the clock. Gives the first; store the
    /// state before using them.
    pub fn take_seq(&mut self, now: UnixTime, count: u32) -> u64 {
        let first = self.last_seq.saturating_add(1).max(now.0).min(SEQ_MAX);
        self.last_seq = first.saturating_add(u64::from(count)).saturating_sub(1);
        first
    }

    /// The manifest version for these contents of an image: the last one if they are the same, else a greater one,
    /// no lower than the clock. Tells whether it is new; store the state before using it then.
    pub fn manifest_version(&mut self, now: UnixTime, id: &str, content: [u8; 32]) -> (u64, bool) {
        let image = self.images.entry(id.to_owned()).or_default();
        if image.manifest_version != 0 && image.content == content {
            return (image.manifest_version, false);
        }
        image.manifest_version = image.manifest_version.saturating_add(1).max(now.0);
        image.content = content;
        (image.manifest_version, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn state() -> (tempfile::TempDir, StateDir) {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::open(parent.path().join("state")).unwrap();
        (parent, state)
    }

    #[test]
    fn state_survives_a_restart() {
        let (_parent, state) = state();
        let mut saved = Saved { host: Some("lab-2".into()), ..Saved::default() };
        saved.take_seq(NOW, 3);
        for n in 0..200 {
            saved.manifest_version(NOW, &format!("channel-{n}/arm64"), [n; 32]);
        }
        saved.store(&state).unwrap();
        assert_eq!(Saved::load(&state).unwrap(), (saved, None));
    }

    #[test]
    fn a_torn_file_is_put_aside_at_every_length() {
        let (_parent, state) = state();
        let mut saved = Saved::default();
        saved.manifest_version(NOW, "stable/arm64", [7; 32]);
        saved.store(&state).unwrap();
        let whole = fs::read(state.saved_file()).unwrap();
        for len in 0..whole.len() {
            fs::write(state.saved_file(), &whole[..len]).unwrap();
            let (loaded, aside) = Saved::load(&state).unwrap();
            assert_eq!(loaded, Saved::default(), "{len}");
            assert_eq!(fs::read(aside.unwrap()).unwrap(), &whole[..len]);
        }
        fs::write(state.saved_file(), [&whole[..], &[0]].concat()).unwrap();
        assert!(Saved::load(&state).unwrap().1.is_some(), "octets behind the end");
    }

    #[test]
    fn sequence_numbers_only_grow_whatever_the_clock_does() {
        let mut saved = Saved::default();
        assert_eq!(saved.take_seq(NOW, 2), NOW.0);
        assert_eq!(saved.take_seq(NOW, 1), NOW.0 + 2);
        assert_eq!(saved.take_seq(UnixTime(NOW.0 - 1000), 1), NOW.0 + 3);
        assert_eq!(saved.take_seq(NOW.plus(100), 1), NOW.0 + 100);
        let mut lost = Saved::default();
        assert!(lost.take_seq(NOW.plus(200), 1) > saved.last_seq, "a lost state begins above");
    }

    #[test]
    fn manifest_versions_grow_with_the_content_and_stay_without() {
        let mut saved = Saved::default();
        assert_eq!(saved.manifest_version(NOW, "a/b", [1; 32]), (NOW.0, true));
        assert_eq!(saved.manifest_version(NOW.plus(50), "a/b", [1; 32]), (NOW.0, false));
        assert_eq!(saved.manifest_version(NOW, "a/b", [2; 32]), (NOW.0 + 1, true));
        assert_eq!(saved.manifest_version(NOW, "a/b", [1; 32]), (NOW.0 + 2, true));
        assert_eq!(saved.manifest_version(NOW.plus(50), "c/d", [1; 32]), (NOW.0 + 50, true));
    }

    #[test]
    fn a_clock_that_cannot_be_right_signs_nothing() {
        let mut saved = Saved::default();
        assert_eq!(saved.check_clock(UnixTime(0)), Err(BadClock::TooEarly(0)));
        assert_eq!(saved.check_clock(NOW), Ok(()));
        saved.take_seq(NOW.plus(AHEAD_MAX), 1);
        assert_eq!(saved.check_clock(NOW), Ok(()));
        saved.take_seq(NOW, 1);
        assert!(matches!(saved.check_clock(NOW), Err(BadClock::WentBack { .. })));
    }
}
