//! Fetches and verifies a boot image; see `phase-fetch --help`.

use clap::Parser as _;
use phase_provider::cli::fetch::{Arguments, run};
use phase_provider::clock::Clock;
use phase_provider::exit::Exit;

fn main() -> Exit {
    let clock = Clock::start();
    run(&Arguments::parse(), clock)
}
