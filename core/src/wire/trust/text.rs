//! Reading the trust file: statements, words, and what is wrong with them.

use core::fmt;

use super::{ChannelRule, Role, Trust, TrustedKey};
use crate::identity::{KeyId, PeerId};
use crate::limits::{
    SIGNATURES_PER_MANIFEST, TRUST_CHANNELS, TRUST_FALLBACKS, TRUST_KEYS, TRUST_LINE_MAX,
    TRUST_LINES,
};
use crate::time::UnixTime;
use crate::wire::multiaddr::{self, Address, Host};
use crate::wire::record::{Channel, ProviderName};
use crate::wire::url::{self, Url};
use crate::wire::{peer_id, text, unix_time};

/// A word of the file as it is shown: cut after 40 octets, what cannot be printed as `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Shown(heapless::String<40>);

impl Shown {
    fn new(word: &str) -> Self {
        let mut shown = heapless::String::new();
        for c in word.chars() {
            let c = if c.is_ascii_graphic() { c } else { '?' };
            if shown.push(c).is_err() {
                break;
            }
        }
        Self(shown)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

/// Why a trust file or word was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Error {
    /// The line, from 1; 0: the whole.
    pub line: u16,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Problem {
    /// The line is longer than 256 octets.
    LineTooLong,
    /// More than 64 lines.
    TooManyLines,
    /// Not UTF-8, or with control characters.
    NotText,
    /// The first word of the line is no statement.
    UnknownStatement(Shown),
    /// This statement needs another word, named here.
    Missing(&'static str),
    /// A word that the statement does not take.
    Unexpected(Shown),
    /// No peer id of a usable Ed25519 key.
    PeerId(Shown),
    /// Not `ed25519:` and 64 lower-case hex digits of a usable key.
    KeyId(Shown),
    /// Not a channel name.
    Channel(Shown),
    /// Not a name that can be shown.
    Name(Shown),
    /// Not a number in the range, named here.
    Number(Shown, &'static str),
    /// Not a manifest URL.
    Url(url::Error),
    /// Not a multiaddr that can be dialled, and why.
    Bootstrap(Shown, multiaddr::Invalid),
    /// A multiaddr that does not end in `/p2p/` and a peer id.
    NoPeer(Shown),
    /// Said twice.
    Twice(Shown),
    /// More of these than are kept.
    TooMany(&'static str),
    /// Neither a provider nor a release key.
    Empty,
    /// The threshold of this channel is above the number of keys that may authorise it.
    Unreachable(Channel),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        self.problem.fmt(f)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineTooLong => write!(f, "longer than {TRUST_LINE_MAX} octets"),
            Self::TooManyLines => write!(f, "more than {TRUST_LINES} lines"),
            Self::NotText => f.write_str("not plain text"),
            Self::UnknownStatement(word) => write!(
                f,
                "unknown statement {word}; known are provider, release, threshold, min-version, epoch, fallback, bootstrap"
            ),
            Self::Missing(what) => write!(f, "{what} is missing"),
            Self::Unexpected(word) => write!(f, "{word} is not expected here"),
            Self::PeerId(word) => write!(f, "{word} is not an Ed25519 peer id (12D3KooW…)"),
            Self::KeyId(word) => {
                write!(f, "{word} is not a key (ed25519: and 64 lower-case hex digits)")
            }
            Self::Channel(word) => write!(f, "{word} is not a channel name"),
            Self::Name(word) => write!(f, "{word} is not a name of 1 to 40 printable octets"),
            Self::Number(word, range) => write!(f, "{word} is not a number {range}"),
            Self::Url(error) => error.fmt(f),
            Self::Bootstrap(word, error) => write!(f, "{word} is no bootstrap: {error}"),
            Self::NoPeer(word) => {
                write!(
                    f,
                    "{word} does not end in /p2p/ and a peer id, so that anybody could stand in for it"
                )
            }
            Self::Twice(word) => write!(f, "{word} was said before"),
            Self::TooMany(what) => write!(f, "too many {what}"),
            Self::Empty => f.write_str(
                "no key: name a provider (provider 12D3KooW…) or a release key (release ed25519:…)",
            ),
            Self::Unreachable(channel) => {
                write!(f, "threshold {channel} is above the number of keys for that channel")
            }
        }
    }
}

impl core::error::Error for Error {}

impl Trust {
    /// Reads a file that stands alone.
    ///
    /// # Errors
    /// The first thing that is wrong; a file without keys is wrong too.
    pub fn decode(file: &[u8]) -> Result<Self, Error> {
        let mut trust = Self::default();
        trust.add_file(file)?;
        trust.check()?;
        Ok(trust)
    }

    /// Adds the statements of a file. Follow the last with [`Trust::check`].
    ///
    /// # Errors
    /// The first thing that is wrong; what came before it has been added.
    pub fn add_file(&mut self, file: &[u8]) -> Result<(), Error> {
        let file = file.strip_suffix(b"\n").unwrap_or(file);
        for (at, line) in file.split(|&octet| octet == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let number = u16::try_from(at.saturating_add(1)).unwrap_or(u16::MAX);
            let added =
                if at >= TRUST_LINES { Err(Problem::TooManyLines) } else { self.add_line(line) };
            added.map_err(|problem| Error { line: number, problem })?;
        }
        Ok(())
    }

    /// Adds one key by itself: a peer id as provider, `ed25519:` and hex as release key; for every channel.
    /// A key that is there already is not added again.
    ///
    /// # Errors
    /// What is wrong with the word.
    pub fn add_word(&mut self, word: &str) -> Result<(), Error> {
        let added = if word.starts_with("ed25519:") {
            release_key(word).and_then(|key| self.add_key(key, Role::Release, None, None))
        } else {
            provider_key(word).and_then(|key| self.add_key(key, Role::Provider, None, None))
        };
        match added {
            Ok(()) | Err(Problem::Twice(_)) => Ok(()),
            Err(problem) => Err(Error { line: 0, problem }),
        }
    }

    /// Checks the whole, after everything was added.
    ///
    /// # Errors
    /// [`Problem::Empty`] or [`Problem::Unreachable`].
    pub fn check(&self) -> Result<(), Error> {
        if self.keys.is_empty() {
            return Err(Error { line: 0, problem: Problem::Empty });
        }
        for rule in &self.channels {
            let keys = self.keys.iter();
            let count = keys.filter(|key| self.is_authority(key, &rule.channel));
            if rule.threshold.is_some_and(|needed| count.count() < usize::from(needed)) {
                let problem = Problem::Unreachable(rule.channel.clone());
                return Err(Error { line: 0, problem });
            }
        }
        Ok(())
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), Problem> {
        if line.len() > TRUST_LINE_MAX {
            return Err(Problem::LineTooLong);
        }
        let line = core::str::from_utf8(line).map_err(|_| Problem::NotText)?;
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return Err(Problem::NotText);
        }
        let mut words = words(line);
        let Some(statement) = words.next() else { return Ok(()) };
        let mut next = |what| words.next().ok_or(Problem::Missing(what));
        match statement {
            "provider" => {
                let key = provider_key(next("the peer id")?)?;
                return self.add_key_line(key, Role::Provider, words);
            }
            "release" => {
                let key = release_key(next("the key")?)?;
                return self.add_key_line(key, Role::Release, words);
            }
            "threshold" => {
                let channel = next("the channel")?;
                let most = u64::try_from(SIGNATURES_PER_MANIFEST).unwrap_or(u64::MAX);
                let needed = number(next("the number of keys")?, 1, most, "from 1 to 8")?;
                let slot = &mut self.channel_rule(channel)?.threshold;
                set(slot, u8::try_from(needed).unwrap_or(u8::MAX), channel)?;
            }
            "min-version" => {
                let channel = next("the channel")?;
                let least = number(next("the version")?, 0, u64::MAX, "of 64 bits")?;
                set(&mut self.channel_rule(channel)?.min_version, least, channel)?;
            }
            "epoch" => {
                let word = next("the time")?;
                let seconds = number(word, 0, unix_time::MAX.0, "of seconds up to the year 9999")?;
                set(&mut self.epoch, UnixTime(seconds), statement)?;
            }
            "fallback" => {
                let url = Url::parse(next("the URL")?).map_err(Problem::Url)?;
                if self.fallbacks.contains(&url) {
                    return Err(Problem::Twice(Shown::new(url.as_str())));
                }
                self.fallbacks.push(url).map_err(|_| TOO_MANY_FALLBACKS)?;
            }
            "bootstrap" => drop(bootstrap(next("the multiaddr")?)?),
            other => return Err(Problem::UnknownStatement(Shown::new(other))),
        }
        words.next().map_or(Ok(()), |word| Err(Problem::Unexpected(Shown::new(word))))
    }

    fn add_key_line<'a>(
        &mut self,
        key: PeerId,
        role: Role,
        words: impl Iterator<Item = &'a str>,
    ) -> Result<(), Problem> {
        let (mut name, mut channels) = (None, None);
        for word in words {
            match word.split_once('=') {
                Some(("name", value)) => {
                    let value = ProviderName::new(value);
                    let value = value.map_err(|_| Problem::Name(Shown::new(word)))?;
                    set(&mut name, value, "name")?;
                }
                Some(("channels", list)) => set(&mut channels, self.bits(list)?, "channels")?,
                Some(_) | None => return Err(Problem::Unexpected(Shown::new(word))),
            }
        }
        self.add_key(key, role, name, channels)
    }

    fn add_key(
        &mut self,
        key: PeerId,
        role: Role,
        name: Option<ProviderName>,
        channels: Option<u16>,
    ) -> Result<(), Problem> {
        if self.keys.iter().any(|known| known.key == key && known.role == role) {
            use fmt::Write as _;
            let mut shown = heapless::String::<72>::new();
            let _ = match role {
                Role::Provider => write!(shown, "{key}"),
                Role::Release => write!(shown, "{}", key.key_id()),
            };
            return Err(Problem::Twice(Shown::new(&shown)));
        }
        let key = TrustedKey { key, role, name, channels };
        self.keys.push(key).map_err(|_| TOO_MANY_KEYS)
    }

    /// The bits of a comma-separated list of channels.
    fn bits(&mut self, list: &str) -> Result<u16, Problem> {
        let mut bits = 0;
        for name in list.split(',') {
            let channel = self.channel_rule(name)?.channel.clone();
            let at = self.channels.iter().position(|rule| rule.channel == channel);
            bits |= 1 << at.unwrap_or(0);
        }
        Ok(bits)
    }

    fn channel_rule(&mut self, name: &str) -> Result<&mut ChannelRule, Problem> {
        let channel = Channel::new(name).map_err(|_| Problem::Channel(Shown::new(name)))?;
        let at = match self.channels.iter().position(|rule| rule.channel == channel) {
            Some(at) => at,
            None => {
                let rule = ChannelRule { channel, threshold: None, min_version: None };
                self.channels.push(rule).map_err(|_| TOO_MANY_CHANNELS)?;
                self.channels.len().saturating_sub(1)
            }
        };
        self.channels.get_mut(at).ok_or(TOO_MANY_CHANNELS)
    }
}

const TOO_MANY_KEYS: Problem = Problem::TooMany("keys: at most 32");
const TOO_MANY_CHANNELS: Problem = Problem::TooMany("channels: at most 16");
const TOO_MANY_FALLBACKS: Problem = Problem::TooMany("fallbacks: at most 4");
const _: () = assert!(TRUST_KEYS == 32 && TRUST_CHANNELS == 16 && TRUST_FALLBACKS == 4);
const _: () = assert!(SIGNATURES_PER_MANIFEST == 8);

fn provider_key(word: &str) -> Result<PeerId, Problem> {
    let key = peer_id::decode_text(word.as_bytes()).ok().filter(PeerId::check);
    key.ok_or_else(|| Problem::PeerId(Shown::new(word)))
}

fn release_key(word: &str) -> Result<PeerId, Problem> {
    let key = KeyId::decode(word.as_bytes()).ok().filter(PeerId::check);
    key.ok_or_else(|| Problem::KeyId(Shown::new(word)))
}

fn number(word: &str, least: u64, most: u64, range: &'static str) -> Result<u64, Problem> {
    let number = text::decode_decimal(word.as_bytes()).ok();
    let in_range = number.filter(|number| (least..=most).contains(number));
    in_range.ok_or_else(|| Problem::Number(Shown::new(word), range))
}

fn set<T>(slot: &mut Option<T>, value: T, name: &str) -> Result<(), Problem> {
    if slot.is_some() {
        return Err(Problem::Twice(Shown::new(name)));
    }
    *slot = Some(value);
    Ok(())
}

/// The addresses of the `bootstrap` lines of a trust file, in their order. Lines that are wrong are left out:
/// [`Trust::add_file`] tells of them.
pub fn bootstraps(file: &[u8]) -> impl Iterator<Item = Address> + '_ {
    file.split(|octet| matches!(octet, b'\n' | b'\r')).filter_map(|line| {
        let mut words = words(core::str::from_utf8(line).ok()?);
        words.next().filter(|statement| *statement == "bootstrap")?;
        bootstrap(words.next()?).ok()
    })
}

/// The words of a line. A comment begins at a '#' that begins a word.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    words.take_while(|word| !word.starts_with('#'))
}

/// The peer must be named, so that nobody can stand in for it; the records of a `dnsaddr` name theirs.
fn bootstrap(word: &str) -> Result<Address, Problem> {
    let address = word.parse::<Address>();
    let address = address.map_err(|error| Problem::Bootstrap(Shown::new(word), error))?;
    if address.peer.is_none() && !matches!(address.host, Host::DnsAddr(_)) {
        return Err(Problem::NoPeer(Shown::new(word)));
    }
    Ok(address)
}
