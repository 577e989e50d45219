//! `phase-provider` as its user sees it: exit codes, messages, and what other hosts find.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use phase_tests::deadline::GENEROUS;
use phase_tests::netns::Lan;
use phase_tests::process::{Finished, Process, Stream};
use serde_json::Value;

pub(crate) const PROVIDER: &str = env!("CARGO_BIN_EXE_phase-provider");

/// A provider's directories.
pub(crate) struct Lab(tempfile::TempDir);

impl Lab {
    pub(crate) fn new(files: &[&str]) -> Self {
        let lab = Self(tempfile::tempdir().unwrap());
        fs::create_dir(lab.path("artifacts")).unwrap();
        files.iter().for_each(|file| lab.write(file, "content"));
        lab
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, file: &str, content: &str) {
        let path = self.0.path().join("artifacts").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn config(&self, text: &str) -> String {
        let path = self.path("provider.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// A command of the provider with this lab's state.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        let mut command = Command::new(PROVIDER);
        command.args(arguments).args(["--state-dir", &self.path("state")]);
        end(command)
    }

    pub(crate) fn serve_arguments(&self) -> Vec<String> {
        ["serve", "--artifacts", &self.path("artifacts"), "--state-dir", &self.path("state")]
            .map(str::to_owned)
            .to_vec()
    }

    /// Serves on a free port of loopback without mDNS and DHT.
    pub(crate) fn serve(&self, more: &[&str]) -> Process {
        let mut command = Command::new(PROVIDER);
        command.args(self.serve_arguments()).args(["--no-mdns", "--no-dht"]);
        command.args(["--listen", "127.0.0.1:0"]);
        Process::spawn({
            command.args(more);
            command
        })
        .unwrap()
    }

    pub(crate) fn status(&self) -> Value {
        let answer = self.run(&["status", "--json"]);
        serde_json::from_str(&answer.stdout).unwrap_or_else(|e| panic!("{e}: {answer:?}"))
    }
}

pub(crate) fn end(command: Command) -> Finished {
    Process::spawn(command).unwrap().wait(GENEROUS).unwrap()
}

pub(crate) fn wait_for(process: &mut Process, text: &str) -> String {
    process.wait_for_line(Stream::Stderr, |line| line.contains(text)).unwrap()
}

/// Waits for a line with each of these texts, in whatever order they come.
pub(crate) fn wait_for_all(process: &mut Process, texts: &[&str]) {
    let mut left = texts.to_vec();
    while !left.is_empty() {
        let wanted = |line: &str| left.iter().any(|text| line.contains(text));
        let line = process.wait_for_line(Stream::Stderr, wanted).unwrap();
        left.retain(|text| !line.contains(text));
    }
}

pub(crate) fn check_failure(finished: &Finished, code: i32, text: &str) {
    assert_eq!(finished.code(), code, "{finished:?}");
    assert!(finished.stderr.contains(text), "{text:?} in {}", finished.stderr);
    assert_eq!(finished.stdout, "");
}

#[test]
fn a_missing_artifacts_directory_is_named_and_exits_with_2() {
    let lab = Lab::new(&[]);
    fs::remove_dir(lab.path("artifacts")).unwrap();
    let finished = lab.serve(&[]).wait(GENEROUS).unwrap();
    let expected = format!(
        "phase-provider: the artifacts directory {} does not exist; create it, or name another with --artifacts\n",
        lab.path("artifacts")
    );
    assert!(finished.stderr.ends_with(&expected), "{}", finished.stderr);
    assert_eq!(finished.code(), 2);
    let none = lab.run(&["serve"]);
    check_failure(
        &none,
        2,
        "no artifacts directory: give --artifacts DIR, or `artifacts` in the configuration file",
    );
}

#[test]
fn an_empty_artifacts_directory_is_served_with_a_hint() {
    let lab = Lab::new(&[]);
    let mut provider = lab.serve(&[]);
    let line = wait_for(&mut provider, "nothing to serve");
    assert!(line.contains("/artifacts/stable/arm64/vmlinuz"), "{line}");
    lab.write("stable/arm64/vmlinuz", "kernel");
    wait_for(&mut provider, "serving stable/arm64");
    assert_eq!(provider.terminate().unwrap().code(), 0);
}

#[test]
fn a_port_in_use_is_named_and_exits_with_2() {
    let lab = Lab::new(&[]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = Command::new(PROVIDER);
    command.args(lab.serve_arguments()).args(["--no-mdns", "--listen", &address]);
    check_failure(
        &end(command),
        2,
        &format!("cannot listen on {address}: the port is in use; stop the program"),
    );
}

#[test]
fn every_error_of_the_configuration_is_told_with_its_line() {
    let lab = Lab::new(&[]);
    let path = lab.config("artifacts = \"a\"\nlisen = \"x\"\n\nrecord-ttl = 1\n");
    for command in [&["config", "check", "--config", &path][..], &["serve", "--config", &path]] {
        let mut process = Command::new(PROVIDER);
        process.args(command);
        let finished = end(process);
        let expected = format!(
            "phase-provider: {path}:2: unknown key `lisen`; did you mean `listen`?\n\
             phase-provider: {path}:4: `record-ttl` must be 60 to 604800 seconds; it is 1\n"
        );
        assert_eq!((finished.code(), finished.stderr.as_str()), (2, expected.as_str()));
    }
    let missing = Command::new(PROVIDER);
    let mut missing = missing;
    missing.args(["config", "check", "--config", "/nonexistent.toml"]);
    check_failure(&end(missing), 2, "cannot read the configuration /nonexistent.toml");
}

#[test]
fn the_example_configuration_passes_the_check_and_shows_its_settings() {
    let lab = Lab::new(&[]);
    let example = Process::spawn({
        let mut command = Command::new(PROVIDER);
        command.args(["config", "example"]);
        command
    });
    let example = example.unwrap().wait(GENEROUS).unwrap().stdout;
    let path = lab.config(&example);
    let mut check = Command::new(PROVIDER);
    check.args(["config", "check", "--config", &path]);
    assert_eq!(end(check).stdout, format!("{path}: no errors\n"));
    let shown = lab.run(&["config", "show", "--config", &path, "--record-ttl", "120"]);
    assert!(shown.stdout.contains("artifacts = \"/srv/phase\"\n"), "{shown:?}");
    assert!(shown.stdout.contains("record-ttl = 120\n"), "{shown:?}");
}

#[test]
fn a_key_that_others_may_read_stops_the_start_with_2() {
    let lab = Lab::new(&["stable/arm64/vmlinuz"]);
    assert_eq!(lab.run(&["key", "generate"]).code(), 0);
    let key = lab.path("state/identity.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let finished = lab.serve(&[]).wait(GENEROUS).unwrap();
    check_failure(
        &finished,
        2,
        &format!("may be read by others (mode 0644); run: chmod 600 {key}"),
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, "torn").unwrap();
    let finished = lab.serve(&[]).wait(GENEROUS).unwrap();
    check_failure(&finished, 2, "holds no Ed25519 key");
}

#[test]
fn keys_are_made_imported_and_shown() {
    let lab = Lab::new(&[]);
    check_failure(&lab.run(&["key", "show"]), 2, "make one with `phase-provider key generate`");
    let made = lab.run(&["key", "generate"]);
    let shown = lab.run(&["key", "show"]);
    assert!(shown.stdout.starts_with("12D3KooW") && shown.stdout == made.stdout, "{shown:?}");
    check_failure(&lab.run(&["key", "generate"]), 2, "exists and is kept");
    // source: RFC 8032 §7.1, test 1
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    fs::write(lab.path("seed"), seed).unwrap();
    let imported = lab.run(&["key", "import", &lab.path("seed"), "--release", "rel-2026a"]);
    assert_eq!(imported.stdout, format!("ed25519:{public}\n"));
    let lines = lab.run(&["key", "trust-line"]).stdout;
    let expected = format!("provider {}release ed25519:{public} name=rel-2026a\n", made.stdout);
    assert_eq!(lines, expected);
}

#[test]
fn o14_the_running_daemon_tells_what_it_measured() {
    let lab = Lab::new(&["stable/arm64/vmlinuz", "stable/sparc/vmlinuz"]);
    check_failure(&lab.run(&["status"]), 2, "no phase-provider runs with the state directory");
    let mut provider = lab.serve(&["--name", "lab"]);
    wait_for(&mut provider, "serving stable/arm64");
    let status = lab.status();
    assert_eq!(status["provider_name"], "lab");
    assert_eq!(status["mdns"], false);
    assert_eq!(status["adverts"], serde_json::json!([]), "nothing is announced without mDNS");
    assert_eq!(status["images"][0]["artifacts"][0]["name"], "vmlinuz");
    assert_eq!(status["signing"], "single-key");
    let warned = status["warnings"].to_string();
    assert!(
        warned.contains("stable/sparc: ignored: unknown architecture; known are arm, arm64"),
        "{warned}"
    );
    let people = lab.run(&["status"]);
    assert_eq!(people.code(), 0);
    assert!(people.stdout.contains("announced nothing: mDNS is off"), "{people:?}");
    let list = lab.run(&["list"]);
    assert!(list.stdout.contains("    vmlinuz 7 octets sha256:"), "{list:?}");

    let second = lab.serve(&[]).wait(GENEROUS).unwrap();
    check_failure(&second, 2, "is used by a running phase-provider");
    assert_eq!(provider.terminate().unwrap().code(), 0);
    assert!(!Path::new(&lab.path("state/control.sock")).exists());
}

#[test]
fn a_reload_keeps_the_last_good_configuration() {
    let lab = Lab::new(&["stable/arm64/vmlinuz"]);
    let path = lab.config("record-ttl = 600\n");
    let mut provider = lab.serve(&["--config", &path]);
    wait_for(&mut provider, "serving stable/arm64");
    assert_eq!(lab.run(&["reload", "--config", &path]).stdout, "reloaded\n");

    lab.config("record-ttl = 601\n[channel.stable]\narchs = [\"arm64\", \"x86_64\"]\n");
    let reloaded = lab.run(&["reload"]);
    assert_eq!(reloaded.stdout, "reloaded; a restart is needed for: record-ttl\n");
    wait_for(&mut provider, "stable/x86_64: the configuration lists it");

    lab.config("record-ttl = 1\n");
    check_failure(&lab.run(&["reload"]), 2, "provider.toml:1: `record-ttl` must be 60 to 604800");
    provider.signal(Signal::SIGHUP).unwrap();
    wait_for(&mut provider, "the configuration is kept as it was");
    assert_eq!(lab.status()["images"][0]["arch"], "arm64");
    assert_eq!(provider.terminate().unwrap().code(), 0);
}

#[test]
fn the_manifest_keeps_its_version_across_restarts_and_raises_it_with_the_content() {
    let lab = Lab::new(&["stable/arm64/vmlinuz"]);
    let version = |lab: &Lab| {
        let mut provider = lab.serve(&[]);
        wait_for(&mut provider, "serving stable/arm64");
        let version = lab.status()["images"][0]["manifest_version"].as_u64().unwrap();
        provider.terminate().unwrap();
        version
    };
    let first = version(&lab);
    assert_eq!(version(&lab), first);
    lab.write("stable/arm64/vmlinuz", "other");
    assert!(version(&lab) > first);
}

#[test]
fn once_prints_what_would_be_announced_and_fails_on_what_is_ignored() {
    let lab = Lab::new(&["stable/arm64/vmlinuz"]);
    lab.write("stable/arm64/version", "2026.1");
    let once = |lab: &Lab| {
        let mut command = Command::new(PROVIDER);
        command.args(lab.serve_arguments()).arg("--once");
        end(command)
    };
    let whole = once(&lab);
    assert_eq!(whole.code(), 0, "{whole:?}");
    assert!(whole.stdout.starts_with("stable/arm64\t2026.1\tmanifest "), "{whole:?}");
    lab.write("stable/sparc/vmlinuz", "kernel");
    assert_eq!(once(&lab).code(), 2);
    assert_eq!(once(&Lab::new(&[])).code(), 2);
}

#[test]
fn a_state_directory_that_cannot_be_written_is_a_problem_until_it_can() {
    let lab = Lab::new(&[]);
    let mut provider = lab.serve(&[]);
    wait_for(&mut provider, "nothing to serve");
    // What is to be replaced is a directory: even root cannot write that.
    fs::create_dir(lab.path("state/state.bin")).unwrap();
    lab.write("stable/arm64/vmlinuz", "kernel");
    wait_for(&mut provider, "stable/arm64: not served: its manifest version cannot be saved");
    let status = lab.status();
    let problems = status["problems"].to_string();
    assert!(
        problems.contains("cannot write") && problems.contains("stable/arm64 is not served"),
        "{problems}"
    );
    assert_eq!(lab.run(&["status"]).code(), 1);
    fs::remove_dir(lab.path("state/state.bin")).unwrap();
    assert_eq!(lab.run(&["reload"]).code(), 0);
    wait_for(&mut provider, "serving stable/arm64");
    assert_eq!(lab.status()["problems"], serde_json::json!([]));
    assert_eq!(provider.terminate().unwrap().code(), 0);
}

#[test]
fn other_hosts_find_what_comes_and_lose_what_goes() {
    let lan = Lan::pair().unwrap();
    let lab = Lab::new(&["stable/arm64/vmlinuz"]);
    let mut command = lan.host(0).namespace.command(PROVIDER);
    command.args(lab.serve_arguments());
    let mut provider = Process::spawn(command).unwrap();
    wait_for(&mut provider, "announced stable/arm64 on eth0 (IPv4)");
    let peer = lab.run(&["key", "show"]).stdout.trim().to_owned();
    let discover = |channel: &str, arch: &str| {
        let mut command = lan.host(1).namespace.command(env!("CARGO_BIN_EXE_phase-discover"));
        command.args(["--channel", channel, "--arch", arch, "--trust", &peer, "--quiet"]);
        end(command)
    };
    let found = discover("stable", "arm64");
    assert_eq!(
        (found.code(), found.stdout.as_str()),
        (0, "http://10.77.0.1:8080/stable/arm64/manifest.json\n")
    );

    lab.write("testing/x86_64/vmlinuz", "kernel");
    let found = discover("testing", "amd64");
    assert_eq!(
        (found.code(), found.stdout.as_str()),
        (0, "http://10.77.0.1:8080/testing/x86_64/manifest.json\n")
    );

    fs::remove_file(lab.path("artifacts/testing/x86_64/vmlinuz")).unwrap();
    wait_for(&mut provider, "withdrawing testing/x86_64");
    assert_eq!(discover("testing", "x86_64").code(), 3);
    assert_eq!(discover("stable", "arm64").code(), 0);

    assert_eq!(provider.terminate().unwrap().code(), 0);
    assert_eq!(discover("stable", "arm64").code(), 3, "nothing answers after the goodbye");
}
