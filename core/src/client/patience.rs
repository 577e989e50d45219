//! How long a search goes on that is made once, and when what it found is taken.
//!
//! ```text
//! begin --- an address ------------- all that is asked ----- better ---> over
//!       NETWORK_TIME   LAN_TIME, and DHT_TIME while the   BETTER_WITHIN
//!                      DHT is being searched
//! ```
//!
//! A limit that a user sets stands for all of them. A search that is not made to the end goes on to the last stage as soon
//! as there is something to take ([`Client::is_settled`]); there it waits for an advert that is trusted further, where there
//! can be one.
//! Not here: when the client asks what (`super::Client`), waiting itself.

use core::time::Duration;

use super::{Carriers, Client, Event};
use crate::dht::finder::Wide;
use crate::select::TrustClass;
use crate::time::Instant;
use crate::wire::trust::Mode;

/// How long to wait for an address when nothing is said.
pub const NETWORK_TIME: Duration = Duration::from_secs(10);

/// How long to look on the LAN when nothing is said: three questions on each link, the last after a second.
pub const LAN_TIME: Duration = Duration::from_secs(3);

/// How long to look in the DHT when nothing is said: names to resolve, and one search, which ends by itself.
pub const DHT_TIME: Duration = Duration::from_secs(15);

/// How long a first acceptable advert waits for one that is trusted further.
pub const BETTER_WITHIN: Duration = Duration::from_millis(100);

/// How long further providers are collected once one is found, for a fetch: one with a later version goes first.
pub const COLLECT: Duration = Duration::from_millis(100);

/// How long one provider's connection is waited for when several are compared.
pub const COMPARE: Duration = Duration::from_millis(500);

impl Carriers {
    /// Where there is something to look in: with nobody to enter the DHT by, there is none to search. [`Carriers::Wan`]
    /// stays, for whoever was told so.
    #[must_use]
    pub const fn with(self, has_bootstraps: bool) -> Self {
        match self {
            Self::Auto | Self::All if !has_bootstraps => Self::Lan,
            Self::Auto | Self::Lan | Self::Wan | Self::All => self,
        }
    }
}

/// What a client has found so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// How far the best candidate is trusted, if there is an acceptable one.
    pub best: Option<TrustClass>,
    /// [`Client::is_settled`].
    pub is_settled: bool,
}

impl<F: Wide> Client<F> {
    /// What it has found so far.
    #[must_use]
    pub fn found(&self) -> Found {
        let verdict = self.best().and_then(|best| best.verdict().ok());
        Found { best: verdict.map(|accepted| accepted.class), is_settled: self.is_settled() }
    }
}

/// When a search is over that is made once.
#[derive(Clone, Debug)]
pub struct Patience {
    carriers: Carriers,
    /// Whether every candidate is wanted, and not the first acceptable one.
    to_the_end: bool,
    /// The furthest that an advert can be trusted here.
    best_class: TrustClass,
    limit: Option<Duration>,
    began: Instant,
    /// When there was an address that leads beyond its link.
    configured: Option<Instant>,
    /// Somebody to enter the DHT by was found.
    entered: bool,
    /// A search in the DHT is over and nobody to enter by was found since.
    searched: bool,
    /// Until when something better is waited for.
    better_by: Option<Instant>,
}

impl Patience {
    /// For a search that begins. `carriers`: what was asked for; [`Carriers::All`] is searched to the end, also where that is
    /// the LAN alone. `mode`: of the trust.
    #[must_use]
    pub const fn new(now: Instant, carriers: Carriers, has_bootstraps: bool, mode: Mode) -> Self {
        Self {
            carriers: carriers.with(has_bootstraps),
            to_the_end: matches!(carriers, Carriers::All),
            best_class: match mode {
                Mode::Pinned => TrustClass::Pinned,
                Mode::ReleaseOnly | Mode::Unpinned => TrustClass::SelfSigned,
            },
            limit: None,
            began: now,
            configured: None,
            entered: false,
            searched: false,
            better_by: None,
        }
    }

    /// Where is looked.
    #[must_use]
    pub const fn carriers(&self) -> Carriers {
        self.carriers
    }

    /// Sets the time that a user gave it, counted from its beginning.
    pub const fn set_limit(&mut self, limit: Option<Duration>) {
        self.limit = limit;
    }

    /// Begins once more, to the end.
    pub const fn begin_again(&mut self, now: Instant) {
        (self.began, self.to_the_end, self.better_by) = (now, true, None);
        if self.configured.is_some() {
            self.configured = Some(now);
        }
    }

    /// Notes that there is an address that leads beyond its link, so that questions reach others.
    pub const fn handle_configured(&mut self, now: Instant) {
        self.configured = Some(now);
    }

    /// When there was one.
    #[must_use]
    pub const fn configured(&self) -> Option<Instant> {
        self.configured
    }

    /// Notes what the client tells.
    pub fn handle_event(&mut self, event: Event) {
        self.searched |= event == Event::Searched;
    }

    /// Notes that somebody to enter the DHT by was found. Returns whether a search was over already, without them: then it
    /// has to begin anew.
    #[must_use]
    pub const fn handle_entry(&mut self) -> bool {
        self.entered = true;
        core::mem::replace(&mut self.searched, false)
    }

    /// Until when to wait for the next event at most; `None`: the search is over. To be asked again after whatever happened.
    /// `found`: what there is by now. `resolving`: there is an address to enter the DHT by of which nobody knows yet where it
    /// leads.
    pub fn deadline(&mut self, now: Instant, found: Found, resolving: bool) -> Option<Instant> {
        let better_by = match self.better_by {
            Some(better_by) => better_by,
            None => {
                let last = self.last(resolving);
                if now < last && (self.to_the_end || !found.is_settled) {
                    return Some(last);
                }
                let better_by = now + BETTER_WITHIN;
                *self.better_by.insert(match self.limit {
                    Some(limit) => better_by.min(self.began + limit),
                    None => better_by,
                })
            }
        };
        let can_be_better = found.best? < self.best_class && !self.to_the_end;
        (can_be_better && now < better_by).then_some(better_by)
    }

    /// When it is over in any case, unless something happens before.
    fn last(&self, resolving: bool) -> Instant {
        match (self.limit, self.configured) {
            (Some(limit), _) => self.began + limit,
            (None, None) => self.began + NETWORK_TIME,
            (None, Some(configured)) if self.has_searched(resolving) => {
                let uses_lan = !matches!(self.carriers, Carriers::Wan);
                configured + if uses_lan { LAN_TIME } else { Duration::ZERO }
            }
            (None, Some(configured)) => configured + DHT_TIME,
        }
    }

    /// Whether the DHT has nothing under way that could bring something.
    const fn has_searched(&self, resolving: bool) -> bool {
        let is_over = self.searched || !self.entered;
        matches!(self.carriers, Carriers::Lan) || (!resolving && is_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Found = Found { best: None, is_settled: false };
    const SELF_SIGNED: Found = Found { best: Some(TrustClass::SelfSigned), is_settled: true };
    const PINNED: Found = Found { best: Some(TrustClass::Pinned), is_settled: true };

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    /// A search that began at 0 and has an address since a second.
    fn configured(carriers: Carriers, mode: Mode) -> Patience {
        let mut patience = Patience::new(at(0), carriers, true, mode);
        patience.handle_configured(at(1000));
        patience
    }

    #[test]
    fn with_nobody_to_enter_by_there_is_no_dht() {
        for (carriers, without) in [
            (Carriers::Auto, Carriers::Lan),
            (Carriers::All, Carriers::Lan),
            (Carriers::Lan, Carriers::Lan),
            (Carriers::Wan, Carriers::Wan),
        ] {
            assert_eq!(carriers.with(false), without);
            assert_eq!(carriers.with(true), carriers);
        }
    }

    #[test]
    fn an_address_is_waited_for_before_anything_is_asked() {
        let mut patience = Patience::new(at(0), Carriers::Lan, false, Mode::Pinned);
        assert_eq!(patience.deadline(at(9_999), NOTHING, false), Some(at(10_000)));
        patience.handle_configured(at(9_999));
        assert_eq!(patience.deadline(at(9_999), NOTHING, false), Some(at(12_999)));
        assert_eq!(patience.deadline(at(12_999), NOTHING, false), None);
    }

    #[test]
    fn without_an_address_it_is_over_after_a_while() {
        let mut patience = Patience::new(at(0), Carriers::Auto, true, Mode::Pinned);
        assert_eq!(patience.deadline(at(10_000), NOTHING, true), None);
    }

    #[test]
    fn the_dht_has_more_time_while_it_is_searched() {
        let mut patience = configured(Carriers::Auto, Mode::Pinned);
        assert_eq!(patience.deadline(at(1000), NOTHING, true), Some(at(16_000)));
        assert!(!patience.handle_entry());
        assert_eq!(patience.deadline(at(1000), NOTHING, false), Some(at(16_000)));
        patience.handle_event(Event::Searched);
        assert_eq!(patience.deadline(at(1000), NOTHING, false), Some(at(4000)));
        assert!(patience.handle_entry(), "the search was over without them");
        assert_eq!(patience.deadline(at(1000), NOTHING, false), Some(at(16_000)));
        assert_eq!(patience.deadline(at(16_000), NOTHING, false), None);
    }

    #[test]
    fn a_dht_that_nobody_leads_to_is_not_waited_for() {
        let mut both = configured(Carriers::Auto, Mode::Pinned);
        assert_eq!(both.deadline(at(1000), NOTHING, false), Some(at(4000)));
        let mut dht = configured(Carriers::Wan, Mode::Pinned);
        assert_eq!(dht.deadline(at(1000), NOTHING, true), Some(at(16_000)));
        assert_eq!(dht.deadline(at(1000), NOTHING, false), None);
    }

    #[test]
    fn what_is_trusted_as_far_as_can_be_is_taken_at_once() {
        assert_eq!(configured(Carriers::Lan, Mode::Pinned).deadline(at(1500), PINNED, false), None);
        for mode in [Mode::ReleaseOnly, Mode::Unpinned] {
            assert_eq!(
                configured(Carriers::Lan, mode).deadline(at(1500), SELF_SIGNED, false),
                None
            );
        }
    }

    #[test]
    fn what_is_trusted_less_waits_a_moment_for_something_better() {
        let mut patience = configured(Carriers::Lan, Mode::Pinned);
        assert_eq!(patience.deadline(at(1500), SELF_SIGNED, false), Some(at(1600)));
        assert_eq!(patience.deadline(at(1599), SELF_SIGNED, false), Some(at(1600)));
        assert_eq!(patience.clone().deadline(at(1599), PINNED, false), None);
        assert_eq!(patience.deadline(at(1600), SELF_SIGNED, false), None);
    }

    #[test]
    fn a_limit_stands_for_every_other_time() {
        let mut patience = Patience::new(at(0), Carriers::Auto, true, Mode::Pinned);
        patience.set_limit(Some(Duration::from_millis(500)));
        assert_eq!(patience.deadline(at(0), NOTHING, true), Some(at(500)));
        patience.handle_configured(at(100));
        assert_eq!(patience.deadline(at(100), NOTHING, false), Some(at(500)));
        assert_eq!(patience.deadline(at(450), SELF_SIGNED, false), Some(at(500)));
        assert_eq!(patience.deadline(at(500), SELF_SIGNED, false), None);
    }

    #[test]
    fn to_the_end_means_to_the_end() {
        let mut patience = configured(Carriers::All, Mode::Pinned);
        assert!(!patience.handle_entry());
        assert_eq!(patience.deadline(at(1500), PINNED, false), Some(at(16_000)));
        patience.handle_event(Event::Searched);
        assert_eq!(patience.deadline(at(1500), SELF_SIGNED, false), Some(at(4000)));
        assert_eq!(patience.deadline(at(4000), SELF_SIGNED, false), None);
        patience.begin_again(at(5000));
        assert_eq!(patience.deadline(at(5000), PINNED, false), Some(at(8000)));
    }
}
