//! rust-libp2p as the smallest program that looks one record up: TCP, Noise, Yamux, identify and `kad` in client
//! mode with its default configuration. It verifies nothing.
//!
//! `KEY ADDRESS/p2p/ID...`: the key in hexadecimal digits, and the bootstraps. Prints `found VALUE` with the first
//! record that any node gives, and ends.

use std::error::Error;
use std::io::{Write as _, stdout};

use libp2p::futures::StreamExt as _;
use libp2p::kad::store::MemoryStore;
use libp2p::kad::{self, GetRecordOk, QueryResult, RecordKey};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, identify, noise, tcp, yamux};

#[derive(NetworkBehaviour)]
struct Behaviour {
    kad: kad::Behaviour<MemoryStore>,
    identify: identify::Behaviour,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let key = hex::decode(words.next().ok_or("the key is missing")?)?;
    let mut swarm = libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key| {
            let peer = key.public().to_peer_id();
            let mut kad = kad::Behaviour::new(peer, MemoryStore::new(peer));
            kad.set_mode(Some(kad::Mode::Client));
            let config = identify::Config::new("/ipfs/0.1.0".to_owned(), key.public());
            Behaviour { kad, identify: identify::Behaviour::new(config) }
        })?
        .build();
    for word in words {
        let address: Multiaddr = word.parse()?;
        let Some(Protocol::P2p(peer)) = address.iter().last() else {
            return Err("a bootstrap address ends in /p2p/ID".into());
        };
        swarm.behaviour_mut().kad.add_address(&peer, address);
    }
    swarm.behaviour_mut().kad.get_record(RecordKey::new(&key));
    loop {
        let SwarmEvent::Behaviour(BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
            result: QueryResult::GetRecord(result),
            ..
        })) = swarm.select_next_some().await
        else {
            continue;
        };
        if let GetRecordOk::FoundRecord(found) = result? {
            writeln!(stdout(), "found {}", hex::encode(&found.record.value))?;
            return Ok(());
        }
        return Err("no record".into());
    }
}
