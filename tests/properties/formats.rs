//! Properties of the project's own formats: generated adverts and manifests come back, and near misses of the
//! fuzz corpora break no law.

use std::fs;
use std::path::Path;

use phase_core::identity::SecretKey;
use phase_core::limits::{
    ADVERT_JSON_EMIT_MAX, ADVERT_TXT_MAX, MANIFEST_BUFFER, MANIFEST_WORK, TRANSMIT_MAX,
};
use phase_core::rng::Rng;
use phase_core::time::UnixTime;
use phase_core::wire::digest::Digest;
use phase_core::wire::manifest::{
    ArtifactDraft, Draft, Envelope, Name, Policy, encode_document, verify,
};
use phase_core::wire::record::{
    Advert, Arch, Channel, ProviderName, SEQ_MAX, SignedAdvert, TTL_MAX, TTL_MIN, Version,
    txt_strings,
};
use phase_core::wire::trust::Trust;
use phase_core::wire::unix_time;
use phase_core::wire::url::Url;
use phase_tests::fuzz_bodies::TARGETS;

use super::{below, rng};

fn text(rng: &mut Rng, charset: &str, longest: usize) -> String {
    let charset: Vec<char> = charset.chars().collect();
    (0..=below(rng, longest)).map(|_| charset[below(rng, charset.len())]).collect()
}

fn octets(rng: &mut Rng) -> [u8; 32] {
    std::array::from_fn(|_| u8::try_from(below(rng, 256)).expect("an octet"))
}

const VERSION: &str = "abzABZ019._+~-";
const PATH: &str = "abzABZ019._~+-";

fn url(rng: &mut Rng) -> Url {
    let hosts = ["10.0.0.1", "[fe80::1]", "[2001:db8::7]", "mac.local", "boot.example"];
    let ports = ["", ":1", ":8080", ":65535"];
    let host = hosts[below(rng, hosts.len())];
    let port = ports[below(rng, ports.len())];
    let path = format!("x{}/y{}", text(rng, PATH, 40), text(rng, PATH, 40));
    Url::parse(&format!("http://{host}{port}/{path}/manifest.json")).expect("inside the grammar")
}

fn advert(rng: &mut Rng, key: &SecretKey) -> Advert {
    let span = usize::try_from(TTL_MAX - TTL_MIN).expect("32 bits") + 1;
    Advert {
        url: url(rng),
        peer: key.peer_id(),
        name: (below(rng, 2) == 0)
            .then(|| ProviderName::new(&format!("n{}", text(rng, "aZ09-_.$'ß", 18))).unwrap()),
        issued: UnixTime(rng.u64() % (unix_time::MAX.0 + 1)),
        version: Version::new(&text(rng, VERSION, 32)).unwrap(),
        seq: 1 + rng.u64() % SEQ_MAX,
        ttl: TTL_MIN + u32::try_from(below(rng, span)).unwrap(),
        digest: (below(rng, 2) == 0).then(|| Digest::from_octets(octets(rng))),
    }
}

#[test]
fn every_advert_comes_back_from_both_texts() {
    let mut rng = rng("adverts");
    for case in 0..500 {
        let key = SecretKey::from_seed(&octets(&mut rng));
        let channel = Channel::new(&format!("c{}", text(&mut rng, "az09._-", 31))).unwrap();
        let arch = Arch::new(&text(&mut rng, "az09_", 16)).unwrap();
        let advert = advert(&mut rng, &key);
        let signed = advert.clone().sign(&key, &channel, &arch).unwrap();
        let mut json = [0xa5; ADVERT_JSON_EMIT_MAX];
        let json = signed.encode_json(&mut json).unwrap();
        let mut txt = [0xa5; ADVERT_TXT_MAX];
        let txt = signed.encode_txt(&channel, &arch, &mut txt).unwrap();
        assert!(txt.len() < TRANSMIT_MAX / 2, "two fit one datagram");
        for read in [SignedAdvert::decode_json(json), SignedAdvert::decode_txt(txt_strings(txt))] {
            let read = read.unwrap();
            assert_eq!(read.advert(), &advert, "case {case}");
            assert_eq!(read.verify(&channel, &arch), Ok(()), "case {case}");
        }
    }
}

#[test]
fn every_manifest_comes_back_as_it_was_drafted() {
    let mut rng = rng("manifests");
    for case in 0..100 {
        let key = SecretKey::from_seed(&octets(&mut rng));
        let channel = Channel::new("stable").unwrap();
        let arch = Arch::new("arm64").unwrap();
        let path = format!("p{}", text(&mut rng, PATH, 60));
        let count = below(&mut rng, 14);
        let names: Vec<_> =
            (0..count).map(|n| format!("{n}-{}.dtb", text(&mut rng, PATH, 20))).collect();
        let file = |name, size, rng: &mut Rng| ArtifactDraft {
            name,
            digest: Digest::from_octets(octets(rng)),
            size,
            path: Some(&path),
            urls: &[],
        };
        let mut artifacts = vec![file(Name::Kernel, 1 + rng.u64() % (128 << 20), &mut rng)];
        for name in &names {
            artifacts.push(file(Name::Dtb(name), 1 + rng.u64() % (1 << 20), &mut rng));
        }
        let cmdline = text(&mut rng, "abc =\"\\,./'`$", 80);
        let draft = Draft {
            manifest_version: 1 + rng.u64() % SEQ_MAX,
            channel: &channel,
            arch: &arch,
            created_at: UnixTime(rng.u64() % 1_000_000_000),
            expires_at: UnixTime(1_000_000_000 + rng.u64() % 1_000_000_000),
            image_version: None,
            artifacts: &artifacts,
            cmdline: Some(&cmdline),
        };
        let mut buffer = vec![0xa5; MANIFEST_BUFFER];
        let envelope = Envelope::encode(&draft, &mut buffer).unwrap();
        let mut out = vec![0xa5; MANIFEST_WORK];
        let document = encode_document(&envelope, &[envelope.sign(&key)], &mut out).unwrap();

        let mut trust = Trust::default();
        trust.add_word(&key.peer_id().to_string()).unwrap();
        let policy = Policy {
            channel: &channel,
            arch: &arch,
            trust: &trust,
            floor: 0,
            now: UnixTime(0),
            digest: None,
            version: None,
            insecure: false,
        };
        let mut buffer = vec![0xa5; MANIFEST_BUFFER];
        let read = verify(document, &mut buffer, &policy).unwrap().manifest;
        assert_eq!(read.manifest_version, draft.manifest_version, "case {case}");
        assert_eq!((read.created_at, read.expires_at), (draft.created_at, draft.expires_at));
        assert_eq!(read.cmdline.unwrap().to_string(), cmdline, "case {case}");
        assert_eq!(read.artifacts().count(), artifacts.len());
        for artifact in &artifacts {
            let found = read.artifact(artifact.name).expect("every artifact");
            assert_eq!((found.size, found.digest), (artifact.size, artifact.digest));
        }
    }
}

#[test]
fn sampled_seconds_up_to_2200_have_one_text() {
    let mut rng = rng("seconds");
    for _ in 0..200_000 {
        let time = UnixTime(rng.u64() % 7_258_118_400);
        let text = unix_time::encode(time).unwrap();
        assert_eq!(unix_time::decode(text.as_bytes()), Ok(time), "{text}");
    }
}

#[test]
fn near_misses_of_the_corpora_break_no_law() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (target, body) in TARGETS {
        let mut rng = rng(target);
        let entries = fs::read_dir(corpora.join(target)).expect("the corpus");
        let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        let inputs: Vec<_> = files.iter().map(|file| fs::read(file).expect("a file")).collect();
        for _ in 0..1000 {
            let mut input = inputs[below(&mut rng, inputs.len())].clone();
            for _ in 0..=below(&mut rng, 3) {
                let at = below(&mut rng, input.len().max(1));
                let octet = u8::try_from(below(&mut rng, 256)).expect("an octet");
                match below(&mut rng, 4) {
                    0 => input.insert(at.min(input.len()), octet),
                    1 if !input.is_empty() => drop(input.remove(at)),
                    2 => input.truncate(at),
                    _ => {
                        if let Some(place) = input.get_mut(at) {
                            *place = octet;
                        }
                    }
                }
            }
            body(&input);
        }
    }
}
