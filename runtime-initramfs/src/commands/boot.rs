//! `phase-boot boot`: finds an image, fetches it into memory, verifies it, and gives the machine to it. The first process
//! of a machine does the same, or another of the actions, by the words of the kernel command line.
//!
//! Nothing is started that was not verified in the memory that it is started from.
//! Not here: the duties of the first process, and what follows a failure (`crate::init`).

use std::fs;
use std::path::Path;

use phase_core::exit::Exit;
use phase_core::fetch::image::{Item, Selection};

use super::fetch::{failed, obtain, request, single_key, trusting};
use super::kexec::{Error, assemble, start, trees};
use super::networked;
use crate::acquire::Choice;
use crate::cmdline::Action;
use crate::console::{Console, Step};
use crate::discovery::Search;
use crate::fetch::shelf::Shelf;
use crate::fetch::{self, Fetch, Image};
use crate::kexec;
use crate::network::Network;
use crate::options::Options;
use crate::{executor, init};

/// Whom the first process trusts when the kernel command line names nobody.
const TRUST: &str = "/etc/phase/trust";

/// Where `phase.action=fetch` leaves the image.
const OUTPUT: &str = "/run/phase/image";

/// The words of the boot loader.
const COMMAND_LINE: &str = "/proc/cmdline";

/// Runs the command; returns when it failed, or when the image was to be loaded only.
#[must_use]
pub fn run(options: &Options, console: Console) -> Exit {
    let (search, network) = match trusting(options, console) {
        Ok(both) => both,
        Err(exit) => return exit,
    };
    let mut ready = None;
    let work = || bring(options, search, network, console, &mut ready);
    let exit = networked::run(options, network, console, work);
    match ready {
        Some(image) if exit == Exit::Success => start(image, options.starting.load_only, console),
        Some(_) | None => exit,
    }
}

/// Runs as the first process of the machine.
pub fn first_process() -> ! {
    init::run(act)
}

/// One try of what the kernel command line asks for.
fn act(console: &Console) -> Exit {
    let line = fs::read_to_string(COMMAND_LINE).unwrap_or_default();
    let mut options = match Options::of_kernel(&line) {
        Ok(options) => options,
        Err(error) => {
            let text = format_args!("{COMMAND_LINE}: {error}; correct it in the boot loader");
            return console.failed(Step::Boot, Exit::Usage, text);
        }
    };
    if options.trust.is_empty() && Path::new(TRUST).exists() {
        options.trust.push(TRUST.to_owned());
    }
    match options.action {
        Action::Boot => run(&options, *console),
        Action::Discover => super::discover::run(&options, *console),
        Action::Fetch => {
            options.output = Some(OUTPUT.into());
            super::fetch::run(&options, *console)
        }
        // Whoever is the first process gives it before anything is tried.
        Action::Shell => Exit::Success,
    }
}

/// Brings the image into memory; `ready` gets it.
fn bring(
    options: &Options,
    search: Search,
    network: Network,
    console: Console,
    ready: &mut Option<kexec::Image>,
) -> Exit {
    single_key(&search, console);
    let request = request(&search);
    let mut fetch = Fetch::new(&network, &request, console, Shelf::in_memory());
    let choice: Choice<'_> = &|image| wanted(image, options);
    let image = match obtain(options, search, network, &mut fetch, choice, console) {
        Ok((image, _)) => image,
        Err(exit) => return exit,
    };
    let mut of =
        |item: &Item| fetch.shelf().take(item).map_err(|error| Box::new(Error::Fetch(error)));
    match assemble(&image, &options.starting, &mut of) {
        Ok(image) => *ready = Some(image),
        Err(error) => return unfit(&error, console),
    }
    let stats = executor::stats();
    console.step(Step::Boot, format_args!("everything is here, after {} wake-ups", stats.wakeups));
    Exit::Success
}

/// Kernel, initramfs, and the device trees that may be for this machine.
fn wanted<'i>(image: &'i Image, options: &Options) -> Vec<&'i Item> {
    let mut items = fetch::wanted(image, &[Selection::Kernel, Selection::Initramfs]);
    items.extend(trees(image, options.starting.device_tree.as_deref()));
    items
}

/// Tells why what was fetched cannot be started.
fn unfit(error: &Error, console: Console) -> Exit {
    if let Error::Fetch(error) = error {
        return failed(error, console);
    }
    // Most of the command line came with the image.
    let exit =
        if matches!(error, Error::CommandLine(_)) { Exit::KexecFailed } else { error.exit() };
    console.failed(Step::Kexec, exit, format_args!("{error}"))
}
