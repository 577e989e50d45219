//! What a DHT node hears: requests of others, and the answers to its own.

use heapless::Vec;

use super::Storage;
use super::event::Event;
use super::job::{Call, Found, Kind, Purpose, Stage, Under};
use super::node::Node;
use crate::connection::{Answer, Tag};
use crate::dht::finder::Reach;
use crate::dht::scope::usable;
use crate::dht::swarm::{Failure, Owner, Remote};
use crate::kad::diversity::Group;
use crate::kad::store::{Source, Stored};
use crate::kad::validator::{Quota, Refusal};
use crate::kad::{Contact, K, Key};
use crate::stats::count;
use crate::time::Instant;
use crate::wire::contact::Addresses;
use crate::wire::cursor::Writer;
use crate::wire::identify::{Identified, Identify};
use crate::wire::kad::{Part, Peers, Record, Request, Response};
use crate::wire::multistream::Line;
use crate::wire::record::AdvertKey;

/// What a node speaks.
const PROTOCOLS: [Line; 4] = [Line::PhaseKad, Line::IpfsKad, Line::Identify, Line::Ping];

/// What identify calls the network.
const PROTOCOL_VERSION: &str = "phase/1.0.0";

impl<S: Storage<RX>, const RX: usize> Node<S, RX> {
    fn closer(&self, remote: &Remote, key: &[u8]) -> Vec<Contact, K, u8> {
        // One more than are told, for the one who asks may be among them.
        let closest = self.table.closest_live::<{ K + 1 }>(&Key::of(key));
        let others = closest.into_iter().filter(|contact| contact.peer != remote.peer);
        let told = others.map(|contact| self.told_to(remote, contact));
        told.filter(|contact| !contact.addresses.is_empty()).take(K).collect()
    }

    /// `FIND_NODE`. Who looks for ourselves finds us: go-libp2p takes nobody into its table who does not.
    fn find_node(&self, remote: &Remote, key: &[u8], out: &mut Writer<'_>) {
        let mut found = self.closer(remote, key);
        if *key == self.own_hash {
            found.truncate(K.saturating_sub(1));
            // There is room for one more.
            let _ = found.insert(0, self.told_to(remote, &self.contact));
        }
        Response::FindNode { closer: &found }.encode(out);
    }

    /// `GET_VALUE`. Of what we publish ourselves, our own record is the answer, whatever others put here.
    fn get_value(&self, now: Instant, remote: &Remote, key: &[u8], out: &mut Writer<'_>) {
        let closer = self.closer(remote, key);
        let own = AdvertKey::decode(key).ok().and_then(|key| {
            let adverts = self.adverts.as_ref().iter();
            let mut held = adverts.filter_map(|publication| publication.advert.as_ref());
            held.find(|held| {
                let is_base = held.key.channel == key.channel && held.key.arch == key.arch;
                is_base && key.peer.is_none_or(|peer| peer == self.own)
            })
        });
        let own = own.map(|held| (&*held.value, held.remaining(now)));
        let stored =
            || self.records.get(now, key).map(|stored| (stored.value(), left(stored, now)));
        let found = own.filter(|(_, ttl)| *ttl > 0).or_else(stored);
        let record = found.map(|(value, ttl)| Record { key, value, publisher: None, ttl });
        Response::GetValue { record, closer: &closer }.encode(out);
    }

    fn get_providers(&self, now: Instant, remote: &Remote, key: &[u8], out: &mut Writer<'_>) {
        let mut providers: Vec<Contact, K, u8> = Vec::new();
        let adverts = self.adverts.as_ref().iter();
        let mut held = adverts.filter_map(|publication| publication.advert.as_ref());
        let is_own = held.any(|held| *key == *held.base || *key == held.key.provider_key());
        let own = is_own.then_some(&self.contact);
        for contact in own.into_iter().chain(self.providers.get(now, key)) {
            // One more provider than is told: ourselves.
            let _ = providers.push(self.told_to(remote, contact));
        }
        let closer = self.closer(remote, key);
        Response::GetProviders { providers: &providers, closer: &closer }.encode(out);
    }

    /// `PUT_VALUE`. What is refused is answered by a reset, as others do; what is older than what we hold is not
    /// stored and confirmed all the same.
    pub(super) fn put(
        &mut self,
        now: Instant,
        remote: &Remote,
        record: &Record<'_>,
    ) -> Result<(), Refusal> {
        let group = Group::of_source(remote.address.ip());
        if !self.rate.take(now, &remote.peer, group) {
            return Err(Refusal::Quota(Quota::Rate));
        }
        let source = Source { peer: remote.peer, group };
        let context = self.context(now);
        let request = (record.key, record.value, record.ttl);
        let trusted = &self.trusted;
        self.records.put(now, request, source, &context, |peer| trusted.contains(peer))?;
        Ok(())
    }

    /// `ADD_PROVIDER`. Peers name only themselves; one that gives no address is where the connection comes from.
    fn add_provider(
        &mut self,
        now: Instant,
        remote: &Remote,
        key: &[u8],
        providers: Peers<'_>,
    ) -> Result<(), Refusal> {
        let Some(told) = providers.iter().find(|contact| contact.peer == remote.peer) else {
            return Err(Refusal::Signer);
        };
        let mut contact = usable(&told, remote.address);
        if contact.addresses.is_empty() {
            let known = self.table.entries().find(|entry| entry.contact().peer == remote.peer);
            contact.addresses = known.map_or_else(
                || [remote.address].into_iter().collect(),
                |known| known.contact().addresses,
            );
        }
        self.providers.add(now, key, &contact, remote.address.ip())
    }

    /// A part of the answer to a step of a lookup.
    pub(super) fn walked(&mut self, now: Instant, job: usize, remote: &Remote, part: Part<'_>) {
        match part {
            Part::Closer(contact) => {
                let contact = usable(&contact, remote.address);
                if let Some(job) = self.job(job) {
                    job.query.heard(&remote.peer, &contact);
                }
            }
            Part::Record(record) => {
                if let Some(at) = self.job(job).and_then(|job| job.advert()) {
                    self.look_for_own(at, record.value);
                }
            }
            Part::End => {
                let Some(job) = self.job(job) else { return };
                job.query.answered(&remote.peer);
                let told = job.query.contact(&remote.peer).cloned();
                let walked = matches!(job.kind, Kind::Advert { .. });
                self.note_answer(now, remote, walked);
                if let Some(told) = told.filter(|_| remote.inbound) {
                    self.note_visitor(now, &told, remote.address.ip());
                }
            }
            Part::Provider(_) | Part::Oversized => {}
        }
    }

    /// A peer answered: it is there where it was reached, and where it told itself; what others tell of it may be a lie.
    /// On a connection that it made it was not reached.
    fn note_answer(&mut self, now: Instant, remote: &Remote, walked: bool) {
        let known = self.table.entries().find(|entry| entry.contact().peer == remote.peer);
        if remote.inbound && known.is_none_or(|known| !known.is_live()) {
            return;
        }
        let known = known.map(|known| known.contact().clone());
        let mut contact = known.unwrap_or_else(|| Contact::new(remote.peer));
        if !remote.inbound {
            contact.addresses.prefer(remote.address);
        }
        self.note_seen(now, &contact, walked);
    }

    /// A request was answered to its end.
    fn ended(&mut self, now: Instant, call: &Call, remote: &Remote) {
        match call.purpose {
            Purpose::Walk { job, bootstrap } => {
                self.walked(now, job, remote, Part::End);
                if let Some(number) = bootstrap {
                    self.set_reach(number, Reach::Answered(remote.peer));
                    self.forget_bootstrap_failed(number);
                }
            }
            Purpose::Put { job } | Purpose::Provide { job } => self.took(job, remote),
            Purpose::ProvideRaw { .. } => {}
            Purpose::Audit { at, under } => {
                if call.found == Found::Bad
                    && let Some(purpose) = self.may_repair(at, under, remote.peer)
                {
                    // Those past the limit are repaired after the next audit.
                    let _ = self.repairs.push((remote.peer, purpose));
                }
                self.conclude(now, at, Some(call.found));
            }
            Purpose::Repair { at, under } => {
                count!(self.stats, adverts_repaired);
                let own = self.own;
                let held = self.publication(at).and_then(|one| one.advert.as_ref());
                let key = held.map(|held| match under {
                    Under::Base => held.key.clone(),
                    Under::SubKey => held.key.of(own),
                });
                if let Some(key) = key {
                    self.tell(Event::Repaired { key, peer: remote.peer });
                }
            }
            Purpose::Probe => self.note_answer(now, remote, true),
            Purpose::DialBack => self.note_answer(now, remote, false),
        }
    }

    /// A peer took what it was given.
    fn took(&mut self, number: usize, remote: &Remote) {
        let Some(job) = self.job(number) else { return };
        job.taken = job.taken.saturating_add(1);
        let Kind::Advert { at, stage } = job.kind else { return };
        let Some(under) = stage.under() else { return };
        let holder = job.targets.iter().find(|contact| contact.peer == remote.peer).cloned();
        if let (Some(holder), Some(publication)) = (holder, self.publication(at)) {
            // There are no more holders than targets.
            let _ = publication.kept(under).holders.push(holder);
        }
    }

    fn set_reach(&mut self, number: u8, reach: Reach) {
        if let Some(bootstrap) = self.bootstraps.get_mut(usize::from(number)) {
            bootstrap.reach = reach;
        }
    }
}

fn left(stored: &Stored, now: Instant) -> u32 {
    u32::try_from(stored.expires_at().since(now).as_secs()).unwrap_or(u32::MAX).max(1)
}

impl<S: Storage<RX>, const RX: usize> Owner for Node<S, RX> {
    fn request(&mut self, tag: Tag) -> Option<Request<'_>> {
        let call = self.calls.iter().find(|call| call.tag == tag)?;
        let job = |number: usize| self.jobs.get(number)?.as_ref();
        let held = |at: usize| self.adverts.as_ref().get(at)?.advert.as_ref();
        let publisher = Some(&self.own_hash[..]);
        Some(match call.purpose {
            Purpose::Walk { job: number, .. } => {
                let job = job(number)?;
                let key = &*job.preimage;
                match job.kind {
                    Kind::Table { .. } => Request::FindNode { key },
                    Kind::Advert { stage: Stage::Provider, .. } => Request::GetProviders { key },
                    Kind::Advert { stage: Stage::Base | Stage::SubKey, .. } => {
                        Request::GetValue { key }
                    }
                }
            }
            Purpose::Put { job: number } => {
                let job = job(number)?;
                let held = held(job.advert()?)?;
                let (key, value, ttl) = (&*job.preimage, &*held.value, held.ttl);
                Request::PutValue { record: Record { key, value, publisher, ttl } }
            }
            Purpose::Provide { job: number } | Purpose::ProvideRaw { job: number } => {
                let key = &*job(number)?.preimage;
                Request::AddProvider { key, providers: Peers::of(&self.contact) }
            }
            Purpose::Audit { at, under } => Request::GetValue { key: held(at)?.octets(under) },
            Purpose::Repair { at, under } => {
                let held = held(at)?;
                let (key, value, ttl) = (held.octets(under), &*held.value, held.ttl);
                Request::PutValue { record: Record { key, value, publisher, ttl } }
            }
            Purpose::Probe | Purpose::DialBack => Request::FindNode { key: &self.own_hash },
        })
    }

    fn reached(&mut self, tag: Tag, remote: &Remote) {
        let Some(call) = self.calls.iter_mut().find(|call| call.tag == tag) else { return };
        call.peer = Some(remote.peer);
        if let Purpose::Walk { job, bootstrap: Some(number) } = call.purpose {
            self.set_reach(number, Reach::Reached(remote.peer));
            let contact = Contact::at(remote.peer, remote.address);
            if let Some(job) = self.job(job) {
                job.query.asked(&contact);
            }
        }
    }

    fn part(&mut self, now: Instant, tag: Tag, remote: &Remote, part: Part<'_>) {
        if part == Part::End {
            if let Some(call) = self.take_call(tag) {
                self.ended(now, &call, remote);
            }
            return;
        }
        let Some(at) = self.calls.iter().position(|call| call.tag == tag) else { return };
        let Some(purpose) = self.calls.get(at).map(|call| call.purpose) else { return };
        match (purpose, part) {
            (Purpose::Walk { job, .. }, part) => self.walked(now, job, remote, part),
            (Purpose::Audit { at: place, under }, Part::Record(record)) => {
                self.look_for_own(place, record.value);
                let found = self.judge(now, place, under, record.value);
                if let Some(call) = self.calls.get_mut(at) {
                    call.found = found;
                }
            }
            (Purpose::Audit { .. }, Part::Oversized) => {
                if let Some(call) = self.calls.get_mut(at) {
                    call.found = Found::Bad;
                }
            }
            _ => {}
        }
    }

    fn failed(&mut self, now: Instant, tag: Tag, failure: &Failure) {
        let Some(call) = self.take_call(tag) else { return };
        if let Some(peer) = &call.peer {
            self.note_failed(peer, failure);
        }
        match call.purpose {
            Purpose::Walk { job, bootstrap } => {
                if let (Some(peer), Some(job)) = (&call.peer, self.job(job)) {
                    job.query.failed(peer);
                }
                if let Some(number) = bootstrap {
                    self.set_reach(number, Reach::Failed(*failure));
                    self.note_bootstrap_failed(number, failure);
                }
            }
            Purpose::Audit { at, .. } => self.conclude(now, at, None),
            Purpose::Put { .. }
            | Purpose::Provide { .. }
            | Purpose::ProvideRaw { .. }
            | Purpose::Repair { .. }
            | Purpose::Probe
            | Purpose::DialBack => {}
        }
    }

    fn answer(
        &mut self,
        now: Instant,
        remote: &Remote,
        request: Request<'_>,
        out: &mut Writer<'_>,
    ) -> Answer {
        count!(self.stats, requests_answered);
        match request {
            Request::FindNode { key } => self.find_node(remote, key, out),
            Request::GetValue { key } => self.get_value(now, remote, key, out),
            Request::GetProviders { key } => self.get_providers(now, remote, key, out),
            Request::PutValue { record } => {
                if self.put(now, remote, &record).is_err() {
                    count!(self.stats, records_refused);
                    return Answer::Reset;
                }
                count!(self.stats, records_taken);
                Response::PutValue { record }.encode(out);
            }
            Request::AddProvider { key, providers } => {
                if self.add_provider(now, remote, key, providers).is_ok() {
                    count!(self.stats, providers_taken);
                } else {
                    count!(self.stats, providers_refused);
                }
                return Answer::Nothing;
            }
        }
        Answer::Reply
    }

    fn identifies(&self) -> bool {
        true
    }

    fn identified(&mut self, now: Instant, remote: &Remote, identified: &Identified) {
        if !identified.speaks(Line::PhaseKad) && !identified.speaks(Line::IpfsKad) {
            // A client, or one that is a client from now on.
            return self.table.remove(&remote.peer);
        }
        let told = Contact { peer: remote.peer, addresses: identified.addresses };
        let mut contact = usable(&told, remote.address);
        if remote.inbound {
            return self.note_visitor(now, &contact, remote.address.ip());
        }
        contact.addresses.prefer(remote.address);
        self.note_seen(now, &contact, false);
    }

    fn identify(&mut self, remote: &Remote, out: &mut Writer<'_>) {
        let addresses: Addresses = self.told_to(remote, &self.contact).addresses;
        let identify = Identify {
            peer: self.own,
            addresses: &addresses,
            protocols: &PROTOCOLS,
            observed: Some(remote.address),
            protocol_version: PROTOCOL_VERSION,
            agent: self.agent,
        };
        identify.encode(out);
    }

    fn left(&mut self, _: Instant, _: &Remote) {}
}
