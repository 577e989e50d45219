//! A scripted mDNS participant: sends exactly the octets a check wants and keeps all it hears.
//! Spec: RFC 6762. Not here: any behaviour; it never answers by itself.

pub mod message;
mod socket;

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use message::{Data, Message, Name, Question, Record};
pub use socket::{Door, Envelope, GROUP_V4, GROUP_V6, MDNS_PORT, Socket, Stamp};

use crate::Error;
use crate::deadline::Deadline;
use crate::netns::Namespace;

/// A datagram that was heard, with its message when it is one.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The datagram.
    pub envelope: Envelope,
    /// Its message, or why it is none.
    pub message: Result<Message, String>,
}

impl Heard {
    /// Whether it came from the IP address `ip`.
    #[must_use]
    pub fn is_from(&self, ip: IpAddr) -> bool {
        self.envelope.remote.ip() == ip
    }

    /// Whether it was sent to a group.
    #[must_use]
    pub fn is_multicast(&self) -> bool {
        self.envelope.destination.is_multicast()
    }

    /// The message of a well-formed response.
    #[must_use]
    pub fn response(&self) -> Option<&Message> {
        self.message.as_ref().ok().filter(|m| m.is_response())
    }

    /// The message of a well-formed query.
    #[must_use]
    pub fn query(&self) -> Option<&Message> {
        self.message.as_ref().ok().filter(|m| !m.is_response())
    }
}

#[derive(Debug, Default)]
struct Log {
    heard: Mutex<Vec<Heard>>,
    changed: Condvar,
    stop: AtomicBool,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Vec<Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in what a peer has heard: everything after it is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(usize);

impl Mark {
    /// The place after one more datagram.
    #[must_use]
    pub const fn after_one(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Where a datagram of the peer goes, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The local port.
    pub door: Door,
    /// The source address, when not the kernel's choice.
    pub source: Option<IpAddr>,
    /// The destination.
    pub destination: SocketAddr,
}

impl Route {
    /// From port 5353 to the IPv4 group.
    pub const GROUP: Self = Self {
        door: Door::Mdns,
        source: None,
        destination: SocketAddr::V4(std::net::SocketAddrV4::new(GROUP_V4, MDNS_PORT)),
    };

    /// From port 5353 to the IPv6 group.
    pub const GROUP_V6: Self = Self {
        door: Door::Mdns,
        source: None,
        destination: SocketAddr::V6(SocketAddrV6::new(GROUP_V6, MDNS_PORT, 0, 0)),
    };

    /// From an ephemeral port to the IPv4 group.
    pub const ONE_SHOT: Self = Self { door: Door::OneShot, ..Self::GROUP };

    /// From port 5353 to port 5353 of `ip`.
    #[must_use]
    pub const fn direct(ip: IpAddr) -> Self {
        Self { door: Door::Mdns, source: None, destination: SocketAddr::new(ip, MDNS_PORT) }
    }

    /// The same from the source address `ip`.
    #[must_use]
    pub const fn from(self, ip: IpAddr) -> Self {
        Self { source: Some(ip), ..self }
    }

    /// The same from an ephemeral port.
    #[must_use]
    pub const fn one_shot(self) -> Self {
        Self { door: Door::OneShot, ..self }
    }
}

/// The scripted participant: four sockets on one interface of a namespace.
#[derive(Debug)]
pub struct Peer {
    sockets: Vec<Arc<Socket>>,
    log: Arc<Log>,
    readers: Vec<JoinHandle<()>>,
}

impl Peer {
    /// Opens the sockets on `interface` of `namespace`: both ports in IPv6 and, with an IPv4 address, in IPv4.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(
        namespace: &Namespace,
        interface: u32,
        ipv4: Option<std::net::Ipv4Addr>,
    ) -> Result<Self, Error> {
        let sockets = namespace.inside(|| {
            let mut sockets = Vec::new();
            for door in [Door::Mdns, Door::OneShot] {
                if let Some(ipv4) = ipv4 {
                    sockets.push(Arc::new(Socket::v4(door, ipv4, interface)?));
                }
                sockets.push(Arc::new(Socket::v6(door, interface)?));
            }
            Ok(sockets)
        })?;
        let log = Arc::new(Log::default());
        let readers = sockets.iter().map(|s| read_on(s, &log)).collect();
        Ok(Self { sockets: pair_up(sockets, ipv4.is_some()), log, readers })
    }

    /// The ephemeral port of one family.
    #[must_use]
    pub fn one_shot_port(&self, ipv4: bool) -> u16 {
        self.socket(Door::OneShot, ipv4).map_or(0, |s| s.port())
    }

    fn socket(&self, door: Door, ipv4: bool) -> Option<&Socket> {
        let index = usize::from(door == Door::OneShot) * 2 + usize::from(ipv4);
        self.sockets.get(index).map(Arc::as_ref)
    }

    /// Sends a message and returns when it left.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn send(&self, route: Route, message: &Message) -> Result<Stamp, Error> {
        self.send_octets(route, &message.encode())
    }

    /// Sends any octets and returns when they left.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn send_octets(&self, route: Route, octets: &[u8]) -> Result<Stamp, Error> {
        let what = || format!("send from the scripted peer to {}", route.destination);
        let socket = self.socket(route.door, route.destination.is_ipv4());
        let socket =
            socket.ok_or_else(|| Error::os(what(), std::io::ErrorKind::AddrNotAvailable.into()))?;
        let at = Stamp::read();
        socket.send(route.source, route.destination, octets).map_err(|e| Error::os(what(), e))?;
        Ok(at)
    }

    /// The place after everything heard so far.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.log.lock().len())
    }

    /// The place before everything.
    #[must_use]
    pub const fn beginning(&self) -> Mark {
        Mark(0)
    }

    /// Everything heard after `mark`.
    #[must_use]
    pub fn heard_since(&self, mark: Mark) -> Vec<Heard> {
        self.log.lock().get(mark.0..).unwrap_or_default().to_vec()
    }

    /// Everything heard after `mark` until `window` from this moment has passed.
    #[must_use]
    pub fn listen(&self, mark: Mark, window: Duration) -> Vec<Heard> {
        let never: Option<()> = self.wait(mark, window, |_| None);
        debug_assert!(never.is_none(), "the closure finds nothing");
        self.heard_since(mark)
    }

    /// The first thing after `mark` that `look` accepts, or `None` after `within`.
    pub fn wait<T>(
        &self,
        mark: Mark,
        within: Duration,
        mut look: impl FnMut(&Heard) -> Option<T>,
    ) -> Option<T> {
        let deadline = Deadline::after(within);
        let mut next = mark.0;
        let mut heard = self.log.lock();
        loop {
            while let Some(one) = heard.get(next) {
                next += 1;
                if let Some(found) = look(one) {
                    return Some(found);
                }
            }
            if deadline.has_passed() {
                return None;
            }
            heard = self
                .log
                .changed
                .wait_timeout(heard, deadline.remaining())
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits until nothing that `counts` has come for `quiet`; `false` when that takes longer than `within`.
    pub fn wait_for_silence(
        &self,
        quiet: Duration,
        within: Duration,
        counts: impl Fn(&Heard) -> bool,
    ) -> bool {
        let deadline = Deadline::after(within);
        while !deadline.has_passed() {
            let mark = self.mark();
            if self.wait(mark, quiet, |h| counts(h).then_some(())).is_none() {
                return true;
            }
        }
        false
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.log.stop.store(true, Ordering::Relaxed);
        for reader in self.readers.drain(..) {
            // A reader that panicked has nothing left to say.
            let _ = reader.join();
        }
    }
}

/// Orders sockets by port, then IPv6 before IPv4; without IPv4 the holes repeat the IPv6 one.
fn pair_up(sockets: Vec<Arc<Socket>>, with_ipv4: bool) -> Vec<Arc<Socket>> {
    if with_ipv4 {
        return sockets.chunks(2).flat_map(|c| c.iter().rev().cloned()).collect();
    }
    sockets.into_iter().flat_map(|s| [Arc::clone(&s), s]).collect()
}

fn read_on(socket: &Arc<Socket>, log: &Arc<Log>) -> JoinHandle<()> {
    let (socket, log) = (Arc::clone(socket), Arc::clone(log));
    thread::spawn(move || {
        while !log.stop.load(Ordering::Relaxed) {
            match socket.receive() {
                Ok(Some(envelope)) => {
                    let message = Message::decode(&envelope.octets);
                    log.lock().push(Heard { envelope, message });
                    log.changed.notify_all();
                }
                Ok(None) => {}
                // The interface went away; nothing more will come.
                Err(_) => return,
            }
        }
    })
}
