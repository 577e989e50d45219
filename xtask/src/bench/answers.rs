//! What a responder does: its start, the latency of its answers, and how many it gives under load.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use phase_tests::deadline::{self, Deadline, GENEROUS};
use phase_tests::netns::{Host, Lan};
use phase_tests::process::run;
use serde_json::Value;

use super::lan::Effort;
use super::numbers::{Percentiles, cpu_time, resident_kib, shown};
use super::report::Table;
use super::responder::{KIND, Responder, Running, program};
use crate::Error;
use crate::steps::step;

/// RFC 6762 §3.
const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 251), 5353);

/// Sources of load: a responder may limit what one address gets.
const SOURCES: u8 = 8;

/// Queries outstanding on each source.
const WINDOW: &str = "16";

/// Announcing takes two packets one second apart, some responders send three.
const SETTLED_AFTER: Duration = Duration::from_secs(4);

/// The rows of one responder in the three tables.
#[derive(Debug)]
struct Rows {
    start: Vec<String>,
    latency: Vec<Vec<String>>,
    load: Vec<Vec<String>>,
}

/// Measures every responder: start, latency, load.
pub(super) fn measure(responders: &[Responder], effort: Effort) -> Result<Vec<Table>, Error> {
    let mut start = Vec::new();
    let mut latency = Vec::new();
    let mut load = Vec::new();
    for responder in responders {
        let what = format!("start, latency and load of {}", responder.name());
        let rows = step(&what, || measure_one(*responder, effort))?;
        start.push(rows.start);
        latency.extend(rows.latency);
        load.extend(rows.load);
    }
    Ok(vec![
        Table {
            title: "Process start to first announcement".to_owned(),
            explanation: "In milliseconds. RFC 6762 §8.1 asks for up to 250 ms of chance, three probes 250 ms \
                          apart and 250 ms of silence, 750 to 1,000 ms in all; whoever is faster does not probe."
                .to_owned(),
            columns: vec!["responder", "starts", "median", "slowest"],
            rows: start,
        },
        Table {
            title: "Query to answer".to_owned(),
            explanation: "In milliseconds. One-shot: a PTR query from a port other than 5353 (legacy unicast), 5 ms \
                          apart. QU: from port 5353 with the unicast-response bit, 250 ms apart; SRV is a unique \
                          record, PTR a shared one, for which RFC 6762 §6 asks for 20 to 120 ms. Unanswered: \
                          nothing came within one second."
                .to_owned(),
            columns: vec!["responder", "query", "count", "unanswered", "by multicast", "p50", "p95", "p99"],
            rows: latency,
        },
        Table {
            title: "Answers under load".to_owned(),
            explanation: format!(
                "Closed loop, {SOURCES} source addresses with {WINDOW} queries outstanding each, generator and \
                 responder on one machine. CPU is the responder's, user and system. Lost: no answer within 100 ms."
            ),
            columns: vec![
                "responder",
                "query",
                "answers/s",
                "lost",
                "by multicast",
                "octets each",
                "CPU us/answer",
                "RSS after, MiB",
            ],
            rows: load,
        },
    ])
}

fn measure_one(responder: Responder, effort: Effort) -> Result<Rows, Error> {
    let mut starts = Vec::new();
    for _ in 1..effort.starts {
        let lan = Lan::pair()?;
        starts.push(time_start(responder, &lan)?.1);
    }
    let lan = Lan::pair()?;
    let (running, first) = time_start(responder, &lan)?;
    starts.push(first);
    let slowest = starts.iter().max().copied().unwrap_or_default();
    let count = starts.len();
    let start = vec![
        responder.name().to_owned(),
        count.to_string(),
        shown(Percentiles::of(starts).p50),
        shown(slowest),
    ];
    println!("    start: {}", start.join("  "));
    let mut rows = Rows { start, latency: Vec::new(), load: Vec::new() };
    if !responder.answers_one_shot_queries() {
        return Ok(rows);
    }
    let here = lan.host(1);
    wait_until_settled(here, responder)?;
    let kind = format!("{KIND}.local");
    let instance = format!("{}.{kind}", instance(here)?);
    let questions = [
        ("one-shot PTR", "legacy", "PTR", &kind, effort.legacy_queries, "5"),
        ("QU SRV", "qu", "SRV", &instance, effort.qu_queries, "250"),
        ("QU PTR", "qu", "PTR", &kind, effort.qu_queries / 2, "250"),
    ];
    for (name, how, rtype, owner, count, pause) in questions {
        let count = count.to_string();
        let result = load(here, &["paced", how, &count, pause, rtype, owner, &text(here.ipv4)])?;
        rows.latency.push(latency_row(responder, name, &result));
    }
    let sources = add_sources(here)?;
    for (name, how, rtype, owner, _, _) in questions.into_iter().take(2) {
        let seconds = effort.load_seconds.to_string();
        let mut arguments = vec!["closed", how, &seconds, WINDOW, rtype, owner];
        arguments.extend(sources.iter().map(String::as_str));
        let before = cpu_time(running.pid())?;
        let result = load(here, &arguments)?;
        let used = cpu_time(running.pid())?.saturating_sub(before);
        rows.load.push(load_row(responder, name, &result, used, resident_kib(running.pid())?));
    }
    Ok(rows)
}

fn latency_row(responder: Responder, name: &str, result: &Value) -> Vec<String> {
    let micros = |key: &str| shown(Duration::from_secs_f64(number(result, key) / 1e6));
    let mut row = vec![responder.name().to_owned(), name.to_owned()];
    row.extend(["count", "unanswered", "multicast"].map(|key| number(result, key).to_string()));
    row.extend(["p50_us", "p95_us", "p99_us"].map(micros));
    println!("    {}", row.join("  "));
    row
}

fn load_row(
    responder: Responder,
    name: &str,
    result: &Value,
    used: Duration,
    resident: u64,
) -> Vec<String> {
    let answers = number(result, "answers");
    let each = |total: f64| {
        if answers > 0.0 { format!("{:.1}", total / answers) } else { "-".to_owned() }
    };
    let rate = answers / number(result, "elapsed_s");
    let row = vec![
        responder.name().to_owned(),
        name.to_owned(),
        format!("{rate:.0}"),
        format!("{:.2} %", 100.0 * number(result, "lost") / number(result, "sent").max(1.0)),
        number(result, "multicast").to_string(),
        each(number(result, "octets")),
        each(used.as_secs_f64() * 1e6),
        format!("{:.1}", resident as f64 / 1024.0),
    ];
    println!("    {}", row.join("  "));
    row
}

/// Starts a responder and waits for its first announcement.
fn time_start(responder: Responder, lan: &Lan) -> Result<(Running, Duration), Error> {
    let here = lan.host(1);
    let socket = here.namespace.inside(|| {
        let socket = UdpSocket::bind(GROUP)?;
        socket.join_multicast_v4(&GROUP.0, &here.ipv4)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(socket)
    })?;
    let (sender, receiver) = mpsc::channel();
    let listener = thread::spawn(move || first_announcement(&socket, &sender));
    let running = responder.start(lan.host(0))?;
    let announced = receiver.recv_timeout(GENEROUS).map_err(|_| Error::Unexpected {
        what: format!("the first announcement of {}", responder.name()),
        found: "none".to_owned(),
    })?;
    // It ends when it has sent, or at its deadline.
    let _ = listener.join();
    let elapsed = announced.saturating_duration_since(running.started());
    Ok((running, elapsed))
}

/// A response that names the service type, from anybody: there is one responder on this cable.
fn first_announcement(socket: &UdpSocket, sender: &mpsc::Sender<Instant>) {
    let deadline = Deadline::after(GENEROUS);
    let label = KIND.split('.').next().unwrap_or_default().as_bytes();
    let mut buffer = [0; 9000];
    while !deadline.has_passed() {
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let at = deadline::now();
        let octets = buffer.get(..length).unwrap_or_default();
        let response = octets.get(2).is_some_and(|flags| flags & 0x80 != 0);
        if response && octets.windows(label.len()).any(|window| window == label) {
            // Nobody may wait for it any more.
            let _ = sender.send(at);
            return;
        }
    }
}

/// Waits until the responder answers and has sent all its announcements.
pub(super) fn wait_until_settled(here: &Host, responder: Responder) -> Result<(), Error> {
    if responder.answers_one_shot_queries() {
        instance(here)?;
    }
    thread::sleep(SETTLED_AFTER);
    Ok(())
}

/// The name of the instance that answers.
fn instance(here: &Host) -> Result<String, Error> {
    let mut command = here.namespace.command(program("mdns-load"));
    command.args(["instance", &format!("{KIND}.local"), &text(here.ipv4)]);
    Ok(run(command)?.trim_end_matches('\n').to_owned())
}

/// Gives this host more addresses to ask from.
fn add_sources(here: &Host) -> Result<Vec<String>, Error> {
    let sources: Vec<String> = (0..SOURCES).map(|n| format!("10.77.0.{}", 101 + n)).collect();
    for source in &sources {
        here.namespace.add_address(Host::INTERFACE, &format!("{source}/24"))?;
    }
    Ok(sources)
}

fn load(here: &Host, arguments: &[&str]) -> Result<Value, Error> {
    let mut command = here.namespace.command(program("mdns-load"));
    command.args(arguments);
    let line = run(command)?;
    serde_json::from_str(&line)
        .map_err(|_| Error::Unexpected { what: "mdns-load".to_owned(), found: line })
}

fn number(result: &Value, key: &str) -> f64 {
    result.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

fn text(address: Ipv4Addr) -> String {
    address.to_string()
}
