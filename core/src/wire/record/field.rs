//! The members of an advert that have a charset of their own.

use super::Error;

/// A member of an advert, by its JSON name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Field {
    /// `url` (TXT: `manifest`).
    Url,
    /// `peer_id` (TXT: `id`).
    PeerId,
    /// `provider_name` (TXT: `name`).
    ProviderName,
    /// `last_updated` (TXT: `ts`).
    LastUpdated,
    /// `version`.
    Version,
    /// `seq`.
    Seq,
    /// `ttl`.
    Ttl,
    /// `digest`.
    Digest,
    /// `sig`.
    Sig,
    /// The channel: in the key, and in TXT.
    Channel,
    /// The architecture: in the key, and in TXT.
    Arch,
    /// `txtvers`, only in TXT.
    TxtVers,
}

impl Field {
    /// The stable code of a bad or missing member.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Url => "E-FIELD:url",
            Self::PeerId => "E-FIELD:peer_id",
            Self::ProviderName => "E-FIELD:provider_name",
            Self::LastUpdated => "E-FIELD:last_updated",
            Self::Version => "E-FIELD:version",
            Self::Seq => "E-FIELD:seq",
            Self::Ttl => "E-FIELD:ttl",
            Self::Digest => "E-FIELD:digest",
            Self::Sig => "E-FIELD:sig",
            Self::Channel => "E-FIELD:channel",
            Self::Arch => "E-FIELD:arch",
            Self::TxtVers => "E-FIELD:txtvers",
        }
    }

    /// What the member has to be.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        match self {
            Self::Url => "url is missing",
            Self::PeerId => "peer_id must be at most 52 base58 characters",
            Self::ProviderName => {
                "provider_name must be 1 to 40 octets without quotes, backslashes, control or bidi characters, and trimmed"
            }
            Self::LastUpdated => "last_updated must be a time as 2025-11-26T12:00:00Z",
            Self::Version => "version must be 1 to 32 of A-Z a-z 0-9 . _ + ~ -",
            Self::Seq => "seq must be 1 to 9007199254740991",
            Self::Ttl => "ttl must be 60 to 604800 seconds",
            Self::Digest => "digest must be 43 characters of base64url",
            Self::Sig => "sig must be 86 characters of base64url",
            Self::Channel => {
                "channel must be 1 to 32 of a-z 0-9 . _ - and begin with a letter or digit"
            }
            Self::Arch => "arch must be 1 to 16 of a-z 0-9 _",
            Self::TxtVers => "txtvers must be 1",
        }
    }
}

macro_rules! text_field {
    ($(#[$meta:meta])* $name:ident, $cap:literal, $field:expr, $check:expr) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(heapless::String<$cap, u8>);

        impl $name {
            /// Octets at most.
            pub const MAX: usize = $cap;

            /// Checks and keeps the text.
            ///
            /// # Errors
            /// [`Error::Field`] when it is outside the charset, empty or too long.
            pub fn new(text: &str) -> Result<Self, Error> {
                let check: fn(&str) -> bool = $check;
                if text.is_empty() || !check(text) {
                    return Err(Error::Field($field));
                }
                heapless::String::try_from(text).map(Self).map_err(|_| Error::Field($field))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl core::str::FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                Self::new(text)
            }
        }

        #[cfg(feature = "defmt")]
        impl defmt::Format for $name {
            fn format(&self, f: defmt::Formatter<'_>) {
                defmt::write!(f, "{=str}", self.as_str());
            }
        }
    };
}

text_field!(
    /// A release channel: `[a-z0-9][a-z0-9._-]{0,31}`.
    Channel, 32, Field::Channel, |text| {
        let allowed = |c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        text.bytes().all(allowed) && !text.starts_with(['.', '_', '-'])
    }
);

text_field!(
    /// A processor architecture: `[a-z0-9_]{1,16}`.
    Arch, 16, Field::Arch, |text| {
        text.bytes().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_'))
    }
);

text_field!(
    /// The version of an image, as its provider claims it: `[A-Za-z0-9._+~-]{1,32}`.
    Version, 32, Field::Version, |text| {
        text.bytes().all(|c| matches!(c, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'+' | b'~' | b'-'))
    }
);

text_field!(
    /// The name people gave a provider: up to 40 octets of UTF-8 that can be printed as they are.
    ProviderName, 40, Field::ProviderName, |text| {
        text.trim() == text && !text.chars().any(|c| c.is_control() || is_bidi_control(c) || matches!(c, '"' | '\\'))
    }
);

impl Arch {
    /// Reads a name and maps it to the one used in keys: `aarch64` is `arm64`, `amd64` is `x86_64`.
    ///
    /// # Errors
    /// As [`Arch::new`].
    pub fn canonical(text: &str) -> Result<Self, Error> {
        Self::new(match text {
            "aarch64" => "arm64",
            "amd64" => "x86_64",
            other => other,
        })
    }
}

/// Characters that change the direction of the text around them (Unicode UAX #9 §2).
const fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charsets_and_caps() {
        for good in ["stable", "0", "lab.2_x-1", &"a".repeat(32)] {
            assert!(Channel::new(good).is_ok(), "{good}");
        }
        for bad in
            ["", ".", "..", "-a", "_a", "Stable", "a/b", "a b", "\u{e9}", &"a".repeat(33), "a\0"]
        {
            assert_eq!(Channel::new(bad), Err(Error::Field(Field::Channel)), "{bad:?}");
        }
        for good in ["arm64", "x86_64", "_", &"a".repeat(16)] {
            assert!(Arch::new(good).is_ok(), "{good}");
        }
        for bad in ["", "ARM64", "x86-64", "a.b", &"a".repeat(17)] {
            assert_eq!(Arch::new(bad), Err(Error::Field(Field::Arch)), "{bad:?}");
        }
        for good in ["2025.11.26", "1.0~rc1+b_2-3", &"v".repeat(32)] {
            assert!(Version::new(good).is_ok(), "{good}");
        }
        for bad in ["", "1 0", "1:0", "1/0", "\u{1b}[31m", "1'", &"v".repeat(33)] {
            assert_eq!(Version::new(bad), Err(Error::Field(Field::Version)), "{bad:?}");
        }
        for good in ["my-mac", "Büro \u{1f4bb}", "a b", "$(x)", &"n".repeat(40)] {
            assert!(ProviderName::new(good).is_ok(), "{good}");
        }
        let long = "n".repeat(41);
        for bad in [
            "",
            " ",
            " a",
            "a ",
            "a\"b",
            "a\\b",
            "a\nb",
            "a\u{0}",
            "a\u{7f}",
            "\u{85}",
            "a\u{9f}b",
            "\u{202e}a",
            "a\u{2066}b",
            "a\u{200f}b",
            "a\u{61c}b",
            "\u{a0}a",
            &long,
        ] {
            assert_eq!(ProviderName::new(bad), Err(Error::Field(Field::ProviderName)), "{bad:?}");
        }
    }

    #[test]
    fn architectures_have_one_name() {
        let name = |text| std::string::String::from(Arch::canonical(text).unwrap().as_str());
        assert_eq!(name("aarch64"), "arm64");
        assert_eq!(name("arm64"), "arm64");
        assert_eq!(name("amd64"), "x86_64");
        assert_eq!(name("x86_64"), "x86_64");
        assert_eq!(name("riscv64"), "riscv64");
    }
}
