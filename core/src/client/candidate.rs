//! What a client found, with what it thinks of it.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use heapless::{String, Vec};

use crate::identity::PeerId;
use crate::limits::{CANDIDATES, CANDIDATES_PER_SOURCE, LABEL_MAX};
use crate::machine::LinkId;
use crate::mdns::cache::TextDigest;
use crate::select::{Accepted, Refusal, TrustClass};
use crate::time::{Deadline, Instant};
use crate::wire::record::{Advert, Received, SignedAdvert};
use crate::wire::url::Url;

/// Names a candidate for as long as the client lives; never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CandidateId(u32);

/// How a candidate was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// By multicast DNS on this link. Its interface is the scope of `fe80::/10` addresses in the URL.
    Lan(LinkId),
    /// In the DHT.
    Dht {
        /// The peer that answered, whose id its connection proved.
        responder: PeerId,
        /// It is the signer: the provider itself is there and answers.
        direct: bool,
    },
}

impl Source {
    /// How near it is; less is better (see [`crate::select::Carrier`]).
    pub(super) const fn distance(&self) -> u8 {
        match self {
            Self::Lan(_) => 0,
            Self::Dht { direct: true, .. } => 1,
            Self::Dht { direct: false, .. } => 2,
        }
    }

    /// The index of the interface, for what was found on one.
    pub(super) const fn interface(&self) -> Option<u32> {
        match self {
            Self::Lan(link) => Some(link.interface),
            Self::Dht { .. } => None,
        }
    }
}

/// A [`Source`] with what only one kind of it has.
#[derive(Clone, Debug)]
enum Origin {
    Lan { link: LinkId, instance: String<LABEL_MAX, u8> },
    Dht { responder: PeerId, direct: bool },
}

impl Origin {
    fn new(found: &Found<'_>) -> Self {
        match found.source {
            Source::Lan(link) => Self::Lan { link, instance: printable(found.label) },
            Source::Dht { responder, direct } => Self::Dht { responder, direct },
        }
    }
}

/// One advert that was found, accepted or refused.
#[derive(Clone, Debug)]
pub struct Candidate {
    id: CandidateId,
    claim: Option<Received>,
    verdict: Result<Accepted, Refusal>,
    origin: Origin,
    remote: SocketAddr,
    rtt: Option<Duration>,
    seen_at: Instant,
    demoted: bool,
    pub(super) digest: TextDigest,
    /// When the advert is too old to be used.
    pub(super) expires_at: Deadline,
    /// What is still to be told.
    pub(super) news: Option<News>,
}

/// What is to be told of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Changed,
    Refused,
    Accepted,
    /// To be told, then to be removed.
    Lost,
    /// Told, to be removed at the next input.
    Gone,
}

/// How a candidate was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) now: Instant,
    pub(super) source: Source,
    pub(super) remote: SocketAddr,
    /// Of the service instance; empty for the DHT.
    pub(super) label: &'a [u8],
    pub(super) rtt: Option<Duration>,
    pub(super) digest: TextDigest,
}

impl Candidate {
    /// Its name in events.
    #[must_use]
    pub const fn id(&self) -> CandidateId {
        self.id
    }

    /// Accepted with how far it is trusted, or refused with the reason.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub const fn verdict(&self) -> Result<&Accepted, &Refusal> {
        self.verdict.as_ref()
    }

    /// Whether it is accepted.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        self.verdict.is_ok()
    }

    /// What was read; `None` where nothing could be.
    #[must_use]
    pub const fn claim(&self) -> Option<&Received> {
        self.claim.as_ref()
    }

    /// The signed advert, if it is one. Only the verdict says whether the signature is right.
    #[must_use]
    pub const fn signed(&self) -> Option<&SignedAdvert> {
        match &self.claim {
            Some(Received::Signed(signed)) => Some(signed),
            Some(Received::Unsigned(_)) | None => None,
        }
    }

    /// What the signed advert says.
    #[must_use]
    pub const fn advert(&self) -> Option<&Advert> {
        match self.signed() {
            Some(signed) => Some(signed.advert()),
            None => None,
        }
    }

    /// Where the manifest is said to be.
    #[must_use]
    pub const fn url(&self) -> Option<&Url> {
        match &self.claim {
            Some(claim) => Some(claim.url()),
            None => None,
        }
    }

    /// The claimed signer; unsigned adverts have none that counts.
    #[must_use]
    pub const fn peer(&self) -> Option<&PeerId> {
        match self.advert() {
            Some(advert) => Some(&advert.peer),
            None => None,
        }
    }

    /// The claimed name of the provider.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let name = match self.claim.as_ref()? {
            Received::Signed(signed) => signed.advert().name.as_ref(),
            Received::Unsigned(legacy) => legacy.name.as_ref(),
        };
        name.map(|name| name.as_str())
    }

    /// The claimed version of the image.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        let version = match self.claim.as_ref()? {
            Received::Signed(signed) => Some(&signed.advert().version),
            Received::Unsigned(legacy) => legacy.version.as_ref(),
        };
        version.map(|version| version.as_str())
    }

    /// How it was found.
    #[must_use]
    pub const fn source(&self) -> Source {
        match &self.origin {
            Origin::Lan { link, .. } => Source::Lan(*link),
            Origin::Dht { responder, direct } => {
                Source::Dht { responder: *responder, direct: *direct }
            }
        }
    }

    /// The link it was seen on; `None` for the DHT.
    #[must_use]
    pub const fn link(&self) -> Option<LinkId> {
        match &self.origin {
            Origin::Lan { link, .. } => Some(*link),
            Origin::Dht { .. } => None,
        }
    }

    /// Who answered.
    #[must_use]
    pub const fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// The name of the service instance, for people: characters that do not print are `?`. Empty for the DHT.
    #[must_use]
    pub fn instance(&self) -> &str {
        match &self.origin {
            Origin::Lan { instance, .. } => instance,
            Origin::Dht { .. } => "",
        }
    }

    /// The time to its host and back: from a one-shot query to the answer, until [`super::Client::set_rtt`] knows
    /// better.
    #[must_use]
    pub const fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// When it was last seen.
    #[must_use]
    pub const fn seen_at(&self) -> Instant {
        self.seen_at
    }

    /// Whether its host said goodbye, or did not answer when asked again. It ranks behind others of its trust class.
    #[must_use]
    pub const fn is_demoted(&self) -> bool {
        self.demoted
    }

    /// Notes that there is something to tell: of two verdicts the last, of which changes are a part.
    pub(super) const fn tell(&mut self, news: News) {
        let told = match self.news {
            None => false,
            Some(News::Lost | News::Gone) => true,
            Some(News::Changed | News::Refused | News::Accepted) => matches!(news, News::Changed),
        };
        if !told {
            self.news = Some(news);
        }
    }

    pub(super) const fn is_going(&self) -> bool {
        matches!(self.news, Some(News::Lost | News::Gone))
    }

    pub(super) fn trust(&self) -> Option<TrustClass> {
        self.verdict.as_ref().ok().map(|accepted| accepted.class)
    }
}

/// The candidates of one discovery.
#[derive(Debug)]
pub(super) struct Candidates {
    table: Vec<Candidate, CANDIDATES, u8>,
    next_id: u32,
    /// Accepted ones that had to make room.
    evicted: Vec<CandidateId, CANDIDATES, u8>,
}

impl Candidates {
    pub(super) const fn new() -> Self {
        Self { table: Vec::new(), next_id: 0, evicted: Vec::new() }
    }

    /// Those that are not lost.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.table.iter().filter(|candidate| !candidate.is_going())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Candidate> {
        self.table.iter_mut().filter(|candidate| !candidate.is_going())
    }

    /// Any, lost ones too until the next input.
    pub(super) fn get(&self, id: CandidateId) -> Option<&Candidate> {
        self.table.iter().find(|candidate| candidate.id == id)
    }

    pub(super) fn find_mut(&mut self, id: CandidateId) -> Option<&mut Candidate> {
        self.iter_mut().find(|candidate| candidate.id == id)
    }

    pub(super) fn by_digest(&mut self, digest: TextDigest) -> Option<&mut Candidate> {
        self.iter_mut().find(|candidate| candidate.digest == digest)
    }

    /// The accepted candidate of a signer: there is at most one.
    pub(super) fn accepted_of(&mut self, peer: &PeerId) -> Option<&mut Candidate> {
        self.iter_mut().find(|candidate| candidate.is_accepted() && candidate.peer() == Some(peer))
    }

    /// Takes in what was judged. An accepted advert replaces an earlier one of its signer, whose digest is returned.
    /// `Err` when there is no room: everything kept is worth more.
    pub(super) fn insert(
        &mut self,
        found: &Found<'_>,
        claim: Option<Received>,
        verdict: Result<Accepted, Refusal>,
    ) -> Result<Option<TextDigest>, NoRoom> {
        let signer = match (&verdict, &claim) {
            (Ok(_), Some(Received::Signed(signed))) => Some(signed.advert().peer),
            (Ok(_) | Err(_), _) => None,
        };
        if let Some(known) = signer.and_then(|peer| self.accepted_of(&peer)) {
            let superseded = known.digest;
            known.see(found);
            known.go_to(found);
            known.claim = claim;
            known.verdict = verdict;
            known.digest = found.digest;
            known.demoted = false;
            known.tell(News::Changed);
            return Ok(Some(superseded));
        }
        self.make_room(found, verdict.as_ref().ok().map(|accepted| accepted.class))?;
        self.next_id = self.next_id.wrapping_add(1);
        let news = if verdict.is_ok() { News::Accepted } else { News::Refused };
        let candidate = Candidate {
            id: CandidateId(self.next_id),
            claim,
            verdict,
            origin: Origin::new(found),
            remote: found.remote,
            rtt: found.rtt,
            seen_at: found.now,
            demoted: false,
            digest: found.digest,
            expires_at: Deadline::NONE,
            news: Some(news),
        };
        self.table.push(candidate).map_err(|_| NoRoom)?;
        Ok(None)
    }

    /// Makes room for a candidate that is trusted as far as `trust`, or refused.
    fn make_room(&mut self, found: &Found<'_>, trust: Option<TrustClass>) -> Result<(), NoRoom> {
        let source = found.remote.ip();
        let of_source = self.table.iter().filter(|c| c.remote.ip() == source).count();
        // One node of the DHT may hold what many providers said; of each pinned one there is one candidate.
        let is_pinned = found.source.interface().is_none() && trust == Some(TrustClass::Pinned);
        let crowded = of_source >= CANDIDATES_PER_SOURCE && !is_pinned;
        if !crowded && !self.table.is_full() {
            return Ok(());
        }
        let victims = self.table.iter().enumerate().filter(|(_, c)| {
            let outranked = match (c.trust(), trust) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(kept), Some(new)) => new > kept,
            };
            (outranked || c.is_going()) && (!crowded || c.remote.ip() == source)
        });
        // What is lost first, then what is refused, then the oldest.
        let victim = victims.min_by_key(|(_, c)| (!c.is_going(), c.is_accepted(), c.seen_at));
        let (at, _) = victim.ok_or(NoRoom)?;
        let gone = self.table.remove(at);
        if gone.news == Some(News::Lost) || gone.is_accepted() && gone.news != Some(News::Gone) {
            // There is room for as many as there are candidates; the driver has been told of older ones.
            let _ = self.evicted.push(gone.id);
        }
        Ok(())
    }

    /// The next piece of news, oldest candidate first; accepted ones before all others.
    pub(super) fn poll_news(&mut self) -> Option<(CandidateId, News)> {
        if let Some(id) = self.evicted.pop() {
            return Some((id, News::Lost));
        }
        let first = |wanted: &dyn Fn(News) -> bool, table: &mut [Candidate]| {
            let candidate = table.iter_mut().find(|c| c.news.is_some_and(wanted))?;
            let news = candidate.news.take()?;
            if news == News::Lost {
                candidate.news = Some(News::Gone);
            }
            Some((candidate.id, news))
        };
        first(&|news| news == News::Accepted, &mut self.table)
            .or_else(|| first(&|news| news != News::Gone, &mut self.table))
    }

    /// Those that are lost and not yet told to be.
    pub(super) fn lost(&mut self) -> impl Iterator<Item = &mut Candidate> {
        self.table.iter_mut().filter(|candidate| candidate.news == Some(News::Lost))
    }

    /// Removes what was told to be lost.
    pub(super) fn sweep(&mut self) {
        self.table.retain(|candidate| candidate.news != Some(News::Gone));
    }
}

/// Everything kept is worth more than what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

impl Candidate {
    /// Notes that it was seen again. Anybody can repeat a signed text: whose it was at first stays.
    pub(super) fn see(&mut self, found: &Found<'_>) {
        self.seen_at = found.now;
        self.rtt = self.rtt.or(found.rtt);
    }

    /// It is reached by another way. The name it was seen under first stays.
    pub(super) fn go_to(&mut self, found: &Found<'_>) {
        match (&mut self.origin, found.source) {
            (Origin::Lan { link, .. }, Source::Lan(new)) => *link = new,
            (origin, _) => *origin = Origin::new(found),
        }
        self.remote = found.remote;
    }

    pub(super) const fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = Some(rtt);
    }

    /// Stays, by another link than the one that was lost.
    pub(super) fn rehome(&mut self, new: LinkId, source: IpAddr) {
        if let Origin::Lan { link, .. } = &mut self.origin {
            *link = new;
            self.remote = SocketAddr::new(source, crate::mdns::PORT);
            self.news = Some(News::Changed);
        }
    }

    pub(super) fn set_demoted(&mut self, demoted: bool) {
        if self.demoted != demoted {
            self.demoted = demoted;
            self.tell(News::Changed);
        }
    }

    /// Another verdict about the same advert.
    pub(super) fn set_verdict(&mut self, verdict: Result<Accepted, Refusal>) {
        let news = match (&self.verdict, &verdict) {
            (Err(_), Ok(_)) => News::Accepted,
            (Ok(_), Err(_)) => News::Refused,
            (Ok(_), Ok(_)) | (Err(_), Err(_)) => News::Changed,
        };
        if self.verdict != verdict {
            self.verdict = verdict;
            self.tell(news);
        }
    }
}

/// A label for people.
fn printable(label: &[u8]) -> String<LABEL_MAX, u8> {
    let mut text = String::new();
    for chunk in label.utf8_chunks() {
        for c in chunk.valid().chars() {
            // A character is never shorter than what stands for it.
            let _ = text.push(if is_printable(c) { c } else { '?' });
        }
        if !chunk.invalid().is_empty() {
            let _ = text.push('?');
        }
    }
    text
}

/// Neither a control character nor one that turns the text around it (Unicode UAX #9 §2).
fn is_printable(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !turns
}
