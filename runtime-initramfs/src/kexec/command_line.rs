//! The command line of the second kernel: the one that was signed, then what the operator appends.
//!
//! The words come from the manifest, and after them from each `phase.append=` of this kernel's own command line (or
//! `--append`), in order; the kernel lets a later word replace an earlier one. Nothing else of the own command line is
//! handed on, and no word of it that begins with `phase.`: these said what this boot was to do. A second boot client
//! is given its words in the manifest or by `phase.append=`, as in `phase.append=phase.channel=testing`.
//! Spec: Documentation/admin-guide/kernel-parameters; `COMMAND_LINE_SIZE` of arch/arm64 and arch/x86.

use std::fmt;

use phase_core::escape::Quoted;

/// `COMMAND_LINE_SIZE` of arm64 and x86 is 2,048 with the end mark; the kernel cuts off what is longer.
pub const COMMAND_LINE_MAX: usize = 2047;

/// Why there is no command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It has this many octets, more than [`COMMAND_LINE_MAX`].
    TooLong(usize),
    /// This part has something but printable ASCII.
    Unprintable(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(len) => write!(
                f,
                "the second kernel's command line has {len} octets, and the kernel reads {COMMAND_LINE_MAX}: shorten \
                 the manifest's, or what is appended"
            ),
            Self::Unprintable(part) => {
                write!(
                    f,
                    "the second kernel's command line has other characters than printable ASCII: {}",
                    Quoted(part)
                )
            }
        }
    }
}

impl std::error::Error for Error {}

/// Joins the manifest's command line, where it has one, and what is appended.
///
/// # Errors
/// A line that the second kernel would not read as it is meant.
pub fn join<'a>(
    manifest: Option<&'a str>,
    appended: impl IntoIterator<Item = &'a str>,
) -> Result<String, Error> {
    let mut line = String::new();
    for part in manifest.into_iter().chain(appended) {
        let part = part.trim_ascii();
        if !part.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
            return Err(Error::Unprintable(part.to_owned()));
        }
        if !line.is_empty() && !part.is_empty() {
            line.push(' ');
        }
        line.push_str(part);
    }
    if line.len() > COMMAND_LINE_MAX { Err(Error::TooLong(line.len())) } else { Ok(line) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_follows_what_was_signed() {
        assert_eq!(
            join(Some("console=ttyS0 quiet "), ["loglevel=7", "", "init=/bin/sh"]).unwrap(),
            "console=ttyS0 quiet loglevel=7 init=/bin/sh"
        );
        assert_eq!(join(None, ["quiet\n"]).unwrap(), "quiet");
        assert_eq!(join(Some(""), []).unwrap(), "");
    }

    #[test]
    fn a_line_that_the_kernel_would_cut_off_is_refused() {
        let longest = "x".repeat(COMMAND_LINE_MAX);
        assert_eq!(join(Some(&longest), []).unwrap(), longest);
        assert_eq!(join(Some(&longest), ["y"]), Err(Error::TooLong(COMMAND_LINE_MAX + 2)));
        assert_eq!(join(Some(&longest[1..]), ["y"]), Err(Error::TooLong(COMMAND_LINE_MAX + 1)));
    }

    #[test]
    fn characters_that_a_console_would_act_on_are_refused() {
        let error = join(None, ["a\u{1b}b"]).unwrap_err();
        assert!(error.to_string().ends_with("\"a\\u{1b}b\""), "{error}");
        assert!(join(Some("a\nb"), []).is_err());
    }
}
