//! What a querier remembers of the network: service instances, and the lives of their records.
//!
//! Spec: RFC 6762 §5.2 (refresh at 80, 85, 90 and 95 %), §7.1 (known answers), §10 (lifetimes, goodbye, flush).
//!
//! Only records about one service type are kept, by *interface*: a record learned over IPv4 is the same record over
//! IPv6. Octets of TXT records are not kept, only a digest: whoever judged them keeps what they said.
//!
//! A *verified* text is not taken away by one unauthenticated packet: goodbye, flush and lapsed neighbours put it in
//! *doubt*, in which it is asked for again, and only silence removes it. Newcomers never evict a verified instance.

use core::net::IpAddr;
use core::time::Duration;

use heapless::Vec;
use sha2::{Digest as _, Sha256};

use crate::limits::{CACHE_TTL_MAX, INSTANCES, INSTANCES_PER_SOURCE, LABEL_MAX};
use crate::machine::LinkId;
use crate::mdns::querier::asked::first_64_bits;
use crate::mdns::querier::series::Series;
use crate::time::{Deadline, Instant};

/// RFC 6762 §10.1, §10.2: a record said goodbye to, or flushed, lives one second more.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// RFC 6762 §10.4: a record nobody confirms in ten seconds is flushed.
pub(crate) const RECONFIRM: Duration = Duration::from_secs(10);

/// RFC 6762 §5.2: percentages of the TTL at which a record in use is asked for again.
const REFRESH_PERCENT: [u32; 4] = [80, 85, 90, 95];

/// A label of an instance name: the user-visible name, any UTF-8.
pub(crate) type Label = Vec<u8, LABEL_MAX, u8>;

/// The life of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    received_at: Instant,
    /// Seconds.
    ttl: u32,
    /// Steps of the refresh ladder that were asked.
    refreshes: u8,
    /// 0 to 255 stand for 0 to 2 % of the TTL: RFC 6762 §5.2 spreads refreshes.
    jitter: u8,
    /// Learned from a reply to a one-shot query, whose TTL is cut to 10 s (RFC 6762 §6.7).
    one_shot: bool,
}

impl Lifetime {
    /// A life of `ttl` seconds from `now`; `one_shot`: learned from a reply to a one-shot query.
    pub(crate) fn new(now: Instant, ttl: u32, one_shot: bool, jitter: u8) -> Self {
        Self { received_at: now, ttl: ttl.min(CACHE_TTL_MAX), refreshes: 0, jitter, one_shot }
    }

    /// The life after the record was heard again. A reply to a one-shot query, with its small TTL, shortens nothing.
    pub(crate) fn renewed(old: Option<Self>, new: Self) -> Self {
        match old {
            Some(old) if new.one_shot && old.expires_at() > new.expires_at() => old,
            _ => new,
        }
    }

    pub(crate) fn expires_at(&self) -> Instant {
        self.received_at + Duration::from_secs(u64::from(self.ttl))
    }

    /// When the record was last heard.
    pub(crate) fn received_at(&self) -> Instant {
        self.received_at
    }

    pub(crate) fn is_live(&self, now: Instant) -> bool {
        now < self.expires_at()
    }

    /// The TTL to send in a known-answer list. RFC 6762 §7.1: a record with less than half its TTL left MUST NOT be
    /// listed; one in its goodbye second is not known any more, and one learned from a one-shot reply carries a TTL
    /// that no responder compares with.
    pub(crate) fn known_answer_ttl(&self, now: Instant) -> Option<u32> {
        let left = self.expires_at().since(now).as_secs();
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        let listed = !self.one_shot && self.ttl > 1 && left >= self.ttl.div_ceil(2);
        listed.then_some(left)
    }

    /// When to ask for the record again; `None` after the fourth time.
    pub(crate) fn refresh_at(&self) -> Option<Instant> {
        let percent = REFRESH_PERCENT.get(usize::from(self.refreshes))?;
        let life = Duration::from_secs(u64::from(self.ttl));
        let jitter =
            life.checked_div(50)?.saturating_mul(u32::from(self.jitter)).checked_div(255)?;
        let after = life.saturating_mul(*percent).checked_div(100)?.saturating_add(jitter);
        Some(self.received_at + after)
    }

    /// Whether a refresh is due; takes every step that is.
    pub(crate) fn take_refresh(&mut self, now: Instant) -> bool {
        let mut due = false;
        while self.refresh_at().is_some_and(|at| at <= now) {
            self.refreshes = self.refreshes.saturating_add(1);
            due = true;
        }
        due
    }

    /// Whether its TTL was cut by a one-shot reply.
    pub(crate) fn is_one_shot(&self) -> bool {
        self.one_shot
    }

    /// RFC 6762 §10.1: "records the TTL as one second".
    pub(crate) fn end(&mut self, now: Instant) {
        if self.expires_at() > now + GRACE {
            *self = Self { received_at: now, ttl: 1, refreshes: u8::MAX, ..*self };
        }
    }

    /// Whether it is in its last second after a goodbye or a flush.
    pub(crate) const fn is_ending(&self) -> bool {
        self.refreshes == u8::MAX
    }
}

/// What a TXT record is worth to whoever judged it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Worth {
    /// Not about what is looked for, or not kept.
    Nothing,
    /// Looked at and refused.
    Refused,
    /// Looked at and accepted.
    Verified,
}

/// A digest of TXT record data; collisions are as hard as for SHA-256 cut to 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextDigest(pub(crate) u64);

impl TextDigest {
    pub(crate) fn of(octets: &[u8]) -> Self {
        Self(first_64_bits(Sha256::new_with_prefix(octets)))
    }
}

/// One TXT record of an instance. A second one exists where two hosts claim one name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    pub(crate) digest: TextDigest,
    pub(crate) worth: Worth,
    pub(crate) life: Lifetime,
    /// Removed at this time unless the record is heard again.
    pub(crate) doubt: Deadline,
}

/// One SRV record of an instance: RFC 2782 order decides which of several.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    pub(crate) priority: u16,
    pub(crate) weight: u16,
    /// Digest of port and target: tells one SRV record from another.
    pub(crate) digest: u32,
    pub(crate) life: Lifetime,
}

impl Service {
    /// RFC 6763 §5: the lowest priority, then the highest weight.
    pub(crate) fn is_preferred_to(&self, other: &Self) -> bool {
        (self.priority, core::cmp::Reverse(self.weight))
            < (other.priority, core::cmp::Reverse(other.weight))
    }
}

/// A set of question kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asks(u8);

impl Asks {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const SUBTYPE: Self = Self(1);
    pub(crate) const TYPE: Self = Self(2);
    pub(crate) const BROWSE: Self = Self(3);
    pub(crate) const TXT: Self = Self(4);
    pub(crate) const SRV: Self = Self(8);
    pub(crate) const A: Self = Self(16);
    pub(crate) const AAAA: Self = Self(32);

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) const fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// Takes the lowest member out.
    pub(crate) const fn pop(&mut self) -> Option<Self> {
        if self.0 == 0 {
            return None;
        }
        let lowest = Self(1 << self.0.trailing_zeros());
        self.remove(lowest);
        Some(lowest)
    }
}

/// One service instance on one interface.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) label: Label,
    /// The link it was last heard by; its interface is part of the key.
    pub(crate) link: LinkId,
    /// Who spoke of it last.
    pub(crate) source: IpAddr,
    /// PTR records from the subtype and from the service type.
    pub(crate) subtype: Option<Lifetime>,
    pub(crate) service_type: Option<Lifetime>,
    pub(crate) service: Option<Service>,
    pub(crate) texts: Vec<Text, 2, u8>,
    /// Follow-up questions: SRV and TXT not yet known, or in doubt.
    pub(crate) resolve: Series,
    /// What an NSEC record denied since the last positive answer.
    pub(crate) denied: Asks,
    /// Questions to send from the ephemeral port, and from 5353.
    pub(crate) one_shot: Asks,
    pub(crate) multicast: Asks,
    /// The message at hand speaks of it.
    pub(crate) touched: bool,
    /// Passive observation of failures (RFC 6762 §10.5): queries of others that nobody answered.
    pub(crate) unanswered: u8,
}

impl Instance {
    fn new(link: LinkId, source: IpAddr, label: Label) -> Self {
        Self {
            label,
            link,
            source,
            subtype: None,
            service_type: None,
            service: None,
            texts: Vec::new(),
            resolve: Series::idle(),
            denied: Asks::NONE,
            one_shot: Asks::NONE,
            multicast: Asks::NONE,
            touched: false,
            unanswered: 0,
        }
    }

    /// The most that any of its texts is worth.
    pub(crate) fn worth(&self) -> Worth {
        self.texts.iter().map(|text| text.worth).max().unwrap_or(Worth::Nothing)
    }

    /// Whether it is looked at any further: not yet resolved, or about what is looked for.
    pub(crate) fn is_wanted(&self) -> bool {
        self.texts.is_empty() || self.worth() > Worth::Nothing
    }

    pub(crate) fn is_called(&self, interface: u32, label: &[u8]) -> bool {
        self.link.interface == interface && self.label.eq_ignore_ascii_case(label)
    }

    /// The PTR record for this question.
    pub(crate) fn pointer(&self, ask: Asks) -> Option<&Lifetime> {
        if ask == Asks::SUBTYPE { self.subtype.as_ref() } else { self.service_type.as_ref() }
    }

    pub(crate) fn pointer_mut(&mut self, ask: Asks) -> &mut Option<Lifetime> {
        if ask == Asks::SUBTYPE { &mut self.subtype } else { &mut self.service_type }
    }

    /// The TTL under which its PTR record is a known answer; none while its name is in doubt.
    pub(crate) fn known_answer_ttl(&self, ask: Asks, now: Instant) -> Option<u32> {
        let doubted = self.texts.iter().any(|text| text.doubt != Deadline::NONE);
        self.pointer(ask).filter(|_| !doubted)?.known_answer_ttl(now)
    }

    /// What is not known of it and was not denied. SRV counts as a sign of life, for those who keep `watching`: the URL
    /// of an advert says where to go.
    pub(crate) fn missing(&self, watching: bool) -> Asks {
        let mut missing = Asks::NONE;
        if self.is_wanted() {
            if self.texts.is_empty() || self.texts.iter().any(|text| text.doubt != Deadline::NONE) {
                missing.insert(Asks::TXT);
            }
            if watching && self.service.is_none() {
                missing.insert(Asks::SRV);
            }
            missing.remove(self.denied);
        }
        missing
    }

    /// Puts every text in doubt until `deadline`; true where a verified one was not so before.
    pub(crate) fn doubt(&mut self, deadline: Instant) -> bool {
        let mut ask = false;
        for text in &mut self.texts {
            if text.doubt.get().is_none_or(|at| at > deadline) {
                ask |= text.doubt == Deadline::NONE && text.worth == Worth::Verified;
                text.doubt = Deadline::new(deadline);
            }
        }
        ask
    }

    /// Its host was asked and answered: what it was said to have said goodbye to is forgotten, not mourned.
    pub(crate) fn rescue(&mut self) {
        self.subtype = self.subtype.filter(|life| !life.is_ending());
        self.service_type = self.service_type.filter(|life| !life.is_ending());
        self.service = self.service.filter(|service| !service.life.is_ending());
    }

    /// The next time something of it ends.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let pointers =
            self.subtype.iter().chain(self.service_type.iter()).map(Lifetime::expires_at);
        let service = self.service.iter().map(|service| service.life.expires_at());
        let texts = self.texts.iter().map(|text| {
            let end = text.life.expires_at();
            text.doubt.get().map_or(end, |at| at.min(end))
        });
        pointers.chain(service).chain(texts).min()
    }

    /// The next time a record of it is to be refreshed.
    pub(crate) fn next_refresh(&self) -> Option<Instant> {
        let texts = self.texts.iter().filter(|text| text.worth > Worth::Nothing).map(|t| &t.life);
        let pointers = self.subtype.iter().chain(self.service_type.iter());
        let service = self.service.iter().map(|service| &service.life);
        pointers.chain(service).chain(texts).filter_map(Lifetime::refresh_at).min()
    }
}

/// Every instance known, on every interface, the oldest first.
#[derive(Debug)]
pub(crate) struct Cache {
    instances: Vec<Instance, INSTANCES, u8>,
}

impl Cache {
    pub(crate) const fn new() -> Self {
        Self { instances: Vec::new() }
    }

    pub(crate) fn iter(&self) -> core::slice::Iter<'_, Instance> {
        self.instances.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> core::slice::IterMut<'_, Instance> {
        self.instances.iter_mut()
    }

    pub(crate) fn find(&self, interface: u32, label: &[u8]) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.is_called(interface, label))
    }

    pub(crate) fn find_mut(&mut self, interface: u32, label: &[u8]) -> Option<&mut Instance> {
        self.instances.iter_mut().find(|instance| instance.is_called(interface, label))
    }

    /// The instance of this name, made when it is not known. `None` when it is too long a label or there is no room:
    /// everything kept is worth more. The instance that made room is given to `evicted`.
    pub(crate) fn entry(
        &mut self,
        link: LinkId,
        source: IpAddr,
        label: &[u8],
        evicted: impl FnOnce(Instance),
    ) -> Option<&mut Instance> {
        let known = self.instances.iter().position(|i| i.is_called(link.interface, label));
        let at = match known {
            Some(at) => at,
            None => {
                let label = Label::from_slice(label).ok()?;
                if let Some(victim) = self.victim(source)? {
                    evicted(self.instances.remove(victim));
                }
                self.instances.push(Instance::new(link, source, label)).ok()?;
                self.instances.len().checked_sub(1)?
            }
        };
        let instance = self.instances.get_mut(at)?;
        instance.link = link;
        instance.touched = true;
        Some(instance)
    }

    /// Which instance makes room for one from `source`: `Some(None)` none needs to, `None` none may.
    #[expect(clippy::option_option, reason = "no victim needed and no victim allowed differ")]
    fn victim(&self, source: IpAddr) -> Option<Option<usize>> {
        let of_source = self.instances.iter().filter(|i| i.source == source).count();
        let crowded = of_source >= INSTANCES_PER_SOURCE;
        if !crowded && !self.instances.is_full() {
            return Some(None);
        }
        let candidates = self.instances.iter().enumerate().filter(|(_, instance)| {
            instance.worth() < Worth::Verified && (!crowded || instance.source == source)
        });
        // The least worth first; what nobody asked for before what was asked for; then the oldest.
        let cost = |instance: &Instance| {
            let resolving = instance.texts.is_empty() && instance.subtype.is_some();
            (instance.worth(), resolving)
        };
        candidates.min_by_key(|(at, instance)| (cost(instance), *at)).map(|(at, _)| Some(at))
    }

    /// Removes the instances for which `keep` says no.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&mut Instance) -> bool) {
        self.instances.retain_mut(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Family;

    const LINK: LinkId = LinkId { interface: 2, family: Family::V4 };

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn source(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn records_are_refreshed_at_80_85_90_and_95_percent_with_2_percent_jitter() {
        for (jitter, offset) in [(0, 0), (255, 2)] {
            let mut life = Lifetime::new(at(0), 100, false, jitter);
            let mut seen = std::vec::Vec::new();
            for second in 0..100 {
                if life.take_refresh(at(second)) {
                    seen.push(second - offset);
                }
            }
            assert_eq!(seen, [80, 85, 90, 95]);
            assert_eq!(life.refresh_at(), None);
        }
    }

    #[test]
    fn a_known_answer_has_at_least_half_its_life_left() {
        let life = Lifetime::new(at(0), 120, false, 0);
        assert_eq!(life.known_answer_ttl(at(60)), Some(60));
        assert_eq!(life.known_answer_ttl(at(61)), None);
        assert_eq!(Lifetime::new(at(0), 10, true, 0).known_answer_ttl(at(0)), None);
        let mut ended = life;
        ended.end(at(1));
        assert_eq!(ended.known_answer_ttl(at(1)), None);
        assert_eq!(ended.expires_at(), at(2));
    }

    #[test]
    fn a_one_shot_reply_shortens_no_life() {
        let long = Lifetime::new(at(0), 4500, false, 0);
        let short = Lifetime::new(at(1), 10, true, 0);
        assert_eq!(Lifetime::renewed(Some(long), short), long);
        assert_eq!(Lifetime::renewed(None, short), short);
        assert_eq!(Lifetime::renewed(Some(short), long), long);
    }

    #[test]
    fn a_huge_ttl_is_cut() {
        let life = Lifetime::new(at(0), u32::MAX, false, 0);
        assert_eq!(life.expires_at(), at(u64::from(CACHE_TTL_MAX)));
    }

    #[test]
    fn a_flood_evicts_the_oldest_junk_and_nothing_verified() {
        let mut cache = Cache::new();
        let good = cache.entry(LINK, source(1), b"good", |_| {}).unwrap();
        let text = Text {
            digest: TextDigest(1),
            worth: Worth::Verified,
            life: Lifetime::new(at(0), 120, false, 0),
            doubt: Deadline::NONE,
        };
        good.texts.push(text).unwrap();
        for n in 0..1000_u16 {
            let label = n.to_be_bytes();
            let from = source(u8::try_from(n % 250).unwrap());
            assert!(cache.entry(LINK, from, &label, |_| {}).is_some());
        }
        assert_eq!(cache.iter().count(), INSTANCES);
        assert!(cache.find(2, b"GOOD").is_some());
        assert!(cache.find(2, &999_u16.to_be_bytes()).is_some());
        assert!(cache.find(3, b"good").is_none());
    }

    #[test]
    fn one_source_cannot_crowd_out_another() {
        let mut cache = Cache::new();
        cache.entry(LINK, source(1), b"other", |_| {}).unwrap();
        for n in 0..1000_u16 {
            cache.entry(LINK, source(2), &n.to_be_bytes(), |_| {}).unwrap();
        }
        assert_eq!(cache.iter().count(), INSTANCES_PER_SOURCE + 1);
        assert!(cache.find(2, b"other").is_some());
    }

    #[test]
    fn a_label_longer_than_63_octets_is_not_kept() {
        let mut cache = Cache::new();
        assert!(cache.entry(LINK, source(1), &[b'x'; 64], |_| {}).is_none());
    }
}
