//! The first process finds an image, fetches and verifies it, and gives the machine to it; or says why not.

use phase_tests::deadline;
use phase_tests::netns::Host;
use phase_tests::qemu::lab::{Image, Provider};
use phase_tests::qemu::{BOOTS_WITHIN, Vm, second};

use crate::scene::{Parts, Scene, parts};
use crate::tamper::{self, Tamperer};

/// Try once, and then off.
pub(crate) const ONCE: &str = "phase.on-failure=poweroff";

/// What each host may send in a second, so that a kernel takes some.
const SLOWLY: [&str; 6] = ["tbf", "rate", "40mbit", "burst", "64kb", "latency"];

/// Octets of a kernel after which it is not whole yet, and well begun.
const BEGUN: u64 = 4_000_000;

/// A provider of an arm64 image, which everybody can know of.
fn announced<'lan>(host: &'lan Host, name: &str, more: &[&str]) -> Provider<'lan> {
    announced_of(host, &parts().image, name, more)
}

/// The same of another image.
pub(crate) fn announced_of<'lan>(
    host: &'lan Host,
    image: &Image,
    name: &str,
    more: &[&str],
) -> Provider<'lan> {
    let mut provider = Provider::start(host, name, image, &[&["--no-dht"], more].concat()).unwrap();
    provider.wait_until_announced().unwrap();
    provider
}

/// Waits until the second kernel has run, and has discovered too.
pub(crate) fn check_booted(mut machine: Vm) -> String {
    machine.wait_for("kexec: ").unwrap();
    machine.wait_for(second::MARKER).unwrap();
    let end = machine.wait_for(second::DISCOVERED).unwrap();
    assert!(end.ends_with(": 0"), "{}", machine.console());
    machine.wait_for_end().unwrap().stdout
}

/// Checks that a provider has given the whole image.
pub(crate) fn check_gave_all(provider: &Provider<'_>, parts: &Parts) {
    let image = parts.image_len();
    let given = provider.metric("phase_http_artifact_octets_total").unwrap();
    assert!(given >= image, "{given} of {image}");
}

#[test]
fn a_machine_boots_into_the_kernel_that_it_has_found() {
    let scene = Scene::new(1);
    let provider = announced(scene.host(0), "lab", &[]);
    let words = format!("{ONCE} phase.trust={}", provider.peer_id());
    let console = check_booted(scene.machine(&words).start().unwrap());
    let first = console.lines().find(|line| line.starts_with("phase-boot[")).unwrap();
    assert!(first.contains("start: phase-boot ") && first.ends_with(", aarch64"), "{first}");
    for step in ["modules: ", "link: ", "dhcp: ", "manifest: ", "verify: kernel: ", "kexec: "] {
        assert!(console.contains(step), "no `{step}` in\n{console}");
    }
    check_gave_all(&provider, parts());
}

#[test]
fn a_machine_with_two_processors_boots_too() {
    let scene = Scene::new(1);
    let provider = announced(scene.host(0), "lab", &[]);
    let words = format!("{ONCE} phase.trust={}", provider.peer_id());
    check_booted(scene.machine(&words).processors(2).start().unwrap());
}

#[test]
fn a_machine_boots_over_a_cable_that_loses_one_frame_in_a_hundred() {
    let scene = Scene::by_cable();
    let provider = announced(scene.host(0), "lab", &[]);
    let words = format!("{ONCE} phase.trust={}", provider.peer_id());
    scene.cable().set_loss(10);
    check_booted(scene.machine(&words).start().unwrap());
    assert!(scene.cable().lost() > 100, "{}", scene.cable().lost());
}

#[test]
fn when_a_provider_dies_another_gives_the_rest() {
    let scene = Scene::new(2);
    let mut providers: Vec<Provider<'_>> = Vec::new();
    for index in 0..2 {
        let host = scene.host(index);
        let limit = [&["qdisc", "add", "dev", "eth0", "root"], &SLOWLY[..], &["400ms"]].concat();
        host.namespace.run("tc", &limit).unwrap();
        providers.push(announced(host, &format!("lab{index}"), &[]));
    }
    let trust: Vec<String> =
        providers.iter().map(|p| format!("phase.trust={}", p.peer_id())).collect();
    let machine = scene.machine(&format!("{ONCE} {}", trust.join(" "))).start().unwrap();
    let dying = deadline::until("a kernel that is well begun", BOOTS_WITHIN, || {
        Ok((0..2).find(|index| sent(scene.host(*index)) > BEGUN))
    });
    drop(providers.remove(dying.unwrap()));
    check_booted(machine);
    let rest = providers[0].metric("phase_http_artifact_octets_total").unwrap();
    let whole = parts().image_len();
    assert!(rest > 0 && rest < whole - BEGUN / 2, "{rest} of {whole}");
}

#[test]
fn a_kernel_that_was_changed_on_the_way_is_not_started() {
    let scene = Scene::new(1);
    let _tamperer = Tamperer::start(scene.host(0));
    let provider = announced(scene.host(0), "lab", &["--advertise-url", tamper::URL]);
    let words = format!("{ONCE} phase.trust={}", provider.peer_id());
    let mut machine = scene.machine(&words).start().unwrap();
    let failed = machine.wait_for(" failed: ").unwrap();
    assert!(failed.contains(" failed: verify: exit code 7: "), "{failed}");
    let console = machine.wait_for_end().unwrap().stdout;
    assert!(!console.contains("kexec: ") && !console.contains(second::MARKER), "{console}");
}

#[test]
fn without_trust_nothing_is_started() {
    let scene = Scene::new(1);
    let provider = announced(scene.host(0), "lab", &[]);
    let mut machine = scene.machine(ONCE).start().unwrap();
    let failed = machine.wait_for(" failed: ").unwrap();
    assert!(failed.contains(" failed: boot: exit code 2: nobody is trusted"), "{failed}");
    machine.wait_for_end().unwrap();
    assert_eq!(provider.metric("phase_http_artifacts_total").unwrap(), 0);
}

/// Octets that a host has sent.
fn sent(host: &Host) -> u64 {
    let path = "/sys/class/net/eth0/statistics/tx_bytes";
    host.namespace.run("cat", &[path]).unwrap().trim().parse().unwrap()
}
