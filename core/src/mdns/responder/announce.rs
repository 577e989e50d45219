//! Telling a link without being asked: announcements, updates and goodbyes.
//! Spec: RFC 6762 §8.3 (announcing), §8.4 (updating), §10.1 (goodbye).

use super::Responder;
use super::answer::{Packet, Style};
use super::link::{LinkState, Phase, Reason};
use super::records::{Common, OfInstance, Owner, RecordSet};
use crate::machine::{Transmit, TransmitBuffer};
use crate::time::Instant;
use crate::wire::dns::{Compression, Flags, MessageWriter};

impl<const N: usize> Responder<N> {
    /// Announces everything of a name that was just verified on a link.
    pub(super) fn announce(&mut self, link: usize, owner: Owner) {
        let now = self.now;
        let Some(state) = self.links.get_mut(link) else { return };
        state.known.insert(owner);
        match owner {
            Owner::Host => {
                state.announce(RecordSet::Common(Common::A), now);
                state.announce(RecordSet::Common(Common::Aaaa), now);
                if core::mem::take(&mut state.host_renamed) {
                    for i in (0..N).filter(|i| self.registry.instance(*i).is_some()) {
                        if state.is_verified(Owner::Instance(i)) {
                            state.announce(RecordSet::Instance(i, OfInstance::Srv), now);
                        }
                    }
                }
            }
            Owner::Instance(i) => {
                state.announce(RecordSet::Common(Common::Services), now);
                for of in
                    [OfInstance::TypePtr, OfInstance::SubtypePtr, OfInstance::Srv, OfInstance::Txt]
                {
                    state.announce(RecordSet::Instance(i, of), now);
                }
            }
        }
    }

    /// Has everything that is verified on a link forgotten by others.
    pub(super) fn say_goodbye(&mut self, link: usize) {
        let now = self.now;
        let Some(state) = self.links.get_mut(link) else { return };
        let verified = state.is_verified(Owner::Host);
        state.silence(Owner::Host);
        state.silence_services();
        if verified {
            for common in [Common::A, Common::Aaaa] {
                state.schedule(RecordSet::Common(common), now, Reason::Goodbye);
            }
        }
        for i in 0..N {
            state.dismiss(i, now);
        }
        Owner::all(N).for_each(|owner| state.set_phase(owner, Phase::Idle));
    }

    /// Writes the next goodbye of a link, if one is due.
    pub(super) fn poll_goodbye(
        &mut self,
        link: usize,
        buf: &mut TransmitBuffer,
    ) -> Option<Transmit> {
        let state = self.links.get_mut(link)?;
        let id = state.id;
        let interface = self.registry.interface(id.interface)?;
        let renamed = state.renamed.iter().next();
        if renamed.is_none() && !state.addresses_gone {
            return self.poll_withdrawal(link, buf);
        }
        let room = buf.get_mut(..state.payload_max)?;
        let mut w = MessageWriter::new(room, 0, Flags::RESPONSE, Compression::Multicast);
        // Two PTR records, or the addresses of one interface, fit in the smallest MTU.
        let _ = if let Some(owner) = renamed {
            state.renamed.remove(owner);
            self.registry.visit_former(owner, |record| w.answer(&record))
        } else {
            state.addresses_gone = false;
            self.registry.visit_gone(interface, |record| w.answer(&record))
        };
        self.wake = None;
        let empty = w.is_empty();
        let len = w.finish().ok().filter(|_| !empty)?;
        Some(self.multicast(id, buf, len))
    }

    /// Writes the goodbyes of what is withdrawn, as many as fit.
    fn poll_withdrawal(&mut self, link: usize, buf: &mut TransmitBuffer) -> Option<Transmit> {
        let state = self.links.get(link)?;
        let (goodbyes, _) = state.due(self.now);
        if goodbyes.is_empty() {
            return None;
        }
        let id = state.id;
        let packet =
            Packet { flags: Flags::RESPONSE, limit: state.payload_max, style: Style::Goodbye };
        let (sent, len) = packet.write(&self.registry, id.interface, &goodbyes, buf);
        self.links.get_mut(link)?.sent(&sent, self.now);
        self.changed();
        Some(self.multicast(id, buf, len?))
    }
}

impl<const N: usize> LinkState<N> {
    /// Has an instance forgotten by others; of a name that is being fought over, only what points to it.
    pub(super) fn dismiss(&mut self, index: usize, now: Instant) {
        let owner = Owner::Instance(index);
        let verified = self.is_verified(owner);
        self.silence(owner);
        if !self.known.contains(owner) {
            return;
        }
        for of in [OfInstance::TypePtr, OfInstance::SubtypePtr] {
            self.schedule(RecordSet::Instance(index, of), now, Reason::Goodbye);
        }
        for of in [OfInstance::Srv, OfInstance::Txt].into_iter().filter(|_| verified) {
            self.schedule(RecordSet::Instance(index, of), now, Reason::Goodbye);
        }
    }
}
