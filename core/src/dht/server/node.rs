//! What a DHT node knows: peers, what it stores for others, its own adverts, and what is under way.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use heapless::{Deque, Vec};

use super::event::Event;
use super::job::{Call, Found, Job, Kind, Phase, Purpose, Stage, Under};
use super::publication::{Publication, jitter};
use super::{Config, Listening, Parts, Storage};
use crate::connection::StreamError;
use crate::connection::Tag;
use crate::dht::finder::Bootstrap;
use crate::dht::scope::usable;
use crate::dht::swarm::{Failure, Remote, Why};
use crate::identity::PeerId;
use crate::kad::store::{ProviderStore, RateLimit, RecordStore};
use crate::kad::table::{Entry, Seen, Table};
use crate::kad::validator::{self, Context, Valid};
use crate::kad::{Contact, K};
use crate::limits::{BOOTSTRAPS, DHT_EVENTS, DHT_JOBS, PROBES, SERVER_CALLS, TRUSTED};
use crate::rng::Rng;
use crate::stats::{NodeStats, count};
use crate::time::{Deadline, Instant, UnixTime};
use crate::wire::contact::Addresses;
use crate::wire::peer_id::{self, MULTIHASH_LEN};
use crate::wire::record::{self, SignedAdvert};
use crate::wire::url::AddressClass;

/// The first and the longest time between two attempts to reach anybody.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// libp2p `specs/kad-dht#bootstrap-process`: time between two refreshes of the routing table.
const REFRESH: Duration = Duration::from_secs(600);

/// A table with few peers looks for more this long after it got one, at most once in twenty times as long.
const GROWTH: Duration = Duration::from_millis(500);

/// After it was begun with, a network of few peers is looked at again this long after, and three times as long after
/// that, [`LOOKS`] times: those who begin at the same time are not told of each other by the first look. Half of it
/// either way, so that they do not all turn to each other at once again.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// How often.
const LOOKS: u32 = 4;

pub(super) struct Node<S: Storage<RX>, const RX: usize> {
    pub(super) own: PeerId,
    pub(super) own_hash: [u8; MULTIHASH_LEN],
    listen: Listening,
    announce: Addresses,
    pub(super) agent: &'static str,
    allow_loopback: bool,
    pub(super) trusted: Vec<PeerId, TRUSTED>,
    /// Ourselves, as others are told.
    pub(super) contact: Contact,
    pub(super) table: Table<S::Peers>,
    pub(super) records: RecordStore<S::Records>,
    pub(super) providers: ProviderStore<S::Providers>,
    pub(super) adverts: S::Adverts,
    pub(super) rate: RateLimit,
    /// What the wall clock said, and when.
    clock: Option<(Instant, UnixTime)>,
    pub(super) bootstraps: Vec<Bootstrap, BOOTSTRAPS, u8>,
    /// Bootstraps whose failure was told, one bit each.
    reported: u64,
    pub(super) calls: Vec<Call, SERVER_CALLS>,
    next_tag: u32,
    pub(super) jobs: [Option<Job>; DHT_JOBS],
    pub(super) probes: Vec<Contact, PROBES, u8>,
    /// Peers that connected to us, to be dialled where they say they can be.
    pub(super) dial_backs: Vec<Contact, K, u8>,
    /// Holders to be given a text again.
    pub(super) repairs: Vec<(PeerId, Purpose), PROBES, u8>,
    pub(super) events: Deque<Event, DHT_EVENTS>,
    /// When to turn to the bootstraps, and how long after that again.
    pub(super) bootstrap_at: Deadline,
    retry: Duration,
    /// How often we looked again since the network was another.
    looks: u32,
    /// When we looked for ourselves last.
    pub(super) walked_at: Option<Instant>,
    /// When to refresh the table, and the bucket that is refreshed next.
    pub(super) refresh_at: Deadline,
    pub(super) refreshing: Option<u8>,
    pub(super) rng: Rng,
    pub(super) stats: NodeStats,
}

impl<S: Storage<RX>, const RX: usize> core::fmt::Debug for Node<S, RX> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Node").field("own", &self.own).finish_non_exhaustive()
    }
}

impl<S: Storage<RX>, const RX: usize> Node<S, RX> {
    pub(super) fn new(config: &Config, parts: Parts<S, RX>) -> (Self, S::Connections) {
        let own = config.key.peer_id();
        let mut node = Self {
            own,
            own_hash: peer_id::encode_multihash(&own),
            listen: config.listen,
            announce: config.announce,
            agent: config.agent,
            allow_loopback: config.allow_loopback,
            trusted: config.trusted.clone(),
            contact: Contact::new(own),
            table: Table::new(&own, parts.peers),
            records: RecordStore::new(own, parts.records),
            providers: ProviderStore::new(parts.providers),
            adverts: parts.adverts,
            rate: RateLimit::default(),
            clock: None,
            bootstraps: Vec::new(),
            reported: 0,
            calls: Vec::new(),
            next_tag: 0,
            jobs: [const { None }; DHT_JOBS],
            probes: Vec::new(),
            dial_backs: Vec::new(),
            repairs: Vec::new(),
            events: Deque::new(),
            bootstrap_at: Deadline::NONE,
            retry: RETRY.0,
            looks: 0,
            walked_at: None,
            refresh_at: Deadline::NONE,
            refreshing: None,
            rng: config.seed.stream("dht"),
            stats: NodeStats::default(),
        };
        node.adverts.as_mut().iter_mut().for_each(Publication::clear);
        node.contact.addresses = node.announced(&[]);
        (node, parts.connections)
    }

    pub(super) fn publication(&mut self, at: usize) -> Option<&mut Publication> {
        self.adverts.as_mut().get_mut(at)
    }

    pub(super) fn job(&mut self, at: usize) -> Option<&mut Job> {
        self.jobs.get_mut(at)?.as_mut()
    }

    pub(super) fn tell(&mut self, event: Event) {
        if self.events.push_back(event).is_err() {
            count!(self.stats, events_lost);
        }
    }

    /// What the wall clock says now, as far as it was told.
    pub(super) fn context(&self, now: Instant) -> Context {
        let clock = self.clock.map(|(at, time)| time.plus(now.since(at).as_secs()));
        Context { clock, allow_loopback: self.allow_loopback }
    }

    pub(super) const fn set_clock(&mut self, now: Instant, time: UnixTime) {
        self.clock = Some((now, time));
    }

    #[cfg(test)]
    pub(super) const fn set_listening(&mut self, listen: Listening) {
        self.listen = listen;
    }

    /// The addresses of this host's interfaces. When what others are told changes, everything that waits for a
    /// better network is tried at once.
    pub(super) fn set_addresses(&mut self, now: Instant, ips: &[IpAddr]) {
        let addresses = self.announced(ips);
        if addresses != self.contact.addresses {
            self.contact.addresses = addresses;
            self.handle_network(now);
        }
    }

    /// The network is another: nothing that was found out about it holds.
    pub(super) fn handle_network(&mut self, now: Instant) {
        self.retry = RETRY.0;
        self.looks = 0;
        if !self.bootstraps.is_empty() || self.table.count() > 0 {
            self.bootstrap_at = Deadline::new(now);
        }
        self.adverts.as_mut().iter_mut().for_each(|publication| publication.hurry(now));
    }

    /// What others are told: what the operator says, else global addresses, then private ones; a host that has
    /// neither can only be reached from itself.
    fn announced(&self, ips: &[IpAddr]) -> Addresses {
        if !self.announce.is_empty() {
            return self.announce;
        }
        let everywhere = || ips.iter().filter_map(|ip| self.listen.at(*ip));
        let all = || everywhere().chain(self.listen.at.iter());
        let mut addresses = Addresses::NONE;
        for class in [AddressClass::Global, AddressClass::Private] {
            for v4 in [true, false] {
                let usable =
                    |at: &SocketAddr| at.is_ipv4() == v4 && AddressClass::of(at.ip()) == class;
                all().filter(usable).for_each(|at| addresses.add(at));
            }
        }
        if addresses.is_empty() {
            self.listen.loopback().into_iter().for_each(|at| addresses.add(at));
            self.listen.at.iter().for_each(|at| addresses.add(at));
        }
        addresses
    }

    /// What a peer there is told of a contact: loopback addresses only on loopback, link-local ones never.
    pub(super) fn told_to(&self, remote: &Remote, contact: &Contact) -> Contact {
        let mut told = usable(contact, remote.address);
        if contact.peer == self.own && remote.address.ip().is_loopback() {
            self.listen.loopback().into_iter().for_each(|at| told.addresses.add(at));
        }
        told
    }

    /// A peer that serves the DHT was there. `walked`: we turned to it in a lookup.
    pub(super) fn note_seen(&mut self, now: Instant, contact: &Contact, walked: bool) {
        match self.table.seen(now, contact) {
            Seen::Added => {
                if self.table.count() > K {
                    return;
                }
                self.note_growth(now, walked);
                if walked {
                    return;
                }
                let again = self.walked_at.map_or(now, |at| at + GROWTH.saturating_mul(20));
                let soon = again.max(now + GROWTH);
                if !self.is_walking_own() {
                    self.bootstrap_by(soon);
                }
            }
            // Those past the limit are probed when they are met again.
            Seen::Pending { probe } => _ = self.probes.push(probe),
            Seen::Known | Seen::Refused(_) => {}
        }
    }

    /// A peer more is known in a network of few, and is to be given what is published. `walked`: by the lookup of a
    /// publication. One that is under way gives it to those that the lookup has met so far.
    fn note_growth(&mut self, now: Instant, walked: bool) {
        for at in 0..self.adverts.as_ref().len() {
            let jobs = self.jobs.iter().flatten();
            let job = jobs.filter(|job| job.advert() == Some(at)).map(|job| (job.kind, job.phase));
            let base = Kind::Advert { at, stage: Stage::Base };
            let (is_running, is_late) =
                job.fold((false, false), |_, job| (true, job != (base, Phase::Walk)));
            let Some(publication) = self.publication(at) else { continue };
            match (is_running, walked) {
                (true, _) => publication.grown |= is_late || !walked,
                (false, false) => publication.grow(now),
                (false, true) => {}
            }
        }
    }

    /// A peer that serves the DHT connected to us. That says that it is there, but not where it can be dialled: unless
    /// it was reached before where it says, it is dialled once before it enters the table.
    pub(super) fn note_visitor(&mut self, now: Instant, told: &Contact, from: IpAddr) {
        let known = self.table.entries().find(|entry| entry.contact().peer == told.peer);
        let is_there = |known: &&Entry| {
            let at = known.contact().addresses.first();
            known.is_live() && at.is_some_and(|at| told.addresses.contains(&at))
        };
        if let Some(known) = known.filter(is_there) {
            let contact = known.contact().clone();
            return self.note_seen(now, &contact, false);
        }
        if self.dial_backs.iter().any(|one| one.peer == told.peer) || !self.table.wants(now, told) {
            return;
        }
        // Where it comes from is the likeliest.
        let mut addresses: Addresses = told.addresses.iter().filter(|at| at.ip() == from).collect();
        told.addresses.iter().for_each(|address| addresses.add(address));
        // Those past the limit are dialled when they come again.
        let _ = self.dial_backs.push(Contact { peer: told.peer, addresses });
    }

    /// A peer could not be reached or was silent. At an address that only others told it by, that says nothing of the
    /// peer: a liar could have anybody dropped from the table.
    pub(super) fn note_failed(&mut self, peer: &PeerId, failure: &Failure) {
        let known = self.table.entries().find(|entry| entry.contact().peer == *peer);
        let is_at = |at: SocketAddr| known.is_some_and(|it| it.contact().addresses.contains(&at));
        if failure.address.is_some_and(|address| !is_at(address)) {
            return;
        }
        match failure.why {
            Why::Connection(crate::connection::Error::WrongPeer { .. }) => self.table.remove(peer),
            Why::NoAddress
            | Why::Tcp(_)
            | Why::Connection(_)
            | Why::Lost(_)
            | Why::Stream(StreamError::TimedOut) => self.table.failed(peer),
            // It is there; this one request was not to its liking.
            Why::Stream(_) | Why::Busy => {}
        }
    }

    pub(super) fn note_bootstrap_failed(&mut self, number: u8, failure: &Failure) {
        let bit = 1_u64.checked_shl(u32::from(number)).unwrap_or(0);
        if self.reported & bit == 0 {
            self.reported |= bit;
            self.tell(Event::BootstrapFailed { number: usize::from(number), why: *failure });
        }
    }

    /// The next failure of this bootstrap is told.
    pub(super) fn forget_bootstrap_failed(&mut self, number: u8) {
        self.reported &= !1_u64.checked_shl(u32::from(number)).unwrap_or(0);
    }

    pub(super) fn is_walking_own(&self) -> bool {
        self.jobs.iter().flatten().any(|job| job.kind == Kind::Table { own: true })
    }

    /// The lookup of ourselves is over.
    pub(super) fn handle_bootstrapped(&mut self, now: Instant, answered: bool) {
        if answered && self.table.live_count() > 0 {
            self.retry = RETRY.0;
            self.look_again(now);
            // A table that grew is refreshed no sooner for that.
            if self.refreshing.is_none() && self.refresh_at == Deadline::NONE {
                self.refreshing = Some(0);
            }
            return;
        }
        self.looks = 0;
        if !self.bootstraps.is_empty() || self.table.count() > 0 {
            let at = now + jitter(self.retry, &mut self.rng);
            self.bootstrap_by(at);
        }
        self.retry = self.retry.saturating_mul(2).min(RETRY.1);
        for at in 0..self.adverts.as_ref().len() {
            let Some(publication) = self.publication(at) else { continue };
            let is_due = publication.publish_at.is_due(now) && publication.failures == 0;
            let Some(held) = publication.advert.as_ref().filter(|_| is_due) else { continue };
            let (key, seq) = (held.key.clone(), held.seq);
            publication.failures = 1;
            let why = super::PublishError::NoPeers;
            self.tell(Event::PublishFailed { key, seq, why });
        }
    }

    /// Notes when to look at a network of few peers again, if it is to be looked at again soon.
    fn look_again(&mut self, now: Instant) {
        if self.looks < LOOKS && self.table.count() <= K {
            let after = LOOK_AGAIN.saturating_mul(3_u32.saturating_pow(self.looks));
            self.looks = self.looks.saturating_add(1);
            let after = self.rng.duration(after / 2, after.saturating_add(after / 2));
            self.bootstrap_by(now + after);
        }
    }

    /// Turns to the bootstraps and the known peers at this time at the latest.
    fn bootstrap_by(&mut self, at: Instant) {
        if self.bootstrap_at.get().is_none_or(|due| due > at) {
            self.bootstrap_at = Deadline::new(at);
        }
    }

    /// Without anybody who is believed to be there nothing can be published: those are looked for who may be there
    /// again, however long it is until the next refresh.
    pub(super) fn seek(&mut self, now: Instant) {
        let has_names = !self.bootstraps.is_empty() || self.table.count() > 0;
        let is_lost = has_names && self.table.live_count() == 0;
        if is_lost && self.bootstrap_at == Deadline::NONE && !self.is_walking_own() {
            self.bootstrap_at = Deadline::new(now + jitter(self.retry, &mut self.rng));
        }
    }

    /// A publication gets a new text: what is asked about the one before has no meaning for it.
    pub(super) fn forget_audit(&mut self, at: usize) {
        self.calls.retain(|call| call.purpose.publication() != Some(at));
        self.repairs.retain(|(_, purpose)| purpose.publication() != Some(at));
        if let Some(publication) = self.publication(at) {
            publication.audit = super::publication::Audit::default();
        }
    }

    /// Every bucket is refreshed.
    pub(super) fn handle_refreshed(&mut self, now: Instant) {
        self.refreshing = None;
        self.refresh_at = Deadline::new(now + jitter(REFRESH, &mut self.rng));
    }

    /// A tag that no request under way has.
    pub(super) const fn tag(&mut self) -> Tag {
        self.next_tag = self.next_tag.wrapping_add(1);
        Tag(self.next_tag)
    }

    pub(super) fn take_call(&mut self, tag: Tag) -> Option<Call> {
        let at = self.calls.iter().position(|call| call.tag == tag)?;
        Some(self.calls.swap_remove(at))
    }

    pub(super) fn calls_of_job(&self, at: usize) -> usize {
        self.calls.iter().filter(|call| call.purpose.job() == Some(at)).count()
    }

    /// Ends everything that is under way for a publication.
    pub(super) fn abandon(&mut self, at: usize) {
        for number in 0..self.jobs.len() {
            if self.job(number).is_some_and(|job| job.advert() == Some(at)) {
                self.calls.retain(|call| call.purpose.job() != Some(number));
                if let Some(job) = self.jobs.get_mut(number) {
                    *job = None;
                }
            }
        }
        self.calls.retain(|call| call.purpose.publication() != Some(at));
    }

    /// Judges what somebody holds in the place of a record of a publication.
    pub(super) fn judge(&mut self, now: Instant, at: usize, under: Under, value: &[u8]) -> Found {
        let context = self.context(now);
        let own = self.own;
        let Some(held) = self.publication(at).and_then(|one| one.advert.as_ref()) else {
            return Found::Good;
        };
        if held.value == *value {
            return Found::Good;
        }
        let key = match under {
            Under::Base => held.key.clone(),
            Under::SubKey => held.key.of(own),
        };
        match validator::validate(&key, value, &context) {
            Ok(Valid::Signed(signed)) if signed.advert().peer == own => {
                if signed.advert().seq < held.seq { Found::Bad } else { Found::Good }
            }
            Ok(Valid::Signed(_)) => Found::Good,
            Ok(Valid::Unsigned(_)) | Err(_) => Found::Bad,
        }
    }

    /// Looks whether an answer has an advert of ours that is newer than what we know.
    pub(super) fn look_for_own(&mut self, at: usize, value: &[u8]) {
        let Ok(signed) = SignedAdvert::decode_json(value) else { return };
        let (seq, own) = (signed.advert().seq, self.own);
        let Some(held) = self.publication(at).and_then(|one| one.advert.as_mut()) else { return };
        let is_newer = seq > held.highest && seq < record::SEQ_MAX;
        if signed.advert().peer == own
            && is_newer
            && signed.verify(&held.key.channel, &held.key.arch).is_ok()
        {
            held.highest = seq;
            let key = held.key.clone();
            self.tell(Event::SequenceBehind { key, highest: seq });
        }
    }

    /// Notes the outcome of one request of an audit; the last one concludes it.
    pub(super) fn conclude(&mut self, now: Instant, at: usize, found: Option<Found>) {
        let Some(publication) = self.adverts.as_mut().get_mut(at) else { return };
        let audit = &mut publication.audit;
        audit.waiting = audit.waiting.saturating_sub(1);
        audit.answered = audit.answered.saturating_add(u8::from(found.is_some()));
        audit.missing = audit.missing.saturating_add(u8::from(found == Some(Found::Nothing)));
        if audit.waiting > 0 {
            return;
        }
        if publication.is_lost() {
            publication.hurry(now);
        }
        publication.schedule_audit(now, &mut self.rng);
        publication.audit = super::publication::Audit::default();
    }

    /// The purpose of a call whose repair a peer needs: once for each peer, key and text.
    pub(super) fn may_repair(&mut self, at: usize, under: Under, peer: PeerId) -> Option<Purpose> {
        let kept = self.publication(at)?.kept(under);
        if kept.repaired.contains(&peer) {
            return None;
        }
        kept.repaired.push(peer).ok()?;
        Some(Purpose::Repair { at, under })
    }
}
