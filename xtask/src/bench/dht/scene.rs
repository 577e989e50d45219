//! A host with stock nodes, another with clients, and a cable between.

use std::time::Duration;

use phase_tests::deadline::{self, GENEROUS};
use phase_tests::harness::advert_json;
use phase_tests::libp2p::{Node, Plan, Stack};
use phase_tests::netns::{Host, Lan};

use super::lookup::{Client, Lookup, Wanted};
use super::peak;
use crate::Error;

/// The identity of the first node; those of the others follow.
const FIRST_SEED: u8 = 101;

/// The provider whose advert is looked up.
pub(super) const PROVIDER: u64 = 1;

/// What its advert says.
const URL: &str = "http://192.0.2.7:8080/stable/arm64/manifest.json";

/// Where nobody is, in the network of the cable.
const NOBODY: &str = "10.77.0.66";

/// Who looks what up, and how far away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    /// Stock nodes, each of which holds the record.
    pub(super) nodes: u8,
    /// Whether a bootstrap that never answers is named first.
    pub(super) dead: bool,
    /// The time there and back.
    pub(super) rtt: Duration,
}

/// A scene that is set.
struct Set {
    lan: Lan,
    _nodes: Vec<Node>,
    wanted: Wanted,
}

impl Scene {
    pub(super) const fn new(nodes: u8, dead: bool, rtt: u64) -> Self {
        Self { nodes, dead, rtt: Duration::from_millis(rtt) }
    }

    pub(super) fn text(self) -> String {
        let dead = if self.dead { ", one dead bootstrap beside the living one" } else { "" };
        format!("look up among {} node(s), {} ms away{dead}", self.nodes, self.rtt.as_millis())
    }

    /// Every client in turn, `runs` times.
    pub(super) fn measure(self, runs: usize) -> Result<Vec<(Client, Vec<Lookup>)>, Error> {
        let set = self.set()?;
        let mut all: Vec<(Client, Vec<Lookup>)> =
            Client::ALL.iter().map(|client| (*client, Vec::new())).collect();
        for _ in 0..runs {
            for (client, lookups) in &mut all {
                lookups.push(client.look_up(&set.lan, &set.wanted)?);
            }
        }
        Ok(all)
    }

    /// The median of each client's largest resident memory in KiB.
    pub(super) fn peaks(self, runs: usize) -> Result<Vec<(Client, u64)>, Error> {
        let set = self.set()?;
        let mut all = Vec::new();
        for client in Client::ALL {
            let mut kib = Vec::new();
            for _ in 0..runs {
                let command = client.command(set.lan.host(0), &set.wanted);
                kib.push(peak::resident_kib(set.lan.host(0), &command)?);
            }
            kib.sort_unstable();
            all.push((client, kib[runs / 2]));
        }
        Ok(all)
    }

    fn set(self) -> Result<Set, Error> {
        let lan = Lan::apart()?;
        let host = lan.host(1);
        let mut nodes: Vec<Node> = Vec::new();
        for number in 0..self.nodes {
            let bootstraps: Vec<String> = nodes.first().map(Node::address).into_iter().collect();
            let bootstraps: Vec<&str> = bootstraps.iter().map(String::as_str).collect();
            let plan = Plan { fast: true, ..Plan::server(FIRST_SEED + number, &bootstraps) };
            nodes.push(Node::start(Stack::Rust057, host, &plan)?);
        }
        let key = b"/phase/stable/arm64/manifest".to_vec();
        let value = advert();
        wait_until_joined(&mut nodes)?;
        nodes[0].put(&key, &value)?;
        for node in &mut nodes {
            deadline::until("the record at every node", GENEROUS, || {
                Ok((node.stored(&key)?.as_ref() == Some(&value)).then_some(()))
            })?;
        }
        let mut bootstraps = vec![nodes[0].address()];
        if self.dead {
            silence(lan.host(0))?;
            bootstraps.insert(0, format!("/ip4/{NOBODY}/tcp/4001/p2p/{}", stranger()));
        }
        if let Some(cable) = lan.cable() {
            cable.set_delay(self.rtt / 2);
        }
        let url = URL.to_owned();
        let trust = phase_tests::harness::key(PROVIDER).peer_id().to_string();
        let wanted = Wanted { key, value, url, trust, bootstraps };
        Ok(Set { lan, _nodes: nodes, wanted })
    }
}

/// What a provider says now.
fn advert() -> Vec<u8> {
    advert_json(PROVIDER, URL, 1, (deadline::wall_clock(), 86_400))
}

/// Any peer id that no node has.
fn stranger() -> String {
    phase_tests::harness::key(PROVIDER + 1).peer_id().to_string()
}

/// Makes the address of nobody one that packets are sent to, and lost.
fn silence(host: &Host) -> Result<(), Error> {
    let nowhere = ["lladdr", "02:00:00:00:00:66", "nud", "permanent", "dev", Host::INTERFACE];
    host.namespace.ip(&[&["neigh", "replace", NOBODY], nowhere.as_slice()].concat())?;
    Ok(())
}

fn wait_until_joined(nodes: &mut [Node]) -> Result<(), Error> {
    let others = nodes.len() - 1;
    let joined = deadline::until("a ring in which all know all", GENEROUS, || {
        for node in nodes.iter_mut() {
            if node.peers()?.len() < others {
                node.ask("bootstrap")?;
                return Ok(None);
            }
        }
        Ok(Some(()))
    });
    Ok(joined?)
}
