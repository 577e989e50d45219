//! The words after `--trust`: peer ids, release keys and trust files.

use std::fs::File;
use std::io::{self, Read as _};

use phase_core::escape::Escaped;
use phase_core::limits::TRUST_FILE_MAX;
use phase_core::select::ClockFloor;
use phase_core::time::UnixTime;
use phase_core::wire::multiaddr::Address;
use phase_core::wire::trust::{self, NO_KEY, Trust, Word};

use crate::clock::{EPOCH, unix_time};

/// Why a `--trust` was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It looks like a key and is none.
    #[error("--trust: {0}")]
    Word(trust::Error),
    /// It is no key, and no file of that name can be read.
    #[error(
        "--trust {}: {}, and as a trust file: {source}",
        Escaped(.word), NO_KEY
    )]
    Unreadable {
        /// The word.
        word: String,
        /// Why the file cannot be read.
        source: io::Error,
    },
    /// A trust file with a bad line; nothing of it is used.
    #[error("--trust {}: {error}", Escaped(.path))]
    File {
        /// The file.
        path: String,
        /// The line and what is wrong with it.
        error: trust::Error,
    },
    /// The words are right and do not fit together.
    #[error("--trust: {0}")]
    Whole(trust::Error),
}

/// Reads all words; none at all is an empty store.
///
/// # Errors
/// The first [`Error`].
pub fn load(words: &[String]) -> Result<Trust, Error> {
    load_with_bootstraps(words).map(|(trust, _)| trust)
}

/// As [`load`]; also the `bootstrap` lines of the files.
///
/// # Errors
/// The first [`Error`].
pub fn load_with_bootstraps(words: &[String]) -> Result<(Trust, Vec<Address>), Error> {
    let mut trust = Trust::default();
    let mut bootstraps = Vec::new();
    for word in words {
        add(&mut trust, &mut bootstraps, word)?;
    }
    if !words.is_empty() {
        trust.check().map_err(Error::Whole)?;
    }
    Ok((trust, bootstraps))
}

/// The earliest time it can be: by this machine's clock, or by what the program and the trust store know.
#[must_use]
pub fn earliest_now(trust: &Trust) -> UnixTime {
    ClockFloor::of(trust, EPOCH, Some(unix_time())).floor()
}

fn add(trust: &mut Trust, bootstraps: &mut Vec<Address>, word: &str) -> Result<(), Error> {
    match trust.add_key_or_file(word).map_err(Error::Word)? {
        Word::Key => return Ok(()),
        Word::File => {}
    }
    let text = read(word).map_err(|source| Error::Unreadable { word: word.to_owned(), source })?;
    trust.add_file(&text).map_err(|error| Error::File { path: word.to_owned(), error })?;
    bootstraps.extend(trust::bootstraps(&text));
    Ok(())
}

/// Reads a file, but no more of it than a trust file can have and still be refused for its length.
fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let limit = u64::try_from(TRUST_FILE_MAX + 1).unwrap_or(u64::MAX);
    File::open(path)?.take(limit).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const PEER: &str = "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV";
    const KEY: &str = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn message(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        load(&words).unwrap_err().to_string()
    }

    #[test]
    fn peer_ids_keys_and_files_add_up() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "# lab\nrelease {KEY} channels=stable").unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        assert_eq!(load(&[PEER.to_owned()]).unwrap().mode(), trust::Mode::Pinned);
        assert_eq!(load(&[KEY.to_owned()]).unwrap().mode(), trust::Mode::ReleaseOnly);
        let both = load(&[path, PEER.to_owned()]).unwrap();
        assert_eq!((both.mode(), both.is_single_key()), (trust::Mode::Pinned, false));
        assert_eq!(load(&[]).unwrap().mode(), trust::Mode::Unpinned);
    }

    #[test]
    fn bootstraps_of_files_are_read_too() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let bootstrap = format!("/ip4/192.0.2.1/tcp/4001/p2p/{PEER}");
        writeln!(file, "release {KEY}\nbootstrap {bootstrap}").unwrap();
        let words = [file.path().to_str().unwrap().to_owned(), PEER.to_owned()];
        let (_, bootstraps) = load_with_bootstraps(&words).unwrap();
        assert_eq!(bootstraps.iter().map(ToString::to_string).collect::<Vec<_>>(), [bootstrap]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(message(&["12D3KooWnonsense"]).contains("is not an Ed25519 peer id"));
        assert!(message(&["ed25519:00"]).contains("is not a key"));
        let missing = message(&["./no\u{1b}such"]);
        assert!(missing.contains("./no\\u{1b}such: no peer id"), "{missing}");
        assert!(missing.contains("No such file"), "{missing}");

        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "provider {PEER}\nprovide x").unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(
            message(&[path]),
            format!(
                "--trust {path}: line 2: unknown statement `provide`; known are provider, release, \
                 threshold, min-version, epoch, fallback, bootstrap"
            )
        );
    }

    #[test]
    fn a_file_without_a_key_is_an_error_and_not_a_licence() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(message(&[file.path().to_str().unwrap()]).starts_with("--trust: no key"));
        assert!(message(&["/dev/zero"]).contains("line 1: longer than 256 octets"));
    }
}
