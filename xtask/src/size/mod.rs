//! `cargo xtask size`: how large the programs are, as released, and the client as firmware would link it. The latter
//! are written into BENCHMARKS.md when they were linked for every target.

mod calls;
mod image;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use phase_tests::process::workspace_root;

use crate::bare::{self, Bare};
use crate::bench::report::{self, Table};
use crate::statics::{Processor, Static};
use crate::steps::{cargo, command, step};
use crate::{Error, install};
use image::Image;

/// The programs of the project.
pub(crate) const PROGRAMS: [&str; 4] =
    ["phase-provider", "phase-discover", "phase-fetch", "phase-verify"];

/// What the boot client may take, with everything in it; octets.
const BOOT_MAX: u64 = 400 << 10;

/// The kinds of client, and the features of `tests/bare` that make them.
const CLIENTS: [(&str, &str); 3] = [("LAN", ""), ("LAN+DHT", "dht"), ("LAN+DHT, full", "full")];

/// What is told of each client.
const COLUMNS: [&str; 6] =
    ["target", "client", "flash KiB", "RAM KiB", "stack KiB", "functions that panic"];

const EXPLANATION: &str = "`tests/bare`: the client with its cryptography and a driver for a device that is a place in \
    memory, `opt-level = \"z\"`, fat LTO, no allocator. Flash: code, constants, and what variables begin with. RAM: the \
    client, its connections and two buffers for datagrams. Stack: the chain of calls that takes the most, calls through \
    pointers not counted. Functions that panic: those with a call of a panic that the compiler could not leave out, most \
    of them in crates that the client depends on.";

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
    /// Name this many of the largest functions and constants of each client.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    functions: usize,
    /// Name the calls that take the most of the stack.
    #[arg(long)]
    stack: bool,
}

/// Builds and lists them.
///
/// # Errors
/// [`Error::Step`] when a build fails, [`Error::Unexpected`] when an image has an allocator.
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
    let (mut lines, mut rows) = (Vec::new(), Vec::new());
    for bare in &kinds {
        for (client, features) in CLIENTS {
            let what = format!("link the client ({client}) for {}", bare.target());
            let path = step(&what, || bare.client(features))?;
            let image = image::read(&path)?;
            if !image.allocator.is_empty() {
                return Err(Error::Unexpected {
                    what: path.display().to_string(),
                    found: format!("an allocator: {:?}", image.allocator),
                });
            }
            let row = row(client, bare.target(), &image);
            lines.push(format!("{}{}", printed(&row), details(&image, options)));
            rows.push(row.to_vec());
        }
    }
    println!("\nThe client freestanding, without an allocator; beside RAM the deepest stack:");
    println!("{}", printed(&COLUMNS));
    for line in lines {
        println!("{line}");
    }
    if options.host {
        return Ok(());
    }
    let compiler = kinds.last().map_or_else(|| Ok(String::new()), Bare::compiler)?;
    let table = Table {
        title: "The client as firmware links it".into(),
        explanation: format!("{EXPLANATION} The microcontrollers' with {compiler}."),
        columns: COLUMNS.to_vec(),
        rows,
    };
    let path = workspace_root().join("BENCHMARKS.md");
    report::write_section(&path, "size", &report::markdown(&[table]))
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
        if len > BOOT_MAX {
            println!("    warning: that is {:.1} KiB too many", (len - BOOT_MAX) as f64 / 1024.0);
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

fn row(client: &str, target: &str, image: &Image) -> [String; COLUMNS.len()] {
    let kib = |octets: u64| format!("{:.1}", octets as f64 / 1024.0);
    let stack = image.stack.iter().map(|(octets, _)| octets).sum();
    let callers: BTreeSet<&String> = image.panics.values().flatten().collect();
    let numbers = [kib(image.flash), kib(image.memory), kib(stack), callers.len().to_string()];
    let [flash, memory, stack, panics] = numbers;
    [target.to_owned(), client.to_owned(), flash, memory, stack, panics]
}

fn printed(row: &[impl std::fmt::Display; COLUMNS.len()]) -> String {
    let [target, client, flash, memory, stack, panics] = row;
    format!("{target:<30} {client:<13} {flash:>10} {memory:>10} {stack:>10} {panics:>18}")
}

/// What was asked for beside the numbers, a line each.
fn details(image: &Image, options: &Options) -> String {
    let mut text = String::new();
    for (panic, callers) in image.panics.iter().filter(|_| options.panics) {
        for caller in callers {
            text.push_str(&format!("\n    {panic} in {caller}"));
        }
    }
    let largest = image.parts.iter().take(options.functions);
    let rest = image.parts.last().filter(|_| options.functions > 0);
    for (octets, name) in largest.chain(rest) {
        text.push_str(&format!("\n    {octets:>6} octets: {name}"));
    }
    for (octets, name) in image.stack.iter().filter(|_| options.stack) {
        text.push_str(&format!("\n    {octets:>6} octets of stack: {name}"));
    }
    text
}
