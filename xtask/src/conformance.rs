//! `cargo xtask conformance`: the wire conformance suite against the provider and its peers, written as a
//! table into CONFORMANCE.md.

use std::process::Command;

use phase_tests::peers::Peer;
use phase_tests::process::workspace_root;

use crate::steps::{cargo, command};
use crate::{Error, install};

/// What to run; without options, everything, and CONFORMANCE.md is written.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only this implementation; can be repeated.
    #[arg(long, value_name = "NAME")]
    subject: Vec<String>,
    /// Only this row, such as P3; can be repeated.
    #[arg(long, value_name = "ID")]
    row: Vec<String>,
}

/// Runs the suite.
///
/// # Errors
/// [`Error::Step`] when a row of the provider fails.
pub(crate) fn run(options: &Options) -> Result<(), Error> {
    install::tools(install::FOR_TESTS)?;
    install::peers(&[Peer::Avahi, Peer::MdnsSd, Peer::Zeroconf, Peer::Bonjour])?;
    let programs = ["-p", "phase-provider", "--bins", "-p", "phase-tests", "--bin", "conformance"];
    let build = [&["build", "--locked"], programs.as_slice()].concat();
    command("build the provider and the suite", cargo(&build))?;
    let mut suite = Command::new(workspace_root().join("target/debug/conformance"));
    suite.current_dir(workspace_root());
    suite.env("PHASE_BIN_DIR", workspace_root().join("target/debug"));
    suite.env("PATH", install::full_path());
    for subject in &options.subject {
        suite.args(["--subject", subject]);
    }
    for row in &options.row {
        suite.args(["--row", row]);
    }
    if options.subject.is_empty() && options.row.is_empty() {
        suite.args(["--output", "CONFORMANCE.md"]);
    }
    command("run the wire conformance suite", suite)
}
