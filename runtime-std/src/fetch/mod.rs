//! Fetching what was found: manifest, then artifacts, verified before they get their names.
//!
//! Providers are tried in their order. What one of them began, the next one continues, because parts are
//! kept by digest. Only when every file is here and verified does the output directory change.

pub mod download;
pub mod http;
pub mod output;
pub mod part;
pub mod progress;
pub mod source;

use phase_core::exit::Exit;
use phase_core::fetch::image::{self, Item, Selection};
use phase_core::fetch::part::Flaw;
use phase_core::fetch::request::Request;
use phase_core::identity::PeerId;
use phase_core::limits::{MANIFEST_BUFFER, MANIFEST_MAX};
use phase_core::wire::digest::Digest;
use phase_core::wire::manifest::{self, Policy};
use phase_core::wire::record::Version;
use phase_core::wire::url::Url;

use self::http::{From, Origin};
use self::output::{Output, Ready};
use self::part::Part;
use self::progress::Progress;
use self::source::Reach;

/// Somebody who offers a manifest.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Where the manifest is.
    pub url: Url,
    /// Where that may lead.
    pub reach: Reach,
    /// Who signed the advert.
    pub peer: Option<PeerId>,
    /// The manifest's digest, when the advert named it.
    pub digest: Option<Digest>,
    /// The image's version, when the advert named it.
    pub version: Option<Version>,
}

/// A verified manifest, with its document.
pub type Image = image::Image<Vec<u8>>;

/// Verifies a document. `url` is where it was found: what its relative paths begin at.
///
/// # Errors
/// What is wrong with it, with its stable code.
pub fn verify(
    document: Vec<u8>,
    url: Option<&Url>,
    policy: &Policy<'_>,
) -> Result<Box<Image>, manifest::Error> {
    Image::verify(document, &mut vec![0; MANIFEST_BUFFER], url, policy).map(Box::new)
}

/// Why an image could not be had from a provider.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its URL leads nowhere.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// No manifest came.
    #[error("no manifest from {url}: {source}")]
    Http {
        /// Where it should be.
        url: Url,
        /// What happened.
        source: http::Error,
    },
    /// The manifest is not acceptable.
    #[error("{url}: {source}")]
    Manifest {
        /// Where it is.
        url: Url,
        /// What is wrong with it.
        source: manifest::Error,
    },
    /// A file did not come.
    #[error("{name}: {source}")]
    Download {
        /// The file.
        name: String,
        /// What happened.
        source: download::Error,
    },
    /// A file came and is another one.
    #[error("{name} from {url}: {source}")]
    Part {
        /// The file.
        name: String,
        /// Where it came from.
        url: Url,
        /// What is wrong with it.
        source: part::Error,
    },
    /// The manifest does not say where a file is.
    #[error("the manifest of {url} says nowhere to fetch {name} from")]
    Nowhere {
        /// The manifest.
        url: Url,
        /// The file.
        name: String,
    },
    /// The output directory.
    #[error(transparent)]
    Output(#[from] output::Error),
}

impl Error {
    /// Whether another provider may do better; a full disk stays full.
    #[must_use]
    pub const fn is_of_provider(&self) -> bool {
        match self {
            Self::Source(_) | Self::Http { .. } | Self::Manifest { .. } | Self::Nowhere { .. } => {
                true
            }
            Self::Download { source, .. } => !matches!(source, download::Error::Write(_)),
            Self::Part { source, .. } => !matches!(source, part::Error::Io(_)),
            Self::Output(_) => false,
        }
    }

    /// What the shell is told when nobody did better.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Manifest { source, .. } => Exit::of_manifest(source),
            Self::Part { source: part::Error::Flaw(Flaw::Digest { .. }), .. } => {
                Exit::VerificationFailed
            }
            Self::Source(_)
            | Self::Http { .. }
            | Self::Download { .. }
            | Self::Part { .. }
            | Self::Nowhere { .. }
            | Self::Output(_) => Exit::FetchFailed,
        }
    }
}

/// Fetches and verifies a provider's manifest.
///
/// # Errors
/// `Source`, `Http`, `Manifest`.
pub async fn manifest(provider: &Provider, request: &Request) -> Result<Box<Image>, Error> {
    let url = &provider.url;
    let document = document(url, &provider.reach).await?;
    let policy = request.policy(provider.digest.as_ref(), provider.version.as_ref());
    verify(document, Some(url), &policy)
        .map_err(|source| Error::Manifest { url: url.clone(), source })
}

/// Fetches a manifest document, unverified.
///
/// # Errors
/// `Source`, `Http`.
pub async fn document(url: &Url, reach: &Reach) -> Result<Vec<u8>, Error> {
    let mut last = None;
    for origin in source::origins(url, reach).await? {
        let document = match origin.get(url.path(), From::default()).await {
            Ok(response) => response.read(MANIFEST_MAX).await,
            Err(error) => Err(error),
        };
        match document {
            Ok(document) => return Ok(document),
            Err(source) => last = Some(Error::Http { url: url.clone(), source }),
        }
    }
    // There is at least one origin.
    Err(last.unwrap_or_else(|| source::Error::NoAddress(url.clone()).into()))
}

/// Fetches the wanted files of an image and makes the output directory that image.
///
/// # Errors
/// [`Error`]; the output directory is unchanged, except when writing itself fails in the end.
pub async fn artifacts(
    image: &Image,
    provider: &Provider,
    selection: &[Selection],
    output: &Output,
    progress: &Progress,
) -> Result<(), Error> {
    let mut pending: Vec<(&Item, Part)> = Vec::new();
    let mut ready = Vec::new();
    for item in image.wanted(selection) {
        if output.has(&item.name, item.expected)? {
            progress.kept(&item.name, item.expected.size);
            ready.push((item.name.to_string(), Ready::Kept));
        } else if let Some((twin, _)) =
            pending.iter().find(|(other, _)| other.expected == item.expected)
        {
            // The same octets under two names come once.
            ready.push((item.name.to_string(), Ready::Twin(twin.name.to_string())));
        } else {
            pending.push((item, output.part(item.expected)?));
        }
    }
    output.require_room(pending.iter().map(|(_, part)| part.tally().missing()).sum())?;
    for (item, part) in pending {
        let complete = artifact(item, part, provider, output, progress).await?;
        ready.push((item.name.to_string(), Ready::Fetched(complete)));
    }
    Ok(output.commit(ready, image.cmdline.as_deref(), &image.document)?)
}

/// Brings one file from the first of its locations that has it.
async fn artifact(
    item: &Item,
    mut part: Part,
    provider: &Provider,
    output: &Output,
    progress: &Progress,
) -> Result<part::Complete, Error> {
    let mut last = None;
    for url in &item.locations {
        let origins = match source::origins(url, &provider.reach).await {
            Ok(origins) => origins,
            Err(error) => {
                last = Some(error.into());
                continue;
            }
        };
        for origin in origins {
            match from_origin(item, part, &origin, url, output, progress).await {
                Ok(complete) => return Ok(complete),
                Err(error) if !error.is_of_provider() => return Err(error),
                Err(error) => last = Some(error),
            }
            part = output.part(item.expected)?;
        }
    }
    let nowhere = || Error::Nowhere { url: provider.url.clone(), name: item.name.to_string() };
    Err(last.unwrap_or_else(nowhere))
}

/// Brings one file from one server. A wrong digest is the server's fault only if all octets came from it: what an
/// earlier try left is not held against it.
async fn from_origin(
    item: &Item,
    mut part: Part,
    origin: &Origin,
    url: &Url,
    output: &Output,
    progress: &Progress,
) -> Result<part::Complete, Error> {
    let name = || item.name.to_string();
    loop {
        let resumed = part.tally().here();
        let bar = progress.start(&item.name, item.expected.size, resumed);
        let filled = download::fill(origin, url.path(), &mut part, &mut |here| bar.set(here)).await;
        if let Err(source) = filled {
            if matches!(source, download::Error::Write(_)) {
                // Half a file on a full disk is in the way of everything else.
                part.discard();
            }
            return Err(Error::Download { name: name(), source });
        }
        match part.complete() {
            Ok(complete) => {
                bar.finish();
                return Ok(complete);
            }
            Err(part::Error::Flaw(Flaw::Digest { .. })) if resumed > 0 => {
                part = output.part(item.expected)?
            }
            Err(source) => return Err(Error::Part { name: name(), url: url.clone(), source }),
        }
    }
}
