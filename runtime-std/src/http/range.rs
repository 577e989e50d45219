//! The `Range` header of one request, and what part of a body it asks for.
//! Spec: RFC 9110 §14.1.2 (grammar), §14.2 (when to ignore), §15.5.17 (416).
//! Not implemented: several ranges in one request; the whole body is sent instead, as §14.2 allows.

use std::ops::Range;

/// What to send of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// All of it: there is no usable `Range`.
    Whole,
    /// These octets: 206.
    Part(Range<u64>),
    /// The range lies behind the end: 416.
    Unsatisfiable,
}

/// What `header` asks for of a body of `len` octets.
#[must_use]
pub(super) fn select(header: &str, len: u64) -> Selection {
    let Some((unit, set)) = header.split_once('=') else { return Selection::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Selection::Whole;
    }
    // A list may have empty elements (RFC 9110 §5.6.1.2).
    let mut specs = set.split(',').map(|s| s.trim_matches([' ', '\t'])).filter(|s| !s.is_empty());
    let (Some(spec), None) = (specs.next(), specs.next()) else { return Selection::Whole };
    let Some((first, last)) = spec.split_once('-') else { return Selection::Whole };
    let span = match (first.is_empty(), number(first), number(last)) {
        (true, _, Some(suffix)) => len.saturating_sub(suffix)..len,
        (false, Some(first), None) if last.is_empty() => first..len,
        (false, Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(len),
        _ => return Selection::Whole,
    };
    if span.start < span.end { Selection::Part(span) } else { Selection::Unsatisfiable }
}

/// A decimal number; one too large to hold counts as the largest that can be held.
fn number(digits: &str) -> Option<u64> {
    let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    valid.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, expected: &Selection) {
        assert_eq!(&select(header, 100), expected, "{header}");
    }

    #[test]
    fn ranges_within_the_body_are_parts() {
        check("bytes=0-0", &Selection::Part(0..1));
        check("bytes=0-99", &Selection::Part(0..100));
        check("bytes=50-", &Selection::Part(50..100));
        check("bytes=99-", &Selection::Part(99..100));
        check("Bytes= 10-19 ", &Selection::Part(10..20));
        check("bytes=,10-19,", &Selection::Part(10..20));
    }

    #[test]
    fn an_end_behind_the_body_is_cut() {
        check("bytes=90-1000", &Selection::Part(90..100));
        check("bytes=0-18446744073709551615", &Selection::Part(0..100));
        check("bytes=0-99999999999999999999999999", &Selection::Part(0..100));
    }

    #[test]
    fn a_suffix_is_counted_from_the_end() {
        check("bytes=-1", &Selection::Part(99..100));
        check("bytes=-100", &Selection::Part(0..100));
        check("bytes=-1000", &Selection::Part(0..100));
        check("bytes=-99999999999999999999999999", &Selection::Part(0..100));
    }

    #[test]
    fn a_start_behind_the_body_is_unsatisfiable() {
        for header in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999-"] {
            check(header, &Selection::Unsatisfiable);
        }
        assert_eq!(select("bytes=0-", 0), Selection::Unsatisfiable);
        assert_eq!(select("bytes=-5", 0), Selection::Unsatisfiable);
    }

    #[test]
    fn what_is_no_single_byte_range_is_ignored() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-4",
            "bytes=1-2,4-5",
            "bytes=1",
            "bytes=+1-2",
            "bytes=1-2x",
            "bytes=--1",
            "items=0-1",
            "bytes=1 -2",
            "bytes=0x1-2",
        ] {
            check(header, &Selection::Whole);
        }
    }
}
