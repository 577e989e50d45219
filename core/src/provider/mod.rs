//! The provider: an identity, the images it holds, and a signed advert of each on every interface, published
//! by the mDNS responder, and one more for the DHT, published by its node.
//!
//! The advert of an image differs by interface, because its URL has that interface's address; the one for the DHT
//! has the address that reaches farthest. Signing needs the wall clock and a sequence number that is never used
//! twice, so it is asked for: [`Event::SignatureDue`] tells how many numbers to persist, [`Provider::sign`] uses
//! them.
//!
//! | file | what |
//! |---|---|
//! | `advert.rs`, `sign.rs` | when which advert is signed, and signing it |
//! | `origin.rs` | URLs |
//! | `wide.rs` | the part of the DHT |
//! | `event.rs` | what is told and shown |
//!
//! Not here: files, HTTP, the manifest.

mod advert;
mod event;
mod origin;
mod sign;
mod wide;

use heapless::Vec;

use self::advert::{AdvertState, Adverts, Asked};
pub use self::event::{AdvertStatus, Event, Misuse, Name};
pub use self::origin::Origin;
use self::wide::Wide;
use crate::dht::server::Dht;
use crate::identity::{PeerId, SecretKey};
use crate::limits::INTERFACES;
use crate::machine::{Family, Input, LinkId, Machine, Output, TransmitBuffer, Wake};
use crate::mdns::responder::{self, Owner, Registration, Responder};
use crate::mdns::service::{self, HostLabel, InstanceName, Label};
use crate::rng::{Rng, Seed};
use crate::schedule::Timer;
use crate::stats::Stats;
use crate::time::Instant;
use crate::wire::digest::Digest;
use crate::wire::record::{Arch, Channel, ProviderName, TTL_MAX, TTL_MIN, Version};

/// The number that stands for the DHT where interfaces are numbered: no interface has it.
pub const DHT: u32 = 0;

/// What a provider is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// Entropy for delays.
    pub seed: Seed,
    /// Signs the adverts.
    pub key: SecretKey,
    /// A name for people; without one, instances are called after the host.
    pub name: Option<ProviderName>,
    /// The host name below `.local`.
    pub host: HostLabel,
    /// Where the manifests are served.
    pub origin: Origin,
    /// Lifetime of an advert in seconds, brought into [`TTL_MIN`] to [`TTL_MAX`].
    pub ttl: u32,
}

/// An image that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its channel.
    pub channel: Channel,
    /// Its architecture.
    pub arch: Arch,
    /// Its version.
    pub version: Version,
    /// The digest of its manifest's octets.
    pub digest: Digest,
}

/// A provider of up to `IMAGES` images on up to [`INTERFACES`] interfaces; on the LAN only, or with a DHT node
/// `D`, a [`Server`](crate::dht::server::Server).
#[derive(Debug)]
pub struct Provider<const IMAGES: usize, D: Dht = ()> {
    now: Instant,
    key: SecretKey,
    peer: PeerId,
    name: Option<ProviderName>,
    host: HostLabel,
    origin: Origin,
    ttl: u32,
    jitter: Rng,
    images: [Option<Image>; IMAGES],
    adverts: Vec<Adverts<IMAGES>, INTERFACES>,
    asked: Option<Asked>,
    /// The earliest `sign_at`.
    sign_at: Option<Instant>,
    responder: Responder<IMAGES>,
    dht: D,
    /// What is kept beside the node, where there is one.
    wide: D::Place<Wide<IMAGES>>,
    stopped: bool,
}

impl<const IMAGES: usize> Provider<IMAGES> {
    /// A provider on the LAN only, without images or links.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        Self::with(now, config, ())
    }
}

impl<const IMAGES: usize, D: Dht> Provider<IMAGES, D> {
    fn with(now: Instant, config: Config, dht: D) -> Self {
        let Config { seed, key, name, host, origin, ttl } = config;
        Self {
            now,
            peer: key.peer_id(),
            key,
            name,
            host: host.clone(),
            origin,
            ttl: ttl.clamp(TTL_MIN, TTL_MAX),
            jitter: seed.stream("refresh"),
            images: [const { None }; IMAGES],
            adverts: Vec::new(),
            asked: None,
            sign_at: None,
            responder: Responder::new(now, &seed, host),
            dht,
            wide: D::place(Wide::new()),
            stopped: false,
        }
    }

    /// Tells that another responder of this host holds port 5353 too. Unicast responses may then go to it, so
    /// probes do not ask for them (RFC 6762 §15.1).
    pub fn set_port_shared(&mut self, shared: bool) {
        self.responder.set_port_shared(shared);
    }

    /// Publishes an image, or what changed of it.
    ///
    /// # Errors
    /// [`Misuse`]: no room for one more, or stopped.
    pub fn publish(&mut self, now: Instant, image: Image) -> Result<(), Misuse> {
        self.publish_numbered(now, image, 1)
    }

    /// As [`Self::publish`], beginning with the instance name of this number, as [`Event::Renamed`] told it in
    /// an earlier run.
    ///
    /// # Errors
    /// [`Misuse`]: no room for one more, or stopped.
    pub fn publish_numbered(
        &mut self,
        now: Instant,
        image: Image,
        number: u16,
    ) -> Result<(), Misuse> {
        self.advance(now);
        if self.stopped {
            return Err(Misuse::Stopped);
        }
        if let Some(index) = self.index_of(&image.channel, &image.arch) {
            let changed = self.images.get(index).and_then(Option::as_ref) != Some(&image);
            if let Some(slot) = self.images.get_mut(index) {
                *slot = Some(image);
            }
            if changed {
                self.resign(index);
            }
            return Ok(());
        }
        let vacant = |free: bool| {
            let images = self.images.iter().enumerate();
            let mut vacant = images.filter(|(_, image)| image.is_none()).map(|(index, _)| index);
            vacant.find(|index| !free || self.responder.is_free(*index))
        };
        // An index whose goodbyes are not sent yet is the last choice.
        let index = vacant(true).or_else(|| vacant(false));
        let index = index.ok_or(Misuse::TooManyImages { capacity: IMAGES })?;
        let peer = crate::wire::peer_id::encode_text(&self.peer);
        let name = self.name.as_ref().map_or(self.host.as_str(), ProviderName::as_str);
        let (channel, arch) = (image.channel.as_str(), image.arch.as_str());
        let registration = Registration {
            name: InstanceName::new(name, channel, arch, &peer),
            number,
            subtype: service::subtype(arch, channel),
            port: self.origin.port(),
        };
        self.responder.register(now, index, registration);
        if let Some(slot) = self.images.get_mut(index) {
            *slot = Some(image);
        }
        self.resign(index);
        Ok(())
    }

    /// Withdraws an image with goodbyes; `false`: there was none.
    pub fn withdraw(&mut self, now: Instant, channel: &Channel, arch: &Arch) -> bool {
        self.advance(now);
        let Some(index) = self.index_of(channel, arch) else { return false };
        if let Some(slot) = self.images.get_mut(index) {
            *slot = None;
        }
        for at in 0..self.places() {
            if let Some(state) = self.state_mut(at, index) {
                *state = AdvertState::default();
            }
        }
        self.responder.unregister(now, index);
        self.with_node(|node| node.withdraw(now, index));
        self.reschedule();
        true
    }

    /// Withdraws everything with goodbyes, for a clean end; [`Event::Stopped`] follows. What is in the DHT ends with
    /// its lifetime.
    pub fn stop(&mut self, now: Instant) {
        self.advance(now);
        self.stopped = true;
        self.asked = None;
        self.adverts.clear();
        if let Some(wide) = self.wide.as_mut().first_mut() {
            *wide = Wide::new();
        }
        self.reschedule();
        self.responder.stop(now);
        self.with_node(Dht::stop);
    }

    /// The peer id that signs.
    #[must_use]
    pub const fn peer_id(&self) -> PeerId {
        self.peer
    }

    /// The host's current label below `.local`.
    #[must_use]
    pub fn host_label(&self) -> Label {
        self.responder.host_label()
    }

    /// Every advert as it stands.
    pub fn adverts(&self) -> impl Iterator<Item = AdvertStatus<'_>> {
        let wide = self.wide.as_ref().iter().map(|wide| &wide.adverts);
        self.adverts.iter().chain(wide).flat_map(move |adverts| {
            let images = self.images.iter().zip(&adverts.states).enumerate();
            images.filter_map(move |(index, (image, state))| {
                let image = image.as_ref()?;
                let link = |family| LinkId { interface: adverts.interface, family };
                let is_dht = adverts.interface == DHT;
                let announced = |family| !is_dht && self.responder.is_verified(link(family), index);
                Some(AdvertStatus {
                    image,
                    interface: adverts.interface,
                    url: self.origin.url(adverts.address, &image.channel, &image.arch),
                    label: self.responder.instance_label(index)?.0,
                    signed: state.signed.map(|signed| (signed.seq, signed.issued)),
                    sign_at: state.sign_at,
                    announced_v4: announced(Family::V4),
                    announced_v6: announced(Family::V6),
                    publication: is_dht.then(|| self.dht.publication(index)).flatten(),
                })
            })
        })
    }

    /// The links that are up.
    pub fn links(&self) -> impl Iterator<Item = LinkId> {
        self.responder.links()
    }

    /// What was counted on the LAN.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        self.responder.stats()
    }

    fn advance(&mut self, now: Instant) {
        self.now = now;
        self.responder.advance(now);
        self.advance_node();
    }

    fn index_of(&self, channel: &Channel, arch: &Arch) -> Option<usize> {
        let same = |image: &Image| image.channel == *channel && image.arch == *arch;
        self.images.iter().position(|image| image.as_ref().is_some_and(same))
    }

    /// An event of the responder as the user sees it; `None`: of no interest, or of an image withdrawn since.
    fn event(&self, event: responder::Event) -> Option<Event> {
        match event {
            responder::Event::Verified { link, owner } => match self.name(owner)? {
                Name::Host { .. } => None,
                Name::Instance { channel, arch, label, .. } => {
                    Some(Event::Announced { channel, arch, label, link })
                }
            },
            responder::Event::Conflict { owner } => self.name(owner).map(Event::Conflict),
            responder::Event::Renamed { owner } => self.name(owner).map(Event::Renamed),
            responder::Event::NoName { owner } => self.name(owner).map(Event::NoName),
            responder::Event::Stopped => Some(Event::Stopped),
        }
    }

    fn name(&self, owner: Owner) -> Option<Name> {
        match owner {
            Owner::Host => Some(Name::Host { label: self.responder.host_label() }),
            Owner::Instance(index) => {
                let image = self.images.get(index)?.as_ref()?;
                let (label, number) = self.responder.instance_label(index)?;
                let (channel, arch) = (image.channel.clone(), image.arch.clone());
                Some(Name::Instance { channel, arch, label, number })
            }
        }
    }
}

impl<const IMAGES: usize, D: Dht> Machine for Provider<IMAGES, D> {
    type Event = Event;

    fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        self.now = now;
        match input {
            Input::Datagram(datagram) => self.responder.handle_datagram(now, &datagram),
            Input::LinkUp(link) => {
                self.responder.handle_link_up(now, &link);
                self.follow_interfaces();
            }
            Input::LinkDown(link) => {
                self.responder.handle_link_down(now, link);
                self.follow_interfaces();
            }
            Input::Connection(id, input) => {
                self.responder.advance(now);
                self.with_node(|node| node.handle_connection(now, id, input));
            }
            Input::Timeout => self.responder.advance(now),
        }
        self.advance_node();
    }

    fn poll_output(&mut self, buf: &mut TransmitBuffer) -> Output<Event> {
        if let Some(transmit) = self.responder.poll_transmit(buf) {
            return Output::Transmit(transmit);
        }
        while let Some(event) = self.responder.poll_event() {
            if let Some(event) = self.event(event) {
                return Output::Event(event);
            }
        }
        if let Some(output) = self.poll_node(buf) {
            return output;
        }
        if let Some(event) = self.poll_signature() {
            return Output::Event(event);
        }
        let sign = self.sign_deadline().map(|at| Timer::Sign.at(at));
        let wake = Wake::earliest(self.responder.next_wake(), sign);
        Output::Timeout(Wake::earliest(wake, self.node_wake()))
    }
}

#[cfg(test)]
mod tests;
