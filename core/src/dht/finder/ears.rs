//! What a search hears from its swarm.

use super::Judge;
use super::bootstrap::Reach;
use super::peers::Standing;
use super::search::{Ask, Search, Stage, What};
use crate::connection::{Answer, Tag};
use crate::dht::scope::usable;
use crate::dht::swarm::{Failure, Owner, Remote};
use crate::select::TrustClass;
use crate::time::Instant;
use crate::wire::contact::{Addresses, Contact};
use crate::wire::cursor::Writer;
use crate::wire::identify::{Identified, Identify};
use crate::wire::kad::{Part, Request};
use crate::wire::multistream::Line;
use crate::wire::peer_id::encode_multihash;

/// A search with who judges the records it finds.
pub(super) struct Ears<'a, J, const N: usize> {
    pub(super) search: &'a mut Search<N>,
    pub(super) judge: &'a mut J,
}

impl<J: Judge, const N: usize> Ears<'_, J, N> {
    fn find(&mut self, tag: Tag) -> Option<&mut Ask> {
        self.search.asks.iter_mut().find(|ask| ask.tag == tag)
    }

    fn take(&mut self, tag: Tag) -> Option<Ask> {
        let at = self.search.asks.iter().position(|ask| ask.tag == tag)?;
        Some(self.search.asks.swap_remove(at))
    }

    fn set_reach(&mut self, ask: &Ask, reach: Reach) {
        let Some(number) = ask.bootstrap else { return };
        let Some(bootstrap) = self.search.bootstraps.get_mut(usize::from(number)) else { return };
        // One request may fail and the other be answered.
        if !matches!(bootstrap.reach, Reach::Answered(_)) {
            bootstrap.reach = reach;
        }
    }

    /// A peer that was told: on the way to the key, or a provider that may be asked itself.
    fn contact(&mut self, ask: &Ask, remote: &Remote, told: &Contact, provides: bool) {
        let contact = usable(told, remote.address);
        let is_pinned = self.judge.is_pinned(&contact.peer);
        if provides {
            self.search.counts.providers = self.search.counts.providers.saturating_add(1);
        }
        if is_pinned || (provides && self.judge.takes_anybody()) {
            self.search.add_direct(&contact, is_pinned);
        }
        if !provides && let Some(lookup) = self.search.lookup(ask.what) {
            lookup.heard(&remote.peer, &contact);
        }
    }

    /// A record: one of each answer is read, and only so many of all; of those by trusted peers, all.
    fn record(&mut self, now: Instant, tag: Tag, remote: &Remote, value: &[u8]) {
        let had_record = |ask: &mut Ask| core::mem::replace(&mut ask.had_record, true);
        if self.find(tag).is_none_or(had_record) {
            return;
        }
        if self.search.may_judge() || self.judge.is_pinned(&remote.peer) {
            let class: Option<TrustClass> = self.judge.record(now, remote, value);
            self.search.note_record(now, class);
        }
    }
}

impl<J: Judge, const N: usize> Owner for Ears<'_, J, N> {
    fn request(&mut self, tag: Tag) -> Option<Request<'_>> {
        let what = self.find(tag)?.what;
        self.search.encode_key(what);
        let key = self.search.asked_key.as_slice();
        Some(match what {
            What::Value | What::Own => Request::GetValue { key },
            What::Providers | What::RawProviders => Request::GetProviders { key },
            What::Node => Request::FindNode { key },
        })
    }

    fn is_server(&self) -> bool {
        false
    }

    fn reached(&mut self, tag: Tag, remote: &Remote) {
        let Some(ask) = self.find(tag) else { return };
        let was_unknown = ask.peer.replace(remote.peer).is_none();
        let ask = *ask;
        self.set_reach(&ask, Reach::Reached(remote.peer));
        if ask.bootstrap.is_some() {
            if was_unknown {
                self.search.peers.rename(remote.address, &remote.peer);
            }
            let contact = Contact::at(remote.peer, remote.address);
            if let Some(lookup) = self.search.lookup(ask.what) {
                lookup.asked(&contact);
            }
        }
    }

    fn part(&mut self, now: Instant, tag: Tag, remote: &Remote, part: Part<'_>) {
        let Some(ask) = self.find(tag).copied() else { return };
        match part {
            Part::Record(record) => self.record(now, tag, remote, record.value),
            Part::Oversized => {
                self.search.counts.oversized = self.search.counts.oversized.saturating_add(1);
            }
            Part::Closer(contact) => self.contact(&ask, remote, &contact, false),
            Part::Provider(contact) => self.contact(&ask, remote, &contact, true),
            Part::End => {
                self.take(tag);
                self.set_reach(&ask, Reach::Answered(remote.peer));
                self.search.peers.note(&remote.peer, Standing::Answered);
                if let Some(lookup) = self.search.lookup(ask.what) {
                    lookup.answered(&remote.peer);
                }
            }
        }
    }

    fn failed(&mut self, now: Instant, tag: Tag, failure: &Failure) {
        let Some(ask) = self.take(tag) else { return };
        if ask.bootstrap.is_some() {
            self.set_reach(&ask, Reach::Failed(*failure));
            self.search.hurry(now);
        } else {
            self.search.last_failure = Some((ask.peer, *failure));
        }
        if let Some(peer) = ask.peer {
            if ask.what == What::Own {
                self.search.note_direct_failed(&peer);
            }
            self.search.peers.note(&peer, Standing::Failed);
            if let Some(lookup) = self.search.lookup(ask.what) {
                lookup.failed(&peer);
            }
        } else if let Some(address) = failure.address {
            self.search.peers.note_address(address, Standing::Failed);
        }
    }

    fn answer(&mut self, _: Instant, _: &Remote, _: Request<'_>, _: &mut Writer<'_>) -> Answer {
        // A client is no server, and says so when the protocol is negotiated.
        Answer::Reset
    }

    fn identified(&mut self, _: Instant, _: &Remote, _: &Identified) {}

    fn identify(&mut self, remote: &Remote, out: &mut Writer<'_>) {
        // What every client says; a name or a version would tell more than is needed.
        let identify = Identify {
            peer: self.search.own,
            addresses: &Addresses::NONE,
            protocols: &[Line::Ping, Line::Identify],
            observed: Some(remote.address),
            protocol_version: "",
            agent: "",
        };
        identify.encode(out);
    }

    fn left(&mut self, _: Instant, _: &Remote) {}
}

impl<const N: usize> Search<N> {
    /// Writes the key of a request.
    fn encode_key(&mut self, what: What) {
        self.asked_key.clear();
        let taken = match (what, self.stage, self.pinned) {
            (What::Providers, ..) => self.asked_key.extend_from_slice(&self.key.provider_key()),
            (What::Node, _, Some(peer)) => {
                self.asked_key.extend_from_slice(&encode_multihash(&peer))
            }
            (What::Value, Stage::SubKey(_), Some(peer)) => {
                self.asked_key.extend_from_slice(&self.key.of(peer).octets())
            }
            (What::Value | What::Own | What::RawProviders | What::Node, ..) => {
                self.asked_key.extend_from_slice(&self.key.octets())
            }
        };
        debug_assert!(taken.is_ok(), "a key longer than its buffer");
    }
}
