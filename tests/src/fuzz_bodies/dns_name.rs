//! Names: compressed ones anywhere in a message, and names as text.

use phase_core::wire::cursor::Reader;
use phase_core::wire::dns::{HEADER_LEN, Name, NameBuf};

/// Holds the laws of names for any octets: as a message with names at its first offsets, and as text.
///
/// # Panics
/// When a law is broken.
pub fn dns_name(data: &[u8]) {
    for at in (HEADER_LEN..data.len()).take(64) {
        let mut reader = Reader::new(data);
        reader.take(at, "start").expect("inside");
        if let Ok(name) = Name::decode(&mut reader) {
            assert!(reader.position() > at && reader.position() <= data.len());
            check_name(&name);
        }
    }
    if let Ok(name) = Name::from_octets(data) {
        check_name(&name);
    }
    if let Ok(text) = core::str::from_utf8(data)
        && let Ok(name) = NameBuf::from_text(text)
    {
        check_name(&name.as_name());
    }
}

/// The laws of one valid name.
pub(super) fn check_name(name: &Name<'_>) {
    let labels: Vec<&[u8]> = name.labels().collect();
    assert!(labels.iter().all(|label| (1..=63).contains(&label.len())));
    let len = labels.iter().map(|label| label.len() + 1).sum::<usize>() + 1;
    assert_eq!(name.encoded_len(), len);
    assert!(len <= 256);

    let mut plain = vec![0xa5; len];
    assert_eq!(name.write_uncompressed(&mut plain), Ok(len));
    assert_eq!(Name::from_octets(&plain), Ok(*name));
    let mut upper = NameBuf::new();
    for label in &labels {
        upper.push(&label.to_ascii_uppercase()).expect("as long as before");
    }
    assert_eq!(upper, *name);
    assert_eq!(upper.as_name().canonical_hash(), name.canonical_hash());
    assert!(upper.as_name().cmp(name).is_eq());
    assert_eq!(NameBuf::from_text(&name.to_string()).expect("its own text"), *name);
    let mut rest = *name;
    while let Some((label, parent)) = rest.split_first() {
        assert_eq!(label, labels[labels.len() - rest.labels().count()]);
        assert!(name.is_subdomain_of(&parent));
        assert!(!parent.is_subdomain_of(name) && parent != *name);
        rest = parent;
    }
    assert_eq!(rest, Name::ROOT);
}
