//! The members of a manifest that have a charset of their own.

use crate::limits::{CMDLINE_MAX, DTB_NAME_MAX};
use crate::wire::url;

/// A kernel command line: printable ASCII. Kept as it is written in JSON, shown as it is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CommandLine<'a>(&'a str);

impl<'a> CommandLine<'a> {
    /// Takes the inside of a JSON string; `None` when it is outside the charset or too long.
    pub(super) fn from_json(raw: &'a str) -> Option<Self> {
        let line = Self(raw);
        let printable = raw.bytes().all(|c| matches!(c, b' '..=b'~'));
        let mut escaped = false;
        let known_escapes = raw.bytes().all(|c| {
            let good = !escaped || matches!(c, b'"' | b'\\');
            escaped = !escaped && c == b'\\';
            good
        });
        (printable && known_escapes && !escaped && line.chars().count() <= CMDLINE_MAX)
            .then_some(line)
    }

    /// Its characters, all of printable ASCII.
    pub fn chars(&self) -> impl Iterator<Item = char> + 'a {
        let mut rest = self.0.chars();
        core::iter::from_fn(move || match rest.next()? {
            '\\' => rest.next(),
            other => Some(other),
        })
    }
}

impl core::fmt::Display for CommandLine<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        use core::fmt::Write as _;
        self.chars().try_for_each(|c| f.write_char(c))
    }
}

impl core::fmt::Debug for CommandLine<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "CommandLine({self})")
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for CommandLine<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=str}", self.0);
    }
}

/// A relative path that is safe to make below a directory.
pub(super) fn is_dtb_name(name: &str) -> bool {
    name.len() <= DTB_NAME_MAX
        && !name.starts_with('/')
        && url::is_path(name)
        && !name.split('/').any(|segment| segment.starts_with('.'))
}
