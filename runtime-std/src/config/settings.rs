//! What `serve` runs with: flags, file and defaults put together.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use phase_core::identity::PeerId;
use phase_core::wire::multiaddr::Address;
use phase_core::wire::record::{ProviderName, TTL_DEFAULT};
use phase_core::wire::url::{self, Url};

use super::dht::{Endpoint, LISTEN_DEFAULT};
use super::file::File;
use crate::artifacts::keeper::Expected;
use crate::cli::common::LogFormat;

/// Where clients reach the server: scheme, host and port, without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvertiseUrl(String);

impl AdvertiseUrl {
    /// What it must look like.
    pub const RULE: &str = "must be http:// or https://, a host and perhaps a port, such as \"http://boot.example.org:8080\"";

    /// The text, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AdvertiseUrl {
    type Err = url::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let origin = text.strip_suffix('/').unwrap_or(text);
        let url = Url::parse(&format!("{origin}/manifest.json"))?;
        // Anything after the host would be taken for a path.
        if url.path() == "/manifest.json" {
            Ok(Self(origin.to_owned()))
        } else {
            Err(url::Error::Path)
        }
    }
}

impl fmt::Display for AdvertiseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was given on the command line; `None` where a flag is absent.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--artifacts`.
    pub artifacts: Option<PathBuf>,
    /// `--name`.
    pub name: Option<ProviderName>,
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--advertise-url`.
    pub advertise_url: Option<AdvertiseUrl>,
    /// `--interface`, each.
    pub interfaces: Vec<String>,
    /// `--no-mdns`.
    pub no_mdns: bool,
    /// `--no-dht`.
    pub no_dht: bool,
    /// `--dht-listen`, each.
    pub dht_listen: Vec<Endpoint>,
    /// `--dht-announce`, each.
    pub dht_announce: Vec<Endpoint>,
    /// `--bootstrap`, each.
    pub bootstraps: Vec<Address>,
    /// `--record-ttl`, in seconds.
    pub record_ttl: Option<u32>,
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
    /// `--log`.
    pub log: Option<LogFormat>,
}

/// The settings of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The artifacts directory.
    pub artifacts: PathBuf,
    /// A name for people.
    pub name: Option<ProviderName>,
    /// Where to listen; `None`: port 8080 of every address.
    pub listen: Option<SocketAddr>,
    /// Where clients reach the server, if not at this host's own addresses.
    pub advertise_url: Option<AdvertiseUrl>,
    /// Interfaces to announce on; empty: those that lead to other hosts.
    pub interfaces: Vec<String>,
    /// Whether to announce by mDNS.
    pub mdns: bool,
    /// Whether to take part in the DHT.
    pub dht: bool,
    /// Where to listen for other nodes of the DHT.
    pub dht_listen: Vec<Endpoint>,
    /// What other nodes are told instead of this host's own addresses; empty: those.
    pub dht_announce: Vec<Endpoint>,
    /// Where the DHT is entered.
    pub bootstraps: Vec<Address>,
    /// Providers whose adverts the store of this node prefers when it is full.
    pub trust: Vec<PeerId>,
    /// Lifetime of an advert in seconds.
    pub record_ttl: u32,
    /// Where key and state are kept.
    pub state_dir: PathBuf,
    /// Format of the log.
    pub log: LogFormat,
    /// Architectures expected in each channel.
    pub channels: Expected,
}

/// A setting that has no default and was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    /// The artifacts directory.
    #[error(
        "no artifacts directory: give --artifacts DIR, or `artifacts` in the configuration file"
    )]
    Artifacts,
    /// The state directory.
    #[error("no state directory: HOME is not set; give --state-dir DIR")]
    StateDir,
}

/// The state directory of these flags and this file.
///
/// # Errors
/// [`Absent::StateDir`] where there is not even a home directory.
pub fn state_dir(flag: Option<PathBuf>, file: Option<&File>) -> Result<PathBuf, Absent> {
    flag.or_else(|| file.and_then(|file| file.state_dir.clone()))
        .or_else(super::default_state_dir)
        .ok_or(Absent::StateDir)
}

/// Flags that were given replace what the file has.
fn several<T: Clone>(flags: &[T], file: Option<&Vec<T>>) -> Vec<T> {
    if flags.is_empty() { file.cloned().unwrap_or_default() } else { flags.to_vec() }
}

impl Settings {
    /// Puts flags before the file before defaults.
    ///
    /// # Errors
    /// What is needed and was not given.
    pub fn new(flags: &Flags, file: Option<&File>) -> Result<Self, Absent> {
        let none = File::default();
        let from_file = file.unwrap_or(&none);
        let dht_listen = several(&flags.dht_listen, from_file.dht_listen.as_ref());
        let artifacts = flags.artifacts.clone().or_else(|| from_file.artifacts.clone());
        let advertise_url = flags.advertise_url.clone().or_else(|| from_file.advertise_url.clone());
        Ok(Self {
            artifacts: artifacts.ok_or(Absent::Artifacts)?,
            name: flags.name.clone().or_else(|| from_file.name.clone()),
            listen: flags.listen.or(from_file.listen),
            advertise_url,
            interfaces: several(&flags.interfaces, from_file.interfaces.as_ref()),
            mdns: !(flags.no_mdns || from_file.no_mdns.unwrap_or(false)),
            dht: !(flags.no_dht || from_file.no_dht.unwrap_or(false)),
            dht_listen: if dht_listen.is_empty() { LISTEN_DEFAULT.to_vec() } else { dht_listen },
            dht_announce: several(&flags.dht_announce, from_file.dht_announce.as_ref()),
            bootstraps: several(&flags.bootstraps, from_file.bootstraps.as_ref()),
            trust: from_file.trust.clone().unwrap_or_default(),
            record_ttl: flags.record_ttl.or(from_file.record_ttl).unwrap_or(TTL_DEFAULT),
            state_dir: state_dir(flags.state_dir.clone(), file)?,
            log: flags.log.or(from_file.log).unwrap_or_default(),
            channels: from_file.channels.clone(),
        })
    }

    /// The settings as a configuration file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: String| {
            let _infallible = writeln!(text, "{key} = {value}");
        };
        let quote = |value: &str| toml::Value::from(value).to_string();
        line("artifacts", quote(&self.artifacts.to_string_lossy()));
        if let Some(name) = &self.name {
            line("name", quote(name.as_str()));
        }
        if let Some(listen) = self.listen {
            line("listen", quote(&listen.to_string()));
        }
        if let Some(url) = &self.advertise_url {
            line("advertise-url", quote(url.as_str()));
        }
        if !self.interfaces.is_empty() {
            line("interface", toml::Value::from(self.interfaces.clone()).to_string());
        }
        line("no-mdns", (!self.mdns).to_string());
        line("no-dht", (!self.dht).to_string());
        let texts = |all: &[Endpoint]| {
            toml::Value::from(all.iter().map(ToString::to_string).collect::<Vec<_>>()).to_string()
        };
        line("dht-listen", texts(&self.dht_listen));
        if !self.dht_announce.is_empty() {
            line("dht-announce", texts(&self.dht_announce));
        }
        if !self.bootstraps.is_empty() {
            let texts: Vec<_> = self.bootstraps.iter().map(ToString::to_string).collect();
            line("bootstrap", toml::Value::from(texts).to_string());
        }
        if !self.trust.is_empty() {
            let texts: Vec<_> = self.trust.iter().map(ToString::to_string).collect();
            line("trust", toml::Value::from(texts).to_string());
        }
        line("record-ttl", self.record_ttl.to_string());
        line("state-dir", quote(&self.state_dir.to_string_lossy()));
        line("log", quote(if self.log == LogFormat::Json { "json" } else { "text" }));
        for (channel, archs) in &self.channels {
            let archs = toml::Value::from(Vec::from_iter(archs.iter().cloned()));
            let _infallible = write!(text, "\n[channel.{}]\narchs = {archs}\n", quote(channel));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn flags_go_before_the_file_before_defaults() {
        let text = "artifacts = \"/a\"\nrecord-ttl = 100\nstate-dir = \"/s\"\nlog = \"json\"";
        let file = File::parse(Path::new("/p.toml"), text).unwrap();
        let flags = Flags { record_ttl: Some(200), no_mdns: true, ..Flags::default() };
        let settings = Settings::new(&flags, Some(&file)).unwrap();
        assert_eq!(settings.artifacts, Path::new("/a"));
        assert_eq!((settings.record_ttl, settings.mdns, settings.listen), (200, false, None));
        assert_eq!(settings.log, LogFormat::Json);
        assert_eq!(Settings::new(&flags, None), Err(Absent::Artifacts));
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same_settings() {
        let text = "artifacts = \"/a\"\nname = \"lab ü\"\nlisten = \"1.2.3.4:80\"\nadvertise-url = \"http://h.example\"\n\
            interface = [\"e0\"]\nno-mdns = true\ndht-listen = \"/ip4/0.0.0.0/tcp/0\"\n\
            dht-announce = [\"/ip6/2001:db8::1/tcp/9\"]\nbootstrap = \"/dnsaddr/boot.example\"\n\
            trust = \"12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5\"\nstate-dir = \"/s\"\n[channel.\"1.0\"]\narchs = [\"arm64\"]";
        let file = File::parse(Path::new("/p.toml"), text).unwrap();
        let settings = Settings::new(&Flags::default(), Some(&file)).unwrap();
        let again = File::parse(Path::new("/p.toml"), &settings.to_toml()).unwrap();
        assert_eq!(Settings::new(&Flags::default(), Some(&again)).unwrap(), settings);
    }

    #[test]
    fn an_advertised_url_is_an_origin() {
        for good in
            ["http://boot.example.org", "http://boot.example.org:8080/", "https://[2001:db8::1]:1"]
        {
            assert!(good.parse::<AdvertiseUrl>().is_ok(), "{good}");
        }
        for bad in
            ["", "boot.example.org", "http://h/images", "http://h?x", "http://u@h", "http://127.1"]
        {
            assert!(bad.parse::<AdvertiseUrl>().is_err(), "{bad}");
        }
    }
}
