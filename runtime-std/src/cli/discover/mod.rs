//! `phase-discover`: finds providers on the LAN and in the DHT, and prints where their manifests are.

mod print;
mod report;
mod watch;

use std::time::Duration;

use clap::Parser;
use phase_core::client::{self, Carriers};
use phase_core::exit::Exit;
use tracing_subscriber::filter::LevelFilter;

use self::print::{NAME, print};
use super::common::{Image, Interfaces, Logging, Printing, Trusting, seconds, start_logging};
use super::dht::{Bootstraps, Mode};
use super::text::complain;
use super::{dht, trust};
use crate::clock::Clock;
use crate::discovery::{Discovery, Search};

/// Find boot images that providers announce, on this network or in the DHT.
///
/// Asks every interface for providers of one release channel and one architecture by multicast DNS, and given a
/// node to enter it by also the DHT; verifies the signature of each answer, and prints the URL of the manifest of
/// the best one.
///
/// Discovery locates, it does not authorise: what the manifest says is verified by phase-fetch.
#[derive(Parser, Clone, Debug)]
#[command(name = "phase-discover", version, after_long_help = AFTER_HELP, max_term_width = 100)]
pub struct Arguments {
    #[command(flatten)]
    image: Image,
    /// Where to look. Without a node to enter the DHT by, auto and all look on the local network alone.
    #[arg(long, value_name = "MODE", value_enum, default_value_t)]
    mode: Mode,
    #[command(flatten)]
    bootstraps: Bootstraps,
    /// Stop after this many seconds, fractions allowed. The default is 3 on the local network; in the DHT when the
    /// search is over, after 15 at most; and no limit with --watch.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    timeout: Option<Duration>,
    #[command(flatten)]
    interfaces: Interfaces,
    #[command(flatten)]
    trusting: Trusting,
    #[command(flatten)]
    printing: Printing,
    /// Go on, and print a line whenever a provider is found, changes or is lost. With --json each object has
    /// a member `event`: found, changed or lost.
    #[arg(long, conflicts_with = "quiet")]
    watch: bool,
    #[command(flatten)]
    logging: Logging,
}

const AFTER_HELP: &str = "\
Output:
  Standard output carries the result alone: a table; with --quiet the URL of
  the best candidate; with --json one object a line for each candidate, the
  best first, with the members url, peer_id, provider_name, channel, arch,
  version, seq, source (lan; dht; direct: in the DHT, from the provider
  itself), trust (pinned, unpinned, unsigned), accepted, reason, rtt_ms,
  elapsed_ms and more. Candidates that were refused follow with
  accepted=false and the code as reason; without --json they are told on
  standard error, with --explain, which also tells each step in the DHT.

Trust:
  Without --trust every provider whose own signature is right is accepted and
  marked unpinned. With --trust PEER_ID only providers that are named are. With
  release keys alone any provider is: the keys decide about its manifest.

Exit status:
  0  found
  1  internal error
  2  usage or configuration
  3  nothing found in time
  4  found, but none acceptable
  5  no network: no interface could be used

Environment:
  PHASE_LOG  what is logged: error, warn (the default), info, debug or trace

Examples:
  phase-discover
  phase-discover --channel testing --arch arm64 --trust 12D3KooW... --quiet
  phase-discover --mode all --json --explain
  phase-discover --mode wan --bootstrap /dns4/boot.example.org/tcp/4001/p2p/12D3KooW...
  phase-discover --watch";

/// Runs the command; `clock` was started with the process.
#[must_use]
pub fn run(arguments: &Arguments, clock: Clock) -> Exit {
    start_logging(arguments.logging, LevelFilter::WARN);
    let (trust, bootstraps) = match trust::load_with_bootstraps(&arguments.trusting.trust) {
        Ok(both) => both,
        Err(error) => return complain(NAME, Exit::Usage, &error),
    };
    let (carriers, bootstraps) =
        match dht::search(arguments.mode, &arguments.bootstraps, bootstraps) {
            Ok(both) => both,
            Err(error) => return complain(NAME, Exit::Usage, &error),
        };
    let search = Search {
        channel: arguments.image.channel.clone(),
        arch: arguments.image.arch.clone(),
        trust,
        insecure: arguments.trusting.insecure,
        carriers,
        bootstraps,
        interfaces: arguments.interfaces.interfaces.clone(),
        mode: if arguments.watch { client::Mode::Watch } else { client::Mode::OneShot },
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(NAME, Exit::Internal, &error),
    };
    runtime.block_on(discover(arguments, search, clock))
}

async fn discover(arguments: &Arguments, search: Search, clock: Clock) -> Exit {
    let wanted = print::Wanted::of(&search);
    let mut discovery = match Discovery::open(search, clock) {
        Ok(discovery) => discovery,
        Err(error) => return complain(NAME, Exit::Internal, &error),
    };
    if arguments.trusting.insecure && !arguments.printing.quiet {
        tracing::warn!(
            "--insecure: anybody on this network can name any image; not for production"
        );
    }
    if !discovery.driver().has_links() && discovery.carriers() != Carriers::Wan {
        tracing::warn!("no network interface can be used; waiting for one");
    }
    if arguments.watch {
        return watch::run(&mut discovery, &wanted, arguments.printing, arguments.timeout).await;
    }
    discovery.run(arguments.timeout).await;
    print(&discovery, &wanted, arguments.printing)
}
