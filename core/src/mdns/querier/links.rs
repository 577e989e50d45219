//! The links a querier asks on, with what is on-link by them and the browse series of each.
//!
//! Spec: RFC 6762 §11 (on-link sources), §14 (state per interface).

use core::net::IpAddr;
use core::time::Duration;

use heapless::Vec;

use super::series::Series;
use crate::limits::{INTERFACES, LINKS, NETWORKS_PER_LINK};
use crate::machine::{Family, Link, LinkId, Network};
use crate::mdns::cache::Asks;
use crate::mdns::group;
use crate::time::{Deadline, Instant};

/// A link whose addresses change is asked again at most this often: addresses come one by one, and radios flap.
const RESTART_GAP: Duration = Duration::from_secs(1);

/// IPv4 and UDP headers; IPv6 and UDP headers.
const HEADERS: (u16, u16) = (28, 48);

type Networks = Vec<Network, NETWORKS_PER_LINK, u8>;

/// The addresses of an interface, which its links share.
#[derive(Clone, Debug)]
struct Interface {
    index: u32,
    networks: Networks,
}

/// Questions whose known answers did not fit: the next message goes on here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MoreAnswers {
    pub(crate) asks: Asks,
    /// Known answers already sent.
    pub(crate) sent: u8,
}

/// One link.
#[derive(Clone, Debug)]
pub(crate) struct LinkState {
    pub(crate) id: LinkId,
    mtu: u16,
    started_at: Instant,
    /// The browse questions.
    pub(crate) browse: Series,
    /// To send from the ephemeral port, and from 5353.
    pub(crate) one_shot: Asks,
    pub(crate) multicast: Asks,
    /// The multicast questions ask for unicast responses.
    pub(crate) unicast_response: bool,
    /// RFC 6762 §6: unicast responses are taken until then.
    pub(crate) unicast_until: Deadline,
    /// When another host asked our question (RFC 6762 §7.3), subtype and type.
    pub(crate) heard: [Deadline; 2],
    pub(crate) more: Option<MoreAnswers>,
}

impl LinkState {
    /// Octets of one message.
    pub(crate) fn room(&self) -> usize {
        let headers = if self.id.family == Family::V4 { HEADERS.0 } else { HEADERS.1 };
        usize::from(self.mtu.saturating_sub(headers).max(512))
    }

    /// Begins the series at `at`: one-shot queries, then multicast ones.
    fn restart(&mut self, at: Instant) {
        self.started_at = at;
        self.browse = Series::starting(at);
        self.heard = [Deadline::NONE; 2];
    }
}

/// What a link event changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// The addresses of an interface, or its links.
    Addresses,
    /// The link is not served: there are too many.
    Full,
}

/// Every link that is up.
#[derive(Debug)]
pub(crate) struct Links {
    links: Vec<LinkState, LINKS, u8>,
    interfaces: Vec<Interface, INTERFACES, u8>,
}

impl Links {
    pub(crate) const fn new() -> Self {
        Self { links: Vec::new(), interfaces: Vec::new() }
    }

    pub(crate) fn iter(&self) -> core::slice::Iter<'_, LinkState> {
        self.links.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> core::slice::IterMut<'_, LinkState> {
        self.links.iter_mut()
    }

    pub(crate) fn find(&self, id: LinkId) -> Option<&LinkState> {
        self.links.iter().find(|link| link.id == id)
    }

    pub(crate) fn find_mut(&mut self, id: LinkId) -> Option<&mut LinkState> {
        self.links.iter_mut().find(|link| link.id == id)
    }

    /// A link of this interface, of whichever family.
    pub(crate) fn of_interface(&self, interface: u32) -> Option<LinkId> {
        self.links.iter().map(|link| link.id).find(|id| id.interface == interface)
    }

    /// A link is up, or its addresses or MTU changed.
    pub(crate) fn up(&mut self, now: Instant, link: &Link<'_>) -> Change {
        let changed = self.set_networks(now, link);
        if changed == Change::Full {
            return Change::Full;
        }
        if let Some(known) = self.find_mut(link.id) {
            known.mtu = link.mtu;
            return changed;
        }
        let state = LinkState {
            id: link.id,
            mtu: link.mtu,
            started_at: now,
            browse: Series::starting(now),
            one_shot: Asks::NONE,
            multicast: Asks::NONE,
            unicast_response: false,
            unicast_until: Deadline::NONE,
            heard: [Deadline::NONE; 2],
            more: None,
        };
        match self.links.push(state) {
            Ok(()) => Change::Addresses,
            Err(_) => Change::Full,
        }
    }

    /// Notes the addresses of the interface. A link whose own family changed asks again from the start
    /// (RFC 6762 §5.2, §10.3).
    fn set_networks(&mut self, now: Instant, link: &Link<'_>) -> Change {
        let networks: Networks = link.networks.iter().take(NETWORKS_PER_LINK).copied().collect();
        let index = link.id.interface;
        let Some(interface) = self.interfaces.iter_mut().find(|i| i.index == index) else {
            let interface = Interface { index, networks };
            return self.interfaces.push(interface).map_or(Change::Full, |()| Change::Addresses);
        };
        if interface.networks == networks {
            return Change::None;
        }
        let old = core::mem::replace(&mut interface.networks, networks);
        let of = |networks: &Networks, family| -> Networks {
            networks
                .iter()
                .filter(|network| family_of(network.address) == family)
                .copied()
                .collect()
        };
        for state in self.links.iter_mut().filter(|state| state.id.interface == index) {
            let family = state.id.family;
            if of(&old, family) != of(&interface.networks, family) {
                state.restart(now.max(state.started_at + RESTART_GAP));
            }
        }
        Change::Addresses
    }

    /// A link is gone; true when no link of its interface is left.
    pub(crate) fn down(&mut self, id: LinkId) -> bool {
        self.links.retain(|link| link.id != id);
        let last = self.of_interface(id.interface).is_none();
        if last {
            self.interfaces.retain(|interface| interface.index != id.interface);
        }
        last
    }

    /// The addresses of an interface.
    pub(crate) fn networks(&self, interface: u32) -> &[Network] {
        self.interfaces.iter().find(|i| i.index == interface).map_or(&[], |i| &i.networks)
    }

    /// The addresses of every interface.
    pub(crate) fn all_networks(&self) -> impl Iterator<Item = &Network> {
        self.interfaces.iter().flat_map(|interface| interface.networks.iter())
    }

    /// RFC 6762 §11: whether `ip` is on the link of this interface. IPv6 link-local addresses always are.
    pub(crate) fn is_on_link(&self, interface: u32, ip: IpAddr) -> bool {
        matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
            || self.networks(interface).iter().any(|network| network.contains(ip))
    }

    /// Whether `ip` is an address of this interface.
    pub(crate) fn is_own(&self, interface: u32, ip: IpAddr) -> bool {
        self.networks(interface).iter().any(|network| network.address == ip)
    }
}

fn family_of(ip: IpAddr) -> Family {
    match ip {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

/// RFC 6762 §3: whether `ip` is the multicast DNS group.
pub(crate) fn is_group(ip: IpAddr) -> bool {
    group(family_of(ip)).ip() == ip
}
