//! The client under random links, packets, commands and times.

use phase_core::client::{Client, Config, Mode};
use phase_core::limits::TRANSMIT_MAX;
use phase_core::machine::{Family, Input, Link, LinkId, Machine as _, Output};
use phase_core::rng::Seed;
use phase_core::time::Instant;
use phase_core::wire::record::{Arch, Channel};
use phase_tests::fuzz_bodies::{client, run_client};
use phase_tests::scripted::network;
use std::time::Duration;

/// A script of random octets that begins with links.
fn script(seed: u16, len: usize) -> Vec<u8> {
    let mut rng = Seed([5; 32]).stream(&format!("script {seed}"));
    let mut script = vec![u8::try_from(seed % 8).unwrap(), 3, 4, 2, 0, 3, 5, 2, 0, 3, 6, 2, 0];
    script.extend((0..len).map(|_| rng.u16().to_be_bytes()[0]));
    script
}

#[test]
fn the_client_drains_progresses_is_idempotent_bounded_and_survives() {
    for seed in 0..300 {
        client(&script(seed, 2000));
    }
}

#[test]
fn the_client_is_deterministic() {
    for seed in 0..20 {
        let sent = run_client(&script(seed, 4000));
        assert_eq!(sent, run_client(&script(seed, 4000)));
        assert!(sent.len() > 4);
    }
}

#[test]
fn spurious_time_does_not_change_what_the_client_sends() {
    let run = |spurious: bool| {
        let (channel, arch) = (Channel::new("stable").unwrap(), Arch::new("arm64").unwrap());
        let config = Config { mode: Mode::Watch, ..Config::new(Seed([1; 32]), channel, arch) };
        let mut client = Client::new(Instant::ZERO, config);
        let networks = [network("192.0.2.1/24")];
        let id = LinkId { interface: 1, family: Family::V4 };
        let link = Link { id, mtu: 1500, networks: &networks };
        let mut now = Instant::ZERO;
        let mut log = Vec::new();
        let mut drain = |client: &mut Client, now: Instant| {
            let mut buf = [0xa5; TRANSMIT_MAX];
            loop {
                match client.poll_output(&mut buf) {
                    Output::Transmit(transmit) => log.push((now, buf[..transmit.len].to_vec())),
                    Output::Connection(..) | Output::Event(_) => {}
                    Output::Timeout(wake) => return wake,
                }
            }
        };
        client.handle_input(now, Input::LinkUp(link));
        let end = Instant::ZERO + Duration::from_secs(4000);
        while let Some(wake) = drain(&mut client, now).filter(|wake| wake.at <= end) {
            if spurious {
                now = Instant::from_micros(now.as_micros().midpoint(wake.at.as_micros()));
                client.handle_input(now, Input::Timeout);
                drain(&mut client, now);
                client.handle_input(now, Input::LinkUp(link));
                drain(&mut client, now);
            }
            now = wake.at;
            client.handle_input(now, Input::Timeout);
        }
        log
    };
    assert_eq!(run(false), run(true));
}
