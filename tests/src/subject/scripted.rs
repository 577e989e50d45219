//! Implementations that are libraries, each behind its program in `tests/peers`, which publishes and withdraws
//! as the lines of its standard input say and says goodbye when that ends.

use std::path::Path;

use super::{Browsing, Running, STOP_WITHIN, Subject, Wanted, browsing, subtype, unsigned_txt};
use crate::Error;
use crate::netns::Host;
use crate::peers::Peer;
use crate::process::{Process, Stream};

/// A library as a responder under test.
#[derive(Clone, Copy, Debug)]
pub struct Scripted(pub Peer);

impl Subject for Scripted {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn install(&self) -> Result<(), Error> {
        self.0.install()
    }

    fn start(&self, host: &Host, wanted: &Wanted, _: &Path) -> Result<Box<dyn Running>, Error> {
        let mut command = self.0.program(&host.namespace);
        command.args(["serve", "_phase-image._tcp"]);
        command.env("PEER_ADDRESS", format!("{},{}", host.ipv4, host.link_local));
        let process = Process::spawn_with_input(command)?;
        let mut running = ScriptedRunning { process, wanted: wanted.clone(), changes: 0 };
        for (channel, arch) in &wanted.pairs {
            running.add(channel, arch)?;
        }
        Ok(Box::new(running))
    }

    fn browse(&self, host: &Host) -> Result<Box<dyn Browsing>, Error> {
        browsing::peer(self.0, host)
    }
}

struct ScriptedRunning {
    process: Process,
    wanted: Wanted,
    changes: u32,
}

impl ScriptedRunning {
    fn publish(&mut self, channel: &str, arch: &str, version: &str) -> Result<(), Error> {
        let (label, subtype) = (self.wanted.label(channel, arch), subtype(channel, arch));
        let txt = unsigned_txt(channel, arch, version).join("\t");
        self.process.say(&format!("publish\t{label}\t8080\t{subtype}\t{txt}"))
    }
}

impl Running for ScriptedRunning {
    fn change_txt(&mut self) -> Result<(), Error> {
        self.changes += 1;
        let (channel, arch) = self.wanted.pairs.first().cloned().unwrap_or_default();
        self.publish(&channel, &arch, &format!("2026.01.02.{}", self.changes))
    }

    fn add(&mut self, channel: &str, arch: &str) -> Result<(), Error> {
        self.publish(channel, arch, "2026.01.01")
    }

    fn remove(&mut self, channel: &str, arch: &str) -> Result<(), Error> {
        self.process.say(&format!("withdraw\t{}", self.wanted.label(channel, arch)))
    }

    fn stop(mut self: Box<Self>) -> Result<(), Error> {
        self.process.end_input();
        self.process.wait(STOP_WITHIN).map(drop)
    }

    fn output(&self) -> String {
        self.process.output(Stream::Stderr)
    }

    fn pid(&self) -> u32 {
        self.process.pid()
    }
}
