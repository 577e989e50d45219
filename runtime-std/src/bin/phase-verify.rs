//! Verifies a boot manifest and its files; see `phase-verify --help`.

use std::process::ExitCode;

use clap::Parser as _;
use phase_provider::cli::verify::{Arguments, run};

fn main() -> ExitCode {
    ExitCode::from(run(&Arguments::parse()).code())
}
