//! Flags that mean the same in every command, and logging to standard error.

#![expect(clippy::doc_markdown, reason = "what clap shows as help is plain text")]

use std::io;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use phase_core::wire::record::{Arch, Channel, Error as FieldError};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry};

use crate::clock;

/// The environment variable that says what is logged, such as `debug` or `phase_provider=trace`.
pub const LOG_VARIABLE: &str = "PHASE_LOG";

/// The channel that most machines boot from.
const DEFAULT_CHANNEL: &str = "stable";

/// Which image.
#[derive(Args, Clone, Debug)]
pub struct Image {
    /// Release channel.
    #[arg(long, value_name = "CHANNEL", default_value = DEFAULT_CHANNEL)]
    pub channel: Channel,
    /// Architecture: arm64 (or aarch64), x86_64 (or amd64), or another name that providers use. The default
    /// is this machine's own.
    #[arg(long, value_name = "ARCH", value_parser = arch, default_value = std::env::consts::ARCH)]
    pub arch: Arch,
}

/// Where to look and listen.
#[derive(Args, Clone, Debug, Default)]
pub struct Interfaces {
    /// Use this interface and no others; may be given more than once. Without it: every interface that leads
    /// to other hosts, but not loopback, tunnels, and bridges of containers.
    #[arg(long = "interface", value_name = "IF", value_parser = NonEmptyStringValueParser::new())]
    pub interfaces: Vec<String>,
}

/// Whom to believe.
#[derive(Args, Clone, Debug, Default)]
pub struct Trusting {
    /// Whom to trust: a provider by its peer id (12D3KooW...), a release key (ed25519: and 64 hexadecimal
    /// digits), or a trust file. May be given more than once.
    #[arg(long, value_name = "FILE|PEER_ID|KEYID", value_parser = NonEmptyStringValueParser::new())]
    pub trust: Vec<String>,
    /// Accept records without a signature. For development only: anybody on the network can then name any
    /// image.
    #[arg(long)]
    pub insecure: bool,
}

/// How results are printed.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Printing {
    /// Print results as JSON, one object a line.
    #[arg(long, conflicts_with = "quiet")]
    pub json: bool,
    /// Print the URL alone.
    #[arg(long)]
    pub quiet: bool,
    /// Also show what was refused, with the code of the reason and what to do about it, and which interfaces
    /// are used.
    #[arg(long)]
    pub explain: bool,
}

/// How logs are written.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Logging {
    /// Format of the log on standard error. What is logged: the environment variable PHASE_LOG (error,
    /// warn, info, debug, trace).
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub log: LogFormat,
}

/// The formats of a log.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Logs to standard error from here on: what [`LOG_VARIABLE`] says, else `default` and above.
pub fn start_logging(logging: Logging, default: LevelFilter) {
    // A filter with directives costs more at start than a level; only who asks for it pays.
    let asked = std::env::var(LOG_VARIABLE).ok().filter(|value| !value.is_empty());
    let layer = match logging.log {
        LogFormat::Text => {
            let layer = fmt::layer().with_writer(io::stderr).with_target(false).without_time();
            layer.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).boxed()
        }
        LogFormat::Json => {
            fmt::layer().json().with_timer(UnixSeconds).with_writer(io::stderr).boxed()
        }
    };
    let layer: Box<dyn tracing_subscriber::Layer<Registry> + Send + Sync> = match asked {
        Some(directives) => layer.with_filter(EnvFilter::new(directives)).boxed(),
        None => layer.with_filter(default).boxed(),
    };
    if tracing_subscriber::registry().with(layer).try_init().is_err() {
        tracing::debug!("logging was started before");
    }
}

/// Times of a log as seconds since 1970.
struct UnixSeconds;

impl fmt::time::FormatTime for UnixSeconds {
    fn format_time(&self, w: &mut fmt::format::Writer<'_>) -> std::fmt::Result {
        write!(w, "{}", clock::unix_time().0)
    }
}

/// Reads an architecture, by its name or an alias.
///
/// # Errors
/// What a name must look like.
pub fn arch(text: &str) -> Result<Arch, FieldError> {
    Arch::canonical(text)
}

/// The channel when nothing is said.
#[must_use]
#[expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a test parses the same constant"
)]
pub fn default_channel() -> Channel {
    DEFAULT_CHANNEL.parse().unwrap()
}

/// The architecture of this machine.
#[must_use]
#[expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a test parses the same constant"
)]
pub fn own_arch() -> Arch {
    arch(std::env::consts::ARCH).unwrap()
}

/// Why a duration was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a number of seconds from 0.001 to 86400, such as 2.5")]
pub struct NotSeconds;

/// Reads a duration in seconds, fractions allowed: from a millisecond to a day.
///
/// # Errors
/// [`NotSeconds`].
pub fn seconds(text: &str) -> Result<Duration, NotSeconds> {
    let plain = text.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.');
    let value: f64 = text.parse().ok().filter(|_| plain).ok_or(NotSeconds)?;
    if (0.001..=86400.0).contains(&value) {
        Duration::try_from_secs_f64(value).map_err(|_| NotSeconds)
    } else {
        Err(NotSeconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_a_fraction() {
        assert_eq!(seconds("2"), Ok(Duration::from_secs(2)));
        assert_eq!(seconds("0.3"), Ok(Duration::from_millis(300)));
        assert_eq!(seconds(".5"), Ok(Duration::from_millis(500)));
        for bad in ["", "0", "-1", "1e3", "inf", "NaN", "86401", "2s", "0.0001", "1.2.3"] {
            assert_eq!(seconds(bad), Err(NotSeconds), "{bad}");
        }
    }

    #[test]
    fn the_default_architecture_is_a_valid_one() {
        assert_eq!(arch(std::env::consts::ARCH), Ok(own_arch()));
        assert_eq!(default_channel().as_str(), "stable");
        assert_eq!(arch("amd64").unwrap().as_str(), "x86_64");
    }
}
