//! Verifies a boot manifest and its files; see `phase-verify --help`.

use clap::Parser as _;
use phase_provider::cli::verify::{Arguments, run};
use phase_provider::exit::Exit;

fn main() -> Exit {
    run(&Arguments::parse())
}
