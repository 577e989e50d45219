//! Which adverts are acceptable, and which is the best of them.
//!
//! The order of judgement, first failure told with its stable code: the reader's `E-SIZE`, `E-JSON`,
//! `E-FIELD`, `E-URL`, `E-UNSIGNED`, `E-PEERID` ([`crate::wire::record`]); then here `E-UNTRUSTED` (before any
//! curve arithmetic), `E-SIG`, `E-SEQ` and `E-EQUIV`, `E-EXPIRED`, `E-POLICY`.
//!
//! Discovery locates, it does not authorise: an accepted advert is worth fetching its manifest, no more.

pub mod carrier;
mod clock;
mod rank;
mod refusal;
mod seq;
#[cfg(test)]
mod tests;
mod version;

pub use carrier::Carrier;
pub use clock::{ClockFloor, EXPIRY_GRACE};
pub use rank::Rank;
pub use refusal::{Policy, Refusal};
pub use seq::SeqMemory;
pub use version::compare_versions;

use crate::identity::VerifyError;
use crate::wire::record::{self, Arch, Channel, LegacyAdvert, SignedAdvert};
use crate::wire::trust::{Mode, Pins};

/// How far an accepted advert is believed; the greater the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TrustClass {
    /// Not signed at all; only with `insecure`.
    Unsigned,
    /// Signed by somebody nobody named.
    SelfSigned,
    /// Signed by a provider that is named in the trust store.
    Pinned,
}

impl core::fmt::Display for TrustClass {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::Unsigned => "unsigned",
            Self::SelfSigned => "unpinned",
            Self::Pinned => "pinned",
        })
    }
}

/// What to do with an advert whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Stale {
    /// Refuse it.
    Deny,
    /// Accept it behind all others: the clock may be wrong, and the manifest has its own expiry.
    Allow,
}

/// What is wanted, whom we believe, and how the advert came.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The channel that was asked for.
    pub channel: &'a Channel,
    /// The architecture that was asked for, by its canonical name.
    pub arch: &'a Arch,
    /// Whom we believe: [`crate::wire::trust::Trust::pins`] of the channel.
    pub pins: &'a Pins,
    /// Also accept unsigned adverts and unnamed signers.
    pub insecure: bool,
    /// What to do with an advert whose time is over.
    pub stale: Stale,
    /// How the advert came.
    pub carrier: Carrier<'a>,
    /// Also accept loopback addresses, for tests on one machine.
    pub allow_loopback: bool,
}

/// Why an advert is worth trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Accepted {
    /// How far it is believed.
    pub class: TrustClass,
    /// Its time is over; it is there only because of [`Stale::Allow`].
    pub stale: bool,
}

/// What one discovery remembers of the signers it verified.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The highest text of each signer.
    pub seq: SeqMemory,
    /// The earliest time it can be.
    pub clock: ClockFloor,
}

impl Context<'_> {
    /// The class of a signer; no curve arithmetic. What passes costs one verification in [`judge`]: count
    /// those against [`crate::limits::VERIFICATIONS`].
    ///
    /// # Errors
    /// [`Refusal::Untrusted`].
    pub fn classify(&self, advert: &SignedAdvert) -> Result<TrustClass, Refusal> {
        if self.pins.contains(&advert.advert().peer) {
            return Ok(TrustClass::Pinned);
        }
        match self.pins.mode() {
            Mode::Pinned if !self.insecure => Err(Refusal::Untrusted),
            Mode::Pinned | Mode::ReleaseOnly | Mode::Unpinned => Ok(TrustClass::SelfSigned),
        }
    }
}

/// Judges an advert that was just read, and remembers it when its signature is right.
///
/// # Errors
/// The first [`Refusal`]. After [`Refusal::Equivocation`] the advert that was seen before is to be judged
/// again with [`review`]: it fails too.
pub fn judge(
    advert: &SignedAdvert,
    context: &Context<'_>,
    memory: &mut Memory,
) -> Result<Accepted, Refusal> {
    let class = context.classify(advert)?;
    advert.verify(context.channel, context.arch).map_err(|error| match error {
        VerifyError::Key => Refusal::Advert(record::Error::PeerId),
        VerifyError::Signature => Refusal::Signature,
    })?;
    memory.seq.observe(advert, class)?;
    if class == TrustClass::Pinned {
        memory.clock.observe(&advert.advert().peer, advert.advert().issued);
    }
    settle(advert, class, context, memory)
}

/// Judges an advert again whose signature [`judge`] found right: others may have come since.
///
/// # Errors
/// The first [`Refusal`].
pub fn review(
    advert: &SignedAdvert,
    context: &Context<'_>,
    memory: &Memory,
) -> Result<Accepted, Refusal> {
    let class = context.classify(advert)?;
    memory.seq.check(advert)?;
    settle(advert, class, context, memory)
}

/// Judges an advert whose signature [`judge`] found right and that is not its signer's latest, as if it were: for one
/// that says the same as the latest, by a nearer way.
///
/// # Errors
/// The first [`Refusal`].
pub fn settle_earlier(
    advert: &SignedAdvert,
    context: &Context<'_>,
    memory: &Memory,
) -> Result<Accepted, Refusal> {
    settle(advert, context.classify(advert)?, context, memory)
}

/// Judges an advert without signature.
///
/// # Errors
/// [`Refusal`]; always, unless `insecure` is set.
pub fn judge_unsigned(advert: &LegacyAdvert, context: &Context<'_>) -> Result<Accepted, Refusal> {
    if !context.insecure {
        return Err(Refusal::Advert(record::Error::Unsigned));
    }
    carrier::check_url(&advert.url, context, false).map_err(Refusal::Policy)?;
    Ok(Accepted { class: TrustClass::Unsigned, stale: false })
}

fn settle(
    signed: &SignedAdvert,
    class: TrustClass,
    context: &Context<'_>,
    memory: &Memory,
) -> Result<Accepted, Refusal> {
    let advert = signed.advert();
    let stale = memory.clock.is_expired(advert.expires_at());
    if stale && context.stale == Stale::Deny {
        return Err(Refusal::Expired);
    }
    let pinned = class == TrustClass::Pinned;
    carrier::check_url(&advert.url, context, pinned).map_err(Refusal::Policy)?;
    Ok(Accepted { class, stale })
}
