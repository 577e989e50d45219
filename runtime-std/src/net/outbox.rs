//! Datagrams that wait to be sent together.

use std::net::{IpAddr, SocketAddr};

use nix::errno::Errno;
use phase_core::limits::TRANSMIT_MAX;
use phase_core::machine::TransmitBuffer;

use super::batch::Sender;
use super::socket::{BATCH, Socket};

/// One datagram that waits; its octets are in the buffer of the same number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queued {
    /// The number of the socket it leaves by.
    pub(crate) socket: usize,
    /// The interface it leaves by.
    pub(crate) interface: u32,
    /// The address it leaves from; none: the system chooses.
    pub(crate) source: Option<IpAddr>,
    /// Where to.
    pub(crate) destination: SocketAddr,
    /// Octets.
    pub(crate) len: usize,
}

impl Queued {
    /// Whether one system call can send both.
    fn leaves_with(&self, other: &Self) -> bool {
        (self.socket, self.interface, self.source) == (other.socket, other.interface, other.source)
    }
}

/// At most [`BATCH`] datagrams in the order they were made.
#[derive(Debug)]
pub(crate) struct Outbox {
    octets: Box<[TransmitBuffer]>,
    queue: Vec<Queued>,
    sender: Sender,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self {
            // One more than can wait, so that there always is a buffer to poll a machine with.
            octets: vec![[0; TRANSMIT_MAX]; BATCH + 1].into(),
            queue: Vec::with_capacity(BATCH),
            sender: Sender::default(),
        }
    }

    /// The buffer of the datagram that is pushed next.
    pub(crate) fn buffer(&mut self) -> Option<&mut TransmitBuffer> {
        self.octets.get_mut(self.queue.len())
    }

    pub(crate) fn push(&mut self, queued: Queued) {
        self.queue.push(queued);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() >= BATCH
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Sends all; `failed` is told every datagram that was not sent and why.
    pub(crate) fn flush(&mut self, sockets: &[Socket], failed: &mut dyn FnMut(&Queued, Errno)) {
        let mut at = 0;
        while let Some(first) = self.queue.get(at) {
            let rest = self.queue.get(at..).unwrap_or_default();
            let len = rest.iter().take_while(|queued| queued.leaves_with(first)).count();
            let run = rest.get(..len).unwrap_or_default();
            let octets = self.octets.get(at..).unwrap_or_default();
            let result = sockets
                .get(first.socket)
                .map_or(Err(Errno::EBADF), |socket| self.sender.send(socket.fd(), run, octets));
            match result {
                Ok(sent) => at += sent.max(1),
                Err(Errno::EINTR) => {}
                Err(error) => {
                    failed(first, error);
                    at += 1;
                }
            }
        }
        self.queue.clear();
    }
}
