//! The one contract of every machine: feed one input, drain outputs until [`Output::Timeout`], then wait.
//!
//! ```text
//! loop {
//!     let wake = loop {
//!         match machine.poll_output(&mut buf) {
//!             Output::Transmit(t) => send(t, &buf[..t.len]),
//!             Output::Connection(id, what) => connect_send_or_close(id, what, &buf),
//!             Output::Event(event) => tell(event),
//!             Output::Timeout(wake) => break wake,
//!         }
//!     };
//!     match wait_for(wake) {
//!         Arrived(datagram) => machine.handle_input(now(), Input::Datagram(datagram)),
//!         LinkChanged(link) => machine.handle_input(now(), Input::LinkUp(link)),
//!         OfConnection(id, what) => machine.handle_input(now(), Input::Connection(id, what)),
//!         Elapsed => machine.handle_input(now(), Input::Timeout),
//!     }
//! }
//! ```
//!
//! Laws, held by `tests/laws`: a machine *drains* (a bounded number of outputs after any input),
//! *progresses* (after `Timeout` at `t` has been served, the next wake is later than `t`), is *idempotent*
//! (polling a drained machine gives the same `Timeout`), takes *spurious time* without harm, is
//! *deterministic* (same seed and inputs, same octets), *bounded* (`limits.rs`) and *survives* arbitrary octets.
//!
//! Commands are methods of the concrete machine, take `now` first and are followed by a drain too.

use core::net::{IpAddr, SocketAddr};

use crate::limits::TRANSMIT_MAX;
use crate::time::Instant;

/// Where a machine writes the octets of one [`Transmit`]; its fixed size makes "buffer too small" unwritable.
pub type TransmitBuffer = [u8; TRANSMIT_MAX];

/// A protocol as a plain value: octets, links and time in; octets, events and a deadline out.
pub trait Machine {
    /// What the machine tells its user.
    type Event;

    /// Feeds one input and runs every timer that is due. `now` is never earlier than in a call before.
    fn handle_input(&mut self, now: Instant, input: Input<'_>);

    /// Takes the next output; `buf` receives the octets of a [`Output::Transmit`].
    #[must_use]
    fn poll_output(&mut self, buf: &mut TransmitBuffer) -> Output<Self::Event>;
}

/// What a driver tells a machine.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A datagram arrived.
    Datagram(Datagram<'a>),
    /// A link came up, or its addresses or MTU changed. The same link again, unchanged, is harmless.
    LinkUp(Link<'a>),
    /// A link went away, or lost its last address.
    LinkDown(LinkId),
    /// Something happened to a TCP connection.
    Connection(ConnectionId, ConnectionInput<'a>),
    /// The deadline of the last [`Output::Timeout`] passed, or it may have.
    Timeout,
}

/// What a machine tells its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output<E> {
    /// Send the first `len` octets of the buffer.
    Transmit(Transmit),
    /// Do something with a TCP connection.
    Connection(ConnectionId, ConnectionOutput),
    /// Something the user wants to know.
    Event(E),
    /// Drained: feed [`Input::Timeout`] at this time unless something else comes first; `None`: only wait.
    Timeout(Option<Wake>),
}

/// The next deadline and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Wake {
    /// When to feed [`Input::Timeout`].
    pub at: Instant,
    /// What happens then, for logs and `status`.
    pub why: &'static str,
}

impl Wake {
    /// The earlier of two deadlines.
    // Called from many places: small programs get it once.
    #[inline(never)]
    #[must_use]
    pub fn earliest(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if b.at < a.at { b } else { a }),
            (one, other) => one.or(other),
        }
    }
}

/// An IP family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// One network interface in one IP family: mDNS keeps its state for each (RFC 6762 §14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LinkId {
    /// The interface's index as the operating system numbers it; also the scope of its `fe80::/10` addresses.
    pub interface: u32,
    /// The family.
    pub family: Family,
}

/// An address on an interface with the prefix that is on-link through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The interface's own address.
    pub address: IpAddr,
    /// The length of the on-link prefix: 0 to 32 or 0 to 128 bits.
    pub prefix_len: u8,
}

impl Network {
    /// Whether `ip` lies in this prefix.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let (ours, theirs, width) = match (self.address, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (u128::from(a.to_bits()), u128::from(b.to_bits()), 32_u32)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        let host_bits = width.saturating_sub(u32::from(self.prefix_len));
        (ours ^ theirs).checked_shr(host_bits).unwrap_or(0) == 0
    }
}

/// A link that can be used, as the driver sees it.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// Which.
    pub id: LinkId,
    /// The largest IP packet in octets, headers included: 576 (1,280 for IPv6) and up.
    pub mtu: u16,
    /// Every address of the *interface*, of both families; those past [`crate::limits::NETWORKS_PER_LINK`] are not used.
    pub networks: &'a [Network],
}

/// The local UDP port of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Port {
    /// 5353, shared with other responders of this host.
    Mdns,
    /// An ephemeral port of our own, for one-shot queries (RFC 6762 §5.1).
    Ephemeral,
}

/// One received UDP datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// The link it came in by.
    pub link: LinkId,
    /// The local port it came to.
    pub port: Port,
    /// The sender.
    pub remote: SocketAddr,
    /// The address it was sent to: a group or one of ours.
    pub destination: IpAddr,
    /// The payload: at most [`crate::limits::DATAGRAM_MAX`] octets are looked at.
    pub payload: &'a [u8],
}

/// One UDP datagram to send, with IP TTL and hop limit 255 (RFC 6762 §11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The link to leave by.
    pub link: LinkId,
    /// The local port to send from.
    pub port: Port,
    /// Where to; the scope of a link-local address is `link.interface`.
    pub destination: SocketAddr,
    /// How many octets of the buffer.
    pub len: usize,
}

/// Names a TCP connection; never used again in the life of a machine. Each side numbers those that it begins.
// Zero is no kind, so that it is what a vacant place for a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u32)]
pub enum ConnectionId {
    /// The machine asked for it by [`ConnectionOutput::Connect`].
    Dialed(u32) = 1,
    /// The driver accepted it: [`ConnectionInput::Accepted`].
    Accepted(u32) = 2,
}

/// What a driver tells of a connection.
#[derive(Clone, Copy, Debug)]
pub enum ConnectionInput<'a> {
    /// A connection that was asked for is there; [`Self::Writable`] follows.
    Connected,
    /// Somebody connected to us; [`Self::Writable`] follows.
    Accepted {
        /// Who, with the scope of a link-local address.
        remote: SocketAddr,
    },
    /// Octets arrived, in order. All are taken, however many.
    Received(&'a [u8]),
    /// The driver takes up to this many octets more; replaces what it said before. Told whenever there is room again.
    Writable {
        /// Octets, 1 and up.
        room: usize,
    },
    /// The connection is over, or could not be made. Nothing more is said of it by either side.
    Closed(CloseReason),
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CloseReason {
    /// Nobody listens there.
    Refused,
    /// No way leads there.
    Unreachable,
    /// No answer.
    TimedOut,
    /// The other side broke it off.
    Reset,
    /// The other side ended it.
    Ended,
}

impl core::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::Refused => "connection refused",
            Self::Unreachable => "no route to it",
            Self::TimedOut => "no answer",
            Self::Reset => "connection reset",
            Self::Ended => "connection closed by the other side",
        })
    }
}

/// What a machine wants done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionOutput {
    /// Connect to this address. [`ConnectionInput::Connected`] or [`ConnectionInput::Closed`] answers.
    Connect {
        /// Where to, with the scope of a link-local address.
        remote: SocketAddr,
    },
    /// Send the first `len` octets of the buffer; never more than there is room for.
    Send {
        /// How many.
        len: usize,
    },
    /// Send what was given, then close. Nothing more is said of it by either side.
    Close,
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn a_network_contains_what_shares_its_prefix() {
        let check = |address: &str, prefix_len, ip: &str| {
            Network { address: address.parse().unwrap(), prefix_len }.contains(ip.parse().unwrap())
        };
        assert!(check("192.168.1.7", 24, "192.168.1.255"));
        assert!(!check("192.168.1.7", 24, "192.168.2.7"));
        assert!(check("192.168.1.7", 32, "192.168.1.7"));
        assert!(!check("192.168.1.7", 32, "192.168.1.6"));
        assert!(check("10.0.0.1", 0, "203.0.113.9"));
        assert!(check("fe80::1", 64, "fe80::ffff"));
        assert!(!check("fe80::1", 64, "fe80:0:0:1::1"));
        assert!(check("::", 0, "2001:db8::1"));
        assert!(!check("0.0.0.0", 0, "::"));
    }

    #[test]
    fn the_earliest_wake_wins() {
        let wake = |ms| Some(Wake { at: Instant::ZERO + Duration::from_millis(ms), why: "test" });
        assert_eq!(Wake::earliest(wake(2), wake(1)), wake(1));
        assert_eq!(Wake::earliest(None, wake(1)), wake(1));
        assert_eq!(Wake::earliest(None, None), None);
    }
}
