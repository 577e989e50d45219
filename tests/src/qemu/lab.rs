//! What machines boot from: a server of leases, and providers of an image.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::Board;
use crate::Error;
use crate::deadline::{self, GENEROUS};
use crate::netns::Host;
use crate::process::{Finished, Process, Stream, binary, run};

/// The channel of every image here.
pub const CHANNEL: &str = "stable";

/// The largest kernel that may be offered; octets.
pub const KERNEL_MAX: u64 = phase_core::limits::KERNEL_MAX;

/// The port that artifacts are served on.
const PORT: u16 = 8080;

/// An image as a provider takes it.
#[derive(Clone, Debug)]
pub struct Image {
    /// Which machines it is for.
    pub board: Board,
    /// The file of its kernel.
    pub kernel: PathBuf,
    /// The octets of its initramfs.
    pub initramfs: Vec<u8>,
    /// Its kernel's command line; `PEER_ID` stands for that of the provider.
    pub command_line: String,
    /// Its version, such as `2026.01.01`.
    pub version: String,
}

/// A running `phase-provider serve`.
#[derive(Debug)]
pub struct Provider<'lan> {
    host: &'lan Host,
    board: Board,
    process: Process,
    peer_id: String,
    directory: TempDir,
}

/// A node of the DHT that has nothing to publish, for others to enter by.
#[derive(Debug)]
pub struct Entrance {
    _process: Process,
    address: String,
    _directory: TempDir,
}

/// The port of an entrance to the DHT.
const ENTRANCE_PORT: u16 = 4000;

impl Entrance {
    /// Starts one on this host.
    ///
    /// # Errors
    /// What starting it said.
    pub fn start(host: &Host) -> Result<Self, Error> {
        let directory = TempDir::new().map_err(|e| Error::os("make a directory for a node", e))?;
        let (artifacts, state) =
            (directory.path().join("artifacts"), directory.path().join("state"));
        fs::create_dir(&artifacts).map_err(|e| Error::os("make an empty directory", e))?;
        let peer_id = generate_key(&state)?;
        let address = format!("/ip4/{}/tcp/{ENTRANCE_PORT}", host.ipv4);
        let mut serve = host.namespace.command(binary("phase-provider")?);
        serve.args(["serve", "--no-mdns", "--listen", "127.0.0.1:8090", "--dht-listen", &address]);
        serve.arg("--artifacts").arg(&artifacts).arg("--state-dir").arg(&state);
        let process = Process::spawn(serve)?;
        let remote = (host.ipv4, ENTRANCE_PORT);
        deadline::until("an entrance to the DHT", GENEROUS, || {
            Ok(host.namespace.inside(|| TcpStream::connect(remote)).ok().map(drop))
        })?;
        let address = format!("{address}/p2p/{peer_id}");
        Ok(Self { _process: process, address, _directory: directory })
    }

    /// Where it is and who it is, as options and words of the kernel command line have it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// Makes a key; gives its peer id.
fn generate_key(state: &Path) -> Result<String, Error> {
    let key = |action: &str| {
        let mut command = Command::new(binary("phase-provider")?);
        command.args(["key", action, "--state-dir"]).arg(state);
        run(command)
    };
    key("generate")?;
    Ok(key("show")?.trim().to_owned())
}

/// Leases addresses from 10.77.0.100 on, by dnsmasq on this host; `more`: further options of it.
///
/// # Errors
/// [`Error::ToolMissing`] when it is not installed, [`Error::TooLate`] when it does not start.
pub fn serve_leases(host: &Host, more: &[&str]) -> Result<Process, Error> {
    let mut command = host.namespace.command("dnsmasq");
    command.args(["--no-daemon", "--conf-file=/dev/null", "--leasefile-ro", "--port=0"]);
    // Without it, every new lease waits three seconds for an answer to a ping.
    command.args(["--no-ping", "--user=root", "--group=root", "--log-dhcp"]);
    command.arg(format!("--interface={}", Host::INTERFACE)).arg("--bind-interfaces");
    command.args(["--dhcp-range=10.77.0.100,10.77.0.199,255.255.255.0,1h"]).args(more);
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    command.env("PATH", path);
    let mut process = Process::spawn(command)?;
    process.wait_for_line(Stream::Stderr, |line| line.contains("DHCP, IP range"))?;
    Ok(process)
}

impl Image {
    /// Writes it where a provider looks for it.
    fn put_into(&self, artifacts: &Path, peer_id: &str) -> Result<(), Error> {
        let command_line = self.command_line.replace("PEER_ID", peer_id);
        let directory = artifacts.join(CHANNEL).join(self.board.name());
        let failed = |e| Error::os(format!("write into {}", directory.display()), e);
        fs::create_dir_all(&directory).map_err(failed)?;
        fs::copy(&self.kernel, directory.join("vmlinuz")).map_err(failed)?;
        fs::write(directory.join("initramfs.img"), &self.initramfs).map_err(failed)?;
        fs::write(directory.join("cmdline"), command_line).map_err(failed)?;
        fs::write(directory.join("version"), &self.version).map_err(failed)
    }
}

impl<'lan> Provider<'lan> {
    /// Serves `image` from `host` with a new key; `more`: further options of `phase-provider serve`.
    ///
    /// # Errors
    /// What starting it said.
    pub fn start(
        host: &'lan Host,
        name: &str,
        image: &Image,
        more: &[&str],
    ) -> Result<Self, Error> {
        let directory =
            TempDir::new().map_err(|e| Error::os("make a directory for a provider", e))?;
        let (artifacts, state) =
            (directory.path().join("artifacts"), directory.path().join("state"));
        let program = binary("phase-provider")?;
        let peer_id = generate_key(&state)?;
        image.put_into(&artifacts, &peer_id)?;
        let mut serve = host.namespace.command(&program);
        serve.args(["serve", "--name", name, "--listen", &format!("0.0.0.0:{PORT}")]);
        serve.arg("--artifacts").arg(&artifacts).arg("--state-dir").arg(&state).args(more);
        let process = Process::spawn(serve)?;
        Ok(Self { host, board: image.board, process, peer_id, directory })
    }

    /// Waits until everybody on the switch can know of it.
    ///
    /// # Errors
    /// [`Error::TooLate`] when it does not announce its image.
    pub fn wait_until_announced(&mut self) -> Result<(), Error> {
        self.wait_for_metric("phase_adverts_announced")
    }

    /// Waits until its image is published in the DHT.
    ///
    /// # Errors
    /// [`Error::TooLate`] when it is not.
    pub fn wait_until_published(&mut self) -> Result<(), Error> {
        self.wait_for_metric("phase_adverts_published")
    }

    fn wait_for_metric(&mut self, name: &str) -> Result<(), Error> {
        let what = format!("{name} of {}", self.host.namespace.name());
        deadline::until(&what, GENEROUS, || {
            if self.process.has_ended()? {
                let why = self.output();
                return Err(Error::Unusable { what: "phase-provider".to_owned(), why });
            }
            Ok(self.metric(name).ok().filter(|value| *value > 0).map(drop))
        })
        .map_err(|error| {
            let Error::TooLate { what, after, .. } = error else { return error };
            let context = format!("\n--- what the provider said ---\n{}", self.output());
            Error::TooLate { what, after, context }
        })
    }

    /// The value of one of its metrics; zero of one that it does not have.
    ///
    /// # Errors
    /// [`Error::Os`] when it does not answer.
    pub fn metric(&self, name: &str) -> Result<u64, Error> {
        let address = (Ipv4Addr::LOCALHOST, PORT);
        let text = self.host.namespace.inside(|| {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(GENEROUS))?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        })?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.and_then(|value| value.trim().parse().ok()).unwrap_or(0))
    }

    /// Who it is.
    #[must_use]
    pub fn peer_id(&self) -> &str {
        &self.peer_id
    }

    /// Where its manifest is.
    #[must_use]
    pub fn manifest_url(&self) -> String {
        let arch = self.board.name();
        format!("http://{}:{PORT}/{CHANNEL}/{arch}/manifest.json", self.host.ipv4)
    }

    /// The directory of its image, to change what is in it.
    #[must_use]
    pub fn image_directory(&self) -> PathBuf {
        self.directory.path().join("artifacts").join(CHANNEL).join(self.board.name())
    }

    /// What it has said.
    #[must_use]
    pub fn output(&self) -> String {
        self.process.output(Stream::Stderr)
    }

    /// Stops it; it says goodbye on the network.
    ///
    /// # Errors
    /// [`Error::TooLate`] when it does not end.
    pub fn stop(self) -> Result<Finished, Error> {
        self.process.terminate()
    }
}
