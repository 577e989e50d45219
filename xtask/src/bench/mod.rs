//! `cargo xtask bench`: measurements beside other implementations, in one run on one machine.
//!
//! Only what is measured in the same run is compared; the conditions are written beside the numbers. The
//! result goes to the terminal and into its section of BENCHMARKS.md.

mod answers;
mod boot;
mod conditions;
mod dht;
mod discovery;
mod download;
mod idle;
mod lan;
mod numbers;
pub(crate) mod report;
mod responder;

use phase_tests::process::{run as output_of, workspace_root};

use crate::Error;
use crate::steps::{cargo, step};

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
    /// Lookups in a DHT of stock nodes at several distances, beside rust-libp2p.
    Dht(dht::Options),
    /// Virtual machines that boot over the network, one after another.
    Boot(boot::Options),
    /// Decoding and encoding DNS messages, beside other codecs.
    Codec,
    /// Setting up a libp2p connection, beside `snow`.
    Handshake,
    /// The responder alone, without sockets.
    Responder,
    /// A simulated DHT of our own nodes under churn: lookups, and what they cost as it grows.
    Network(Network),
}

/// How large the simulated networks are.
#[derive(Debug, clap::Args)]
struct Network {
    /// Nodes of a network; several may be given, one after the other.
    #[arg(value_name = "NODES", default_values_t = [100, 300, 1000])]
    nodes: Vec<u32>,
}

/// Runs one benchmark.
///
/// # Errors
/// What starting or measuring a participant said.
pub(crate) fn run(options: &Options) -> Result<(), Error> {
    match &options.what {
        What::Lan(options) => lan::run(options),
        What::Dht(options) => dht::run(options),
        What::Boot(options) => boot::run(options),
        What::Codec => in_one_process("codec", "Codec", &[]),
        What::Handshake => in_one_process("handshake", "Handshake", &[]),
        What::Responder => in_one_process("responder", "Responder without sockets", &[]),
        What::Network(Network { nodes }) => {
            let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
            in_one_process("network", "Simulated DHT under churn", &nodes)
        }
    }
}

/// Runs `tests/benches/NAME.rs` with these arguments and writes what it prints.
fn in_one_process(name: &str, title: &str, arguments: &[String]) -> Result<(), Error> {
    let printed = step(&format!("measure the {name}"), || {
        let mut bench = cargo(&["bench", "--quiet", "--locked", "-p", "phase-tests"]);
        bench.args(["--bench", name, "--"]).args(arguments);
        Ok(output_of(bench)?)
    })?;
    println!("{printed}");
    let conditions = conditions::machine()?;
    let text =
        format!("### {title}\n\nConditions: {conditions}.\n\n```text\n{}\n```\n", printed.trim());
    report::write_section(&workspace_root().join("BENCHMARKS.md"), &format!("bench {name}"), &text)
}
