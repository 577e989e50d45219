//! `cargo xtask dist`: the programs as they are given away, with their digests, in `target/dist`.
//!
//! The same sources and compiler give the same octets: paths of this machine are not in them, and links have no time or
//! number of their build.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use phase_tests::process::workspace_root;
use sha2::{Digest as _, Sha256};

use crate::Error;
use crate::size::PROGRAMS;
use crate::statics::{Processor, Static};
use crate::steps::step;

/// What to build.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Build for this processor alone; may be given more than once.
    #[arg(long, value_enum)]
    arch: Vec<Processor>,
}

/// Builds and copies them.
///
/// # Errors
/// [`Error::Missing`] without a toolchain, [`Error::Step`] when a build fails.
pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let place = workspace_root().join("target/dist");
    // Nothing else is to be given away.
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).map_err(|e| Error::os("make target/dist", e))?;
    let chosen = |p: &Processor| options.arch.is_empty() || options.arch.contains(p);
    let mut files = Vec::new();
    for processor in Processor::ALL.into_iter().filter(chosen) {
        let toolchain = Static::find(processor)?;
        let directory = toolchain.boot()?;
        files.push(copy(&directory, "phase-boot", processor, &place)?);
        let directory = toolchain.provider()?;
        for name in PROGRAMS {
            files.push(copy(&directory, name, processor, &place)?);
        }
    }
    step("write target/dist/SHA256SUMS", || write_sums(&files, &place))
}

/// Copies a program; gives its file.
fn copy(
    directory: &Path,
    name: &str,
    processor: Processor,
    place: &Path,
) -> Result<PathBuf, Error> {
    let file = place.join(format!("{name}-{}-linux", processor.name()));
    fs::copy(directory.join(name), &file).map_err(|e| Error::os(format!("copy {name}"), e))?;
    Ok(file)
}

/// Writes the digests as sha256sum(1) reads them.
fn write_sums(files: &[PathBuf], place: &Path) -> Result<(), Error> {
    let mut sums = String::new();
    for file in files {
        let octets =
            fs::read(file).map_err(|e| Error::os(format!("read {}", file.display()), e))?;
        for octet in Sha256::digest(&octets) {
            // Writing into a String cannot fail.
            let _ = write!(sums, "{octet:02x}");
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let _ = writeln!(sums, "  {name}");
        println!("    {name:<32} {:>8.1} KiB", octets.len() as f64 / 1024.0);
    }
    fs::write(place.join("SHA256SUMS"), sums).map_err(|e| Error::os("write SHA256SUMS", e))
}
