//! Listening, accepting, and stopping. Runs on threads of its own, so that a slow disk or a busy download never delays
//! an mDNS answer.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::Shared;
use super::connection::{Gate, Impatient};
use super::routes::router;

/// The port when none is given.
pub const DEFAULT_PORT: u16 = 8080;

/// How long a client may take to send the head of a request, and how long a connection may idle before one.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// Octets of a request's head, more than any of our clients sends.
const HEAD_MAX: usize = 8 * 1024;
/// Header lines of a request.
const HEADERS_MAX: usize = 64;
/// Downloads that are running when the server is stopped may go on for so long.
const DRAIN: Duration = Duration::from_secs(5);
/// Threads that read files; each holds one piece at a time.
const READERS: usize = 16;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 256;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another program listens there.
    #[error(
        "cannot listen on {0}: the port is in use; stop the program that holds it, or choose another with --listen"
    )]
    InUse(SocketAddr),
    /// The address is not ours, the port is privileged, ….
    #[error("cannot listen on {address}: {source}; choose another address or port with --listen")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No threads.
    #[error("cannot start the HTTP server: {0}")]
    Runtime(io::Error),
}

/// Opens the listening socket: at `address`, or at port 8080 of every address, IPv6 and IPv4.
///
/// # Errors
/// When the port is in use or the address cannot be had.
pub fn listen(address: Option<SocketAddr>) -> Result<TcpListener, Error> {
    let Some(address) = address else {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT));
        return match bind(any) {
            // A host without IPv6.
            Err(Error::Listen { .. }) => {
                bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)))
            }
            other => other,
        };
    };
    bind(address)
}

fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            // `[::]` also takes IPv4; any other IPv6 address takes IPv6 alone.
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|source: io::Error| {
        if source.kind() == io::ErrorKind::AddrInUse {
            Error::InUse(address)
        } else {
            Error::Listen { address, source }
        }
    })
}

/// A running server. Dropping it cuts every connection; [`Server::stop`] lets downloads finish first.
#[derive(Debug)]
pub struct Server {
    runtime: Option<Runtime>,
    stop: watch::Sender<bool>,
    address: SocketAddr,
}

impl Server {
    /// Serves on `listener`.
    ///
    /// # Errors
    /// When threads cannot be had.
    pub fn start(listener: TcpListener, shared: Shared) -> Result<Self, Error> {
        let address = listener.local_addr().map_err(Error::Runtime)?;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(cores.min(4))
            .max_blocking_threads(READERS)
            .thread_name("http")
            .enable_all()
            .build()
            .map_err(Error::Runtime)?;
        let (stop, stopped) = watch::channel(false);
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(Error::Runtime)?
        };
        runtime.spawn(accept(listener, shared, stopped));
        Ok(Self { runtime: Some(runtime), stop, address })
    }

    /// Where the server listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, and returns when running downloads are done, at most five seconds later.
    pub async fn stop(mut self) {
        // No receiver is left when no connection is open.
        let _nobody = self.stop.send(true);
        let _late = tokio::time::timeout(DRAIN, self.stop.closed()).await;
        self.shut_down();
    }

    fn shut_down(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shut_down();
    }
}

async fn accept(
    listener: tokio::net::TcpListener,
    shared: Shared,
    mut stopped: watch::Receiver<bool>,
) {
    let gate = Arc::new(Gate::default());
    let service = TowerToHyperService::new(router(shared.clone()));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: some will be closed.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(ticket) = gate.enter(remote.ip()) else {
            shared.counters.connections_refused.count();
            continue;
        };
        shared.counters.connections.count();
        // Answers are written whole; waiting for more only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let io = Impatient::new(stream, Arc::clone(&shared.counters));
        let (service, mut stopped) = (service.clone(), stopped.clone());
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_PATIENCE)
                .max_header_size(HEAD_MAX)
                .max_headers(HEADERS_MAX)
                .serve_connection(TokioIo::new(io), service);
            tokio::pin!(connection);
            let stopping = async { stopped.wait_for(|stop| *stop).await.is_ok() };
            let ended = tokio::select! {
                ended = &mut connection => ended,
                _ = stopping => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%remote, %error, "connection ended");
            }
            drop((ticket, stopped));
        });
    }
}
