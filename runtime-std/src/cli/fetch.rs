//! `phase-fetch`: finds an image, fetches it, verifies it, and leaves it in a directory.

#![expect(clippy::doc_markdown, reason = "what clap shows as help is plain text")]

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use phase_core::client::patience::{COLLECT, COMPARE};
use phase_core::client::{self, CandidateId, Carriers};
use phase_core::escape::Escaped;
use phase_core::exit::Exit;
use phase_core::fetch::image::Selection;
use phase_core::fetch::request::{Request, named_by};
use phase_core::select::TrustClass;
use phase_core::wire::multiaddr::Address;
use phase_core::wire::record::{Arch, Channel};
use phase_core::wire::url::Url;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing_subscriber::filter::LevelFilter;

use super::common::{Interfaces, Logging, Trusting, arch, seconds, start_logging};
use super::dht::{Bootstraps, Mode};
use super::text::{complain, print_json, print_line};
use super::{dht, trust};
use crate::clock::Clock;
use crate::discovery::{Discovery, Search};
use crate::fetch::output::Output;
use crate::fetch::progress::Progress;
use crate::fetch::source::{self, Reach};
use crate::fetch::{self, Image, Provider};

const NAME: &str = "phase-fetch";

/// Fetch a boot image and verify it.
///
/// Takes the manifest at MANIFEST_URL, or finds providers as phase-discover does; verifies its
/// signatures; fetches the files that it names from the first provider that has them; and leaves manifest.json,
/// kernel, initramfs, rootfs, dtbs/ and cmdline in the output directory, each complete and verified. Until all of
/// them are, the directory stays as it was. What is fetched is kept aside, and a next run goes on from there.
#[derive(Parser, Clone, Debug)]
#[command(name = NAME, version, after_long_help = AFTER_HELP, max_term_width = 100)]
pub struct Arguments {
    /// Where the manifest is; without it, providers are looked for.
    #[arg(value_name = "MANIFEST_URL", value_parser = url)]
    url: Option<Url>,
    /// Directory for the image; made if it is missing.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Fetch only these files; may be given more than once.
    #[arg(long = "artifact", value_name = "NAME", value_parser = selection(), default_value = "all")]
    artifacts: Vec<Selection>,
    /// Release channel. The default is what MANIFEST_URL says, else stable.
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<Channel>,
    /// Architecture: arm64 (or aarch64), x86_64 (or amd64), or another name that providers use. The default is what
    /// MANIFEST_URL says, else this machine's own.
    #[arg(long, value_name = "ARCH", value_parser = arch)]
    arch: Option<Arch>,
    /// Where to look. Without a node to enter the DHT by, auto and all look on the local network alone.
    #[arg(long, value_name = "MODE", value_enum, default_value_t, conflicts_with = "url")]
    mode: Mode,
    #[command(flatten)]
    bootstraps: Bootstraps,
    /// Look for providers for this many seconds at most, fractions allowed. The default is 3 on the local network; in
    /// the DHT when the search is over, after 15 at most.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "url")]
    timeout: Option<Duration>,
    #[command(flatten)]
    interfaces: Interfaces,
    #[command(flatten)]
    trusting: Trusting,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    logging: Logging,
}

const AFTER_HELP: &str = "\
Trust:
  At least one --trust is needed. A release key (ed25519:...) or a trust file
  with release keys decides which manifests are good. With a peer id alone,
  that provider is pinned and manifests signed by the same key are accepted
  (single-key mode).

Output:
  Standard output carries the result alone: the path of each file, or with
  --json one object with url, peer_id, channel, arch, version,
  manifest_version, digest, signed_by, output and files.

Exit status:
  0  fetched and verified
  1  internal error
  2  usage or configuration
  3  no provider found in time
  4  providers found, but none acceptable
  5  no network: no interface could be used
  6  fetch failed
  7  verification failed

Examples:
  phase-fetch --trust 12D3KooW... --channel stable --arch arm64 --output boot
  phase-fetch http://10.0.0.5:8080/stable/arm64/manifest.json --trust trust.conf --output boot";

/// Reads a manifest's URL.
fn url(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|error| {
        format!("{}: {error}; expected http://HOST[:PORT]/CHANNEL/ARCH/manifest.json", error.code())
    })
}

/// Reads the name of a selection.
fn selection() -> impl TypedValueParser<Value = Selection> {
    let names = Selection::EVERY.map(|one| {
        PossibleValue::new(one.name()).help(match one {
            Selection::Kernel => "The kernel",
            Selection::Initramfs => "The initial RAM file system",
            Selection::Rootfs => "The root file system",
            Selection::Dtbs => "Every device tree",
            Selection::All => "Everything that the manifest names",
        })
    });
    PossibleValuesParser::new(names)
        .try_map(|name| Selection::parse(&name).ok_or("no such selection"))
}

/// Runs the command; `clock` was started with the process.
#[must_use]
pub fn run(arguments: &Arguments, clock: Clock) -> Exit {
    start_logging(arguments.logging, LevelFilter::WARN);
    let (trust, bootstraps) = match trust::load_with_bootstraps(&arguments.trusting.trust) {
        Ok(both) => both,
        Err(error) => return complain(NAME, Exit::Usage, &error),
    };
    if arguments.trusting.trust.is_empty() && !arguments.trusting.insecure {
        let what = "nobody is trusted, so no image can be verified; give --trust PEER_ID (phase-provider key show \
                    prints it), --trust ed25519:KEY, or --trust FILE";
        return complain(NAME, Exit::Usage, &what);
    }
    let (carriers, bootstraps) =
        match dht::search(arguments.mode, &arguments.bootstraps, bootstraps) {
            Ok(both) => both,
            Err(error) => return complain(NAME, Exit::Usage, &error),
        };
    let output = match Output::open(&arguments.output) {
        Ok(output) => output,
        Err(error) => return complain(NAME, Exit::Usage, &format!("--output: {error}")),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(NAME, Exit::Internal, &error),
    };
    let (channel, arch) = which(arguments);
    let now = trust::earliest_now(&trust);
    let progress = Progress::new(false);
    if arguments.trusting.insecure {
        progress
            .say("INSECURE: signatures are not needed; anybody on this network can name any image");
    } else if trust.is_single_key() {
        progress.say("single-key mode: the provider's own key signs its manifests; release keys would be stronger");
    }
    let request = Request { channel, arch, trust, insecure: arguments.trusting.insecure, now };
    let job = Job { arguments, request, carriers, bootstraps, output, progress, clock };
    runtime.block_on(job.run())
}

/// The channel and architecture: what was said, else what the URL says, else the defaults.
fn which(arguments: &Arguments) -> (Channel, Arch) {
    let (url_channel, url_arch) = arguments.url.as_ref().and_then(named_by).unzip();
    let channel =
        arguments.channel.clone().or(url_channel).unwrap_or_else(super::common::default_channel);
    let arch = arguments.arch.clone().or(url_arch).unwrap_or_else(super::common::own_arch);
    (channel, arch)
}

/// One run.
struct Job<'a> {
    arguments: &'a Arguments,
    request: Request,
    carriers: Carriers,
    bootstraps: Vec<Address>,
    output: Output,
    progress: Progress,
    clock: Clock,
}

impl Job<'_> {
    async fn run(&self) -> Exit {
        match &self.arguments.url {
            Some(url) => {
                let mut exit = None;
                self.fetch(&asked(url), &mut exit).await.or(exit).unwrap_or(Exit::FetchFailed)
            }
            None => self.discover().await,
        }
    }

    /// Tries what discovery finds, the best first, and what it finds later when the first ones fail.
    async fn discover(&self) -> Exit {
        let mut discovery = match Discovery::open(self.search(), self.clock) {
            Ok(discovery) => discovery,
            Err(error) => return complain(NAME, Exit::Internal, &error),
        };
        discovery.run(self.arguments.timeout).await;
        discovery.collect(COLLECT).await;
        let mut tried = Vec::new();
        let mut exit = None;
        if let Some(done) = self.try_found(&mut discovery, &mut tried, &mut exit).await {
            return done;
        }
        if !tried.is_empty() {
            // Others may answer more slowly.
            discovery.run_again().await;
            if let Some(done) = self.try_found(&mut discovery, &mut tried, &mut exit).await {
                return done;
            }
        }
        for url in self.request.trust.fallbacks() {
            self.progress.say(&format!("trying the fallback {url}"));
            if let Some(done) = self.fetch(&asked(url), &mut exit).await {
                return done;
            }
        }
        exit.unwrap_or_else(|| self.nothing(&discovery))
    }

    /// Tries every accepted candidate that was not tried before; `Some` when that is the end of it.
    async fn try_found(
        &self,
        discovery: &mut Discovery,
        tried: &mut Vec<CandidateId>,
        exit: &mut Option<Exit>,
    ) -> Option<Exit> {
        compare(discovery).await;
        let found: Vec<_> = accepted(discovery).filter(|(id, _)| !tried.contains(id)).collect();
        for (id, provider) in found {
            tried.push(id);
            if let Some(done) = self.fetch(&provider, exit).await {
                return Some(done);
            }
        }
        None
    }

    fn search(&self) -> Search {
        Search {
            channel: self.request.channel.clone(),
            arch: self.request.arch.clone(),
            trust: self.request.trust.clone(),
            insecure: self.request.insecure,
            carriers: self.carriers,
            bootstraps: self.bootstraps.clone(),
            interfaces: self.arguments.interfaces.interfaces.clone(),
            mode: client::Mode::OneShot,
        }
    }

    /// Tries one provider; `Some` when that is the end of it, well or not. `exit` becomes what to say when nobody does
    /// better: a failed verification rather than a broken connection.
    async fn fetch(&self, provider: &Provider, exit: &mut Option<Exit>) -> Option<Exit> {
        let error = match self.try_fetch(provider).await {
            Ok(()) => return Some(Exit::Success),
            Err(error) => error,
        };
        self.progress.say(&format!("{NAME}: {}", Escaped(&error.to_string())));
        if *exit != Some(Exit::VerificationFailed) {
            *exit = Some(error.exit());
        }
        // What is wrong here is wrong for every provider.
        (!error.is_of_provider()).then(|| error.exit())
    }

    async fn try_fetch(&self, provider: &Provider) -> Result<(), fetch::Error> {
        let image = fetch::manifest(provider, &self.request).await?;
        self.progress.say(&format!("{image}, from {}", provider.url));
        fetch::artifacts(&image, provider, &self.arguments.artifacts, &self.output, &self.progress)
            .await?;
        self.report(&image, provider);
        Ok(())
    }

    fn report(&self, image: &Image, provider: &Provider) {
        let directory = self.output.directory();
        let path = |name: &str| directory.join(name).display().to_string();
        let files = image.wanted(&self.arguments.artifacts).map(|item| File {
            name: item.name.to_string(),
            path: path(&item.name),
            size: item.expected.size,
            digest: item.expected.digest.to_string(),
        });
        let report = Report {
            url: provider.url.to_string(),
            peer_id: provider.peer.map(|peer| peer.to_string()),
            channel: image.channel.to_string(),
            arch: image.arch.to_string(),
            version: image.version.as_ref().map(ToString::to_string),
            manifest_version: image.manifest_version,
            digest: image.digest.to_string(),
            signed_by: image.signed_by.iter().map(|key| key.key_id().to_string()).collect(),
            output: directory.display().to_string(),
            files: files.collect(),
        };
        if self.arguments.json {
            print_json(&report);
        } else {
            report.files.iter().for_each(|file| print_line(&file.path));
        }
    }

    /// Nothing could be tried: says why.
    fn nothing(&self, discovery: &Discovery) -> Exit {
        let Request { channel, arch, .. } = &self.request;
        if !discovery.driver().has_links() && !discovery.was_anybody_reached() {
            let what =
                "no network interface can be used; give one with --interface, or a MANIFEST_URL";
            return complain(NAME, Exit::NoNetwork, &what);
        }
        let refused: Vec<_> = discovery.client().candidates().collect();
        for step in discovery.steps() {
            self.progress.say(&format!("{NAME}: in the DHT: {}", Escaped(&step)));
        }
        if refused.is_empty() {
            let what = format!(
                "no provider of {channel} {arch} answered; phase-discover --explain shows where it was asked"
            );
            return complain(NAME, Exit::NothingFound, &what);
        }
        for refusal in refused.iter().filter_map(|candidate| candidate.verdict().err()) {
            self.progress.say(&format!("{NAME}: {}", Escaped(&refusal.to_string())));
        }
        let what = format!("{} found for {channel} {arch}, none acceptable", refused.len());
        complain(NAME, Exit::NoneAcceptable, &what)
    }
}

/// A URL that the user named.
fn asked(url: &Url) -> Provider {
    Provider { url: url.clone(), reach: Reach::Asked, peer: None, digest: None, version: None }
}

/// The accepted candidates, the best first.
fn accepted(discovery: &Discovery) -> impl Iterator<Item = (CandidateId, Provider)> {
    let client = discovery.client();
    client.candidates().filter_map(move |candidate| {
        let class = candidate.verdict().ok()?.class;
        let interface = candidate.link().map(|link| link.interface);
        let near = discovery.driver().interfaces().iter().filter(|one| {
            // What the DHT says may lead to any interface.
            interface.map_or_else(|| one.excluded.is_none(), |index| one.index == index)
        });
        let reach = Reach::Advert {
            interface,
            networks: near.flat_map(|one| one.networks.iter().copied()).collect(),
            pinned: class == TrustClass::Pinned,
            known: client.addresses(candidate.id()).collect(),
        };
        let advert = candidate.advert();
        let provider = Provider {
            url: candidate.url()?.clone(),
            reach,
            peer: candidate.peer().copied(),
            digest: advert.and_then(|advert| advert.digest),
            version: advert.map(|advert| advert.version.clone()),
        };
        Some((candidate.id(), provider))
    })
}

/// Measures the way to each candidate where there are several, so that the near ones rank higher.
async fn compare(discovery: &mut Discovery) {
    let candidates: Vec<_> = accepted(discovery).collect();
    if candidates.len() < 2 {
        return;
    }
    let mut trips = JoinSet::new();
    for (id, provider) in candidates {
        trips.spawn(async move {
            let origins = source::origins(&provider.url, &provider.reach).await.ok()?;
            let trip = timeout(COMPARE, origins.first()?.round_trip()).await.ok()?.ok()?;
            Some((id, trip))
        });
    }
    for (id, trip) in trips.join_all().await.into_iter().flatten() {
        discovery.client_mut().set_rtt(id, trip);
    }
}

/// What was fetched.
#[derive(Debug, Serialize)]
struct Report {
    url: String,
    peer_id: Option<String>,
    channel: String,
    arch: String,
    version: Option<String>,
    manifest_version: u64,
    digest: String,
    signed_by: Vec<String>,
    output: String,
    files: Vec<File>,
}

#[derive(Debug, Serialize)]
struct File {
    name: String,
    path: String,
    size: u64,
    digest: String,
}
