//! Whom a client believes: the trust file, and single words of it from a command line.
//!
//! ```text
//! # one statement a line, at most 64 lines of 256 octets; '#' begins a comment
//! provider 12D3KooW…            name=lab-mac   channels=stable,testing    # may advertise
//! release  ed25519:<64 hex>     name=rel-2026a channels=stable            # may authorise manifests
//! threshold stable 2                       # release keys that must have signed; 1 unless said
//! min-version stable 100                   # lowest manifest_version
//! epoch 1764158400                         # seconds since 1970; it is later than this
//! fallback http://10.0.0.5:8080/stable/arm64/manifest.json
//! bootstrap /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW…
//! ```
//!
//! Without `channels` a key counts for all. As long as no release key is named at all, a provider's key
//! also authorises manifests: single-key mode. `bootstrap` lines are checked here and not kept: they say where
//! to look, not whom to believe, and [`bootstraps`] reads them for who looks.
//! A file that cannot be taken whole is refused whole.

mod text;
mod word;

pub use text::{Error, Problem, Shown, bootstraps};
pub use word::{NO_KEY, Word};

use super::record::{Channel, ProviderName};
use super::url::Url;
use crate::identity::PeerId;
use crate::limits::{TRUST_CHANNELS, TRUST_FALLBACKS, TRUST_KEYS};
use crate::time::UnixTime;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Role {
    /// Signs adverts.
    Provider,
    /// Signs manifests.
    Release,
}

/// A key that is trusted for something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TrustedKey {
    /// The key.
    pub key: PeerId,
    /// What for.
    pub role: Role,
    /// Its name for people.
    pub name: Option<ProviderName>,
    /// One bit for each channel of the store; `None`: every channel.
    channels: Option<u16>,
}

/// What is known of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct ChannelRule {
    channel: Channel,
    threshold: Option<u8>,
    min_version: Option<u64>,
}

/// How adverts are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Mode {
    /// Only the providers that are named.
    Pinned,
    /// Any provider: the release keys decide over its manifest.
    ReleaseOnly,
    /// Nothing is known: providers can be listed, and nothing can be fetched.
    Unpinned,
}

impl core::fmt::Display for Mode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::Pinned => "pinned",
            Self::ReleaseOnly => "release-only",
            Self::Unpinned => "unpinned",
        })
    }
}

/// Whom a client believes. Starts empty ([`Trust::default`]); then files and words are added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Trust {
    keys: heapless::Vec<TrustedKey, TRUST_KEYS>,
    channels: heapless::Vec<ChannelRule, TRUST_CHANNELS>,
    epoch: Option<UnixTime>,
    fallbacks: heapless::Vec<Url, TRUST_FALLBACKS>,
}

/// What judging the adverts of one channel needs of a store: a fifth of its octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    mode: Mode,
    providers: heapless::Vec<PeerId, TRUST_KEYS, u8>,
}

impl Pins {
    /// How adverts are judged.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The providers that are named for the channel.
    pub fn iter(&self) -> impl Iterator<Item = &PeerId> {
        self.providers.iter()
    }

    /// Whether this key is that of a provider named for the channel.
    #[must_use]
    pub fn contains(&self, key: &PeerId) -> bool {
        self.providers.contains(key)
    }
}

impl Trust {
    /// What judging the adverts of `channel` needs.
    #[must_use]
    pub fn pins(&self, channel: &Channel) -> Pins {
        let named = |key: &&TrustedKey| key.role == Role::Provider && self.covers(key, channel);
        let providers = self.keys.iter().filter(named).map(|key| key.key).collect();
        Pins { mode: self.mode(), providers }
    }

    /// How adverts are judged with this.
    #[must_use]
    pub fn mode(&self) -> Mode {
        if self.keys.iter().any(|key| key.role == Role::Provider) {
            Mode::Pinned
        } else if self.keys.is_empty() {
            Mode::Unpinned
        } else {
            Mode::ReleaseOnly
        }
    }

    /// Whether providers' keys also authorise manifests, because no release key is named.
    #[must_use]
    pub fn is_single_key(&self) -> bool {
        !self.keys.is_empty() && self.keys.iter().all(|key| key.role == Role::Provider)
    }

    /// Every trusted key.
    pub fn keys(&self) -> impl Iterator<Item = &TrustedKey> {
        self.keys.iter()
    }

    /// The provider that may advertise images of `channel` with this key.
    #[must_use]
    pub fn provider(&self, key: &PeerId, channel: &Channel) -> Option<&TrustedKey> {
        self.find(Role::Provider, key, channel)
    }

    /// The key that may authorise manifests of `channel`: a release key, or in single-key mode a
    /// provider's.
    #[must_use]
    pub fn authority(&self, key: &PeerId, channel: &Channel) -> Option<&TrustedKey> {
        let role = if self.is_single_key() { Role::Provider } else { Role::Release };
        self.find(role, key, channel)
    }

    /// Whether this key of the store is one of those [`Trust::authority`] finds.
    #[must_use]
    pub fn is_authority(&self, key: &TrustedKey, channel: &Channel) -> bool {
        self.authority(&key.key, channel) == Some(key)
    }

    /// How many different authorities must have signed a manifest of `channel`: at least 1.
    #[must_use]
    pub fn threshold(&self, channel: &Channel) -> u8 {
        self.rule(channel).and_then(|rule| rule.threshold).unwrap_or(1)
    }

    /// The lowest `manifest_version` of `channel`; 0 unless said.
    #[must_use]
    pub fn min_version(&self, channel: &Channel) -> u64 {
        self.rule(channel).and_then(|rule| rule.min_version).unwrap_or(0)
    }

    /// A time that has passed, for machines without a clock.
    #[must_use]
    pub const fn epoch(&self) -> Option<UnixTime> {
        self.epoch
    }

    /// Manifests to try when discovery finds nothing, in order.
    pub fn fallbacks(&self) -> impl Iterator<Item = &Url> {
        self.fallbacks.iter()
    }

    fn find(&self, role: Role, key: &PeerId, channel: &Channel) -> Option<&TrustedKey> {
        self.keys
            .iter()
            .find(|known| known.role == role && known.key == *key && self.covers(known, channel))
    }

    fn covers(&self, key: &TrustedKey, channel: &Channel) -> bool {
        key.channels.is_none_or(|bits| {
            let mut known = self.channels.iter().enumerate();
            known.any(|(at, rule)| rule.channel == *channel && (bits >> at) & 1 == 1)
        })
    }

    fn rule(&self, channel: &Channel) -> Option<&ChannelRule> {
        self.channels.iter().find(|rule| rule.channel == *channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;
    use std::format;

    fn peer(n: u8) -> PeerId {
        SecretKey::from_seed(&[n; 32]).peer_id()
    }

    fn channel(text: &str) -> Channel {
        Channel::new(text).unwrap()
    }

    #[test]
    fn a_whole_file_reads() {
        let file = format!(
            "# /etc/phase/trust\r\n\n\
             provider {} name=lab-mac   channels=stable,testing   # may advertise\n\
             release\t{}  name=rel-2026a channels=stable\n\
             release {} channels=stable\n\
             threshold stable 2\n\
             min-version stable 100\n\
             epoch 1764158400\n\
             fallback http://10.0.0.5:8080/stable/arm64/manifest.json # last resort\n\
             bootstrap /ip4/192.0.2.1/tcp/4001/p2p/{}\n",
            peer(1),
            peer(2).key_id(),
            peer(3).key_id(),
            peer(4),
        );
        let trust = Trust::decode(file.as_bytes()).unwrap();
        assert_eq!(trust.mode(), Mode::Pinned);
        assert!(!trust.is_single_key());
        let (stable, testing, nightly) =
            (channel("stable"), channel("testing"), channel("nightly"));
        assert_eq!(
            trust.provider(&peer(1), &stable).unwrap().name.as_ref().unwrap().as_str(),
            "lab-mac"
        );
        assert!(trust.provider(&peer(1), &testing).is_some());
        assert!(trust.provider(&peer(1), &nightly).is_none());
        assert!(trust.provider(&peer(2), &stable).is_none());
        assert!(trust.authority(&peer(2), &stable).is_some());
        assert!(trust.authority(&peer(2), &testing).is_none());
        assert!(trust.authority(&peer(1), &stable).is_none());
        assert_eq!((trust.threshold(&stable), trust.threshold(&testing)), (2, 1));
        assert_eq!((trust.min_version(&stable), trust.min_version(&testing)), (100, 0));
        assert_eq!(trust.epoch(), Some(UnixTime(1_764_158_400)));
        assert_eq!(trust.fallbacks().count(), 1);
    }

    #[test]
    fn bootstraps_are_read_in_their_order_and_must_name_their_peer() {
        let named = format!("/dns/boot.example.org/tcp/4001/p2p/{}", peer(1));
        let file = format!(
            "provider {}\r\nbootstrap {named} # near\r\n bootstrap\t/dnsaddr/example.org\n#bootstrap /dnsaddr/no\n",
            peer(2)
        );
        Trust::decode(file.as_bytes()).unwrap();
        let shown: std::vec::Vec<_> = bootstraps(file.as_bytes()).map(|a| format!("{a}")).collect();
        assert_eq!(shown, [named.as_str(), "/dnsaddr/example.org"]);

        for (line, why) in [
            ("bootstrap", "the multiaddr is missing"),
            ("bootstrap /ip4/1.2.3.4/udp/1", "no bootstrap: /tcp/ and a port must follow the host"),
            ("bootstrap /ip4/192.0.2.1/tcp/4001", "anybody could stand in for it"),
        ] {
            let file = format!("provider {}\n{line}", peer(2));
            let error = format!("{}", Trust::decode(file.as_bytes()).unwrap_err());
            assert!(error.starts_with("line 2: ") && error.contains(why), "{error}");
            assert_eq!(bootstraps(file.as_bytes()).count(), 0);
        }
    }

    #[test]
    fn a_lone_provider_is_single_key_mode() {
        let mut trust = Trust::default();
        assert_eq!((trust.mode(), trust.is_single_key()), (Mode::Unpinned, false));
        trust.add_word(&format!("{}", peer(1))).unwrap();
        assert_eq!((trust.mode(), trust.is_single_key()), (Mode::Pinned, true));
        assert!(trust.authority(&peer(1), &channel("any")).is_some());
        trust.add_word(&format!("{}", peer(2).key_id())).unwrap();
        assert!(!trust.is_single_key());
        assert!(trust.authority(&peer(1), &channel("any")).is_none());
        assert!(trust.authority(&peer(2), &channel("any")).is_some());

        let mut trust = Trust::default();
        trust.add_word(&format!("{}", peer(2).key_id())).unwrap();
        assert_eq!((trust.mode(), trust.is_single_key()), (Mode::ReleaseOnly, false));
    }
}
