//! Rules for all texts: no path or host of one machine, links inside the project lead somewhere.

use std::path::Path;

use super::{Finding, Source};

/// Beginnings of paths that exist on one machine alone. Split, so that this file is clean itself.
const MACHINE_PATHS: &[[&str; 2]] =
    &[["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["/Us", "ers/"], ["artif", "actory"]];

pub(super) fn check(root: &Path, source: &Source, findings: &mut Vec<Finding>) {
    for (number, line) in source.lines() {
        for words in MACHINE_PATHS {
            let word = words.concat();
            if line.contains(&word) {
                let what = format!("`{word}` names one machine: say it relative to the project");
                findings.push(Finding { path: source.path.clone(), line: number, what });
            }
        }
    }
    if source.path.ends_with(".md") {
        check_links(root, source, findings);
    }
}

fn check_links(root: &Path, source: &Source, findings: &mut Vec<Finding>) {
    let directory = root.join(&source.path);
    let directory = directory.parent().unwrap_or(root);
    for (number, line) in source.lines() {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            let outside = target.contains("://") || file.is_empty();
            if !outside && !directory.join(file).exists() {
                let what = format!("the link to `{target}` leads nowhere");
                findings.push(Finding { path: source.path.clone(), line: number, what });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        let mut findings = Vec::new();
        let source = Source { path: path.into(), text: text.into() };
        check(Path::new(env!("CARGO_MANIFEST_DIR")), &source, &mut findings);
        findings.len()
    }

    #[test]
    fn machine_paths_are_found_everywhere() {
        assert_eq!(count("a.toml", &["x = \"", "/ro", "ot/x\""].concat()), 1);
        assert_eq!(count("a.toml", "x = \"/etc/phase\""), 0);
    }

    #[test]
    fn links_lead_somewhere() {
        assert_eq!(count("a.md", "[a](Cargo.toml) [b](https://example.org/x) [c](#here)"), 0);
        assert_eq!(count("a.md", "[a](no-such-file.md#there)"), 1);
    }
}
