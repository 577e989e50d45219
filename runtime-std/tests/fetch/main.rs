//! `phase-fetch` and `phase-verify` as their users run them, against an HTTP server that misbehaves as told.

mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use phase_core::identity::SecretKey;
use phase_core::limits::{MANIFEST_BUFFER, MANIFEST_WORK};
use phase_core::time::UnixTime;
use phase_core::wire::digest::Digest;
use phase_core::wire::manifest::{ArtifactDraft, Draft, Envelope, Name, encode_document};
use phase_core::wire::record::{Arch, Version};
use serde_json::Value;

use self::server::{Answer, Server};

/// Long after every run of these tests.
const NEVER: UnixTime = UnixTime(4_000_000_000);
const PATH: &str = "/stable/arm64/manifest.json";

/// An image and who signs it.
struct Sample {
    kernel: Vec<u8>,
    initramfs: Vec<u8>,
    key: SecretKey,
    manifest_version: u64,
    expires_at: UnixTime,
    channel: &'static str,
}

impl Sample {
    fn new() -> Self {
        Self {
            kernel: (0..300_000_u32).flat_map(u32::to_le_bytes).collect(),
            initramfs: vec![7; 4096],
            key: SecretKey::from_seed(&[1; 32]),
            manifest_version: 42,
            expires_at: NEVER,
            channel: "stable",
        }
    }

    fn manifest(&self) -> Vec<u8> {
        let artifact = |name, octets: &[u8], path| ArtifactDraft {
            name,
            digest: Digest::of(octets),
            size: octets.len() as u64,
            path: Some(path),
            urls: &[],
        };
        let draft = Draft {
            manifest_version: self.manifest_version,
            channel: &self.channel.parse().unwrap(),
            arch: &Arch::canonical("arm64").unwrap(),
            created_at: UnixTime(1_764_158_400),
            expires_at: self.expires_at,
            image_version: Some(&"2025.11.26".parse::<Version>().unwrap()),
            artifacts: &[
                artifact(Name::Kernel, &self.kernel, "vmlinuz"),
                artifact(Name::Initramfs, &self.initramfs, "initramfs.img"),
                artifact(Name::Dtb("arm/board.dtb"), b"dtb", "dtbs/arm/board.dtb"),
                // The same octets under a second name.
                artifact(Name::Dtb("arm/twin.dtb"), b"dtb", "dtbs/arm/board.dtb"),
            ],
            cmdline: Some("console=ttyAMA0 quiet"),
        };
        let (mut buffer, mut out) = (vec![0; MANIFEST_BUFFER], vec![0; MANIFEST_WORK]);
        let envelope = Envelope::encode(&draft, &mut buffer).unwrap();
        encode_document(&envelope, &[envelope.sign(&self.key)], &mut out).unwrap().to_vec()
    }

    fn serve(&self) -> Server {
        let server = Server::start();
        server.put(PATH, self.manifest());
        server.put("/stable/arm64/vmlinuz", self.kernel.clone());
        server.put("/stable/arm64/initramfs.img", self.initramfs.clone());
        server.put("/stable/arm64/dtbs/arm/board.dtb", b"dtb".to_vec());
        server
    }

    fn peer(&self) -> String {
        self.key.peer_id().to_string()
    }
}

/// What a command did.
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("not killed"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn ends(self, code: i32, says: &str) -> Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert!(self.err.contains(says), "{says:?} is not in: {}", self.err);
        self
    }
}

fn fetch(output: &Path, arguments: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phase-fetch"));
    Run::of(command.arg("--output").arg(output).args(arguments).output().unwrap())
}

fn verify(arguments: &[&str]) -> Run {
    Run::of(Command::new(env!("CARGO_BIN_EXE_phase-verify")).args(arguments).output().unwrap())
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<String> {
    let (mut names, mut open) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                open.push(entry.path());
            } else {
                names.push(entry.path().strip_prefix(directory).unwrap().display().to_string());
            }
        }
    }
    names.sort();
    names
}

/// The files that have their names: what is hidden is not part of an image.
fn visible(directory: &Path) -> Vec<String> {
    files(directory).into_iter().filter(|name| !name.starts_with('.')).collect()
}

fn directory() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let output = root.path().join("boot");
    (root, output)
}

const WHOLE: [&str; 6] =
    ["cmdline", "dtbs/arm/board.dtb", "dtbs/arm/twin.dtb", "initramfs", "kernel", "manifest.json"];

#[test]
fn an_image_is_fetched_verified_and_told_as_json() {
    let (sample, (_root, output)) = (Sample::new(), directory());
    let server = sample.serve();
    let run = fetch(&output, &[&server.url(PATH), "--trust", &sample.peer(), "--json"])
        .ends(0, "single-key mode");
    assert_eq!(files(&output), WHOLE);
    assert_eq!(fs::read(output.join("kernel")).unwrap(), sample.kernel);
    assert_eq!(fs::read_to_string(output.join("cmdline")).unwrap(), "console=ttyAMA0 quiet");
    let told: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(told["manifest_version"], 42);
    assert_eq!(told["arch"], "arm64");
    assert_eq!(told["signed_by"][0], sample.key.peer_id().key_id().to_string());
    assert_eq!(told["files"].as_array().unwrap().len(), 4);
    assert_eq!(fs::read(output.join("dtbs/arm/twin.dtb")).unwrap(), b"dtb");
    let log = server.take_log();
    assert_eq!(log.iter().filter(|line| line.contains("dtbs")).count(), 1, "{log:?}");

    let manifest = output.join("manifest.json").display().to_string();
    let arguments = [&manifest, "--artifacts", output.to_str().unwrap(), "--trust", &sample.peer()];
    let run = verify(&arguments).ends(0, "");
    assert!(
        run.out
            .starts_with("verified stable arm64 version 2025.11.26 manifest 42 signed by ed25519:"),
        "{}",
        run.out
    );
}

#[test]
fn a_second_run_fetches_the_manifest_alone() {
    let (sample, (_root, output)) = (Sample::new(), directory());
    let server = sample.serve();
    fetch(&output, &[&server.url(PATH), "--trust", &sample.peer()]).ends(0, "");
    server.take_log();
    fetch(&output, &[&server.url(PATH), "--trust", &sample.peer()])
        .ends(0, "kernel: 1.14 MiB here already, verified");
    assert_eq!(server.take_log(), [format!("{PATH} -")]);
}

#[test]
fn only_what_is_asked_for_is_fetched() {
    let (sample, (_root, output)) = (Sample::new(), directory());
    let server = sample.serve();
    let url = server.url(PATH);
    let run = fetch(
        &output,
        &[&url, "--trust", &sample.peer(), "--artifact", "kernel", "--artifact", "dtbs"],
    );
    run.ends(0, "");
    let names = ["cmdline", "dtbs/arm/board.dtb", "dtbs/arm/twin.dtb", "kernel", "manifest.json"];
    assert_eq!(files(&output), names);
}

#[test]
fn a_broken_connection_is_resumed_by_range() {
    let (sample, (_root, output)) = (Sample::new(), directory());
    let server = sample.serve();
    server.break_after("/stable/arm64/vmlinuz", 500_000);
    fetch(&output, &[&server.url(PATH), "--trust", &sample.peer()]).ends(0, "");
    assert_eq!(fs::read(output.join("kernel")).unwrap(), sample.kernel);
    let log = server.take_log();
    let kernel: Vec<_> = log.iter().filter(|line| line.contains("vmlinuz")).collect();
    assert!(kernel.len() > 1 && kernel[1].contains("bytes="), "{kernel:?}");
}

#[test]
fn a_provider_that_dies_is_followed_by_another_that_goes_on() {
    let (sample, (root, output)) = (Sample::new(), directory());
    let (dying, healthy) = (sample.serve(), sample.serve());
    dying.put_answer("/stable/arm64/vmlinuz", Answer::BreakForGood { after: 700_000 });
    let trust = root.path().join("trust");
    let text = format!(
        "provider {} channels=stable\nfallback {}\nfallback {}\n",
        sample.peer(),
        dying.url(PATH),
        healthy.url(PATH)
    );
    fs::write(&trust, text).unwrap();
    let arguments = [
        "--trust",
        trust.to_str().unwrap(),
        "--interface",
        "lo",
        "--timeout",
        "0.2",
        "--arch",
        "arm64",
    ];
    fetch(&output, &arguments).ends(0, "trying the fallback");
    assert_eq!(visible(&output), WHOLE);
    let log = healthy.take_log();
    let resumed = log.iter().any(|line| line.contains("vmlinuz") && !line.contains("vmlinuz -"));
    assert!(resumed, "the second provider went on where the first one stopped: {log:?}");
}

#[test]
fn a_dead_provider_leaves_no_image_and_a_next_run_goes_on() {
    let (sample, (_root, output)) = (Sample::new(), directory());
    let server = sample.serve();
    server.put_answer("/stable/arm64/vmlinuz", Answer::BreakForGood { after: 700_000 });
    fetch(&output, &[&server.url(PATH), "--trust", &sample.peer()])
        .ends(6, "kernel: the connection to");
    assert_eq!(visible(&output), [""; 0]);
    server.put("/stable/arm64/vmlinuz", sample.kernel.clone());
    server.take_log();
    fetch(&output, &[&server.url(PATH), "--trust", &sample.peer()]).ends(0, "of it were here");
    let log = server.take_log();
    assert!(log.iter().any(|line| line.contains("vmlinuz bytes=")), "{log:?}");
    assert_eq!(files(&output), WHOLE);
}

#[test]
fn a_tampered_kernel_is_refused_and_leaves_nothing() {
    let (sample, (_root, output)) = (Sample::new(), directory());
    let server = sample.serve();
    let mut kernel = sample.kernel.clone();
    kernel[100_000] ^= 1;
    server.put("/stable/arm64/vmlinuz", kernel);
    fetch(&output, &[&server.url(PATH), "--trust", &sample.peer()])
        .ends(7, "the manifest says sha256:");
    assert_eq!(visible(&output), [""; 0]);
}

#[test]
fn a_failed_update_keeps_the_old_image() {
    let (mut sample, (_root, output)) = (Sample::new(), directory());
    let server = sample.serve();
    fetch(&output, &[&server.url(PATH), "--trust", &sample.peer()]).ends(0, "");
    let old = fs::read(output.join("manifest.json")).unwrap();
    sample.kernel[0] ^= 1;
    sample.manifest_version += 1;
    server.put(PATH, sample.manifest());
    fetch(&output, &[&server.url(PATH), "--trust", &sample.peer()]).ends(7, "kernel from");
    assert_eq!(fs::read(output.join("manifest.json")).unwrap(), old);
    let (manifest, directory) = (output.join("manifest.json"), output.to_str().unwrap());
    let arguments =
        [manifest.to_str().unwrap(), "--artifacts", directory, "--trust", &sample.peer()];
    verify(&arguments).ends(0, "");
}

#[test]
fn bodies_of_another_length_are_refused() {
    let (sample, (_root, output)) = (Sample::new(), directory());
    let server = sample.serve();
    let check = |kernel: Vec<u8>, says: &str| {
        server.put("/stable/arm64/vmlinuz", kernel);
        fetch(&output, &[&server.url(PATH), "--trust", &sample.peer()]).ends(6, says);
        assert_eq!(visible(&output), [""; 0]);
    };
    check(
        [&sample.kernel[..], b"more"].concat(),
        "has 1200004 octets of /stable/arm64/vmlinuz, the manifest says 1200000",
    );
    check(sample.kernel[..1000].to_vec(), "has 1000 octets of");
}

#[test]
fn o12_a_body_without_an_end_is_cut_off() {
    let (sample, (_root, output)) = (Sample::new(), directory());
    let server = sample.serve();
    server.put_answer("/stable/arm64/vmlinuz", Answer::Endless);
    fetch(&output, &[&server.url(PATH), "--trust", &sample.peer()])
        .ends(6, "does not say how long");
    server.put_answer(PATH, Answer::Endless);
    fetch(&output, &[&server.url(PATH), "--trust", &sample.peer()])
        .ends(6, "more than the 65536 octets");
}

#[test]
fn o12_redirects_are_not_followed() {
    let (sample, (_root, output)) = (Sample::new(), directory());
    let server = sample.serve();
    server.put_answer(PATH, Answer::Redirect("http://169.254.169.254/latest/meta-data"));
    let run = fetch(&output, &[&server.url(PATH), "--trust", &sample.peer()]);
    run.ends(6, "redirects to http://169.254.169.254/latest/meta-data; redirects are not followed");
}

#[test]
fn o1_a_manifest_whose_mirror_lies_is_refused() {
    let (sample, (_root, output)) = (Sample::new(), directory());
    let server = sample.serve();
    let lie =
        String::from_utf8(sample.manifest()).unwrap().replacen("\"size\":4096", "\"size\":4097", 1);
    server.put(PATH, lie.into_bytes());
    fetch(&output, &[&server.url(PATH), "--trust", &sample.peer()]).ends(7, "E-MIRROR");
    let signed = String::from_utf8(sample.manifest()).unwrap();
    let at = signed.find("\"data\":\"").unwrap() + 60;
    let mut forged = signed.into_bytes();
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    server.put(PATH, forged);
    fetch(&output, &[&server.url(PATH), "--trust", &sample.peer()]).ends(7, "E-SIG");
}

#[test]
fn o2_a_manifest_with_prefixed_digests_verifies_its_files() {
    let (sample, (_root, output)) = (Sample::new(), directory());
    let server = sample.serve();
    assert!(String::from_utf8(sample.manifest()).unwrap().contains("\"hash\":\"sha256:"));
    fetch(&output, &[&server.url(PATH), "--trust", &sample.peer()]).ends(0, "");
}

#[test]
fn o9_an_expired_manifest_is_refused() {
    let (mut sample, (_root, output)) = (Sample::new(), directory());
    sample.expires_at = UnixTime(1_764_158_401);
    let server = sample.serve();
    fetch(&output, &[&server.url(PATH), "--trust", &sample.peer()]).ends(7, "E-EXPIRED");
}

#[test]
fn a_manifest_of_another_channel_is_refused() {
    let (mut sample, (_root, output)) = (Sample::new(), directory());
    sample.channel = "testing";
    let server = sample.serve();
    fetch(&output, &[&server.url(PATH), "--trust", &sample.peer()]).ends(7, "E-CHANNEL");
}

#[test]
fn a_stranger_is_refused_and_nobody_is_trusted_silently() {
    let (sample, (_root, output)) = (Sample::new(), directory());
    let server = sample.serve();
    let stranger = SecretKey::from_seed(&[2; 32]).peer_id().to_string();
    fetch(&output, &[&server.url(PATH), "--trust", &stranger]).ends(7, "");
    fetch(&output, &[&server.url(PATH)]).ends(2, "nobody is trusted");
    verify(&[&server.url(PATH)]).ends(2, "nobody is trusted");
    assert_eq!(server.take_log().len(), 1, "without trust nothing is even asked for");
}

#[test]
fn a_release_key_alone_decides() {
    let (sample, (_root, output)) = (Sample::new(), directory());
    let server = sample.serve();
    let key = sample.key.peer_id().key_id().to_string();
    fetch(&output, &[&server.url(PATH), "--trust", &key]).ends(0, "");
}

#[test]
fn a_trust_file_with_a_bad_line_is_named_by_line() {
    let (sample, (root, output)) = (Sample::new(), directory());
    let trust = root.path().join("trust");
    fs::write(&trust, format!("# ours\nprovider {}\nprovder oops\n", sample.peer())).unwrap();
    fetch(&output, &["--trust", trust.to_str().unwrap()]).ends(2, "line 3");
}

#[test]
fn a_full_disk_is_told_before_the_download() {
    let (sample, (root, output)) = (Sample::new(), directory());
    let server = sample.serve();
    fs::create_dir(&output).unwrap();
    // A file system of its own, in a mount namespace of its own.
    let script = r#"mount -t tmpfs -o size=256k none "$1" && shift && exec "$@""#;
    let run = Run::of(
        Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(&output)
            .arg(env!("CARGO_BIN_EXE_phase-fetch"))
            .arg("--output")
            .arg(&output)
            .args([&server.url(PATH), "--trust", &sample.peer()])
            .output()
            .expect("unshare (package util-linux) and the right to use it: run as root"),
    );
    run.ends(6, "octets, 1204099 are needed; free some or choose another --output");
    drop(root);
}

#[test]
fn a_changed_file_is_found_by_phase_verify() {
    let (sample, (_root, output)) = (Sample::new(), directory());
    let server = sample.serve();
    fetch(&output, &[&server.url(PATH), "--trust", &sample.peer()]).ends(0, "");
    fs::write(output.join("initramfs"), b"other").unwrap();
    fs::remove_file(output.join("dtbs/arm/board.dtb")).unwrap();
    fs::write(output.join("cmdline"), b"init=/bin/sh").unwrap();
    let manifest = output.join("manifest.json").display().to_string();
    let arguments =
        [&manifest, "--artifacts", output.to_str().unwrap(), "--trust", &sample.peer(), "--json"];
    let run = verify(&arguments).ends(7, "initramfs is not the file that was signed");
    assert!(run.err.contains("dtbs/arm/board.dtb: not in"), "{}", run.err);
    assert!(run.err.contains("cmdline: not the command line that was signed"), "{}", run.err);
    let told: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(told["verified"], false);
    let bad =
        told["files"].as_array().unwrap().iter().filter(|file| file["verified"] == false).count();
    assert_eq!(bad, 3);
}
