//! The octets of a file as a response body: read in large pieces on blocking threads, one piece ahead of the
//! connection, and cut off when the file turns out not to be what was hashed.

use std::future::Future as _;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::task::JoinHandle;

use super::counters::Counters;
use crate::artifacts::Artifact;

/// Octets read at a time; at most three such pieces are held for one connection.
const PIECE: usize = 512 * 1024;

/// Octets up to which a body is read at once in the request's own task: a page cache hit costs less than a change of
/// threads.
const SMALL: u64 = 64 * 1024;

/// Buffers of one body, used again once the connection has sent them.
type Pool = Arc<Mutex<Vec<Vec<u8>>>>;

/// A buffer lent to the connection.
struct Lent {
    buffer: Vec<u8>,
    len: usize,
    pool: Pool,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// A part of a file that is being sent.
pub(super) struct FileBody {
    artifact: Arc<Artifact>,
    rest: Range<u64>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    pool: Pool,
    counters: Arc<Counters>,
}

impl FileBody {
    pub(super) fn new(artifact: &Artifact, part: Range<u64>, counters: Arc<Counters>) -> Self {
        let artifact = Arc::new(artifact.clone());
        Self { artifact, rest: part, reading: None, pool: Pool::default(), counters }
    }

    /// Whether reading needs no other thread.
    pub(super) const fn is_small(part: &Range<u64>) -> bool {
        part.end - part.start <= SMALL
    }

    /// Reads a small part at once.
    pub(super) fn read_small(artifact: &Artifact, part: Range<u64>) -> io::Result<Bytes> {
        let mut buffer = vec![0; usize::try_from(part.end - part.start).unwrap_or(0)];
        read(artifact, &mut buffer, part.start)?;
        Ok(buffer.into())
    }

    fn start_reading(&mut self) -> &mut JoinHandle<io::Result<Bytes>> {
        let (artifact, pool) = (Arc::clone(&self.artifact), Arc::clone(&self.pool));
        let at = self.rest.start;
        let len = PIECE.min(usize::try_from(self.rest.end - at).unwrap_or(PIECE));
        self.rest.start += len as u64;
        self.reading.insert(tokio::task::spawn_blocking(move || {
            let reused = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut buffer = reused.unwrap_or_else(|| vec![0; len]);
            read(&artifact, &mut buffer[..len], at)?;
            Ok(Bytes::from_owner(Lent { buffer, len, pool }))
        }))
    }
}

/// Fills `buffer` from `at`; an error if the file is shorter or no longer what was hashed.
fn read(artifact: &Artifact, buffer: &mut [u8], at: u64) -> io::Result<()> {
    artifact.file.read_exact_at(buffer, at)?;
    if artifact.is_unchanged() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the file changed while it was sent"))
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.reading.is_none() {
            if self.rest.is_empty() {
                return Poll::Ready(None);
            }
            self.start_reading();
        }
        let Some(reading) = self.reading.as_mut() else { return Poll::Ready(None) };
        let piece = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        let piece = piece.map_err(io::Error::other).flatten();
        match &piece {
            Ok(piece) => {
                self.counters.artifact_octets.add(piece.len() as u64);
                if !self.rest.is_empty() {
                    self.start_reading();
                }
            }
            Err(_) => {
                self.counters.changed_files.count();
                self.rest.start = self.rest.end;
            }
        }
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.reading.is_none() && self.rest.is_empty()
    }
}
