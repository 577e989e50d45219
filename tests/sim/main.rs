//! Whole-LAN properties of the provider and the client, under a clock that jumps: see `phase_tests::harness`.
#![forbid(unsafe_code)]

mod adversary;
mod dht;
mod finder;
mod lifetime;
mod loss;
mod tcp;
mod topology;

use std::time::Duration;

use phase_core::client;
use phase_tests::harness::{
    Conditions, HostId, Network, SegmentId, client_config, image, pinned, provider_config,
};

/// Lifetime of adverts in most simulations.
const TTL: u32 = 3600;

/// Providers that a trust store can hold.
const TRUSTED_MAX: u64 = 32;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A provider of `stable` for `arm64` with the key and the name of `number`.
fn add_provider(network: &mut Network, number: u64, segments: &[SegmentId]) -> HostId {
    let config = provider_config(number, &format!("lab-{number}"), TTL);
    network.provider(config, &[image("stable", "arm64", "2026.01.01")], segments)
}

/// A client that trusts the providers 1 to `trusted`.
fn add_client(
    network: &mut Network,
    (number, trusted): (u64, u64),
    mode: client::Mode,
    segments: &[SegmentId],
) -> HostId {
    network.client(client_config(number, pinned(1..=trusted.min(TRUSTED_MAX)), mode), segments)
}

/// How many candidates a client accepts.
fn accepted(network: &Network, client: HostId) -> usize {
    network.client_of(client).candidates().filter(|c| c.is_accepted()).count()
}

/// A LAN of `providers` that have settled.
fn settled(seed: u64, providers: u64, conditions: Conditions) -> (Network, SegmentId, Vec<HostId>) {
    let mut network = Network::new(seed);
    let lan = network.segment(Conditions::default());
    let hosts = (1..=providers).map(|n| add_provider(&mut network, n, &[lan])).collect();
    network.run(secs(60));
    network.set_conditions(lan, conditions);
    (network, lan, hosts)
}
