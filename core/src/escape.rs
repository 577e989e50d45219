//! Text of strangers made safe for a terminal.
//!
//! What a record may contain is restricted when it is read; records that were refused, names on the wire and mistyped
//! words are shown too, so that nothing is printed raw.
//! Not here: the form in JSON, which each runtime writes.

use core::fmt::{self, Display, Write as _};

/// Displays text on one line: control characters, and characters that turn the direction of writing, as `\u{…}`.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if is_unsafe(c) {
                write!(f, "\\u{{{:x}}}", u32::from(c))?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Displays text within quotes, so that white space at its ends is seen; else as [`Escaped`] does. In place of `{:?}`,
/// whose tables of what can be printed are large.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", Escaped(self.0))
    }
}

/// Control characters, line and paragraph separators, direction marks (Unicode UAX #9 §2) and the invisible characters
/// that make two texts look alike.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;

    use super::*;

    #[test]
    fn a_terminal_is_never_given_a_control_character() {
        let text = "a\u{1b}[31mred\r\n\u{9b}2J\u{7f}\u{202e}gpj.exe\u{e0041}\u{feff}";
        let shown = Escaped(text).to_string();
        assert_eq!(
            shown,
            "a\\u{1b}[31mred\\u{d}\\u{a}\\u{9b}2J\\u{7f}\\u{202e}gpj.exe\\u{e0041}\\u{feff}"
        );
        assert_eq!(Escaped("Büro \u{1f4bb}").to_string(), "Büro \u{1f4bb}");
    }

    #[test]
    fn white_space_at_the_ends_is_seen_within_quotes() {
        assert_eq!(Quoted(" a\tb ").to_string(), "\" a\\u{9}b \"");
    }
}
