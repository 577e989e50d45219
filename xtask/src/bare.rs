//! Builds the core, and the client as firmware, for machines without an operating system.
//!
//! Not here: which compiler does it (see [`toolchain`]).

use std::path::PathBuf;
use std::process::Command;

use phase_tests::process::workspace_root;

use crate::Error;
use crate::steps::{command, step, to_the_end};
use crate::toolchain::{self, Extra, Toolchain};

/// A 32-bit microcontroller with and one without an operating-system-sized instruction set, and the
/// boot client's processor.
pub(crate) const TARGETS: [&str; 3] =
    ["thumbv7em-none-eabihf", "riscv32imc-unknown-none-elf", "aarch64-unknown-none"];

/// An image is where it is linked to. Loops of the hash functions stay loops: unrolled they take 30 KiB. What each
/// function takes of the stack is noted beside the code.
const FLAGS: &str =
    "-Crelocation-model=static --cfg sha2_backend_soft=\"compact\" -Zemit-stack-sizes";

/// Builds the core for every target, with and without `defmt`.
///
/// # Errors
/// [`Error::Missing`] when no toolchain can, or that of the build.
pub(crate) fn build_core() -> Result<(), Error> {
    let toolchain = find_toolchain()?;
    for target in TARGETS {
        for features in ["", "defmt"] {
            let what = format!("build the core for {target} with features [{features}]");
            let mut build = toolchain.build("core", &place());
            build.args([
                "--release",
                "-p",
                "phase-core",
                "--target",
                target,
                "--features",
                features,
            ]);
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
    let toolchain = find_toolchain()?;
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
        let mut version = Command::new(self.toolchain.unwrap_or(Toolchain::Rustup).rustc());
        version.arg("-V");
        Ok(phase_tests::process::run(version)?.trim().to_owned())
    }

    /// Links the client with these features of `tests/bare`; gives the image.
    ///
    /// # Errors
    /// [`Error::Step`] when it cannot be built.
    pub(crate) fn client(&self, features: &str) -> Result<PathBuf, Error> {
        let mut build = self.toolchain.unwrap_or(Toolchain::Rustup).build("core", &place());
        build.current_dir(workspace_root().join("tests/bare"));
        build.args(["--release", "--target", &self.target, "--features", features]);
        build.env("RUSTFLAGS", FLAGS).env("RUSTC_BOOTSTRAP", "1");
        if self.toolchain == Some(Toolchain::Debian) {
            let name = self.target.to_uppercase().replace('-', "_");
            build.env(format!("CARGO_TARGET_{name}_LINKER"), "ld.lld");
        }
        to_the_end("link the client", build)?;
        Ok(place().join(&self.target).join("release/phase-bare"))
    }
}

fn find_toolchain() -> Result<Toolchain, Error> {
    step("find a toolchain for machines without an operating system", || {
        toolchain::find(&TARGETS, Extra::default())
    })
}

/// Where its builds go.
fn place() -> PathBuf {
    workspace_root().join("target/bare")
}
