//! Waiting for a provider that is not there costs next to nothing.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use phase_tests::deadline::GENEROUS;
use phase_tests::process::Stream;

use crate::lab::{LEASES, Lab};

/// What the test waits for; long enough to tell work from noise.
const WHILE: Duration = Duration::from_secs(5);

/// Wake-ups a second that are too many: questions come ever less often, and nothing else is due.
const TOO_MANY: f64 = 20.0;

/// Ticks of 10 ms of processor time that are too much.
const TOO_MUCH: u64 = 10;

#[test]
fn a_machine_with_a_lease_and_no_provider_sleeps() {
    let mut lab = Lab::new(&["10.77.0.1/24"]);
    lab.start_dhcp(LEASES);
    check(&lab, "dhcp: eth0 has", 3);
}

#[test]
fn a_machine_without_a_dhcp_server_sleeps_too() {
    let lab = Lab::new(&["10.77.0.1/24"]);
    // Longer than three router solicitations and their answers take.
    check(&lab, "link: eth0 is up", 5);
}

#[expect(clippy::print_stdout, reason = "what it costs is worth to be seen")]
fn check(lab: &Lab, begins: &str, code: i32) {
    let mut waiting = lab.start(&["--timeout", "20", "--explain"]);
    waiting.wait_for_line(Stream::Stderr, |line| line.contains(begins)).unwrap();
    sleep(Duration::from_secs(13));
    let before = ticks(waiting.pid());
    sleep(WHILE);
    let used = ticks(waiting.pid()) - before;
    let finished = waiting.wait(GENEROUS).unwrap();
    assert_eq!(finished.code(), code, "{}", finished.stderr);
    let line = finished.stderr.lines().find(|line| line.starts_with("wake-ups: ")).unwrap();
    println!("{line}; {used} ticks of 10 ms in {} s", WHILE.as_secs());
    let rate = line.split_whitespace().rev().nth(2).unwrap().parse::<f64>().unwrap();
    assert!(rate < TOO_MANY, "{line}");
    assert!(used < TOO_MUCH, "{used} ticks in {} s", WHILE.as_secs());
}

/// Processor time of a process, in user and kernel mode.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next().unwrap().parse::<u64>().unwrap();
    next() + next()
}
