//! Numbers for people, and JSON; text of strangers is made safe for a terminal in both.

use std::fmt::{self, Display, Write as _};
use std::mem::take;
use std::time::Duration;

use phase_core::escape::is_unsafe;

/// Adds to a list of things for people: `a, b, c`.
pub(super) fn add_to_list(list: &mut String, text: fmt::Arguments<'_>) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    // Writing to a `String` does not fail.
    let _ = list.write_fmt(text);
}

/// A time in milliseconds, with the microseconds behind a point. Floating-point numbers would cost 15 KiB of code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Millis(pub(super) Duration);

impl Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", millis(self.0), self.0.subsec_micros() % 1000)
    }
}

/// Tenths of something, with one digit behind a point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tenths(u64);

impl Tenths {
    /// A time in seconds.
    pub(super) fn seconds(time: Duration) -> Self {
        Self(millis(time) / 100)
    }

    /// So many in a time, a second.
    pub(super) fn rate(count: u64, time: Duration) -> Self {
        Self(count.saturating_mul(10_000).checked_div(millis(time)).unwrap_or(0))
    }
}

impl Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

/// As the standard library tells milliseconds, but not in 128 bits, whose arithmetic and texts are 1.5 KiB of code.
const fn millis(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1000).saturating_add(time.subsec_millis() as u64)
}

/// One JSON object on one line, member by member.
#[derive(Debug, Default)]
pub(super) struct Object {
    text: String,
}

impl Object {
    /// Adds a member with a string, or `null`.
    pub(super) fn string(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        self.name(name);
        match value {
            None => self.text.push_str("null"),
            Some(value) => quote(&mut self.text, value),
        }
        self
    }

    /// Adds a member with a number or a truth value, or `null`.
    pub(super) fn plain(&mut self, name: &str, value: Option<&dyn Display>) -> &mut Self {
        self.name(name);
        // Writing to a `String` does not fail.
        let _ = match value {
            None => write!(self.text, "null"),
            Some(value) => write!(self.text, "{value}"),
        };
        self
    }

    /// Adds a member with an array of strings.
    pub(super) fn strings(&mut self, name: &str, values: &[String]) -> &mut Self {
        self.name(name);
        self.text.push('[');
        for (index, value) in values.iter().enumerate() {
            self.separate(index);
            quote(&mut self.text, value);
        }
        self.text.push(']');
        self
    }

    /// Adds a member with an array of objects.
    pub(super) fn objects(&mut self, name: &str, values: &[Self]) -> &mut Self {
        self.name(name);
        self.text.push('[');
        for (index, value) in values.iter().enumerate() {
            self.separate(index);
            self.text.push_str(&value.text);
            self.text.push('}');
        }
        self.text.push(']');
        self
    }

    /// The object with a line feed, taken out.
    pub(super) fn line(&mut self) -> String {
        self.text.push_str("}\n");
        take(&mut self.text)
    }

    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.text.push(',');
        }
    }

    fn name(&mut self, name: &str) {
        self.text.push(if self.text.is_empty() { '{' } else { ',' });
        quote(&mut self.text, name);
        self.text.push(':');
    }
}

/// RFC 8259 §7; what is not safe for a terminal is escaped too.
fn quote(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => {
                text.push('\\');
                text.push(c);
            }
            c if is_unsafe(c) => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    // Writing to a `String` does not fail.
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_rates_are_cut_not_rounded() {
        assert_eq!(Millis(Duration::from_micros(14_609)).to_string(), "14.609");
        assert_eq!(Millis(Duration::from_micros(2_003_007)).to_string(), "2003.007");
        assert_eq!(Tenths::seconds(Duration::from_millis(3_099)).to_string(), "3.0");
        assert_eq!(Tenths::rate(17, Duration::from_millis(20_500)).to_string(), "0.8");
        assert_eq!(Tenths::rate(17, Duration::ZERO).to_string(), "0.0");
    }

    #[test]
    fn members_are_in_order_and_strings_are_escaped() {
        let line = Object::default()
            .string("url", Some("a\"\\\u{1b}\u{e0041}é"))
            .string("name", None)
            .plain("accepted", Some(&true))
            .plain("rtt_ms", None)
            .plain("elapsed_ms", Some(&Millis(Duration::from_micros(1_500))))
            .line();
        let expected = "{\"url\":\"a\\\"\\\\\\u001b\\udb40\\udc41é\",\"name\":null,\"accepted\":true,\
                        \"rtt_ms\":null,\"elapsed_ms\":1.500}\n";
        assert_eq!(line, expected);
    }

    #[test]
    fn arrays_of_strings_and_objects_are_members() {
        let files = ["a", "b"].map(|name| {
            let mut file = Object::default();
            file.string("name", Some(name));
            file
        });
        let line = Object::default()
            .strings("keys", &["x\"".to_owned(), "y".to_owned()])
            .strings("none", &[])
            .objects("files", &files)
            .line();
        let expected = "{\"keys\":[\"x\\\"\",\"y\"],\"none\":[],\"files\":[{\"name\":\"a\"},{\"name\":\"b\"}]}\n";
        assert_eq!(line, expected);
    }
}
