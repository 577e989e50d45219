//! From the start of a client process to its answer.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use phase_tests::deadline;
use phase_tests::netns::{Host, Lan};
use phase_tests::peers::{AvahiDaemon, Peer};

use super::lan::Effort;
use super::numbers::{Percentiles, shown};
use super::report::Table;
use super::responder::{ARCHITECTURE, CHANNEL, KIND, OURS, Responder, program};
use crate::Error;
use crate::steps::step;

/// The pairs that are measured: each client against its own kind and against ours, the fastest peer
/// client against the fastest peer responder.
const PAIRS: &[(Client, Responder)] = &[
    (Client::Ours, OURS),
    (Client::Peer(Peer::EdgeMdns), Responder::Peer(Peer::MdnsSd)),
    (Client::Peer(Peer::EdgeMdns), OURS),
    (Client::Peer(Peer::MdnsSd), Responder::Peer(Peer::MdnsSd)),
    (Client::Peer(Peer::MdnsSd), OURS),
    (Client::Peer(Peer::Avahi), Responder::Peer(Peer::Avahi)),
    (Client::Peer(Peer::Avahi), OURS),
    (Client::Peer(Peer::Zeroconf), Responder::Peer(Peer::Zeroconf)),
    (Client::Peer(Peer::Zeroconf), OURS),
];

/// RFC 6762 §6: a record is multicast once a second at most; who asks sooner measures that rule.
const BETWEEN_MULTICASTS: Duration = Duration::from_millis(1200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Ours,
    Peer(Peer),
}

/// Measures every pair whose responder is among `responders`.
pub(super) fn measure(responders: &[Responder], effort: Effort) -> Result<Table, Error> {
    let mut rows = Vec::new();
    for (client, responder) in PAIRS.iter().filter(|(_, r)| responders.contains(r)) {
        let what = format!("discover {} with {}", responder.name(), client.name());
        let times = step(&what, || measure_pair(*client, *responder, effort))?;
        let runs = times.len();
        let Percentiles { p50, p95, p99 } = Percentiles::of(times);
        let mut row = vec![client.description().to_owned(), responder.name().to_owned()];
        row.extend([runs.to_string(), shown(p50), shown(p95), shown(p99)]);
        println!("    {}", row.join("  "));
        rows.push(row);
    }
    Ok(Table {
        title: "Process start to resolved service".to_owned(),
        explanation:
            "From starting the client's process to the line with its result, in milliseconds. Ours \
                      has then verified the advert's signature; nobody else verifies anything."
                .to_owned(),
        columns: vec!["client", "responder", "runs", "p50", "p95", "p99"],
        rows,
    })
}

fn measure_pair(
    client: Client,
    responder: Responder,
    effort: Effort,
) -> Result<Vec<Duration>, Error> {
    let lan = Lan::pair()?;
    let running = responder.start(lan.host(0))?;
    let here = lan.host(1);
    here.namespace.ip(&["route", "replace", "224.0.0.0/4", "dev", Host::INTERFACE])?;
    super::answers::wait_until_settled(here, responder)?;
    let trust = running.peer_id()?;
    let mut times = Vec::new();
    for _ in 0..client.runs(effort) {
        if !client.asks_one_shot() {
            thread::sleep(BETWEEN_MULTICASTS);
        }
        times.push(client.time(here, trust.as_deref())?);
    }
    Ok(times)
}

impl Client {
    fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Peer(peer) => peer.name(),
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Ours => "`phase-discover --quiet`",
            Self::Peer(Peer::Avahi) => "`avahi-browse -rpt`, daemon just started",
            Self::Peer(Peer::MdnsSd) => "mdns-sd browse",
            Self::Peer(Peer::Zeroconf) => "python-zeroconf browse",
            Self::Peer(Peer::EdgeMdns) => "edge-mdns one-shot query",
            Self::Peer(Peer::Bonjour) => "bonjour-service browse",
        }
    }

    /// Whether the answer comes by unicast.
    fn asks_one_shot(self) -> bool {
        matches!(self, Self::Ours | Self::Peer(Peer::EdgeMdns))
    }

    fn runs(self, effort: Effort) -> usize {
        match self {
            Self::Ours | Self::Peer(Peer::EdgeMdns) => effort.quick_runs,
            Self::Peer(Peer::Avahi) => effort.cold_runs,
            Self::Peer(Peer::MdnsSd | Peer::Zeroconf | Peer::Bonjour) => effort.slow_runs,
        }
    }

    /// One run from process start to the line with the result.
    fn time(self, here: &Host, trust: Option<&str>) -> Result<Duration, Error> {
        if self == Self::Peer(Peer::Avahi) {
            // A daemon with an empty cache, as after boot.
            let daemon = AvahiDaemon::start(&here.namespace)?;
            let browse = daemon.avahi_browse(&here.namespace, &["-rpt", KIND]);
            return time_to_line(here, &browse, "=;eth0;");
        }
        let (command, wanted) = match self {
            Self::Ours => {
                let mut discover = here.namespace.command(program("phase-discover"));
                discover.args(["--quiet", "--channel", CHANNEL, "--arch", ARCHITECTURE]);
                discover.args(trust.map(|id| ["--trust", id]).iter().flatten());
                (discover, "http://")
            }
            Self::Peer(Peer::EdgeMdns) => {
                let mut query = Peer::EdgeMdns.program(&here.namespace);
                query.args(["query", &here.ipv4.to_string(), KIND]);
                (query, "found\t")
            }
            Self::Peer(peer) => {
                let mut browse = peer.program(&here.namespace);
                browse.args(["browse", KIND]);
                (browse, "found\t")
            }
        };
        time_to_line(here, &command, wanted)
    }
}

/// Starts `command` from a thread inside the namespace, without `ip netns exec` between, and waits for a
/// line that starts with `wanted`.
fn time_to_line(here: &Host, command: &Command, wanted: &str) -> Result<Duration, Error> {
    let mut direct = without_namespace(command);
    let outcome = here.namespace.inside(|| {
        let start = deadline::now();
        let mut child = direct.spawn()?;
        let output = child.stdout.take();
        let mut lines = BufReader::new(output.ok_or(std::io::ErrorKind::BrokenPipe)?).lines();
        let found = lines.any(|line| line.is_ok_and(|line| line.starts_with(wanted)));
        let elapsed = start.elapsed();
        // One that browses for ever is ended; one that has ended by itself is gone.
        let _ = child.kill();
        child.wait()?;
        Ok(found.then_some(elapsed))
    })?;
    outcome.ok_or_else(|| Error::Unexpected {
        what: format!("{direct:?}"),
        found: "it ended without a result".to_owned(),
    })
}

/// Takes `ip netns exec NAME` off a command made for a namespace.
pub(super) fn without_namespace(command: &Command) -> Command {
    let mut words = command.get_args().skip(3);
    let mut direct = Command::new(words.next().unwrap_or_default());
    direct.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            direct.env(key, value);
        }
    }
    direct
}
