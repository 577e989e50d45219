//! Single interfaces: carrier, state, and what the kernel is given of a lease (netdevice(7), route in
//! `linux/route.h`, `ETHTOOL_GLINK` in `linux/ethtool.h`).

use std::ffi::c_char;
use std::io;
use std::mem::size_of;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use super::check;

/// `linux/ethtool.h`: asks `netif_carrier_ok`, which does not lag behind as `IFF_RUNNING` does.
const ETHTOOL_GLINK: u32 = 0x0a;

/// A socket to ask the kernel about interfaces.
#[derive(Debug)]
pub struct Control {
    fd: OwnedFd,
}

impl Control {
    /// Opens one.
    ///
    /// # Errors
    /// What socket(2) says.
    pub fn open() -> io::Result<Self> {
        // SAFETY: no pointer is passed.
        let fd = check(unsafe {
            libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)
        })?;
        // SAFETY: the descriptor was opened above, and nobody else has it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Whether the interface numbered `index` has a carrier; not, when it is down or gone. Its name may have changed, or
    /// may be another's by now.
    #[must_use]
    pub fn has_carrier(&self, index: u32) -> bool {
        let Ok(mut request) = self.named_by(index) else { return false };
        let mut value: [u32; 2] = [ETHTOOL_GLINK, 0];
        request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
        // SAFETY: the request and the value that it points to live through the call; the value has the two fields of
        // `struct ethtool_value`.
        match unsafe { self.ioctl(libc::SIOCETHTOOL, (&raw mut request).cast()) } {
            Ok(()) => value[1] != 0,
            // Drivers without it: the flag.
            Err(_) => self.flags(request).is_ok_and(|flags| flags & libc::IFF_RUNNING != 0),
        }
    }

    /// Takes an interface up.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] without `CAP_NET_ADMIN`, or what the driver says.
    pub fn set_up(&self, name: &str) -> io::Result<()> {
        let flags = self.flags(ifreq(name))? | libc::IFF_UP;
        let mut request = ifreq(name);
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        // SAFETY: the request lives through the call.
        unsafe { self.ioctl(libc::SIOCSIFFLAGS, (&raw mut request).cast()) }
    }

    /// Gives an interface an IPv4 address and the length of its prefix.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_address(&self, name: &str, address: Ipv4Addr, prefix_len: u8) -> io::Result<()> {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len.min(32))).unwrap_or(0);
        for (what, value) in
            [(libc::SIOCSIFADDR, address), (libc::SIOCSIFNETMASK, Ipv4Addr::from_bits(mask))]
        {
            let mut request = ifreq(name);
            request.ifr_ifru.ifru_addr = sockaddr(value);
            // SAFETY: the request lives through the call.
            unsafe { self.ioctl(what, (&raw mut request).cast()) }?;
        }
        Ok(())
    }

    /// Adds a default route by way of `gateway`.
    ///
    /// # Errors
    /// What the kernel says; one that is there already is none.
    pub fn add_default_route(&self, gateway: Ipv4Addr) -> io::Result<()> {
        // SAFETY: a `rtentry` of zeros is a valid one without a route.
        let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
        route.rt_dst = sockaddr(Ipv4Addr::UNSPECIFIED);
        route.rt_genmask = sockaddr(Ipv4Addr::UNSPECIFIED);
        route.rt_gateway = sockaddr(gateway);
        route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
        // SAFETY: the route lives through the call, and has no device name to point to.
        match unsafe { self.ioctl(libc::SIOCADDRT, (&raw mut route).cast()) } {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            other => other,
        }
    }

    /// A request that has the name of the interface numbered `index`.
    fn named_by(&self, index: u32) -> io::Result<libc::ifreq> {
        let mut request = ifreq("");
        request.ifr_ifru.ifru_ifindex =
            libc::c_int::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the request lives through the call.
        unsafe { self.ioctl(libc::SIOCGIFNAME, (&raw mut request).cast()) }?;
        Ok(request)
    }

    /// `request`: has the name of the interface.
    fn flags(&self, mut request: libc::ifreq) -> io::Result<libc::c_int> {
        // SAFETY: the request lives through the call.
        unsafe { self.ioctl(libc::SIOCGIFFLAGS, (&raw mut request).cast()) }?;
        // SAFETY: the call has filled this member.
        Ok(libc::c_int::from(unsafe { request.ifr_ifru.ifru_flags }) & 0xffff)
    }

    /// # Safety
    /// `argument` points to what the request `what` reads and writes.
    #[allow(trivial_numeric_casts, reason = "musl has another type for the number of a request")]
    unsafe fn ioctl(&self, what: libc::c_ulong, argument: *mut libc::c_void) -> io::Result<()> {
        // SAFETY: by the caller.
        check(unsafe { libc::ioctl(self.fd.as_raw_fd(), what as libc::Ioctl, argument) }).map(drop)
    }
}

/// A request about the interface `name`; a name that is too long is cut, and then names none.
fn ifreq(name: &str) -> libc::ifreq {
    // SAFETY: an `ifreq` of zeros is a valid one without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    for (to, octet) in request.ifr_name.iter_mut().zip(name.bytes().take(room)) {
        *to = c_char::from_ne_bytes([octet]);
    }
    request
}

fn sockaddr(address: Ipv4Addr) -> libc::sockaddr {
    let internet = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
        sin_zero: [0; 8],
    };
    const { assert!(size_of::<libc::sockaddr_in>() == size_of::<libc::sockaddr>()) };
    // SAFETY: both have the same size, and a `sockaddr` is any octets behind its family.
    unsafe { std::mem::transmute(internet) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_a_carrier_and_an_interface_that_is_not_there_has_none() {
        let control = Control::open().unwrap();
        let lo =
            crate::sys::netlink::list().unwrap().iter().find(|f| f.name == "lo").unwrap().index;
        assert!(control.has_carrier(lo));
        assert!(!control.has_carrier(u32::MAX / 3));
        assert!(control.set_up("nosuchinterface").is_err());
    }
}
