//! `cargo xtask bench lan`: two hosts on one veth pair.

use phase_tests::peers::Peer;
use phase_tests::process::workspace_root;

use super::report::Table;
use super::responder::{OURS, Responder};
use super::{answers, conditions, discovery, idle, report};
use crate::steps::{cargo, command, step};
use crate::{Error, install};

/// How much to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A tenth of the runs and seconds, to try the tools; BENCHMARKS.md stays as it is.
    #[arg(long)]
    quick: bool,
    /// Measure these responders only: ours, avahi, mdns-sd, python-zeroconf, edge-mdns, bonjour-service.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Measure these tables only: discovery, answers, idle.
    #[arg(long, value_name = "TABLE")]
    table: Vec<String>,
}

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Runs of programs that take milliseconds.
    pub(super) quick_runs: usize,
    /// Runs of programs that take tenths of a second.
    pub(super) slow_runs: usize,
    /// Runs of Avahi's browser with a daemon of its own, which take seconds.
    pub(super) cold_runs: usize,
    /// Starts of each responder.
    pub(super) starts: usize,
    /// Paced legacy-unicast queries.
    pub(super) legacy_queries: usize,
    /// Paced queries with the unicast-response bit.
    pub(super) qu_queries: usize,
    /// Seconds of closed-loop load.
    pub(super) load_seconds: u32,
    /// Seconds of idleness.
    pub(super) idle_seconds: u32,
}

const FULL: Effort = Effort {
    quick_runs: 300,
    slow_runs: 30,
    cold_runs: 20,
    starts: 5,
    legacy_queries: 1000,
    qu_queries: 100,
    load_seconds: 5,
    idle_seconds: 60,
};

const QUICK: Effort = Effort {
    quick_runs: 30,
    slow_runs: 5,
    cold_runs: 2,
    starts: 1,
    legacy_queries: 100,
    qu_queries: 20,
    load_seconds: 1,
    idle_seconds: 6,
};

/// Measures and reports.
pub(super) fn run(options: &Options) -> Result<(), Error> {
    install::tools(install::FOR_TESTS)?;
    install::peers(&[Peer::Avahi, Peer::MdnsSd, Peer::Zeroconf, Peer::EdgeMdns, Peer::Bonjour])?;
    let programs = ["-p", "phase-provider", "--bins", "-p", "phase-tests", "--bin", "mdns-load"];
    let build = [&["build", "--locked", "--release"], programs.as_slice()].concat();
    command("build the programs for measuring", cargo(&build))?;
    let effort = if options.quick { QUICK } else { FULL };
    let all = [
        OURS,
        Responder::Peer(Peer::EdgeMdns),
        Responder::Peer(Peer::MdnsSd),
        Responder::Peer(Peer::Avahi),
        Responder::Peer(Peer::Zeroconf),
        Responder::Peer(Peer::Bonjour),
    ];
    let wanted = |list: &[String], name: &str| list.is_empty() || list.iter().any(|n| n == name);
    let responders: Vec<Responder> =
        all.into_iter().filter(|responder| wanted(&options.only, responder.name())).collect();
    let mut tables = Vec::new();
    if wanted(&options.table, "discovery") {
        tables.push(discovery::measure(&responders, effort)?);
    }
    if wanted(&options.table, "answers") {
        tables.extend(answers::measure(&responders, effort)?);
    }
    if wanted(&options.table, "idle") {
        tables.push(idle::measure(&responders, effort)?);
    }
    finish(options, &tables)
}

fn finish(options: &Options, tables: &[Table]) -> Result<(), Error> {
    let text = format!("{}\n{}", conditions::text()?, report::markdown(tables));
    println!("\n{text}");
    if options.quick || !options.only.is_empty() || !options.table.is_empty() {
        println!("BENCHMARKS.md stays as it is: this was not the whole measurement.");
        return Ok(());
    }
    step("write the numbers into BENCHMARKS.md", || {
        report::write_section(&workspace_root().join("BENCHMARKS.md"), "bench lan", &text)
    })
}
