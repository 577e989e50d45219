//! Which records are worth storing for others.
//!
//! The order of judgement is that of [`crate::select`], without trust: a node stores what anybody signed.
//! Foreign namespaces are not stored at all; what provider records say is proved by the connection they came by.

use crate::identity::{PeerId, VerifyError};
use crate::select::{self, EXPIRY_GRACE, Policy};
use crate::time::UnixTime;
use crate::wire::record::{self, AdvertKey, LegacyAdvert, Received, SignedAdvert};
use crate::wire::url::{AddressClass, Host, Url};

/// Why a record is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Refusal {
    /// The key is no advert's: another namespace, or not a key at all.
    Key,
    /// The value is no advert for this key that a client could accept.
    Advert(select::Refusal),
    /// The key is another signer's sub-key.
    Signer,
    /// There is enough of its kind.
    Quota(Quota),
}

/// What there is enough of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Quota {
    /// Signers under this key.
    Signers,
    /// Records, or octets of them.
    Store,
    /// Keys that this peer had stored.
    Source,
    /// Keys that peers of this IP prefix had stored.
    Group,
    /// Puts of this peer in this second.
    Rate,
}

impl Refusal {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Key => "E-KEY",
            Self::Advert(refusal) => refusal.code(),
            Self::Signer => "E-SIGNER",
            Self::Quota(_) => "E-QUOTA",
        }
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let text = match self {
            Self::Key => "the key is not /phase/{channel}/{arch}/manifest or a sub-key of it",
            Self::Advert(refusal) => return refusal.fmt(f),
            Self::Signer => "the sub-key is another signer's",
            Self::Quota(Quota::Signers) => "the key has as many signers as are kept",
            Self::Quota(Quota::Store) => "the store is full",
            Self::Quota(Quota::Source) => "the peer had as many keys stored as it may",
            Self::Quota(Quota::Group) => {
                "the peers of this IP prefix had as many keys stored as they may"
            }
            Self::Quota(Quota::Rate) => "the peer puts more records in a second than it may",
        };
        write!(f, "{} {text}", self.code())
    }
}

impl core::error::Error for Refusal {}

/// What is known where a record is judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context {
    /// The time, if this machine knows it.
    pub clock: Option<UnixTime>,
    /// Also take URLs with loopback addresses, for tests on one machine.
    pub allow_loopback: bool,
}

/// A record that is worth storing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Valid {
    /// An advert whose signature is right for the key.
    Signed(SignedAdvert),
    /// An advert in the format without signatures, under a base key.
    Unsigned(LegacyAdvert),
}

/// Judges the value of a record. Verifies a signature: limit the rate before.
///
/// # Errors
/// The first [`Refusal`]; never one of a quota.
pub fn validate(key: &AdvertKey, value: &[u8], context: &Context) -> Result<Valid, Refusal> {
    let advert = |refusal| Refusal::Advert(refusal);
    let received = record::decode_json(value).map_err(|error| advert(error.into()))?;
    let signed = match received {
        Received::Signed(signed) => signed,
        Received::Unsigned(_) if key.peer.is_some() => {
            return Err(advert(record::Error::Unsigned.into()));
        }
        Received::Unsigned(legacy) => {
            check_url(&legacy.url, context)?;
            return Ok(Valid::Unsigned(legacy));
        }
    };
    if key.peer.is_some_and(|peer: PeerId| peer != signed.advert().peer) {
        return Err(Refusal::Signer);
    }
    signed.verify(&key.channel, &key.arch).map_err(|error| match error {
        VerifyError::Key => advert(record::Error::PeerId.into()),
        VerifyError::Signature => advert(select::Refusal::Signature),
    })?;
    let expires_at = signed.advert().expires_at().plus(EXPIRY_GRACE);
    if context.clock.is_some_and(|clock| expires_at < clock) {
        return Err(advert(select::Refusal::Expired));
    }
    check_url(&signed.advert().url, context)?;
    Ok(Valid::Signed(signed))
}

/// Refuses what no client takes from the DHT, whomever it trusts.
fn check_url(url: &Url, context: &Context) -> Result<(), Refusal> {
    let class = match url.host() {
        Host::Ip(ip) => AddressClass::of(ip),
        Host::Name(name) if name == "localhost" || name.ends_with(".localhost") => {
            AddressClass::Loopback
        }
        Host::Name(_) => AddressClass::Global,
    };
    match class {
        AddressClass::Private | AddressClass::Global => Ok(()),
        AddressClass::Loopback if context.allow_loopback => Ok(()),
        AddressClass::Loopback
        | AddressClass::Unusable
        | AddressClass::Metadata
        | AddressClass::LinkLocalV4
        | AddressClass::LinkLocalV6 => {
            Err(Refusal::Advert(select::Refusal::Policy(Policy::Class(class))))
        }
    }
}

#[cfg(test)]
mod tests;
