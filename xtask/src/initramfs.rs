//! `cargo xtask initramfs`: the first file system of a booting machine, from nothing.

use std::fs;
use std::path::{Path, PathBuf};

use phase_tests::initramfs::{Contents, USUAL_MODULES, build, gzip};
use phase_tests::process::workspace_root;
use phase_tests::qemu::Kernel;

use crate::statics::{Processor, Static};
use crate::steps::step;
use crate::{Error, kernel};

/// What to put into it, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The processor of the machine that boots.
    #[arg(long, value_enum, default_value_t = Processor::Arm64)]
    arch: Processor,
    /// Take the modules of a kernel in DIR/boot and DIR/lib/modules; the default is Debian's cloud kernel for this
    /// processor, downloaded into target/qemu.
    #[arg(long, value_name = "DIR")]
    kernel_dir: Option<PathBuf>,
    /// Which of several kernels in DIR, such as 6.1.0-56-cloud-arm64.
    #[arg(long, value_name = "RELEASE", requires = "kernel_dir")]
    release: Option<String>,
    /// Load this module too, and what it depends on; may be given more than once. The drivers of
    /// virtio's buses and Ethernet card are always loaded.
    #[arg(long, value_name = "NAME")]
    module: Vec<String>,
    /// Whom the machine trusts: a trust file.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Put a file of this machine there, such as --file /bin/busybox=/bin/sh; may be given more than once.
    #[arg(long, value_name = "SRC=DEST", value_parser = pair)]
    file: Vec<(PathBuf, String)>,
    /// Leave it unpacked, which a kernel takes a little faster.
    #[arg(long)]
    uncompressed: bool,
    /// Where to write it; the default is target/initramfs-ARCH.img.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Builds it.
///
/// # Errors
/// [`Error::Missing`] without a toolchain or a kernel, or what is wrong with a file or a module.
pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let kernel = match &options.kernel_dir {
        Some(directory) => Kernel::find(directory, options.release.as_deref())?,
        None => kernel::debian(options.arch)?,
    };
    let programs = Static::find(options.arch)?.boot()?;
    let usual = USUAL_MODULES.iter().map(|&name| name.to_owned());
    let contents = Contents {
        init: programs.join("phase-boot"),
        modules: Some((kernel.modules, usual.chain(options.module.iter().cloned()).collect())),
        trust: options.trust.clone(),
        files: options.file.clone(),
    };
    let name = format!("target/initramfs-{}.img", options.arch.name());
    let output = options.output.clone().unwrap_or_else(|| workspace_root().join(name));
    step("put the initramfs together", || write(&contents, options.uncompressed, &output))
}

fn write(contents: &Contents, uncompressed: bool, output: &Path) -> Result<(), Error> {
    let unpacked = build(contents)?.encode();
    let octets = if uncompressed { unpacked.clone() } else { gzip(&unpacked)? };
    fs::write(output, &octets).map_err(|e| Error::os(format!("write {}", output.display()), e))?;
    let kib = |len: usize| len as f64 / 1024.0;
    println!(
        "    {}: {:.0} KiB, {:.0} KiB unpacked",
        output.display(),
        kib(octets.len()),
        kib(unpacked.len())
    );
    Ok(())
}

fn pair(text: &str) -> Result<(PathBuf, String), String> {
    match text.split_once('=') {
        Some((source, destination)) if !source.is_empty() && !destination.is_empty() => {
            Ok((source.into(), destination.to_owned()))
        }
        Some(_) | None => Err("is not SRC=DEST".to_owned()),
    }
}
