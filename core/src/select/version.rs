//! Which of two versions is later. For display and hints: a version is what a provider claims.

use core::cmp::Ordering;

/// A total order: segments between `.` and `-`, numbers by their value, others by their octets; a number is
/// later than a word, a longer version later than its beginning. What is still equal (`1.07` and `1.7`)
/// is put in order by its octets.
#[must_use]
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let mut left = a.split(['.', '-']);
    let mut right = b.split(['.', '-']);
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return a.cmp(b),
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => compare_segments(a, b),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn compare_segments(a: &str, b: &str) -> Ordering {
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => a.cmp(b),
    }
}

/// The digits without leading zeros: longer is greater, and no number is too large.
fn number(segment: &str) -> Option<&str> {
    let is_number = !segment.is_empty() && segment.bytes().all(|c| c.is_ascii_digit());
    is_number.then(|| segment.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In order.
    const VERSIONS: [&str; 21] = [
        "",
        "A",
        "a",
        "rc",
        "rc.1",
        "0",
        "0.0",
        "1",
        "1.",
        "1.a",
        "1.rc-1",
        "1.0",
        "1.00",
        "1.1",
        "1.2",
        "1.9",
        "1.10",
        "1.10.1",
        "2",
        "2025.11.26",
        "99999999999999999999999999999999",
    ];

    #[test]
    fn versions_are_in_a_total_order() {
        for (i, a) in VERSIONS.iter().enumerate() {
            for (j, b) in VERSIONS.iter().enumerate() {
                assert_eq!(compare_versions(a, b), i.cmp(&j), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn random_versions_keep_the_laws_of_an_order() {
        let mut rng = crate::rng::Seed([9; 32]).stream("versions");
        let mut version = || {
            let len = usize::from(rng.u16() % 6);
            let char = |_| char::from(b"01aZ.-~"[usize::from(rng.u16() % 7)]);
            (0..len).map(char).collect::<std::string::String>()
        };
        for _ in 0..20_000 {
            let (a, b, c) = (version(), version(), version());
            let order = compare_versions(&a, &b);
            assert_eq!(order, compare_versions(&b, &a).reverse());
            assert_eq!(order == Ordering::Equal, a == b, "{a:?} {b:?}");
            if order != Ordering::Greater && compare_versions(&b, &c) != Ordering::Greater {
                assert_ne!(compare_versions(&a, &c), Ordering::Greater, "{a:?} {b:?} {c:?}");
            }
        }
    }
}
