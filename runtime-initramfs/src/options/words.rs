//! The arguments of a process, one at a time: flags, with or without a value, and what is no flag.
//! Spec: POSIX.1-2017 XBD 12.2, guidelines 5 (without groups), 9 and 10; long flags as of `getopt_long(3)`: `--name value` or
//! `--name=value`.
//! Not here: which flags there are.

use std::ffi::OsString;
use std::vec::IntoIter;

use super::Error;

/// An argument.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// `--name`, and what follows an equals sign; `-h` and `-V` are `help` and `version`.
    Flag(String, Option<String>),
    /// What is no flag; a `-` alone is none.
    Argument(String),
}

/// What is left of the arguments.
#[derive(Debug)]
pub(super) struct Words {
    rest: IntoIter<OsString>,
    /// `--` was there.
    no_flags: bool,
}

impl Words {
    /// `arguments`: without the name of the program.
    pub(super) fn new(arguments: Vec<OsString>) -> Self {
        Self { rest: arguments.into_iter(), no_flags: false }
    }

    /// The next argument, as a value of the flag before it or as what it is by itself.
    ///
    /// # Errors
    /// One that is not text.
    pub(super) fn value(&mut self) -> Result<Option<String>, Error> {
        self.rest.next().map(|word| word.into_string().map_err(Error::NotText)).transpose()
    }

    /// The next argument.
    ///
    /// # Errors
    /// One that is not text.
    pub(super) fn next(&mut self) -> Result<Option<Word>, Error> {
        let Some(mut word) = self.value()? else { return Ok(None) };
        if !self.no_flags && word == "--" {
            self.no_flags = true;
            match self.value()? {
                Some(next) => word = next,
                None => return Ok(None),
            }
        }
        if self.no_flags || !word.starts_with('-') || word == "-" {
            return Ok(Some(Word::Argument(word)));
        }
        let name = match word.as_str() {
            "-h" => "help",
            "-V" => "version",
            _ => word.strip_prefix("--").ok_or_else(|| Error::UnknownFlag(None, word.clone()))?,
        };
        Ok(Some(match name.split_once('=') {
            Some((name, value)) => Word::Flag(name.to_owned(), Some(value.to_owned())),
            None => Word::Flag(name.to_owned(), None),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn read(line: &str) -> Vec<Word> {
        let mut words = Words::new(line.split(' ').map(OsString::from).collect());
        std::iter::from_fn(|| words.next().unwrap()).collect()
    }

    fn flag(name: &str, value: Option<&str>) -> Word {
        Word::Flag(name.to_owned(), value.map(str::to_owned))
    }

    #[test]
    fn flags_and_arguments_are_told_apart() {
        let argument = |text: &str| Word::Argument(text.to_owned());
        assert_eq!(
            read("a - --b --c=d=e -h -V --f= -- --g -- -"),
            [
                argument("a"),
                argument("-"),
                flag("b", None),
                flag("c", Some("d=e")),
                flag("help", None),
                flag("version", None),
                flag("f", Some("")),
                argument("--g"),
                argument("--"),
                argument("-"),
            ]
        );
        assert_eq!(read("--"), []);
    }

    #[test]
    fn a_value_may_look_like_a_flag() {
        let mut words = Words::new(vec!["--a".into(), "--b".into()]);
        assert_eq!(words.next().unwrap(), Some(flag("a", None)));
        assert_eq!(words.value().unwrap().as_deref(), Some("--b"));
        assert_eq!(words.value().unwrap(), None);
    }

    #[test]
    fn what_is_no_text_or_no_flag_is_refused() {
        let next = |word: OsString| Words::new(vec![word]).next().unwrap_err().to_string();
        assert_eq!(
            next(OsString::from_vec(vec![b'a', 0xff])),
            "the argument \"a\u{fffd}\" is not text in UTF-8"
        );
        assert!(next("-x".into()).contains("-x"));
    }
}
