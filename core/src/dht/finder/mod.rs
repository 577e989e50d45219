//! The client's search in the DHT: from the bootstrap peers to the records of providers.
//!
//! ```text
//! bootstraps ─► GET_VALUE(base key), GET_PROVIDERS(its multihash)        one flight, right behind the handshake
//!            ─► both along the closest peers, on disjoint paths          every answer is judged
//!            ─► providers that are trusted: GET_VALUE(base key) from themselves
//! nothing?   ─► GET_PROVIDERS(base key), then for each pinned provider GET_VALUE(its sub-key), FIND_NODE(itself)
//! ```
//!
//! A search ends with the first record of a pinned provider, after three peers answered or half a second passed;
//! else when nobody is left to ask, and after ten seconds at the latest. Whoever answers is believed nothing:
//! records are judged by their signatures, and contacts cost at most a dial.
//!
//! The client is nobody's server: it has a new identity in each run, answers no request and enters no table.
//! Spec: libp2p `specs/kad-dht#client-and-server-mode`.

mod bootstrap;
mod ears;
mod peers;
mod report;
mod search;

use core::time::Duration;

use sha2::{Digest as _, Sha256};

pub use self::bootstrap::{Bootstrap, Reach};
use self::ears::Ears;
pub use self::report::{Counts, Nothing, Report};
use self::search::Search;
use super::swarm::{Remote, Settings, Slot, Swarm};
use crate::connection::{Identity, KadProtocol};
use crate::identity::{PeerId, SecretKey};
use crate::limits::{ASSEMBLERS_CLIENT, DIALS_CLIENT, RX_SMALL, TX_CLIENT};
use crate::machine::{ConnectionId, ConnectionInput, ConnectionOutput, Wake};
use crate::rng::Seed;
use crate::select::TrustClass;
use crate::stats::{Stats, count};
use crate::time::{Deadline, Instant};
use crate::wire::record::{AdvertKey, Arch, Channel};

/// How long a connection is kept between two requests.
const IDLE: Duration = Duration::from_secs(10);

/// A search that found nothing is done again after this, then after twice as long, and so on to the last.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// The slots of a client's connections. `RX`: octets of the longest Noise message that is taken; `A`: answers that
/// may be half received at one time.
pub type ClientSlot<const RX: usize, const A: usize = ASSEMBLERS_CLIENT> = Slot<RX, TX_CLIENT, A>;

/// The finder of a device: with three slots of their own in `S` it takes 72 KiB. It reads the longest messages of
/// rust-libp2p; of two answers on one connection that come piece by piece in turn it reads one.
pub type SmallFinder<S> = Finder<S, RX_SMALL, 14, 1>;

/// The slots of a [`SmallFinder`].
pub type SmallSlot = ClientSlot<RX_SMALL, 1>;

/// Who judges the records that a search finds.
pub trait Judge {
    /// Judges a record that `remote` gave; how far it is believed, if it is accepted.
    fn record(&mut self, now: Instant, remote: &Remote, value: &[u8]) -> Option<TrustClass>;

    /// Whether this is the id of a provider that is trusted by name.
    fn is_pinned(&self, peer: &PeerId) -> bool;

    /// The providers that are trusted by name, by number.
    fn pinned(&self, at: usize) -> Option<PeerId>;

    /// Whether records of providers that nobody named may be accepted.
    fn takes_anybody(&self) -> bool;
}

/// The client's part of the DHT; see the module. `S` holds the connections, three of them for a lookup that
/// waits for nobody; `N`: candidates of each lookup, 9 and up; `RX` and `A` are those of [`ClientSlot`].
#[derive(Debug)]
pub struct Finder<S, const RX: usize, const N: usize = 32, const A: usize = ASSEMBLERS_CLIENT> {
    swarm: Swarm<S, RX, TX_CLIENT, A, DIALS_CLIENT>,
    search: Search<N>,
    /// When to begin a search.
    begin_at: Deadline,
    /// The time from a search that found nothing to the next one.
    retry: Duration,
    exhaustive: bool,
    /// A search has ended and that is not told yet.
    ended: bool,
}

impl<S, const RX: usize, const N: usize, const A: usize> Finder<S, RX, N, A>
where
    S: AsRef<[ClientSlot<RX, A>]> + AsMut<[ClientSlot<RX, A>]>,
{
    /// A finder of what is under the base key of `channel` and `arch`. `seed`: entropy for the identity and the
    /// keys of the handshakes; may be the client's.
    #[must_use]
    pub fn new(now: Instant, seed: &Seed, slots: S, channel: Channel, arch: Arch) -> Self {
        let mut hash = Sha256::new_with_prefix(seed.0);
        hash.update("client identity in the dht");
        let key = SecretKey::from_seed(&hash.finalize().into());
        // Every node serves this one; to ask for the other in advance would be one stream more with each first peer.
        let prefer = Some(KadProtocol::Ipfs);
        let settings = Settings { inbound: 0, idle: IDLE, prefer };
        let identity = Identity::new(&key, seed);
        let own = identity.peer_id();
        Self {
            swarm: Swarm::new(now, slots, identity, *seed, settings),
            search: Search::new(own, AdvertKey::base(channel, arch)),
            begin_at: Deadline::NONE,
            retry: RETRY.0,
            exhaustive: false,
            ended: false,
        }
    }

    /// Adds a peer to begin with: the search under way turns to it too, and one that waits for its time begins. Feed
    /// [`crate::machine::Input::Timeout`] after that.
    ///
    /// # Errors
    /// [`Full`] when there are [`crate::limits::BOOTSTRAPS`] already.
    pub fn add_bootstrap(&mut self, now: Instant, bootstrap: Bootstrap) -> Result<(), Full> {
        if self.search.bootstraps.iter().any(|known| known.is_same(&bootstrap)) {
            return Ok(());
        }
        let known = self.search.bootstraps.iter_mut().find(|known| known.is_named_like(&bootstrap));
        match known {
            Some(known) => *known = bootstrap,
            None => self.search.bootstraps.push(bootstrap).map_err(|_| Full)?,
        }
        self.search.hurry(now);
        if self.begin_at != Deadline::NONE {
            self.begin_at = self.begin_at.min(Deadline::new(now));
        }
        Ok(())
    }

    /// What the search under way did, or the last one.
    #[must_use]
    pub fn report(&self) -> Report<'_> {
        self.search.report()
    }
}

/// There are as many bootstraps as there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl core::fmt::Display for Full {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "more than {} bootstrap peers", crate::limits::BOOTSTRAPS)
    }
}

impl core::error::Error for Full {}

/// What a client needs of the wide-area network: [`Finder`] has it, and `()` for those who have none.
pub trait Wide: sealed::Sealed {
    /// Whether there is one.
    const IS_THERE: bool;

    /// Begins to search at `at`, unless a search is under way.
    fn begin(&mut self, at: Instant, exhaustive: bool);

    /// Ends the search under way, and begins no other.
    fn stop(&mut self);

    /// Whether a search is under way.
    fn is_searching(&self) -> bool;

    /// Something happened to a connection.
    fn handle_connection<J: Judge>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        input: ConnectionInput<'_>,
        judge: &mut J,
    );

    /// Runs every timer that is due.
    fn handle_timeout<J: Judge>(&mut self, now: Instant, judge: &mut J);

    /// When to run [`Wide::handle_timeout`].
    fn next_wake(&self) -> Option<Wake>;

    /// What to do next with a connection.
    fn poll_output<J: Judge>(
        &mut self,
        buf: &mut [u8],
        judge: &mut J,
    ) -> Option<(ConnectionId, ConnectionOutput)>;

    /// Whether a search has ended since this was asked last, and if so whether it found anything.
    fn take_ended(&mut self) -> Option<bool>;

    /// Adds the counters.
    fn add_stats(&self, stats: &mut Stats);
}

mod sealed {
    #[expect(unnameable_types, reason = "that nobody else can implement it is what it is for")]
    pub trait Sealed {}
    impl Sealed for () {}
    impl<S, const RX: usize, const N: usize, const A: usize> Sealed for super::Finder<S, RX, N, A> {}
}

impl Wide for () {
    const IS_THERE: bool = false;
    fn begin(&mut self, _: Instant, _: bool) {}
    fn stop(&mut self) {}
    fn is_searching(&self) -> bool {
        false
    }
    fn handle_connection<J: Judge>(
        &mut self,
        _: Instant,
        _: ConnectionId,
        _: ConnectionInput<'_>,
        _: &mut J,
    ) {
    }
    fn handle_timeout<J: Judge>(&mut self, _: Instant, _: &mut J) {}
    fn next_wake(&self) -> Option<Wake> {
        None
    }
    fn poll_output<J: Judge>(
        &mut self,
        _: &mut [u8],
        _: &mut J,
    ) -> Option<(ConnectionId, ConnectionOutput)> {
        None
    }
    fn take_ended(&mut self) -> Option<bool> {
        None
    }
    fn add_stats(&self, _: &mut Stats) {}
}

impl<S, const RX: usize, const N: usize, const A: usize> Wide for Finder<S, RX, N, A>
where
    S: AsRef<[ClientSlot<RX, A>]> + AsMut<[ClientSlot<RX, A>]>,
{
    const IS_THERE: bool = true;

    fn begin(&mut self, at: Instant, exhaustive: bool) {
        self.exhaustive = exhaustive;
        if self.search.is_over() {
            self.begin_at = Deadline::new(at);
        }
    }

    fn stop(&mut self) {
        self.begin_at = Deadline::NONE;
        self.search.end();
        self.swarm.stop();
    }

    fn is_searching(&self) -> bool {
        !self.search.is_over()
    }

    fn handle_connection<J: Judge>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        input: ConnectionInput<'_>,
        judge: &mut J,
    ) {
        let mut ears = Ears { search: &mut self.search, judge };
        self.swarm.handle_connection(now, id, input, &mut ears);
    }

    fn handle_timeout<J: Judge>(&mut self, now: Instant, judge: &mut J) {
        // Without anybody to begin with, a search waits for the first bootstrap.
        if self.begin_at.is_due(now) && !self.search.bootstraps.is_empty() {
            self.begin_at = Deadline::NONE;
            count!(self.swarm.stats_mut(), searches);
            self.search.begin(now, self.exhaustive);
        }
        self.swarm.handle_timeout(now, &mut Ears { search: &mut self.search, judge });
        let was_over = self.search.is_over();
        // Each round asks somebody new or ends somebody's turn, of whom there are only so many.
        loop {
            self.search.drive(now, &mut self.swarm, judge);
            let mut ears = Ears { search: &mut self.search, judge };
            if !self.swarm.pump(now, &mut ears) {
                break;
            }
        }
        if !was_over && self.search.is_over() {
            self.ended = true;
            self.swarm.stop();
            self.schedule(now);
        }
    }

    fn next_wake(&self) -> Option<Wake> {
        let begin = self.begin_at.get().filter(|_| !self.search.bootstraps.is_empty());
        let begin = begin.map(|at| Wake { at, why: "to search the dht" });
        let wake = Wake::earliest(begin, self.search.next_wake());
        Wake::earliest(wake, self.swarm.next_wake())
    }

    fn poll_output<J: Judge>(
        &mut self,
        buf: &mut [u8],
        judge: &mut J,
    ) -> Option<(ConnectionId, ConnectionOutput)> {
        self.swarm.poll_output(buf, &mut Ears { search: &mut self.search, judge })
    }

    fn take_ended(&mut self) -> Option<bool> {
        core::mem::take(&mut self.ended).then_some(self.search.counts.accepted > 0)
    }

    fn add_stats(&self, stats: &mut Stats) {
        stats.add(self.swarm.stats());
    }
}

impl<S, const RX: usize, const N: usize, const A: usize> Finder<S, RX, N, A> {
    /// After a search that found nothing: notes when the next one begins.
    fn schedule(&mut self, now: Instant) {
        if self.search.counts.accepted > 0 {
            self.retry = RETRY.0;
            return;
        }
        self.begin_at = Deadline::new(now + self.retry);
        self.retry = self.retry.saturating_mul(2).min(RETRY.1);
    }
}
