//! The result of one discovery: standard output, hints, and the exit status.

use std::fmt::Write as _;
use std::io::{self, Write};

use phase_core::client::Carriers;
use phase_core::escape::Escaped;
use phase_core::exit::Exit;
use phase_core::machine::Family;
use phase_core::wire::record::{Arch, Channel};
use phase_core::wire::trust::Mode;

use super::report::{COLUMNS, HEADINGS, Report};
use crate::cli::common::Printing;
use crate::cli::text::{complain, say};
use crate::discovery::{Discovery, Search};

/// The command's name, before what it complains of.
pub(super) const NAME: &str = "phase-discover";

/// What was looked for, for messages.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) channel: Channel,
    pub(super) arch: Arch,
    pub(super) mode: Mode,
}

impl Wanted {
    pub(super) fn of(search: &Search) -> Self {
        Self {
            channel: search.channel.clone(),
            arch: search.arch.clone(),
            mode: search.trust.mode(),
        }
    }
}

/// Prints all candidates and decides how the command ends.
pub(super) fn print(discovery: &Discovery, wanted: &Wanted, printing: Printing) -> Exit {
    let reports: Vec<Report> = discovery
        .client()
        .candidates()
        .map(|candidate| Report::new(discovery, candidate, &wanted.channel, &wanted.arch))
        .collect();
    let accepted: Vec<&Report> = reports.iter().filter(|report| report.accepted).collect();
    let refused: Vec<&Report> = reports.iter().filter(|report| !report.accepted).collect();
    let text = if printing.json {
        let shown = accepted.iter().chain(&refused);
        match shown.map(|report| report.to_json()).collect::<Result<Vec<_>, _>>() {
            Ok(lines) => lines.iter().fold(String::new(), |text, line| text + line + "\n"),
            Err(error) => return complain(NAME, Exit::Internal, &error),
        }
    } else if printing.quiet {
        accepted
            .first()
            .and_then(|best| best.url.as_ref())
            .map_or_else(String::new, |url| format!("{url}\n"))
    } else {
        table(&accepted)
    };
    if let Some(exit) = write(&text) {
        return exit;
    }
    if printing.explain {
        explain(discovery, if printing.json { &[] } else { &refused });
    }
    match (accepted.first(), refused.is_empty()) {
        (Some(best), _) => {
            if !printing.quiet {
                hint_to_pin(best, wanted.mode);
            }
            Exit::Success
        }
        (None, false) => complain_none_acceptable(&refused, wanted, printing),
        (None, true) => complain_nothing_found(discovery, wanted, printing),
    }
}

/// Writes to standard output at once. A reader that has gone has what it wanted; another failure is told
/// and ends the command.
pub(super) fn write(text: &str) -> Option<Exit> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => None,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Some(Exit::Success),
        Err(error) => Some(complain(
            NAME,
            Exit::Internal,
            &format_args!("cannot write to standard output: {error}"),
        )),
    }
}

fn table(reports: &[&Report]) -> String {
    if reports.is_empty() {
        return String::new();
    }
    let mut rows = vec![HEADINGS.map(ToOwned::to_owned)];
    rows.extend(reports.iter().map(|report| report.cells()));
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a `String` does not fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Without any trust configured, says how to get some.
pub(super) fn hint_to_pin(best: &Report, mode: Mode) {
    if let (true, Mode::Unpinned, Some(peer)) = (best.is_unpinned(), mode, &best.peer_id) {
        say(&format!(
            "hint: unpinned: its signature is right, but nobody said whose it should be. If this is your \
             provider, accept no other: --trust {peer}"
        ));
    }
}

/// Says which interfaces were used and why others were not, what was refused, and what was counted.
pub(super) fn explain(discovery: &Discovery, refused: &[&Report]) {
    for interface in discovery.driver().interfaces() {
        let name = &interface.name;
        match interface.excluded {
            Some(why) => say(&format!("interface {name}: not used: {why}")),
            None => {
                let networks = interface.networks.iter();
                let networks: Vec<String> =
                    networks.map(|n| format!("{}/{}", n.address, n.prefix_len)).collect();
                say(&format!("interface {name}: used: {}", networks.join(", ")));
            }
        }
    }
    for line in refused.iter().filter_map(|report| report.refusal()) {
        say(&format!("refused: {line}"));
    }
    tell_steps(discovery);
    for (name, help, value) in discovery.client().stats().iter().filter(|(.., value)| *value > 0) {
        say(&format!("count {name}: {value} ({help})"));
    }
}

fn complain_none_acceptable(refused: &[&Report], wanted: &Wanted, printing: Printing) -> Exit {
    let (count, image) = (refused.len(), image(wanted));
    say(&format!("phase-discover: found {count} for {image}, none acceptable"));
    if !printing.explain || printing.json {
        for line in refused.iter().filter_map(|report| report.refusal()) {
            say(&format!("  {line}"));
        }
    }
    for cure in refused.iter().filter_map(|report| cure(report)) {
        say(&format!("  {cure}"));
    }
    Exit::NoneAcceptable
}

/// What the user of this command can do.
fn cure(report: &Report) -> Option<String> {
    match (report.reason?, &report.peer_id) {
        ("E-UNTRUSTED", Some(peer)) => {
            Some(format!("hint: if you know this provider: --trust {peer}"))
        }
        ("E-UNSIGNED", _) => Some(
            "hint: to use unsigned records all the same, in development only: --insecure".into(),
        ),
        _ => None,
    }
}

/// Nothing was found: what was asked, and what to check.
pub(super) fn complain_nothing_found(
    discovery: &Discovery,
    wanted: &Wanted,
    printing: Printing,
) -> Exit {
    let (has_links, carriers) = (discovery.driver().has_links(), discovery.carriers());
    if !has_links && carriers != Carriers::Wan {
        return complain_no_network(discovery);
    }
    let (image, elapsed) = (image(wanted), discovery.elapsed().as_secs_f64());
    say(&format!("phase-discover: nothing found for {image} in {elapsed:.1} s"));
    if carriers != Carriers::Wan {
        say(&format!("  asked on: {}", asked(discovery).join(", ")));
        say(
            "  check that a provider runs and has this channel and architecture: phase-provider list",
        );
        say("  check that it is on the same network: multicast does not pass routers");
        say("  check that no firewall drops UDP port 5353, here or there");
    }
    // They were told with everything else.
    if !printing.explain {
        tell_steps(discovery);
    }
    if carriers == Carriers::Wan && !has_links && !discovery.was_anybody_reached() {
        say("  no network interface can be used");
        return Exit::NoNetwork;
    }
    Exit::NothingFound
}

fn complain_no_network(discovery: &Discovery) -> Exit {
    say("phase-discover: no network interface can be used");
    for interface in discovery.driver().interfaces() {
        if let Some(why) = interface.excluded {
            say(&format!("  {}: {why}", interface.name));
        }
    }
    say("hint: name the one to use with --interface");
    Exit::NoNetwork
}

/// The interfaces that were asked on.
fn asked(discovery: &Discovery) -> Vec<String> {
    let interfaces = discovery.driver().interfaces().iter();
    let used = interfaces.filter(|interface| interface.links().next().is_some());
    let shown = used.map(|interface| {
        let families = interface.links().map(|link| match link.family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        });
        format!("{} ({})", interface.name, families.collect::<Vec<_>>().join(", "))
    });
    shown.collect()
}

/// Says what was done in the DHT.
fn tell_steps(discovery: &Discovery) {
    for step in discovery.steps() {
        say(&format!("  in the DHT: {}", Escaped(&step)));
    }
}

fn image(wanted: &Wanted) -> String {
    format!("channel {}, architecture {}", wanted.channel, wanted.arch)
}
