//! What a querier does by itself: questions that are due, refreshes, expiry.

use core::time::Duration;

use super::series::{Series, Step};
use super::{Listener, Querier};
use crate::machine::Wake;
use crate::mdns::cache::{Asks, GRACE, Instance, Lifetime, Worth};
use crate::stats::count;
use crate::time::{Deadline, Instant};

/// A follow-up question that was asked this often is given up until the instance is heard of again.
const FOLLOW_UP_STEPS: u8 = 6;

/// RFC 6762 §7.3: a question that another host asked this short a time ago is taken as asked.
const HEARD_RECENTLY: Duration = Duration::from_secs(1);

impl Querier {
    /// Runs everything that is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant, listener: &mut impl Listener) {
        self.now = now;
        self.browse(now);
        self.expire(now, listener);
        if self.browsing {
            self.refresh(now);
        }
        self.follow_up(now);
    }

    /// When to run [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn next_wake(&self) -> Option<Wake> {
        let why = |why| move |at| Wake { at, why };
        let links = self.links.iter().filter_map(|link| link.browse.next_at());
        let browse = links.min().map(why("to ask for instances"));
        let instances = self.cache.iter().filter_map(|instance| instance.resolve.next_at());
        let hosts = self.hosts.iter().filter_map(|host| host.resolve.next_at());
        let follow_up = instances.chain(hosts).min().map(why("to ask for missing records"));
        let instances = self.cache.iter().filter_map(Instance::next_expiry);
        let hosts = self.hosts.iter().flat_map(|host| host.addresses.iter());
        let expiry = instances.chain(hosts.map(|address| address.life.expires_at())).min();
        let expiry = expiry.map(why("to forget records that end"));
        let wanted = self.cache.iter().filter(|instance| self.browsing && instance.is_wanted());
        let refresh = wanted.filter_map(Instance::next_refresh).min();
        let refresh = refresh.map(why("to refresh records"));
        Wake::earliest(Wake::earliest(browse, follow_up), Wake::earliest(expiry, refresh))
    }

    /// The browse questions of every link.
    fn browse(&mut self, now: Instant) {
        let urgent = self.browsing || !self.satisfied;
        for link in self.links.iter_mut() {
            let Some(step) = link.browse.take(now, &mut self.rng) else { continue };
            // A one-shot query carries no known answers: every host replies to each. Once something is found the
            // others are left to the multicast questions.
            if step == Step::OneShot || (step == Step::Again && !self.satisfied) {
                link.one_shot.insert(Asks::BROWSE);
            }
            if step == Step::OneShot || (step == Step::First && !urgent) {
                continue;
            }
            link.unicast_response = step == Step::First && self.first_binder;
            for (ask, heard) in [Asks::SUBTYPE, Asks::TYPE].into_iter().zip(&mut link.heard) {
                let heard = core::mem::replace(heard, Deadline::NONE).get();
                let recent = heard.is_some_and(|at| now.since(at) < HEARD_RECENTLY);
                if recent {
                    count!(self.stats, questions_suppressed);
                } else {
                    link.multicast.insert(ask);
                }
            }
        }
    }

    /// Follow-up questions of instances and hosts.
    fn follow_up(&mut self, now: Instant) {
        for instance in self.cache.iter_mut() {
            let missing = instance.missing(self.browsing);
            let due = next(&mut instance.resolve, missing, now, &mut self.rng);
            if let Some(step) = due
                && self.follow_ups.take(now)
            {
                put(step, missing, &mut instance.one_shot, &mut instance.multicast);
            }
        }
        for host in self.hosts.iter_mut() {
            let missing = host.missing();
            let due = next(&mut host.resolve, missing, now, &mut self.rng);
            if let Some(step) = due
                && self.follow_ups.take(now)
            {
                put(step, missing, &mut host.one_shot, &mut host.multicast);
            }
        }
    }

    /// RFC 6762 §5.2: records in use are asked for before they end.
    fn refresh(&mut self, now: Instant) {
        for instance in self.cache.iter_mut().filter(|instance| instance.is_wanted()) {
            for ask in [Asks::SUBTYPE, Asks::TYPE] {
                let link = self.links.find_mut(instance.link);
                let life = instance.pointer_mut(ask).as_mut();
                if let (Some(link), Some(life)) = (link, life) {
                    ask_again(now, life, ask, &mut link.one_shot, &mut link.multicast);
                }
            }
            let Instance { service, texts, one_shot, multicast, .. } = instance;
            if let Some(service) = service {
                ask_again(now, &mut service.life, Asks::SRV, one_shot, multicast);
            }
            for text in texts.iter_mut().filter(|text| text.worth > Worth::Nothing) {
                ask_again(now, &mut text.life, Asks::TXT, one_shot, multicast);
            }
        }
        for host in self.hosts.iter_mut() {
            for address in &mut host.addresses {
                let ask = super::hosts::ask_for(address.ip);
                ask_again(now, &mut address.life, ask, &mut host.one_shot, &mut host.multicast);
            }
        }
    }

    /// Takes out what has ended. An instance whose PTR or SRV records ended is doubted, not dropped: its text
    /// carries a signature, they do not.
    fn expire(&mut self, now: Instant, listener: &mut impl Listener) {
        let (browsing, rng) = (self.browsing, &mut self.rng);
        self.cache.retain(|instance| {
            let interface = instance.link.interface;
            if drop_ended(instance, now) && browsing && instance.doubt(now + GRACE) {
                instance.resolve = Series::spread(now, rng);
            }
            let had_texts = !instance.texts.is_empty();
            instance.texts.retain(|text| {
                let unconfirmed = text.doubt.is_due(now);
                let stays = text.life.is_live(now) && !unconfirmed;
                // Who discovers once keeps what lapses: nobody refreshed it.
                if unconfirmed || (!stays && browsing) {
                    listener.gone(interface, text.digest);
                }
                stays
            });
            let pointed_at = instance.subtype.is_some() || instance.service_type.is_some();
            if instance.texts.is_empty() { pointed_at && !had_texts } else { true }
        });
        for host in self.hosts.iter_mut() {
            host.addresses.retain(|address| address.life.is_live(now));
        }
    }
}

/// Removes PTR and SRV records that ended; true when the last PTR record or the SRV record did.
fn drop_ended(instance: &mut Instance, now: Instant) -> bool {
    let ended = |life: &Lifetime| !life.is_live(now);
    let pointed_at = instance.subtype.is_some() || instance.service_type.is_some();
    instance.subtype = instance.subtype.filter(|life| !ended(life));
    instance.service_type = instance.service_type.filter(|life| !ended(life));
    let still = instance.subtype.is_some() || instance.service_type.is_some();
    let served = instance.service.is_some();
    instance.service = instance.service.filter(|service| !ended(&service.life));
    (pointed_at && !still) || (served && instance.service.is_none())
}

/// The step of a follow-up series that is due. RFC 6762 §5.2: the series ends when everything is known.
fn next(
    series: &mut Series,
    missing: Asks,
    now: Instant,
    rng: &mut crate::rng::Rng,
) -> Option<Step> {
    if missing.is_empty() || series.steps() >= FOLLOW_UP_STEPS {
        series.stop();
    }
    series.take(now, rng)
}

/// Puts questions where they are sent from at this step.
fn put(step: Step, asks: Asks, one_shot: &mut Asks, multicast: &mut Asks) {
    match step {
        Step::OneShot => one_shot.insert(asks),
        Step::First => multicast.insert(asks),
        Step::Again => {
            one_shot.insert(asks);
            multicast.insert(asks);
        }
    }
}

/// Asks for a record whose refresh is due. One that was only ever heard in a one-shot reply is asked for that way too:
/// perhaps its responder cannot be heard by multicast.
fn ask_again(
    now: Instant,
    life: &mut Lifetime,
    ask: Asks,
    one_shot: &mut Asks,
    multicast: &mut Asks,
) {
    if life.take_refresh(now) {
        multicast.insert(ask);
        if life.is_one_shot() {
            one_shot.insert(ask);
        }
    }
}
