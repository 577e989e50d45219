//! What tests of fetching share: connections of the kernel's loopback interface in place of the boot client's own network,
//! a server that misbehaves as told, and images to serve.

pub(crate) mod sample;
pub(crate) mod server;

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::Poll;

use phase_core::time::Instant;

use crate::executor;
use crate::fetch::dial::{Dial, DialError, ResolveError, Stream, StreamError};

/// Dials by the kernel.
#[derive(Debug, Default)]
pub(crate) struct Loopback {
    /// What every name is resolved to.
    pub(crate) addresses: Vec<IpAddr>,
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
    fn wait_ready(&self, _deadline: Instant) -> bool {
        true
    }

    fn dial(&self, remote: SocketAddr, _deadline: Instant) -> Result<Box<dyn Stream>, DialError> {
        // On loopback this ends at once.
        let stream = TcpStream::connect(remote).map_err(|_| DialError::Refused)?;
        stream.set_nonblocking(true).unwrap();
        let watched = Rc::new(OwnedFd::from(stream.try_clone().unwrap()));
        Ok(Box::new(Connection { stream, watched, buffer: Vec::new() }))
    }

    fn resolve(&self, _host: &str, _deadline: Instant) -> Result<Vec<IpAddr>, ResolveError> {
        if self.addresses.is_empty() {
            return Err(ResolveError::NoAddress);
        }
        Ok(self.addresses.clone())
    }
}

impl Stream for Connection {
    fn write_all(&mut self, octets: &[u8], _deadline: Instant) -> Result<(), StreamError> {
        // A request is shorter than any send buffer.
        self.stream.write_all(octets).map_err(|_| StreamError::Broken)
    }

    fn read_with(
        &mut self,
        deadline: Instant,
        take: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Result<bool, StreamError> {
        if self.buffer.is_empty() {
            let mut room = vec![0; 65_536];
            let read = executor::wait_until(deadline, |cx| match self.stream.read(&mut room) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    executor::watch(&self.watched, cx.waker());
                    Poll::Pending
                }
                read => Poll::Ready(read.map_err(|_| StreamError::Broken)),
            });
            room.truncate(read.unwrap_or(Err(StreamError::Silent))?);
            self.buffer = room;
        }
        if self.buffer.is_empty() {
            return Ok(false);
        }
        let count = take(&self.buffer);
        self.buffer.drain(..count);
        Ok(true)
    }
}
