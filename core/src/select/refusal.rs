//! Why an advert is not used: stable codes for tests and scripts, one sentence for people.

use core::fmt;

use crate::wire::record;
use crate::wire::url::AddressClass;

/// Why an advert is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Refusal {
    /// It could not be read, is not signed, or its key is no key.
    Advert(record::Error),
    /// Its signer is not a provider named in the trust store for this channel.
    Untrusted,
    /// The signature is not this signer's for this text, channel and architecture.
    Signature,
    /// This signer has said something later.
    Sequence,
    /// This signer has signed two texts with one `seq`.
    Equivocation,
    /// Its time is over.
    Expired,
    /// Its URL must not be used by this carrier.
    Policy(Policy),
}

/// Why a URL must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Policy {
    /// Addresses of this class are never used.
    Class(AddressClass),
    /// An address of this class that is not on the link the advert came by.
    OffLink(AddressClass),
    /// Only named providers may use another path than `/{channel}/{arch}/manifest.json`.
    Path,
}

impl Refusal {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Advert(error) => error.code(),
            Self::Untrusted => "E-UNTRUSTED",
            Self::Signature => "E-SIG",
            Self::Sequence => "E-SEQ",
            Self::Equivocation => "E-EQUIV",
            Self::Expired => "E-EXPIRED",
            Self::Policy(_) => "E-POLICY",
        }
    }
}

impl From<record::Error> for Refusal {
    fn from(error: record::Error) -> Self {
        Self::Advert(error)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.code())?;
        match self {
            Self::Advert(record::Error::Unsigned) => f.write_str(
                "this provider publishes the old unsigned format; upgrade it, or boot once with phase.insecure=1",
            ),
            Self::Advert(error) => error.fmt(f),
            Self::Untrusted => {
                f.write_str("the signer is not trusted for this channel; pin it with --trust")
            }
            Self::Signature => {
                f.write_str("the signature does not match this text, channel and architecture")
            }
            Self::Sequence => f.write_str("the signer has published something later"),
            Self::Equivocation => {
                f.write_str("the signer has signed two different texts with one seq")
            }
            Self::Expired => {
                f.write_str("the advert has expired; check the clocks of provider and client")
            }
            Self::Policy(policy) => policy.fmt(f),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |class: &AddressClass| match class {
            AddressClass::Loopback => "a loopback address",
            AddressClass::Unusable => "no address of a host",
            AddressClass::Metadata => "a cloud's metadata address",
            AddressClass::LinkLocalV4 | AddressClass::LinkLocalV6 => "a link-local address",
            AddressClass::Private => "a private address",
            AddressClass::Global => "a global address",
        };
        match self {
            Self::Class(class) => write!(f, "the URL leads to {}", name(class)),
            Self::OffLink(class) => {
                write!(f, "the URL leads to {} that is not on this link", name(class))
            }
            Self::Path => f.write_str(
                "the URL's path is not /{channel}/{arch}/manifest.json, and the signer is not pinned",
            ),
        }
    }
}

impl core::error::Error for Refusal {}
