//! `cargo xtask size`: how large the programs are, as released.

use std::fs;

use phase_tests::process::workspace_root;

use crate::Error;
use crate::steps::{cargo, command};

/// The programs of the project.
const PROGRAMS: [&str; 4] = ["phase-provider", "phase-discover", "phase-fetch", "phase-verify"];

/// Builds and lists them.
///
/// # Errors
/// [`Error::Step`] when the build fails.
pub(crate) fn run() -> Result<(), Error> {
    let build = ["build", "--locked", "--release", "-p", "phase-provider", "--bins"];
    command("build the programs as released", cargo(&build))?;
    for name in PROGRAMS {
        let path = workspace_root().join("target/release").join(name);
        let metadata =
            fs::metadata(&path).map_err(|e| Error::os(format!("look at {}", path.display()), e))?;
        println!("{name:<16} {:>8.1} KiB", metadata.len() as f64 / 1024.0);
    }
    Ok(())
}
