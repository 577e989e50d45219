//! Fetching and verifying over the boot client's own network, from a real provider.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use phase_tests::deadline::{self, GENEROUS};
use phase_tests::netns::Namespace;
use phase_tests::process::Stream;
use serde_json::Value;

use crate::lab::{LEASES, Lab, only_line, peer_id, provider};

const KERNEL_LEN: usize = 6_000_000;
const WHOLE: [&str; 5] = ["cmdline", "dtbs/arm/board.dtb", "initramfs", "kernel", "manifest.json"];

/// A LAN whose provider has a whole image.
struct Image {
    lab: Lab,
    kernel: Vec<u8>,
}

impl Image {
    fn new() -> Self {
        Self::with_leases(LEASES)
    }

    fn with_leases(leases: &[&str]) -> Self {
        Self::at("10.77.0.1/24", leases)
    }

    fn at(address: &str, leases: &[&str]) -> Self {
        let mut lab = Lab::new(&[address]);
        let kernel: Vec<u8> = (0..KERNEL_LEN as u32 / 4)
            .flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        let directory = lab.path("artifacts/stable/arm64");
        fs::create_dir_all(directory.join("dtbs/arm")).unwrap();
        fs::write(directory.join("vmlinuz"), &kernel).unwrap();
        fs::write(directory.join("initramfs.img"), vec![7; 100_000]).unwrap();
        fs::write(directory.join("dtbs/arm/board.dtb"), b"a device tree").unwrap();
        fs::write(directory.join("cmdline"), "console=ttyAMA0 quiet\n").unwrap();
        lab.start_dhcp(leases);
        lab.start_provider();
        wait_until_published(&lab, address);
        Self { lab, kernel }
    }

    fn output(&self) -> PathBuf {
        self.lab.path("boot")
    }

    fn assert_whole(&self) {
        assert_eq!(files(&self.output()), WHOLE);
        assert_eq!(fs::read(self.output().join("kernel")).unwrap(), self.kernel);
    }
}

/// A provider that is ready to serve may be hashing still.
fn wait_until_published(lab: &Lab, address: &str) {
    let address: IpAddr = address.split('/').next().unwrap().parse().unwrap();
    let request = b"GET /stable/arm64/manifest.json HTTP/1.0\r\n\r\n";
    deadline::until("the image to be published", GENEROUS, || {
        let mut answer = String::new();
        lab.host.inside(|| {
            let mut stream = TcpStream::connect((address, 8080))?;
            stream.write_all(request)?;
            stream.read_to_string(&mut answer)
        })?;
        Ok(answer.contains(" 200 OK").then_some(()))
    })
    .unwrap();
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

#[test]
fn an_image_is_discovered_fetched_and_verified() {
    let image = Image::new();
    let (lab, output) = (&image.lab, image.output());
    let (peer, directory) = (lab.peer_id(), output.to_str().unwrap());
    let arguments = ["fetch", "--arch", "arm64", "--trust", &peer, "--output", directory, "--json"];
    let fetched = lab.run_command(&arguments);
    assert_eq!(fetched.code(), 0, "{}", fetched.stderr);
    image.assert_whole();
    assert!(fetched.stderr.contains("boot: single-key mode"), "{}", fetched.stderr);
    assert!(fetched.stderr.contains("verify: kernel: 5.7 MiB verified in "), "{}", fetched.stderr);
    let told = only_line(&fetched.stdout);
    for (member, value) in [
        ("url", Value::from(Lab::url())),
        ("peer_id", peer.clone().into()),
        ("channel", "stable".into()),
        ("arch", "arm64".into()),
        ("output", directory.into()),
    ] {
        assert_eq!(told[member], value, "{member}");
    }
    assert_eq!(told["files"][0]["name"], "kernel");
    assert_eq!(told["files"][0]["size"], KERNEL_LEN);
    assert_eq!(told["files"].as_array().unwrap().len(), 3);

    // A second time only the manifest comes.
    let again = lab.run_command(&arguments);
    assert_eq!(again.code(), 0, "{}", again.stderr);
    assert!(again.stderr.contains("verify: kernel: 5.7 MiB here already"), "{}", again.stderr);
    image.assert_whole();

    let manifest = format!("{directory}/manifest.json");
    let arguments = ["verify", &manifest, "--artifacts", directory, "--trust", &peer];
    let verified = lab.run_command(&arguments);
    assert_eq!(verified.code(), 0, "{}", verified.stderr);
    assert!(verified.stdout.starts_with("verified stable arm64 version "), "{}", verified.stdout);
    assert_eq!(verified.stdout.lines().count(), 1 + 4, "{}", verified.stdout);

    fs::write(output.join("initramfs"), b"other").unwrap();
    fs::remove_file(output.join("dtbs/arm/board.dtb")).unwrap();
    fs::write(output.join("cmdline"), b"init=/bin/sh").unwrap();
    let arguments = ["verify", &manifest, "--artifacts", directory, "--trust", &peer, "--json"];
    let changed = lab.run_command(&arguments);
    assert_eq!(changed.code(), 7, "{}", changed.stderr);
    for text in [
        "initramfs is not the file that was signed",
        "dtbs/arm/board.dtb: not in",
        "cmdline: not the command line that was signed",
        "failed: verify: exit code 7: 3 of 4 files are not what was signed",
    ] {
        assert!(changed.stderr.contains(text), "{text}: {}", changed.stderr);
    }
    let told = only_line(&changed.stdout);
    assert_eq!(told["verified"], false);
    let bad = told["files"].as_array().unwrap().iter().filter(|file| file["verified"] == false);
    assert_eq!(bad.count(), 3);
}

#[test]
fn a_manifest_that_is_named_needs_no_discovery() {
    let image = Image::new();
    let (lab, output) = (&image.lab, image.output());
    let (peer, directory) = (lab.peer_id(), output.to_str().unwrap());
    let url = Lab::url();
    let arguments = [
        "fetch",
        &url,
        "--trust",
        &peer,
        "--output",
        directory,
        "--artifact",
        "initramfs",
        "--artifact",
        "dtbs",
    ];
    let fetched = lab.run_command(&arguments);
    assert_eq!(fetched.code(), 0, "{}", fetched.stderr);
    assert_eq!(files(&output), ["cmdline", "dtbs/arm/board.dtb", "initramfs", "manifest.json"]);
    let paths = format!("{directory}/initramfs\n{directory}/dtbs/arm/board.dtb\n");
    assert_eq!(fetched.stdout, paths);

    let verified = lab.run_command(&["verify", &url, "--trust", &peer]);
    assert_eq!(verified.code(), 0, "{}", verified.stderr);
    assert!(verified.stdout.starts_with("verified stable arm64 "), "{}", verified.stdout);
    let mistaken = lab.run_command(&["verify", &url, "--trust", &peer, "--channel", "testing"]);
    assert_eq!(mistaken.code(), 7, "{}", mistaken.stderr);
    assert!(mistaken.stderr.contains("E-CHANNEL"), "{}", mistaken.stderr);
}

#[test]
fn nobody_is_trusted_silently() {
    let image = Image::new();
    let (lab, output) = (&image.lab, image.output());
    let (url, directory) = (Lab::url(), output.to_str().unwrap());
    let stranger = "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV";
    let cases: [(&[&str], i32, &str); 4] = [
        (&["fetch", "--output", directory], 2, "exit code 2: nobody is trusted"),
        (&["verify", &url], 2, "exit code 2: nobody is trusted"),
        (
            &["fetch", &url, "--trust", stranger, "--output", directory],
            7,
            "failed: manifest: exit code 7: http://10.77.0.1:8080/stable/arm64/manifest.json: E-THRESHOLD",
        ),
        (
            &[
                "fetch",
                "--arch",
                "arm64",
                "--trust",
                stranger,
                "--output",
                directory,
                "--timeout",
                "2",
            ],
            4,
            "none acceptable",
        ),
    ];
    for (arguments, code, says) in cases {
        let run = lab.run_command(arguments);
        assert_eq!(run.code(), code, "{}", run.stderr);
        assert!(run.stderr.contains(says), "{says}: {}", run.stderr);
        assert_eq!(run.stdout, "");
    }
    assert!(files(&output).is_empty());
}

#[test]
fn a_provider_that_cannot_be_reached_is_told() {
    let image = Image::new();
    let (lab, output) = (&image.lab, image.output());
    let (peer, directory) = (lab.peer_id(), output.to_str().unwrap());
    let fetch = |url: &str| {
        let run = lab.run_command(&["fetch", url, "--trust", &peer, "--output", directory]);
        assert_eq!(run.code(), 6, "{}", run.stderr);
        run.stderr
    };
    let closed = fetch("http://10.77.0.1:81/stable/arm64/manifest.json");
    assert!(closed.contains("cannot connect to 10.77.0.1:81: the connection was refused; see whether the provider runs"), "{closed}");
    let absent = fetch("http://10.77.0.1:8080/testing/arm64/manifest.json");
    assert!(absent.contains("10.77.0.1:8080 answered 404"), "{absent}");
    let silent = fetch("http://10.77.0.99:80/stable/arm64/manifest.json");
    assert!(silent.contains("10.77.0.99:80 sent nothing for 4 s while connecting"), "{silent}");
    let unknown = fetch("http://boot.example/stable/arm64/manifest.json");
    assert!(unknown.contains("cannot resolve the host"), "{unknown}");
}

#[test]
fn a_host_name_is_resolved_by_the_server_of_the_lease() {
    let leases = [LEASES[0], "--port=53", "--address=/boot.test/10.77.0.1"];
    let image = Image::with_leases(&leases);
    let (lab, output) = (&image.lab, image.output());
    let (peer, directory) = (lab.peer_id(), output.to_str().unwrap());
    let url = "http://boot.test:8080/stable/arm64/manifest.json";
    let fetched = lab.run_command(&["fetch", url, "--trust", &peer, "--output", directory]);
    assert_eq!(fetched.code(), 0, "{}", fetched.stderr);
    image.assert_whole();
}

#[test]
fn what_a_dying_provider_began_the_next_one_finishes() {
    let image = Image::new();
    let (lab, output) = (&image.lab, image.output());
    let (peer, directory) = (lab.peer_id(), output.to_str().unwrap());
    let probe = lab.path("probe");
    let arguments = [
        "fetch",
        &Lab::url(),
        "--trust",
        &peer,
        "--artifact",
        "dtbs",
        "--output",
        probe.to_str().unwrap(),
    ];
    assert_eq!(lab.run_command(&arguments).code(), 0);
    let manifest = fs::read(probe.join("manifest.json")).unwrap();

    // It has the same manifest, and 4 MB of the kernel; nobody advertises.
    let listener = lab.host.inside(|| TcpListener::bind("10.77.0.1:9000")).unwrap();
    let kernel = image.kernel.clone();
    thread::spawn(move || serve_dying(&listener, &manifest, &kernel[..4_000_000]));
    let trust = lab.path("trust");
    let text = format!(
        "provider {peer} channels=testing\nrelease {} channels=stable\nfallback http://10.77.0.1:9000/stable/arm64/manifest.json\n\
         fallback {}\n",
        release_key(&peer),
        Lab::url()
    );
    fs::write(&trust, text).unwrap();
    let trust = trust.to_str().unwrap();
    let arguments =
        ["fetch", "--arch", "arm64", "--trust", trust, "--timeout", "1", "--output", directory];
    let fetched = lab.run_command(&arguments);
    assert_eq!(fetched.code(), 0, "{}", fetched.stderr);
    image.assert_whole();
    for text in [
        "fetch: kernel from http://10.77.0.1:9000/stable/arm64/vmlinuz broke after 4000000 octets; it goes on from there",
        "fetch: kernel from http://10.77.0.1:9000/stable/arm64/vmlinuz: 10.77.0.1:9000 ended the connection too early",
        "verify: kernel: 5.7 MiB verified in ",
        "(3.8 MiB of it were here)",
    ] {
        assert!(fetched.stderr.contains(text), "{text}: {}", fetched.stderr);
    }
}

/// The release key that is the same as a peer id.
fn release_key(peer: &str) -> String {
    let peer: phase_core::identity::PeerId = peer.parse().unwrap();
    peer.key_id().to_string()
}

/// Serves a manifest to everybody; of the kernel, a beginning to the first who asks, and nothing to others.
fn serve_dying(listener: &TcpListener, manifest: &[u8], kernel: &[u8]) {
    let mut has_died = false;
    for stream in listener.incoming() {
        let mut stream: TcpStream = stream.unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let request = lines.next().unwrap().unwrap();
        // The rest of the request is read, so that closing does not reset the connection.
        while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
        let (length, body) = match request.split(' ').nth(1) {
            Some(path) if path.ends_with("/manifest.json") => (manifest.len(), manifest),
            Some(_) if has_died => continue,
            Some(_) | None => (KERNEL_LEN, kernel),
        };
        has_died |= length == KERNEL_LEN;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        // A client that went away is told by what it says.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    }
}

#[test]
fn of_two_providers_the_one_that_can_be_reached_gives_the_image() {
    let image = Image::new();
    let host = Namespace::new("second").unwrap();
    image.lab.segment.attach(&host, "eth0", &["10.77.0.2/24"]).unwrap();
    let artifacts = image.lab.path("second/artifacts");
    let directory = artifacts.join("stable/arm64");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("vmlinuz"), b"of a later version").unwrap();
    fs::write(directory.join("version"), "9999.1").unwrap();
    let state = image.lab.path("second/state");
    // It is the better one by its version, and nobody listens where it says.
    let dead_end = "http://10.77.0.2:81";
    let mut second =
        provider(&host, &artifacts, &state, &["--no-dht", "--advertise-url", dead_end]);
    let is_announced = |line: &str| line.contains("announced stable/arm64 on eth0 (IPv4)");
    second.wait_for_line(Stream::Stderr, is_announced).unwrap();
    let (first, second_peer) = (image.lab.peer_id(), peer_id(&state));
    let output = image.output();
    let arguments = [
        "fetch",
        "--arch",
        "arm64",
        "--trust",
        &first,
        "--trust",
        &second_peer,
        // Both are found before the first is tried.
        "--mode",
        "all",
        "--timeout",
        "2",
        "--output",
        output.to_str().unwrap(),
    ];
    let fetched = image.lab.run_command(&arguments);
    assert_eq!(fetched.code(), 0, "{}", fetched.stderr);
    let failed = "manifest: no manifest from http://10.77.0.2:81/stable/arm64/manifest.json: \
                  cannot connect to 10.77.0.2:81: the connection was refused";
    assert!(fetched.stderr.contains(failed), "{}", fetched.stderr);
    image.assert_whole();
}

#[test]
fn an_interrupted_fetch_leaves_no_image_and_the_next_one_goes_on() {
    let image = Image::new();
    let (lab, output) = (&image.lab, image.output());
    let (peer, directory) = (lab.peer_id(), output.to_str().unwrap());
    let url = Lab::url();
    let arguments = ["fetch", &url, "--trust", &peer, "--output", directory];
    slow_down(lab);
    let fetching = lab.start_command(&arguments);
    deadline::until("some of the kernel", GENEROUS, || {
        if !output.exists() {
            return Ok(None);
        }
        let parts = files(&output).into_iter().filter(|name| name.ends_with(".part"));
        let lens = parts.filter_map(|name| fs::metadata(output.join(name)).ok());
        Ok(lens.map(|meta| meta.len()).any(|len| len > 500_000).then_some(()))
    })
    .unwrap();
    let ended = fetching.terminate().unwrap();
    assert_eq!(ended.status.signal(), Some(15), "{}", ended.stderr);
    assert!(files(&output).iter().all(|name| name.starts_with('.')), "{:?}", files(&output));
    lab.host.run("tc", &["qdisc", "del", "dev", "eth0", "root"]).unwrap();
    let fetched = lab.run_command(&arguments);
    assert_eq!(fetched.code(), 0, "{}", fetched.stderr);
    assert!(fetched.stderr.contains("iB of it were here)"), "{}", fetched.stderr);
    image.assert_whole();
}

#[test]
fn an_image_comes_over_ipv6_too() {
    let leases = ["--enable-ra", "--dhcp-range=fd77:0:0:1::,ra-only,64"];
    let image = Image::at("fd77:0:0:1::1/64", &leases);
    let (lab, output) = (&image.lab, image.output());
    let (peer, directory) = (lab.peer_id(), output.to_str().unwrap());
    let arguments = ["fetch", "--arch", "arm64", "--trust", &peer, "--output", directory];
    let fetched = lab.run_command(&arguments);
    assert_eq!(fetched.code(), 0, "{}", fetched.stderr);
    let from = "from http://[fd77:0:0:1::1]:8080/stable/arm64/manifest.json";
    assert!(fetched.stderr.contains(from), "{}", fetched.stderr);
    image.assert_whole();
}

/// 16 Mbit/s from the host: the kernel takes three seconds.
fn slow_down(lab: &Lab) {
    let bucket = ["tbf", "rate", "16mbit", "burst", "32kb", "latency", "50ms"];
    let arguments = [&["qdisc", "add", "dev", "eth0", "root"][..], &bucket].concat();
    lab.host.run("tc", &arguments).unwrap();
}

#[test]
fn a_cable_that_is_pulled_for_a_moment_ends_no_download() {
    let image = Image::new();
    let (lab, output) = (&image.lab, image.output());
    let (peer, directory) = (lab.peer_id(), output.to_str().unwrap());
    slow_down(lab);
    let mut fetching =
        lab.start_command(&["fetch", &Lab::url(), "--trust", &peer, "--output", directory]);
    fetching.wait_for_line(Stream::Stderr, |line| line.contains("manifest: manifest ")).unwrap();
    lab.set_port(1, false);
    fetching
        .wait_for_line(Stream::Stderr, |line| line.contains("link: eth0 has no carrier"))
        .unwrap();
    lab.set_port(1, true);
    let fetched = fetching.wait(GENEROUS).unwrap();
    assert_eq!(fetched.code(), 0, "{}", fetched.stderr);
    image.assert_whole();
}
