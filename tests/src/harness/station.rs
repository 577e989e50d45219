//! The machines of a simulated host, and what they told.

use std::any::Any;
use std::fmt::Debug;

use phase_core::client::{self, Client};
use phase_core::machine::{
    ConnectionId, ConnectionOutput, Input, Machine, Output, Transmit, TransmitBuffer, Wake,
};
use phase_core::provider::{self, Provider};
use phase_core::time::{Instant, UnixTime};

use super::EPOCH;

/// More outputs than any input may cause; a machine that gives more does not drain.
const OUTPUTS_MAX: usize = 4096;

/// Images that a simulated provider can hold.
pub(super) const IMAGES: usize = 8;

/// What a client said of a candidate, when it said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// The event.
    pub event: client::Event,
    /// The candidate's peer id, where its text has one.
    pub peer: Option<String>,
    /// The sequence number of its advert.
    pub seq: Option<u64>,
    /// The stable code of its refusal; `None` when it is accepted.
    pub refusal: Option<&'static str>,
}

/// A datagram that came to a bystander.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// When.
    pub at: Instant,
    /// The payload.
    pub octets: Vec<u8>,
}

/// What a machine sent, or wants done with a connection.
pub(super) enum Put {
    Datagram(Transmit),
    Connection(ConnectionId, ConnectionOutput),
}

/// Any machine with its user: what acts upon the events keeps or answers them in [`Node::poll_output`].
pub trait Node: Any + Debug {
    /// As [`Machine::handle_input`].
    fn handle_input(&mut self, now: Instant, input: Input<'_>);

    /// As [`Machine::poll_output`]; an event has been dealt with when it is returned.
    fn poll_output(&mut self, now: Instant, buf: &mut TransmitBuffer) -> Output<()>;
}

/// A machine whose events are kept.
#[derive(Debug)]
pub struct Recorded<M: Machine> {
    /// The machine.
    pub machine: M,
    /// What it told, and when.
    pub events: Vec<(Instant, M::Event)>,
}

impl<M: Machine> Recorded<M> {
    /// Nothing told yet.
    pub const fn new(machine: M) -> Self {
        Self { machine, events: Vec::new() }
    }
}

impl<M: Machine<Event: Debug> + Debug + 'static> Node for Recorded<M> {
    fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        self.machine.handle_input(now, input);
    }

    fn poll_output(&mut self, now: Instant, buf: &mut TransmitBuffer) -> Output<()> {
        let output = self.machine.poll_output(buf);
        told(output, |event| self.events.push((now, event)))
    }
}

/// The machine of a host.
#[derive(Debug)]
pub enum Station {
    /// Any machine.
    Node(Box<dyn Node>),
    /// A provider.
    Provider {
        /// The machine.
        machine: Box<Provider<IMAGES>>,
        /// What it told.
        events: Vec<(Instant, provider::Event)>,
        /// The next sequence number.
        next_seq: u64,
    },
    /// A client.
    Client {
        /// The machine.
        machine: Box<Client>,
        /// What it told.
        seen: Vec<Seen>,
    },
    /// Neither: it hears everything and sends what a test makes it send.
    Bystander(Vec<Arrival>),
}

impl Station {
    /// A provider without images.
    #[must_use]
    pub fn provider(now: Instant, config: provider::Config) -> Self {
        let machine = Box::new(Provider::new(now, config));
        Self::Provider { machine, events: Vec::new(), next_seq: EPOCH.0 }
    }

    /// A client.
    #[must_use]
    pub fn client(now: Instant, config: client::Config) -> Self {
        Self::Client { machine: Box::new(Client::new(now, config)), seen: Vec::new() }
    }

    pub(super) fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        match self {
            Self::Node(node) => node.handle_input(now, input),
            Self::Provider { machine, .. } => machine.handle_input(now, input),
            Self::Client { machine, .. } => machine.handle_input(now, input),
            Self::Bystander(heard) => {
                if let Input::Datagram(datagram) = input {
                    heard.push(Arrival { at: now, octets: datagram.payload.to_vec() });
                }
            }
        }
    }

    /// Takes all outputs; gives what is to be sent to `put` and returns the next deadline.
    pub(super) fn drain(
        &mut self,
        now: Instant,
        buffer: &mut TransmitBuffer,
        mut put: impl FnMut(Put, &[u8]),
    ) -> Option<Wake> {
        for _ in 0..OUTPUTS_MAX {
            match self.poll_output(now, buffer) {
                Output::Transmit(transmit) => {
                    put(Put::Datagram(transmit), &buffer[..transmit.len]);
                }
                Output::Connection(id, output) => put(Put::Connection(id, output), &buffer[..]),
                Output::Event(()) => {}
                Output::Timeout(wake) => return wake,
            }
        }
        panic!("a machine does not drain: more than {OUTPUTS_MAX} outputs after one input");
    }

    fn poll_output(&mut self, now: Instant, buffer: &mut TransmitBuffer) -> Output<()> {
        match self {
            Self::Node(node) => node.poll_output(now, buffer),
            Self::Provider { machine, events, next_seq } => {
                let output = machine.poll_output(buffer);
                told(output, |event| {
                    if matches!(event, provider::Event::SignatureDue { .. }) {
                        *next_seq = machine.sign(now, wall_clock(now), *next_seq);
                    }
                    events.push((now, event));
                })
            }
            Self::Client { machine, seen } => {
                let output = machine.poll_output(buffer);
                told(output, |event| seen.push(look(machine, now, event)))
            }
            Self::Bystander(_) => Output::Timeout(None),
        }
    }
}

/// Tells the user of an event.
fn told<E>(output: Output<E>, tell: impl FnOnce(E)) -> Output<()> {
    match output {
        Output::Transmit(transmit) => Output::Transmit(transmit),
        Output::Connection(id, output) => Output::Connection(id, output),
        Output::Event(event) => {
            tell(event);
            Output::Event(())
        }
        Output::Timeout(wake) => Output::Timeout(wake),
    }
}

/// What the wall clock says at `now`.
fn wall_clock(now: Instant) -> UnixTime {
    EPOCH.plus(now.as_micros() / 1_000_000)
}

fn look(machine: &Client, now: Instant, event: client::Event) -> Seen {
    let candidate = event.candidate().and_then(|id| machine.candidate(id));
    Seen {
        at: now,
        event,
        peer: candidate.and_then(|c| Some(c.peer()?.to_string())),
        seq: candidate.and_then(|c| Some(c.advert()?.seq)),
        refusal: candidate.and_then(|c| c.verdict().err().map(|r| r.code())),
    }
}
