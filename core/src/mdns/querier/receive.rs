//! What a querier learns from a datagram.
//!
//! Spec: RFC 6762 §6 (which responses count), §7.3 (questions of others), §10 (lifetimes), §10.5 (passive observation),
//! §11 (sources), §18 (header).
//!
//! Bad messages are dropped and counted; a bad record is skipped, and those behind it still count.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::links::is_group;
use super::names::instance_label;
use super::series::Series;
use super::{Listener, Querier, Sighting};
use crate::limits::DATAGRAM_MAX;
use crate::machine::{Datagram, LinkId, Port};
use crate::mdns::PORT;
use crate::mdns::cache::{
    Asks, GRACE, Instance, Lifetime, RECONFIRM, Service, Text, TextDigest, Worth,
};
use crate::mdns::service::service_type;
use crate::stats::count;
use crate::time::{Deadline, Instant};
use crate::wire::dns::{Class, Message, Name, Nsec, Question, Record, RecordData, Srv, Txt, Type};

/// RFC 6762 §10.5: this many queries of others without an answer put a record in doubt.
const UNANSWERED: u8 = 2;

/// Where a response came from.
#[derive(Clone, Copy)]
struct Origin {
    now: Instant,
    link: LinkId,
    remote: SocketAddr,
    /// For replies to one-shot queries: the time they took.
    rtt: Option<Duration>,
}

impl Origin {
    const fn source(&self) -> IpAddr {
        self.remote.ip()
    }
}

impl Querier {
    /// Takes a datagram in.
    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &Datagram<'_>,
        listener: &mut impl Listener,
    ) {
        self.now = now;
        count!(self.stats, datagrams_received);
        if self.links.find(datagram.link).is_none() {
            return count!(self.stats, unknown_link);
        }
        if datagram.payload.len() > DATAGRAM_MAX {
            return count!(self.stats, oversized);
        }
        let Ok(message) = Message::decode(datagram.payload) else {
            return count!(self.stats, malformed);
        };
        // RFC 6762 §18.3, §18.11: "MUST be silently ignored".
        if message.flags().opcode() != 0 || message.flags().rcode() != 0 {
            return count!(self.stats, ignored_code);
        }
        if message.flags().is_response() {
            if let Some(origin) = self.admit(now, datagram, &message) {
                self.handle_response(&origin, &message, listener);
            }
        } else if datagram.port == Port::Mdns {
            self.handle_query(now, datagram, &message);
        }
    }

    /// Whether a response counts.
    fn admit(
        &mut self,
        now: Instant,
        datagram: &Datagram<'_>,
        message: &Message<'_>,
    ) -> Option<Origin> {
        let Datagram { link, remote, .. } = *datagram;
        // RFC 6762 §6: "MUST silently ignore any Multicast DNS responses they receive where the source UDP port is not
        // 5353."
        if remote.port() != PORT {
            count!(self.stats, wrong_source_port);
            return None;
        }
        let multicast = datagram.port == Port::Mdns && is_group(datagram.destination);
        // RFC 6762 §11: a unicast response from elsewhere is a forgery, a multicast one cannot come from elsewhere.
        if !multicast && !self.links.is_on_link(link.interface, remote.ip()) {
            count!(self.stats, off_link);
            return None;
        }
        let rtt = match datagram.port {
            Port::Ephemeral => {
                let rtt = self.one_shots.answered(now, link, message);
                if rtt.is_none() {
                    count!(self.stats, unsolicited);
                }
                Some(rtt?)
            }
            Port::Mdns => {
                let until = self.links.find(link).and_then(|link| link.unicast_until.get());
                if !multicast && until.is_none_or(|until| now > until) {
                    count!(self.stats, unsolicited);
                    return None;
                }
                None
            }
        };
        Some(Origin { now, link, remote, rtt })
    }

    /// Takes the records of a response in: those that name instances first, then those that describe what is known.
    fn handle_response(
        &mut self,
        origin: &Origin,
        message: &Message<'_>,
        listener: &mut impl Listener,
    ) {
        for record in message.answers().chain(message.additionals()) {
            let Ok(record) = record else {
                count!(self.stats, malformed_records);
                continue;
            };
            if record.class != Class::In {
                continue;
            }
            match &record.data {
                RecordData::Ptr(target) => self.handle_pointer(origin, &record, target, listener),
                RecordData::Txt(txt) => self.handle_text(origin, &record, txt, listener),
                RecordData::A(_)
                | RecordData::Aaaa(_)
                | RecordData::Srv(_)
                | RecordData::Nsec(_)
                | RecordData::Unknown { .. } => {}
            }
        }
        for record in message.answers().chain(message.additionals()).flatten() {
            if record.class != Class::In {
                continue;
            }
            match &record.data {
                RecordData::Srv(srv) => self.handle_service(origin, &record, srv),
                RecordData::A(ip) => self.handle_address(origin, &record, (*ip).into()),
                RecordData::Aaaa(ip) => self.handle_address(origin, &record, (*ip).into()),
                RecordData::Nsec(nsec) => self.handle_denial(origin, &record, nsec),
                RecordData::Ptr(_) | RecordData::Txt(_) | RecordData::Unknown { .. } => {}
            }
        }
        for instance in self.cache.iter_mut() {
            let touched = core::mem::take(&mut instance.touched);
            let idle = instance.resolve.next_at().is_none();
            if touched && idle && !instance.missing(self.browsing).is_empty() {
                instance.resolve = Series::starting(origin.now);
            }
        }
    }

    fn life(&mut self, origin: &Origin, record: &Record<'_>) -> Lifetime {
        let [jitter, _] = self.rng.u16().to_be_bytes();
        Lifetime::new(origin.now, record.ttl, origin.rtt.is_some(), jitter)
    }

    /// PTR of the subtype or the service type.
    fn handle_pointer(
        &mut self,
        origin: &Origin,
        record: &Record<'_>,
        target: &Name<'_>,
        listener: &mut impl Listener,
    ) {
        let ask = match self.browse_name(&record.name) {
            Asks::NONE => return,
            ask => ask,
        };
        let Some(label) = instance_label(target) else { return };
        let life = self.life(origin, record);
        let interface = origin.link.interface;
        if record.ttl == 0 {
            if let Some(instance) = self.cache.find_mut(interface, label) {
                if let Some(pointer) = instance.pointer_mut(ask) {
                    pointer.end(origin.now);
                }
                if instance.doubt(origin.now + GRACE) {
                    instance.resolve = Series::spread(origin.now, &mut self.rng);
                }
            }
            return;
        }
        let evicted = |victim: Instance| forget(&victim, listener);
        match self.cache.entry(origin.link, origin.source(), label, evicted) {
            Some(instance) => {
                let pointer = instance.pointer_mut(ask);
                *pointer = Some(Lifetime::renewed(*pointer, life));
                instance.unanswered = 0;
            }
            None => count!(self.stats, instances_over_limit),
        }
    }

    /// TXT of an instance.
    fn handle_text(
        &mut self,
        origin: &Origin,
        record: &Record<'_>,
        txt: &Txt<'_>,
        listener: &mut impl Listener,
    ) {
        let Some(label) = instance_label(&record.name) else { return };
        let digest = TextDigest::of(txt.as_octets());
        let life = self.life(origin, record);
        let interface = origin.link.interface;
        if record.ttl == 0 {
            if let Some(instance) = self.cache.find_mut(interface, label)
                && instance.texts.iter().any(|text| text.digest == digest)
                && instance.doubt(origin.now + GRACE)
            {
                instance.resolve = Series::spread(origin.now, &mut self.rng);
            }
            return;
        }
        let seen = Sighting {
            now: origin.now,
            label,
            digest,
            link: origin.link,
            remote: origin.remote,
            rtt: origin.rtt,
            networks: self.links.networks(interface),
        };
        let judgement = listener.text(&seen, txt);
        if let Some(name) = judgement.host {
            self.hosts.want(origin.now, origin.link, origin.source(), name);
        }
        let evicted = |victim: Instance| forget(&victim, listener);
        let Some(instance) = self.cache.entry(origin.link, origin.source(), label, evicted) else {
            return count!(self.stats, instances_over_limit);
        };
        instance.unanswered = 0;
        instance.denied.remove(Asks::TXT);
        instance.texts.retain(|text| Some(text.digest) != judgement.supersedes);
        if record.cache_flush && flush(instance, origin.now, digest) {
            instance.resolve = Series::spread(origin.now, &mut self.rng);
        }
        let text = Text { digest, worth: judgement.worth, life, doubt: Deadline::NONE };
        if let Some(gone) = place(instance, text) {
            listener.gone(interface, gone);
        }
    }

    /// SRV of an instance that is known.
    fn handle_service(&mut self, origin: &Origin, record: &Record<'_>, srv: &Srv<'_>) {
        let Some(label) = instance_label(&record.name) else { return };
        let life = self.life(origin, record);
        let Some(instance) = self.cache.find_mut(origin.link.interface, label) else { return };
        let digest = service_digest(srv);
        let known = instance.service.filter(|known| known.digest == digest);
        if record.ttl == 0 {
            if known.is_some() {
                if let Some(service) = &mut instance.service {
                    service.life.end(origin.now);
                }
                if instance.doubt(origin.now + GRACE) {
                    instance.resolve = Series::spread(origin.now, &mut self.rng);
                }
            }
            return;
        }
        instance.unanswered = 0;
        instance.denied.remove(Asks::SRV);
        let life = Lifetime::renewed(known.map(|known| known.life), life);
        let service = Service { priority: srv.priority, weight: srv.weight, digest, life };
        let replaces = instance.service.is_none_or(|old| {
            known.is_some() || record.cache_flush || service.is_preferred_to(&old)
        });
        if replaces {
            instance.service = Some(service);
        }
    }

    /// An address of a host that is wanted, from its own responder. Loopback and group addresses are no places to go.
    fn handle_address(&mut self, origin: &Origin, record: &Record<'_>, ip: IpAddr) {
        let interface = origin.link.interface;
        if ip.is_loopback() || ip.is_multicast() || ip.is_unspecified() {
            return;
        }
        let life = self.life(origin, record);
        let host = self.hosts.find_mut(interface, origin.source(), &record.name);
        if let Some(host) = host {
            host.learn(origin.now, ip, life, record.cache_flush);
        }
    }

    /// NSEC: what a name does not have. RFC 6762 §6.1: the next name is the owner itself; anything else is another
    /// kind of NSEC and says nothing here. What is known is not denied.
    fn handle_denial(&mut self, origin: &Origin, record: &Record<'_>, nsec: &Nsec<'_>) {
        if nsec.next != record.name || record.ttl == 0 {
            return;
        }
        let denied = |asks: &[(Asks, Type)]| {
            let mut denied = Asks::NONE;
            let absent = asks.iter().filter(|(_, rtype)| !nsec.types.contains(*rtype));
            absent.for_each(|(ask, _)| denied.insert(*ask));
            denied
        };
        let interface = origin.link.interface;
        if let Some(label) = instance_label(&record.name) {
            if let Some(instance) = self.cache.find_mut(interface, label) {
                instance.denied.insert(denied(&[(Asks::TXT, Type::Txt), (Asks::SRV, Type::Srv)]));
            }
        } else if let Some(host) = self.hosts.find_mut(interface, origin.source(), &record.name) {
            host.denied.insert(denied(&[(Asks::A, Type::A), (Asks::AAAA, Type::Aaaa)]));
        }
    }

    /// A query of another host. RFC 6762 §7.1: its known answers are hearsay and not kept.
    fn handle_query(&mut self, now: Instant, datagram: &Datagram<'_>, message: &Message<'_>) {
        let interface = datagram.link.interface;
        let multicast = is_group(datagram.destination) && datagram.remote.port() == PORT;
        if !multicast || self.links.is_own(interface, datagram.remote.ip()) {
            return;
        }
        for question in message.questions() {
            let Ok(question) = question else {
                return count!(self.stats, malformed_records);
            };
            // RFC 6762 §7.3 and §10.5 are about questions whose answers everybody hears, and a truncated query has
            // more known answers than are seen here.
            if question.unicast_response || message.flags().is_truncated() {
                continue;
            }
            let ask = self.browse_name(&question.name);
            if ask != Asks::NONE && matches!(question.qtype, Type::Ptr | Type::Any) {
                self.heard_browse(now, datagram.link, ask, message, question.qtype);
            } else if let Some(label) = instance_label(&question.name) {
                self.heard_resolve(now, interface, label, &question);
            }
        }
    }

    /// Another host asked for instances.
    fn heard_browse(
        &mut self,
        now: Instant,
        link: LinkId,
        ask: Asks,
        message: &Message<'_>,
        qtype: Type,
    ) {
        let mut knows_more = false;
        for record in message.answers().flatten() {
            if self.browse_name(&record.name) == ask
                && let RecordData::Ptr(target) = &record.data
                && let Some(label) = instance_label(target)
            {
                let ours = self.cache.find(link.interface, label);
                knows_more |= ours.and_then(|i| i.known_answer_ttl(ask, now)).is_none();
            }
        }
        if let Some(state) = self.links.find_mut(link)
            && !knows_more
            && qtype == Type::Ptr
        {
            let [subtype, service_type] = &mut state.heard;
            *(if ask == Asks::SUBTYPE { subtype } else { service_type }) = Deadline::new(now);
            if state.multicast.contains(ask) && !state.unicast_response {
                state.multicast.remove(ask);
                count!(self.stats, questions_suppressed);
            }
        }
        let known = |label: &[u8]| {
            message.answers().flatten().any(|record| match &record.data {
                RecordData::Ptr(target) => {
                    instance_label(target).is_some_and(|listed| listed.eq_ignore_ascii_case(label))
                }
                RecordData::A(_)
                | RecordData::Aaaa(_)
                | RecordData::Srv(_)
                | RecordData::Txt(_)
                | RecordData::Nsec(_)
                | RecordData::Unknown { .. } => false,
            })
        };
        let browsing = self.browsing;
        for instance in self.cache.iter_mut() {
            let of_link = instance.link.interface == link.interface;
            if browsing && of_link && instance.pointer(ask).is_some() && !known(&instance.label) {
                observe(now, instance);
            }
        }
    }

    /// Another host asked for records of an instance.
    fn heard_resolve(
        &mut self,
        now: Instant,
        interface: u32,
        label: &[u8],
        question: &Question<'_>,
    ) {
        let Some(instance) = self.cache.find_mut(interface, label) else { return };
        let (asks, answerable) = match question.qtype {
            Type::Txt => (Asks::TXT, !instance.texts.is_empty()),
            Type::Srv => (Asks::SRV, instance.service.is_some()),
            Type::Any => (Asks::NONE, true),
            Type::A | Type::Ptr | Type::Aaaa | Type::Opt | Type::Nsec | Type::Unknown(_) => return,
        };
        if !asks.is_empty() && instance.multicast.contains(asks) {
            instance.multicast.remove(asks);
            count!(self.stats, questions_suppressed);
        }
        if self.browsing && answerable {
            observe(now, instance);
        }
    }

    /// Which browse question asks for `name`.
    fn browse_name(&self, name: &Name<'_>) -> Asks {
        if self.subtype == *name {
            Asks::SUBTYPE
        } else if service_type() == *name {
            Asks::TYPE
        } else {
            Asks::NONE
        }
    }
}

/// RFC 6762 §10.5: counts a query that our record should answer; answers count it back to zero.
fn observe(now: Instant, instance: &mut Instance) {
    instance.unanswered = instance.unanswered.saturating_add(1);
    let doubted = instance.texts.iter().any(|text| text.doubt != Deadline::NONE);
    if instance.unanswered >= UNANSWERED && !doubted {
        instance.doubt(now + RECONFIRM);
        instance.resolve = Series::starting(now + GRACE);
    }
}

/// RFC 6762 §10.2: other texts that are older than a second end in one. True where a verified one is to be asked for.
fn flush(instance: &mut Instance, now: Instant, digest: TextDigest) -> bool {
    let mut ask = false;
    for text in instance.texts.iter_mut().filter(|text| text.digest != digest) {
        if now.since(text.life.received_at()) <= GRACE {
            continue;
        }
        if text.worth == Worth::Verified {
            if text.doubt == Deadline::NONE {
                text.doubt = Deadline::new(now + GRACE);
                ask = true;
            }
        } else {
            text.life.end(now);
        }
    }
    ask
}

/// Puts a text in its instance. Returns what it took the place of; a text that is worth less takes no place.
fn place(instance: &mut Instance, text: Text) -> Option<TextDigest> {
    if let Some(known) = instance.texts.iter_mut().find(|known| known.digest == text.digest) {
        let life = Lifetime::renewed(Some(known.life), text.life);
        let doubted = known.doubt != Deadline::NONE;
        *known = Text { life, ..text };
        if doubted {
            instance.rescue();
        }
        return None;
    }
    let Err(text) = instance.texts.push(text) else { return None };
    let worst = instance.texts.iter_mut().min_by_key(|known| {
        (known.worth, core::cmp::Reverse(known.doubt != Deadline::NONE), known.life.received_at())
    })?;
    let takes = worst.worth < text.worth
        || (worst.worth == text.worth
            && (text.worth < Worth::Verified || worst.doubt != Deadline::NONE));
    takes.then(|| core::mem::replace(worst, text).digest)
}

/// Tells that every text of an instance is gone.
fn forget(instance: &Instance, listener: &mut impl Listener) {
    instance.texts.iter().for_each(|text| listener.gone(instance.link.interface, text.digest));
}

/// Tells one SRV record from another.
fn service_digest(srv: &Srv<'_>) -> u32 {
    srv.target.canonical_hash().rotate_left(16) ^ u32::from(srv.port)
}
