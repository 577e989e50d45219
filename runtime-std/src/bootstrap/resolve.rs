//! From an address that was written to sockets that can be dialled.
//!
//! `/dnsaddr/` names are looked up as TXT records of `_dnsaddr.NAME` that hold `dnsaddr=` and another address
//! (<https://github.com/multiformats/multiaddr/blob/master/protocols/DNSADDR.md>). Of what they hold, addresses with
//! another transport than TCP and peers with another key than Ed25519 are left out.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use phase_core::identity::PeerId;
use phase_core::wire::multiaddr::{Address, Host, HostName, Invalid};
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::{TxtError, stub};

/// How long the system may take to find the addresses of a name.
const LOOKUP_MAX: Duration = Duration::from_secs(10);

/// How deep `dnsaddr` records may lead to each other.
const DEPTH_MAX: usize = 4;
/// `dnsaddr` names looked up for one address.
const NAMES_MAX: usize = 16;
/// Peers found for one address.
const PEERS_MAX: usize = 16;
/// Sockets tried for one peer.
const SOCKETS_MAX: usize = 8;

/// Somebody to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Whom to expect; none: whoever is there.
    pub peer: Option<PeerId>,
    /// Where; at least one.
    pub addresses: Vec<SocketAddr>,
}

/// Why an address leads nowhere.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {step}")]
pub struct Error {
    /// The address as it was given.
    pub address: Box<Address>,
    /// What failed.
    pub step: Step,
}

/// What can fail.
#[derive(Debug)]
pub enum Step {
    /// The system does not know the name.
    Lookup(HostName, io::Error),
    /// The name has no address of that family.
    NoAddress(HostName, &'static str),
    /// The TXT records of a `dnsaddr` name cannot be had.
    Txt(String, TxtError),
    /// There are TXT records, and none leads to a peer: how many were left out for their transport, their key, or
    /// because they are no addresses.
    NoPeer {
        /// The name.
        name: String,
        /// Records with `dnsaddr=`.
        records: usize,
        /// Those for another transport.
        transports: usize,
        /// Those with another key.
        keys: usize,
    },
    /// `dnsaddr` records lead to each other too often.
    TooDeep(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookup(name, error) => write!(f, "cannot resolve {name}: {error}"),
            Self::NoAddress(name, family) => write!(f, "{name} has no {family} address"),
            Self::Txt(name, error) => write!(f, "no TXT records of {name}: {error}"),
            Self::NoPeer { name, records: 0, .. } => {
                write!(f, "no TXT record of {name} begins with dnsaddr=")
            }
            Self::NoPeer { name, records, transports, keys } => write!(
                f,
                "none of the {records} addresses in the TXT records of {name} can be dialled ({transports} not over \
                 TCP, {keys} with another key than Ed25519)"
            ),
            Self::TooDeep(name) => {
                write!(f, "the TXT records lead to each other too often, at {name}")
            }
        }
    }
}

impl std::error::Error for Step {}

/// Finds whom `address` leads to.
///
/// # Errors
/// [`Error`], with the step that failed; for several the last.
pub async fn resolve(address: &Address) -> Result<Vec<Peer>, Error> {
    resolve_with(address, &stub::Resolver::of_system()).await
}

async fn resolve_with(address: &Address, resolver: &stub::Resolver) -> Result<Vec<Peer>, Error> {
    let mut search = Search { resolver, names: Vec::new(), found: Vec::new(), failed: None };
    search.add(address).await;
    match search.failed {
        Some(step) if search.found.is_empty() => {
            Err(Error { address: Box::new(address.clone()), step })
        }
        Some(_) | None => Ok(search.found),
    }
}

/// Looks along `dnsaddr` records.
struct Search<'a> {
    resolver: &'a stub::Resolver,
    /// Names that were looked up.
    names: Vec<String>,
    found: Vec<Peer>,
    failed: Option<Step>,
}

impl Search<'_> {
    async fn add(&mut self, address: &Address) {
        // Breadth first: what a nearer record says is found before what it leads to.
        let mut level = vec![address.clone()];
        for depth in 0..=DEPTH_MAX {
            let mut next = Vec::new();
            for address in &level {
                if let Host::DnsAddr(name) = &address.host {
                    let name = format!("_dnsaddr.{name}");
                    if depth == DEPTH_MAX || self.names.len() == NAMES_MAX {
                        self.failed = Some(Step::TooDeep(name));
                    } else if !self.names.contains(&name) {
                        self.names.push(name.clone());
                        match self.follow(&name, address).await {
                            Ok(more) => next.extend(more),
                            Err(step) => self.failed = Some(step),
                        }
                    }
                } else {
                    match sockets(address).await {
                        Ok(sockets) => self.take(address.peer, sockets),
                        Err(step) => self.failed = Some(step),
                    }
                }
            }
            level = next;
        }
        if self.found.is_empty() && self.failed.is_none() {
            // Only records that lead in circles end here.
            self.failed = Some(Step::TooDeep(self.names.pop().unwrap_or_default()));
        }
    }

    fn take(&mut self, peer: Option<PeerId>, sockets: Vec<SocketAddr>) {
        let known = self.found.iter().position(|known| known.peer == peer);
        if known.is_none() {
            if self.found.len() == PEERS_MAX {
                return;
            }
            self.found.push(Peer { peer, addresses: Vec::new() });
        }
        let at = known.unwrap_or(self.found.len() - 1);
        let Some(Peer { addresses: place, .. }) = self.found.get_mut(at) else { return };
        for socket in sockets {
            if place.len() < SOCKETS_MAX && !place.contains(&socket) {
                place.push(socket);
            }
        }
    }

    /// The addresses in the TXT records of a name that agree with what was asked for.
    async fn follow(&self, name: &str, asked: &Address) -> Result<Vec<Address>, Step> {
        let strings = self.resolver.txt(name).await;
        let strings = strings.map_err(|error| Step::Txt(name.to_owned(), error))?;
        let (mut records, mut transports, mut keys) = (0, 0, 0);
        let mut found = Vec::new();
        for text in strings.iter().filter_map(|text| text.strip_prefix("dnsaddr=")) {
            records += 1;
            match text.parse::<Address>() {
                Ok(address) => {
                    let agrees = (asked.peer.is_none()
                        || address.peer == asked.peer
                        || matches!(address.host, Host::DnsAddr(_)))
                        && (asked.port.is_none() || asked.port == address.port);
                    if agrees {
                        found.push(Address { peer: address.peer.or(asked.peer), ..address });
                    }
                }
                Err(Invalid::KeyType) => keys += 1,
                Err(_) => transports += 1,
            }
        }
        if found.is_empty() {
            return Err(Step::NoPeer { name: name.to_owned(), records, transports, keys });
        }
        Ok(found)
    }
}

/// The sockets of an address that is no `dnsaddr`.
async fn sockets(address: &Address) -> Result<Vec<SocketAddr>, Step> {
    // Only a `dnsaddr` goes without a port.
    let port = address.port.unwrap_or(0);
    let (name, family, wanted): (_, _, fn(&IpAddr) -> bool) = match &address.host {
        Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, port)]),
        Host::Dns(name) | Host::DnsAddr(name) => (name, "IP", |_| true),
        Host::Dns4(name) => (name, "IPv4", IpAddr::is_ipv4),
        Host::Dns6(name) => (name, "IPv6", IpAddr::is_ipv6),
    };
    let found = timeout(LOOKUP_MAX, lookup_host((name.as_str(), port))).await;
    let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let found = found.map_err(|error| Step::Lookup(name.clone(), error))?;
    let sockets: Vec<_> = found.filter(|socket| wanted(&socket.ip())).collect();
    if sockets.is_empty() {
        return Err(Step::NoAddress(name.clone(), family));
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::stub::tests::{Server, Zone};

    const ED25519: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
    const OTHER: &str = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq";
    const RSA: &str = "QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC";

    async fn resolve_in(zone: Zone, address: &str) -> Result<Vec<String>, String> {
        let server = Server::start(zone).await;
        let found = resolve_with(&address.parse().unwrap(), &server.resolver()).await;
        let shown = |peer: &Peer| {
            let addresses: Vec<_> = peer.addresses.iter().map(ToString::to_string).collect();
            let name = peer.peer.map_or_else(|| "anybody".to_owned(), |peer| peer.to_string());
            format!("{name} at {}", addresses.join(" "))
        };
        found.map(|all| all.iter().map(shown).collect()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn addresses_need_no_name_service() {
        let nobody = Zone::default;
        let found = resolve_in(nobody(), "/ip4/192.0.2.1/tcp/4001").await.unwrap();
        assert_eq!(found, ["anybody at 192.0.2.1:4001"]);
        let found = resolve_in(nobody(), &format!("/ip6/2001:db8::1/tcp/1/p2p/{ED25519}")).await;
        assert_eq!(found.unwrap(), [format!("{ED25519} at [2001:db8::1]:1")]);
    }

    #[tokio::test]
    async fn names_are_asked_of_the_system_and_errors_name_them() {
        let nobody = Zone::default;
        let found = resolve_in(nobody(), "/dns4/localhost/tcp/4001").await.unwrap();
        assert_eq!(found, ["anybody at 127.0.0.1:4001"]);
        let error = resolve_in(nobody(), "/dns/no-such-host.invalid/tcp/4001").await.unwrap_err();
        let expected = "/dns/no-such-host.invalid/tcp/4001: cannot resolve no-such-host.invalid: ";
        assert!(error.starts_with(expected), "{error}");
    }

    #[tokio::test]
    async fn dnsaddr_records_are_followed_to_peers_that_can_be_dialled() {
        let zone = Zone::from([
            (
                "_dnsaddr.boot.example",
                vec![
                    "v=spf1 -all".to_owned(),
                    format!("dnsaddr=/dnsaddr/near.boot.example/p2p/{ED25519}"),
                    format!("dnsaddr=/ip4/192.0.2.9/tcp/4001/p2p/{RSA}"),
                    format!("dnsaddr=/ip4/192.0.2.7/udp/4001/quic-v1/p2p/{OTHER}"),
                    format!("dnsaddr=/ip4/192.0.2.7/tcp/4001/p2p/{OTHER}"),
                ],
            ),
            (
                "_dnsaddr.near.boot.example",
                vec![
                    format!("dnsaddr=/ip4/192.0.2.1/tcp/4001/p2p/{ED25519}"),
                    format!("dnsaddr=/ip6/2001:db8::1/tcp/4001/p2p/{ED25519}"),
                    format!("dnsaddr=/ip4/192.0.2.2/tcp/4001/p2p/{OTHER}"),
                ],
            ),
        ]);
        let found = resolve_in(zone.clone(), "/dnsaddr/boot.example").await.unwrap();
        let expected = [
            format!("{OTHER} at 192.0.2.7:4001"),
            format!("{ED25519} at 192.0.2.1:4001 [2001:db8::1]:4001"),
        ];
        assert_eq!(found, expected);
        let only = format!("/dnsaddr/boot.example/p2p/{ED25519}");
        assert_eq!(resolve_in(zone, &only).await.unwrap(), expected[1..]);
    }

    #[tokio::test]
    async fn what_leads_nowhere_says_where_it_ended() {
        let record = |to: &str| vec![format!("dnsaddr={to}")];
        let zone = Zone::from([
            ("_dnsaddr.circle.example", record("/dnsaddr/circle.example")),
            ("_dnsaddr.a.example", record("/dnsaddr/b.example")),
            ("_dnsaddr.b.example", record("/dnsaddr/c.example")),
            ("_dnsaddr.c.example", record("/dnsaddr/d.example")),
            ("_dnsaddr.d.example", record("/dnsaddr/e.example")),
            ("_dnsaddr.rsa.example", record(&format!("/ip4/192.0.2.9/tcp/4001/p2p/{RSA}"))),
            ("_dnsaddr.other.example", vec!["hello".to_owned()]),
        ]);
        for (name, why) in [
            ("circle", "lead to each other too often, at _dnsaddr.circle.example"),
            ("a", "lead to each other too often, at _dnsaddr.e.example"),
            (
                "rsa",
                "none of the 1 addresses in the TXT records of _dnsaddr.rsa.example can be dialled (0 not over TCP, \
                 1 with another key than Ed25519)",
            ),
            ("other", "no TXT record of _dnsaddr.other.example begins with dnsaddr="),
            ("none", "no TXT records of _dnsaddr.none.example: no such name"),
        ] {
            let error = resolve_in(zone.clone(), &format!("/dnsaddr/{name}.example")).await;
            let error = error.unwrap_err();
            assert!(error.starts_with(&format!("/dnsaddr/{name}.example: ")), "{error}");
            assert!(error.contains(why), "{error}");
        }
    }
}
