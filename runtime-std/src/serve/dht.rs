//! The daemon's part of the DHT: bootstraps, what is told of it, and what is kept for the next run.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};

use phase_core::dht::finder::{Bootstrap, Reach};
use phase_core::dht::server::{Config, Event, Listening, PERSISTED_PEER_MAX};
use phase_core::identity::{PeerId, SecretKey};
use phase_core::limits::TRUSTED;
use phase_core::rng::Seed;
use phase_core::wire::contact::Addresses;
use phase_core::wire::url::AddressClass;

use super::daemon::{Daemon, Turn};
use super::node::{DhtNode, Node, inbound};
use crate::bootstrap::{Resolved, Resolver};
use crate::config::dht::{Endpoint, LISTEN_DEFAULT};
use crate::config::settings::Settings;
use crate::driver::Driver;
use crate::net;
use crate::state::{StateDir, replace_file};
use crate::status::{BootstrapStatus, BucketStatus, DhtStatus};

/// Name and version that other nodes are told.
const AGENT: &str = concat!("phase-provider/", env!("CARGO_PKG_VERSION"));

/// Peers that are kept for the next run: more than are needed to find the network again.
const KEPT_PEERS: usize = 256;

/// The bootstraps, and what is in the file.
#[derive(Debug, Default)]
pub(super) struct Entrance {
    pub(super) resolver: Resolver,
    /// The last error of each address whose name leads nowhere, by number.
    pub(super) unresolved: Vec<(usize, String)>,
    /// For each bootstrap peer of the node the number of the address that led to it.
    entered: Vec<usize>,
    /// What was written last.
    kept: Vec<u8>,
}

impl Entrance {
    /// Begins to resolve the bootstraps.
    pub(super) fn new(settings: &Settings) -> Self {
        let bootstraps = if settings.dht { settings.bootstraps.clone() } else { Vec::new() };
        Self { resolver: Resolver::new(bootstraps), ..Self::default() }
    }
}

/// The addresses to listen on. Of the usual two, one may be of a family that this host has not.
pub(crate) fn listen(settings: &Settings) -> Vec<SocketAddr> {
    if !settings.dht {
        return Vec::new();
    }
    let is_default = settings.dht_listen == LISTEN_DEFAULT;
    let addresses = settings.dht_listen.iter().map(|endpoint| endpoint.0);
    addresses.filter(|address| !is_default || net::has_family(*address)).collect()
}

/// What the node is made of. `driver` listens already.
pub(super) fn config(settings: &Settings, key: &SecretKey, seed: Seed, driver: &Driver) -> Config {
    let listening: Vec<_> = driver.listening().collect();
    let announce: Addresses = settings.dht_announce.iter().map(|endpoint| endpoint.0).collect();
    Config {
        seed,
        key: key.clone(),
        listen: places(&listening),
        announce,
        agent: AGENT,
        inbound: inbound(),
        allow_loopback: driver.uses_loopback(),
        trusted: trusted(settings, key.peer_id()).collect(),
    }
}

/// The signers that the node's store prefers: this provider, whose key another host may have too, and those that the
/// operator named.
pub(super) fn trusted(settings: &Settings, own: PeerId) -> impl Iterator<Item = PeerId> {
    std::iter::once(own).chain(settings.trust.iter().copied()).take(TRUSTED)
}

/// Where the node listens: an unspecified address stands for all that the host's links have of its family.
fn places(listening: &[SocketAddr]) -> Listening {
    let (everywhere, single): (Vec<SocketAddr>, Vec<_>) =
        listening.iter().partition(|address| address.ip().is_unspecified());
    let port = |v4| everywhere.iter().find(|at| at.is_ipv4() == v4).map(SocketAddr::port);
    Listening { v4: port(true), v6: port(false), at: single.into_iter().collect() }
}

/// Takes up the peers of the last run. A file that cannot be read is left out: the bootstraps lead in too.
pub(super) fn restore(node: &mut Node, state: &StateDir, driver: &Driver) {
    let path = state.dht_file();
    let octets = match fs::read(&path) {
        Ok(octets) => octets,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return tracing::warn!("cannot read {}: {error}", path.display()),
    };
    if let Some(dht) = node.dht_mut() {
        let count = dht.restore(driver.now(), &octets);
        tracing::debug!("{count} peers of the DHT are known from the last run");
    }
}

/// Says where others can enter the DHT by this node.
pub(super) fn introduce(settings: &Settings, peer: &str, driver: &Driver) {
    let listening: Vec<_> =
        driver.listening().map(|address| Endpoint(address).to_string()).collect();
    tracing::info!("DHT: listening on {}", listening.join(", "));
    let used = driver.interfaces().iter().filter(|interface| interface.excluded.is_none());
    let ips: Vec<IpAddr> = used.flat_map(|i| i.networks.iter().map(|n| n.address)).collect();
    let own = driver.listening().flat_map(|address| match address.ip().is_unspecified() {
        true => {
            let same = ips.iter().filter(move |ip| ip.is_ipv4() == address.is_ipv4());
            same.map(|ip| SocketAddr::new(*ip, address.port())).collect()
        }
        false => vec![address],
    });
    let addresses: Vec<_> = match settings.dht_announce.is_empty() {
        true => own.filter(|address| is_for_others(address.ip())).collect(),
        false => settings.dht_announce.iter().map(|endpoint| endpoint.0).collect(),
    };
    for address in addresses {
        let address = Endpoint(address);
        tracing::info!("DHT: others enter by this node with --bootstrap {address}/p2p/{peer}");
    }
    if settings.bootstraps.is_empty() {
        tracing::info!(
            "DHT: no bootstrap is configured, so this node waits for others to enter by it; --bootstrap names a node to \
             enter by"
        );
    }
}

/// What became of an advert in the DHT, for people: nodes that store its record under the key of the image, that list
/// the provider, and that store it under the provider's own key. Nodes of other networks take no records of ours.
fn where_kept(records: usize, providers: usize, sub_keys: usize) -> String {
    let nodes = |count: usize| match count {
        0 => "no node".to_owned(),
        1 => "1 node".to_owned(),
        _ => format!("{count} nodes"),
    };
    let listed = format!("this provider is listed by {}", nodes(providers));
    match (records, sub_keys) {
        (0, 0) => format!("kept by no node; {listed}, and clients ask it for the advert itself"),
        (0, _) => {
            format!("kept by {} under this provider's own key only; {listed}", nodes(sub_keys))
        }
        _ => format!("kept by {}; {listed}", nodes(records)),
    }
}

/// Neither loopback nor link-local nor worse.
fn is_for_others(ip: IpAddr) -> bool {
    matches!(AddressClass::of(ip), AddressClass::Global | AddressClass::Private)
}

impl Daemon {
    /// Begins with the peers that a bootstrap was resolved to.
    pub(super) fn on_resolved(&mut self, resolved: Resolved) -> Turn {
        let number = resolved.number;
        let now = self.machine_now();
        let text = self.entrance.resolver.addresses().nth(number).map(ToString::to_string);
        let before = self.entrance.unresolved.iter().position(|(of, _)| *of == number);
        let before = before.map(|at| self.entrance.unresolved.swap_remove(at).1);
        match resolved.peers {
            Ok(peers) => {
                for peer in peers {
                    let text = text.as_deref().unwrap_or_default();
                    let bootstrap = Bootstrap::new(text, peer.addresses, peer.peer);
                    let Some(dht) = self.node.dht_mut() else { continue };
                    if let Err(full) = dht.add_bootstrap(now, bootstrap) {
                        tracing::warn!("{full}: the rest of {text} is not used");
                    }
                    self.entrance.entered.resize(dht.bootstraps().len(), number);
                }
                self.look_again(number);
            }
            Err(error) => {
                let step = error.step.to_string();
                if before.as_ref() != Some(&step) {
                    tracing::warn!("bootstrap {error}; trying on");
                }
                self.entrance.unresolved.push((number, step));
                self.entrance.resolver.again(number);
            }
        }
        Turn::GoOn
    }

    /// Resolves the name of a bootstrap again later if it still leads to where nobody answers: it may move any time.
    fn look_again(&mut self, number: usize) {
        let Some(dht) = self.node.dht() else { return };
        let mut known = dht.bootstraps().iter().zip(&self.entrance.entered);
        if known.any(|(one, of)| *of == number && matches!(one.reach(), Reach::Failed(_))) {
            self.entrance.resolver.again(number);
        } else {
            self.entrance.resolver.answers(number);
        }
    }

    pub(super) fn on_dht(&mut self, event: Event) {
        match event {
            Event::Published { key, seq, peers, providers, sub_keys } => {
                let kept = where_kept(peers, providers, sub_keys);
                tracing::info!(
                    "published {}/{} in the DHT: {kept} (seq {seq})",
                    key.channel,
                    key.arch
                );
                self.keep_peers();
            }
            Event::PublishFailed { key, why, .. } => {
                // Nobody was named to enter by, and nobody has come yet.
                let alone = self.settings.bootstraps.is_empty();
                match (alone, self.has_failed_before(&key)) {
                    (false, false) => tracing::warn!(
                        "cannot publish {}/{} in the DHT: {why}; trying on",
                        key.channel,
                        key.arch
                    ),
                    _ => tracing::debug!("cannot publish {}/{}: {why}", key.channel, key.arch),
                }
            }
            Event::BootstrapFailed { number, why } => self.on_bootstrap_failed(number, &why),
            Event::Repaired { key, peer } => tracing::info!(
                "{peer} held something else in place of {}/{}: it was given ours again",
                key.channel,
                key.arch
            ),
            Event::SequenceBehind { key, highest } => {
                tracing::warn!(
                    "the DHT has an advert of ours for {}/{} with sequence number {highest}, which this state does not \
                     know of; going on above it",
                    key.channel,
                    key.arch
                );
                self.saved.last_seq = self.saved.last_seq.max(highest);
                self.save();
            }
        }
    }

    fn has_failed_before(&self, key: &phase_core::wire::record::AdvertKey) -> bool {
        self.node.adverts().any(|advert| {
            advert.image.channel == key.channel
                && advert.image.arch == key.arch
                && advert.publication.is_some_and(|publication| publication.failures > 1)
        })
    }

    fn on_bootstrap_failed(&mut self, number: usize, why: &dyn std::fmt::Display) {
        let bootstraps = self.node.dht().map(|dht| dht.bootstraps()).unwrap_or_default();
        let Some(bootstrap) = bootstraps.get(number) else { return };
        tracing::warn!("bootstrap {}: {why}; trying on", bootstrap.text());
        // Its name may lead elsewhere by now.
        if let Some(number) = self.entrance.entered.get(number) {
            self.entrance.resolver.again(*number);
        }
    }

    /// Writes the peers of the routing table to the disk, if there are any and they changed.
    pub(super) fn keep_peers(&mut self) {
        let Some(dht) = self.node.dht() else { return };
        let mut octets = vec![0; 1 + KEPT_PEERS * PERSISTED_PEER_MAX];
        let len = dht.persist(&mut octets);
        octets.truncate(len);
        // The first octet is there always.
        if len <= 1 || octets == self.entrance.kept {
            return;
        }
        let path = self.state.dht_file();
        match replace_file(&path, &octets) {
            Ok(()) => self.entrance.kept = octets,
            Err(error) => tracing::warn!("cannot write {}: {error}", path.display()),
        }
    }

    /// How the node is; `None` where there is none.
    pub(super) fn dht_status(&self) -> Option<DhtStatus> {
        let (dht, driver) = (self.node.dht()?, self.driver.as_ref()?);
        let (status, now) = (dht.status(), driver.now());
        let texts = |all: &mut dyn Iterator<Item = SocketAddr>| {
            all.map(|address| Endpoint(address).to_string()).collect()
        };
        let buckets = dht.buckets().map(|(bucket, peers)| BucketStatus { bucket, peers });
        Some(DhtStatus {
            listening: texts(&mut driver.listening()),
            announced: texts(&mut status.addresses.iter()),
            peers: status.peers,
            live_peers: status.live_peers,
            buckets: buckets.collect(),
            connections: status.connections,
            records: status.records,
            provider_records: status.provider_records,
            refresh_in_seconds: status.refresh_at.map(|at| at.since(now).as_secs()),
            bootstraps: self.bootstraps(dht),
        })
    }

    /// How each bootstrap is: its address, who is there, and what went wrong last.
    fn bootstraps(&self, dht: &DhtNode) -> Vec<BootstrapStatus> {
        let mut all = Vec::new();
        for (number, address) in self.entrance.resolver.addresses().enumerate() {
            let address = address.to_string();
            let unresolved = self.entrance.unresolved.iter().find(|(of, _)| *of == number);
            let unresolved = unresolved.map(|(_, error)| error.clone());
            let one = |state: &str, peer: Option<&PeerId>, error| BootstrapStatus {
                address: address.clone(),
                peer_id: peer.map(ToString::to_string),
                state: state.to_owned(),
                error,
            };
            let before = all.len();
            let known = dht.bootstraps().iter().zip(&self.entrance.entered);
            for (known, _) in known.filter(|(_, of)| **of == number) {
                let error = unresolved.clone();
                all.push(match known.reach() {
                    Reach::Waiting => one("waiting", None, error),
                    Reach::Dialled => one("dialled", None, error),
                    Reach::Reached(peer) => one("reached", Some(peer), error),
                    Reach::Answered(peer) => one("answered", Some(peer), error),
                    Reach::Failed(failure) => one("failed", None, Some(failure.to_string())),
                });
            }
            if all.len() == before {
                let state = if unresolved.is_some() { "failed" } else { "resolving" };
                all.push(one(state, None, unresolved));
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_where_is_told() {
        for (counts, text) in [
            ((3, 3, 3), "kept by 3 nodes; this provider is listed by 3 nodes"),
            ((1, 0, 1), "kept by 1 node; this provider is listed by no node"),
            (
                (0, 1, 2),
                "kept by 2 nodes under this provider's own key only; this provider is listed by 1 node",
            ),
            (
                (0, 4, 0),
                "kept by no node; this provider is listed by 4 nodes, and clients ask it for the advert itself",
            ),
        ] {
            let (records, providers, sub_keys) = counts;
            assert_eq!(where_kept(records, providers, sub_keys), text);
        }
    }

    #[test]
    fn each_family_listens_at_its_own_port() {
        let listening = ["0.0.0.0:4001", "[::]:4002", "192.0.2.1:5"].map(|at| at.parse().unwrap());
        let at = [listening[2]].into_iter().collect();
        assert_eq!(places(&listening), Listening { v4: Some(4001), v6: Some(4002), at });
        let at = Addresses::NONE;
        assert_eq!(places(&listening[1..2]), Listening { v4: None, v6: Some(4002), at });
    }
}
