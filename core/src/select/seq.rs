//! The highest text of each signer, so that an older one is not believed again.

use core::cmp::Ordering;

use super::{Refusal, TrustClass};
use crate::identity::PeerId;
use crate::limits::SIGNERS;
use crate::time::UnixTime;
use crate::wire::digest::Digest;
use crate::wire::record::SignedAdvert;

/// What is remembered of one signer.
#[derive(Clone, Copy, Debug)]
struct Seen {
    signer: PeerId,
    seq: u64,
    issued: UnixTime,
    /// The digest of the signature: it covers every other octet.
    text: Digest,
    /// Two texts came with this `seq`.
    equivocated: bool,
    pinned: bool,
}

/// The highest verified text of each signer, for one channel and architecture: what a provider says of
/// its other images has a `seq` of its own. `seq` is compared within one signer, never across.
#[derive(Clone, Debug, Default)]
pub struct SeqMemory(heapless::Vec<Seen, SIGNERS>);

impl SeqMemory {
    /// Takes note of a text whose signature was found right.
    ///
    /// # Errors
    /// As [`SeqMemory::check`].
    pub fn observe(&mut self, signed: &SignedAdvert, class: TrustClass) -> Result<(), Refusal> {
        let advert = signed.advert();
        let new = Seen {
            signer: advert.peer,
            seq: advert.seq,
            issued: advert.issued,
            text: Digest::of(&signed.signature().0),
            equivocated: false,
            pinned: class == TrustClass::Pinned,
        };
        let Some(seen) = self.0.iter_mut().find(|seen| seen.signer == advert.peer) else {
            self.insert(new);
            return Ok(());
        };
        match new.seq.cmp(&seen.seq) {
            Ordering::Less => Err(Refusal::Sequence),
            Ordering::Equal if new.text != seen.text || seen.equivocated => {
                seen.equivocated = true;
                Err(Refusal::Equivocation)
            }
            Ordering::Equal => Ok(()),
            // A greater number with an earlier time is a provider whose clock went back: it is later.
            Ordering::Greater => {
                *seen = new;
                Ok(())
            }
        }
    }

    /// Whether a text that was noted is still its signer's latest.
    ///
    /// # Errors
    /// [`Refusal::Sequence`] when there is a later one, [`Refusal::Equivocation`] when there is another one
    /// with the same `seq`: then neither counts.
    pub fn check(&self, signed: &SignedAdvert) -> Result<(), Refusal> {
        let advert = signed.advert();
        let Some(seen) = self.0.iter().find(|seen| seen.signer == advert.peer) else {
            return Ok(());
        };
        match advert.seq.cmp(&seen.seq) {
            Ordering::Less => Err(Refusal::Sequence),
            Ordering::Equal if seen.equivocated => Err(Refusal::Equivocation),
            Ordering::Equal | Ordering::Greater => Ok(()),
        }
    }

    /// When full, the signer with the oldest text gives way, unless it is pinned.
    fn insert(&mut self, new: Seen) {
        if let Err(new) = self.0.push(new) {
            let unpinned = self.0.iter_mut().filter(|seen| !seen.pinned);
            if let Some(oldest) = unpinned.min_by_key(|seen| seen.issued) {
                *oldest = new;
            }
        }
    }
}
