//! The responder: owns names on every link, answers for them, defends them, gives them up.
//!
//! A *name* (the host, each instance) goes through waiting, probing and verified on every link by itself
//! ([`link`]). What is verified is announced and answered for. Everything multicast goes through one place:
//! a *record set* is due at a time, and when that comes all that is due leaves in as few packets as possible.
//! So a record is never multicast twice within a second, whatever asks for it: that bounds what a link can be
//! made to carry. Unicast answers go to on-link sources only, one for each query, and have no other limit.
//!
//! Spec: RFC 6762 §5.4 to §11, §14, §17, §18; RFC 6763 §4 to §12.
//! Deviation: legacy queries are answered at once also for shared records, as mDNSResponder, Avahi and
//! python-zeroconf do: §6.7 asks for the answer a conventional server would give, §6 for a delay.
//! Not implemented: reverse address names; NSEC for shared names.

use core::net::SocketAddr;

use heapless::{Deque, Vec};

use self::conflict::ConflictLog;
use self::link::LinkState;
use self::pending::PendingAnswers;
pub(crate) use self::records::Owner;
use self::records::{OfInstance, RecordSet};
use self::registry::{Instance, Interface, Registry};
use self::replies::Replies;
use self::sent::SentPackets;
use crate::limits::{DATAGRAM_MAX, LINKS};
use crate::machine::{Datagram, Link, LinkId, Network, Port, Transmit, TransmitBuffer, Wake};
use crate::mdns::group;
use crate::mdns::service::{HostLabel, InstanceName, Label, ServiceName};
use crate::rng::{Rng, Seed};
use crate::schedule::Timer;
use crate::stats::{Stats, count};
use crate::time::Instant;
use crate::wire::dns::{Flags, Message};

mod announce;
mod answer;
mod conflict;
mod link;
mod pending;
mod probe;
mod query;
mod records;
mod registry;
mod replies;
mod sent;

/// Events kept for the user; with more the oldest is lost and counted.
const EVENTS: usize = 32;

/// Instances in one multicast: an Ethernet frame takes two typical adverts with the host's addresses, not three.
const INSTANCES_PER_PACKET: usize = 2;

/// What the responder tells its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A name is ours on a link; its first announcement leaves next.
    Verified { link: LinkId, owner: Owner },
    /// A verified name is used by somebody else; it is probed for again.
    Conflict { owner: Owner },
    /// A name was taken; the owner has its next one.
    Renamed { owner: Owner },
    /// A name has been fought over for another minute.
    NoName { owner: Owner },
    /// Every goodbye was sent.
    Stopped,
}

/// A service instance to be registered.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) name: InstanceName,
    /// 1, or the number the name got in conflicts before.
    pub(crate) number: u16,
    pub(crate) subtype: ServiceName,
    pub(crate) port: u16,
}

/// Whether names are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    /// Goodbyes are being sent.
    Stopping,
    Stopped,
}

/// A responder for up to `N` service instances.
#[derive(Debug)]
pub(crate) struct Responder<const N: usize> {
    now: Instant,
    rng: Rng,
    registry: Registry<N>,
    links: Vec<LinkState<N>, LINKS>,
    pending: PendingAnswers<N>,
    replies: Replies,
    sent: SentPackets,
    conflicts: ConflictLog,
    events: Deque<Event, EVENTS>,
    stats: Stats,
    /// The next deadline; `None`: to be worked out again.
    wake: Option<Option<Wake>>,
    /// There may be something to send that no deadline shows: farewells, the end.
    restless: bool,
    port_shared: bool,
    life: Life,
}

impl<const N: usize> Responder<N> {
    pub(crate) fn new(now: Instant, seed: &Seed, host: HostLabel) -> Self {
        Self {
            now,
            rng: seed.stream("mdns responder"),
            registry: Registry::new(host),
            links: Vec::new(),
            pending: PendingAnswers::new(),
            replies: Replies::new(),
            sent: SentPackets::new(),
            conflicts: ConflictLog::default(),
            events: Deque::new(),
            stats: Stats::default(),
            wake: None,
            restless: false,
            port_shared: false,
            life: Life::Running,
        }
    }

    /// Another responder of this host has port 5353 too: unicast responses may go to it, so probes do not
    /// ask for them (RFC 6762 §15.1).
    pub(crate) fn set_port_shared(&mut self, shared: bool) {
        self.port_shared = shared;
    }

    pub(crate) const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The host's current label.
    pub(crate) fn host_label(&self) -> Label {
        self.registry.host.label.numbered(self.registry.host.number)
    }

    /// The current label of an instance and its number.
    pub(crate) fn instance_label(&self, index: usize) -> Option<(Label, u16)> {
        self.registry.instance(index).map(|one| (one.label.label(one.number), one.number))
    }

    /// The links that are up.
    pub(crate) fn links(&self) -> impl Iterator<Item = LinkId> + '_ {
        self.links.iter().map(|state| state.id)
    }

    /// Whether an instance is verified on a link.
    pub(crate) fn is_verified(&self, link: LinkId, index: usize) -> bool {
        let state = self.links.iter().find(|state| state.id == link);
        state.is_some_and(|state| state.is_verified(Owner::Instance(index)))
    }

    /// The interfaces that are up, with their addresses.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = (u32, &[Network])> {
        self.registry.interfaces.iter().map(|one| (one.index, one.networks.as_slice()))
    }

    /// Registers an instance at a free index below `N`; it is probed for once it has a text.
    pub(crate) fn register(&mut self, now: Instant, index: usize, registration: Registration) {
        self.advance(now);
        let Registration { name, number, subtype, port } = registration;
        self.release(index);
        self.registry.insert(index, Instance::new(name, number.max(1), subtype, port));
        self.changed();
    }

    /// Withdraws an instance with goodbyes.
    pub(crate) fn unregister(&mut self, now: Instant, index: usize) {
        self.advance(now);
        let Some(instance) = self.registry.instance_mut(index) else { return };
        instance.leaving = true;
        for state in &mut self.links {
            state.dismiss(index, now);
            state.set_phase(Owner::Instance(index), link::Phase::Idle);
        }
        self.pending.forget_instance(index);
        self.changed();
    }

    /// Whether an index is free: never used, or withdrawn with every goodbye sent.
    pub(crate) fn is_free(&self, index: usize) -> bool {
        index < N && self.registry.instance(index).is_none()
    }

    /// Sets the TXT record data of an instance on an interface: the first begins its probing there, a change
    /// is announced (RFC 6762 §8.4).
    pub(crate) fn set_text(&mut self, now: Instant, interface: u32, index: usize, rdata: &[u8]) {
        self.advance(now);
        let Some(here) = self.registry.interface_mut(interface) else { return };
        if !here.set_text(index, rdata) {
            return;
        }
        let owner = Owner::Instance(index);
        for link in 0..self.links.len() {
            let Some(state) = self.links.get_mut(link) else { break };
            if state.id.interface != interface {
                continue;
            }
            match state.phase(owner) {
                link::Phase::Idle => self.start_probing(link, owner),
                link::Phase::Verified => {
                    state.announce(RecordSet::Instance(index, OfInstance::Txt), now)
                }
                link::Phase::Waiting { .. } | link::Phase::Probing { .. } => {}
            }
        }
        self.changed();
    }

    /// Withdraws everything with goodbyes; [`Event::Stopped`] follows when they are sent.
    pub(crate) fn stop(&mut self, now: Instant) {
        self.advance(now);
        if self.life != Life::Running {
            return;
        }
        self.life = Life::Stopping;
        self.pending.clear();
        for link in 0..self.links.len() {
            self.say_goodbye(link);
        }
        self.changed();
    }

    /// A link came up or changed. New addresses mean new start-up steps for the host name (RFC 6762 §8).
    pub(crate) fn handle_link_up(&mut self, now: Instant, link: &Link<'_>) {
        self.advance(now);
        if self.life != Life::Running {
            return;
        }
        if link.networks.is_empty() {
            self.handle_link_down(now, link.id);
            return;
        }
        let new = !self.links.iter().any(|state| state.id == link.id);
        let room = !new || !self.links.is_full();
        let Some(changed) = Some(link).filter(|_| room).and_then(|link| self.set_networks(link))
        else {
            count!(self.stats, links_refused);
            return;
        };
        if let Some(state) = self.links.iter_mut().find(|state| state.id == link.id) {
            state.set_mtu(link.mtu);
        } else if self.links.push(LinkState::new(link.id, link.mtu)).is_ok() {
            let new = self.links.len().saturating_sub(1);
            for owner in Owner::all(N) {
                self.start_probing(new, owner);
            }
        }
        if changed {
            for other in 0..self.links.len() {
                let state = self.links.get(other);
                if state.is_some_and(|state| {
                    state.id.interface == link.id.interface
                        && state.phase(Owner::Host) != link::Phase::Idle
                }) {
                    self.start_probing(other, Owner::Host);
                }
            }
        }
        self.changed();
    }

    /// A link went away: nothing can be said there any more.
    pub(crate) fn handle_link_down(&mut self, now: Instant, link: LinkId) {
        self.advance(now);
        self.links.retain(|state| state.id != link);
        self.pending.forget_link(link);
        if !self.links.iter().any(|state| state.id.interface == link.interface) {
            self.registry.interfaces.retain(|one| one.index != link.interface);
        }
        self.changed();
    }

    /// Takes over the addresses of an interface and tells whether they changed; `None`: too many interfaces.
    fn set_networks(&mut self, link: &Link<'_>) -> Option<bool> {
        let index = link.id.interface;
        if self.registry.interface(index).is_none() {
            self.registry.interfaces.push(Interface::new(index)).ok()?;
        }
        let here = self.registry.interface_mut(index)?;
        let networks: Vec<Network, { crate::limits::NETWORKS_PER_LINK }> = link
            .networks
            .iter()
            .filter(|network| !network.address.is_unspecified() && !network.address.is_multicast())
            .take(crate::limits::NETWORKS_PER_LINK)
            .copied()
            .collect();
        if here.networks == networks {
            return Some(false);
        }
        here.gone.clear();
        for old in &here.networks {
            let v4 = old.address.is_ipv4();
            if !networks.iter().any(|network| network.address.is_ipv4() == v4) {
                // At most as many as there were.
                let _ = here.gone.push(old.address);
            }
        }
        let gone = !here.gone.is_empty();
        here.networks = networks;
        for state in self.links.iter_mut().filter(|state| state.id.interface == index) {
            state.addresses_gone = gone && state.is_verified(Owner::Host);
        }
        Some(true)
    }

    /// Handles a datagram that came to port 5353.
    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: &Datagram<'_>) {
        self.advance(now);
        count!(self.stats, datagrams_received);
        if self.life != Life::Running || datagram.port != Port::Mdns {
            return;
        }
        let Some(link) = self.links.iter().position(|state| state.id == datagram.link) else {
            count!(self.stats, unknown_link);
            return;
        };
        if datagram.payload.len() > DATAGRAM_MAX {
            count!(self.stats, oversized);
            return;
        }
        if self.is_on_link(link, datagram.remote.ip()) && self.replies.repeat(self.now, datagram) {
            return;
        }
        let Ok(message) = Message::decode(datagram.payload) else {
            count!(self.stats, malformed);
            return;
        };
        if message.flags().opcode() != 0 || message.flags().rcode() != 0 {
            count!(self.stats, ignored_code);
        } else if message.flags().is_response() {
            self.handle_response(link, datagram, &message);
        } else {
            self.handle_query(link, datagram, &message);
        }
    }

    /// Runs the timers that are due.
    pub(crate) fn advance(&mut self, now: Instant) {
        self.now = now;
        let due = match self.wake {
            Some(wake) => wake.is_some_and(|wake| wake.at <= now),
            None => true,
        };
        if due {
            self.handle_probing();
            self.handle_patience();
            self.wake = None;
        }
    }

    /// Takes the next datagram to send.
    pub(crate) fn poll_transmit(&mut self, buf: &mut TransmitBuffer) -> Option<Transmit> {
        if let Some(transmit) = self.replies.poll(buf) {
            count!(self.stats, replies_sent);
            count!(self.stats, datagrams_sent);
            return Some(transmit);
        }
        if self.next_wake().is_none_or(|wake| wake.at > self.now) && !self.restless {
            return None;
        }
        if let Some(transmit) = self.poll_pending(buf) {
            return Some(transmit);
        }
        for link in 0..self.links.len() {
            let transmit = self
                .poll_goodbye(link, buf)
                .or_else(|| self.poll_probe(link, buf))
                .or_else(|| self.poll_multicast(link, buf));
            if transmit.is_some() {
                return transmit;
            }
        }
        self.release_withdrawn();
        if self.life == Life::Stopping {
            self.life = Life::Stopped;
            self.links.clear();
            self.tell(Event::Stopped);
        }
        self.restless = false;
        self.wake = Some(self.next_deadline());
        None
    }

    /// Takes the next event.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next deadline, once [`Self::poll_transmit`] has nothing left.
    pub(crate) fn next_wake(&mut self) -> Option<Wake> {
        match self.wake {
            Some(wake) => wake,
            None => *self.wake.insert(self.next_deadline()),
        }
    }

    /// Writes the multicast that is due on a link: few enough instances that what is asked for next (RFC 6763
    /// §12) fits beside them.
    fn poll_multicast(&mut self, link: usize, buf: &mut TransmitBuffer) -> Option<Transmit> {
        let mut instances = INSTANCES_PER_PACKET;
        loop {
            let state = self.links.get(link)?;
            if state.multicast_at().is_none_or(|at| at > self.now) {
                return None;
            }
            let id = state.id;
            let answers = state.due(self.now).1.with_instances(instances);
            if answers.is_empty() {
                return None;
            }
            let more = self.multicast_additionals(link, &answers);
            let state = self.links.get_mut(link)?;
            let packet = answer::Packet {
                flags: Flags::RESPONSE,
                limit: state.payload_max,
                style: answer::Style::Multicast,
            };
            let (sent, added, len) =
                packet.write_with(&self.registry, id.interface, (&answers, &more), buf);
            let fewer = answers.with_instances(1);
            if (sent, added) != (answers, more) && fewer != answers {
                instances = 1;
                continue;
            }
            state.sent(&sent, self.now);
            state.sent(&added, self.now);
            self.wake = None;
            if let Some(len) = len {
                return Some(self.multicast(id, buf, len));
            }
        }
    }

    /// A multicast of the first `len` octets of `buf`.
    fn multicast(&mut self, link: LinkId, buf: &TransmitBuffer, len: usize) -> Transmit {
        self.sent.insert(buf.get(..len).unwrap_or_default());
        count!(self.stats, datagrams_sent);
        Transmit { link, port: Port::Mdns, destination: group(link.family), len }
    }

    /// A unicast of the first `len` octets of the buffer.
    fn unicast(&mut self, link: LinkId, remote: SocketAddr, len: usize) -> Transmit {
        count!(self.stats, replies_sent);
        count!(self.stats, datagrams_sent);
        Transmit { link, port: Port::Mdns, destination: remote, len }
    }

    /// Frees the indices of withdrawn instances whose goodbyes are sent.
    fn release_withdrawn(&mut self) {
        for index in 0..N {
            if self.registry.instance(index).is_some_and(|one| one.leaving) {
                self.release(index);
            }
        }
    }

    fn release(&mut self, index: usize) {
        self.registry.remove(index);
        for state in &mut self.links {
            state.forget(index);
        }
    }

    fn next_deadline(&self) -> Option<Wake> {
        let earliest = |a: Option<Wake>, timer: Timer, at: Option<Instant>| {
            Wake::earliest(a, at.map(|at| timer.at(at)))
        };
        let mut wake = earliest(None, Timer::Reply, self.pending.next_due());
        for state in &self.links {
            wake = earliest(wake, Timer::Probe, state.probe_at());
            wake = earliest(wake, Timer::Multicast, state.multicast_at());
        }
        earliest(wake, Timer::NoName, self.patience_at())
    }

    /// Names, addresses or texts changed: what was worked out from them is void.
    fn changed(&mut self) {
        self.replies.forget();
        self.wake = None;
        self.restless = true;
    }

    fn tell(&mut self, event: Event) {
        if self.events.is_full() {
            self.events.pop_front();
            count!(self.stats, events_lost);
        }
        // There is room: one was just taken out.
        let _ = self.events.push_back(event);
    }
}
