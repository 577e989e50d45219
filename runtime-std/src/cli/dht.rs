//! Flags of the DHT.

#![expect(clippy::doc_markdown, reason = "what clap shows as help is plain text")]

use clap::{Args, ValueEnum};
use phase_core::client::Carriers;
use phase_core::wire::multiaddr::Address;

use crate::config::dht::Endpoint;

/// Where the DHT is entered.
#[derive(Args, Clone, Debug, Default)]
pub struct Bootstraps {
    /// Enter the DHT by this node: /ip4/ADDRESS/tcp/PORT, /ip6/..., /dns/NAME/tcp/PORT, /dns4/..., /dns6/... or
    /// /dnsaddr/NAME, best with /p2p/PEER_ID behind it, so that nobody can stand in for it. May be given more than
    /// once.
    #[arg(long = "bootstrap", value_name = "MULTIADDR")]
    pub bootstraps: Vec<Address>,
}

/// Where to look.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// On the local network, and after 0.3 s in the DHT too, until the first acceptable answer.
    #[default]
    Auto,
    /// On the local network, until the first acceptable answer.
    Lan,
    /// In the DHT, until the first acceptable answer.
    Wan,
    /// On the local network and in the DHT, to the end: every acceptable answer, the best first.
    All,
}

impl From<Mode> for Carriers {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Auto => Self::Auto,
            Mode::Lan => Self::Lan,
            Mode::Wan => Self::Wan,
            Mode::All => Self::All,
        }
    }
}

/// There is no way into the DHT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--mode wan needs a node to enter the DHT by: give --bootstrap /ip4/ADDRESS/tcp/4001/p2p/PEER_ID (a provider logs \
     its own at start, and `phase-provider status` shows it), or a `bootstrap` line in the --trust file"
)]
pub struct NoBootstrap;

/// Where to look, and the nodes to enter the DHT by: those of the flags, then those of the trust files.
///
/// # Errors
/// [`NoBootstrap`] where the DHT alone is to be searched.
pub fn search(
    mode: Mode,
    flags: &Bootstraps,
    trusted: Vec<Address>,
) -> Result<(Carriers, Vec<Address>), NoBootstrap> {
    let mut all = flags.bootstraps.clone();
    for address in trusted {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    if mode == Mode::Wan && all.is_empty() {
        return Err(NoBootstrap);
    }
    Ok((mode.into(), all))
}

/// How a provider takes part in the DHT.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Serving {
    /// Do not take part in the DHT.
    #[arg(long, conflicts_with_all = ["dht_listen", "dht_announce", "bootstraps"])]
    pub(super) no_dht: bool,
    /// Where to listen for other nodes of the DHT, such as /ip4/0.0.0.0/tcp/4001; the default is port 4001 of every
    /// address. Port 0 takes a free one. May be given more than once.
    #[arg(long, value_name = "MULTIADDR", value_parser = Endpoint::listen)]
    pub(super) dht_listen: Vec<Endpoint>,
    /// Tell other nodes this address instead of this host's own, such as behind a port that is forwarded. May be
    /// given more than once.
    #[arg(long, value_name = "MULTIADDR", value_parser = Endpoint::announce)]
    pub(super) dht_announce: Vec<Endpoint>,
    #[command(flatten)]
    pub(super) bootstraps: Bootstraps,
}
