//! What happens, as lines of JSON.

use std::io::{Write as _, stdout};

use libp2p::swarm::SwarmEvent;
use libp2p::{identify, kad, ping};
use serde_json::{Value, json};

use crate::node::BehaviourEvent;

/// Prints one line; a reader that is gone needs none.
pub fn print(value: &Value) {
    let _ = writeln!(stdout(), "{value}");
}

/// The words of addresses or peers.
pub fn texts<T: ToString>(items: impl IntoIterator<Item = T>) -> Vec<String> {
    items.into_iter().map(|item| item.to_string()).collect()
}

/// What is told of an event of the swarm; nothing of most.
pub fn of_swarm(event: &SwarmEvent<BehaviourEvent>) -> Option<Value> {
    match event {
        SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } => Some(json!({
            "event": "connected",
            "peer": peer_id.to_string(),
            "inbound": endpoint.is_listener(),
            "address": endpoint.get_remote_address().to_string(),
        })),
        SwarmEvent::ConnectionClosed { peer_id, cause, num_established, .. } => Some(json!({
            "event": "closed",
            "peer": peer_id.to_string(),
            "remaining": num_established,
            "cause": cause.as_ref().map(|cause| format!("{cause:?}")),
        })),
        SwarmEvent::IncomingConnectionError { error, .. } => {
            Some(json!({ "event": "refused", "inbound": true, "cause": format!("{error:?}") }))
        }
        SwarmEvent::OutgoingConnectionError { error, .. } => {
            Some(json!({ "event": "refused", "inbound": false, "cause": format!("{error:?}") }))
        }
        SwarmEvent::Behaviour(event) => of_behaviour(event),
        _ => None,
    }
}

fn of_behaviour(event: &BehaviourEvent) -> Option<Value> {
    match event {
        BehaviourEvent::Identify(event) => of_identify(event),
        BehaviourEvent::Ping(ping::Event { peer, result, .. }) => Some(json!({
            "event": "ping",
            "peer": peer.to_string(),
            "micros": result.as_ref().ok().map(|time| time.as_micros() as u64),
            "failure": result.as_ref().err().map(|failure| format!("{failure:?}")),
        })),
        BehaviourEvent::Kad(event) => of_kad(event),
    }
}

fn of_identify(event: &identify::Event) -> Option<Value> {
    match event {
        identify::Event::Received { peer_id, info, .. } => Some(json!({
            "event": "identified",
            "peer": peer_id.to_string(),
            "agent": info.agent_version,
            "protocol": info.protocol_version,
            "protocols": texts(&info.protocols),
            "addresses": texts(&info.listen_addrs),
            "observed": info.observed_addr.to_string(),
        })),
        identify::Event::Error { peer_id, error, .. } => Some(json!({
            "event": "unidentified",
            "peer": peer_id.to_string(),
            "cause": format!("{error:?}"),
        })),
        identify::Event::Sent { .. } | identify::Event::Pushed { .. } => None,
    }
}

fn of_kad(event: &kad::Event) -> Option<Value> {
    let kad::Event::InboundRequest { request } = event else {
        let kad::Event::RoutingUpdated { peer, addresses, .. } = event else { return None };
        return Some(json!({
            "event": "routed",
            "peer": peer.to_string(),
            "addresses": texts(addresses.iter()),
        }));
    };
    Some(match request {
        kad::InboundRequest::PutRecord { source, .. } => {
            json!({ "event": "stored", "from": source.to_string() })
        }
        kad::InboundRequest::AddProvider { .. } => json!({ "event": "provider added" }),
        kad::InboundRequest::FindNode { num_closer_peers } => {
            json!({ "event": "asked", "for": "node", "closer": num_closer_peers })
        }
        kad::InboundRequest::GetRecord { present_locally, num_closer_peers } => json!({
            "event": "asked", "for": "value", "found": present_locally, "closer": num_closer_peers,
        }),
        kad::InboundRequest::GetProvider { num_provider_peers, num_closer_peers } => json!({
            "event": "asked", "for": "providers", "found": num_provider_peers, "closer": num_closer_peers,
        }),
    })
}
