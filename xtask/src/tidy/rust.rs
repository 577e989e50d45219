//! Rules for Rust files: heads, caps, what the core must not touch, words about history, test names.

use super::{Finding, Source};

/// Lines of code in a file, without blank lines, comments and unit tests.
const CODE_LINES_MAX: usize = 500;

/// What has no place in the core: a clock, an order that differs from run to run, a heap, a scheduler.
const NOT_IN_CORE: &[&str] = &[
    "std::time",
    "Instant::now",
    "SystemTime",
    "HashMap",
    "HashSet",
    "extern crate alloc",
    "alloc::",
    "async fn",
    "std::net",
    "std::fs",
];

/// Comments tell of the code as it stands; these words tell of another time. A line about the state of
/// the network (`the previous answer`) says it in other words.
const HISTORY: &[&str] = &[
    "previously",
    "formerly",
    "used to be",
    "earlier version",
    "for now",
    "todo",
    "fixme",
    "xxx",
    "milestone",
    "refactor",
    "placeholder",
    "not yet implemented",
];

pub(super) fn check(source: &Source, findings: &mut Vec<Finding>) {
    if !source.is_rust() {
        return;
    }
    let mut report = |line: usize, what: String| {
        findings.push(Finding { path: source.path.clone(), line, what });
    };
    if !source.text.starts_with("//!") {
        report(
            1,
            "a file opens with `//!`: what it is, its specification, what it leaves out".into(),
        );
    }
    let count = code_lines(source);
    if count > CODE_LINES_MAX && !is_test_code(&source.path) {
        report(0, format!("{count} lines of code, {CODE_LINES_MAX} at most: split it by meaning"));
    }
    let in_core = source.path.starts_with("core/src/");
    for (number, line) in source.lines_before_tests() {
        let (code, comment) = split_comment(line);
        if let Some(word) = NOT_IN_CORE.iter().find(|word| in_core && code.contains(**word)) {
            report(number, format!("`{word}` has no place in the core"));
        }
        let comment = comment.to_lowercase();
        if let Some(word) = HISTORY.iter().find(|word| has_word(&comment, word)) {
            report(number, format!("`{word}`: describe the code as it stands"));
        }
    }
    for (number, line) in source.lines() {
        if line.trim_start().starts_with("fn test_") {
            report(number, "a test's name is a sentence without `test_`".into());
        }
        if line.trim_start().starts_with("#[ignore") {
            report(number, "a test is not ignored: it passes, fails, or is not there".into());
        }
    }
}

fn code_lines(source: &Source) -> usize {
    let is_code = |line: &str| !line.is_empty() && !line.starts_with("//");
    source.lines_before_tests().filter(|(_, line)| is_code(line.trim())).count()
}

/// Tests are capped by readability alone.
fn is_test_code(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path.contains("/tests/")
        || (path.starts_with("tests/") && !path.starts_with("tests/src/"))
}

/// The code and the comment of a line; `//` inside a string literal counts as a comment only after an
/// even number of quotes.
fn split_comment(line: &str) -> (&str, &str) {
    let starts = line.match_indices("//").map(|(at, _)| at);
    let outside = |at: &usize| line[..*at].matches('"').count().is_multiple_of(2);
    starts.into_iter().find(outside).map_or((line, ""), |at| line.split_at(at))
}

fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        !letter(text[..at].chars().next_back()) && !letter(text[at + word.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check(&Source { path: path.into(), text: text.into() }, &mut findings);
        findings.into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn a_clean_file_has_no_finding() {
        assert!(findings("core/src/a.rs", "//! A.\nfn f() {}\n").is_empty());
    }

    #[test]
    fn a_file_without_a_head_is_found() {
        assert!(findings("core/src/a.rs", "fn f() {}\n")[0].starts_with("core/src/a.rs:1: a file"));
    }

    #[test]
    fn a_clock_is_found_in_the_core_but_not_in_its_tests_or_elsewhere() {
        let text = "//! A.\nuse std::time::Instant;\nmod tests {\nuse std::time::Instant;\n";
        assert_eq!(findings("core/src/a.rs", text).len(), 1);
        assert!(findings("runtime-std/src/a.rs", text).is_empty());
    }

    #[test]
    fn history_is_found_in_comments_alone_and_as_whole_words() {
        let text = "//! A.\n// Previously b.\nlet todo = \"// todo\"; // mastodon\n";
        assert_eq!(findings("xtask/src/a.rs", text).len(), 1);
    }

    #[test]
    fn long_files_are_found_and_unit_tests_do_not_count() {
        let code = "x();\n".repeat(CODE_LINES_MAX);
        assert!(
            findings("core/src/a.rs", &format!("//! A.\n{code}mod tests {{\n{code}")).is_empty()
        );
        assert_eq!(findings("core/src/a.rs", &format!("//! A.\n{code}y();\n")).len(), 1);
    }
}
