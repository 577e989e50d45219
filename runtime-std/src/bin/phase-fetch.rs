//! Fetches and verifies a boot image; see `phase-fetch --help`.

use std::process::ExitCode;

use clap::Parser as _;
use phase_provider::cli::fetch::{Arguments, run};
use phase_provider::clock::Clock;

fn main() -> ExitCode {
    let clock = Clock::start();
    ExitCode::from(run(&Arguments::parse(), clock).code())
}
