//! The advert's codecs, on one example. The published vectors are in `tests/vectors`.

use super::*;
use crate::identity::{SecretKey, VerifyError};
use crate::limits::{ADVERT_JSON_EMIT_MAX, ADVERT_TXT_MAX};
use std::string::{String, ToString as _};
use std::vec::Vec;

fn key() -> SecretKey {
    let seed = b"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    SecretKey::from_seed(&text::decode_hex(seed).unwrap())
}

fn stable() -> (Channel, Arch) {
    (Channel::new("stable").unwrap(), Arch::new("arm64").unwrap())
}

fn advert() -> Advert {
    Advert {
        url: Url::parse("http://192.168.1.100:8080/stable/arm64/manifest.json").unwrap(),
        peer: key().peer_id(),
        name: Some(ProviderName::new("my-mac").unwrap()),
        issued: UnixTime(1_764_158_400),
        version: Version::new("2025.11.26").unwrap(),
        seq: 1_764_158_400,
        ttl: 3600,
        digest: Some(Digest::from_octets([0xab; 32])),
    }
}

fn signed() -> SignedAdvert {
    let (channel, arch) = stable();
    advert().sign(&key(), &channel, &arch).unwrap()
}

fn json(signed: &SignedAdvert) -> String {
    let mut buf = [0xa5; ADVERT_JSON_EMIT_MAX];
    String::from_utf8(signed.encode_json(&mut buf).unwrap().to_vec()).unwrap()
}

fn txt(signed: &SignedAdvert) -> Vec<u8> {
    let (channel, arch) = stable();
    let mut buf = [0xa5; ADVERT_TXT_MAX];
    signed.encode_txt(&channel, &arch, &mut buf).unwrap().to_vec()
}

#[test]
fn both_texts_give_the_advert_back() {
    let (channel, arch) = stable();
    let signed = signed();
    let text = json(&signed);
    assert_eq!(text.len(), 391);
    assert_eq!(SignedAdvert::decode_json(text.as_bytes()), Ok(signed.clone()));

    let rdata = txt(&signed);
    assert_eq!(rdata.len(), 365);
    assert_eq!(txt_strings(&rdata).count(), 12);
    assert_eq!(txt_strings(&rdata).map(<[u8]>::len).max(), Some(90));
    let read = decode_txt(txt_strings(&rdata)).unwrap();
    assert_eq!((&read.channel, &read.arch), (&channel, &arch));
    assert_eq!(read.advert, Received::Signed(signed.clone()));
    assert_eq!(signed.verify(&channel, &arch), Ok(()));
}

#[test]
fn a_signature_holds_for_one_key_only() {
    let (channel, arch) = stable();
    let testing = Channel::new("testing").unwrap();
    let x86 = Arch::new("x86_64").unwrap();
    assert_eq!(signed().verify(&testing, &arch), Err(VerifyError::Signature));
    assert_eq!(signed().verify(&channel, &x86), Err(VerifyError::Signature));
}

#[test]
fn only_what_can_be_read_back_is_signed() {
    let (channel, arch) = stable();
    let sign = |advert: Advert| advert.sign(&key(), &channel, &arch).map(|_| ());
    assert_eq!(sign(Advert { seq: 0, ..advert() }), Err(Error::Field(Field::Seq)));
    assert_eq!(sign(Advert { seq: SEQ_MAX + 1, ..advert() }), Err(Error::Field(Field::Seq)));
    assert_eq!(sign(Advert { seq: SEQ_MAX, ..advert() }), Ok(()));
    assert_eq!(sign(Advert { ttl: 59, ..advert() }), Err(Error::Field(Field::Ttl)));
    assert_eq!(sign(Advert { ttl: 604_801, ..advert() }), Err(Error::Field(Field::Ttl)));
    let late = UnixTime(unix_time::MAX.0 + 1);
    assert_eq!(sign(Advert { issued: late, ..advert() }), Err(Error::Field(Field::LastUpdated)));
    let other = SecretKey::from_seed(&[1; 32]).peer_id();
    assert_eq!(sign(Advert { peer: other, ..advert() }), Err(Error::Field(Field::PeerId)));
    let url = Url::parse_any("http://h/kernel").unwrap();
    assert_eq!(sign(Advert { url, ..advert() }), Err(Error::Url(url::Error::NotManifest)));
}

#[test]
fn every_member_at_its_cap_fits_both_texts() {
    let channel = Channel::new(&"c".repeat(32)).unwrap();
    let arch = Arch::new(&"a".repeat(16)).unwrap();
    let url = std::format!("http://h/{}/manifest.json", "p".repeat(169));
    let advert = Advert {
        url: Url::parse(&url).unwrap(),
        name: Some(ProviderName::new(&"n".repeat(40)).unwrap()),
        issued: unix_time::MAX,
        version: Version::new(&"v".repeat(32)).unwrap(),
        seq: SEQ_MAX,
        ttl: TTL_MAX,
        ..advert()
    };
    let signed = advert.sign(&key(), &channel, &arch).unwrap();
    assert!(json(&signed).len() <= ADVERT_JSON_EMIT_MAX, "{}", json(&signed).len());
    let mut buf = [0; ADVERT_TXT_MAX];
    let rdata = signed.encode_txt(&channel, &arch, &mut buf).unwrap();
    assert!(rdata.len() <= ADVERT_TXT_MAX, "{}", rdata.len());
    let read = decode_txt(txt_strings(rdata)).unwrap().advert.signed().unwrap();
    assert_eq!(read, signed);
    assert_eq!(read.verify(&channel, &arch), Ok(()));
}

#[test]
fn the_first_error_in_order_is_told() {
    let good = json(&signed());
    let check = |from: &str, to: &str, code: &str| {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        let error = SignedAdvert::decode_json(text.as_bytes()).unwrap_err();
        assert_eq!(error.code(), code, "{text}: {error}");
    };
    check("http://", "ftp://", "E-URL:scheme");
    check("192.168", "0192.168", "E-URL:host");
    check(":8080", ":0", "E-URL:port");
    check("/stable/", "/../", "E-URL:path");
    check("manifest.json", "manifest", "E-URL:manifest");
    check(r#""url""#, r#""uri""#, "E-FIELD:url");
    check(r#""peer_id""#, r#""peer""#, "E-FIELD:peer_id");
    check("12D3KooWQ", "12D3KooW0", "E-FIELD:peer_id");
    check("12D3KooWQ", "12D3KooWQQ", "E-FIELD:peer_id");
    check("12D3KooWQ", "QmD3KooWQ", "E-PEERID");
    check("12D3KooWQ", "12D3KooW", "E-PEERID");
    check("my-mac", "", "E-FIELD:provider_name");
    check("12:00:00Z", "12:00:00+", "E-FIELD:last_updated");
    check("2025.11.26", "2025/11/26", "E-FIELD:version");
    check(r#""version":"2025.11.26","#, "", "E-FIELD:version");
    check("1764158400,", "0,", "E-FIELD:seq");
    check("1764158400,", "9007199254740992,", "E-FIELD:seq");
    check("1764158400,", "01,", "E-JSON");
    check("1764158400,", "1e9,", "E-JSON");
    check("1764158400,", "\"1\",", "E-JSON");
    check(":3600", ":59", "E-FIELD:ttl");
    check(":3600", ":604801", "E-FIELD:ttl");
    check(":3600", ":4294967356", "E-FIELD:ttl");
    check("q6urq6s", "q6urq6t", "E-FIELD:digest");
    check("q6urq6s", "q6urq6", "E-FIELD:digest");
    check("8YaQBDw", "8YaQBDx", "E-FIELD:sig");
    check("8YaQBDw\"", "8YaQBDw=\"", "E-FIELD:sig");
    check(r#""sig""#, r#""gis""#, "E-UNSIGNED");
    check("}", "} ", "E-JSON");
    check("{", "\n{", "E-JSON");
    check("}", ",\"url\":\"http://h/manifest.json\"}", "E-JSON");
    check("}", &std::format!(",\"x\":\"{}\"}}", "x".repeat(1024)), "E-SIZE");
    // A bad field is told before a bad URL, a bad URL before a bad peer id.
    let both = good.replace("http:", "ftp:").replace(":3600", ":1");
    assert_eq!(SignedAdvert::decode_json(both.as_bytes()), Err(Error::Field(Field::Ttl)));
    let both = good.replace("http:", "ftp:").replace("12D3KooWQ", "QmD3KooWQ");
    assert_eq!(SignedAdvert::decode_json(both.as_bytes()), Err(Error::Url(url::Error::Scheme)));
    assert_eq!(SignedAdvert::decode_json(b""), Err(Error::Size));
}

#[test]
fn txt_follows_rfc_6763_section_6_4() {
    let rdata = txt(&signed());
    let strings: Vec<&[u8]> = txt_strings(&rdata).collect();
    let read = |strings: &[&[u8]]| decode_txt(strings.iter().copied()).map(|txt| txt.advert);
    let good = Ok(Received::Signed(signed()));
    let with = |before: &'static [u8], after: &'static [u8]| {
        let mut all = std::vec![before];
        all.extend(&strings);
        all.push(after);
        all
    };
    assert_eq!(read(&with(b"", b"")), good);
    assert_eq!(read(&with(b"=x", b"=")), good);
    assert_eq!(read(&with(b"unknown=\xff", b"other")), good);
    // The first occurrence counts, whatever its case and even without a value.
    assert_eq!(read(&with(b"x=", b"SIG=AAAA")), good);
    assert_eq!(read(&with(b"SIG=AAAA", b"")), Err(Error::Field(Field::Sig)));
    assert_eq!(read(&with(b"sig", b"")), Err(Error::Field(Field::Sig)));
    assert_eq!(read(&with(b"txtvers=2", b"")), Err(Error::Field(Field::TxtVers)));
    assert_eq!(read(&with(b"Seq=01", b"")), Err(Error::Field(Field::Seq)));
    assert_eq!(read(&with(b"ts=-1", b"")), Err(Error::Field(Field::LastUpdated)));
    assert_eq!(read(&with(b"name=\xff", b"")), Err(Error::Field(Field::ProviderName)));
    let upper: Vec<Vec<u8>> = strings
        .iter()
        .map(|string| {
            let at = string.iter().position(|&c| c == b'=').unwrap();
            [&string[..at].to_ascii_uppercase(), &string[at..]].concat()
        })
        .collect();
    assert_eq!(read(&upper.iter().map(Vec::as_slice).collect::<Vec<_>>()), good);
    assert_eq!(read(&[]), Err(Error::Field(Field::Channel)));
    assert_eq!(read(&std::vec![b"a".as_slice(); 600]), Err(Error::Size));
    let cut = &rdata[..rdata.len() - 1];
    assert!(matches!(
        decode_txt(txt_strings(cut)).map(|txt| txt.advert),
        Ok(Received::Unsigned(_))
    ));
}

#[test]
fn an_unsigned_advert_is_shown_and_nothing_more() {
    let read = |text: &str| decode_json(text.as_bytes());
    let pretty = "{\n  \"url\": \"http://192.168.1.100:8080/stable/arm64/manifest.json\",\n\t\"peer_id\": \"12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV\",\r\n  \"provider_name\": \"my-mac\",\n  \"last_updated\": \"2025-11-26T12:00:00Z\"\n}\n";
    let Ok(Received::Unsigned(legacy)) = read(pretty) else { panic!("{:?}", read(pretty)) };
    assert_eq!(legacy.url.to_string(), "http://192.168.1.100:8080/stable/arm64/manifest.json");
    assert!(legacy.peer_id.is_some() && legacy.name.is_some() && legacy.version.is_none());
    assert_eq!(legacy.issued, Some(UnixTime(1_764_158_400)));
    assert_eq!(SignedAdvert::decode_json(pretty.as_bytes()), Err(Error::Unsigned));

    // What cannot be shown is left out.
    let odd = r#"{"url":"http://h/manifest.json","peer_id":"a b","provider_name":null,"last_updated":"now","version":"a/b"}"#;
    let Ok(Received::Unsigned(legacy)) = read(odd) else { panic!("{:?}", read(odd)) };
    assert!(legacy.peer_id.is_none() && legacy.name.is_none());
    assert!(legacy.issued.is_none() && legacy.version.is_none());

    // A signature does not make the loose profile strict, and a bad URL stays a bad URL.
    let signed = json(&signed()).replace("{", "{\n");
    assert_eq!(read(&signed), Err(Error::Json));
    assert_eq!(read(r#"{"url":"file:///etc/shadow"}"#), Err(Error::Url(url::Error::Scheme)));
    assert_eq!(read(r#"{"peer_id":"x"}"#), Err(Error::Field(Field::Url)));
    assert_eq!(read("{\"url\":\"http:\\/\\/h\\/manifest.json\"}"), Err(Error::Json));

    let four = ["arch=aarch64", "channel=stable", "manifest=http://h/manifest.json", "version=1"];
    let read = decode_txt(four.iter().map(|string| string.as_bytes())).unwrap();
    assert_eq!(read.arch.as_str(), "arm64");
    assert!(matches!(read.advert, Received::Unsigned(_)));
}
