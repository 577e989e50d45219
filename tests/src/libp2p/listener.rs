//! A listening socket of ours: a thread for it, and one for each connection.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::link::{Link, Local};
use crate::Error;
use crate::netns::Namespace;

/// Accepts and serves connections until it is dropped.
#[derive(Debug)]
pub struct Listener {
    local: Arc<Local>,
    address: SocketAddr,
    on: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens at `address` in `namespace` as the identity of `seed`.
    ///
    /// # Errors
    /// [`Error::Os`] when the address is taken.
    pub fn start(namespace: &Namespace, address: SocketAddr, seed: u8) -> Result<Self, Error> {
        let listener = namespace.inside(|| TcpListener::bind(address))?;
        let local = Local::new(seed, address);
        let on = Arc::new(AtomicBool::new(true));
        let accepting = thread::spawn({
            let (local, on) = (Arc::clone(&local), Arc::clone(&on));
            move || accept_all(&listener, &local, &on)
        });
        Ok(Self { local, address, on, accepting: Some(accepting) })
    }

    /// Who listens, and what it keeps.
    #[must_use]
    pub fn local(&self) -> &Local {
        &self.local
    }

    /// Where it listens, with its peer id.
    #[must_use]
    pub fn multiaddr(&self) -> String {
        format!("{}/p2p/{}", super::multiaddr(self.address), self.local.peer())
    }

    /// Ends it from inside `namespace`, where its socket can be reached.
    fn end(&mut self) {
        self.on.store(false, Ordering::Relaxed);
        if let Some(accepting) = self.accepting.take() {
            // A panic of the thread has been printed already.
            let _ = accepting.join();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.end();
    }
}

fn accept_all(listener: &TcpListener, local: &Arc<Local>, on: &Arc<AtomicBool>) {
    // Looked at now and then, so that the thread ends without a connection to wake it.
    if listener.set_nonblocking(true).is_err() {
        return;
    }
    let mut serving: Vec<JoinHandle<()>> = Vec::new();
    while on.load(Ordering::Relaxed) {
        if let Ok((socket, _)) = listener.accept() {
            let (local, on) = (Arc::clone(local), Arc::clone(on));
            serving.push(thread::spawn(move || serve(socket, &local, &on)));
        } else {
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }
    for one in serving {
        // As above.
        let _ = one.join();
    }
}

fn serve(socket: TcpStream, local: &Arc<Local>, on: &AtomicBool) {
    let served = socket.set_nonblocking(false).is_ok().then(|| Link::accept(local, socket));
    if let Some(Ok(mut link)) = served {
        // Why a connection ended is on the shelf.
        let _ = link.serve_while(|| on.load(Ordering::Relaxed));
    }
}
