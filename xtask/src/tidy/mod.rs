//! `cargo xtask tidy`: the house rules that no compiler knows. It is also a test, so that `cargo test`
//! holds them.
//!
//! A finding names the file, the line, the rule and what to do. The caps on functions and parameters
//! are clippy's (`.clippy.toml`).

mod arrows;
mod deviations;
mod documents;
mod rust;
mod source;
mod vectors;

use std::fmt;
use std::path::Path;

use phase_tests::process::workspace_root;

use crate::Error;
use source::Source;

/// What to do with findings.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Write the list of deviations into ARCHITECTURE.md.
    #[arg(long)]
    pub(crate) fix: bool,
}

/// One breach of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    /// Relative to the root of the workspace.
    path: String,
    /// From 1; 0 for the whole file.
    line: usize,
    /// What is wrong, and what to do.
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// Checks the workspace.
///
/// # Errors
/// [`Error::Untidy`] after printing the findings.
pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let root = workspace_root();
    if options.fix {
        deviations::write(root, &source::all(root)?)?;
    }
    let findings = check(root)?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    if findings.is_empty() { Ok(()) } else { Err(Error::Untidy(findings.len())) }
}

fn check(root: &Path) -> Result<Vec<Finding>, Error> {
    let sources = source::all(root)?;
    let mut findings = arrows::check(root)?;
    for source in &sources {
        rust::check(source, &mut findings);
        documents::check(root, source, &mut findings);
        vectors::check(source, &mut findings);
    }
    deviations::check(&sources, &mut findings);
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_keeps_the_house_rules() {
        let findings = check(workspace_root()).unwrap();
        let text: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "run `cargo xtask tidy`:\n{}", text.join("\n"));
    }
}
