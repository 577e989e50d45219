//! Many datagrams for one system call: `recvmmsg` and `sendmmsg`.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::RawFd;

use nix::libc;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg,
    sendmmsg, sendmsg,
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
    v4: MultiHeaders<SockaddrIn>,
    v6: MultiHeaders<SockaddrIn6>,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            octets: vec![0; BATCH * RECEIVE_MAX].into(),
            arrived: Vec::with_capacity(BATCH),
            v4: headers_v4(),
            v6: headers_v6(),
        }
    }

    /// Replaces what it holds by what has arrived at a socket: at most [`BATCH`] datagrams.
    ///
    /// # Errors
    /// `EAGAIN` when there is nothing, or what else the system said; it holds nothing then.
    pub(super) fn receive(&mut self, fd: RawFd, family: Family) -> nix::Result<usize> {
        self.arrived.clear();
        let Self { octets, arrived, v4, v6 } = self;
        match family {
            Family::V4 => {
                fill(fd, v4, octets, arrived, |a| SocketAddrV4::from(a).into())?;
                if arrived.iter().any(|one| one.information.is_none()) {
                    // What the kernel wrote is the room it finds the next time.
                    *v4 = headers_v4();
                }
            }
            Family::V6 => {
                fill(fd, v6, octets, arrived, |a| SocketAddrV6::from(a).into())?;
                if arrived.iter().any(|one| one.information.is_none()) {
                    *v6 = headers_v6();
                }
            }
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

fn headers_v4() -> MultiHeaders<SockaddrIn> {
    MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(libc::in_pktinfo)))
}

fn headers_v6() -> MultiHeaders<SockaddrIn6> {
    MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(libc::in6_pktinfo)))
}

fn fill<S: SockaddrLike + Copy>(
    fd: RawFd,
    headers: &mut MultiHeaders<S>,
    octets: &mut [u8],
    arrived: &mut Vec<Arrived>,
    remote: fn(S) -> SocketAddr,
) -> nix::Result<()> {
    let mut rooms = octets.chunks_exact_mut(RECEIVE_MAX);
    let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
        std::array::from_fn(|_| [IoSliceMut::new(rooms.next().unwrap_or_default())]);
    let messages = recvmmsg(fd, headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
    for message in messages {
        let information =
            message.cmsgs().ok().and_then(|mut all| all.find_map(|m| control::arrival(&m)));
        let Some(address) = message.address else { continue };
        arrived.push(Arrived { remote: remote(address), information, len: message.bytes });
    }
    Ok(())
}

/// The room that `sendmmsg` needs, made when a batch first leaves.
#[derive(Debug, Default)]
pub(super) struct Sender {
    v4: Option<MultiHeaders<SockaddrIn>>,
    v6: Option<MultiHeaders<SockaddrIn6>>,
}

impl Sender {
    /// Sends datagrams that leave by one socket and interface from one source; how many were sent.
    ///
    /// # Errors
    /// Why the first of them was not sent.
    pub(super) fn send(
        &mut self,
        fd: RawFd,
        run: &[Queued],
        octets: &[TransmitBuffer],
    ) -> nix::Result<usize> {
        let Some(first) = run.first() else { return Ok(0) };
        let (interface, source) = (first.interface, first.source);
        match first.destination {
            SocketAddr::V4(_) => {
                let info = control::departure_v4(interface, source);
                let control = [ControlMessage::Ipv4PacketInfo(&info)];
                let headers = self.v4.get_or_insert_with(headers_v4);
                send_run(fd, run, octets, control, headers, |a| match a {
                    SocketAddr::V4(a) => Some(a.into()),
                    SocketAddr::V6(_) => None,
                })
            }
            SocketAddr::V6(_) => {
                let info = control::departure_v6(interface, source);
                let control = [ControlMessage::Ipv6PacketInfo(&info)];
                let headers = self.v6.get_or_insert_with(headers_v6);
                send_run(fd, run, octets, control, headers, |a| match a {
                    SocketAddr::V6(a) => Some(a.into()),
                    SocketAddr::V4(_) => None,
                })
            }
        }
    }
}

fn send_run<S: SockaddrLike + Copy>(
    fd: RawFd,
    run: &[Queued],
    octets: &[TransmitBuffer],
    control: [ControlMessage<'_>; 1],
    headers: &mut MultiHeaders<S>,
    address: fn(SocketAddr) -> Option<S>,
) -> nix::Result<usize> {
    let payload = |i: usize| {
        let len = run.get(i).map_or(0, |queued| queued.len);
        octets.get(i).and_then(|buffer| buffer.get(..len)).unwrap_or_default()
    };
    let to = |i: usize| run.get(i).and_then(|queued| address(queued.destination));
    if run.len() == 1 {
        let slices = [IoSlice::new(payload(0))];
        return sendmsg(fd, &slices, &control, MsgFlags::MSG_DONTWAIT, to(0).as_ref()).map(|_| 1);
    }
    let slices: [[IoSlice<'_>; 1]; BATCH] = std::array::from_fn(|i| [IoSlice::new(payload(i))]);
    let addresses: [Option<S>; BATCH] = std::array::from_fn(to);
    let slices = slices.get(..run.len()).unwrap_or_default();
    let sent = sendmmsg(fd, headers, slices, addresses, control, MsgFlags::MSG_DONTWAIT)?;
    Ok(sent.count())
}
