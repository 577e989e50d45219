//! An HTTP/1.1 server: serves octets with ranges, and breaks off, lies, trickles or goes on for ever as told.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use phase_core::wire::url::Url;

/// What is answered at a path.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// These octets, or the range of them that is asked for.
    Whole(Vec<u8>),
    /// The same; ranges are ignored.
    NoRanges(Vec<u8>),
    /// Announces these octets, and breaks after so many.
    Break(Vec<u8>, usize),
    /// These octets with another `ETag`: a range that is asked for by the earlier one is ignored.
    Changed(Vec<u8>),
    /// Exactly this, head and body.
    Raw(Vec<u8>),
    /// A status without a body.
    Status(u16),
    /// A body without length and without end.
    Endless,
    /// Header fields without end.
    EndlessHead,
    /// Says nothing, until the peer goes away.
    Silence,
    /// A head and the first octet of the body, then nothing until the peer goes away.
    Stall,
}

#[derive(Default)]
struct State {
    /// What is answered at a path, in turn; the last one for ever.
    answers: BTreeMap<String, Vec<Answer>>,
    log: Vec<String>,
}

/// The server; it stops with the process.
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                // A client that went away is no concern of the server.
                thread::spawn(move || drop(serve(stream.unwrap(), &shared)));
            }
        });
        Self { address, state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse_any(&format!("http://{}{path}", self.address)).unwrap()
    }

    pub(crate) fn put(&self, path: &str, answer: Answer) {
        self.put_in_turn(path, vec![answer]);
    }

    pub(crate) fn put_in_turn(&self, path: &str, answers: Vec<Answer>) {
        self.state.lock().unwrap().answers.insert(path.into(), answers);
    }

    /// What was asked for since this was called last: path, `Range` and `If-Range`, or `-`.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut range, mut condition) = (None, None);
    for line in lines {
        let line = line?;
        match line.split_once(": ") {
            Some(("Range", value)) => range = Some(value.to_owned()),
            Some(("If-Range", value)) => condition = Some(value.to_owned()),
            Some(_) => {}
            None => break,
        }
    }
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
    let answer = {
        let mut state = state.lock().unwrap();
        state.log.push(format!("{path} {} {}", shown(&range), shown(&condition)));
        match state.answers.get_mut(&path) {
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
            None => Answer::Status(404),
        }
    };
    let offset =
        range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    answer_with(&mut stream, answer, offset, condition.as_deref())
}

fn answer_with(
    stream: &mut TcpStream,
    answer: Answer,
    offset: Option<usize>,
    condition: Option<&str>,
) -> std::io::Result<()> {
    match answer {
        Answer::Whole(octets) => send(stream, &octets, offset, "\"one\"", usize::MAX),
        Answer::NoRanges(octets) => send(stream, &octets, None, "\"one\"", usize::MAX),
        Answer::Break(octets, after) => send(stream, &octets, offset, "\"one\"", after),
        Answer::Changed(octets) => {
            let offset = offset.filter(|_| condition.is_none_or(|etag| etag == "\"two\""));
            send(stream, &octets, offset, "\"two\"", usize::MAX)
        }
        Answer::Raw(octets) => stream.write_all(&octets),
        Answer::Status(status) => {
            write!(stream, "HTTP/1.1 {status} Told\r\nContent-Length: 0\r\n\r\n")
        }
        // Bounded all the same: more than any client here takes.
        Answer::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            (0..1024).try_for_each(|_| stream.write_all(&[b' '; 65_536]))
        }
        Answer::EndlessHead => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            (0..1_000_000).try_for_each(|_| stream.write_all(b"X-Filler: as long as one field\r\n"))
        }
        Answer::Silence => wait_for_end(stream),
        Answer::Stall => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1200000\r\n\r\nx")?;
            wait_for_end(stream)
        }
    }
}

fn wait_for_end(stream: &mut TcpStream) -> std::io::Result<()> {
    std::io::Read::read(stream, &mut [0]).map(drop)
}

/// Announces all of the octets that were asked for and sends at most `limit` of them.
fn send(
    stream: &mut TcpStream,
    octets: &[u8],
    offset: Option<usize>,
    etag: &str,
    limit: usize,
) -> std::io::Result<()> {
    let start = offset.unwrap_or(0).min(octets.len());
    let rest = &octets[start..];
    let (status, range) = match offset {
        Some(_) => {
            let (last, total) = (octets.len() - 1, octets.len());
            ("206 Partial Content", format!("Content-Range: bytes {start}-{last}/{total}\r\n"))
        }
        None => ("200 OK", String::new()),
    };
    let length = rest.len();
    write!(stream, "HTTP/1.1 {status}\r\nETag: {etag}\r\nContent-Length: {length}\r\n{range}\r\n")?;
    stream.write_all(&rest[..limit.min(length)])
}
