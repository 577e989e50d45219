//! One iterative lookup: which peers to ask next on the way to a target.
//!
//! The caller asks the peers that [`Query::poll_contact`] gives, tells what they answer, and owns connections
//! and timeouts. Whatever the request is (`FIND_NODE`, `GET_VALUE`, `GET_PROVIDERS`), the walk is the same.
//!
//! Candidates are dealt to disjoint paths: each belongs to the path that heard of it first, is asked once, and
//! what it answers stays on that path. Each path has its own share of the candidates and of the contacts, so a
//! liar who answers with peers that do not exist uses up no more than his path's share.
//! Spec: libp2p `specs/kad-dht#peer-routing`; the paths: S/Kademlia (Baumgart, Mies 2007) §4.4.

use heapless::Vec;

use super::{ALPHA, Contact, Distance, K, Key, PATHS};
use crate::identity::PeerId;
use crate::limits::PEERS_PER_LOOKUP;

/// How a lookup goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Config {
    /// Peers waited for at one time, at least 1.
    pub alpha: usize,
    /// Disjoint paths, 1 to [`PATHS`].
    pub paths: usize,
    /// How many of the closest peers have to have answered at the end.
    pub k: usize,
    /// Peers asked at most.
    pub contacts: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { alpha: ALPHA, paths: PATHS, k: K, contacts: PEERS_PER_LOOKUP }
    }
}

/// What a lookup did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counts {
    /// Peers asked.
    pub contacted: usize,
    /// Peers that answered.
    pub answered: usize,
    /// Peers that could not be reached or did not answer.
    pub failed: usize,
    /// Contacts in answers that were not taken: known, not near enough, or of no use.
    pub ignored: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not asked yet.
    New,
    /// Asked, and counted among α.
    Waiting,
    /// Asked so long ago that another is asked beside it.
    Slow,
    Answered,
    Failed,
}

#[derive(Clone, Debug)]
struct Candidate {
    distance: Distance,
    contact: Contact,
    path: u8,
    /// The paths that named it, one bit each.
    named_by: u8,
    state: State,
    /// Given by the caller, not heard of in an answer.
    seed: bool,
}

impl Candidate {
    fn is_asked(&self) -> bool {
        matches!(self.state, State::Waiting | State::Slow)
    }
}

/// One path's part of the walk.
#[derive(Clone, Copy, Debug)]
struct Path {
    contacted: usize,
    /// It has or had a candidate.
    is_used: bool,
    /// Nothing at this distance or farther is taken: something as near gave way before, and may not come back.
    horizon: Distance,
}

impl Path {
    const NEW: Self = Self { contacted: 0, is_used: false, horizon: Distance::MAX };
}

/// A lookup that remembers at most `N` candidates: at least 3 for each path, and as many as k for a lookup
/// whose end is of interest; 48 serve a client, 96 a publisher.
#[derive(Clone, Debug)]
pub struct Query<const N: usize> {
    target: Key,
    own: Option<PeerId>,
    config: Config,
    /// Closest first.
    candidates: Vec<Candidate, N>,
    paths: [Path; PATHS],
    counts: Counts,
    finished: bool,
}

impl<const N: usize> Query<N> {
    /// A lookup of `target` that never turns to `own`.
    #[must_use]
    pub fn new(target: Key, own: Option<PeerId>, config: Config) -> Self {
        let config = Config {
            alpha: config.alpha.max(1),
            paths: config.paths.clamp(1, PATHS),
            k: config.k.max(1),
            ..config
        };
        Self {
            target,
            own,
            config,
            candidates: Vec::new(),
            paths: [Path::NEW; PATHS],
            counts: Counts::default(),
            finished: false,
        }
    }

    /// Begins a lookup of `target` in the place of this one, which is forgotten: it is too large for a small stack.
    pub fn restart(&mut self, target: Key) {
        self.target = target;
        self.candidates.clear();
        self.paths = [Path::NEW; PATHS];
        self.counts = Counts::default();
        self.finished = false;
    }

    /// What is looked for.
    #[must_use]
    pub const fn target(&self) -> &Key {
        &self.target
    }

    /// Adds a peer to begin with, as those of the routing table that are closest to the target. `false`: it is
    /// known, has no address, or there is no room.
    pub fn seed(&mut self, contact: &Contact) -> bool {
        let path = self.emptiest_path();
        self.insert(contact, path, State::New, true)
    }

    /// Adds a peer that the caller is asking by itself, as a bootstrap whose id was not known before.
    pub fn asked(&mut self, contact: &Contact) -> bool {
        if let Some(candidate) = self.find(&contact.peer) {
            if candidate.state != State::New {
                return false;
            }
            candidate.state = State::Waiting;
            let path = candidate.path;
            self.count_contact(path);
            return true;
        }
        let path = self.emptiest_path();
        let taken = self.insert(contact, path, State::Waiting, true);
        if taken {
            self.count_contact(path);
        }
        taken
    }

    /// The next peer to ask, if one more may be asked now. It counts as asked from here on: the caller tells
    /// [`Query::answered`] or [`Query::failed`] of it.
    pub fn poll_contact(&mut self) -> Option<Contact> {
        let waiting = self.candidates.iter().filter(|one| one.state == State::Waiting);
        if self.finished || waiting.count() >= self.config.alpha {
            return None;
        }
        let mut in_flight = [0_usize; PATHS];
        for candidate in self.candidates.iter().filter(|one| one.is_asked()) {
            if let Some(count) = in_flight.get_mut(usize::from(candidate.path)) {
                *count = count.saturating_add(1);
            }
        }
        let wanted = self.wanted();
        // The path that waits for the fewest; on it, the closest.
        let at = wanted.enumerate().filter(|(_, wanted)| *wanted).map(|(at, _)| at).min_by_key(
            |at| {
                let path = self.candidates.get(*at).map_or(0, |one| one.path);
                (in_flight.get(usize::from(path)).copied(), *at)
            },
        )?;
        let path = self.payer(self.candidates.get(at)?)?;
        let candidate = self.candidates.get_mut(at)?;
        candidate.state = State::Waiting;
        candidate.path = path;
        let contact = candidate.contact.clone();
        self.count_contact(path);
        Some(contact)
    }

    /// Takes a contact from an answer of `from`. `false`: of no use, or `from` was not asked.
    pub fn heard(&mut self, from: &PeerId, contact: &Contact) -> bool {
        let seeds = self.candidates.iter().filter(|one| one.seed).count();
        let Some(source) = self.find(from) else { return false };
        if source.state == State::New {
            return false;
        }
        // With fewer peers to begin with than paths, their answers are what the paths begin with.
        let (path, is_seed) = (source.path, source.seed);
        let is_root = is_seed && seeds < self.config.paths;
        let path = if is_root { self.emptiest_path() } else { path };
        let taken = self.insert(contact, path, State::New, false);
        if !taken {
            self.counts.ignored = self.counts.ignored.saturating_add(1);
        }
        taken
    }

    /// Notes that `from` gave a complete answer, at whatever time after it was asked.
    pub fn answered(&mut self, from: &PeerId) {
        let Some(candidate) = self.find(from) else { return };
        if candidate.is_asked() {
            candidate.state = State::Answered;
            self.counts.answered = self.counts.answered.saturating_add(1);
        }
    }

    /// Notes that `peer` could not be reached, or that its answer is not waited for any more.
    pub fn failed(&mut self, peer: &PeerId) {
        let Some(candidate) = self.find(peer) else { return };
        if candidate.is_asked() {
            candidate.state = State::Failed;
            self.counts.failed = self.counts.failed.saturating_add(1);
        }
    }

    /// Notes that `peer` takes long: another may be asked beside it. Its answer is still welcome.
    pub fn slow(&mut self, peer: &PeerId) {
        let Some(candidate) = self.find(peer) else { return };
        if candidate.state == State::Waiting {
            candidate.state = State::Slow;
        }
    }

    /// Ends the lookup: the caller has what it wants.
    pub const fn finish(&mut self) {
        self.finished = true;
    }

    /// Whether it is over: the k closest peers that can be reached have answered and so have the closest of
    /// each path, or there is nobody left to ask.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let asked = self.candidates.iter().any(Candidate::is_asked);
        self.finished || (!asked && !self.wanted().any(|wanted| wanted))
    }

    /// The peers that answered, closest first.
    pub fn closest(&self) -> impl Iterator<Item = &Contact> {
        let answered = self.candidates.iter().filter(|one| one.state == State::Answered);
        answered.map(|one| &one.contact)
    }

    /// Peers that are being asked.
    pub fn waiting(&self) -> impl Iterator<Item = &PeerId> {
        self.candidates.iter().filter(|one| one.is_asked()).map(|one| &one.contact.peer)
    }

    /// Whether `peer` is a candidate, asked or not.
    #[must_use]
    pub fn contains(&self, peer: &PeerId) -> bool {
        self.candidates.iter().any(|one| one.contact.peer == *peer)
    }

    /// What is known of a candidate.
    #[must_use]
    pub fn contact(&self, peer: &PeerId) -> Option<&Contact> {
        let mut contacts = self.candidates.iter().map(|one| &one.contact);
        contacts.find(|contact| contact.peer == *peer)
    }

    /// What was done so far.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// For each candidate, closest first, whether it is to be asked. Those that no path has a contact left for
    /// do not keep farther ones from being asked, as if they had failed.
    fn wanted(&self) -> impl Iterator<Item = bool> {
        let nearest = self.config.k.div_ceil(self.config.paths);
        let mut rank = 0_usize;
        let mut ranks = [0_usize; PATHS];
        self.candidates.iter().map(move |one| {
            let is_new = one.state == State::New;
            let is_out = one.state == State::Failed || (is_new && self.payer(one).is_none());
            let Some(of_path) = ranks.get_mut(usize::from(one.path)).filter(|_| !is_out) else {
                return false;
            };
            let is_near = rank < self.config.k || *of_path < nearest;
            rank = rank.saturating_add(1);
            *of_path = of_path.saturating_add(1);
            is_new && is_near
        })
    }

    /// The path that a candidate is asked on: the one that named it first, else another that named it too, if there
    /// is a contact left for it.
    fn payer(&self, candidate: &Candidate) -> Option<u8> {
        if self.counts.contacted >= self.config.contacts {
            return None;
        }
        let used = self.paths.iter().filter(|path| path.is_used).count();
        let share = self.config.contacts.div_ceil(used.max(1));
        let may = |at: &u8| {
            let path = self.paths.get(usize::from(*at));
            path.is_some_and(|path| path.contacted < share)
        };
        let named_by = |at: &u8| candidate.named_by & path_bit(*at) != 0;
        let others = (0_u8..).take(PATHS).filter(named_by);
        core::iter::once(candidate.path).chain(others).find(may)
    }

    fn find(&mut self, peer: &PeerId) -> Option<&mut Candidate> {
        self.candidates.iter_mut().find(|one| one.contact.peer == *peer)
    }

    fn count_contact(&mut self, path: u8) {
        self.counts.contacted = self.counts.contacted.saturating_add(1);
        if let Some(path) = self.paths.get_mut(usize::from(path)) {
            path.contacted = path.contacted.saturating_add(1);
        }
    }

    fn emptiest_path(&self) -> u8 {
        let count = |path: &u8| self.candidates.iter().filter(|one| one.path == *path).count();
        (0_u8..).take(self.config.paths).min_by_key(count).unwrap_or(0)
    }

    fn insert(&mut self, contact: &Contact, path: u8, state: State, seed: bool) -> bool {
        if self.own == Some(contact.peer) || contact.addresses.is_empty() {
            return false;
        }
        if let Some(known) = self.find(&contact.peer) {
            known.named_by |= path_bit(path);
            widen(known, contact);
            return false;
        }
        let distance = Key::of_peer(&contact.peer).distance(&self.target);
        if !self.make_room(path, &distance) {
            return false;
        }
        let at = self.candidates.partition_point(|one| one.distance < distance);
        let contact = contact.clone();
        let named_by = path_bit(path);
        let candidate = Candidate { distance, contact, path, named_by, state, seed };
        if let Some(path) = self.paths.get_mut(usize::from(path)) {
            path.is_used = true;
        }
        self.candidates.insert(at, candidate).is_ok()
    }

    /// Makes room on a path for a candidate at this distance, if it is worth it.
    fn make_room(&mut self, path: u8, distance: &Distance) -> bool {
        if self.paths.get(usize::from(path)).is_none_or(|path| *distance >= path.horizon) {
            return false;
        }
        let room = N.checked_div(self.config.paths).unwrap_or(0);
        let of_path = || self.candidates.iter().enumerate().filter(|(_, one)| one.path == path);
        if of_path().count() < room && !self.candidates.is_full() {
            return true;
        }
        let mut farther = of_path().filter(|(_, one)| !one.is_asked() && one.distance > *distance);
        if let Some((at, distance)) = farther.next_back().map(|(at, one)| (at, one.distance)) {
            self.candidates.remove(at);
            if let Some(path) = self.paths.get_mut(usize::from(path)) {
                path.horizon = distance;
            }
            return true;
        }
        // Peers that do not exist may have filled the path: they give way to any that might.
        let usable = of_path().filter(|(_, one)| one.state != State::Failed).count();
        let failed =
            of_path().filter(|(_, one)| one.state == State::Failed).map(|(at, _)| at).next_back();
        match failed {
            Some(at) if usable < self.config.k.div_ceil(self.config.paths) => {
                self.candidates.remove(at);
                true
            }
            Some(_) | None => false,
        }
    }
}

fn path_bit(path: u8) -> u8 {
    1_u8.checked_shl(path.into()).unwrap_or(0)
}

/// Adds the first address that another source knows of a candidate behind the first one: whoever named the peer
/// first cannot hide it behind addresses that lead nowhere.
fn widen(known: &mut Candidate, contact: &Contact) {
    let addresses = &mut known.contact.addresses;
    let new = contact.addresses.iter().find(|address| !addresses.contains(address));
    if let (State::New, Some(new), Some(first)) = (known.state, new, addresses.first()) {
        addresses.prefer(new);
        addresses.prefer(first);
    }
}

#[cfg(test)]
mod tests;
