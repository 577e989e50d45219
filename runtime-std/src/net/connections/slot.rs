//! One TCP connection: what waits to be sent, and what the machine has not been told.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream as StdTcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use nix::errno::Errno;
use phase_core::machine::{CloseReason, ConnectionInput};
use phase_core::time::Instant;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

use super::ready::Doorbell;

/// Octets that wait for one connection at most: the largest Noise message, so that a machine can give one whole.
pub(super) const QUEUE_MAX: usize = 64 * 1024;

/// Octets of room for them that an idle connection keeps.
const QUEUE_KEPT: usize = 4 * 1024;

/// How much is said on a connection beside what the machine says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// It ends in order, and nothing that was said is lost.
    #[default]
    Orderly,
    /// As little as can be: acknowledgements wait for something to leave with, and who dialled breaks the connection off
    /// when it is done. For those who ask a few questions, and say nothing that must arrive.
    Brief,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The system tries to reach the other side.
    Connecting,
    /// Octets go both ways.
    Open,
    /// The machine is done with it: what is left is sent, at the latest until then.
    Closing {
        /// When it is given up.
        until: Instant,
        /// Whether all is sent and the other side was told.
        sent: bool,
    },
    /// Over, and the machine does not know.
    Over(CloseReason),
    /// Over, and nobody wants to know.
    Gone,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Slot {
    stream: TcpStream,
    pub(super) remote: SocketAddr,
    state: State,
    /// Octets that wait; those before `sent` are gone.
    queue: Vec<u8>,
    sent: usize,
    /// What the machine thinks can be sent.
    room_told: usize,
    /// How the machine first hears of it.
    introduced: bool,
    accepted: bool,
    manner: Manner,
    pub(super) bell: Arc<Doorbell>,
    waker: Waker,
}

impl Slot {
    /// Begins to connect.
    ///
    /// # Errors
    /// What the system says at once.
    pub(super) fn dial(
        remote: SocketAddr,
        manner: Manner,
        bell: Arc<Doorbell>,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(remote), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        if manner == Manner::Brief {
            be_brief(&socket)?;
        }
        match socket.connect(&remote.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => {}
            Err(error) => return Err(error),
        }
        let stream = TcpStream::from_std(StdTcpStream::from(socket))?;
        let slot = Self::new(stream, remote, State::Connecting, bell)?;
        Ok(Self { manner, ..slot })
    }

    /// Takes an accepted connection.
    ///
    /// # Errors
    /// When it has ended already.
    pub(super) fn accepted(
        stream: TcpStream,
        remote: SocketAddr,
        bell: Arc<Doorbell>,
    ) -> io::Result<Self> {
        Self::new(stream, remote, State::Open, bell)
    }

    fn new(
        stream: TcpStream,
        remote: SocketAddr,
        state: State,
        bell: Arc<Doorbell>,
    ) -> io::Result<Self> {
        // What is given together is sent together, and at once.
        SockRef::from(&stream).set_tcp_nodelay(true)?;
        let waker = Waker::from(Arc::clone(&bell));
        // The first look at it arms the bell.
        waker.wake_by_ref();
        Ok(Self {
            stream,
            remote,
            accepted: state == State::Open,
            state,
            queue: Vec::new(),
            sent: 0,
            room_told: 0,
            introduced: false,
            manner: Manner::Orderly,
            bell,
            waker,
        })
    }

    pub(super) const fn is_accepted(&self) -> bool {
        self.accepted
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    fn unsent(&self) -> &[u8] {
        self.queue.get(self.sent..).unwrap_or_default()
    }

    fn room(&self) -> usize {
        QUEUE_MAX.saturating_sub(self.unsent().len())
    }

    /// The next thing to tell the machine. After `Closed` the connection must be forgotten.
    pub(super) fn next_news(&mut self) -> Option<ConnectionInput<'static>> {
        match self.state {
            State::Connecting | State::Closing { .. } | State::Gone => None,
            State::Open if !self.introduced => {
                self.introduced = true;
                Some(match self.accepted {
                    true => ConnectionInput::Accepted { remote: self.remote },
                    false => ConnectionInput::Connected,
                })
            }
            // It knows of enough room to go on with otherwise.
            State::Open if self.room_told < QUEUE_MAX / 2 && self.room() > self.room_told => {
                self.room_told = self.room();
                Some(ConnectionInput::Writable { room: self.room_told })
            }
            State::Open => None,
            State::Over(reason) => Some(ConnectionInput::Closed(reason)),
        }
    }

    /// Whether [`Slot::next_news`] has something.
    pub(super) fn has_news(&self) -> bool {
        match self.state {
            State::Connecting | State::Closing { .. } | State::Gone => false,
            State::Open => {
                !self.introduced || (self.room_told < QUEUE_MAX / 2 && self.room() > self.room_told)
            }
            State::Over(_) => true,
        }
    }

    /// Takes octets to send. More than there is room for breaks the contract and ends the connection.
    pub(super) fn give(&mut self, octets: &[u8]) {
        if self.state != State::Open {
            return;
        }
        if octets.len() > self.room() {
            debug_assert!(false, "{} octets given, room for {}", octets.len(), self.room());
            self.state = State::Over(CloseReason::Reset);
            return;
        }
        self.room_told = self.room_told.saturating_sub(octets.len());
        if self.sent > QUEUE_MAX {
            self.queue.drain(..self.sent);
            self.sent = 0;
        }
        self.queue.extend_from_slice(octets);
    }

    /// The machine is done with it.
    pub(super) fn close(&mut self, until: Instant) {
        let is_said = self.manner == Manner::Brief && self.unsent().is_empty();
        if self.state == State::Open && !is_said {
            self.state = State::Closing { until, sent: false };
            self.waker.wake_by_ref();
        } else {
            self.state = State::Gone;
        }
    }

    /// Sends what the system takes now.
    pub(super) fn flush(&mut self) {
        let Self { stream, queue, sent, waker, .. } = self;
        let mut cx = Context::from_waker(waker);
        while let Some(octets) = queue.get(*sent..).filter(|octets| !octets.is_empty()) {
            match Pin::new(&mut *stream).poll_write(&mut cx, octets) {
                Poll::Ready(Ok(0)) | Poll::Pending => return,
                Poll::Ready(Ok(count)) => *sent += count,
                Poll::Ready(Err(error)) => return self.fail(&error),
            }
        }
        *sent = 0;
        if queue.capacity() > QUEUE_KEPT {
            *queue = Vec::new();
        } else {
            queue.clear();
        }
    }

    /// Does what can be done without waiting; how many octets for the machine are in `buffer`.
    pub(super) fn advance(&mut self, buffer: &mut [u8]) -> Option<usize> {
        if self.state == State::Connecting && !self.connect() {
            return None;
        }
        self.flush();
        match self.state {
            State::Connecting | State::Over(_) | State::Gone => None,
            State::Open if !self.introduced => {
                self.waker.wake_by_ref();
                None
            }
            // Who does not take what it asked for is not listened to either.
            State::Open if self.room() == 0 => None,
            State::Open => self.receive(buffer),
            State::Closing { until, sent } => {
                if self.unsent().is_empty() {
                    if !sent {
                        self.shut_down(until);
                    }
                    // What still comes is taken from the system: it would break the connection off, and with it what
                    // is under way, if it had to drop any.
                    self.receive(buffer);
                }
                None
            }
        }
    }

    fn shut_down(&mut self, until: Instant) {
        self.state = State::Closing { until, sent: true };
        if let Err(error) = SockRef::from(&self.stream).shutdown(Shutdown::Write) {
            self.fail(&error);
        }
    }

    /// Whether it is connected now.
    fn connect(&mut self) -> bool {
        let mut cx = Context::from_waker(&self.waker);
        match self.stream.poll_write_ready(&mut cx) {
            Poll::Pending => return false,
            Poll::Ready(Err(error)) => {
                self.fail(&error);
                return false;
            }
            Poll::Ready(Ok(())) => {}
        }
        match self.stream.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => {
                self.fail(&error);
                return false;
            }
        }
        self.state = State::Open;
        true
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let mut room = ReadBuf::new(buffer);
        let mut cx = Context::from_waker(&self.waker);
        match Pin::new(&mut self.stream).poll_read(&mut cx, &mut room) {
            Poll::Pending => None,
            Poll::Ready(Ok(())) if room.filled().is_empty() => {
                self.end(CloseReason::Ended);
                None
            }
            Poll::Ready(Ok(())) => {
                let count = room.filled().len();
                // Others first, then it is looked at again.
                self.waker.wake_by_ref();
                Some(count)
            }
            Poll::Ready(Err(error)) => {
                self.fail(&error);
                None
            }
        }
    }

    fn fail(&mut self, error: &io::Error) {
        let connecting = self.state == State::Connecting;
        tracing::debug!(remote = %self.remote, connecting, %error, "connection lost");
        self.end(reason(error, connecting));
    }

    fn end(&mut self, reason: CloseReason) {
        self.state = match self.state {
            State::Connecting | State::Open | State::Over(_) => State::Over(reason),
            State::Closing { .. } | State::Gone => State::Gone,
        };
    }
}

/// Sets a socket up for [`Manner::Brief`].
fn be_brief(socket: &Socket) -> io::Result<()> {
    // tcp(7): acknowledgements are delayed from the start, also the one that ends the handshake. Others delay them by
    // themselves once both sides have spoken.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_quickack(false)?;
    // One packet ends the connection, instead of an end in order, and what the other side says to it.
    socket.set_linger(Some(Duration::ZERO))
}

/// What an error of the system means to a machine.
pub(super) fn reason(error: &io::Error, connecting: bool) -> CloseReason {
    use io::ErrorKind as Kind;
    let kind = error.kind();
    let is_one_of = |kinds: &[Kind]| kinds.contains(&kind);
    if kind == Kind::ConnectionRefused {
        CloseReason::Refused
    } else if kind == Kind::TimedOut {
        CloseReason::TimedOut
    } else if connecting
        || is_one_of(&[Kind::NetworkUnreachable, Kind::HostUnreachable, Kind::NetworkDown])
    {
        // Also no address to leave from, a firewall, no descriptor left, a scope that is missing.
        CloseReason::Unreachable
    } else {
        CloseReason::Reset
    }
}
