//! 1.H: DNS-SD data.

use phase_core::provider::{Config, Origin};
use phase_core::wire::dns::Type;
use phase_core::wire::record::ProviderName;
use phase_tests::message::{Data, Packet};
use phase_tests::scripted::{INSTANCE, LAN, Script, TYPE, config, image, ms, peer};
use std::time::Duration;

#[test]
fn d1_an_instance_is_one_label_with_dots_and_spaces() {
    let name = Some(ProviderName::new("Bob's v1.2 (stäble)").unwrap());
    let mut script = Script::<4>::new(Config { name, ..config(1) });
    script.publish(image("stable", "arm64"));
    script.link_up(LAN, &["192.0.2.1/24"]);
    script.advance(Duration::from_secs(5));
    script.take();
    let sent = script.ask(peer(), &Packet::query().ask(TYPE, Type::Ptr));
    let Data::Ptr(target) = &sent[0].packet.answers[0].data else { panic!() };
    let instance = phase_core::wire::dns::NameBuf::from_text(target).unwrap();
    let label = instance.as_name().labels().next().unwrap();
    assert_eq!(label, "Bob's v1.2 (stäble) stable arm64 7YJgL5pV".as_bytes());
    assert_eq!(instance.as_name().labels().count(), 4);
    assert_eq!(script.ask(peer(), &Packet::query().ask(target, Type::Srv)).len(), 1);
}

#[test]
fn d2_without_a_name_instances_are_called_after_the_host() {
    let mut script = Script::<4>::new(Config { name: None, ..config(1) });
    script.publish(image("stable", "arm64"));
    script.link_up(LAN, &["192.0.2.1/24"]);
    assert_eq!(script.provider.adverts().next().unwrap().label, "my-mac stable arm64 7YJgL5pV");
}

#[test]
fn d3_an_instance_has_one_text_with_at_least_one_string() {
    let mut script = Script::<4>::settled(1);
    let sent = script.ask(peer(), &Packet::query().ask(INSTANCE, Type::Txt));
    assert_eq!(sent[0].packet.answers_of(INSTANCE, Type::Txt).count(), 1);
    assert!(script.text(LAN).len() > 1);
}

#[test]
fn d4_a_text_stays_below_1300_octets() {
    let mut script = Script::<4>::settled(1);
    assert!((300..=640).contains(&script.text(LAN).len()));
}

#[test]
fn d6_keys_are_at_most_nine_printable_characters() {
    let mut script = Script::<4>::settled(1);
    let text = script.text(LAN);
    let txt = phase_core::wire::dns::Txt::from_octets(&text).unwrap();
    let keys: Vec<_> = txt.strings().map(|s| s.split(|c| *c == b'=').next().unwrap()).collect();
    assert_eq!(keys.len(), 12);
    assert!(keys.iter().all(|key| (1..=9).contains(&key.len())));
    assert!(keys.concat().iter().all(u8::is_ascii_lowercase));
}

#[test]
fn d8_txtvers_comes_first() {
    let mut script = Script::<4>::settled(1);
    assert!(script.text(LAN).starts_with(b"\x09txtvers=1"));
}

#[test]
fn d9_the_service_name_has_at_most_15_characters() {
    let service = TYPE.split('.').next().unwrap().trim_start_matches('_');
    assert!(service.len() <= 15 && TYPE.contains("._tcp."));
}

#[test]
fn d10_srv_has_priority_and_weight_0_and_the_port_of_the_origin() {
    let origin = Origin::fixed("http://boot.example.org:8443").unwrap();
    let mut script = Script::<4>::new(Config { origin, ..config(1) });
    script.publish(image("stable", "arm64"));
    script.link_up(LAN, &["192.0.2.1/24"]);
    script.advance(ms(5000));
    let sent = script.ask(peer(), &Packet::query().ask(INSTANCE, Type::Srv));
    let Data::Srv(priority, weight, port, _) = sent[0].packet.answers[0].data else { panic!() };
    assert_eq!((priority, weight, port), (0, 0, 8443));
    let url = b"manifest=http://boot.example.org:8443/stable/arm64/manifest.json";
    assert!(script.text(LAN).windows(url.len()).any(|w| w == url));
}
