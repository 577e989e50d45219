//! What tests of fetching share: connections of the kernel's loopback interface in place of the boot client's own network,
//! a server that misbehaves as told, and images to serve.

pub(crate) mod sample;
pub(crate) mod server;

use std::future::poll_fn;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::Poll;

use embedded_io_async::{ErrorKind, ErrorType};

use crate::executor;
use crate::fetch::dial::{Addresses, Dial, DialError, ResolveError, Stream};

/// Dials by the kernel.
#[derive(Debug, Default)]
pub(crate) struct Loopback {
    /// What every name is resolved to.
    pub(crate) addresses: Addresses,
}

/// A connection of the kernel that does not block.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    watched: Rc<OwnedFd>,
    /// What was read and not taken.
    buffer: Vec<u8>,
}

impl Dial for Loopback {
    type Stream<'a> = Connection;

    async fn ready(&self) {}

    async fn dial(&self, remote: SocketAddr) -> Result<Connection, DialError> {
        // On loopback this ends at once.
        let stream = TcpStream::connect(remote).map_err(|_| DialError::Refused)?;
        stream.set_nonblocking(true).unwrap();
        let watched = Rc::new(OwnedFd::from(stream.try_clone().unwrap()));
        Ok(Connection { stream, watched, buffer: Vec::new() })
    }

    async fn resolve(&self, _host: &str) -> Result<Addresses, ResolveError> {
        if self.addresses.is_empty() {
            return Err(ResolveError::NoAddress);
        }
        Ok(self.addresses.clone())
    }
}

impl ErrorType for Connection {
    type Error = ErrorKind;
}

impl embedded_io_async::Write for Connection {
    async fn write(&mut self, octets: &[u8]) -> Result<usize, ErrorKind> {
        // A request is shorter than any send buffer.
        self.stream.write(octets).map_err(|_| ErrorKind::ConnectionReset)
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl Stream for Connection {
    async fn read_with<R>(
        &mut self,
        take: impl FnOnce(&[u8]) -> (usize, R),
    ) -> Result<Option<R>, ErrorKind> {
        if self.buffer.is_empty() {
            let mut room = vec![0; 65_536];
            let count = poll_fn(|cx| match self.stream.read(&mut room) {
                Ok(count) => Poll::Ready(Ok(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    executor::watch(&self.watched, cx.waker());
                    Poll::Pending
                }
                Err(_) => Poll::Ready(Err(ErrorKind::ConnectionReset)),
            });
            let count = count.await?;
            room.truncate(count);
            self.buffer = room;
        }
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let (count, value) = take(&self.buffer);
        self.buffer.drain(..count);
        Ok(Some(value))
    }
}
