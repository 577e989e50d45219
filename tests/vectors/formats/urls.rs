//! URLs good and bad, with the code of each.

use phase_core::wire::url::{Error, Url};

use super::read;

#[test]
fn every_url_has_its_code() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for line in read("urls.txt").lines().filter(|line| !line.starts_with('#')) {
        let (code, text) = line.split_once(' ').expect("a code and a URL");
        let text: String = serde_json::from_str(text).expect("a JSON string");
        count += 1;
        let found = match Url::parse(&text) {
            Ok(url) => {
                assert_eq!(url.as_str(), text, "reading and printing are the identity");
                "ok"
            }
            Err(error) => error.code(),
        };
        if found != code {
            wrong.push(format!("{text:?}: {found}, not {code}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 400, "{count}");
}

#[test]
fn a_url_of_64_kib_is_refused_by_its_length() {
    let text = format!("http://h/{}/manifest.json", "a".repeat(65_536));
    assert_eq!(Url::parse(&text), Err(Error::Length));
}

/// What the grammar takes, the URL Standard takes too, and reads as the same host, port and path.
#[test]
fn an_accepted_url_is_the_same_to_the_url_standard() {
    for line in read("urls.txt").lines().filter(|line| line.starts_with("ok ")) {
        let text: String = serde_json::from_str(&line[3..]).expect("a JSON string");
        let (ours, theirs) = (Url::parse(&text).unwrap(), url::Url::parse(&text).unwrap());
        assert_eq!(theirs.path(), ours.path(), "{text}");
        assert_eq!(theirs.port_or_known_default(), Some(ours.port()), "{text}");
        let host = theirs.host_str().unwrap();
        let authority = ours.authority();
        let same = authority
            .strip_prefix(host)
            .is_some_and(|port| port.is_empty() || port == format!(":{}", ours.port()));
        assert!(same, "{text}: {host} {authority}");
        assert!(theirs.query().is_none() && theirs.fragment().is_none());
        assert!(theirs.username().is_empty() && theirs.password().is_none());
    }
}
