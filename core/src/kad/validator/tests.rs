//! What is stored and what is refused.

use super::*;
use crate::identity::SecretKey;
use crate::wire::record::{Advert, Arch, Channel, Field, Version};
use std::string::{String, ToString as _};

const NOW: UnixTime = UnixTime(1_764_158_400);

fn base() -> AdvertKey {
    AdvertKey::base(Channel::new("stable").unwrap(), Arch::new("arm64").unwrap())
}

fn json(url: &str, key: &AdvertKey, seed: u8) -> String {
    let secret = SecretKey::from_seed(&[seed; 32]);
    let advert = Advert {
        url: Url::parse(url).unwrap(),
        peer: secret.peer_id(),
        name: None,
        issued: NOW,
        version: Version::new("1").unwrap(),
        seq: 7,
        ttl: 3600,
        digest: None,
    };
    let mut buffer = [0xa5; 1024];
    let signed = advert.sign(&secret, &key.channel, &key.arch).unwrap();
    String::from_utf8(signed.encode_json(&mut buffer).unwrap().to_vec()).unwrap()
}

const URL: &str = "http://192.168.1.100:8080/stable/arm64/manifest.json";

fn judge(key: &AdvertKey, value: &str, clock: Option<UnixTime>) -> Result<Valid, Refusal> {
    validate(key, value.as_bytes(), &Context { clock, allow_loopback: false })
}

#[test]
fn a_signed_advert_is_stored_under_its_key_and_its_signers_sub_key() {
    let peer = SecretKey::from_seed(&[1; 32]).peer_id();
    let value = json(URL, &base(), 1);
    for key in [base(), base().of(peer)] {
        assert!(matches!(judge(&key, &value, Some(NOW)), Ok(Valid::Signed(_))));
        assert!(matches!(judge(&key, &value, None), Ok(Valid::Signed(_))));
    }
}

#[test]
fn every_refusal_has_its_code() {
    let good = json(URL, &base(), 1);
    let check = |key: &AdvertKey, value: &str, clock: u64, code: &str| {
        let refusal = judge(key, value, Some(UnixTime(clock))).unwrap_err();
        assert_eq!(refusal.code(), code, "{value}");
        assert!(refusal.to_string().starts_with(code), "{refusal}");
    };
    let now = NOW.0;
    check(&base(), "", now, "E-SIZE");
    check(&base(), &"x".repeat(1025), now, "E-SIZE");
    check(&base(), "not JSON", now, "E-JSON");
    check(&base(), &good.replace("\"seq\":7", "\"seq\":0"), now, Field::Seq.code());
    check(&base(), &good.replace("http:", "ftp:"), now, "E-URL:scheme");
    let weak = "12D3KooW9tGaPdJo5jmCpadQ971nfiq4kLcQjeBPYTfutBTtckPH";
    let peer = SecretKey::from_seed(&[1; 32]).peer_id().to_string();
    check(&base(), &good.replace(&peer, weak), now, "E-PEERID");
    check(&base(), &good.replace("\"seq\":7", "\"seq\":8"), now, "E-SIG");
    let testing = AdvertKey::base(Channel::new("testing").unwrap(), base().arch);
    check(&testing, &good, now, "E-SIG");
    check(&base(), &good, now + 3600 + 301, "E-EXPIRED");
    assert!(judge(&base(), &good, Some(UnixTime(now + 3600 + 300))).is_ok());
    let other = SecretKey::from_seed(&[2; 32]).peer_id();
    check(&base().of(other), &good, now, "E-SIGNER");
    let unsigned = r#"{"url":"http://192.168.1.100/stable/arm64/manifest.json"}"#;
    assert!(matches!(judge(&base(), unsigned, None), Ok(Valid::Unsigned(_))));
    check(&base().of(other), unsigned, now, "E-UNSIGNED");
    for host in ["127.0.0.1", "169.254.169.254", "169.254.1.1", "[fe80::1]", "0.0.0.0", "localhost"]
    {
        let url = std::format!("http://{host}/stable/arm64/manifest.json");
        check(&base(), &json(&url, &base(), 1), now, "E-POLICY");
        check(&base(), &std::format!("{{\"url\":\"{url}\"}}"), now, "E-POLICY");
    }
    let quotas = [Quota::Signers, Quota::Store, Quota::Source, Quota::Group, Quota::Rate];
    for refusal in quotas.map(Refusal::Quota).into_iter().chain([Refusal::Key]) {
        assert!(refusal.to_string().starts_with(refusal.code()));
    }
}

#[test]
fn loopback_is_for_tests_on_one_machine() {
    let value = json("http://127.0.0.1:8080/stable/arm64/manifest.json", &base(), 1);
    let context = Context { clock: None, allow_loopback: true };
    assert!(validate(&base(), value.as_bytes(), &context).is_ok());
}
