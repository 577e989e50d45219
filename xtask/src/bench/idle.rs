//! What a responder costs while nobody asks.

use std::thread;
use std::time::Duration;

use phase_tests::netns::Lan;

use super::lan::Effort;
use super::numbers::{cpu_time, resident_kib};
use super::report::Table;
use super::responder::{Responder, Running};
use crate::Error;
use crate::steps::step;

/// Start-up work is over by then.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// Measures all responders at the same time, each on a network of its own.
pub(super) fn measure(responders: &[Responder], effort: Effort) -> Result<Table, Error> {
    let period = Duration::from_secs(effort.idle_seconds.into());
    let what = format!("idle cost of every responder, {} s", period.as_secs());
    let rows = step(&what, || measure_all(responders, period))?;
    Ok(Table {
        title: "Idle".to_owned(),
        explanation: format!(
            "Over {} s without a query, beginning 10 s after the start.",
            period.as_secs()
        ),
        columns: vec!["responder", "CPU %", "RSS MiB"],
        rows,
    })
}

fn measure_all(responders: &[Responder], period: Duration) -> Result<Vec<Vec<String>>, Error> {
    let mut all: Vec<(Responder, Running, Lan)> = Vec::new();
    for responder in responders {
        let lan = Lan::pair()?;
        let running = responder.start(lan.host(0))?;
        all.push((*responder, running, lan));
    }
    thread::sleep(SETTLED_AFTER);
    let before: Vec<Duration> =
        all.iter().map(|(_, running, _)| cpu_time(running.pid())).collect::<Result<_, _>>()?;
    thread::sleep(period);
    let mut rows = Vec::new();
    for ((responder, running, _), before) in all.iter().zip(before) {
        let used = cpu_time(running.pid())?.saturating_sub(before);
        let row = vec![
            responder.name().to_owned(),
            format!("{:.3}", 100.0 * used.as_secs_f64() / period.as_secs_f64()),
            format!("{:.1}", resident_kib(running.pid())? as f64 / 1024.0),
        ];
        println!("    {}", row.join("  "));
        rows.push(row);
    }
    Ok(rows)
}
