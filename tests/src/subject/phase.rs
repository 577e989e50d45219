//! Our own `phase-provider serve`, with artifacts in a directory of its own, and `phase-discover`.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use super::{Browsing, Running, STOP_WITHIN, Subject, Wanted, browsing};
use crate::Error;
use crate::netns::Host;
use crate::process::{self, Process, Stream};

/// `phase-provider serve` and `phase-discover`.
#[derive(Clone, Copy, Debug)]
pub struct Phase;

impl Subject for Phase {
    fn name(&self) -> &'static str {
        "phase"
    }

    fn install(&self) -> Result<(), Error> {
        process::binary("phase-provider").map(drop)
    }

    fn start(
        &self,
        host: &Host,
        wanted: &Wanted,
        directory: &Path,
    ) -> Result<Box<dyn Running>, Error> {
        let mut running = Provider::prepare(directory, wanted)?;
        let mut command = host.namespace.command(process::binary("phase-provider")?);
        command.args(["serve", "--listen", "[::]:8080", "--no-dht"]);
        if !wanted.name.is_empty() {
            command.args(["--name", &wanted.name]);
        }
        command.arg("--artifacts").arg(running.artifacts());
        command.arg("--state-dir").arg(running.directory.join("state"));
        running.process = Some(Process::spawn(command)?);
        Ok(Box::new(running))
    }

    fn browse(&self, host: &Host) -> Result<Box<dyn Browsing>, Error> {
        browsing::phase(host)
    }

    fn query_once(&self, host: &Host) -> Option<Result<Process, Error>> {
        let start = || {
            let mut command = host.namespace.command(process::binary("phase-discover")?);
            command.args(["--channel", "stable", "--arch", "arm64", "--json"]);
            Process::spawn(command)
        };
        Some(start())
    }
}

struct Provider {
    process: Option<Process>,
    directory: PathBuf,
    wanted: Wanted,
    changes: u32,
}

impl Provider {
    fn prepare(directory: &Path, wanted: &Wanted) -> Result<Self, Error> {
        let mut this = Self {
            process: None,
            directory: directory.to_path_buf(),
            wanted: wanted.clone(),
            changes: 0,
        };
        for (channel, arch) in &wanted.pairs {
            this.add(channel, arch)?;
        }
        Ok(this)
    }

    fn artifacts(&self) -> PathBuf {
        self.directory.join("artifacts")
    }
}

impl Running for Provider {
    fn change_txt(&mut self) -> Result<(), Error> {
        self.changes += 1;
        let (channel, arch) = self.wanted.pairs.first().cloned().unwrap_or_default();
        let path = self.artifacts().join(channel).join(arch).join("version");
        put(&path, &format!("2026.02.{}", self.changes))
    }

    fn add(&mut self, channel: &str, arch: &str) -> Result<(), Error> {
        let directory = self.artifacts().join(channel).join(arch);
        fs::create_dir_all(&directory)
            .map_err(|e| Error::os(format!("make {}", directory.display()), e))?;
        put(&directory.join("version"), "2026.01.01")?;
        put(&directory.join("vmlinuz"), &format!("kernel of {channel} for {arch}"))
    }

    fn remove(&mut self, channel: &str, arch: &str) -> Result<(), Error> {
        let directory = self.artifacts().join(channel).join(arch);
        fs::remove_dir_all(&directory)
            .map_err(|e| Error::os(format!("remove {}", directory.display()), e))
    }

    fn stop(mut self: Box<Self>) -> Result<(), Error> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.signal(Signal::SIGTERM)?;
        process.wait(STOP_WITHIN).map(drop)
    }

    fn output(&self) -> String {
        self.process.as_ref().map(|p| p.output(Stream::Stderr)).unwrap_or_default()
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Process::pid)
    }
}

/// Writes a file that is whole when it appears.
fn put(path: &Path, text: &str) -> Result<(), Error> {
    let temporary = path.with_extension("next");
    fs::write(&temporary, text)
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|e| Error::os(format!("write {}", path.display()), e))
}
