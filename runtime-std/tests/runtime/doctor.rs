//! `phase-provider doctor`: what it says of a host, healthy and not, and that it leaves everything as it was.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;

use phase_provider::state::StateDir;
use phase_provider::state::saved::Saved;
use phase_tests::netns::{Lan, Namespace};
use phase_tests::process::{Finished, Process};
use serde_json::Value;

use crate::serve::{Lab, PROVIDER, end, wait_for};

/// A host on a network, and the directories of a provider.
struct Host {
    lan: Lan,
    lab: Lab,
}

impl Host {
    /// A provider that could be started: it has a key and an image.
    fn new() -> Self {
        let lab = Lab::new(&["stable/arm64/vmlinuz"]);
        assert_eq!(lab.run(&["key", "generate"]).code(), 0);
        Self { lan: Lan::pair().unwrap(), lab }
    }

    fn namespace(&self) -> &Namespace {
        &self.lan.host(0).namespace
    }

    fn doctor(&self, more: &[&str]) -> Finished {
        let mut command = self.namespace().command(PROVIDER);
        command.args(["doctor", "--artifacts", &self.lab.path("artifacts")]);
        command.args(["--state-dir", &self.lab.path("state")]).args(more);
        end(command)
    }

    /// Checks that one line says `text` of `check`, and that this is the failure that decides the exit code.
    fn check_failure(&self, code: i32, check: &str, text: &str) {
        let told = self.doctor(&[]);
        let lines: Vec<_> = told.stdout.lines().filter(|l| l.starts_with("failure ")).collect();
        assert!(lines.len() == 1 && lines[0].contains(check), "{told:?}");
        assert!(lines[0].contains(text), "{text:?} in {}", lines[0]);
        assert_eq!(told.code(), code, "{told:?}");
    }
}

/// The line about one thing.
fn line<'a>(told: &'a Finished, check: &str) -> &'a str {
    let found = told.stdout.lines().find(|line| line[9..].starts_with(check));
    found.unwrap_or_else(|| panic!("{check}: {told:?}"))
}

#[test]
fn a_host_that_is_ready_has_nothing_but_good_lines_and_a_daemon_to_start() {
    let host = Host::new();
    let told = host.doctor(&[]);
    assert_eq!((told.code(), told.stderr.as_str()), (0, ""), "{told:?}");
    for (check, text) in [
        ("configuration", "no configuration file"),
        ("clock", "Z"),
        ("state directory", "(mode 0700)"),
        ("identity key", "peer id 12D3KooW"),
        ("release keys", "signed with the identity key"),
        ("artifacts", "stable/arm64"),
        ("interfaces", "eth0 is used: 10.77.0.1, "),
        ("UDP port 5353", "free"),
        ("HTTP port", "[::]:8080 is free"),
        ("DHT port", "is free"),
    ] {
        let line = line(&told, check);
        assert!(line.starts_with("ok ") && line.contains(text), "{text:?} in {line}");
    }
    assert!(line(&told, "interfaces").contains("lo is not: loopback"), "{told:?}");
    assert!(line(&told, "daemon").starts_with("warning  daemon           not running"));
}

#[test]
fn the_running_provider_is_asked_and_its_ports_are_its_own() {
    let host = Host::new();
    let mut serve = host.namespace().command(PROVIDER);
    serve.args(["serve", "--artifacts", &host.lab.path("artifacts")]);
    serve.args(["--state-dir", &host.lab.path("state")]);
    let mut provider = Process::spawn(serve).unwrap();
    wait_for(&mut provider, "announced stable/arm64 on eth0 (IPv4)");
    let told = host.doctor(&[]);
    assert_eq!(told.code(), 0, "{told:?}");
    let daemon = line(&told, "daemon");
    assert!(daemon.contains("images 1, announced 1 of 1, published 0 of 1"), "{daemon}");
    let shared = format!("shared with phase-provider (pid {})", provider.pid());
    assert!(line(&told, "UDP port 5353").contains(&shared), "{told:?}");
    for check in ["HTTP port", "DHT port"] {
        assert!(line(&told, check).contains("the running provider listens there"), "{told:?}");
    }
    // Its problems are failures, as `status` has them.
    host.namespace().set_down("eth0").unwrap();
    phase_tests::deadline::until("a problem", phase_tests::deadline::GENEROUS, || {
        let told = host.doctor(&[]);
        let says = told.stdout.contains("failure  daemon           no interface to announce on");
        Ok((says && told.code() == 1).then_some(()))
    })
    .unwrap();
}

#[test]
fn json_has_one_object_for_each_line() {
    let host = Host::new();
    fs::remove_dir_all(host.lab.path("artifacts")).unwrap();
    let told = host.doctor(&["--json"]);
    assert_eq!(told.code(), 2, "{told:?}");
    let all: Vec<Value> =
        told.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |check: &str| all.iter().find(|one| one["check"] == check).unwrap();
    assert_eq!(
        (&of("artifacts")["verdict"], &of("artifacts")["code"]),
        (&"failure".into(), &2.into())
    );
    assert_eq!((&of("clock")["verdict"], &of("clock")["code"]), (&"ok".into(), &Value::Null));
    assert_eq!(of("daemon")["verdict"], "warning");
    assert!(of("artifacts")["text"].as_str().unwrap().contains("does not exist; create it"));
}

#[test]
fn keys_and_state_that_others_may_touch_are_failures_that_name_the_command() {
    let host = Host::new();
    let (key, state) = (host.lab.path("state/identity.key"), host.lab.path("state"));
    let set =
        |path: &str, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(&key, 0o644);
    host.check_failure(2, "identity key", &format!("run: chmod 600 {key}"));
    set(&key, 0o600);
    set(&state, 0o770);
    host.check_failure(2, "state directory", &format!("run: chmod 700 {state}"));
}

#[test]
fn nothing_is_made_or_mended() {
    let host = Host::new();
    let torn = host.lab.path("state/state.bin");
    fs::write(&torn, "torn").unwrap();
    let told = host.doctor(&[]);
    assert_eq!(told.code(), 0);
    assert!(
        line(&told, "state file").contains("is torn: the next start puts it aside"),
        "{told:?}"
    );
    assert_eq!(fs::read(&torn).unwrap(), b"torn");

    fs::remove_dir_all(host.lab.path("state")).unwrap();
    let told = host.doctor(&[]);
    assert_eq!(told.code(), 0, "{told:?}");
    for check in ["state directory", "identity key"] {
        assert!(line(&told, check).contains("the first start makes it"), "{told:?}");
    }
    assert!(!fs::exists(host.lab.path("state")).unwrap());
}

#[test]
fn a_clock_behind_what_was_signed_is_a_failure() {
    let host = Host::new();
    let state = StateDir::existing(host.lab.path("state").into());
    Saved { last_seq: 1 << 40, ..Saved::default() }.store(&state).unwrap();
    host.check_failure(2, "clock", "the clock was set back");
}

#[test]
fn whoever_holds_a_port_is_named() {
    let host = Host::new();
    let this = format!("(pid {})", std::process::id());
    let alone = host.namespace().inside(|| UdpSocket::bind("[::]:5353")).unwrap();
    host.check_failure(5, "UDP port 5353", &this);
    drop(alone);
    let _web = host.namespace().inside(|| std::net::TcpListener::bind("[::]:8080")).unwrap();
    host.check_failure(2, "HTTP port", &this);
    assert_eq!(host.doctor(&["--listen", "[::]:8081"]).code(), 0);
}

#[test]
fn a_host_without_an_interface_has_every_reason_and_code_5() {
    let host = Host::new();
    host.namespace().set_down("eth0").unwrap();
    host.check_failure(5, "interfaces", "eth0 is not: down or without a carrier");
    host.namespace().set_up("eth0").unwrap();
    let told = host.doctor(&["--interface", "eth7"]);
    assert_eq!(told.code(), 5, "{told:?}");
    assert!(told.stdout.contains("there is no interface eth7"), "{told:?}");
}

#[test]
fn what_is_ignored_or_not_said_is_a_warning_and_a_bad_configuration_a_failure() {
    let host = Host::new();
    host.lab.write("stable/sparc/vmlinuz", "kernel");
    let told = host.doctor(&[]);
    assert!(told.stdout.contains("warning  artifacts        stable/sparc: ignored"), "{told:?}");
    let path = host.lab.path("provider.toml");
    fs::write(&path, "lisen = \"x\"\n").unwrap();
    let told = host.doctor(&["--config", &path]);
    assert_eq!(told.code(), 2);
    assert!(line(&told, "configuration").contains("did you mean `listen`?"), "{told:?}");
    let mut bare = host.namespace().command(PROVIDER);
    bare.args(["doctor", "--state-dir", &host.lab.path("state")]);
    let told = end(bare);
    assert!(
        line(&told, "artifacts")
            .starts_with("warning  artifacts        no artifacts directory: give")
    );
}
