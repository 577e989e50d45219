//! `cargo xtask bench download`: how fast the boot client fetches beside curl: one large file, from one host to another on a veth pair.
//!
//! The boot client speaks TCP by itself over a packet socket, and verifies a digest while it receives; curl has the
//! kernel's TCP and verifies nothing.

use std::fs::{self, File};
use std::time::Duration;

use phase_tests::netns::{Host, Lan};
use phase_tests::process::{Process, take_binaries_from, workspace_root};
use phase_tests::qemu::Board;
use phase_tests::qemu::lab::{self, CHANNEL, Image, Provider};

use super::numbers::{Percentiles, shown};
use super::report::Table;
use super::{conditions, report};
use crate::steps::{cargo, command, step};
use crate::{Error, install};

/// What is measured beside.
const TOOLS: &[install::Tool] = &[install::program("curl", "curl")];

/// Octets of the file: the largest kernel there may be.
const LEN: u64 = lab::KERNEL_MAX;

/// What the file is offered for: nothing starts it.
const BOARD: Board = Board::Arm64;

/// Downloads by each client.
const RUNS: usize = 5;

/// A download takes a second; this ends one that hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures both and writes the numbers down.
///
/// # Errors
/// What a client that failed has said.
pub(super) fn run() -> Result<(), Error> {
    install::tools(TOOLS)?;
    install::tools(install::FOR_QEMU)?;
    let table = measure()?;
    let text = format!("Conditions: {}.\n\n{}", conditions::machine()?, report::markdown(&[table]));
    println!("\n{text}");
    report::write_section(&workspace_root().join("BENCHMARKS.md"), "bench download", &text)
}

/// Both, in turns.
fn measure() -> Result<Table, Error> {
    let provider = ["build", "--locked", "--release", "-p", "phase-provider", "--bins"];
    command("build the provider as released", cargo(&provider))?;
    take_binaries_from(workspace_root().join("target/release"));
    let build = ["build", "--locked", "--profile", "boot", "-p", "phase-boot", "--bins"];
    command("build the boot client for this machine", cargo(&build))?;
    let directory = tempfile::tempdir().map_err(|e| Error::os("make a directory", e))?;
    let kernel = directory.path().join("large");
    let file = File::create(&kernel).and_then(|file| file.set_len(LEN));
    file.map_err(|e| Error::os("make a large file", e))?;
    let image = Image {
        board: BOARD,
        kernel,
        initramfs: vec![7; 1 << 20],
        command_line: "quiet".to_owned(),
        version: "2026.01.01".to_owned(),
    };
    let lan = Lan::of(2)?;
    let _leases = lab::serve_leases(lan.host(0), &[])?;
    let mut provider = Provider::start(lan.host(0), "bench", &image, &["--no-dht"])?;
    provider.wait_until_announced()?;
    let (mut ours, mut curls) = (Vec::new(), Vec::new());
    step(&format!("download {} MiB {RUNS} times by each client", LEN >> 20), || {
        for _ in 0..RUNS {
            curls.push(by_curl(lan.host(1), &provider)?);
            ours.push(by_boot_client(lan.host(1), &provider, directory.path())?);
        }
        Ok(())
    })?;
    let row = |name: &str, times: Vec<Duration>| {
        let p50 = Percentiles::of(times).p50;
        let rate = LEN as f64 / (1 << 20) as f64 / p50.as_secs_f64();
        let row = vec![name.to_owned(), RUNS.to_string(), shown(p50), format!("{rate:.0}")];
        println!("    {}", row.join("  "));
        row
    };
    Ok(Table {
        title: "Download rate".to_owned(),
        explanation: format!(
            "A file of {} MiB over a switch of veth pairs, native, in milliseconds; the boot client (profile `boot`, made to \
             be small) over its own TCP, with SHA-256 while it receives, curl over the kernel's TCP without.",
            LEN >> 20
        ),
        columns: vec!["client", "runs", "p50", "MiB/s"],
        rows: vec![row("`phase-boot fetch`", ours), row("curl", curls)],
    })
}

fn by_curl(host: &Host, provider: &Provider<'_>) -> Result<Duration, Error> {
    let url = provider.manifest_url().replace("manifest.json", "vmlinuz");
    let format = "%{time_total}";
    let said = host.namespace.run("curl", &["-sS", "-o", "/dev/null", "-w", format, &url])?;
    let seconds = said.trim().parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    seconds.ok_or_else(|| Error::Unexpected { what: "curl".to_owned(), found: said })
}

/// Fetches with an interface of its own beside the host's; gives the time that the client says.
fn by_boot_client(
    host: &Host,
    provider: &Provider<'_>,
    directory: &std::path::Path,
) -> Result<Duration, Error> {
    // Left by the run before; a file that is there is not fetched.
    let output = directory.join("image");
    let _ = fs::remove_dir_all(&output);
    let own =
        ["link", "add", "link", Host::INTERFACE, "boot0", "type", "macvlan", "mode", "bridge"];
    host.namespace.ip(&own)?;
    let mut fetch = host.namespace.command(workspace_root().join("target/boot/phase-boot"));
    fetch.args(["fetch", "--channel", CHANNEL, "--arch", BOARD.name(), "--interface", "boot0"]);
    fetch.args(["--artifact", "kernel", "--trust", provider.peer_id(), "--output"]).arg(&output);
    let done = Process::spawn(fetch)?.wait(PATIENCE)?;
    host.namespace.ip(&["link", "delete", "dev", "boot0"])?;
    // `verify: kernel: 200.0 MiB verified in 0.321 s`
    let line =
        done.stderr.lines().find_map(|line| line.split_once(" verified in ")?.1.split_once(" s"));
    let seconds = line.and_then(|(seconds, _)| seconds.parse().ok());
    let time = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
    let what = "phase-boot fetch".to_owned();
    time.ok_or(Error::Unexpected { what, found: done.stderr })
}
