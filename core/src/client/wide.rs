//! The client's part of the DHT: when it searches, and who judges what it finds.

use core::time::Duration;

use heapless::Vec;

use super::candidate::{Candidate, Source};
use super::jury::Jury;
use super::{Carriers, Client, HEAD_START, TransmitBuffer};
use crate::dht::finder::{Judge, Wide};
use crate::dht::swarm::Remote;
use crate::identity::PeerId;
use crate::limits::NETWORKS;
use crate::machine::{ConnectionId, ConnectionInput, ConnectionOutput, Network, Wake};
use crate::mdns::querier::Querier;
use crate::select::TrustClass;
use crate::time::{Deadline, Instant};
use crate::wire::record::TTL_DEFAULT;

/// A client that watches asks the DHT again after half the lifetime of what it found, and not more often than this.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// When to search.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) carriers: Carriers,
    /// When the first search begins.
    first_at: Deadline,
    /// The DHT is being asked, or waits to be asked again.
    active: bool,
    /// A search ended before.
    tried: bool,
    ended: bool,
}

impl Course {
    pub(super) fn new(now: Instant, carriers: Carriers) -> Self {
        let first_at = match carriers {
            Carriers::Auto => Deadline::new(now + HEAD_START),
            Carriers::Lan => Deadline::NONE,
            Carriers::Wan | Carriers::All => Deadline::new(now),
        };
        Self { carriers, first_at, active: false, tried: false, ended: false }
    }

    /// Whether a search has ended since this was asked last.
    pub(super) const fn take_ended(&mut self) -> bool {
        core::mem::replace(&mut self.ended, false)
    }
}

impl<F: Wide> Client<F> {
    pub(super) fn handle_connection(
        &mut self,
        now: Instant,
        id: ConnectionId,
        input: ConnectionInput<'_>,
    ) {
        let Self { dht, jury, querier, .. } = self;
        dht.handle_connection(now, id, input, &mut Bench { jury, querier });
    }

    pub(super) fn poll_dht(
        &mut self,
        buf: &mut TransmitBuffer,
    ) -> Option<(ConnectionId, ConnectionOutput)> {
        let Self { dht, jury, querier, .. } = self;
        dht.poll_output(buf, &mut Bench { jury, querier })
    }

    pub(super) fn handle_dht_timeout(&mut self, now: Instant) {
        if !F::IS_THERE {
            return;
        }
        self.steer(now);
        let Self { dht, jury, querier, .. } = self;
        dht.handle_timeout(now, &mut Bench { jury, querier });
        if let Some(found) = dht.take_ended() {
            self.course.ended = true;
            self.course.tried = true;
            if found {
                self.ask_again(now);
            }
        }
    }

    pub(super) fn dht_wake(&self) -> Option<Wake> {
        let first = self.course.first_at.get().filter(|_| F::IS_THERE);
        let first = first.map(|at| Wake { at, why: "to search the dht" });
        Wake::earliest(first, self.dht.next_wake())
    }

    /// The addresses of an interface changed: what was on no link may be by now, and a network that was away is back.
    pub(super) fn handle_all_networks(&mut self, now: Instant) {
        if !F::IS_THERE {
            return;
        }
        self.jury.handle_all_networks(now, &networks(&self.querier));
        if self.course.active && self.course.tried && !self.jury.is_satisfied() {
            self.dht.begin(now, self.course.carriers == Carriers::All);
        }
    }

    /// Begins the first search when it is time, and ends all once the LAN has what is wanted.
    fn steer(&mut self, now: Instant) {
        let is_lan = |c: &Candidate| c.is_accepted() && matches!(c.source(), Source::Lan(_));
        let is_auto = self.course.carriers == Carriers::Auto;
        if is_auto && self.jury.candidates.iter().any(is_lan) {
            if self.course.active {
                self.dht.stop();
            }
            self.course.active = false;
            self.course.first_at = Deadline::NONE;
        } else if self.course.first_at.is_due(now) {
            self.course.first_at = Deadline::NONE;
            self.course.active = true;
            self.dht.begin(now, self.course.carriers == Carriers::All);
        } else if is_auto && !self.course.active && self.course.first_at == Deadline::NONE {
            // What the LAN had is gone.
            self.course.first_at = Deadline::new(now + HEAD_START);
        }
    }

    /// After a search: a client that watches and found something searches again before that is too old.
    fn ask_again(&mut self, now: Instant) {
        if !self.jury.law.watching {
            return;
        }
        let of_dht = |c: &&Candidate| c.is_accepted() && matches!(c.source(), Source::Dht { .. });
        let found = self.jury.candidates.iter().filter(of_dht);
        let ttl = found.map(|c| c.advert().map_or(TTL_DEFAULT, |advert| advert.ttl)).min();
        if let Some(ttl) = ttl {
            let half = Duration::from_secs(u64::from(ttl) / 2);
            self.dht.begin(now + half.max(ASK_AGAIN), self.course.carriers == Carriers::All);
        }
    }
}

/// The addresses of all interfaces.
fn networks(querier: &Querier) -> Vec<Network, NETWORKS, u8> {
    let mut all = Vec::new();
    for network in querier.all_networks() {
        // Those past the limit are of no link that anybody would name.
        let _ = all.push(*network);
    }
    all
}

/// Judges records as the jury does, with what is on the links.
struct Bench<'a> {
    jury: &'a mut Jury,
    querier: &'a Querier,
}

impl Judge for Bench<'_> {
    fn record(&mut self, now: Instant, remote: &Remote, value: &[u8]) -> Option<TrustClass> {
        self.jury.record(now, remote, value, &networks(self.querier))
    }

    fn is_pinned(&self, peer: &PeerId) -> bool {
        self.jury.law.pins.contains(peer)
    }

    fn pinned(&self, at: usize) -> Option<PeerId> {
        self.jury.law.pins.iter().nth(at).copied()
    }

    fn takes_anybody(&self) -> bool {
        self.jury.law.takes_anybody()
    }
}
