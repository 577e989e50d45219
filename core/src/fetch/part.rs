//! What is here of a file that is fetched: how many octets, where to go on, and whether it is the one that was signed.
//!
//! A [`Tally`] is told of every octet once, in order, and hashes them on the way. Whoever has the octets keeps them, and
//! throws them away whenever the tally begins again.
//! Not here: the octets, and where they come from.

use core::fmt;

use sha2::{Digest as _, Sha256};

use crate::wire::digest::Digest;

/// What a file must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Expected {
    /// Octets, at least 1.
    pub size: u64,
    /// SHA-256.
    pub digest: Digest,
}

/// Why what is here is not the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Flaw {
    /// There are fewer octets than wanted: fetch on.
    Short {
        /// Octets here.
        have: u64,
        /// Octets wanted.
        want: u64,
    },
    /// It has other content: throw it away. Some source lied.
    Digest {
        /// What was computed.
        have: Digest,
        /// What was signed.
        want: Digest,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { have, want } => write!(f, "{have} of {want} octets are here"),
            Self::Digest { have, want } => {
                write!(f, "the content is {have}, the manifest says {want}")
            }
        }
    }
}

impl core::error::Error for Flaw {}

/// Why the body of a response is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The server does not say how long it is.
    NoLength,
    /// The server has a file of another size.
    Size {
        /// What it announces.
        announced: u64,
        /// What was signed.
        signed: u64,
    },
}

/// What the body of a response brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// What is missing.
    Rest,
    /// The whole again, because the server's file changed or it knows no ranges: throw away what is here.
    Whole,
}

/// What is here of a file.
#[derive(Clone, Debug)]
pub struct Tally {
    hash: Sha256,
    here: u64,
    expected: Expected,
}

impl Tally {
    /// Begins with nothing.
    #[must_use]
    pub fn new(expected: Expected) -> Self {
        Self { hash: Sha256::new(), here: 0, expected }
    }

    /// What it must be.
    #[must_use]
    pub const fn expected(&self) -> Expected {
        self.expected
    }

    /// Octets that are here: the offset to resume from.
    #[must_use]
    pub const fn here(&self) -> u64 {
        self.here
    }

    /// Octets still to come.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        self.expected.size.saturating_sub(self.here)
    }

    /// Whether more is here than there should be, as an earlier try may have left it: throw it away.
    #[must_use]
    pub const fn is_too_long(&self) -> bool {
        self.here > self.expected.size
    }

    /// Counts the next octets.
    pub fn count(&mut self, octets: &[u8]) {
        self.hash.update(octets);
        self.here = self.here.saturating_add(u64::try_from(octets.len()).unwrap_or(u64::MAX));
    }

    /// Begins again with nothing.
    pub fn restart(&mut self) {
        *self = Self::new(self.expected);
    }

    /// Compares a response that is about to come with what is missing. `start`: the offset of its first octet
    /// ([`super::body_start`]); `length`: how many it announces.
    ///
    /// # Errors
    /// [`Unfit`]: ask another server.
    pub fn check_body(&self, start: u64, length: Option<u64>) -> Result<Body, Unfit> {
        let announced = start.saturating_add(length.ok_or(Unfit::NoLength)?);
        let signed = self.expected.size;
        if announced != signed {
            return Err(Unfit::Size { announced, signed });
        }
        Ok(if start == 0 && self.here > 0 { Body::Whole } else { Body::Rest })
    }

    /// Compares length and digest.
    ///
    /// # Errors
    /// The [`Flaw`].
    pub fn verify(&self) -> Result<(), Flaw> {
        let Expected { size, digest } = self.expected;
        if self.here != size {
            return Err(Flaw::Short { have: self.here, want: size });
        }
        let have = Digest::from_octets(self.hash.clone().finalize().into());
        if have == digest { Ok(()) } else { Err(Flaw::Digest { have, want: digest }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;

    fn expected(octets: &[u8]) -> Expected {
        Expected { size: octets.len() as u64, digest: Digest::of(octets) }
    }

    #[test]
    fn a_file_is_verified_when_all_of_it_was_counted() {
        let mut tally = Tally::new(expected(b"kernel"));
        tally.count(b"ker");
        assert_eq!((tally.here(), tally.missing()), (3, 3));
        assert_eq!(tally.verify(), Err(Flaw::Short { have: 3, want: 6 }));
        tally.count(b"nel");
        assert_eq!((tally.missing(), tally.verify()), (0, Ok(())));
    }

    #[test]
    fn other_content_is_told_and_can_be_begun_again() {
        let mut tally = Tally::new(expected(b"kernel"));
        tally.count(b"KERNEL");
        let (have, want) = (Digest::of(b"KERNEL"), Digest::of(b"kernel"));
        let flaw = tally.verify().unwrap_err();
        assert_eq!(flaw, Flaw::Digest { have, want });
        assert_eq!(
            flaw.to_string(),
            std::format!("the content is {have}, the manifest says {want}")
        );
        tally.restart();
        assert_eq!(tally.here(), 0);
        tally.count(b"kernel");
        assert_eq!(tally.verify(), Ok(()));
    }

    #[test]
    fn what_is_too_long_is_told_from_what_is_whole() {
        let mut tally = Tally::new(expected(b"kernel"));
        tally.count(b"kernel");
        assert!(!tally.is_too_long());
        tally.count(b"s");
        assert!(tally.is_too_long());
        assert_eq!((tally.missing(), tally.verify()), (0, Err(Flaw::Short { have: 7, want: 6 })));
    }

    #[test]
    fn a_body_brings_the_rest_or_the_whole_and_nothing_else_is_taken() {
        let mut tally = Tally::new(expected(b"kernel"));
        assert_eq!(tally.check_body(0, Some(6)), Ok(Body::Rest));
        tally.count(b"ker");
        assert_eq!(tally.check_body(3, Some(3)), Ok(Body::Rest));
        assert_eq!(tally.check_body(0, Some(6)), Ok(Body::Whole));
        assert_eq!(tally.check_body(3, None), Err(Unfit::NoLength));
        for (start, length, announced) in [(3, 4, 7), (0, 3, 3), (3, u64::MAX, u64::MAX)] {
            let unfit = Unfit::Size { announced, signed: 6 };
            assert_eq!(tally.check_body(start, Some(length)), Err(unfit));
        }
    }
}
