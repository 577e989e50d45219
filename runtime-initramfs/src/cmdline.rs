//! The boot client's options, from the words of the kernel command line that begin with `phase.`.
//!
//! Words are separated by white space; double quotes keep white space in a value, as the kernel has it
//! (Documentation/admin-guide/kernel-parameters). A word that is given again replaces the earlier one,
//! so that a boot loader can append; `trust`, `provider`, `bootstrap`, `interface`, `fallback` and `append` collect
//! instead. A word that is not known is an error: a mistyped `phase.trust=` must not boot without it.
//! Not here: words of other programs, reading /proc/cmdline, what the values lead to.

use core::fmt;
use core::time::Duration;

use heapless::Vec;
use phase_core::client::Carriers;
use phase_core::identity::PeerId;
use phase_core::wire::multiaddr::Address;
use phase_core::wire::peer_id;
use phase_core::wire::record::{Arch, Channel};
use phase_core::wire::url::Url;

/// What every word of ours begins with.
const PREFIX: &str = "phase.";

/// Values that one collecting word may be given.
pub const VALUES_MAX: usize = 8;

/// The longest time that can be asked for: a day.
const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);

/// What to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Discover, fetch, verify, start.
    #[default]
    Boot,
    /// Discover and print.
    Discover,
    /// Discover, fetch, verify.
    Fetch,
    /// Give a shell.
    Shell,
}

/// What to do when that fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Begin again.
    #[default]
    Retry,
    /// Start the machine anew.
    Reboot,
    /// Switch it off.
    Poweroff,
    /// Give a shell.
    Shell,
}

/// The options; values borrow from the command line.
#[derive(Clone, Debug, Default)]
pub struct Options<'a> {
    /// `phase.channel=`; the default is the caller's.
    pub channel: Option<Channel>,
    /// `phase.arch=`, an alias made canonical; the default is the machine's own.
    pub arch: Option<Arch>,
    /// `phase.mode=`: where to look.
    pub mode: Option<Carriers>,
    /// `phase.bootstrap=`: nodes to enter the DHT by.
    pub bootstraps: Vec<Address, VALUES_MAX, u8>,
    /// `phase.trust=`: peer ids, release keys, or paths of trust files.
    pub trust: Vec<&'a str, VALUES_MAX, u8>,
    /// `phase.provider=`: peer ids of providers to trust, as `phase.trust=` but nothing else.
    pub providers: Vec<PeerId, VALUES_MAX, u8>,
    /// `phase.insecure=1`: accept records without a signature.
    pub insecure: bool,
    /// `phase.manifest=`: take this manifest instead of discovering one.
    pub manifest: Option<Url>,
    /// `phase.fallback=`: manifests to try when discovery finds nothing.
    pub fallback: Vec<Url, VALUES_MAX, u8>,
    /// `phase.interface=`: use these interfaces and no others.
    pub interfaces: Vec<&'a str, VALUES_MAX, u8>,
    /// `phase.timeout=`, in seconds with an optional fraction.
    pub timeout: Option<Duration>,
    /// `phase.action=`.
    pub action: Action,
    /// `phase.on-failure=`.
    pub on_failure: OnFailure,
    /// `phase.dtb=`: the name of the image's device tree to start with, or `none`; without it the one for this board.
    pub device_tree: Option<&'a str>,
    /// `phase.append=`: what follows the image's own command line, in order.
    pub append: Vec<&'a str, VALUES_MAX, u8>,
}

/// Why a command line was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error<'a> {
    /// The word, without `phase.` and its value.
    pub word: &'a str,
    /// Its value; empty when there is none.
    pub value: &'a str,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// There is no such word.
    Unknown,
    /// It needs a value.
    Empty,
    /// Its value is not of the kind that this names.
    NotA(&'static str),
    /// It was given more than [`VALUES_MAX`] times.
    TooMany,
}

impl<'a> Options<'a> {
    /// Reads a whole command line.
    ///
    /// # Errors
    /// The first word of ours that cannot be followed.
    pub fn parse(command_line: &'a str) -> Result<Self, Error<'a>> {
        let mut options = Self::default();
        for word in words(command_line) {
            let Some(ours) = word.strip_prefix(PREFIX) else { continue };
            let (word, value) = ours.split_once('=').unwrap_or((ours, ""));
            let value = unquoted(value);
            options.set(word, value).map_err(|problem| Error { word, value, problem })?;
        }
        Ok(options)
    }

    fn set(&mut self, word: &str, value: &'a str) -> Result<(), Problem> {
        match word {
            "channel" => self.channel = Some(parsed(value, "channel", Channel::new)?),
            "arch" => self.arch = Some(parsed(value, "name of an architecture", Arch::canonical)?),
            "mode" => self.mode = Some(mode(value)?),
            "bootstrap" => {
                let node = parsed(value, "address of a node of the DHT", str::parse)?;
                push(&mut self.bootstraps, node)?;
            }
            "trust" => push(&mut self.trust, filled(value)?)?,
            "provider" => {
                let decode = |text: &str| peer_id::decode_any_text(text.as_bytes());
                push(&mut self.providers, parsed(value, "peer id (12D3KooW...)", decode)?)?;
            }
            "insecure" => self.insecure = flag(value)?,
            "manifest" => self.manifest = Some(parsed(value, "URL of a manifest", Url::parse)?),
            "fallback" => {
                let url = parsed(value, "URL of a manifest", Url::parse)?;
                push(&mut self.fallback, url)?;
            }
            "interface" => push(&mut self.interfaces, filled(value)?)?,
            "timeout" => self.timeout = Some(seconds(value)?),
            "action" => self.action = action(value)?,
            "on-failure" => self.on_failure = on_failure(value)?,
            "dtb" => self.device_tree = Some(filled(value)?),
            "append" => push(&mut self.append, filled(value)?)?,
            _ => return Err(Problem::Unknown),
        }
        Ok(())
    }
}

impl fmt::Display for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { word, value, problem } = self;
        match problem {
            Problem::Unknown => write!(f, "{PREFIX}{word}: there is no such word"),
            Problem::Empty => write!(f, "{PREFIX}{word}: needs a value, as in {PREFIX}{word}=..."),
            Problem::NotA(kind) => write!(f, "{PREFIX}{word}={value}: not a {kind}"),
            Problem::TooMany => {
                write!(f, "{PREFIX}{word}={value}: given more than {VALUES_MAX} times")
            }
        }
    }
}

impl core::error::Error for Error<'_> {}

/// The last `phase.on-failure=` that can be followed, although other words may not be.
#[must_use]
pub fn on_failure_of(command_line: &str) -> OnFailure {
    let values = words(command_line).filter_map(|word| word.strip_prefix("phase.on-failure="));
    values.filter_map(|value| on_failure(unquoted(value)).ok()).last().unwrap_or_default()
}

/// The words of a command line; white space inside double quotes does not separate.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |c: char| {
        quoted ^= c == '"';
        !quoted && c.is_ascii_whitespace()
    })
    .filter(|word| !word.is_empty())
}

/// The kernel takes quotes around a value off.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').map_or(value, |rest| rest.strip_suffix('"').unwrap_or(rest))
}

fn filled(value: &str) -> Result<&str, Problem> {
    if value.is_empty() { Err(Problem::Empty) } else { Ok(value) }
}

fn parsed<T, E>(
    value: &str,
    kind: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, Problem> {
    parse(filled(value)?).map_err(|_| Problem::NotA(kind))
}

fn push<T>(list: &mut Vec<T, VALUES_MAX, u8>, value: T) -> Result<(), Problem> {
    list.push(value).map_err(|_| Problem::TooMany)
}

fn flag(value: &str) -> Result<bool, Problem> {
    match filled(value)? {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err(Problem::NotA("0 or 1")),
    }
}

/// Seconds with at most three digits after the point.
///
/// # Errors
/// When it is no such number, or out of range.
pub(crate) fn seconds(value: &str) -> Result<Duration, Problem> {
    const KIND: Problem = Problem::NotA("number of seconds from 0.001 to 86400");
    let (whole, fraction) = filled(value)?.split_once('.').unwrap_or((value, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return Err(KIND);
    }
    let whole: u32 = whole.parse().map_err(|_| KIND)?;
    let scale = [1000, 100, 10, 1].get(fraction.len()).ok_or(KIND)?;
    let millis = fraction.parse::<u64>().map_err(|_| KIND)?.checked_mul(*scale).ok_or(KIND)?;
    let duration = Duration::from_secs(whole.into()).saturating_add(Duration::from_millis(millis));
    if duration.is_zero() || duration > TIMEOUT_MAX { Err(KIND) } else { Ok(duration) }
}

/// Where to look, by its name.
///
/// # Errors
/// When there is no such mode.
pub(crate) fn mode(value: &str) -> Result<Carriers, Problem> {
    match filled(value)? {
        "auto" => Ok(Carriers::Auto),
        "lan" => Ok(Carriers::Lan),
        "wan" => Ok(Carriers::Wan),
        "all" => Ok(Carriers::All),
        _ => Err(Problem::NotA("choice of auto, lan, wan, all")),
    }
}

fn action(value: &str) -> Result<Action, Problem> {
    match filled(value)? {
        "boot" => Ok(Action::Boot),
        "discover" => Ok(Action::Discover),
        "fetch" => Ok(Action::Fetch),
        "shell" => Ok(Action::Shell),
        _ => Err(Problem::NotA("choice of boot, discover, fetch, shell")),
    }
}

fn on_failure(value: &str) -> Result<OnFailure, Problem> {
    match filled(value)? {
        "retry" => Ok(OnFailure::Retry),
        "reboot" => Ok(OnFailure::Reboot),
        "poweroff" => Ok(OnFailure::Poweroff),
        "shell" => Ok(OnFailure::Shell),
        _ => Err(Problem::NotA("choice of retry, reboot, poweroff, shell")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://10.0.0.1:8080/stable/arm64/manifest.json";

    fn problem(line: &str) -> Problem {
        Options::parse(line).unwrap_err().problem
    }

    #[test]
    fn every_word_is_read_among_those_of_others() {
        let line = "console=ttyAMA0 phase.channel=testing phase.arch=aarch64 phase.trust=/trust root=/dev/sda \
                    phase.insecure=1 phase.timeout=2.5 phase.interface=eth0 phase.action=fetch \
                    phase.on-failure=shell quiet";
        let options = Options::parse(line).unwrap();
        assert_eq!(options.channel.unwrap().as_str(), "testing");
        assert_eq!(options.arch.unwrap().as_str(), "arm64");
        assert_eq!(options.trust, ["/trust"]);
        assert!(options.insecure);
        assert_eq!(options.timeout, Some(Duration::from_millis(2500)));
        assert_eq!(options.interfaces, ["eth0"]);
        assert_eq!((options.action, options.on_failure), (Action::Fetch, OnFailure::Shell));
    }

    #[test]
    fn where_to_look_and_whom_to_pin_are_read() {
        const PEER: &str = "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV";
        let line = std::format!(
            "phase.mode=wan phase.provider={PEER} phase.bootstrap=/ip4/192.0.2.1/tcp/4001/p2p/{PEER} \
             phase.bootstrap=/dns4/boot.example.org/tcp/4001"
        );
        let options = Options::parse(&line).unwrap();
        assert_eq!(options.mode, Some(Carriers::Wan));
        assert_eq!(options.providers[0].to_string(), PEER);
        let shown: std::vec::Vec<_> = options.bootstraps.iter().map(ToString::to_string).collect();
        assert_eq!(shown[0], std::format!("/ip4/192.0.2.1/tcp/4001/p2p/{PEER}"));
        assert_eq!(shown[1], "/dns4/boot.example.org/tcp/4001");
        assert!(matches!(problem("phase.mode=lanwan"), Problem::NotA(_)));
        assert!(matches!(problem("phase.provider=http://10.0.0.1/"), Problem::NotA(_)));
        assert!(matches!(problem("phase.bootstrap=10.0.0.1:4001"), Problem::NotA(_)));
    }

    #[test]
    fn an_empty_line_gives_the_defaults() {
        let options = Options::parse("quiet splash\n").unwrap();
        assert!(options.channel.is_none() && options.trust.is_empty() && !options.insecure);
        assert_eq!((options.action, options.on_failure), (Action::Boot, OnFailure::Retry));
    }

    #[test]
    fn urls_are_read_and_checked() {
        let line = std::format!("phase.manifest={URL} phase.fallback={URL} phase.fallback={URL}");
        let options = Options::parse(&line).unwrap();
        assert_eq!(options.manifest.unwrap().as_str(), URL);
        assert_eq!(options.fallback.len(), 2);
        assert!(matches!(problem("phase.manifest=gopher://x/"), Problem::NotA(_)));
    }

    #[test]
    fn a_later_word_replaces_and_collecting_words_collect() {
        let line = "phase.channel=stable phase.channel=testing phase.trust=a phase.trust=b";
        let options = Options::parse(line).unwrap();
        assert_eq!(options.channel.unwrap().as_str(), "testing");
        assert_eq!(options.trust, ["a", "b"]);
    }

    #[test]
    fn what_is_appended_keeps_its_own_quotes_and_order() {
        let line = "phase.append=\"console=ttyAMA0 quiet\" phase.append=dyndbg=\"file a +p\" phase.dtb=none";
        let options = Options::parse(line).unwrap();
        assert_eq!(options.device_tree, Some("none"));
        assert_eq!(options.append, ["console=ttyAMA0 quiet", "dyndbg=\"file a +p\""]);
        assert_eq!(problem("phase.append="), Problem::Empty);
    }

    #[test]
    fn what_to_do_on_a_failure_is_found_beside_words_that_cannot_be_followed() {
        assert_eq!(on_failure_of("phase.turst=x phase.on-failure=poweroff"), OnFailure::Poweroff);
        let line = "phase.on-failure=shell phase.on-failure=dance x=\"phase.on-failure=reboot\"";
        assert_eq!(on_failure_of(line), OnFailure::Shell);
        assert_eq!(on_failure_of("quiet"), OnFailure::Retry);
    }

    #[test]
    fn quotes_keep_white_space_in_a_value() {
        let options = Options::parse("phase.trust=\"/my trust\" x=\"phase.channel=no\"").unwrap();
        assert_eq!(options.trust, ["/my trust"]);
        assert!(options.channel.is_none());
    }

    #[test]
    fn a_word_that_cannot_be_followed_is_named() {
        let cases = [
            ("phase.turst=x", "phase.turst: there is no such word"),
            ("phase.trust", "phase.trust: needs a value, as in phase.trust=..."),
            ("phase.channel=", "phase.channel: needs a value, as in phase.channel=..."),
            ("phase.insecure=yes", "phase.insecure=yes: not a 0 or 1"),
            (
                "phase.action=panic",
                "phase.action=panic: not a choice of boot, discover, fetch, shell",
            ),
        ];
        for (line, text) in cases {
            assert_eq!(Options::parse(line).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn times_out_of_range_and_odd_numbers_are_refused() {
        for value in ["0", "0.000", "86401", "-1", "1e3", "1.2345", ".5", "5.", "4294967296"] {
            let line = std::format!("phase.timeout={value}");
            assert!(matches!(problem(&line), Problem::NotA(_)), "{value}");
        }
        let options = Options::parse("phase.timeout=0.001").unwrap();
        assert_eq!(options.timeout, Some(Duration::from_millis(1)));
    }

    #[test]
    fn more_values_than_fit_are_refused() {
        let line = "phase.interface=e ".repeat(VALUES_MAX + 1);
        assert_eq!(problem(&line), Problem::TooMany);
    }
}
