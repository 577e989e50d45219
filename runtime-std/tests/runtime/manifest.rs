//! `phase-provider manifest` as its user sees it.

use std::fs;
use std::process::Command;

use phase_tests::process::Finished;
use serde_json::Value;

use crate::serve::{Lab, PROVIDER, check_failure, end, wait_for};

const GENERATE: [&str; 6] = ["manifest", "generate", "--channel", "stable", "--arch", "aarch64"];

impl Lab {
    fn generate(&self, more: &[&str]) -> Finished {
        let artifacts = self.path("artifacts");
        self.run(&[&GENERATE, &["--artifacts", &artifacts][..], more].concat())
    }

    /// A manifest signed with the node's key, in a file.
    fn manifest(&self) -> String {
        let path = self.path("manifest.json");
        let made = self.generate(&["--output", &path]);
        assert_eq!((made.code(), made.stdout.as_str()), (0, ""), "{made:?}");
        path
    }

    /// A key in a file, made as a release key of another state directory, and its id.
    fn offline_key(&self, name: &str) -> (String, String) {
        let state = self.path("offline");
        let made = run(&["key", "generate", "--release", name, "--state-dir", &state]);
        (format!("{state}/release/{name}.key"), made.stdout.trim().to_owned())
    }
}

fn run(arguments: &[&str]) -> Finished {
    let mut command = Command::new(PROVIDER);
    command.args(arguments);
    end(command)
}

fn show(path: &str, more: &[&str]) -> (i32, Value) {
    let shown = run(&[&["manifest", "show", path, "--json"], more].concat());
    let json = serde_json::from_str(&shown.stdout).unwrap_or_else(|e| panic!("{e}: {shown:?}"));
    (shown.code(), json)
}

fn verify(lab: &Lab, path: &str, trust: &str) -> i32 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phase-verify"));
    let directory = lab.path("artifacts/stable/arm64");
    end({
        command.args([path, "--artifacts", &directory, "--trust", trust]);
        command
    })
    .code()
}

#[test]
fn o18_a_generated_manifest_is_signed_by_the_node_and_verifies_with_the_files() {
    let lab = Lab::new(&["stable/arm64/vmlinuz", "testing/arm64/vmlinuz"]);
    let path = lab.manifest();
    let peer = lab.run(&["key", "show"]).stdout;
    assert_eq!(verify(&lab, &path, peer.trim()), 0);
    let said = lab.generate(&[]);
    assert!(said.stderr.contains("single-key mode"), "{said:?}");
    // The same content keeps its version.
    let again = lab.path("again.json");
    fs::write(&again, said.stdout).unwrap();
    let (first, second) = (show(&path, &[]).1, show(&again, &[]).1);
    assert_eq!(first["manifest_version"], second["manifest_version"]);
    assert_eq!(first["artifacts"][0]["name"], "kernel");
    let entries = fs::read_dir(lab.path("")).unwrap().count();
    lab.manifest();
    assert_eq!(fs::read_dir(lab.path("")).unwrap().count(), entries, "nothing is left beside it");
}

#[test]
fn the_release_keys_of_the_state_directory_sign_and_the_node_does_not() {
    let lab = Lab::new(&["stable/arm64/vmlinuz"]);
    let key = lab.run(&["key", "generate", "--release", "a"]).stdout;
    let path = lab.manifest();
    let (code, shown) = show(&path, &["--trust", key.trim()]);
    assert_eq!((code, &shown["accepted"]), (0, &Value::Bool(true)));
    assert_eq!(shown["signatures"].as_array().unwrap().len(), 1);
    assert_eq!(shown["signatures"][0]["keyid"], key.trim());
}

#[test]
fn keys_kept_offline_sign_one_after_the_other_until_the_threshold_is_met() {
    let lab = Lab::new(&["stable/arm64/vmlinuz"]);
    let ((a, a_id), (b, b_id)) = (lab.offline_key("a"), lab.offline_key("b"));
    let path = lab.path("manifest.json");
    let made = lab.generate(&["--key", &a, "--expires", "7", "--output", &path]);
    assert_eq!(made.code(), 0, "{made:?}");
    assert!(!fs::exists(lab.path("state")).unwrap(), "no state is needed");
    let trust = lab.path("trust");
    fs::write(&trust, format!("release {a_id}\nrelease {b_id}\nthreshold stable 2\n")).unwrap();
    assert_eq!(verify(&lab, &path, &trust), 7);
    let (code, shown) = show(&path, &["--trust", &trust]);
    assert_eq!((code, &shown["reason"]), (7, &Value::from("E-THRESHOLD")));

    check_failure(&run(&["manifest", "sign", &path, "--key", &a]), 2, "has signed it already");
    let both = lab.path("both.json");
    let one = fs::read(&path).unwrap();
    let signed = run(&["manifest", "sign", &path, "--key", &b, "--output", &both]);
    assert_eq!(signed.code(), 0, "{signed:?}");
    assert_eq!(fs::read(&path).unwrap(), one, "--output leaves the file alone");
    assert_eq!(run(&["manifest", "sign", &path, "--key", &b]).code(), 0);
    assert_eq!(fs::read(&path).unwrap(), fs::read(&both).unwrap());
    assert_eq!(verify(&lab, &path, &trust), 0);
    let people = run(&["manifest", "show", &path, "--trust", &trust]).stdout;
    assert!(people.contains(&format!("signature  {b_id} valid, trusted\naccepted\n")), "{people}");
}

#[test]
fn a_manifest_that_was_altered_is_neither_signed_nor_accepted() {
    let lab = Lab::new(&["stable/arm64/vmlinuz"]);
    let (key, id) = lab.offline_key("a");
    let path = lab.manifest();
    let document = fs::read_to_string(&path).unwrap();
    fs::write(&path, document.replacen("\"stable\"", "\"edge\"", 1)).unwrap();
    check_failure(&run(&["manifest", "show", &path]), 7, "E-MIRROR");
    check_failure(&run(&["manifest", "sign", &path, "--key", &key]), 7, "E-MIRROR");

    // A signature under another key's name.
    let json: Value = serde_json::from_str(&document).unwrap();
    let signer = json["signatures"][0]["keyid"].as_str().unwrap();
    fs::write(&path, document.replace(signer, &id)).unwrap();
    let (code, shown) = show(&path, &["--trust", &id]);
    assert_eq!((code, &shown["reason"]), (7, &Value::from("E-SIG")));
    let signature = &shown["signatures"][0];
    assert_eq!((&signature["valid"], &signature["trusted"]), (&false.into(), &true.into()));
    check_failure(&run(&["manifest", "sign", &path, "--key", &key]), 7, "is wrong: it was altered");
}

#[test]
fn what_keeps_a_manifest_from_being_made_is_named() {
    let lab = Lab::new(&["stable/arm64/initramfs.img", "edge/arm64/vmlinuz"]);
    check_failure(
        &lab.generate(&[]),
        2,
        "there is no image stable/arm64: wanted is stable/arm64/vmlinuz",
    );
    lab.write("stable/arm64/vmlinuz", "kernel");
    let (key, _) = lab.offline_key("a");
    check_failure(&lab.generate(&["--key", &key, "--key", &key]), 2, "was given twice");
    let mut provider = lab.serve(&[]);
    wait_for(&mut provider, "serving stable/arm64");
    check_failure(&lab.generate(&[]), 2, "is used by a running phase-provider");
    assert_eq!(provider.terminate().unwrap().code(), 0);
}
