//! `cargo xtask bench`: measurements beside other implementations, in one run on one machine.
//!
//! Only what is measured in the same run is compared; the conditions are written beside the numbers. The
//! result goes to the terminal and into its section of BENCHMARKS.md.

mod answers;
mod conditions;
mod discovery;
mod idle;
mod lan;
mod numbers;
mod report;
mod responder;

use crate::Error;
use crate::steps::{cargo, command};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Discovery, answers, load, start and idle cost on a veth pair, beside other mDNS implementations.
    Lan(lan::Options),
    /// Decoding and encoding DNS messages, beside other codecs.
    Codec,
}

/// Runs one benchmark.
///
/// # Errors
/// What starting or measuring a participant said.
pub(crate) fn run(options: &Options) -> Result<(), Error> {
    match &options.what {
        What::Lan(options) => lan::run(options),
        What::Codec => command(
            "measure the codecs",
            cargo(&["bench", "--locked", "-p", "phase-tests", "--bench", "codec"]),
        ),
    }
}
