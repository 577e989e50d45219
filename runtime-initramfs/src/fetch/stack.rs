//! Dialling by this program's own network.

use std::net::{IpAddr, SocketAddr};

use phase_core::time::Instant;

use super::dial::{Dial, DialError, ResolveError, Stream, StreamError};
use crate::executor;
use crate::network::{self, ConnectError, Network, Wanted};

impl Dial for Network {
    fn wait_ready(&self, deadline: Instant) -> bool {
        self.wait_configured(deadline)
    }

    fn dial(&self, remote: SocketAddr, deadline: Instant) -> Result<Box<dyn Stream>, DialError> {
        let mut stream = self.connect(remote)?;
        match executor::wait_until(deadline, |cx| stream.poll_connected(cx)) {
            Some(connected) => connected?,
            None => return Err(DialError::Silent),
        }
        Ok(Box::new(stream))
    }

    fn resolve(&self, host: &str, deadline: Instant) -> Result<Vec<IpAddr>, ResolveError> {
        match executor::finish_until(deadline, Self::resolve(*self, host, Wanted::Both)) {
            Some(Ok(found)) => Ok(found),
            Some(Err(network::ResolveError::NoServer)) => Err(ResolveError::NoServer),
            Some(Err(network::ResolveError::NoAddress)) => Err(ResolveError::NoAddress),
            None => Err(ResolveError::Silent),
        }
    }
}

impl From<ConnectError> for DialError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::NoRoute => Self::NoRoute,
            ConnectError::Refused => Self::Refused,
            ConnectError::TimedOut => Self::TimedOut,
            ConnectError::TooMany => Self::NoSocket,
        }
    }
}

impl Stream for network::Stream {
    fn write_all(&mut self, mut octets: &[u8], deadline: Instant) -> Result<(), StreamError> {
        let socket = self.socket_mut();
        while !octets.is_empty() {
            match executor::finish_until(deadline, socket.write(octets)) {
                Some(Ok(count)) => octets = octets.get(count..).unwrap_or_default(),
                Some(Err(_)) => return Err(StreamError::Broken),
                None => return Err(StreamError::Silent),
            }
        }
        Ok(())
    }

    fn read_with(
        &mut self,
        deadline: Instant,
        take: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Result<bool, StreamError> {
        match executor::wait_until(deadline, |cx| self.poll_read(cx, take)) {
            Some(read) => read.map_err(|_| StreamError::Broken),
            None => Err(StreamError::Silent),
        }
    }
}
