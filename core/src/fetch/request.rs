//! What is to be fetched, and whom to believe.
//! Not here: where it may be fetched from (`select::carrier`).

use crate::time::UnixTime;
use crate::wire::digest::Digest;
use crate::wire::manifest::Policy;
use crate::wire::record::{Arch, Channel, Version};
use crate::wire::trust::{Mode, Trust};
use crate::wire::url::Url;

/// What is wanted, and whom to believe.
#[derive(Clone, Debug)]
pub struct Request {
    /// The channel.
    pub channel: Channel,
    /// The architecture, by its canonical name.
    pub arch: Arch,
    /// Whom to believe.
    pub trust: Trust,
    /// Take a manifest without signatures.
    pub insecure: bool,
    /// The earliest time it can be.
    pub now: UnixTime,
}

impl Request {
    /// What a manifest must be. `digest` and `version`: what the advert said of it.
    #[must_use]
    pub const fn policy<'a>(
        &'a self,
        digest: Option<&'a Digest>,
        version: Option<&'a Version>,
    ) -> Policy<'a> {
        let Self { channel, arch, trust, insecure, now } = self;
        Policy { digest, version, ..Policy::new(channel, arch, trust, *now, *insecure) }
    }

    /// Whether there is one provider alone whose adverts are accepted: no other can have a later version.
    #[must_use]
    pub fn has_only_signer(&self) -> bool {
        let pins = self.trust.pins(&self.channel);
        pins.mode() == Mode::Pinned && pins.iter().count() == 1 && !self.insecure
    }
}

/// The channel and architecture that the URL of a manifest names, where it has the path that providers use:
/// `/{channel}/{arch}/manifest.json`.
#[must_use]
pub fn named_by(url: &Url) -> Option<(Channel, Arch)> {
    let path = url.path().strip_prefix('/')?.strip_suffix("/manifest.json")?;
    let (channel, arch) = path.split_once('/')?;
    Some((Channel::new(channel).ok()?, Arch::canonical(arch).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV";
    const OTHER: &str = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn request(words: &[&str], insecure: bool) -> Request {
        let mut trust = Trust::default();
        for word in words {
            trust.add_word(word).unwrap();
        }
        let (channel, arch) = (Channel::new("stable").unwrap(), Arch::new("arm64").unwrap());
        Request { channel, arch, trust, insecure, now: UnixTime(7) }
    }

    #[test]
    fn one_pinned_provider_is_the_only_signer() {
        assert!(request(&[PEER], false).has_only_signer());
        assert!(!request(&[PEER], true).has_only_signer(), "anybody may answer");
        assert!(!request(&[OTHER], false).has_only_signer(), "any provider may answer");
        assert!(!request(&[], false).has_only_signer());
    }

    #[test]
    fn the_policy_is_what_was_asked_for_and_what_the_advert_said() {
        let (digest, version) = (Digest::of(b""), Version::new("1").unwrap());
        let request = request(&[PEER], true);
        let policy = request.policy(Some(&digest), Some(&version));
        assert_eq!((policy.channel.as_str(), policy.arch.as_str()), ("stable", "arm64"));
        assert_eq!((policy.digest, policy.version), (Some(&digest), Some(&version)));
        assert_eq!((policy.now, policy.floor, policy.insecure), (UnixTime(7), 0, true));
    }

    #[test]
    fn the_path_of_a_manifest_names_what_it_is_for() {
        let named = |path: &str| {
            let mut url = std::string::String::from("http://10.0.0.5:8080");
            url.push_str(path);
            named_by(&Url::parse(&url).unwrap())
        };
        let (channel, arch) = named("/testing/aarch64/manifest.json").unwrap();
        assert_eq!((channel.as_str(), arch.as_str()), ("testing", "arm64"));
        for other in ["/manifest.json", "/arm64/manifest.json", "/a/b/c/manifest.json"] {
            assert_eq!(named(other), None, "{other}");
        }
    }
}
