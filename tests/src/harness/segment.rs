//! What hosts are attached by, and how it treats datagrams.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use phase_core::machine::{Family, Network as Prefix};

use super::network::SegmentId;

/// How a segment treats datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// The shortest and longest time under way; a difference reorders.
    pub latency: (Duration, Duration),
    /// Probability of 0 to 1 that a datagram does not reach one of its receivers.
    pub loss: f64,
    /// Probability of 0 to 1 that it reaches one twice.
    pub duplication: f64,
}

impl Default for Conditions {
    fn default() -> Self {
        let latency = (Duration::from_micros(200), Duration::from_micros(400));
        Self { latency, loss: 0.0, duplication: 0.0 }
    }
}

/// What was sent.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Datagrams that left a machine.
    pub datagrams: u64,
    /// Their payload octets.
    pub octets: u64,
    /// Datagrams in each second.
    pub by_second: BTreeMap<u64, u64>,
}

impl Traffic {
    /// The most datagrams in one second from second `from` on.
    #[must_use]
    pub fn peak(&self, from: u64) -> u64 {
        self.by_second.range(from..).map(|(_, count)| *count).max().unwrap_or(0)
    }
}

#[derive(Debug)]
pub(super) struct Interface {
    pub(super) segment: SegmentId,
    pub(super) v4: Option<Ipv4Addr>,
    pub(super) v6: Ipv6Addr,
    pub(super) up: bool,
}

impl Interface {
    pub(super) fn of(segment: SegmentId, host: u16) -> Self {
        let [high, low] = host.to_be_bytes();
        let net = u8::try_from(segment.0).unwrap_or(u8::MAX);
        Self {
            segment,
            v4: Some(Ipv4Addr::new(10, net, high, low)),
            v6: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, u16::from(net), host),
            up: true,
        }
    }

    pub(super) fn address(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.v4.map(IpAddr::V4),
            Family::V6 => Some(IpAddr::V6(self.v6)),
        }
    }

    pub(super) fn prefixes(&self) -> Vec<Prefix> {
        let v4 = self.v4.map(|a| Prefix { address: IpAddr::V4(a), prefix_len: 16 });
        let v6 = Prefix { address: IpAddr::V6(self.v6), prefix_len: 64 };
        v4.into_iter().chain([v6]).collect()
    }
}
