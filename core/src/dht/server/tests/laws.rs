//! The laws of [`crate::machine`], for a node under random connections, octets, commands and times.

use super::net::{Heap, Net, key, signed};
use super::*;
use crate::limits::TRANSMIT_MAX;
use crate::machine::CloseReason;
use crate::rng::Rng;
use crate::time::Instant;
use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeSet;
use std::vec::Vec;

/// Outputs after one input: a connection and a dial of every slot, and what they send.
const OUTPUTS_MAX: usize = 4096;

struct World {
    server: Server<Heap>,
    now: Instant,
    rng: Rng,
    open: Vec<ConnectionId>,
    accepted: u32,
    /// Everything that came out.
    log: Vec<(ConnectionId, ConnectionOutput, Vec<u8>)>,
}

impl World {
    fn new(seed: u8) -> Self {
        let now = Instant::ZERO + seconds(1);
        let rng = Seed([seed; 32]).stream("laws");
        let server = Net::make(now, 0);
        Self { server, now, rng, open: Vec::new(), accepted: 0, log: Vec::new() }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.rng.u64().checked_rem(end).unwrap_or(0)
    }

    fn ip(&mut self) -> IpAddr {
        let last = u8::try_from(self.below(20)).unwrap();
        IpAddr::from([10, 0, 0, last])
    }

    fn drain(&mut self) {
        let mut buffer = [0xa5; TRANSMIT_MAX];
        for _ in 0..OUTPUTS_MAX {
            if let Some((id, output)) = self.server.poll_output(&mut buffer) {
                let len = match output {
                    ConnectionOutput::Connect { .. } => {
                        self.open.push(id);
                        0
                    }
                    ConnectionOutput::Close => {
                        self.open.retain(|open| *open != id);
                        0
                    }
                    ConnectionOutput::Send { len } => len,
                };
                self.log.push((id, output, buffer[..len].to_vec()));
            } else if self.server.poll_event().is_none() {
                let wake = self.server.next_wake();
                assert!(wake.is_none_or(|wake| wake.at > self.now), "progresses: {wake:?}");
                assert_eq!(self.server.next_wake(), wake, "idempotent");
                let status = self.server.status();
                assert!(status.peers <= 64 && status.records <= 64 && status.connections <= 16);
                return;
            }
        }
        panic!("does not drain");
    }

    fn connection(&mut self) {
        let count = u64::try_from(self.open.len()).unwrap();
        let (Some(at), now) = (count.checked_sub(1).map(|_| self.below(count)), self.now) else {
            return;
        };
        let id = self.open[usize::try_from(at).unwrap()];
        let octets: Vec<u8> = (0..self.below(300)).map(|_| self.rng.u64() as u8).collect();
        let hello = b"\x13/multistream/1.0.0\n\x07/noise\n";
        let room = usize::try_from(self.below(2000)).unwrap();
        let input = match self.below(6) {
            0 => ConnectionInput::Connected,
            1 => ConnectionInput::Received(hello),
            2 => ConnectionInput::Received(&octets),
            3 | 4 => ConnectionInput::Writable { room },
            _ => {
                self.open.retain(|open| *open != id);
                ConnectionInput::Closed(CloseReason::Reset)
            }
        };
        self.server.handle_connection(now, id, input);
    }

    fn step(&mut self) {
        let (now, ip) = (self.now, self.ip());
        match self.below(12) {
            0 => {
                let address = SocketAddr::new(ip, 4001);
                let bootstrap = Bootstrap::new(&std::format!("{address}"), [address], None);
                // There may be enough.
                let _ = self.server.add_bootstrap(now, bootstrap);
            }
            1 => self.server.set_addresses(now, &[ip]),
            2 => {
                let seq = self.below(1000).saturating_add(1);
                self.server.publish(now, 0, &key("stable"), &signed(0, "stable", seq, 60));
            }
            3 => self.server.withdraw(now, 0),
            4 => {
                self.accepted = self.accepted.wrapping_add(1);
                let id = ConnectionId::Accepted(self.accepted);
                let remote = SocketAddr::new(ip, 50_000);
                self.open.push(id);
                self.server.handle_connection(now, id, ConnectionInput::Accepted { remote });
            }
            5 => {
                let wake = self.server.next_wake().map_or(now, |wake| wake.at);
                self.now = wake.max(now).min(now + seconds(3600));
                self.server.handle_timeout(self.now);
            }
            6 => {
                let pause = Duration::from_millis(self.below(5000));
                self.now += pause;
                self.server.handle_timeout(self.now);
            }
            _ => self.connection(),
        }
        self.drain();
    }
}

#[test]
fn a_node_drains_progresses_is_bounded_and_survives() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        (0..400).for_each(|_| world.step());
        let wakes = world.server.next_wake();
        world.server.handle_timeout(world.now);
        world.drain();
        assert_eq!(world.server.next_wake(), wakes, "spurious time changes nothing");
    }
}

#[test]
fn a_node_is_deterministic() {
    let log = |seed| {
        let mut world = World::new(seed);
        (0..300).for_each(|_| world.step());
        world.log
    };
    assert_eq!(log(7), log(7));
    assert_ne!(log(7), log(8));
}

#[test]
fn a_stopped_node_closes_what_is_open_and_does_nothing_more() {
    let mut world = World::new(3);
    (0..200).for_each(|_| world.step());
    let before: BTreeSet<_> = world.open.iter().copied().collect();
    world.server.stop();
    world.drain();
    assert!(world.open.len() <= before.len());
    assert_eq!(world.server.next_wake(), None);
    let sent = world.log.len();
    for _ in 0..50 {
        world.now += seconds(60);
        world.server.handle_timeout(world.now);
        world.drain();
    }
    assert_eq!(world.log.len(), sent);
}
