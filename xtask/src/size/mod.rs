//! `cargo xtask size`: how large the programs are, as released, and the client as firmware would link it.

mod image;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use phase_tests::process::workspace_root;

use crate::bare::{self, Bare};
use crate::statics::{Processor, Static};
use crate::steps::{cargo, command, step};
use crate::{Error, install};

/// The programs of the project.
pub(crate) const PROGRAMS: [&str; 4] =
    ["phase-provider", "phase-discover", "phase-fetch", "phase-verify"];

/// What the boot client for arm64 may take, with everything in it; octets.
const BOOT_MAX: u64 = 400 << 10;

/// The kinds of client, and the features of `tests/bare` that make them.
const CLIENTS: [(&str, &str); 3] = [("LAN", ""), ("LAN+DHT", "dht"), ("LAN+DHT, full", "full")];

/// What to list.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// List the freestanding clients alone, not the programs.
    #[arg(long)]
    bare: bool,
    /// List the boot client alone.
    #[arg(long, conflicts_with_all = ["bare", "host", "panics"])]
    boot: bool,
    /// Link the freestanding clients for this machine alone, which needs no other toolchain.
    #[arg(long)]
    host: bool,
    /// Name the functions that can panic.
    #[arg(long)]
    panics: bool,
}

/// Builds and lists them.
///
/// # Errors
/// [`Error::Step`] when a build fails, [`Error::Unexpected`] when an image has an allocator or the boot client is too large.
pub(crate) fn run(options: &Options) -> Result<(), Error> {
    if options.boot {
        return boot(&Processor::ALL);
    }
    if !options.bare {
        programs()?;
        boot(&[Processor::Arm64])?;
    }
    let mut kinds = vec![Bare::host()?];
    if !options.host {
        install::tools(install::FOR_BARE)?;
        kinds.extend(bare::all()?);
    }
    let mut lines = Vec::new();
    for bare in &kinds {
        for (client, features) in CLIENTS {
            let what = format!("link the client ({client}) for {}", bare.target());
            let path = step(&what, || bare.client(features))?;
            lines.push(line(client, bare.target(), &path, options.panics)?);
        }
    }
    println!("\nThe client freestanding, without an allocator; memory without the stack:");
    println!("{:<30} {:<13} {:>10} {:>10}  panics", "target", "client", "flash KiB", "RAM KiB");
    for line in lines {
        println!("{line}");
    }
    Ok(())
}

/// Lists the boot client's sizes.
fn boot(processors: &[Processor]) -> Result<(), Error> {
    for processor in processors {
        let path = Static::find(*processor)?.boot()?.join("phase-boot");
        let len = len(&path)?;
        println!(
            "phase-boot for {:<10} {:>8.1} KiB, {:.2} of the {} KiB it may have",
            processor.name(),
            len as f64 / 1024.0,
            len as f64 / BOOT_MAX as f64,
            BOOT_MAX >> 10,
        );
        if len > BOOT_MAX && *processor == Processor::Arm64 {
            let found = format!("{len} octets, more than {BOOT_MAX}");
            return Err(Error::Unexpected { what: path.display().to_string(), found });
        }
    }
    Ok(())
}

fn len(path: &Path) -> Result<u64, Error> {
    let metadata = fs::metadata(path);
    Ok(metadata.map_err(|e| Error::os(format!("look at {}", path.display()), e))?.len())
}

fn programs() -> Result<(), Error> {
    let build = ["build", "--locked", "--release", "-p", "phase-provider", "--bins"];
    command("build the programs as released", cargo(&build))?;
    for name in PROGRAMS {
        let len = len(&workspace_root().join("target/release").join(name))?;
        println!("{name:<16} {:>8.1} KiB", len as f64 / 1024.0);
    }
    Ok(())
}

fn line(client: &str, target: &str, path: &Path, named: bool) -> Result<String, Error> {
    let image = image::read(path)?;
    if !image.allocator.is_empty() {
        return Err(Error::Unexpected {
            what: path.display().to_string(),
            found: format!("an allocator: {:?}", image.allocator),
        });
    }
    let callers: BTreeSet<&String> = image.panics.values().flatten().collect();
    let mut text = format!(
        "{target:<30} {client:<13} {:>10.1} {:>10.1}  in {} functions",
        image.flash as f64 / 1024.0,
        image.memory as f64 / 1024.0,
        callers.len(),
    );
    for (panic, callers) in image.panics.iter().filter(|_| named) {
        for caller in callers {
            text.push_str(&format!("\n    {panic} in {caller}"));
        }
    }
    Ok(text)
}
