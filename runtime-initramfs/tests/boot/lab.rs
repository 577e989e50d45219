//! A LAN with a provider and a DHCP server on one host, and a machine that boots beside it.
//!
//! The server is `dnsmasq`, which also advertises itself as IPv6 router where it is told to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use phase_tests::deadline::GENEROUS;
use phase_tests::netns::{Namespace, Segment};
use phase_tests::process::{Finished, Process, Stream, binary};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_phase-boot");

/// The first address of the host with the provider.
pub(crate) const HOST: &str = "10.77.0.1";

/// What a DHCP server gives: addresses of the host's own network, itself as router.
pub(crate) const LEASES: &[&str] = &["--dhcp-range=10.77.0.100,10.77.0.150,10m"];

/// A switch, a host on it, and a machine on it that has nothing but a cable.
pub(crate) struct Lab {
    // Processes end before their namespaces, and those before the switch.
    servers: Vec<Process>,
    pub(crate) host: Namespace,
    pub(crate) client: Namespace,
    pub(crate) segment: Segment,
    directory: TempDir,
}

impl Lab {
    /// The host has `addresses` on its `eth0`, which is port 0 of the switch; the machine's `eth0` is port 1.
    pub(crate) fn new(addresses: &[&str]) -> Self {
        let segment = Segment::new().unwrap();
        let host = Namespace::new("host").unwrap();
        let client = Namespace::new("boot").unwrap();
        segment.attach(&host, "eth0", addresses).unwrap();
        segment.attach(&client, "eth0", &[]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        Self { servers: Vec::new(), host, client, segment, directory }
    }

    /// A LAN with IPv4, a DHCP server and a provider.
    pub(crate) fn with_everything() -> Self {
        let mut lab = Self::new(&["10.77.0.1/24"]);
        lab.start_dhcp(LEASES);
        lab.start_provider();
        lab
    }

    /// Starts `dnsmasq` on the host, without DNS unless the arguments turn it on.
    pub(crate) fn start_dhcp(&mut self, arguments: &[&str]) {
        let server = dnsmasq(&self.host, "eth0", &self.path("leases"), arguments);
        self.servers.push(server);
    }

    /// Starts a provider of `stable/arm64` on the host, and waits until it announces. It has a kernel of a few octets,
    /// unless there is another one.
    pub(crate) fn start_provider(&mut self) {
        let artifacts = self.path("artifacts");
        let image = artifacts.join("stable/arm64");
        fs::create_dir_all(&image).unwrap();
        if !image.join("vmlinuz").exists() {
            fs::write(image.join("vmlinuz"), "content").unwrap();
        }
        let state = self.path("state");
        let provider = provider(&self.host, &artifacts, &state, &["--no-dht"]);
        self.servers.push(provider);
    }

    /// What the server that was started first has said.
    pub(crate) fn server_said(&self) -> String {
        self.servers[0].output(Stream::Stderr)
    }

    /// The peer id of the provider.
    pub(crate) fn peer_id(&self) -> String {
        peer_id(&self.path("state"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A discovery of what the provider has, by the machine.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        discover(self.client.command(PROGRAM), arguments)
    }

    /// Starts one.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        Process::spawn(self.command(arguments)).unwrap()
    }

    /// Runs one to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        self.start(arguments).wait(GENEROUS).unwrap()
    }

    /// What the kernel says of one port of the switch: whether it carries frames.
    pub(crate) fn set_port(&self, port: usize, up: bool) {
        let state = if up { "up" } else { "down" };
        let port = format!("port{port}");
        self.segment.switch().ip(&["link", "set", "dev", &port, state]).unwrap();
    }

    /// Runs a command of the machine to its end.
    pub(crate) fn run_command(&self, arguments: &[&str]) -> Finished {
        self.start_command(arguments).wait(GENEROUS).unwrap()
    }

    /// Starts one.
    pub(crate) fn start_command(&self, arguments: &[&str]) -> Process {
        let mut command = self.client.command(PROGRAM);
        command.args(arguments);
        Process::spawn(command).unwrap()
    }

    /// Where the provider's manifest is.
    pub(crate) fn url() -> String {
        format!("http://{HOST}:8080/stable/arm64/manifest.json")
    }
}

/// `phase-boot discover` of what providers here have.
pub(crate) fn discover(mut command: Command, arguments: &[&str]) -> Command {
    command.args(["discover", "--arch", "arm64"]).args(arguments);
    command
}

/// Starts `dnsmasq` and waits until it serves.
pub(crate) fn dnsmasq(
    host: &Namespace,
    interface: &str,
    leases: &Path,
    arguments: &[&str],
) -> Process {
    let mut command = host.command("dnsmasq");
    command.args(["--no-daemon", "--no-ping", "--conf-file=/dev/null", "--user=root"]);
    command.args(["--no-resolv", "--no-hosts", "--bind-interfaces", "--pid-file="]);
    command.arg(format!("--interface={interface}"));
    command.arg(format!("--dhcp-leasefile={}", leases.display()));
    if !arguments.iter().any(|argument| argument.starts_with("--port=")) {
        command.arg("--port=0");
    }
    command.args(arguments);
    let mut server = Process::spawn(command).unwrap();
    server
        .wait_for_line(Stream::Stderr, |line| {
            line.contains("IP range") || line.contains("router advertisement")
        })
        .unwrap();
    server
}

/// Starts a provider and waits until it can be found.
pub(crate) fn provider(
    host: &Namespace,
    artifacts: &Path,
    state: &Path,
    arguments: &[&str],
) -> Process {
    let mut command = host.command(binary("phase-provider").unwrap());
    command.arg("serve").arg("--artifacts").arg(artifacts).arg("--state-dir").arg(state);
    command.args(arguments);
    let mut provider = Process::spawn(command).unwrap();
    provider.wait_for_line(Stream::Stderr, |line| line.contains("serving ")).unwrap();
    provider
}

/// The peer id of the provider with this state directory.
pub(crate) fn peer_id(state: &Path) -> String {
    let mut show = Command::new(binary("phase-provider").unwrap());
    show.args(["key", "show", "--state-dir"]).arg(state);
    phase_tests::process::run(show).unwrap().trim().to_owned()
}

/// The only line of JSON.
pub(crate) fn only_line(text: &str) -> Value {
    let mut lines = text.lines();
    let line = lines.next().unwrap_or_else(|| panic!("no line"));
    assert_eq!(lines.next(), None, "{text}");
    serde_json::from_str(line).unwrap()
}
