//! The configuration file: TOML to values, with every error and its line.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use clap::ValueEnum as _;
use phase_core::identity::PeerId;
use phase_core::limits::TRUSTED;
use phase_core::wire::multiaddr::Address;
use phase_core::wire::record::{Channel, ProviderName, TTL_MAX, TTL_MIN};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::dht::Endpoint;
use super::settings::AdvertiseUrl;
use crate::artifacts::keeper::Expected;
use crate::artifacts::{KNOWN_ARCHS, canonical_arch};
use crate::cli::common::LogFormat;

/// The keys of the file, in the order of its documentation.
pub const KEYS: [&str; 15] = [
    "artifacts",
    "name",
    "listen",
    "advertise-url",
    "interface",
    "no-mdns",
    "no-dht",
    "dht-listen",
    "dht-announce",
    "bootstrap",
    "trust",
    "record-ttl",
    "state-dir",
    "log",
    "channel",
];

/// Providers that the node can prefer beside this one.
const TRUSTED_MAX: usize = TRUSTED - 1;

/// How far a name may be from a known one to be taken for a slip.
const SLIP: f64 = 0.75;

/// One thing that is wrong, with its line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.message)
    }
}

/// A configuration file's values; `None` where a key is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// The file.
    pub path: PathBuf,
    /// `artifacts`.
    pub artifacts: Option<PathBuf>,
    /// `name`.
    pub name: Option<ProviderName>,
    /// `listen`.
    pub listen: Option<SocketAddr>,
    /// `advertise-url`.
    pub advertise_url: Option<AdvertiseUrl>,
    /// `interface`.
    pub interfaces: Option<Vec<String>>,
    /// `no-mdns`.
    pub no_mdns: Option<bool>,
    /// `no-dht`.
    pub no_dht: Option<bool>,
    /// `dht-listen`.
    pub dht_listen: Option<Vec<Endpoint>>,
    /// `dht-announce`.
    pub dht_announce: Option<Vec<Endpoint>>,
    /// `bootstrap`.
    pub bootstraps: Option<Vec<Address>>,
    /// `trust`.
    pub trust: Option<Vec<PeerId>>,
    /// `record-ttl`, in seconds.
    pub record_ttl: Option<u32>,
    /// `state-dir`.
    pub state_dir: Option<PathBuf>,
    /// `log`.
    pub log: Option<LogFormat>,
    /// `[channel.*]`.
    pub channels: Expected,
}

impl File {
    /// Reads the text of the file at `path`.
    ///
    /// # Errors
    /// Everything that is wrong, by line.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut reader = Reader { text, problems: Vec::new() };
        for error in errors {
            reader.problem(error.span().unwrap_or_default(), error.message().to_owned());
        }
        let syntax = reader.problems.len();
        let mut file = Self { path: path.to_owned(), ..Self::default() };
        for (key, value) in table.get_ref() {
            file.read_key(&mut reader, key, value);
        }
        // A value that is not even TOML is one error, not two.
        let broken: Vec<_> = reader.problems[..syntax].iter().map(|p| p.line).collect();
        let mut at = 0;
        reader.problems.retain(|problem| {
            at += 1;
            at <= syntax || !broken.contains(&problem.line)
        });
        reader.problems.sort();
        if reader.problems.is_empty() { Ok(file) } else { Err(reader.problems) }
    }

    fn read_key(&mut self, reader: &mut Reader<'_>, key: &Key<'_>, value: &Value<'_>) {
        let name: &str = key.get_ref();
        match name {
            "artifacts" => self.artifacts = self.read_path(reader, name, value),
            "state-dir" => self.state_dir = self.read_path(reader, name, value),
            "name" => {
                let rule = "must be 1 to 40 octets of printable text without \" or \\";
                self.name = reader.parsed(name, value, rule, |t| ProviderName::new(t).ok());
            }
            "listen" => {
                let rule = "must be an address and port, such as \"0.0.0.0:8080\" or \"[::]:8080\"";
                self.listen = reader.parsed(name, value, rule, |t| t.parse().ok());
            }
            "advertise-url" => {
                let rule = AdvertiseUrl::RULE;
                self.advertise_url = reader.parsed(name, value, rule, |t| t.parse().ok());
            }
            "interface" => {
                let text = |t: &str| {
                    if t.is_empty() { Err("must not be empty") } else { Ok(t.to_owned()) }
                };
                self.interfaces = reader.list(name, value, text);
            }
            "no-mdns" => self.no_mdns = reader.boolean(name, value),
            "no-dht" => self.no_dht = reader.boolean(name, value),
            "dht-listen" => self.dht_listen = reader.list(name, value, Endpoint::listen),
            "dht-announce" => self.dht_announce = reader.list(name, value, Endpoint::announce),
            "bootstrap" => self.bootstraps = reader.list(name, value, Address::from_str),
            "trust" => self.trust = reader.trust(name, value),
            "record-ttl" => self.record_ttl = reader.ttl(name, value),
            "log" => {
                let rule = "must be \"text\" or \"json\"";
                self.log = reader.parsed(name, value, rule, |t| LogFormat::from_str(t, false).ok());
            }
            "channel" => self.channels = reader.channels(value),
            unknown => reader.unknown(key.span(), unknown, &KEYS),
        }
    }

    fn read_path(&self, reader: &mut Reader<'_>, name: &str, value: &Value<'_>) -> Option<PathBuf> {
        let path = reader.parsed(name, value, "must not be empty", |t| {
            (!t.is_empty()).then(|| PathBuf::from(t))
        })?;
        let base = self.path.parent().unwrap_or_else(|| Path::new(""));
        Some(base.join(path))
    }
}

type Key<'t> = Spanned<std::borrow::Cow<'t, str>>;
type Value<'t> = Spanned<DeValue<'t>>;

struct Reader<'t> {
    text: &'t str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, span: Range<usize>, message: String) {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        let line = 1 + before.iter().filter(|octet| **octet == b'\n').count();
        self.problems.push(Problem { line, message });
    }

    fn unknown(&mut self, span: Range<usize>, name: &str, known: &[&str]) {
        let score = |known: &&&str| strsim::jaro_winkler(name, known);
        let nearest = known.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
        let hint = match nearest.filter(|known| score(known) >= SLIP) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("known are {}", known.join(", ")),
        };
        self.problem(span, format!("unknown key `{}`; {hint}", name.escape_debug()));
    }

    fn wrong_kind(&mut self, name: &str, value: &Value<'_>, wanted: &str) {
        let found = value.get_ref().type_str();
        self.problem(value.span(), format!("`{name}` must be {wanted}, not {found}"));
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        value: &Value<'_>,
        rule: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_kind(name, value, "a string");
            return None;
        };
        let parsed = parse(text);
        if parsed.is_none() {
            self.problem(value.span(), format!("`{name}` {rule}; it is {text:?}"));
        }
        parsed
    }

    fn boolean(&mut self, name: &str, value: &Value<'_>) -> Option<bool> {
        let found = value.get_ref().as_bool();
        if found.is_none() {
            self.wrong_kind(name, value, "true or false");
        }
        found
    }

    /// One string or an array of strings.
    fn list<T, E: fmt::Display>(
        &mut self,
        name: &str,
        value: &Value<'_>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let items: Vec<&Value<'_>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_) => vec![value],
        };
        let read = |item: &Value<'_>| {
            let Some(text) = item.get_ref().as_str() else {
                self.wrong_kind(name, item, "a string");
                return None;
            };
            let parsed = parse(text);
            parsed
                .map_err(|rule| {
                    self.problem(item.span(), format!("`{name}`: {rule}; it is {text:?}"))
                })
                .ok()
        };
        // All of them, so that each that is wrong is told.
        let all: Vec<Option<T>> = items.into_iter().map(read).collect();
        all.into_iter().collect()
    }

    fn trust(&mut self, name: &str, value: &Value<'_>) -> Option<Vec<PeerId>> {
        let rule = "must be the peer id of a provider, as `phase-provider key show` prints it";
        let peer = |text: &str| text.parse().ok().filter(PeerId::check).ok_or(rule);
        let peers = self.list(name, value, peer)?;
        if peers.len() > TRUSTED_MAX {
            self.problem(value.span(), format!("`{name}` has room for {TRUSTED_MAX} providers"));
        }
        Some(peers)
    }

    fn ttl(&mut self, name: &str, value: &Value<'_>) -> Option<u32> {
        let Some(integer) = value.get_ref().as_integer() else {
            self.wrong_kind(name, value, "a number of seconds");
            return None;
        };
        let parsed = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let ttl = parsed.and_then(|n| u32::try_from(n).ok());
        let ttl = ttl.filter(|ttl| (TTL_MIN..=TTL_MAX).contains(ttl));
        if ttl.is_none() {
            let message =
                format!("`{name}` must be {TTL_MIN} to {TTL_MAX} seconds; it is {integer}");
            self.problem(value.span(), message);
        }
        ttl
    }

    fn channels(&mut self, value: &Value<'_>) -> Expected {
        let mut channels = Expected::new();
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_kind("channel", value, "tables such as [channel.stable]");
            return channels;
        };
        for (name, value) in table {
            let channel = match Channel::new(name.get_ref()) {
                Ok(channel) => channel.as_str().to_owned(),
                Err(_) => {
                    let name = name.get_ref().escape_debug().to_string();
                    let rule =
                        "a channel is 1 to 32 of a-z 0-9 . _ - and begins with a letter or digit";
                    self.problem(value.span(), format!("`channel.{name}`: {rule}"));
                    continue;
                }
            };
            let Some(table) = value.get_ref().as_table() else {
                self.wrong_kind(&format!("channel.{channel}"), value, "a table");
                continue;
            };
            for (key, value) in table {
                if key.get_ref() == "archs" {
                    channels.insert(channel.clone(), self.archs(value));
                } else {
                    self.unknown(key.span(), key.get_ref(), &["archs"]);
                }
            }
        }
        channels
    }

    fn archs(&mut self, value: &Value<'_>) -> BTreeSet<String> {
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_kind("archs", value, "an array of architectures");
            return BTreeSet::new();
        };
        let rule = format!("knows {} (also aarch64, amd64)", KNOWN_ARCHS.join(", "));
        let read = |item| self.parsed("archs", item, &rule, canonical_arch).map(str::to_owned);
        items.iter().filter_map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<File, Vec<String>> {
        File::parse(Path::new("/etc/phase/provider.toml"), text)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_key_is_read() {
        let file = parse(
            r#"
            artifacts = "images"
            name = "lab"
            listen = "[::1]:8081"
            advertise-url = "http://boot.example.org:8080/"
            interface = ["eth0", "eth1"]
            no-mdns = true
            no-dht = false
            dht-listen = ["/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/4002"]
            dht-announce = "/ip4/192.0.2.1/tcp/4001"
            bootstrap = ["/dnsaddr/boot.example.org", "/ip6/2001:db8::1/tcp/4001"]
            trust = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5"
            record-ttl = 0x3c
            state-dir = "/state"
            log = "json"
            [channel.stable]
            archs = ["amd64", "arm64"]
            "#,
        )
        .unwrap();
        assert_eq!(file.artifacts.as_deref(), Some(Path::new("/etc/phase/images")));
        assert_eq!(file.name.unwrap().as_str(), "lab");
        assert_eq!(file.listen, Some("[::1]:8081".parse().unwrap()));
        assert_eq!(file.interfaces.unwrap(), ["eth0", "eth1"]);
        assert_eq!(
            (file.no_mdns, file.record_ttl, file.log),
            (Some(true), Some(60), Some(LogFormat::Json))
        );
        assert_eq!(file.no_dht, Some(false));
        assert_eq!(
            file.dht_listen.unwrap().iter().map(|e| e.0.port()).collect::<Vec<_>>(),
            [0, 4002]
        );
        assert_eq!(file.dht_announce.unwrap()[0].to_string(), "/ip4/192.0.2.1/tcp/4001");
        assert_eq!(file.bootstraps.unwrap()[0].to_string(), "/dnsaddr/boot.example.org");
        let trusted = file.trust.unwrap()[0].to_string();
        assert_eq!(trusted, "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5");
        assert_eq!(file.state_dir.as_deref(), Some(Path::new("/state")));
        assert_eq!(Vec::from_iter(&file.channels["stable"]), ["arm64", "x86_64"]);
        assert!(file.advertise_url.is_some());
        assert_eq!(parse("interface = \"eth0\"").unwrap().interfaces.unwrap(), ["eth0"]);
    }

    #[test]
    fn all_errors_are_told_at_once_with_their_lines() {
        let problems = parse(
            "artefacts = 1\nlisten = \"8080\"\nrecord-ttl = 59\n\nlog = \"xml\"\nname = \"\"\n\
             no-mdns = \"yes\"\ninterface = [\"eth0\", 1]\nzzz = 1\nadvertise-url = \"ftp://x/\"\n\
             dht-listen = [\"/ip4/0.0.0.0/udp/1\", 5, \"/dns/a/tcp/1\"]\nbootstrap = \"boot.example\"\ntrust = \"lab\"\n\
             [channel.Stable]\n[channel.stable]\narch = []\n[channel.testing]\narchs = [\"sparc\"]\n",
        )
        .unwrap_err();
        let expected = [
            "1: unknown key `artefacts`; did you mean `artifacts`?",
            "2: `listen` must be an address and port, such as \"0.0.0.0:8080\" or \"[::]:8080\"; it is \"8080\"",
            "3: `record-ttl` must be 60 to 604800 seconds; it is 59",
            "5: `log` must be \"text\" or \"json\"; it is \"xml\"",
            "6: `name` must be 1 to 40 octets of printable text without \" or \\; it is \"\"",
            "7: `no-mdns` must be true or false, not string",
            "8: `interface` must be a string, not integer",
            "9: unknown key `zzz`; known are artifacts, name, listen, advertise-url, interface, no-mdns, no-dht, dht-listen, dht-announce, bootstrap, trust, record-ttl, state-dir, log, channel",
            "10: `advertise-url` must be http:// or https://, a host and perhaps a port, such as \"http://boot.example.org:8080\"; it is \"ftp://x/\"",
            "11: `dht-listen` must be a string, not integer",
            "11: `dht-listen`: /tcp/ and a port must follow the host; other transports are not spoken; it is \"/ip4/0.0.0.0/udp/1\"",
            "11: `dht-listen`: it must begin with /ip4/ or /ip6/ and an address of this host, not a name; it is \"/dns/a/tcp/1\"",
            "12: `bootstrap`: it must begin with /ip4/, /ip6/, /dns/, /dns4/, /dns6/ or /dnsaddr/; it is \"boot.example\"",
            "13: `trust`: must be the peer id of a provider, as `phase-provider key show` prints it; it is \"lab\"",
            "14: `channel.Stable`: a channel is 1 to 32 of a-z 0-9 . _ - and begins with a letter or digit",
            "16: unknown key `arch`; did you mean `archs`?",
            "18: `archs` knows arm, arm64, i386, loongarch64, ppc64le, riscv64, s390x, x86_64 (also aarch64, amd64); it is \"sparc\"",
        ];
        assert_eq!(problems, expected);
    }

    #[test]
    fn errors_of_syntax_do_not_hide_others() {
        let problems = parse("name = \nlisten = \"x\"\nname2 = \"a\" b\n").unwrap_err();
        let lines: Vec<_> = problems.iter().map(|p| p.split(':').next().unwrap()).collect();
        assert_eq!(lines, ["1", "2", "3"], "{problems:?}");
    }

    #[test]
    fn the_example_is_valid_as_it_is_and_with_every_key() {
        parse(super::super::EXAMPLE).unwrap();
        let whole = super::super::EXAMPLE.lines().map(|line| {
            let key = line.strip_prefix('#').filter(|rest| !rest.starts_with(' '));
            key.unwrap_or(line).to_owned() + "\n"
        });
        let whole: String = whole.collect();
        parse(&whole).unwrap();
        for key in KEYS {
            let found =
                whole.lines().any(|l| l.starts_with(key) || l.starts_with(&format!("[{key}.")));
            assert!(found, "{key} is not in the example");
        }
    }
}
