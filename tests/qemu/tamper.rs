//! Somebody between a machine and its provider who changes an octet of what is long.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use phase_tests::netns::Host;

/// Where it listens; a provider tells this address in the place of its own.
pub(crate) const URL: &str = "http://10.77.0.1:8090/";

const PORT: u16 = 8090;

/// The provider's own port.
const PROVIDER: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 8080);

/// Which octet of a connection is changed: one in the middle of a kernel, and after every manifest and initramfs.
const CHANGED: usize = 10_000_000;

/// Hands connections on until it is dropped.
pub(crate) struct Tamperer {
    ends: Arc<AtomicBool>,
}

impl Tamperer {
    pub(crate) fn start(host: &Host) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ends);
        // A thread stays in the network namespace of the one that it was started by.
        let start = || {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
            listener.set_nonblocking(true)?;
            thread::spawn(move || accept(&listener, &flag));
            Ok(())
        };
        host.namespace.inside(start).unwrap();
        Self { ends }
    }
}

impl Drop for Tamperer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

fn accept(listener: &TcpListener, ends: &AtomicBool) {
    while !ends.load(Ordering::Relaxed) {
        let Ok((client, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        // Whoever cannot be handed on sees its connection end.
        let _ = hand_on(client);
    }
}

fn hand_on(client: TcpStream) -> std::io::Result<()> {
    client.set_nonblocking(false)?;
    let provider = TcpStream::connect(PROVIDER)?;
    let (asking, asked) = (client.try_clone()?, provider.try_clone()?);
    thread::spawn(move || copy(asking, asked, usize::MAX));
    thread::spawn(move || copy(provider, client, CHANGED));
    Ok(())
}

/// Copies to the end, with the octet at `changed` changed.
fn copy(mut from: TcpStream, mut to: TcpStream, changed: usize) {
    let mut buffer = vec![0; 1 << 16];
    let mut done = 0;
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if let Some(octet) = changed.checked_sub(done).and_then(|at| buffer[..count].get_mut(at)) {
            *octet ^= 1;
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        done += count;
    }
    // The other end may have gone first.
    let _ = to.shutdown(Shutdown::Write);
}
