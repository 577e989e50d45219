//! Discovery in the DHT, through a router.

use phase_tests::netns::{Namespace, Segment};
use phase_tests::process::{Process, Stream};
use std::fs;

use crate::lab::{LEASES, Lab, only_line, peer_id, provider};

/// The remote network, behind the host of the lab, which is a router here: a node to enter by, and a provider.
struct Remote {
    _provider: Process,
    _entrance: Process,
    _hosts: [Namespace; 2],
    _segment: Segment,
    peer: String,
    /// Its id, without which anybody could stand in for it.
    entrance: String,
}

impl Remote {
    fn behind(lab: &Lab) -> Self {
        let segment = Segment::new().unwrap();
        segment.attach(&lab.host, "eth1", &["10.88.0.1/24"]).unwrap();
        lab.host.set_sysctl("ipv4/ip_forward", "1").unwrap();
        let host = |label, address| {
            let host = Namespace::new(label).unwrap();
            segment.attach(&host, "eth0", &[address]).unwrap();
            host.ip(&["route", "add", "default", "via", "10.88.0.1"]).unwrap();
            host
        };
        let hosts = [host("entry", "10.88.0.2/24"), host("provider", "10.88.0.3/24")];
        let empty = lab.path("empty");
        fs::create_dir_all(&empty).unwrap();
        let artifacts = lab.path("remote-artifacts");
        fs::create_dir_all(artifacts.join("stable/arm64")).unwrap();
        fs::write(artifacts.join("stable/arm64/vmlinuz"), "content").unwrap();

        let state = lab.path("entrance");
        let mut command = hosts[0].command(phase_tests::process::binary("phase-provider").unwrap());
        command.arg("serve").arg("--artifacts").arg(&empty).arg("--state-dir").arg(&state);
        command.arg("--no-mdns");
        let entrance_process = Process::spawn(command).unwrap();
        wait_for_tcp(&hosts[0]);
        let entrance = peer_id(&state);

        let state = lab.path("remote-state");
        let bootstrap = format!("/ip4/10.88.0.2/tcp/4001/p2p/{entrance}");
        let flags = ["--no-mdns", "--bootstrap", &bootstrap];
        let mut publishing = provider(&hosts[1], &artifacts, &state, &flags);
        let is_published = |line: &str| line.contains("published stable/arm64 in the DHT");
        publishing.wait_for_line(Stream::Stderr, is_published).unwrap();
        let peer = peer_id(&state);
        Self {
            _provider: publishing,
            _entrance: entrance_process,
            _hosts: hosts,
            _segment: segment,
            peer,
            entrance,
        }
    }
}

#[test]
fn a_provider_behind_a_router_is_found_in_the_dht() {
    let mut lab = Lab::new(&["10.77.0.1/24"]);
    lab.start_dhcp(LEASES);
    let remote = Remote::behind(&lab);
    let bootstrap = format!("/ip4/10.88.0.2/tcp/4001/p2p/{}", remote.entrance);
    for mode in ["wan", "auto"] {
        let flags = [
            "--mode",
            mode,
            "--bootstrap",
            &bootstrap,
            "--trust",
            &remote.peer,
            "--json",
            "--explain",
        ];
        let found = lab.run(&flags);
        assert_eq!(found.code(), 0, "{mode}: {}", found.stderr);
        let candidate = only_line(&found.stdout);
        assert_eq!(candidate["url"], "http://10.88.0.3:8080/stable/arm64/manifest.json");
        assert_eq!(candidate["trust"], "pinned");
        assert!(["dht", "direct"].contains(&candidate["source"].as_str().unwrap()), "{candidate}");
        let answered = format!("bootstrap {bootstrap}: {} answered", remote.entrance);
        assert!(found.stderr.contains(&answered), "{}", found.stderr);
    }
}

#[test]
fn the_name_of_a_bootstrap_is_resolved_by_the_name_server_of_the_lease() {
    let mut lab = Lab::new(&["10.77.0.1/24"]);
    lab.start_dhcp(&[LEASES[0], "--port=53", "--address=/entry.example/10.88.0.2"]);
    let remote = Remote::behind(&lab);
    let bootstrap = format!("/dns4/entry.example/tcp/4001/p2p/{}", remote.entrance);
    let found =
        lab.run(&["--mode", "wan", "--bootstrap", &bootstrap, "--trust", &remote.peer, "--quiet"]);
    assert_eq!(found.code(), 0, "{}", found.stderr);
    assert_eq!(found.stdout, "http://10.88.0.3:8080/stable/arm64/manifest.json\n");

    let nowhere = "/dns4/nowhere.example/tcp/4001";
    let failed = lab.run(&["--mode", "wan", "--bootstrap", nowhere]);
    assert_eq!(failed.code(), 3, "{}", failed.stderr);
    assert!(
        failed
            .stderr
            .contains("in the DHT: bootstrap /dns4/nowhere.example/tcp/4001: no name server knows"),
        "{}",
        failed.stderr
    );
}

#[test]
fn one_dead_bootstrap_of_two_does_not_matter() {
    let mut lab = Lab::new(&["10.77.0.1/24"]);
    lab.start_dhcp(LEASES);
    let remote = Remote::behind(&lab);
    let alive = format!("/ip4/10.88.0.2/tcp/4001/p2p/{}", remote.entrance);
    // One that refuses, and one that nobody answers at.
    for dead in ["/ip4/10.88.0.2/tcp/9", "/ip4/10.88.0.9/tcp/4001"] {
        let flags = [
            "--mode",
            "wan",
            "--bootstrap",
            dead,
            "--bootstrap",
            &alive,
            "--trust",
            &remote.peer,
            "--quiet",
        ];
        let found = lab.run(&flags);
        assert_eq!(found.code(), 0, "{dead}: {}", found.stderr);
    }
}

fn wait_for_tcp(host: &Namespace) {
    host.inside(|| {
        phase_tests::process::wait_for_tcp(([10, 88, 0, 2], 4001).into())
            .map_err(std::io::Error::other)
    })
    .unwrap();
}
