//! Judges the TXT records that a querier sees, and keeps the candidates.
//!
//! Octets that were judged are not judged again. Verifying a signature is the only step that costs; at most
//! [`VERIFICATIONS`] are done in one discovery, and at most [`VERIFICATIONS_PER_SOURCE`] for one source. A client that
//! watches begins a discovery every minute. Records of the DHT are counted by the search that brings them.

use core::net::IpAddr;
use core::time::Duration;

use heapless::Vec;

use super::candidate::{Candidate, Candidates, Found, News, Source};
use crate::dht::swarm::Remote;
use crate::limits::{VERIFICATION_SOURCES, VERIFICATIONS, VERIFICATIONS_PER_SOURCE};
use crate::machine::{Network, Wake};
use crate::mdns::cache::{TextDigest, Worth};
use crate::mdns::querier::{HostName, Judgement, Listener, Sighting};
use crate::select::{self, Accepted, Carrier, Context, Memory, Refusal, Stale, TrustClass};
use crate::stats::{Stats, count};
use crate::time::{Deadline, Instant, UnixTime};
use crate::wire::dns::Txt;
use crate::wire::record::{self, Arch, Channel, Received, SignedAdvert};
use crate::wire::trust::{Mode, Pins};
use crate::wire::url::Host;

/// What one discovery takes when a client watches.
const DISCOVERY: Duration = Duration::from_secs(60);

/// What is wanted and whom the client believes.
#[derive(Debug)]
pub(super) struct Law {
    pub(super) channel: Channel,
    pub(super) arch: Arch,
    pub(super) pins: Pins,
    pub(super) insecure: bool,
    pub(super) allow_loopback: bool,
    pub(super) stale: Stale,
    /// What the clock said, and when it was read.
    pub(super) clock: Option<(UnixTime, Instant)>,
    pub(super) watching: bool,
}

impl Law {
    pub(super) const fn context<'a>(&'a self, carrier: Carrier<'a>) -> Context<'a> {
        Context {
            channel: &self.channel,
            arch: &self.arch,
            pins: &self.pins,
            insecure: self.insecure,
            stale: self.stale,
            carrier,
            allow_loopback: self.allow_loopback,
        }
    }

    /// Whether adverts of providers that nobody named may be accepted.
    pub(super) fn takes_anybody(&self) -> bool {
        self.insecure || self.pins.mode() != Mode::Pinned
    }

    /// What the clock says.
    fn unix_time(&self, now: Instant) -> Option<UnixTime> {
        self.clock.map(|(time, read_at)| time.plus(now.since(read_at).as_secs()))
    }
}

/// Signatures that may still be verified.
#[derive(Debug)]
struct Budget {
    since: Instant,
    left: usize,
    spent: Vec<(IpAddr, u8), VERIFICATION_SOURCES, u8>,
}

impl Budget {
    const fn new(now: Instant) -> Self {
        Self { since: now, left: VERIFICATIONS, spent: Vec::new() }
    }

    /// Takes one verification for an advert from `source`; false when none is left.
    fn take(&mut self, now: Instant, source: IpAddr, watching: bool) -> bool {
        if watching && now.since(self.since) >= DISCOVERY {
            *self = Self::new(now);
        }
        let Some(left) = self.left.checked_sub(1) else { return false };
        let known = self.spent.iter_mut().find(|(ip, _)| *ip == source);
        let Some((_, spent)) = known else {
            self.left = left;
            // Sources that are not counted for themselves still count together.
            let _ = self.spent.push((source, 1));
            return true;
        };
        if *spent >= VERIFICATIONS_PER_SOURCE {
            return false;
        }
        *spent = spent.saturating_add(1);
        self.left = left;
        true
    }
}

/// Counters: see [`Stats`].
#[derive(Debug, Default)]
struct Counts {
    verifications: u64,
    verifications_over_limit: u64,
    adverts_not_wanted: u64,
    candidates_over_limit: u64,
}

/// Judges adverts.
#[derive(Debug)]
pub(super) struct Jury {
    pub(super) law: Law,
    pub(super) memory: Memory,
    pub(super) candidates: Candidates,
    budget: Budget,
    stats: Counts,
}

impl Jury {
    pub(super) fn new(now: Instant, law: Law, memory: Memory) -> Self {
        let candidates = Candidates::new();
        Self { law, memory, candidates, budget: Budget::new(now), stats: Counts::default() }
    }

    /// Adds the counters.
    pub(super) const fn add_stats(&self, stats: &mut Stats) {
        let Counts { verifications, verifications_over_limit, .. } = self.stats;
        let Counts { adverts_not_wanted, candidates_over_limit, .. } = self.stats;
        stats.verifications = verifications;
        stats.verifications_over_limit = verifications_over_limit;
        stats.adverts_not_wanted = adverts_not_wanted;
        stats.candidates_over_limit = candidates_over_limit;
    }

    /// Whether anything is accepted.
    pub(super) fn is_satisfied(&self) -> bool {
        self.candidates.iter().any(Candidate::is_accepted)
    }

    /// Judges again what the addresses of an interface decide: an address that was not on the link may be by now.
    pub(super) fn handle_networks(&mut self, now: Instant, interface: u32, networks: &[Network]) {
        let carrier = Carrier::Lan { networks };
        self.judge_again(now, carrier, |source| source.interface() == Some(interface));
    }

    /// Judges again what the addresses of all interfaces decide.
    pub(super) fn handle_all_networks(&mut self, now: Instant, networks: &[Network]) {
        for of_signer in [false, true] {
            let carrier = Carrier::Dht { networks, direct: of_signer };
            self.judge_again(
                now,
                carrier,
                |source| matches!(source, Source::Dht { direct, .. } if *direct == of_signer),
            );
        }
    }

    fn judge_again(&mut self, now: Instant, carrier: Carrier<'_>, of: impl Fn(&Source) -> bool) {
        let Self { law, memory, candidates, .. } = self;
        let context = law.context(carrier);
        for candidate in candidates.iter_mut().filter(|candidate| of(&candidate.source())) {
            let Err(Refusal::Policy(_)) = candidate.verdict() else { continue };
            let verdict = match candidate.claim() {
                Some(Received::Signed(signed)) => select::review(signed, &context, memory),
                Some(Received::Unsigned(legacy)) => select::judge_unsigned(legacy, &context),
                None => continue,
            };
            candidate.set_verdict(verdict);
            candidate.expires_at = expiry(now, law, memory, candidate);
        }
    }

    /// Refuses what is too old by now.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(time) = self.law.unix_time(now) {
            self.memory.clock.advance(time);
        }
        let due = |c: &Candidate| c.expires_at.is_due(now);
        for candidate in self.candidates.iter_mut().filter(|candidate| due(candidate)) {
            candidate.expires_at = Deadline::NONE;
            if candidate.is_accepted() {
                candidate.set_verdict(Err(Refusal::Expired));
            }
        }
    }

    /// When to run [`handle_timeout`](Self::handle_timeout).
    pub(super) fn next_wake(&self) -> Option<Wake> {
        let next = self.candidates.iter().filter_map(|candidate| candidate.expires_at.get()).min();
        next.map(|at| Wake { at, why: "to refuse an advert that expires" })
    }

    /// Judges octets that were not seen before.
    fn judge(
        &mut self,
        found: &Found<'_>,
        carrier: Carrier<'_>,
        received: Result<Received, record::Error>,
    ) -> Judgement {
        let context = self.law.context(carrier);
        let (claim, verdict) = match received {
            Err(error) => (None, Err(error.into())),
            Ok(Received::Unsigned(legacy)) => {
                let verdict = select::judge_unsigned(&legacy, &context);
                (Some(Received::Unsigned(legacy)), verdict)
            }
            Ok(Received::Signed(signed)) => {
                if see_same(&mut self.candidates, found, &signed) {
                    return Judgement { worth: Worth::Verified, ..NOTHING };
                }
                let costs = context.classify(&signed).is_ok();
                let (now, source) = (found.now, found.remote.ip());
                // A search in the DHT reads only so many records: a flood there takes nothing from the LAN.
                let is_lan = matches!(found.source, Source::Lan(_));
                if costs && is_lan && !self.budget.take(now, source, self.law.watching) {
                    count!(self.stats, verifications_over_limit);
                    return NOTHING;
                }
                if costs {
                    count!(self.stats, verifications);
                }
                let mut verdict = select::judge(&signed, &context, &mut self.memory);
                if verdict == Err(Refusal::Sequence)
                    && is_nearer(&mut self.candidates, found.source, &signed)
                {
                    verdict = select::settle_earlier(&signed, &context, &self.memory);
                }
                (Some(Received::Signed(signed)), verdict)
            }
        };
        self.keep(found, claim, verdict, carrier)
    }

    /// Judges a record of the DHT; the class of the candidate that it is or that has its place.
    pub(super) fn record(
        &mut self,
        now: Instant,
        remote: &Remote,
        value: &[u8],
        networks: &[Network],
    ) -> Option<TrustClass> {
        let received = record::decode_json(value);
        let signer = match &received {
            Ok(Received::Signed(signed)) => Some(signed.advert().peer),
            Ok(Received::Unsigned(_)) | Err(_) => None,
        };
        let direct = signer == Some(remote.peer);
        let digest = TextDigest::of(value);
        let source = Source::Dht { responder: remote.peer, direct };
        let found = Found { now, source, remote: remote.address, label: &[], rtt: None, digest };
        if let Some(known) = self.candidates.by_digest(digest) {
            known.see(&found);
            if known.source().distance() > source.distance() {
                known.go_to(&found);
                known.tell(News::Changed);
            }
            return known.trust();
        }
        if let (Some(signer), Ok(Received::Signed(signed))) = (signer, &received)
            && let Some(known) = self.candidates.accepted_of(&signer)
            && known.source().distance() < source.distance()
            && is_same_image(known, signed)
        {
            // It is known from nearer, and there is nothing in it that could change that.
            return known.trust();
        }
        self.judge(&found, Carrier::Dht { networks, direct }, received);
        let same = self.candidates.by_digest(digest).and_then(|candidate| candidate.trust());
        same.or_else(|| self.candidates.accepted_of(&signer?)?.trust())
    }

    fn keep(
        &mut self,
        found: &Found<'_>,
        claim: Option<Received>,
        verdict: Result<Accepted, Refusal>,
        carrier: Carrier<'_>,
    ) -> Judgement {
        let worth = if verdict.is_ok() { Worth::Verified } else { Worth::Refused };
        let equivocates = verdict == Err(Refusal::Equivocation);
        let host = claim.as_ref().filter(|_| verdict.is_ok()).and_then(local_host);
        let Ok(supersedes) = self.candidates.insert(found, claim, verdict) else {
            count!(self.stats, candidates_over_limit);
            return NOTHING;
        };
        if equivocates {
            self.review(carrier);
        }
        let Self { law, memory, candidates, .. } = self;
        if let Some(candidate) = candidates.by_digest(found.digest) {
            candidate.expires_at = expiry(found.now, law, memory, candidate);
        }
        Judgement { worth, supersedes, host }
    }

    /// Judges what was accepted again: its signer contradicted itself.
    fn review(&mut self, carrier: Carrier<'_>) {
        let Self { law, memory, candidates, .. } = self;
        let context = law.context(carrier);
        for candidate in candidates.iter_mut().filter(|candidate| candidate.is_accepted()) {
            let Some(signed) = candidate.signed() else { continue };
            if let Err(refusal @ Refusal::Equivocation) = select::review(signed, &context, memory) {
                candidate.set_verdict(Err(refusal));
                candidate.expires_at = Deadline::NONE;
            }
        }
    }

    /// Whether the record is about what is wanted. Strings are compared as they stand, but for the two names that
    /// some architectures have.
    fn is_wanted(&self, txt: &Txt<'_>) -> bool {
        let value = |key: &[u8]| txt.get(key).value().and_then(|v| core::str::from_utf8(v).ok());
        let version = matches!(value(b"txtvers"), None | Some("1"));
        let channel = value(b"channel").is_some_and(|text| text == self.law.channel.as_str());
        let arch = value(b"arch").and_then(|text| Arch::canonical(text).ok());
        version && channel && arch.is_some_and(|arch| arch == self.law.arch)
    }
}

const NOTHING: Judgement = Judgement { worth: Worth::Nothing, supersedes: None, host: None };

impl Listener for Jury {
    fn text(&mut self, seen: &Sighting<'_>, txt: &Txt<'_>) -> Judgement {
        let found = Found {
            now: seen.now,
            source: Source::Lan(seen.link),
            remote: seen.remote,
            label: seen.label,
            rtt: seen.rtt,
            digest: seen.digest,
        };
        if let Some(known) = self.candidates.by_digest(seen.digest) {
            known.see(&found);
            known.set_demoted(false);
            // What must not be used by one interface may be on the link of another.
            let elsewhere = known.source().interface() != Some(seen.link.interface);
            if elsewhere && matches!(known.verdict(), Err(Refusal::Policy(_))) {
                known.go_to(&found);
                self.handle_networks(seen.now, seen.link.interface, seen.networks);
            }
            let accepted = self.candidates.by_digest(seen.digest).is_some_and(|c| c.is_accepted());
            let worth = if accepted { Worth::Verified } else { Worth::Refused };
            return Judgement { worth, ..NOTHING };
        }
        if !self.is_wanted(txt) {
            count!(self.stats, adverts_not_wanted);
            return NOTHING;
        }
        let received = record::decode_txt(txt.strings()).map(|txt| txt.advert);
        self.judge(&found, Carrier::Lan { networks: seen.networks }, received)
    }

    fn gone(&mut self, interface: u32, digest: TextDigest) {
        let watching = self.law.watching;
        if let Some(known) = self.candidates.by_digest(digest)
            && known.source().interface() == Some(interface)
        {
            if watching || !known.is_accepted() {
                known.tell(News::Lost);
            } else {
                known.set_demoted(true);
            }
        }
    }
}

/// Whether an accepted advert came again, in other octets: strings that nobody signed were added to the TXT record.
fn see_same(candidates: &mut Candidates, found: &Found<'_>, signed: &SignedAdvert) -> bool {
    let known = candidates.accepted_of(&signed.advert().peer);
    let same = known.filter(|known| known.signed() == Some(signed));
    same.map(|known| known.see(found)).is_some()
}

/// Whether an earlier text of a signer names the image of the one that is known, and came from nearer or follows it by
/// the same way: what a provider says on the LAN and what it says in the DHT are two texts, and their order means
/// nothing.
fn is_nearer(candidates: &mut Candidates, source: Source, signed: &SignedAdvert) -> bool {
    let Some(known) = candidates.accepted_of(&signed.advert().peer) else { return false };
    let follows = known.advert().is_some_and(|advert| advert.seq < signed.advert().seq);
    let (new, old) = (source.distance(), known.source().distance());
    (new < old || (new == old && follows)) && is_same_image(known, signed)
}

/// Whether both name one manifest, octet by octet.
fn is_same_image(known: &Candidate, signed: &SignedAdvert) -> bool {
    let known = known.advert().and_then(|advert| Some((advert.digest?, &advert.version)));
    let new = signed.advert();
    known.is_some_and(|known| Some(known) == new.digest.map(|digest| (digest, &new.version)))
}

/// When an accepted advert is too old. Without a clock it counts from when it was first seen.
fn expiry(now: Instant, law: &Law, memory: &Memory, candidate: &Candidate) -> Deadline {
    let judged = candidate.verdict().ok().filter(|accepted| !accepted.stale);
    let (Some(_), Some(advert), Stale::Deny) = (judged, candidate.advert(), law.stale) else {
        return Deadline::NONE;
    };
    // The first whole second after the grace.
    let grace = select::EXPIRY_GRACE.saturating_add(1);
    let left = match law.unix_time(now).filter(|_| memory.clock.is_plausible()) {
        Some(time) => advert.expires_at().plus(grace).0.saturating_sub(time.0),
        None => u64::from(advert.ttl).saturating_add(grace),
    };
    Deadline::new(now + Duration::from_secs(left))
}

/// The host of a URL when it is a name under `local`.
pub(super) fn local_host(claim: &Received) -> Option<HostName> {
    match claim.url().host() {
        Host::Name(name) if name.ends_with(".local") => HostName::from_text(name).ok(),
        Host::Name(_) | Host::Ip(_) => None,
    }
}
