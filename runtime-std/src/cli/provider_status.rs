//! `phase-provider status`, `list` and `reload`: questions to the running daemon.

use std::io::{self, Write as _};

use clap::Args;
use serde_json::json;

use super::provider::{Failure, Place};
use super::text::{Escaped, escape_json};
use crate::config;
use crate::config::settings::state_dir;
use crate::exit::Exit;
use crate::serve::control::{self, Request, Response};
use crate::state::StateDir;
use crate::status::Status;

#[derive(Args, Debug)]
pub(super) struct Query {
    /// Print JSON: one object for `status`, one object a line for `list`.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

fn ask(place: &Place, request: Request) -> Result<Response, Failure> {
    let file = config::load(place.config.as_deref()).map_err(Failure::usage)?;
    let path = state_dir(place.state_dir.clone(), file.as_ref()).map_err(Failure::usage)?;
    control::ask(&StateDir::existing(path), request).map_err(|error| match error {
        control::Error::NotRunning(_) | control::Error::Refused(_) => Failure::usage(error),
        control::Error::Broken { .. } => Failure::internal(error),
    })
}

fn ask_status(place: &Place) -> Result<Status, Failure> {
    match ask(place, Request::Status)? {
        Response::Status(status) => Ok(*status),
        Response::Reloaded(_) | Response::Error(_) => {
            Err(Failure::internal("the daemon answered something else"))
        }
    }
}

/// How the daemon is; exit code 1 when something is wrong with it.
pub(super) fn status(query: &Query) -> Result<Exit, Failure> {
    let status = ask_status(&query.place)?;
    let mut out = io::stdout().lock();
    if query.json {
        writeln!(out, "{}", escape_json(&json!(status).to_string()))?;
    } else {
        print_status(&mut out, &status)?;
    }
    Ok(if status.is_healthy() { Exit::Success } else { Exit::Internal })
}

fn print_status(out: &mut impl io::Write, status: &Status) -> io::Result<()> {
    writeln!(
        out,
        "{} ({}), up {} s",
        Escaped(&status.provider_name),
        status.software,
        status.uptime_seconds
    )?;
    writeln!(out, "peer id   {}", status.peer_id)?;
    writeln!(out, "signing   {}", status.signing)?;
    let announced = status.adverts.iter().filter(|a| a.state == "announced").count();
    writeln!(out, "images    {}", status.images.len())?;
    match status.mdns {
        true => writeln!(out, "announced {announced} of {} adverts", status.adverts.len())?,
        false => writeln!(out, "announced nothing: mDNS is off")?,
    }
    for link in &status.links {
        let addresses: Vec<_> = link.addresses.iter().map(ToString::to_string).collect();
        writeln!(out, "link      {} {} {}", Escaped(&link.name), link.family, addresses.join(" "))?;
    }
    for problem in &status.problems {
        writeln!(out, "problem   {}", Escaped(problem))?;
    }
    for warning in &status.warnings {
        writeln!(out, "warning   {}", Escaped(warning))?;
    }
    Ok(())
}

/// What is served and announced.
pub(super) fn list(query: &Query) -> Result<Exit, Failure> {
    let status = ask_status(&query.place)?;
    let mut out = io::stdout().lock();
    for image in &status.images {
        let same =
            |a: &&crate::status::AdvertStatus| a.channel == image.channel && a.arch == image.arch;
        let adverts: Vec<_> = status.adverts.iter().filter(same).collect();
        if query.json {
            let object = json!({ "image": image, "adverts": adverts });
            writeln!(out, "{}", escape_json(&object.to_string()))?;
            continue;
        }
        let Status { links, .. } = &status;
        writeln!(
            out,
            "{}/{} {} manifest {}",
            image.channel, image.arch, image.version, image.manifest_version
        )?;
        for artifact in &image.artifacts {
            writeln!(
                out,
                "    {} {} octets sha256:{}",
                artifact.name, artifact.size, artifact.sha256
            )?;
        }
        for advert in adverts {
            let link = links.iter().find(|link| link.interface == advert.interface);
            let name = link.map_or("", |link| &link.name);
            writeln!(
                out,
                "    {} on {} {} seq {}",
                advert.state,
                Escaped(name),
                advert.url,
                advert.seq
            )?;
        }
    }
    Ok(Exit::Success)
}

/// Has the daemon read its configuration again.
pub(super) fn reload(place: &Place) -> Result<Exit, Failure> {
    match ask(place, Request::Reload)? {
        Response::Reloaded(restart) if restart.is_empty() => writeln!(io::stdout(), "reloaded")?,
        Response::Reloaded(restart) => {
            writeln!(io::stdout(), "reloaded; a restart is needed for: {}", restart.join(", "))?;
        }
        Response::Status(_) | Response::Error(_) => {
            return Err(Failure::internal("the daemon answered something else"));
        }
    }
    Ok(Exit::Success)
}
