//! Discovery on the LAN: what is found, and how it is told.

use phase_tests::netns::Namespace;
use phase_tests::process::{Process, Stream};
use serde_json::Value;

use crate::lab::{LEASES, Lab, only_line};

#[test]
fn a_provider_is_found_by_a_machine_that_has_just_got_its_lease() {
    let lab = Lab::with_everything();
    let trusted = lab.peer_id();
    let found = lab.run(&["--trust", &trusted, "--json"]);
    assert_eq!(found.code(), 0, "{}", found.stderr);
    let candidate = only_line(&found.stdout);
    for (member, value) in [
        ("url", Value::from(Lab::url())),
        ("peer_id", trusted.into()),
        ("channel", "stable".into()),
        ("arch", "arm64".into()),
        ("source", "lan".into()),
        ("trust", "pinned".into()),
        ("accepted", true.into()),
        ("reason", Value::Null),
    ] {
        assert_eq!(candidate[member], value, "{member}");
    }
    for member in ["version", "seq", "elapsed_ms"] {
        assert!(!candidate[member].is_null(), "{member}");
    }
    // An announcement answers no question, so that nobody knows how long an answer takes.
    for member in ["provider_name", "rtt_ms"] {
        assert!(candidate.get(member).is_some(), "{member}");
    }
    assert!(found.stderr.contains("link: eth0 is up"), "{}", found.stderr);
    assert!(found.stderr.contains("dhcp: eth0 has 10.77.0.1"), "{}", found.stderr);
    assert!(found.stderr.contains(", router 10.77.0.1\n"), "{}", found.stderr);
}

#[test]
fn quiet_prints_the_url_and_nothing_else() {
    let lab = Lab::with_everything();
    let found = lab.run(&["--quiet"]);
    assert_eq!((found.code(), found.stderr.as_str()), (0, ""));
    assert_eq!(found.stdout, format!("{}\n", Lab::url()));
}

#[test]
fn an_interface_that_is_down_is_taken_up() {
    let lab = Lab::with_everything();
    lab.client.set_down("eth0").unwrap();
    let found = lab.run(&["--quiet"]);
    assert_eq!((found.code(), found.stdout.trim()), (0, Lab::url().as_str()), "{}", found.stderr);
}

#[test]
fn a_stranger_is_refused_with_its_code_when_somebody_is_trusted() {
    let lab = Lab::with_everything();
    let key = "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV";
    let found = lab.run(&["--trust", key, "--json", "--timeout", "2"]);
    assert_eq!(found.code(), 4, "{}", found.stderr);
    let candidate = only_line(&found.stdout);
    assert_eq!(candidate["accepted"], false);
    assert_eq!(candidate["reason"], "E-UNTRUSTED");
    assert!(found.stderr.contains("failed: discover: exit code 4: found 1 "), "{}", found.stderr);
    assert!(found.stderr.contains(&lab.peer_id()), "{}", found.stderr);
}

#[test]
fn frames_whose_checksums_nobody_looked_at_are_looked_at_and_taken() {
    let lab = Lab::with_everything();
    // The host computes them itself, and the machine's interface vouches for none.
    lab.host.run("ethtool", &["--offload", "eth0", "tx", "off"]).unwrap();
    lab.client.run("ethtool", &["--offload", "eth0", "rx", "off"]).unwrap();
    let found = lab.run(&["--quiet"]);
    assert_eq!((found.code(), found.stdout.trim()), (0, Lab::url().as_str()), "{}", found.stderr);
}

#[test]
fn a_network_with_ipv6_alone_is_enough() {
    let mut lab = Lab::new(&["fd77:0:0:1::1/64"]);
    let advertise = ["--enable-ra", "--dhcp-range=fd77:0:0:1::,ra-only,64"];
    lab.start_dhcp(&advertise);
    lab.start_provider();
    let trusted = lab.peer_id();
    let found = lab.run(&["--trust", &trusted, "--json", "--explain"]);
    assert_eq!(found.code(), 0, "{}", found.stderr);
    let candidate = only_line(&found.stdout);
    assert_eq!(candidate["url"], "http://[fd77:0:0:1::1]:8080/stable/arm64/manifest.json");

    // With time to hear the router, the machine also has an address of its prefix.
    let waited = lab.run(&["--mode", "all", "--explain"]);
    assert_eq!(waited.code(), 0, "{}", waited.stderr);
    assert!(waited.stderr.contains("dhcp: eth0 has fd77::1:"), "{}", waited.stderr);
    assert!(waited.stderr.contains(", router fe80::"), "{}", waited.stderr);
}

#[test]
fn of_two_interfaces_the_one_that_leads_somewhere_is_used() {
    let lab = Lab::with_everything();
    // A cable without anybody at its end, and one whose network has no DHCP server.
    let nobody = ["link", "add", "aaa0", "type", "veth", "peer", "name", "aaa1"];
    lab.client.ip(&nobody).unwrap();
    let lonely = phase_tests::netns::Segment::new().unwrap();
    lonely.attach(&lab.client, "bbb0", &[]).unwrap();
    let found = lab.run(&[
        "--json",
        "--explain",
        "--interface",
        "aaa0",
        "--interface",
        "bbb0",
        "--interface",
        "eth0",
    ]);
    assert_eq!(found.code(), 0, "{}", found.stderr);
    assert_eq!(only_line(&found.stdout)["url"], Lab::url());
    assert!(found.stderr.contains("interface eth0: used: 10.77.0."), "{}", found.stderr);
    assert!(found.stderr.contains("interface aaa0: used: no carrier"), "{}", found.stderr);
    assert!(found.stderr.contains("interface aaa1: not used: not named"), "{}", found.stderr);
}

#[test]
fn a_link_that_comes_later_is_waited_for() {
    let lab = Lab::with_everything();
    lab.set_port(1, false);
    let mut waiting = lab.start(&["--json", "--timeout", "20"]);
    wait_until_interface_is_used(&lab.client);
    lab.set_port(1, true);
    waiting.wait_for_line(Stream::Stderr, |line| line.contains("link: eth0 is up")).unwrap();
    assert_found(waiting);
}

#[test]
fn an_interface_that_comes_later_is_used() {
    let lab = Lab::with_everything();
    lab.client.ip(&["link", "del", "dev", "eth0"]).unwrap();
    let mut waiting = lab.start(&["--json", "--timeout", "20"]);
    // Nothing tells that it watches; whether the interface comes before or behind that, it is used.
    lab.segment.attach(&lab.client, "late0", &[]).unwrap();
    waiting.wait_for_line(Stream::Stderr, |line| line.contains("dhcp: late0 has ")).unwrap();
    assert_found(waiting);
}

#[test]
fn an_interface_that_is_unplugged_and_plugged_in_again_is_used_again() {
    let mut lab = Lab::new(&["10.77.0.1/24"]);
    lab.start_dhcp(LEASES);
    let mut waiting = lab.start(&["--json", "--timeout", "30"]);
    let mut wait_for = |text: &str| {
        waiting.wait_for_line(Stream::Stderr, |line| line.contains(text)).unwrap();
    };
    wait_for("dhcp: eth0 has 10.77.0.");
    lab.client.ip(&["link", "del", "dev", "eth0"]).unwrap();
    wait_for("link: eth0 has no carrier");
    lab.segment.attach(&lab.client, "eth0", &[]).unwrap();
    wait_for("link: eth0 is up");
    wait_for("dhcp: eth0 has 10.77.0.");
    lab.start_provider();
    assert_found(waiting);
}

#[test]
fn an_interface_of_its_own_beside_the_kernels_will_do() {
    let lab = Lab::with_everything();
    lab.client.add_address("eth0", "10.77.0.2/24").unwrap();
    let own = ["link", "add", "link", "eth0", "name", "boot0", "type", "macvlan", "mode", "bridge"];
    lab.client.ip(&own).unwrap();
    let found = lab.run(&["--quiet"]);
    assert_eq!((found.code(), found.stdout.trim()), (0, Lab::url().as_str()), "{}", found.stderr);
}

#[test]
fn a_link_that_goes_and_comes_again_is_used_again() {
    let mut lab = Lab::new(&["10.77.0.1/24"]);
    lab.start_dhcp(LEASES);
    let mut waiting = lab.start(&["--json", "--timeout", "30"]);
    let mut wait_for = |text: &str| {
        waiting.wait_for_line(Stream::Stderr, |line| line.contains(text)).unwrap();
    };
    wait_for("dhcp: eth0 has 10.77.0.");
    lab.set_port(1, false);
    wait_for("link: eth0 has no carrier");
    lab.set_port(1, true);
    wait_for("link: eth0 is up");
    wait_for("dhcp: eth0 has 10.77.0.");
    lab.start_provider();
    assert_found(waiting);
}

fn assert_found(process: Process) {
    let found = process.wait(phase_tests::deadline::GENEROUS).unwrap();
    assert_eq!(found.code(), 0, "{}", found.stderr);
    assert_eq!(only_line(&found.stdout)["url"], Lab::url());
}

/// The kernel's IPv6 is off where an interface is used.
fn wait_until_interface_is_used(client: &Namespace) {
    phase_tests::deadline::until("eth0 to be used", phase_tests::deadline::GENEROUS, || {
        let path = "/proc/sys/net/ipv6/conf/eth0/disable_ipv6";
        let value = client.inside(|| std::fs::read_to_string(path))?;
        Ok((value.trim() == "1").then_some(()))
    })
    .unwrap();
}
