//! Debian's kernel and busybox for virtual machines, unpacked below `target/qemu` without installing them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use phase_tests::process::run;
use phase_tests::qemu::{Kernel, busybox_directory, kernel_directory};

use crate::steps::{step, to_the_end};
use crate::{Error, install};

/// The package that depends on the kernel of the day.
const NEWEST: &str = "linux-image-cloud-arm64:arm64";

/// The package of busybox.
const BUSYBOX: &str = "busybox-static:arm64";

/// What downloading and unpacking needs.
const TOOLS: &[install::Tool] =
    &[install::program("depmod", "kmod"), install::program("dpkg", "dpkg")];

/// Gives Debian's kernel for arm64, downloaded when it is not there.
///
/// # Errors
/// [`Error::Missing`] where the machine has no apt-get, or does not know packages for arm64 and this user may not change
/// that.
pub(crate) fn debian() -> Result<Kernel, Error> {
    let directory = kernel_directory();
    if Kernel::find(&directory, None).is_err() {
        install::tools(TOOLS)?;
        step("download Debian's kernel for arm64 (once, into target/qemu)", || {
            unpacked(newest, &directory)
        })?;
    }
    Ok(Kernel::find(&directory, None)?)
}

/// Brings Debian's busybox for arm64, which the images of tests start.
///
/// # Errors
/// As [`debian`].
pub(crate) fn with_busybox() -> Result<(), Error> {
    if phase_tests::qemu::busybox().is_ok() {
        return Ok(());
    }
    step("download Debian's busybox for arm64 (once, into target/qemu)", || {
        unpacked(|| Some(BUSYBOX.to_owned()), &busybox_directory())
    })
}

/// Downloads a package and unpacks it into `directory`, which is there when all of it is.
fn unpacked(package: impl Fn() -> Option<String>, directory: &Path) -> Result<(), Error> {
    let partial = directory.with_extension("partial");
    // Left by a run that was ended.
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).map_err(|e| Error::os("make target/qemu", e))?;
    let first = package();
    let downloaded = first.is_some_and(|package| download(&package, &partial).is_ok());
    if !downloaded {
        // This machine knows no packages for arm64, or the one it knows of has been replaced.
        learn_of_arm64()?;
        download(&package().ok_or_else(missing)?, &partial)?;
    }
    unpack(&partial)?;
    fs::rename(&partial, directory).map_err(|e| Error::os("finish target/qemu", e))
}

/// The package that has the newest kernel, as far as this machine knows.
fn newest() -> Option<String> {
    let mut depends = Command::new("apt-cache");
    depends.args(["depends", NEWEST]);
    let said = run(depends).ok()?;
    let line = said.lines().find_map(|line| line.trim().strip_prefix("Depends: "))?;
    Some(line.trim().to_owned())
}

fn learn_of_arm64() -> Result<(), Error> {
    if install::may_install() { install::update(Some("arm64")) } else { Err(missing()) }
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

fn missing() -> Error {
    Error::Missing {
        missing: "a kernel for arm64".to_owned(),
        command: "sudo dpkg --add-architecture arm64 && sudo apt-get update\nor give one with --kernel-dir DIR".to_owned(),
    }
}
