//! Finds providers on the LAN; see `phase-discover --help`.

use std::process::ExitCode;

use clap::Parser as _;
use phase_provider::cli::discover::{Arguments, run};
use phase_provider::clock::Clock;

fn main() -> ExitCode {
    let clock = Clock::start();
    ExitCode::from(run(&Arguments::parse(), clock).code())
}
