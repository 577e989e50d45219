//! Why a manifest is not used: stable codes, and sentences.

use core::fmt;

/// What there is too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Limit {
    /// More than 16 artifacts.
    Artifacts,
    /// More than 8 signatures.
    Signatures,
    /// More than 4 URLs of one artifact.
    Urls,
    /// A kernel of no octets or more than 128 MiB.
    Kernel,
    /// An initramfs of no octets or more than 512 MiB.
    Initramfs,
    /// A root file system of no octets or more than 2^53 - 1.
    Rootfs,
    /// A device tree of no octets or more than 1 MiB.
    Dtb,
}

/// Why a manifest is not used. [`Error::Field`] and [`Error::Limit`] can come at any step; the others are in the
/// order in which they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error {
    /// The document or the inner manifest is empty or too long.
    Size,
    /// Not a JSON object of the narrow profile, a known member of the wrong kind, or a member twice.
    Json,
    /// No key is trusted for manifests of this channel.
    NoTrust,
    /// There are no signatures, or there is no `signed.data`.
    Unsigned,
    /// This member is missing or malformed.
    Field(&'static str),
    /// Too much of something.
    Limit(Limit),
    /// A trusted key's signature is wrong, and the others are not enough.
    Signature,
    /// Too few different trusted keys have signed.
    Threshold {
        /// How many have.
        signed: u8,
        /// How many must.
        needed: u8,
    },
    /// A schema this reader does not know.
    Schema,
    /// Outside what is signed, the document says something else.
    Mirror,
    /// For another channel.
    Channel,
    /// For another architecture.
    Arch,
    /// Older than what was used before.
    Rollback {
        /// Its `manifest_version`.
        found: u64,
        /// The lowest that is accepted.
        floor: u64,
    },
    /// It expires before it was made.
    Times,
    /// Its time is over.
    Expired,
    /// There is no kernel.
    NoKernel,
    /// A path that leaves the origin or the grammar, or a URL outside the grammar.
    Path,
    /// Not the document that the advert's digest names.
    Digest,
    /// Not the version that the advert names.
    Version,
}

impl Error {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Size => "E-SIZE",
            Self::Json => "E-JSON",
            Self::NoTrust => "E-UNTRUSTED",
            Self::Unsigned => "E-UNSIGNED",
            Self::Field(_) => "E-FIELD",
            Self::Limit(_) => "E-LIMIT",
            Self::Signature => "E-SIG",
            Self::Threshold { .. } => "E-THRESHOLD",
            Self::Schema => "E-SCHEMA",
            Self::Mirror => "E-MIRROR",
            Self::Channel => "E-CHANNEL",
            Self::Arch => "E-ARCH",
            Self::Rollback { .. } => "E-ROLLBACK",
            Self::Times => "E-TIMES",
            Self::Expired => "E-EXPIRED",
            Self::NoKernel => "E-ARTIFACT",
            Self::Path => "E-PATH",
            Self::Digest => "E-DIGEST",
            Self::Version => "E-VERSION",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())?;
        match self {
            Self::Field(name) => write!(f, ":{name} this member is missing or malformed"),
            Self::Threshold { signed, needed } => {
                write!(f, " {signed} of the {needed} trusted keys needed have signed the manifest")
            }
            Self::Rollback { found, floor } => {
                write!(f, " manifest_version {found} is below {floor}, the lowest accepted")
            }
            Self::Limit(limit) => write!(f, " {}", limit.text()),
            Self::Size => f.write_str(" the manifest is empty or too long"),
            Self::Json => f.write_str(" the manifest is not JSON of the narrow profile"),
            Self::NoTrust => f.write_str(
                " no key is trusted to sign manifests of this channel; name one with --trust",
            ),
            Self::Unsigned => f.write_str(" the manifest is not signed"),
            Self::Signature => f.write_str(" the signature of a trusted key is wrong"),
            Self::Schema => f.write_str(" the manifest has a schema version other than 0.x"),
            Self::Mirror => {
                f.write_str(" the manifest says something else outside its signed part")
            }
            Self::Channel => f.write_str(" the manifest is for another channel"),
            Self::Arch => f.write_str(" the manifest is for another architecture"),
            Self::Times => f.write_str(" the manifest expires before it was made"),
            Self::Expired => {
                f.write_str(" the manifest has expired; the provider must publish a newer one")
            }
            Self::NoKernel => f.write_str(" the manifest has no kernel"),
            Self::Path => f.write_str(" an artifact's path or URL is outside the grammar"),
            Self::Digest => f.write_str(" the manifest is not the one the advert names"),
            Self::Version => f.write_str(" the manifest has another version than the advert"),
        }
    }
}

impl core::error::Error for Error {}

impl Limit {
    const fn text(self) -> &'static str {
        match self {
            Self::Artifacts => "more than 16 artifacts",
            Self::Signatures => "more than 8 signatures",
            Self::Urls => "more than 4 URLs of one artifact",
            Self::Kernel => "the kernel must have 1 octet to 128 MiB",
            Self::Initramfs => "the initramfs must have 1 octet to 512 MiB",
            Self::Rootfs => "the root file system must have 1 to 2^53 - 1 octets",
            Self::Dtb => "a device tree must have 1 octet to 1 MiB",
        }
    }
}
