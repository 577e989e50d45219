//! TXT record data.

use phase_core::wire::dns::{Attribute, Txt, TxtWriter};

/// Holds the laws of TXT data for any octets.
///
/// # Panics
/// When a law is broken.
pub fn txt(data: &[u8]) {
    let Ok(read) = Txt::from_octets(data) else { return };
    let _ = read.to_string();
    assert!(read.strings().all(|string| !string.is_empty() && string.len() <= 255));

    let mut buffer = vec![0xa5; data.len().max(1)];
    let mut w = TxtWriter::new(&mut buffer);
    for string in read.strings() {
        w.string(&[string]);
    }
    let again = w.finish().expect("no longer than before");
    assert!(again.strings().eq(read.strings()));
    assert!(!again.as_octets().is_empty());

    for string in read.strings() {
        let mut parts = string.splitn(2, |octet| *octet == b'=');
        let (key, value) = (parts.next().unwrap_or_default(), parts.next());
        let found = read.get(key);
        assert_eq!(found == Attribute::Absent, key.is_empty(), "{key:?}");
        assert_eq!(found, read.get(&key.to_ascii_uppercase()));
        let first = read.strings().find(|other| {
            other
                .split(|octet| *octet == b'=')
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case(key))
        });
        if first == Some(string) && !key.is_empty() {
            assert_eq!(found.value(), value);
        }
    }
}
