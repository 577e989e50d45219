//! What a provider tells its user, and what it shows.

use super::Image;
use crate::dht::server;
use crate::machine::LinkId;
use crate::mdns::service::Label;
use crate::time::{Instant, UnixTime};
use crate::wire::record::{Arch, Channel};
use crate::wire::url::Url;

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
        /// 1, and one more for every conflict lost;
        /// [`Provider::publish_numbered`](super::Provider::publish_numbered) takes it.
        number: u16,
    },
}

/// What a provider tells its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Persist that `count` more sequence numbers are used, then call
    /// [`Provider::sign`](super::Provider::sign). Asked again every minute until it is.
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
    /// Everything was withdrawn after [`Provider::stop`](super::Provider::stop).
    Stopped,
    /// What the DHT node tells.
    Dht(server::Event),
}

/// One advert as it stands, for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvertStatus<'a> {
    /// The image.
    pub image: &'a Image,
    /// The interface; [`DHT`](super::DHT) for the advert in the DHT.
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
    /// How it stands in the DHT, for the advert there once it is signed.
    pub publication: Option<server::PublicationStatus>,
}
