//! Builds the core, and the client as firmware, for machines without an operating system.
//!
//! The targets' `core` library comes from rustup where it is installed or can be downloaded, else it is
//! built from the source that Debian packages beside a compiler of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::geteuid;
use phase_tests::process::workspace_root;

use crate::steps::{cargo, command, step, to_the_end};
use crate::{Error, install};

/// A 32-bit microcontroller with and one without an operating-system-sized instruction set, and the
/// boot client's processor.
pub(crate) const TARGETS: [&str; 3] =
    ["thumbv7em-none-eabihf", "riscv32imc-unknown-none-elf", "aarch64-unknown-none"];

/// Debian's compiler, its cargo, and the source of `core`.
const DEBIAN: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// Where Debian's source of `core` is, relative to the compiler's directory.
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

/// An image is where it is linked to. Loops of the hash functions stay loops: unrolled they take 30 KiB. What each
/// function takes of the stack is noted beside the code.
const FLAGS: &str =
    "-Crelocation-model=static --cfg sha2_backend_soft=\"compact\" -Zemit-stack-sizes";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Toolchain {
    /// rustup has the target's libraries.
    Rustup,
    /// Debian's compiler builds `core` from source.
    Debian,
}

/// Builds the core for every target, with and without `defmt`.
///
/// # Errors
/// [`Error::Missing`] when no toolchain can, or that of the build.
pub(crate) fn build_core() -> Result<(), Error> {
    let toolchain = step("find a toolchain for machines without an operating system", find)?;
    for target in TARGETS {
        for features in ["", "defmt"] {
            let what = format!("build the core for {target} with features [{features}]");
            let mut build = toolchain.cargo();
            build.args(["-p", "phase-core", "--target", target, "--features", features]);
            command(&what, build)?;
        }
    }
    Ok(())
}

/// How to link the client of `tests/bare` for a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bare {
    toolchain: Option<Toolchain>,
    target: String,
}

/// Every target, with whichever toolchain there is.
///
/// # Errors
/// [`Error::Missing`] when there is none.
pub(crate) fn all() -> Result<Vec<Bare>, Error> {
    let toolchain = step("find a toolchain for machines without an operating system", find)?;
    let of = |target: &str| Bare { toolchain: Some(toolchain), target: target.to_owned() };
    Ok(TARGETS.into_iter().map(of).collect())
}

impl Bare {
    /// This machine, as if it had no operating system: with the compiler that there is.
    ///
    /// # Errors
    /// When the compiler does not say what it compiles for.
    pub(crate) fn host() -> Result<Self, Error> {
        let mut version = Command::new("rustc");
        version.arg("-vV");
        let said = phase_tests::process::run(version)?;
        let target = said.lines().find_map(|line| line.strip_prefix("host: "));
        let target = target
            .ok_or_else(|| Error::Unexpected { what: "rustc -vV".into(), found: said.clone() })?;
        Ok(Self { toolchain: None, target: target.to_owned() })
    }

    /// The target.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// The compiler, with its version.
    ///
    /// # Errors
    /// When it does not say.
    pub(crate) fn compiler(&self) -> Result<String, Error> {
        let name = match self.toolchain {
            Some(Toolchain::Debian) => "/usr/bin/rustc",
            Some(Toolchain::Rustup) | None => "rustc",
        };
        let mut version = Command::new(name);
        version.arg("-V");
        Ok(phase_tests::process::run(version)?.trim().to_owned())
    }

    /// Links the client with these features of `tests/bare`; gives the image.
    ///
    /// # Errors
    /// [`Error::Step`] when it cannot be built.
    pub(crate) fn client(&self, features: &str) -> Result<PathBuf, Error> {
        let mut build = self.toolchain.unwrap_or(Toolchain::Rustup).cargo();
        let sources = workspace_root().join("tests/bare");
        let place = workspace_root().join("target/bare");
        build.current_dir(sources).args(["--target", &self.target, "--features", features]);
        build.env("CARGO_TARGET_DIR", &place);
        build.env("RUSTFLAGS", FLAGS).env("RUSTC_BOOTSTRAP", "1");
        if self.toolchain == Some(Toolchain::Debian) {
            let name = self.target.to_uppercase().replace('-', "_");
            build.env(format!("CARGO_TARGET_{name}_LINKER"), "ld.lld");
        }
        to_the_end("link the client", build)?;
        Ok(place.join(&self.target).join("release/phase-bare"))
    }
}

impl Toolchain {
    fn cargo(self) -> Command {
        let own = ["build", "--locked", "--release"];
        match self {
            Self::Rustup => cargo(&own),
            Self::Debian => {
                let mut command = Command::new(DEBIAN_CARGO);
                command.args(own).args(["-Zbuild-std=core", "--target-dir"]);
                command.arg(workspace_root().join("target/bare")).current_dir(workspace_root());
                command.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", "/usr/bin/rustc");
                // Set by the cargo that runs this task, and meant for its own compiler.
                command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
                command
            }
        }
    }
}

fn find() -> Result<Toolchain, Error> {
    if rustup_has_all() {
        println!("    rustup has the targets");
        return Ok(Toolchain::Rustup);
    }
    let mut add = Command::new("rustup");
    add.args(["target", "add"]).args(TARGETS).stdout(Stdio::null()).stderr(Stdio::null());
    if add.status().is_ok_and(|status| status.success()) {
        println!("    rustup has downloaded the targets");
        return Ok(Toolchain::Rustup);
    }
    if !Path::new(DEBIAN_CARGO).exists() {
        install_debian()?;
    }
    println!("    rustup cannot download the targets; using Debian's compiler and its source");
    Ok(Toolchain::Debian)
}

fn rustup_has_all() -> bool {
    let mut list = Command::new("rustup");
    list.args(["target", "list", "--installed"]).stderr(Stdio::null());
    let Ok(output) = list.output() else { return false };
    let installed = String::from_utf8_lossy(&output.stdout);
    TARGETS.iter().all(|target| installed.lines().any(|line| line == *target))
}

fn install_debian() -> Result<(), Error> {
    if !geteuid().is_root() || install::find_program("apt-get").is_none() {
        return Err(Error::Missing {
            missing: format!("the targets {}", TARGETS.join(", ")),
            command: format!(
                "rustup target add {}\nor, where rustup cannot download,\n    sudo apt-get install {}",
                TARGETS.join(" "),
                DEBIAN.join(" ")
            ),
        });
    }
    let mut update = Command::new("apt-get");
    update.args(["update", "-qq"]);
    to_the_end("apt-get update", update)?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(DEBIAN);
    install.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
    to_the_end("apt-get install", install)
}
