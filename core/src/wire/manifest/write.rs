//! The manifest's JSON as it is written: the members in their order.
//!
//! Not here: what they say ([`super::encode`]), and reading them (`json.rs`).

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::limits::ARTIFACTS_PER_MANIFEST;

/// The members that are signed.
#[derive(Debug, Serialize)]
pub(super) struct InnerJson<'a> {
    pub(super) version: &'a str,
    pub(super) manifest_version: u64,
    pub(super) channel: &'a str,
    pub(super) arch: &'a str,
    pub(super) created_at: &'a str,
    pub(super) expires_at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image_version: Option<&'a str>,
    pub(super) artifacts: ArtifactsJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cmdline: Option<&'a str>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct ArtifactsJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kernel: Option<ArtifactJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) initramfs: Option<ArtifactJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rootfs: Option<ArtifactJson<'a>>,
    #[serde(skip_serializing_if = "Dtbs::is_empty")]
    pub(super) dtbs: Dtbs<'a>,
}

#[derive(Debug, Serialize)]
pub(super) struct ArtifactJson<'a> {
    pub(super) hash: &'a str,
    pub(super) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) urls: &'a [&'a str],
}

/// Device trees by name.
#[derive(Debug, Default)]
pub(super) struct Dtbs<'a>(
    pub(super) heapless::Vec<(&'a str, ArtifactJson<'a>), ARTIFACTS_PER_MANIFEST>,
);

impl Dtbs<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Dtbs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, artifact) in &self.0 {
            map.serialize_entry(name, artifact)?;
        }
        map.end()
    }
}

/// The members around what is signed.
#[derive(Debug, Serialize)]
pub(super) struct EnvelopeJson<'a> {
    pub(super) signatures: &'a [SignatureJson<'a>],
    pub(super) signed: SignedJson<'a>,
}

#[derive(Debug, Serialize)]
pub(super) struct SignatureJson<'a> {
    pub(super) keyid: &'a str,
    pub(super) sig: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct SignedJson<'a> {
    pub(super) data: &'a str,
}
