//! The first process discovers, on good networks and on bad ones, and says what it found or why not.

use std::time::Duration;

use phase_tests::netns::Host;
use phase_tests::peers::{Peer, Service};
use phase_tests::qemu::Vm;
use phase_tests::qemu::lab::{Entrance, Image, Provider};

use crate::scene::{Beyond, Scene, parts};

/// Discover once, and then off, whatever came of it.
const ONCE: &str = "phase.action=discover phase.on-failure=poweroff";

/// How the client names what multicast DNS told.
pub(crate) const LAN: &str = "lan";

/// How it names what the DHT told: one of its nodes, or the provider itself, to which a node led.
pub(crate) const DHT: [&str; 2] = ["dht", "direct"];

/// A provider on host `index`, which everybody can know of.
fn announced<'lan>(host: &'lan Host, more: &[&str]) -> Provider<'lan> {
    let mut provider = Provider::start(host, "lab", &parts().image, more).unwrap();
    provider.wait_until_announced().unwrap();
    provider
}

/// A provider on `host`, which has published this image in the DHT behind `entrance` and is not announced.
pub(crate) fn published<'lan>(
    host: &'lan Host,
    image: &Image,
    entrance: &Entrance,
) -> Provider<'lan> {
    let listen = ["--no-mdns", "--dht-listen", "/ip4/0.0.0.0/tcp/4001"];
    let join = ["--bootstrap", entrance.address()];
    let mut provider = Provider::start(host, "far", image, &[&listen[..], &join].concat()).unwrap();
    provider.wait_until_published().unwrap();
    provider
}

/// The words that make a machine discover this provider's image and no other.
pub(crate) fn once_from(provider: &Provider<'_>) -> String {
    format!("{ONCE} phase.trust={}", provider.peer_id())
}

/// Waits until the machine has found the provider's manifest and is off.
pub(crate) fn check_found(mut machine: Vm, provider: &Provider<'_>, sources: &[&str]) {
    let found = machine.wait_for("discover: found ").unwrap();
    let expected = |source| format!("{} ({source})", provider.manifest_url());
    assert!(sources.iter().any(|source| found.ends_with(&expected(source))), "{found}");
    assert_eq!(machine.wait_for_end().unwrap().code(), 0);
}

/// Waits for the last line of a failure, and until the machine is off.
fn check_failed(mut machine: Vm, step: &str, code: u8) -> String {
    let failed = machine.wait_for(" failed: ").unwrap();
    assert!(failed.contains(&format!(" failed: {step}: exit code {code}: ")), "{failed}");
    assert_eq!(machine.wait_for_end().unwrap().code(), 0);
    failed
}

#[test]
fn a_provider_on_the_switch_is_found_by_mdns() {
    let scene = Scene::new(1);
    let provider = announced(scene.host(0), &["--no-dht"]);
    let machine = scene.machine(&once_from(&provider)).start().unwrap();
    check_found(machine, &provider, &[LAN]);
}

#[test]
fn sixty_four_mebibytes_are_enough_to_discover() {
    let scene = Scene::new(1);
    let provider = announced(scene.host(0), &["--no-dht"]);
    let machine = scene.machine(&once_from(&provider)).memory(64).start().unwrap();
    check_found(machine, &provider, &[LAN]);
}

#[test]
fn a_machine_whose_clock_starts_in_1970_discovers() {
    let scene = Scene::new(1);
    let provider = announced(scene.host(0), &["--no-dht"]);
    let machine = scene.machine(&once_from(&provider)).without_clock().start().unwrap();
    check_found(machine, &provider, &[LAN]);
}

#[test]
fn a_cable_that_is_plugged_in_after_five_seconds_is_waited_for() {
    let scene = Scene::new(1);
    let provider = announced(scene.host(0), &["--no-dht"]);
    let mut machine = scene.machine(&once_from(&provider)).unplugged().start().unwrap();
    machine.wait_for("modules: ").unwrap();
    std::thread::sleep(Duration::from_secs(5));
    assert!(!machine.console().contains("is up"), "{}", machine.console());
    machine.plug().unwrap();
    check_found(machine, &provider, &[LAN]);
}

#[test]
fn without_a_server_of_leases_the_failure_says_so() {
    let scene = Scene::without_leases(1);
    let machine = scene.machine(ONCE).start().unwrap();
    let failed = check_failed(machine, "dhcp", 5);
    assert!(failed.contains("no DHCP server"), "{failed}");
}

#[test]
fn a_channel_that_nobody_has_is_not_found() {
    let scene = Scene::new(1);
    let provider = announced(scene.host(0), &["--no-dht"]);
    let words = format!("{} phase.channel=testing", once_from(&provider));
    let failed = check_failed(scene.machine(&words).start().unwrap(), "discover", 3);
    assert!(failed.contains("channel testing"), "{failed}");
}

#[test]
fn a_record_without_a_signature_is_refused() {
    let scene = Scene::new(1);
    let txt = [
        "txtvers=1",
        "arch=arm64",
        "channel=stable",
        "manifest=http://10.77.0.1:8080/stable/arm64/manifest.json",
        "version=2026.01.01",
    ];
    let service =
        Service { kind: "_phase-image._tcp", instance: "lab stable arm64", port: 8080, txt: &txt };
    let _publisher = Peer::Avahi.publish(scene.host(0), &service).unwrap();
    let mut machine = scene.machine(ONCE).start().unwrap();
    machine.wait_for("E-UNSIGNED").unwrap();
    check_failed(machine, "discover", 4);
}

#[test]
fn a_provider_of_somebody_else_is_refused() {
    let scene = Scene::new(2);
    let _other = announced(scene.host(0), &["--no-dht"]);
    let trusted = Provider::start(scene.host(1), "off", &parts().image, &["--no-dht"]).unwrap();
    let words = once_from(&trusted);
    trusted.stop().unwrap();
    let mut machine = scene.machine(&words).start().unwrap();
    machine.wait_for("E-UNTRUSTED").unwrap();
    check_failed(machine, "discover", 4);
}

#[test]
fn a_provider_behind_a_router_is_found_in_the_dht() {
    let scene = Scene::new(1);
    let beyond = Beyond::router(scene.host(0));
    let entrance = Entrance::start(scene.host(0)).unwrap();
    let provider = published(&beyond.host, &parts().image, &entrance);
    let words =
        format!("{} phase.mode=wan phase.bootstrap={}", once_from(&provider), entrance.address());
    check_found(scene.machine(&words).start().unwrap(), &provider, &DHT);
}

#[test]
fn automatic_falls_back_from_the_lan_to_the_dht() {
    let scene = Scene::new(1);
    let beyond = Beyond::router(scene.host(0));
    let entrance = Entrance::start(scene.host(0)).unwrap();
    let provider = published(&beyond.host, &parts().image, &entrance);
    let words = format!("{} phase.bootstrap={}", once_from(&provider), entrance.address());
    check_found(scene.machine(&words).start().unwrap(), &provider, &DHT);
}

#[test]
fn automatic_does_without_a_dht_that_is_not_there() {
    let scene = Scene::new(1);
    let provider = announced(scene.host(0), &["--no-dht"]);
    let bootstrap = format!("phase.bootstrap=/ip4/10.77.0.99/tcp/4001/p2p/{}", provider.peer_id());
    let words = format!("{} {bootstrap}", once_from(&provider));
    check_found(scene.machine(&words).start().unwrap(), &provider, &[LAN]);
}

#[test]
fn one_frame_in_a_hundred_may_be_lost() {
    let scene = Scene::by_cable();
    let provider = announced(scene.host(0), &["--no-dht"]);
    scene.cable().set_loss(10);
    check_found(scene.machine(&once_from(&provider)).start().unwrap(), &provider, &[LAN]);
}
