//! A provider of ours in the DHT, a discovery through it, and records made without a provider.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use phase_core::limits::ADVERT_JSON_MAX;
use phase_core::time::UnixTime;
use phase_core::wire::record::{Advert, AdvertKey, Version};
use phase_core::wire::url::Url;
use phase_tests::deadline::{self, GENEROUS};
use phase_tests::harness::{arch, channel, key};
use phase_tests::libp2p::Node;
use phase_tests::netns::Host;
use phase_tests::process::{Finished, Process, Stream, binary, run};
use serde_json::Value;
use tempfile::TempDir;

/// The key that a provider's advert of stable arm64 is under.
pub(crate) const KEY: &[u8] = b"/phase/stable/arm64/manifest";

/// How long a discovery may take in the worst case that it is made for.
const DISCOVERY: Duration = Duration::from_secs(20);

/// A running `phase-provider serve` without mDNS.
pub(crate) struct Provider {
    process: Process,
    /// Its peer id.
    pub(crate) peer: String,
    /// Where its DHT node listens, with its peer id.
    pub(crate) address: String,
    _directory: TempDir,
}

impl Provider {
    /// Starts a provider of an image of stable arm64 that enters the DHT by `bootstraps`; `more` are flags.
    pub(crate) fn start(host: &Host, bootstraps: &[&str], more: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let image = directory.path().join("artifacts/stable/arm64");
        fs::create_dir_all(&image).unwrap();
        fs::write(image.join("version"), "2026.01.01").unwrap();
        fs::write(image.join("vmlinuz"), "a kernel").unwrap();
        let mut command = host.namespace.command(binary("phase-provider").unwrap());
        command.args(["serve", "--no-mdns", "--listen", "[::]:8080"]);
        command.arg("--artifacts").arg(directory.path().join("artifacts"));
        command.arg("--state-dir").arg(directory.path().join("state"));
        for bootstrap in bootstraps {
            command.args(["--bootstrap", bootstrap]);
        }
        let process = Process::spawn(command_with(command, more)).unwrap();
        let peer = peer_id(&directory.path().join("state"));
        let address = format!("/ip4/{}/tcp/4001/p2p/{peer}", host.ipv4);
        Self { process, peer, address, _directory: directory }
    }

    /// What it has written.
    pub(crate) fn output(&self) -> String {
        self.process.output(Stream::Stderr)
    }

    /// Whether a value is an advert of this provider.
    pub(crate) fn has_signed(&self, value: &[u8]) -> bool {
        let advert: Value = serde_json::from_slice(value).unwrap_or_default();
        advert["peer_id"] == self.peer.as_str()
    }

    /// Waits until it has published, with or without nodes that store values.
    pub(crate) fn wait_until_published(&mut self) {
        let said = |line: &str| line.contains("published stable/arm64");
        self.process.wait_for_line(Stream::Stderr, said).unwrap();
    }

    /// Waits until a node stores an advert of this provider under `key`.
    pub(crate) fn wait_until_stored(&self, node: &mut Node, key: &[u8]) {
        let stored = deadline::until("a stored advert", GENEROUS, || {
            Ok(node.stored(key)?.filter(|value| self.has_signed(value)))
        });
        stored.unwrap_or_else(|error| panic!("{error}\n{}\n{}", self.output(), node.output()));
    }
}

fn command_with(mut command: std::process::Command, more: &[&str]) -> std::process::Command {
    command.args(more);
    command
}

/// The peer id of the key that the first start makes.
fn peer_id(state: &Path) -> String {
    let shown = deadline::until("the provider's key", GENEROUS, || {
        let mut command = std::process::Command::new(binary("phase-provider")?);
        command.args(["key", "show", "--state-dir"]).arg(state);
        Ok(run(command).ok())
    });
    shown.unwrap().trim().to_owned()
}

/// Runs `phase-discover --mode wan` for stable arm64 to its end.
pub(crate) fn discover(host: &Host, bootstraps: &[&str], more: &[&str]) -> Finished {
    run_discover(host, "stable", bootstraps, more)
}

/// As [`discover`], of another channel and whoever signed.
pub(crate) fn discover_channel(host: &Host, channel: &str, bootstraps: &[&str]) -> Finished {
    run_discover(host, channel, bootstraps, &[])
}

fn run_discover(host: &Host, channel: &str, bootstraps: &[&str], more: &[&str]) -> Finished {
    let mut command = host.namespace.command(binary("phase-discover").unwrap());
    command.args(["--mode", "wan", "--channel", channel, "--arch", "arm64", "--json"]);
    for bootstrap in bootstraps {
        command.args(["--bootstrap", bootstrap]);
    }
    Process::spawn(command_with(command, more)).unwrap().wait(DISCOVERY).unwrap()
}

/// The candidates that it printed.
pub(crate) fn candidates(done: &Finished) -> Vec<Value> {
    done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The advert of stable arm64 at `host` that the provider number `number` signs now, as the DHT holds it.
pub(crate) fn advert(host: &Host, number: u8) -> Vec<u8> {
    advert_for(host, number, "stable")
}

/// As [`advert`], of another channel.
pub(crate) fn advert_for(host: &Host, number: u8, name: &str) -> Vec<u8> {
    let key = key(number.into());
    #[expect(clippy::disallowed_methods, reason = "an advert is signed with the time it is")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let advert = Advert {
        url: Url::parse(&format!("http://{}:8080/{name}/arm64/manifest.json", host.ipv4)).unwrap(),
        peer: key.peer_id(),
        name: None,
        issued: UnixTime(now),
        version: Version::new("2026.01.01").unwrap(),
        seq: now,
        ttl: 3600,
        digest: None,
    };
    let signed = advert.sign(&key, &channel(name), &arch("arm64")).unwrap();
    let mut buffer = [0; ADVERT_JSON_MAX];
    signed.encode_json(&mut buffer).unwrap().to_vec()
}

/// The key below [`KEY`] that is a provider's own.
pub(crate) fn sub_key(peer: &str) -> Vec<u8> {
    let base = AdvertKey::base(channel("stable"), arch("arm64"));
    base.of(peer.parse().unwrap()).octets().to_vec()
}
