//! `cargo xtask bench boot`: virtual machines that boot one after another, and what each step took.
//!
//! Not here: other boot clients; nobody else discovers and verifies in an initramfs.

use std::time::Duration;

use phase_tests::netns::Lan;
use phase_tests::process::{take_binaries_from, workspace_root};
use phase_tests::qemu::lab::{self, Entrance, Provider};
use phase_tests::qemu::{Board, Machine, Tap, Vm, second};

use super::numbers::{Percentiles, shown};
use super::report::Table;
use super::{conditions, report};
use crate::Error;
use crate::qemu::{Parts, prepare};
use crate::statics::Processor;
use crate::steps::{cargo, command, step};

/// How much to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The processor of the machines.
    #[arg(long, value_enum, default_value_t = Processor::Arm64)]
    arch: Processor,
    /// Boots of each kind.
    #[arg(long, default_value_t = 100)]
    count: usize,
    /// Boots into a second kernel; the default is a tenth of --count.
    #[arg(long)]
    whole: Option<usize>,
}

/// Memories that are tried, the largest first; MiB.
const MEMORIES: [u32; 11] = [192, 160, 128, 96, 80, 72, 64, 60, 56, 52, 48];

/// Try once, and then off.
const ONCE: &str = "phase.on-failure=poweroff";

/// A kind of boot: what it is called, its words, the text of the line that says that it has succeeded.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    words: &'static str,
    done: &'static str,
}

const BY_MDNS: Kind = Kind {
    name: "discover, mDNS",
    words: "phase.action=discover phase.mode=lan",
    done: "discover: found",
};
const BY_DHT: Kind = Kind {
    name: "discover, DHT",
    words: "phase.action=discover phase.mode=wan",
    done: "discover: found",
};
const WHOLE: Kind = Kind { name: "boot, mDNS", words: "phase.mode=lan", done: "kexec: " };

/// What one boot showed: times since the kernel's start.
#[derive(Clone, Copy, Debug, Default)]
struct Boot {
    init: Option<Duration>,
    modules: Option<Duration>,
    lease: Option<Duration>,
    done: Option<Duration>,
}

/// What all boots share.
struct Bench<'lan> {
    lan: &'lan Lan,
    parts: Parts,
    words: String,
}

/// Measures and writes the numbers down.
///
/// # Errors
/// What building, or a machine that does not start, said.
pub(super) fn run(options: &Options) -> Result<(), Error> {
    let parts = prepare(options.arch)?;
    let provider = ["build", "--locked", "--release", "-p", "phase-provider", "--bins"];
    command("build the provider as released", cargo(&provider))?;
    take_binaries_from(workspace_root().join("target/release"));
    let image = second::image(parts.board, &parts.kernel, &parts.programs.join("phase-boot"))?;
    let lan = Lan::of(1)?;
    let _leases = lab::serve_leases(lan.host(0), &[])?;
    let entrance = Entrance::start(lan.host(0))?;
    let more = ["--dht-listen", "/ip4/0.0.0.0/tcp/4001", "--bootstrap", entrance.address()];
    let provider = step("start a provider", || {
        let mut provider = Provider::start(lan.host(0), "bench", &image, &more)?;
        provider.wait_until_announced()?;
        provider.wait_until_published()?;
        Ok(provider)
    })?;
    let (peer, entrance) = (provider.peer_id(), entrance.address());
    let words = format!("{ONCE} phase.trust={peer} phase.bootstrap={entrance}");
    let board = parts.board;
    let bench = Bench { lan: &lan, parts, words };
    let whole = options.whole.unwrap_or_else(|| options.count.div_ceil(10));
    let mut rows = Vec::new();
    for (kind, count) in [(BY_MDNS, options.count), (BY_DHT, options.count), (WHOLE, whole)] {
        let what = format!("{count} boots: {}", kind.name);
        rows.push(step(&what, || bench.boots(kind, count))?);
    }
    let lowest = [BY_MDNS, WHOLE].map(|kind| {
        step(&format!("the least memory: {}", kind.name), || Ok((kind, bench.lowest(kind)?)))
    });
    let [discover, boot] = lowest;
    let memory = memory(board, [discover?, boot?]);
    provider.stop()?;
    write(options.arch, &[times(board, rows), memory])
}

fn times(board: Board, rows: Vec<Vec<String>>) -> Table {
    Table {
        title: format!("From the kernel's start to a verified candidate, {}", board.name()),
        explanation: format!(
            "Virtual {} machines (QEMU, emulated by TCG, one processor, 512 MiB) with Debian's cloud kernel (`quiet cryptomgr.notests`), one after \
             another on one switch with a DHCP server and a provider. Times are those of the machine's own console, in \
             milliseconds since its kernel started: the boot client starts (init), the modules are loaded, the lease is \
             there, the candidate is verified (discover) or the second kernel is loaded (boot). Discovery by mDNS does not \
             wait for the lease.",
            board.name()
        ),
        columns: vec![
            "what",
            "boots",
            "succeeded",
            "init p50",
            "modules p50",
            "lease p50",
            "done p50",
            "done p95",
            "slowest",
        ],
        rows,
    }
}

fn memory(board: Board, lowest: [(Kind, Option<u32>); 2]) -> Table {
    let row = |(kind, least): (Kind, Option<u32>)| {
        let least = least.map_or_else(|| "more".to_owned(), |mebibytes| mebibytes.to_string());
        vec![kind.name.to_owned(), least]
    };
    Table {
        title: format!("The least memory, {}", board.name()),
        explanation: format!(
            "The smallest of {MEMORIES:?} MiB with which three boots of three succeed."
        ),
        columns: vec!["what", "MiB"],
        rows: lowest.into_iter().map(row).collect(),
    }
}

fn write(arch: Processor, tables: &[Table]) -> Result<(), Error> {
    let text = format!("Conditions: {}.\n\n{}", conditions::machine()?, report::markdown(tables));
    println!("\n{text}");
    let section = match arch {
        Processor::Arm64 => "bench boot",
        Processor::X86_64 => "bench boot --arch x86_64",
    };
    report::write_section(&workspace_root().join("BENCHMARKS.md"), section, &text)
}

impl Bench<'_> {
    fn boots(&self, kind: Kind, count: usize) -> Result<Vec<String>, Error> {
        let mut all = Vec::new();
        for number in 0..count {
            let boot = self.boot(kind, 512)?;
            if boot.done.is_none() {
                println!("    boot {number} did not succeed");
            }
            all.push(boot);
        }
        let of = |time: fn(&Boot) -> Option<Duration>| -> Vec<Duration> {
            all.iter().filter_map(time).collect()
        };
        let p50 = |time: fn(&Boot) -> Option<Duration>| match of(time) {
            none if none.is_empty() => "-".to_owned(),
            times => shown(Percentiles::of(times).p50),
        };
        let done = of(|boot| boot.done);
        let slowest = done.iter().max().copied().unwrap_or_default();
        let succeeded = done.len();
        let row = vec![
            kind.name.to_owned(),
            count.to_string(),
            succeeded.to_string(),
            p50(|boot| boot.init),
            p50(|boot| boot.modules),
            p50(|boot| boot.lease),
            p50(|boot| boot.done),
            shown(Percentiles::of(done).p95),
            shown(slowest),
        ];
        println!("    {}", row.join("  "));
        Ok(row)
    }

    /// The smallest memory with which it succeeds three times.
    fn lowest(&self, kind: Kind) -> Result<Option<u32>, Error> {
        let mut lowest = None;
        for memory in MEMORIES {
            for _ in 0..3 {
                if self.boot(kind, memory)?.done.is_none() {
                    println!("    {memory} MiB are not enough");
                    return Ok(lowest);
                }
            }
            lowest = Some(memory);
        }
        Ok(lowest)
    }

    fn boot(&self, kind: Kind, memory: u32) -> Result<Boot, Error> {
        let segment = self.lan.segment().ok_or_else(|| Error::Unexpected {
            what: "the network".to_owned(),
            found: "has no switch".to_owned(),
        })?;
        let card = Tap::on(segment)?;
        let (kernel, initramfs) = (&self.parts.kernel.image, &self.parts.initramfs);
        let machine =
            Machine::new(self.parts.board, kernel, initramfs).words(&self.words).words(kind.words);
        let boot = watch(machine.memory(memory).card(card.clone()).start()?, kind);
        card.remove()?;
        Ok(boot)
    }
}

/// Reads the console until the boot has succeeded, or says no more.
fn watch(mut machine: Vm, kind: Kind) -> Boot {
    let mut boot = Boot::default();
    while let Ok(line) = machine.next_line() {
        let Some((at, text)) = timed(&line) else { continue };
        if text.starts_with("start: ") {
            boot.init = Some(at);
        } else if text.starts_with("modules: ") {
            boot.modules = Some(at);
        } else if text.starts_with("dhcp: ") && text.contains(" has ") {
            boot.lease = Some(at);
        } else if text.starts_with(kind.done) {
            boot.done = Some(at);
            return boot;
        } else if text.starts_with("failed: ") {
            println!("    {line}");
            return boot;
        }
    }
    boot
}

/// Reads `phase-boot[  0.912] dhcp: ...`.
fn timed(line: &str) -> Option<(Duration, &str)> {
    let (time, text) = line.strip_prefix("phase-boot[")?.split_once("] ")?;
    Some((Duration::try_from_secs_f64(time.trim().parse().ok()?).ok()?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_console_has_its_time() {
        let line = "phase-boot[  0.912] dhcp: eth0 has 10.0.0.7/24";
        assert_eq!(timed(line), Some((Duration::from_millis(912), "dhcp: eth0 has 10.0.0.7/24")));
        assert_eq!(timed("[    1.2] reboot"), None);
    }
}
