//! The provider's part of the DHT: one more advert of each image, and a node that publishes them.

use core::net::IpAddr;

use heapless::Vec;

use super::advert::{AdvertState, Adverts};
use super::origin::announceable;
use super::{Config, DHT, Event, Provider};
use crate::dht::server::{self, Dht, Server, Storage};
use crate::limits::HOST_ADDRESSES;
use crate::machine::{Output, TransmitBuffer, Wake};
use crate::stats::Stats;
use crate::time::Instant;

/// What a provider keeps beside its node.
#[derive(Debug)]
pub(super) struct Wide<const IMAGES: usize> {
    pub(super) adverts: Adverts<IMAGES>,
    /// Addresses of the host beside those of its links.
    addresses: Vec<IpAddr, HOST_ADDRESSES, u8>,
    /// The node may have something to do or to tell.
    busy: bool,
    /// The node's deadline, while it is not busy.
    wake: Option<Wake>,
}

impl<const IMAGES: usize> Wide<IMAGES> {
    pub(super) fn new() -> Self {
        let states = [AdvertState::default(); IMAGES];
        let adverts = Adverts { interface: DHT, address: None, states };
        Self { adverts, addresses: Vec::new(), busy: true, wake: None }
    }
}

impl<const IMAGES: usize, S: Storage<RX>, const RX: usize> Provider<IMAGES, Server<S, RX>> {
    /// A provider on the LAN and in the DHT, without images or links. The node has the provider's key, and places
    /// for as many adverts as there are images.
    #[must_use]
    pub fn with_dht(now: Instant, config: Config, node: Server<S, RX>) -> Self {
        Self::with(now, config, node)
    }

    /// The DHT node.
    #[must_use]
    pub const fn dht(&self) -> &Server<S, RX> {
        &self.dht
    }

    /// The DHT node, for its commands.
    pub fn dht_mut(&mut self) -> &mut Server<S, RX> {
        if let Some(wide) = self.wide.as_mut().first_mut() {
            wide.busy = true;
        }
        &mut self.dht
    }

    /// Tells addresses of the host that are used in the DHT beside those of its links, such as all of them where
    /// there are no links because multicast DNS is off. Those past [`HOST_ADDRESSES`] are not used.
    pub fn set_addresses(&mut self, now: Instant, addresses: &[IpAddr]) {
        self.advance(now);
        if let Some(wide) = self.wide.as_mut().first_mut() {
            wide.addresses = addresses.iter().copied().take(HOST_ADDRESSES).collect();
        }
        self.follow_interfaces();
    }

    /// What was counted of the connections.
    #[must_use]
    pub fn connection_stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.dht.add_stats(&mut stats);
        stats
    }
}

impl<const IMAGES: usize, D: Dht> Provider<IMAGES, D> {
    /// Gives the node a command.
    pub(super) fn with_node(&mut self, command: impl FnOnce(&mut D)) {
        if let Some(wide) = self.wide.as_mut().first_mut() {
            wide.busy = true;
            command(&mut self.dht);
        }
    }

    /// Runs the node's timers when one is due.
    pub(super) fn advance_node(&mut self) {
        let now = self.now;
        if self.wide.as_ref().iter().any(|wide| wide.wake.is_some_and(|wake| wake.at <= now)) {
            self.with_node(|node| node.handle_timeout(now));
        }
    }

    /// What the node has to do or to tell.
    pub(super) fn poll_node(&mut self, buf: &mut TransmitBuffer) -> Option<Output<Event>> {
        let wide = self.wide.as_mut().first_mut().filter(|wide| wide.busy)?;
        if let Some((id, output)) = self.dht.poll_output(buf) {
            return Some(Output::Connection(id, output));
        }
        let Some(event) = self.dht.poll_event() else {
            wide.busy = false;
            wide.wake = self.dht.next_wake();
            return None;
        };
        if let server::Event::SequenceBehind { key, .. } = &event {
            let index = self.index_of(&key.channel, &key.arch);
            let (now, wide) = (self.now, self.wide.as_mut().first_mut());
            let state = index.and_then(|index| wide?.adverts.states.get_mut(index));
            if let Some(state) = state {
                state.change(now);
            }
            self.reschedule();
        }
        Some(Output::Event(Event::Dht(event)))
    }

    /// The node's deadline.
    pub(super) fn node_wake(&self) -> Option<Wake> {
        self.wide.as_ref().first().and_then(|wide| wide.wake)
    }

    /// Tells the node which addresses the host has, and has its adverts signed when their URL changes by that.
    pub(super) fn follow_addresses(&mut self) {
        let (now, is_auto) = (self.now, self.origin.is_auto());
        let Some(wide) = self.wide.as_mut().first_mut() else { return };
        let mut addresses: Vec<IpAddr, HOST_ADDRESSES, u8> = Vec::new();
        let networks = self.responder.interfaces().flat_map(|(_, networks)| networks);
        let of_links = networks.map(|network| network.address);
        for ip in of_links.chain(wide.addresses.iter().copied()) {
            if !addresses.contains(&ip) {
                // Those past the limit are not needed to be found.
                let _ = addresses.push(ip);
            }
        }
        wide.adverts.follow(now, announceable(&addresses), is_auto, &self.images);
        self.with_node(|node| node.set_addresses(now, &addresses));
    }
}
