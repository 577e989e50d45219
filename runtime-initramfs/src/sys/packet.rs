//! A packet socket on one Ethernet interface (packet(7)): whole frames in and out, beside or instead of the kernel.
//!
//! - It takes ARP, IPv4 and IPv6 only, so that nothing else wakes anybody, and not what this host sends.
//! - It joins the Ethernet groups that a stack without the kernel needs: a network card filters them otherwise.
//! - It sends past the queueing discipline, which drops what is sent in the second before the kernel's own link state
//!   follows the carrier.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::rc::Rc;

use super::check;

/// Octets that wait in the kernel, where it allows it: a burst of large frames.
const RECEIVE_QUEUE: libc::c_int = 8 << 20;

/// Who has looked at the checksums of a frame, and whether it had a VLAN tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Octets of the frame.
    pub len: usize,
    /// The checksum of TCP or UDP is right, or is not there because the frame never was on a wire.
    pub is_checked: bool,
    /// The VLAN that it came by, if the card has taken the tag off: 0 to 4095.
    pub vlan: Option<u16>,
}

/// A packet socket.
#[derive(Debug)]
pub struct PacketSocket {
    fd: Rc<OwnedFd>,
}

impl PacketSocket {
    /// Opens one on the interface numbered `index`, with the Ethernet groups `groups`.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] without `CAP_NET_RAW`, or what the kernel says.
    pub fn open(index: u32, groups: &[[u8; 6]]) -> io::Result<Self> {
        let index = libc::c_int::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
        let socket = Self { fd: Rc::new(socket()?) };
        socket.set(libc::SOL_PACKET, libc::PACKET_AUXDATA, &1_i32)?;
        // Kernels before 4.20 have no such option, and others can do without a large queue: frames that are dropped
        // are sent again.
        let _ = socket.set(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1_i32);
        let _ = socket.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_QUEUE);
        let _ = socket.set(libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, &1_i32);
        socket.filter()?;
        socket.bind(index)?;
        for group in groups {
            socket.join(index, *group)?;
        }
        Ok(socket)
    }

    /// Whether this process may open packet sockets. The one that tells stays open, to the end of the process: closing it
    /// waits until no processor looks at it, which takes 10 ms of a boot.
    ///
    /// # Errors
    /// As [`PacketSocket::open`].
    pub fn probe() -> io::Result<()> {
        socket().map(std::mem::forget)
    }

    /// The descriptor, to wait for frames.
    #[must_use]
    pub const fn fd(&self) -> &Rc<OwnedFd> {
        &self.fd
    }

    /// Receives a frame into `buffer` if there is one. One that is longer than the buffer is dropped.
    #[must_use]
    #[allow(trivial_numeric_casts, reason = "musl has another type for lengths")]
    pub fn receive(&self, buffer: &mut [u8]) -> Option<Received> {
        loop {
            let mut control = [0_u64; 8];
            let mut part =
                libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            // SAFETY: a `msghdr` of zeros is a valid one without buffers.
            let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
            header.msg_iov = &raw mut part;
            header.msg_iovlen = 1;
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = size_of_val(&control) as _;
            let fd = self.fd.as_raw_fd();
            // SAFETY: the header points to buffers that live through the call, with their lengths.
            let count = unsafe { libc::recvmsg(fd, &raw mut header, libc::MSG_DONTWAIT) };
            let Ok(len) = usize::try_from(count) else {
                match io::Error::last_os_error().raw_os_error() {
                    // That the interface went down is told once.
                    Some(libc::EINTR | libc::ENETDOWN) => continue,
                    _ => return None,
                }
            };
            if header.msg_flags & libc::MSG_TRUNC != 0 {
                continue;
            }
            let mut received = Received { len, is_checked: false, vlan: None };
            if let Some(data) = auxiliary(&header) {
                let checked = libc::TP_STATUS_CSUMNOTREADY | libc::TP_STATUS_CSUM_VALID;
                received.is_checked = data.tp_status & checked != 0;
                let is_tagged = data.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
                received.vlan = is_tagged.then_some(data.tp_vlan_tci & 0xfff);
            }
            return Some(received);
        }
    }

    /// Sends a frame. One that the card has no room for is lost, as Ethernet may.
    pub fn send(&self, frame: &[u8]) {
        let fd = self.fd.as_raw_fd();
        // SAFETY: the pointer and the length are those of a slice.
        let _ = unsafe { libc::send(fd, frame.as_ptr().cast(), frame.len(), libc::MSG_DONTWAIT) };
    }

    /// Takes ARP, IPv4 and IPv6 alone. A frame that is tagged still has its tag taken off before the filter sees it.
    fn filter(&self) -> io::Result<()> {
        const LOAD_HALF_WORD: u16 = 0x28;
        const JUMP_IF_EQUAL: u16 = 0x15;
        const RETURN: u16 = 0x06;
        let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
        let mut program = [
            step(LOAD_HALF_WORD, 0, 0, 12),
            step(JUMP_IF_EQUAL, 2, 0, 0x0800),
            step(JUMP_IF_EQUAL, 1, 0, 0x0806),
            step(JUMP_IF_EQUAL, 0, 1, 0x86dd),
            step(RETURN, 0, 0, u32::MAX),
            step(RETURN, 0, 0, 0),
        ];
        let program = libc::sock_fprog { len: 6, filter: program.as_mut_ptr() };
        self.set(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
    }

    fn bind(&self, index: libc::c_int) -> io::Result<()> {
        // SAFETY: a `sockaddr_ll` of zeros is a valid one of no interface.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as libc::sa_family_t;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index;
        let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the address lives through the call, with its length.
        check(unsafe { libc::bind(self.fd.as_raw_fd(), (&raw const address).cast(), len) })
            .map(drop)
    }

    fn join(&self, index: libc::c_int, group: [u8; 6]) -> io::Result<()> {
        let mut address = [0; 8];
        address[..6].copy_from_slice(&group);
        let request = libc::packet_mreq {
            mr_ifindex: index,
            mr_type: libc::PACKET_MR_MULTICAST as libc::c_ushort,
            mr_alen: 6,
            mr_address: address,
        };
        self.set(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
    }

    /// `value`: of the type that the option has.
    fn set<T>(&self, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
        let value: *const T = value;
        let len = size_of::<T>() as libc::socklen_t;
        // SAFETY: the value lives through the call, with its length, and with what it points to.
        check(unsafe { libc::setsockopt(self.fd.as_raw_fd(), level, name, value.cast(), len) })
            .map(drop)
    }
}

/// A socket that receives nothing before it is bound, so that no frame of another interface is in its queue.
fn socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointer is passed.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the descriptor was opened above, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What the kernel says of a frame.
#[allow(trivial_numeric_casts, reason = "musl has another type for lengths")]
fn auxiliary(header: &libc::msghdr) -> Option<libc::tpacket_auxdata> {
    // SAFETY: the kernel has filled the header's control buffer and set its length.
    let message = unsafe { libc::CMSG_FIRSTHDR(header).as_ref() }?;
    let room = message.cmsg_len as usize;
    // SAFETY: computes a length, nothing else.
    let needed = unsafe { libc::CMSG_LEN(size_of::<libc::tpacket_auxdata>() as u32) } as usize;
    let is_its = message.cmsg_level == libc::SOL_PACKET
        && message.cmsg_type == libc::PACKET_AUXDATA
        && room >= needed;
    // SAFETY: the message has this type, and as many octets behind its head; they need not be aligned.
    is_its.then(|| unsafe {
        libc::CMSG_DATA(message).cast::<libc::tpacket_auxdata>().read_unaligned()
    })
}
