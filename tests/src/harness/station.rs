//! The machines of a simulated host, and what they told.

use phase_core::client::{self, Client};
use phase_core::machine::{Input, Machine, Output, Transmit, TransmitBuffer};
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

/// The machine of a host.
#[derive(Debug)]
pub enum Station {
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
            Self::Provider { machine, .. } => machine.handle_input(now, input),
            Self::Client { machine, .. } => machine.handle_input(now, input),
            Self::Bystander(heard) => {
                if let Input::Datagram(datagram) = input {
                    heard.push(Arrival { at: now, octets: datagram.payload.to_vec() });
                }
            }
        }
    }

    /// Takes all outputs; gives the datagrams to `send` and returns the next deadline.
    pub(super) fn drain(
        &mut self,
        now: Instant,
        mut send: impl FnMut(Transmit, &[u8]),
    ) -> Option<Instant> {
        let mut buffer: Box<TransmitBuffer> = Box::new([0xa5; phase_core::limits::TRANSMIT_MAX]);
        for _ in 0..OUTPUTS_MAX {
            let wake = match self {
                Self::Provider { machine, events, next_seq } => {
                    match machine.poll_output(&mut buffer) {
                        Output::Transmit(transmit) => {
                            send(transmit, &buffer[..transmit.len]);
                            continue;
                        }
                        Output::Connection(..) => {
                            panic!("a machine for the LAN alone connects to nobody")
                        }
                        Output::Event(event) => {
                            if matches!(event, provider::Event::SignatureDue { .. }) {
                                *next_seq = machine.sign(now, wall_clock(now), *next_seq);
                            }
                            events.push((now, event));
                            continue;
                        }
                        Output::Timeout(wake) => wake,
                    }
                }
                Self::Client { machine, seen } => match machine.poll_output(&mut buffer) {
                    Output::Transmit(transmit) => {
                        send(transmit, &buffer[..transmit.len]);
                        continue;
                    }
                    Output::Connection(..) => {
                        panic!("a machine for the LAN alone connects to nobody")
                    }
                    Output::Event(event) => {
                        seen.push(look(machine, now, event));
                        continue;
                    }
                    Output::Timeout(wake) => wake,
                },
                Self::Bystander(_) => None,
            };
            return wake.map(|wake| wake.at);
        }
        panic!("a machine does not drain: more than {OUTPUTS_MAX} outputs after one input");
    }
}

/// What the wall clock says at `now`.
fn wall_clock(now: Instant) -> UnixTime {
    EPOCH.plus(now.as_micros() / 1_000_000)
}

fn look(machine: &Client, now: Instant, event: client::Event) -> Seen {
    let (client::Event::Accepted(id)
    | client::Event::Refused(id)
    | client::Event::Changed(id)
    | client::Event::Lost(id)) = event;
    let candidate = machine.candidate(id);
    Seen {
        at: now,
        event,
        peer: candidate.and_then(|c| Some(c.peer()?.to_string())),
        seq: candidate.and_then(|c| Some(c.advert()?.seq)),
        refusal: candidate.and_then(|c| c.verdict().err().map(|r| r.code())),
    }
}
