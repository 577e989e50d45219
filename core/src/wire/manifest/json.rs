//! The manifest's JSON: the members as text, and as values after their form is checked.

use core::fmt;
use core::marker::PhantomData;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text::{CommandLine, is_dtb_name};
use super::{Artifact, Error, Limit, Manifest, Name};
use crate::limits::{
    ARTIFACTS_PER_MANIFEST, DTB_MAX, INITRAMFS_MAX, KERNEL_MAX, ROOTFS_MAX,
    SIGNATURES_PER_MANIFEST, URLS_PER_ARTIFACT,
};
use crate::time::UnixTime;
use crate::wire::digest::Digest;
use crate::wire::json::{self, Rules};
use crate::wire::record::{Arch, Channel, SEQ_MAX, Version};
use crate::wire::unix_time;
use crate::wire::url::{self, Url};

/// The known members need 4; unknown ones may go deeper.
const RULES: Rules = Rules { line_ends: true, escapes: true, depth: 16 };

/// The members that are signed, in the order in which they are written.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InnerJson<'a> {
    pub(super) version: Option<&'a str>,
    pub(super) manifest_version: Option<u64>,
    pub(super) channel: Option<&'a str>,
    pub(super) arch: Option<&'a str>,
    pub(super) created_at: Option<&'a str>,
    pub(super) expires_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image_version: Option<&'a str>,
    #[serde(borrow)]
    pub(super) artifacts: Option<ArtifactsJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cmdline: Option<&'a str>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ArtifactsJson<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) kernel: Option<ArtifactJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) initramfs: Option<ArtifactJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rootfs: Option<ArtifactJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dtbs: Option<Dtbs<'a>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ArtifactJson<'a> {
    pub(super) hash: Option<&'a str>,
    pub(super) size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<&'a str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) urls: Option<List<'a, &'a str, URLS_PER_ARTIFACT>>,
}

/// The members around what is signed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EnvelopeJson<'a> {
    #[serde(borrow)]
    pub(super) signatures: Option<List<'a, SignatureJson<'a>, SIGNATURES_PER_MANIFEST>>,
    pub(super) signed: Option<SignedJson<'a>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SignatureJson<'a> {
    pub(super) keyid: Option<&'a str>,
    pub(super) sig: Option<&'a str>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SignedJson<'a> {
    pub(super) data: Option<&'a str>,
}

/// A JSON array of at most `N` items; what more there is is noted, not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List<'a, T, const N: usize> {
    items: heapless::Vec<T, N>,
    too_many: bool,
    from: PhantomData<&'a ()>,
}

impl<T, const N: usize> List<'_, T, N> {
    pub(super) fn new(items: heapless::Vec<T, N>) -> Self {
        Self { items, too_many: false, from: PhantomData }
    }

    pub(super) fn within(&self, limit: Limit) -> Result<&heapless::Vec<T, N>, Error> {
        if self.too_many { Err(Error::Limit(limit)) } else { Ok(&self.items) }
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>, const N: usize> Deserialize<'de> for List<'a, T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const N: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Items<T, N> {
            type Value = (heapless::Vec<T, N>, bool);

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = heapless::Vec::new();
                while !items.is_full() {
                    match seq.next_element()? {
                        Some(item) => drop(items.push(item)),
                        None => return Ok((items, false)),
                    }
                }
                let mut too_many = false;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    too_many = true;
                }
                Ok((items, too_many))
            }
        }
        let (items, too_many) = deserializer.deserialize_seq(Items::<T, N>(PhantomData))?;
        Ok(Self { items, too_many, from: PhantomData })
    }
}

impl<T: Serialize, const N: usize> Serialize for List<'_, T, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.items)
    }
}

/// A JSON object of device trees by name, bounded as [`List`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Dtbs<'a> {
    pub(super) items: heapless::Vec<(&'a str, ArtifactJson<'a>), ARTIFACTS_PER_MANIFEST>,
    too_many: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for Dtbs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Dtbs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut dtbs = Dtbs::default();
                while let Some(name) = map.next_key::<&'de str>()? {
                    let artifact = map.next_value()?;
                    if dtbs.items.iter().any(|(known, _)| *known == name) {
                        return Err(serde::de::Error::custom("duplicate device tree"));
                    }
                    dtbs.too_many |= dtbs.items.push((name, artifact)).is_err();
                }
                Ok(dtbs)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl Serialize for Dtbs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.items.len()))?;
        for (name, artifact) in &self.items {
            map.serialize_entry(name, artifact)?;
        }
        map.end()
    }
}

/// Reads one object after the profile was checked.
pub(super) fn parse<'a, T: Deserialize<'a>>(octets: &'a [u8]) -> Result<T, Error> {
    json::check(octets, RULES).map_err(|_| Error::Json)?;
    let (value, len) = serde_json_core::from_slice(octets).map_err(|_| Error::Json)?;
    // What follows is white space: the check saw that.
    if len <= octets.len() { Ok(value) } else { Err(Error::Json) }
}

impl<'a> InnerJson<'a> {
    /// Whether the schema is one this reader knows.
    pub(super) fn check_schema(&self) -> Result<(), Error> {
        let minor = self.version.and_then(|version| version.strip_prefix("0."));
        let known = minor.is_some_and(|minor| {
            (1..=9).contains(&minor.len()) && minor.bytes().all(|c| c.is_ascii_digit())
        });
        if known { Ok(()) } else { Err(Error::Schema) }
    }

    /// The values. Sizes and paths are checked by [`check_artifacts`], later in the order of checks.
    pub(super) fn values(&self) -> Result<Manifest<'a>, Error> {
        let number = self.manifest_version.filter(|number| (1..=SEQ_MAX).contains(number));
        let channel = self.channel.and_then(|text| Channel::new(text).ok());
        let arch = self.arch.and_then(|text| Arch::canonical(text).ok());
        let version = self.image_version.map(Version::new).transpose();
        let cmdline = self.cmdline.map(|raw| CommandLine::from_json(raw).ok_or(CMDLINE));
        Ok(Manifest {
            manifest_version: number.ok_or(Error::Field("manifest_version"))?,
            channel: channel.ok_or(Error::Field("channel"))?,
            arch: arch.ok_or(Error::Field("arch"))?,
            created_at: time(self.created_at).ok_or(Error::Field("created_at"))?,
            expires_at: time(self.expires_at).ok_or(Error::Field("expires_at"))?,
            image_version: version.map_err(|_| Error::Field("image_version"))?,
            cmdline: cmdline.transpose()?,
            artifacts: match &self.artifacts {
                Some(artifacts) => artifacts.values()?,
                None => return Err(Error::Field("artifacts")),
            },
        })
    }
}

const CMDLINE: Error = Error::Field("cmdline");

fn time(text: Option<&str>) -> Option<UnixTime> {
    unix_time::decode(text?.as_bytes()).ok()
}

impl<'a> ArtifactsJson<'a> {
    fn values(&self) -> Result<heapless::Vec<Artifact<'a>, ARTIFACTS_PER_MANIFEST>, Error> {
        const TOO_MANY: Error = Error::Limit(Limit::Artifacts);
        let mut artifacts = heapless::Vec::new();
        let single = [
            (Name::Kernel, &self.kernel),
            (Name::Initramfs, &self.initramfs),
            (Name::Rootfs, &self.rootfs),
        ];
        for (name, json) in single {
            if let Some(json) = json {
                artifacts.push(json.value(name)?).map_err(|_| TOO_MANY)?;
            }
        }
        if let Some(dtbs) = &self.dtbs {
            if dtbs.too_many {
                return Err(TOO_MANY);
            }
            for (name, json) in &dtbs.items {
                if !is_dtb_name(name) {
                    return Err(Error::Path);
                }
                artifacts.push(json.value(Name::Dtb(name))?).map_err(|_| TOO_MANY)?;
            }
        }
        Ok(artifacts)
    }
}

impl<'a> ArtifactJson<'a> {
    fn value(&self, name: Name<'a>) -> Result<Artifact<'a>, Error> {
        let digest = self.hash.and_then(|text| Digest::decode(text.as_bytes()).ok());
        let urls = match &self.urls {
            Some(list) => list.within(Limit::Urls)?.clone(),
            None => heapless::Vec::new(),
        };
        if self.path.is_none() && urls.is_empty() {
            return Err(Error::Field("path"));
        }
        Ok(Artifact {
            name,
            digest: digest.ok_or(Error::Field("hash"))?,
            size: self.size.ok_or(Error::Field("size"))?,
            path: self.path,
            urls,
        })
    }
}

/// The kernel is there, sizes are within limits, and paths and URLs within the grammar; in this order.
pub(super) fn check_artifacts(manifest: &Manifest<'_>) -> Result<(), Error> {
    if manifest.artifact(Name::Kernel).is_none() {
        return Err(Error::NoKernel);
    }
    for artifact in &manifest.artifacts {
        let (most, limit) = match artifact.name {
            Name::Kernel => (KERNEL_MAX, Limit::Kernel),
            Name::Initramfs => (INITRAMFS_MAX, Limit::Initramfs),
            Name::Rootfs => (ROOTFS_MAX, Limit::Rootfs),
            Name::Dtb(_) => (DTB_MAX, Limit::Dtb),
        };
        if !(1..=most).contains(&artifact.size) {
            return Err(Error::Limit(limit));
        }
    }
    let good = manifest.artifacts.iter().all(|artifact| {
        artifact.path.is_none_or(url::is_path)
            && artifact.urls.iter().all(|url| Url::parse_any(url).is_ok())
    });
    if good { Ok(()) } else { Err(Error::Path) }
}
