//! A relay of TCP at a distance: it takes connections at once, on the dialer's own host, and carries what is said on
//! them late.
//!
//! What is measured through it are the round trips that a protocol waits for after TCP is set up. A
//! [`crate::cable::Cable`] delays the set-up of TCP as well.
//! Not here: limits of rate, loss, and what TCP itself does over a long way.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::netns::{self, Namespace};
use crate::{Error, deadline};

/// How long the relay sleeps when nobody connects, before it looks whether it should end.
const LOOK_EVERY_MS: u8 = 50;

/// Octets that are carried at once: more than a lookup ever says together.
const PIECE: usize = 64 * 1024;

/// A relay to one address. Dropping it takes no more connections; those that there are go on until either end
/// closes them.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    accepts: Option<JoinHandle<()>>,
}

impl Relay {
    /// Listens on a loopback port of `namespace`, from where `to` has to be reachable. Each octet is under way for
    /// `one_way`, half of a round trip.
    ///
    /// # Errors
    /// [`Error::Os`] when the namespace cannot be entered or has no port left.
    pub fn start(namespace: &Namespace, to: SocketAddr, one_way: Duration) -> Result<Self, Error> {
        let ends = Arc::new(AtomicBool::new(false));
        let (name, until) = (namespace.name().to_owned(), Arc::clone(&ends));
        let (told, bound) = mpsc::channel();
        let accepts = thread::spawn(move || {
            // Sockets belong to the namespace of the thread that makes them.
            let listener = netns::enter(&name).and_then(|()| listen());
            let _ = told.send(
                listener
                    .as_ref()
                    .map_or_else(|error| Err(error.kind().into()), TcpListener::local_addr),
            );
            while let Ok(listener) = &listener
                && !until.load(Ordering::Relaxed)
            {
                accept(listener, to, one_way);
            }
        });
        let address = bound.recv().unwrap_or_else(|_| Err(ErrorKind::BrokenPipe.into()));
        let address = address.map_err(|e| Error::os("listen for a relay", e))?;
        Ok(Self { address, ends, accepts: Some(accepts) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(accepts) = self.accepts.take() {
            // One that panicked takes no more connections either.
            let _ = accepts.join();
        }
    }
}

fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Takes the next connection, if one comes soon.
fn accept(listener: &TcpListener, to: SocketAddr, one_way: Duration) {
    let mut polled = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    if poll(&mut polled, PollTimeout::from(LOOK_EVERY_MS)).is_err() {
        return;
    }
    let Ok((near, _)) = listener.accept() else { return };
    // Who cannot be carried on sees the end of TCP, as through any relay.
    let Ok(far) = TcpStream::connect(to) else { return };
    let prepared = [&near, &far].map(|stream| {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)
    });
    if prepared.iter().any(Result::is_err) {
        return;
    }
    for (from, to) in [(&near, &far), (&far, &near)] {
        let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
        let (late, due) = mpsc::channel();
        thread::spawn(move || take(from, &late, one_way));
        thread::spawn(move || give(to, &due));
    }
}

/// Octets, and when they arrive; none of them are the end.
type Piece = (Instant, Vec<u8>);

/// Reads one direction, and says when each piece of it is there.
fn take(mut from: TcpStream, late: &Sender<Piece>, one_way: Duration) {
    let mut buffer = vec![0; PIECE];
    loop {
        let len = match from.read(&mut buffer) {
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // A reset is carried as an end.
            Err(_) => 0,
        };
        let octets = buffer.get(..len).unwrap_or_default().to_vec();
        if late.send((deadline::now() + one_way, octets)).is_err() || len == 0 {
            return;
        }
    }
}

/// Writes one direction, each piece in its time.
fn give(mut to: TcpStream, due: &Receiver<Piece>) {
    while let Ok((at, octets)) = due.recv() {
        thread::sleep(at.saturating_duration_since(deadline::now()));
        if octets.is_empty() || to.write_all(&octets).is_err() {
            break;
        }
    }
    // An end that is gone needs not to be told.
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::Lan;

    #[test]
    fn a_relay_takes_connections_at_once_and_carries_octets_late() {
        let lan = Lan::apart().unwrap();
        let (here, there) = (lan.host(0), lan.host(1));
        let listener = there.namespace.inside(|| TcpListener::bind((there.ipv4, 0))).unwrap();
        let to = listener.local_addr().unwrap();
        let echo = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut octets = Vec::new();
            stream.read_to_end(&mut octets).unwrap();
            stream.write_all(&octets).unwrap();
        });
        let one_way = Duration::from_millis(200);
        let relay = Relay::start(&here.namespace, to, one_way).unwrap();
        let start = deadline::now();
        let mut stream = here.namespace.inside(|| TcpStream::connect(relay.address())).unwrap();
        let accepted = start.elapsed();
        stream.write_all(b"there and back").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert_eq!(back, b"there and back");
        assert!(start.elapsed() >= one_way * 2);
        assert!(accepted < one_way, "{accepted:?}");
        echo.join().unwrap();
    }
}
