//! From a URL to addresses that may be connected to.
//! Spec: formats of URLs in `phase_core::wire::url`, rules for addresses in `phase_core::select::carrier`.

use std::io;
use std::net::{IpAddr, SocketAddr};

use phase_core::machine::Network;
use phase_core::select::Policy;
use phase_core::select::carrier::Way;
use phase_core::wire::url::{Host, Scheme, Url};

use super::http::Origin;

/// Where URLs may lead, by how they came.
#[derive(Clone, Debug)]
pub enum Reach {
    /// The user typed the URL: wherever it leads, but not to one of the manifest's other mirrors.
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
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A scheme without an implementation.
    #[error(
        "{0}: https is not supported here; what is fetched is verified by signature, so publish an http URL"
    )]
    Scheme(Url),
    /// The name is unknown.
    #[error("cannot resolve the host of {url}: {source}")]
    Resolve {
        /// The URL.
        url: Url,
        /// What the resolver said.
        source: io::Error,
    },
    /// Every address is forbidden.
    #[error("{url} leads to {address}, which is not used: {policy}")]
    Policy {
        /// The URL.
        url: Url,
        /// The first address.
        address: IpAddr,
        /// Why not.
        policy: Policy,
    },
    /// A name without addresses.
    #[error("the host of {0} has no address")]
    NoAddress(Url),
}

/// The servers behind a URL, in the order to try them. Names are resolved once, here; what is returned was
/// checked.
///
/// # Errors
/// [`Error`]; another URL or provider may do.
pub async fn origins(url: &Url, reach: &Reach) -> Result<Vec<Origin>, Error> {
    if url.scheme() == Scheme::Https {
        return Err(Error::Scheme(url.clone()));
    }
    let addresses = addresses(url, reach).await?;
    let mut refused = None;
    let mut origins = Vec::new();
    for address in addresses {
        match destination(address, url.port(), reach) {
            Ok(address) => origins.push(Origin { address, authority: url.authority().to_owned() }),
            Err(policy) => refused = refused.or(Some((address, policy))),
        }
    }
    match refused {
        Some((address, policy)) if origins.is_empty() => {
            Err(Error::Policy { url: url.clone(), address, policy })
        }
        None if origins.is_empty() => Err(Error::NoAddress(url.clone())),
        Some(_) | None => Ok(origins),
    }
}

async fn addresses(url: &Url, reach: &Reach) -> Result<Vec<IpAddr>, Error> {
    let name = match url.host() {
        Host::Ip(ip) => return Ok(vec![ip]),
        Host::Name(name) => name,
    };
    if let Reach::Advert { known, .. } = reach
        && !known.is_empty()
    {
        return Ok(known.clone());
    }
    let found = tokio::net::lookup_host((name, url.port())).await;
    let found = found.map_err(|source| Error::Resolve { url: url.clone(), source })?;
    Ok(found.map(|address| address.ip()).collect())
}

fn destination(address: IpAddr, port: u16, reach: &Reach) -> Result<SocketAddr, Policy> {
    match reach {
        Reach::Asked => Ok(SocketAddr::new(address, port)),
        Reach::Advert { interface, networks, pinned, .. } => {
            Way { interface: *interface, networks, pinned: *pinned }.destination(address, port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advert(network: &str, pinned: bool, known: &[&str]) -> Reach {
        Reach::Advert {
            interface: Some(7),
            networks: vec![Network { address: network.parse().unwrap(), prefix_len: 24 }],
            pinned,
            known: known.iter().map(|ip| ip.parse().unwrap()).collect(),
        }
    }

    async fn resolve(url: &str, reach: &Reach) -> Result<Vec<String>, Error> {
        let url = Url::parse(url).unwrap();
        let origins = origins(&url, reach).await?;
        Ok(origins.iter().map(|origin| origin.address.to_string()).collect())
    }

    #[tokio::test]
    async fn an_advert_leads_to_its_own_link_and_no_further_unless_pinned() {
        let near = "http://10.0.0.9:8080/stable/arm64/manifest.json";
        let far = "http://10.0.9.9:8080/stable/arm64/manifest.json";
        assert_eq!(
            resolve(near, &advert("10.0.0.1", false, &[])).await.unwrap(),
            ["10.0.0.9:8080"]
        );
        assert!(matches!(
            resolve(far, &advert("10.0.0.1", false, &[])).await,
            Err(Error::Policy { .. })
        ));
        assert_eq!(resolve(far, &advert("10.0.0.1", true, &[])).await.unwrap(), ["10.0.9.9:8080"]);
    }

    #[tokio::test]
    async fn loopback_is_for_loopback_and_for_the_user() {
        let url = "http://127.0.0.1:8080/stable/arm64/manifest.json";
        assert!(matches!(
            resolve(url, &advert("10.0.0.1", true, &[])).await,
            Err(Error::Policy { .. })
        ));
        resolve(url, &advert("127.0.0.1", false, &[])).await.unwrap();
        resolve(url, &Reach::Asked).await.unwrap();
    }

    #[tokio::test]
    async fn link_local_addresses_get_the_interface_as_scope() {
        let url = "http://[fe80::1]:8080/stable/arm64/manifest.json";
        assert_eq!(
            resolve(url, &advert("10.0.0.1", false, &[])).await.unwrap(),
            ["[fe80::1%7]:8080"]
        );
    }

    #[tokio::test]
    async fn a_name_that_discovery_knows_is_not_asked_for() {
        let url = "http://nowhere.local/stable/arm64/manifest.json";
        let reach = advert("10.0.0.1", false, &["10.0.0.3", "127.0.0.1"]);
        assert_eq!(resolve(url, &reach).await.unwrap(), ["10.0.0.3:80"]);
        let reach = advert("10.0.0.1", false, &["127.0.0.1"]);
        assert!(matches!(resolve(url, &reach).await, Err(Error::Policy { .. })));
    }

    #[tokio::test]
    async fn https_is_refused_with_a_way_out() {
        let url = "https://10.0.0.9/stable/arm64/manifest.json";
        let error = resolve(url, &Reach::Asked).await.unwrap_err();
        assert!(error.to_string().contains("publish an http URL"), "{error}");
    }
}
