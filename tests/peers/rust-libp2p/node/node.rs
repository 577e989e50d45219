//! The swarm, the commands it obeys and the queries that are under way.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use libp2p::kad::store::{MemoryStore, RecordStore as _};
use libp2p::kad::{self, QueryId, QueryResult, Quorum, Record, RecordKey};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, identity, noise, ping, tcp, yamux};
use serde_json::{Map, Value, json};

use crate::report::{self, print, texts};

/// What the command line says.
pub struct Options {
    pub seed: u8,
    pub listen: Multiaddr,
    pub bootstraps: Vec<Multiaddr>,
    pub identify: bool,
    pub client: bool,
    pub idle: Duration,
}

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    kad: kad::Behaviour<MemoryStore>,
    ping: ping::Behaviour,
    identify: Toggle<identify::Behaviour>,
}

/// A node and what it was told to do.
pub struct Node {
    pub swarm: Swarm<Behaviour>,
    queries: HashMap<QueryId, Query>,
    dials: HashMap<ConnectionId, String>,
}

/// A query under way: the command, and what it gave so far.
struct Query {
    command: String,
    found: Vec<Value>,
    error: Option<String>,
}

impl Node {
    pub fn new(options: &Options) -> Result<Self, Box<dyn Error>> {
        let key = identity::Keypair::ed25519_from_bytes([options.seed; 32])?;
        let mut swarm = libp2p::SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
            .with_behaviour(|key| behaviour(key, options.identify))?
            .with_swarm_config(|config| config.with_idle_connection_timeout(options.idle))
            .build();
        if !options.client {
            swarm.behaviour_mut().kad.set_mode(Some(kad::Mode::Server));
        }
        swarm.listen_on(options.listen.clone())?;
        for address in &options.bootstraps {
            let peer = peer_of(address).ok_or("a bootstrap address ends in /p2p/ID")?;
            swarm.behaviour_mut().kad.add_address(&peer, address.clone());
        }
        if !options.bootstraps.is_empty() {
            swarm.behaviour_mut().kad.bootstrap()?;
        }
        Ok(Self { swarm, queries: HashMap::new(), dials: HashMap::new() })
    }

    /// Begins what `line` commands.
    pub fn obey(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let command = words.first().copied().unwrap_or_default();
        if let Err(error) = self.begin(&words) {
            print(&json!({ "answer": command, "error": error.to_string() }));
        }
    }

    fn begin(&mut self, words: &[&str]) -> Result<(), Box<dyn Error>> {
        let kad = &mut self.swarm.behaviour_mut().kad;
        let query = match *words {
            ["dial", address] => {
                let dial = DialOpts::from(address.parse::<Multiaddr>()?);
                self.dials.insert(dial.connection_id(), "dial".to_owned());
                return Ok(self.swarm.dial(dial)?);
            }
            ["peers"] => return Ok(self.tell_peers()),
            ["records"] => return Ok(self.tell_records()),
            ["held", key] => return Ok(self.tell_held(&hex::decode(key)?)),
            ["bootstrap"] => kad.bootstrap()?,
            // All of the closest, so that the answer counts every node that stored it.
            ["put", key, value] => {
                let record = Record::new(hex::decode(key)?, hex::decode(value)?);
                kad.put_record(record, Quorum::All)?
            }
            ["get", key] => kad.get_record(RecordKey::new(&hex::decode(key)?)),
            ["provide", key] => kad.start_providing(RecordKey::new(&hex::decode(key)?))?,
            ["providers", key] => kad.get_providers(RecordKey::new(&hex::decode(key)?)),
            ["closest", key] => kad.get_closest_peers(hex::decode(key)?),
            _ => return Err("not a command".into()),
        };
        let command = words.first().copied().unwrap_or_default().to_owned();
        self.queries.insert(query, Query { command, found: Vec::new(), error: None });
        Ok(())
    }

    fn tell_peers(&mut self) {
        let mut peers = Map::new();
        for bucket in self.swarm.behaviour_mut().kad.kbuckets() {
            for entry in bucket.iter() {
                let addresses = texts(entry.node.value.iter());
                peers.insert(entry.node.key.preimage().to_string(), json!(addresses));
            }
        }
        print(&json!({ "answer": "peers", "peers": peers }));
    }

    fn tell_records(&mut self) {
        let store = self.swarm.behaviour_mut().kad.store_mut();
        let records: Vec<Value> = store
            .records()
            .map(|r| json!({ "key": hex::encode(&r.key), "value": hex::encode(&r.value) }))
            .collect();
        print(&json!({ "answer": "records", "records": records }));
    }

    fn tell_held(&mut self, key: &[u8]) {
        let store = self.swarm.behaviour_mut().kad.store_mut();
        let held: Vec<Value> = store
            .providers(&RecordKey::new(&key))
            .iter()
            .map(|p| json!({ "peer": p.provider.to_string(), "addresses": texts(&p.addresses) }))
            .collect();
        print(&json!({ "answer": "held", "providers": held }));
    }

    /// Tells of an event and does what programs usually do on it.
    pub fn handle(&mut self, event: SwarmEvent<BehaviourEvent>) {
        if let Some(line) = report::of_swarm(&event) {
            print(&line);
        }
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                let peer = *self.swarm.local_peer_id();
                let address = address.with(Protocol::P2p(peer));
                print(&json!({
                    "event": "ready",
                    "peer": peer.to_string(),
                    "address": address.to_string(),
                }));
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                if let Some(command) = self.dials.remove(&connection_id) {
                    print(&json!({ "answer": command, "peer": peer_id.to_string() }));
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                if let Some(command) = self.dials.remove(&connection_id) {
                    print(&json!({ "answer": command, "error": format!("{error:?}") }));
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) => {
                // Peers that serve Kademlia enter the routing table, as every example of the library does.
                if info.protocols.contains(&kad::PROTOCOL_NAME) {
                    for address in info.listen_addrs {
                        self.swarm.behaviour_mut().kad.add_address(&peer_id, address);
                    }
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
                id,
                result,
                step,
                ..
            })) => self.progress(id, result, step.last),
            _ => {}
        }
    }

    fn progress(&mut self, id: QueryId, result: QueryResult, last: bool) {
        let Some(query) = self.queries.get_mut(&id) else { return };
        query.take(result);
        if last && let Some(query) = self.queries.remove(&id) {
            let mut answer = json!({ "answer": query.command, "found": query.found });
            if let (Some(error), Value::Object(answer)) = (query.error, &mut answer) {
                answer.insert("error".to_owned(), Value::String(error));
            }
            print(&answer);
        }
    }
}

impl Query {
    fn take(&mut self, result: QueryResult) {
        match result {
            QueryResult::GetRecord(Ok(kad::GetRecordOk::FoundRecord(found))) => {
                self.found.push(json!({
                    "value": hex::encode(&found.record.value),
                    "from": found.peer.map(|peer| peer.to_string()),
                }));
            }
            QueryResult::GetRecord(Ok(kad::GetRecordOk::FinishedWithNoAdditionalRecord { .. })) => {}
            QueryResult::GetRecord(Err(error)) => self.error = Some(error.to_string()),
            QueryResult::GetProviders(Ok(kad::GetProvidersOk::FoundProviders { providers, .. })) => {
                self.find_all(providers);
            }
            QueryResult::GetProviders(Ok(_)) => {}
            QueryResult::GetProviders(Err(error)) => self.error = Some(error.to_string()),
            QueryResult::GetClosestPeers(Ok(ok)) => {
                self.find_all(ok.peers.iter().map(|peer| peer.peer_id));
            }
            QueryResult::GetClosestPeers(Err(error)) => self.error = Some(error.to_string()),
            // A network of fewer than 20 nodes never has a quorum of all; who stored it is the answer.
            QueryResult::PutRecord(Err(kad::PutRecordError::QuorumFailed { success, .. })) => {
                self.find_all(success);
            }
            QueryResult::PutRecord(Err(error)) => self.error = Some(error.to_string()),
            QueryResult::StartProviding(Err(error)) => self.error = Some(error.to_string()),
            QueryResult::Bootstrap(Err(error)) => self.error = Some(format!("{error:?}")),
            _ => {}
        }
    }

    fn find_all(&mut self, peers: impl IntoIterator<Item = PeerId>) {
        self.found.extend(peers.into_iter().map(|peer| Value::String(peer.to_string())));
    }
}

fn behaviour(key: &identity::Keypair, identify: bool) -> Behaviour {
    let peer = key.public().to_peer_id();
    let config = identify::Config::new("/ipfs/0.1.0".to_owned(), key.public());
    Behaviour {
        kad: kad::Behaviour::new(peer, MemoryStore::new(peer)),
        ping: ping::Behaviour::default(),
        identify: identify.then(|| identify::Behaviour::new(config)).into(),
    }
}

fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    address.iter().find_map(|part| match part {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    })
}
