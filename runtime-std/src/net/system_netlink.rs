//! The interfaces of this host as the Linux kernel tells them, and news of them.
//!
//! Spec: rtnetlink(7): `RTM_GETLINK` and `RTM_GETADDR` dumps, and the multicast groups for changes.
//! Not here: routes, neighbours; which interface is used (`interfaces.rs`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, sendto,
    socket,
};
use phase_core::machine::Network;
use tokio::io::unix::AsyncFd;

use super::interfaces::Facts;

/// The kernel fills at most this much at once.
const BUFFER: usize = 32 * 1024;

/// Groups of news: links, IPv4 addresses, IPv6 addresses.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// `IFLA_EXT_MASK` value that leaves the statistics out, which are most of a dump.
const SKIP_STATS: u32 = 1 << 3;

/// A dump that the kernel's tables changed under is asked for again, this often.
const ATTEMPTS: usize = 4;

/// Every interface with its usable addresses.
///
/// # Errors
/// What the netlink socket said.
pub(crate) fn list() -> io::Result<Vec<Facts>> {
    let fd = open(0, SockFlag::empty())?;
    let mut buffer = vec![0; BUFFER];
    for attempt in 1..=ATTEMPTS {
        let mut all: Vec<Facts> = Vec::new();
        let links = dump(&fd, &mut buffer, &link_request(), &mut |message| {
            all.extend(message.link());
        })?;
        let addresses = dump(&fd, &mut buffer, &address_request(), &mut |message| {
            if let Some((index, network)) = message.address()
                && let Some(facts) = all.iter_mut().find(|f| f.index == index)
            {
                facts.networks.push(network);
            }
        })?;
        if (links == Dump::Whole && addresses == Dump::Whole) || attempt == ATTEMPTS {
            return Ok(all);
        }
    }
    Ok(Vec::new())
}

/// Tells when interfaces or addresses changed.
#[derive(Debug)]
pub(crate) struct Watcher {
    fd: AsyncFd<OwnedFd>,
    buffer: Box<[u8]>,
}

impl Watcher {
    /// Starts to watch; changes from here on are told.
    ///
    /// # Errors
    /// What the netlink socket said.
    pub(crate) fn open() -> io::Result<Self> {
        let fd = open(GROUPS, SockFlag::SOCK_NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "an `OwnedFd` keeps its descriptor, which is what `new` relies on"
        )]
        let fd = AsyncFd::new(fd)?;
        Ok(Self { fd, buffer: vec![0; BUFFER].into() })
    }

    /// Ready when something changed; `lost` is told every interface that was down meanwhile, even if it is
    /// up again. Nothing is lost when the caller stops to wait.
    pub(crate) fn poll_change(
        &mut self,
        cx: &mut Context<'_>,
        lost: &mut dyn FnMut(u32),
    ) -> Poll<()> {
        let mut changed = false;
        loop {
            let Ok(mut guard) = ready!(self.fd.poll_read_ready(cx)) else {
                // The runtime is shutting down: nobody waits for an answer.
                return Poll::Pending;
            };
            let fd = self.fd.get_ref().as_raw_fd();
            match recvfrom::<NetlinkAddr>(fd, &mut self.buffer) {
                Ok((len, from)) if from.is_some_and(|from| from.pid() == 0) => {
                    changed = true;
                    let octets = self.buffer.get(..len).unwrap_or_default();
                    for message in Messages(octets) {
                        message.link_lost().into_iter().for_each(&mut *lost);
                    }
                }
                // Only the kernel, which is process 0 here, knows.
                Ok(_) => {}
                // News were dropped: what changed is seen in the list.
                Err(Errno::ENOBUFS) => changed = true,
                Err(Errno::EINTR) => {}
                Err(_) => {
                    guard.clear_ready();
                    if changed {
                        return Poll::Ready(());
                    }
                }
            }
        }
    }
}

fn open(groups: u32, flags: SockFlag) -> io::Result<OwnedFd> {
    let fd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        flags | SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(fd)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dump {
    Whole,
    /// The tables changed while they were told.
    Interrupted,
}

fn dump(
    fd: &OwnedFd,
    buffer: &mut [u8],
    request: &[u8],
    each: &mut dyn FnMut(&Message<'_>),
) -> io::Result<Dump> {
    const INTERRUPTED: u16 = 0x10;
    let mut result = Dump::Whole;
    sendto(fd.as_raw_fd(), request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    loop {
        let (len, from) = match recvfrom::<NetlinkAddr>(fd.as_raw_fd(), buffer) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        if from.is_none_or(|from| from.pid() != 0) {
            continue;
        }
        for message in Messages(buffer.get(..len).unwrap_or_default()) {
            if message.flags & INTERRUPTED != 0 {
                result = Dump::Interrupted;
            }
            match i32::from(message.kind) {
                libc::NLMSG_DONE => return Ok(result),
                libc::NLMSG_ERROR => return Err(message.error()),
                _ => each(&message),
            }
        }
    }
}

/// `nlmsghdr`, `ifinfomsg` and one attribute, `IFLA_EXT_MASK`.
fn link_request() -> Vec<u8> {
    const IFLA_EXT_MASK: u16 = 29;
    let mut body = vec![0; 16];
    body.extend(8_u16.to_ne_bytes());
    body.extend(IFLA_EXT_MASK.to_ne_bytes());
    body.extend(SKIP_STATS.to_ne_bytes());
    request(libc::RTM_GETLINK, &body)
}

/// `nlmsghdr` and `ifaddrmsg`.
fn address_request() -> Vec<u8> {
    request(libc::RTM_GETADDR, &[0; 8])
}

fn request(kind: u16, body: &[u8]) -> Vec<u8> {
    const DUMP_REQUEST: u16 = 0x300 | 0x1;
    let len = u32::try_from(16 + body.len()).unwrap_or(0);
    let mut out = Vec::with_capacity(16 + body.len());
    out.extend(len.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(DUMP_REQUEST.to_ne_bytes());
    out.extend([0; 8]);
    out.extend(body);
    out
}

/// The messages of one datagram; ends at the first that does not fit.
struct Messages<'a>(&'a [u8]);

struct Message<'a> {
    kind: u16,
    flags: u16,
    body: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let len = usize::try_from(u32_at(self.0, 0)?).ok()?;
        let message = Message {
            kind: u16_at(self.0, 4)?,
            flags: u16_at(self.0, 6)?,
            body: self.0.get(16..len)?,
        };
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

impl Message<'_> {
    /// The interface that `RTM_NEWLINK` tells.
    fn link(&self) -> Option<Facts> {
        const IFNAME: u16 = 3;
        const MTU: u16 = 4;
        const MASTER: u16 = 10;
        const LINKINFO: u16 = 18;
        const INFO_KIND: u16 = 1;
        const INFO_SLAVE_KIND: u16 = 4;
        if self.kind != libc::RTM_NEWLINK {
            return None;
        }
        let has = |flag: i32| self.link_flags().is_some_and(|flags| flags & flag != 0);
        let mut facts = Facts {
            index: u32_at(self.body, 4)?,
            running: has(libc::IFF_UP) && has(libc::IFF_RUNNING),
            loopback: has(libc::IFF_LOOPBACK),
            multicast: has(libc::IFF_MULTICAST),
            point_to_point: has(libc::IFF_POINTOPOINT),
            ..Facts::default()
        };
        let mut routed = false;
        for (kind, value) in Attributes(self.body.get(16..)?) {
            match kind {
                IFNAME => facts.name = text(value),
                MTU => facts.mtu = u32_at(value, 0)?,
                MASTER => facts.master = u32_at(value, 0),
                LINKINFO => {
                    for (kind, value) in Attributes(value) {
                        match kind {
                            INFO_KIND => facts.kind = text(value),
                            INFO_SLAVE_KIND => routed = text(value) == "vrf",
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        if routed {
            // A routing domain is no interface that packets come by.
            facts.master = None;
        }
        Some(facts)
    }

    /// The interface that this message says is down or gone.
    fn link_lost(&self) -> Option<u32> {
        let down = match self.kind {
            libc::RTM_DELLINK => true,
            libc::RTM_NEWLINK => self.link_flags()? & libc::IFF_RUNNING == 0,
            _ => false,
        };
        down.then(|| u32_at(self.body, 4)).flatten()
    }

    fn link_flags(&self) -> Option<i32> {
        self.body.get(8..12)?.try_into().ok().map(i32::from_ne_bytes)
    }

    /// The usable address that `RTM_NEWADDR` tells, with the index of its interface.
    fn address(&self) -> Option<(u32, Network)> {
        const ADDRESS: u16 = 1;
        const LOCAL: u16 = 2;
        const FLAGS: u16 = 8;
        const TENTATIVE: u32 = 0x40;
        const DAD_FAILED: u32 = 0x08;
        const OPTIMISTIC: u32 = 0x04;
        if self.kind != libc::RTM_NEWADDR {
            return None;
        }
        let prefix_len = *self.body.get(1)?;
        let mut flags = u32::from(*self.body.get(2)?);
        let (mut address, mut local) = (None, None);
        for (kind, value) in Attributes(self.body.get(8..)?) {
            match kind {
                ADDRESS => address = ip(value),
                LOCAL => local = ip(value),
                FLAGS => flags = u32_at(value, 0)?,
                _ => {}
            }
        }
        let waits = flags & TENTATIVE != 0 && flags & OPTIMISTIC == 0;
        if waits || flags & DAD_FAILED != 0 {
            return None;
        }
        // On a link with a peer, ADDRESS is the peer's.
        let address = local.or(address)?;
        Some((u32_at(self.body, 4)?, Network { address, prefix_len }))
    }

    fn error(&self) -> io::Error {
        let negative = self.body.get(..4).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes);
        io::Error::from_raw_os_error(negative.unwrap_or(-libc::EPROTO).saturating_neg())
    }
}

/// Type and value of each attribute; ends at the first that does not fit.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        /// The upper two bits are marks, not part of the type.
        const TYPE_MASK: u16 = 0x3fff;
        let len = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & TYPE_MASK;
        let value = self.0.get(4..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    octets.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|octet| *octet == 0).next().unwrap_or_default()).into()
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(value)
        .map(|octets| IpAddr::V4(Ipv4Addr::from(octets)))
        .or_else(|_| <[u8; 16]>::try_from(value).map(|octets| Ipv6Addr::from(octets).into()))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_the_loopback_interface() {
        let all = list().unwrap();
        let lo = all.iter().find(|f| f.loopback).unwrap();
        assert_eq!(lo.name, "lo");
        assert!(lo.running && lo.mtu > 1500 && lo.kind.is_empty(), "{lo:?}");
        let own = Network { address: Ipv4Addr::LOCALHOST.into(), prefix_len: 8 };
        assert!(lo.networks.contains(&own), "{lo:?}");
    }

    #[test]
    fn a_cut_message_gives_what_is_whole() {
        let octets = request(libc::RTM_NEWLINK, &[0; 32]);
        for len in 0..octets.len() {
            assert_eq!(Messages(&octets[..len]).count(), 0, "{len} octets");
        }
        assert_eq!(Messages(&octets).count(), 1);
        let mut endless = octets;
        endless[..4].copy_from_slice(&0_u32.to_ne_bytes());
        assert_eq!(Messages(&endless).count(), 0, "a message of length 0 ends the list");
    }

    #[test]
    fn an_address_waiting_for_duplicate_detection_is_not_used() {
        let message = |flags: u32| {
            let mut body = vec![10, 64, 0, 0, 7, 0, 0, 0];
            body.extend([20, 0, 1, 0]);
            body.extend(Ipv6Addr::LOCALHOST.octets());
            body.extend([8, 0, 8, 0]);
            body.extend(flags.to_ne_bytes());
            body
        };
        let usable = |flags| {
            let body = message(flags);
            Message { kind: libc::RTM_NEWADDR, flags: 0, body: &body }.address().is_some()
        };
        assert!(usable(0x80));
        assert!(usable(0x44), "optimistic");
        assert!(!usable(0x40), "tentative");
        assert!(!usable(0x08), "duplicate");
    }
}
