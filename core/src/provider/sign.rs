//! Which adverts are to be signed, and signing them.

use core::time::Duration;

use super::advert::{AdvertState, Adverts, Asked, Signed};
use super::origin::address_of;
use super::{DHT, Event, Provider};
use crate::dht::server::Dht;
use crate::limits::ADVERT_TXT_MAX;
use crate::schedule::refresh_delay;
use crate::time::{Instant, UnixTime};
use crate::wire::record::{Advert, AdvertKey};

/// How long a signature that was asked for is waited for before it is asked for again.
const SIGNATURE_PATIENCE: Duration = Duration::from_secs(60);

impl<const IMAGES: usize, D: Dht> Provider<IMAGES, D> {
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
        self.with_node(|node| node.set_clock(now, issued));
        for at in 0..self.places() {
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

    /// Interfaces with adverts, the DHT counted.
    pub(super) fn places(&self) -> usize {
        self.adverts.len().saturating_add(self.wide.as_ref().len())
    }

    /// The adverts of an interface; behind those of all interfaces, those for the DHT.
    fn adverts_mut(&mut self, at: usize) -> Option<&mut Adverts<IMAGES>> {
        let interfaces = self.adverts.len();
        match at.checked_sub(interfaces) {
            None => self.adverts.get_mut(at),
            Some(at) => self.wide.as_mut().get_mut(at).map(|wide| &mut wide.adverts),
        }
    }

    pub(super) fn state_mut(&mut self, at: usize, index: usize) -> Option<&mut AdvertState> {
        self.adverts_mut(at)?.states.get_mut(index)
    }

    fn states(&self) -> impl Iterator<Item = &AdvertState> {
        let wide = self.wide.as_ref().iter().map(|wide| &wide.adverts);
        self.adverts.iter().chain(wide).flat_map(|adverts| &adverts.states)
    }

    /// Has every advert of an image signed, no sooner than its limit allows.
    pub(super) fn resign(&mut self, index: usize) {
        let (now, is_auto) = (self.now, self.origin.is_auto());
        for at in 0..self.places() {
            if let Some(adverts) = self.adverts_mut(at)
                && (adverts.address.is_some() || !is_auto)
                && let Some(state) = adverts.states.get_mut(index)
            {
                state.change(now);
            }
        }
        self.reschedule();
    }

    /// Has the adverts of an interface signed whose URL changed, and forgets those of interfaces that are gone.
    pub(super) fn follow_interfaces(&mut self) {
        let (now, is_auto) = (self.now, self.origin.is_auto());
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
            adverts.follow(now, address, is_auto, &self.images);
        }
        self.follow_addresses();
        self.reschedule();
    }

    fn is_due(&mut self, at: usize, index: usize) -> bool {
        let now = self.now;
        let state = self.state_mut(at, index);
        state.and_then(|state| state.sign_at).is_some_and(|sign_at| sign_at <= now)
    }

    fn sign_one(&mut self, at: usize, index: usize, issued: UnixTime, seq: u64) -> Option<()> {
        let (interface, address) =
            self.adverts_mut(at).map(|adverts| (adverts.interface, adverts.address))?;
        let image = self.images.get(index)?.as_ref()?;
        let advert = Advert {
            url: self.origin.url(address, &image.channel, &image.arch)?,
            peer: self.peer,
            name: self.name.clone(),
            issued,
            version: image.version.clone(),
            seq,
            ttl: self.ttl,
            digest: Some(image.digest),
        };
        let signed = advert.sign(&self.key, &image.channel, &image.arch).ok()?;
        let now = self.now;
        if interface == DHT {
            let key = AdvertKey::base(image.channel.clone(), image.arch.clone());
            self.with_node(|node| node.publish(now, index, &key, &signed));
        } else {
            let mut buffer = [0; ADVERT_TXT_MAX];
            let text = signed.encode_txt(&image.channel, &image.arch, &mut buffer).ok()?;
            self.responder.set_text(now, interface, index, text);
        }
        let delay = refresh_delay(self.ttl, &mut self.jitter);
        let state = self.state_mut(at, index)?;
        state.signed = Some(Signed { seq, issued, address });
        state.changed = false;
        state.sign_at = Some(now + delay);
        Some(())
    }

    fn postpone(&mut self, at: usize, index: usize) {
        let again = self.now + SIGNATURE_PATIENCE;
        if let Some(state) = self.state_mut(at, index) {
            state.sign_at = Some(again);
        }
    }

    /// Works out when the next signature is due.
    pub(super) fn reschedule(&mut self) {
        self.sign_at = self.states().filter_map(|state| state.sign_at).min();
    }

    pub(super) fn sign_deadline(&self) -> Option<Instant> {
        let again = self.asked.map(|asked| asked.until);
        self.sign_at.map(|at| again.map_or(at, |again| at.max(again)))
    }

    /// Asks for the signatures that are due, once.
    pub(super) fn poll_signature(&mut self) -> Option<Event> {
        if self.sign_deadline().is_none_or(|at| at > self.now) {
            return None;
        }
        let due = |state: &&AdvertState| state.sign_at.is_some_and(|at| at <= self.now);
        let count = self.states().filter(due).count();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.asked = Some(Asked { count, until: self.now + SIGNATURE_PATIENCE });
        Some(Event::SignatureDue { count })
    }
}
