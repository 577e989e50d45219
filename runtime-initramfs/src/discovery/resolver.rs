//! Where the DHT is entered: addresses that users write, resolved to sockets as often as it takes.
//!
//! Not implemented: `/dnsaddr/`, which needs TXT records.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use phase_core::wire::multiaddr::{Address, Host};

use crate::clock;
use crate::executor;
use crate::network::{ADDRESSES, Network, ResolveError, Wanted};

/// How long to wait before a name is resolved again that could not be, in microseconds: the first time, and at most;
/// doubled each time.
const AGAIN: (u64, u64) = (5_000_000, 300_000_000);

/// Why an address leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// Its name has no address.
    Name(ResolveError),
    /// It is a `/dnsaddr/`.
    DnsAddr,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::DnsAddr => f.write_str("/dnsaddr/ is not supported here; name an address"),
        }
    }
}

type Sockets = heapless::Vec<SocketAddr, ADDRESSES>;
type Resolving = Pin<Box<dyn Future<Output = Result<Sockets, Error>>>>;

struct Entry {
    address: Address,
    /// When to try again, in microseconds; none: it is resolved, or never will be.
    again_at: Option<u64>,
    wait: u64,
    resolving: Option<Resolving>,
    /// What became of it was told once.
    is_told: bool,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Resolves a list of addresses side by side.
#[derive(Debug)]
pub(super) struct Resolver {
    network: Network,
    entries: Vec<Entry>,
}

/// What became of one address.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) address: Address,
    pub(super) sockets: Result<Sockets, Error>,
}

impl Resolver {
    /// A resolver that begins with its first poll.
    pub(super) fn new(network: Network, addresses: Vec<Address>) -> Self {
        let mut entries = Vec::with_capacity(addresses.len());
        for address in addresses {
            let (again_at, wait) = (Some(0), AGAIN.0);
            entries.push(Entry { address, again_at, wait, resolving: None, is_told: false });
        }
        Self { network, entries }
    }

    /// Whether every address was resolved or failed to be, at least once.
    pub(super) fn is_settled(&self) -> bool {
        self.entries.iter().all(|entry| entry.is_told)
    }

    /// The next address that was resolved or could not be.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Resolved> {
        let now = clock::monotonic_micros();
        for entry in &mut self.entries {
            if entry.again_at.is_some_and(|at| at <= now) {
                entry.again_at = None;
                let resolving = resolve(self.network, entry.address.clone());
                entry.resolving = Some(Box::pin(resolving));
            }
            if let Some(at) = entry.again_at {
                executor::wake_at(at, cx.waker());
            }
            let Some(resolving) = &mut entry.resolving else { continue };
            let Poll::Ready(sockets) = resolving.as_mut().poll(cx) else { continue };
            entry.resolving = None;
            entry.is_told = true;
            if let Err(Error::Name(_)) = sockets {
                entry.again_at = Some(now.saturating_add(entry.wait));
                entry.wait = (entry.wait * 2).min(AGAIN.1);
            }
            return Poll::Ready(Resolved { address: entry.address.clone(), sockets });
        }
        Poll::Pending
    }
}

async fn resolve(network: Network, address: Address) -> Result<Sockets, Error> {
    let (name, wanted) = match &address.host {
        Host::Ip(ip) => return Ok(sockets(&[*ip], address.port)),
        Host::Dns(name) => (name, Wanted::Both),
        Host::Dns4(name) => (name, Wanted::V4),
        Host::Dns6(name) => (name, Wanted::V6),
        Host::DnsAddr(_) => return Err(Error::DnsAddr),
    };
    let found = network.resolve(name.as_str(), wanted).await.map_err(Error::Name)?;
    Ok(sockets(&found, address.port))
}

fn sockets(ips: &[IpAddr], port: Option<u16>) -> Sockets {
    let mut sockets = Sockets::new();
    // Every kind of address but `/dnsaddr/` has a port.
    if let Some(port) = port {
        sockets.extend(ips.iter().take(ADDRESSES).map(|ip| SocketAddr::new(*ip, port)));
    }
    sockets
}
