//! Dialling by this program's own network.

use std::net::SocketAddr;

use embassy_net::tcp::State;

use super::dial::{Addresses, Dial, DialError, ResolveError, Stream};
use crate::network::{self, ConnectError, Network, Wanted};

impl Dial for Network {
    type Stream<'a> = network::Stream;

    async fn ready(&self) {
        self.wait_configured().await;
    }

    async fn dial(&self, remote: SocketAddr) -> Result<network::Stream, DialError> {
        self.connect(remote).await.map_err(|error| match error {
            ConnectError::NoRoute => DialError::NoRoute,
            ConnectError::Refused => DialError::Refused,
            ConnectError::TimedOut => DialError::TimedOut,
            ConnectError::TooMany => DialError::NoSocket,
        })
    }

    async fn resolve(&self, host: &str) -> Result<Addresses, ResolveError> {
        let found = Self::resolve(self, host, Wanted::Both).await.map_err(|error| match error {
            network::ResolveError::NoServer => ResolveError::NoServer,
            network::ResolveError::NoAddress => ResolveError::NoAddress,
        })?;
        Ok(found.iter().copied().collect())
    }
}

impl Stream for network::Stream {
    async fn read_with<R>(
        &mut self,
        take: impl FnOnce(&[u8]) -> (usize, R),
    ) -> Result<Option<R>, Self::Error> {
        let socket = self.socket_mut();
        match socket.read_with(|octets| take(octets)).await {
            Ok(value) => Ok(Some(value)),
            // The stack tells every end alike; only the state shows that the peer ended it in order.
            Err(error) => match socket.state() {
                State::CloseWait | State::LastAck | State::Closing | State::TimeWait => Ok(None),
                State::Closed
                | State::Listen
                | State::SynSent
                | State::SynReceived
                | State::Established
                | State::FinWait1
                | State::FinWait2 => Err(error),
            },
        }
    }
}
