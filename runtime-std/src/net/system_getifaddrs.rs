//! The interfaces of this host where there is no netlink: `getifaddrs`, asked again every few seconds.
//!
//! The kind and the master of an interface are not known here: names and flags decide.
//! Not here: which interface is used (`interfaces.rs`).

use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;
use phase_core::machine::Network;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::interfaces::Facts;

/// How often the list is looked at.
const PERIOD: Duration = Duration::from_secs(5);

/// The system does not tell it in a safe way; every Ethernet has it.
const MTU: u32 = 1500;

/// Every interface with its addresses.
///
/// # Errors
/// What `getifaddrs` said.
pub(crate) fn list() -> io::Result<Vec<Facts>> {
    let mut all: Vec<Facts> = Vec::new();
    let entries: Vec<InterfaceAddress> = getifaddrs()?.collect();
    for entry in &entries {
        let link = entry.address.as_ref().and_then(SockaddrStorage::as_link_addr);
        if let Some(link) = link {
            all.push(facts(entry, u32::try_from(link.ifindex()).unwrap_or(0)));
        }
    }
    for entry in entries {
        let facts = all.iter_mut().find(|f| f.name == entry.interface_name);
        if let (Some(network), Some(facts)) = (network(&entry), facts) {
            facts.networks.push(network);
        }
    }
    Ok(all)
}

fn facts(entry: &InterfaceAddress, index: u32) -> Facts {
    let has = |flag| entry.flags.contains(flag);
    Facts {
        index,
        name: entry.interface_name.clone(),
        mtu: MTU,
        running: has(InterfaceFlags::IFF_UP) && has(InterfaceFlags::IFF_RUNNING),
        loopback: has(InterfaceFlags::IFF_LOOPBACK),
        multicast: has(InterfaceFlags::IFF_MULTICAST),
        point_to_point: has(InterfaceFlags::IFF_POINTOPOINT),
        ..Facts::default()
    }
}

fn network(entry: &InterfaceAddress) -> Option<Network> {
    let address = ip(entry.address.as_ref()?)?;
    let mask = entry.netmask.as_ref().and_then(ip);
    let prefix_len = match mask {
        Some(IpAddr::V4(mask)) => mask.to_bits().leading_ones(),
        Some(IpAddr::V6(mask)) => mask.to_bits().leading_ones(),
        None if address.is_ipv4() => 32,
        None => 128,
    };
    Some(Network { address, prefix_len: u8::try_from(prefix_len).unwrap_or(0) })
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

/// Tells when interfaces or addresses changed.
#[derive(Debug)]
pub(crate) struct Watcher {
    interval: Interval,
    last: Vec<Facts>,
}

impl Watcher {
    /// Starts to watch; changes from here on are told.
    ///
    /// # Errors
    /// What `getifaddrs` said.
    pub(crate) fn open() -> io::Result<Self> {
        let mut interval = interval(PERIOD);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval.reset();
        Ok(Self { interval, last: list()? })
    }

    /// Ready when something changed; `lost` is told every interface that went down. Nothing is lost when the
    /// caller stops to wait.
    pub(crate) fn poll_change(
        &mut self,
        cx: &mut Context<'_>,
        lost: &mut dyn FnMut(u32),
    ) -> Poll<()> {
        loop {
            ready!(self.interval.poll_tick(cx));
            // A list that cannot be had is as good as an unchanged one: it is asked for again.
            let Ok(now) = list() else { continue };
            if now == self.last {
                continue;
            }
            for old in self.last.iter().filter(|old| old.running) {
                if !now.iter().any(|new| new.index == old.index && new.running) {
                    lost(old.index);
                }
            }
            self.last = now;
            return Poll::Ready(());
        }
    }
}
