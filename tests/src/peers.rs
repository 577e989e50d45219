//! Other implementations of multicast DNS, as publishers and browsers in a network namespace.
//!
//! Avahi runs as the distribution packages it, with a message bus and directories of its own; the others
//! are the small programs under `tests/peers`. [`install`](Peer::install) builds or downloads what a
//! peer needs into `target/peers`; it is done once and then costs nothing.
//! All browsers report through one line format: see [`Found`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use crate::install::{self, InstallLock, Profile, target};
use crate::netns::{Host, Namespace};
use crate::process::{Process, Stream, workspace_root};
use crate::{Error, deadline};

/// An implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// avahi-daemon and avahi-browse.
    Avahi,
    /// The Rust crate mdns-sd.
    MdnsSd,
    /// python-zeroconf.
    Zeroconf,
    /// The npm package bonjour-service.
    Bonjour,
    /// The Rust crate edge-mdns: a one-shot client and a bare codec loop, IPv4 only; it neither probes
    /// nor browses, so it serves benchmarks alone.
    EdgeMdns,
}

/// What a publisher announces.
#[derive(Clone, Debug)]
pub struct Service<'a> {
    /// The service type, `_phase-image._tcp`.
    pub kind: &'a str,
    /// The instance name: one label without a dot.
    pub instance: &'a str,
    /// The TCP port.
    pub port: u16,
    /// `key=value` strings of the TXT record.
    pub txt: &'a [&'a str],
}

/// A service that a browser resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The instance name.
    pub instance: String,
    /// The host name, with or without the final dot, as the browser prints it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Addresses, separated by commas.
    pub addresses: String,
    /// `key=value` strings, in the browser's order.
    pub txt: Vec<String>,
}

/// A running publisher. Dropping it kills it without a goodbye.
#[derive(Debug)]
pub struct Publisher {
    process: Process,
    started: Instant,
    daemon: Option<AvahiPlace>,
}

/// A running browser.
#[derive(Debug)]
pub struct Browser {
    process: Process,
    // Dropped after the browser: its daemon, the bus, and their directory.
    _daemon: Option<(Process, AvahiPlace)>,
    peer: Peer,
}

/// The Avahi of one namespace: its message bus and its directory.
#[derive(Debug)]
struct AvahiPlace {
    bus: Process,
    /// When the bus was ready and avahi-daemon could be started.
    ready: Instant,
    directory: TempDir,
}

impl Peer {
    /// All peers that both publish and browse.
    pub const ALL: [Self; 4] = [Self::Avahi, Self::MdnsSd, Self::Zeroconf, Self::Bonjour];

    /// The name for tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avahi => "avahi",
            Self::MdnsSd => "mdns-sd",
            Self::Zeroconf => "python-zeroconf",
            Self::Bonjour => "bonjour-service",
            Self::EdgeMdns => "edge-mdns",
        }
    }

    /// Makes sure that the peer can be started.
    ///
    /// # Errors
    /// [`Error::ToolMissing`] naming the package, or what the build or the download said.
    pub fn install(self) -> Result<(), Error> {
        // One at a time, also between test programs that run side by side.
        let _lock = InstallLock::take()?;
        match self {
            Self::Avahi => ["avahi-daemon", "avahi-browse", "dbus-daemon"]
                .iter()
                .try_for_each(|program| install::is_installed(program)),
            Self::MdnsSd => install::build("mdns-sd", Profile::Release, &[]),
            Self::EdgeMdns => install::build("edge-mdns", Profile::Release, &[]),
            Self::Zeroconf => install::python_environment("zeroconf", &[]),
            Self::Bonjour => install::node_modules("bonjour", &["peer.js"]),
        }
    }

    /// Starts a publisher on `host` and returns it when it says that it has announced `service`.
    ///
    /// # Errors
    /// What starting it said, or [`Error::TooLate`] with its output.
    pub fn publish(self, host: &Host, service: &Service<'_>) -> Result<Publisher, Error> {
        self.install()?;
        allow_multicast(&host.namespace)?;
        if self == Self::Avahi {
            return publish_by_avahi(&host.namespace, service);
        }
        let mut command = self.program(&host.namespace);
        command.env("PEER_ADDRESS", format!("{},{}", host.ipv4, host.ipv6));
        match self {
            Self::EdgeMdns => command.arg("respond").arg(host.ipv4.to_string()),
            Self::Avahi | Self::MdnsSd | Self::Zeroconf | Self::Bonjour => command.arg("publish"),
        };
        command.args([service.kind, service.instance, &service.port.to_string()]).args(service.txt);
        let started = deadline::now();
        let mut process = Process::spawn(command)?;
        process.wait_for_line(Stream::Stdout, |line| line.starts_with("published\t"))?;
        Ok(Publisher { process, started, daemon: None })
    }

    /// Starts a browser for `kind` on `host`.
    ///
    /// # Errors
    /// What starting it said.
    pub fn browse(self, host: &Host, kind: &str) -> Result<Browser, Error> {
        self.install()?;
        allow_multicast(&host.namespace)?;
        if self == Self::Avahi {
            let (daemon, place) = start_avahi(&host.namespace, None)?;
            let process = Process::spawn(place.avahi_browse(&host.namespace, &["-rp", kind]))?;
            return Ok(Browser { process, _daemon: Some((daemon, place)), peer: self });
        }
        let mut command = self.program(&host.namespace);
        command.args(["browse", kind]);
        Ok(Browser { process: Process::spawn(command)?, _daemon: None, peer: self })
    }

    /// The command line that runs the peer's program in `namespace`; its arguments are to be added.
    /// Avahi's is `avahi-daemon` as it finds the system.
    #[must_use]
    pub fn program(self, namespace: &Namespace) -> Command {
        let sources = workspace_root().join("tests/peers");
        match self {
            Self::Avahi => namespace.command("avahi-daemon"),
            Self::MdnsSd => namespace.command(target().join("release/mdns-sd-peer")),
            Self::EdgeMdns => namespace.command(target().join("release/edge-mdns-peer")),
            Self::Zeroconf => {
                let mut command = namespace.command(install::python_of("zeroconf"));
                command.arg(sources.join("zeroconf/peer.py"));
                command
            }
            Self::Bonjour => {
                let mut command = namespace.command("node");
                command.arg(target().join("bonjour/peer.js"));
                command
            }
        }
    }
}

impl Publisher {
    /// The process id of the responder.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// When the responder was started.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Ends the publisher as its service manager would (SIGTERM) and waits until it is gone.
    ///
    /// # Errors
    /// [`Error::TooLate`] when it does not end.
    pub fn stop(self) -> Result<(), Error> {
        self.process.terminate()?;
        drop(self.daemon);
        Ok(())
    }
}

impl Browser {
    /// Waits until `wanted` accepts a resolved service.
    ///
    /// # Errors
    /// [`Error::TooLate`] with all the browser printed.
    pub fn wait_for(&mut self, wanted: impl Fn(&Found) -> bool) -> Result<Found, Error> {
        let peer = self.peer;
        let parse = |line: &str| parse_found(peer, line).filter(|found| wanted(found));
        let line = self.process.wait_for_line(Stream::Stdout, |line| parse(line).is_some())?;
        parse(&line).ok_or_else(|| Error::os("read the browser", std::io::ErrorKind::Other.into()))
    }

    /// Waits until the browser says that `instance` is gone.
    ///
    /// # Errors
    /// [`Error::TooLate`] with all the browser printed.
    pub fn wait_until_lost(&mut self, instance: &str) -> Result<(), Error> {
        let avahi = self.peer == Peer::Avahi;
        self.process
            .wait_for_line(Stream::Stdout, |line| match line.split(['\t', ';']).next() {
                Some("lost") => line.split('\t').nth(1) == Some(instance),
                Some("-") if avahi => {
                    line.split(';').nth(3).map(unescape).as_deref() == Some(instance)
                }
                Some(_) | None => false,
            })
            .map(drop)
    }

    /// Everything it printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.process.output(Stream::Stdout)
    }
}

impl AvahiPlace {
    fn new(namespace: &Namespace) -> Result<Self, Error> {
        let directory = TempDir::new().map_err(|e| Error::os("make a temporary directory", e))?;
        let path = directory.path();
        for part in ["services", "run"] {
            write(|| fs::create_dir(path.join(part)))?;
        }
        write(|| fs::write(path.join("bus.conf"), BUS_CONFIGURATION))?;
        write(|| fs::write(path.join("avahi.conf"), AVAHI_CONFIGURATION))?;
        write(|| {
            fs::write(path.join("passwd"), "root:x:0:0::/:/bin/sh\navahi:x:0:0::/:/bin/sh\n")
        })?;
        write(|| fs::write(path.join("group"), "root:x:0:\navahi:x:0:\n"))?;
        let mut bus = namespace.command("dbus-daemon");
        bus.args(["--nofork", "--nopidfile", "--print-address"])
            .arg(format!("--config-file={}", path.join("bus.conf").display()))
            .arg(format!("--address={}", bus_address(path)));
        let mut bus = Process::spawn(bus)?;
        bus.wait_for_line(Stream::Stdout, |line| line.starts_with("unix:"))?;
        Ok(Self { bus, ready: deadline::now(), directory })
    }

    fn avahi_browse(&self, namespace: &Namespace, arguments: &[&str]) -> Command {
        debug_assert!(self.bus.pid() > 0, "the bus lives as long as its place");
        let mut command = namespace.command("avahi-browse");
        command.args(arguments);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", bus_address(self.directory.path()));
        command
    }
}

/// An Avahi without a service, with what `avahi-browse` needs to reach it.
#[derive(Debug)]
pub struct AvahiDaemon {
    process: Process,
    place: AvahiPlace,
}

impl AvahiDaemon {
    /// Starts avahi-daemon in `namespace`; returns when it listens.
    ///
    /// # Errors
    /// As [`Peer::publish`].
    pub fn start(namespace: &Namespace) -> Result<Self, Error> {
        Peer::Avahi.install()?;
        let (process, place) = start_avahi(namespace, None)?;
        Ok(Self { process, place })
    }

    /// The process id of avahi-daemon.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The command `avahi-browse ARGUMENTS`, for this daemon.
    #[must_use]
    pub fn avahi_browse(&self, namespace: &Namespace, arguments: &[&str]) -> Command {
        self.place.avahi_browse(namespace, arguments)
    }
}

fn publish_by_avahi(namespace: &Namespace, service: &Service<'_>) -> Result<Publisher, Error> {
    let (mut process, place) = start_avahi(namespace, Some(service))?;
    process.wait_for_line(Stream::Stderr, |line| line.contains("successfully established"))?;
    Ok(Publisher { process, started: place.ready, daemon: Some(place) })
}

fn start_avahi(
    namespace: &Namespace,
    service: Option<&Service<'_>>,
) -> Result<(Process, AvahiPlace), Error> {
    let place = AvahiPlace::new(namespace)?;
    let path = place.directory.path();
    if let Some(service) = service {
        let file = path.join("services/one.service");
        write(|| fs::write(&file, avahi_service_file(service)))?;
    }
    let mounts = [
        (path.join("services"), PathBuf::from("/etc/avahi/services")),
        (path.join("run"), PathBuf::from("/run")),
        // In a user namespace there is no other user for it to give its directory to.
        (path.join("passwd"), PathBuf::from("/etc/passwd")),
        (path.join("group"), PathBuf::from("/etc/group")),
    ];
    let mounts: Vec<(&Path, &Path)> =
        mounts.iter().map(|(from, to)| (from.as_path(), to.as_path())).collect();
    let mut command = namespace.command_with_mounts(&mounts, "avahi-daemon");
    command
        .args(["--no-drop-root", "--no-chroot", "--no-rlimits", "--file"])
        .arg(path.join("avahi.conf"))
        .env("DBUS_SYSTEM_BUS_ADDRESS", bus_address(path));
    let mut process = Process::spawn(command)?;
    process.wait_for_line(Stream::Stderr, |line| line.contains("Server startup complete"))?;
    Ok((process, place))
}

/// Avahi as distributed, but heard by this namespace alone and without its limit of 1,000 answers a
/// second for all clients together.
const AVAHI_CONFIGURATION: &str = "[server]
host-name=avahi
use-ipv4=yes
use-ipv6=yes
allow-interfaces=eth0
ratelimit-interval-usec=0
enable-dbus=yes
[publish]
publish-hinfo=no
publish-workstation=no
";

const BUS_CONFIGURATION: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:tmpdir=/tmp</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_type="*"/><allow receive_type="*"/>
  </policy>
</busconfig>
"#;

fn avahi_service_file(service: &Service<'_>) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
    let txt: String = service
        .txt
        .iter()
        .map(|pair| format!("    <txt-record>{}</txt-record>\n", escape(pair)))
        .collect();
    format!(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE service-group SYSTEM \"avahi-service.dtd\">\n\
         <service-group>\n  <name>{}</name>\n  <service>\n    <type>{}</type>\n    \
         <port>{}</port>\n{txt}  </service>\n</service-group>\n",
        escape(service.instance),
        service.kind,
        service.port
    )
}

fn bus_address(directory: &Path) -> String {
    format!("unix:path={}", directory.join("bus").display())
}

fn write(work: impl FnOnce() -> std::io::Result<()>) -> Result<(), Error> {
    work().map_err(|e| Error::os("prepare Avahi's directory", e))
}

/// The peers' clients send to the groups without choosing an interface.
fn allow_multicast(namespace: &Namespace) -> Result<(), Error> {
    namespace.ip(&["route", "replace", "224.0.0.0/4", "dev", Host::INTERFACE]).map(drop)
}

/// Reads one line of a browser.
fn parse_found(peer: Peer, line: &str) -> Option<Found> {
    if peer == Peer::Avahi {
        return parse_avahi(line);
    }
    let mut fields = line.split('\t');
    if fields.next() != Some("found") {
        return None;
    }
    let mut field = || fields.next().map(str::to_owned);
    let (instance, host, port, addresses) = (field()?, field()?, field()?.parse().ok()?, field()?);
    let txt = fields.filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
    Some(Found { instance, host, port, addresses, txt })
}

/// `=;eth0;IPv4;instance;type;domain;host;address;port;"txt" "txt"`, in the order of the packet from its
/// end.
fn parse_avahi(line: &str) -> Option<Found> {
    let fields: Vec<&str> = line.splitn(10, ';').collect();
    let ["=", _, _, instance, _, _, host, address, port, txt] = fields.as_slice() else {
        return None;
    };
    let txt = txt.trim_matches('"').split("\" \"").filter(|pair| !pair.is_empty());
    Some(Found {
        instance: unescape(instance),
        host: (*host).to_owned(),
        port: port.parse().ok()?,
        addresses: (*address).to_owned(),
        txt: txt.map(str::to_owned).collect(),
    })
}

/// Undoes avahi-browse's `\ddd` (decimal) escapes.
fn unescape(text: &str) -> String {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.first_chunk::<3>().and_then(|d| str::from_utf8(d).ok()?.parse().ok());
        match (first, code) {
            (b'\\', Some(code)) => {
                octets.push(code);
                rest = tail.get(3..).unwrap_or_default();
            }
            (b'\\', None) => {
                octets.extend(tail.first());
                rest = tail.get(1..).unwrap_or_default();
            }
            (octet, _) => {
                octets.push(octet);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::Lan;
    use crate::process::run;

    const SERVICE: Service<'_> = Service {
        kind: "_phase-image._tcp",
        instance: "lab stable arm64",
        port: 8080,
        txt: &["arch=arm64", "channel=stable"],
    };

    #[test]
    fn avahi_finds_mdns_sd_and_sees_it_leave() {
        check_pair(Peer::MdnsSd, Peer::Avahi);
    }

    #[test]
    fn mdns_sd_finds_avahi_and_sees_it_leave() {
        check_pair(Peer::Avahi, Peer::MdnsSd);
    }

    #[test]
    fn bonjour_finds_zeroconf_and_sees_it_leave() {
        check_pair(Peer::Zeroconf, Peer::Bonjour);
    }

    #[test]
    fn zeroconf_finds_bonjour_and_sees_it_leave() {
        check_pair(Peer::Bonjour, Peer::Zeroconf);
    }

    #[test]
    fn the_one_shot_client_finds_the_codec_loop() {
        let lan = Lan::pair().unwrap();
        let _publisher = Peer::EdgeMdns.publish(lan.host(0), &SERVICE).unwrap();
        let client = lan.host(1);
        let mut query = Peer::EdgeMdns.program(&client.namespace);
        query.args(["query", &client.ipv4.to_string(), SERVICE.kind]);
        let line = run(query).unwrap();
        let found = parse_found(Peer::EdgeMdns, line.trim_end()).unwrap();
        assert_eq!((found.port, found.instance.as_str()), (8080, "lab\\ stable\\ arm64"));
    }

    #[test]
    fn avahi_escapes_are_undone() {
        assert_eq!(unescape("a\\032b\\.c\\\\"), "a b.c\\");
    }

    fn check_pair(publisher: Peer, browser: Peer) {
        let lan = Lan::of(2).unwrap();
        let publisher = publisher.publish(lan.host(0), &SERVICE).unwrap();
        let mut browser = browser.browse(lan.host(1), SERVICE.kind).unwrap();
        let found = browser.wait_for(|found| found.instance == SERVICE.instance).unwrap();
        assert_eq!(found.port, 8080);
        assert!(SERVICE.txt.iter().all(|pair| found.txt.iter().any(|t| t == pair)), "{found:?}");
        publisher.stop().unwrap();
        browser.wait_until_lost(SERVICE.instance).unwrap();
    }
}
