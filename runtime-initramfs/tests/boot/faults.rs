//! What is said when there is no network, or nothing in it.

use std::os::unix::process::ExitStatusExt as _;

use phase_tests::deadline::GENEROUS;
use phase_tests::netns::Namespace;
use phase_tests::process::{Finished, Process, Stream};

use crate::lab::{LEASES, Lab, PROGRAM, discover};

#[test]
fn without_a_dhcp_server_that_is_what_is_said() {
    let mut lab = Lab::new(&["10.77.0.1/24"]);
    lab.start_provider();
    let failed = lab.run(&["--timeout", "2"]);
    check(
        &failed,
        5,
        "failed: dhcp: exit code 5: no DHCP server and no IPv6 router answered on eth0",
    );
}

#[test]
fn without_a_carrier_that_is_what_is_said() {
    let lab = Lab::new(&[]);
    lab.set_port(1, false);
    let failed = lab.run(&["--timeout", "1"]);
    check(&failed, 5, "failed: link: exit code 5: no carrier on eth0; check the cable");
}

#[test]
fn without_an_interface_that_is_what_is_said() {
    let host = Namespace::new("bare").unwrap();
    let command = discover(host.command(PROGRAM), &["--timeout", "1"]);
    let failed = Process::spawn(command).unwrap().wait(GENEROUS).unwrap();
    check(&failed, 5, "failed: link: exit code 5: no network interface can be used");
    check(&failed, 5, "interface lo: not used: no Ethernet interface");
}

#[test]
fn an_interface_with_addresses_of_the_kernel_is_refused() {
    let lab = Lab::with_everything();
    lab.client.add_address("eth0", "10.77.0.2/24").unwrap();
    let failed = lab.run(&["--timeout", "1"]);
    check(&failed, 5, "interface eth0: not used: the kernel has 10.77.0.2 on it");
    check(&failed, 5, "or use phase-discover");
}

#[test]
fn without_the_right_to_packet_sockets_the_right_is_named() {
    let lab = Lab::with_everything();
    let mut command = lab.client.command("setpriv");
    command.args(["--bounding-set=-net_raw", "--inh-caps=-net_raw", PROGRAM]);
    let failed = Process::spawn(discover(command, &[])).unwrap().wait(GENEROUS).unwrap();
    check(&failed, 5, "a packet socket needs CAP_NET_RAW; run this as root, or use phase-discover");
}

#[test]
fn without_a_provider_nothing_is_found_and_what_was_asked_is_said() {
    let mut lab = Lab::new(&["10.77.0.1/24"]);
    lab.start_dhcp(LEASES);
    let failed = lab.run(&["--channel", "testing"]);
    check(&failed, 3, "nothing found for channel testing, architecture arm64 in 3.");
    check(&failed, 3, "asked on eth0 (IPv4, IPv6)");
}

#[test]
fn what_is_wrong_with_the_command_line_is_told_before_anything_is_touched() {
    let lab = Lab::new(&[]);
    check(&lab.run(&["--mode", "wan"]), 2, "mode wan needs a node to enter the DHT by");
    check(&lab.run(&["--trust", "/no/such/file"]), 2, "trust \"/no/such/file\": ");
    check(&lab.run(&["--watch"]), 2, "discover has no flag --watch");
    let link = lab.client.ip(&["-6", "addr", "show", "dev", "eth0"]).unwrap();
    assert!(link.contains("fe80::"), "{link}");
}

#[test]
fn the_kernel_has_its_ipv6_again_when_the_run_is_over() {
    let lab = Lab::with_everything();
    let found = lab.run(&["--quiet"]);
    assert_eq!(found.code(), 0, "{}", found.stderr);
    assert_eq!(kernel_ipv6_is_off(&lab), "0");
}

#[test]
fn the_kernel_has_its_ipv6_again_when_the_run_is_interrupted() {
    let lab = Lab::new(&[]);
    let mut waiting = lab.start(&["--timeout", "20"]);
    waiting.wait_for_line(Stream::Stderr, |line| line.contains("link: eth0 is up")).unwrap();
    assert_eq!(kernel_ipv6_is_off(&lab), "1");
    let ended = waiting.terminate().unwrap();
    assert_eq!(ended.status.signal(), Some(15), "{}", ended.stderr);
    assert_eq!(kernel_ipv6_is_off(&lab), "0");
}

fn kernel_ipv6_is_off(lab: &Lab) -> String {
    let path = "/proc/sys/net/ipv6/conf/eth0/disable_ipv6";
    lab.client.inside(|| std::fs::read_to_string(path)).unwrap().trim().to_owned()
}

fn check(failed: &Finished, code: i32, text: &str) {
    assert_eq!((failed.code(), failed.stdout.as_str()), (code, ""), "{}", failed.stderr);
    assert!(failed.stderr.contains(text), "{text:?} in {}", failed.stderr);
}
