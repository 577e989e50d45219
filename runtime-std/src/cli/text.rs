//! What commands say, and text of strangers made safe for a terminal.
//!
//! What a record may contain is restricted when it is read; records that were refused, and names on the
//! wire, are shown too, so that nothing is printed raw.

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write as _};

use phase_core::exit::Exit;
use serde::Serialize;

/// Writes a line to standard error; when that is closed, nobody listens.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Says what went wrong on standard error, and how the command ends.
pub fn complain(command: &str, exit: Exit, what: &dyn Display) -> Exit {
    say(&format!("{command}: {what}"));
    exit
}

/// Writes a line of the result to standard output; a reader that left wants no more.
pub fn print_line(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Writes a result as one line of JSON.
pub fn print_json(result: &impl Serialize) {
    match serde_json::to_string(result) {
        Ok(json) => print_line(&escape_json(&json)),
        // Strings, numbers and lists always become JSON.
        Err(error) => say(&error.to_string()),
    }
}

/// Displays text on one line: control characters, and characters that turn the direction of writing, as
/// `\u{…}`.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if is_unsafe(c) {
                write!(f, "{}", c.escape_unicode())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Rewrites JSON, which leaves most of Unicode as it is, so that it is safe for a terminal and still means
/// the same.
#[must_use]
pub fn escape_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_unsafe(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a `String` does not fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Control characters, line and paragraph separators, direction marks (Unicode UAX #9 §2) and the invisible
/// characters that make two texts look alike.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
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
    fn escaped_json_means_the_same() {
        let text = "a\u{1b}\u{9b}\u{202e}\u{e0041}\"\\";
        let json = serde_json::to_string(text).unwrap();
        let escaped = escape_json(&json);
        assert!(escaped.chars().all(|c| !is_unsafe(c)), "{escaped}");
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
    }
}
