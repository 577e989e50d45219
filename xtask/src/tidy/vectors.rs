//! Golden vectors say where they come from: another implementation's octets, or a specification's.

use super::{Finding, Source};

/// Lines that every vector opens with.
const HEAD: &[&str] = &["# source:", "# spec:"];

/// The same as members of JSON.
const MEMBERS: &[&str] = &["\"source\":", "\"spec\":"];

pub(super) fn check(source: &Source, findings: &mut Vec<Finding>) {
    let heads = match source.path.strip_prefix("tests/vectors/") {
        Some(path) if path.ends_with(".hex") => HEAD,
        // The project's own formats are documents in JSON: the tests say where those come from.
        Some(path) if path.ends_with(".json") && path.starts_with("libp2p/") => MEMBERS,
        Some(_) | None => return,
    };
    for head in heads {
        let said = |line: &str| {
            let rest = line.trim_start().strip_prefix(head);
            rest.is_some_and(|rest| !matches!(rest.trim(), "" | "\"\","))
        };
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
        let text = "{\n\"source\": \"\",\n\"spec\": \"noise\"\n}".to_owned();
        check(&Source { path: "tests/vectors/libp2p/a.json".into(), text }, &mut findings);
        assert_eq!(findings.len(), 2);
        assert!(findings[1].what.contains("source"));
    }
}
