//! `phase-boot verify`: says whether a manifest, and the files that it names, are what a trusted key signed.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use phase_core::escape::Escaped;
use phase_core::exit::Exit;
use phase_core::fetch::image::Item;
use phase_core::fetch::output::CMDLINE;
use phase_core::limits::MANIFEST_MAX;
use phase_core::wire::manifest::{self, Policy};
use phase_core::wire::record::Version;
use phase_core::wire::trust::Trust;
use phase_core::wire::unix_time;
use phase_core::wire::url::Url;

use super::discover::open_network;
use super::fetch::{configured, failed, signers};
use super::networked;
use super::text::Object;
use crate::acquire::earliest_now;
use crate::console::{Console, Step, print};
use crate::fetch::part::is_complete;
use crate::fetch::source::Reach;
use crate::fetch::{self, Image};
use crate::options::Options;
use crate::sys::process;
use crate::trust;

/// Runs the command; the exit status is its result.
#[must_use]
pub fn run(options: &Options, console: Console) -> Exit {
    let usage = |text: fmt::Arguments<'_>| console.failed(Step::Verify, Exit::Usage, text);
    let trust = match trust::load(&options.trust) {
        Ok((trust, _)) => trust,
        Err(error) => return usage(format_args!("{error}")),
    };
    if options.trust.is_empty() && !options.insecure {
        return usage(format_args!(
            "nobody is trusted, so nothing can be verified; give --trust PEER_ID, --trust ed25519:KEY, or --trust FILE"
        ));
    }
    if options.insecure {
        let text = "insecure: signatures are not needed; this verifies nothing but the form";
        console.step(Step::Verify, format_args!("{text}"));
    }
    let source = options.document.as_deref().unwrap_or("-");
    let (document, url) = match document(source, options, console) {
        Ok(both) => both,
        Err(exit) => return exit,
    };
    match image(document, url.as_ref(), &trust, options) {
        Ok(image) => report(&image, options, console),
        Err(error) => refuse(source, error, options, console),
    }
}

/// The document, and the URL that its relative paths begin at.
fn document(
    source: &str,
    options: &Options,
    console: Console,
) -> Result<(Vec<u8>, Option<Url>), Exit> {
    let usage = |text: fmt::Arguments<'_>| console.failed(Step::Verify, Exit::Usage, text);
    if !source.starts_with("http://") && !source.starts_with("https://") {
        return match read(source) {
            Ok(document) => Ok((document, None)),
            Err(error) => Err(usage(format_args!("{}: {error}", Escaped(source)))),
        };
    }
    let url = Url::parse(source)
        .map_err(|error| usage(format_args!("{}: {} {error}", Escaped(source), error.code())))?;
    let network = open_network(options, console)?;
    let mut fetched = Vec::new();
    let work = || {
        if let Err(exit) = configured(options, network, console) {
            return exit;
        }
        match fetch::document(&network, &url, &Reach::Asked) {
            Ok(document) => {
                fetched = document;
                Exit::Success
            }
            Err(error) => failed(&error, console),
        }
    };
    let exit = networked::run(options, network, console, work);
    if exit == Exit::Success { Ok((fetched, Some(url))) } else { Err(exit) }
}

/// Reads a file, or `-` for standard input, but no more than shows that it is too long.
fn read(source: &str) -> io::Result<Vec<u8>> {
    let mut document = Vec::new();
    let limit = MANIFEST_MAX as u64 + 1;
    let file = if source == "-" { process::standard_input()? } else { File::open(source)? };
    file.take(limit).read_to_end(&mut document)?;
    Ok(document)
}

/// Verifies the document for the channel and architecture that were said, else for those that it claims to be for.
fn image(
    document: Vec<u8>,
    url: Option<&Url>,
    trust: &Trust,
    options: &Options,
) -> Result<Box<Image>, manifest::Error> {
    let (channel, arch) = manifest::claim(&document);
    let channel = channel.filter(|_| !options.said.channel);
    let arch = arch.filter(|_| !options.said.arch);
    let channel = channel.as_ref().unwrap_or(&options.channel);
    let arch = arch.as_ref().unwrap_or(&options.arch);
    let policy = Policy::new(channel, arch, trust, earliest_now(trust), options.insecure);
    fetch::verify(document, url, &policy)
}

fn refuse(source: &str, error: manifest::Error, options: &Options, console: Console) -> Exit {
    if options.printing.json {
        let text = Object::default()
            .plain("verified", Some(&false))
            .string("reason", Some(error.code()))
            .string("explanation", Some(&error.to_string()))
            .line();
        // The exit status tells the same.
        let _ = print(&text);
    }
    let exit = Exit::of_manifest(&error);
    console.failed(Step::Verify, exit, format_args!("{}: {error}", Escaped(source)))
}

/// One file of the image, as it was found.
struct Found {
    name: String,
    path: Option<String>,
    /// What is wrong with it.
    reason: Option<String>,
}

fn report(image: &Image, options: &Options, console: Console) -> Exit {
    let files =
        options.artifacts.as_deref().map_or_else(Vec::new, |directory| files(image, directory));
    let wrong = files.iter().filter(|file| file.reason.is_some()).count();
    for Found { name, reason, .. } in &files {
        if let Some(reason) = reason {
            console.step(Step::Verify, format_args!("{name}: {}", Escaped(reason)));
        }
    }
    let signed_by = signers(image);
    let text = if options.printing.json {
        json(image, &files, &signed_by)
    } else if wrong == 0 {
        let mut text = format!("{}\n", image.verified_line());
        for path in files.iter().filter_map(|file| file.path.as_deref()) {
            // Writing to a `String` does not fail.
            let _ = writeln!(text, "verified {path}");
        }
        text
    } else {
        String::new()
    };
    let exit = print(&text);
    match wrong {
        0 if exit == Exit::Success => exit,
        0 => console.failed(Step::Verify, exit, format_args!("cannot write to standard output")),
        _ => console.failed(
            Step::Verify,
            Exit::VerificationFailed,
            format_args!(
                "{wrong} of {} files are not what was signed; fetch them again",
                files.len()
            ),
        ),
    }
}

fn json(image: &Image, files: &[Found], signed_by: &[String]) -> String {
    let time = |time| unix_time::encode(time).map(|text| text.to_string());
    let (created_at, expires_at) = (time(image.created_at), time(image.expires_at));
    let mut verified = true;
    let mut objects = Vec::new();
    for file in files {
        verified &= file.reason.is_none();
        let mut object = Object::default();
        object
            .string("name", Some(&file.name))
            .string("path", file.path.as_deref())
            .plain("verified", Some(&file.reason.is_none()));
        if let Some(reason) = &file.reason {
            object.string("reason", Some(reason));
        }
        objects.push(object);
    }
    Object::default()
        .plain("verified", Some(&verified))
        .string("channel", Some(image.channel.as_str()))
        .string("arch", Some(image.arch.as_str()))
        .string("version", image.version.as_ref().map(Version::as_str))
        .plain("manifest_version", Some(&image.manifest_version))
        .string("created_at", created_at.as_deref())
        .string("expires_at", expires_at.as_deref())
        .string("digest", Some(&image.digest.to_string()))
        .strings("signed_by", signed_by)
        .objects("files", &objects)
        .line()
}

/// Verifies every file that the manifest names, and the command line where there is one.
fn files(image: &Image, directory: &Path) -> Vec<Found> {
    let mut found = Vec::new();
    for item in &image.items {
        found.push(file(item, directory));
    }
    let path = directory.join(CMDLINE);
    if let Ok(text) = std::fs::read_to_string(&path) {
        let same = image.is_cmdline(&text);
        found.push(Found {
            name: CMDLINE.into(),
            path: Some(path.display().to_string()),
            reason: (!same).then(|| "not the command line that was signed".into()),
        });
    }
    found
}

fn file(item: &Item, directory: &Path) -> Found {
    let path = item.names().map(|name| directory.join(name)).find(|path| path.exists());
    let reason = match &path {
        None => Some(format!("not in {}", directory.display())),
        Some(path) => match is_complete(path, item.expected) {
            Ok(true) => None,
            Ok(false) => Some(format!(
                "{} is not the file that was signed ({})",
                path.display(),
                item.expected.digest
            )),
            Err(error) => Some(format!("{}: {error}", path.display())),
        },
    };
    let path = path.map(|path| path.display().to_string());
    Found { name: item.name.as_str().to_owned(), path, reason }
}
