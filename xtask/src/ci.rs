//! `cargo xtask ci`: every check of a change.

use phase_tests::process::workspace_root;

use crate::steps::{cargo, command};
use crate::{Error, bare, install, test, tidy};

/// Features of the core; every subset must build.
const CORE_FEATURES: [&str; 3] = ["defmt", "fast", "log"];

/// Runs the checks, the quick ones first.
pub(crate) fn run() -> Result<(), Error> {
    command("check the format", cargo(&["fmt", "--all", "--check"]))?;
    tidy::run(&tidy::Options { fix: false })?;
    let lints = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    command("check the lints", cargo(&lints))?;
    let mut documents =
        cargo(&["doc", "--locked", "--workspace", "--no-deps", "--document-private-items"]);
    documents.env("RUSTDOCFLAGS", "-D warnings");
    command("check the documents", documents)?;
    for features in subsets(&CORE_FEATURES) {
        let what = format!("build the core with features [{features}]");
        let build = ["clippy", "--locked", "-p", "phase-core", "--features", &features];
        command(&what, cargo(&[&build[..], &["--", "-D", "warnings"]].concat()))?;
    }
    bare::build_core()?;
    check_dependencies()?;
    test::run(&test::Options::default())
}

/// Licences, sources and duplicate versions, by cargo-deny.
fn check_dependencies() -> Result<(), Error> {
    let deny = install::cargo_tool("cargo-deny")?;
    let mut check = std::process::Command::new(deny);
    // The advisories come from a repository that not every machine may reach.
    check.args(["check", "bans", "licenses", "sources"]).current_dir(workspace_root());
    command("check licences and sources of the dependencies", check)
}

/// All subsets, as comma-separated lists; the empty one first.
fn subsets(all: &[&str]) -> Vec<String> {
    let mut lists = vec![Vec::new()];
    for feature in all {
        let with: Vec<Vec<&str>> =
            lists.iter().map(|list| [list.as_slice(), &[*feature]].concat()).collect();
        lists.extend(with);
    }
    lists.into_iter().map(|list| list.join(",")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subset_is_there_once() {
        assert_eq!(subsets(&["a", "b"]), ["", "a", "b", "a,b"]);
    }
}
