//! `phase-provider channel promote` as its user sees it.

use std::fs;

use phase_tests::process::{Finished, Stream};

use crate::serve::{Lab, check_failure, wait_for};

impl Lab {
    fn promote(&self, more: &[&str]) -> Finished {
        let artifacts = self.path("artifacts");
        let command = ["channel", "promote", "testing", "stable", "--artifacts", &artifacts];
        self.run(&[&command, more].concat())
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path("artifacts") + "/" + file).unwrap()
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path("artifacts") + "/" + directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }
}

const IMAGE: [&str; 3] =
    ["testing/arm64/vmlinuz", "testing/arm64/initramfs.img", "testing/arm64/dtbs/vendor/board.dtb"];

#[test]
fn an_image_is_copied_whole_with_its_version() {
    let lab = Lab::new(&IMAGE);
    lab.write("testing/arm64/version", "2026.10.1\n");
    lab.write("testing/x86_64/vmlinuz", "other");
    lab.write("testing/x86_64/version", "7");
    let done = lab.promote(&["--arch", "aarch64"]);
    assert_eq!(done.stdout, "stable/arm64: now version 2026.10.1 from testing/arm64\n", "{done:?}");
    assert_eq!(lab.names("stable"), ["arm64"], "nothing else, and nothing half");
    assert_eq!(lab.names("stable/arm64"), ["dtbs", "initramfs.img", "version", "vmlinuz"]);
    assert_eq!(lab.read("stable/arm64/dtbs/vendor/board.dtb"), "content");
    assert_eq!(lab.read("stable/arm64/version"), "2026.10.1\n");
    let again = lab.promote(&[]);
    assert_eq!(
        again.stdout,
        "stable/arm64: has version 2026.10.1 already; nothing done\n\
         stable/x86_64: now version 7 from testing/x86_64\n"
    );
}

#[test]
fn a_newer_image_is_replaced_only_by_force() {
    let lab = Lab::new(&IMAGE);
    lab.write("testing/arm64/version", "2026.9.1");
    lab.write("stable/aarch64/vmlinuz", "newer");
    lab.write("stable/aarch64/rootfs.sqfs", "newer");
    lab.write("stable/aarch64/version", "2026.10.1");
    let expected =
        "stable/arm64 has version 2026.10.1, which is newer than testing/arm64's 2026.9.1; --force";
    check_failure(&lab.promote(&[]), 2, expected);
    assert_eq!(lab.read("stable/aarch64/vmlinuz"), "newer");
    let forced = lab.promote(&["--force"]);
    assert_eq!(
        forced.stdout, "stable/arm64: now version 2026.9.1 from testing/arm64, was 2026.10.1\n",
        "{forced:?}"
    );
    assert_eq!(lab.names("stable/aarch64"), ["dtbs", "initramfs.img", "version", "vmlinuz"]);
    assert_eq!(lab.names("stable"), ["aarch64"]);
}

#[test]
fn what_would_be_lost_or_is_not_there_is_named_and_nothing_changes() {
    let lab = Lab::new(&["stable/arm64/vmlinuz", "stable/arm64/dtbs/README"]);
    check_failure(&lab.promote(&[]), 2, "nothing to promote");
    check_failure(&lab.promote(&["--arch", "arm64"]), 2, "there is no image testing/arm64");
    lab.write("testing/arm64/vmlinuz", "kernel");
    let lost = "stable/arm64/dtbs/README is not part of an image and would be lost";
    check_failure(&lab.promote(&[]), 2, lost);
    assert_eq!(lab.read("stable/arm64/vmlinuz"), "content");
    assert_eq!(lab.names("stable"), ["arm64"]);
    let artifacts = lab.path("artifacts");
    let same = lab.run(&["channel", "promote", "stable", "stable", "--artifacts", &artifacts]);
    check_failure(&same, 2, "name two channels");
}

#[test]
fn a_running_provider_goes_from_one_image_to_the_other() {
    let lab = Lab::new(&IMAGE);
    lab.write("testing/arm64/version", "2");
    lab.write("stable/arm64/vmlinuz", "old");
    lab.write("stable/arm64/version", "1");
    let mut provider = lab.serve(&[]);
    wait_for(&mut provider, "serving stable/arm64 1:");
    let done = lab.promote(&[]);
    assert_eq!(done.code(), 0, "{done:?}");
    wait_for(&mut provider, "serving stable/arm64 2:");
    let log = provider.output(Stream::Stderr);
    assert!(!log.contains("withdrawing"), "{log}");
    assert_eq!(provider.terminate().unwrap().code(), 0);
}
