//! The order of judgement, and the order of those that pass.

use core::time::Duration;

use super::*;
use crate::identity::{PeerId, SecretKey};
use crate::machine::Network;
use crate::time::UnixTime;
use crate::wire::record::{Advert, Error, Received, Version};
use crate::wire::trust::Trust;
use crate::wire::url::{AddressClass, Url};

const NOW: UnixTime = UnixTime(1_764_158_400);

struct Fixture {
    channel: Channel,
    arch: Arch,
    trust: Trust,
    pins: Pins,
    networks: [Network; 1],
    memory: Memory,
}

impl Fixture {
    fn new(pinned: &[u8]) -> Self {
        let mut trust = Trust::default();
        for &n in pinned {
            trust.add_word(&std::format!("{}", peer(n))).unwrap();
        }
        let channel = Channel::new("stable").unwrap();
        Self {
            pins: trust.pins(&channel),
            channel,
            arch: Arch::new("arm64").unwrap(),
            trust,
            networks: [Network { address: "192.168.1.7".parse().unwrap(), prefix_len: 24 }],
            memory: Memory {
                seq: SeqMemory::default(),
                clock: ClockFloor::new(UnixTime(0), Some(NOW)),
            },
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            channel: &self.channel,
            arch: &self.arch,
            pins: &self.pins,
            insecure: false,
            stale: Stale::Deny,
            carrier: Carrier::Lan { networks: &self.networks },
            allow_loopback: false,
        }
    }

    fn judge(&mut self, advert: &SignedAdvert) -> Result<Accepted, Refusal> {
        let mut memory = self.memory.clone();
        let judged = judge(advert, &self.context(), &mut memory);
        self.memory = memory;
        judged
    }

    fn review(&self, advert: &SignedAdvert) -> Result<Accepted, Refusal> {
        review(advert, &self.context(), &self.memory)
    }

    fn sign(&self, n: u8, advert: Advert) -> SignedAdvert {
        advert.sign(&key(n), &self.channel, &self.arch).unwrap()
    }
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn peer(n: u8) -> PeerId {
    key(n).peer_id()
}

fn advert(n: u8) -> Advert {
    Advert {
        url: Url::parse("http://192.168.1.100:8080/stable/arm64/manifest.json").unwrap(),
        peer: peer(n),
        name: None,
        issued: NOW,
        version: Version::new("1").unwrap(),
        seq: 10,
        ttl: 3600,
        digest: None,
    }
}

const PINNED: Result<Accepted, Refusal> = Ok(Accepted { class: TrustClass::Pinned, stale: false });
const UNPINNED: Result<Accepted, Refusal> =
    Ok(Accepted { class: TrustClass::SelfSigned, stale: false });

#[test]
fn trust_is_asked_before_the_curve() {
    let mut fixture = Fixture::new(&[1]);
    let mine = fixture.sign(1, advert(1));
    let strangers = fixture.sign(2, advert(2));
    assert_eq!(fixture.judge(&mine), PINNED);
    assert_eq!(fixture.judge(&strangers), Err(Refusal::Untrusted));
    // A stranger's bad signature is not even looked at.
    let moved = advert(2).sign(&key(2), &Channel::new("other").unwrap(), &fixture.arch).unwrap();
    assert_eq!(fixture.judge(&moved), Err(Refusal::Untrusted));
    let moved = advert(1).sign(&key(1), &Channel::new("other").unwrap(), &fixture.arch).unwrap();
    assert_eq!(fixture.judge(&moved), Err(Refusal::Signature));
}

#[test]
fn without_providers_any_signer_passes_and_a_bad_signature_never() {
    let mut fixture = Fixture::new(&[]);
    let one = fixture.sign(1, advert(1));
    assert_eq!(fixture.judge(&one), UNPINNED);
    fixture.trust.add_word(&std::format!("{}", peer(9).key_id())).unwrap();
    fixture.pins = fixture.trust.pins(&fixture.channel);
    let two = fixture.sign(2, advert(2));
    assert_eq!(fixture.judge(&two), UNPINNED);
    let moved = advert(3).sign(&key(3), &fixture.channel, &Arch::new("x").unwrap()).unwrap();
    assert_eq!(fixture.judge(&moved), Err(Refusal::Signature));
}

#[test]
fn an_older_text_of_a_signer_is_refused_and_two_of_one_seq_are_both() {
    let mut fixture = Fixture::new(&[1, 2]);
    let sign = |fixture: &Fixture, n, seq, ttl| fixture.sign(n, Advert { seq, ttl, ..advert(n) });
    let (old, new) = (sign(&fixture, 1, 9, 3600), sign(&fixture, 1, 10, 3600));
    assert_eq!(fixture.judge(&old), PINNED);
    assert_eq!(fixture.judge(&new), PINNED);
    assert_eq!(fixture.judge(&new), PINNED, "the same text again");
    assert_eq!(fixture.judge(&old), Err(Refusal::Sequence));
    assert_eq!(fixture.review(&old), Err(Refusal::Sequence));

    let twin = sign(&fixture, 1, 10, 3601);
    assert_eq!(fixture.judge(&twin), Err(Refusal::Equivocation));
    assert_eq!(fixture.review(&new), Err(Refusal::Equivocation));
    assert_eq!(fixture.judge(&new), Err(Refusal::Equivocation));
    let next = sign(&fixture, 1, 11, 3600);
    assert_eq!(fixture.judge(&next), PINNED, "a later text ends it");

    let others = sign(&fixture, 2, 1, 3600);
    assert_eq!(fixture.judge(&others), PINNED, "seq is never compared across signers");
}

#[test]
fn seq_counts_even_when_the_clock_of_the_signer_went_back() {
    let mut fixture = Fixture::new(&[1]);
    let first = fixture.sign(1, advert(1));
    let back = Advert { seq: 11, issued: UnixTime(NOW.0 - 1000), ..advert(1) };
    let back = fixture.sign(1, back);
    assert_eq!(fixture.judge(&first), PINNED);
    assert_eq!(fixture.judge(&back), PINNED);
    assert_eq!(fixture.judge(&first), Err(Refusal::Sequence));
}

#[test]
fn a_crowd_of_strangers_does_not_make_us_forget_a_pinned_signer() {
    let mut fixture = Fixture::new(&[1]);
    let new = fixture.sign(1, Advert { seq: 20, ..advert(1) });
    assert_eq!(fixture.judge(&new), PINNED);
    for n in 2..=200 {
        let stranger = fixture.sign(n, advert(n));
        fixture.memory.seq.observe(&stranger, TrustClass::SelfSigned).unwrap();
    }
    let old = fixture.sign(1, Advert { seq: 19, ..advert(1) });
    assert_eq!(fixture.judge(&old), Err(Refusal::Sequence));
}

#[test]
fn expiry_is_judged_by_the_floor_and_stale_ones_come_last() {
    let mut fixture = Fixture::new(&[1, 2, 3]);
    let issued = UnixTime(NOW.0 - 3600 - 301);
    let old = fixture.sign(1, Advert { issued, ..advert(1) });
    assert_eq!(fixture.judge(&old), Err(Refusal::Expired));
    let allowed =
        review(&old, &Context { stale: Stale::Allow, ..fixture.context() }, &fixture.memory);
    assert_eq!(allowed, Ok(Accepted { class: TrustClass::Pinned, stale: true }));

    // One provider in 2099 expires nobody; two do.
    let mut fixture = Fixture::new(&[1, 2, 3]);
    let now = fixture.sign(1, advert(1));
    assert_eq!(fixture.judge(&now), PINNED);
    for (n, expected) in [(2, PINNED), (3, Err(Refusal::Expired))] {
        let late = fixture.sign(n, Advert { issued: UnixTime(4_070_908_800), ..advert(n) });
        assert_eq!(fixture.judge(&late), PINNED);
        assert_eq!(fixture.review(&now), expected);
    }
}

#[test]
fn strangers_do_not_move_the_clock() {
    let mut fixture = Fixture::new(&[]);
    let now = fixture.sign(1, advert(1));
    assert_eq!(fixture.judge(&now), UNPINNED);
    for n in 2..6 {
        let late = fixture.sign(n, Advert { issued: UnixTime(4_070_908_800), ..advert(n) });
        assert_eq!(fixture.judge(&late), UNPINNED);
    }
    assert_eq!(fixture.review(&now), UNPINNED);
}

#[test]
fn the_carrier_policy_table() {
    let check = |url: &str, pinned: bool, networks: &[&str]| {
        let fixture = Fixture::new(&[]);
        let networks: std::vec::Vec<Network> = networks
            .iter()
            .map(|text| {
                let (address, prefix) = text.split_once('/').unwrap();
                Network { address: address.parse().unwrap(), prefix_len: prefix.parse().unwrap() }
            })
            .collect();
        let carrier = Carrier::Lan { networks: &networks };
        let context = Context { carrier, ..fixture.context() };
        let url = std::format!("http://{url}/stable/arm64/manifest.json");
        carrier::check_url(&Url::parse(&url).unwrap(), &context, pinned)
    };
    let never = |class| Err(Policy::Class(class));
    for (host, class) in [
        ("0.0.0.0", AddressClass::Unusable),
        ("127.0.0.1", AddressClass::Loopback),
        ("127.1.2.3:8080", AddressClass::Loopback),
        ("224.0.0.251", AddressClass::Unusable),
        ("255.255.255.255", AddressClass::Unusable),
        ("240.1.1.1", AddressClass::Unusable),
        ("169.254.169.254", AddressClass::Metadata),
        ("100.100.100.200", AddressClass::Metadata),
        ("[fd00:ec2::254]", AddressClass::Metadata),
        ("[::]", AddressClass::Unusable),
        ("[::1]", AddressClass::Loopback),
        ("[ff02::fb]", AddressClass::Unusable),
        ("[64:ff9b::a9fe:a9fe]", AddressClass::Metadata),
        ("localhost", AddressClass::Loopback),
        ("a.localhost", AddressClass::Loopback),
    ] {
        for pinned in [false, true] {
            let networks = ["0.0.0.0/0", "::/0", "169.254.1.1/16", "127.0.0.1/8"];
            assert_eq!(check(host, pinned, &networks), never(class), "{host}");
        }
    }
    for pinned in [false, true] {
        let off = Err(Policy::OffLink(AddressClass::LinkLocalV4));
        assert_eq!(check("169.254.1.2", pinned, &["192.168.1.7/24"]), off);
        assert_eq!(check("169.254.1.2", pinned, &["169.254.9.9/16"]), Ok(()));
        assert_eq!(check("[fe80::1]", pinned, &[]), Ok(()));
        assert_eq!(check("8.8.8.8", pinned, &[]), Ok(()));
        assert_eq!(check("[2001:4860::1]", pinned, &[]), Ok(()));
        assert_eq!(check("mac.local:8080", pinned, &[]), Ok(()));
    }
    for (host, on, off) in [
        ("10.1.2.3", "10.1.0.1/16", "10.2.0.1/16"),
        ("172.16.5.5", "172.16.5.1/24", "172.16.6.1/24"),
        ("192.168.1.9", "192.168.1.1/24", "192.168.2.1/24"),
        ("100.64.1.1", "100.64.0.1/10", "192.168.1.7/24"),
        ("[fd12::1]", "fd12::2/64", "fd12:0:0:1::2/64"),
    ] {
        assert_eq!(check(host, false, &[on]), Ok(()), "{host}");
        assert_eq!(check(host, false, &[off]), Err(Policy::OffLink(AddressClass::Private)));
        assert_eq!(check(host, true, &[off]), Ok(()), "{host}");
    }
}

#[test]
fn another_path_needs_a_pinned_signer() {
    let url = Url::parse("http://192.168.1.100/boot/manifest.json").unwrap();
    let odd = |n| Advert { url: url.clone(), ..advert(n) };
    let mut fixture = Fixture::new(&[1]);
    let mine = fixture.sign(1, odd(1));
    assert_eq!(fixture.judge(&mine), PINNED);
    let mut fixture = Fixture::new(&[]);
    let strangers = fixture.sign(2, odd(2));
    assert_eq!(fixture.judge(&strangers), Err(Refusal::Policy(Policy::Path)));
}

#[test]
fn an_unsigned_advert_passes_only_when_insecure() {
    let fixture = Fixture::new(&[1]);
    let read = record::decode_json(br#"{"url":"http://192.168.1.100/stable/arm64/manifest.json"}"#);
    let Ok(Received::Unsigned(legacy)) = read else { panic!("{read:?}") };
    let judged = judge_unsigned(&legacy, &fixture.context());
    assert_eq!(judged, Err(Refusal::Advert(Error::Unsigned)));
    let insecure = Context { insecure: true, ..fixture.context() };
    let accepted = Ok(Accepted { class: TrustClass::Unsigned, stale: false });
    assert_eq!(judge_unsigned(&legacy, &insecure), accepted);
    // Insecure also takes strangers, and still no wrong signature.
    let stranger = fixture.sign(2, advert(2));
    assert_eq!(judge(&stranger, &insecure, &mut fixture.memory.clone()), UNPINNED);
    let moved = advert(1).sign(&key(1), &Channel::new("other").unwrap(), &fixture.arch).unwrap();
    let judged = judge(&moved, &insecure, &mut fixture.memory.clone());
    assert_eq!(judged, Err(Refusal::Signature));
}

#[test]
fn the_best_comes_first() {
    let fixture = Fixture::new(&[]);
    let rank = |class, stale, n: u8, version: &str, issued: u64, ms: Option<u64>| {
        let advert = Advert {
            version: Version::new(version).unwrap(),
            issued: UnixTime(issued),
            ..advert(n)
        };
        let received = Received::Signed(fixture.sign(n, advert));
        let connect = ms.map(Duration::from_millis);
        let accepted = Accepted { class, stale };
        Rank::new(accepted, &received, fixture.context().carrier, connect, &[7; 32])
    };
    use TrustClass::{Pinned, SelfSigned};
    let better = |a: &Rank, b: &Rank| assert!(a < b, "{a:?} {b:?}");
    let base = rank(Pinned, false, 1, "1.9", 100, Some(5));
    better(&base, &rank(Pinned, true, 1, "2", 200, Some(1)));
    better(&base, &rank(SelfSigned, false, 2, "2", 200, Some(1)));
    better(&rank(Pinned, false, 2, "1.10", 90, Some(500)), &base);
    better(&rank(Pinned, false, 2, "1.9", 90, Some(1)), &base);
    better(&base, &rank(Pinned, false, 2, "1.9", 200, Some(20)));
    better(&base, &rank(Pinned, false, 2, "1.9", 200, None));
    better(&rank(Pinned, false, 2, "1.9", 101, Some(19)), &base);
    // A version is a claim: strangers cannot win by it.
    let humble = rank(SelfSigned, false, 2, "1", 100, Some(1));
    let loud = rank(SelfSigned, false, 3, "999", 100, Some(5));
    better(&humble, &loud);
    assert_eq!(base.cmp(&base.clone()), core::cmp::Ordering::Equal);
}

#[test]
fn every_refusal_has_a_code_and_a_sentence() {
    for (refusal, code) in [
        (Refusal::Advert(Error::Size), "E-SIZE"),
        (Refusal::Advert(Error::Json), "E-JSON"),
        (Refusal::Advert(Error::Unsigned), "E-UNSIGNED"),
        (Refusal::Advert(Error::PeerId), "E-PEERID"),
        (Refusal::Untrusted, "E-UNTRUSTED"),
        (Refusal::Signature, "E-SIG"),
        (Refusal::Sequence, "E-SEQ"),
        (Refusal::Equivocation, "E-EQUIV"),
        (Refusal::Expired, "E-EXPIRED"),
        (Refusal::Policy(Policy::Class(AddressClass::Metadata)), "E-POLICY"),
        (Refusal::Policy(Policy::OffLink(AddressClass::Private)), "E-POLICY"),
        (Refusal::Policy(Policy::Path), "E-POLICY"),
    ] {
        assert_eq!(refusal.code(), code);
        let shown = std::format!("{refusal}");
        assert!(shown.strip_prefix(code).is_some_and(|rest| rest.len() > 10), "{shown}");
    }
}

#[test]
fn each_class_of_address_passes_by_the_dht_where_the_table_says() {
    let networks = [Network { address: "192.168.1.7".parse().unwrap(), prefix_len: 24 }];
    let carrier = Carrier::Dht { networks: &networks, direct: false };
    let check = |ip: &str, pinned| {
        carrier::check_address(ip.parse().unwrap(), carrier, pinned, false).is_ok()
    };
    for (ip, by_pinned, by_others) in [
        ("0.1.2.3", false, false),
        ("127.0.0.1", false, false),
        ("::1", false, false),
        ("224.0.0.1", false, false),
        ("255.255.255.255", false, false),
        ("169.254.169.254", false, false),
        ("fd00:ec2::254", false, false),
        ("169.254.7.7", false, false),
        ("fe80::1", false, false),
        ("192.168.1.9", true, true),
        ("192.168.2.9", true, false),
        ("100.64.1.1", true, false),
        ("fd12::1", true, false),
        ("8.8.8.8", true, true),
        ("2606:4700::1111", true, true),
    ] {
        assert_eq!((check(ip, true), check(ip, false)), (by_pinned, by_others), "{ip}");
    }
    let loopback = "127.0.0.1".parse().unwrap();
    assert!(carrier::check_address(loopback, carrier, false, true).is_ok());
}

#[test]
fn among_equals_the_lan_is_before_the_provider_itself_and_that_before_what_others_keep() {
    let mut fixture = Fixture::new(&[1]);
    let signed = fixture.sign(1, advert(1));
    let accepted = fixture.judge(&signed).unwrap();
    let received = Received::Signed(signed);
    let rank = |carrier| Rank::new(accepted, &received, carrier, None, &[0; 32]);
    let networks = &[];
    let (lan, direct, kept) = (
        rank(Carrier::Lan { networks }),
        rank(Carrier::Dht { networks, direct: true }),
        rank(Carrier::Dht { networks, direct: false }),
    );
    assert!(lan < direct && direct < kept);
}
