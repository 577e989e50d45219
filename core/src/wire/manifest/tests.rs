//! The manifest, from draft to verified, and everything in between that must fail.

use super::*;
use crate::identity::{PeerId, SecretKey};
use crate::limits::{MANIFEST_BUFFER, MANIFEST_MAX, MANIFEST_WORK};
use crate::wire::trust::Trust;
use std::string::{String, ToString as _};
use std::vec::Vec;
use std::{format, vec};

const NOW: UnixTime = UnixTime(1_764_158_400);
const DTB: ArtifactDraft<'static> = ArtifactDraft {
    name: Name::Dtb("broadcom/a.dtb"),
    digest: Digest::from_octets([3; 32]),
    size: 54_321,
    path: Some("dtbs/broadcom/a.dtb"),
    urls: &[],
};
const INITRAMFS: ArtifactDraft<'static> = ArtifactDraft {
    name: Name::Initramfs,
    digest: Digest::from_octets([2; 32]),
    size: 4_194_304,
    path: None,
    urls: &["http://mirror.example/initramfs.img"],
};
const KERNEL: ArtifactDraft<'static> = ArtifactDraft {
    name: Name::Kernel,
    digest: Digest::from_octets([1; 32]),
    size: 9_437_184,
    path: Some("vmlinuz"),
    urls: &[],
};

struct Image {
    channel: Channel,
    arch: Arch,
    version: Version,
}

impl Image {
    fn new() -> Self {
        Self {
            channel: Channel::new("stable").unwrap(),
            arch: Arch::new("arm64").unwrap(),
            version: Version::new("2025.11.26").unwrap(),
        }
    }

    fn draft(&self) -> Draft<'_> {
        Draft {
            manifest_version: 100,
            channel: &self.channel,
            arch: &self.arch,
            created_at: NOW,
            expires_at: NOW.plus(7_776_000),
            image_version: Some(&self.version),
            artifacts: &[DTB, INITRAMFS, KERNEL],
            cmdline: Some(r#"console=ttyS0 dyndbg="file a\b +p""#),
        }
    }

    fn policy<'a>(&'a self, trust: &'a Trust) -> Policy<'a> {
        Policy {
            channel: &self.channel,
            arch: &self.arch,
            trust,
            floor: 0,
            now: NOW,
            digest: None,
            version: None,
            insecure: false,
        }
    }
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn peer(n: u8) -> PeerId {
    key(n).peer_id()
}

/// A store with these release keys, and a threshold for `stable`.
fn trust(keys: &[u8], threshold: usize) -> Trust {
    let lines: String = keys.iter().map(|&n| format!("release {}\n", peer(n).key_id())).collect();
    Trust::decode(format!("{lines}threshold stable {threshold}\n").as_bytes()).unwrap()
}

fn document(draft: &Draft<'_>, signers: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0xa5; MANIFEST_BUFFER];
    let envelope = Envelope::encode(draft, &mut buffer).unwrap();
    let signatures: Vec<_> = signers.iter().map(|&n| envelope.sign(&key(n))).collect();
    let mut out = vec![0xa5; MANIFEST_WORK];
    encode_document(&envelope, &signatures, &mut out).unwrap().to_vec()
}

/// A document around inner octets that the encoder would not write, signed by key 1.
fn raw(inner: &str) -> Vec<u8> {
    let mut buffer = vec![0; MANIFEST_BUFFER];
    let envelope = Envelope::new(inner.as_bytes(), &mut buffer).unwrap();
    let signatures = [envelope.sign(&key(1))];
    let mut out = vec![0; MANIFEST_WORK];
    encode_document(&envelope, &signatures, &mut out).unwrap().to_vec()
}

fn inner(draft: &Draft<'_>) -> String {
    let mut buffer = vec![0; MANIFEST_BUFFER];
    let envelope = Envelope::encode(draft, &mut buffer).unwrap();
    String::from_utf8(envelope.inner().to_vec()).unwrap()
}

fn result(document: &[u8], policy: &Policy<'_>) -> Result<(), Error> {
    verify(document, &mut vec![0xa5; MANIFEST_BUFFER], policy).map(|_| ())
}

#[test]
fn what_was_drafted_is_what_is_verified() {
    let image = Image::new();
    let document = document(&image.draft(), &[1]);
    let trust = trust(&[1], 1);
    let mut buffer = vec![0; MANIFEST_BUFFER];
    let verified = verify(&document, &mut buffer, &image.policy(&trust)).unwrap();
    assert_eq!(verified.signed_by.as_slice(), [peer(1)]);
    assert_eq!(verified.digest, Digest::of(&document));
    let manifest = verified.manifest;
    assert_eq!(manifest.manifest_version, 100);
    assert_eq!((&manifest.channel, &manifest.arch), (&image.channel, &image.arch));
    assert_eq!((manifest.created_at, manifest.expires_at), (NOW, NOW.plus(7_776_000)));
    assert_eq!(manifest.image_version, Some(image.version));
    let line = manifest.cmdline.unwrap().to_string();
    assert_eq!(line, r#"console=ttyS0 dyndbg="file a\b +p""#);

    let names: Vec<String> = manifest.artifacts().map(|file| file.name.to_string()).collect();
    assert_eq!(names, ["kernel", "initramfs", "dtbs/broadcom/a.dtb"]);
    for name in &names {
        assert!(manifest.artifact(Name::parse(name).unwrap()).is_some());
    }
    let kernel = manifest.artifact(Name::Kernel).unwrap();
    assert_eq!((kernel.size, kernel.digest), (KERNEL.size, KERNEL.digest));
    let base = Url::parse("http://10.0.0.1:8080/stable/arm64/manifest.json").unwrap();
    let locations = |name| -> Vec<String> {
        let artifact = manifest.artifact(name).unwrap();
        artifact.locations(&base).map(|url| url.unwrap().to_string()).collect()
    };
    assert_eq!(locations(Name::Kernel), ["http://10.0.0.1:8080/stable/arm64/vmlinuz"]);
    assert_eq!(locations(Name::Initramfs), ["http://mirror.example/initramfs.img"]);
}

#[test]
fn a_threshold_counts_different_trusted_keys() {
    let image = Image::new();
    let two = trust(&[1, 2, 3], 2);
    let policy = image.policy(&two);
    let check = |signers: &[u8]| result(&document(&image.draft(), signers), &policy);
    assert_eq!(check(&[1, 2]), Ok(()));
    assert_eq!(check(&[9, 3, 8, 1]), Ok(()), "unknown keys do not harm");
    assert_eq!(check(&[1]), Err(Error::Threshold { signed: 1, needed: 2 }));
    assert_eq!(check(&[1, 1, 1]), Err(Error::Threshold { signed: 1, needed: 2 }));
    assert_eq!(check(&[1, 8, 9]), Err(Error::Threshold { signed: 1, needed: 2 }));
    assert_eq!(check(&[7, 8, 9]), Err(Error::Threshold { signed: 0, needed: 2 }));
    assert_eq!(check(&[]), Err(Error::Unsigned));
    assert_eq!(check(&[1, 2, 3, 4, 5, 6, 7, 8]), Ok(()));

    // A signature under another's name is wrong, not missing.
    let good = String::from_utf8(document(&image.draft(), &[1, 9])).unwrap();
    let claimed = good.replace(&peer(9).key_id().to_string(), &peer(2).key_id().to_string());
    assert_eq!(result(claimed.as_bytes(), &policy), Err(Error::Signature));
}

#[test]
fn keys_count_for_their_channels_and_single_key_mode_ends_with_a_release_key() {
    let image = Image::new();
    let document = document(&image.draft(), &[1]);
    let check = |file: &str| {
        let mut trust = Trust::default();
        trust.add_file(file.as_bytes()).unwrap();
        result(&document, &image.policy(&trust))
    };
    let (provider, release) = (peer(1).to_string(), peer(1).key_id().to_string());
    let other = peer(2).key_id().to_string();
    assert_eq!(check(""), Err(Error::NoTrust));
    assert_eq!(check(&format!("provider {provider}")), Ok(()));
    assert_eq!(check(&format!("provider {provider} channels=testing")), Err(Error::NoTrust));
    let both = format!("provider {provider}\nrelease {other}");
    assert_eq!(check(&both), Err(Error::Threshold { signed: 0, needed: 1 }));
    assert_eq!(check(&format!("release {release} channels=stable")), Ok(()));
    assert_eq!(check(&format!("release {release} channels=testing")), Err(Error::NoTrust));
    assert_eq!(
        check(&format!("release {release}\nmin-version stable 101")),
        Err(Error::Rollback { found: 100, floor: 101 })
    );
}

#[test]
fn only_the_signed_octets_are_used() {
    let image = Image::new();
    let trust = trust(&[1], 1);
    let policy = image.policy(&trust);
    let good = String::from_utf8(document(&image.draft(), &[1])).unwrap();
    assert_eq!(result(good.as_bytes(), &policy), Ok(()));
    for (from, to) in [
        ("\"manifest_version\":100", "\"manifest_version\":101"),
        ("\"channel\":\"stable\"", "\"channel\":\"testing\""),
        ("\"arch\":\"arm64\"", "\"arch\":\"aarch64\""),
        ("sha256:0101", "sha256:ff01"),
        ("9437184", "9437185"),
        ("vmlinuz", "evil"),
        ("mirror.example", "evil.example"),
        ("2025-11-26T", "2025-11-27T"),
        ("2025.11.26", "2025.11.27"),
        ("console=", "init=/x console="),
        ("\"version\":\"0.1\"", "\"version\":\"0.2\""),
        ("broadcom/a.dtb\":", "broadcom/b.dtb\":"),
        ("\"cmdline\"", "\"cmdlin\""),
        ("\"kernel\"", "\"kernal\""),
    ] {
        let lying = good.replacen(from, to, 1);
        assert_ne!(lying, good, "{from}");
        assert_eq!(result(lying.as_bytes(), &policy), Err(Error::Mirror), "{from}");
    }
    // An empty list beside none is another text than the signed one.
    let few = Draft { artifacts: &[KERNEL], ..image.draft() };
    let few = String::from_utf8(document(&few, &[1])).unwrap();
    for (from, to) in [
        ("\"path\":\"vmlinuz\"", "\"path\":\"vmlinuz\",\"urls\":[]"),
        ("\"artifacts\":{", "\"artifacts\":{\"dtbs\":{},"),
    ] {
        let lying = few.replacen(from, to, 1);
        assert_ne!(lying, few, "{from}");
        assert_eq!(result(lying.as_bytes(), &policy), Err(Error::Mirror), "{from}");
    }
    // Members nobody knows are nobody's business, white space neither.
    let more = good.replacen('{', "{\n  \"proof\": {\"log\": [1, {\"x\": null}]},", 1) + "\n";
    assert_eq!(result(more.as_bytes(), &policy), Ok(()));
}

#[test]
fn no_octet_of_the_signed_part_can_change() {
    let image = Image::new();
    let trust = trust(&[1], 1);
    let policy = image.policy(&trust);
    let mut buffer = vec![0; MANIFEST_BUFFER];
    let envelope = Envelope::encode(&image.draft(), &mut buffer).unwrap();
    let signature = envelope.sign(&key(1));
    let octets = envelope.inner().to_vec();
    for at in (0..octets.len()).step_by(7) {
        let mut changed = octets.clone();
        changed[at] ^= 1;
        if !changed.ends_with(b"}") {
            continue;
        }
        let mut buffer = vec![0; MANIFEST_BUFFER];
        let envelope = Envelope::new(&changed, &mut buffer).unwrap();
        let mut out = vec![0; MANIFEST_WORK];
        let document = encode_document(&envelope, &[signature], &mut out).unwrap();
        let found = result(document, &policy);
        assert!(matches!(found, Err(Error::Signature | Error::Json)), "{at}: {found:?}");
    }
}

#[test]
fn another_type_or_no_type_under_the_signature_is_wrong() {
    let image = Image::new();
    let trust = trust(&[1], 1);
    let mut buffer = vec![0; MANIFEST_BUFFER];
    let envelope = Envelope::encode(&image.draft(), &mut buffer).unwrap();
    let good = envelope.message().to_vec();
    assert!(good.starts_with(b"DSSEv1 43 application/vnd.phase.boot-manifest.v1+json "));
    let other_type = String::from_utf8(good).unwrap().replacen("v1+json", "v2+json", 1);
    for message in [other_type.as_bytes(), envelope.inner()] {
        let signature = KeySignature { key: peer(1), signature: key(1).sign(message) };
        let mut out = vec![0; MANIFEST_WORK];
        let document = encode_document(&envelope, &[signature], &mut out).unwrap();
        assert_eq!(result(document, &image.policy(&trust)), Err(Error::Signature));
    }
}

#[test]
fn checks_come_in_their_order() {
    let image = Image::new();
    let trust = trust(&[1], 1);
    let other = Channel::new("testing").unwrap();
    let x86 = Arch::new("x86_64").unwrap();
    let draft = image.draft();
    let check = |draft: &Draft<'_>| result(&document(draft, &[1]), &image.policy(&trust));
    assert_eq!(check(&Draft { channel: &other, arch: &x86, ..draft }), Err(Error::Channel));
    assert_eq!(check(&Draft { arch: &x86, manifest_version: 1, ..draft }), Err(Error::Arch));
    let alias = Arch::new("aarch64").unwrap();
    assert_eq!(check(&Draft { arch: &alias, ..draft }), Ok(()));
    let past = Draft { created_at: UnixTime(0), expires_at: UnixTime(NOW.0 - 1), ..draft };
    assert_eq!(check(&past), Err(Error::Expired));
    assert_eq!(check(&Draft { expires_at: NOW, ..draft }), Ok(()));

    let document = document(&draft, &[1]);
    let with = |policy: Policy<'_>| result(&document, &policy);
    let policy = image.policy(&trust);
    assert_eq!(with(Policy { floor: 100, ..policy }), Ok(()));
    let rollback = Err(Error::Rollback { found: 100, floor: 101 });
    assert_eq!(with(Policy { floor: 101, now: UnixTime(u64::MAX), ..policy }), rollback);
    assert_eq!(with(Policy { now: UnixTime(u64::MAX), ..policy }), Err(Error::Expired));
    let digest = Digest::of(&document);
    assert_eq!(with(Policy { digest: Some(&digest), ..policy }), Ok(()));
    let digest = Digest::of(b"other");
    assert_eq!(with(Policy { digest: Some(&digest), ..policy }), Err(Error::Digest));
    let version = Version::new("2025.11.27").unwrap();
    assert_eq!(with(Policy { version: Some(&version), ..policy }), Err(Error::Version));
    assert_eq!(with(Policy { version: Some(&image.version), ..policy }), Ok(()));
}

#[test]
fn signed_nonsense_is_refused_too() {
    let image = Image::new();
    let trust = trust(&[1], 1);
    let good = inner(&image.draft());
    let check = |from: &str, to: &str, expected: Error| {
        let changed = good.replace(from, to);
        assert_ne!(changed, good, "{from}");
        assert_eq!(result(&raw(&changed), &image.policy(&trust)), Err(expected), "{changed}");
    };
    check("\"0.1\"", "\"1.0\"", Error::Schema);
    check("\"version\":\"0.1\",", "", Error::Schema);
    check("_version\":100", "_version\":0", Error::Field("manifest_version"));
    check("_version\":100", "_version\":9007199254740992", Error::Field("manifest_version"));
    check("\"stable\"", "\"Stable\"", Error::Field("channel"));
    check("\"arm64\"", "\"arm-64\"", Error::Field("arch"));
    check("2025-11-26T12:00:00Z", "2025-11-26T12:00:00+00:00", Error::Field("created_at"));
    check("\"expires_at\"", "\"expires\"", Error::Field("expires_at"));
    check("\"2025.11.26\"", "\"2025/11/26\"", Error::Field("image_version"));
    check("2026-02-24", "2025-02-24", Error::Times);
    check("\"artifacts\"", "\"artefacts\"", Error::Field("artifacts"));
    check("\"kernel\"", "\"kernels\"", Error::NoKernel);
    check("sha256:0101", "sha512:0101", Error::Field("hash"));
    check("sha256:0101", "0101", Error::Field("hash"));
    check("sha256:0101", "sha256:01", Error::Field("hash"));
    check("\"size\":9437184,", "", Error::Field("size"));
    check("\"path\":\"vmlinuz\"", "\"paths\":\"vmlinuz\"", Error::Field("path"));
    check("9437184", "0", Error::Limit(Limit::Kernel));
    check("9437184", "134217729", Error::Limit(Limit::Kernel));
    check("4194304", "536870913", Error::Limit(Limit::Initramfs));
    check("54321", "1048577", Error::Limit(Limit::Dtb));
    check("9437184", "-1", Error::Json);
    check("9437184", "\"9437184\"", Error::Json);
    check("ttyS0", "tty\\u0000S0", Error::Field("cmdline"));
    check("ttyS0", "tty\\nS0", Error::Field("cmdline"));
    check("ttyS0", "tt\u{e9}S0", Error::Field("cmdline"));
    check("ttyS0", &"y".repeat(2048), Error::Field("cmdline"));
    // A member twice, and what only looks like a known member.
    check(
        "\"manifest_version\":100",
        "\"manifest_version\":100,\"manifest_version\":99",
        Error::Json,
    );
    check("\"kernel\":", "\"kernel\":null,\"kernel\":", Error::Json);
    check("\"channel\"", "\"ch\\u0061nnel\"", Error::Json);
}

#[test]
fn signed_paths_do_not_leave_their_place() {
    let image = Image::new();
    let trust = trust(&[1], 1);
    let good = inner(&image.draft());
    let check = |from: &str, to: &str| {
        let changed = good.replace(from, to);
        assert_ne!(changed, good, "{from}");
        assert_eq!(result(&raw(&changed), &image.policy(&trust)), Err(Error::Path), "{changed}");
    };
    for path in [
        "../vmlinuz",
        "//evil/x",
        "http://evil/x",
        "a//b",
        "a/./b",
        "",
        "/",
        "a\\\\b",
        "%2e%2e/x",
        "a b",
        "a?b",
        "a#b",
        "/../etc",
        "a/..",
    ] {
        check("\"vmlinuz\"", &format!("\"{path}\""));
    }
    for name in ["../a.dtb", "/a.dtb", ".a", "a/.b", "a//b", "", "a/", "a b"] {
        check("\"broadcom/a.dtb\":", &format!("\"{name}\":"));
    }
    for url in ["ftp://m/i", "http://m\\\\/i", "http://m/../i", "http://a@m/i", "i", ""] {
        check("http://mirror.example/initramfs.img", url);
    }
}

#[test]
fn bounds_are_errors_and_never_cut_anything_off() {
    let image = Image::new();
    let trust = trust(&[1], 1);
    let policy = image.policy(&trust);
    let good = inner(&image.draft());
    let many_urls = |n: usize| {
        let urls: Vec<_> = (0..n).map(|i| format!("\"http://m/{i}\"")).collect();
        let changed = good.replace("\"http://mirror.example/initramfs.img\"", &urls.join(","));
        result(&raw(&changed), &policy)
    };
    assert_eq!((many_urls(4), many_urls(5)), (Ok(()), Err(Error::Limit(Limit::Urls))));
    assert_eq!(many_urls(500), Err(Error::Limit(Limit::Urls)));
    let many_dtbs = |n: usize| {
        let file = good.split_once("\"broadcom/a.dtb\":").unwrap().1.split_once('}').unwrap().0;
        let dtbs: Vec<_> = (0..n).map(|i| format!("\"{i}.dtb\":{file}}}")).collect();
        let changed = good.replace(&format!("\"broadcom/a.dtb\":{file}}}"), &dtbs.join(","));
        result(&raw(&changed), &policy)
    };
    assert_eq!((many_dtbs(14), many_dtbs(15)), (Ok(()), Err(Error::Limit(Limit::Artifacts))));
    assert_eq!(many_dtbs(100), Err(Error::Limit(Limit::Artifacts)));

    let one = String::from_utf8(document(&image.draft(), &[1])).unwrap();
    let (before, after) = one.split_once("\"signatures\":[").unwrap();
    let nine = format!("{before}\"signatures\":[{}{after}", "{\"sig\":\"\"},".repeat(8));
    assert_eq!(result(nine.as_bytes(), &policy), Err(Error::Limit(Limit::Signatures)));
    let eight = format!("{before}\"signatures\":[{}{after}", "{\"sig\":\"\"},".repeat(7));
    assert_eq!(result(eight.as_bytes(), &policy), Ok(()));

    assert_eq!(result(b"", &policy), Err(Error::Size));
    let long = one.clone() + &" ".repeat(MANIFEST_MAX - one.len());
    assert_eq!(result(long.as_bytes(), &policy), Ok(()));
    assert_eq!(result((long + " ").as_bytes(), &policy), Err(Error::Size));
    let deep = one.replacen('{', &format!("{{\"x\":{}{},", "[".repeat(9000), "]".repeat(9000)), 1);
    assert_eq!(result(deep.as_bytes(), &policy), Err(Error::Json));
    assert_eq!(verify(one.as_bytes(), &mut [0; 100], &policy), Err(Error::Size));
    assert_eq!(verify(one.as_bytes(), &mut [], &policy), Err(Error::Size));
    let unsigned = one.split_once(",\"signatures\"").unwrap().0.to_string() + "}";
    assert_eq!(result(unsigned.as_bytes(), &policy), Err(Error::Unsigned));
    let bad = one.replace("\"data\":\"", "\"data\":\"=");
    assert_eq!(result(bad.as_bytes(), &policy), Err(Error::Field("signed")));
}

#[test]
fn insecure_skips_the_signature_and_nothing_else() {
    let image = Image::new();
    let trust = Trust::default();
    let policy = Policy { insecure: true, ..image.policy(&trust) };
    let signed = document(&image.draft(), &[1]);
    assert_eq!(result(&signed, &policy), Ok(()));
    let bare = inner(&image.draft());
    assert_eq!(result(bare.as_bytes(), &policy), Ok(()));
    let lying = String::from_utf8(signed).unwrap().replacen("vmlinuz", "evil", 1);
    assert_eq!(result(lying.as_bytes(), &policy), Err(Error::Mirror));
    assert_eq!(
        result(bare.replace("9437184", "0").as_bytes(), &policy),
        Err(Error::Limit(Limit::Kernel))
    );
    let expected = Err(Error::Rollback { found: 100, floor: 101 });
    assert_eq!(result(bare.as_bytes(), &Policy { floor: 101, ..policy }), expected);
}

#[test]
fn a_draft_that_would_not_verify_is_not_encoded() {
    let image = Image::new();
    let encode =
        |draft: &Draft<'_>| Envelope::encode(draft, &mut vec![0; MANIFEST_BUFFER]).map(|_| ());
    let draft = image.draft();
    assert_eq!(encode(&draft), Ok(()));
    assert_eq!(encode(&Draft { artifacts: &[], ..draft }), Err(Error::NoKernel));
    let twice = [KERNEL, KERNEL];
    assert_eq!(encode(&Draft { artifacts: &twice, ..draft }), Err(Error::Field("artifacts")));
    assert_eq!(encode(&Draft { artifacts: &[KERNEL, DTB, DTB], ..draft }), Err(Error::Json));
    assert_eq!(
        encode(&Draft { artifacts: &[KERNEL; 17], ..draft }),
        Err(Error::Limit(Limit::Artifacts))
    );
    let nowhere = [ArtifactDraft { path: None, ..KERNEL }];
    assert_eq!(encode(&Draft { artifacts: &nowhere, ..draft }), Err(Error::Field("path")));
    let escape = [ArtifactDraft { path: Some("../x"), ..KERNEL }];
    assert_eq!(encode(&Draft { artifacts: &escape, ..draft }), Err(Error::Path));
    let urls = [ArtifactDraft { urls: &["http://m/1"; 5], ..KERNEL }];
    assert_eq!(encode(&Draft { artifacts: &urls, ..draft }), Err(Error::Limit(Limit::Urls)));
    assert_eq!(encode(&Draft { expires_at: UnixTime(0), ..draft }), Err(Error::Times));
    let late = UnixTime(u64::MAX);
    assert_eq!(encode(&Draft { expires_at: late, ..draft }), Err(Error::Field("expires_at")));
    let zero = Draft { manifest_version: 0, ..draft };
    assert_eq!(encode(&zero), Err(Error::Field("manifest_version")));
    let control = Draft { cmdline: Some("a\nb"), ..draft };
    assert_eq!(encode(&control), Err(Error::Field("cmdline")));
    assert_eq!(Envelope::encode(&draft, &mut [0; 99]).map(|_| ()), Err(Error::Size));
}

#[test]
fn a_document_is_signed_once_more_without_changing_what_is_signed() {
    let image = Image::new();
    let first = document(&image.draft(), &[1]);
    let mut buffer = vec![0; MANIFEST_BUFFER];
    let (envelope, mut signatures) = read_document(&first, &mut buffer).unwrap();
    assert_eq!(signatures.len(), 1);
    signatures.push(envelope.sign(&key(2))).unwrap();
    let mut out = vec![0; MANIFEST_WORK];
    let second = encode_document(&envelope, &signatures, &mut out).unwrap();
    assert_eq!(second, document(&image.draft(), &[1, 2]));
    assert_eq!(result(second, &image.policy(&trust(&[1, 2], 2))), Ok(()));
}

#[test]
fn the_largest_manifest_fits_its_buffers() {
    let image = Image::new();
    let path = "p".repeat(160);
    let url = format!("http://h/{}", "u".repeat(183));
    let urls = [url.as_str(); 4];
    let names: Vec<String> = (0..15).map(|n| format!("{n}{}", "d".repeat(126))).collect();
    let mut artifacts = vec![ArtifactDraft { path: Some(&path), urls: &urls, ..KERNEL }];
    artifacts.extend(names.iter().map(|name| ArtifactDraft {
        name: Name::Dtb(name),
        path: Some(&path),
        urls: &urls,
        ..DTB
    }));
    let cmdline = "c".repeat(2048);
    let draft = Draft { artifacts: &artifacts, cmdline: Some(&cmdline), ..image.draft() };
    let document = document(&draft, &[1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(result(&document, &image.policy(&trust(&[8], 1))), Ok(()));
}

#[test]
fn every_error_has_a_code_and_a_sentence() {
    for error in [
        Error::Size,
        Error::Json,
        Error::NoTrust,
        Error::Unsigned,
        Error::Field("size"),
        Error::Limit(Limit::Kernel),
        Error::Signature,
        Error::Threshold { signed: 1, needed: 2 },
        Error::Schema,
        Error::Mirror,
        Error::Channel,
        Error::Arch,
        Error::Rollback { found: 1, floor: 2 },
        Error::Times,
        Error::Expired,
        Error::NoKernel,
        Error::Path,
        Error::Digest,
        Error::Version,
    ] {
        let shown = error.to_string();
        assert!(shown.strip_prefix(error.code()).is_some_and(|rest| rest.len() > 10), "{shown}");
    }
}
