//! Queriers that are owed an answer of their own later: by unicast after a random delay, or after the rest
//! of their known answers has come.
//! Spec: RFC 6762 §5.4 (unicast responses), §7.2 (known answers in several packets).

use core::net::SocketAddr;

use super::records::Records;
use crate::limits::{KNOWN_ANSWER_PACKETS, PENDING_QUERIES};
use crate::machine::LinkId;
use crate::time::Instant;

/// One querier's pending answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending<const N: usize> {
    pub(super) link: LinkId,
    pub(super) remote: SocketAddr,
    pub(super) due: Instant,
    pub(super) multicast: Records<N>,
    pub(super) unicast: Records<N>,
    /// More known answers are announced; how many packets have come.
    packets: Option<u8>,
}

impl<const N: usize> Pending<N> {
    /// Answers of which `multicast` goes to everybody and `unicast` to the querier.
    pub(super) const fn new(
        (link, remote): (LinkId, SocketAddr),
        due: Instant,
        multicast: Records<N>,
        unicast: Records<N>,
    ) -> Self {
        Self { link, remote, due, multicast, unicast, packets: None }
    }

    /// As a querier that announced more known answers by the TC bit.
    pub(super) const fn held(mut self) -> Self {
        self.packets = Some(1);
        self
    }
}

/// All of them, at most [`PENDING_QUERIES`].
#[derive(Debug)]
pub(super) struct PendingAnswers<const N: usize> {
    entries: heapless::Vec<Pending<N>, PENDING_QUERIES>,
}

impl<const N: usize> PendingAnswers<N> {
    pub(super) const fn new() -> Self {
        Self { entries: heapless::Vec::new() }
    }

    /// Adds one; `false` when there is no room.
    pub(super) fn push(&mut self, pending: Pending<N>) -> bool {
        self.entries.push(pending).is_ok()
    }

    /// The answers held back for a querier that has more known answers to tell.
    pub(super) fn held(&mut self, link: LinkId, remote: SocketAddr) -> Option<&mut Pending<N>> {
        let same =
            |p: &&mut Pending<N>| p.link == link && p.remote == remote && p.packets.is_some();
        self.entries.iter_mut().find(same)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.entries.iter().map(|pending| pending.due).min()
    }

    /// Takes one whose time has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Pending<N>> {
        let at = self.entries.iter().position(|pending| pending.due <= now)?;
        Some(self.entries.swap_remove(at))
    }

    pub(super) fn forget_link(&mut self, link: LinkId) {
        self.entries.retain(|pending| pending.link != link);
    }

    pub(super) fn forget_instance(&mut self, index: usize) {
        for pending in &mut self.entries {
            pending.multicast.remove_instance(index);
            pending.unicast.remove_instance(index);
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}

impl<const N: usize> Pending<N> {
    /// Another packet of the querier came, with the TC bit again or not. Past the bound the wait is no longer
    /// extended.
    pub(super) fn extend(&mut self, truncated: bool, due: Instant) {
        if let Some(packets) = &mut self.packets {
            *packets = packets.saturating_add(1);
            if truncated && *packets <= KNOWN_ANSWER_PACKETS {
                self.due = due;
            }
        }
    }
}
