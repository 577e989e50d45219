//! `phase-provider channel`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use phase_core::exit::Exit;
use phase_core::wire::record::{Arch, Channel};

use super::common::arch;
use super::provider::{Failure, Place};
use super::text::{print_line, say};
use crate::artifacts::promote::{Done, promote};
use crate::artifacts::scan::scan;
use crate::artifacts::{ImageId, once};
use crate::config;
use crate::config::settings::{Flags, Settings};

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Copy images from one channel into another, such as from testing to stable.
    ///
    /// A running provider sees each image change as a whole, and then signs and announces it. The version is kept.
    Promote(Promote),
}

#[derive(Args, Debug)]
pub(super) struct Promote {
    /// The channel to copy from.
    from: Channel,
    /// The channel to copy to; made if it is not there.
    to: Channel,
    /// Only this architecture; may be given more than once. Without it, every one that FROM has an image for.
    #[arg(long = "arch", value_name = "ARCH", value_parser = arch)]
    archs: Vec<Arch>,
    /// Also replace an image whose version is newer.
    #[arg(long)]
    force: bool,
    /// Directory with {channel}/{arch}/vmlinuz and the other files of each image.
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(Command::Promote(arguments): &Command) -> Result<Exit, Failure> {
    let Promote { from, to, force, place, .. } = arguments;
    if from == to {
        return Err(Failure::usage(format!("{from} is both FROM and TO; name two channels")));
    }
    let file = config::load(place.config.as_deref()).map_err(Failure::usage)?;
    let flags = Flags {
        artifacts: arguments.artifacts.clone(),
        state_dir: place.state_dir.clone(),
        ..Flags::default()
    };
    let root = Settings::new(&flags, file.as_ref()).map_err(Failure::usage)?.artifacts;
    let mut archs: Vec<_> = arguments.archs.iter().map(ToString::to_string).collect();
    if archs.is_empty() {
        let mut images = scan(&root).map_err(Failure::usage)?.images;
        images.retain(|image| image.id.channel == from.as_str());
        archs = images.into_iter().map(|image| image.id.arch).collect();
    }
    if archs.is_empty() {
        let directory = root.join(from.as_str());
        let what = format!("there is no image in {}; nothing to promote", directory.display());
        return Err(Failure::usage(what));
    }
    for arch in archs {
        let id = ImageId { channel: from.to_string(), arch };
        let waiting = || say(&format!("{id}: waiting until nobody writes it"));
        let (image, warnings) = once::take(&root, &id, waiting).map_err(Failure::usage)?;
        warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
        let done = promote(&root, &image, to.as_str(), *force).map_err(Failure::usage)?;
        let (version, to) = (&image.version, format!("{to}/{}", id.arch));
        print_line(&match done {
            Done::Same => format!("{to}: has version {version} already; nothing done"),
            Done::New => format!("{to}: now version {version} from {id}"),
            Done::Replaced(old) => format!("{to}: now version {version} from {id}, was {old}"),
        });
    }
    Ok(Exit::Success)
}
