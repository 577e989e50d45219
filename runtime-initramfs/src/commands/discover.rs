//! `phase-boot discover`: finds providers on the LAN and in the DHT, and prints where their manifests are.

use std::fmt::{self, Write as _};

use phase_core::client::Carriers;
use phase_core::escape::Escaped;
use phase_core::exit::Exit;
use phase_core::machine::{Family, Network as Prefix};
use phase_core::wire::multiaddr::Address;
use phase_core::wire::trust;

use super::networked;
use super::report::Report;
use super::text::{Tenths, add_to_list};
use crate::console::{Console, Step, print};
use crate::discovery::{Discovery, Search};
use crate::executor;
use crate::network::{Error, Network};
use crate::options::Options;
use crate::trust::load;

/// Runs the command; the exit status is its result.
#[must_use]
pub fn run(options: &Options, console: Console) -> Exit {
    let console = console.quiet(options.printing.quiet);
    let (search, network) = match prepare(options, console) {
        Ok(both) => both,
        Err(exit) => return exit,
    };
    let work = || discover(options, search, network, console);
    networked::run(options, network, console, work)
}

/// Reads the trust files and opens the network.
pub(super) fn prepare(options: &Options, console: Console) -> Result<(Search, Network), Exit> {
    let usage = |text: fmt::Arguments<'_>| console.failed(Step::Boot, Exit::Usage, text);
    let (trust, of_files) = load(&options.trust).map_err(|error| usage(format_args!("{error}")))?;
    let mut bootstraps: Vec<Address> = Vec::new();
    for bootstrap in options.bootstraps.iter().chain(&of_files) {
        if !bootstraps.contains(bootstrap) {
            bootstraps.push(bootstrap.clone());
        }
    }
    if options.carriers == Carriers::Wan && bootstraps.is_empty() {
        return Err(usage(format_args!(
            "mode wan needs a node to enter the DHT by: give --bootstrap /ip4/ADDRESS/tcp/4001/p2p/PEER_ID, or a \
             `bootstrap` line in the trust file"
        )));
    }
    if options.insecure {
        console.step(
            Step::Boot,
            format_args!(
                "insecure: anybody on this network can name any image; not for production"
            ),
        );
    }
    let search = Search {
        channel: options.channel.clone(),
        arch: options.arch.clone(),
        trust,
        insecure: options.insecure,
        carriers: options.carriers,
        bootstraps,
    };
    Ok((search, open_network(options, console)?))
}

/// Opens the interfaces; how it ends if that fails.
pub(super) fn open_network(options: &Options, console: Console) -> Result<Network, Exit> {
    Network::open(options.interfaces.clone(), console).map_err(|error| {
        let exit = match error {
            Error::NotPermitted | Error::Open { .. } => Exit::NoNetwork,
            Error::Interfaces(_) => Exit::Internal,
        };
        console.failed(Step::Link, exit, format_args!("{error}"))
    })
}

fn discover(options: &Options, search: Search, network: Network, console: Console) -> Exit {
    let mode = search.trust.mode();
    let mut discovery = Discovery::begin(search, network, console);
    discovery.run(options.timeout);
    let all = reports(options, &discovery);
    let best = all.iter().find(|report| report.candidate.is_accepted());
    let mut text = String::new();
    if options.printing.quiet && !options.printing.json {
        if let Some(url) = best.and_then(|best| best.candidate.url()) {
            // Writing to a `String` does not fail.
            let _ = writeln!(text, "{url}");
        }
    } else {
        for report in &all {
            if options.printing.json {
                text.push_str(&report.to_json());
            } else if report.candidate.is_accepted() {
                text.push_str(&report.to_line());
            }
        }
    }
    if print(&text) != Exit::Success {
        let text = format_args!("cannot write to standard output");
        return console.failed(Step::Discover, Exit::Internal, text);
    }
    if options.printing.explain {
        explain(&discovery, &all, console);
    }
    let Some(best) = best else {
        return nothing_acceptable(options, &discovery, &all, console);
    };
    found(best, mode, console);
    Exit::Success
}

/// All candidates, the best first.
fn reports<'a>(options: &'a Options, discovery: &'a Discovery) -> Vec<Report<'a>> {
    let mut reports = Vec::new();
    for candidate in discovery.candidates() {
        let found_at = discovery.found_at(candidate.id());
        let (channel, arch) = (&options.channel, &options.arch);
        reports.push(Report { candidate, channel, arch, found_at });
    }
    reports
}

fn found(best: &Report<'_>, mode: trust::Mode, console: Console) {
    let Some(url) = best.candidate.url() else { return };
    let url = url.to_string();
    console.step(Step::Discover, format_args!("found {} ({})", Escaped(&url), best.source()));
    if let (trust::Mode::Unpinned, Some(peer)) = (mode, best.candidate.peer()) {
        console.step(
            Step::Discover,
            format_args!(
                "hint: unpinned: its signature is right, but nobody said whose it should be. If this is your provider, \
                 accept no other: --trust {peer}"
            ),
        );
    }
}

/// Says why nothing could be tried, and what to do.
pub(super) fn nobody(options: &Options, discovery: &Discovery, console: Console) -> Exit {
    nothing_acceptable(options, discovery, &reports(options, discovery), console)
}

/// Says why nothing that could be accepted is there, and what to do.
fn nothing_acceptable(
    options: &Options,
    discovery: &Discovery,
    all: &[Report<'_>],
    console: Console,
) -> Exit {
    let (channel, arch) = (&options.channel, &options.arch);
    let seconds = Tenths::seconds(discovery.elapsed());
    if !options.printing.explain {
        tell_refused(all, console);
        tell_steps(discovery, console);
    }
    let network = discovery.driver().network();
    if !network.is_configured() && !discovery.was_anybody_reached() {
        return no_network(options, network, console);
    }
    // None of them was accepted.
    if let count @ 1.. = all.len() {
        let text = format_args!(
            "found {count} for channel {channel}, architecture {arch}, none acceptable; the reasons are above, and \
             --trust names whom to believe"
        );
        return console.failed(Step::Discover, Exit::NoneAcceptable, text);
    }
    let asked = asked(discovery);
    let text = match discovery.carriers() {
        Carriers::Wan => format_args!(
            "nothing found in the DHT for channel {channel}, architecture {arch} in {seconds} s; check that a \
             provider publishes into this DHT, and the bootstrap nodes"
        ),
        Carriers::Auto | Carriers::Lan | Carriers::All => format_args!(
            "nothing found for channel {channel}, architecture {arch} in {seconds} s, asked on {asked}; check that a \
             provider runs on this network and has these, and that no firewall drops UDP port 5353"
        ),
    };
    console.failed(Step::Discover, Exit::NothingFound, text)
}

/// No interface could be used, or none got an address.
pub(super) fn no_network(options: &Options, network: Network, console: Console) -> Exit {
    let interfaces = network.interfaces();
    let fail = |step, text: fmt::Arguments<'_>| console.failed(step, Exit::NoNetwork, text);
    if interfaces.is_empty() {
        if !options.printing.explain {
            tell_excluded(network, console);
        }
        return fail(
            Step::Link,
            format_args!(
                "no network interface can be used; connect one, or name one with --interface"
            ),
        );
    }
    let (mut up, mut down) = (String::new(), String::new());
    for one in &interfaces {
        let list = if one.is_up() { &mut up } else { &mut down };
        add_to_list(list, format_args!("{}", one.name));
    }
    if up.is_empty() {
        return fail(Step::Link, format_args!("no carrier on {down}; check the cable"));
    }
    fail(
        Step::Dhcp,
        format_args!(
            "no DHCP server and no IPv6 router answered on {up}; check that this network has one, or the cable"
        ),
    )
}

/// Says which interfaces were used and why others were not, what was refused, and what it took.
fn explain(discovery: &Discovery, all: &[Report<'_>], console: Console) {
    let network = discovery.driver().network();
    for interface in network.interfaces() {
        let mut state = String::new();
        if interface.is_up() {
            for Prefix { address, prefix_len } in interface.networks() {
                add_to_list(&mut state, format_args!("{address}/{prefix_len}"));
            }
        } else {
            state.push_str("no carrier");
        }
        console.explain(format_args!("interface {}: used: {state}", interface.name));
    }
    tell_excluded(network, console);
    tell_refused(all, console);
    tell_steps(discovery, console);
    let (counters, stats) = (discovery.driver().counters(), executor::stats());
    let (wakeups, elapsed) = (stats.wakeups, console.elapsed());
    console.explain(format_args!(
        "datagrams: {} sent, {} received, {} not sent",
        counters.sent, counters.received, counters.refused
    ));
    console.explain(format_args!(
        "wake-ups: {wakeups} in {} s, {} a second",
        Tenths::seconds(elapsed),
        Tenths::rate(wakeups, elapsed)
    ));
}

fn tell_excluded(network: Network, console: Console) {
    for (name, why) in network.excluded().iter() {
        console.explain(format_args!("interface {}: not used: {why}", Escaped(name)));
    }
}

fn tell_refused(all: &[Report<'_>], console: Console) {
    for line in all.iter().filter_map(|report| report.refusal()) {
        console.explain(format_args!("refused: {line}"));
    }
}

fn tell_steps(discovery: &Discovery, console: Console) {
    for step in discovery.steps() {
        console.explain(format_args!("in the DHT: {}", Escaped(&step)));
    }
}

/// The interfaces that were asked on, with their families.
fn asked(discovery: &Discovery) -> String {
    let mut asked = String::new();
    for interface in discovery.driver().network().interfaces() {
        let networks = interface.networks();
        let families = match (has(&networks, Family::V4), has(&networks, Family::V6)) {
            (true, true) => "IPv4, IPv6",
            (true, false) => "IPv4",
            (false, true) => "IPv6",
            (false, false) => continue,
        };
        add_to_list(&mut asked, format_args!("{} ({families})", interface.name));
    }
    asked
}

fn has(networks: &[Prefix], family: Family) -> bool {
    networks.iter().any(|network| network.address.is_ipv4() == (family == Family::V4))
}
