//! There, "canonical JSON" sorted names by their octets, where RFC 8785 sorts by UTF-16 code units.

use super::{SAY, document, release, verified};

#[test]
fn names_that_sort_in_two_ways_do_not_matter() {
    // U+FF5E sorts before U+1F600 by octets, and after it by UTF-16 code units.
    let good = document(1, &SAY);
    let orders = ["\"\u{ff5e}\":1,\"\u{1f600}\":2", "\"\u{1f600}\":2,\"\u{ff5e}\":1"];
    for members in orders {
        let text = good.replacen('{', &format!("{{{members},"), 1);
        assert_eq!(verified(&text, &release(1), |_| {}), Ok(()), "{members}");
    }
}
