//! An Ethernet interface as `embassy_net` wants it, on a packet socket.
//!
//! - Receives up to 64 KiB at once: the kernel gives segments of TCP that it has put together.
//! - Verifies the checksums that nobody else has: frames of this very machine have none, and cards have looked at others.
//! - Looks at the carrier by itself while there is none: the kernel's own link state is up to a second late.
//!
//! Not here: which interface, and what it is used for ([`crate::network`]).

mod checksum;
mod frame;
pub mod router;

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};

use embassy_net_driver::{
    Capabilities, Checksum, Driver, HardwareAddress, LinkState, RxToken, TxToken,
};

use self::router::Advertisement;
use crate::clock;
use crate::executor;
use crate::signal::Signal;
use crate::sys::interface::Control;
use crate::sys::packet::PacketSocket;

/// Octets of the longest frame that is received: one that the kernel has put together of segments.
const RECEIVE_MAX: usize = 65_536 + 64;

/// Octets before the packet in a frame.
const HEAD: usize = 14;

/// Frames received before the stack sends and others have their turn.
const BUDGET: u32 = 32;

/// How often the carrier is looked at while there is none, in microseconds: closely at first, when somebody waits for it.
const LOOK: (u64, u64) = (5_000, 250_000);

/// How long "at first" is, in microseconds.
const CLOSELY: u64 = 2_000_000;

/// What the driver of an interface shares with who looks after the interface.
#[derive(Debug, Default)]
pub struct Shared {
    /// The carrier may have changed.
    changed: Cell<bool>,
    runner: RefCell<Option<Waker>>,
    heard: RefCell<Vec<Advertisement>>,
    /// Told when a router was heard.
    pub router: Signal,
}

impl Shared {
    /// Has the carrier looked at.
    pub fn look(&self) {
        self.changed.set(true);
        if let Some(waker) = self.runner.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// The advertisements of routers that came since this was asked last.
    pub fn take_heard(&self) -> Vec<Advertisement> {
        self.heard.take()
    }
}

/// The driver of one interface.
#[derive(Debug)]
pub struct Ethernet {
    socket: &'static PacketSocket,
    control: &'static Control,
    shared: &'static Shared,
    index: u32,
    address: [u8; 6],
    mtu: usize,
    receive: Box<[u8]>,
    transmit: Box<[u8]>,
    budget: u32,
    is_up: bool,
    /// Since when there is no carrier, in microseconds.
    down_since: u64,
}

impl Ethernet {
    /// The driver of the interface numbered `index`, with the Ethernet address `address` and packets of up to `mtu` octets.
    #[must_use]
    pub fn new(
        socket: &'static PacketSocket,
        control: &'static Control,
        shared: &'static Shared,
        (index, address, mtu): (u32, [u8; 6], usize),
    ) -> Self {
        Self {
            socket,
            control,
            shared,
            index,
            address,
            mtu,
            receive: vec![0; RECEIVE_MAX].into(),
            transmit: vec![0; mtu + HEAD].into(),
            budget: BUDGET,
            is_up: false,
            down_since: clock::monotonic_micros(),
        }
    }

    /// The Ethernet groups that a stack needs: mDNS, and for IPv6 all nodes and its own solicited-node group, which is
    /// the same for every address that is made of the Ethernet address.
    #[must_use]
    pub const fn groups([_, _, _, d, e, f]: [u8; 6]) -> [[u8; 6]; 5] {
        [
            [0x01, 0x00, 0x5e, 0x00, 0x00, 0xfb],
            [0x01, 0x00, 0x5e, 0x00, 0x00, 0x01],
            [0x33, 0x33, 0x00, 0x00, 0x00, 0xfb],
            [0x33, 0x33, 0x00, 0x00, 0x00, 0x01],
            [0x33, 0x33, 0xff, d, e, f],
        ]
    }

    /// Receives the next frame that is for the stack; its length.
    fn next_frame(&mut self) -> Option<usize> {
        loop {
            let received = self.socket.receive(&mut self.receive)?;
            // VLAN 0 is only a priority.
            if received.vlan.is_some_and(|vlan| vlan != 0) {
                continue;
            }
            let frame = self.receive.get(..received.len)?;
            if !received.is_checked && !checksum::is_right(frame) {
                continue;
            }
            if let Some(advertisement) = Advertisement::decode(frame) {
                self.shared.heard.borrow_mut().push(advertisement);
                self.shared.router.notify();
            }
            return Some(received.len);
        }
    }

    fn look_at_carrier(&mut self, cx: &Context<'_>) {
        let was_up = std::mem::replace(&mut self.is_up, self.control.has_carrier(self.index));
        if self.is_up && !was_up {
            // What could not be sent waits for it, and so does the stack's next timer.
            cx.waker().wake_by_ref();
        }
        let now = clock::monotonic_micros();
        if was_up && !self.is_up {
            self.down_since = now;
        }
        if !self.is_up {
            let (closely, later) = LOOK;
            let is_new = now.saturating_sub(self.down_since) < CLOSELY;
            executor::wake_at(now + if is_new { closely } else { later }, cx.waker());
        }
    }
}

/// A frame that was received.
#[derive(Debug)]
pub struct Received<'a>(&'a mut [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Room for a frame to send.
#[derive(Debug)]
pub struct Transmit<'a> {
    socket: &'a PacketSocket,
    buffer: &'a mut [u8],
}

impl TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let len = len.min(self.buffer.len());
        let (frame, _) = self.buffer.split_at_mut(len);
        let result = f(frame);
        self.socket.send(frame);
        result
    }
}

impl Driver for Ethernet {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Transmit<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Received<'_>, Transmit<'_>)> {
        if self.budget == 0 {
            self.budget = BUDGET;
            cx.waker().wake_by_ref();
            return None;
        }
        let Some(len) = self.next_frame() else {
            self.budget = BUDGET;
            executor::watch(self.socket.fd(), cx.waker());
            return None;
        };
        self.budget -= 1;
        let (frame, _) = self.receive.split_at_mut(len);
        Some((Received(frame), Transmit { socket: self.socket, buffer: &mut self.transmit }))
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> Option<Transmit<'_>> {
        // Without a carrier nothing is tried, so that nothing counts as tried.
        self.is_up.then_some(Transmit { socket: self.socket, buffer: &mut self.transmit })
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        let mut runner = self.shared.runner.borrow_mut();
        if runner.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *runner = Some(cx.waker().clone());
        }
        drop(runner);
        if self.shared.changed.take() || !self.is_up {
            self.look_at_carrier(cx);
        }
        if self.is_up { LinkState::Up } else { LinkState::Down }
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = self.mtu + HEAD;
        // Those of what is received are verified here, frame by frame.
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities.checksum.udp = Checksum::Tx;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address)
    }
}
