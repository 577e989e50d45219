//! A command over the network, to its end or to a signal: what was taken from the kernel is given back either way.

use std::future::poll_fn;
use std::process;

use phase_core::exit::Exit;

use crate::console::{Console, Step};
use crate::executor;
use crate::interrupt::Interrupts;
use crate::network::Network;
use crate::options::Options;

/// Runs it; with `--apply-lease` the kernel gets the leases when it went well. A signal ends the process while it waits.
pub(super) fn run(
    options: &Options,
    network: Network,
    console: Console,
    work: impl FnOnce() -> Exit,
) -> Exit {
    match begin(network, console) {
        Ok(()) => finish(options, network, console, work()),
        Err(exit) => exit,
    }
}

fn begin(network: Network, console: Console) -> Result<(), Exit> {
    match Interrupts::hold() {
        Ok(interrupts) => {
            executor::spawn(end(interrupts, network, console));
            Ok(())
        }
        Err(error) => {
            network.release();
            let text = format_args!("cannot hold signals back: {error}");
            Err(console.failed(Step::Boot, Exit::Internal, text))
        }
    }
}

fn finish(options: &Options, network: Network, console: Console, exit: Exit) -> Exit {
    let applied = exit != Exit::Success || !options.apply_lease || network.apply_leases(console);
    network.release();
    if applied { exit } else { Exit::Internal }
}

/// Ends the process by the first signal.
async fn end(interrupts: Interrupts, network: Network, console: Console) {
    let signal = poll_fn(|cx| interrupts.poll(cx)).await;
    network.release();
    interrupts.end_by(signal);
    // Whoever started it has this signal ignored.
    let exit = console.failed(Step::Boot, Exit::Internal, format_args!("interrupted"));
    process::exit(exit.code().into());
}
