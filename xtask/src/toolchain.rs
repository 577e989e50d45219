//! Which compiler builds for a machine that is not this one: rustup's or Debian's.
//!
//! rustup brings a target's libraries ready made. Where they cannot be downloaded, Debian's compiler builds them from the
//! source that Debian packages beside it. Which of the two was taken, and why, is said aloud.

use std::path::Path;
use std::process::{Command, Stdio};

use phase_tests::process::{run, workspace_root};

use crate::steps::cargo;
use crate::{Error, install};

/// Debian's compiler, its cargo, and the source of the libraries.
const COMPILER: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// Debian's cargo: its path, since rustup's comes first in `PATH`.
const CARGO: &str = "/usr/bin/cargo";

/// Debian's compiler.
const RUSTC: &str = "/usr/bin/rustc";

/// Where Debian keeps the source of the libraries.
const SOURCE: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";

/// Where rustup keeps it, in a toolchain's directory.
const SOURCE_OF_RUSTUP: &str = "lib/rustlib/src/rust/library/std/Cargo.toml";

/// A compiler with its libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// rustup has the targets' libraries.
    Rustup,
    /// rustup has them and their source too, from which they can be built to measure.
    RustupSource,
    /// Debian's compiler builds the libraries from source.
    Debian,
}

/// What Debian needs beside the compiler.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extra<'a> {
    /// Packages that are missing.
    pub(crate) packages: &'a [String],
    /// A Debian architecture, other than this machine's, that some of them are of.
    pub(crate) architecture: Option<&'static str>,
}

/// Finds a toolchain for all of `targets`, and installs it where that is allowed.
///
/// # Errors
/// [`Error::Missing`] with the commands that install one.
pub(crate) fn find(targets: &[&str], extra: Extra<'_>) -> Result<Toolchain, Error> {
    let list = targets.join(", ");
    if rustup_has(targets) {
        println!("    rustup has {list}");
        return Ok(Toolchain::Rustup);
    }
    let mut packages = extra.packages.to_vec();
    if ![CARGO, RUSTC, SOURCE].iter().all(|path| Path::new(path).exists()) {
        packages.extend(COMPILER.map(str::to_owned));
    }
    if packages.is_empty() {
        println!("    rustup has not got {list}: Debian's compiler builds it from source");
        return Ok(Toolchain::Debian);
    }
    let mut add = Command::new("rustup");
    add.args(["target", "add"]).args(targets).stdout(Stdio::null()).stderr(Stdio::null());
    if add.status().is_ok_and(|status| status.success()) {
        println!("    rustup has downloaded {list}");
        return Ok(Toolchain::Rustup);
    }
    install::debian(&packages, extra.architecture).map_err(|error| or_rustup(error, targets))?;
    println!("    rustup cannot download {list}: Debian's compiler builds it from source");
    Ok(Toolchain::Debian)
}

impl Toolchain {
    /// The same, with the libraries' source where rustup has it or can download it.
    ///
    /// # Errors
    /// When the compiler does not say where it is.
    pub(crate) fn with_source(self) -> Result<Self, Error> {
        if self != Self::Rustup {
            return Ok(self);
        }
        let mut place = Command::new("rustc");
        place.args(["--print", "sysroot"]).current_dir(workspace_root());
        let source = Path::new(run(place)?.trim()).join(SOURCE_OF_RUSTUP);
        let mut add = Command::new("rustup");
        add.args(["component", "add", "rust-src"]).stdout(Stdio::null()).stderr(Stdio::null());
        if source.exists() || add.status().is_ok_and(|status| status.success()) {
            println!("    and the source of its libraries, which are built to measure");
            return Ok(Self::RustupSource);
        }
        println!("    but not the source of its libraries: programs become larger");
        Ok(self)
    }

    /// Its compiler.
    pub(crate) const fn rustc(self) -> &'static str {
        match self {
            Self::Rustup | Self::RustupSource => "rustc",
            Self::Debian => RUSTC,
        }
    }

    /// `cargo build` into `place`, in the workspace's root.
    ///
    /// `libraries`: which are built where they are built from source, as cargo's `build-std` has it.
    pub(crate) fn build(self, libraries: &str, place: &Path) -> Command {
        let mut command = match self {
            Self::Rustup => cargo(&["build"]),
            Self::RustupSource => {
                let mut command = cargo(&["build"]);
                command.arg(format!("-Zbuild-std={libraries}")).env("RUSTC_BOOTSTRAP", "1");
                command
            }
            Self::Debian => {
                let mut command = Command::new(CARGO);
                command.arg("build").arg(format!("-Zbuild-std={libraries}"));
                command.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", RUSTC);
                // Set by the cargo that runs this task, and meant for its own compiler.
                command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
                command
            }
        };
        command.args(["--locked", "--target-dir"]).arg(place).current_dir(workspace_root());
        command
    }
}

fn rustup_has(targets: &[&str]) -> bool {
    let mut list = Command::new("rustup");
    list.args(["target", "list", "--installed"]).stderr(Stdio::null());
    let Ok(output) = list.output() else { return false };
    let installed = String::from_utf8_lossy(&output.stdout);
    targets.iter().all(|target| installed.lines().any(|line| line == *target))
}

/// Tells of the other way too.
fn or_rustup(error: Error, targets: &[&str]) -> Error {
    let Error::Missing { missing, command } = error else { return error };
    let targets = targets.join(" ");
    let command =
        format!("rustup target add {targets}\nor, where rustup cannot download,\n    {command}");
    Error::Missing { missing: format!("a compiler for {targets}; or {missing}"), command }
}
