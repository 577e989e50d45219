//! Debian's kernel and busybox for virtual machines, unpacked below `target/qemu` without installing them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use phase_tests::process::run;
use phase_tests::qemu::{Board, Kernel};

use crate::statics::Processor;
use crate::steps::{step, to_the_end};
use crate::{Error, install};

/// What downloading and unpacking needs.
const TOOLS: &[install::Tool] =
    &[install::program("depmod", "kmod"), install::program("dpkg", "dpkg")];

/// Gives Debian's kernel for `processor`, downloaded when it is not there.
///
/// # Errors
/// [`Error::Missing`] where the machine has no apt-get, or does not know packages for this processor and this user may not
/// change that.
pub(crate) fn debian(processor: Processor) -> Result<Kernel, Error> {
    let (board, name) = (processor.board(), processor.name());
    let directory = board.kernel_directory();
    if Kernel::find(&directory, None).is_err() {
        install::tools(TOOLS)?;
        step(&format!("download Debian's kernel for {name} (once, into target/qemu)"), || {
            unpacked(processor, || newest(board), &directory)
        })?;
    }
    Ok(Kernel::find(&directory, None)?)
}

/// Brings Debian's busybox for `processor`, which the images of tests start.
///
/// # Errors
/// As [`debian`].
pub(crate) fn with_busybox(processor: Processor) -> Result<(), Error> {
    let (board, name) = (processor.board(), processor.name());
    if board.busybox().is_ok() {
        return Ok(());
    }
    step(&format!("download Debian's busybox for {name} (once, into target/qemu)"), || {
        unpacked(processor, || Some(board.busybox_package()), &board.busybox_directory())
    })
}

/// Downloads a package and unpacks it into `directory`, which is there when all of it is.
fn unpacked(
    processor: Processor,
    package: impl Fn() -> Option<String>,
    directory: &Path,
) -> Result<(), Error> {
    let partial = directory.with_extension("partial");
    // Left by a run that was ended.
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).map_err(|e| Error::os("make target/qemu", e))?;
    let first = package();
    let downloaded = first.is_some_and(|package| download(&package, &partial).is_ok());
    if !downloaded {
        // This machine knows no packages for the processor, or the one it knows of has been replaced.
        learn_of(processor)?;
        download(&package().ok_or_else(|| missing(processor))?, &partial)?;
    }
    unpack(&partial)?;
    fs::rename(&partial, directory).map_err(|e| Error::os("finish target/qemu", e))
}

/// The package that has the newest kernel, as far as this machine knows.
fn newest(board: Board) -> Option<String> {
    let mut depends = Command::new("apt-cache");
    depends.args(["depends", &board.kernel_package()]);
    let said = run(depends).ok()?;
    let line = said.lines().find_map(|line| line.trim().strip_prefix("Depends: "))?;
    Some(line.trim().to_owned())
}

fn learn_of(processor: Processor) -> Result<(), Error> {
    if install::may_install() {
        install::update(processor.foreign())
    } else {
        Err(missing(processor))
    }
}

fn download(package: &str, place: &Path) -> Result<(), Error> {
    println!("    {package}");
    let mut download = Command::new("apt-get");
    // Root's downloads are by another user, who cannot write here.
    download.args(["-qq", "-o", "APT::Sandbox::User=root", "download", package]).current_dir(place);
    download.stdout(Stdio::null());
    to_the_end("apt-get download", download)
}

fn unpack(place: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(place).map_err(|e| Error::os("list target/qemu", e))?;
    for package in entries.flatten().map(|entry| entry.path()) {
        let mut unpack = Command::new("dpkg");
        unpack.arg("-x").arg(&package).arg(place);
        to_the_end("dpkg -x", unpack)?;
        fs::remove_file(&package).map_err(|e| Error::os("remove the package", e))?;
    }
    Ok(())
}

fn missing(processor: Processor) -> Error {
    let add = processor.foreign().map_or_else(String::new, |architecture| {
        format!("sudo dpkg --add-architecture {architecture} && ")
    });
    Error::Missing {
        missing: format!("Debian's packages for {}", processor.name()),
        command: format!("{add}sudo apt-get update\nor give a kernel with --kernel-dir DIR"),
    }
}
