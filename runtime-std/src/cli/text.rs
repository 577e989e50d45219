//! What commands say, and JSON made safe for a terminal.
//! Not here: which characters are not, and text that is no JSON (`phase_core::escape`).

use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};

use phase_core::escape::is_unsafe;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_json_means_the_same() {
        let text = "a\u{1b}\u{9b}\u{202e}\u{e0041}\"\\";
        let json = serde_json::to_string(text).unwrap();
        let escaped = escape_json(&json);
        assert!(escaped.chars().all(|c| !is_unsafe(c)), "{escaped}");
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
    }
}
