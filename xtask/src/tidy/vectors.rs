//! Golden vectors say where they come from: another implementation's octets, or a specification's.

use super::{Finding, Source};

/// Lines that every vector opens with.
const HEAD: &[&str] = &["# source:", "# spec:"];

pub(super) fn check(source: &Source, findings: &mut Vec<Finding>) {
    if !source.path.starts_with("tests/vectors/") || !source.path.ends_with(".hex") {
        return;
    }
    for head in HEAD {
        let said = |line: &str| line.strip_prefix(head).is_some_and(|rest| !rest.trim().is_empty());
        if !source.text.lines().any(said) {
            let what = format!("a vector has a line `{head} ...`");
            findings.push(Finding { path: source.path.clone(), line: 1, what });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_without_a_source_is_found() {
        let mut findings = Vec::new();
        let text = "# source:\n# spec: RFC 6762 §18\n00\n".to_owned();
        check(&Source { path: "tests/vectors/dns/a.hex".into(), text }, &mut findings);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].what.contains("source"));
    }
}
