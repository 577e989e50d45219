//! The client: finds adverts of signed boot images of one channel and architecture on the links it is given and in the
//! DHT, judges them, and ranks those it accepts.
//!
//! ```text
//! datagram -> querier (RFC 6762, RFC 6763) -> TXT ----> advert -> judgement -> candidates, ranked -> events
//! connection -> finder (crate::dht::finder) -> record -^
//! ```
//!
//! A [`Client`] alone is for the LAN; [`Client::with_dht`] makes one for both. [`Carriers`] says which are used, and when.
//!
//! - [`Mode::OneShot`] discovers once: candidates stay until their signed expiry, and a host that says goodbye only ranks
//!   lower. Nothing is kept alive, and a silent network costs no more than the back-off of the questions.
//! - [`Mode::Watch`] follows: a provider that stops is [`Event::Lost`] within two seconds.
//!
//! One unauthenticated packet takes no verified candidate away: in the second of grace that RFC 6762 §10.1 and §10.2 give
//! after a goodbye, or after a flush by another record, its host is asked again, and the candidate stays if it answers.
//!
//! When the time for an answer is over is the caller's decision; a client never gives up.
//!
//! Not here: fetching and verifying manifests.

mod candidate;
mod jury;
pub mod patience;
mod wide;

use core::net::IpAddr;
use core::time::Duration;

use heapless::Vec;

use self::candidate::News;
pub use self::candidate::{Candidate, CandidateId, Source};
use self::jury::{Jury, Law, local_host};
use self::wide::Course;
use crate::dht::finder::Wide;
use crate::limits::CANDIDATES;
use crate::machine::{Input, Machine, Output, TransmitBuffer, Wake};
use crate::mdns::querier::{Change, Querier, Settings};
use crate::rng::Seed;
use crate::select::carrier::check_address;
use crate::select::{Carrier, ClockFloor, Memory, Rank, SeqMemory, Stale, TrustClass};
use crate::stats::Stats;
use crate::time::{Instant, UnixTime};
use crate::wire::record::{Arch, Channel};
use crate::wire::trust::Trust;
use crate::wire::url::Host;

/// Whether to discover once or to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Mode {
    /// Find what is there.
    OneShot,
    /// Follow what comes and goes.
    Watch,
}

/// Where a client looks. One for the LAN alone looks there, whatever is said here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Carriers {
    /// On the LAN, and after [`HEAD_START`] also in the DHT, as long as the LAN has nothing acceptable.
    Auto,
    /// On the LAN alone.
    Lan,
    /// In the DHT alone.
    Wan,
    /// On both, to the end.
    All,
}

/// How long the LAN is asked alone: 200 times what an answer takes on most.
pub const HEAD_START: Duration = Duration::from_millis(300);

/// What a client looks for, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// Randomness for query ids, delays and the order of equals.
    pub seed: Seed,
    /// The channel wanted.
    pub channel: Channel,
    /// The architecture wanted, by its canonical name ([`Arch::canonical`]).
    pub arch: Arch,
    /// Whom to believe.
    pub trust: Trust,
    /// Also accept unsigned adverts and unnamed signers.
    pub insecure: bool,
    /// Also accept loopback addresses, for tests on one machine.
    pub allow_loopback: bool,
    /// What to do with an advert whose time is over.
    pub stale: Stale,
    /// What the machine's clock says at `now` of [`Client::new`], if it has one.
    pub clock: Option<UnixTime>,
    /// A time that has passed, as when the client was built; an earlier clock is not believed.
    pub epoch: UnixTime,
    /// Once, or on and on.
    pub mode: Mode,
    /// Where to look.
    pub carriers: Carriers,
    /// This program was the first to bind port 5353 (RFC 6762 §15.1). If not, unicast responses to that port may go to
    /// another program, and the client does not ask for them.
    pub first_binder: bool,
}

impl Config {
    /// The usual choices: discover once, believe nobody, no clock.
    #[must_use]
    pub fn new(seed: Seed, channel: Channel, arch: Arch) -> Self {
        Self {
            seed,
            channel,
            arch,
            trust: Trust::default(),
            insecure: false,
            allow_loopback: false,
            stale: Stale::Deny,
            clock: None,
            epoch: UnixTime(0),
            mode: Mode::OneShot,
            carriers: Carriers::Auto,
            first_binder: false,
        }
    }
}

/// What a client tells its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// This candidate is acceptable.
    Accepted(CandidateId),
    /// This one is not; its verdict says why. An accepted one may become refused, by expiry or a contradiction.
    Refused(CandidateId),
    /// Its text, its rank or the reason of its refusal changed.
    Changed(CandidateId),
    /// Its provider is gone, or a better one took its place. [`Client::candidate`] knows it until the next input.
    Lost(CandidateId),
    /// A search in the DHT is over, with or without a find: [`crate::dht::finder::Finder::report`] says what was done
    /// and why nothing was found. A client that watches, or found nothing, searches again later.
    Searched,
}

impl Event {
    /// The candidate it is about.
    #[must_use]
    pub const fn candidate(self) -> Option<CandidateId> {
        match self {
            Self::Accepted(id) | Self::Refused(id) | Self::Changed(id) | Self::Lost(id) => Some(id),
            Self::Searched => None,
        }
    }
}

/// Discovery of one channel and architecture. `F`: its part of the DHT, a [`crate::dht::finder::Finder`], or none.
#[derive(Debug)]
pub struct Client<F = ()> {
    querier: Querier,
    jury: Jury,
    nonce: [u8; 32],
    dht: F,
    course: Course,
}

impl Client {
    /// A client for the LAN, without links.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        Self::with_dht(now, config, ())
    }
}

impl<F: Wide> Client<F> {
    /// A client without links that also looks in the DHT.
    #[must_use]
    pub fn with_dht(now: Instant, config: Config, dht: F) -> Self {
        let settings = Settings {
            arch: config.arch.as_str(),
            channel: config.channel.as_str(),
            browsing: config.mode == Mode::Watch,
            first_binder: config.first_binder,
        };
        let querier = Querier::new(now, config.seed.stream("querier"), &settings);
        let mut rng = config.seed.stream("load spreading");
        let mut nonce = [0; 32];
        for chunk in nonce.as_chunks_mut::<8>().0 {
            *chunk = rng.u64().to_be_bytes();
        }
        let clock = ClockFloor::of(&config.trust, config.epoch, config.clock);
        let memory = Memory { seq: SeqMemory::default(), clock };
        let law = Law {
            pins: config.trust.pins(&config.channel),
            channel: config.channel,
            arch: config.arch,
            insecure: config.insecure,
            allow_loopback: config.allow_loopback,
            stale: config.stale,
            clock: config.clock.map(|clock| (clock, now)),
            watching: config.mode == Mode::Watch,
        };
        let course = Course::new(now, config.carriers);
        Self { querier, jury: Jury::new(now, law, memory), nonce, dht, course }
    }

    /// Its part of the DHT, with the report of the last search.
    #[must_use]
    pub const fn dht(&self) -> &F {
        &self.dht
    }

    /// Its part of the DHT, to add bootstrap peers; feed [`Input::Timeout`] after that.
    pub const fn dht_mut(&mut self) -> &mut F {
        &mut self.dht
    }

    /// Every candidate: accepted ones by rank, the best first, then refused ones in the order they came.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        let mut places: Vec<Place, CANDIDATES> = Vec::new();
        let mut ranked: Vec<&Candidate, CANDIDATES> = Vec::new();
        for candidate in self.jury.candidates.iter() {
            let place = self.place(candidate);
            let at = places.iter().take_while(|better| **better < place).count();
            // There is room for all.
            let _ = places.insert(at, place);
            let _ = ranked.insert(at, candidate);
        }
        ranked.into_iter()
    }

    /// The accepted candidate to try first.
    #[must_use]
    pub fn best(&self) -> Option<&Candidate> {
        self.candidates().next().filter(|best| best.is_accepted())
    }

    /// Whether the best candidate can be taken without waiting for more: it came from the LAN or from its provider itself,
    /// or the search that found it is over. Until then a later record of the same provider may come, which the first node
    /// that answered does not have, or holds back.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.best().is_some_and(|best| match best.source() {
            Source::Lan(_) | Source::Dht { direct: true, .. } => true,
            Source::Dht { direct: false, .. } => !self.dht.is_searching(),
        })
    }

    /// One candidate; one that is lost until the next input after its event.
    #[must_use]
    pub fn candidate(&self, id: CandidateId) -> Option<&Candidate> {
        self.jury.candidates.get(id)
    }

    /// The addresses of the host in a candidate's URL, in the order to try them. All were checked; connect to no
    /// other. A name under `local` has the addresses that its own responder gave, or else the one it answered from.
    /// Another name has none: it is for DNS, and what that answers is to be checked with
    /// [`crate::select::carrier::check_address`]. The scope of a `fe80::/10` address is the candidate's interface.
    pub fn addresses(&self, id: CandidateId) -> impl Iterator<Item = IpAddr> {
        let mut addresses: Vec<IpAddr, { crate::limits::ADDRESSES_PER_HOST }> = Vec::new();
        let candidate = self.candidate(id);
        if let Some((candidate, claim)) = candidate.and_then(|c| Some((c, c.claim()?))) {
            let source = candidate.remote().ip();
            if let Host::Ip(ip) = claim.url().host() {
                let _ = addresses.push(ip);
            } else if let Some((name, link)) = local_host(claim).zip(candidate.link()) {
                let interface = link.interface;
                let pinned = candidate.trust() == Some(TrustClass::Pinned);
                let carrier = Carrier::Lan { networks: self.querier.networks(interface) };
                let loopback = self.jury.law.allow_loopback;
                let known = self.querier.addresses(interface, source, &name);
                addresses.extend(
                    known.filter(|ip| check_address(*ip, carrier, pinned, loopback).is_ok()),
                );
                if addresses.is_empty() {
                    let _ = addresses.push(source);
                }
            }
        }
        addresses.into_iter()
    }

    /// Notes how long connecting to a candidate took; its rank may change.
    pub fn set_rtt(&mut self, id: CandidateId, rtt: Duration) {
        if let Some(candidate) = self.jury.candidates.find_mut(id) {
            candidate.set_rtt(rtt);
        }
    }

    /// Notes that a candidate could not be reached (RFC 6762 §10.4): its host is asked again, and unless it
    /// answers in ten seconds the candidate is lost, or, in a discovery that is done once, ranks lower.
    pub fn reconfirm(&mut self, now: Instant, id: CandidateId) {
        if let Some(candidate) = self.jury.candidates.find_mut(id)
            && let (Some(link), digest) = (candidate.link(), candidate.digest)
        {
            self.querier.reconfirm(now, link.interface, digest);
            self.handle_timeout(now);
        }
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = *self.querier.stats();
        self.jury.add_stats(&mut stats);
        self.dht.add_stats(&mut stats);
        stats
    }

    /// The place of a candidate among the others.
    fn place(&self, candidate: &Candidate) -> Place {
        let carrier = match candidate.source() {
            Source::Lan(_) => Carrier::Lan { networks: &[] },
            Source::Dht { direct, .. } => Carrier::Dht { networks: &[], direct },
        };
        let rank = candidate.verdict().ok().zip(candidate.claim()).map(|(accepted, claim)| {
            Rank::new(*accepted, claim, carrier, candidate.rtt(), &self.nonce)
        });
        Place {
            refused: rank.is_none(),
            class: core::cmp::Reverse(candidate.trust()),
            demoted: candidate.is_demoted(),
            rank,
            id: candidate.id(),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.jury.handle_timeout(now);
        if self.uses_lan() {
            self.querier.set_satisfied(self.jury.is_satisfied());
            self.querier.handle_timeout(now, &mut self.jury);
            self.rehome();
        }
        self.handle_dht_timeout(now);
    }

    const fn uses_lan(&self) -> bool {
        !F::IS_THERE || !matches!(self.course.carriers, Carriers::Wan)
    }

    /// A candidate whose interface went away stays where another interface still has its text.
    fn rehome(&mut self) {
        for candidate in self.jury.candidates.lost() {
            if let Some((link, source)) = self.querier.holder(candidate.digest) {
                candidate.rehome(link, source);
            }
        }
    }
}

/// The order of candidates; the least comes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    refused: bool,
    class: core::cmp::Reverse<Option<TrustClass>>,
    demoted: bool,
    rank: Option<Rank>,
    id: CandidateId,
}

impl<F: Wide> Machine for Client<F> {
    type Event = Event;

    fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        self.jury.candidates.sweep();
        match input {
            Input::Datagram(datagram) => {
                if self.uses_lan() {
                    self.querier.handle_datagram(now, &datagram, &mut self.jury);
                }
            }
            Input::LinkUp(link) => {
                if self.querier.handle_link_up(now, &link) == Change::Addresses {
                    let interface = link.id.interface;
                    let networks = self.querier.networks(interface);
                    self.jury.handle_networks(now, interface, networks);
                    self.handle_all_networks(now);
                }
            }
            Input::LinkDown(id) => self.querier.handle_link_down(id, &mut self.jury),
            Input::Connection(id, input) => self.handle_connection(now, id, input),
            Input::Timeout => {}
        }
        self.handle_timeout(now);
    }

    fn poll_output(&mut self, buf: &mut TransmitBuffer) -> Output<Event> {
        if let Some((id, news)) = self.jury.candidates.poll_news() {
            return Output::Event(match news {
                News::Accepted => Event::Accepted(id),
                News::Refused => Event::Refused(id),
                News::Changed => Event::Changed(id),
                News::Lost | News::Gone => Event::Lost(id),
            });
        }
        if self.course.take_ended() {
            return Output::Event(Event::Searched);
        }
        let lan = self.uses_lan();
        if let Some(transmit) = lan.then(|| self.querier.poll_transmit(buf)).flatten() {
            return Output::Transmit(transmit);
        }
        if let Some((id, what)) = self.poll_dht(buf) {
            return Output::Connection(id, what);
        }
        let wake = lan.then(|| self.querier.next_wake()).flatten();
        let wake = Wake::earliest(wake, self.jury.next_wake());
        Output::Timeout(Wake::earliest(wake, self.dht_wake()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::dht::finder::{ClientSlot, Finder, SmallFinder, SmallSlot};
    use crate::limits::RX_FULL;

    type Full = Client<Finder<[ClientSlot<RX_FULL>; 3], RX_FULL>>;
    type Small = Client<SmallFinder<[SmallSlot; 3]>>;

    /// Octets of a client for the LAN: no more, and no heap.
    const ROOM: usize = 24 * 1024;
    /// With the DHT and three connections, with large and with small receive buffers.
    const ROOM_FULL: usize = 256 * 1024;
    const ROOM_SMALL: usize = 96 * 1024;

    #[test]
    fn a_client_of_the_dht_fits_in_256_kib_and_a_small_one_in_96() {
        assert!(size_of::<Full>() <= ROOM_FULL, "{}", size_of::<Full>());
        assert!(size_of::<Small>() <= ROOM_SMALL, "{}", size_of::<Small>());
    }

    #[test]
    fn a_client_fits_in_24_kib() {
        assert!(size_of::<Client>() <= ROOM, "{}", size_of::<Client>());
    }
}
