//! `phase-boot fetch`: finds an image, or takes the one that is named, and leaves it verified in a directory.

use std::fmt;
use std::path::Path;

use phase_core::client::patience::NETWORK_TIME;
use phase_core::exit::Exit;
use phase_core::fetch::image::{Item, Selection};
use phase_core::fetch::request::{Request, named_by};
use phase_core::wire::record::Version;

use super::discover::{no_network, nobody, prepare};
use super::networked;
use super::text::Object;
use crate::acquire::{Acquire, Choice, Outcome, earliest_now};
use crate::clock;
use crate::console::{Console, Step, print};
use crate::discovery::{Discovery, Search};
use crate::fetch::output::Output;
use crate::fetch::shelf::Shelf;
use crate::fetch::{Error, Fetch, Image, Provider, wanted};
use crate::network::Network;
use crate::options::Options;

/// Runs the command; the exit status is its result.
#[must_use]
pub fn run(options: &Options, console: Console) -> Exit {
    let usage = |text: fmt::Arguments<'_>| console.failed(Step::Boot, Exit::Usage, text);
    let Some(directory) = &options.output else {
        return usage(format_args!("fetch needs --output DIR"));
    };
    let output = match Output::open(directory) {
        Ok(output) => output,
        Err(error) => return usage(format_args!("--output: {error}")),
    };
    let (search, network) = match trusting(options, console) {
        Ok(both) => both,
        Err(exit) => return exit,
    };
    let work = || fetch(options, search, network, output, console);
    networked::run(options, network, console, work)
}

/// What is wanted by a command that needs somebody to trust, and the network.
pub(super) fn trusting(options: &Options, console: Console) -> Result<(Search, Network), Exit> {
    if options.trust.is_empty() && !options.insecure {
        return Err(console.failed(
            Step::Boot,
            Exit::Usage,
            format_args!(
                "nobody is trusted, so no image can be verified; give --trust PEER_ID (phase-provider key show prints \
                 it), --trust ed25519:KEY, or --trust FILE; at boot phase.trust=, or a file /etc/phase/trust"
            ),
        ));
    }
    let (mut search, network) = prepare(options, console)?;
    // What was said goes before what the URL says, and that before the defaults.
    if let Some((channel, arch)) = options.manifest.as_ref().and_then(named_by) {
        if !options.said.channel {
            search.channel = channel;
        }
        if !options.said.arch {
            search.arch = arch;
        }
    }
    Ok((search, network))
}

/// Says so where the provider's own key is all there is.
pub(super) fn single_key(search: &Search, console: Console) {
    if search.trust.is_single_key() && !search.insecure {
        let text = "single-key mode: the provider's own key signs its manifests; release keys would be stronger";
        console.step(Step::Boot, format_args!("{text}"));
    }
}

/// What a search wants, for those who fetch.
pub(super) fn request(search: &Search) -> Request {
    Request {
        channel: search.channel.clone(),
        arch: search.arch.clone(),
        trust: search.trust.clone(),
        insecure: search.insecure,
        now: earliest_now(&search.trust),
    }
}

/// Waits until there is an address that leads beyond its link, as long as was said.
pub(super) fn configured(
    options: &Options,
    network: Network,
    console: Console,
) -> Result<(), Exit> {
    let deadline = clock::now() + options.timeout.unwrap_or(NETWORK_TIME);
    if network.wait_configured(deadline) {
        Ok(())
    } else {
        Err(no_network(options, network, console))
    }
}

fn fetch(
    options: &Options,
    search: Search,
    network: Network,
    output: Output,
    console: Console,
) -> Exit {
    single_key(&search, console);
    let directory = output.directory().to_owned();
    let request = request(&search);
    let selection = match options.selection.as_slice() {
        [] => &[Selection::All],
        selection => selection,
    };
    let mut fetch = Fetch::new(&network, &request, console, Shelf::in_directory(output));
    let choice: Choice<'_> = &|image| wanted(image, selection);
    let (image, provider) = match obtain(options, search, network, &mut fetch, choice, console) {
        Ok(both) => both,
        Err(exit) => return exit,
    };
    let items = wanted(&image, selection);
    if let Err(error) = fetch.shelf().commit(&image, &items) {
        return failed(&error, console);
    }
    report(options, &image, &items, (&provider, &directory), console)
}

/// Gets an image onto the shelf, from the manifest that was named or from whoever is found; who gave it.
pub(super) fn obtain(
    options: &Options,
    search: Search,
    network: Network,
    fetch: &mut Fetch<'_>,
    choice: Choice<'_>,
    console: Console,
) -> Result<(Box<Image>, Box<Provider>), Exit> {
    let mut fallbacks = Vec::new();
    for url in search.trust.fallbacks().chain(&options.fallbacks) {
        fallbacks.push(url.clone());
    }
    let acquire = Acquire::new(fetch, network, console);
    let outcome = if let Some(url) = &options.manifest {
        configured(options, network, console)?;
        acquire.from_urls(std::slice::from_ref(url), choice)
    } else {
        let mut discovery = Discovery::begin(search, network, console);
        discovery.run(options.timeout);
        match acquire.from_discovery(&mut discovery, &fallbacks, choice) {
            Outcome::Nobody => return Err(nobody(options, &discovery, console)),
            outcome @ (Outcome::Got { .. } | Outcome::Failed(_)) => outcome,
        }
    };
    match outcome {
        Outcome::Got { image, provider } => Ok((image, provider)),
        Outcome::Failed(error) => Err(failed(&error, console)),
        // A manifest that was named was tried.
        Outcome::Nobody => Err(Exit::Internal),
    }
}

/// Tells why there is no image.
pub(super) fn failed(error: &Error, console: Console) -> Exit {
    console.failed(error.step(), error.exit(), format_args!("{error}; {}", error.advice()))
}

/// The keys whose signatures counted.
pub(super) fn signers(image: &Image) -> Vec<String> {
    image.signed_by.iter().map(|key| key.key_id().to_string()).collect()
}

/// Prints what is there.
fn report(
    options: &Options,
    image: &Image,
    items: &[&Item],
    (provider, directory): (&Provider, &Path),
    console: Console,
) -> Exit {
    let path = |item: &Item| directory.join(item.name.as_str()).display().to_string();
    let text = if options.printing.json {
        let mut files = Vec::new();
        for item in items {
            let mut file = Object::default();
            file.string("name", Some(&item.name))
                .string("path", Some(&path(item)))
                .plain("size", Some(&item.expected.size))
                .string("digest", Some(&item.expected.digest.to_string()));
            files.push(file);
        }
        let peer = provider.peer.as_ref().map(ToString::to_string);
        Object::default()
            .string("url", Some(provider.url.as_str()))
            .string("peer_id", peer.as_deref())
            .string("channel", Some(image.channel.as_str()))
            .string("arch", Some(image.arch.as_str()))
            .string("version", image.version.as_ref().map(Version::as_str))
            .plain("manifest_version", Some(&image.manifest_version))
            .string("digest", Some(&image.digest.to_string()))
            .strings("signed_by", &signers(image))
            .string("output", Some(&directory.display().to_string()))
            .objects("files", &files)
            .line()
    } else {
        let mut text = String::new();
        for item in items {
            text.push_str(&path(item));
            text.push('\n');
        }
        text
    };
    let exit = print(&text);
    if exit != Exit::Success {
        let text = format_args!("cannot write to standard output");
        return console.failed(Step::Fetch, exit, text);
    }
    exit
}
