//! A listening TCP socket.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::ready::Doorbell;

/// Connections that the system keeps until they are accepted.
const BACKLOG: i32 = 128;

/// What one look brought.
#[derive(Debug)]
pub(super) enum Accept {
    /// A connection and where it comes from.
    Connection(TcpStream, SocketAddr),
    /// Nobody waits; the bell rings.
    Nothing,
    /// The system has no room for another connection.
    NoRoom(io::Error),
}

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    io: TcpListener,
    pub(super) address: SocketAddr,
    bell: Arc<Doorbell>,
    waker: Waker,
}

impl Listener {
    /// Listens; IPv4 and IPv6 never share a socket.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn open(address: SocketAddr, bell: Arc<Doorbell>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // Connections of an earlier run that the system still remembers are in nobody's way.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let io = TcpListener::from_std(StdTcpListener::from(socket))?;
        let address = io.local_addr()?;
        let waker = Waker::from(Arc::clone(&bell));
        // The first look at it arms the bell.
        waker.wake_by_ref();
        Ok(Self { io, address, bell, waker })
    }

    /// Has it looked at.
    pub(super) fn wake(&self) {
        self.waker.wake_by_ref();
    }

    /// Lets its bell ring again.
    pub(super) fn answer(&self) {
        self.bell.answer();
    }

    /// Accepts one connection.
    pub(super) fn accept(&self) -> Accept {
        match self.io.poll_accept(&mut Context::from_waker(&self.waker)) {
            Poll::Pending => Accept::Nothing,
            Poll::Ready(Ok((stream, remote))) => {
                // Others first, then it is looked at again.
                self.wake();
                Accept::Connection(stream, remote)
            }
            Poll::Ready(Err(error)) if is_shortage(&error) => Accept::NoRoom(error),
            // The connection ended before it was accepted, or the network said something of it.
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "not accepted");
                self.wake();
                Accept::Nothing
            }
        }
    }
}

fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    error.raw_os_error().is_some_and(|code| shortages.contains(&Errno::from_raw(code)))
}
