//! The manifest's golden document, written by another program and byte for byte the same here.
//!
//! `manifest.json` was made in Python: `json.dumps` with `separators=(",", ":")`, signatures by OpenSSL over the
//! DSSE encoding, with the keys of RFC 8032 §7.1 tests 1 and 2. Spec: DSSE 1.0, RFC 8032.

use phase_core::limits::{MANIFEST_BUFFER, MANIFEST_WORK};
use phase_core::time::UnixTime;
use phase_core::wire::digest::Digest;
use phase_core::wire::manifest::{
    ArtifactDraft, Draft, Envelope, Name, Policy, encode_document, read_document, verify,
};
use phase_core::wire::record::{Arch, Channel, Version};
use phase_core::wire::trust::Trust;

use super::{read, secret};

const KEYS: [&str; 2] = [
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
];

const fn file<'a>(name: Name<'a>, octet: u8, size: u64, path: &'a str) -> ArtifactDraft<'a> {
    ArtifactDraft {
        name,
        digest: Digest::from_octets([octet; 32]),
        size,
        path: Some(path),
        urls: &[],
    }
}

fn trust() -> Trust {
    let mut trust = Trust::default();
    for key in KEYS {
        trust.add_word(&secret(key).peer_id().key_id().to_string()).unwrap();
    }
    trust.add_file(b"threshold stable 2\n").unwrap();
    trust
}

#[test]
fn the_golden_document_is_written_octet_for_octet() {
    let initramfs = file(Name::Initramfs, 2, 4_194_304, "initramfs.img");
    // In another order than they are written in.
    let artifacts = [
        file(Name::Dtb("qcom/x1e.dtb"), 5, 65_432, "dtbs/qcom/x1e.dtb"),
        file(Name::Rootfs, 3, 104_857_600, "/stable/arm64/rootfs.sqfs"),
        file(Name::Dtb("bcm2711-rpi-4-b.dtb"), 4, 54_321, "dtbs/bcm2711-rpi-4-b.dtb"),
        ArtifactDraft { urls: &["http://mirror.example/initramfs.img"], ..initramfs },
        file(Name::Kernel, 1, 9_437_184, "vmlinuz"),
    ];
    let draft = Draft {
        manifest_version: 1_764_158_400,
        channel: &Channel::new("stable").unwrap(),
        arch: &Arch::new("arm64").unwrap(),
        created_at: UnixTime(1_764_158_400),
        expires_at: UnixTime(1_764_158_400 + 90 * 86_400),
        image_version: Some(&Version::new("2025.11.26").unwrap()),
        artifacts: &artifacts,
        cmdline: Some("console=ttyS0 dyndbg=\"file a\\b +p\" quiet"),
    };
    let mut buffer = vec![0xa5; MANIFEST_BUFFER];
    let envelope = Envelope::encode(&draft, &mut buffer).unwrap();
    let signatures = KEYS.map(|key| envelope.sign(&secret(key)));
    let mut out = vec![0xa5; MANIFEST_WORK];
    let document = encode_document(&envelope, &signatures, &mut out).unwrap();
    assert_eq!(str::from_utf8(document).unwrap(), read("manifest.json"));
}

#[test]
fn the_golden_document_verifies_and_comes_apart() {
    let document = read("manifest.json");
    let (channel, arch) = (Channel::new("stable").unwrap(), Arch::new("arm64").unwrap());
    let trust = trust();
    let policy = Policy {
        channel: &channel,
        arch: &arch,
        trust: &trust,
        floor: 0,
        now: UnixTime(1_764_158_400),
        digest: None,
        version: None,
        insecure: false,
    };
    let mut buffer = vec![0xa5; MANIFEST_BUFFER];
    let verified = verify(document.as_bytes(), &mut buffer, &policy).unwrap();
    assert_eq!(verified.signed_by.len(), 2);
    let line = verified.manifest.cmdline.unwrap().to_string();
    assert_eq!(line, "console=ttyS0 dyndbg=\"file a\\b +p\" quiet");
    let sizes: Vec<_> = verified.manifest.artifacts().map(|file| file.size).collect();
    assert_eq!(sizes, [9_437_184, 4_194_304, 104_857_600, 54_321, 65_432]);

    let mut buffer = vec![0xa5; MANIFEST_BUFFER];
    let (envelope, signatures) = read_document(document.as_bytes(), &mut buffer).unwrap();
    assert_eq!(envelope.inner().len(), 999);
    assert_eq!(signatures.as_slice(), KEYS.map(|key| envelope.sign(&secret(key))));
}

#[test]
fn a_general_json_reader_sees_what_the_verifier_sees() {
    let document = read("manifest.json");
    let outer: serde_json::Value = serde_json::from_str(&document).unwrap();
    let mut buffer = vec![0; MANIFEST_BUFFER];
    let (envelope, _) = read_document(document.as_bytes(), &mut buffer).unwrap();
    let inner: serde_json::Value = serde_json::from_slice(envelope.inner()).unwrap();
    let mut mirror = outer;
    mirror.as_object_mut().unwrap().retain(|name, _| name != "signed" && name != "signatures");
    assert_eq!(mirror, inner);
}
