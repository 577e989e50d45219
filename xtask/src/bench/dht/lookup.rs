//! One lookup by one client.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use phase_tests::cable::Passed;
use phase_tests::netns::{Host, Lan};
use phase_tests::{deadline, libp2p};

use super::super::responder::{ARCHITECTURE, CHANNEL, program};
use super::scene::Set;
use crate::Error;

/// When nothing has passed for so long after a client's end, its connections are closed.
const QUIET: Duration = Duration::from_millis(10);

/// Octets of a frame before the IP header.
const ETHERNET: u64 = 14;

/// Who looks up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// `phase-discover`, which verifies the record.
    Ours,
    /// rust-libp2p 0.57.1.
    RustLibp2p,
}

/// What is looked up, and where to begin.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The key in the DHT.
    pub(super) key: Vec<u8>,
    /// What stands there.
    pub(super) value: Vec<u8>,
    /// The URL in it.
    pub(super) url: String,
    /// The peer id of who signed it.
    pub(super) trust: String,
    /// Multiaddrs with peer ids.
    pub(super) bootstraps: Vec<String>,
}

/// What a lookup took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lookup {
    /// From process start to the result; `None`: there was none.
    pub(super) time: Option<Duration>,
    /// What passed on the cable.
    pub(super) passed: Passed,
}

impl Client {
    /// Those that are compared.
    pub(super) const ALL: [Self; 2] = [Self::Ours, Self::RustLibp2p];

    /// The name in tables.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "`phase-discover`",
            Self::RustLibp2p => "rust-libp2p 0.57.1",
        }
    }

    /// The command, without `ip netns exec` before it: to be run inside the namespace.
    pub(super) fn command(self, host: &Host, wanted: &Wanted) -> Command {
        let bootstraps: Vec<&str> = wanted.bootstraps.iter().map(String::as_str).collect();
        let command = match self {
            Self::Ours => {
                let mut discover = host.namespace.command(program("phase-discover"));
                discover.args(["--quiet", "--mode", "wan", "--trust", &wanted.trust]);
                discover.args(["--channel", CHANNEL, "--arch", ARCHITECTURE]);
                discover.args(bootstraps.iter().flat_map(|address| ["--bootstrap", address]));
                discover
            }
            Self::RustLibp2p => libp2p::looking_up(&host.namespace, &wanted.key, &bootstraps),
        };
        super::super::discovery::without_namespace(&command)
    }

    /// What the line with the result begins with.
    fn result(self, wanted: &Wanted) -> String {
        match self {
            Self::Ours => wanted.url.clone(),
            Self::RustLibp2p => {
                let digits = wanted.value.iter().map(|octet| format!("{octet:02x}"));
                format!("found {}", digits.collect::<String>())
            }
        }
    }

    /// Runs it once.
    pub(super) fn look_up(self, set: &Set) -> Result<Lookup, Error> {
        let wanted = &set.wanted;
        let here = set.lan.host(0);
        let mut command = self.command(here, wanted);
        let expected = self.result(wanted);
        let before = passed(&set.lan)?;
        let time = here.namespace.inside(|| {
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
            let start = deadline::now();
            let mut child = command.spawn()?;
            let output = child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
            let mut lines = BufReader::new(output).lines();
            let found = lines.any(|line| line.is_ok_and(|line| line.starts_with(&expected)));
            let elapsed = start.elapsed();
            child.wait()?;
            Ok(found.then_some(elapsed))
        })?;
        let after = settled(set)?;
        let packets = after.packets - before.packets;
        let octets = after.octets - before.octets;
        Ok(Lookup { time, passed: Passed { packets, octets } })
    }
}

/// What has passed when nothing passes any more.
fn settled(set: &Set) -> Result<Passed, Error> {
    // Under way, and at the ends.
    let still = set.rtt + QUIET;
    let mut last = passed(&set.lan)?;
    loop {
        std::thread::sleep(still);
        let now = passed(&set.lan)?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
}

/// What has passed between the hosts, as their cable counts it or else the interface of the first.
fn passed(lan: &Lan) -> Result<Passed, Error> {
    if let Some(cable) = lan.cable() {
        return Ok(cable.passed());
    }
    let path = "/proc/thread-self/net/dev";
    let text = lan.host(0).namespace.inside(|| std::fs::read_to_string(path))?;
    counted(&text).ok_or_else(|| Error::Unexpected { what: path.to_owned(), found: text })
}

/// proc(5): octets and packets are the first two numbers received, and the first two of eight sent.
fn counted(text: &str) -> Option<Passed> {
    let mut lines = text.lines().map(|line| line.trim().split_once(':'));
    let (_, numbers) = lines.find_map(|line| line.filter(|(name, _)| *name == Host::INTERFACE))?;
    let numbers =
        numbers.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>().ok()?;
    let packets = numbers.get(1)? + numbers.get(9)?;
    let octets = numbers.first()? + numbers.get(8)? - packets * ETHERNET;
    Some(Passed { packets, octets })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_are_counted_from_the_ip_header_on() {
        let text = "Inter-| Receive\n lo: 7 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n  \
                    eth0: 1014 1 0 0 0 0 0 0 228 2 0 0 0 0 0 0\n";
        assert_eq!(counted(text), Some(Passed { packets: 3, octets: 1200 }));
        assert_eq!(counted("lo: 7 1"), None);
    }
}
