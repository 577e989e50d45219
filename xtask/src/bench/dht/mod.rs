//! `cargo xtask bench dht`: one host looks a record up in a DHT of stock nodes on another, at a distance.

mod lookup;
mod memory;
mod peak;
mod scene;

use std::time::Duration;

use clap::ValueEnum as _;
use phase_tests::cable::Passed;
use phase_tests::libp2p;
use phase_tests::process::workspace_root;

use super::numbers::{Percentiles, shown};
use super::report::Table;
use super::{conditions, report};
use crate::steps::{cargo, command, step};
use crate::{Error, install};

use lookup::{Client, Lookup};
use scene::{Scene, Way};

/// How much to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A tenth of the runs, to try the tools; BENCHMARKS.md stays as it is.
    #[arg(long)]
    quick: bool,
    /// Measure these tables only; each has a section of its own in BENCHMARKS.md.
    #[arg(long, value_name = "TABLE")]
    table: Vec<Which>,
}

/// What is measured together.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// At no distance.
    Wire,
    /// At a distance that delays every frame, the handshake of TCP too.
    Cable,
    /// Through a relay that takes TCP at once and delays what is said.
    Relay,
    /// With a bootstrap that never answers.
    Dead,
    /// What is resident, and what our client's state takes.
    Memory,
}

/// Lookups of each client in each scene; gates on a 95th percentile need a hundred.
const RUNS: usize = 100;

/// Runs whose memory is looked at.
const PEAKS: usize = 5;

const WIRE: &[Scene] = &[Scene::new(1, 0, Way::Wire), Scene::new(8, 0, Way::Wire)];

const CABLE: &[Scene] = &[
    Scene::new(1, 0, Way::Cable),
    Scene::new(1, 50, Way::Cable),
    Scene::new(1, 100, Way::Cable),
    Scene::new(8, 0, Way::Cable),
    Scene::new(8, 50, Way::Cable),
    Scene::new(8, 100, Way::Cable),
];

const RELAY: &[Scene] =
    &[Scene::new(1, 0, Way::Relay), Scene::new(1, 50, Way::Relay), Scene::new(1, 100, Way::Relay)];

const DEAD: &[Scene] =
    &[Scene::new(1, 0, Way::Cable).with_dead(), Scene::new(1, 50, Way::Cable).with_dead()];

/// Measures and reports.
pub(super) fn run(options: &Options) -> Result<(), Error> {
    install::tools(install::FOR_TESTS)?;
    step("build rust-libp2p nodes and clients", || Ok(libp2p::install_fast()?))?;
    let build = ["build", "--locked", "--release", "-p", "phase-provider", "--bins"];
    command("build the programs for measuring", cargo(&build))?;
    let all = [Which::Wire, Which::Cable, Which::Relay, Which::Dead, Which::Memory];
    let wanted = |which: &Which| options.table.is_empty() || options.table.contains(which);
    for which in all.into_iter().filter(wanted) {
        let table = match which {
            Which::Wire => lookups(options, wire(), WIRE)?,
            Which::Cable => lookups(options, cable(), CABLE)?,
            Which::Relay => lookups(options, relay(), RELAY)?,
            Which::Dead => lookups(options, dead(), DEAD)?,
            Which::Memory => memory::measure(&WIRE[0], PEAKS)?,
        };
        finish(options, which, &table)?;
    }
    Ok(())
}

/// What every table of lookups says.
const OF_LOOKUPS: &str = "From starting the client's process to the line with its result, in milliseconds, with new \
                          identities and no state. Ours verifies the record's signature, rust-libp2p takes any \
                          record. The nodes are stock rust-libp2p 0.57.1 on one host, all of which hold the record; \
                          the client on another host knows the address of one.";

fn times(title: &str, more: &str) -> Table {
    Table {
        title: title.to_owned(),
        explanation: format!("{OF_LOOKUPS} {more}"),
        columns: vec![
            "RTT ms", "nodes", "client", "runs", "failed", "p50", "p95", "packets", "octets",
        ],
        rows: Vec::new(),
    }
}

fn wire() -> Table {
    times(
        "Process start to record on one wire",
        "There is no distance: the hosts are joined by a veth pair, so that what is measured is what client, node and \
         kernel take. Packets and octets are those of a whole lookup until the connections are closed, both directions, \
         from the IP header on; medians.",
    )
}

fn cable() -> Table {
    times(
        "Process start to record from the DHT",
        "The distance is a user-space cable that delays every frame, the handshake of TCP included. It takes some time \
         itself for each, which is what is seen most at 0 ms. Packets and octets as on the wire above.",
    )
}

fn relay() -> Table {
    times(
        "Process start to record through a relay",
        "The distance is a user-space relay of TCP on the client's own host: a connection is taken at once, and what is \
         said on it is delayed, so that the round trips that are counted are those after TCP is set up. Packets and \
         octets are those between relay and node.",
    )
}

fn dead() -> Table {
    times(
        "One dead bootstrap of two",
        "As through the cable above, but the client is given a second address, first in the list, that never answers.",
    )
}

/// Fills a table.
fn lookups(options: &Options, mut table: Table, scenes: &[Scene]) -> Result<Table, Error> {
    let runs = if options.quick { RUNS / 10 } else { RUNS };
    for scene in scenes {
        let all = step(&scene.text(), || scene.measure(runs))?;
        let numbers = all.map(|lookups| Numbers::of(&lookups));
        for (client, numbers) in Client::ALL.iter().zip(&numbers) {
            table.rows.push(numbers.row(scene, *client));
        }
        table.rows.push(Numbers::ratios(&numbers, scene));
        for row in table.rows.iter().rev().take(3).rev() {
            println!("    {}", row.join("  "));
        }
    }
    Ok(table)
}

/// What the lookups of one client came to.
struct Numbers {
    runs: usize,
    failed: usize,
    p50: Duration,
    p95: Duration,
    /// The medians of what passed.
    passed: Passed,
}

impl Numbers {
    fn of(lookups: &[Lookup]) -> Self {
        let found: Vec<Duration> = lookups.iter().filter_map(|l| l.time).collect();
        let median = |of: fn(&Lookup) -> u64| {
            let mut all: Vec<u64> = lookups.iter().filter(|l| l.time.is_some()).map(of).collect();
            all.sort_unstable();
            all.get(all.len() / 2).copied().unwrap_or_default()
        };
        let passed =
            Passed { packets: median(|l| l.passed.packets), octets: median(|l| l.passed.octets) };
        let (runs, failed) = (lookups.len(), lookups.len() - found.len());
        let Percentiles { p50, p95, .. } = Percentiles::of(found);
        Self { runs, failed, p50, p95, passed }
    }

    fn row(&self, scene: &Scene, client: Client) -> Vec<String> {
        vec![
            scene.rtt.as_millis().to_string(),
            scene.nodes.to_string(),
            client.name().to_owned(),
            self.runs.to_string(),
            self.failed.to_string(),
            shown(self.p50),
            shown(self.p95),
            self.passed.packets.to_string(),
            self.passed.octets.to_string(),
        ]
    }

    /// The row that divides the first by the second.
    fn ratios([ours, theirs]: &[Self; 2], scene: &Scene) -> Vec<String> {
        let time = |of: fn(&Self) -> Duration| of(ours).as_secs_f64() / of(theirs).as_secs_f64();
        let count = |of: fn(&Self) -> u64| of(ours) as f64 / of(theirs) as f64;
        let ratios = [
            time(|n| n.p50),
            time(|n| n.p95),
            count(|n| n.passed.packets),
            count(|n| n.passed.octets),
        ];
        let begin = [scene.rtt.as_millis().to_string(), scene.nodes.to_string()];
        let labels = ["*ours / theirs*", "", ""].map(ToOwned::to_owned);
        let cells = ratios.map(|ratio| format!("*{ratio:.2}*"));
        begin.into_iter().chain(labels).chain(cells).collect()
    }
}

fn finish(options: &Options, which: Which, table: &Table) -> Result<(), Error> {
    let tables = report::markdown(std::slice::from_ref(table));
    // The heading is the table's; the conditions stand below it.
    let (heading, rest) = tables.split_once("\n\n").unwrap_or(("", &tables));
    let text = format!("{heading}\n\nConditions: {}.\n\n{rest}", conditions::machine()?);
    println!("\n{text}");
    if options.quick {
        println!("BENCHMARKS.md stays as it is: this was not the whole measurement.");
        return Ok(());
    }
    let name = which.to_possible_value().map(|value| value.get_name().to_owned());
    let section = format!("bench dht --table {}", name.unwrap_or_default());
    step("write the numbers into BENCHMARKS.md", || {
        report::write_section(&workspace_root().join("BENCHMARKS.md"), &section, &text)
    })
}
