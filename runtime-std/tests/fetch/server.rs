//! An HTTP/1.1 server for tests: serves octets with ranges, and breaks off, lies or goes on for ever as told.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What is answered at a path.
#[derive(Clone)]
pub(crate) enum Answer {
    /// These octets.
    Whole(Vec<u8>),
    /// These octets, but the first connection breaks after so many.
    BreakOnce { octets: Vec<u8>, after: usize },
    /// The octets that were there before, so many of them; later connections are closed at once.
    BreakForGood { after: usize },
    /// A body without length and without end.
    Endless,
    /// Somewhere else.
    Redirect(&'static str),
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    wholes: BTreeMap<String, Vec<u8>>,
    log: Vec<String>,
}

/// The server; it stops with the process.
pub(crate) struct Server {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that went away is no concern of the server.
                let _ = serve(stream.unwrap(), &shared);
            }
        });
        Self { port, state }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn put(&self, path: &str, octets: Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        state.wholes.insert(path.into(), octets.clone());
        state.answers.insert(path.into(), Answer::Whole(octets));
    }

    pub(crate) fn put_answer(&self, path: &str, answer: Answer) {
        self.state.lock().unwrap().answers.insert(path.into(), answer);
    }

    pub(crate) fn break_after(&self, path: &str, after: usize) {
        let octets = self.state.lock().unwrap().wholes[path].clone();
        self.put_answer(path, Answer::BreakOnce { octets, after });
    }

    /// What was asked for: path and `Range`, or `-`.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut range = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("range: ") {
            range = Some(value.to_owned());
        }
    }
    let answer = {
        let mut state = state.lock().unwrap();
        state.log.push(format!("{path} {}", range.as_deref().unwrap_or("-")));
        let answer = state.answers.get(&path).cloned();
        if let Some(Answer::BreakOnce { octets, .. }) = &answer {
            state.answers.insert(path.clone(), Answer::Whole(octets.clone()));
        }
        if let Some(Answer::BreakForGood { after }) = answer {
            state.answers.insert(path.clone(), Answer::BreakForGood { after: 0 });
            Some(Answer::BreakOnce { octets: state.wholes[&path].clone(), after })
        } else {
            answer
        }
    };
    match answer {
        None => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        Some(Answer::Whole(octets)) => send(&mut stream, &octets, range.as_deref(), octets.len()),
        Some(Answer::BreakOnce { octets, after }) => {
            send(&mut stream, &octets, range.as_deref(), after)
        }
        Some(Answer::BreakForGood { .. }) => Ok(()),
        Some(Answer::Endless) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            // Bounded all the same: 64 MiB is more than any client here takes.
            (0..1024).try_for_each(|_| stream.write_all(&[b' '; 65536]))
        }
        Some(Answer::Redirect(to)) => {
            write!(stream, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
        }
    }
}

/// Announces all of the octets that were asked for and sends at most `limit` of them.
fn send(
    stream: &mut TcpStream,
    octets: &[u8],
    range: Option<&str>,
    limit: usize,
) -> std::io::Result<()> {
    let start: usize = range
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
        .unwrap_or(0);
    let rest = &octets[start.min(octets.len())..];
    let (status, extra) = if range.is_some() {
        let last = octets.len() - 1;
        ("206 Partial Content", format!("Content-Range: bytes {start}-{last}/{}\r\n", octets.len()))
    } else {
        ("200 OK", String::new())
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nETag: \"sample\"\r\nContent-Length: {}\r\n{extra}\r\n",
        rest.len()
    );
    if limit == 0 {
        return Ok(());
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(&rest[..limit.min(rest.len())])
}
