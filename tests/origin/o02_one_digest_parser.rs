//! There, a digest in hex was compared with one that began with `sha256:`, and no file ever matched.

use phase_core::wire::digest::Digest;

#[test]
fn a_digest_of_a_manifest_equals_that_of_the_octets() {
    let octets = b"a kernel";
    let computed = Digest::of(octets);
    let text = computed.to_string();
    assert!(text.starts_with("sha256:"));
    assert_eq!(text.parse(), Ok(computed));
    // The form without the prefix is not a digest at all, so the two can never meet.
    assert!(text["sha256:".len()..].parse::<Digest>().is_err());
    assert!("sha256:".parse::<Digest>().is_err());
    assert!("sha256:12345".parse::<Digest>().is_err());
}
