//! Opens the UDP sockets that a driver needs.

use std::io;

use phase_core::machine::Family;

use super::socket::Socket;
use super::{Error, MDNS_PORT};

/// Opens port 5353, and with `ephemeral` ports of our own too; also tells whether nobody had port 5353 before.
///
/// # Errors
/// [`Error::Socket`] where neither IPv4 nor IPv6 gives a socket that is needed.
pub(crate) fn open_sockets(ephemeral: bool) -> Result<(Vec<Socket>, bool), Error> {
    let mut sockets = Vec::with_capacity(4);
    if ephemeral {
        open_both(0, |family| {
            sockets.push(Socket::ephemeral(family)?);
            Ok(())
        })?;
    }
    let mut first_binder = true;
    let shared = open_both(MDNS_PORT, |family| {
        let (socket, first) = Socket::mdns(family)?;
        first_binder &= first;
        sockets.push(socket);
        Ok(())
    });
    match shared {
        Ok(()) => {}
        Err(error) if ephemeral => {
            tracing::warn!("{error}. Only one-shot queries are sent, and no announcement is heard");
        }
        Err(error) => return Err(error),
    }
    Ok((sockets, first_binder))
}

/// Opens what `open` opens for IPv4 and IPv6; one of them is enough.
fn open_both(port: u16, mut open: impl FnMut(Family) -> io::Result<()>) -> Result<(), Error> {
    let v4 = open(Family::V4);
    let v6 = open(Family::V6);
    match (v4, v6) {
        (Err(_), Err(source)) => Err(Error::Socket { port, source }),
        (Err(error), Ok(())) => {
            tracing::debug!(port, %error, "IPv6 only");
            Ok(())
        }
        (Ok(()), Err(error)) => {
            tracing::debug!(port, %error, "IPv4 only");
            Ok(())
        }
        (Ok(()), Ok(())) => Ok(()),
    }
}
