//! The manifest's JSON: the members as text, and as values after their form is checked.

use heapless::Vec;

use super::text::{CommandLine, is_dtb_name};
use super::{Artifact, Error, Limit, Manifest, Name};
use crate::limits::{
    ARTIFACTS_PER_MANIFEST, DTB_MAX, INITRAMFS_MAX, KERNEL_MAX, MANIFEST_MAX, ROOTFS_MAX,
    SIGNATURES_PER_MANIFEST, URLS_PER_ARTIFACT,
};
use crate::time::UnixTime;
use crate::wire::digest::Digest;
use crate::wire::json::{NotJson, Reader, Rules};
use crate::wire::record::{Arch, Channel, SEQ_MAX, Version};
use crate::wire::unix_time;
use crate::wire::url::{self, Url};

/// The known members need 4; unknown ones may go deeper.
const RULES: Rules = Rules { line_ends: true, escapes: true, depth: 16 };

/// The members that are signed: the texts, in the order of [`Inner::texts`], and the others.
const SIGNED: [&str; 9] = [
    "version",
    "channel",
    "arch",
    "created_at",
    "expires_at",
    "image_version",
    "cmdline",
    "manifest_version",
    "artifacts",
];

/// The members around what is signed.
const AROUND: [&str; 2] = ["signatures", "signed"];

/// The members that are signed, as they stand there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Inner<'a> {
    texts: [Option<&'a str>; 7],
    manifest_version: Option<u64>,
    artifacts: Option<Files<'a>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Files<'a> {
    /// Device trees in the order in which they stand there, behind the others.
    items: Vec<File<'a>, ARTIFACTS_PER_MANIFEST>,
    too_many: bool,
    /// The member stands there, be it empty: the mirror must have it too.
    has_dtbs: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct File<'a> {
    name: Name<'a>,
    hash: Option<&'a str>,
    path: Option<&'a str>,
    size: Option<u64>,
    urls: Vec<&'a str, URLS_PER_ARTIFACT>,
    too_many_urls: bool,
    /// As [`Files::has_dtbs`].
    has_urls: bool,
}

/// The members around what is signed.
#[derive(Debug, Default)]
pub(super) struct Outside<'a> {
    signatures: Vec<SignatureText<'a>, SIGNATURES_PER_MANIFEST>,
    too_many: bool,
    /// What is signed, as base64.
    pub(super) data: Option<&'a str>,
}

/// A signature, and whose it is said to be.
#[derive(Debug)]
pub(super) struct SignatureText<'a> {
    pub(super) keyid: Option<&'a str>,
    pub(super) sig: Option<&'a str>,
}

/// Reads both halves of a document.
pub(super) fn read_document(document: &[u8]) -> Result<(Inner<'_>, Outside<'_>), Error> {
    if document.is_empty() || document.len() > MANIFEST_MAX {
        return Err(Error::Size);
    }
    let (mut inner, mut outside) = (Inner::default(), Outside::default());
    inner.read(document).and_then(|()| outside.read(document)).map_err(|NotJson| Error::Json)?;
    Ok((inner, outside))
}

/// Reads what is signed.
pub(super) fn read_inner(octets: &[u8]) -> Result<Inner<'_>, Error> {
    let mut inner = Inner::default();
    inner.read(octets).map_err(|NotJson| Error::Json)?;
    Ok(inner)
}

impl<'a> Outside<'a> {
    fn read(&mut self, document: &'a [u8]) -> Result<(), NotJson> {
        let (mut reader, mut seen) = (Reader::new(document, RULES)?, 0);
        while let Some(at) = reader.member(&AROUND, &mut seen)? {
            if at == 0 {
                self.read_signatures(&mut reader)?;
            } else {
                let [data] = texts(&mut reader, ["data"])?;
                self.data = data;
            }
        }
        reader.end()
    }

    fn read_signatures(&mut self, reader: &mut Reader<'a>) -> Result<(), NotJson> {
        reader.array()?;
        while reader.item()? {
            if self.signatures.is_full() {
                self.too_many = true;
                reader.skip()?;
                continue;
            }
            let [keyid, sig] = texts(reader, ["keyid", "sig"])?;
            // There is room: it was looked at.
            let _ = self.signatures.push(SignatureText { keyid, sig });
        }
        Ok(())
    }

    /// The signatures, unless they are too many.
    pub(super) fn signatures(&self) -> Result<&[SignatureText<'a>], Error> {
        if self.too_many { Err(Error::Limit(Limit::Signatures)) } else { Ok(&self.signatures) }
    }
}

/// The texts of these names in the object that comes next.
fn texts<'a, const N: usize>(
    reader: &mut Reader<'a>,
    names: [&str; N],
) -> Result<[Option<&'a str>; N], NotJson> {
    let (mut texts, mut seen) = ([None; N], 0);
    reader.object()?;
    while let Some(at) = reader.member(&names, &mut seen)? {
        let text = Some(reader.string()?);
        texts.iter_mut().skip(at).take(1).for_each(|place| *place = text);
    }
    Ok(texts)
}

impl<'a> Inner<'a> {
    fn read(&mut self, octets: &'a [u8]) -> Result<(), NotJson> {
        let (mut reader, mut seen) = (Reader::new(octets, RULES)?, 0);
        while let Some(at) = reader.member(&SIGNED, &mut seen)? {
            if let Some(text) = self.texts.get_mut(at) {
                *text = Some(reader.string()?);
            } else if at == self.texts.len() {
                self.manifest_version = Some(reader.number()?);
            } else {
                self.artifacts.get_or_insert_default().read(&mut reader)?;
            }
        }
        reader.end()
    }

    /// The channel that it says it is for.
    pub(super) fn channel(&self) -> Option<Channel> {
        let [_, channel, ..] = self.texts;
        Channel::new(channel?).ok()
    }

    /// The architecture that it says it is for.
    pub(super) fn arch(&self) -> Option<Arch> {
        let [_, _, arch, ..] = self.texts;
        Arch::canonical(arch?).ok()
    }

    /// Whether the schema is one this reader knows.
    pub(super) fn check_schema(&self) -> Result<(), Error> {
        let [version, ..] = self.texts;
        let minor = version.and_then(|version| version.strip_prefix("0."));
        let known = minor.is_some_and(|minor| {
            (1..=9).contains(&minor.len()) && minor.bytes().all(|c| c.is_ascii_digit())
        });
        if known { Ok(()) } else { Err(Error::Schema) }
    }

    /// The values. Sizes and paths are checked by [`check_artifacts`], later in the order of checks.
    pub(super) fn values(&self) -> Result<Manifest<'a>, Error> {
        let [_, _, _, created_at, expires_at, version, cmdline] = self.texts;
        let number = self.manifest_version.filter(|number| (1..=SEQ_MAX).contains(number));
        let version = version.map(Version::new).transpose();
        let cmdline = cmdline.map(|raw| CommandLine::from_json(raw).ok_or(CMDLINE));
        Ok(Manifest {
            manifest_version: number.ok_or(Error::Field("manifest_version"))?,
            channel: self.channel().ok_or(Error::Field("channel"))?,
            arch: self.arch().ok_or(Error::Field("arch"))?,
            created_at: time(created_at).ok_or(Error::Field("created_at"))?,
            expires_at: time(expires_at).ok_or(Error::Field("expires_at"))?,
            image_version: version.map_err(|_| Error::Field("image_version"))?,
            cmdline: cmdline.transpose()?,
            artifacts: self.artifacts.as_ref().ok_or(Error::Field("artifacts"))?.values()?,
        })
    }
}

const CMDLINE: Error = Error::Field("cmdline");

fn time(text: Option<&str>) -> Option<UnixTime> {
    unix_time::decode(text?.as_bytes()).ok()
}

impl<'a> Files<'a> {
    fn read(&mut self, reader: &mut Reader<'a>) -> Result<(), NotJson> {
        let mut seen = 0;
        reader.object()?;
        while let Some(at) = reader.member(&["kernel", "initramfs", "rootfs", "dtbs"], &mut seen)? {
            match at {
                0 => self.read_file(Name::Kernel, reader)?,
                1 => self.read_file(Name::Initramfs, reader)?,
                2 => self.read_file(Name::Rootfs, reader)?,
                _ => {
                    self.has_dtbs = true;
                    reader.object()?;
                    while let Some(name) = reader.name()? {
                        self.read_file(Name::Dtb(name), reader)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn read_file(&mut self, name: Name<'a>, reader: &mut Reader<'a>) -> Result<(), NotJson> {
        if self.items.iter().any(|file| file.name == name) {
            return Err(NotJson);
        }
        let mut file = File::new(name);
        file.read(reader)?;
        let before = |known: &&File<'_>| matches!(name, Name::Dtb(_)) || known.name < name;
        let at = self.items.iter().take_while(before).count();
        self.too_many |= self.items.insert(at, file).is_err();
        Ok(())
    }

    fn values(&self) -> Result<Vec<Artifact<'a>, ARTIFACTS_PER_MANIFEST>, Error> {
        if self.too_many {
            return Err(Error::Limit(Limit::Artifacts));
        }
        let mut artifacts = Vec::new();
        for file in &self.items {
            let pushed = artifacts.push(file.value()?);
            pushed.map_err(|_| Error::Limit(Limit::Artifacts))?;
        }
        Ok(artifacts)
    }
}

impl<'a> File<'a> {
    const fn new(name: Name<'a>) -> Self {
        Self {
            name,
            hash: None,
            path: None,
            size: None,
            urls: Vec::new(),
            too_many_urls: false,
            has_urls: false,
        }
    }

    fn read(&mut self, reader: &mut Reader<'a>) -> Result<(), NotJson> {
        let mut seen = 0;
        reader.object()?;
        while let Some(at) = reader.member(&["hash", "path", "size", "urls"], &mut seen)? {
            match at {
                0 => self.hash = Some(reader.string()?),
                1 => self.path = Some(reader.string()?),
                2 => self.size = Some(reader.number()?),
                _ => {
                    self.has_urls = true;
                    reader.array()?;
                    while reader.item()? {
                        if self.urls.is_full() {
                            self.too_many_urls = true;
                            reader.skip()?;
                        } else {
                            // There is room: it was looked at.
                            let _ = self.urls.push(reader.string()?);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn value(&self) -> Result<Artifact<'a>, Error> {
        if matches!(self.name, Name::Dtb(name) if !is_dtb_name(name)) {
            return Err(Error::Path);
        }
        let digest = self.hash.and_then(|text| Digest::decode(text.as_bytes()).ok());
        if self.too_many_urls {
            return Err(Error::Limit(Limit::Urls));
        }
        if self.path.is_none() && self.urls.is_empty() {
            return Err(Error::Field("path"));
        }
        Ok(Artifact {
            name: self.name,
            digest: digest.ok_or(Error::Field("hash"))?,
            size: self.size.ok_or(Error::Field("size"))?,
            path: self.path,
            urls: self.urls.clone(),
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
