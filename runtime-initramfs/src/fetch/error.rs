//! Why an image could not be had, whose fault that is, and what to do.

use std::fmt;

use phase_core::exit::Exit;
use phase_core::fetch::image::Item;
use phase_core::fetch::part::Flaw;
use phase_core::wire::manifest;
use phase_core::wire::url::Url;

use super::{download, output, part, source};
use crate::console::Step;
use crate::http;

/// Why an image could not be had from a provider.
#[derive(Debug)]
pub enum Error {
    /// A URL leads nowhere.
    Source {
        /// The URL.
        url: Box<Url>,
        /// Why.
        source: source::Error,
    },
    /// No manifest came.
    Http {
        /// Where it should be.
        url: Box<Url>,
        /// What happened.
        source: http::Error,
    },
    /// The manifest is not acceptable.
    Manifest {
        /// Where it is.
        url: Box<Url>,
        /// What is wrong with it.
        source: manifest::Error,
    },
    /// A file did not come.
    Download {
        /// The file.
        name: String,
        /// Where it should be.
        url: Box<Url>,
        /// What happened.
        source: download::Error,
    },
    /// A file came and is another one.
    Content {
        /// The file.
        name: String,
        /// Where it came from.
        url: Box<Url>,
        /// What is wrong with it.
        source: part::Error,
    },
    /// A server that gave a wrong file before is not asked for it again.
    Lied {
        /// The file.
        name: String,
        /// Where it came from.
        url: Box<Url>,
    },
    /// The manifest does not say where a file is.
    Nowhere {
        /// The manifest.
        url: Box<Url>,
        /// The file.
        name: String,
    },
    /// There is no room in memory.
    Memory {
        /// Octets wanted.
        want: u64,
        /// Octets available.
        have: u64,
    },
    /// A file cannot be kept.
    Part {
        /// The file.
        name: String,
        /// Why not.
        source: part::Error,
    },
    /// A file is not here.
    Missing {
        /// The file.
        name: String,
    },
    /// The output directory.
    Output(Box<output::Error>),
}

impl Error {
    pub(super) fn source(url: &Url, source: source::Error) -> Box<Self> {
        Box::new(Self::Source { url: Box::new(url.clone()), source })
    }

    pub(super) fn part(item: &Item, source: part::Error) -> Box<Self> {
        Box::new(Self::Part { name: item.name.as_str().to_owned(), source })
    }

    /// Whether another provider may do better; a full disk stays full.
    #[must_use]
    pub const fn is_of_provider(&self) -> bool {
        match self {
            Self::Source { .. }
            | Self::Http { .. }
            | Self::Manifest { .. }
            | Self::Lied { .. }
            | Self::Nowhere { .. } => true,
            Self::Download { source, .. } => !matches!(source, download::Error::Write(_)),
            Self::Content { source, .. } => !matches!(source, part::Error::Io(_)),
            Self::Memory { .. } | Self::Part { .. } | Self::Missing { .. } | Self::Output(_) => {
                false
            }
        }
    }

    /// What the shell is told when nobody did better.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Manifest { source, .. } => Exit::of_manifest(source),
            Self::Lied { .. }
            | Self::Content { source: part::Error::Flaw(Flaw::Digest { .. }), .. } => {
                Exit::VerificationFailed
            }
            Self::Source { .. }
            | Self::Http { .. }
            | Self::Download { .. }
            | Self::Content { .. }
            | Self::Nowhere { .. }
            | Self::Memory { .. }
            | Self::Part { .. }
            | Self::Missing { .. }
            | Self::Output(_) => Exit::FetchFailed,
        }
    }

    /// The step that it ends.
    #[must_use]
    pub const fn step(&self) -> Step {
        match self {
            Self::Http { .. } | Self::Manifest { .. } => Step::Manifest,
            Self::Content { .. } | Self::Lied { .. } => Step::Verify,
            Self::Source { .. }
            | Self::Download { .. }
            | Self::Nowhere { .. }
            | Self::Memory { .. }
            | Self::Part { .. }
            | Self::Missing { .. }
            | Self::Output(_) => Step::Fetch,
        }
    }

    /// What to do about it, for the last line of a failure.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Source { .. } => "publish a URL that this machine may use",
            Self::Http { .. } | Self::Download { .. } => {
                "see whether the provider runs and can be reached from here"
            }
            Self::Manifest { source: manifest::Error::NoTrust, .. } => "name a key with --trust",
            Self::Manifest { .. } => "publish a manifest that a trusted key signed",
            Self::Content { .. } | Self::Lied { .. } => {
                "let the provider hash its files again, and see who else can change what it sends"
            }
            Self::Nowhere { .. } => "publish a manifest with paths",
            Self::Memory { .. } | Self::Part { .. } => {
                "use a machine with more memory, or a smaller image"
            }
            Self::Missing { .. } => "fetch it too",
            Self::Output(_) => "choose another --output",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source { url, source } => write!(f, "{url}: {source}"),
            Self::Http { url, source } => write!(f, "no manifest from {url}: {source}"),
            Self::Manifest { url, source } => write!(f, "{url}: {source}"),
            Self::Download { name, url, source } => write!(f, "{name} from {url}: {source}"),
            Self::Content { name, url, source } => write!(f, "{name} from {url}: {source}"),
            Self::Lied { name, url } => {
                write!(f, "{name} from {url}: it was wrong before, and is not asked for again")
            }
            Self::Nowhere { url, name } => {
                write!(f, "the manifest of {url} says nowhere to fetch {name} from")
            }
            Self::Memory { want, have } => {
                write!(f, "the image needs {want} octets of memory, {have} are available")
            }
            Self::Part { name, source } => write!(f, "{name}: {source}"),
            Self::Missing { name } => write!(f, "{name} was not fetched"),
            Self::Output(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<Box<output::Error>> for Box<Error> {
    fn from(error: Box<output::Error>) -> Self {
        Self::new(Error::Output(error))
    }
}

/// What went wrong with the providers so far: a failed verification says more than a broken connection.
#[derive(Debug, Default)]
pub struct Failures {
    worst: Option<Box<Error>>,
    /// The latest, where it is not the worst.
    latest: Option<Box<Error>>,
}

impl Failures {
    /// Notes why a provider failed; returns whether another one may do better.
    pub fn add(&mut self, error: Box<Error>) -> bool {
        let goes_on = error.is_of_provider();
        let verified_wrong = |error: &Error| error.exit() == Exit::VerificationFailed;
        if goes_on && self.worst.as_deref().is_some_and(verified_wrong) {
            self.latest = Some(error);
        } else {
            self.worst = Some(error);
            self.latest = None;
        }
        goes_on
    }

    /// The one that was added last.
    #[must_use]
    pub fn latest(&self) -> Option<&Error> {
        self.latest.as_deref().or(self.worst.as_deref())
    }

    /// Whether the one that was added last is the one to tell when nobody did better.
    #[must_use]
    pub const fn is_latest_worst(&self) -> bool {
        self.latest.is_none()
    }

    /// The one to tell when nobody did better.
    #[must_use]
    pub fn into_worst(self) -> Option<Box<Error>> {
        self.worst
    }
}
