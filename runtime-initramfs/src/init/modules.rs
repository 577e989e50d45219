//! Kernel modules, from the list in the initramfs.
//!
//! ```text
//! # a path in each line, those that others need first; after it, parameters
//! /lib/modules/6.1.0-56-cloud-arm64/kernel/drivers/virtio/virtio_mmio.ko
//! /lib/modules/6.1.0-56-cloud-arm64/kernel/drivers/net/virtio_net.ko napi_tx=0
//! ```
//!
//! Spec: `finit_module(2)`.
//! Not here: finding out which modules a machine needs; unpacking them.

use std::ffi::CString;
use std::fmt;
use std::fs::{self, File};
use std::io;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

/// Where the list is.
pub(super) const LIST: &str = "/etc/phase/modules";

/// What came of a list.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// How many were loaded.
    pub(super) loaded: usize,
    /// How many were there before.
    pub(super) present: usize,
    /// Those that were not.
    pub(super) failures: Vec<Failed>,
}

/// A module that was not loaded.
#[derive(Debug)]
pub(super) struct Failed {
    path: String,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Read(io::Error),
    Load(Errno),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, problem } = self;
        write!(f, "{path}: ")?;
        match problem {
            Problem::Read(error) => error.fmt(f),
            Problem::Load(errno) => {
                io::Error::from(*errno).fmt(f)?;
                f.write_str(meaning(*errno))
            }
        }
    }
}

/// What a number means here, where its text misleads.
fn meaning(errno: Errno) -> &'static str {
    if errno == Errno::ENOENT {
        " (it needs another module, which must be listed before it)"
    } else if errno == Errno::ENOEXEC {
        " (it is packed, or built for another kernel)"
    } else if errno == Errno::ENODEV {
        " (this machine has no such device)"
    } else if errno == Errno::EPERM {
        " (the kernel is locked down, and the module's signature is gone or unknown)"
    } else if errno == Errno::EKEYREJECTED || errno == Errno::ENOKEY {
        " (the kernel does not know the key that it is signed with)"
    } else {
        ""
    }
}

/// Loads every module of the list; `None` where there is no list.
///
/// # Errors
/// A list that cannot be read.
pub(super) fn load_listed() -> io::Result<Option<Report>> {
    match fs::read_to_string(LIST) {
        Ok(list) => Ok(Some(load_all(&list))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Loads in order; one that fails does not keep the others from being loaded.
fn load_all(list: &str) -> Report {
    let mut report = Report::default();
    for (path, parameters) in entries(list) {
        match load(path, parameters) {
            Ok(()) => report.loaded += 1,
            Err(Problem::Load(Errno::EEXIST)) => report.present += 1,
            Err(problem) => report.failures.push(Failed { path: path.to_owned(), problem }),
        }
    }
    report
}

/// Path and parameters of each line.
fn entries(list: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = list.lines().map(str::trim_ascii);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once([' ', '\t']).unwrap_or((line, "")))
}

fn load(path: &str, parameters: &str) -> Result<(), Problem> {
    let file = File::open(path).map_err(Problem::Read)?;
    let parameters = CString::new(parameters.trim_ascii()).map_err(|e| Problem::Read(e.into()))?;
    finit_module(&file, &parameters, ModuleInitFlags::empty()).map_err(Problem::Load)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_paths_with_parameters_in_order() {
        let list = "# needed first\n/a.ko\n\n  /b.ko  napi_tx=0 x=1 \n#/c.ko\n";
        let all: Vec<_> = entries(list).collect();
        assert_eq!(all, [("/a.ko", ""), ("/b.ko", " napi_tx=0 x=1")]);
    }

    #[test]
    fn a_module_that_is_missing_is_named_and_the_next_one_is_tried() {
        let report = load_all("/nonexistent/a.ko\n/nonexistent/b.ko\n");
        assert_eq!((report.loaded, report.present), (0, 0));
        let texts: Vec<_> = report.failures.iter().map(Failed::to_string).collect();
        assert_eq!(texts[1], "/nonexistent/b.ko: No such file or directory (os error 2)");
        assert_eq!(texts.len(), 2);
    }

    #[test]
    fn what_the_kernel_says_of_a_module_is_explained() {
        let failed = |errno| Failed { path: "/a.ko".into(), problem: Problem::Load(errno) };
        assert_eq!(
            failed(Errno::ENOEXEC).to_string(),
            "/a.ko: Exec format error (os error 8) (it is packed, or built for another kernel)"
        );
        let other = failed(Errno::EIO).to_string();
        assert!(other.starts_with("/a.ko: ") && other.ends_with("(os error 5)"), "{other}");
    }
}
