//! `cargo xtask bench dht`: one host looks a record up in a DHT of stock nodes on another, at a distance.

mod lookup;
mod peak;
mod scene;

use std::time::Duration;

use phase_tests::libp2p;
use phase_tests::process::workspace_root;

use super::numbers::{Percentiles, shown};
use super::report::Table;
use super::{conditions, report};
use crate::steps::{cargo, command, step};
use crate::{Error, install};

use lookup::{Client, Lookup};
use scene::Scene;

/// How much to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A tenth of the runs, to try the tools; BENCHMARKS.md stays as it is.
    #[arg(long)]
    quick: bool,
}

/// Lookups of each client in each scene; gates on a 95th percentile need a hundred.
const RUNS: usize = 100;

/// Runs whose memory is looked at.
const PEAKS: usize = 5;

/// What is measured: stock nodes, whether a dead bootstrap is named beside the living one, round-trip time.
const SCENES: [Scene; 7] = [
    Scene::new(1, false, 0),
    Scene::new(1, false, 50),
    Scene::new(1, false, 100),
    Scene::new(8, false, 0),
    Scene::new(8, false, 50),
    Scene::new(8, false, 100),
    Scene::new(8, true, 50),
];

/// Measures and reports.
pub(super) fn run(options: &Options) -> Result<(), Error> {
    install::tools(install::FOR_TESTS)?;
    step("build rust-libp2p nodes and clients", || Ok(libp2p::install_fast()?))?;
    let build =
        ["build", "--locked", "--release", "-p", "phase-provider", "--bin", "phase-discover"];
    command("build the programs for measuring", cargo(&build))?;
    let runs = if options.quick { RUNS / 10 } else { RUNS };
    let mut tables = vec![times()];
    let mut memory = peaks();
    for scene in SCENES {
        let all = step(&scene.text(), || scene.measure(runs))?;
        for (client, lookups) in &all {
            let row = row(scene, *client, lookups);
            println!("    {}", row.join("  "));
            tables[0].rows.push(row);
        }
    }
    step("look at the memory of each client", || {
        for (client, kib) in SCENES[0].peaks(PEAKS)? {
            memory.rows.push(vec![client.name().to_owned(), kib.to_string()]);
        }
        Ok(())
    })?;
    tables.push(memory);
    finish(options, &tables)
}

fn times() -> Table {
    Table {
        title: "Process start to record from the DHT".to_owned(),
        explanation: "From starting the client's process to the line with its result, in milliseconds, with new \
                      identities and no state. Ours verifies the record's signature, rust-libp2p takes any record. The nodes are stock rust-libp2p 0.57.1 on one host, all of which \
                      hold the record; the client on another host knows the address of one. The distance is a \
                      user-space cable that delays every frame, the handshake of TCP included; it adds about 0.1 ms \
                      by itself. Dead: the client is given a second address, first in the list, that never answers. \
                      Packets and octets are those of a whole lookup until the connections are closed, both \
                      directions, from the IP header on; medians."
            .to_owned(),
        columns: vec![
            "RTT ms", "nodes", "dead", "client", "runs", "failed", "p50", "p95", "packets", "octets",
        ],
        rows: Vec::new(),
    }
}

fn peaks() -> Table {
    Table {
        title: "Memory of a lookup".to_owned(),
        explanation: "The most that was resident (`VmHWM`) when the process ended, in KiB; the median of five runs \
                      with one node."
            .to_owned(),
        columns: vec!["client", "peak KiB"],
        rows: Vec::new(),
    }
}

fn row(scene: Scene, client: Client, lookups: &[Lookup]) -> Vec<String> {
    let found: Vec<Duration> = lookups.iter().filter_map(|l| l.time).collect();
    let median = |of: fn(&Lookup) -> u64| {
        let mut all: Vec<u64> = lookups.iter().filter(|l| l.time.is_some()).map(of).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or_default().to_string()
    };
    let failed = lookups.len() - found.len();
    let Percentiles { p50, p95, .. } = Percentiles::of(found);
    vec![
        scene.rtt.as_millis().to_string(),
        scene.nodes.to_string(),
        if scene.dead { "yes" } else { "no" }.to_owned(),
        client.name().to_owned(),
        lookups.len().to_string(),
        failed.to_string(),
        shown(p50),
        shown(p95),
        median(|l| l.passed.packets),
        median(|l| l.passed.octets),
    ]
}

fn finish(options: &Options, tables: &[Table]) -> Result<(), Error> {
    let text = format!("Conditions: {}.\n\n{}", conditions::machine()?, report::markdown(tables));
    println!("\n{text}");
    if options.quick {
        println!("BENCHMARKS.md stays as it is: this was not the whole measurement.");
        return Ok(());
    }
    step("write the numbers into BENCHMARKS.md", || {
        report::write_section(&workspace_root().join("BENCHMARKS.md"), "bench dht", &text)
    })
}
