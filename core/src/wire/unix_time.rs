//! `YYYY-MM-DDTHH:MM:SSZ` and seconds since 1970: one text for each second of 1970 to 9999.
//! Spec: RFC 3339 §5.6, restricted to UTC written `Z`, upper-case `T`, no fraction, no leap second.

use super::Error;
use crate::time::UnixTime;

/// Octets of the text.
pub const LEN: usize = 20;

/// The last second that has a text: 9999-12-31T23:59:59Z.
pub const MAX: UnixTime = UnixTime(253_402_300_799);

const SECONDS_PER_DAY: u64 = 86_400;
/// Days of the Gregorian calendar's 400-year cycle.
const DAYS_PER_ERA: u64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01, counting years from March.
const EPOCH_DAYS: u64 = 719_468;

/// Reads the text.
///
/// # Errors
/// `Malformed` when it is not exactly of the form, names no day of the calendar, or lies before 1970.
pub fn decode(text: &[u8]) -> Result<UnixTime, Error> {
    parse(text).ok_or(Error::Malformed("time"))
}

fn parse(text: &[u8]) -> Option<UnixTime> {
    let text: &[u8; LEN] = text.try_into().ok()?;
    let [
        y0,
        y1,
        y2,
        y3,
        b'-',
        m0,
        m1,
        b'-',
        d0,
        d1,
        b'T',
        h0,
        h1,
        b':',
        i0,
        i1,
        b':',
        s0,
        s1,
        b'Z',
    ] = *text
    else {
        return None;
    };
    let century = two(y0, y1)?;
    let year = century.checked_mul(100)?.checked_add(two(y2, y3)?)?;
    let (month, day) = (two(m0, m1)?, two(d0, d1)?);
    let (hour, minute, second) = (two(h0, h1)?, two(i0, i1)?, two(s0, s1)?);
    let in_range = year >= 1970
        && (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range {
        return None;
    }
    let seconds = days_from_civil(year, month, day)?
        .checked_mul(SECONDS_PER_DAY)?
        .checked_add(hour.checked_mul(3600)?)?
        .checked_add(minute.checked_mul(60)?)?
        .checked_add(second)?;
    Some(UnixTime(seconds))
}

/// The text of `time`; `None` after [`MAX`].
#[must_use]
pub fn encode(time: UnixTime) -> Option<heapless::String<LEN>> {
    use core::fmt::Write as _;
    if time > MAX {
        return None;
    }
    let (year, month, day) = civil_from_days(time.0.checked_div(SECONDS_PER_DAY)?)?;
    let second = time.0.checked_rem(SECONDS_PER_DAY)?;
    let (hour, minute) = (second.checked_div(3600)?, second.checked_rem(3600)?.checked_div(60)?);
    let second = second.checked_rem(60)?;
    let mut text = heapless::String::new();
    write!(text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z").ok()?;
    Some(text)
}

fn two(tens: u8, ones: u8) -> Option<u64> {
    let digit = |c: u8| c.is_ascii_digit().then(|| u64::from(c.wrapping_sub(b'0')));
    digit(tens)?.checked_mul(10)?.checked_add(digit(ones)?)
}

const fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01. The year begins in March here, so that the leap day is its last day and the
/// days before month `m` of such a year are `(153 m + 2) / 5`.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let month = if month > 2 { month.checked_sub(3)? } else { month.checked_add(9)? };
    let era = year.checked_div(400)?;
    let year = year.checked_rem(400)?;
    let day_of_year =
        month.checked_mul(153)?.checked_add(2)?.checked_div(5)?.checked_add(day)?.checked_sub(1)?;
    let leap_days = year.checked_div(4)?.checked_sub(year.checked_div(100)?)?;
    let day_of_era = year.checked_mul(365)?.checked_add(leap_days)?.checked_add(day_of_year)?;
    era.checked_mul(DAYS_PER_ERA)?.checked_add(day_of_era)?.checked_sub(EPOCH_DAYS)
}

/// Year, month and day of a count of days since 1970-01-01; the inverse of [`days_from_civil`].
fn civil_from_days(days: u64) -> Option<(u64, u64, u64)> {
    let days = days.checked_add(EPOCH_DAYS)?;
    let era = days.checked_div(DAYS_PER_ERA)?;
    let day_of_era = days.checked_rem(DAYS_PER_ERA)?;
    // Takes out the leap days (one in 1,460 days, less one in 36,524, plus one in 146,096).
    let year = day_of_era
        .checked_sub(day_of_era.checked_div(1460)?)?
        .checked_add(day_of_era.checked_div(36_524)?)?
        .checked_sub(day_of_era.checked_div(146_096)?)?
        .checked_div(365)?;
    let before = year
        .checked_mul(365)?
        .checked_add(year.checked_div(4)?)?
        .checked_sub(year.checked_div(100)?)?;
    let day_of_year = day_of_era.checked_sub(before)?;
    let march_month = day_of_year.checked_mul(5)?.checked_add(2)?.checked_div(153)?;
    let month_start = march_month.checked_mul(153)?.checked_add(2)?.checked_div(5)?;
    let day = day_of_year.checked_sub(month_start)?.checked_add(1)?;
    let month =
        if march_month < 10 { march_month.checked_add(3)? } else { march_month.checked_sub(9)? };
    let year = era.checked_mul(400)?.checked_add(year)?;
    Some((if month <= 2 { year.checked_add(1)? } else { year }, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_read_and_write() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1972-02-29T23:59:59Z", 68_255_999),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2025-11-26T12:00:00Z", 1_764_158_400),
            ("2038-01-19T03:14:08Z", 2_147_483_648),
            ("2106-02-07T06:28:16Z", 4_294_967_296),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("9999-12-31T23:59:59Z", MAX.0),
        ] {
            assert_eq!(decode(text.as_bytes()), Ok(UnixTime(seconds)), "{text}");
            assert_eq!(encode(UnixTime(seconds)).unwrap().as_str(), text);
        }
        assert_eq!(encode(UnixTime(MAX.0 + 1)), None);
        assert_eq!(encode(UnixTime(u64::MAX)), None);
    }

    #[test]
    fn every_day_up_to_2200_and_a_second_of_it_has_one_text() {
        let mut previous = heapless::String::new();
        for day in 0..84_006_u64 {
            let time = UnixTime(day * SECONDS_PER_DAY + day.wrapping_mul(7919) % SECONDS_PER_DAY);
            let text = encode(time).unwrap();
            assert_eq!(decode(text.as_bytes()), Ok(time), "{text}");
            assert!(text > previous, "text order is time order");
            previous = text;
        }
        assert!(previous.starts_with("2199-12-31"));
    }

    #[test]
    fn any_other_form_is_refused() {
        for text in [
            "",
            "2025-11-26",
            "2025-11-26T12:00:00",
            "2025-11-26t12:00:00Z",
            "2025-11-26T12:00:00z",
            "2025-11-26 12:00:00Z",
            "2025-11-26T12:00:00.0Z",
            "2025-11-26T12:00:00+00:00",
            "2025-11-26T12:00:60Z",
            "2025-11-26T24:00:00Z",
            "2025-11-26T12:60:00Z",
            "2025-13-01T00:00:00Z",
            "2025-00-01T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2025-04-31T00:00:00Z",
            "2025-01-00T00:00:00Z",
            "2025-01-32T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "0000-01-01T00:00:00Z",
            "+025-11-26T12:00:00Z",
            "2025-1 -26T12:00:00Z",
            "2025-11-26T12:00:0\u{0}Z",
            "12025-11-26T12:00:00Z",
            "2025-11-26T12:00:00Z ",
            "2025/11/26T12:00:00Z",
        ] {
            assert!(decode(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
