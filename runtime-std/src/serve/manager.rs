//! Telling a service manager how the daemon is: the protocol of `sd_notify(3)`. Nothing happens without one.

use std::env;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// A connection to the service manager, if there is one.
#[derive(Debug)]
pub(super) struct Manager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// Connects as the environment says.
    pub(super) fn connect() -> Self {
        let socket = env::var("NOTIFY_SOCKET").ok().and_then(|name| match open(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!("cannot reach the service manager at {name}: {error}");
                None
            }
        });
        Self { socket, watchdog: watchdog() }
    }

    /// How often [`Manager::alive`] is expected: twice in the time the manager allows.
    pub(super) const fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    pub(super) fn ready(&self) {
        self.say("READY=1\nSTATUS=serving");
    }

    pub(super) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    pub(super) fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    fn say(&self, text: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(text.as_bytes())
        {
            tracing::debug!("the service manager does not listen: {error}");
        }
    }
}

fn open(name: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    #[cfg(target_os = "linux")]
    if let Some(name) = name.strip_prefix('@') {
        use std::os::linux::net::SocketAddrExt as _;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        socket.connect_addr(&address)?;
        return Ok(socket);
    }
    socket.connect(name)?;
    Ok(socket)
}

fn watchdog() -> Option<Duration> {
    let number = |name| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let micros = number("WATCHDOG_USEC").filter(|micros| ours && *micros > 0)?;
    Some(Duration::from_micros(micros / 2))
}
