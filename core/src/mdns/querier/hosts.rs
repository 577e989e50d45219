//! Addresses of the hosts that adverts name under `local`, as their own responder gives them.
//!
//! Spec: RFC 6762 §3 (names under `local`), §10.2 (flush).
//!
//! Not here: names that no accepted advert needs.

use core::net::IpAddr;

use heapless::Vec;

use super::series::Series;
use crate::limits::{ADDRESSES_PER_HOST, HOST_NAME_MAX, HOSTS};
use crate::machine::LinkId;
use crate::mdns::cache::{Asks, GRACE, Lifetime};
use crate::time::Instant;
use crate::wire::dns::{InlineName, Name};

/// A host name.
pub(crate) type HostName = InlineName<HOST_NAME_MAX>;

/// An address of a host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) ip: IpAddr,
    pub(crate) life: Lifetime,
}

/// A host as one responder describes it: others have no say in its addresses.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) name: HostName,
    pub(crate) link: LinkId,
    pub(crate) source: IpAddr,
    pub(crate) addresses: Vec<Address, ADDRESSES_PER_HOST, u8>,
    pub(crate) resolve: Series,
    pub(crate) denied: Asks,
    pub(crate) one_shot: Asks,
    pub(crate) multicast: Asks,
}

impl Host {
    fn is(&self, interface: u32, source: IpAddr, name: &Name<'_>) -> bool {
        self.link.interface == interface && self.source == source && self.name == *name
    }

    /// Address types that are neither known nor denied.
    pub(crate) fn missing(&self) -> Asks {
        let mut missing = Asks::NONE;
        missing.insert(Asks::A);
        missing.insert(Asks::AAAA);
        for address in &self.addresses {
            missing.remove(ask_for(address.ip));
        }
        missing.remove(self.denied);
        missing
    }

    /// Takes an address record in. RFC 6762 §10.2: with the cache-flush bit, addresses of its type that are older
    /// than a second end in one.
    pub(crate) fn learn(&mut self, now: Instant, ip: IpAddr, life: Lifetime, flush: bool) {
        if flush {
            let stale = |a: &&mut Address| {
                a.ip != ip
                    && ask_for(a.ip) == ask_for(ip)
                    && now.since(a.life.received_at()) > GRACE
            };
            self.addresses.iter_mut().filter(stale).for_each(|address| address.life.end(now));
        }
        let known = self.addresses.iter_mut().find(|address| address.ip == ip);
        match known {
            Some(address) if !life.is_live(now) => address.life.end(now),
            Some(address) => address.life = Lifetime::renewed(Some(address.life), life),
            None if !life.is_live(now) => {}
            None => {
                self.denied.remove(ask_for(ip));
                // Addresses past the bound are not needed.
                let _ = self.addresses.push(Address { ip, life });
            }
        }
    }
}

/// The question that asks for addresses like this one.
pub(crate) fn ask_for(ip: IpAddr) -> Asks {
    if ip.is_ipv4() { Asks::A } else { Asks::AAAA }
}

/// The hosts whose addresses are wanted.
#[derive(Debug)]
pub(crate) struct Hosts {
    hosts: Vec<Host, HOSTS, u8>,
}

impl Hosts {
    pub(crate) const fn new() -> Self {
        Self { hosts: Vec::new() }
    }

    pub(crate) fn iter(&self) -> core::slice::Iter<'_, Host> {
        self.hosts.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> core::slice::IterMut<'_, Host> {
        self.hosts.iter_mut()
    }

    pub(crate) fn find(&self, interface: u32, source: IpAddr, name: &Name<'_>) -> Option<&Host> {
        self.hosts.iter().find(|host| host.is(interface, source, name))
    }

    pub(crate) fn find_mut(
        &mut self,
        interface: u32,
        source: IpAddr,
        name: &Name<'_>,
    ) -> Option<&mut Host> {
        self.hosts.iter_mut().find(|host| host.is(interface, source, name))
    }

    /// Wants the addresses of a host; the one wanted longest makes room.
    pub(crate) fn want(&mut self, now: Instant, link: LinkId, source: IpAddr, name: HostName) {
        if self.find(link.interface, source, &name.as_name()).is_some() {
            return;
        }
        if self.hosts.is_full() {
            self.hosts.remove(0);
        }
        // There is room.
        let _ = self.hosts.push(Host {
            name,
            link,
            source,
            addresses: Vec::new(),
            resolve: Series::starting(now),
            denied: Asks::NONE,
            one_shot: Asks::NONE,
            multicast: Asks::NONE,
        });
    }

    /// Forgets the hosts of an interface.
    pub(crate) fn forget(&mut self, interface: u32) {
        self.hosts.retain(|host| host.link.interface != interface);
    }
}
