//! `phase-provider serve` in the DHT, and who finds it there.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use phase_tests::deadline::GENEROUS;
use phase_tests::netns::{Lan, Namespace};
use phase_tests::process::{Finished, Process};
use serde_json::Value;

use crate::publisher::{Publisher, Scripted, key, peer, signed, text_of};
use crate::serve::{Lab, PROVIDER, check_failure, wait_for, wait_for_all};

const DISCOVER: &str = env!("CARGO_BIN_EXE_phase-discover");
const FETCH: &str = env!("CARGO_BIN_EXE_phase-fetch");
const PORT: u16 = 4001;

#[test]
fn what_one_provider_publishes_is_found_by_way_of_another() {
    let net = Net::new();
    let status = net.lab.status();
    let advert = of_carrier(&status, "dht").remove(0);
    assert_eq!(advert["state"], "published", "{advert}");
    assert_eq!(advert["publication"]["holders"], 1, "{advert}");
    assert!(advert["publication"]["next_in_seconds"].as_u64().unwrap() > 60, "{advert}");
    let dht = &status["dht"];
    assert_eq!((&dht["peers"], &dht["live_peers"]), (&1.into(), &1.into()), "{dht}");
    assert_eq!(dht["buckets"][0]["peers"], 1, "{dht}");
    assert_eq!(dht["bootstraps"][0]["state"], "answered", "{dht}");
    assert_eq!(dht["bootstraps"][0]["peer_id"], net.entrance_id.as_str(), "{dht}");
    let told = format!("/ip4/{}/tcp/{PORT}", net.lan.host(1).ipv4);
    let told_all = dht["announced"].as_array().unwrap();
    assert!(told_all.contains(&told.into()), "{dht}");
    assert!(!dht["announced"].to_string().contains("fe80"), "{dht}");
    let people = net.lab.run(&["status"]).stdout;
    for part in ["published 1 of 1 adverts in the DHT", "1 nodes keep it", "buckets ", " answered"]
    {
        assert!(people.contains(part), "{part:?} in {people}");
    }

    let trusted = net.peer_id.clone();
    let found = net.client(DISCOVER, &["--trust", &trusted, "--json", "--explain"]);
    assert_eq!(found.code(), 0, "{}", found.stderr);
    let best: Value = serde_json::from_str(found.stdout.lines().next().unwrap()).unwrap();
    let url = format!("http://{}:8080/stable/arm64/manifest.json", net.lan.host(1).ipv4);
    assert_eq!((&best["url"], &best["trust"]), (&url.into(), &"pinned".into()), "{best}");
    assert!(["dht", "direct"].contains(&best["source"].as_str().unwrap()), "{best}");

    let output = net.lab.path("fetched");
    let fetched = net.client(FETCH, &["--trust", &trusted, "--output", &output]);
    assert_eq!(fetched.code(), 0, "{}", fetched.stderr);
    assert_eq!(fs::read(Path::new(&output).join("kernel")).unwrap(), b"content");
}

#[test]
fn a_restarted_provider_finds_the_network_without_its_bootstrap() {
    let mut net = Net::new();
    assert_eq!(net.provider.take().unwrap().terminate().unwrap().code(), 0);
    let kept = fs::metadata(net.lab.path("state/dht.bin")).unwrap();
    assert!(kept.len() > 32, "{kept:?}");
    let seq = |status: &Value| of_carrier(status, "dht")[0]["seq"].as_u64();
    let mut again = net.serve(&[]);
    wait_for(&mut again, "published stable/arm64 in the DHT: kept by 1 node");
    let status = net.lab.status();
    assert_eq!(status["dht"]["bootstraps"], serde_json::json!([]));
    assert!(seq(&status).unwrap() > 0);
    assert_eq!(again.terminate().unwrap().code(), 0);
}

#[test]
fn a_provider_whose_bootstraps_are_dead_serves_on_and_says_what_is_wrong() {
    let lan = Lan::of(1).unwrap();
    let host = &lan.host(0).namespace;
    let lab = Lab::new(&["stable/arm64/vmlinuz"]);
    let bootstraps = ["/ip4/127.0.0.1/tcp/9", "/dns4/no-such-host.invalid/tcp/4001"];
    let mut provider =
        serve(host, &lab, &["--bootstrap", bootstraps[0], "--bootstrap", bootstraps[1]]);
    let told = [
        "bootstrap /ip4/127.0.0.1/tcp/9: 127.0.0.1:9: connection refused",
        "cannot resolve no-such-host.invalid",
        "cannot publish stable/arm64 in the DHT",
    ];
    wait_for_all(&mut provider, &told);
    let status = lab.status();
    for (number, error) in [(0, "connection refused"), (1, "cannot resolve")] {
        let one = &status["dht"]["bootstraps"][number];
        assert_eq!(
            (&one["address"], &one["state"]),
            (&bootstraps[number].into(), &"failed".into())
        );
        assert!(one["error"].as_str().unwrap().contains(error), "{one}");
    }
    let people = lab.run(&["status"]);
    assert!(people.stdout.contains("not published yet"), "{}", people.stdout);
    assert_eq!(provider.terminate().unwrap().code(), 0);
}

#[test]
fn a_port_that_is_taken_is_named_with_the_flag_that_helps() {
    let host = Namespace::new("taken").unwrap();
    let _taken = host.inside(|| TcpListener::bind(("0.0.0.0", PORT))).unwrap();
    let lab = Lab::new(&["stable/arm64/vmlinuz"]);
    let finished = serve(&host, &lab, &[]).wait(GENEROUS).unwrap();
    check_failure(&finished, 2, "cannot listen on TCP 0.0.0.0:4001: ");
    check_failure(&finished, 2, "--dht-listen /ip4/0.0.0.0/tcp/PORT, or --no-dht");
    let mut other = serve(&host, &lab, &["--dht-listen", "/ip4/0.0.0.0/tcp/0"]);
    wait_for(&mut other, "serving stable/arm64");
    assert_eq!(other.terminate().unwrap().code(), 0);
}

#[test]
fn bad_addresses_are_usage_errors() {
    let lab = Lab::new(&["stable/arm64/vmlinuz"]);
    for (flag, value, why) in [
        ("--dht-listen", "/dns4/localhost/tcp/4001", "not a name"),
        ("--dht-listen", "0.0.0.0:4001", "it must begin with /ip4/"),
        ("--dht-announce", "/ip4/0.0.0.0/tcp/4001", "others cannot connect to this address"),
        ("--bootstrap", "/ip4/192.0.2.1/tcp/4001/ws", "nothing may follow but /p2p/"),
    ] {
        let finished = lab.run(&["serve", flag, value]);
        assert_eq!(finished.code(), 2, "{finished:?}");
        let told = finished.stderr.contains(why) && finished.stderr.contains(value);
        assert!(told, "{}", finished.stderr);
    }
    let both = lab.run(&["serve", "--no-dht", "--bootstrap", "/dnsaddr/boot.example"]);
    assert_eq!(both.code(), 2, "{both:?}");
}

#[test]
fn fetching_goes_on_with_the_dht_when_what_the_lan_names_is_dead() {
    let net = Net::new();
    // The same peer on the LAN, at a port where nobody listens.
    let host = net.lan.host(0);
    let dead = format!("http://{}:9/stable/arm64/manifest.json", host.ipv4);
    let script = Scripted::new(host.ipv4, &[("one", text_of(&signed(1, &dead)))]);
    let _publisher = Publisher::scripted_on(&host.namespace, &[], script);
    let mut trust = format!("provider {}\nprovider {}\n", peer(1), net.peer_id);
    trust.push_str(&format!("bootstrap {}\n", net.bootstrap));
    let file = net.lab.path("trust");
    fs::write(&file, trust).unwrap();
    assert_eq!(key(1).peer_id(), peer(1));
    let output = net.lab.path("fetched");
    let mut command = net.lan.host(2).namespace.command(FETCH);
    command.args(["--arch", "arm64", "--mode", "all", "--trust", &file, "--output", &output]);
    let fetched = Process::spawn(command).unwrap().wait(GENEROUS).unwrap();
    assert_eq!(fetched.code(), 0, "{}", fetched.stderr);
    assert!(fetched.stderr.contains(&dead), "the near one was tried: {}", fetched.stderr);
    assert_eq!(fs::read(Path::new(&output).join("kernel")).unwrap(), b"content");
}

// Helpers.

/// A node to enter by on host 0, a provider on host 1, and room for a client on host 2.
struct Net {
    provider: Option<Process>,
    _entrance: Process,
    _entrance_lab: Lab,
    entrance_id: String,
    bootstrap: String,
    lab: Lab,
    peer_id: String,
    // Last, so that it goes last.
    lan: Lan,
}

impl Net {
    fn new() -> Self {
        let lan = Lan::of(3).unwrap();
        let entrance_lab = Lab::new(&[]);
        let entrance_id = own_id(&entrance_lab);
        let mut entrance = serve(&lan.host(0).namespace, &entrance_lab, &["--no-mdns"]);
        wait_for(&mut entrance, "no bootstrap is configured");
        wait_for(&mut entrance, "nothing to serve");
        let bootstrap = format!("/ip4/{}/tcp/{PORT}/p2p/{entrance_id}", lan.host(0).ipv4);
        let lab = Lab::new(&["stable/arm64/vmlinuz"]);
        lab.write("stable/arm64/version", "2020.1\n");
        let peer_id = own_id(&lab);
        let net = Self {
            provider: None,
            _entrance: entrance,
            _entrance_lab: entrance_lab,
            entrance_id,
            bootstrap,
            lab,
            peer_id,
            lan,
        };
        let mut provider = net.serve(&["--bootstrap", &net.bootstrap]);
        wait_for(&mut provider, "published stable/arm64 in the DHT: kept by 1 node");
        Self { provider: Some(provider), ..net }
    }

    fn serve(&self, more: &[&str]) -> Process {
        let arguments = [&["--no-mdns"], more].concat();
        serve(&self.lan.host(1).namespace, &self.lab, &arguments)
    }

    /// Runs a client that looks in the DHT alone.
    fn client(&self, program: &str, more: &[&str]) -> Finished {
        let mut command = self.lan.host(2).namespace.command(program);
        command.args(["--arch", "arm64", "--mode", "wan", "--bootstrap", &self.bootstrap]);
        command.args(more);
        Process::spawn(command).unwrap().wait(GENEROUS).unwrap()
    }
}

fn serve(namespace: &Namespace, lab: &Lab, more: &[&str]) -> Process {
    let mut command = namespace.command(PROVIDER);
    command.args(lab.serve_arguments()).args(more);
    Process::spawn(command).unwrap()
}

fn own_id(lab: &Lab) -> String {
    lab.run(&["key", "generate"]);
    lab.run(&["key", "show"]).stdout.trim().to_owned()
}

fn of_carrier(status: &Value, carrier: &str) -> Vec<Value> {
    let adverts = status["adverts"].as_array().unwrap().iter();
    adverts.filter(|advert| advert["carrier"] == carrier).cloned().collect()
}
