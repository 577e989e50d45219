//! The TCP connections of a machine. Not here: what is said on them, whom to dial, and for how long to wait for anything
//! but the last octets of a connection that was closed.

use std::fmt;
use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use phase_core::machine::{
    CloseReason, ConnectionId, ConnectionInput, ConnectionOutput, Input, Machine, TransmitBuffer,
};

use crate::clock;
use crate::executor;
use crate::network::{ConnectError, Network, SEND, Stream};

/// Octets that are fed at once, so that a fast peer keeps nobody else waiting for long.
const RECEIVED_MAX: usize = 9 * 1024;

/// How long the last octets of a closed connection may take, in microseconds.
const CLOSING_MAX: u64 = 3_000_000;

enum State {
    Connecting,
    Open {
        /// What the machine thinks can be sent.
        room_told: usize,
    },
    /// The machine is done with it: what is left is sent, at the latest until then.
    Closing {
        until: u64,
    },
}

struct Slot {
    id: ConnectionId,
    /// What the network gave.
    stream: Result<Stream, ConnectError>,
    state: State,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("id", &self.id).finish_non_exhaustive()
    }
}

/// All connections of one machine.
#[derive(Debug)]
pub(super) struct Connections {
    network: Network,
    slots: Vec<Slot>,
}

/// What came of looking at a connection.
enum Look {
    /// Nothing; it waits.
    Nothing,
    /// The machine was fed.
    Fed,
    /// The machine was told the end, or wants to hear of none.
    Over(Option<CloseReason>),
}

impl Connections {
    pub(super) const fn new(network: Network) -> Self {
        Self { network, slots: Vec::new() }
    }

    /// Does what the machine says; `buffer` holds the octets of [`ConnectionOutput::Send`].
    pub(super) fn obey(
        &mut self,
        id: ConnectionId,
        what: ConnectionOutput,
        buffer: &TransmitBuffer,
    ) {
        match what {
            ConnectionOutput::Connect { remote } => {
                let stream = self.network.connect(remote);
                self.slots.push(Slot { id, stream, state: State::Connecting });
            }
            ConnectionOutput::Send { len } => {
                let Some(Slot { stream: Ok(stream), state: State::Open { room_told }, .. }) =
                    self.slots.iter_mut().find(|slot| slot.id == id)
                else {
                    return;
                };
                *room_told = room_told.saturating_sub(len);
                give(stream, buffer.get(..len).unwrap_or_default());
            }
            ConnectionOutput::Close => self.close(id),
        }
    }

    fn close(&mut self, id: ConnectionId) {
        let Some(at) = self.slots.iter().position(|slot| slot.id == id) else { return };
        match self.slots.get_mut(at) {
            Some(Slot { stream: Ok(stream), state: state @ State::Open { .. }, .. }) => {
                stream.socket_mut().close();
                let until = clock::monotonic_micros().saturating_add(CLOSING_MAX);
                *state = State::Closing { until };
            }
            Some(_) | None => drop(self.slots.swap_remove(at)),
        }
    }

    /// Feeds one piece of news; ready when there was one.
    pub(super) fn poll<M: Machine>(&mut self, machine: &mut M, cx: &mut Context<'_>) -> Poll<()> {
        let mut at = 0;
        while let Some(slot) = self.slots.get_mut(at) {
            let id = slot.id;
            match slot.look(machine, cx) {
                Look::Nothing => at += 1,
                Look::Fed => {
                    // Others first the next time.
                    self.slots.rotate_left(at + 1);
                    return Poll::Ready(());
                }
                Look::Over(reason) => {
                    drop(self.slots.remove(at));
                    if let Some(reason) = reason {
                        let closed = ConnectionInput::Closed(reason);
                        machine.handle_input(clock::now(), Input::Connection(id, closed));
                        return Poll::Ready(());
                    }
                }
            }
        }
        Poll::Pending
    }
}

impl Slot {
    fn look<M: Machine>(&mut self, machine: &mut M, cx: &mut Context<'_>) -> Look {
        let id = self.id;
        let mut feed = |input: ConnectionInput<'_>| {
            machine.handle_input(clock::now(), Input::Connection(id, input));
            Look::Fed
        };
        let stream = match &mut self.stream {
            Ok(stream) => stream,
            Err(error) => return Look::Over(Some(reason(*error))),
        };
        match &mut self.state {
            State::Connecting => match stream.poll_connected(cx) {
                Poll::Pending => Look::Nothing,
                Poll::Ready(Ok(())) => {
                    self.state = State::Open { room_told: 0 };
                    feed(ConnectionInput::Connected)
                }
                Poll::Ready(Err(error)) => Look::Over(Some(reason(error))),
            },
            State::Open { room_told } => {
                let room = SEND.saturating_sub(stream.socket_mut().send_queue());
                // It knows of enough room to go on with otherwise.
                if *room_told < SEND / 2 && room > *room_told {
                    *room_told = room;
                    return feed(ConnectionInput::Writable { room });
                }
                if *room_told < SEND / 2 {
                    // Wakes when the other side has taken something. That it is over is seen below.
                    let _ = pin!(stream.socket_mut().flush()).poll(cx);
                }
                let mut take = |octets: &[u8]| {
                    let octets = octets.get(..RECEIVED_MAX).unwrap_or(octets);
                    feed(ConnectionInput::Received(octets));
                    octets.len()
                };
                match stream.poll_read(cx, &mut take) {
                    Poll::Pending => Look::Nothing,
                    Poll::Ready(Ok(true)) => Look::Fed,
                    Poll::Ready(Ok(false)) => Look::Over(Some(CloseReason::Ended)),
                    Poll::Ready(Err(_)) => Look::Over(Some(CloseReason::Reset)),
                }
            }
            State::Closing { until } => {
                let is_sent = pin!(stream.socket_mut().flush()).poll(cx).is_ready();
                if is_sent || *until <= clock::monotonic_micros() {
                    return Look::Over(None);
                }
                executor::wake_at(*until, cx.waker());
                Look::Nothing
            }
        }
    }
}

/// Puts octets into the send buffer, which has room for what the machine was told.
fn give(stream: &mut Stream, mut octets: &[u8]) {
    let mut nobody = Context::from_waker(Waker::noop());
    // The buffer is a ring: what goes around its end takes two turns. That it is over is seen when it is read.
    while !octets.is_empty()
        && let Poll::Ready(Ok(count)) = pin!(stream.socket_mut().write(octets)).poll(&mut nobody)
    {
        octets = octets.get(count..).unwrap_or_default();
    }
}

const fn reason(error: ConnectError) -> CloseReason {
    match error {
        ConnectError::NoRoute | ConnectError::TooMany => CloseReason::Unreachable,
        ConnectError::Refused => CloseReason::Refused,
        ConnectError::TimedOut => CloseReason::TimedOut,
    }
}
