//! One-shot queries that may still be answered.
//!
//! Spec: RFC 6762 §5.1 (one-shot queries time out in two to three seconds), §6.7 (a reply repeats id and question).

use core::time::Duration;

use heapless::Deque;
use sha2::{Digest as _, Sha256};

use crate::limits::ONE_SHOTS;
use crate::machine::{Family, LinkId};
use crate::time::Instant;
use crate::wire::dns::{Message, Name, Question, Type};

/// RFC 6762 §5.1: a simple resolver gives up on a query after two to three seconds.
const TIMEOUT: Duration = Duration::from_millis(2500);

#[derive(Clone, Copy, Debug)]
struct Asked {
    sent_at: Instant,
    question: u64,
    interface: u32,
    id: u16,
    family: Family,
}

impl Asked {
    fn is_on(&self, link: LinkId) -> bool {
        self.interface == link.interface && self.family == link.family
    }
}

/// The one-shot queries of the last seconds; the oldest is forgotten for a newer one.
#[derive(Debug)]
pub(crate) struct OneShots {
    asked: Deque<Asked, ONE_SHOTS>,
}

impl OneShots {
    pub(crate) const fn new() -> Self {
        Self { asked: Deque::new() }
    }

    /// Notes a query.
    pub(crate) fn push(&mut self, now: Instant, link: LinkId, id: u16, question: &Question<'_>) {
        if self.asked.is_full() {
            self.asked.pop_front();
        }
        let question = digest(&question.name, question.qtype);
        let LinkId { interface, family } = link;
        // There is room.
        let _ = self.asked.push_back(Asked { sent_at: now, question, interface, id, family });
    }

    /// Forgets the queries of a link.
    pub(crate) fn forget(&mut self, link: LinkId) {
        self.asked.retain(|asked| !asked.is_on(link));
    }

    /// The time since the query that `message`, come by `link`, answers; `None` when it answers none.
    pub(crate) fn answered(
        &self,
        now: Instant,
        link: LinkId,
        message: &Message<'_>,
    ) -> Option<Duration> {
        let mut questions = message.questions();
        let (Some(Ok(question)), None) = (questions.next(), questions.next()) else {
            return None;
        };
        let question = digest(&question.name, question.qtype);
        let matches = |asked: &&Asked| {
            asked.id == message.id() && asked.is_on(link) && asked.question == question
        };
        let asked = self.asked.iter().rev().find(matches)?;
        Some(now.since(asked.sent_at)).filter(|elapsed| *elapsed <= TIMEOUT)
    }
}

/// A digest of a question, ASCII case ignored.
fn digest(name: &Name<'_>, qtype: Type) -> u64 {
    let mut hash = Sha256::new();
    for label in name.labels() {
        let mut lower = [0_u8; 64];
        for (to, from) in lower.iter_mut().zip(label) {
            *to = from.to_ascii_lowercase();
        }
        hash.update([u8::try_from(label.len()).unwrap_or(0)]);
        hash.update(lower);
    }
    hash.update(u16::from(qtype).to_be_bytes());
    first_64_bits(hash)
}

/// The first 64 bits of a SHA-256 digest.
pub(crate) fn first_64_bits(hash: Sha256) -> u64 {
    let digest: [u8; 32] = hash.finalize().into();
    digest.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first))
}
