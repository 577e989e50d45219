//! `phase-provider`: see [`phase_provider::cli::provider`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(phase_provider::cli::provider::main().code())
}
