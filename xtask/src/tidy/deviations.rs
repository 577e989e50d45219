//! The list of deviations from specifications in ARCHITECTURE.md, made from the comments that start with
//! `Deviation:`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::{Finding, Source};
use crate::Error;

const FILE: &str = "ARCHITECTURE.md";
const BEGIN: &str = "<!-- deviations: written by `cargo xtask tidy --fix` -->\n";
const END: &str = "<!-- end of deviations -->";
/// The marker, in two parts so that this file has none.
const MARKER: [&str; 2] = ["Devi", "ation:"];

/// Writes the list.
pub(super) fn write(root: &Path, sources: &[Source]) -> Result<(), Error> {
    let Some(document) = sources.iter().find(|source| source.path == FILE) else {
        return Ok(());
    };
    let Some((before, _, after)) = parts(&document.text) else { return Ok(()) };
    let text = format!("{before}{BEGIN}{}{END}{after}", list(sources));
    fs::write(root.join(FILE), text).map_err(|e| Error::os(format!("write {FILE}"), e))
}

pub(super) fn check(sources: &[Source], findings: &mut Vec<Finding>) {
    let document = sources.iter().find(|source| source.path == FILE);
    let found = document.and_then(|document| parts(&document.text)).map(|(_, list, _)| list);
    if found != Some(list(sources).as_str()) {
        let what = "the list of deviations is not that of the code: run `cargo xtask tidy --fix`";
        findings.push(Finding { path: FILE.to_owned(), line: 0, what: what.to_owned() });
    }
}

/// Before, inside and after the list.
fn parts(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (inside, after) = rest.split_once(END)?;
    Some((before, inside, after))
}

fn list(sources: &[Source]) -> String {
    let mut list = String::new();
    let marker = MARKER.concat();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let mut lines = source.lines().map(|(_, line)| comment_of(line)).peekable();
        while let Some(line) = lines.next() {
            let after = line.and_then(|text| text.split_once(&marker));
            // In backticks it is spoken of, not made.
            let Some((_, first)) = after.filter(|(before, _)| !before.ends_with('`')) else {
                continue;
            };
            let mut text = first.trim().to_owned();
            // The paragraph of the comment goes on.
            while let Some(Some(more)) = lines.next_if(|l| l.is_some_and(|t| !t.is_empty())) {
                text.push(' ');
                text.push_str(more);
            }
            // Writing into a String cannot fail.
            let _ = writeln!(list, "- `{}`: {text}", source.path);
        }
    }
    list
}

/// The text of a line that is a comment.
fn comment_of(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    Some(text.trim_start_matches(['/', '!']).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deviation_is_listed_with_its_whole_paragraph() {
        let marker = MARKER.concat();
        let text =
            format!("//! A.\n\n/// {marker} answers\n/// at once.\n///\n/// More.\nfn f() {{}}\n");
        let source = Source { path: "core/src/a.rs".into(), text };
        assert_eq!(list(&[source]), "- `core/src/a.rs`: answers at once.\n");
    }
}
