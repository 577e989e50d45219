//! What every fetch decides, apart from sockets, files and clocks. This file has the rules for HTTP: which responses fit
//! the request, where a body begins, how slow is too slow, and when a download that broke goes on.
//!
//! | file | what it decides |
//! |---|---|
//! | [`request`] | what a manifest must be |
//! | [`image`] | which files an image has, and which of them are wanted |
//! | [`part`] | what is here of a file, and whether it is the one that was signed |
//! | [`output`] | under which names files are left |
//!
//! What is fetched is nobody's word until its signature or digest was verified; these rules bound what a server
//! can cost before that.
//! Spec: RFC 9110 §8.6 (Content-Length), §13.1.5 (If-Range), §14.4 (Content-Range), §15.
//! Not here: reading the head of a response, following redirects (none are), choosing the provider.

pub mod image;
pub mod output;
pub mod part;
pub mod request;

use core::time::Duration;

use crate::time::Instant;

/// The longest wait for a TCP connection: two lost SYN segments.
pub const CONNECT_MAX: Duration = Duration::from_secs(4);

/// The longest wait for the head of a response.
pub const HEAD_WAIT: Duration = Duration::from_secs(10);

/// The longest silence within a body.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);

/// A body is given up when it brings fewer octets than this in one [`RATE_WINDOW`].
pub const RATE_MIN: u64 = 64 * 1024;

/// The window of [`RATE_MIN`].
pub const RATE_WINDOW: Duration = Duration::from_secs(30);

/// All header fields of a response together, in octets: more than any honest server sends.
pub const HEAD_MAX: usize = 8 * 1024;

/// The pause before a download that broke goes on.
pub const PAUSE: Duration = Duration::from_millis(200);

/// Tries in a row that bring nothing before a server is given up.
const FRUITLESS_MAX: u8 = 2;

/// What counts of a response's head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head<'a> {
    /// The status code.
    pub status: u16,
    /// `Content-Encoding`.
    pub coding: Option<&'a [u8]>,
    /// `Content-Range`.
    pub range: Option<&'a [u8]>,
}

/// Why a response does not fit the request. Not one of these passes by asking again, except a status of the
/// server's own ([`is_passing`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Misfit {
    /// A content coding, though `identity` was asked for.
    Coding,
    /// Another range than the one that was asked for, or none told.
    Range,
    /// A redirect: followed, it would lead to an address that nobody checked.
    Redirect,
    /// Neither 200 nor, where a range was asked for, 206.
    Status,
}

/// The offset of the body's first octet: `asked`, or 0 where the whole comes.
///
/// # Errors
/// The [`Misfit`].
pub fn body_start(asked: u64, head: &Head<'_>) -> Result<u64, Misfit> {
    if head.coding.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return Err(Misfit::Coding);
    }
    match head.status {
        200 => Ok(0),
        206 if asked > 0 => match head.range.and_then(first_octet) {
            Some(first) if first == asked => Ok(first),
            Some(_) | None => Err(Misfit::Range),
        },
        // 304 answers a condition that is never made.
        300..=303 | 305..=399 => Err(Misfit::Redirect),
        _ => Err(Misfit::Status),
    }
}

/// Whether a status tells of a trouble of the server that may be over when asked again.
#[must_use]
pub const fn is_passing(status: u16) -> bool {
    matches!(status, 500..=599)
}

/// RFC 9110 §14.4: `bytes 42-99/100` starts at 42.
fn first_octet(content_range: &[u8]) -> Option<u64> {
    let rest = content_range.strip_prefix(b"bytes ")?;
    let dash = rest.iter().position(|octet| *octet == b'-')?;
    decimal(rest.get(..dash)?)
}

/// RFC 9110 §8.6: the value of `Content-Length`, when it is a number.
#[must_use]
pub fn content_length(value: &[u8]) -> Option<u64> {
    decimal(value)
}

/// Digits alone: no sign, no blank.
fn decimal(digits: &[u8]) -> Option<u64> {
    let first = digits.first()?;
    if !first.is_ascii_digit() {
        return None;
    }
    core::str::from_utf8(digits).ok()?.parse().ok()
}

/// RFC 9110 §13.1.5: only a strong validator may guard a range; a weak one begins with `W/`.
#[must_use]
pub fn is_strong_etag(value: &[u8]) -> bool {
    value.len() >= 2 && value.starts_with(b"\"") && value.ends_with(b"\"")
}

/// Watches that a body comes fast enough.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    since: Instant,
    octets: u64,
}

/// A body trickles: fewer than [`RATE_MIN`] octets came within [`RATE_WINDOW`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSlow {
    /// How many came.
    pub octets: u64,
}

impl Pace {
    /// Begins with the body.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { since: now, octets: 0 }
    }

    /// Counts octets that came.
    ///
    /// # Errors
    /// [`TooSlow`]: give the connection up.
    pub fn count(&mut self, now: Instant, octets: usize) -> Result<(), TooSlow> {
        self.octets = self.octets.saturating_add(u64::try_from(octets).unwrap_or(u64::MAX));
        if now.since(self.since) > RATE_WINDOW {
            if self.octets < RATE_MIN {
                return Err(TooSlow { octets: self.octets });
            }
            *self = Self::new(now);
        }
        Ok(())
    }
}

/// Decides whether a download that broke goes on at the same server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tries {
    fruitless: u8,
}

impl Tries {
    /// A try broke for a reason that may pass. `brought`: whether it brought any octet. Returns whether to try
    /// again, after a [`PAUSE`].
    #[must_use]
    pub const fn go_on(&mut self, brought: bool) -> bool {
        self.fruitless = if brought { 0 } else { self.fruitless.saturating_add(1) };
        self.fruitless < FRUITLESS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(asked: u64, status: u16, range: Option<&str>) -> Result<u64, Misfit> {
        body_start(asked, &Head { status, coding: None, range: range.map(str::as_bytes) })
    }

    #[test]
    fn a_body_begins_where_it_was_asked_for_or_at_the_start() {
        assert_eq!(start(0, 200, None), Ok(0));
        assert_eq!(start(3, 200, None), Ok(0), "a server may know no ranges");
        assert_eq!(start(3, 206, Some("bytes 3-4/5")), Ok(3));
        assert_eq!(start(3, 206, Some("bytes 3-4/*")), Ok(3));
    }

    #[test]
    fn another_range_is_refused() {
        for range in [
            "bytes 4-4/5",
            "bytes */5",
            "bytes +3-4/5",
            "bytes  3-4/5",
            "octets 3-4/5",
            "bytes 3",
            "",
        ] {
            assert_eq!(start(3, 206, Some(range)), Err(Misfit::Range), "{range}");
        }
        assert_eq!(start(3, 206, None), Err(Misfit::Range));
        assert_eq!(
            start(0, 206, Some("bytes 0-4/5")),
            Err(Misfit::Status),
            "nobody asked for a range"
        );
    }

    #[test]
    fn every_other_status_is_told_from_a_redirect() {
        for status in [300, 301, 302, 303, 307, 308, 399] {
            assert_eq!(start(0, status, None), Err(Misfit::Redirect), "{status}");
        }
        for status in [100, 204, 304, 400, 404, 416, 500, 503, 600, 0] {
            assert_eq!(start(0, status, None), Err(Misfit::Status), "{status}");
        }
        assert!(is_passing(500) && is_passing(503) && !is_passing(404) && !is_passing(416));
    }

    #[test]
    fn only_the_identity_coding_is_taken() {
        let head = |coding| Head { status: 200, coding: Some(coding), range: None };
        assert_eq!(body_start(0, &head(b"identity")), Ok(0));
        assert_eq!(body_start(0, &head(b"Identity")), Ok(0));
        for coding in [&b"gzip"[..], b"", b"identity, gzip"] {
            assert_eq!(body_start(0, &head(coding)), Err(Misfit::Coding));
        }
    }

    #[test]
    fn lengths_are_digits_alone() {
        assert_eq!(content_length(b"0"), Some(0));
        assert_eq!(content_length(b"18446744073709551615"), Some(u64::MAX));
        for wrong in [
            &b""[..],
            b"+5",
            b"-1",
            b" 5",
            b"5 ",
            b"0x5",
            b"5, 5",
            b"18446744073709551616",
            b"\xff",
        ] {
            assert_eq!(content_length(wrong), None, "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn weak_validators_guard_nothing() {
        assert!(is_strong_etag(b"\"a\"") && is_strong_etag(b"\"\""));
        for weak in [&b"W/\"a\""[..], b"a", b"\"", b"", b"\"a"] {
            assert!(!is_strong_etag(weak), "{}", weak.escape_ascii());
        }
    }

    #[test]
    fn a_body_that_trickles_is_given_up() {
        let mut pace = Pace::new(Instant::ZERO);
        let after = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        assert_eq!(pace.count(after(1), 1), Ok(()));
        assert_eq!(pace.count(after(30), 64 * 1024 - 2), Ok(()), "the window is not over");
        assert_eq!(pace.count(after(31), 1), Ok(()));
        assert_eq!(pace.count(after(40), 100), Ok(()));
        assert_eq!(pace.count(after(62), 1), Err(TooSlow { octets: 101 }));
    }

    #[test]
    fn a_download_goes_on_for_as_long_as_tries_bring_something() {
        let mut tries = Tries::default();
        for _ in 0..1000 {
            assert!(tries.go_on(true));
        }
        assert!(tries.go_on(false));
        assert!(tries.go_on(true));
        assert!(tries.go_on(false));
        assert!(!tries.go_on(false));
    }
}
