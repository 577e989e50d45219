//! `phase-verify`: says whether a manifest, and the files that it names, are what a trusted key signed.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::Parser;
use phase_core::escape::Escaped;
use phase_core::exit::Exit;
use phase_core::fetch::image::Item;
use phase_core::fetch::output::CMDLINE;
use phase_core::limits::MANIFEST_MAX;
use phase_core::wire::manifest::{self, Policy};
use phase_core::wire::record::{Arch, Channel};
use phase_core::wire::trust::Trust;
use phase_core::wire::unix_time;
use phase_core::wire::url::Url;
use serde::Serialize;
use tracing_subscriber::filter::LevelFilter;

use super::common::{Logging, Trusting, arch, start_logging};
use super::text::{complain, print_json, print_line, say};
use super::trust;
use crate::fetch::part::is_complete;
use crate::fetch::source::Reach;
use crate::fetch::{self, Image};

const NAME: &str = "phase-verify";

/// Verify a boot manifest, and the files that it names.
///
/// Checks the signatures of the manifest against the keys that are trusted, then everything that the manifest
/// says; with --artifacts also that each file there is octet for octet the one that was signed.
#[derive(Parser, Clone, Debug)]
#[command(name = NAME, version, after_long_help = AFTER_HELP, max_term_width = 100)]
pub struct Arguments {
    /// The manifest: a file, an http URL, or - for standard input.
    #[arg(value_name = "FILE|URL")]
    manifest: String,
    /// Also verify the files in this directory: an output directory of phase-fetch, or a provider's directory of one
    /// channel and architecture.
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    /// The channel that the manifest must be for. Without it, the one that it says.
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<Channel>,
    /// The architecture that the manifest must be for. Without it, the one that it says.
    #[arg(long, value_name = "ARCH", value_parser = arch)]
    arch: Option<Arch>,
    #[command(flatten)]
    trusting: Trusting,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    logging: Logging,
}

const AFTER_HELP: &str = "\
Output:
  Standard output carries the result alone: `verified` and what the manifest
  is for, or with --json one object with verified, reason, channel, arch,
  version, manifest_version, created_at, expires_at, digest, signed_by and
  files. What is wrong goes to standard error.

Exit status:
  0  verified
  1  internal error
  2  usage: no such file, no trust
  6  the manifest could not be fetched
  7  verification failed

Examples:
  phase-verify boot/manifest.json --artifacts boot --trust 12D3KooW...
  phase-verify http://10.0.0.5:8080/stable/arm64/manifest.json --trust trust.conf";

/// Runs the command.
#[must_use]
pub fn run(arguments: &Arguments) -> Exit {
    start_logging(arguments.logging, LevelFilter::WARN);
    let trust = match trust::load(&arguments.trusting.trust) {
        Ok(trust) => trust,
        Err(error) => return complain(NAME, Exit::Usage, &error),
    };
    if arguments.trusting.trust.is_empty() && !arguments.trusting.insecure {
        let what = "nobody is trusted, so nothing can be verified; give --trust PEER_ID, --trust ed25519:KEY, or \
                    --trust FILE";
        return complain(NAME, Exit::Usage, &what);
    }
    if arguments.trusting.insecure {
        say("INSECURE: signatures are not needed; this verifies nothing but the form");
    }
    let (document, url) = match document(&arguments.manifest) {
        Ok(document) => document,
        Err((exit, what)) => return complain(NAME, exit, &Escaped(&what)),
    };
    match image(document, url.as_ref(), &trust, arguments) {
        Ok(image) => report(&image, arguments),
        Err(error) => {
            if arguments.json {
                print_json(&Refused {
                    verified: false,
                    reason: error.code(),
                    explanation: error.to_string(),
                });
            }
            let exit = Exit::of_manifest(&error);
            complain(NAME, exit, &format!("{}: {error}", Escaped(&arguments.manifest)))
        }
    }
}

/// The document, and the URL that its relative paths begin at.
fn document(source: &str) -> Result<(Vec<u8>, Option<Url>), (Exit, String)> {
    if source.starts_with("http://") || source.starts_with("https://") {
        let url = Url::parse(source)
            .map_err(|error| (Exit::Usage, format!("{source}: {} {error}", error.code())))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| (Exit::Internal, error.to_string()))?;
        let document = runtime.block_on(fetch::document(&url, &Reach::Asked));
        return document
            .map(|document| (document, Some(url)))
            .map_err(|error| (error.exit(), error.to_string()));
    }
    read(source)
        .map(|document| (document, None))
        .map_err(|error| (Exit::Usage, format!("{source}: {error}")))
}

/// Reads a file, or `-` for standard input, but no more than shows that it is too long.
pub(super) fn read(source: &str) -> io::Result<Vec<u8>> {
    let mut document = Vec::new();
    let limit = MANIFEST_MAX as u64 + 1;
    if source == "-" {
        io::stdin().take(limit).read_to_end(&mut document)?;
    } else {
        File::open(source)?.take(limit).read_to_end(&mut document)?;
    }
    Ok(document)
}

fn image(
    document: Vec<u8>,
    url: Option<&Url>,
    store: &Trust,
    arguments: &Arguments,
) -> Result<Box<Image>, manifest::Error> {
    let (channel, arch) = manifest::claim(&document);
    let channel = arguments.channel.clone().or(channel);
    let channel = channel.unwrap_or_else(super::common::default_channel);
    let arch = arguments.arch.clone().or(arch).unwrap_or_else(super::common::own_arch);
    let (now, insecure) = (trust::earliest_now(store), arguments.trusting.insecure);
    let policy = Policy::new(&channel, &arch, store, now, insecure);
    fetch::verify(document, url, &policy)
}

/// One file of the image, as it was found.
#[derive(Debug, Serialize)]
struct FileReport {
    name: String,
    path: Option<String>,
    verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What a manifest is for.
#[derive(Debug, Serialize)]
pub(super) struct Head {
    pub(super) channel: String,
    pub(super) arch: String,
    pub(super) version: Option<String>,
    pub(super) manifest_version: u64,
    pub(super) created_at: Option<String>,
    pub(super) expires_at: Option<String>,
    pub(super) digest: String,
}

impl Head {
    pub(super) fn of(image: &Image) -> Self {
        let time = |time| unix_time::encode(time).map(|text| text.to_string());
        Self {
            channel: image.channel.to_string(),
            arch: image.arch.to_string(),
            version: image.version.as_ref().map(ToString::to_string),
            manifest_version: image.manifest_version,
            created_at: time(image.created_at),
            expires_at: time(image.expires_at),
            digest: image.digest.to_string(),
        }
    }
}

/// A manifest that passed.
#[derive(Debug, Serialize)]
struct Report {
    verified: bool,
    #[serde(flatten)]
    head: Head,
    signed_by: Vec<String>,
    files: Vec<FileReport>,
}

/// A manifest that did not.
#[derive(Debug, Serialize)]
struct Refused {
    verified: bool,
    reason: &'static str,
    explanation: String,
}

fn report(image: &Image, arguments: &Arguments) -> Exit {
    let files =
        arguments.artifacts.as_deref().map(|directory| files(image, directory)).unwrap_or_default();
    let verified = files.iter().all(|file| file.verified);
    let report = Report {
        verified,
        head: Head::of(image),
        signed_by: image.signed_by.iter().map(|key| key.key_id().to_string()).collect(),
        files,
    };
    for file in &report.files {
        if let Some(reason) = &file.reason {
            say(&format!("{NAME}: {}: {reason}", file.name));
        }
    }
    if arguments.json {
        print_json(&report);
    } else if verified {
        print_line(&image.verified_line().to_string());
        report.files.iter().filter_map(|file| file.path.as_deref()).for_each(|path| {
            print_line(&format!("verified {path}"));
        });
    }
    if verified { Exit::Success } else { Exit::VerificationFailed }
}

/// Verifies every file that the manifest names, and the command line where there is one.
fn files(image: &Image, directory: &Path) -> Vec<FileReport> {
    let mut reports: Vec<_> = image.items.iter().map(|item| file(item, directory)).collect();
    let path = directory.join(CMDLINE);
    if let Ok(text) = std::fs::read_to_string(&path) {
        let same = image.is_cmdline(&text);
        reports.push(FileReport {
            name: CMDLINE.into(),
            path: Some(path.display().to_string()),
            verified: same,
            reason: (!same).then(|| "not the command line that was signed".into()),
        });
    }
    reports
}

fn file(item: &Item, directory: &Path) -> FileReport {
    let path = item.names().map(|name| directory.join(name)).find(|path| path.exists());
    let outcome = match &path {
        None => Err(format!("not in {}", directory.display())),
        Some(path) => match is_complete(path, item.expected) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!(
                "{} is not the file that was signed ({})",
                path.display(),
                item.expected.digest
            )),
            Err(error) => Err(format!("{}: {error}", path.display())),
        },
    };
    FileReport {
        name: item.name.to_string(),
        path: path.map(|path| path.display().to_string()),
        verified: outcome.is_ok(),
        reason: outcome.err(),
    }
}
