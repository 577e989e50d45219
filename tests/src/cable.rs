//! A long cable between two hosts: every Ethernet frame takes its time, and is counted.
//!
//! The frames pass through this process, from a packet socket on one veth pair to a packet socket on another, so
//! that the whole of TCP is delayed as by distance, its handshake too. Accuracy is about 0.1 ms. A share of the frames may
//! be lost, the same ones in every run that sends the same frames.
//! Not here: reordering, which the simulator has.
//! Spec: packet(7).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};
use nix::sys::time::TimeSpec;

use crate::netns::Namespace;
use crate::{Error, deadline};

/// The largest frame: no segmentation is left to the interfaces.
const FRAME_MAX: usize = 9018;

/// How long the relay sleeps when nothing is under way, before it looks whether it should end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The names of the two ends in the relay's namespace.
const ENDS: [&str; 2] = ["left", "right"];

/// What passed, of both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Frames that carry IP.
    pub packets: u64,
    /// Their octets from the IP header on.
    pub octets: u64,
}

#[derive(Debug, Default)]
struct Shared {
    /// Microseconds one way.
    delay: AtomicU64,
    /// Frames lost of a thousand.
    loss: AtomicU64,
    lost: AtomicU64,
    packets: AtomicU64,
    octets: AtomicU64,
    ends: AtomicBool,
}

/// The cable. Dropping it unplugs both hosts.
#[derive(Debug)]
pub struct Cable {
    shared: Arc<Shared>,
    relay: Option<JoinHandle<()>>,
    _namespace: Namespace,
}

impl Cable {
    /// Gives each of the two namespaces an interface with this name, joined by a cable without delay.
    /// The interfaces are up; addresses are the caller's.
    ///
    /// # Errors
    /// As [`Namespace::new`].
    pub fn between(left: &Namespace, right: &Namespace, interface: &str) -> Result<Self, Error> {
        let relay = Namespace::new("relay")?;
        // The relay itself must not speak.
        relay.set_sysctl("ipv6/conf/default/disable_ipv6", "1")?;
        for (end, host) in ENDS.into_iter().zip([left, right]) {
            let peer = ["type", "veth", "peer", "name", end, "netns", relay.name()];
            host.ip(&[&["link", "add", interface], peer.as_slice()].concat())?;
            // One frame for each segment: what is counted is what a wire would carry.
            host.ip(&["link", "set", "dev", interface, "gso_max_segs", "1"])?;
            relay.ip(&["link", "set", "dev", end, "arp", "off", "up"])?;
            host.ip(&["link", "set", "dev", interface, "up"])?;
        }
        let sockets = relay.inside(|| Ok([packet_socket(ENDS[0])?, packet_socket(ENDS[1])?]))?;
        let shared = Arc::new(Shared::default());
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || carry(&sockets, &shared)
        });
        Ok(Self { shared, relay: Some(thread), _namespace: relay })
    }

    /// Sets the time that every frame takes from now on, one way: half of a round trip.
    pub fn set_delay(&self, one_way: Duration) {
        let micros = u64::try_from(one_way.as_micros()).unwrap_or(u64::MAX);
        self.shared.delay.store(micros, Ordering::Relaxed);
    }

    /// Sets how many frames of a thousand are lost from now on, in each direction.
    pub fn set_loss(&self, per_mille: u16) {
        self.shared.loss.store(per_mille.into(), Ordering::Relaxed);
    }

    /// The time that every frame takes, one way.
    #[must_use]
    pub fn delay(&self) -> Duration {
        Duration::from_micros(self.shared.delay.load(Ordering::Relaxed))
    }

    /// What has passed since the cable was laid.
    #[must_use]
    pub fn passed(&self) -> Passed {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Passed { packets: of(&self.shared.packets), octets: of(&self.shared.octets) }
    }

    /// How many frames have been lost since the cable was laid; they have not passed.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(relay) = self.relay.take() {
            // A relay that panicked has nothing more to end.
            let _ = relay.join();
        }
    }
}

/// A socket that hears and says whole frames on one interface, and does not hear itself.
fn packet_socket(interface: &str) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
    let mut all = getifaddrs()?.filter(|a| a.interface_name == interface);
    let address: LinkAddr =
        all.find_map(|a| a.address?.as_link_addr().copied()).ok_or(io::ErrorKind::NotFound)?;
    bind(fd.as_raw_fd(), &address)?;
    Ok(fd)
}

type Queue = VecDeque<(Instant, Vec<u8>)>;

fn carry(sockets: &[OwnedFd; 2], shared: &Shared) {
    let mut queues: [Queue; 2] = Default::default();
    let mut buffer = vec![0; FRAME_MAX];
    let mut chance = 1;
    while !shared.ends.load(Ordering::Relaxed) {
        let now = deadline::now();
        for (socket, queue) in sockets.iter().rev().zip(&mut queues) {
            deliver(socket, queue, now);
        }
        let next = queues.iter().filter_map(|queue| Some(queue.front()?.0)).min();
        let wait = next.map_or(LOOK_EVERY, |at| at.saturating_duration_since(deadline::now()));
        let mut polled = sockets.each_ref().map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN));
        if ppoll(&mut polled, Some(TimeSpec::from_duration(wait)), None).is_err() {
            continue;
        }
        for (socket, queue) in sockets.iter().zip(&mut queues) {
            take_in(socket, queue, &mut buffer, (shared, &mut chance));
        }
    }
}

/// Sends every frame that has been under way for long enough.
fn deliver(socket: &OwnedFd, queue: &mut Queue, now: Instant) {
    while queue.front().is_some_and(|(at, _)| *at <= now) {
        if let Some((_, frame)) = queue.pop_front() {
            // A cable tells nobody of a frame that the other end could not take.
            let _ = send(socket.as_raw_fd(), &frame, MsgFlags::empty());
        }
    }
}

fn take_in(
    socket: &OwnedFd,
    queue: &mut Queue,
    buffer: &mut [u8],
    (shared, chance): (&Shared, &mut u64),
) {
    loop {
        let count = match recv(socket.as_raw_fd(), buffer, MsgFlags::empty()) {
            Ok(count) => count,
            Err(Errno::EINTR) => continue,
            Err(_) => return,
        };
        if is_lost(chance, shared.loss.load(Ordering::Relaxed)) {
            shared.lost.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let mut frame = buffer[..count].to_vec();
        if let Some(octets) = complete(&mut frame) {
            shared.packets.fetch_add(1, Ordering::Relaxed);
            shared.octets.fetch_add(octets, Ordering::Relaxed);
        }
        let delay = Duration::from_micros(shared.delay.load(Ordering::Relaxed));
        queue.push_back((deadline::now() + delay, frame));
    }
}

/// Whether the next frame is lost, of which `per_mille` of a thousand are: a multiplicative generator.
fn is_lost(chance: &mut u64, per_mille: u64) -> bool {
    *chance =
        chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*chance >> 33) % 1000 < per_mille
}

/// Writes the checksum that the sender left to its interface; gives the octets from the IP header on, of a frame
/// that carries IP.
fn complete(frame: &mut [u8]) -> Option<u64> {
    let kind = u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]);
    let packet = frame.get_mut(14..)?;
    // Where the addresses and the transport are, which transport it is, and where the packet ends.
    let (addresses, transport, protocol, len) = match kind {
        0x0800 => {
            let header = usize::from(packet.first()? & 15) * 4;
            let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
            let len = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
            let protocol = if fragment == 0 { *packet.get(9)? } else { 0 };
            (12..20, header, protocol, len)
        }
        0x86dd => {
            let len = usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
            (8..40, 40, *packet.get(6)?, len + 40)
        }
        _ => return None,
    };
    let place = match protocol {
        6 => transport + 16,
        17 => transport + 6,
        _ => return u64::try_from(len).ok(),
    };
    packet.get_mut(place..place + 2)?.fill(0);
    let mut sum = u64::from(protocol) + u64::try_from(len - transport).ok()?;
    for part in [packet.get(addresses)?, packet.get(transport..len)?] {
        for pair in part.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = !u16::try_from(sum).unwrap_or(0);
    // RFC 768: a sum of zero is sent as all ones, which TCP takes as well.
    let sum = if sum == 0 { 0xffff } else { sum };
    packet.get_mut(place..place + 2)?.copy_from_slice(&sum.to_be_bytes());
    u64::try_from(len).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::Lan;
    use std::io::{Read as _, Write as _};
    use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};

    #[test]
    fn all_addresses_are_reached_and_udp_crosses_too() {
        let lan = Lan::apart().unwrap();
        let (here, there) = (lan.host(0), lan.host(1));
        for (a, b) in [(here.ipv4.into(), there.ipv4.into()), (here.ipv6.into(), there.ipv6.into())]
        {
            let bound = |host: &crate::netns::Host, ip: IpAddr| {
                host.namespace.inside(|| UdpSocket::bind((ip, 0))).unwrap()
            };
            let (sender, receiver) = (bound(here, a), bound(there, b));
            receiver.set_read_timeout(Some(deadline::GENEROUS)).unwrap();
            // An odd length, and a sum of many octets.
            let octets: Vec<u8> = (0..1001_u32).map(|n| n.to_be_bytes()[3]).collect();
            sender.send_to(&octets, receiver.local_addr().unwrap()).unwrap();
            let mut buffer = [0; 2000];
            let (len, _) = receiver.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], octets);
        }
    }

    #[test]
    fn a_cable_delays_the_handshake_and_what_follows() {
        let lan = Lan::apart().unwrap();
        let (here, there) = (lan.host(0), lan.host(1));
        let listener = there.namespace.inside(|| TcpListener::bind((there.ipv4, 0))).unwrap();
        let remote = listener.local_addr().unwrap();
        let echo = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut octets = vec![0; 100_000];
            stream.read_exact(&mut octets).unwrap();
            stream.write_all(&octets).unwrap();
        });
        let cable = lan.cable().unwrap();
        let before = cable.passed();
        cable.set_delay(Duration::from_millis(30));
        let start = deadline::now();
        let mut stream = here.namespace.inside(|| TcpStream::connect(remote)).unwrap();
        let connected = start.elapsed();
        assert!(connected >= Duration::from_millis(60), "{connected:?}");
        let octets: Vec<u8> = (0..100_000_u32).map(|n| n.to_be_bytes()[3]).collect();
        stream.write_all(&octets).unwrap();
        let mut back = vec![0; octets.len()];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(back, octets);
        assert!(start.elapsed() >= Duration::from_millis(120));
        echo.join().unwrap();
        let passed = cable.passed();
        assert!(passed.octets - before.octets > 200_000, "{passed:?}");
        assert!(passed.packets - before.packets > 140, "{passed:?}");
        assert_eq!(cable.lost(), 0);
    }

    #[test]
    fn what_is_lost_is_sent_again_by_tcp() {
        let lan = Lan::apart().unwrap();
        let (here, there) = (lan.host(0), lan.host(1));
        let listener = there.namespace.inside(|| TcpListener::bind((there.ipv4, 0))).unwrap();
        let remote = listener.local_addr().unwrap();
        let cable = lan.cable().unwrap();
        cable.set_loss(20);
        let sender = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&vec![7; 1_000_000]).unwrap();
        });
        let mut stream = here.namespace.inside(|| TcpStream::connect(remote)).unwrap();
        let mut octets = Vec::new();
        stream.read_to_end(&mut octets).unwrap();
        sender.join().unwrap();
        assert_eq!(octets.len(), 1_000_000);
        assert!(cable.lost() > 0);
    }

    #[test]
    fn one_of_a_hundred_is_about_that() {
        let mut chance = 1;
        let lost = (0..100_000).filter(|_| is_lost(&mut chance, 10)).count();
        assert!((900..1100).contains(&lost), "{lost}");
        assert!((0..1000).all(|_| !is_lost(&mut chance, 0)));
    }
}
