//! Where the DHT is entered: addresses that users write, resolved to sockets as often as it takes.
//!
//! Not here: how an address is written (`phase_core::wire::multiaddr`), and what is said to who is there.

pub mod resolve;
mod stub;

use std::time::Duration;

use phase_core::wire::multiaddr::{Address, Host};
use tokio::task::JoinSet;
use tokio::time::sleep;

pub use resolve::{Error, Peer};
pub use stub::Error as TxtError;

/// How long to wait before a name is resolved again that could not be, or whose addresses did not answer; doubled
/// each time.
const AGAIN_FIRST: Duration = Duration::from_secs(5);
/// The longest such wait.
const AGAIN_MAX: Duration = Duration::from_secs(300);

/// What became of one address.
#[derive(Debug)]
pub struct Resolved {
    /// Its number in the list that was given.
    pub number: usize,
    /// Who is there.
    pub peers: Result<Vec<Peer>, Error>,
}

/// Resolves a list of addresses side by side; needs a tokio runtime.
#[derive(Debug, Default)]
pub struct Resolver {
    entries: Vec<Entry>,
    running: JoinSet<(usize, Result<Vec<Peer>, Error>)>,
}

#[derive(Debug)]
struct Entry {
    address: Address,
    wait: Duration,
    is_running: bool,
    /// What became of it was told once.
    is_told: bool,
}

impl Resolver {
    /// Begins to resolve all of `addresses`.
    #[must_use]
    pub fn new(addresses: Vec<Address>) -> Self {
        let mut resolver = Self::default();
        for address in addresses {
            resolver.entries.push(Entry {
                address,
                wait: AGAIN_FIRST,
                is_running: false,
                is_told: false,
            });
            resolver.start(resolver.entries.len() - 1, Duration::ZERO);
        }
        resolver
    }

    /// The addresses, as they were given.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.entries.iter().map(|entry| &entry.address)
    }

    /// Whether every address was resolved or failed to be, at least once.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.entries.iter().all(|entry| entry.is_told)
    }

    /// The next address that was resolved or could not be. Waits for ever where none is under way. May be dropped at
    /// any time and called again.
    pub async fn next(&mut self) -> Resolved {
        loop {
            match self.running.join_next().await {
                Some(Ok((number, peers))) => {
                    if let Some(entry) = self.entries.get_mut(number) {
                        entry.is_running = false;
                        entry.is_told = true;
                    }
                    return Resolved { number, peers };
                }
                // Nothing in it panics, and nobody stops it.
                Some(Err(error)) => tracing::error!("resolving a bootstrap address: {error}"),
                None => std::future::pending().await,
            }
        }
    }

    /// Resolves the names of an address again after a while; the while is longer each time. Addresses without a name
    /// stay what they are.
    pub fn again(&mut self, number: usize) {
        let Some(entry) = self.entries.get_mut(number) else { return };
        if matches!(entry.address.host, Host::Ip(_)) || entry.is_running {
            return;
        }
        let wait = entry.wait;
        entry.wait = (wait * 2).min(AGAIN_MAX);
        self.start(number, wait);
    }

    /// Whoever was found answers: the next failure is the first one again.
    pub fn answers(&mut self, number: usize) {
        if let Some(entry) = self.entries.get_mut(number) {
            entry.wait = AGAIN_FIRST;
        }
    }

    fn start(&mut self, number: usize, wait: Duration) {
        let Some(entry) = self.entries.get_mut(number) else { return };
        entry.is_running = true;
        let address = entry.address.clone();
        self.running.spawn(async move {
            if !wait.is_zero() {
                sleep(wait).await;
            }
            (number, resolve::resolve(&address).await)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_address_is_told_of_and_names_are_tried_again_later_each_time() {
        let texts = ["/ip4/192.0.2.1/tcp/4001", "/dns4/localhost/tcp/4002"];
        let mut resolver = Resolver::new(texts.map(|text| text.parse().unwrap()).to_vec());
        assert!(!resolver.is_settled());
        let mut told = [resolver.next().await, resolver.next().await];
        told.sort_by_key(|resolved| resolved.number);
        let sockets = told.map(|resolved| resolved.peers.unwrap()[0].addresses[0].to_string());
        assert_eq!(sockets, ["192.0.2.1:4001", "127.0.0.1:4002"]);

        assert!(resolver.is_settled());
        resolver.again(0);
        assert!(resolver.running.is_empty(), "there is nothing to resolve");
        let mut waits = Vec::new();
        for _ in 0..3 {
            let before = tokio::time::Instant::now();
            resolver.again(1);
            resolver.again(1);
            resolver.next().await.peers.unwrap();
            waits.push(before.elapsed().as_secs());
            assert!(resolver.running.is_empty(), "one at a time");
        }
        assert_eq!(waits, [5, 10, 20]);
        resolver.answers(1);
        let before = tokio::time::Instant::now();
        resolver.again(1);
        resolver.next().await.peers.unwrap();
        assert_eq!(before.elapsed().as_secs(), 5);
    }
}
