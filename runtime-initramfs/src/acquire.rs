//! From a discovery to an image: the providers that it accepts, the best first, then those that it finds later, then the
//! fallbacks, until one of them gives all that is wanted.
//! Not here: what is acceptable and in which order (`phase_core::select`), what becomes of the image.

use std::task::Poll;
use std::time::Duration;

use phase_core::client::CandidateId;
use phase_core::client::patience::{COLLECT, COMPARE};
use phase_core::fetch::image::Item;
use phase_core::select::{ClockFloor, TrustClass};
use phase_core::time::UnixTime;
use phase_core::wire::trust::Trust;
use phase_core::wire::url::Url;

use crate::clock::{self, EPOCH, unix_time};
use crate::console::{Console, Step};
use crate::discovery::Discovery;
use crate::executor;
use crate::fetch::source::{self, RESOLVE_MAX, Reach};
use crate::fetch::{Error, Failures, Fetch, Image, Provider};
use crate::network::{Network, Stream};

/// How long others may take to answer when the first ones fail: three questions on each link.
const OTHERS: Duration = Duration::from_secs(3);

/// Providers that are compared.
const COMPARED: usize = 4;

/// The files of an image that are wanted.
pub type Choice<'a> = &'a dyn for<'i> Fn(&'i Image) -> Vec<&'i Item>;

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// Everything that was wanted is on the shelf of the fetch, verified.
    Got {
        /// The image.
        image: Box<Image>,
        /// Who gave it, or the last part of it.
        provider: Box<Provider>,
    },
    /// Providers were tried; what to tell of their failures.
    Failed(Box<Error>),
    /// There was nobody to try.
    Nobody,
}

/// Tries providers until one gives everything.
#[derive(Debug)]
pub struct Acquire<'a, 'f> {
    fetch: &'a mut Fetch<'f>,
    network: Network,
    console: Console,
    failures: Failures,
    /// Whether the latest failure was not told yet: the last one of all is told as such.
    untold: bool,
    tried: Vec<CandidateId>,
}

/// The earliest time it can be: by this machine's clock, or by what the program and the trust store know.
#[must_use]
pub fn earliest_now(trust: &Trust) -> UnixTime {
    ClockFloor::of(trust, EPOCH, Some(unix_time())).floor()
}

impl<'a, 'f> Acquire<'a, 'f> {
    /// Begins with nobody tried.
    #[must_use]
    pub fn new(fetch: &'a mut Fetch<'f>, network: Network, console: Console) -> Self {
        Self {
            fetch,
            network,
            console,
            failures: Failures::default(),
            untold: false,
            tried: Vec::new(),
        }
    }

    /// Tries these manifests, in their order.
    pub fn from_urls(mut self, urls: &[Url], choice: Choice<'_>) -> Outcome {
        match self.try_urls(urls, choice) {
            Some(outcome) => outcome,
            None => self.end(),
        }
    }

    /// Tries what a discovery found, after its [`Discovery::run`], then `fallbacks`.
    pub fn from_discovery(
        mut self,
        discovery: &mut Discovery,
        fallbacks: &[Url],
        choice: Choice<'_>,
    ) -> Outcome {
        if discovery.client().best().is_some() {
            if !self.fetch.request().has_only_signer() {
                discovery.collect(COLLECT);
            }
            if let Some(outcome) = self.try_found(discovery, choice) {
                return outcome;
            }
            // Others may answer more slowly.
            discovery.collect(OTHERS);
            if let Some(outcome) = self.try_found(discovery, choice) {
                return outcome;
            }
        }
        if let Some(outcome) = self.try_urls(fallbacks, choice) {
            return outcome;
        }
        self.end()
    }

    fn end(mut self) -> Outcome {
        if !self.failures.is_latest_worst() {
            self.tell_latest();
        }
        self.failures.into_worst().map_or(Outcome::Nobody, Outcome::Failed)
    }

    fn try_urls(&mut self, urls: &[Url], choice: Choice<'_>) -> Option<Outcome> {
        for url in urls {
            self.tell_latest();
            self.console.step(Step::Manifest, format_args!("trying {url}"));
            if let Some(outcome) = self.attempt(Box::new(Provider::asked(url.clone())), choice) {
                return Some(outcome);
            }
        }
        None
    }

    /// Tries every accepted candidate that was not tried before.
    fn try_found(&mut self, discovery: &mut Discovery, choice: Choice<'_>) -> Option<Outcome> {
        self.compare(discovery);
        for (id, provider) in accepted(discovery) {
            if self.tried.contains(&id) {
                continue;
            }
            self.tried.push(id);
            if let Some(outcome) = self.attempt(provider, choice) {
                return Some(outcome);
            }
        }
        None
    }

    /// Tries one provider; `Some` when that is the end of it, well or not.
    fn attempt(&mut self, provider: Box<Provider>, choice: Choice<'_>) -> Option<Outcome> {
        self.tell_latest();
        let error = match self.bring(&provider, choice) {
            Ok(image) => return Some(Outcome::Got { image, provider }),
            Err(error) => error,
        };
        self.untold = true;
        if self.failures.add(error) {
            return None;
        }
        std::mem::take(&mut self.failures).into_worst().map(Outcome::Failed)
    }

    fn bring(&mut self, provider: &Provider, choice: Choice<'_>) -> Result<Box<Image>, Box<Error>> {
        let image = self.fetch.image(provider)?;
        self.fetch.artifacts(provider, &choice(&image))?;
        Ok(image)
    }

    /// Tells why the one who was tried last failed.
    fn tell_latest(&mut self) {
        if let Some(latest) = self.failures.latest()
            && std::mem::take(&mut self.untold)
        {
            self.console.step(latest.step(), format_args!("{latest}"));
        }
    }

    /// Measures the way to each candidate where there are several, so that the near ones rank higher.
    fn compare(&self, discovery: &mut Discovery) {
        let candidates = accepted(discovery);
        if candidates.len() < 2 {
            return;
        }
        let resolved_by = clock::now() + RESOLVE_MAX;
        let mut addresses = Vec::new();
        for (id, provider) in candidates.iter().take(COMPARED) {
            let Provider { url, reach, .. } = &**provider;
            if let Ok(origins) = source::origins(&self.network, url, reach, resolved_by)
                && let Some(origin) = origins.first()
            {
                addresses.push((*id, origin.address));
            }
        }
        // All at one time, so that they take no longer than one.
        let begun = clock::now();
        let mut connecting: Vec<(CandidateId, Stream)> = Vec::new();
        for (id, address) in addresses {
            if let Ok(stream) = self.network.connect(address) {
                connecting.push((id, stream));
            }
        }
        let _: Option<()> = executor::wait_until(begun + COMPARE, |cx| {
            connecting.retain_mut(|(id, stream)| match stream.poll_connected(cx) {
                Poll::Pending => true,
                Poll::Ready(connected) => {
                    if connected.is_ok() {
                        discovery.client_mut().set_rtt(*id, clock::now().since(begun));
                    }
                    false
                }
            });
            if connecting.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        });
    }
}

/// The accepted candidates, the best first.
fn accepted(discovery: &Discovery) -> Vec<(CandidateId, Box<Provider>)> {
    let interfaces = discovery.driver().network().interfaces();
    let mut accepted = Vec::new();
    for candidate in discovery.candidates() {
        let (Ok(verdict), Some(url)) = (candidate.verdict(), candidate.url()) else { continue };
        let interface = candidate.link().map(|link| link.interface);
        let mut networks = Vec::new();
        for one in &interfaces {
            // What the DHT says may lead to any interface.
            if interface.is_none_or(|index| one.index == index) {
                networks.append(&mut one.networks());
            }
        }
        let mut known = Vec::new();
        for address in discovery.client().addresses(candidate.id()) {
            known.push(address);
        }
        let pinned = verdict.class == TrustClass::Pinned;
        let reach = Reach::Advert { interface, networks, pinned, known };
        let advert = candidate.advert();
        let provider = Box::new(Provider {
            url: url.clone(),
            reach,
            peer: candidate.peer().copied(),
            digest: advert.and_then(|advert| advert.digest),
            version: advert.map(|advert| advert.version.clone()),
        });
        accepted.push((candidate.id(), provider));
    }
    accepted
}
