//! Getting other implementations onto this machine: built, or downloaded at pinned versions, into
//! `target/peers`. It is done once and then costs nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;
use crate::process::{run, workspace_root};

/// How a Rust peer is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Soon there: `target/peers/debug`.
    Dev,
    /// Fast: `target/peers/release`.
    Release,
}

/// Where peers are built and downloaded to.
pub(crate) fn target() -> PathBuf {
    workspace_root().join("target/peers")
}

/// Where a peer's program and lists of dependencies are.
pub(crate) fn sources(peer: &str) -> PathBuf {
    workspace_root().join("tests/peers").join(peer)
}

/// The interpreter made by [`python_environment`].
pub(crate) fn python_of(peer: &str) -> PathBuf {
    target().join(peer).join("venv/bin/python")
}

/// Checks that a program of the distribution is there.
pub(crate) fn is_installed(program: &str) -> Result<(), Error> {
    let mut command = Command::new(program);
    command.arg("--version");
    run(command).map(drop)
}

/// Builds the programs of `tests/peers/PEER`, as its lock file says; all of them when `packages` names none.
pub(crate) fn build(peer: &str, profile: Profile, packages: &[&str]) -> Result<(), Error> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(sources(peer))
        .args(["build", "--quiet", "--locked"])
        .env("CARGO_TARGET_DIR", target());
    if profile == Profile::Release {
        command.arg("--release");
    }
    command.args(packages.iter().flat_map(|package| ["-p", package]));
    run(command).map(drop)
}

/// Makes a Python environment with what `requirements.txt` lists; `options` are for `pip install`.
pub(crate) fn python_environment(peer: &str, options: &[&str]) -> Result<(), Error> {
    let requirements = sources(peer).join("requirements.txt");
    let place = target().join(peer).join("venv");
    let copy = place.join("requirements.txt");
    if is_copy(&requirements, &copy) {
        return Ok(());
    }
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&place);
    run(make)?;
    let mut install = Command::new(python_of(peer));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    install.args(options).arg("-r").arg(&requirements);
    run(install)?;
    // Last, so that an interrupted download is done again.
    fs::copy(&requirements, &copy).map_err(|e| Error::os("finish the Python environment", e))?;
    Ok(())
}

/// Downloads what `package-lock.json` lists and puts `programs` beside it.
pub(crate) fn node_modules(peer: &str, programs: &[&str]) -> Result<(), Error> {
    let (sources, place) = (sources(peer), target().join(peer));
    let lists = ["package.json", "package-lock.json"];
    let same = |file: &&str| is_copy(&sources.join(file), &place.join(file));
    let copy = |file: &str| {
        fs::copy(sources.join(file), place.join(file)).map_err(|e| Error::os("copy the peer", e))
    };
    if lists.iter().chain(programs).all(same) {
        return Ok(());
    }
    is_installed("node")?;
    fs::create_dir_all(&place).map_err(|e| Error::os("make target/peers", e))?;
    lists.iter().try_for_each(|list| copy(list).map(drop))?;
    let mut install = Command::new("npm");
    install.current_dir(&place).args(["ci", "--silent", "--no-audit", "--no-fund"]);
    run(install)?;
    // Last, so that an interrupted download is done again.
    programs.iter().try_for_each(|program| copy(program).map(drop))
}

fn is_copy(source: &Path, copy: &Path) -> bool {
    fs::read(copy).is_ok_and(|have| fs::read(source).is_ok_and(|want| want == have))
}

/// An exclusive lock on `target/peers`, held while a peer is installed: one at a time, also between
/// test programs that run side by side.
pub(crate) struct InstallLock {
    _file: fs::File,
}

impl InstallLock {
    pub(crate) fn take() -> Result<Self, Error> {
        let what = "lock target/peers";
        fs::create_dir_all(target()).map_err(|e| Error::os(what, e))?;
        let file = fs::File::create(target().join(".lock")).map_err(|e| Error::os(what, e))?;
        file.lock().map_err(|e| Error::os(what, e))?;
        Ok(Self { _file: file })
    }
}
