//! avahi-daemon without D-Bus, with services in a directory of its own.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Browsing, Running, STOP_WITHIN, Subject, Wanted, browsing, subtype, unsigned_txt};
use crate::Error;
use crate::netns::Host;
use crate::peers::Peer;
use crate::process::{Process, Stream};

/// avahi-daemon.
#[derive(Clone, Copy, Debug)]
pub struct Avahi;

const CONFIG: &str = "\
[server]
host-name=avahi-lab
use-ipv4=yes
use-ipv6=yes
enable-dbus=no
ratelimit-interval-usec=0
[wide-area]
enable-wide-area=no
[publish]
publish-hinfo=no
publish-workstation=no
";

impl Subject for Avahi {
    fn name(&self) -> &'static str {
        "avahi"
    }

    fn install(&self) -> Result<(), Error> {
        Peer::Avahi.install()
    }

    fn start(
        &self,
        host: &Host,
        wanted: &Wanted,
        directory: &Path,
    ) -> Result<Box<dyn Running>, Error> {
        let files = Files::new(wanted.clone(), directory)?;
        for (channel, arch) in &wanted.pairs {
            files.write(channel, arch, "2026.01.01")?;
        }
        let root = directory;
        let mounts = [
            (root.join("services"), Path::new("/etc/avahi/services")),
            (root.join("run"), Path::new("/run")),
        ];
        let mounts: Vec<(&Path, &Path)> = mounts.iter().map(|(a, b)| (a.as_path(), *b)).collect();
        let mut command = host.namespace.command_with_mounts(&mounts, "avahi-daemon");
        command.args(["--no-drop-root", "--no-chroot", "--no-rlimits", "--file"]);
        command.arg(root.join("avahi-daemon.conf"));
        let process = Process::spawn(command)?;
        Ok(Box::new(AvahiRunning { process, files }))
    }

    fn browse(&self, host: &Host) -> Result<Box<dyn Browsing>, Error> {
        browsing::peer(Peer::Avahi, host)
    }
}

struct AvahiRunning {
    process: Process,
    files: Files,
}

impl Running for AvahiRunning {
    fn change_txt(&mut self) -> Result<(), Error> {
        let (channel, arch) = self.files.wanted.pairs.first().cloned().unwrap_or_default();
        self.files.write(&channel, &arch, "2026.01.02")
    }

    fn add(&mut self, channel: &str, arch: &str) -> Result<(), Error> {
        self.files.write(channel, arch, "2026.01.01")
    }

    fn remove(&mut self, channel: &str, arch: &str) -> Result<(), Error> {
        let path = self.files.path(channel, arch);
        fs::remove_file(&path).map_err(|e| Error::os(format!("remove {}", path.display()), e))
    }

    fn stop(self: Box<Self>) -> Result<(), Error> {
        let Self { mut process, files: _files } = *self;
        process.signal(nix::sys::signal::Signal::SIGTERM)?;
        process.wait(STOP_WITHIN).map(drop)
    }

    fn output(&self) -> String {
        self.process.output(Stream::Stderr)
    }

    fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// The private directory that stands in for `/etc/avahi/services` and `/run`.
struct Files {
    directory: PathBuf,
    wanted: Wanted,
}

impl Files {
    fn new(wanted: Wanted, directory: &Path) -> Result<Self, Error> {
        let make = || {
            fs::create_dir_all(directory.join("services"))?;
            fs::create_dir_all(directory.join("run/avahi-daemon"))?;
            fs::write(directory.join("avahi-daemon.conf"), CONFIG)
        };
        make().map_err(|e| Error::os("make the directories of avahi-daemon", e))?;
        Ok(Self { directory: directory.to_path_buf(), wanted })
    }

    fn path(&self, channel: &str, arch: &str) -> PathBuf {
        self.directory.join(format!("services/{channel}-{arch}.service"))
    }

    /// Avahi watches the directory: a file moved into it is read at once.
    fn write(&self, channel: &str, arch: &str, version: &str) -> Result<(), Error> {
        let label = self.wanted.label(channel, arch).replace('&', "&amp;");
        let subtype = subtype(channel, arch);
        let txt: String = unsigned_txt(channel, arch, version)
            .iter()
            .map(|t| format!("<txt-record>{t}</txt-record>"))
            .collect();
        let xml = format!(
            "<?xml version=\"1.0\" standalone='no'?>\n<!DOCTYPE service-group SYSTEM \"avahi-service.dtd\">\n\
             <service-group><name>{label}</name><service><type>_phase-image._tcp</type>\
             <subtype>{subtype}._sub._phase-image._tcp</subtype><port>8080</port>{txt}</service></service-group>\n"
        );
        let (path, temporary) = (self.path(channel, arch), self.directory.join("next"));
        let write = || {
            fs::write(&temporary, xml)?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|e| Error::os(format!("write {}", path.display()), e))
    }
}
