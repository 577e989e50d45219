//! What the kernel does on an interface, and must not do while a stack of our own does it: IPv6.
//!
//! Both would make the same addresses of the same Ethernet address, and the kernel would break off connections to them
//! that it knows nothing of.

use std::fs;
use std::io;
use std::path::PathBuf;

/// Whether the kernel leaves IPv6 on an interface to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ipv6 {
    /// It does nothing there by itself.
    Free,
    /// It was turned off for this run.
    TurnedOff,
    /// It is on, and cannot be turned off.
    Taken,
}

/// Turns the kernel's IPv6 on an interface off.
pub(super) fn turn_ipv6_off(name: &str) -> Ipv6 {
    match fs::read_to_string(path(name)) {
        // A kernel without IPv6, or a system without /proc, where nobody has turned it on.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ipv6::Free,
        Ok(value) if value.trim() == "1" => Ipv6::Free,
        Ok(_) if fs::write(path(name), "1").is_ok() => Ipv6::TurnedOff,
        Ok(_) | Err(_) => Ipv6::Taken,
    }
}

/// Turns it on again. An interface that is gone has none.
pub(super) fn turn_ipv6_on(name: &str) {
    let _ = fs::write(path(name), "0");
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"))
}
