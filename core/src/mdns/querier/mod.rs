//! Asks for service instances on every link, and keeps what is answered.
//!
//! Spec: RFC 6762 §5 (querying), §7 (suppression), §10 (lifetimes); RFC 6763 §4 (browsing), §12 (additional records).
//!
//! Per link, when it comes up:
//! 1. At once, from the ephemeral port: `PTR` of the subtype and `PTR` of the service type, one question a message.
//!    A responder answers such a one-shot query without delay, and no other program on port 5353 can take the answer.
//! 2. After 20 to 120 ms, from port 5353: both questions, asking for unicast responses where this program was the first
//!    to bind the port (RFC 6762 §15.1), with the known answers.
//! 3. After 1 s, 2 s, 4 s … : both again, the one-shot queries until something acceptable is known; multicast questions
//!    do not ask for unicast responses any more.
//!
//! Records that do not come along as additional records are asked for in the same way.
//!
//! A *browsing* querier (watch mode) also keeps records alive: it refreshes them, and takes instances out that said
//! goodbye, lapsed, or do not answer. A querier that discovers once forgets nothing.
//!
//! What a TXT record says is judged by a [`Listener`]. One unauthenticated packet does not take away what it
//! verified: on goodbye, and on a flush by another record, the querier asks again within the second of grace
//! that RFC 6762 §10.1 gives, and the instance is gone only if nobody answers.
//!
//! Not implemented: other service types, NSEC as proof that a name does not exist.

pub(crate) mod asked;
mod hosts;
mod links;
mod names;
mod receive;
mod send;
pub(crate) mod series;
mod timers;

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use self::asked::OneShots;
use self::hosts::Hosts;
use self::links::Links;
use self::series::Series;
use crate::limits::FOLLOW_UPS_PER_SECOND;
use crate::machine::{Link, LinkId, Network};
use crate::mdns::cache::{Cache, Instance, RECONFIRM, TextDigest, Worth};
use crate::mdns::service::{ServiceName, subtype};
use crate::rng::Rng;
use crate::stats::{Stats, count};
use crate::time::{Deadline, Instant};
use crate::wire::dns::Txt;

pub(crate) use self::hosts::HostName;
pub(crate) use self::links::Change;

/// Where and how a TXT record was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sighting<'a> {
    pub(crate) now: Instant,
    /// Of the instance.
    pub(crate) label: &'a [u8],
    pub(crate) digest: TextDigest,
    pub(crate) link: LinkId,
    pub(crate) remote: SocketAddr,
    /// The time from a one-shot query to this answer.
    pub(crate) rtt: Option<Duration>,
    /// The addresses of the interface.
    pub(crate) networks: &'a [Network],
}

/// What a [`Listener`] makes of a TXT record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judgement {
    pub(crate) worth: Worth,
    /// Another text of the same signer that this one replaces.
    pub(crate) supersedes: Option<TextDigest>,
    /// A host under `local` whose addresses are needed.
    pub(crate) host: Option<HostName>,
}

/// Who judges TXT records.
pub(crate) trait Listener {
    /// A TXT record was seen, for the first time or again.
    fn text(&mut self, seen: &Sighting<'_>, txt: &Txt<'_>) -> Judgement;

    /// A TXT record is gone from an interface.
    fn gone(&mut self, interface: u32, digest: TextDigest);
}

/// Follow-up queries of this second.
#[derive(Debug)]
struct Budget {
    since: Instant,
    left: u8,
}

impl Budget {
    /// Takes one, if there is one.
    fn take(&mut self, now: Instant) -> bool {
        if now.since(self.since) >= Duration::from_secs(1) {
            *self = Self { since: now, left: FOLLOW_UPS_PER_SECOND };
        }
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

/// How a querier works.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) arch: &'a str,
    pub(crate) channel: &'a str,
    /// Keep records alive and take out what is gone.
    pub(crate) browsing: bool,
    /// No other program held port 5353 (RFC 6762 §15.1).
    pub(crate) first_binder: bool,
}

/// The querier of one service subtype.
#[derive(Debug)]
pub(crate) struct Querier {
    now: Instant,
    rng: Rng,
    browsing: bool,
    first_binder: bool,
    subtype: ServiceName,
    links: Links,
    cache: Cache,
    hosts: Hosts,
    one_shots: OneShots,
    follow_ups: Budget,
    /// Something acceptable is known: nothing is urgent.
    satisfied: bool,
    stats: Stats,
}

impl Querier {
    /// A querier without links.
    pub(crate) fn new(now: Instant, rng: Rng, settings: &Settings<'_>) -> Self {
        Self {
            now,
            rng,
            browsing: settings.browsing,
            first_binder: settings.first_binder,
            subtype: subtype(settings.arch, settings.channel),
            links: Links::new(),
            cache: Cache::new(),
            hosts: Hosts::new(),
            one_shots: OneShots::new(),
            follow_ups: Budget { since: now, left: FOLLOW_UPS_PER_SECOND },
            satisfied: false,
            stats: Stats::default(),
        }
    }

    /// Whether something acceptable is known.
    pub(crate) const fn set_satisfied(&mut self, satisfied: bool) {
        self.satisfied = satisfied;
    }

    /// Counters.
    pub(crate) const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The addresses of an interface.
    pub(crate) fn networks(&self, interface: u32) -> &[Network] {
        self.links.networks(interface)
    }

    /// The addresses of every interface.
    pub(crate) fn all_networks(&self) -> impl Iterator<Item = &Network> {
        self.links.all_networks()
    }

    /// A link came up or changed.
    pub(crate) fn handle_link_up(&mut self, now: Instant, link: &Link<'_>) -> Change {
        let change = self.links.up(now, link);
        if change == Change::Full {
            count!(self.stats, links_refused);
        }
        change
    }

    /// A link went away. RFC 6762 §10.3: what was learned on an interface that is gone is gone with it.
    pub(crate) fn handle_link_down(&mut self, id: LinkId, listener: &mut impl Listener) {
        let last = self.links.down(id);
        self.one_shots.forget(id);
        if last {
            self.hosts.forget(id.interface);
            self.cache.retain(|instance| {
                let stays = instance.link.interface != id.interface;
                if !stays {
                    instance.texts.iter().for_each(|t| listener.gone(id.interface, t.digest));
                }
                stays
            });
        } else if let Some(other) = self.links.of_interface(id.interface) {
            self.cache.iter_mut().filter(|i| i.link == id).for_each(|i| i.link = other);
            self.hosts.iter_mut().filter(|h| h.link == id).for_each(|h| h.link = other);
        }
    }

    /// RFC 6762 §10.4: this text may be stale. It is asked for at least twice, and is gone if nobody
    /// answers in ten seconds.
    pub(crate) fn reconfirm(&mut self, now: Instant, interface: u32, digest: TextDigest) {
        for instance in self.cache.iter_mut() {
            if instance.link.interface == interface
                && let Some(text) = instance.texts.iter_mut().find(|text| text.digest == digest)
                && text.doubt == Deadline::NONE
            {
                text.doubt = Deadline::new(now + RECONFIRM);
                instance.resolve = Series::starting(now);
            }
        }
    }

    /// A link on which this text is still known, and who brought it there.
    pub(crate) fn holder(&self, digest: TextDigest) -> Option<(LinkId, IpAddr)> {
        let holds = |i: &&Instance| i.texts.iter().any(|text| text.digest == digest);
        self.cache.iter().find(holds).map(|instance| (instance.link, instance.source))
    }

    /// The addresses of a host under `local`, as the responder at `source` gave them.
    pub(crate) fn addresses(
        &self,
        interface: u32,
        source: IpAddr,
        name: &HostName,
    ) -> impl Iterator<Item = IpAddr> {
        let host = self.hosts.find(interface, source, &name.as_name());
        host.into_iter().flat_map(|host| host.addresses.iter().map(|address| address.ip))
    }
}
