//! `phase-provider`: its command line, and what each command prints.

#![expect(clippy::doc_markdown, reason = "what clap shows as help is plain text")]

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use phase_core::escape::Escaped;
use phase_core::exit::Exit;
use phase_core::wire::record::{ProviderName, TTL_MAX, TTL_MIN};
use tracing_subscriber::filter::LevelFilter;

use super::common::{LogFormat, Logging, start_logging};
use super::{
    provider_channel as channel, provider_doctor as doctor, provider_key as key,
    provider_manifest as manifest, provider_status as status,
};
use crate::config::file::File;
use crate::config::settings::{AdvertiseUrl, Flags, Settings};
use crate::config::{self, EXAMPLE};
use crate::{net, serve};

/// Serves boot images on the local network: announces them by multicast DNS, signs their manifests, and serves
/// the files by HTTP.
///
/// Images lie in a directory as {channel}/{arch}/vmlinuz, with initramfs.img, rootfs.sqfs, dtbs/, cmdline and
/// version beside it. What is there is announced; what changes is announced anew once it is whole.
#[derive(Parser, Debug)]
#[command(name = "phase-provider", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve and announce the images of a directory until stopped.
    ///
    /// Stops on SIGTERM or SIGINT after withdrawing every advert; reads its configuration again on SIGHUP.
    Serve(Box<Serve>),
    /// Tell how the running provider is.
    Status(status::Query),
    /// List what the running provider serves and announces.
    List(status::Query),
    /// Have the running provider read its configuration and look at its directory again.
    Reload(Place),
    /// Look at everything that `serve` needs and say what is wrong and what to do: one line for each check.
    ///
    /// Changes nothing, and may be run beside a running provider. Exit status: 0 when nothing fails, else the code of
    /// the first failure: 1 the running provider has a problem, 2 configuration, state, keys, clock, artifacts or a
    /// TCP port, 5 no interface or no UDP port 5353. Warnings change nothing.
    Doctor(doctor::Query),
    /// Keys: the node's identity, and release keys that sign manifests.
    #[command(subcommand)]
    Key(key::Command),
    /// Manifests, without serving: make, sign once more, and show them.
    #[command(subcommand)]
    Manifest(manifest::Command),
    /// Channels of the artifacts directory.
    #[command(subcommand)]
    Channel(channel::Command),
    /// The configuration file.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Which provider of this host.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Place {
    /// Directory of key and state; the default is $STATE_DIRECTORY, /var/lib/phase for root, else phase in the
    /// user's state directory.
    #[arg(long, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,
    /// Configuration file; the default is /etc/phase/provider.toml, else phase/provider.toml in the user's
    /// configuration directory.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
struct Serve {
    /// Directory with {channel}/{arch}/vmlinuz and the other files of each image.
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    /// Name shown to people, up to 40 octets; the default is the host's name.
    #[arg(long, value_name = "NAME", value_parser = ProviderName::new)]
    name: Option<ProviderName>,
    /// Where to serve HTTP; the default is port 8080 of every address. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Where clients reach the server, such as `http://boot.example.org:8080`, if not at this host's own addresses.
    #[arg(long, value_name = "URL")]
    advertise_url: Option<AdvertiseUrl>,
    #[command(flatten)]
    interfaces: super::common::Interfaces,
    /// Do not announce by multicast DNS.
    #[arg(long)]
    no_mdns: bool,
    #[command(flatten)]
    dht: super::dht::Serving,
    /// Lifetime of an advert; it is signed anew at two thirds of it.
    #[arg(long, value_name = "SECONDS",
          value_parser = clap::value_parser!(u32).range(i64::from(TTL_MIN)..=i64::from(TTL_MAX)))]
    record_ttl: Option<u32>,
    /// Format of the log on standard error: text (the default) or json. What is logged: the environment variable
    /// PHASE_LOG (error, warn, info, debug, trace).
    #[arg(long, value_name = "FORMAT", value_enum, hide_possible_values = true)]
    log: Option<LogFormat>,
    /// Look, hash and sign once, print what would be announced, and exit: 0 if all of the directory would be
    /// served, 2 if there is nothing to serve or something was ignored. Opens no port.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Subcommand, Debug)]
enum ConfigCommand {
    /// Check the configuration file and report every error in it.
    Check(Place),
    /// Print the settings that `serve` would run with.
    Show(Box<Serve>),
    /// Print an annotated configuration file with every key.
    Example,
}

impl Serve {
    fn flags(&self) -> Flags {
        let own = self.clone();
        Flags {
            artifacts: own.artifacts,
            name: own.name,
            listen: own.listen,
            advertise_url: own.advertise_url,
            interfaces: own.interfaces.interfaces,
            no_mdns: own.no_mdns,
            no_dht: own.dht.no_dht,
            dht_listen: own.dht.dht_listen,
            dht_announce: own.dht.dht_announce,
            bootstraps: own.dht.bootstraps.bootstraps,
            record_ttl: own.record_ttl,
            state_dir: own.place.state_dir,
            log: own.log,
        }
    }

    fn settings(&self) -> Result<(Settings, Option<File>), Failure> {
        let file = config::load(self.place.config.as_deref()).map_err(Failure::usage)?;
        let settings = Settings::new(&self.flags(), file.as_ref()).map_err(Failure::usage)?;
        Ok((settings, file))
    }
}

/// Why a command failed: the exit code and the text.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    text: String,
}

impl Failure {
    /// The command line, the configuration or a file it names is wrong.
    pub(super) fn usage(error: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Usage, text: format!("{error}") }
    }

    /// A manifest is not what it should be.
    pub(super) fn verification(error: impl std::fmt::Display) -> Self {
        Self { exit: Exit::VerificationFailed, text: format!("{error}") }
    }

    /// Something of the system or the program.
    pub(super) fn internal(error: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Internal, text: format!("{error}") }
    }
}

/// A broken pipe: whoever read the output has gone.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::internal(error)
    }
}

impl From<serve::Error> for Failure {
    fn from(error: serve::Error) -> Self {
        let exit = match &error {
            serve::Error::Net { source: net::Error::Listen { .. } } => Exit::Usage,
            serve::Error::Net { .. } => Exit::NoNetwork,
            serve::Error::System(_) => Exit::Internal,
            serve::Error::State(_)
            | serve::Error::Saved(_)
            | serve::Error::Key(_)
            | serve::Error::Signer(_)
            | serve::Error::Clock(_)
            | serve::Error::Artifacts(_)
            | serve::Error::Http(_)
            | serve::Error::Origin(_)
            | serve::Error::Control { .. } => Exit::Usage,
        };
        Self { exit, text: error.to_string() }
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> Exit {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Serve(serve) => run_serve(&serve),
        Command::Status(query) => status::status(&query),
        Command::List(query) => status::list(&query),
        Command::Reload(place) => status::reload(&place),
        Command::Doctor(query) => doctor::run(&query),
        Command::Key(command) => key::run(command),
        Command::Manifest(command) => manifest::run(&command),
        Command::Channel(command) => channel::run(&command),
        Command::Config(command) => run_config(command),
    };
    match outcome {
        Ok(exit) => exit,
        Err(failure) => {
            // Each line on its own: paths in it may hold anything.
            for line in failure.text.lines() {
                // Nobody can be told that standard error is gone.
                let _gone = writeln!(io::stderr(), "phase-provider: {}", Escaped(line));
            }
            failure.exit
        }
    }
}

fn run_serve(serve: &Serve) -> Result<Exit, Failure> {
    let (settings, file) = serve.settings()?;
    let level = if serve.once { LevelFilter::WARN } else { LevelFilter::INFO };
    start_logging(Logging { log: settings.log }, level);
    if serve.once {
        return rehearse(&settings);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let path = serve.place.config.clone().or_else(|| file.map(|file| file.path));
    runtime.block_on(serve::run(settings, serve.flags(), path))?;
    Ok(Exit::Success)
}

fn rehearse(settings: &Settings) -> Result<Exit, Failure> {
    let found = serve::rehearse(settings)?;
    for warning in &found.warnings {
        tracing::warn!("{warning}");
    }
    for failure in &found.failures {
        tracing::error!("{failure}");
    }
    let mut out = io::stdout().lock();
    for image in &found.images {
        writeln!(out, "{image}")?;
    }
    let ignored = found.warnings.iter().any(|warning| !warning.reason.is_optional());
    let whole = !found.images.is_empty() && found.failures.is_empty() && !ignored;
    if found.images.is_empty() {
        tracing::error!("nothing to serve in {}", settings.artifacts.display());
    }
    Ok(if whole { Exit::Success } else { Exit::Usage })
}

fn run_config(command: ConfigCommand) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    match command {
        ConfigCommand::Check(place) => match config::load(place.config.as_deref())
            .map_err(Failure::usage)?
        {
            Some(file) => writeln!(out, "{}: no errors", file.path.display())?,
            None => {
                let looked: Vec<_> =
                    config::search_path().iter().map(|path| path.display().to_string()).collect();
                writeln!(out, "no configuration file; looked for {}", looked.join(", "))?;
            }
        },
        ConfigCommand::Show(serve) => {
            let (settings, file) = serve.settings()?;
            if let Some(file) = file {
                writeln!(out, "# from {} and the command line", file.path.display())?;
            }
            write!(out, "{}", settings.to_toml())?;
        }
        ConfigCommand::Example => write!(out, "{EXAMPLE}")?,
    }
    Ok(Exit::Success)
}
