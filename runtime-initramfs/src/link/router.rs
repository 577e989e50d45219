//! Routers on the link: their advertisements, and the solicitation that makes them come at once.
//!
//! Spec: RFC 4861 §4.1, §4.2, §6.1.2, §6.3.4; RFC 4862 §5.5.3; RFC 8106 §5.1 (name servers).
//! Not implemented: more than one prefix and router at a time, duplicate address detection, MTU and hop limit of a
//! router, search lists, temporary addresses. smoltcp's own part of this is not used: three solicitations without an
//! answer make it ask for a poll that is always due.

use std::net::Ipv6Addr;
use std::time::Duration;

use super::checksum;
use super::frame::{Packet, packet, u16_at, u32_at};

/// RFC 4862 §5.5.3 e): no advertisement shortens a lifetime below this.
const SHORTEST: Duration = Duration::from_secs(2 * 60 * 60);

/// Name servers that are kept.
const SERVERS: usize = 3;

/// What one router says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertisement {
    /// Who says it, as a link-local address.
    pub router: Option<Ipv6Addr>,
    /// How long it can be used as default router; zero: not.
    pub router_lifetime: Duration,
    /// A prefix of 64 bits to make addresses of, and how long they are valid.
    pub prefix: Option<(Ipv6Addr, Duration)>,
    /// Name servers.
    pub servers: heapless::Vec<Ipv6Addr, SERVERS>,
}

impl Advertisement {
    /// Reads one from a frame; none, where it is something else, or a stranger could have sent it from elsewhere.
    #[must_use]
    pub fn decode(frame: &[u8]) -> Option<Self> {
        const ICMPV6: u8 = 58;
        const ROUTER_ADVERTISEMENT: u8 = 134;
        let Packet { source, protocol, hop_limit, payload, .. } = packet(frame)?;
        if protocol != ICMPV6 || payload.first() != Some(&ROUTER_ADVERTISEMENT) {
            return None;
        }
        let router = Ipv6Addr::from(<[u8; 16]>::try_from(source).ok()?);
        // RFC 4861 §6.1.2: what did not begin on this link is not to be believed.
        let is_sound = hop_limit == 255 && payload.get(1) == Some(&0);
        if !is_sound || !router.is_unicast_link_local() || !checksum::is_right(frame) {
            return None;
        }
        let lifetime = u64::from(u16_at(payload, 6)?);
        let mut advertisement = Self {
            router: Some(router),
            router_lifetime: Duration::from_secs(lifetime),
            ..Self::default()
        };
        let mut options = payload.get(16..)?;
        while let [kind, units, ..] = options {
            let len = usize::from(*units) * 8;
            // RFC 4861 §6.1.2: an option without a length spoils the whole.
            let option = options.get(..len).filter(|option| !option.is_empty())?;
            advertisement.take(*kind, option);
            options = options.get(len..).unwrap_or_default();
        }
        Some(advertisement)
    }

    fn take(&mut self, kind: u8, option: &[u8]) {
        const PREFIX_INFORMATION: u8 = 3;
        const NAME_SERVERS: u8 = 25;
        match kind {
            PREFIX_INFORMATION if self.prefix.is_none() => self.prefix = prefix(option),
            NAME_SERVERS if u32_at(option, 4).is_some_and(|lifetime| lifetime > 0) => {
                let (servers, _) = option.get(8..).unwrap_or_default().as_chunks::<16>();
                for server in servers {
                    // Those past the limit are not needed.
                    let _ = self.servers.push(Ipv6Addr::from(*server));
                }
            }
            _ => {}
        }
    }
}

/// RFC 4861 §4.6.2; RFC 4862 §5.5.3.
fn prefix(option: &[u8]) -> Option<(Ipv6Addr, Duration)> {
    const AUTONOMOUS: u8 = 0x40;
    let (prefix_len, flags) = (*option.get(2)?, *option.get(3)?);
    let (valid, preferred) = (u32_at(option, 4)?, u32_at(option, 8)?);
    let prefix = Ipv6Addr::from(*option.get(16..)?.first_chunk::<16>()?);
    let is_usable = flags & AUTONOMOUS != 0 && prefix_len == 64 && preferred <= valid;
    let is_global = !prefix.is_unicast_link_local() && !prefix.is_multicast();
    (is_usable && is_global).then(|| (prefix, Duration::from_secs(valid.into())))
}

/// What is known of the routers of one link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routers {
    /// The prefix, and when addresses of it end, in microseconds.
    prefix: Option<(Ipv6Addr, u64)>,
    /// The default router, and when it is one no more.
    router: Option<(Ipv6Addr, u64)>,
    servers: heapless::Vec<Ipv6Addr, SERVERS>,
}

impl Routers {
    /// Takes an advertisement that came at `now`, in microseconds.
    pub fn hear(&mut self, now: u64, heard: &Advertisement) {
        let until = |lifetime: Duration| {
            now.saturating_add(u64::try_from(lifetime.as_micros()).unwrap_or(u64::MAX))
        };
        match (heard.prefix, self.prefix) {
            (Some((prefix, valid)), Some((ours, ends))) if prefix == ours => {
                let least = ends.min(until(SHORTEST));
                self.prefix = Some((prefix, until(valid).max(least)));
            }
            (Some((prefix, valid)), None) if !valid.is_zero() => {
                self.prefix = Some((prefix, until(valid)));
            }
            (Some(_) | None, _) => {}
        }
        if heard.router_lifetime.is_zero() {
            self.router = self.router.filter(|(router, _)| Some(*router) != heard.router);
        } else if self.router.is_none_or(|(router, _)| Some(router) == heard.router) {
            self.router = heard.router.map(|router| (router, until(heard.router_lifetime)));
        }
        if !heard.servers.is_empty() {
            self.servers.clone_from(&heard.servers);
        }
    }

    /// Forgets what has ended by `now`.
    pub fn expire(&mut self, now: u64) {
        self.prefix = self.prefix.filter(|(_, ends)| *ends > now);
        self.router = self.router.filter(|(_, ends)| *ends > now);
    }

    /// When to call [`Routers::expire`].
    #[must_use]
    pub fn next_end(&self) -> Option<u64> {
        let ends = [self.prefix.map(|(_, ends)| ends), self.router.map(|(_, ends)| ends)];
        ends.into_iter().flatten().min()
    }

    /// The address that an interface makes of the prefix.
    #[must_use]
    pub fn address(&self, ethernet: [u8; 6]) -> Option<Ipv6Addr> {
        let (prefix, _) = self.prefix?;
        let upper = prefix.to_bits() >> 64 << 64;
        Some(Ipv6Addr::from_bits(upper | u128::from(interface_identifier(ethernet))))
    }

    /// The default router.
    #[must_use]
    pub fn router(&self) -> Option<Ipv6Addr> {
        self.router.map(|(router, _)| router)
    }

    /// Name servers.
    #[must_use]
    pub fn servers(&self) -> &[Ipv6Addr] {
        &self.servers
    }
}

/// The link-local address of an interface, as smoltcp has it too.
#[must_use]
pub fn link_local(ethernet: [u8; 6]) -> Ipv6Addr {
    Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(interface_identifier(ethernet)))
}

/// RFC 4291 §2.5.1: the modified EUI-64 of an Ethernet address.
const fn interface_identifier([a, b, c, d, e, f]: [u8; 6]) -> u64 {
    u64::from_be_bytes([a ^ 0x02, b, c, 0xff, 0xfe, d, e, f])
}

/// The frame that asks every router of the link to advertise itself (RFC 4861 §4.1).
#[must_use]
pub fn solicitation(ethernet: [u8; 6]) -> Vec<u8> {
    const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    let (source, destination) = (link_local(ethernet).octets(), ALL_ROUTERS.octets());
    let mut message = [133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0];
    message[10..].copy_from_slice(&ethernet);
    checksum::set_icmpv6(source, destination, &mut message);
    let mut frame = vec![0x33, 0x33, 0, 0, 0, 2];
    frame.extend(ethernet);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 16, 58, 255]);
    frame.extend(source);
    frame.extend(destination);
    frame.extend(message);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETHERNET: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
    const SECOND: u64 = 1_000_000;

    /// An advertisement as dnsmasq sends it: prefix, MTU, its Ethernet address, a name server.
    fn frame(hop_limit: u8, lifetime: u16, valid: u32) -> Vec<u8> {
        let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets();
        let destination = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets();
        let mut message = vec![134, 0, 0, 0, 64, 0];
        message.extend(lifetime.to_be_bytes());
        message.extend([0; 8]);
        message.extend([3, 4, 64, 0xc0]);
        message.extend(valid.to_be_bytes());
        message.extend(valid.to_be_bytes());
        message.extend([0; 4]);
        message.extend(Ipv6Addr::new(0xfd77, 0, 0, 1, 0, 0, 0, 0).octets());
        message.extend([5, 1, 0, 0, 0, 0, 5, 0xdc, 1, 1, 2, 0, 0, 0, 0, 1]);
        message.extend([25, 3, 0, 0, 0, 0, 1, 0]);
        message.extend(Ipv6Addr::new(0xfd77, 0, 0, 1, 0, 0, 0, 53).octets());
        checksum::set_icmpv6(source, destination, &mut message);
        let mut frame = vec![0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0];
        frame.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
        frame.extend([58, hop_limit]);
        frame.extend(source);
        frame.extend(destination);
        frame.extend(message);
        frame
    }

    fn heard(lifetime: u16, valid: u32) -> Advertisement {
        Advertisement::decode(&frame(255, lifetime, valid)).unwrap()
    }

    #[test]
    fn an_advertisement_gives_an_address_a_router_and_name_servers() {
        let mut routers = Routers::default();
        routers.hear(0, &heard(1800, 3600));
        let address = routers.address(ETHERNET).unwrap();
        assert_eq!(address.to_string(), "fd77::1:5054:ff:fe12:3456");
        assert_eq!(routers.router().unwrap().to_string(), "fe80::1");
        assert_eq!(routers.servers()[0].to_string(), "fd77:0:0:1::35");
        assert_eq!(routers.next_end(), Some(1800 * SECOND));
    }

    #[test]
    fn what_came_through_a_router_or_was_changed_on_the_way_is_not_believed() {
        assert!(Advertisement::decode(&frame(254, 1800, 3600)).is_none());
        let whole = frame(255, 1800, 3600);
        let mut changed = whole.clone();
        changed[100] ^= 1;
        assert!(Advertisement::decode(&changed).is_none());
        for len in 0..whole.len() {
            assert!(Advertisement::decode(&whole[..len]).is_none(), "{len} octets");
        }
    }

    #[test]
    fn lifetimes_end_and_no_advertisement_ends_an_address_at_once() {
        let mut routers = Routers::default();
        routers.hear(0, &heard(1800, 86_400));
        routers.hear(SECOND, &heard(0, 0));
        assert!(routers.router().is_none(), "a router may take itself back");
        assert!(routers.address(ETHERNET).is_some(), "an address stays for two hours");
        routers.expire(7202 * SECOND);
        assert!(routers.address(ETHERNET).is_none());
        assert!(routers.next_end().is_none());
    }

    #[test]
    fn a_solicitation_has_a_right_sum_and_goes_to_all_routers() {
        let frame = solicitation(ETHERNET);
        assert!(checksum::is_right(&frame));
        assert_eq!(frame.len(), 14 + 40 + 16);
        assert_eq!(link_local(ETHERNET).to_string(), "fe80::5054:ff:fe12:3456");
    }
}
