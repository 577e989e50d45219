//! The device: every access is one that the compiler can neither foresee nor leave out.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use phase_core::machine::{
    CloseReason, ConnectionId, ConnectionInput, Datagram, Family, Input, Link, LinkId, Network,
    Port,
};
use phase_core::time::Instant;

/// Its registers. Their contents are never what is written here.
static mut REGISTERS: [u8; 64] = [0; 64];

pub struct Device;

impl Device {
    /// One octet from the device.
    fn octet(&self) -> u8 {
        // SAFETY: the place is ours, and there is one thread.
        unsafe { core::ptr::read_volatile(&raw const REGISTERS as *const u8) }
    }

    fn number(&self) -> u64 {
        let mut octets = [0; 8];
        self.read(&mut octets);
        u64::from_le_bytes(octets)
    }

    /// Fills `octets`; gives how many there were.
    pub fn read(&self, octets: &mut [u8]) -> usize {
        for octet in octets.iter_mut() {
            *octet = self.octet();
        }
        usize::from(self.octet())
    }

    /// Gives octets to the device.
    pub fn write(&self, octets: &[u8]) {
        for octet in octets {
            // SAFETY: the place is ours, and there is one thread.
            unsafe { core::ptr::write_volatile(&raw mut REGISTERS as *mut u8, *octet) };
        }
    }

    /// Gives any value to the device.
    pub fn tell<T>(&self, value: T) {
        core::hint::black_box(value);
    }

    /// Sends a datagram.
    pub fn send(&self, to: SocketAddr, octets: &[u8]) {
        self.tell(to);
        self.write(octets);
    }

    pub fn now(&self) -> Instant {
        Instant::from_micros(self.number())
    }

    pub fn is_off(&self) -> bool {
        self.octet() == 255
    }

    fn address(&self) -> IpAddr {
        let mut octets = [0; 16];
        self.read(&mut octets);
        let address = Ipv6Addr::from(octets);
        address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
    }

    /// The address of a bootstrap peer.
    #[cfg(feature = "dht")]
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.address(), u16::from(self.octet()))
    }

    fn link(&self) -> LinkId {
        let family = if self.octet() == 0 { Family::V4 } else { Family::V6 };
        LinkId { interface: u32::from(self.octet()), family }
    }

    /// What happened, if it was more than the passing of time; `received` takes octets that arrived.
    pub fn next_input<'a>(&self, received: &'a mut [u8; 1500]) -> Option<Input<'a>> {
        let kind = self.octet();
        let len = self.read(received) + usize::from(self.octet()) * 256;
        let payload = received.get(..len).unwrap_or_default();
        let remote = SocketAddr::new(self.address(), 5353);
        match kind {
            0 => {
                let port = if self.octet() == 0 { Port::Mdns } else { Port::Ephemeral };
                let destination = self.address();
                Some(Input::Datagram(Datagram {
                    link: self.link(),
                    port,
                    remote,
                    destination,
                    payload,
                }))
            }
            1 => {
                Some(Input::LinkUp(Link { id: self.link(), mtu: 1500, networks: self.networks() }))
            }
            2 => Some(Input::LinkDown(self.link())),
            3 => {
                let id = ConnectionId::Dialed(u32::from(self.octet()));
                Some(Input::Connection(id, self.connection(payload)))
            }
            _ => None,
        }
    }

    fn networks(&self) -> &'static [Network] {
        static mut NETWORKS: [Network; 2] =
            [Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix_len: 64 }; 2];
        let network = Network { address: self.address(), prefix_len: self.octet() };
        // SAFETY: there is one thread, and the client keeps no reference.
        unsafe {
            core::ptr::write_volatile(&raw mut NETWORKS as *mut Network, network);
            &*(&raw const NETWORKS)
        }
    }

    fn connection<'a>(&self, octets: &'a [u8]) -> ConnectionInput<'a> {
        match self.octet() {
            0 => ConnectionInput::Connected,
            1 => ConnectionInput::Received(octets),
            2 => ConnectionInput::Writable { room: usize::from(self.octet()) },
            3 => ConnectionInput::Closed(CloseReason::TimedOut),
            _ => ConnectionInput::Closed(CloseReason::Reset),
        }
    }
}
