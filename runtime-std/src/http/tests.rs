//! Every route over a real socket, as a client that speaks plain HTTP/1.1 sees it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::Shared;
use super::catalog::{Catalog, Entry, Manifest};
use super::counters::Counters;
use super::server::{Server, listen};
use crate::artifacts::hash::Cache;
use crate::artifacts::scan::scan;
use crate::clock::Clock;
use crate::status::Status;

const KEEP: Duration = Duration::from_secs(60);

struct Provider {
    directory: tempfile::TempDir,
    shared: Shared,
    server: Server,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Provider {
    fn start(status: Option<Status>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("stable/arm64");
        fs::create_dir_all(image.join("dtbs/vendor")).unwrap();
        fs::write(image.join("vmlinuz"), kernel()).unwrap();
        fs::write(image.join("initramfs.img"), "0123456789").unwrap();
        fs::write(image.join("cmdline"), "quiet\n").unwrap();
        fs::write(image.join("dtbs/vendor/board.dtb"), "tree").unwrap();
        fs::write(directory.path().join("secret"), "secret").unwrap();
        let ask: super::AskStatus = Arc::new(move || {
            let status = status.clone();
            Box::pin(async move { status })
        });
        let (catalog, counters) = (Arc::new(Catalog::default()), Arc::new(Counters::default()));
        let shared = Shared { catalog, counters, status: ask, clock: Clock::start() };
        let listener = listen(Some(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        let server = Server::start(listener, shared.clone()).unwrap();
        let provider = Self { directory, shared, server };
        provider.publish(b"{\"manifest\":1}");
        provider
    }

    fn publish(&self, document: &'static [u8]) {
        let seen = scan(self.directory.path()).unwrap();
        let image = Cache::default().hash_image(&seen.images[0]).unwrap();
        let (document, sha256) = (Bytes::from_static(document), Sha256::digest(document).into());
        let manifest = Manifest { document, sha256, version: 1, expires_at: 0 };
        self.shared.catalog.put(self.shared.clock.now(), Entry { image, manifest }, KEEP);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("stable/arm64").join(name)
    }

    fn get(&self, path: &str, headers: &str) -> Answer {
        self.ask("GET", path, headers)
    }

    fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let mut stream = TcpStream::connect(self.server.address()).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n"
        )
        .unwrap();
        receive(stream)
    }
}

fn receive(stream: TcpStream) -> Answer {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status =
        line.split(' ').nth(1).unwrap_or_else(|| panic!("status in {line:?}")).parse().unwrap();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_owned(), value.to_owned());
    }
    let mut body = Vec::new();
    reader.read_to_end(&mut body).unwrap();
    Answer { status, headers, body }
}

/// Three pieces and a bit, no two octets in a row the same.
fn kernel() -> Vec<u8> {
    (0..1_700_000_u32).flat_map(|n| [(n % 251) as u8]).collect()
}

fn etag(content: &[u8]) -> String {
    let hex: String = Sha256::digest(content).iter().map(|b| format!("{b:02x}")).collect();
    format!("\"{hex}\"")
}

#[test]
fn the_manifest_is_served_with_its_digest_as_entity_tag() {
    let provider = Provider::start(None);
    let answer = provider.get("/stable/arm64/manifest.json", "");
    assert_eq!((answer.status, answer.text()), (200, "{\"manifest\":1}"));
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["etag"], etag(b"{\"manifest\":1}"));
    assert_eq!(answer.headers["content-length"], "14");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    let condition = format!("If-None-Match: {}\r\n", etag(b"{\"manifest\":1}"));
    let unchanged = provider.get("/stable/arm64/manifest.json", &condition);
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(unchanged.headers["etag"], answer.headers["etag"]);
    let alias = provider.get("/stable/aarch64/manifest.json", "");
    assert_eq!(alias.body, answer.body);
}

#[test]
fn a_replaced_manifest_stays_reachable_by_its_digest() {
    let provider = Provider::start(None);
    let first = etag(b"{\"manifest\":1}").replace('"', "");
    provider.publish(b"{\"manifest\":2}");
    assert_eq!(provider.get("/stable/arm64/manifest.json", "").text(), "{\"manifest\":2}");
    let old = provider.get(&format!("/by-digest/{first}.json"), "");
    assert_eq!((old.status, old.text()), (200, "{\"manifest\":1}"));
    assert!(old.headers["cache-control"].contains("immutable"));
    for unknown in
        [first.to_uppercase() + ".json", "0".repeat(64) + ".json", "x.json".into(), first]
    {
        assert_eq!(provider.get(&format!("/by-digest/{unknown}"), "").status, 404, "{unknown}");
    }
}

#[test]
fn artifacts_are_sent_whole_with_length_and_tag() {
    let provider = Provider::start(None);
    let answer = provider.get("/stable/arm64/vmlinuz", "");
    assert_eq!(answer.status, 200);
    assert!(answer.body == kernel(), "the octets of the file");
    assert_eq!(answer.headers["content-length"], "1700000");
    assert_eq!(answer.headers["accept-ranges"], "bytes");
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    assert_eq!(answer.headers["etag"], etag(&kernel()));
    assert_eq!(provider.get("/stable/arm64/dtbs/vendor/board.dtb", "").text(), "tree");
    let cmdline = provider.get("/stable/arm64/cmdline", "");
    assert_eq!(cmdline.headers["content-type"], "text/plain; charset=utf-8");
}

#[test]
fn head_answers_like_get_without_a_body_and_ignores_ranges() {
    let provider = Provider::start(None);
    for path in ["/stable/arm64/manifest.json", "/stable/arm64/vmlinuz", "/stable/arm64/cmdline"] {
        let (get, head) =
            (provider.get(path, ""), provider.ask("HEAD", path, "Range: bytes=0-1\r\n"));
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        for name in ["content-length", "etag", "content-type", "cache-control"] {
            assert_eq!(head.headers.get(name), get.headers.get(name), "{name} of {path}");
        }
    }
}

#[test]
fn ranges_may_be_suffixes_and_may_end_behind_the_file() {
    let provider = Provider::start(None);
    let path = "/stable/arm64/initramfs.img";
    let check = |range: &str, status, body: &str, content_range: Option<&str>| {
        let answer = provider.get(path, &format!("Range: {range}\r\n"));
        assert_eq!(
            (answer.status, answer.headers.get("content-range").map(String::as_str)),
            (status, content_range),
            "{range}"
        );
        if status != 416 {
            assert_eq!(answer.text(), body, "{range}");
        }
    };
    check("bytes=2-4", 206, "234", Some("bytes 2-4/10"));
    check("bytes=7-", 206, "789", Some("bytes 7-9/10"));
    check("bytes=-3", 206, "789", Some("bytes 7-9/10"));
    check("bytes=-99", 206, "0123456789", Some("bytes 0-9/10"));
    check("bytes=8-99", 206, "89", Some("bytes 8-9/10"));
    check("bytes=10-", 416, "", Some("bytes */10"));
    check("bytes=-0", 416, "", Some("bytes */10"));
    check("bytes=4-2", 200, "0123456789", None);
    check("bytes=0-1,4-5", 200, "0123456789", None);
    check("lines=0-1", 200, "0123456789", None);
}

#[test]
fn a_large_range_is_the_same_octets_of_the_file() {
    let provider = Provider::start(None);
    let answer = provider.get("/stable/arm64/vmlinuz", "Range: bytes=524287-1600000\r\n");
    assert_eq!(answer.status, 206);
    assert!(answer.body == kernel()[524_287..=1_600_000], "the octets asked for");
}

#[test]
fn a_range_of_another_version_is_answered_with_the_whole_file() {
    let provider = Provider::start(None);
    let path = "/stable/arm64/initramfs.img";
    let ask = |tag: &str| provider.get(path, &format!("Range: bytes=5-\r\nIf-Range: {tag}\r\n"));
    assert_eq!(ask(&etag(b"0123456789")).text(), "56789");
    assert_eq!(ask(&etag(b"other")).text(), "0123456789");
    let other = provider.get(path, &format!("If-Match: {}\r\n", etag(b"other")));
    assert_eq!(other.status, 412);
}

#[test]
fn a_file_changed_in_place_is_not_served() {
    let provider = Provider::start(None);
    fs::write(provider.path("initramfs.img"), "9876543210").unwrap();
    let changed = provider.get("/stable/arm64/initramfs.img", "");
    assert_eq!(changed.status, 503, "{changed:?}");
    assert!(changed.text().starts_with("changed: "));
    assert_eq!(changed.headers["retry-after"], "2");
    assert_eq!(provider.shared.counters.changed_files.get(), 1);
}

#[test]
fn a_file_replaced_by_renaming_is_served_as_it_was_hashed() {
    let provider = Provider::start(None);
    fs::write(provider.path("new"), "other").unwrap();
    fs::rename(provider.path("new"), provider.path("initramfs.img")).unwrap();
    assert_eq!(provider.get("/stable/arm64/initramfs.img", "").text(), "0123456789");
}

#[test]
fn a_file_that_changes_while_it_is_sent_ends_the_connection_early() {
    let provider = Provider::start(None);
    let file = fs::File::options().write(true).open(provider.path("vmlinuz")).unwrap();
    file.set_len(64 << 20).unwrap();
    provider.publish(b"{}");
    let mut stream = TcpStream::connect(provider.server.address()).unwrap();
    stream
        .write_all(b"GET /stable/arm64/vmlinuz HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut start = [0; 64];
    stream.read_exact(&mut start).unwrap();
    // More than sockets and pieces can hold is still unread now.
    file.set_len(1 << 20).unwrap();
    let mut rest = Vec::new();
    let _reset_or_end = stream.read_to_end(&mut rest);
    assert!(rest.len() < 48 << 20, "{} octets came", rest.len());
    assert_eq!(provider.shared.counters.changed_files.get(), 1);
}

#[test]
fn no_path_leads_out_of_what_is_published() {
    let provider = Provider::start(None);
    for path in [
        "/secret",
        "/../secret",
        "/stable/arm64/../../secret",
        "/stable/arm64/..%2f..%2fsecret",
        "/stable/arm64/%2e%2e/%2e%2e/secret",
        "/stable/arm64//etc/passwd",
        "/stable/arm64/%00",
        "/stable/arm64/version",
        "/stable/arm64/",
        "/stable/arm64",
        "/stable/sparc/vmlinuz",
        "/testing/arm64/vmlinuz",
        "/stable/arm64/vmlinuz/",
    ] {
        let answer = provider.get(path, "");
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
    assert!(provider.path("../../secret").exists());
}

#[test]
fn o17_nothing_but_get_and_head_is_understood() {
    let provider = Provider::start(None);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        for path in ["/stable/arm64/manifest.json", "/stable/arm64/vmlinuz", "/", "/metrics"] {
            let answer = provider.ask(method, path, "Content-Length: 0\r\n");
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.headers["allow"], "GET, HEAD", "{method} {path}");
        }
    }
    let refresh = provider.ask("POST", "/stable/arm64/manifest/refresh", "Content-Length: 0\r\n");
    assert!(matches!(refresh.status, 404 | 405), "{refresh:?}");
}

#[test]
fn heads_that_are_too_long_are_refused() {
    let provider = Provider::start(None);
    let long = provider.get("/", &format!("X: {}\r\n", "x".repeat(9000)));
    assert_eq!(long.status, 431);
    let many = (0..100).map(|n| format!("X{n}: 1\r\n")).collect::<String>();
    assert_eq!(provider.get("/", &many).status, 431);
}

fn healthy() -> Status {
    let counters = BTreeMap::from([("malformed".into(), ("Datagrams dropped.".into(), 7))]);
    Status {
        provider_name: "<b>lab</b>".into(),
        peer_id: "12D3KooW".into(),
        counters,
        ..Status::default()
    }
}

#[test]
fn health_tells_what_is_wrong() {
    let check = |status: Option<Status>, code, text: &str| {
        let answer = Provider::start(status).get("/health", "");
        assert_eq!((answer.status, answer.text().trim()), (code, text));
    };
    check(Some(healthy()), 200, r#"{"problems":[],"status":"ok"}"#);
    let ill = Status { problems: vec!["no link".into()], ..healthy() };
    check(Some(ill), 503, r#"{"problems":["no link"],"status":"failing"}"#);
    check(None, 503, r#"{"problems":["the daemon does not answer"],"status":"failing"}"#);
}

#[test]
fn the_status_page_is_html_for_people_and_json_for_programs() {
    let provider = Provider::start(Some(healthy()));
    let page = provider.get("/", "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n");
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert!(page.text().contains("&lt;b&gt;lab&lt;/b&gt;"), "names are escaped: {}", page.text());
    assert!(!page.text().contains("<b>"));
    let json = provider.get("/", "Accept: application/json\r\n");
    let status: Status = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(status.peer_id, "12D3KooW");
    assert_eq!(Provider::start(None).get("/", "").status, 503);
}

#[test]
fn metrics_hold_the_counters_of_server_and_machine() {
    let provider = Provider::start(Some(healthy()));
    provider.get("/stable/arm64/cmdline", "");
    let text = provider.get("/metrics", "").text().to_owned();
    for line in [
        "# HELP phase_mdns_malformed_total Datagrams dropped.",
        "# TYPE phase_mdns_malformed_total counter",
        "phase_mdns_malformed_total 7",
        "phase_http_artifacts_total 1",
        "phase_http_artifact_octets_total 6",
        "phase_images 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let provider = Provider::start(None);
    let error = listen(Some(provider.server.address())).unwrap_err().to_string();
    let expected = format!(
        "cannot listen on {}: the port is in use; stop the program that holds it, or choose another with --listen",
        provider.server.address()
    );
    assert_eq!(error, expected);
}

#[test]
fn stopping_lets_a_running_download_finish_and_accepts_nothing_more() {
    let provider = Provider::start(None);
    let address = provider.server.address();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /stable/arm64/vmlinuz HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    let mut start = [0; 16];
    stream.read_exact(&mut start).unwrap();
    let Provider { server, directory, .. } = provider;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stopping = std::thread::spawn(move || runtime.block_on(server.stop()));
    let answer = receive_rest(&mut stream);
    assert!(answer > 1_700_000, "{answer} octets came");
    stopping.join().unwrap();
    assert!(TcpStream::connect(address).is_err());
    assert!(Path::new(directory.path()).exists());
}

fn receive_rest(stream: &mut TcpStream) -> usize {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    rest.len()
}
