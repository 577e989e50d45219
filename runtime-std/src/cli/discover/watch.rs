//! `--watch`: a line whenever a provider is found, changes or is lost.

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use phase_core::client::{CandidateId, Event};
use phase_core::exit::Exit;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::print::{NAME, Wanted, complain_nothing_found, explain, hint_to_pin, write};
use super::report::{Happening, Report};
use crate::cli::common::Printing;
use crate::cli::text::{complain, say};
use crate::discovery::Discovery;

/// Prints until `limit`, or until it is interrupted.
pub(super) async fn run(
    discovery: &mut Discovery,
    wanted: &Wanted,
    printing: Printing,
    limit: Option<Duration>,
) -> Exit {
    let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate)] = signals else {
        return complain(NAME, Exit::Internal, &"cannot wait for signals");
    };
    let over = async {
        match limit {
            Some(limit) => sleep(limit).await,
            None => pending().await,
        }
    };
    tokio::pin!(over);
    let mut watch =
        Watch { wanted, printing, shown: BTreeMap::new(), found: false, refused: false };
    loop {
        tokio::select! {
            event = discovery.next_event() => {
                if let Some(exit) = watch.tell(discovery, event) {
                    return exit;
                }
            }
            () = &mut over => break,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    if printing.explain {
        explain(discovery, &[]);
    }
    match (watch.found, watch.refused, limit) {
        // Stopped by its user, who has seen what there was.
        (true, ..) | (.., None) => Exit::Success,
        (false, true, Some(_)) => {
            complain(NAME, Exit::NoneAcceptable, &"found, but none acceptable; --explain shows why")
        }
        (false, false, Some(_)) => complain_nothing_found(discovery, wanted, printing),
    }
}

struct Watch<'a> {
    wanted: &'a Wanted,
    printing: Printing,
    /// What was last printed of each candidate that is there.
    shown: BTreeMap<CandidateId, Report>,
    found: bool,
    refused: bool,
}

impl Watch<'_> {
    /// Prints what an event changes; the exit status when nobody reads any more.
    fn tell(&mut self, discovery: &Discovery, event: Event) -> Option<Exit> {
        let id = event.candidate()?;
        let is_there = !matches!(event, Event::Lost(_));
        let report = discovery.client().candidate(id).map(|candidate| {
            Report::new(discovery, candidate, &self.wanted.channel, &self.wanted.arch)
        });
        let (accepted, refused) =
            report.as_ref().map_or((false, false), |report| (report.accepted, !report.accepted));
        self.refused |= refused;
        let is_shown = is_there && (accepted || self.printing.explain);
        let before = self.shown.remove(&id);
        let was_accepted = before.as_ref().is_some_and(|before| before.accepted);
        let (happening, mut report) = match (before, report) {
            (None, Some(report)) if is_shown => (Happening::Found, report),
            (Some(before), Some(report)) if is_shown => {
                if report.says_the_same_as(&before) {
                    self.shown.insert(id, before);
                    return None;
                }
                (Happening::Changed, report)
            }
            // The last that is known, with the reason if it is refused.
            (Some(before), report) => (Happening::Lost, report.unwrap_or(before)),
            (None, _) => return None,
        };
        if is_shown {
            self.shown.insert(id, report.clone());
        }
        if happening == Happening::Found && accepted {
            if !self.found {
                hint_to_pin(&report, self.wanted.mode);
            }
            self.found = true;
        }
        report.event = Some(happening);
        self.print(&report, happening, accepted || was_accepted)
    }

    /// `is_result`: it is, or was until now, something that can be used.
    fn print(&self, report: &Report, happening: Happening, is_result: bool) -> Option<Exit> {
        if self.printing.json {
            return match report.to_json() {
                Ok(json) => write(&(json + "\n")),
                Err(error) => Some(complain(NAME, Exit::Internal, &error)),
            };
        }
        let happening = happening.as_str();
        if is_result {
            let line = format!("{happening:<8} {}", report.cells().join("  "));
            let reason = report.reason.map_or_else(String::new, |code| format!("  {code}"));
            return write(&format!("{line}{reason}\n"));
        }
        if let Some(line) = report.refusal() {
            say(&format!("{happening:<8} refused: {line}"));
        }
        None
    }
}
