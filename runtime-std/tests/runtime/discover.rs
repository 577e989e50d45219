//! `phase-discover` as its user sees it: standard output, standard error and exit status.

use std::process::Command;

use phase_core::wire::record::Advert;
use phase_tests::deadline::GENEROUS;
use phase_tests::netns::{Lan, Namespace};
use phase_tests::process::{Finished, Process, Stream};
use serde_json::Value;

use crate::publisher::{
    LONG_AGO, Publisher, Scripted, arm64, key, peer, signed, stable, text, text_of,
};

const URL: &str = "http://10.77.0.1:8080/stable/arm64/manifest.json";
/// Seconds after which an answer that comes at all has come, on a loaded machine too.
const HEARD_BY: &str = "1.5";
const WANTED: [&str; 2] = ["--arch", "aarch64"];

#[test]
fn the_url_alone_is_what_quiet_prints() {
    let lab = Lab::with(&[("one", text_of(&signed(1, URL)))]);
    let found = lab.discover(&["--quiet"]);
    assert_eq!((found.code(), found.stdout.as_str(), found.stderr.as_str()), (0, &*line(URL), ""));
}

#[test]
fn json_has_every_member_and_the_chosen_one_first() {
    let lab = Lab::with(&[("one", text_of(&signed(1, URL)))]);
    let found = lab.discover(&["--json", "--trust", &peer(1).to_string()]);
    assert_eq!((found.code(), found.stderr.as_str()), (0, ""));
    let candidate = only_line(&found.stdout);
    for (member, value) in [
        ("url", Value::from(URL)),
        ("peer_id", peer(1).to_string().into()),
        ("provider_name", "lab-1".into()),
        ("channel", "stable".into()),
        ("arch", "arm64".into()),
        ("version", "2025.11.26".into()),
        ("seq", 7.into()),
        ("source", "lan".into()),
        ("trust", "pinned".into()),
        ("accepted", true.into()),
        ("reason", Value::Null),
        ("interface", "eth0".into()),
    ] {
        assert_eq!(candidate[member], value, "{member}");
    }
    let (rtt, elapsed) = (candidate["rtt_ms"].as_f64(), candidate["elapsed_ms"].as_f64());
    assert!(rtt.unwrap() > 0.0 && elapsed.unwrap() > rtt.unwrap(), "{candidate}");
    assert_eq!(candidate.get("event"), None);
}

#[test]
fn without_trust_a_valid_signature_is_enough_and_the_hint_says_how_to_pin() {
    let lab = Lab::with(&[("one", text_of(&signed(1, URL)))]);
    let found = lab.discover(&[]);
    assert_eq!(found.code(), 0);
    let lines: Vec<&str> = found.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", found.stdout);
    assert!(lines[0].starts_with("URL ") && lines[1].starts_with(URL), "{}", found.stdout);
    assert!(lines[1].contains(" unpinned ") && lines[1].contains(" lab-1 "), "{}", found.stdout);
    assert!(found.stderr.contains(&format!("--trust {}", peer(1))), "{}", found.stderr);
}

#[test]
fn mode_all_lists_every_acceptable_answer() {
    let other = "http://10.77.0.1:9090/stable/arm64/manifest.json";
    let texts = [("one", text_of(&signed(1, URL))), ("two", text_of(&signed(2, other)))];
    let lab = Lab::with(&texts);
    let found = lab.discover(&["--mode", "all", "--json", "--timeout", HEARD_BY]);
    assert_eq!(found.code(), 0);
    let mut urls: Vec<Value> =
        lines(&found.stdout).into_iter().map(|candidate| candidate["url"].clone()).collect();
    urls.sort_by_key(ToString::to_string);
    assert_eq!(urls, [URL, other]);
}

#[test]
fn a_stranger_is_refused_when_somebody_is_trusted() {
    let lab = Lab::with(&[("one", text_of(&signed(1, URL)))]);
    let trusted = peer(2).to_string();
    let found = lab.discover(&["--timeout", HEARD_BY, "--trust", &trusted]);
    assert_eq!((found.code(), found.stdout.as_str()), (4, ""));
    assert!(found.stderr.contains("found 1 for channel stable, architecture arm64"));
    let refusal = format!("E-UNTRUSTED {} at {URL}: ", peer(1));
    assert!(found.stderr.contains(&refusal), "{}", found.stderr);
    assert!(
        found.stderr.contains(&format!("hint: if you know this provider: --trust {}", peer(1)))
    );

    let found = lab.discover(&["--timeout", HEARD_BY, "--trust", &trusted, "--json", "--explain"]);
    assert_eq!(found.code(), 4);
    let candidate = only_line(&found.stdout);
    assert_eq!(candidate["accepted"], false);
    assert_eq!(candidate["reason"], "E-UNTRUSTED");
    assert_eq!(candidate["trust"], Value::Null);
    assert!(found.stderr.contains("interface eth0: used: 10.77.0.2/24, "), "{}", found.stderr);
    assert!(found.stderr.contains("interface lo: not used: loopback"), "{}", found.stderr);
}

#[test]
fn each_refusal_has_its_code() {
    let advert = signed(1, URL);
    let right = text_of(&advert);
    let elsewhere = {
        let channel = "testing".parse().unwrap();
        let moved = advert.advert().clone().sign(&key(1), &channel, &arm64()).unwrap();
        text_of(&moved)
    };
    let expired = Advert { issued: LONG_AGO, ..advert.advert().clone() };
    let expired = text_of(&expired.sign(&key(1), &stable(), &arm64()).unwrap());
    let unsigned = unsigned();
    let tampered = {
        let at = right.windows(10).position(|w| w == b"2025.11.26").unwrap();
        let mut tampered = right;
        tampered[at + 9] = b'7';
        tampered
    };
    let bad_url = text(&["txtvers=1", "arch=arm64", "channel=stable", "manifest=ftp://x/y"]);
    let metadata = text_of(&signed(1, "http://169.254.169.254/stable/arm64/manifest.json"));
    for (code, text) in [
        ("E-SIG", elsewhere),
        ("E-SIG", tampered),
        ("E-EXPIRED", expired),
        ("E-UNSIGNED", unsigned),
        ("E-URL:", bad_url),
        ("E-POLICY", metadata),
    ] {
        let lab = Lab::with(&[("one", text)]);
        let found = lab.discover(&["--timeout", HEARD_BY]);
        assert_eq!((found.code(), found.stdout.as_str()), (4, ""), "{code}: {}", found.stderr);
        assert!(found.stderr.contains(&format!("  {code}")), "{code}: {}", found.stderr);
    }
}

#[test]
fn an_unsigned_record_is_used_only_with_insecure_and_never_before_a_signed_one() {
    let lab = Lab::with(&[("old", unsigned())]);
    let found = lab.discover(&["--insecure", "--json"]);
    assert_eq!(found.code(), 0);
    assert_eq!(only_line(&found.stdout)["trust"], "unsigned");
    assert!(found.stderr.contains("--insecure: anybody"), "{}", found.stderr);

    let better = "http://10.77.0.1:8081/stable/arm64/manifest.json";
    let lab = Lab::with(&[("old", unsigned()), ("signed", text_of(&signed(1, better)))]);
    let found = lab.discover(&["--insecure", "--quiet"]);
    assert_eq!(found.stdout, line(better));
}

#[test]
fn a_silent_network_is_not_found_and_says_what_to_check() {
    let lan = Lan::pair().unwrap();
    let found = discover(&lan.host(1).namespace, &["--timeout", "0.2"]);
    assert_eq!((found.code(), found.stdout.as_str()), (3, ""));
    for part in ["in 0.", "asked on: eth0 (IPv4, IPv6)", "UDP port 5353", "phase-provider list"] {
        assert!(found.stderr.contains(part), "{part}: {}", found.stderr);
    }
}

#[test]
fn a_host_without_an_interface_has_no_network() {
    let namespace = Namespace::new("alone").unwrap();
    for named in [&[][..], &["--interface", "eth7"]] {
        let found = discover(&namespace, &[&["--timeout", "0.2"], named].concat());
        assert_eq!((found.code(), found.stdout.as_str()), (5, ""), "{}", found.stderr);
        assert!(found.stderr.contains("no network interface can be used"), "{}", found.stderr);
        assert!(found.stderr.contains("  lo: "), "{}", found.stderr);
    }
}

#[test]
fn an_interface_that_comes_in_time_is_used() {
    let lab = Lab::with(&[("one", text_of(&signed(1, URL)))]);
    let late = Namespace::new("late").unwrap();
    let command = command(&late, &["--timeout", "30", "--quiet"]);
    let mut process = Process::spawn(command).unwrap();
    process.wait_for_line(Stream::Stderr, |line| line.contains("waiting for one")).unwrap();
    lab.lan.segment().unwrap().attach(&late, "eth0", &["10.77.0.9/24"]).unwrap();
    let found = process.wait(GENEROUS).unwrap();
    assert_eq!((found.code(), found.stdout), (0, line(URL)));
}

#[test]
fn a_port_held_by_another_program_leaves_one_shot_queries() {
    let lab = Lab::with(&[("one", text_of(&signed(1, URL)))]);
    let namespace = &lab.lan.host(1).namespace;
    let _other = namespace.inside(|| std::net::UdpSocket::bind("[::]:5353")).unwrap();
    let found = lab.discover(&["--quiet"]);
    assert_eq!((found.code(), found.stdout), (0, line(URL)));
    assert!(found.stderr.contains("Only one-shot queries are sent"), "{}", found.stderr);
}

#[test]
fn a_provider_on_this_host_is_found_through_a_named_loopback_interface() {
    let namespace = Namespace::new("alone").unwrap();
    let local = "http://127.0.0.1:8080/stable/arm64/manifest.json";
    let script = Scripted::new([127, 0, 0, 1].into(), &[("one", text_of(&signed(1, local)))]);
    let _publisher = Publisher::scripted_on(&namespace, &["lo"], script);
    let found = discover(&namespace, &["--interface", "lo", "--quiet"]);
    assert_eq!((found.code(), found.stdout), (0, line(local)), "{}", found.stderr);
}

#[test]
fn wrong_command_lines_name_what_is_wrong() {
    for (arguments, message) in [
        (&["--channel", "Stable"][..], "--channel"),
        (&["--channel", ""], "--channel"),
        (&["--arch", "arm 64"], "--arch"),
        (&["--mode", "wan"], "--mode"),
        (&["--timeout", "0"], "must be a number of seconds"),
        (&["--timeout", "-1"], "must be a number of seconds"),
        (&["--timeout", "soon"], "must be a number of seconds"),
        (&["--interface", ""], "--interface"),
        (&["--trust", ""], "--trust"),
        (&["--trust", "12D3KooWnobody"], "is not an Ed25519 peer id"),
        (&["--trust", "ed25519:12"], "is not a key"),
        (&["--trust", "/nonexistent/trust"], "No such file or directory"),
        (&["--trust", "/dev/null"], "no key"),
        (&["--json", "--quiet"], "cannot be used with"),
        (&["--watch", "--quiet"], "cannot be used with"),
        (&["--mode", "moon"], "--mode"),
        (&["--bootstrap", "moon"], "--bootstrap"),
        (&["--log", "xml"], "--log"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["surplus"], "surplus"),
    ] {
        let found = run(Command::new(PROGRAM), arguments);
        assert_eq!((found.code(), found.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(found.stderr.contains(message), "{arguments:?}: {}", found.stderr);
    }
}

#[test]
fn a_trust_file_with_one_bad_line_is_refused_whole_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trust");
    std::fs::write(&path, format!("# lab\nprovider {}\nprovide nothing\n", peer(1))).unwrap();
    let found = run(Command::new(PROGRAM), &["--trust", path.to_str().unwrap()]);
    assert_eq!(found.code(), 2);
    assert!(found.stderr.contains("line 3: unknown statement `provide`"), "{}", found.stderr);
}

#[test]
fn help_and_version_go_to_standard_output() {
    let help = run(Command::new(PROGRAM), &["--help"]);
    assert_eq!((help.code(), help.stderr.as_str()), (0, ""));
    for part in ["Exit status:", "Examples:", "--interface <IF>", "PHASE_LOG"] {
        assert!(help.stdout.contains(part), "{part}");
    }
    let version = run(Command::new(PROGRAM), &["--version"]);
    assert_eq!((version.code(), version.stdout.starts_with("phase-discover 0.")), (0, true));
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let lab = Lab::with(&[("one", text_of(&signed(1, URL)))]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = command(&lab.lan.host(1).namespace, &["--quiet"]);
    command.stdout(writer).stderr(std::process::Stdio::piped());
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.as_ref()), (Some(0), ""));
}

#[test]
fn a_full_disk_is_told() {
    let lab = Lab::with(&[("one", text_of(&signed(1, URL)))]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = command(&lab.lan.host(1).namespace, &["--quiet"]);
    command.stdout(full).stderr(std::process::Stdio::piped());
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("cannot write to standard output"), "{stderr}");
}

#[test]
fn a_name_with_control_characters_never_reaches_the_terminal() {
    let lab = Lab::with(&[("evil\u{1b}[2J\u{202e}", unsigned())]);
    for arguments in
        [&["--timeout", HEARD_BY, "--explain"][..], &["--timeout", HEARD_BY, "--json", "--explain"]]
    {
        let found = lab.discover(arguments);
        assert_eq!(found.code(), 4);
        for c in ['\u{1b}', '\u{202e}'] {
            assert!(!found.stdout.contains(c) && !found.stderr.contains(c), "{arguments:?}");
        }
        assert!((found.stdout + &found.stderr).contains("evil"), "{arguments:?}");
    }
}

#[test]
fn watching_tells_what_is_found_changed_and_lost() {
    let lan = Lan::pair().unwrap();
    let publisher = Publisher::real(&lan.host(0).namespace, 1);
    let command = command(&lan.host(1).namespace, &["--watch", "--json"]);
    let mut process = Process::spawn(command).unwrap();
    let next = |process: &mut Process, event: &str| {
        let line = process.wait_for_line(Stream::Stdout, |_| true).unwrap();
        let candidate: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(candidate["event"], event, "{line}");
        candidate
    };
    publisher.publish("1.0");
    let found = next(&mut process, "found");
    assert_eq!((&found["url"], &found["version"]), (&URL.into(), &"1.0".into()));
    publisher.publish("1.1");
    assert_eq!(next(&mut process, "changed")["version"], "1.1");
    publisher.stop();
    let lost = next(&mut process, "lost");
    assert_eq!((&lost["url"], &lost["peer_id"]), (&URL.into(), &peer(1).to_string().into()));
    process.signal(nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(process.wait(GENEROUS).unwrap().code(), 0);
}

#[test]
fn watching_with_a_limit_ends_as_a_search_does() {
    let lan = Lan::pair().unwrap();
    let found = discover(&lan.host(1).namespace, &["--watch", "--timeout", "0.2"]);
    assert_eq!(found.code(), 3, "{}", found.stderr);
    let lab = Lab::with(&[("old", unsigned())]);
    assert_eq!(lab.discover(&["--watch", "--timeout", HEARD_BY]).code(), 4);
}

// Helpers.

const PROGRAM: &str = env!("CARGO_BIN_EXE_phase-discover");

/// A publisher on host 0 and room for a client on host 1.
struct Lab {
    // First, so that it ends before its namespace does.
    _publisher: Publisher,
    lan: Lan,
}

impl Lab {
    fn with(instances: &[(&str, Vec<u8>)]) -> Self {
        let lan = Lan::of(2).unwrap();
        let host = lan.host(0);
        let publisher =
            Publisher::scripted_on(&host.namespace, &[], Scripted::new(host.ipv4, instances));
        Self { _publisher: publisher, lan }
    }

    fn discover(&self, arguments: &[&str]) -> Finished {
        discover(&self.lan.host(1).namespace, arguments)
    }
}

fn command(namespace: &Namespace, arguments: &[&str]) -> Command {
    let mut command = namespace.command(PROGRAM);
    command.args(WANTED).args(arguments);
    command
}

fn discover(namespace: &Namespace, arguments: &[&str]) -> Finished {
    run(command(namespace, arguments), &[])
}

fn run(mut command: Command, arguments: &[&str]) -> Finished {
    command.args(arguments);
    Process::spawn(command).unwrap().wait(GENEROUS).unwrap()
}

fn line(text: &str) -> String {
    format!("{text}\n")
}

fn lines(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn only_line(stdout: &str) -> Value {
    let mut lines = lines(stdout);
    assert_eq!(lines.len(), 1, "{stdout}");
    lines.remove(0)
}

fn unsigned() -> Vec<u8> {
    let manifest = format!("manifest={URL}");
    text(&["txtvers=1", "arch=arm64", "channel=stable", &manifest, "version=1"])
}
