//! The file systems that the kernel gives, mounted where they are missing.
//! Spec: mount(2), `proc_pid_mountinfo(5)`; Documentation/filesystems/tmpfs.rst.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use nix::mount::{MsFlags, mount};

/// What is mounted in this process's view.
const MOUNTINFO: &str = "/proc/self/mountinfo";

/// A file system and its place.
struct Mount {
    at: &'static str,
    kind: &'static str,
    flags: MsFlags,
    data: Option<&'static str>,
    /// Whether anything fails without it.
    needed: bool,
}

const NO_PROGRAMS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);
const NO_DEVICES: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// In order: a place may be within an earlier one.
const MOUNTS: &[Mount] = &[
    Mount { at: "/proc", kind: "proc", flags: NO_PROGRAMS, data: None, needed: true },
    Mount { at: "/sys", kind: "sysfs", flags: NO_PROGRAMS, data: None, needed: true },
    Mount {
        at: "/dev",
        kind: "devtmpfs",
        flags: MsFlags::MS_NOSUID,
        data: Some("mode=0755"),
        needed: true,
    },
    Mount { at: "/run", kind: "tmpfs", flags: NO_DEVICES, data: Some("mode=0755"), needed: true },
    Mount { at: "/tmp", kind: "tmpfs", flags: NO_DEVICES, data: Some("mode=1777"), needed: true },
    // Says whether the kernel is locked down; not every kernel has it.
    Mount {
        at: "/sys/kernel/security",
        kind: "securityfs",
        flags: NO_PROGRAMS,
        data: None,
        needed: false,
    },
];

/// A file system that could not be mounted.
#[derive(Debug)]
pub(super) struct Failed {
    /// Its place.
    pub(super) at: &'static str,
    /// Its kind.
    pub(super) kind: &'static str,
    /// What the kernel said.
    pub(super) error: io::Error,
}

/// Mounts what is missing; a place where something is mounted is left as it is.
pub(super) fn mount_missing() -> Vec<Failed> {
    let mut failures = Vec::new();
    for Mount { at, kind, flags, data, needed } in MOUNTS {
        if is_mount_point(at) {
            continue;
        }
        // Fails where it is there, or where mounting fails for the same reason.
        let _ = fs::create_dir(at);
        if let Err(errno) = mount(Some(*kind), *at, Some(*kind), *flags, *data)
            && *needed
        {
            failures.push(Failed { at, kind, error: errno.into() });
        }
    }
    failures
}

/// Whether something is mounted here. Before /proc is, a place on another device than its parent's is such a one.
fn is_mount_point(place: &str) -> bool {
    if let Ok(mounts) = fs::read_to_string(MOUNTINFO) {
        return is_among(&mounts, place);
    }
    let device = |path: &str| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    let parent = place.rfind('/').and_then(|at| place.get(..=at)).unwrap_or(place);
    device(place).is_some_and(|own| device(parent) != Some(own))
}

/// Looks for a place among the lines of /proc/self/mountinfo, whose fifth field it is.
fn is_among(mounts: &str, place: &str) -> bool {
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_mounted_and_a_directory_in_it_is_not() {
        assert!(is_mount_point("/proc"));
        assert!(!is_mount_point("/proc/self/fd"));
        assert!(!is_mount_point("/nonexistent"));
    }

    #[test]
    fn a_place_is_found_among_the_kernels_lines() {
        let mounts = "22 28 0:21 / /sys rw,nosuid - sysfs sysfs rw\n\
                      30 28 0:27 /dev /dev rw - tmpfs none rw\n";
        assert!(is_among(mounts, "/dev") && is_among(mounts, "/sys"));
        assert!(!is_among(mounts, "/") && !is_among(mounts, "/dev/pts"));
    }
}
