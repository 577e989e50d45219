//! The version of an image: its file `version`, or else the newest modification time as `YYYY.MM.DD` (UTC).

use std::cmp::Ordering;
use std::time::Duration;

/// The UTC date of `time` (since 1970) as `YYYY.MM.DD`.
#[must_use]
pub fn date_version(time: Duration) -> String {
    let days = time.as_secs() / 86_400;
    let (year, month, day) = civil(days);
    format!("{year:04}.{month:02}.{day:02}")
}

/// Which of two versions is newer: runs of digits compare as numbers, everything else octet by octet.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let order = match (number(&mut a), number(&mut b)) {
            (Some(a), Some(b)) => (a.len(), a).cmp(&(b.len(), b)),
            (None, None) => match (a.split_off_first(), b.split_off_first()) {
                (None, None) => return Ordering::Equal,
                (a, b) => a.cmp(&b),
            },
            // A number against the end of the other or a letter.
            (a_number, _) => {
                let ended = if a_number.is_some() { b.is_empty() } else { !a.is_empty() };
                if ended { Ordering::Greater } else { Ordering::Less }
            }
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Takes the digits at the beginning, without leading zeros.
fn number<'a>(text: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = text.iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(text.len());
    let digits = text.split_off(..end).filter(|digits| !digits.is_empty())?;
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    digits.get(zeros..)
}

/// Year, month and day of the proleptic Gregorian calendar, `days` after 1970-01-01.
/// Counts from 1 March, so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_versions_compare_as_numbers() {
        let ascending =
            ["1", "1.2", "1.10", "2025.9.30", "2025.11.26", "2025.11.26-1", "2026", "v2"];
        for pair in ascending.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare("2025.09", "2025.9"), Ordering::Equal);
    }

    #[test]
    fn dates_follow_the_calendar() {
        let check = |seconds, expected| {
            assert_eq!(date_version(Duration::from_secs(seconds)), expected);
        };
        check(0, "1970.01.01");
        check(951_782_399, "2000.02.28");
        check(951_782_400, "2000.02.29");
        check(951_868_800, "2000.03.01");
        check(1_764_158_400, "2025.11.26");
        check(4_107_542_399, "2100.02.28");
        check(4_107_542_400, "2100.03.01");
    }
}
