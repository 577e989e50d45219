//! `cargo xtask qemu`: a machine boots over the network, from its power button to the kernel it has found.
//!
//! A virtual machine, a switch, a server of leases and a provider, all made for this run and removed after it. The
//! machine discovers the provider's image, fetches and verifies it, and starts its kernel.

use std::fs;

use phase_tests::deadline;
use phase_tests::initramfs::{Contents, USUAL_MODULES, build, gzip};
use phase_tests::netns::Lan;
use phase_tests::process::workspace_root;
use phase_tests::qemu::lab::{self, Provider};
use phase_tests::qemu::{BOOTS_WITHIN, Board, Kernel, Machine, Tap, Vm, second};

use crate::statics::{Processor, Static};
use crate::steps::{cargo, command, step};
use crate::{Error, install, kernel};

/// How the machine boots.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The processor of the machine.
    #[arg(long, value_enum, default_value_t = Processor::Arm64)]
    arch: Processor,
    /// Memory of the machine in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    memory: u32,
    /// Processors of the machine.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    processors: u32,
    /// Further words for the kernel's command line, such as phase.mode=lan.
    #[arg(long, value_name = "WORDS")]
    append: Option<String>,
}

/// What a machine boots with.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// The kind of machine.
    pub(crate) board: Board,
    /// The kernel of both boots.
    pub(crate) kernel: Kernel,
    /// The first boot's initramfs.
    pub(crate) initramfs: std::path::PathBuf,
    /// The directory of the boot client.
    pub(crate) programs: std::path::PathBuf,
}

/// Brings and builds what machines with this processor and their providers need.
///
/// # Errors
/// [`Error::Missing`] with what cannot be had.
pub(crate) fn prepare(processor: Processor) -> Result<Parts, Error> {
    let board = processor.board();
    install::tools(&[install::FOR_QEMU, &[install::emulator(board)]].concat())?;
    let kernel = kernel::debian(processor)?;
    kernel::with_busybox(processor)?;
    let programs = Static::find(processor)?.boot()?;
    let contents = Contents {
        init: programs.join("phase-boot"),
        modules: Some((kernel.modules.clone(), USUAL_MODULES.map(str::to_owned).to_vec())),
        ..Contents::default()
    };
    let initramfs =
        workspace_root().join("target/qemu").join(format!("initramfs-{}.img", board.name()));
    let octets = gzip(&build(&contents)?.encode())?;
    fs::write(&initramfs, octets)
        .map_err(|e| Error::os(format!("write {}", initramfs.display()), e))?;
    Ok(Parts { board, kernel, initramfs, programs })
}

/// Boots.
///
/// # Errors
/// [`Error::Unexpected`] with the machine's last words when the second kernel does not come.
pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let parts = prepare(options.arch)?;
    command("build the provider", cargo(&["build", "--locked", "-p", "phase-provider", "--bins"]))?;
    let image = second::image(parts.board, &parts.kernel, &parts.programs.join("phase-boot"))?;
    let lan = step("make a switch with a host on it", || Ok(Lan::of(1)?))?;
    let server = lan.host(0);
    let _leases = step("serve leases", || Ok(lab::serve_leases(server, &[])?))?;
    let provider = step("start a provider", || {
        let mut provider = Provider::start(server, "demo", &image, &["--no-dht"])?;
        provider.wait_until_announced()?;
        println!("    {} is at {}", provider.peer_id(), provider.manifest_url());
        Ok(provider)
    })?;
    let machine = Machine::new(parts.board, &parts.kernel.image, &parts.initramfs)
        .words(&format!("phase.trust={}", provider.peer_id()))
        .words(options.append.as_deref().unwrap_or_default())
        .memory(options.memory)
        .processors(options.processors)
        .card(Tap::on(lan.segment().ok_or_else(no_switch)?)?);
    let booted = step("boot a machine", || watch(machine.start()?));
    if booted.is_err() {
        println!("--- what the provider said ---\n{}", provider.output());
    }
    provider.stop()?;
    booted
}

/// Shows the console until the second kernel has discovered too.
fn watch(mut machine: Vm) -> Result<(), Error> {
    let start = deadline::now();
    let mut second_kernel = false;
    while let Ok(line) = machine.next_line() {
        println!("    {:>7.3} | {line}", start.elapsed().as_secs_f64());
        second_kernel |= line.contains(second::MARKER);
        if let Some(code) = line.split(second::DISCOVERED).nth(1) {
            let found = format!("discovered with exit code {code}");
            let what = "the second kernel".to_owned();
            return if second_kernel && code.trim() == "0" {
                println!(
                    "\nDiscovered, fetched, verified and started: the second kernel runs, and discovers too."
                );
                Ok(())
            } else {
                Err(Error::Unexpected { what, found })
            };
        }
    }
    let what = if second_kernel { "the second kernel" } else { "the boot" }.to_owned();
    let found = format!("said nothing more for {} s, or ended", BOOTS_WITHIN.as_secs());
    Err(Error::Unexpected { what, found })
}

fn no_switch() -> Error {
    Error::Unexpected { what: "the network".to_owned(), found: "has no switch".to_owned() }
}
