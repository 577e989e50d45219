//! One connection: a socket that may not stall, and how many there may be.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::counters::Counters;

/// Connections open at once.
const CONNECTIONS_MAX: usize = 512;
/// Connections open at once from one address.
const CONNECTIONS_PER_SOURCE: usize = 64;
/// How long a client may take no octet of what is being sent to it.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// Counts open connections.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<BTreeMap<IpAddr, usize>>);

/// The right to one connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    gate: Arc<Gate>,
    source: IpAddr,
}

impl Gate {
    /// A ticket for a connection from `source`; `None` when there are enough.
    pub(super) fn enter(self: &Arc<Self>, source: IpAddr) -> Option<Ticket> {
        let source = source.to_canonical();
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = open.get(&source).copied().unwrap_or(0);
        if ours >= CONNECTIONS_PER_SOURCE || open.values().sum::<usize>() >= CONNECTIONS_MAX {
            return None;
        }
        open.insert(source, ours + 1);
        Some(Ticket { gate: Arc::clone(self), source })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = self.gate.0.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&self.source)),
        }
    }
}

/// A socket whose writes fail when the client takes nothing for [`WRITE_PATIENCE`]. Reads are bounded by hyper's limit
/// on the time a request's head may take, idle connections included.
pub(super) struct Impatient {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    waiting: bool,
    counters: Arc<Counters>,
}

impl Impatient {
    pub(super) fn new(stream: TcpStream, counters: Arc<Counters>) -> Self {
        Self { stream, deadline: Box::pin(sleep(WRITE_PATIENCE)), waiting: false, counters }
    }

    /// Passes on the outcome of a write, and fails one that has been pending for too long.
    fn bound<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.waiting = false;
            return outcome;
        }
        if !self.waiting {
            self.waiting = true;
            self.deadline.as_mut().reset(Instant::now() + WRITE_PATIENCE);
        }
        match self.deadline.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                self.counters.connections_timed_out.count();
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, octets);
        self.bound(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.bound(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn one_source_cannot_take_every_connection() {
        let gate = Arc::new(Gate::default());
        let source = |n: u8| IpAddr::V4(Ipv4Addr::new(192, 0, 2, n));
        let mut tickets: Vec<_> =
            (0..CONNECTIONS_PER_SOURCE).map_while(|_| gate.enter(source(1))).collect();
        assert_eq!(tickets.len(), CONNECTIONS_PER_SOURCE);
        assert!(gate.enter(source(1)).is_none());
        let mapped = IpAddr::V6(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped());
        assert!(gate.enter(mapped).is_none(), "the same source through an IPv6 socket");
        assert!(gate.enter(source(2)).is_some());
        tickets.pop();
        assert!(gate.enter(source(1)).is_some());
    }

    #[test]
    fn the_number_of_connections_is_bounded() {
        let gate = Arc::new(Gate::default());
        let sources = (0..=u8::MAX).map(|n| IpAddr::V4(Ipv4Addr::new(192, 0, 2, n)));
        let tickets: Vec<_> =
            sources.cycle().take(2 * CONNECTIONS_MAX).filter_map(|s| gate.enter(s)).collect();
        assert_eq!(tickets.len(), CONNECTIONS_MAX);
        drop(tickets);
        assert!(gate.0.lock().unwrap().is_empty());
    }
}
