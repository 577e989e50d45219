//! Responses over real connections, well and ill.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use phase_core::fetch::{HEAD_MAX, Pace, RATE_WINDOW};
use phase_core::time::Instant;

use super::*;
use crate::clock;
use crate::executor;
use crate::fetch::dial::{ResolveError, Stream};
use crate::testing::Loopback;
use crate::testing::server::{Answer, Server};

const PATH: &str = "/stable/arm64/vmlinuz";

type Outcome = Result<Response, Error>;

fn get(answer: Answer, from: From<'_>) -> (Outcome, Vec<String>) {
    let server = Server::start();
    server.put(PATH, answer);
    let origin = Origin { address: server.address(), authority: "boot.example:8080" };
    let response = origin.get(&Loopback::default(), PATH, from);
    (response, server.take_log())
}

fn raw(text: &str) -> Outcome {
    get(Answer::Raw(text.as_bytes().to_vec()), From::default()).0
}

fn body(text: &str, limit: usize) -> Result<Vec<u8>, Problem> {
    raw(text).unwrap().read_all(limit).map_err(|error| error.problem)
}

fn problem(text: &str) -> Problem {
    raw(text).unwrap_err().problem
}

#[test]
fn the_request_is_plain() {
    let origin =
        Origin { address: "192.0.2.1:80".parse().unwrap(), authority: "boot.example:8080" };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        origin.request(PATH, From::default()),
        format!(
            "GET {PATH} HTTP/1.1\r\nHost: boot.example:8080\r\nUser-Agent: phase-boot/{version}\r\n\
             Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
        )
    );
    let from = From { offset: 3, etag: Some("\"a\"") };
    assert!(origin.request(PATH, from).ends_with("\r\nRange: bytes=3-\r\nIf-Range: \"a\"\r\n\r\n"));
    // Without an offset there is no range, so there is nothing to guard.
    let from = From { offset: 0, etag: Some("\"a\"") };
    assert!(!origin.request(PATH, from).contains("Range"));
}

#[test]
fn a_whole_body_is_read() {
    let response = raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\nhello").unwrap();
    assert_eq!((response.start(), response.length()), (0, Some(5)));
    assert_eq!(response.etag().map(|etag| etag.as_str()), Some("\"a\""));
    assert_eq!(response.read_all(5).unwrap(), b"hello");
}

#[test]
fn a_head_may_be_of_http_1_0_and_follow_an_interim_one() {
    assert_eq!(body("HTTP/1.0 200 OK\r\n\r\nhello", 5).unwrap(), b"hello");
    let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(body(text, 5).unwrap(), b"ok");
    assert_eq!(problem("HTTP/1.1 101 Switching\r\n\r\n"), Problem::Status(101));
}

#[test]
fn a_range_is_asked_for_by_its_validator() {
    let from = From { offset: 3, etag: Some("\"one\"") };
    let (response, asked) = get(Answer::Whole(b"hello".to_vec()), from);
    let response = response.unwrap();
    assert_eq!((response.start(), response.length()), (3, Some(2)));
    assert_eq!(response.read_all(5).unwrap(), b"lo");
    assert_eq!(asked, [format!("{PATH} bytes=3- \"one\"")]);
}

#[test]
fn a_server_that_ignores_the_range_starts_again() {
    let from = From { offset: 3, etag: None };
    let (response, _) = get(Answer::NoRanges(b"hello".to_vec()), from);
    assert_eq!(response.unwrap().start(), 0);
}

#[test]
fn a_range_that_was_not_asked_for_is_refused() {
    let other = b"HTTP/1.1 206 Partial\r\nContent-Length: 1\r\nContent-Range: bytes 4-4/5\r\n\r\no";
    let (response, _) = get(Answer::Raw(other.to_vec()), From { offset: 3, etag: None });
    let error = response.unwrap_err();
    assert!(
        error.to_string().contains("a Content-Range that does not fit the request: bytes 4-4/5"),
        "{error}"
    );
}

#[test]
fn redirects_and_codings_are_refused_by_name() {
    let moved =
        "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\x1b\r\nContent-Length: 0\r\n\r\n";
    let error = raw(&moved.replace('\x1b', "")).unwrap_err();
    assert!(error.to_string().contains("redirects to http://169.254.169.254/;"), "{error}");
    let gzip = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n";
    assert!(matches!(problem(gzip), Problem::Header { name: "Content-Encoding", .. }));
}

#[test]
fn a_strangers_text_is_shown_without_control_characters() {
    let error = raw("HTTP/1.1 302 Found\r\nLocation: http://a/\u{9b}2J\u{e9}\r\n\r\n").unwrap_err();
    assert!(error.to_string().contains("http://a/\\xc2\\x9b2J\\xc3\\xa9"), "{error}");
}

#[test]
fn a_length_that_contradicts_itself_is_refused() {
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -1",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
    ] {
        let problem = problem(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nhello"));
        assert!(matches!(problem, Problem::Header { name: "Content-Length", .. }), "{fields}");
    }
    let twice = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(body(twice, 5).unwrap(), b"hello");
    for coding in ["gzip", "gzip, chunked", "chunked\r\nTransfer-Encoding: chunked", ""] {
        let problem = problem(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n"));
        assert!(matches!(problem, Problem::Header { name: "Transfer-Encoding", .. }), "{coding}");
    }
}

#[test]
fn a_body_in_chunks_is_put_together_and_bounded() {
    let text =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n";
    assert_eq!(raw(text).unwrap().length(), None);
    assert_eq!(body(text, 5).unwrap(), b"hello");
    assert_eq!(body(text, 4), Err(Problem::TooLong { limit: 4 }));
    assert_eq!(body(&text.replace("0\r\n\r\n", ""), 5), Err(Problem::Early));
    assert_eq!(body(&text.replace("3;", "z;"), 5), Err(Problem::NotHttp));
}

#[test]
fn a_body_longer_than_allowed_is_cut_off() {
    let announced = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!";
    assert_eq!(body(announced, 5), Err(Problem::TooLong { limit: 5 }));
    let unannounced = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello!";
    assert_eq!(body(unannounced, 5), Err(Problem::TooLong { limit: 5 }));
    assert_eq!(body(unannounced, 6).unwrap(), b"hello!");
    let (endless, _) = get(Answer::Endless, From::default());
    let error = endless.unwrap().read_all(65_536).unwrap_err();
    assert_eq!(error.problem, Problem::TooLong { limit: 65_536 });
}

#[test]
fn a_body_shorter_than_announced_is_an_error() {
    assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhel", 100), Err(Problem::Early));
    assert!(Problem::Early.is_passing());
}

#[test]
fn what_follows_a_body_is_not_part_of_it() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello";
    assert_eq!(body(text, 100).unwrap(), b"he");
    assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nx", 100).unwrap(), b"");
}

#[test]
fn junk_instead_of_http_is_an_error() {
    assert_eq!(problem("SSH-2.0-OpenSSH\r\n\r\n"), Problem::NotHttp);
    assert_eq!(problem(""), Problem::Early);
    assert_eq!(problem("HTTP/1.1 200 OK\r\nContent-Le"), Problem::Early);
}

#[test]
fn a_head_without_an_end_is_cut_off() {
    let (endless, _) = get(Answer::EndlessHead, From::default());
    assert_eq!(endless.unwrap_err().problem, Problem::Head);
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(HEAD_MAX));
    assert_eq!(problem(&long), Problem::Head);
    let fits = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: {}\r\n\r\nok",
        "x".repeat(HEAD_MAX - 100)
    );
    assert_eq!(body(&fits, 2).unwrap(), b"ok");
}

#[test]
fn every_other_status_is_told() {
    for (status, passes) in [(404, false), (416, false), (500, true), (503, true)] {
        let (response, _) = get(Answer::Status(status), From::default());
        let error = response.unwrap_err();
        assert_eq!(error.problem.is_passing(), passes, "{status}");
        assert!(error.to_string().ends_with(&format!("answered {status}")), "{error}");
    }
}

#[test]
fn a_closed_port_names_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let origin = Origin { address, authority: "a" };
    let error = origin.get(&Loopback::default(), "/", From::default()).unwrap_err();
    let text = format!("cannot connect to {address}: the connection was refused");
    assert_eq!(error.to_string(), text);
}

/// A network that answers nothing.
#[derive(Debug)]
struct Void;

impl Dial for Void {
    fn wait_ready(&self, _deadline: Instant) -> bool {
        true
    }

    fn dial(&self, _remote: SocketAddr, deadline: Instant) -> Result<Box<dyn Stream>, DialError> {
        executor::sleep(deadline.since(clock::now()));
        Err(DialError::Silent)
    }

    fn resolve(&self, _host: &str, deadline: Instant) -> Result<Vec<IpAddr>, ResolveError> {
        executor::sleep(deadline.since(clock::now()));
        Err(ResolveError::Silent)
    }
}

#[test]
fn silence_is_given_up_in_every_step() {
    let server = Server::start();
    server.put("/silence", Answer::Silence);
    server.put("/stall", Answer::Stall);
    let origin = Origin { address: server.address(), authority: "a" };
    let get = |dial: &dyn Dial, path: &str| origin.get(dial, path, From::default());
    let (connecting, answering, sending) = thread::scope(|scope| {
        let connecting = scope.spawn(|| get(&Void, "/").unwrap_err());
        let answering = scope.spawn(|| get(&Loopback::default(), "/silence").unwrap_err());
        let stalled = get(&Loopback::default(), "/stall").unwrap();
        let sending = stalled.read_all(2_000_000).unwrap_err();
        (connecting.join().unwrap(), answering.join().unwrap(), sending)
    });
    let silence = |step, seconds| Problem::Silent { step, wait: Duration::from_secs(seconds) };
    assert_eq!(connecting.problem, silence("connecting", 4));
    assert_eq!(answering.problem, silence("its answer was waited for", 10));
    assert_eq!(sending.problem, silence("sending a body", 10));
}

#[test]
fn a_body_that_trickles_is_given_up() {
    let mut response = raw("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!").unwrap();
    response.set_pace(Pace::new(clock::now() - RATE_WINDOW - Duration::from_secs(1)));
    let error = response.read_all(6).unwrap_err();
    assert_eq!(error.problem, Problem::Slow { octets: 6 });
}
