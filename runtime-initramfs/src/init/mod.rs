//! The duties of the first process of a machine: mounts, modules, a console, children, and what happens at the end.
//!
//! The first process must never end: the kernel panics when it does. So it does little itself. The work runs in a child
//! process, which may fail in any way, be killed when memory runs out, or begin again from nothing; the first process
//! waits, takes in what other processes leave behind, and does what `phase.on-failure=` says.
//! Spec: init(1) by convention; Documentation/filesystems/ramfs-rootfs-initramfs.rst;
//! Documentation/admin-guide/kernel-parameters.
//! Not here: the work; services; going over to another root file system.

mod modules;
mod mounts;
mod outcome;
mod shell;
mod supervise;

pub use supervise::run;

/// Whether this process is the first of its machine or container.
#[must_use]
pub fn is_first_process() -> bool {
    std::process::id() == 1
}
