//! What `phase-provider doctor` looks at: everything that `serve` needs, one finding for each thing, with what to
//! do about it. Nothing is changed: no key is made, no torn file put aside, and what is opened is closed again.
//! Not here: how findings are shown.

mod holders;
mod host;
mod network;

use std::fmt::Display;
use std::path::Path;

use phase_core::exit::Exit;

use crate::artifacts::scan::scan;
use crate::config::file::File;
use crate::config::settings::{Absent, Flags, Settings};
use crate::config::{self};
use crate::serve::control::{self, Request, Response};
use crate::state::StateDir;
use crate::status::Status;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// The provider works, perhaps not as it was meant to.
    Warning,
    /// The provider does not start or does not work; how `serve` or `status` exits for this.
    Failure(Exit),
}

/// What was found out about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The thing.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen, and what to do.
    pub text: String,
}

impl Finding {
    fn good(check: &'static str, text: impl Display) -> Self {
        Self { check, verdict: Verdict::Good, text: text.to_string() }
    }

    fn warning(check: &'static str, text: impl Display) -> Self {
        Self { check, verdict: Verdict::Warning, text: text.to_string() }
    }

    fn failure(check: &'static str, exit: Exit, text: impl Display) -> Self {
        Self { check, verdict: Verdict::Failure(exit), text: text.to_string() }
    }
}

/// Looks at everything that `serve` with these flags and this configuration file needs.
#[must_use]
pub fn examine(flags: &Flags, config: Option<&Path>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let file = match config::load(config) {
        Ok(file) => {
            let text = file.as_ref().map_or_else(
                || "no configuration file: flags and defaults decide".to_owned(),
                |file| format!("{}: no errors", file.path.display()),
            );
            findings.push(Finding::good("configuration", text));
            file
        }
        Err(errors) => {
            let lines: Vec<_> = errors.to_string().lines().map(str::to_owned).collect();
            findings.push(Finding::failure("configuration", Exit::Usage, lines.join("; ")));
            None
        }
    };
    match settings(flags, file.as_ref()) {
        Ok((settings, with_artifacts)) => examine_host(&settings, with_artifacts, &mut findings),
        Err(absent) => findings.push(Finding::failure("configuration", Exit::Usage, absent)),
    }
    findings
}

/// The settings, and whether they say where the artifacts are: without that, everything else can be looked at.
fn settings(flags: &Flags, file: Option<&File>) -> Result<(Settings, bool), Absent> {
    match Settings::new(flags, file) {
        Err(Absent::Artifacts) => {
            let nowhere = Flags { artifacts: Some("".into()), ..flags.clone() };
            Ok((Settings::new(&nowhere, file)?, false))
        }
        settings => settings.map(|settings| (settings, true)),
    }
}

fn examine_host(settings: &Settings, with_artifacts: bool, findings: &mut Vec<Finding>) {
    let state = StateDir::existing(settings.state_dir.clone());
    findings.extend(host::clock(&state));
    findings.extend(host::state_directory(&state));
    findings.extend(host::keys(&state));
    if with_artifacts {
        findings.extend(artifacts(settings));
    } else {
        findings.push(Finding::warning("artifacts", Absent::Artifacts));
    }
    let (daemon, is_running) = daemon(&state);
    findings.extend(daemon);
    findings.extend(network::interfaces(settings));
    findings.extend(network::mdns_port(settings));
    findings.extend(network::http_port(settings, is_running));
    findings.extend(network::dht_ports(settings, is_running));
}

fn artifacts(settings: &Settings) -> Vec<Finding> {
    const CHECK: &str = "artifacts";
    let directory = settings.artifacts.display();
    let found = match scan(&settings.artifacts) {
        Ok(found) => found,
        Err(error) => return vec![Finding::failure(CHECK, Exit::Usage, error)],
    };
    let images: Vec<_> = found.images.iter().map(|image| image.id.to_string()).collect();
    let first = if images.is_empty() {
        let text =
            format!("nothing to serve: put a kernel there as {directory}/stable/arm64/vmlinuz");
        Finding::warning(CHECK, text)
    } else {
        Finding::good(CHECK, format!("{directory}: {}", images.join(", ")))
    };
    let ignored = found.warnings.iter().filter(|warning| !warning.reason.is_optional());
    std::iter::once(first).chain(ignored.map(|warning| Finding::warning(CHECK, warning))).collect()
}

/// What the running daemon reports, and whether one runs.
fn daemon(state: &StateDir) -> (Vec<Finding>, bool) {
    const CHECK: &str = "daemon";
    match control::ask(state, Request::Status) {
        Ok(Response::Status(status)) => (report(CHECK, &status), true),
        Ok(Response::Reloaded(_) | Response::Error(_)) => {
            let text = "it answered something else than its status; restart it";
            (vec![Finding::failure(CHECK, Exit::Internal, text)], true)
        }
        Err(control::Error::NotRunning(_)) => {
            let text =
                "not running: start it with `phase-provider serve`; its log tells why it stopped";
            (vec![Finding::warning(CHECK, text)], false)
        }
        Err(error @ (control::Error::Broken { .. } | control::Error::Refused(_))) => {
            (vec![Finding::failure(CHECK, Exit::Internal, error)], true)
        }
    }
}

fn report(check: &'static str, status: &Status) -> Vec<Finding> {
    let count = |carrier, state| {
        let all = status.adverts.iter().filter(|advert| advert.carrier == carrier);
        let good = all.clone().filter(|advert| advert.state == state).count();
        format!("{state} {good} of {}", all.count())
    };
    let Status { uptime_seconds, peer_id, images, .. } = status;
    let mut parts = vec![
        format!("running for {uptime_seconds} s as {peer_id}"),
        format!("images {}", images.len()),
    ];
    parts.extend(status.mdns.then(|| count("lan", "announced")));
    parts.extend(status.dht.as_ref().map(|_| count("dht", "published")));
    let problems =
        status.problems.iter().map(|problem| Finding::failure(check, Exit::Internal, problem));
    let bootstraps = status.dht.iter().flat_map(|dht| &dht.bootstraps);
    let unreached = bootstraps.filter(|bootstrap| bootstrap.state == "failed").map(|bootstrap| {
        let error = bootstrap.error.as_deref().unwrap_or("not reached");
        Finding::warning(check, format!("bootstrap {}: {error}", bootstrap.address))
    });
    std::iter::once(Finding::good(check, parts.join(", ")))
        .chain(problems)
        .chain(unreached)
        .collect()
}
