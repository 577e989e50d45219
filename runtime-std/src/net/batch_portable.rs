//! Many datagrams for one wake-up, with one system call each: `recvmsg` and `sendmsg`.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::RawFd;

use nix::sys::socket::{
    ControlMessage, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg, sendmsg,
};
use phase_core::machine::{Family, TransmitBuffer};

use super::control;
use super::outbox::Queued;
use super::socket::{Arrived, BATCH, RECEIVE_MAX};

/// Received datagrams and the room for them.
#[derive(Debug)]
pub(crate) struct Inbox {
    octets: Box<[u8]>,
    arrived: Vec<Arrived>,
    control: Vec<u8>,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            octets: vec![0; BATCH * RECEIVE_MAX].into(),
            arrived: Vec::with_capacity(BATCH),
            control: {
                let mut space = nix::cmsg_space!(nix::libc::in6_pktinfo);
                space.resize(space.capacity(), 0);
                space
            },
        }
    }

    /// Replaces what it holds by what has arrived at a socket: at most [`BATCH`] datagrams.
    ///
    /// # Errors
    /// `EAGAIN` when there is nothing, or what else the system said; it holds nothing then.
    pub(super) fn receive(&mut self, fd: RawFd, _family: Family) -> nix::Result<usize> {
        self.arrived.clear();
        for room in self.octets.chunks_exact_mut(RECEIVE_MAX) {
            let mut slices = [IoSliceMut::new(room)];
            let result = recvmsg::<SockaddrStorage>(
                fd,
                &mut slices,
                Some(&mut self.control),
                MsgFlags::MSG_DONTWAIT,
            );
            let message = match result {
                Ok(message) => message,
                Err(error) if self.arrived.is_empty() => return Err(error),
                Err(_) => break,
            };
            let information =
                message.cmsgs().ok().and_then(|mut all| all.find_map(|m| control::arrival(&m)));
            // A datagram without a sender keeps its room; nobody can be answered.
            let remote = message.address.as_ref().and_then(remote).unwrap_or(NOBODY);
            self.arrived.push(Arrived { remote, information, len: message.bytes });
        }
        Ok(self.arrived.len())
    }

    /// Datagram number `index` of the last batch.
    pub(crate) fn get(&self, index: usize) -> Option<(Arrived, &[u8])> {
        let arrived = *self.arrived.get(index)?;
        let start = index.checked_mul(RECEIVE_MAX)?;
        Some((arrived, self.octets.get(start..start.checked_add(arrived.len)?)?))
    }
}

const NOBODY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0));

fn remote(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddrV4::from(*v4).into());
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddrV6::from(*v6).into()))
}

/// Sends; keeps nothing here.
#[derive(Debug, Default)]
pub(super) struct Sender;

impl Sender {
    /// Sends the first datagram of `run`.
    ///
    /// # Errors
    /// Why it was not sent.
    pub(super) fn send(
        &mut self,
        fd: RawFd,
        run: &[Queued],
        octets: &[TransmitBuffer],
    ) -> nix::Result<usize> {
        let (Some(first), Some(buffer)) = (run.first(), octets.first()) else { return Ok(0) };
        let slices = [IoSlice::new(buffer.get(..first.len).unwrap_or_default())];
        let flags = MsgFlags::MSG_DONTWAIT;
        match first.destination {
            SocketAddr::V4(to) => {
                let info = control::departure_v4(first.interface, first.source);
                let control = [ControlMessage::Ipv4PacketInfo(&info)];
                sendmsg(fd, &slices, &control, flags, Some(&SockaddrIn::from(to)))
            }
            SocketAddr::V6(to) => {
                let info = control::departure_v6(first.interface, first.source);
                let control = [ControlMessage::Ipv6PacketInfo(&info)];
                sendmsg(fd, &slices, &control, flags, Some(&SockaddrIn6::from(to)))
            }
        }
        .map(|_| 1)
    }
}
