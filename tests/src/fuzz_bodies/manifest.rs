//! Manifests.

use phase_core::limits::{MANIFEST_BUFFER, MANIFEST_WORK};
use phase_core::time::UnixTime;
use phase_core::wire::manifest::{Policy, encode_document, read_document, verify};
use phase_core::wire::record::{Arch, Channel};
use phase_core::wire::trust::Trust;
use phase_core::wire::url::Url;

/// Holds the laws of manifests for any octets.
///
/// # Panics
/// When a law is broken.
pub fn manifest(data: &[u8]) {
    let (channel, arch) = (Channel::new("stable"), Arch::new("arm64"));
    let (channel, arch) = (channel.expect("a channel"), arch.expect("an arch"));
    let policy = Policy {
        channel: &channel,
        arch: &arch,
        trust: &Trust::default(),
        floor: 0,
        now: UnixTime(0),
        digest: None,
        version: None,
        insecure: true,
    };
    let mut buffer = vec![0xa5; MANIFEST_BUFFER];
    assert!(verify(data, &mut buffer, &Policy { insecure: false, ..policy }).is_err());
    if let Ok(verified) = verify(data, &mut buffer, &policy) {
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok());
        assert!(verified.signed_by.is_empty(), "nobody is trusted");
        let base = Url::parse("http://h/stable/arm64/manifest.json").expect("a URL");
        for artifact in verified.manifest.artifacts() {
            assert!(artifact.size > 0 && artifact.locations(&base).count() > 0);
            let name = artifact.name.to_string();
            assert!(!name.contains("..") || !name.split('/').any(|part| part == ".."));
        }
        if let Some(line) = verified.manifest.cmdline {
            assert!(line.chars().all(|c| matches!(c, ' '..='~')));
        }
    }
    let mut buffer = vec![0xa5; MANIFEST_BUFFER];
    let Ok((envelope, signatures)) = read_document(data, &mut buffer) else { return };
    let mut out = vec![0xa5; MANIFEST_WORK];
    let Ok(again) = encode_document(&envelope, &signatures, &mut out) else { return };
    let mut buffer = vec![0xa5; MANIFEST_BUFFER];
    if let Ok((second, same)) = read_document(again, &mut buffer) {
        assert_eq!(second.inner(), envelope.inner());
        assert_eq!(same, signatures);
    }
}
