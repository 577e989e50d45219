//! A command over the network, to its end or to a signal: what was taken from the kernel is given back either way.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use embassy_futures::select::{Either, select};

use crate::console::{Console, Step};
use crate::executor;
use crate::exit::Exit;
use crate::interrupt::Interrupts;
use crate::network::Network;
use crate::options::Options;

/// Runs it; with `--apply-lease` the kernel gets the leases when it went well.
///
/// One function for the work of every command: one for each would be as large each time.
pub(super) fn run(
    options: &Options,
    network: &Network,
    console: Console,
    work: Pin<&mut dyn Future<Output = Exit>>,
) -> Exit {
    let failed = |text: fmt::Arguments<'_>| {
        network.release();
        console.failed(Step::Boot, Exit::Internal, text)
    };
    let interrupts = match Interrupts::hold() {
        Ok(interrupts) => interrupts,
        Err(error) => return failed(format_args!("cannot hold signals back: {error}")),
    };
    let exit = match executor::run(select(work, interrupts.wait())) {
        Either::First(exit) => exit,
        Either::Second(signal) => {
            network.release();
            interrupts.end_by(signal);
            return failed(format_args!("interrupted"));
        }
    };
    let applied = exit != Exit::Success || !options.apply_lease || network.apply_leases(console);
    network.release();
    if applied { exit } else { Exit::Internal }
}
