//! The provider: an identity, the images it holds, and a signed advert of each on every interface, published
//! by the mDNS responder.
//!
//! The advert of an image differs by interface, because its URL has that interface's address. Signing needs
//! the wall clock and a sequence number that is never used twice, so it is asked for:
//! [`Event::SignatureDue`] tells how many numbers to persist, [`Provider::sign`] uses them.
//! Not here: files, HTTP, the manifest.

use core::net::IpAddr;
use core::time::Duration;

use heapless::Vec;

use crate::identity::{PeerId, SecretKey};
use crate::limits::{ADVERT_TXT_MAX, INTERFACES};
use crate::machine::{Input, LinkId, Machine, Network, Output, TransmitBuffer, Wake};
use crate::mdns::responder::{self, Owner, Registration, Responder};
use crate::mdns::service::{self, HostLabel, InstanceName, Label};
use crate::rng::{Rng, Seed};
use crate::schedule::{Timer, UpdateLimit, refresh_delay};
use crate::stats::Stats;
use crate::time::{Instant, UnixTime};
use crate::wire::digest::Digest;
use crate::wire::record::{Advert, Arch, Channel, ProviderName, TTL_MAX, TTL_MIN, Version};
use crate::wire::url::{self, AddressClass, Url};

/// How long a signature that was asked for is waited for before it is asked for again.
const SIGNATURE_PATIENCE: Duration = Duration::from_secs(60);

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

/// Where the manifests are served: the part of their URLs before the path
/// `/{channel}/{arch}/manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// At this TCP port of each interface's own address, by HTTP: a global or private IPv4 address, else such
    /// an IPv6 address, else a link-local one.
    Auto {
        /// The port.
        port: u16,
    },
    /// At the scheme, host and port of this URL, whatever the interface. Its path is not used.
    Fixed(Url),
}

impl Origin {
    /// A fixed origin such as `http://boot.example.org:8080`, with or without a slash at its end.
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub fn fixed(text: &str) -> Result<Self, url::Error> {
        let origin = text.strip_suffix('/').unwrap_or(text);
        let mut whole = heapless::String::<256>::new();
        core::fmt::write(&mut whole, format_args!("{origin}/manifest.json"))
            .map_err(|_| url::Error::Length)?;
        Url::parse(&whole).map(Self::Fixed)
    }

    const fn is_auto(&self) -> bool {
        matches!(self, Self::Auto { .. })
    }

    /// The port, for the SRV record.
    fn port(&self) -> u16 {
        match self {
            Self::Auto { port } => *port,
            Self::Fixed(url) => url.port(),
        }
    }

    /// The URL of an image's manifest on an interface with this address.
    fn url(&self, address: Option<IpAddr>, channel: &Channel, arch: &Arch) -> Option<Url> {
        let mut path = heapless::String::<80>::new();
        core::fmt::write(&mut path, format_args!("/{channel}/{arch}/manifest.json")).ok()?;
        match self {
            Self::Fixed(url) => url.join(&path).ok(),
            Self::Auto { port } => {
                let address = core::net::SocketAddr::new(address?, *port);
                let mut whole = heapless::String::<192>::new();
                core::fmt::write(&mut whole, format_args!("http://{address}{path}")).ok()?;
                Url::parse(&whole).ok()
            }
        }
    }
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

/// What a caller did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Misuse {
    /// More images than the provider was made for.
    TooManyImages {
        /// How many it can hold.
        capacity: usize,
    },
    /// The provider was stopped.
    Stopped,
}

impl core::fmt::Display for Misuse {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooManyImages { capacity } => {
                write!(
                    f,
                    "there is room for {capacity} images (channel and architecture); withdraw one first"
                )
            }
            Self::Stopped => f.write_str("the provider was stopped"),
        }
    }
}

impl core::error::Error for Misuse {}

/// A name on the network, for events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// The host name.
    Host {
        /// Its label below `.local`.
        label: Label,
    },
    /// A service instance.
    Instance {
        /// The image's channel.
        channel: Channel,
        /// The image's architecture.
        arch: Arch,
        /// Its label below `_phase-image._tcp.local`.
        label: Label,
        /// 1, and one more for every conflict lost; [`Provider::publish_numbered`] takes it.
        number: u16,
    },
}

/// What a provider tells its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Persist that `count` more sequence numbers are used, then call [`Provider::sign`]. Asked again every
    /// minute until it is.
    SignatureDue {
        /// How many adverts are to be signed.
        count: u32,
    },
    /// An image is being announced on a link: its name is ours there.
    Announced {
        /// The image's channel.
        channel: Channel,
        /// The image's architecture.
        arch: Arch,
        /// Its instance label.
        label: Label,
        /// The link.
        link: LinkId,
    },
    /// Somebody else uses a name of ours; it is probed for again.
    Conflict(Name),
    /// A name was taken and replaced by this one; persist it, so that it stays (RFC 6762 §9).
    Renamed(Name),
    /// No free name was found for another minute (RFC 6762 §9): somebody answers for every one.
    NoName(Name),
    /// Everything was withdrawn after [`Provider::stop`].
    Stopped,
}

/// One advert as it stands, for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvertStatus<'a> {
    /// The image.
    pub image: &'a Image,
    /// The interface.
    pub interface: u32,
    /// Its URL there; `None`: the interface has no address to serve from.
    pub url: Option<Url>,
    /// Its instance label.
    pub label: Label,
    /// Sequence number and time of its signature; `None`: not signed yet.
    pub signed: Option<(u64, UnixTime)>,
    /// When it is signed again.
    pub sign_at: Option<Instant>,
    /// Whether it is announced by IPv4.
    pub announced_v4: bool,
    /// Whether it is announced by IPv6.
    pub announced_v6: bool,
}

/// One image's advert on one interface.
#[derive(Clone, Copy, Debug, Default)]
struct AdvertState {
    signed: Option<Signed>,
    /// When it is to be signed (again).
    sign_at: Option<Instant>,
    /// `sign_at` is for a change, not for the refresh.
    changed: bool,
    limit: UpdateLimit,
}

#[derive(Clone, Copy, Debug)]
struct Signed {
    seq: u64,
    issued: UnixTime,
    address: Option<IpAddr>,
}

/// The adverts of one interface.
#[derive(Debug)]
struct Adverts<const N: usize> {
    interface: u32,
    /// What URLs have in [`Origin::Auto`].
    address: Option<IpAddr>,
    states: [AdvertState; N],
}

/// Signatures that were asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    count: u32,
    until: Instant,
}

/// A provider of up to `IMAGES` images on up to [`INTERFACES`] interfaces.
#[derive(Debug)]
pub struct Provider<const IMAGES: usize> {
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
    stopped: bool,
}

impl<const IMAGES: usize> Provider<IMAGES> {
    /// A provider without images or links.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
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
        for adverts in &mut self.adverts {
            if let Some(state) = adverts.states.get_mut(index) {
                *state = AdvertState::default();
            }
        }
        self.responder.unregister(now, index);
        self.reschedule();
        true
    }

    /// Signs what [`Event::SignatureDue`] asked for, with sequence numbers from `first_seq` on, and gives the
    /// next unused one. `issued` is the time; each number must be greater than every one signed before.
    ///
    /// A time past the year 9999 or a number that is 0 or above
    /// [`SEQ_MAX`](crate::wire::record::SEQ_MAX) signs nothing; it is asked for again.
    pub fn sign(&mut self, now: Instant, issued: UnixTime, first_seq: u64) -> u64 {
        self.advance(now);
        let Some(asked) = self.asked.take() else { return first_seq };
        let mut seq = first_seq;
        let mut left = asked.count;
        for at in 0..self.adverts.len() {
            for index in 0..IMAGES {
                if left == 0 || !self.is_due(at, index) {
                    continue;
                }
                left = left.saturating_sub(1);
                if self.sign_one(at, index, issued, seq).is_some() {
                    seq = seq.saturating_add(1);
                } else {
                    self.postpone(at, index);
                }
            }
        }
        self.reschedule();
        seq
    }

    /// Withdraws everything with goodbyes, for a clean end; [`Event::Stopped`] follows.
    pub fn stop(&mut self, now: Instant) {
        self.advance(now);
        self.stopped = true;
        self.asked = None;
        self.adverts.clear();
        self.reschedule();
        self.responder.stop(now);
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
        self.adverts.iter().flat_map(move |adverts| {
            let images = self.images.iter().zip(&adverts.states).enumerate();
            images.filter_map(move |(index, (image, state))| {
                let image = image.as_ref()?;
                let link = |family| LinkId { interface: adverts.interface, family };
                let announced = |family| self.responder.is_verified(link(family), index);
                Some(AdvertStatus {
                    image,
                    interface: adverts.interface,
                    url: self.origin.url(adverts.address, &image.channel, &image.arch),
                    label: self.responder.instance_label(index)?.0,
                    signed: state.signed.map(|signed| (signed.seq, signed.issued)),
                    sign_at: state.sign_at,
                    announced_v4: announced(crate::machine::Family::V4),
                    announced_v6: announced(crate::machine::Family::V6),
                })
            })
        })
    }

    /// The links that are up.
    pub fn links(&self) -> impl Iterator<Item = LinkId> {
        self.responder.links()
    }

    /// What was counted.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        self.responder.stats()
    }

    fn advance(&mut self, now: Instant) {
        self.now = now;
        self.responder.advance(now);
    }

    fn index_of(&self, channel: &Channel, arch: &Arch) -> Option<usize> {
        let same = |image: &Image| image.channel == *channel && image.arch == *arch;
        self.images.iter().position(|image| image.as_ref().is_some_and(same))
    }

    /// Has every advert of an image signed, no sooner than its limit allows.
    fn resign(&mut self, index: usize) {
        for adverts in &mut self.adverts {
            if (adverts.address.is_some() || !self.origin.is_auto())
                && let Some(state) = adverts.states.get_mut(index)
            {
                state.change(self.now);
            }
        }
        self.reschedule();
    }

    /// Has the adverts of an interface signed whose URL changed, and forgets those of interfaces that are gone.
    fn follow_interfaces(&mut self) {
        let responder = &self.responder;
        self.adverts.retain(|one| responder.interfaces().any(|(index, _)| index == one.interface));
        for (interface, networks) in responder.interfaces() {
            let address = address_of(networks);
            let known = self.adverts.iter().position(|one| one.interface == interface);
            let at = known.unwrap_or(self.adverts.len());
            if known.is_none() {
                let states = [AdvertState::default(); IMAGES];
                // There are as many places as the responder has interfaces.
                let _ = self.adverts.push(Adverts { interface, address, states });
            }
            let Some(adverts) = self.adverts.get_mut(at) else { continue };
            adverts.address = address;
            for (state, image) in adverts.states.iter_mut().zip(&self.images) {
                let stale = match state.signed {
                    Some(signed) => self.origin.is_auto() && signed.address != address,
                    None => state.sign_at.is_none(),
                };
                if image.is_none() || (address.is_none() && self.origin.is_auto()) {
                    state.sign_at = None;
                } else if stale {
                    state.change(self.now);
                }
            }
        }
        self.reschedule();
    }

    fn is_due(&self, at: usize, index: usize) -> bool {
        let state = self.adverts.get(at).and_then(|adverts| adverts.states.get(index));
        state.and_then(|state| state.sign_at).is_some_and(|sign_at| sign_at <= self.now)
    }

    fn sign_one(&mut self, at: usize, index: usize, issued: UnixTime, seq: u64) -> Option<()> {
        let image = self.images.get(index)?.as_ref()?;
        let adverts = self.adverts.get_mut(at)?;
        let advert = Advert {
            url: self.origin.url(adverts.address, &image.channel, &image.arch)?,
            peer: self.peer,
            name: self.name.clone(),
            issued,
            version: image.version.clone(),
            seq,
            ttl: self.ttl,
            digest: Some(image.digest),
        };
        let signed = advert.sign(&self.key, &image.channel, &image.arch).ok()?;
        let mut buffer = [0; ADVERT_TXT_MAX];
        let text = signed.encode_txt(&image.channel, &image.arch, &mut buffer).ok()?;
        let state = adverts.states.get_mut(index)?;
        state.signed = Some(Signed { seq, issued, address: adverts.address });
        state.changed = false;
        state.sign_at = Some(self.now + refresh_delay(self.ttl, &mut self.jitter));
        self.responder.set_text(self.now, adverts.interface, index, text);
        Some(())
    }

    fn postpone(&mut self, at: usize, index: usize) {
        let state = self.adverts.get_mut(at).and_then(|adverts| adverts.states.get_mut(index));
        if let Some(state) = state {
            state.sign_at = Some(self.now + SIGNATURE_PATIENCE);
        }
    }

    /// Works out when the next signature is due.
    fn reschedule(&mut self) {
        let states = self.adverts.iter().flat_map(|adverts| &adverts.states);
        self.sign_at = states.filter_map(|state| state.sign_at).min();
    }

    fn sign_deadline(&self) -> Option<Instant> {
        let again = self.asked.map(|asked| asked.until);
        self.sign_at.map(|at| again.map_or(at, |again| at.max(again)))
    }

    /// Asks for the signatures that are due, once.
    fn poll_signature(&mut self) -> Option<Event> {
        if self.sign_deadline().is_none_or(|at| at > self.now) {
            return None;
        }
        let due = |state: &&AdvertState| state.sign_at.is_some_and(|at| at <= self.now);
        let count = self.adverts.iter().flat_map(|adverts| &adverts.states).filter(due).count();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.asked = Some(Asked { count, until: self.now + SIGNATURE_PATIENCE });
        Some(Event::SignatureDue { count })
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

impl<const IMAGES: usize> Machine for Provider<IMAGES> {
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
            // It begins none and the driver listens for none.
            Input::Connection(..) | Input::Timeout => self.responder.advance(now),
        }
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
        if let Some(event) = self.poll_signature() {
            return Output::Event(event);
        }
        let sign = self.sign_deadline().map(|at| Timer::Sign.at(at));
        Output::Timeout(Wake::earliest(self.responder.next_wake(), sign))
    }
}

impl AdvertState {
    /// Has it signed because of a change, at once unless there were too many lately.
    fn change(&mut self, now: Instant) {
        if self.signed.is_none() {
            self.sign_at = Some(now);
        } else if !self.changed {
            self.sign_at = Some(self.limit.next(now));
            self.changed = true;
        }
    }
}

/// The address an interface's URLs have.
fn address_of(networks: &[Network]) -> Option<IpAddr> {
    let rank = |ip: IpAddr| match AddressClass::of(ip) {
        AddressClass::Private | AddressClass::Global => Some(u8::from(ip.is_ipv6())),
        AddressClass::LinkLocalV4 => Some(2),
        AddressClass::LinkLocalV6 => Some(3),
        AddressClass::Loopback | AddressClass::Unusable | AddressClass::Metadata => None,
    };
    let usable =
        networks.iter().filter_map(|network| Some((rank(network.address)?, network.address)));
    usable.min_by_key(|(rank, _)| *rank).map(|(_, ip)| ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::TRANSMIT_MAX;
    use crate::machine::{Family, Link};

    fn provider<const N: usize>() -> Provider<N> {
        let config = Config {
            seed: Seed([1; 32]),
            key: SecretKey::from_seed(&[7; 32]),
            name: None,
            host: HostLabel::from_hostname("my-mac"),
            origin: Origin::Auto { port: 8080 },
            ttl: 3600,
        };
        Provider::new(Instant::ZERO, config)
    }

    fn image(channel: &str) -> Image {
        Image {
            channel: Channel::new(channel).unwrap(),
            arch: Arch::new("arm64").unwrap(),
            version: Version::new("1").unwrap(),
            digest: Digest::of(b""),
        }
    }

    fn network(text: &str) -> Network {
        Network { address: text.parse().unwrap(), prefix_len: 24 }
    }

    fn up<const N: usize>(provider: &mut Provider<N>, now: Instant, interface: u32, address: &str) {
        let id = LinkId { interface, family: Family::V4 };
        let networks = [network(address)];
        provider.handle_input(now, Input::LinkUp(Link { id, mtu: 1500, networks: &networks }));
    }

    fn seconds(count: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(count)
    }

    /// Feeds a timeout and gives how many signatures are asked for, if any.
    fn asked<const N: usize>(provider: &mut Provider<N>, now: Instant) -> Option<u32> {
        let mut buffer = [0xa5; TRANSMIT_MAX];
        let mut due = None;
        provider.handle_input(now, Input::Timeout);
        loop {
            match provider.poll_output(&mut buffer) {
                Output::Transmit(_) | Output::Connection(..) => {}
                Output::Event(Event::SignatureDue { count }) => due = Some(count),
                Output::Event(_) => {}
                Output::Timeout(_) => return due,
            }
        }
    }

    #[test]
    fn a_provider_holds_as_many_images_as_it_was_made_for() {
        let mut provider = provider::<2>();
        provider.publish(Instant::ZERO, image("a")).unwrap();
        provider.publish(Instant::ZERO, image("b")).unwrap();
        let error = provider.publish(Instant::ZERO, image("c")).unwrap_err();
        assert_eq!(error, Misuse::TooManyImages { capacity: 2 });
        provider.publish(Instant::ZERO, image("b")).unwrap();
        let arch = Arch::new("arm64").unwrap();
        assert!(provider.withdraw(Instant::ZERO, &image("a").channel, &arch));
        provider.publish(Instant::ZERO, image("c")).unwrap();
        provider.stop(Instant::ZERO);
        assert_eq!(provider.publish(Instant::ZERO, image("d")), Err(Misuse::Stopped));
    }

    #[test]
    fn every_interface_and_image_is_signed_with_its_own_number() {
        let mut provider = provider::<4>();
        up(&mut provider, Instant::ZERO, 1, "192.0.2.1");
        up(&mut provider, Instant::ZERO, 2, "198.51.100.1");
        provider.publish(Instant::ZERO, image("a")).unwrap();
        provider.publish(Instant::ZERO, image("b")).unwrap();
        assert_eq!(asked(&mut provider, Instant::ZERO), Some(4));
        assert_eq!(provider.sign(Instant::ZERO, UnixTime(1_764_158_400), 10), 14);
        let mut numbers: std::vec::Vec<_> =
            provider.adverts().map(|advert| advert.signed.unwrap().0).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [10, 11, 12, 13]);
        let mut urls: std::vec::Vec<_> = provider
            .adverts()
            .map(|advert| std::string::ToString::to_string(&advert.url.unwrap()))
            .collect();
        urls.sort();
        assert_eq!(urls[0], "http://192.0.2.1:8080/a/arm64/manifest.json");
        assert_eq!(urls[3], "http://198.51.100.1:8080/b/arm64/manifest.json");
        assert_eq!(asked(&mut provider, Instant::ZERO), None);
    }

    #[test]
    fn no_more_numbers_are_used_than_were_asked_for() {
        let mut provider = provider::<4>();
        up(&mut provider, Instant::ZERO, 1, "192.0.2.1");
        provider.publish(Instant::ZERO, image("a")).unwrap();
        assert_eq!(asked(&mut provider, Instant::ZERO), Some(1));
        provider.publish(Instant::ZERO, image("b")).unwrap();
        assert_eq!(provider.sign(Instant::ZERO, UnixTime(1), 10), 11);
        assert_eq!(
            asked(&mut provider, Instant::ZERO),
            Some(1),
            "the second is asked for by itself"
        );
        assert_eq!(provider.sign(Instant::ZERO, UnixTime(1), 11), 12);
        assert_eq!(provider.sign(Instant::ZERO, UnixTime(1), 12), 12, "nothing was asked for");
    }

    #[test]
    fn a_signature_that_does_not_come_is_asked_for_every_minute() {
        let mut provider = provider::<4>();
        up(&mut provider, Instant::ZERO, 1, "192.0.2.1");
        provider.publish(Instant::ZERO, image("a")).unwrap();
        assert_eq!(asked(&mut provider, Instant::ZERO), Some(1));
        assert_eq!(asked(&mut provider, seconds(59)), None);
        assert_eq!(asked(&mut provider, seconds(60)), Some(1));
        assert_eq!(provider.sign(seconds(60), UnixTime(1), 0), 0, "0 is no number");
        assert_eq!(asked(&mut provider, seconds(119)), None);
        assert_eq!(asked(&mut provider, seconds(120)), Some(1));
    }

    #[test]
    fn adverts_are_signed_again_after_two_thirds_of_their_life() {
        let mut provider = provider::<4>();
        up(&mut provider, Instant::ZERO, 1, "192.0.2.1");
        provider.publish(Instant::ZERO, image("a")).unwrap();
        asked(&mut provider, Instant::ZERO);
        provider.sign(Instant::ZERO, UnixTime(1), 1);
        assert_eq!(asked(&mut provider, seconds(2159)), None);
        assert_eq!(asked(&mut provider, seconds(2641)), Some(1));
    }

    #[test]
    fn a_new_address_is_signed_at_once_and_the_same_one_not() {
        let mut provider = provider::<4>();
        up(&mut provider, Instant::ZERO, 1, "192.0.2.1");
        provider.publish(Instant::ZERO, image("a")).unwrap();
        asked(&mut provider, Instant::ZERO);
        provider.sign(Instant::ZERO, UnixTime(1), 1);
        up(&mut provider, seconds(10), 1, "192.0.2.1");
        assert_eq!(asked(&mut provider, seconds(10)), None);
        up(&mut provider, seconds(20), 1, "192.0.2.2");
        assert_eq!(asked(&mut provider, seconds(20)), Some(1));
    }

    #[test]
    fn urls_prefer_private_and_global_ipv4_then_ipv6_then_link_local() {
        let check = |of: &[&str], expected: Option<&str>| {
            let networks: std::vec::Vec<_> = of.iter().map(|text| network(text)).collect();
            assert_eq!(address_of(&networks), expected.map(|text| text.parse().unwrap()), "{of:?}");
        };
        check(&["fe80::1", "169.254.1.1", "2001:db8::1", "10.0.0.1"], Some("10.0.0.1"));
        check(&["fe80::1", "169.254.1.1", "fd12::1"], Some("fd12::1"));
        check(&["fe80::1", "169.254.1.1"], Some("169.254.1.1"));
        check(&["fe80::1"], Some("fe80::1"));
        check(&["127.0.0.1", "::1", "169.254.169.254"], None);
    }

    #[test]
    fn a_fixed_origin_is_the_same_on_every_interface() {
        for text in ["https://boot.example.org", "https://boot.example.org/"] {
            let origin = Origin::fixed(text).unwrap();
            let image = image("stable");
            let url = origin.url(None, &image.channel, &image.arch).unwrap();
            assert_eq!(url.as_str(), "https://boot.example.org/stable/arm64/manifest.json");
            assert_eq!(origin.port(), 443);
        }
        assert!(Origin::fixed("ftp://boot.example.org").is_err());
        assert!(Origin::fixed("http://boot.example.org/a?b").is_err());
    }
}
