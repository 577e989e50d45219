//! TCP connections over the stacks: which interface leads to an address, and a stream there.

use std::future::Future as _;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use embassy_net::tcp::{ConnectError as StackError, State, TcpSocket};
use phase_core::time::Instant;

use super::{Interface, Network};
use crate::clock;

/// Connections of one interface at one time.
pub(super) const CONNECTIONS: usize = 12;

/// Octets that wait to be read: a long flight of segments.
const RECEIVE: usize = 128 * 1024;

/// Octets that wait to be sent.
pub const SEND: usize = 16 * 1024;

/// How long the other side may be silent while something is under way; whole seconds.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Why no connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// No interface leads there.
    NoRoute,
    /// The host refused.
    Refused,
    /// The host did not answer.
    TimedOut,
    /// There are too many connections.
    TooMany,
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::NoRoute => "no interface leads there",
            Self::Refused => "connection refused",
            Self::TimedOut => "no answer",
            Self::TooMany => "too many connections at one time",
        })
    }
}

impl std::error::Error for ConnectError {}

impl Network {
    /// Begins to connect to `remote`, by the interface whose link it is on, or else by the first one that leads beyond
    /// its link. What becomes of it tells [`Stream::poll_connected`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(self, remote: SocketAddr) -> Result<Stream, ConnectError> {
        let interface = self.route(remote).ok_or(ConnectError::NoRoute)?;
        let mut stream = Stream::take(interface).ok_or(ConnectError::TooMany)?;
        let socket = stream.socket_mut();
        socket.set_timeout(Some(embassy_time::Duration::from_secs(SILENCE_MAX.as_secs())));
        // What is given together is sent together, and at once.
        socket.set_nagle_enabled(false);
        // It sends the first segment when it is polled first; after that the state says everything.
        let begun = pin!(socket.connect(remote)).poll(&mut Context::from_waker(Waker::noop()));
        match begun {
            Poll::Pending | Poll::Ready(Ok(())) => Ok(stream),
            Poll::Ready(Err(StackError::NoRoute | StackError::InvalidState)) => {
                Err(ConnectError::NoRoute)
            }
            Poll::Ready(Err(StackError::TimedOut | StackError::ConnectionReset)) => {
                Err(ConnectError::Refused)
            }
        }
    }

    /// The interface that leads to `remote`.
    fn route(self, remote: SocketAddr) -> Option<&'static Interface> {
        let ip = remote.ip();
        if let SocketAddr::V6(v6) = remote
            && v6.ip().is_unicast_link_local()
        {
            let is_its =
                |one: &&&'static Interface| v6.scope_id() == 0 || one.index == v6.scope_id();
            let interfaces = self.interfaces();
            return interfaces.iter().filter(is_its).find(|one| is_on_link(one, ip)).copied();
        }
        let ready = self.configured();
        let on_link = ready.iter().find(|one| is_on_link(one, ip));
        let beyond = || ready.iter().find(|one| one.has_gateway(ip.is_ipv4()));
        on_link.or_else(beyond).copied()
    }
}

fn is_on_link(interface: &Interface, ip: IpAddr) -> bool {
    interface.networks().iter().any(|network| network.contains(ip))
}

/// A connection. It is broken off when it is dropped, unless both sides have ended it.
#[derive(Debug)]
pub struct Stream {
    /// There until it is dropped.
    socket: Option<Socket>,
    begun: Instant,
    home: &'static Interface,
}

struct Socket(TcpSocket<'static>);

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Socket").field(&self.0.state()).finish()
    }
}

impl Stream {
    /// A connection that is not in use.
    fn take(home: &'static Interface) -> Option<Self> {
        let mut idle = home.idle.borrow_mut();
        let socket = match idle.is_empty() {
            false => idle.remove(0),
            true if home.made.get() < CONNECTIONS => {
                home.made.set(home.made.get() + 1);
                TcpSocket::new(home.stack, vec![0; RECEIVE].leak(), vec![0; SEND].leak())
            }
            true => return None,
        };
        Some(Self { socket: Some(Socket(socket)), begun: clock::now(), home })
    }

    /// Ready when the connection is made, or will not be.
    pub fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        let is_silent = clock::now().since(self.begun) >= SILENCE_MAX;
        let socket = self.socket_mut();
        match socket.state() {
            State::Listen | State::SynSent | State::SynReceived => {
                // Nothing can be written before; the stack wakes whoever waits for that when the state changes.
                let _ = pin!(socket.wait_write_ready()).poll(cx);
                Poll::Pending
            }
            // The stack tells silence as a reset too.
            State::Closed | State::TimeWait if is_silent => {
                Poll::Ready(Err(ConnectError::TimedOut))
            }
            State::Closed | State::TimeWait => Poll::Ready(Err(ConnectError::Refused)),
            State::Established
            | State::CloseWait
            | State::FinWait1
            | State::FinWait2
            | State::Closing
            | State::LastAck => Poll::Ready(Ok(())),
        }
    }

    /// Ready when there are octets, of which `take` is shown some, at least one, where they lie, and says how many it took;
    /// or when there are no more to come, because the other side has ended in order: `false`.
    ///
    /// # Errors
    /// The connection broke.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Poll<Result<bool, embassy_net::tcp::Error>> {
        let socket = self.socket_mut();
        // It keeps nothing from one poll to the next.
        let read = ready!(pin!(socket.read_with(|octets| (take(octets), ()))).poll(cx));
        Poll::Ready(match read {
            Ok(()) => Ok(true),
            // The stack tells every end alike; only the state shows that the peer ended it in order.
            Err(error) => match socket.state() {
                State::CloseWait | State::LastAck | State::Closing | State::TimeWait => Ok(false),
                State::Closed
                | State::Listen
                | State::SynSent
                | State::SynReceived
                | State::Established
                | State::FinWait1
                | State::FinWait2 => Err(error),
            },
        })
    }

    /// The socket.
    ///
    /// # Panics
    /// Never: it is there until the stream is dropped.
    #[expect(clippy::unwrap_used, reason = "it is there until the stream is dropped")]
    pub fn socket_mut(&mut self) -> &mut TcpSocket<'static> {
        &mut self.socket.as_mut().unwrap().0
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let Some(Socket(mut socket)) = self.socket.take() else { return };
        if !matches!(socket.state(), State::Closed | State::TimeWait) {
            socket.abort();
        }
        self.home.idle.borrow_mut().push(socket);
    }
}
