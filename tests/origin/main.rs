//! The faults of the code base this project started from, one module each: what went wrong there is tried here.

mod o01_only_signed_octets_are_read;
mod o02_one_digest_parser;
mod o03_the_signed_octets_are_kept;
mod o04_one_manifest_schema;
mod o05_one_record_shape;
mod o06_the_best_record_wins;
mod o07_architectures_have_one_name;
mod o08_rollback_is_checked_on_signed_fields;
mod o09_expiry_is_a_number;
mod o10_weak_keys_sign_nothing;
mod o11_signatures_have_a_domain;
mod o13_no_canonical_json;

use phase_core::identity::{PeerId, SecretKey};
use phase_core::limits::{MANIFEST_BUFFER, MANIFEST_WORK};
use phase_core::machine::Network;
use phase_core::select::{Carrier, ClockFloor, Context, Memory, SeqMemory, Stale};
use phase_core::time::UnixTime;
use phase_core::wire::digest::Digest;
use phase_core::wire::manifest::{
    ArtifactDraft, Draft, Envelope, Error, Name, Policy, encode_document, verify,
};
use phase_core::wire::record::{Advert, Arch, Channel, SignedAdvert, Version};
use phase_core::wire::trust::Trust;
use phase_core::wire::url::Url;

const NOW: UnixTime = UnixTime(1_764_158_400);

const KERNEL: ArtifactDraft<'static> = ArtifactDraft {
    name: Name::Kernel,
    digest: Digest::from_octets([1; 32]),
    size: 9_437_184,
    path: Some("vmlinuz"),
    urls: &[],
};

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn peer(n: u8) -> PeerId {
    key(n).peer_id()
}

fn stable() -> Channel {
    Channel::new("stable").unwrap()
}

fn arm64() -> Arch {
    Arch::new("arm64").unwrap()
}

/// A store that trusts one release key.
fn release(n: u8) -> Trust {
    Trust::decode(format!("release {}\n", peer(n).key_id()).as_bytes()).unwrap()
}

/// What varies between the manifests of these tests.
struct Say<'a> {
    manifest_version: u64,
    arch: &'a str,
    expires_at: UnixTime,
    artifacts: &'a [ArtifactDraft<'a>],
}

const SAY: Say<'static> = Say {
    manifest_version: 100,
    arch: "arm64",
    expires_at: UnixTime(NOW.0 + 86_400),
    artifacts: &[KERNEL],
};

/// A signed document.
fn document(signer: u8, say: &Say<'_>) -> String {
    let draft = Draft {
        manifest_version: say.manifest_version,
        channel: &stable(),
        arch: &Arch::new(say.arch).unwrap(),
        created_at: NOW,
        expires_at: say.expires_at,
        image_version: None,
        artifacts: say.artifacts,
        cmdline: None,
    };
    let mut buffer = vec![0; MANIFEST_BUFFER];
    let envelope = Envelope::encode(&draft, &mut buffer).unwrap();
    let mut out = vec![0; MANIFEST_WORK];
    let document = encode_document(&envelope, &[envelope.sign(&key(signer))], &mut out).unwrap();
    String::from_utf8(document.to_vec()).unwrap()
}

fn verified(
    document: &str,
    trust: &Trust,
    change: impl FnOnce(&mut Policy<'_>),
) -> Result<(), Error> {
    let (channel, arch) = (stable(), arm64());
    let mut policy = Policy {
        channel: &channel,
        arch: &arch,
        trust,
        floor: 0,
        now: NOW,
        digest: None,
        version: None,
        insecure: false,
    };
    change(&mut policy);
    verify(document.as_bytes(), &mut vec![0; MANIFEST_BUFFER], &policy).map(|_| ())
}

fn advert(n: u8) -> Advert {
    Advert {
        url: Url::parse("http://192.168.1.100:8080/stable/arm64/manifest.json").unwrap(),
        peer: peer(n),
        name: None,
        issued: NOW,
        version: Version::new("1").unwrap(),
        seq: 10,
        ttl: 3600,
        digest: None,
    }
}

fn signed(n: u8, advert: Advert) -> SignedAdvert {
    advert.sign(&key(n), &stable(), &arm64()).unwrap()
}

/// Calls `judge` with a context on 192.168.1.0/24.
fn with_context<T>(trust: &Trust, judge: impl FnOnce(&Context<'_>, &mut Memory) -> T) -> T {
    let (channel, arch) = (stable(), arm64());
    let networks = [Network { address: "192.168.1.7".parse().unwrap(), prefix_len: 24 }];
    let pins = trust.pins(&channel);
    let context = Context {
        channel: &channel,
        arch: &arch,
        pins: &pins,
        insecure: false,
        stale: Stale::Deny,
        carrier: Carrier::Lan { networks: &networks },
        allow_loopback: false,
    };
    let clock = ClockFloor::new(UnixTime(0), Some(NOW));
    judge(&context, &mut Memory { seq: SeqMemory::default(), clock })
}
