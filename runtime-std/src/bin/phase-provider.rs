//! `phase-provider`: see [`phase_provider::cli::provider`].

use phase_provider::exit::Exit;

fn main() -> Exit {
    phase_provider::cli::provider::main()
}
