//! One search: whom to ask what, and when it is over.

use core::time::Duration;

use heapless::Vec;

use super::Judge;
use super::bootstrap::{Bootstrap, Reach};
use super::peers::{Peers, Standing};
use super::report::{Counts, Report};
use crate::connection::Tag;
use crate::dht::swarm::{Failure, Slot, Swarm, Target};
use crate::identity::PeerId;
use crate::kad::query::{self, Query};
use crate::kad::{Contact, Key};
use crate::limits::{
    ASKS, BOOTSTRAPS, DIRECT_DIALS, PEERS_PER_LOOKUP, PINNED_LOOKUPS, RECORDS_PER_SEARCH,
};
use crate::machine::Wake;
use crate::select::TrustClass;
use crate::time::{Deadline, Instant};
use crate::wire::contact::Addresses;
use crate::wire::record::{AdvertKey, KEY_MAX};

/// Two bootstraps are begun with this far apart, unless the one before failed earlier.
const STAGGER: Duration = Duration::from_millis(250);

/// The longest a search takes.
pub(super) const SEARCH: Duration = Duration::from_secs(10);

/// How long a first pinned record waits for a better one, unless this many peers answered before.
const GRACE: Duration = Duration::from_millis(500);
const RESPONDERS: u16 = 3;

/// After this long without an answer another peer is asked beside.
const SLOW: Duration = Duration::from_secs(1);

/// How often a provider is asked at new addresses: others may tell false ones.
const DIRECT_ROUNDS: u8 = 3;

/// Peers that are asked for the providers under the raw key.
const RAW_ASKS: usize = 3;

/// What a peer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The value of the key that is looked up.
    Value,
    /// Who provides the base key, under its multihash.
    Providers,
    /// Who provides the base key, under the key itself.
    RawProviders,
    /// A provider's own record.
    Own,
    /// A pinned provider's addresses.
    Node,
}

/// One request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) tag: Tag,
    pub(super) what: What,
    pub(super) peer: Option<PeerId>,
    /// Of this bootstrap.
    pub(super) bootstrap: Option<u8>,
    /// It brought a record.
    pub(super) had_record: bool,
    slow_at: Deadline,
}

/// What a search is about at the moment. Each stage begins when the one before has nothing left to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The base key's value and its providers, both at once.
    Base,
    /// The providers under the raw key, from the peers that are closest to it.
    Raw,
    /// The record under the sub-key of a pinned provider, then the provider itself.
    SubKey(u8),
    Node(u8),
    /// Nothing is left.
    Over,
}

/// A provider to be asked for its own record.
#[derive(Clone, Debug)]
struct Direct {
    contact: Contact,
    pinned: bool,
    /// Of its addresses, those in front that are being tried or were; `None`: it was not asked yet.
    tried: Option<u8>,
    /// It was asked, and could not be reached.
    failed: bool,
    /// How often it was asked.
    rounds: u8,
}

impl Direct {
    /// Whether there is a new way to it.
    fn is_to_be_asked(&self) -> bool {
        let untried = usize::from(self.tried.unwrap_or(0)) < self.contact.addresses.count();
        let may = self.rounds < DIRECT_ROUNDS;
        untried && may && (self.tried.is_none() || self.failed)
    }
}

/// One search. `N`: candidates of each lookup.
#[derive(Debug)]
pub(super) struct Search<const N: usize> {
    pub(super) key: AdvertKey,
    pub(super) own: PeerId,
    pub(super) bootstraps: Vec<Bootstrap, BOOTSTRAPS, u8>,
    pub(super) values: Query<N>,
    pub(super) providers: Query<N>,
    pub(super) asks: Vec<Ask, ASKS, u8>,
    pub(super) stage: Stage,
    /// The provider whose sub-key is looked up.
    pub(super) pinned: Option<PeerId>,
    directs: Vec<Direct, DIRECT_DIALS, u8>,
    next_tag: u32,
    next_bootstrap_at: Instant,
    deadline: Instant,
    /// Go on after the first pinned record.
    exhaustive: bool,
    /// When the first pinned record was accepted.
    accepted_at: Option<Instant>,
    pub(super) counts: Counts,
    pub(super) peers: Peers,
    pub(super) last_failure: Option<(Option<PeerId>, Failure)>,
    out_of_time: bool,
    /// The key of the request that is being sent.
    pub(super) asked_key: Vec<u8, KEY_MAX, u8>,
}

impl<const N: usize> Search<N> {
    /// A search that has not begun.
    pub(super) fn new(own: PeerId, key: AdvertKey) -> Self {
        let (value, provider) = targets(&key);
        Self {
            key,
            own,
            bootstraps: Vec::new(),
            values: Query::new(value, Some(own), CONFIG),
            providers: Query::new(provider, Some(own), CONFIG),
            asks: Vec::new(),
            stage: Stage::Over,
            pinned: None,
            directs: Vec::new(),
            next_tag: 0,
            next_bootstrap_at: Instant::ZERO,
            deadline: Instant::ZERO,
            exhaustive: false,
            accepted_at: None,
            counts: Counts::default(),
            peers: Peers::default(),
            last_failure: None,
            out_of_time: false,
            asked_key: Vec::new(),
        }
    }

    /// Begins anew.
    pub(super) fn begin(&mut self, now: Instant, exhaustive: bool) {
        let (value, provider) = targets(&self.key);
        self.values.restart(value);
        self.providers.restart(provider);
        self.bootstraps.iter_mut().for_each(|bootstrap| bootstrap.reach = Reach::Waiting);
        self.asks.clear();
        self.directs.clear();
        self.stage = Stage::Base;
        self.pinned = None;
        self.next_bootstrap_at = now;
        self.deadline = now + SEARCH;
        self.exhaustive = exhaustive;
        self.accepted_at = None;
        self.counts = Counts::default();
        self.peers.clear();
        self.last_failure = None;
        self.out_of_time = false;
    }

    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Ends it.
    pub(super) fn end(&mut self) {
        self.stage = Stage::Over;
        self.asks.clear();
    }

    /// Asks whoever is to be asked now, and notes when there is nobody left.
    pub(super) fn drive<S, const RX: usize, const TX: usize, const A: usize, const D: usize>(
        &mut self,
        now: Instant,
        swarm: &mut Swarm<S, RX, TX, A, D>,
        judge: &impl Judge,
    ) where
        S: AsRef<[Slot<RX, TX, A>]> + AsMut<[Slot<RX, TX, A>]>,
    {
        if self.is_over() {
            return;
        }
        if self.is_settled(now) {
            return self.end();
        }
        if self.deadline <= now {
            self.out_of_time = true;
            return self.end();
        }
        self.note_slow(now);
        self.ask_bootstraps(now, swarm);
        self.ask_directs(now, swarm);
        self.ask_on(now, swarm, true);
        self.ask_on(now, swarm, false);
        while self.is_quiet() && !self.is_over() {
            self.next_stage(now, swarm, judge);
            self.ask_on(now, swarm, true);
        }
    }

    /// When to drive.
    pub(super) fn next_wake(&self) -> Option<Wake> {
        if self.is_over() {
            return None;
        }
        let mut wake = Some(Wake { at: self.deadline, why: "to end a search" });
        if self.bootstraps.iter().any(|one| one.reach == Reach::Waiting) {
            let at = self.next_bootstrap_at;
            wake = Wake::earliest(wake, Some(Wake { at, why: "to try the next bootstrap" }));
        }
        if let Some(at) = self.accepted_at.filter(|_| !self.exhaustive) {
            let at = at + GRACE;
            wake = Wake::earliest(wake, Some(Wake { at, why: "to end a search" }));
        }
        let slow = self.asks.iter().filter_map(|ask| ask.slow_at.get()).min();
        Wake::earliest(wake, slow.map(|at| Wake { at, why: "to ask another peer beside" }))
    }

    /// A record was judged.
    pub(super) fn note_record(&mut self, now: Instant, class: Option<TrustClass>) {
        self.counts.records = self.counts.records.saturating_add(1);
        if class.is_some() {
            self.counts.accepted = self.counts.accepted.saturating_add(1);
        }
        if class == Some(TrustClass::Pinned) {
            self.accepted_at.get_or_insert(now);
        }
    }

    /// Whether another record may be looked at.
    pub(super) fn may_judge(&self) -> bool {
        self.counts.records < RECORDS_PER_SEARCH
    }

    /// A provider is known: it is asked for its own record if there is room. One that is pinned goes first, and has
    /// room in the place of another that was not asked yet or could not be reached.
    pub(super) fn add_direct(&mut self, contact: &Contact, pinned: bool) {
        if contact.peer == self.own {
            return;
        }
        let known = self.directs.iter_mut().find(|one| one.contact.peer == contact.peer);
        let Some(known) = known else {
            let contact = contact.clone();
            let new = Direct { contact, pinned, tried: None, failed: false, rounds: 0 };
            let gives_way = |one: &Direct| !one.pinned && (one.tried.is_none() || one.failed);
            if pinned
                && self.directs.is_full()
                && let Some(at) = self.directs.iter().rposition(gives_way)
            {
                self.directs.remove(at);
            }
            let behind = self.directs.iter().take_while(|one| one.pinned).count();
            let at = if pinned { behind } else { self.directs.len() };
            // Those past the limit are reached by the next search, if these come to nothing.
            let _ = self.directs.insert(at, new);
            return;
        };
        let old = known.contact.addresses;
        contact.addresses.iter().for_each(|address| known.contact.addresses.add(address));
        if known.failed && known.contact.addresses == old {
            // There is no room: what was tried in vain gives way.
            let new = contact.addresses.iter().filter(|address| !old.contains(address));
            let new: Addresses = new.collect();
            if !new.is_empty() {
                known.contact.addresses = new;
                known.tried = Some(0);
            }
        }
    }

    /// A provider could not be reached at the addresses that were tried.
    pub(super) fn note_direct_failed(&mut self, peer: &PeerId) {
        if let Some(known) = self.directs.iter_mut().find(|one| one.contact.peer == *peer) {
            known.failed = true;
        }
    }

    /// The lookup that an answer belongs to.
    pub(super) const fn lookup(&mut self, what: What) -> Option<&mut Query<N>> {
        match what {
            What::Value | What::Node => Some(&mut self.values),
            What::Providers => Some(&mut self.providers),
            What::RawProviders | What::Own => None,
        }
    }

    /// A bootstrap failed: the next one is tried at once.
    pub(super) const fn hurry(&mut self, now: Instant) {
        self.next_bootstrap_at = now;
    }

    /// What was done and what came of it.
    pub(super) fn report(&self) -> Report<'_> {
        let answered = self.peers.count(Standing::Answered);
        let counts = Counts {
            asked: self.peers.count(Standing::Asked),
            answered,
            failed: self.peers.count(Standing::Failed).saturating_sub(answered),
            ..self.counts
        };
        Report {
            bootstraps: &self.bootstraps,
            counts,
            last_failure: self.last_failure.as_ref(),
            over: self.is_over(),
            out_of_time: self.out_of_time,
        }
    }

    /// The first pinned record is there, and those that could bring a better one had their time.
    fn is_settled(&self, now: Instant) -> bool {
        !self.exhaustive
            && self.accepted_at.is_some_and(|at| {
                self.peers.count(Standing::Answered) >= RESPONDERS || now.since(at) >= GRACE
            })
    }

    /// Nobody is waited for and nobody is left to ask in this stage.
    fn is_quiet(&self) -> bool {
        let untried = self.bootstraps.iter().any(|one| one.reach == Reach::Waiting);
        let undialled = self.directs.iter().any(Direct::is_to_be_asked);
        self.asks.is_empty()
            && !untried
            && !undialled
            && (!self.peers.may_ask() || (self.values.is_done() && self.providers.is_done()))
    }

    fn note_slow(&mut self, now: Instant) {
        for at in 0..self.asks.len() {
            let Some(ask) = self.asks.get_mut(at).filter(|ask| ask.slow_at.is_due(now)) else {
                continue;
            };
            ask.slow_at = Deadline::NONE;
            let Ask { what, peer, .. } = *ask;
            if let (Some(peer), Some(lookup)) = (peer, self.lookup(what)) {
                lookup.slow(&peer);
            }
        }
    }

    /// Asks the next bootstrap for value and providers in one flight.
    fn ask_bootstraps<S, const RX: usize, const TX: usize, const A: usize, const D: usize>(
        &mut self,
        now: Instant,
        swarm: &mut Swarm<S, RX, TX, A, D>,
    ) where
        S: AsRef<[Slot<RX, TX, A>]> + AsMut<[Slot<RX, TX, A>]>,
    {
        while self.next_bootstrap_at <= now {
            let waiting = self.bootstraps.iter().position(|one| one.reach == Reach::Waiting);
            let Some(at) = waiting else { return };
            self.next_bootstrap_at = now + STAGGER;
            let Some(bootstrap) = self.bootstraps.get(at) else { return };
            let target = bootstrap.target();
            let number = u8::try_from(at).ok();
            // Both requests or none.
            let room = self.asks.capacity().saturating_sub(self.asks.len()) > 1;
            if room && self.ask(now, swarm, &target, What::Value, number) {
                self.ask(now, swarm, &target, What::Providers, number);
                if let Some(bootstrap) = self.bootstraps.get_mut(at) {
                    bootstrap.reach = Reach::Dialled;
                }
            }
        }
    }

    /// Asks the providers that are known for their own record.
    fn ask_directs<S, const RX: usize, const TX: usize, const A: usize, const D: usize>(
        &mut self,
        now: Instant,
        swarm: &mut Swarm<S, RX, TX, A, D>,
    ) where
        S: AsRef<[Slot<RX, TX, A>]> + AsMut<[Slot<RX, TX, A>]>,
    {
        for at in 0..self.directs.len() {
            let Some(direct) = self.directs.get(at) else { return };
            // A connected peer needs no address.
            let is_there = swarm.remotes().any(|remote| remote.peer == direct.contact.peer);
            if !(direct.is_to_be_asked() || (is_there && direct.tried.is_none())) {
                continue;
            }
            let old = usize::from(direct.tried.unwrap_or(0));
            let addresses = direct.contact.addresses.iter().skip(old).collect();
            let target = Target { peer: Some(direct.contact.peer), addresses };
            let count = direct.contact.addresses.count();
            if !self.ask(now, swarm, &target, What::Own, None) {
                return;
            }
            self.counts.dialled = self.counts.dialled.saturating_add(1);
            if let Some(direct) = self.directs.get_mut(at) {
                direct.tried = u8::try_from(count).ok();
                direct.failed = false;
                direct.rounds = direct.rounds.saturating_add(1);
            }
        }
    }

    /// Asks the next peers of a lookup.
    fn ask_on<S, const RX: usize, const TX: usize, const A: usize, const D: usize>(
        &mut self,
        now: Instant,
        swarm: &mut Swarm<S, RX, TX, A, D>,
        values: bool,
    ) where
        S: AsRef<[Slot<RX, TX, A>]> + AsMut<[Slot<RX, TX, A>]>,
    {
        let what = match (values, self.stage) {
            (false, _) => What::Providers,
            (true, Stage::Node(_)) => What::Node,
            (true, _) => What::Value,
        };
        while !self.asks.is_full() && swarm.has_room() && self.peers.may_ask() {
            let Some(contact) = self.lookup(what).and_then(Query::poll_contact) else { return };
            let target = Target { peer: Some(contact.peer), addresses: contact.addresses };
            if !self.ask(now, swarm, &target, what, None) {
                if let Some(lookup) = self.lookup(what) {
                    lookup.failed(&contact.peer);
                }
                return;
            }
        }
    }

    /// Asks one peer. `false`: not now.
    fn ask<S, const RX: usize, const TX: usize, const A: usize, const D: usize>(
        &mut self,
        now: Instant,
        swarm: &mut Swarm<S, RX, TX, A, D>,
        target: &Target,
        what: What,
        bootstrap: Option<u8>,
    ) -> bool
    where
        S: AsRef<[Slot<RX, TX, A>]> + AsMut<[Slot<RX, TX, A>]>,
    {
        let tag = Tag(self.next_tag);
        if self.asks.is_full() || swarm.ask(now, target, tag).is_err() {
            return false;
        }
        self.next_tag = self.next_tag.wrapping_add(1);
        match (target.peer, target.addresses.first()) {
            (Some(peer), _) => self.peers.note(&peer, Standing::Asked),
            (None, Some(address)) => self.peers.note_address(address, Standing::Asked),
            (None, None) => {}
        }
        let slow_at = Deadline::new(now + SLOW);
        // There is room: it was looked at.
        let peer = target.peer;
        let _ = self.asks.push(Ask { tag, what, peer, bootstrap, had_record: false, slow_at });
        true
    }

    /// Goes on to what is worth asking when all that was asked is answered.
    fn next_stage<S, const RX: usize, const TX: usize, const A: usize, const D: usize>(
        &mut self,
        now: Instant,
        swarm: &mut Swarm<S, RX, TX, A, D>,
        judge: &impl Judge,
    ) where
        S: AsRef<[Slot<RX, TX, A>]> + AsMut<[Slot<RX, TX, A>]>,
    {
        if self.accepted_at.is_some() && !self.exhaustive {
            return self.end();
        }
        let first = |at: u8| judge.pinned(usize::from(at));
        self.stage = match self.stage {
            Stage::Base => Stage::Raw,
            Stage::Raw => Stage::SubKey(0),
            Stage::SubKey(at) => Stage::Node(at),
            Stage::Node(at) => Stage::SubKey(at.saturating_add(1)),
            Stage::Over => return,
        };
        match self.stage {
            Stage::Raw => {
                let mut closest: Vec<Contact, RAW_ASKS, u8> = Vec::new();
                closest.extend(self.values.closest().take(RAW_ASKS).cloned());
                for contact in &closest {
                    let target = Target { peer: Some(contact.peer), addresses: contact.addresses };
                    self.ask(now, swarm, &target, What::RawProviders, None);
                }
            }
            Stage::SubKey(at) if usize::from(at) < PINNED_LOOKUPS => match first(at) {
                Some(peer) => self.look_up(peer, Key::of(&self.key.of(peer).octets())),
                None => self.end(),
            },
            Stage::Node(at) => match first(at) {
                Some(peer) => self.look_up(peer, Key::of_peer(&peer)),
                None => self.end(),
            },
            Stage::Base | Stage::SubKey(_) | Stage::Over => self.end(),
        }
    }

    /// Begins the lookup of something about a pinned provider, from the peers that answered so far.
    fn look_up(&mut self, pinned: PeerId, target: Key) {
        let mut lookup = Query::new(target, Some(self.own), CONFIG);
        self.values.closest().for_each(|contact| _ = lookup.seed(contact));
        self.values = lookup;
        self.pinned = Some(pinned);
    }
}

const CONFIG: query::Config = query::Config {
    alpha: crate::kad::ALPHA,
    paths: crate::kad::PATHS,
    k: crate::kad::K,
    contacts: PEERS_PER_LOOKUP,
};

fn targets(key: &AdvertKey) -> (Key, Key) {
    (Key::of(&key.octets()), Key::of(&key.provider_key()))
}

#[cfg(test)]
mod tests {
    //! When a search goes on.
    use core::net::SocketAddr;

    use super::*;
    use crate::identity::SecretKey;
    use crate::limits::PEERS_PER_SEARCH;
    use crate::wire::record::{Arch, Channel};

    #[test]
    fn pinned_providers_are_asked_first_and_strangers_make_room() {
        let at = |number: u8| {
            let peer = SecretKey::from_seed(&[number; 32]).peer_id();
            Contact::at(peer, SocketAddr::from(([192, 0, 2, number], 4001)))
        };
        let key = AdvertKey::base(Channel::new("stable").unwrap(), Arch::new("arm64").unwrap());
        let mut search: Search<9> = Search::new(at(0).peer, key);
        for number in (1..).take(DIRECT_DIALS) {
            search.add_direct(&at(number), false);
        }
        // The last but one failed, the others are being asked.
        search.directs.iter_mut().for_each(|one| one.tried = Some(1));
        search.note_direct_failed(&at(7).peer);
        search.add_direct(&at(100), false);
        search.add_direct(&at(101), true);
        search.add_direct(&at(102), true);
        let numbers: std::vec::Vec<_> = search
            .directs
            .iter()
            .map(|one| (1..=102).find(|number| at(*number).peer == one.contact.peer).unwrap())
            .collect();
        assert_eq!(numbers, [101, 1, 2, 3, 4, 5, 6, 8], "who is being asked stays");
    }

    #[test]
    fn a_stage_ends_when_no_more_peers_may_be_asked() {
        let peer = |number: u8| SecretKey::from_seed(&[number; 32]).peer_id();
        let key = AdvertKey::base(Channel::new("stable").unwrap(), Arch::new("arm64").unwrap());
        let mut search: Search<9> = Search::new(peer(0), key);
        search.begin(Instant::ZERO, false);
        let address = SocketAddr::from(([192, 0, 2, 1], 4001));
        assert!(search.values.seed(&Contact::at(peer(200), address)));
        assert!(!search.is_quiet(), "somebody is left to ask");
        for number in (1..).take(PEERS_PER_SEARCH) {
            search.peers.note(&peer(number), Standing::Answered);
        }
        assert!(search.is_quiet());
    }
}
