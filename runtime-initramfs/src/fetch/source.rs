//! From a URL to addresses that may be connected to.
//! Spec: formats of URLs in `phase_core::wire::url`, rules for addresses in `phase_core::select::carrier`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use phase_core::machine::Network;
use phase_core::select::Policy;
use phase_core::select::carrier::Way;
use phase_core::time::Instant;
use phase_core::wire::url::{Host, Scheme, Url};

use super::dial::{Dial, ResolveError};
use crate::http::Origin;

/// The longest wait for the addresses of a name.
pub const RESOLVE_MAX: Duration = Duration::from_secs(10);

/// Where URLs may lead, by how they came.
#[derive(Clone, Debug)]
pub enum Reach {
    /// The user named the URL: wherever it leads.
    Asked,
    /// An advert named it.
    Advert {
        /// The interface it came by: the scope of `fe80::/10` addresses; none: it came from the DHT.
        interface: Option<u32>,
        /// The addresses and prefixes of that interface; of all, if it came from the DHT.
        networks: Vec<Network>,
        /// The provider is pinned.
        pinned: bool,
        /// The addresses that discovery knows for the URL's host.
        known: Vec<IpAddr>,
    },
}

/// Why a URL leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A scheme without an implementation.
    Scheme,
    /// The name has no address.
    Resolve(ResolveError),
    /// Every address is forbidden; the first of them, and why.
    Policy(IpAddr, Policy),
    /// A name without addresses.
    NoAddress,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => f.write_str(
                "https is not supported here; what is fetched is verified by signature, so publish an http URL",
            ),
            Self::Resolve(error) => write!(f, "cannot resolve the host: {error}"),
            Self::Policy(address, policy) => {
                write!(f, "it leads to {address}, which is not used: {policy}")
            }
            Self::NoAddress => f.write_str("the host has no address"),
        }
    }
}

impl std::error::Error for Error {}

/// The servers behind a URL, in the order to try them. Names are resolved once, here; what is returned was
/// checked, and is at least one.
///
/// # Errors
/// [`Error`]; another URL or provider may do.
pub fn origins<'u>(
    dial: &dyn Dial,
    url: &'u Url,
    reach: &Reach,
    deadline: Instant,
) -> Result<Vec<Origin<'u>>, Error> {
    if url.scheme() == Scheme::Https {
        return Err(Error::Scheme);
    }
    let mut refused = None;
    let mut origins = Vec::new();
    for address in addresses(dial, url, reach, deadline)? {
        match destination(address, url.port(), reach) {
            Ok(address) => origins.push(Origin { address, authority: url.authority() }),
            Err(policy) => refused = refused.or(Some((address, policy))),
        }
    }
    match refused {
        Some((address, policy)) if origins.is_empty() => Err(Error::Policy(address, policy)),
        None if origins.is_empty() => Err(Error::NoAddress),
        Some(_) | None => Ok(origins),
    }
}

fn addresses(
    dial: &dyn Dial,
    url: &Url,
    reach: &Reach,
    deadline: Instant,
) -> Result<Vec<IpAddr>, Error> {
    let name = match url.host() {
        Host::Ip(ip) => return Ok(vec![ip]),
        Host::Name(name) => name,
    };
    if let Reach::Advert { known, .. } = reach
        && !known.is_empty()
    {
        return Ok(known.clone());
    }
    dial.resolve(name, deadline).map_err(Error::Resolve)
}

fn destination(address: IpAddr, port: u16, reach: &Reach) -> Result<SocketAddr, Policy> {
    match reach {
        Reach::Asked => Ok(SocketAddr::new(address, port)),
        Reach::Advert { interface, networks, pinned, .. } => {
            Way { interface: *interface, networks, pinned: *pinned }.destination(address, port)
        }
    }
}
