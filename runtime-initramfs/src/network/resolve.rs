//! Names to addresses, by the name servers that came with the addresses of the interfaces.
//!
//! Not implemented: search lists, TXT records, names under `local`.

use std::net::IpAddr;

use embassy_net::dns::DnsQueryType;
use embassy_time::{Duration, with_timeout};

use super::Network;

/// How long one question may take: the stack repeats it after a second, then after two.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Addresses of one name that are used.
pub const ADDRESSES: usize = 8;

/// Which addresses of a name are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those of both families, IPv4 in front.
    Both,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolveError {
    /// No interface has a name server.
    NoServer,
    /// No name server knows an address, or none answered.
    NoAddress,
}

impl std::fmt::Display for ResolveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::NoServer => "this network names no name server",
            Self::NoAddress => "no name server knows an address of it, or none answered",
        })
    }
}

impl std::error::Error for ResolveError {}

impl Network {
    /// The addresses of `name`, which may be an address itself: at most [`ADDRESSES`].
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn resolve(self, name: &str, wanted: Wanted) -> Result<Vec<IpAddr>, ResolveError> {
        if let Ok(ip) = name.parse() {
            return Ok(vec![ip]);
        }
        let mut found = Vec::new();
        let kinds: &[DnsQueryType] = match wanted {
            Wanted::Both => &[DnsQueryType::A, DnsQueryType::Aaaa],
            Wanted::V4 => &[DnsQueryType::A],
            Wanted::V6 => &[DnsQueryType::Aaaa],
        };
        let mut error = ResolveError::NoServer;
        for interface in self.configured() {
            if interface.servers().is_empty() {
                continue;
            }
            for kind in kinds {
                let answer = with_timeout(ANSWER_WITHIN, interface.stack.dns_query(name, *kind));
                if let Ok(Ok(addresses)) = answer.await {
                    for address in addresses {
                        found.push(IpAddr::from(address));
                    }
                }
            }
            if !found.is_empty() {
                found.truncate(ADDRESSES);
                return Ok(found);
            }
            error = ResolveError::NoAddress;
        }
        Err(error)
    }
}
