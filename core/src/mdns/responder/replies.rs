//! Unicast responses that leave at once, and those given before: a query is often repeated octet for octet
//! (by every machine of a rack that boots), and its answer stays the same until something changes.
//! Spec: RFC 6762 §5.4, §6.7.

use core::net::SocketAddr;

use crate::limits::{REPLIES_KEPT, TRANSMIT_MAX};
use crate::machine::{Datagram, LinkId, Port, Transmit, TransmitBuffer};
use crate::mdns::PORT;
use crate::time::Instant;

/// Octets of a query that can be recognised: a header, a question with a long name, OPT.
const QUERY_MAX: usize = 288;

/// Which queries a kept response answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// Those from a port other than 5353.
    Legacy,
    /// Those from port 5353 to the group, as long as `until` has not come: then the next answer is due by
    /// multicast (RFC 6762 §5.4).
    Unicast { until: Instant },
}

/// A response, and the query it answers.
#[derive(Debug)]
struct Kept {
    link: Option<LinkId>,
    queries: For,
    /// Without the id.
    query: heapless::Vec<u8, QUERY_MAX>,
    response: [u8; TRANSMIT_MAX],
    len: usize,
}

/// The response that is to leave.
#[derive(Clone, Copy, Debug)]
struct Ready {
    kept: usize,
    id: u16,
    link: LinkId,
    remote: SocketAddr,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Replies {
    kept: [Kept; REPLIES_KEPT],
    oldest: usize,
    ready: Option<Ready>,
}

impl Replies {
    pub(super) const fn new() -> Self {
        let kept = [const {
            Kept {
                link: None,
                queries: For::Legacy,
                query: heapless::Vec::new(),
                response: [0; TRANSMIT_MAX],
                len: 0,
            }
        }; REPLIES_KEPT];
        Self { kept, oldest: 0, ready: None }
    }

    /// Forgets every response: names, addresses or texts changed.
    pub(super) fn forget(&mut self) {
        for kept in &mut self.kept {
            kept.link = None;
        }
    }

    /// Answers a query of somebody on the link with the response to the same query, if there is one.
    pub(super) fn repeat(&mut self, now: Instant, datagram: &Datagram<'_>) -> bool {
        let Some(([i0, i1], rest)) = datagram.payload.split_first_chunk::<2>() else {
            return false;
        };
        let legacy = datagram.remote.port() != PORT;
        let same = |kept: &Kept| {
            let suits = match kept.queries {
                For::Legacy => legacy,
                For::Unicast { until } => {
                    !legacy && datagram.destination.is_multicast() && now < until
                }
            };
            suits && kept.link == Some(datagram.link) && kept.query.as_slice() == rest
        };
        let Some(kept) = self.kept.iter().position(same) else { return false };
        // RFC 6762 §18.1: an id is for legacy queriers alone.
        let id = if legacy { u16::from_be_bytes([*i0, *i1]) } else { 0 };
        self.ready = Some(Ready { kept, id, link: datagram.link, remote: datagram.remote });
        true
    }

    /// Where to write a new response, in place of the oldest.
    pub(super) fn room(&mut self) -> &mut TransmitBuffer {
        self.oldest = self.oldest.wrapping_add(1).checked_rem(REPLIES_KEPT).unwrap_or(0);
        let [first, rest @ ..] = &mut self.kept;
        let kept = match self.oldest.checked_sub(1) {
            None => first,
            Some(at) => rest.get_mut(at).unwrap_or(first),
        };
        kept.link = None;
        &mut kept.response
    }

    /// Sends the `len` octets written to [`Self::room`], in response to the message id `id`.
    pub(super) fn send(&mut self, link: LinkId, remote: SocketAddr, id: u16, len: usize) {
        if let Some(kept) = self.kept.get_mut(self.oldest) {
            kept.len = len;
            self.ready = Some(Ready { kept: self.oldest, id, link, remote });
        }
    }

    /// Keeps the response sent last as the answer to `query`, and to no other.
    pub(super) fn keep(&mut self, link: LinkId, query: &[u8], queries: For) {
        let rest = query.get(2..).unwrap_or_default();
        if let Some(kept) = self.kept.get_mut(self.oldest) {
            kept.query.clear();
            if kept.query.extend_from_slice(rest).is_ok() {
                kept.link = Some(link);
                kept.queries = queries;
            }
        }
    }

    /// Takes the response that is to leave.
    pub(super) fn poll(&mut self, buf: &mut TransmitBuffer) -> Option<Transmit> {
        let Ready { kept, id, link, remote } = self.ready.take()?;
        let kept = self.kept.get(kept)?;
        let len = kept.len.min(TRANSMIT_MAX);
        buf.get_mut(..len)?.copy_from_slice(kept.response.get(..len)?);
        let [first, second, ..] = buf;
        [*first, *second] = id.to_be_bytes();
        Some(Transmit { link, port: Port::Mdns, destination: remote, len })
    }
}
