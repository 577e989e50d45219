//! What is resident when a client looks up and when a provider waits, and what our client's state takes.

use std::thread;
use std::time::Duration;

use phase_tests::room;

use super::super::numbers::resident_kib;
use super::super::report::Table;
use super::super::responder::{Dht, start_ours};
use super::lookup::Client;
use super::peak;
use super::scene::{Scene, Set};
use crate::Error;
use crate::steps::step;

/// Start-up work is over by then.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// Looks at everything in `scene`; at each client `runs` times.
pub(super) fn measure(scene: &Scene, runs: usize) -> Result<Table, Error> {
    step("look at the memory of clients and of a provider", || {
        let set = scene.set()?;
        let mut rows = Vec::new();
        for client in Client::ALL {
            let what = format!("{}, the most in a lookup (`VmHWM`)", client.name());
            rows.push(vec![what, peak(client, &set, runs)?.to_string()]);
        }
        let idle = "`phase-provider serve` as a node of the DHT, 10 s after its start (`VmRSS`)";
        rows.push(vec![idle.to_owned(), provider(&set)?.to_string()]);
        for (what, octets) in room::of_clients() {
            rows.push(vec![format!("size of {what}"), octets.div_ceil(1024).to_string()]);
        }
        rows.iter().for_each(|row| println!("    {}", row.join("  ")));
        Ok(Table {
            title: "Memory of a lookup".to_owned(),
            explanation: format!(
                "With one stock node; medians of {runs} runs. The client of a device has no other state than its size: \
                 there is no heap."
            ),
            columns: vec!["what", "KiB"],
            rows,
        })
    })
}

/// The median of a client's largest resident memory in KiB.
fn peak(client: Client, set: &Set, runs: usize) -> Result<u64, Error> {
    let here = set.lan.host(0);
    let command = client.command(here, &set.wanted);
    let mut kib =
        (0..runs).map(|_| peak::resident_kib(here, &command)).collect::<Result<Vec<_>, _>>()?;
    kib.sort_unstable();
    Ok(kib.get(runs / 2).copied().unwrap_or_default())
}

/// The resident memory of an idle provider in KiB.
fn provider(set: &Set) -> Result<u64, Error> {
    let running = start_ours(&set.lan.host(0).namespace, Dht::From(&set.wanted.bootstraps))?;
    thread::sleep(SETTLED_AFTER);
    resident_kib(running.pid())
}
