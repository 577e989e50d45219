//! An ordinary PC boots: drivers on PCI, and a second kernel by `kexec_file_load(2)`, which is the kernel's to allow.
//!
//! Spec: `kexec_file_load(2)`, `kernel_lockdown(7)`.
//! Not here: what is the same on every machine, such as bad networks (`discovering`) and failing providers (`booting`);
//! Secure Boot.

use phase_tests::qemu::Vm;
use phase_tests::qemu::lab::{Entrance, Provider};

use crate::booting::{ONCE, announced_of, check_booted, check_gave_all};
use crate::discovering::{DHT, LAN, check_found, once_from, published};
use crate::scene::{Beyond, Scene, pc_parts};

/// Has the kernel lock itself down, as it does by itself where it was started by Secure Boot. The keys that signed Debian's
/// kernels are the firmware's to bring, and a BIOS has none.
const LOCKED_DOWN: &str = "lockdown=integrity";

/// Has the kernel forbid that another is loaded, as a hardened system's sysctl.conf does.
const FORBIDDEN: &str = "sysctl.kernel.kexec_load_disabled=1";

fn words_for(provider: &Provider<'_>, more: &str) -> String {
    format!("{ONCE} phase.trust={} {more}", provider.peer_id())
}

/// Waits until the running kernel has refused, for this reason, and the machine is off.
fn check_refused(mut machine: Vm, reason: &str) {
    let failed = machine.wait_for(" failed: ").unwrap();
    let expected = " failed: kexec: exit code 8: the running kernel did not load the image \
                    (kexec_file_load: Operation not permitted (os error 1)): ";
    assert!(failed.contains(&format!("{expected}{reason}")), "{failed}");
    let end = machine.wait_for_end().unwrap();
    assert_eq!(end.code(), 0);
    assert!(!end.stdout.contains("kexec: loaded"), "{}", end.stdout);
}

#[test]
fn a_pc_discovers_by_mdns() {
    let scene = Scene::new(1);
    let provider = announced_of(scene.host(0), &pc_parts().image, "lab", &[]);
    let machine = scene.pc(&format!("{} phase.mode=lan", once_from(&provider)));
    check_found(machine.start().unwrap(), &provider, &[LAN]);
    assert_eq!(provider.metric("phase_http_artifacts_total").unwrap(), 0);
}

#[test]
fn a_pc_finds_a_provider_behind_a_router_in_the_dht() {
    let scene = Scene::new(1);
    let beyond = Beyond::router(scene.host(0));
    let entrance = Entrance::start(scene.host(0)).unwrap();
    let provider = published(&beyond.host, &pc_parts().image, &entrance);
    let words =
        format!("{} phase.mode=wan phase.bootstrap={}", once_from(&provider), entrance.address());
    let mut machine = scene.pc(&words).start().unwrap();
    // Its processor has no generator of random numbers, and nobody gives its kernel a seed.
    machine.wait_for("discover: waiting for the kernel's random numbers").unwrap();
    check_found(machine, &provider, &DHT);
}

#[test]
fn a_pc_boots_into_the_kernel_that_it_has_found() {
    let scene = Scene::new(1);
    let provider = announced_of(scene.host(0), &pc_parts().image, "lab", &[]);
    let console = check_booted(scene.pc(&words_for(&provider, "")).start().unwrap());
    let steps = ["modules: ", "link: ", "dhcp: ", "manifest: ", "verify: kernel: "];
    for step in [&steps[..], &["kexec: loaded by kexec_file_load"]].concat() {
        assert!(console.contains(step), "no `{step}` in\n{console}");
    }
    assert!(console.contains("/stable/x86_64/manifest.json"), "{console}");
    check_gave_all(&provider, pc_parts());
}

#[test]
fn a_pc_with_two_processors_boots_too() {
    let scene = Scene::new(1);
    let provider = announced_of(scene.host(0), &pc_parts().image, "lab", &[]);
    check_booted(scene.pc(&words_for(&provider, "")).processors(2).start().unwrap());
}

#[test]
fn a_locked_down_pc_says_that_it_does_not_know_the_kernels_signature() {
    let scene = Scene::new(1);
    let provider = announced_of(scene.host(0), &pc_parts().image, "lab", &[]);
    let machine = scene.pc(&words_for(&provider, LOCKED_DOWN)).start().unwrap();
    check_refused(machine, "it is locked down (Secure Boot, or lockdown= on its command line)");
}

#[test]
fn a_pc_whose_kernel_may_load_no_other_says_so() {
    let scene = Scene::new(1);
    let provider = announced_of(scene.host(0), &pc_parts().image, "lab", &[]);
    let machine = scene.pc(&words_for(&provider, FORBIDDEN)).start().unwrap();
    check_refused(machine, "kernel.kexec_load_disabled is 1");
}
