//! The interfaces of this machine as the kernel tells them, and news of them.
//!
//! Spec: rtnetlink(7): `RTM_GETLINK` and `RTM_GETADDR` dumps, and the group `RTMGRP_LINK` for changes.
//! Not here: routes; which interface is used ([`crate::network`]).

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, sendto,
    socket,
};
use phase_core::machine::Network;

/// The kernel fills at most this much at once.
const BUFFER: usize = 32 * 1024;

/// The group of news of links.
const RTMGRP_LINK: u32 = 1;

/// An interface as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The largest packet, in octets.
    pub mtu: u32,
    /// Its Ethernet address; none: it is no Ethernet interface, or the loopback interface.
    pub ethernet: Option<[u8; 6]>,
    /// It is a port of a bridge, or part of a bond.
    pub is_port: bool,
    /// It is up, with or without a carrier.
    pub is_up: bool,
    /// The kernel's addresses on it.
    pub networks: Vec<Network>,
}

/// Every interface, with the kernel's addresses.
///
/// # Errors
/// What the netlink socket says.
pub fn list() -> io::Result<Vec<Facts>> {
    let fd = open(0, SockFlag::empty())?;
    let mut all: Vec<Facts> = Vec::new();
    dump(&fd, libc::RTM_GETLINK, 16, &mut |message| all.extend(message.link()))?;
    dump(&fd, libc::RTM_GETADDR, 8, &mut |message| {
        if let Some((index, network)) = message.address()
            && let Some(facts) = all.iter_mut().find(|facts| facts.index == index)
        {
            facts.networks.push(network);
        }
    })?;
    Ok(all)
}

/// Tells when links changed.
#[derive(Debug)]
pub struct Watcher {
    fd: Rc<OwnedFd>,
}

impl Watcher {
    /// Starts to watch; changes from here on are told.
    ///
    /// # Errors
    /// What the netlink socket says.
    pub fn open() -> io::Result<Self> {
        Ok(Self { fd: Rc::new(open(RTMGRP_LINK, SockFlag::SOCK_NONBLOCK)?) })
    }

    /// The descriptor, to wait for news.
    #[must_use]
    pub const fn fd(&self) -> &Rc<OwnedFd> {
        &self.fd
    }

    /// Whether anything changed since this was asked last.
    #[must_use]
    pub fn take_change(&self) -> bool {
        let mut buffer = [0; 256];
        let mut changed = false;
        loop {
            // What changed is seen in the list; cut news are news.
            match recvfrom::<NetlinkAddr>(self.fd.as_raw_fd(), &mut buffer) {
                Ok(_) | Err(Errno::ENOBUFS) => changed = true,
                Err(Errno::EINTR) => {}
                Err(_) => return changed,
            }
        }
    }
}

fn open(groups: u32, flags: SockFlag) -> io::Result<OwnedFd> {
    let (family, route) = (AddressFamily::Netlink, SockProtocol::NetlinkRoute);
    let fd = socket(family, SockType::Raw, flags | SockFlag::SOCK_CLOEXEC, route)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(fd)
}

/// Asks for everything of one kind; `body_len`: octets of the head behind `nlmsghdr`, all zero: no filter.
fn dump(
    fd: &OwnedFd,
    kind: u16,
    body_len: usize,
    each: &mut dyn FnMut(&Message<'_>),
) -> io::Result<()> {
    const DUMP_REQUEST: u16 = 0x300 | 0x1;
    let len = 16 + body_len;
    let mut request = Vec::with_capacity(len);
    request.extend(u32::try_from(len).unwrap_or(0).to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend(DUMP_REQUEST.to_ne_bytes());
    request.resize(len, 0);
    sendto(fd.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let (len, from) = match recvfrom::<NetlinkAddr>(fd.as_raw_fd(), &mut buffer) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        // Only the kernel, which is process 0 here, knows.
        if from.is_none_or(|from| from.pid() != 0) {
            continue;
        }
        for message in Messages(buffer.get(..len).unwrap_or_default()) {
            match i32::from(message.kind) {
                libc::NLMSG_DONE => return Ok(()),
                libc::NLMSG_ERROR => return Err(message.error()),
                _ => each(&message),
            }
        }
    }
}

/// The messages of one datagram; ends at the first that does not fit.
struct Messages<'a>(&'a [u8]);

struct Message<'a> {
    kind: u16,
    body: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let len = usize::try_from(u32_at(self.0, 0)?).ok()?;
        let message = Message { kind: u16_at(self.0, 4)?, body: self.0.get(16..len)? };
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

impl Message<'_> {
    /// The interface that `RTM_NEWLINK` tells.
    fn link(&self) -> Option<Facts> {
        const ADDRESS: u16 = 1;
        const IFNAME: u16 = 3;
        const MTU: u16 = 4;
        const MASTER: u16 = 10;
        if self.kind != libc::RTM_NEWLINK {
            return None;
        }
        let hardware = u16_at(self.body, 2)?;
        let flags = self.body.get(8..12)?.try_into().ok().map(i32::from_ne_bytes)?;
        let mut facts = Facts {
            index: u32_at(self.body, 4)?,
            is_up: flags & libc::IFF_UP != 0,
            ..Facts::default()
        };
        for (kind, value) in Attributes(self.body.get(16..)?) {
            match kind {
                ADDRESS if hardware == libc::ARPHRD_ETHER => {
                    facts.ethernet = value.try_into().ok();
                }
                IFNAME => facts.name = text(value),
                MTU => facts.mtu = u32_at(value, 0)?,
                MASTER => facts.is_port = true,
                _ => {}
            }
        }
        Some(facts)
    }

    /// The address that `RTM_NEWADDR` tells, with the index of its interface.
    fn address(&self) -> Option<(u32, Network)> {
        const ADDRESS: u16 = 1;
        const LOCAL: u16 = 2;
        if self.kind != libc::RTM_NEWADDR {
            return None;
        }
        let prefix_len = *self.body.get(1)?;
        let (mut address, mut local) = (None, None);
        for (kind, value) in Attributes(self.body.get(8..)?) {
            match kind {
                ADDRESS => address = ip(value),
                LOCAL => local = ip(value),
                _ => {}
            }
        }
        // On a link with a peer, ADDRESS is the peer's.
        Some((u32_at(self.body, 4)?, Network { address: local.or(address)?, prefix_len }))
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
    let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_kernel_tells_the_loopback_interface_which_is_no_ethernet() {
        let all = list().unwrap();
        let lo = all.iter().find(|facts| facts.name == "lo").unwrap();
        assert!(lo.is_up && lo.mtu > 1500 && !lo.is_port && lo.ethernet.is_none(), "{lo:?}");
        let own = Network { address: Ipv4Addr::LOCALHOST.into(), prefix_len: 8 };
        assert!(lo.networks.contains(&own), "{lo:?}");
    }

    #[test]
    fn a_cut_message_gives_nothing_and_one_of_length_zero_ends_the_list() {
        let mut octets = 48_u32.to_ne_bytes().to_vec();
        octets.extend(libc::RTM_NEWLINK.to_ne_bytes());
        octets.resize(48, 0);
        for len in 0..octets.len() {
            assert_eq!(Messages(&octets[..len]).count(), 0, "{len} octets");
        }
        assert_eq!(Messages(&octets).count(), 1);
        octets[..4].copy_from_slice(&0_u32.to_ne_bytes());
        assert_eq!(Messages(&octets).count(), 0);
    }
}
