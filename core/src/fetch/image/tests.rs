//! An image from a document that is drafted, signed and verified here.

use super::*;
use crate::identity::SecretKey;
use crate::limits::{MANIFEST_BUFFER, MANIFEST_WORK};
use crate::wire::manifest::{ArtifactDraft, Draft, Envelope, encode_document};
use crate::wire::trust::Trust;
use std::string::ToString as _;
use std::{format, vec};

const MANIFEST: &str = "http://10.0.0.5:8080/stable/arm64/manifest.json";
const SEGMENT: &str = "a-segment-that-is-repeated/";

fn draft(name: Name<'static>, path: &'static str) -> ArtifactDraft<'static> {
    let digest = Digest::of(path.as_bytes());
    ArtifactDraft { name, digest, size: 7, path: Some(path), urls: &[] }
}

/// The image of these artifacts, as found at `url`.
fn image(artifacts: &[ArtifactDraft<'_>], url: Option<&str>) -> Image<vec::Vec<u8>> {
    let key = SecretKey::from_seed(&[1; 32]);
    let mut trust = Trust::default();
    trust.add_word(&key.peer_id().to_string()).unwrap();
    let draft = Draft {
        manifest_version: 100,
        channel: &Channel::new("stable").unwrap(),
        arch: &Arch::new("arm64").unwrap(),
        created_at: UnixTime(1_764_158_400),
        expires_at: UnixTime(1_771_934_400),
        image_version: Some(&Version::new("2025.11.26").unwrap()),
        artifacts,
        cmdline: Some(r#"console=ttyS0 dyndbg="file a\b +p""#),
    };
    let (mut buffer, mut out) = (vec![0xa5; MANIFEST_BUFFER], vec![0xa5; MANIFEST_WORK]);
    let envelope = Envelope::encode(&draft, &mut buffer).unwrap();
    let document = encode_document(&envelope, &[envelope.sign(&key)], &mut out).unwrap().to_vec();
    let policy = Policy {
        channel: draft.channel,
        arch: draft.arch,
        trust: &trust,
        floor: 0,
        now: draft.created_at,
        digest: None,
        version: None,
        insecure: false,
    };
    let url = url.map(|url| Url::parse(url).unwrap());
    Image::verify(document, &mut vec![0xa5; MANIFEST_BUFFER], url.as_ref(), &policy).unwrap()
}

fn names<'a>(items: impl Iterator<Item = &'a Item>) -> vec::Vec<&'a str> {
    items.map(|item| item.name.as_str()).collect()
}

#[test]
fn an_image_is_what_its_manifest_says() {
    let urls = ["http://mirror.example/vmlinuz"];
    let kernel = ArtifactDraft { urls: &urls, ..draft(Name::Kernel, "vmlinuz") };
    let dtb = draft(Name::Dtb("arm/board.dtb"), "dtbs/arm/board.dtb");
    let image = image(&[kernel, dtb], Some(MANIFEST));
    assert_eq!(image.digest, Digest::of(&image.document));
    assert_eq!(image.to_string(), "manifest 100 of stable arm64, version 2025.11.26");
    let key = SecretKey::from_seed(&[1; 32]).peer_id();
    assert_eq!(
        image.verified_line().to_string(),
        format!("verified stable arm64 version 2025.11.26 manifest 100 signed by {}", key.key_id())
    );
    let item = image.item("kernel").unwrap();
    assert_eq!(item.expected, Expected { size: 7, digest: Digest::of(b"vmlinuz") });
    let locations: vec::Vec<&str> = item.locations.iter().map(Url::as_str).collect();
    assert_eq!(locations, ["http://10.0.0.5:8080/stable/arm64/vmlinuz", urls[0]]);
    assert_eq!(image.item("dtbs/arm/board.dtb").map(|item| item.expected.size), Some(7));
    assert_eq!(image.item("initramfs"), None);
}

#[test]
fn the_command_line_is_compared_without_the_end_of_its_line() {
    let image = image(&[draft(Name::Kernel, "vmlinuz")], None);
    assert!(image.is_cmdline("console=ttyS0 dyndbg=\"file a\\b +p\"\n"));
    assert!(!image.is_cmdline("console=ttyS0"));
}

#[test]
fn a_selection_wants_what_it_names() {
    let image = image(
        &[
            draft(Name::Kernel, "vmlinuz"),
            draft(Name::Rootfs, "rootfs.sqfs"),
            draft(Name::Dtb("a.dtb"), "dtbs/a.dtb"),
            draft(Name::Dtb("b.dtb"), "dtbs/b.dtb"),
        ],
        None,
    );
    let wanted = |selection: &[Selection]| names(image.wanted(selection)).join(" ");
    assert_eq!(wanted(&[Selection::Kernel, Selection::Initramfs]), "kernel");
    assert_eq!(wanted(&[Selection::Dtbs]), "dtbs/a.dtb dtbs/b.dtb");
    assert_eq!(wanted(&[Selection::Rootfs, Selection::Rootfs]), "rootfs");
    assert_eq!(wanted(&[Selection::All]), "kernel rootfs dtbs/a.dtb dtbs/b.dtb");
    assert_eq!(wanted(&[]), "");
}

#[test]
fn every_selection_is_read_by_its_name() {
    for one in Selection::EVERY {
        assert_eq!(Selection::parse(one.name()), Some(one));
    }
    assert_eq!(Selection::parse("Kernel"), None);
}

#[test]
fn a_file_is_looked_for_by_its_path_and_by_its_role() {
    let image =
        image(&[draft(Name::Kernel, "vmlinuz"), draft(Name::Rootfs, "/shared/rootfs.sqfs")], None);
    let names = |name| image.item(name).unwrap().names().collect::<vec::Vec<_>>().join(" ");
    assert_eq!(names("kernel"), "vmlinuz kernel");
    assert_eq!(names("rootfs"), "rootfs", "a path from the root is not below a directory");
}

#[test]
fn a_path_that_no_url_has_room_for_leads_nowhere() {
    let long: &'static str = SEGMENT.repeat(12).leak();
    let long = long.strip_suffix('/').unwrap();
    let urls = ["http://mirror.example/vmlinuz"];
    let kernel = ArtifactDraft { urls: &urls, ..draft(Name::Kernel, long) };
    let image = image(&[kernel], Some(MANIFEST));
    let item = image.item("kernel").unwrap();
    assert_eq!((item.path.as_deref(), item.locations.len()), (None, 1));
    assert_eq!(item.names().collect::<vec::Vec<_>>(), ["kernel"]);
}
