//! The words of a command line that say whom to trust: keys, or the names of trust files.
//! Not here: reading the files.

use super::{Error, Trust};

/// What a word could have been, for whoever is told that it is neither a key nor a file that can be read.
pub const NO_KEY: &str = "no peer id (12D3KooW...), no release key (ed25519:...)";

/// What a word was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// A key; it was added.
    Key,
    /// The name of a trust file, to be given to [`Trust::add_file`].
    File,
}

impl Trust {
    /// Adds the key that a word is; every other word names a file. What has a slash is never a key, so that `./` in front
    /// of a name makes it a file's.
    ///
    /// # Errors
    /// It looks like a key and is none, or there are too many.
    pub fn add_key_or_file(&mut self, word: &str) -> Result<Word, Error> {
        if word.contains('/') {
            return Ok(Word::File);
        }
        let looks_like_a_key = word.starts_with("ed25519:") || word.starts_with("12D3KooW");
        match self.add_word(word) {
            Ok(()) => Ok(Word::Key),
            Err(error) if looks_like_a_key => Err(error),
            Err(_) => Ok(Word::File),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV";
    const KEY: &str = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    #[test]
    fn a_word_is_a_key_or_names_a_file() {
        let mut trust = Trust::default();
        for (word, what) in [
            (PEER, Word::Key),
            (KEY, Word::Key),
            ("trust.conf", Word::File),
            ("./12D3KooW", Word::File),
            ("", Word::File),
        ] {
            assert_eq!(trust.add_key_or_file(word), Ok(what), "{word}");
        }
        assert_eq!(trust.keys().count(), 2);
    }

    #[test]
    fn what_looks_like_a_key_and_is_none_is_not_looked_for_as_a_file() {
        for word in ["12D3KooWnonsense", "ed25519:00"] {
            let mut trust = Trust::default();
            assert!(trust.add_key_or_file(word).is_err(), "{word}");
            assert_eq!(trust.keys().count(), 0);
        }
    }
}
