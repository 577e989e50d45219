//! Octets to values and back.
//!
//! Laws: `decode` never panics and never reads past the end; what can be constructed can be encoded;
//! `decode(encode(v)) == v`; work is linear in the input. No state, no time, no heap here.

pub mod contact;
pub mod cursor;
pub mod digest;
pub mod dns;
pub mod identify;
mod json;
pub mod kad;
pub mod manifest;
pub mod multiaddr;
pub mod multistream;
pub mod noise;
pub mod peer_id;
pub mod protobuf;
pub mod record;
pub mod text;
pub mod trust;
pub mod unix_time;
pub mod url;
pub mod varint;
pub mod yamux;

/// Why octets were refused. The text names the field, for people; it is never matched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error {
    /// The input ended inside this field.
    Truncated(&'static str),
    /// This field breaks its format.
    Malformed(&'static str),
    /// This field is well formed, of a kind that is not supported.
    Unsupported(&'static str),
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Truncated(what) => write!(f, "{what} is cut short"),
            Self::Malformed(what) => write!(f, "{what} is malformed"),
            Self::Unsupported(what) => write!(f, "{what} is not supported"),
        }
    }
}

impl core::error::Error for Error {}

/// The output buffer was too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Overflow;

impl core::fmt::Display for Overflow {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the output buffer is too small")
    }
}

impl core::error::Error for Overflow {}

/// An enumeration of code points that keeps the unknown ones.
macro_rules! open_enum {
    ($(#[$meta:meta])* pub enum $name:ident($int:ty) { $($(#[$vmeta:meta])* $variant:ident = $value:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub enum $name {
            $($(#[$vmeta])* $variant,)+
            /// A code point without a name here.
            Unknown($int),
        }

        impl From<$int> for $name {
            fn from(value: $int) -> Self {
                match value { $($value => Self::$variant,)+ other => Self::Unknown(other) }
            }
        }

        impl From<$name> for $int {
            fn from(value: $name) -> Self {
                match value { $($name::$variant => $value,)+ $name::Unknown(other) => other }
            }
        }
    };
}
pub(crate) use open_enum;
