//! `cargo xtask fuzz`: looks for inputs that break a law of a decoder.
//!
//! Needs a nightly toolchain. New inputs are kept in `target/fuzz`; one that breaks a law lands in
//! `tests/fuzz/artifacts` and belongs, made small, into `tests/fuzz/corpus`, which `cargo test` replays.

use std::fs;
use std::process::{Command, Stdio};

use phase_tests::fuzz_bodies::TARGETS;
use phase_tests::process::workspace_root;

use crate::steps::command;
use crate::{Error, install};

/// What to fuzz, and how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The target; without one, all of them one after another.
    target: Option<String>,
    /// Seconds for each target.
    #[arg(default_value_t = 60)]
    seconds: u32,
}

/// Fuzzes.
///
/// # Errors
/// [`Error::Step`] when an input breaks a law, [`Error::Missing`] without a nightly toolchain.
pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let names = TARGETS.iter().map(|(name, _)| *name);
    let chosen: Vec<&str> =
        names.clone().filter(|name| options.target.as_deref().is_none_or(|t| t == *name)).collect();
    if chosen.is_empty() {
        let found = format!("none of {}", names.collect::<Vec<_>>().join(", "));
        return Err(Error::Unexpected { what: "the fuzz target".to_owned(), found });
    }
    require_nightly()?;
    let tool = install::cargo_tool("cargo-fuzz")?;
    for name in chosen {
        let corpus = workspace_root().join("tests/fuzz/corpus").join(name);
        let found = workspace_root().join("target/fuzz").join(name);
        fs::create_dir_all(&found).map_err(|e| Error::os("make target/fuzz", e))?;
        let mut fuzz = Command::new("rustup");
        fuzz.args(["run", "nightly"]).arg(&tool).args(["run", name]);
        // The first directory receives what is found.
        fuzz.arg(&found).arg(&corpus).arg("--");
        fuzz.arg(format!("-max_total_time={}", options.seconds));
        fuzz.current_dir(workspace_root().join("tests"));
        // Set by the cargo that runs this task, and meant for its own compiler.
        fuzz.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
        command(&format!("fuzz {name} for {} s", options.seconds), fuzz)?;
    }
    Ok(())
}

fn require_nightly() -> Result<(), Error> {
    let mut probe = Command::new("rustup");
    probe.args(["run", "nightly", "rustc", "--version"]);
    probe.stdout(Stdio::null()).stderr(Stdio::null());
    if probe.status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    Err(Error::Missing {
        missing: "a nightly toolchain".to_owned(),
        command: "rustup toolchain install nightly".to_owned(),
    })
}
