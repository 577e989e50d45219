//! Conditional requests by entity tag.
//! Spec: RFC 9110 §8.8.3 (entity tags), §13.1 (conditions), §13.2.2 (their order).
//! Not implemented: conditions on dates. No response carries `Last-Modified`, so none can be met: an `If-Range` with
//! a date fails, as §13.1.5 asks, and the others are ignored.

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE};

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Send it; honour `Range` or not.
    Proceed {
        /// Whether `Range` applies.
        ranges: bool,
    },
    /// 304: the client has it.
    NotModified,
    /// 412: the client wants another.
    Failed,
}

/// Judges the conditions in `headers` for a representation whose strong entity tag is `etag`, quotes included.
#[must_use]
pub(super) fn judge(headers: &HeaderMap, etag: &str) -> Outcome {
    if matches(headers, &IF_MATCH, |tag| tag == etag) == Some(false) {
        return Outcome::Failed;
    }
    // §13.1.2: weak comparison.
    let weak = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag) == etag;
    if matches(headers, &IF_NONE_MATCH, weak) == Some(true) {
        return Outcome::NotModified;
    }
    let ranges = headers.get(IF_RANGE).is_none_or(|value| value.as_bytes() == etag.as_bytes());
    Outcome::Proceed { ranges }
}

/// Whether any tag in the header's list matches; `None` without the header.
fn matches(headers: &HeaderMap, name: &HeaderName, same: impl Fn(&str) -> bool) -> Option<bool> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    // Our own tags hold no comma, so that splitting at one cannot make up a match.
    Some(
        values
            .filter_map(|value| value.to_str().ok())
            .any(|list| list.split(',').map(str::trim).any(|tag| tag == "*" || same(tag))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Outcome = Outcome::Proceed { ranges: true };

    fn check(headers: &[(HeaderName, &'static str)], expected: Outcome) {
        let pairs = headers.iter().map(|(n, v)| (n.clone(), v.parse().unwrap()));
        assert_eq!(judge(&pairs.collect(), "\"a\""), expected, "{headers:?}");
    }

    #[test]
    fn none_match_compares_weakly_and_knows_the_star() {
        check(&[], ALL);
        for same in ["\"a\"", "W/\"a\"", "*", "\"b\", \"a\""] {
            check(&[(IF_NONE_MATCH, same)], Outcome::NotModified);
        }
        check(&[(IF_NONE_MATCH, "\"b\"")], ALL);
        check(&[(IF_NONE_MATCH, "a")], ALL);
    }

    #[test]
    fn match_compares_strongly_and_goes_first() {
        check(&[(IF_MATCH, "\"a\"")], ALL);
        check(&[(IF_MATCH, "*")], ALL);
        check(&[(IF_MATCH, "W/\"a\"")], Outcome::Failed);
        check(&[(IF_MATCH, "\"b\""), (IF_NONE_MATCH, "\"a\"")], Outcome::Failed);
    }

    #[test]
    fn a_range_of_another_version_is_not_honoured() {
        check(&[(IF_RANGE, "\"a\"")], ALL);
        for other in ["\"b\"", "W/\"a\"", "Wed, 26 Nov 2025 12:00:00 GMT"] {
            check(&[(IF_RANGE, other)], Outcome::Proceed { ranges: false });
        }
    }
}
