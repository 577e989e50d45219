//! Other implementations browse for our provider.

use std::time::Duration;

use phase_tests::deadline;
use phase_tests::netns::Lan;
use phase_tests::peers::Peer;

use crate::lab::{
    KIND, Provider, SOON, assert_within, candidates, discover, discovered_at_last, wait_for_event,
};

const PAIRS: [(&str, &str); 4] =
    [("stable", "arm64"), ("stable", "x86_64"), ("testing", "arm64"), ("testing", "x86_64")];

fn check_browser(peer: Peer) {
    assert_within(SOON, "the loss of every instance after a stop", || browse_to_the_end(peer));
}

/// A browser sees every instance of a provider come and go; returns how long after the stop the last one went.
fn browse_to_the_end(peer: Peer) -> Duration {
    let lan = Lan::of(2).unwrap();
    let (here, there) = (lan.host(0), lan.host(1));
    let mut browser = peer.browse(there, KIND).unwrap();
    let mut provider = Provider::start(here, "Bench 3", &PAIRS);
    let mut instances = Vec::new();
    // In whatever order they come.
    while instances.len() < PAIRS.len() {
        let found = browser
            .wait_for(|f| f.instance.starts_with("Bench 3 ") && !instances.contains(&f.instance))
            .unwrap();
        let value = |key: &str| {
            let prefix = format!("{key}=");
            found.txt.iter().find_map(|t| t.strip_prefix(&prefix)).unwrap_or_default().to_owned()
        };
        let (channel, arch) = (value("channel"), value("arch"));
        assert!(PAIRS.contains(&(channel.as_str(), arch.as_str())), "{found:?}");
        let url = format!("http://{}:8080/{channel}/{arch}/manifest.json", here.ipv4);
        assert_eq!(value("manifest"), url);
        assert_eq!(value("sig").len(), 86, "{found:?}");
        assert_eq!(found.port, 8080);
        // bonjour-service takes addresses only from the packet that brings the instance.
        let addressed =
            found.addresses.split(',').any(|a| a == here.ipv4.to_string() || a.contains(':'));
        assert!(addressed, "{found:?}");
        instances.push(found.instance);
    }
    // Every one is really there, and gone after a clean stop.
    let stopping = deadline::now();
    provider.stop();
    deadline::until("the loss of every instance", deadline::GENEROUS, || {
        let output = browser.output();
        // Whatever the order; avahi-browse writes a blank as a code.
        let is_gone = |i: &String| {
            let escaped = i.replace(' ', "\\032");
            let gone = |l: &str| l.starts_with("lost\t") || l.starts_with('-');
            output.lines().any(|l| gone(l) && (l.contains(i) || l.contains(&escaped)))
        };
        Ok(instances.iter().all(is_gone).then_some(()))
    })
    .unwrap();
    stopping.elapsed()
}

#[test]
fn avahi_browse_sees_every_instance_and_sees_them_leave() {
    check_browser(Peer::Avahi);
}

#[test]
fn mdns_sd_sees_every_instance_and_sees_them_leave() {
    check_browser(Peer::MdnsSd);
}

#[test]
fn zeroconf_sees_every_instance_and_sees_them_leave() {
    check_browser(Peer::Zeroconf);
}

#[test]
fn bonjour_sees_every_instance_and_sees_them_leave() {
    check_browser(Peer::Bonjour);
}

#[test]
fn two_providers_of_one_name_coexist() {
    let lan = Lan::of(3).unwrap();
    let first = Provider::start(lan.host(0), "Twin", &[("stable", "arm64")]);
    let second = Provider::start(lan.host(1), "Twin", &[("stable", "arm64")]);
    let mut browser = Peer::Avahi.browse(lan.host(2), KIND).unwrap();
    let end_of = |provider: &Provider| {
        let peer = provider.peer_id();
        peer[peer.len() - 8..].to_owned()
    };
    let mut awaited = vec![end_of(&first), end_of(&second)];
    // In whatever order they come.
    while !awaited.is_empty() {
        let is_awaited = |instance: &str| awaited.iter().position(|end| instance.contains(end));
        let found = browser.wait_for(|f| is_awaited(&f.instance).is_some()).unwrap();
        assert!(found.instance.starts_with("Twin "), "{found:?}");
        awaited.remove(is_awaited(&found.instance).unwrap());
    }
    let namespace = &lan.host(2).namespace;
    let done = discover(namespace, ("stable", "arm64"), &["--mode", "all", "--timeout", "2"]);
    let all = candidates(&done.wait(deadline::GENEROUS).unwrap());
    let mut peers: Vec<_> = all.iter().map(|c| c["peer_id"].as_str().unwrap().to_owned()).collect();
    peers.sort();
    let mut wanted = vec![first.peer_id(), second.peer_id()];
    wanted.sort();
    assert_eq!(peers, wanted);
}

#[test]
fn each_of_four_images_is_found_by_its_own_name() {
    let lan = Lan::of(2).unwrap();
    let provider = Provider::start(lan.host(0), "Bench 3", &PAIRS);
    let (namespace, peer) = (&lan.host(1).namespace, provider.peer_id());
    discovered_at_last(namespace, &["--trust", &peer]);
    for (channel, arch) in PAIRS {
        let done = discover(namespace, (channel, arch), &["--trust", &peer]);
        let done = done.wait(deadline::GENEROUS).unwrap();
        assert_eq!(done.code(), 0, "{channel} {arch}: {}", done.stderr);
        let all = candidates(&done);
        assert_eq!((&all[0]["channel"], &all[0]["arch"]), (&channel.into(), &arch.into()));
        assert_eq!(all[0]["trust"], "pinned");
    }
}

#[test]
fn an_image_that_is_added_is_found_and_one_that_is_removed_is_lost_within_three_seconds() {
    assert_within(SOON * 3 / 2, "finding or losing the image", || {
        let lan = Lan::of(2).unwrap();
        let mut provider = Provider::start(lan.host(0), "Bench 3", &[("stable", "arm64")]);
        let peer = provider.peer_id();
        discovered_at_last(&lan.host(1).namespace, &["--trust", &peer]);
        let watch = ["--watch", "--trust", &peer];
        let mut watcher = discover(&lan.host(1).namespace, ("testing", "x86_64"), &watch);
        let adding = deadline::now();
        provider.running().add("testing", "x86_64").unwrap();
        let found = wait_for_event(&mut watcher, "found");
        let found_after = adding.elapsed();
        assert_eq!(found["accepted"], true);
        let removing = deadline::now();
        provider.running().remove("testing", "x86_64").unwrap();
        wait_for_event(&mut watcher, "lost");
        found_after.max(removing.elapsed())
    });
}

#[test]
fn a_stopped_provider_is_lost_within_two_seconds() {
    assert_within(SOON, "the loss after a stop", || {
        let lan = Lan::of(2).unwrap();
        let mut provider = Provider::start(lan.host(0), "Bench 3", &[("stable", "arm64")]);
        let mut watcher = discover(&lan.host(1).namespace, ("stable", "arm64"), &["--watch"]);
        wait_for_event(&mut watcher, "found");
        let stopping = deadline::now();
        provider.stop();
        wait_for_event(&mut watcher, "lost");
        stopping.elapsed()
    });
}
