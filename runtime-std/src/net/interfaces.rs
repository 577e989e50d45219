//! The interfaces of this host, and which of them mDNS uses.
//!
//! With `--interface`, exactly the named ones are used, whatever they are. Without it, what leads to other
//! hosts is used and what leads to containers, virtual machines or a VPN of this host is not, so that no
//! address is told that nobody on the LAN can reach:
//!
//! * never: loopback, point-to-point links, tunnels (`wireguard`, `tun`, `vxlan`, …), interfaces without
//!   multicast, ports of a bridge or bond (their master stands for them), names that container and virtual
//!   machine tools give to their bridges (`docker0`, `br-` and 12 hexadecimal digits, `virbr…`, …);
//! * always: network cards, and VLANs, bonds and bridges of them;
//! * where the host has a network card (in use or not), a bridge without one among its ports and a `veth`
//!   are plumbing of this host and not used. Where it has none, this is a container or a network namespace,
//!   and they are its way out: every `veth`, or such a bridge if there is no `veth`.
//!
//! Hardware decides, not the state of a cable: unplugging one never makes a container bridge visible.

use std::fmt;
use std::net::IpAddr;

use phase_core::machine::{Family, LinkId, Network};

/// What the system says of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// Octets, IP header included.
    pub(crate) mtu: u32,
    /// Administratively up and with a carrier.
    pub(crate) running: bool,
    pub(crate) loopback: bool,
    pub(crate) multicast: bool,
    pub(crate) point_to_point: bool,
    /// The kind of a virtual interface, as Linux names it; empty for a network card.
    pub(crate) kind: String,
    /// The interface this one is a port of.
    pub(crate) master: Option<u32>,
    /// Addresses that may be used: those that wait for duplicate detection or failed it are left out.
    pub(crate) networks: Vec<Network>,
}

/// An interface and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The system's number.
    pub index: u32,
    /// The system's name.
    pub name: String,
    /// Octets, IP header included.
    pub mtu: u16,
    /// Its addresses.
    pub networks: Vec<Network>,
    /// Why it is not used, if it is not.
    pub excluded: Option<Excluded>,
}

impl Interface {
    /// The links it gives: one for each family it has an address of; none when it is not used.
    pub fn links(&self) -> impl Iterator<Item = LinkId> + '_ {
        let has = |v4: bool| self.networks.iter().any(|n| n.address.is_ipv4() == v4);
        let used = self.excluded.is_none();
        [(Family::V4, has(true)), (Family::V6, has(false))]
            .into_iter()
            .filter(move |(_, has)| used && *has)
            .map(|(family, _)| LinkId { interface: self.index, family })
    }

    /// Its address to send from to `destination`: one whose prefix holds it, else the first of that family.
    pub(crate) fn source_for(&self, destination: IpAddr) -> Option<IpAddr> {
        let mut same =
            self.networks.iter().filter(|n| n.address.is_ipv4() == destination.is_ipv4());
        let first = same.clone().next()?;
        Some(same.find(|n| n.contains(destination)).unwrap_or(first).address)
    }
}

/// Why an interface is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excluded {
    /// `--interface` names others.
    NotNamed,
    /// It is down or has no carrier.
    Down,
    /// It has no address yet.
    NoAddress,
    /// It stays inside this host.
    Loopback,
    /// It has no multicast.
    NoMulticast,
    /// A tunnel or another link to a single peer.
    Tunnel,
    /// Its bridge or bond stands for it.
    Port,
    /// It leads to containers or virtual machines of this host.
    Containers,
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotNamed => "not named by --interface",
            Self::Down => "down or without a carrier",
            Self::NoAddress => "without an address",
            Self::Loopback => "loopback",
            Self::NoMulticast => "without multicast",
            Self::Tunnel => "a tunnel or point-to-point link",
            Self::Port => "a port of a bridge or bond",
            Self::Containers => "for containers or virtual machines of this host",
        })
    }
}

/// Decides for every interface whether it is used. `named`: exact names; empty for the default rule.
pub(crate) fn judge(all: Vec<Facts>, named: &[String]) -> Vec<Interface> {
    let host = Host::of(&all);
    all.into_iter()
        .map(|facts| {
            let excluded = if named.is_empty() {
                host.excludes(&facts)
            } else {
                (!named.contains(&facts.name)).then_some(Excluded::NotNamed)
            };
            let excluded = excluded.or_else(|| unusable(&facts));
            Interface {
                index: facts.index,
                mtu: u16::try_from(facts.mtu).unwrap_or(u16::MAX),
                name: facts.name,
                networks: facts.networks,
                excluded,
            }
        })
        .collect()
}

fn unusable(facts: &Facts) -> Option<Excluded> {
    if !facts.running {
        Some(Excluded::Down)
    } else if facts.networks.is_empty() {
        Some(Excluded::NoAddress)
    } else {
        None
    }
}

/// What an interface is to the default rule, its master apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nature {
    Never(Excluded),
    Card,
    Veth,
    Bridge,
}

/// What the default rule has to know of all interfaces together.
struct Host {
    has_card: bool,
    has_veth: bool,
    /// Bridges and bonds with a card among their ports.
    masters_of_cards: Vec<u32>,
}

impl Host {
    fn of(all: &[Facts]) -> Self {
        let cards = || all.iter().filter(|f| nature(f) == Nature::Card);
        Self {
            has_card: cards().next().is_some(),
            has_veth: all.iter().any(|f| nature(f) == Nature::Veth && f.master.is_none()),
            masters_of_cards: cards().filter_map(|f| f.master).collect(),
        }
    }

    fn excludes(&self, facts: &Facts) -> Option<Excluded> {
        if facts.master.is_some() {
            return Some(Excluded::Port);
        }
        match nature(facts) {
            Nature::Never(why) => Some(why),
            Nature::Card => None,
            Nature::Veth => self.has_card.then_some(Excluded::Containers),
            Nature::Bridge if self.masters_of_cards.contains(&facts.index) => None,
            Nature::Bridge => (self.has_card || self.has_veth).then_some(Excluded::Containers),
        }
    }
}

fn nature(facts: &Facts) -> Nature {
    if facts.loopback {
        Nature::Never(Excluded::Loopback)
    } else if facts.point_to_point || TUNNELS.contains(&facts.kind.as_str()) {
        Nature::Never(Excluded::Tunnel)
    } else if !facts.multicast {
        Nature::Never(Excluded::NoMulticast)
    } else if facts.kind == "dummy" || named_by_a_container_tool(&facts.name) {
        Nature::Never(Excluded::Containers)
    } else {
        match facts.kind.as_str() {
            "veth" => Nature::Veth,
            "bridge" => Nature::Bridge,
            _ => Nature::Card,
        }
    }
}

/// Kinds, as Linux names them, that carry packets inside other packets.
const TUNNELS: [&str; 23] = [
    "amt",
    "bareudp",
    "erspan",
    "geneve",
    "gre",
    "gretap",
    "gtp",
    "ip6erspan",
    "ip6gre",
    "ip6gretap",
    "ip6tnl",
    "ipip",
    "ipvti",
    "ovpn",
    "ppp",
    "sit",
    "tun",
    "vti",
    "vti6",
    "vxlan",
    "wireguard",
    "wwan",
    "xfrm",
];

/// Names that tools give to bridges and links of containers, virtual machines and peer-to-peer radio.
fn named_by_a_container_tool(name: &str) -> bool {
    const PREFIXES: [&str; 14] = [
        "docker", "virbr", "lxcbr", "lxdbr", "incusbr", "podman", "cni", "cali", "flannel",
        "vmnet", "vboxnet", "awdl", "llw", "anpi",
    ];
    let of_docker = name
        .strip_prefix("br-")
        .is_some_and(|id| id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    of_docker || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(index: u32, name: &str, kind: &str) -> Facts {
        Facts {
            index,
            name: name.to_owned(),
            mtu: 1500,
            running: true,
            multicast: true,
            kind: kind.to_owned(),
            networks: vec![network("192.0.2.1", 24), network("fe80::1", 64)],
            ..Facts::default()
        }
    }

    fn network(address: &str, prefix_len: u8) -> Network {
        Network { address: address.parse().unwrap(), prefix_len }
    }

    fn loopback() -> Facts {
        Facts { loopback: true, multicast: false, ..facts(1, "lo", "") }
    }

    fn port(master: u32, of: Facts) -> Facts {
        Facts { master: Some(master), ..of }
    }

    /// The names that are used.
    fn used(all: Vec<Facts>, named: &[&str]) -> Vec<String> {
        let named: Vec<String> = named.iter().map(|n| (*n).to_owned()).collect();
        judge(all, &named).into_iter().filter(|i| i.excluded.is_none()).map(|i| i.name).collect()
    }

    fn laptop() -> Vec<Facts> {
        vec![
            loopback(),
            facts(2, "enp3s0", ""),
            facts(3, "wlan0", ""),
            facts(4, "docker0", "bridge"),
            facts(5, "br-0123456789ab", "bridge"),
            facts(6, "lab", "bridge"),
            port(4, facts(7, "veth1f2e3d4", "veth")),
            facts(8, "cali0a1b2c", "veth"),
            facts(9, "vethloose", "veth"),
            facts(10, "wg0", "wireguard"),
            Facts { point_to_point: true, ..facts(11, "tun0", "tun") },
            facts(12, "tap0", "tun"),
            facts(13, "flannel.1", "vxlan"),
            facts(14, "enp3s0.7", "vlan"),
            facts(15, "nodelocal", "dummy"),
        ]
    }

    #[test]
    fn a_laptop_uses_its_cards_and_their_vlans_only() {
        assert_eq!(used(laptop(), &[]), ["enp3s0", "wlan0", "enp3s0.7"]);
    }

    #[test]
    fn an_unplugged_laptop_does_not_turn_to_its_containers() {
        let mut all = laptop();
        for card in &mut all[1..3] {
            card.running = false;
            card.networks.clear();
        }
        all.retain(|f| f.name != "enp3s0.7");
        assert_eq!(used(all, &[]), Vec::<String>::new());
    }

    #[test]
    fn named_interfaces_are_used_whatever_they_are_and_no_others() {
        assert_eq!(used(laptop(), &["lo", "lab", "tap0"]), ["lo", "lab", "tap0"]);
        assert_eq!(used(laptop(), &["none"]), Vec::<String>::new());
    }

    #[test]
    fn a_bridge_with_a_card_stands_for_it() {
        let tap = port(1, facts(3, "vnet0", "tun"));
        let all = vec![facts(1, "br0", "bridge"), port(1, facts(2, "eth0", "")), tap];
        assert_eq!(used(all, &[]), ["br0"]);
    }

    #[test]
    fn a_bond_stands_for_its_cards() {
        let cards = [port(1, facts(2, "eth0", "")), port(1, facts(3, "eth1", ""))];
        assert_eq!(
            used([vec![facts(1, "bond0", "bond")], cards.to_vec()].concat(), &[]),
            ["bond0"]
        );
    }

    #[test]
    fn in_a_namespace_without_cards_every_veth_is_a_way_out() {
        let all = vec![
            loopback(),
            facts(2, "eth0", "veth"),
            facts(3, "eth1", "veth"),
            facts(4, "inner", "bridge"),
            port(4, facts(5, "port", "veth")),
        ];
        assert_eq!(used(all, &[]), ["eth0", "eth1"]);
    }

    #[test]
    fn a_bridge_is_the_last_resort() {
        assert_eq!(used(vec![facts(1, "lab", "bridge")], &[]), ["lab"]);
        assert_eq!(used(vec![facts(1, "docker0", "bridge")], &[]), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let all = vec![
            Facts { running: false, ..facts(1, "eth0", "") },
            Facts { networks: vec![], ..facts(2, "eth1", "") },
            Facts { multicast: false, ..facts(3, "eth2", "") },
        ];
        let why: Vec<_> = judge(all, &[]).iter().map(|i| i.excluded).collect();
        let expected = [Excluded::Down, Excluded::NoAddress, Excluded::NoMulticast];
        assert_eq!(why, expected.map(Some));
    }

    #[test]
    fn an_interface_has_a_link_for_each_family_with_an_address() {
        let families = |facts| judge(vec![facts], &[])[0].links().map(|l| l.family).collect();
        let both: Vec<Family> = families(facts(7, "eth0", ""));
        assert_eq!(both, [Family::V4, Family::V6]);
        let v6 = Facts { networks: vec![network("fe80::1", 64)], ..facts(7, "eth0", "") };
        let only: Vec<Family> = families(v6);
        assert_eq!(only, [Family::V6]);
    }

    #[test]
    fn the_source_is_on_the_prefix_of_the_destination() {
        let two = vec![network("192.0.2.1", 24), network("10.0.0.1", 8)];
        let all = judge(vec![Facts { networks: two, ..facts(1, "eth0", "") }], &[]);
        let source = |to: &str| all[0].source_for(to.parse().unwrap()).map(|a| a.to_string());
        assert_eq!(source("10.9.9.9").as_deref(), Some("10.0.0.1"));
        assert_eq!(source("224.0.0.251").as_deref(), Some("192.0.2.1"));
        assert_eq!(source("fe80::2"), None);
    }
}
