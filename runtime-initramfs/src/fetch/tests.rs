//! Whole fetches over real connections, from servers that misbehave.

use std::fs;
use std::path::Path;

use phase_core::exit::Exit;
use phase_core::identity::SecretKey;
use phase_core::time::UnixTime;
use phase_core::wire::manifest::Error as Refused;
use phase_core::wire::trust::Trust;

use super::output::Output;
use super::*;
use crate::testing::Loopback;
use crate::testing::sample::{INITRAMFS, KERNEL, MANIFEST, Sample, provider};
use crate::testing::server::{Answer, Server};

const WHOLE: [&str; 6] =
    ["cmdline", "dtbs/arm/board.dtb", "dtbs/arm/twin.dtb", "initramfs", "kernel", "manifest.json"];

/// Tries the servers in turn; what came, or why it did not come from the last of them.
struct Trial {
    request: Request,
    dial: Loopback,
}

impl Trial {
    fn of(sample: &Sample) -> Self {
        Self { request: sample.request(), dial: Loopback::default() }
    }

    fn fetch(&self, shelf: Shelf) -> Fetch<'_> {
        Fetch::new(&self.dial, &self.request, Console::of_process().quiet(true), shelf)
    }

    /// Fetches the kernel into memory.
    fn kernel(&self, servers: &[&Server]) -> Result<Vec<u8>, Box<Error>> {
        let mut fetch = self.fetch(Shelf::in_memory());
        let mut last = None;
        for server in servers {
            match one(&mut fetch, server, &[Selection::Kernel]) {
                Ok(image) => return fetch.shelf().take(image.item("kernel").unwrap()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap())
    }

    /// Makes `directory` the image of a server.
    fn directory(&self, directory: &Path, server: &Server) -> Result<(), Box<Error>> {
        let mut fetch = self.fetch(Shelf::in_directory(Output::open(directory)?));
        let image = one(&mut fetch, server, &[Selection::All])?;
        let items = wanted(&image, &[Selection::All]);
        fetch.shelf().commit(&image, &items)
    }
}

fn one(
    fetch: &mut Fetch<'_>,
    server: &Server,
    selection: &[Selection],
) -> Result<Box<Image>, Box<Error>> {
    let provider = provider(server);
    let image = fetch.image(&provider)?;
    fetch.artifacts(&provider, &wanted(&image, selection))?;
    Ok(image)
}

/// What was asked for at a path.
fn asked(server: &Server, path: &str) -> Vec<String> {
    let ours = |line: &String| line.starts_with(path);
    server.take_log().into_iter().filter(ours).map(|line| line[path.len() + 1..].into()).collect()
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<String> {
    let (mut names, mut open) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                open.push(entry.path());
            } else {
                names.push(entry.path().strip_prefix(directory).unwrap().display().to_string());
            }
        }
    }
    names.sort();
    names
}

/// The files that have their names: what is hidden is not part of an image.
fn visible(directory: &Path) -> Vec<String> {
    files(directory).into_iter().filter(|name| !name.starts_with('.')).collect()
}

#[test]
fn a_kernel_comes_into_memory_once_and_verified() {
    let sample = Sample::new();
    let server = sample.serve();
    let kernel = Trial::of(&sample).kernel(&[&server]).unwrap();
    assert_eq!(kernel, sample.kernel);
    assert_eq!(kernel.capacity(), sample.kernel.len());
    assert_eq!(server.take_log(), [format!("{MANIFEST} - -"), format!("{KERNEL} - -")]);
}

#[test]
fn a_directory_becomes_the_image() {
    let (sample, root) = (Sample::new(), tempfile::tempdir().unwrap());
    let server = sample.serve();
    let directory = root.path().join("made/on/demand");
    Trial::of(&sample).directory(&directory, &server).unwrap();
    assert_eq!(files(&directory), WHOLE);
    assert_eq!(fs::read(directory.join("kernel")).unwrap(), sample.kernel);
    assert_eq!(fs::read(directory.join("manifest.json")).unwrap(), sample.manifest());
    assert_eq!(fs::read(directory.join("dtbs/arm/twin.dtb")).unwrap(), b"dtb");
    assert_eq!(fs::read_to_string(directory.join("cmdline")).unwrap(), "console=ttyAMA0 quiet");
    let log = server.take_log();
    assert_eq!(log.iter().filter(|line| line.contains(".dtb")).count(), 1, "{log:?}");

    Trial::of(&sample).directory(&directory, &server).unwrap();
    assert_eq!(server.take_log(), [format!("{MANIFEST} - -")], "the rest is here already");
    assert_eq!(files(&directory), WHOLE);
}

#[test]
fn another_image_replaces_the_first_without_mixing() {
    let (mut sample, root) = (Sample::new(), tempfile::tempdir().unwrap());
    Trial::of(&sample).directory(root.path(), &sample.serve()).unwrap();
    fs::write(root.path().join("rootfs"), b"of an image that had one").unwrap();
    fs::write(root.path().join("dtbs/other.dtb"), b"of another").unwrap();
    fs::write(root.path().join("notes.txt"), b"mine").unwrap();
    sample.kernel[0] ^= 1;
    Trial::of(&sample).directory(root.path(), &sample.serve()).unwrap();
    let mut want: Vec<_> = WHOLE.to_vec();
    want.push("notes.txt");
    assert_eq!(files(root.path()), want);
    assert_eq!(fs::read(root.path().join("kernel")).unwrap(), sample.kernel);
}

#[test]
fn a_failed_update_keeps_the_old_image() {
    let (mut sample, root) = (Sample::new(), tempfile::tempdir().unwrap());
    Trial::of(&sample).directory(root.path(), &sample.serve()).unwrap();
    let old = sample.manifest();
    sample.initramfs[0] ^= 1;
    let server = sample.serve();
    server.put(KERNEL, Answer::Whole(sample.kernel.clone()));
    server.put(INITRAMFS, Answer::Whole(vec![7; 4096]));
    let error = Trial::of(&sample).directory(root.path(), &server).unwrap_err();
    assert_eq!(error.exit(), Exit::VerificationFailed, "{error}");
    assert_eq!(visible(root.path()), WHOLE);
    assert_eq!(fs::read(root.path().join("manifest.json")).unwrap(), old);
    assert_eq!(fs::read(root.path().join("initramfs")).unwrap(), [7; 4096]);
}

#[test]
fn a_directory_in_use_is_not_written() {
    let (sample, root) = (Sample::new(), tempfile::tempdir().unwrap());
    let _first = Output::open(root.path()).unwrap();
    let error = Trial::of(&sample).directory(root.path(), &sample.serve()).unwrap_err();
    assert!(error.to_string().contains("is in use by another fetch"), "{error}");
    assert!(!error.is_of_provider());
}

#[test]
fn a_failed_commit_leaves_no_manifest() {
    let (sample, root) = (Sample::new(), tempfile::tempdir().unwrap());
    // A directory where the kernel should go.
    fs::create_dir_all(root.path().join("kernel/x")).unwrap();
    fs::write(root.path().join("manifest.json"), b"{}").unwrap();
    let error = Trial::of(&sample).directory(root.path(), &sample.serve()).unwrap_err();
    assert!(error.to_string().contains("kernel: "), "{error}");
    assert!(!root.path().join("manifest.json").exists());
}

#[test]
fn a_broken_connection_is_resumed_by_range() {
    let sample = Sample::new();
    let server = sample.serve();
    let broken = |after| Answer::Break(sample.kernel.clone(), after);
    let whole = Answer::Whole(sample.kernel.clone());
    server.put_in_turn(KERNEL, vec![broken(500_000), broken(100_000), whole]);
    assert_eq!(Trial::of(&sample).kernel(&[&server]).unwrap(), sample.kernel);
    let ranges = ["- -", "bytes=500000- \"one\"", "bytes=600000- \"one\""];
    assert_eq!(asked(&server, KERNEL), ranges);
}

#[test]
fn a_server_without_ranges_begins_again() {
    let sample = Sample::new();
    let server = sample.serve();
    let broken = Answer::Break(sample.kernel.clone(), 500_000);
    server.put_in_turn(KERNEL, vec![broken, Answer::NoRanges(sample.kernel.clone())]);
    assert_eq!(Trial::of(&sample).kernel(&[&server]).unwrap(), sample.kernel);
}

#[test]
fn a_file_that_changed_while_it_came_begins_again() {
    let sample = Sample::new();
    let server = sample.serve();
    let mut other = sample.kernel.clone();
    other[0] ^= 1;
    let broken = Answer::Break(other, 500_000);
    server.put_in_turn(KERNEL, vec![broken, Answer::Changed(sample.kernel.clone())]);
    assert_eq!(Trial::of(&sample).kernel(&[&server]).unwrap(), sample.kernel);
    assert_eq!(asked(&server, KERNEL), ["- -", "bytes=500000- \"one\""]);
}

#[test]
fn a_server_that_is_busy_is_asked_once_more() {
    let sample = Sample::new();
    let server = sample.serve();
    let whole = Answer::Whole(sample.kernel.clone());
    server.put_in_turn(KERNEL, vec![Answer::Status(503), whole]);
    assert_eq!(Trial::of(&sample).kernel(&[&server]).unwrap(), sample.kernel);
    server.put(KERNEL, Answer::Status(503));
    let error = Trial::of(&sample).kernel(&[&server]).unwrap_err();
    assert!(error.to_string().ends_with("answered 503"), "{error}");
    assert_eq!(asked(&server, KERNEL).len(), 2 + 2);
    server.put(KERNEL, Answer::Status(404));
    let error = Trial::of(&sample).kernel(&[&server]).unwrap_err();
    assert_eq!(error.exit(), Exit::FetchFailed);
    assert_eq!(asked(&server, KERNEL).len(), 1, "what is not there does not come by asking again");
}

#[test]
fn what_one_provider_began_another_finishes_in_memory() {
    let sample = Sample::new();
    let (dying, healthy) = (sample.serve(), sample.serve());
    let broken = Answer::Break(sample.kernel.clone(), 700_000);
    dying.put_in_turn(KERNEL, vec![broken, Answer::Raw(Vec::new())]);
    assert_eq!(Trial::of(&sample).kernel(&[&dying, &healthy]).unwrap(), sample.kernel);
    // Another server's ETag says nothing.
    assert_eq!(asked(&healthy, KERNEL), ["bytes=700000- -"]);
}

#[test]
fn what_one_run_began_the_next_finishes_in_a_directory() {
    let (sample, root) = (Sample::new(), tempfile::tempdir().unwrap());
    let (dying, healthy) = (sample.serve(), sample.serve());
    let broken = Answer::Break(sample.kernel.clone(), 700_000);
    dying.put_in_turn(KERNEL, vec![broken, Answer::Raw(Vec::new())]);
    let error = Trial::of(&sample).directory(root.path(), &dying).unwrap_err();
    assert!(error.is_of_provider(), "{error}");
    assert!(error.to_string().starts_with("kernel from http://127.0.0.1:"), "{error}");
    assert_eq!(visible(root.path()), [""; 0]);
    Trial::of(&sample).directory(root.path(), &healthy).unwrap();
    assert_eq!(asked(&healthy, KERNEL), ["bytes=700000- -"]);
    assert_eq!(files(root.path()), WHOLE);
}

#[test]
fn octets_of_a_liar_are_not_held_against_who_continued_them() {
    let sample = Sample::new();
    let (liar, honest) = (sample.serve(), sample.serve());
    let broken = Answer::Break(vec![0; sample.kernel.len()], 700_000);
    liar.put_in_turn(KERNEL, vec![broken, Answer::Raw(Vec::new())]);
    assert_eq!(Trial::of(&sample).kernel(&[&liar, &honest]).unwrap(), sample.kernel);
    assert_eq!(asked(&honest, KERNEL), ["bytes=700000- -", "- -"]);
}

#[test]
fn a_wrong_file_is_refused_and_not_asked_for_again() {
    let sample = Sample::new();
    let (liar, honest) = (sample.serve(), sample.serve());
    let mut kernel = sample.kernel.clone();
    kernel[100_000] ^= 1;
    liar.put(KERNEL, Answer::Whole(kernel));
    let trial = Trial::of(&sample);
    let error = trial.kernel(&[&liar]).unwrap_err();
    assert!(error.to_string().contains("the manifest says sha256:"), "{error}");
    assert_eq!(error.exit(), Exit::VerificationFailed);
    liar.take_log();
    let error = trial.kernel(&[&liar, &liar]).unwrap_err();
    assert!(matches!(*error, Error::Lied { .. }), "{error}");
    assert_eq!(error.exit(), Exit::VerificationFailed);
    assert_eq!(asked(&liar, KERNEL).len(), 1);
    assert_eq!(trial.kernel(&[&liar, &honest]).unwrap(), sample.kernel);
}

#[test]
fn a_mirror_helps_where_the_provider_fails() {
    let (mut sample, mirror) = (Sample::new(), Server::start());
    mirror.put("/mirror/vmlinuz", Answer::Whole(sample.kernel.clone()));
    sample.kernel_urls = vec![mirror.url("/mirror/vmlinuz").to_string()];
    let server = sample.serve();
    for answer in [Answer::Status(404), Answer::Whole(vec![0; sample.kernel.len()])] {
        server.put(KERNEL, answer);
        assert_eq!(Trial::of(&sample).kernel(&[&server]).unwrap(), sample.kernel);
    }
}

#[test]
fn bodies_of_another_length_are_refused_before_they_come() {
    let sample = Sample::new();
    let server = sample.serve();
    let cases = [
        (
            Answer::Whole([&sample.kernel[..], b"more"].concat()),
            "it has 1200004 octets there, the manifest says 1200000",
        ),
        (
            Answer::Whole(sample.kernel[..1000].to_vec()),
            "it has 1000 octets there, the manifest says 1200000",
        ),
        (Answer::Endless, "the server does not say how long it is"),
        (
            Answer::Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec()),
            "the server does not say how long it is",
        ),
        (Answer::EndlessHead, "sent a head of more than 8192 octets"),
        (
            Answer::Raw(
                b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n".to_vec(),
            ),
            "redirects to http://169.254.169.254/; redirects are not followed",
        ),
    ];
    for (answer, says) in cases {
        server.put(KERNEL, answer);
        let error = Trial::of(&sample).kernel(&[&server]).unwrap_err();
        assert!(error.to_string().ends_with(says), "{error}");
        assert_eq!(error.exit(), Exit::FetchFailed);
        assert_eq!(asked(&server, KERNEL).len(), 1);
    }
}

#[test]
fn a_manifest_without_an_end_is_cut_off() {
    let sample = Sample::new();
    let server = sample.serve();
    server.put(MANIFEST, Answer::Endless);
    let error = Trial::of(&sample).kernel(&[&server]).unwrap_err();
    assert!(error.to_string().ends_with("sent more than the 65536 octets expected"), "{error}");
}

#[test]
fn a_manifest_in_chunks_is_read() {
    let sample = Sample::new();
    let server = sample.serve();
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in sample.manifest().chunks(100) {
        answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        answer.extend_from_slice(chunk);
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"0\r\n\r\n");
    server.put(MANIFEST, Answer::Raw(answer));
    assert_eq!(Trial::of(&sample).kernel(&[&server]).unwrap(), sample.kernel);
}

#[track_caller]
fn check_refused(sample: &Sample, server: &Server, reason: Refused, exit: Exit) {
    let mut trial = Trial::of(sample);
    trial.request.channel = "stable".parse().unwrap();
    let error = trial.kernel(&[server]).unwrap_err();
    assert_eq!(error.exit(), exit, "{error}");
    assert!(matches!(&*error, Error::Manifest { source, .. } if *source == reason), "{error}");
    assert_eq!(server.take_log(), [format!("{MANIFEST} - -")], "nothing else is asked for");
}

#[test]
fn o1_what_is_not_signed_is_not_used() {
    let sample = Sample::new();
    let server = sample.serve();
    let lie =
        String::from_utf8(sample.manifest()).unwrap().replacen("\"size\":4096", "\"size\":4097", 1);
    server.put(MANIFEST, Answer::Whole(lie.into_bytes()));
    check_refused(&sample, &server, Refused::Mirror, Exit::VerificationFailed);
    let mut forged = sample.manifest();
    let at = String::from_utf8_lossy(&forged).find("\"data\":\"").unwrap() + 60;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    server.put(MANIFEST, Answer::Whole(forged));
    check_refused(&sample, &server, Refused::Signature, Exit::VerificationFailed);
}

#[test]
fn an_expired_manifest_and_one_of_another_channel_are_refused() {
    let mut sample = Sample::new();
    sample.expires_at = UnixTime(1_764_158_400);
    let mut trial = Trial::of(&sample);
    trial.request.now = UnixTime(1_764_158_401);
    let error = trial.kernel(&[&sample.serve()]).unwrap_err();
    assert!(error.to_string().contains("E-EXPIRED"), "{error}");
    let other = Sample { channel: "testing", ..Sample::new() };
    check_refused(&other, &other.serve(), Refused::Channel, Exit::VerificationFailed);
}

#[test]
fn strangers_are_refused_and_without_trust_everybody_is() {
    let (sample, stranger) =
        (Sample::new(), Sample { key: SecretKey::from_seed(&[2; 32]), ..Sample::new() });
    let reason = Refused::Threshold { signed: 0, needed: 1 };
    check_refused(&sample, &stranger.serve(), reason, Exit::VerificationFailed);
    let mut trial = Trial::of(&sample);
    trial.request.trust = Trust::default();
    let error = trial.kernel(&[&sample.serve()]).unwrap_err();
    assert_eq!(error.exit(), Exit::Usage, "{error}");
    trial.request.insecure = true;
    trial.kernel(&[&stranger.serve()]).unwrap();
}

#[test]
fn a_manifest_other_than_the_advert_named_is_refused() {
    let sample = Sample::new();
    let server = sample.serve();
    let trial = Trial::of(&sample);
    let fetch = trial.fetch(Shelf::in_memory());
    let mut provider = provider(&server);
    provider.digest = Some(Digest::of(&sample.manifest()));
    fetch.image(&provider).unwrap();
    provider.digest = Some(Digest::of(b"another"));
    assert!(matches!(
        *fetch.image(&provider).unwrap_err(),
        Error::Manifest { source: Refused::Digest, .. }
    ));
}

#[test]
fn an_image_larger_than_memory_is_told_before_it_comes() {
    let sample = Sample::new();
    let server = sample.serve();
    let trial = Trial::of(&sample);
    let mut fetch = trial.fetch(Shelf::in_memory());
    let provider = provider(&server);
    let image = fetch.image(&provider).unwrap();
    let mut item = image.item("kernel").unwrap().clone();
    item.expected.size = 1 << 50;
    let error = fetch.artifacts(&provider, &[&item]).unwrap_err();
    assert!(matches!(*error, Error::Memory { want: 0x4_0000_0000_0000, .. }), "{error}");
    assert!(!error.is_of_provider());
    assert_eq!(asked(&server, KERNEL), [""; 0]);
}

#[test]
fn a_failed_verification_says_more_than_a_broken_connection() {
    let digest = Digest::of(b"");
    let url: Box<Url> = Box::new("http://10.0.0.1/stable/arm64/manifest.json".parse().unwrap());
    let content = Error::Content {
        name: "kernel".into(),
        url: url.clone(),
        source: part::Error::Flaw(Flaw::Digest { have: digest, want: digest }),
    };
    let nowhere = || Box::new(Error::Nowhere { url: url.clone(), name: "kernel".into() });
    let mut failures = Failures::default();
    assert!(failures.add(nowhere()));
    assert!(failures.add(Box::new(content)));
    assert!(failures.add(nowhere()));
    assert_eq!(failures.latest().map(Error::exit), Some(Exit::FetchFailed));
    assert_eq!(failures.into_worst().map(|error| error.exit()), Some(Exit::VerificationFailed));
    let mut failures = Failures::default();
    assert!(!failures.add(Box::new(Error::Memory { want: 2, have: 1 })), "no other provider helps");
    assert_eq!(failures.into_worst().map(|error| error.exit()), Some(Exit::FetchFailed));
    assert!(Failures::default().into_worst().is_none());
}

#[test]
fn names_lead_to_checked_addresses_alone() {
    let mut dial = Loopback::default();
    let url: Url = "http://boot.example:8080/stable/arm64/manifest.json".parse().unwrap();
    let reach = |known: &[&str]| Reach::Advert {
        interface: Some(7),
        networks: vec![phase_core::machine::Network {
            address: "10.0.0.1".parse().unwrap(),
            prefix_len: 24,
        }],
        pinned: false,
        known: known.iter().map(|ip| ip.parse().unwrap()).collect(),
    };
    let origins = |dial: &Loopback, reach: &Reach| {
        let origins = source::origins(dial, &url, reach, clock::now() + RESOLVE_MAX)?;
        Ok(origins.iter().map(|origin| origin.address.to_string()).collect::<Vec<_>>())
    };
    let unknown = source::Error::Resolve(dial::ResolveError::NoAddress);
    assert_eq!(origins(&dial, &reach(&[])), Err(unknown));
    for ip in ["127.0.0.1", "10.0.0.9", "169.254.169.254"] {
        dial.addresses.push(ip.parse().unwrap());
    }
    assert_eq!(origins(&dial, &reach(&[])).unwrap(), ["10.0.0.9:8080"]);
    assert_eq!(origins(&dial, &reach(&["fe80::1", "::1"])).unwrap(), ["[fe80::1%7]:8080"]);
    let error = origins(&dial, &reach(&["127.0.0.1"])).unwrap_err();
    assert!(matches!(error, source::Error::Policy(..)), "{error}");
    assert_eq!(origins(&dial, &Reach::Asked).unwrap().len(), 3);
    let https: Url = "https://10.0.0.9/stable/arm64/manifest.json".parse().unwrap();
    let error =
        source::origins(&dial, &https, &Reach::Asked, clock::now() + RESOLVE_MAX).unwrap_err();
    assert!(error.to_string().contains("publish an http URL"), "{error}");
}

#[test]
fn an_only_signer_is_known() {
    let mut request = Sample::new().request();
    assert!(request.has_only_signer());
    request.insecure = true;
    assert!(!request.has_only_signer());
    request.insecure = false;
    let other = SecretKey::from_seed(&[2; 32]).peer_id();
    request.trust.add_word(&other.to_string()).unwrap();
    assert!(!request.has_only_signer());
    request.trust = Trust::default();
    request.trust.add_word(&other.key_id().to_string()).unwrap();
    assert!(!request.has_only_signer(), "anybody may advertise what a release key signed");
}

#[test]
fn sizes_are_told_for_people() {
    let shown = |octets| Octets(octets).to_string();
    assert_eq!(shown(312), "312 B");
    assert_eq!(shown(1024), "1.0 KiB");
    assert_eq!(shown(1_200_000), "1.1 MiB");
    assert_eq!(shown(u64::MAX), "17179869183.9 GiB");
}
