//! The driver: links as interfaces come, change and go; every datagram by its interface; a shared port.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use phase_core::machine::{Family, LinkId, Network, Port};
use phase_provider::driver::{Driver, NetOptions};
use phase_provider::net;
use phase_tests::deadline::GENEROUS;
use phase_tests::netns::{Host, Lan, Namespace, Segment};
use socket2::{Domain, Protocol, Socket, Type};

use crate::echo::{Echo, Heard, Running, Told};

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

#[test]
fn an_interface_that_appears_changes_and_vanishes_is_told_each_time() {
    let segment = Segment::new().unwrap();
    let namespace = Namespace::new("host").unwrap();
    let running = provider(&namespace);
    segment.attach(&namespace, "eth0", &["10.1.0.1/24"]).unwrap();
    let index = namespace.interface_index("eth0").unwrap();
    let v4 = LinkId { interface: index, family: Family::V4 };
    let v6 = LinkId { interface: index, family: Family::V6 };

    let mut links = Links::default();
    links.become_true(&running, "both families up", |links| {
        links.has(v4, "10.1.0.1") && links.0.contains_key(&v6)
    });

    namespace.add_address("eth0", "10.2.0.1/16").unwrap();
    links.become_true(&running, "a second address", |links| links.has(v4, "10.2.0.1"));
    namespace.remove_address("eth0", "10.1.0.1/24").unwrap();
    links.become_true(&running, "the first address gone", |links| {
        links.0.contains_key(&v4) && !links.has(v4, "10.1.0.1")
    });

    namespace.set_down("eth0").unwrap();
    links.become_true(&running, "both families down", |links| links.0.is_empty());
    namespace.set_up("eth0").unwrap();
    links.become_true(&running, "both families up again", |links| links.0.len() == 2);

    namespace.ip(&["link", "del", "eth0"]).unwrap();
    links.become_true(&running, "all down", |links| links.0.is_empty());
}

#[test]
fn a_link_that_went_down_for_a_moment_starts_over() {
    let lan = Lan::of(1).unwrap();
    let host = lan.host(0);
    let running = provider(&host.namespace);
    let v4 = LinkId { interface: host.index, family: Family::V4 };
    running.wait_for("up", |told| up_any(told, v4));
    // One command, so that the list shows nothing between.
    let both = "ip link set dev eth0 down; ip link set dev eth0 up";
    host.namespace.run("sh", &["-c", both]).unwrap();
    running.wait_for("down", |told| (*told == Told::Down(v4)).then_some(()));
    running.wait_for("up again", |told| up_any(told, v4));
    // The group was joined again: what is sent to it arrives.
    assert_hears_group_v4(&running, &lan, host);
}

#[test]
fn the_first_list_is_told_before_anything_else_and_once() {
    let lan = Lan::pair().unwrap();
    let host = lan.host(0);
    let running = provider(&host.namespace);
    let mut links =
        [running.told_within(GENEROUS), running.told_within(GENEROUS)].map(|told| match told {
            Some(Told::Up { id, networks }) => {
                assert_eq!(networks.len(), 3, "{networks:?}");
                assert!(networks.iter().any(|n| n.address == host.ipv4 && n.prefix_len == 24));
                assert!(networks.iter().any(|n| n.address == host.link_local));
                id
            }
            other => panic!("{other:?}"),
        });
    links.sort();
    let link = |family| LinkId { interface: host.index, family };
    assert_eq!(links, [link(Family::V4), link(Family::V6)]);
    assert_eq!(running.told_within(Duration::from_millis(300)), None);
}

#[test]
fn no_interface_is_a_normal_state() {
    let namespace = Namespace::new("alone").unwrap();
    let running = provider(&namespace);
    assert!(running.has_mdns_port && running.first_binder);
    assert_eq!(running.told_within(Duration::from_millis(200)), None);
}

#[test]
fn every_datagram_comes_and_goes_by_its_own_interface() {
    let (left, right) = (Segment::new().unwrap(), Segment::new().unwrap());
    let host = Namespace::new("two").unwrap();
    // The same network on both, as on two sockets of one wall: only the interface tells them apart.
    left.attach(&host, "eth0", &["10.3.0.1/24"]).unwrap();
    right.attach(&host, "eth1", &["10.3.0.2/24"]).unwrap();
    let running = provider(&host);
    for (segment, interface, own) in [(&left, "eth0", "10.3.0.1"), (&right, "eth1", "10.3.0.2")] {
        let index = host.interface_index(interface).unwrap();
        let id = LinkId { interface: index, family: Family::V4 };
        let peer = Namespace::new("peer").unwrap();
        segment.attach(&peer, "eth0", &["10.3.0.9/24"]).unwrap();
        let socket = peer.inside(|| UdpSocket::bind("10.3.0.9:0")).unwrap();
        socket.send_to(interface.as_bytes(), (GROUP_V4, 5353)).unwrap();
        let heard = running.wait_for("the datagram", heard);
        assert_eq!((heard.link, heard.payload.as_slice()), (id, interface.as_bytes()));
        assert_eq!(heard.destination, GROUP_V4);
        let (octets, from) = receive(&socket);
        assert_eq!(octets, interface.as_bytes());
        // `own` where the route chooses the interface; never silence because it chose the other one.
        assert_eq!(from, SocketAddr::new(own.parse().unwrap(), 5353));
    }
}

#[test]
fn a_host_with_ipv6_alone_is_served_over_its_link_local_address() {
    let segment = Segment::new().unwrap();
    let (host, peer) = (Namespace::new("host").unwrap(), Namespace::new("peer").unwrap());
    segment.attach(&host, "eth0", &[]).unwrap();
    segment.attach(&peer, "eth0", &[]).unwrap();
    let running = provider(&host);
    let id = LinkId { interface: host.interface_index("eth0").unwrap(), family: Family::V6 };
    running.wait_for("up", |told| up_any(told, id));
    let scope = peer.interface_index("eth0").unwrap();
    let socket = peer.inside(|| UdpSocket::bind("[::]:0")).unwrap();
    socket.send_to(b"six", SocketAddrV6::new(GROUP_V6, 5353, 0, scope)).unwrap();
    let heard = running.wait_for("the datagram", heard);
    assert_eq!((heard.link, heard.destination), (id, GROUP_V6.into()));
    let (octets, from) = receive(&socket);
    assert_eq!(octets, b"six");
    assert!(matches!(from, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local()), "{from}");
}

#[test]
fn an_answer_leaves_from_the_address_that_was_asked() {
    let lan = Lan::pair().unwrap();
    let (host, peer) = (lan.host(0), lan.host(1));
    host.namespace.add_address("eth0", "10.77.0.200/24").unwrap();
    host.namespace.add_address("eth0", "fd77::200/64").unwrap();
    let running = provider(&host.namespace);
    for (own, any) in [("10.77.0.200", "0.0.0.0:0"), ("fd77::200", "[::]:0")] {
        let own: IpAddr = own.parse().unwrap();
        let socket = peer.namespace.inside(|| UdpSocket::bind(any)).unwrap();
        socket.send_to(b"who", (own, 5353)).unwrap();
        assert_eq!(running.wait_for("the datagram", heard).destination, own);
        assert_eq!(receive(&socket).1, SocketAddr::new(own, 5353));
    }
}

#[test]
fn every_datagram_leaves_with_a_ttl_of_255() {
    let lan = Lan::pair().unwrap();
    let (host, peer) = (lan.host(0), lan.host(1));
    let group = listener_on_group_v4(&peer.namespace);
    setsockopt(&group, sockopt::Ipv4RecvTtl, &true).unwrap();
    let greeting = (Port::Mdns, (GROUP_V4, 5353).into(), (GROUP_V6, 5353).into());
    let echo = Echo { greeting: Some(greeting), ..Echo::default() };
    let _running = Running::in_namespace(&host.namespace, NetOptions::default(), echo).unwrap();
    assert_eq!(receive_ttl(&group), 255, "multicast");
    group.send_to(b"direct", (host.ipv4, 5353)).unwrap();
    assert_eq!(receive_ttl(&group), 255, "unicast");
}

#[test]
fn the_second_program_on_port_5353_knows_and_hears_all_the_same() {
    let lan = Lan::pair().unwrap();
    let (host, peer) = (lan.host(0), lan.host(1));
    let first = provider(&host.namespace);
    assert!(first.first_binder);
    let second = provider(&host.namespace);
    assert!(!second.first_binder);
    let socket = peer.namespace.inside(|| UdpSocket::bind("10.77.0.2:0")).unwrap();
    socket.send_to(b"all", (GROUP_V4, 5353)).unwrap();
    for running in [&first, &second] {
        assert_eq!(running.wait_for("the datagram", heard).payload, b"all");
    }
}

#[test]
fn a_program_that_came_first_and_shares_is_no_obstacle() {
    let lan = Lan::pair().unwrap();
    let _other = listener_on_group_v4(&lan.host(0).namespace);
    let running = provider(&lan.host(0).namespace);
    assert!(running.has_mdns_port && !running.first_binder);
    assert_hears_group_v4(&running, &lan, lan.host(0));
}

#[test]
fn a_port_held_by_another_program_stops_a_provider_but_not_a_client() {
    let lan = Lan::pair().unwrap();
    let (host, peer) = (lan.host(0), lan.host(1));
    // Of both families, as a socket is that nobody asked to be of one.
    let _other = host.namespace.inside(|| UdpSocket::bind("[::]:5353")).unwrap();
    let refused = Running::in_namespace(&host.namespace, NetOptions::default(), Echo::default());
    let error = refused.map(drop).unwrap_err();
    assert!(matches!(error, net::Error::Socket { port: 5353, .. }), "{error:?}");
    assert!(error.to_string().contains("Another program holds it"), "{error}");

    let answerer = peer.namespace.inside(|| UdpSocket::bind("0.0.0.0:7777")).unwrap();
    let to = SocketAddr::from((peer.ipv4, 7777));
    let greeting = (Port::Ephemeral, to, SocketAddr::from((peer.ipv6, 7777)));
    let echo = Echo { greeting: Some(greeting), ..Echo::default() };
    let options = NetOptions { ephemeral: true, ..NetOptions::default() };
    let running = Running::in_namespace(&host.namespace, options, echo).unwrap();
    assert!(!running.has_mdns_port && !running.first_binder);
    let (octets, from) = receive(&answerer);
    assert_eq!(octets, b"hello");
    answerer.send_to(b"answer", from).unwrap();
    let heard = running.wait_for("the answer", heard);
    assert_eq!(
        (heard.port, heard.remote, heard.destination),
        (Port::Ephemeral, to, host.ipv4.into())
    );
}

#[test]
fn an_interface_without_multicast_is_used_only_when_it_is_named() {
    let lan = Lan::pair().unwrap();
    let host = lan.host(0);
    host.namespace.ip(&["link", "set", "dev", "eth0", "multicast", "off"]).unwrap();
    let running = provider(&host.namespace);
    assert_eq!(running.told_within(Duration::from_millis(200)), None);
    drop(running);
    let options = NetOptions { interfaces: vec!["eth0".to_owned()], ..NetOptions::default() };
    let running = Running::in_namespace(&host.namespace, options, Echo::default()).unwrap();
    let id = LinkId { interface: host.index, family: Family::V4 };
    running.wait_for("up", |told| up_any(told, id));
}

#[test]
fn loopback_serves_this_host_when_it_is_named() {
    let namespace = Namespace::new("alone").unwrap();
    let greeting = (Port::Mdns, (GROUP_V4, 5353).into(), (GROUP_V6, 5353).into());
    let named = |ephemeral| NetOptions {
        interfaces: vec!["lo".to_owned()],
        ephemeral,
        ..NetOptions::default()
    };
    let first = Running::in_namespace(&namespace, named(false), Echo::default()).unwrap();
    let echo = Echo { greeting: Some(greeting), ..Echo::default() };
    let _second = Running::in_namespace(&namespace, named(true), echo).unwrap();
    let heard = first.wait_for("the greeting", heard);
    assert_eq!(heard.destination, GROUP_V4);
    assert_eq!(heard.remote.ip(), Ipv4Addr::LOCALHOST);
}

#[test]
fn a_datagram_longer_than_mdns_allows_shows_its_length() {
    let lan = Lan::pair().unwrap();
    let (host, peer) = (lan.host(0), lan.host(1));
    let running = provider(&host.namespace);
    let socket = peer.namespace.inside(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    for (sent, shown) in [(0, 0), (9000, 9000), (9001, 9001), (20_000, 9001)] {
        socket.send_to(&vec![7; sent], (host.ipv4, 5353)).unwrap();
        assert_eq!(running.wait_for("the datagram", heard).payload.len(), shown);
    }
}

#[test]
fn a_burst_is_answered_whole_and_other_tasks_get_their_turn() {
    const COUNT: usize = 2000;
    let lan = Lan::pair().unwrap();
    let (host, peer) = (lan.host(0), lan.host(1));
    let socket = peer.namespace.inside(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    let answered = host
        .namespace
        .inside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(async {
                let mut driver = Driver::open(NetOptions::default()).unwrap();
                let mut echo = Echo::default();
                // Less than a receive buffer, and all of it there before the first is looked at.
                for chunk in 0..COUNT / 100 {
                    let numbers = chunk * 100..(chunk + 1) * 100;
                    for number in numbers.clone() {
                        socket.send_to(&number.to_be_bytes(), (host.ipv4, 5353)).unwrap();
                    }
                    let mut heard = 0;
                    while heard < 100 {
                        // Dropped again and again, which must lose nothing.
                        tokio::select! {
                            biased;
                            event = driver.next_event(&mut echo) => {
                                heard += usize::from(matches!(event, Told::Heard(_)));
                            }
                            () = std::future::ready(()) => tokio::task::yield_now().await,
                        }
                    }
                    // What was sent when an event is told is on its way.
                    for number in numbers {
                        assert_eq!(receive(&socket).0, number.to_be_bytes());
                    }
                }
                assert_eq!(driver.counters().refused, 0);
                driver.counters().sent
            }))
        })
        .unwrap();
    assert_eq!(answered, COUNT as u64);
}

#[test]
fn a_deadline_of_the_machine_is_kept() {
    let namespace = Namespace::new("alone").unwrap();
    let wake = phase_core::time::Instant::ZERO + Duration::from_millis(50);
    let echo = Echo { wake: Some(wake), ..Echo::default() };
    let running = Running::in_namespace(&namespace, NetOptions::default(), echo).unwrap();
    running.wait_for("the deadline", |told| (*told == Told::Elapsed).then_some(()));
}

// Helpers.

fn provider(namespace: &Namespace) -> Running {
    Running::in_namespace(namespace, NetOptions::default(), Echo::default()).unwrap()
}

fn up_any(told: &Told, link: LinkId) -> Option<()> {
    matches!(told, Told::Up { id, .. } if *id == link).then_some(())
}

/// The links that are up, as told so far, in whatever order.
#[derive(Debug, Default)]
struct Links(BTreeMap<LinkId, Vec<Network>>);

impl Links {
    fn become_true(&mut self, running: &Running, what: &str, wanted: impl Fn(&Self) -> bool) {
        if wanted(self) {
            return;
        }
        running.wait_for(what, |told| {
            match told {
                Told::Up { id, networks } => drop(self.0.insert(*id, networks.clone())),
                Told::Down(id) => drop(self.0.remove(id)),
                Told::Heard(_) | Told::Elapsed => {}
            }
            wanted(self).then_some(())
        });
    }

    fn has(&self, link: LinkId, address: &str) -> bool {
        let address: IpAddr = address.parse().unwrap();
        self.0.get(&link).is_some_and(|networks| networks.iter().any(|n| n.address == address))
    }
}

fn heard(told: &Told) -> Option<Heard> {
    if let Told::Heard(heard) = told { Some(heard.clone()) } else { None }
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    socket.set_read_timeout(Some(GENEROUS)).unwrap();
    let mut octets = vec![0; 10_000];
    let (len, from) = socket.recv_from(&mut octets).unwrap();
    octets.truncate(len);
    (octets, from)
}

fn receive_ttl(socket: &UdpSocket) -> i32 {
    use std::os::fd::AsRawFd as _;
    socket.set_read_timeout(Some(GENEROUS)).unwrap();
    let mut octets = [0; 100];
    let mut slices = [std::io::IoSliceMut::new(&mut octets)];
    let mut control = nix::cmsg_space!(i32);
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut control),
        MsgFlags::empty(),
    )
    .unwrap();
    let ttl = message.cmsgs().unwrap().find_map(|message| {
        if let ControlMessageOwned::Ipv4Ttl(ttl) = message { Some(ttl) } else { None }
    });
    ttl.unwrap()
}

/// Another multicast DNS program: on port 5353, sharing it, in the group on `eth0`.
fn listener_on_group_v4(namespace: &Namespace) -> UdpSocket {
    let index = namespace.interface_index(Host::INTERFACE).unwrap();
    namespace
        .inside(|| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(true)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5353)).into())?;
            let interface = socket2::InterfaceIndexOrAddress::Index(index);
            socket.join_multicast_v4_n(&GROUP_V4, &interface)?;
            Ok(socket.into())
        })
        .unwrap()
}

fn assert_hears_group_v4(running: &Running, lan: &Lan, host: &Host) {
    let sender = Namespace::new("sender").unwrap();
    match lan.segment() {
        Some(segment) => segment.attach(&sender, "eth0", &["10.77.0.99/24"]).unwrap(),
        None => {
            let peer = lan.hosts().iter().find(|other| other.ipv4 != host.ipv4).unwrap();
            let socket = peer.namespace.inside(|| UdpSocket::bind((peer.ipv4, 0))).unwrap();
            socket.send_to(b"group", (GROUP_V4, 5353)).unwrap();
            running.wait_for("the datagram", |told| heard(told).filter(|h| h.payload == b"group"));
            return;
        }
    }
    let socket = sender.inside(|| UdpSocket::bind("10.77.0.99:0")).unwrap();
    socket.send_to(b"group", (GROUP_V4, 5353)).unwrap();
    running.wait_for("the datagram", |told| heard(told).filter(|h| h.payload == b"group"));
}
