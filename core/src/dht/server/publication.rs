//! One advert of ours in the DHT: what is published, when, and who holds it.

use core::time::Duration;

use heapless::Vec;

use super::job::Under;
use crate::identity::PeerId;
use crate::kad::{Contact, K};
use crate::limits::{ADVERT_JSON_EMIT_MAX, AUDITED};
use crate::rng::Rng;
use crate::time::{Deadline, Instant};
use crate::wire::record::{AdvertKey, KEY_MAX, SignedAdvert};

/// The first and the longest time between two attempts to publish.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// The shortest and the longest time between two audits; between them it is a twelfth of the lifetime.
const AUDIT: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(600));

/// A network that grows makes an advert be published again after this, at most once in ten times as long.
const GROWTH: Duration = Duration::from_secs(1);

/// The place of one advert.
#[derive(Debug)]
pub struct Publication {
    pub(super) advert: Option<Held>,
    /// When to publish.
    pub(super) publish_at: Deadline,
    /// When to read it back.
    pub(super) audit_at: Deadline,
    /// Its record under the base key, and the one under the sub-key.
    pub(super) base: Kept,
    pub(super) sub_key: Kept,
    /// This text was published again because it was missing.
    pub(super) restored: bool,
    /// Since the attempt under way met the holders, more peers became known.
    pub(super) grown: bool,
    pub(super) audit: Audit,
    retry: Duration,
    pub(super) published_at: Option<Instant>,
    /// How often it was tried without success since it was published last.
    pub(super) failures: u32,
}

/// Where one of the records of a publication is.
#[derive(Debug)]
pub(super) struct Kept {
    /// Where it was put last.
    pub(super) holders: Vec<Contact, K, u8>,
    /// Holders that were given this text a second time.
    pub(super) repaired: Vec<PeerId, K, u8>,
}

impl Kept {
    const NOWHERE: Self = Self { holders: Vec::new(), repaired: Vec::new() };

    /// Up to three of the holders, others each time.
    pub(super) fn sample(&self, rng: &mut Rng) -> Vec<Contact, AUDITED, u8> {
        let first = usize::from(rng.u16()).checked_rem(self.holders.len()).unwrap_or(0);
        let (before, from) = self.holders.split_at_checked(first).unwrap_or_default();
        from.iter().chain(before).take(AUDITED).cloned().collect()
    }
}

/// What is published.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) key: AdvertKey,
    /// The octets of the key, and those of our sub-key.
    pub(super) base: Vec<u8, KEY_MAX, u8>,
    pub(super) sub_key: Vec<u8, KEY_MAX, u8>,
    pub(super) value: Vec<u8, ADVERT_JSON_EMIT_MAX, u16>,
    pub(super) seq: u64,
    /// The highest number of ours that was met in the network and told; its own before.
    pub(super) highest: u64,
    /// Seconds.
    pub(super) ttl: u32,
    pub(super) signed_at: Instant,
}

impl Held {
    /// The octets of the key of a record.
    pub(super) fn octets(&self, under: Under) -> &[u8] {
        match under {
            Under::Base => &self.base,
            Under::SubKey => &self.sub_key,
        }
    }

    /// Seconds that the advert is good for.
    pub(super) fn remaining(&self, now: Instant) -> u32 {
        let age = now.since(self.signed_at).as_secs();
        u64::from(self.ttl).checked_sub(age).and_then(|left| u32::try_from(left).ok()).unwrap_or(0)
    }
}

/// One reading back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Audit {
    /// Requests under way.
    pub(super) waiting: u8,
    pub(super) answered: u8,
    /// Answers without any record.
    pub(super) missing: u8,
}

impl Publication {
    /// A free place.
    pub const EMPTY: Self = Self {
        advert: None,
        publish_at: Deadline::NONE,
        audit_at: Deadline::NONE,
        base: Kept::NOWHERE,
        sub_key: Kept::NOWHERE,
        restored: false,
        grown: false,
        audit: Audit { waiting: 0, answered: 0, missing: 0 },
        retry: RETRY.0,
        published_at: None,
        failures: 0,
    };

    /// Takes a newly signed text, to be published at once.
    pub(super) fn set(&mut self, now: Instant, key: &AdvertKey, signed: &SignedAdvert) {
        let mut buffer = [0; ADVERT_JSON_EMIT_MAX];
        let Ok(value) = signed.encode_json(&mut buffer) else { return };
        let advert = signed.advert();
        self.advert = Some(Held {
            key: key.clone(),
            base: key.octets().iter().copied().collect(),
            sub_key: key.of(advert.peer).octets().iter().copied().collect(),
            value: value.iter().copied().collect(),
            seq: advert.seq,
            highest: advert.seq,
            ttl: advert.ttl,
            signed_at: now,
        });
        self.base.repaired.clear();
        self.sub_key.repaired.clear();
        self.restored = false;
        self.hurry(now);
    }

    /// Frees the place. What is held elsewhere ends with its lifetime.
    pub(super) fn clear(&mut self) {
        *self = Self::EMPTY;
    }

    /// Has it published at once, whatever failed before.
    pub(super) fn hurry(&mut self, now: Instant) {
        if self.advert.is_some() {
            self.publish_at = Deadline::new(now);
            self.retry = RETRY.0;
        }
    }

    /// A peer more is known in a network of few: it may be one of the closest.
    pub(super) fn grow(&mut self, now: Instant) {
        let Some(published_at) = self.published_at.filter(|_| self.advert.is_some()) else {
            return;
        };
        let at = (now + GROWTH).max(published_at + GROWTH.saturating_mul(10));
        if self.publish_at.get().is_none_or(|due| due > at) {
            self.publish_at = Deadline::new(at);
        }
    }

    /// It was published.
    pub(super) fn succeed(&mut self, now: Instant, rng: &mut Rng) {
        self.published_at = Some(now);
        self.failures = 0;
        self.retry = RETRY.0;
        self.schedule_audit(now, rng);
        if core::mem::take(&mut self.grown) {
            self.grow(now);
        }
    }

    /// Nobody took it.
    pub(super) fn fail(&mut self, now: Instant, rng: &mut Rng) {
        self.failures = self.failures.saturating_add(1);
        // A newer text may be due already.
        if self.publish_at == Deadline::NONE {
            self.publish_at = Deadline::new(now + jitter(self.retry, rng));
        }
        self.retry = self.retry.saturating_mul(2).min(RETRY.1);
    }

    /// Notes when to read it back.
    pub(super) fn schedule_audit(&mut self, now: Instant, rng: &mut Rng) {
        let ttl = self.advert.as_ref().map_or(0, |advert| advert.ttl);
        let every = Duration::from_secs(u64::from(ttl) / 12).clamp(AUDIT.0, AUDIT.1);
        self.audit_at = Deadline::new(now + jitter(every, rng));
    }

    /// An audit is over. Whether the text is missing where it should be, for the first time.
    pub(super) fn is_lost(&mut self) -> bool {
        let Audit { answered, missing, .. } = self.audit;
        let lost = missing > 0 && missing.saturating_mul(3) >= answered && !self.restored;
        self.restored |= lost;
        lost
    }

    /// Where a record of it is.
    pub(super) const fn kept(&mut self, under: Under) -> &mut Kept {
        match under {
            Under::Base => &mut self.base,
            Under::SubKey => &mut self.sub_key,
        }
    }
}

impl Default for Publication {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// The time, 10 % either way, so that providers that failed together drift apart.
pub(super) fn jitter(base: Duration, rng: &mut Rng) -> Duration {
    rng.duration(base.saturating_mul(9) / 10, base.saturating_mul(11) / 10)
}
