//! Hours and days: refresh, goodbye, power failure, sleep.

use phase_core::client::{Event, Mode};
use phase_core::provider;
use phase_core::time::Instant;
use phase_tests::harness::{Conditions, Network, Station, arch, channel, image, provider_config};

use crate::{TTL, accepted, add_client, add_provider, secs, settled};

#[test]
fn forty_eight_hours_pass_without_a_lapse() {
    let (mut network, lan, hosts) = settled(1, 2, Conditions::default());
    let client = add_client(&mut network, (1000, 2), Mode::Watch, &[lan]);
    assert!(network.run_until(secs(5), |n| accepted(n, client) == 2));
    for minute in 0..48 * 60 {
        network.run(secs(60));
        assert_eq!(accepted(&network, client), 2, "in minute {minute}");
    }
    let bad =
        network.seen(client).iter().find(|s| matches!(s.event, Event::Lost(_) | Event::Refused(_)));
    assert!(bad.is_none(), "{bad:?}");
    // Signed again after two thirds of the lifetime, 10 % either way.
    let signed = network.events(hosts[0]).iter();
    let times: Vec<Instant> = signed
        .filter(|(_, e)| matches!(e, provider::Event::SignatureDue { .. }))
        .map(|(at, _)| *at)
        .collect();
    let gaps: Vec<u64> = times[1..].windows(2).map(|w| w[1].since(w[0]).as_secs()).collect();
    let refresh = u64::from(TTL) * 2 / 3;
    let good = refresh * 9 / 10 - 15..=refresh * 11 / 10 + 15;
    assert!(gaps.len() >= 60 && gaps.iter().all(|g| good.contains(g)), "{gaps:?}");
}

#[test]
fn a_clean_stop_is_seen_within_two_seconds() {
    for seed in 0..20 {
        let (mut network, lan, hosts) = settled(seed, 2, Conditions::default());
        let client = add_client(&mut network, (1000, 2), Mode::Watch, &[lan]);
        assert!(network.run_until(secs(5), |n| accepted(n, client) == 2));
        network.with_provider(hosts[0], |now, p| p.stop(now));
        assert!(network.run_until(secs(2), |n| accepted(n, client) == 1));
        assert!(network.events(hosts[0]).iter().any(|(_, e)| *e == provider::Event::Stopped));
    }
}

#[test]
fn an_image_that_is_added_is_found_and_one_that_is_withdrawn_is_lost() {
    let (mut network, lan, hosts) = settled(1, 1, Conditions::default());
    network.with_provider(hosts[0], |now, p| p.withdraw(now, &channel("stable"), &arch("arm64")));
    network.run(secs(10));
    let client = add_client(&mut network, (1000, 1), Mode::Watch, &[lan]);
    network.run(secs(10));
    assert_eq!(accepted(&network, client), 0);
    network
        .with_provider(hosts[0], |now, p| p.publish(now, image("stable", "arm64", "2")))
        .unwrap();
    assert!(network.run_until(secs(3), |n| accepted(n, client) == 1));
    network.with_provider(hosts[0], |now, p| p.withdraw(now, &channel("stable"), &arch("arm64")));
    assert!(network.run_until(secs(2), |n| accepted(n, client) == 0));
}

#[test]
fn a_power_failure_is_noticed_when_the_address_records_end() {
    let (mut network, lan, hosts) = settled(1, 2, Conditions::default());
    let client = add_client(&mut network, (1000, 2), Mode::Watch, &[lan]);
    assert!(network.run_until(secs(5), |n| accepted(n, client) == 2));
    network.run(secs(300));
    network.unplug(hosts[0]);
    // RFC 6762 §10: SRV and address records live 120 s.
    assert!(network.run_until(secs(125), |n| accepted(n, client) == 1));
}

#[test]
fn a_provider_that_slept_an_hour_is_announced_three_seconds_after_it_wakes() {
    let (mut network, lan, hosts) = settled(1, 1, Conditions::default());
    let client = add_client(&mut network, (1000, 1), Mode::Watch, &[lan]);
    assert!(network.run_until(secs(5), |n| accepted(n, client) == 1));
    network.sleep(hosts[0]);
    network.run(secs(3600 * 2));
    assert_eq!(accepted(&network, client), 0);
    network.wake(hosts[0]);
    assert!(network.run_until(secs(3), |n| accepted(n, client) == 1));
}

#[test]
fn a_client_that_slept_an_hour_knows_the_truth_three_seconds_after_it_wakes() {
    let (mut network, lan, hosts) = settled(1, 2, Conditions::default());
    let client = add_client(&mut network, (1000, 3), Mode::Watch, &[lan]);
    assert!(network.run_until(secs(5), |n| accepted(n, client) == 2));
    network.sleep(client);
    network.unplug(hosts[0]);
    add_provider(&mut network, 3, &[lan]);
    network.run(secs(3600));
    network.wake(client);
    network.run(secs(3));
    let peers: Vec<_> = network
        .client_of(client)
        .candidates()
        .filter(|c| c.is_accepted())
        .map(|c| c.name().map(str::to_owned))
        .collect();
    assert_eq!(peers.len(), 2, "{peers:?}");
    assert!(
        peers.contains(&Some("lab-2".into())) && peers.contains(&Some("lab-3".into())),
        "{peers:?}"
    );
}

#[test]
fn a_cut_cable_heals() {
    let (mut network, lan, hosts) = settled(1, 1, Conditions::default());
    let client = add_client(&mut network, (1000, 1), Mode::Watch, &[lan]);
    assert!(network.run_until(secs(5), |n| accepted(n, client) == 1));
    network.set_cable(hosts[0], 0, false);
    network.run(secs(600));
    assert_eq!(accepted(&network, client), 0);
    network.set_cable(hosts[0], 0, true);
    assert!(network.run_until(secs(3), |n| accepted(n, client) == 1));
}

#[test]
fn the_same_seed_gives_the_same_octets() {
    let heard = |seed| {
        let mut network = Network::new(seed);
        let lan = network.segment(Conditions { loss: 0.1, ..Conditions::default() });
        let bystander = network.host(Station::Bystander(Vec::new()), &[lan]);
        for number in 1..=3 {
            network.provider(
                provider_config(number, "same", TTL),
                &[image("stable", "arm64", "1")],
                &[lan],
            );
        }
        network.run(secs(120));
        let Station::Bystander(heard) = network.station(bystander) else { panic!("a bystander") };
        heard.iter().map(|a| (a.at, a.octets.clone())).collect::<Vec<_>>()
    };
    assert_eq!(heard(7), heard(7));
    assert_ne!(heard(7), heard(8));
}
