//! A whole network in one thread: the core's machines on simulated links and TCP connections under a clock that
//! jumps to the next thing that happens. Latency, loss, duplication, reordering, cut cables, bridges, reflectors,
//! islands, resets and sleeping hosts are inputs; the seed makes a run repeatable and is printed when a test fails.
//! Not here: sockets, files, and any opinion on what the machines should do.

mod dht_node;
mod network;
mod peer;
mod segment;
mod station;
mod tcp;
mod wide;

pub use dht_node::{Boxed, DHT_PORT, DhtNode, DhtSize, Kept};
pub use network::{HostId, Network, SegmentId};
pub use peer::{Book, DhtPeer, Manner};
pub use segment::{Conditions, Traffic};
pub use station::{Arrival, Node, Recorded, Seen, Station};
pub use tcp::{Door, TcpConditions, TcpTraffic};

use phase_core::client;
use phase_core::identity::SecretKey;
use phase_core::limits::ADVERT_JSON_EMIT_MAX;
use phase_core::mdns::service::HostLabel;
use phase_core::provider::{self, Image, Origin};
use phase_core::rng::{Rng, Seed};
use phase_core::time::UnixTime;
use phase_core::wire::digest::Digest;
use phase_core::wire::record::{Advert, Arch, Channel, ProviderName, Version};
use phase_core::wire::trust::Trust;
use phase_core::wire::url::Url;

/// What the wall clock says when a simulation starts: 2025-11-26T12:00:00Z.
pub const EPOCH: UnixTime = UnixTime(1_764_158_400);

/// A seed from a number.
#[must_use]
pub fn seed(number: u64) -> Seed {
    let mut octets = [0; 32];
    octets[..8].copy_from_slice(&number.to_be_bytes());
    Seed(octets)
}

/// The key of provider `number`.
#[must_use]
pub fn key(number: u64) -> SecretKey {
    SecretKey::from_seed(&seed(number.wrapping_mul(7919).wrapping_add(1)).0)
}

/// The channel `text`.
///
/// # Panics
/// When it is none: the test is wrong.
#[must_use]
pub fn channel(text: &str) -> Channel {
    Channel::new(text).expect("a channel")
}

/// The architecture `text`.
///
/// # Panics
/// When it is none: the test is wrong.
#[must_use]
pub fn arch(text: &str) -> Arch {
    Arch::canonical(text).expect("an architecture")
}

/// An image of that channel and architecture.
///
/// # Panics
/// When one of the texts is not valid: the test is wrong.
#[must_use]
pub fn image(channel_text: &str, arch_text: &str, version: &str) -> Image {
    Image {
        channel: channel(channel_text),
        arch: arch(arch_text),
        version: Version::new(version).expect("a version"),
        digest: Digest::of(version.as_bytes()),
    }
}

/// A provider called `name` with the key of `number`, serving at port 8080 of each interface.
///
/// # Panics
/// When the name is not valid: the test is wrong.
#[must_use]
pub fn provider_config(number: u64, name: &str, ttl: u32) -> provider::Config {
    provider::Config {
        seed: seed(number),
        key: key(number),
        name: Some(ProviderName::new(name).expect("a provider name")),
        host: HostLabel::from_hostname(name),
        origin: Origin::Auto { port: 8080 },
        ttl,
    }
}

/// An advert of provider `number` for `stable` on `arm64`, as the JSON text that the DHT carries.
///
/// # Panics
/// When the URL or the times are not valid: the test is wrong.
#[must_use]
pub fn advert_json(number: u64, url: &str, seq: u64, (issued, ttl): (UnixTime, u32)) -> Vec<u8> {
    let advert = Advert {
        url: Url::parse(url).expect("a URL"),
        peer: key(number).peer_id(),
        name: None,
        issued,
        version: Version::new("1").expect("a version"),
        seq,
        ttl,
        digest: None,
    };
    let signed = advert.sign(&key(number), &channel("stable"), &arch("arm64"));
    let mut buf = [0; ADVERT_JSON_EMIT_MAX];
    signed.expect("an advert of its own key").encode_json(&mut buf).expect("room").to_vec()
}

/// A client for `stable` on `arm64` with the clock of the simulation.
#[must_use]
pub fn client_config(number: u64, trust: Trust, mode: client::Mode) -> client::Config {
    client::Config {
        trust,
        mode,
        clock: Some(EPOCH),
        first_binder: true,
        ..client::Config::new(seed(number ^ 0x5eed), channel("stable"), arch("arm64"))
    }
}

/// Trust in the providers with these numbers.
///
/// # Panics
/// When there are too many: the test is wrong.
#[must_use]
pub fn pinned(numbers: impl IntoIterator<Item = u64>) -> Trust {
    let mut trust = Trust::default();
    for number in numbers {
        trust.add_word(&key(number).peer_id().to_string()).expect("room for one more provider");
    }
    trust
}

/// True with this probability of 0 to 1.
fn chance(rng: &mut Rng, probability: f64) -> bool {
    // 53 bits are what a double holds exactly.
    let unit = (rng.u64() >> 11) as f64 / (1_u64 << 53) as f64;
    unit < probability
}
