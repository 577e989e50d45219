//! Fetching what was found: manifest, then artifacts, verified before anybody gets them.
//!
//! Providers are tried in the caller's order. What one of them began, the next one continues, because artifacts are
//! kept by digest ([`shelf`]). Nothing is written where another program could take it for an image before all of it is
//! here and verified.
//! Not here: which providers there are and which is best (`phase_core::client`), the network ([`dial`]).

pub mod dial;
pub mod download;
pub mod error;
pub mod output;
pub mod part;
pub mod shelf;
pub mod source;
mod stack;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use phase_core::fetch::image::{self, Item, Selection};
use phase_core::fetch::part::Flaw;
use phase_core::fetch::request::Request;
use phase_core::identity::PeerId;
use phase_core::limits::{MANIFEST_BUFFER, MANIFEST_MAX};
use phase_core::time::Instant;
use phase_core::wire::digest::Digest;
use phase_core::wire::manifest::{self, Policy};
use phase_core::wire::record::Version;
use phase_core::wire::url::Url;

use self::dial::Dial;
use self::download::Event;
pub use self::error::{Error, Failures};
use self::part::Part;
use self::shelf::Shelf;
use self::source::{RESOLVE_MAX, Reach};
use crate::clock;
use crate::console::{Console, Step};
use crate::http::{From, Origin};

/// How often a long download says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);

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

impl Provider {
    /// A manifest that the user named.
    #[must_use]
    pub const fn asked(url: Url) -> Self {
        Self { url, reach: Reach::Asked, peer: None, digest: None, version: None }
    }
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

/// The files of an image that are asked for.
#[must_use]
pub fn wanted<'i>(image: &'i Image, selection: &[Selection]) -> Vec<&'i Item> {
    let mut wanted = Vec::new();
    for item in image.wanted(selection) {
        wanted.push(item);
    }
    wanted
}

/// A server that gave a wrong file.
#[derive(Debug, PartialEq, Eq)]
struct Lie {
    address: SocketAddr,
    url: Url,
    digest: Digest,
}

/// Brings one image together, from one provider after the other.
pub struct Fetch<'a> {
    dial: &'a dyn Dial,
    request: &'a Request,
    console: Console,
    shelf: Shelf,
    lies: Vec<Lie>,
}

impl fmt::Debug for Fetch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch").field("shelf", &self.shelf).finish_non_exhaustive()
    }
}

/// Fetches a manifest document, unverified.
///
/// # Errors
/// `Source`, `Http`.
pub fn document(dial: &dyn Dial, url: &Url, reach: &Reach) -> Result<Vec<u8>, Box<Error>> {
    let deadline = clock::now() + RESOLVE_MAX;
    let origins = source::origins(dial, url, reach, deadline);
    let mut last = Error::source(url, source::Error::NoAddress);
    for origin in origins.map_err(|source| Error::source(url, source))? {
        let document = match origin.get(dial, url.path(), From::default()) {
            Ok(response) => response.read_all(MANIFEST_MAX),
            Err(error) => Err(error),
        };
        match document {
            Ok(document) => return Ok(document),
            Err(source) => *last = Error::Http { url: Box::new(url.clone()), source },
        }
    }
    Err(last)
}

impl<'a> Fetch<'a> {
    /// Begins with nothing but what the shelf has.
    #[must_use]
    pub const fn new(
        dial: &'a dyn Dial,
        request: &'a Request,
        console: Console,
        shelf: Shelf,
    ) -> Self {
        Self { dial, request, console, shelf, lies: Vec::new() }
    }

    /// Fetches and verifies a provider's manifest.
    ///
    /// # Errors
    /// `Source`, `Http`, `Manifest`.
    pub fn image(&self, provider: &Provider) -> Result<Box<Image>, Box<Error>> {
        let url = &provider.url;
        let document = document(self.dial, url, &provider.reach)?;
        let policy = self.request.policy(provider.digest.as_ref(), provider.version.as_ref());
        let image = verify(document, Some(url), &policy)
            .map_err(|source| Box::new(Error::Manifest { url: Box::new(url.clone()), source }))?;
        self.console.step(Step::Manifest, format_args!("{image}, from {url}"));
        Ok(image)
    }

    /// Fetches these files of the image onto the shelf, each verified.
    ///
    /// # Errors
    /// [`Error`]. What came stays on the shelf: another provider goes on from there.
    pub fn artifacts(&mut self, provider: &Provider, items: &[&Item]) -> Result<(), Box<Error>> {
        let mut missing = Vec::new();
        for item in items {
            if self.shelf.has(item)? {
                let (name, size) = (&item.name, Octets(item.expected.size));
                self.console.step(Step::Verify, format_args!("{name}: {size} here already"));
            } else {
                missing.push(*item);
            }
        }
        self.shelf.make_room(&missing)?;
        for item in missing {
            let mut part = self.shelf.part(item)?;
            let fetched = self.artifact(item, &mut part, provider);
            let is_disk_full = |error: &Error| {
                matches!(error, Error::Download { source: download::Error::Write(_), .. })
            };
            if fetched.as_ref().is_err_and(|error| is_disk_full(error)) {
                // Half a file on a full disk is in the way of everything else.
                part.discard();
            } else {
                self.shelf.put(part);
            }
            fetched?;
        }
        Ok(())
    }

    /// What is wanted.
    #[must_use]
    pub const fn request(&self) -> &'a Request {
        self.request
    }

    /// The artifacts.
    pub const fn shelf(&mut self) -> &mut Shelf {
        &mut self.shelf
    }

    /// Brings one file from the first of its locations that has it.
    fn artifact(
        &mut self,
        item: &Item,
        part: &mut Part,
        provider: &Provider,
    ) -> Result<(), Box<Error>> {
        if part.verify().is_ok() {
            return Ok(());
        }
        let (url, name) = (Box::new(provider.url.clone()), item.name.as_str().to_owned());
        let mut last = Box::new(Error::Nowhere { url, name });
        for url in &item.locations {
            let deadline = clock::now() + RESOLVE_MAX;
            let origins = match source::origins(self.dial, url, &provider.reach, deadline) {
                Ok(origins) => origins,
                Err(source) => {
                    last = Error::source(url, source);
                    continue;
                }
            };
            for origin in origins {
                match self.bring(item, part, origin, url) {
                    Ok(()) => return Ok(()),
                    Err(error) if !error.is_of_provider() => return Err(error),
                    Err(error) => last = error,
                }
            }
        }
        Err(last)
    }

    /// Brings one file from one server. A wrong digest is the server's fault only if all octets came from it: what an
    /// earlier try left is not held against it.
    fn bring(
        &mut self,
        item: &Item,
        part: &mut Part,
        origin: Origin<'_>,
        url: &Url,
    ) -> Result<(), Box<Error>> {
        let lie = Lie { address: origin.address, url: url.clone(), digest: item.expected.digest };
        let (name, boxed_url) = (item.name.as_str().to_owned(), Box::new(url.clone()));
        if self.lies.contains(&lie) {
            return Err(Box::new(Error::Lied { name, url: boxed_url }));
        }
        loop {
            let resumed = part.tally().here();
            let start = clock::now();
            let mut watch = Watch { item, url, console: self.console, told: start };
            let mut tell = |event| watch.tell(event);
            let filled = download::fill(self.dial, origin, url.path(), part, &mut tell);
            if let Err(source) = filled {
                return Err(Box::new(Error::Download { name, url: boxed_url, source }));
            }
            match part.verify() {
                Ok(()) => {
                    self.tell_verified(item, resumed, start);
                    return Ok(());
                }
                Err(part::Error::Flaw(Flaw::Digest { .. })) if resumed > 0 => {}
                Err(source) => {
                    self.lies.push(lie);
                    return Err(Box::new(Error::Content { name, url: boxed_url, source }));
                }
            }
        }
    }

    fn tell_verified(&self, item: &Item, resumed: u64, start: Instant) {
        let (name, size) = (&item.name, Octets(item.expected.size));
        let time = clock::now().since(start);
        let (seconds, millis) = (time.as_secs(), time.subsec_millis());
        let text = format_args!("{name}: {size} verified in {seconds}.{millis:03} s");
        if resumed > 0 {
            let text = format_args!("{text} ({} of it were here)", Octets(resumed));
            self.console.step(Step::Verify, text);
        } else {
            self.console.step(Step::Verify, text);
        }
    }
}

/// Tells how far a download is.
struct Watch<'a> {
    item: &'a Item,
    url: &'a Url,
    console: Console,
    told: Instant,
}

impl Watch<'_> {
    fn tell(&mut self, event: Event) {
        let name = &self.item.name;
        match event {
            Event::Here(octets) => {
                let now = clock::now();
                if now.since(self.told) < TELL_EVERY {
                    return;
                }
                self.told = now;
                let (here, size) = (Octets(octets), Octets(self.item.expected.size));
                self.console.step(Step::Fetch, format_args!("{name}: {here} of {size}"));
            }
            Event::Broke(octets) => self.console.step(
                Step::Fetch,
                format_args!(
                    "{name} from {} broke after {octets} octets; it goes on from there",
                    self.url
                ),
            ),
        }
    }
}

/// A size for people: `312 B`, `54.2 KiB`, `8.0 MiB`.
struct Octets(u64);

impl fmt::Display for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shift, unit) = match self.0 {
            0..0x400 => return write!(f, "{} B", self.0),
            0x400..0x10_0000 => (10, "KiB"),
            0x10_0000..0x4000_0000 => (20, "MiB"),
            0x4000_0000.. => (30, "GiB"),
        };
        let (whole, part) = (self.0 >> shift, self.0 & ((1 << shift) - 1));
        write!(f, "{whole}.{} {unit}", (part * 10) >> shift)
    }
}
