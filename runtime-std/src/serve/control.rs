//! The control socket: a Unix socket in the state directory, for the user that runs the daemon.
//!
//! One request a connection, one line each way, as JSON: `{"command":"status"}` is answered by
//! `{"status":{…}}`, `{"command":"reload"}` by `{"reloaded":["what needs a restart", …]}`; anything that fails by
//! `{"error":"…"}`.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixListener;
use tokio::sync::oneshot;

use super::{Ask, Asker, ask_status};
use crate::state::StateDir;
use crate::status::Status;

/// How long either side waits for the other; a reload waits for nothing slower than a disk.
const PATIENCE: Duration = Duration::from_secs(5);
/// Octets of a request.
const REQUEST_MAX: u64 = 1024;

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// How the daemon is.
    Status,
    /// Read the configuration again and look at the artifacts directory.
    Reload,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// The answer to [`Request::Status`].
    Status(Box<Status>),
    /// The answer to [`Request::Reload`]: settings that changed and need a restart.
    Reloaded(Vec<String>),
    /// It failed.
    Error(String),
}

/// Why the daemon was not asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None runs with this state directory.
    #[error(
        "no phase-provider runs with the state directory {0}; start one, or give its --state-dir"
    )]
    NotRunning(PathBuf),
    /// It does not answer.
    #[error("the daemon at {path} cannot be asked: {source}")]
    Broken {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It refused.
    #[error("{0}")]
    Refused(String),
}

/// Asks the daemon that uses this state directory.
///
/// # Errors
/// When there is none, or it cannot do it.
pub fn ask(state: &StateDir, request: Request) -> Result<Response, Error> {
    let path = state.control_socket();
    let broken = |source| Error::Broken { path: path.clone(), source };
    let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
    let mut stream = UnixStream::connect(&path).map_err(|source| {
        if nobody.contains(&source.kind()) {
            Error::NotRunning(state.path().to_owned())
        } else {
            broken(source)
        }
    })?;
    let mut answer = String::new();
    let exchange = |stream: &mut UnixStream, answer: &mut String| {
        stream.set_read_timeout(Some(2 * PATIENCE))?;
        let request = serde_json::to_string(&request)? + "\n";
        stream.write_all(request.as_bytes())?;
        stream.read_to_string(answer).map(drop)
    };
    exchange(&mut stream, &mut answer).map_err(broken)?;
    match serde_json::from_str(&answer).map_err(|error| broken(error.into()))? {
        Response::Error(error) => Err(Error::Refused(error)),
        response @ (Response::Status(_) | Response::Reloaded(_)) => Ok(response),
    }
}

/// Opens the socket. The caller holds the state directory's lock, so one that is there is a dead daemon's.
pub(super) fn listen(state: &StateDir) -> io::Result<Listening> {
    let path = state.control_socket();
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(Listening { listener, path })
}

/// The open socket; removed when dropped.
#[derive(Debug)]
pub(super) struct Listening {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Listening {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!("cannot remove {}: {error}", path.display());
    }
}

/// Answers until dropped.
pub(super) async fn serve(listening: &Listening, asker: &Asker) {
    loop {
        match listening.listener.accept().await {
            Ok((stream, _)) => {
                let asker = asker.clone();
                tokio::spawn(async move {
                    match tokio::time::timeout(PATIENCE, answer(stream, asker)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!("control connection: {error}"),
                        Err(_) => tracing::debug!("control connection: no request in time"),
                    }
                });
            }
            Err(error) => {
                tracing::warn!("control socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(stream: tokio::net::UnixStream, asker: Asker) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader.take(REQUEST_MAX)).read_line(&mut line).await?;
    let response = match serde_json::from_str(&line) {
        Ok(request) => obey(request, asker).await,
        Err(error) => Response::Error(format!("not a request: {error}")),
    };
    let text = serde_json::to_string(&response)? + "\n";
    writer.write_all(text.as_bytes()).await?;
    writer.shutdown().await
}

async fn obey(request: Request, asker: Asker) -> Response {
    let answered = match request {
        Request::Status => ask_status(asker).await.map(|status| Response::Status(Box::new(status))),
        Request::Reload => reload(asker).await.map(|outcome| match outcome {
            Ok(restart) => Response::Reloaded(restart),
            Err(error) => Response::Error(error),
        }),
    };
    answered.unwrap_or_else(|| Response::Error("the daemon is stopping".into()))
}

async fn reload(asker: Asker) -> Option<Result<Vec<String>, String>> {
    let (answer, answered) = oneshot::channel();
    asker.send(Ask::Reload(answer)).await.ok()?;
    answered.await.ok()
}
