//! `phase-provider status`, `list` and `reload`: questions to the running daemon.

use std::io::{self, Write as _};

use clap::Args;
use phase_core::escape::Escaped;
use phase_core::exit::Exit;
use serde_json::json;

use super::provider::{Failure, Place};
use super::text::escape_json;
use crate::config;
use crate::config::settings::state_dir;
use crate::serve::control::{self, Request, Response};
use crate::state::StateDir;
use crate::status::{DhtStatus, Status};

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
    writeln!(out, "images    {}", status.images.len())?;
    let of = |carrier: &str, state: &str| {
        let all = status.adverts.iter().filter(|advert| advert.carrier == carrier);
        let count = all.clone().filter(|advert| advert.state == state).count();
        format!("{count} of {} adverts", all.count())
    };
    match status.mdns {
        true => writeln!(out, "announced {}", of("lan", "announced"))?,
        false => writeln!(out, "announced nothing: mDNS is off")?,
    }
    match &status.dht {
        Some(dht) => {
            writeln!(out, "published {} in the DHT", of("dht", "published"))?;
            print_publications(out, status)?;
            print_dht(out, dht)?;
        }
        None => writeln!(out, "published nothing: the DHT is off")?,
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

/// When each advert was published in the DHT, and when it will be.
fn print_publications(out: &mut impl io::Write, status: &Status) -> io::Result<()> {
    for advert in status.adverts.iter().filter(|advert| advert.carrier == "dht") {
        let image = format!("{}/{}", advert.channel, advert.arch);
        let Some(publication) = &advert.publication else {
            writeln!(out, "    {image} {}", advert.state)?;
            continue;
        };
        let next = publication
            .next_in_seconds
            .map_or_else(|| "under way".to_owned(), |seconds| format!("next in {seconds} s"));
        match publication.published_seconds_ago {
            Some(ago) => writeln!(
                out,
                "    {image} seq {}: published {ago} s ago, {} nodes keep it, {next}",
                advert.seq, publication.holders
            )?,
            None => writeln!(
                out,
                "    {image} seq {}: not published yet, {} attempts failed, {next}",
                advert.seq, publication.failures
            )?,
        }
    }
    Ok(())
}

fn print_dht(out: &mut impl io::Write, dht: &DhtStatus) -> io::Result<()> {
    writeln!(
        out,
        "dht       {} peers known, {} of them there, {} connected; stores {} records and {} provider records for others",
        dht.peers, dht.live_peers, dht.connections, dht.records, dht.provider_records
    )?;
    if !dht.buckets.is_empty() {
        let buckets = dht.buckets.iter().map(|one| format!("{}:{}", one.bucket, one.peers));
        writeln!(out, "buckets   {}", buckets.collect::<Vec<_>>().join(" "))?;
    }
    if let Some(seconds) = dht.refresh_in_seconds {
        writeln!(out, "refresh   in {seconds} s")?;
    }
    writeln!(out, "listening {}", dht.listening.join(" "))?;
    writeln!(out, "told      {}", dht.announced.join(" "))?;
    for bootstrap in &dht.bootstraps {
        let peer = bootstrap.peer_id.as_ref().map_or_else(String::new, |peer| format!(" {peer}"));
        let error = bootstrap.error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
        writeln!(
            out,
            "bootstrap {} {}{peer}{}",
            Escaped(&bootstrap.address),
            bootstrap.state,
            Escaped(&error)
        )?;
    }
    if dht.bootstraps.is_empty() {
        writeln!(out, "bootstrap none: others enter the DHT by this node")?;
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
            let name = link.map_or_else(String::new, |link| format!("on {}", link.name));
            let name = if advert.carrier == "dht" { "in the DHT".to_owned() } else { name };
            writeln!(
                out,
                "    {} {} {} seq {}",
                advert.state,
                Escaped(&name),
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
