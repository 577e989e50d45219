//! What a DHT node does next: begins jobs that are due, asks, gives, and goes on when it was answered.

use super::event::{Event, PublishError};
use super::job::{Call, Job, Kind, Phase, Purpose, Stage, Under};
use super::node::Node;
use super::{ServerSwarm, Storage};
use crate::dht::finder::Reach;
use crate::dht::scope::usable;
use crate::dht::swarm::Target;
use crate::kad::{K, Key};
use crate::limits::{ADVERT_JOBS, DIAL_BACKS, LOOKUP_SEEDS, PUSHES};
use crate::machine::Wake;
use crate::schedule::Timer;
use crate::stats::count;
use crate::time::{Deadline, Instant};
use crate::wire::contact::Addresses;
use crate::wire::peer_id;

impl<S: Storage<RX>, const RX: usize> Node<S, RX> {
    /// Begins and asks what can be begun and asked now.
    pub(super) fn drive(&mut self, now: Instant, swarm: &mut ServerSwarm<S, RX>) {
        self.note_slow(now);
        // Each round but the last ends a phase of a job, or begins one that is due.
        loop {
            let mut moved = self.begin(now);
            for number in 0..self.jobs.len() {
                moved |= self.advance(now, number, swarm);
            }
            if !moved {
                break;
            }
        }
        self.audit(now, swarm);
        self.ask_aside(now, swarm);
        self.seek(now);
    }

    /// When to drive.
    pub(super) fn next_wake(&self) -> Option<Wake> {
        let at = |timer: Timer, at: Deadline| at.get().map(|at| timer.at(at));
        let mut wake = None;
        // What cannot begin now begins when a job ends.
        if self.jobs.iter().any(Option::is_none) && !self.is_walking_own() {
            wake = at(Timer::Bootstrap, self.bootstrap_at);
            wake = Wake::earliest(wake, at(Timer::Refresh, self.refresh_at));
        }
        for (place, publication) in self.adverts.as_ref().iter().enumerate() {
            if self.may_publish() && !self.has_job(place) {
                wake = Wake::earliest(wake, at(Timer::Publish, publication.publish_at));
            }
            if publication.audit.waiting == 0 && !self.has_job(place) {
                wake = Wake::earliest(wake, at(Timer::Audit, publication.audit_at));
            }
        }
        let slow = self.calls.iter().filter_map(|call| call.slow_at.get()).min();
        Wake::earliest(wake, slow.map(|at| Timer::Slow.at(at)))
    }

    fn has_job(&self, place: usize) -> bool {
        self.jobs.iter().flatten().any(|job| job.advert() == Some(place))
    }

    /// Whether another publication may begin: somebody is there, and it is not about to be found out who else.
    fn may_publish(&self) -> bool {
        let jobs = self.jobs.iter().flatten();
        let running = jobs.filter(|job| job.advert().is_some()).count();
        running < ADVERT_JOBS
            && self.jobs.iter().any(Option::is_none)
            && !self.is_walking_own()
            && self.table.live_count() > 0
    }

    fn start(&mut self, mut job: Job) {
        count!(self.stats, lookups);
        let target: Key = *job.query.target();
        for contact in self.table.closest::<LOOKUP_SEEDS>(&target) {
            job.query.seed(contact);
        }
        if let Some(free) = self.jobs.iter_mut().find(|job| job.is_none()) {
            *free = Some(job);
        }
    }

    /// Begins a job that is due.
    fn begin(&mut self, now: Instant) -> bool {
        if self.jobs.iter().all(Option::is_some) {
            return false;
        }
        let due = self.bootstrap_at.is_due(now) || self.refresh_at.is_due(now);
        if due && !self.is_walking_own() {
            self.bootstrap_at = Deadline::NONE;
            if self.refresh_at.is_due(now) {
                self.refresh_at = Deadline::NONE;
            }
            self.walked_at = Some(now);
            let mut job = Job::new(Kind::Table { own: true }, self.own, &self.own_hash);
            job.bootstraps = (0_u8..).take(self.bootstraps.len()).collect();
            self.start(job);
            return true;
        }
        self.begin_publication(now) || self.begin_refresh(now)
    }

    /// Begins with the publication that waits longest.
    fn begin_publication(&mut self, now: Instant) -> bool {
        if !self.may_publish() {
            return false;
        }
        let adverts = self.adverts.as_ref().iter().enumerate();
        let due = adverts.filter(|(at, one)| one.publish_at.is_due(now) && !self.has_job(*at));
        let first = due.min_by_key(|(_, one)| one.publish_at.get()).map(|(at, _)| at);
        let Some((at, publication)) =
            first.and_then(|at| Some((at, self.adverts.as_mut().get_mut(at)?)))
        else {
            return false;
        };
        publication.publish_at = Deadline::NONE;
        publication.audit_at = Deadline::NONE;
        publication.grown = false;
        let Some(held) = &publication.advert else { return true };
        let kind = Kind::Advert { at, stage: Stage::Base };
        let job = Job::new(kind, self.own, &held.base);
        self.start(job);
        true
    }

    fn begin_refresh(&mut self, now: Instant) -> bool {
        let is_refreshing =
            self.jobs.iter().flatten().any(|job| matches!(job.kind, Kind::Table { .. }));
        let Some(index) = self.refreshing.filter(|_| !is_refreshing) else { return false };
        let Some(target) = self.table.refresh_target(index, &mut self.rng) else {
            self.handle_refreshed(now);
            return false;
        };
        self.refreshing = index.checked_add(1);
        let preimage = peer_id::encode_multihash(&target);
        self.start(Job::new(Kind::Table { own: false }, self.own, &preimage));
        true
    }

    fn note_slow(&mut self, now: Instant) {
        for call in &mut self.calls {
            if !call.slow_at.is_due(now) {
                continue;
            }
            call.slow_at = Deadline::NONE;
            let job = call.purpose.job().and_then(|job| self.jobs.get_mut(job)?.as_mut());
            if let (Purpose::Walk { .. }, Some(peer), Some(job)) = (call.purpose, &call.peer, job) {
                job.query.slow(peer);
            }
        }
    }

    /// Asks one peer. `false`: not now.
    fn ask(
        &mut self,
        now: Instant,
        swarm: &mut ServerSwarm<S, RX>,
        target: &Target,
        purpose: Purpose,
    ) -> bool {
        let tag = self.tag();
        if self.calls.is_full() || swarm.ask(now, target, tag).is_err() {
            return false;
        }
        // There is room: it was looked at.
        let _ = self.calls.push(Call::new(now, tag, target.peer, purpose));
        true
    }

    /// Goes on with a job. Whether a phase of it ended.
    fn advance(&mut self, now: Instant, number: usize, swarm: &mut ServerSwarm<S, RX>) -> bool {
        match self.job(number).map(|job| job.phase) {
            None => false,
            Some(Phase::Walk) => self.walk(now, number, swarm),
            Some(Phase::Push) => self.push(now, number, swarm),
        }
    }

    fn walk(&mut self, now: Instant, number: usize, swarm: &mut ServerSwarm<S, RX>) -> bool {
        while swarm.has_room() && !self.calls.is_full() {
            let Some(job) = self.job(number) else { return false };
            if let Some(bootstrap) = job.bootstraps.pop() {
                self.ask_bootstrap(now, number, bootstrap, swarm);
                continue;
            }
            let Some(contact) = job.query.poll_contact() else { break };
            let target = Target { peer: Some(contact.peer), addresses: contact.addresses };
            let purpose = Purpose::Walk { job: number, bootstrap: None };
            if !self.ask(now, swarm, &target, purpose)
                && let Some(job) = self.job(number)
            {
                job.query.failed(&contact.peer);
            }
        }
        let is_waited_for = self.calls_of_job(number) > 0;
        let Some(job) = self.job(number) else { return false };
        let is_over = job.bootstraps.is_empty() && job.query.is_done() && !is_waited_for;
        if is_over {
            self.end_walk(now, number);
        }
        is_over
    }

    fn ask_bootstrap(
        &mut self,
        now: Instant,
        job: usize,
        bootstrap: u8,
        swarm: &mut ServerSwarm<S, RX>,
    ) {
        let Some(known) = self.bootstraps.get(usize::from(bootstrap)) else { return };
        let target = known.target();
        let purpose = Purpose::Walk { job, bootstrap: Some(bootstrap) };
        let asked = self.ask(now, swarm, &target, purpose);
        if let (true, Some(known)) = (asked, self.bootstraps.get_mut(usize::from(bootstrap))) {
            known.reach = Reach::Dialled;
        }
    }

    fn end_walk(&mut self, now: Instant, number: usize) {
        let Some(job) = self.job(number) else { return };
        let answered = job.query.counts().answered > 0;
        match job.kind {
            Kind::Table { own } => {
                self.end_job(number);
                if own {
                    self.handle_bootstrapped(now, answered);
                }
            }
            Kind::Advert { at, stage } => {
                job.phase = Phase::Push;
                job.next = 0;
                job.taken = 0;
                job.targets = job.query.closest().take(K).cloned().collect();
                if let (Some(under), Some(publication)) = (stage.under(), self.publication(at)) {
                    publication.kept(under).holders.clear();
                }
            }
        }
    }

    fn end_job(&mut self, number: usize) {
        if let Some(job) = self.jobs.get_mut(number) {
            *job = None;
        }
    }

    /// Gives the peers that were found what is for them.
    fn push(&mut self, now: Instant, number: usize, swarm: &mut ServerSwarm<S, RX>) -> bool {
        while swarm.has_room() && self.calls_of_job(number) < PUSHES {
            let Some(job) = self.job(number) else { return false };
            let Some(contact) = job.targets.get(job.next) else { break };
            let target = Target { peer: Some(contact.peer), addresses: contact.addresses };
            let Kind::Advert { stage, .. } = job.kind else { return false };
            job.next = job.next.saturating_add(1);
            job.given = job.given.saturating_add(1);
            // Who is elsewhere is not told of loopback addresses.
            let told = target.addresses.first().map(|at| usable(&self.contact, at).addresses);
            let is_reachable = told.is_some_and(|told| !told.is_empty());
            match stage {
                Stage::Base => {
                    self.ask(now, swarm, &target, Purpose::Put { job: number });
                    if is_reachable {
                        self.ask(now, swarm, &target, Purpose::ProvideRaw { job: number });
                    }
                }
                Stage::Provider if is_reachable => {
                    self.ask(now, swarm, &target, Purpose::Provide { job: number });
                }
                Stage::Provider => {}
                Stage::SubKey => {
                    self.ask(now, swarm, &target, Purpose::Put { job: number });
                }
            }
        }
        let is_waited_for = self.calls_of_job(number) > 0;
        let Some(job) = self.job(number) else { return false };
        let is_over = job.next >= job.targets.len() && !is_waited_for;
        if is_over {
            self.end_push(now, number);
        }
        is_over
    }

    fn end_push(&mut self, now: Instant, number: usize) {
        let own = self.own;
        let Some(job) = self.jobs.get_mut(number).and_then(Option::as_mut) else { return };
        let Kind::Advert { at, stage } = job.kind else { return };
        let held = self.adverts.as_ref().get(at).and_then(|one| one.advert.as_ref());
        let Some(held) = held else { return self.end_job(number) };
        let kind = |stage| Kind::Advert { at, stage };
        match stage {
            Stage::Base => {
                job.records = job.taken;
                job.restart(kind(Stage::Provider), own, &held.key.provider_key());
            }
            Stage::Provider => {
                job.providers = job.taken;
                job.restart(kind(Stage::SubKey), own, &held.key.of(own).octets());
            }
            Stage::SubKey => {
                let (records, providers) = (job.records, job.providers);
                let (given, taken) = (job.given, job.taken);
                let took = [records, providers, taken].iter().any(|count| *count > 0);
                let (key, seq) = (held.key.clone(), held.seq);
                self.end_job(number);
                let Some(publication) = self.adverts.as_mut().get_mut(at) else { return };
                if took {
                    count!(self.stats, adverts_published);
                    publication.succeed(now, &mut self.rng);
                    let (peers, sub_keys) = (records, taken);
                    self.tell(Event::Published { key, seq, peers, providers, sub_keys });
                    return;
                }
                count!(self.stats, adverts_not_published);
                publication.fail(now, &mut self.rng);
                let why = match given {
                    0 => PublishError::NoPeers,
                    peers => PublishError::Refused { peers },
                };
                self.tell(Event::PublishFailed { key, seq, why });
            }
        }
    }

    /// Reads back what is due.
    fn audit(&mut self, now: Instant, swarm: &mut ServerSwarm<S, RX>) {
        for at in 0..self.adverts.as_ref().len() {
            let Some(publication) = self.adverts.as_mut().get_mut(at) else { continue };
            if !publication.audit_at.is_due(now) || publication.audit.waiting > 0 {
                continue;
            }
            publication.audit_at = Deadline::NONE;
            let samples = Under::ALL.map(|under| publication.kept(under).sample(&mut self.rng));
            let mut waiting = 0_u8;
            for (under, holders) in Under::ALL.into_iter().zip(&samples) {
                for contact in holders {
                    let target = Target { peer: Some(contact.peer), addresses: contact.addresses };
                    let asked = self.ask(now, swarm, &target, Purpose::Audit { at, under });
                    waiting = waiting.saturating_add(u8::from(asked));
                }
            }
            let Some(publication) = self.adverts.as_mut().get_mut(at) else { continue };
            publication.audit.waiting = waiting;
            if waiting == 0 {
                publication.schedule_audit(now, &mut self.rng);
            }
        }
    }

    /// Probes peers for the table, dials those back that came to us, and repairs what audits found.
    fn ask_aside(&mut self, now: Instant, swarm: &mut ServerSwarm<S, RX>) {
        while let Some(contact) = self.probes.pop() {
            let target = Target { peer: Some(contact.peer), addresses: contact.addresses };
            self.ask(now, swarm, &target, Purpose::Probe);
        }
        while self.calls.iter().filter(|call| call.purpose == Purpose::DialBack).count()
            < DIAL_BACKS
            && let Some(contact) = self.dial_backs.pop()
        {
            // Nobody in particular: the connection that the peer made to us would do for it.
            let target = Target { peer: None, addresses: contact.addresses };
            self.ask(now, swarm, &target, Purpose::DialBack);
        }
        while let Some((peer, purpose)) = self.repairs.pop() {
            let Purpose::Repair { at, under } = purpose else { continue };
            let holder = self.publication(at).and_then(|publication| {
                publication.kept(under).holders.iter().find(|holder| holder.peer == peer)
            });
            let addresses = holder.map_or(Addresses::NONE, |holder| holder.addresses);
            self.ask(now, swarm, &Target { peer: Some(peer), addresses }, purpose);
        }
    }
}
