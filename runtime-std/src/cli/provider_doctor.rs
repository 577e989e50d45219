//! `phase-provider doctor`.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use phase_core::escape::Escaped;
use phase_core::exit::Exit;
use serde_json::json;

use super::common::Interfaces;
use super::provider::{Failure, Place};
use super::text::escape_json;
use crate::config::settings::Flags;
use crate::doctor::{Finding, Verdict, examine};

#[derive(Args, Debug)]
pub(super) struct Query {
    /// Print JSON: one object a line.
    #[arg(long)]
    json: bool,
    /// Directory with {channel}/{arch}/vmlinuz and the other files of each image.
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    /// Where HTTP is served; the default is port 8080 of every address.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    interfaces: Interfaces,
    #[command(flatten)]
    place: Place,
}

/// Prints one line for each thing that was looked at; the exit code is that of the first failure.
pub(super) fn run(query: &Query) -> Result<Exit, Failure> {
    let flags = Flags {
        artifacts: query.artifacts.clone(),
        listen: query.listen,
        interfaces: query.interfaces.interfaces.clone(),
        state_dir: query.place.state_dir.clone(),
        ..Flags::default()
    };
    let findings = examine(&flags, query.place.config.as_deref());
    let mut out = io::stdout().lock();
    for Finding { check, verdict, text } in &findings {
        let (word, code) = match verdict {
            Verdict::Good => ("ok", None),
            Verdict::Warning => ("warning", None),
            Verdict::Failure(exit) => ("failure", Some(exit.code())),
        };
        if query.json {
            let object = json!({ "check": check, "verdict": word, "code": code, "text": text });
            writeln!(out, "{}", escape_json(&object.to_string()))?;
        } else {
            writeln!(out, "{word:<8} {check:<16} {}", Escaped(text))?;
        }
    }
    let failure = findings.iter().find_map(|finding| match finding.verdict {
        Verdict::Failure(exit) => Some(exit),
        Verdict::Good | Verdict::Warning => None,
    });
    Ok(failure.unwrap_or(Exit::Success))
}
