//! One HTTP/1.1 GET at a time, for octets that nobody vouches for until they are verified.
//! Spec: RFC 9110 §14 (ranges), RFC 9112.
//!
//! Connects to one checked address and to no other: no redirects, no proxies, no cookies, no credentials, no
//! content codings. Headers, silence and slowness are bounded.
//! Not here: `https` (what is fetched is verified by signature and digest), connection reuse.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, ETAG, HOST, HeaderMap, HeaderName,
    HeaderValue, IF_RANGE, LOCATION, RANGE, USER_AGENT,
};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use phase_core::fetch::{
    CONNECT_MAX, HEAD_MAX, HEAD_WAIT, Head, Misfit, Pace, RATE_WINDOW, SILENCE_MAX, TooSlow,
    body_start, content_length, is_strong_etag,
};
use phase_core::time::Instant as CoreInstant;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

/// Octets read from the socket at a time.
const READ_MAX: usize = 512 * 1024;

/// Why a response could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No TCP connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The peer stayed silent.
    #[error("{address} sent nothing for {} s while {step}", wait.as_secs())]
    Silent {
        /// The peer.
        address: SocketAddr,
        /// What was waited for.
        step: &'static str,
        /// How long.
        wait: Duration,
    },
    /// The peer trickles.
    #[error("{address} sent {octets} octets in {} s: too slow", RATE_WINDOW.as_secs())]
    Slow {
        /// The peer.
        address: SocketAddr,
        /// Octets within the window.
        octets: u64,
    },
    /// The connection broke, or the peer does not speak HTTP.
    #[error("the connection to {address} broke: {}", reason(source))]
    Broken {
        /// The peer.
        address: SocketAddr,
        /// What happened.
        source: hyper::Error,
    },
    /// Not 200, or not 206 where a range was asked for.
    #[error("{address} answered {status} for {path}")]
    Status {
        /// The peer.
        address: SocketAddr,
        /// What was asked for.
        path: String,
        /// What it answered.
        status: StatusCode,
    },
    /// A redirect: followed, it would lead to an address that nobody checked.
    #[error("{address} redirects to {location}; redirects are not followed")]
    Redirect {
        /// The peer.
        address: SocketAddr,
        /// Where it points, with control characters escaped.
        location: String,
    },
    /// A header contradicts the request.
    #[error("{address} sent a {header} that does not fit the request: {value}")]
    Header {
        /// The peer.
        address: SocketAddr,
        /// Which header.
        header: HeaderName,
        /// Its value, with control characters escaped.
        value: String,
    },
    /// More header octets than any honest server sends.
    #[error("{address} sent {octets} octets of headers; at most {HEAD_MAX} are read")]
    Headers {
        /// The peer.
        address: SocketAddr,
        /// How many.
        octets: usize,
    },
    /// A body longer than what was asked for.
    #[error("{address} sent more than the {limit} octets expected")]
    TooLong {
        /// The peer.
        address: SocketAddr,
        /// The bound.
        limit: u64,
    },
}

/// The first cause behind hyper's own words.
fn reason(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        text = format!("{text}: {source}");
    }
    text
}

/// A server at an address that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Where to connect.
    pub address: SocketAddr,
    /// What the `Host` header says: the URL's authority.
    pub authority: String,
}

/// The part of a representation that is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct From<'a> {
    /// The first octet wanted.
    pub offset: u64,
    /// Only if the representation is still this one (a strong `ETag`); else the whole.
    pub etag: Option<&'a str>,
}

impl Origin {
    /// Asks for `path`, from an offset on.
    ///
    /// # Errors
    /// Every [`Error`] except `TooLong`. Try the next address or provider.
    pub async fn get(&self, path: &str, from: From<'_>) -> Result<Response, Error> {
        let address = self.address;
        let stream = self.connect().await?;
        let broken = |source| Error::Broken { address, source };
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(READ_MAX)
            .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let task = Task(tokio::spawn(connection).abort_handle());
        let answer = timeout(HEAD_WAIT, sender.send_request(self.request(path, from))).await;
        let silent =
            |_| Error::Silent { address, step: "its answer was waited for", wait: HEAD_WAIT };
        let response = answer.map_err(silent)?.map_err(broken)?;
        let start = self.check(path, from, response.status(), response.headers())?;
        let etag = strong_etag(response.headers());
        let length = response.headers().get(hyper::header::CONTENT_LENGTH);
        let length = length.and_then(|value| content_length(value.as_bytes()));
        Ok(Response {
            address,
            start,
            etag,
            length,
            body: response.into_body(),
            _task: task,
            began: Instant::now(),
            pace: Pace::new(CoreInstant::ZERO),
        })
    }

    /// Opens a TCP connection and says how long that took: one round trip.
    ///
    /// # Errors
    /// `Connect`, `Silent`.
    pub async fn round_trip(&self) -> Result<Duration, Error> {
        let start = Instant::now();
        self.connect().await?;
        Ok(start.elapsed())
    }

    async fn connect(&self) -> Result<TcpStream, Error> {
        let address = self.address;
        match timeout(CONNECT_MAX, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Only costs latency where it cannot be set.
                let _ = stream.set_nodelay(true);
                Ok(stream)
            }
            Ok(Err(source)) => Err(Error::Connect { address, source }),
            Err(_) => Err(Error::Silent { address, step: "connecting", wait: CONNECT_MAX }),
        }
    }

    fn request(&self, path: &str, from: From<'_>) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        // Paths come from URLs of the closed profile: their characters are all legal here.
        *request.uri_mut() = path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        let mut put = |name: HeaderName, value: &str| {
            if let Ok(value) = value.parse() {
                headers.insert(name, value);
            }
        };
        put(HOST, &self.authority);
        put(USER_AGENT, concat!("phase-fetch/", env!("CARGO_PKG_VERSION")));
        put(ACCEPT_ENCODING, "identity");
        if from.offset > 0 {
            put(RANGE, &format!("bytes={}-", from.offset));
            if let Some(etag) = from.etag {
                put(IF_RANGE, etag);
            }
        }
        request
    }

    /// The offset of the body's first octet.
    fn check(
        &self,
        path: &str,
        from: From<'_>,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<u64, Error> {
        let address = self.address;
        let octets =
            headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if octets > HEAD_MAX {
            return Err(Error::Headers { address, octets });
        }
        let value = |header: &HeaderName| headers.get(header).map(HeaderValue::as_bytes);
        let head = Head {
            status: status.as_u16(),
            coding: value(&CONTENT_ENCODING),
            range: value(&CONTENT_RANGE),
        };
        let shown =
            |header: &HeaderName, or: &str| value(header).map_or_else(|| or.into(), printable);
        let refuse = |header: HeaderName| {
            let value = shown(&header, "absent");
            Error::Header { address, header, value }
        };
        body_start(from.offset, &head).map_err(|misfit| match misfit {
            Misfit::Coding => refuse(CONTENT_ENCODING),
            Misfit::Range => refuse(CONTENT_RANGE),
            Misfit::Redirect => Error::Redirect { address, location: shown(&LOCATION, "nowhere") },
            Misfit::Status => Error::Status { address, path: path.into(), status },
        })
    }
}

/// RFC 9110 §13.1.5: only a strong validator may guard a range.
fn strong_etag(headers: &HeaderMap) -> Option<String> {
    let etag = headers.get(ETAG)?.to_str().ok()?;
    is_strong_etag(etag.as_bytes()).then(|| etag.to_owned())
}

/// A peer's octets for a person's eyes: no control characters, bounded.
fn printable(octets: &[u8]) -> String {
    octets.iter().take(200).flat_map(|octet| octet.escape_ascii()).map(char::from).collect()
}

/// Ends the connection's task with its response.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A response whose headers were checked; its body comes in chunks.
#[derive(Debug)]
pub struct Response {
    address: SocketAddr,
    start: u64,
    etag: Option<String>,
    length: Option<u64>,
    body: Incoming,
    _task: Task,
    began: Instant,
    /// Its time begins with the body.
    pace: Pace,
}

impl Response {
    /// The offset of the body's first octet: 0, or what was asked for.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// The representation's strong `ETag`, to resume by.
    #[must_use]
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// How many octets the body announces.
    #[must_use]
    pub const fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next octets, `None` at the end of the body.
    ///
    /// # Errors
    /// `Silent`, `Slow` and `Broken`; a body shorter than its `Content-Length` is `Broken`.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let address = self.address;
        loop {
            let frame = timeout(SILENCE_MAX, self.body.frame()).await;
            let silent = |_| Error::Silent { address, step: "sending a body", wait: SILENCE_MAX };
            let Some(frame) = frame.map_err(silent)? else { return Ok(None) };
            let frame = frame.map_err(|source| Error::Broken { address, source })?;
            let Ok(data) = frame.into_data() else { continue };
            let now = CoreInstant::ZERO + self.began.elapsed();
            let slow = |TooSlow { octets }| Error::Slow { address, octets };
            self.pace.count(now, data.len()).map_err(slow)?;
            return Ok(Some(data));
        }
    }

    /// The whole body, of at most `limit` octets.
    ///
    /// # Errors
    /// As [`Response::chunk`], and `TooLong` as soon as the bound is passed.
    pub async fn read(mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let too_long = Error::TooLong { address: self.address, limit: limit as u64 };
        if self.length.is_some_and(|length| length > limit as u64) {
            return Err(too_long);
        }
        let mut octets = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if octets.len() + chunk.len() > limit {
                return Err(too_long);
            }
            octets.extend_from_slice(&chunk);
        }
        Ok(octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// A server that answers one connection with `answer` and closes; returns what it was asked.
    async fn serve(answer: &'static [u8]) -> (Origin, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer).await.unwrap();
            String::from_utf8(asked).unwrap()
        });
        (Origin { address, authority: "boot.example:8080".into() }, task)
    }

    async fn get(answer: &'static [u8], from: From<'_>) -> (Result<Response, Error>, String) {
        let (origin, task) = serve(answer).await;
        let response = origin.get("/stable/arm64/vmlinuz", from).await;
        (response, task.await.unwrap())
    }

    #[tokio::test]
    async fn a_whole_body_is_read_and_the_request_is_plain() {
        let (response, asked) = get(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\nhello",
            From::default(),
        )
        .await;
        let response = response.unwrap();
        assert_eq!(
            (response.start(), response.etag(), response.length()),
            (0, Some("\"a\""), Some(5))
        );
        assert_eq!(response.read(5).await.unwrap(), b"hello");
        assert!(asked.starts_with("GET /stable/arm64/vmlinuz HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("host: boot.example:8080\r\n"), "{asked}");
        assert!(asked.contains("accept-encoding: identity\r\n"), "{asked}");
        assert!(
            !asked.contains("range:") && !asked.contains("cookie") && !asked.contains("auth"),
            "{asked}"
        );
    }

    #[tokio::test]
    async fn a_range_is_asked_for_by_its_validator() {
        let from = From { offset: 3, etag: Some("\"a\"") };
        let answer = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\nContent-Range: bytes 3-4/5\r\n\r\nlo";
        let (response, asked) = get(answer, from).await;
        let response = response.unwrap();
        assert_eq!(response.start(), 3);
        assert_eq!(response.read(5).await.unwrap(), b"lo");
        assert!(
            asked.contains("range: bytes=3-\r\n") && asked.contains("if-range: \"a\"\r\n"),
            "{asked}"
        );
    }

    #[tokio::test]
    async fn a_server_that_ignores_the_range_starts_again() {
        let from = From { offset: 3, etag: None };
        let (response, _) = get(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", from).await;
        assert_eq!(response.unwrap().start(), 0);
    }

    #[tokio::test]
    async fn a_range_that_was_not_asked_for_is_refused() {
        let from = From { offset: 3, etag: None };
        let other = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\nContent-Range: bytes 4-4/5\r\n\r\no";
        assert!(matches!(
            get(other, from).await.0,
            Err(Error::Header { header: CONTENT_RANGE, .. })
        ));
        let unasked = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\nContent-Range: bytes 0-0/5\r\n\r\no";
        assert!(matches!(get(unasked, From::default()).await.0, Err(Error::Status { .. })));
        let none = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\no";
        assert!(matches!(get(none, from).await.0, Err(Error::Header { .. })));
    }

    #[tokio::test]
    async fn redirects_and_codings_are_refused_by_name() {
        let moved =
            b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n";
        let error = get(moved, From::default()).await.0.unwrap_err();
        assert!(error.to_string().contains("redirects to http://169.254.169.254/"), "{error}");
        let gzip = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n";
        assert!(matches!(get(gzip, From::default()).await.0, Err(Error::Header { .. })));
    }

    #[tokio::test]
    async fn a_body_longer_than_allowed_is_cut_off() {
        let announced = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!";
        let response = get(announced, From::default()).await.0.unwrap();
        assert!(matches!(response.read(5).await, Err(Error::TooLong { limit: 5, .. })));
        let unannounced = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello!";
        let response = get(unannounced, From::default()).await.0.unwrap();
        assert!(matches!(response.read(5).await, Err(Error::TooLong { limit: 5, .. })));
    }

    #[tokio::test]
    async fn a_body_shorter_than_announced_is_an_error() {
        let response =
            get(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhel", From::default()).await.0;
        assert!(matches!(response.unwrap().read(100).await, Err(Error::Broken { .. })));
    }

    #[tokio::test]
    async fn junk_instead_of_http_is_an_error() {
        assert!(matches!(
            get(b"SSH-2.0-OpenSSH\r\n\r\n", From::default()).await.0,
            Err(Error::Broken { .. })
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Origin { address: listener.local_addr().unwrap(), authority: "a".into() };
        let error = origin.get("/", From::default()).await.unwrap_err();
        assert!(matches!(error, Error::Silent { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_closed_port_names_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let origin = Origin { address, authority: "a".into() };
        let error = origin.get("/", From::default()).await.unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("cannot connect to {address}: ")),
            "{error}"
        );
    }
}
