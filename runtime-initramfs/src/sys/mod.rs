//! Calls of the kernel that nothing safe wraps. Everything that is public here is safe to call.

#![expect(unsafe_code, reason = "the kernel's interfaces are C")]

pub mod interface;
pub mod kexec;
pub mod netlink;
pub mod output;
pub mod packet;
pub mod process;
pub mod random;
pub mod time;

use std::io;

/// The result of a call that tells failure by a negative number.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
