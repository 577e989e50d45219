//! Arrows of dependency: the core knows crypto and encoding crates alone, the runtimes know the core.

use std::fs;
use std::path::Path;

use super::Finding;
use crate::Error;

/// Everything the core may depend on: encodings, crypto, collections without a heap, log formats.
const CORE: &[&str] = &[
    "base16ct",
    "base64ct",
    "bs58",
    "chacha20",
    "chacha20poly1305",
    "defmt",
    "ed25519-dalek",
    "heapless",
    "hmac",
    "log",
    "postcard",
    "rand_core",
    "serde",
    "serde-json-core",
    "sha2",
    "subtle",
    "x25519-dalek",
    "zeroize",
];

/// Which packages of the workspace each may depend on.
const INSIDE: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("runtime-std", &["phase-core"]),
    ("runtime-initramfs", &["phase-core"]),
    ("tests", &["phase-core", "phase-provider", "phase-boot"]),
    ("xtask", &["phase-tests"]),
];

const OURS: &[&str] = &["phase-core", "phase-provider", "phase-boot", "phase-tests", "xtask"];

pub(super) fn check(root: &Path) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for (directory, allowed) in INSIDE {
        let path = format!("{directory}/Cargo.toml");
        let text = fs::read_to_string(root.join(&path))
            .map_err(|e| Error::os(format!("read {path}"), e))?;
        for name in dependencies(&text, &path)? {
            let ours = OURS.contains(&name.as_str());
            if ours && !allowed.contains(&name.as_str()) {
                let what = format!("{directory} must not depend on {name}");
                findings.push(Finding { path: path.clone(), line: 0, what });
            }
            if *directory == "core" && !ours && !CORE.contains(&name.as_str()) {
                let what = format!("{name} is not among the crates the core may know");
                findings.push(Finding { path: path.clone(), line: 0, what });
            }
        }
    }
    Ok(findings)
}

/// The names under every `[dependencies]`, also those for one platform; not the `dev` ones.
fn dependencies(text: &str, path: &str) -> Result<Vec<String>, Error> {
    let manifest: toml::Table = toml::from_str(text)
        .map_err(|e| Error::Unexpected { what: path.to_owned(), found: e.to_string() })?;
    let mut names = Vec::new();
    let mut add = |table: &toml::Table| {
        if let Some(toml::Value::Table(dependencies)) = table.get("dependencies") {
            names.extend(dependencies.keys().cloned());
        }
    };
    add(&manifest);
    if let Some(toml::Value::Table(targets)) = manifest.get("target") {
        targets.values().filter_map(toml::Value::as_table).for_each(add);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_of_every_platform_are_listed_and_those_of_tests_are_not() {
        let text = "[dependencies]\na = \"1\"\n[dev-dependencies]\nb = \"1\"\n\
                    [target.'cfg(unix)'.dependencies]\nc = \"1\"\n";
        assert_eq!(dependencies(text, "Cargo.toml").unwrap(), ["a", "c"]);
    }
}
