//! The words after `--trust` and `phase.trust=`: peer ids, release keys and trust files.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};

use phase_core::limits::TRUST_FILE_MAX;
use phase_core::wire::multiaddr::Address;
use phase_core::wire::trust::{self, NO_KEY, Trust, Word};

use phase_core::escape::Quoted;

/// Why a word was refused.
#[derive(Debug)]
pub enum Error {
    /// It looks like a key and is none, or all together do not fit.
    Word(trust::Error),
    /// It is no key, and no file of that name can be read.
    Unreadable(String, io::Error),
    /// A trust file with a bad line; nothing of it is used.
    File(String, trust::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(error) => write!(f, "trust: {error}"),
            Self::Unreadable(word, source) => {
                write!(f, "trust {}: {NO_KEY}, and as a trust file: {source}", Quoted(word))
            }
            Self::File(path, error) => write!(f, "trust {}: {error}", Quoted(path)),
        }
    }
}

impl std::error::Error for Error {}

/// Reads all words, and the `bootstrap` lines of the files; none at all is an empty store.
///
/// # Errors
/// The first [`Error`].
pub fn load(words: &[String]) -> Result<(Trust, Vec<Address>), Error> {
    let mut trust = Trust::default();
    let mut bootstraps = Vec::new();
    for word in words {
        add(&mut trust, &mut bootstraps, word)?;
    }
    if !words.is_empty() {
        trust.check().map_err(Error::Word)?;
    }
    Ok((trust, bootstraps))
}

fn add(trust: &mut Trust, bootstraps: &mut Vec<Address>, word: &str) -> Result<(), Error> {
    match trust.add_key_or_file(word).map_err(Error::Word)? {
        Word::Key => return Ok(()),
        Word::File => {}
    }
    let text = read(word).map_err(|source| Error::Unreadable(word.to_owned(), source))?;
    trust.add_file(&text).map_err(|error| Error::File(word.to_owned(), error))?;
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
    use super::*;

    const PEER: &str = "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV";
    const KEY: &str = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn message(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        load(&words).unwrap_err().to_string()
    }

    #[test]
    fn peer_ids_and_keys_add_up_and_none_is_no_trust() {
        let mode = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            load(&words).unwrap().0.mode()
        };
        assert_eq!(mode(&[PEER]), trust::Mode::Pinned);
        assert_eq!(mode(&[KEY]), trust::Mode::ReleaseOnly);
        assert_eq!(mode(&[KEY, PEER]), trust::Mode::Pinned);
        assert_eq!(mode(&[]), trust::Mode::Unpinned);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(message(&["12D3KooWnonsense"]).contains("is not an Ed25519 peer id"));
        assert!(message(&["/no/such/file"]).contains("\"/no/such/file\""));
        assert!(message(&["/dev/null"]).starts_with("trust: no key"));
        assert!(message(&["/dev/zero"]).contains("line 1: longer than 256 octets"));
    }
}
