//! URLs.

use phase_core::wire::url::{AddressClass, Host, Url};

/// Holds the laws of URLs for any octets; after a line end, of joining what follows.
///
/// # Panics
/// When a law is broken.
pub fn url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (base, path) = text.split_once('\n').unwrap_or((text, "kernel"));
    let Ok(url) = Url::parse_any(base) else { return };
    assert_eq!(url.as_str(), base);
    assert_eq!(Url::parse(base).is_ok(), base.ends_with("/manifest.json"));
    assert!(url.port() > 0 && url.path().starts_with('/'));
    assert!(base.ends_with(&format!("://{}{}", url.authority(), url.path())));
    match url.host() {
        Host::Ip(ip) => assert_eq!(url.address_class(), Some(AddressClass::of(ip))),
        Host::Name(name) => assert!(!name.is_empty() && url.address_class().is_none()),
    }
    let general = ::url::Url::parse(base).expect("a subset of the URL Standard");
    assert_eq!(general.path(), url.path());
    assert_eq!(general.port_or_known_default(), Some(url.port()));
    if let Ok(joined) = url.join(path) {
        assert_eq!((joined.authority(), joined.scheme()), (url.authority(), url.scheme()));
        assert_eq!(Url::parse_any(joined.as_str()), Ok(joined.clone()));
        let general = general.join(path).expect("a path of the URL Standard");
        assert_eq!(general.path(), joined.path());
    }
}
