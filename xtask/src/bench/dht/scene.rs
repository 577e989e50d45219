//! A host with stock nodes, another with clients, and a cable between.

use std::time::Duration;

use phase_tests::deadline::{self, GENEROUS};
use phase_tests::harness::advert_json;
use phase_tests::libp2p::{Node, Plan, Stack, multiaddr};
use phase_tests::netns::{Host, Lan};
use phase_tests::relay::Relay;

use super::lookup::{Client, Lookup, Wanted};
use crate::Error;

/// The identity of the first node; those of the others follow.
const FIRST_SEED: u8 = 101;

/// The provider whose advert is looked up.
pub(super) const PROVIDER: u64 = 1;

/// What its advert says.
const URL: &str = "http://192.0.2.7:8080/stable/arm64/manifest.json";

/// Where nobody is, in the network of the cable.
const NOBODY: &str = "10.77.0.66";

/// What the distance is made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// All that passes between the hosts is late.
    Cable,
    /// What is said on a connection is late.
    Relay,
    /// Nothing is late: a veth pair, which the kernel carries alone.
    Wire,
}

/// Who looks what up, and how far away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    /// Stock nodes, each of which holds the record.
    pub(super) nodes: u8,
    /// Whether a bootstrap that never answers is named first.
    pub(super) dead: bool,
    /// The time there and back.
    pub(super) rtt: Duration,
    way: Way,
}

/// A scene that is set.
pub(super) struct Set {
    pub(super) lan: Lan,
    /// The time there and back.
    pub(super) rtt: Duration,
    _relay: Option<Relay>,
    _nodes: Vec<Node>,
    pub(super) wanted: Wanted,
}

impl Scene {
    pub(super) const fn new(nodes: u8, rtt: u64, way: Way) -> Self {
        Self { nodes, dead: false, rtt: Duration::from_millis(rtt), way }
    }

    /// As it is, with a bootstrap that never answers.
    pub(super) const fn with_dead(self) -> Self {
        Self { dead: true, ..self }
    }

    pub(super) fn text(&self) -> String {
        let dead = if self.dead { ", one dead bootstrap beside the living one" } else { "" };
        let way = match self.way {
            Way::Cable => "",
            Way::Relay => " by a relay",
            Way::Wire => " on one wire",
        };
        format!("look up among {} node(s), {} ms away{way}{dead}", self.nodes, self.rtt.as_millis())
    }

    /// Every client in turn, `runs` times.
    pub(super) fn measure(&self, runs: usize) -> Result<[Vec<Lookup>; 2], Error> {
        let set = self.set()?;
        let mut all = [Vec::new(), Vec::new()];
        for _ in 0..runs {
            for (client, lookups) in Client::ALL.iter().zip(&mut all) {
                lookups.push(client.look_up(&set)?);
            }
        }
        Ok(all)
    }

    /// Starts the nodes, gives them the record, and lays the way to them.
    pub(super) fn set(&self) -> Result<Set, Error> {
        let lan = match self.way {
            Way::Cable | Way::Relay => Lan::apart()?,
            Way::Wire => Lan::pair()?,
        };
        lan.introduce()?;
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
        let relay = match self.way {
            Way::Cable | Way::Wire => None,
            Way::Relay => {
                let here = &lan.host(0).namespace;
                Some(Relay::start(here, nodes[0].socket(), self.rtt / 2)?)
            }
        };
        let mut bootstraps = vec![relay.as_ref().map_or_else(
            || nodes[0].address(),
            |relay| format!("{}/p2p/{}", multiaddr(relay.address()), nodes[0].peer()),
        )];
        if self.dead {
            silence(lan.host(0))?;
            bootstraps.insert(0, format!("/ip4/{NOBODY}/tcp/4001/p2p/{}", stranger()));
        }
        if let (Way::Cable, Some(cable)) = (self.way, lan.cable()) {
            cable.set_delay(self.rtt / 2);
        }
        let url = URL.to_owned();
        let trust = phase_tests::harness::key(PROVIDER).peer_id().to_string();
        let wanted = Wanted { key, value, url, trust, bootstraps };
        Ok(Set { lan, rtt: self.rtt, _relay: relay, _nodes: nodes, wanted })
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
