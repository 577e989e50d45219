//! Percentiles, and what `/proc` tells of a process.

use std::fs;
use std::time::Duration;

use crate::Error;

/// Linux counts processor time in hundredths of a second (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// Three percentiles of some durations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Percentiles {
    /// The median.
    pub(super) p50: Duration,
    /// 95 of 100 took no longer.
    pub(super) p95: Duration,
    /// 99 of 100 took no longer.
    pub(super) p99: Duration,
}

impl Percentiles {
    /// Of durations in any order; zero of none.
    pub(super) fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort();
        let at = |percent: usize| {
            let index = (durations.len().saturating_sub(1) * percent).div_ceil(100);
            durations.get(index).copied().unwrap_or_default()
        };
        Self { p50: at(50), p95: at(95), p99: at(99) }
    }
}

/// Processor time a process has used, all threads, user and system.
///
/// # Errors
/// When there is no such process.
pub(super) fn cpu_time(pid: u32) -> Result<Duration, Error> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(|e| Error::os(format!("read {path}"), e))?;
    parse_stat(&text).ok_or(Error::Unexpected { what: path, found: text })
}

/// Fields 14 and 15 of proc(5)'s stat; the program's name before them may hold anything.
fn parse_stat(text: &str) -> Option<Duration> {
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * (user + system))
}

/// Resident memory of a process in KiB, now.
///
/// # Errors
/// When there is no such process.
pub(super) fn resident_kib(pid: u32) -> Result<u64, Error> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(|e| Error::os(format!("read {path}"), e))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or(Error::Unexpected { what: path, found: text })
}

/// `1.23 ms`, with three digits that mean something.
pub(super) fn shown(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1e3;
    match millis {
        ..10.0 => format!("{millis:.2}"),
        10.0..100.0 => format!("{millis:.1}"),
        _ => format!("{millis:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_durations() {
        let durations = (1..=101).rev().map(Duration::from_millis).collect();
        let ms = Duration::from_millis;
        let expected = Percentiles { p50: ms(51), p95: ms(96), p99: ms(100) };
        assert_eq!(Percentiles::of(durations), expected);
        assert_eq!(Percentiles::of(Vec::new()), Percentiles::default());
    }

    #[test]
    fn processor_time_is_found_behind_an_odd_name() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 12 34 0 0 20 0 1 0 5 1 1";
        assert_eq!(parse_stat(text), Some(Duration::from_millis(460)));
    }

    #[test]
    fn this_process_has_memory_and_time() {
        let pid = std::process::id();
        assert!(resident_kib(pid).unwrap() > 100);
        cpu_time(pid).unwrap();
    }
}
