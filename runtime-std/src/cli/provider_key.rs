//! `phase-provider key`.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use phase_core::exit::Exit;
use phase_core::identity::SecretKey;
use serde_json::json;

use super::provider::{Failure, Place};
use crate::config;
use crate::config::settings::state_dir;
use crate::state::StateDir;
use crate::state::key;

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Print the node's peer id, which clients pin; with --json also the release keys.
    Show(Show),
    /// Make the node's key, or a release key. A key that is there is never replaced.
    Generate(Generate),
    /// Keep a key that was made elsewhere: 64 hexadecimal digits, or a PEM file of `openssl genpkey -algorithm
    /// ed25519`.
    Import(Import),
    /// Print the lines for clients' trust file.
    TrustLine(TrustLine),
}

#[derive(Args, Debug)]
pub(super) struct Show {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Args, Debug)]
pub(super) struct Generate {
    /// Make a release key of this name. With any release key, manifests are signed with release keys only.
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Args, Debug)]
pub(super) struct Import {
    /// File with the key.
    file: PathBuf,
    /// Keep it as the release key of this name.
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Args, Debug)]
pub(super) struct TrustLine {
    #[command(flatten)]
    place: Place,
}

fn place(place: &Place) -> Result<StateDir, Failure> {
    let file = config::load(place.config.as_deref()).map_err(Failure::usage)?;
    let path = state_dir(place.state_dir.clone(), file.as_ref()).map_err(Failure::usage)?;
    Ok(StateDir::existing(path))
}

pub(super) fn run(command: Command) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    match command {
        Command::Show(show) => {
            let state = place(&show.place)?;
            let node = key::load(&state.identity_file()).map_err(Failure::usage)?.peer_id();
            if show.json {
                let release = key::load_release(&state).map_err(Failure::usage)?;
                let release: Vec<_> = release
                    .iter()
                    .map(|(name, key)| json!({ "name": name, "keyid": key.peer_id().key_id().to_string() }))
                    .collect();
                let node = json!({ "peer_id": node.to_string(), "keyid": node.key_id().to_string(),
                    "file": state.identity_file(), "release": release });
                writeln!(out, "{node}")?;
            } else {
                writeln!(out, "{node}")?;
            }
        }
        Command::Generate(generate) => {
            let key = key::generate().map_err(Failure::internal)?;
            keep(&generate.place, generate.release.as_deref(), &key)?;
        }
        Command::Import(import) => {
            let key = key::read_foreign(&import.file).map_err(Failure::usage)?;
            keep(&import.place, import.release.as_deref(), &key)?;
        }
        Command::TrustLine(line) => {
            let state = place(&line.place)?;
            let node = key::load(&state.identity_file()).map_err(Failure::usage)?;
            writeln!(out, "provider {}", node.peer_id())?;
            for (name, key) in key::load_release(&state).map_err(Failure::usage)? {
                writeln!(out, "release {} name={name}", key.peer_id().key_id())?;
            }
        }
    }
    Ok(Exit::Success)
}

/// Keeps a new key and prints its id.
fn keep(at: &Place, release: Option<&str>, key: &SecretKey) -> Result<(), Failure> {
    let state = StateDir::open(place(at)?.path().to_owned()).map_err(Failure::usage)?;
    let (path, id) = match release {
        Some(name) => {
            let path = key::release_file(&state, name).map_err(Failure::usage)?;
            (path, key.peer_id().key_id().to_string())
        }
        None => (state.identity_file(), key.peer_id().to_string()),
    };
    key::store(&path, key).map_err(Failure::usage)?;
    writeln!(io::stdout(), "{id}")?;
    // Nobody can be told that standard error is gone.
    let _gone = writeln!(io::stderr(), "kept in {}", path.display());
    Ok(())
}
