//! The adverts as the provider keeps them: when each is to be signed, and what was signed last.

use core::net::IpAddr;

use super::Image;
use crate::schedule::UpdateLimit;
use crate::time::{Instant, UnixTime};

/// One image's advert on one interface.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AdvertState {
    pub(super) signed: Option<Signed>,
    /// When it is to be signed (again).
    pub(super) sign_at: Option<Instant>,
    /// `sign_at` is for a change, not for the refresh.
    pub(super) changed: bool,
    pub(super) limit: UpdateLimit,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Signed {
    pub(super) seq: u64,
    pub(super) issued: UnixTime,
    pub(super) address: Option<IpAddr>,
}

/// The adverts of one interface.
#[derive(Debug)]
pub(super) struct Adverts<const N: usize> {
    pub(super) interface: u32,
    /// What URLs have in [`Origin::Auto`](super::Origin::Auto).
    pub(super) address: Option<IpAddr>,
    pub(super) states: [AdvertState; N],
}

/// Signatures that were asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) count: u32,
    pub(super) until: Instant,
}

impl AdvertState {
    /// Has it signed because of a change, at once unless there were too many lately.
    pub(super) fn change(&mut self, now: Instant) {
        if self.signed.is_none() {
            self.sign_at = Some(now);
        } else if !self.changed {
            self.sign_at = Some(self.limit.next(now));
            self.changed = true;
        }
    }
}

impl<const N: usize> Adverts<N> {
    /// Takes note of the interface's address: what was signed with another one is signed again, and nothing is
    /// where URLs need an address and there is none.
    pub(super) fn follow(
        &mut self,
        now: Instant,
        address: Option<IpAddr>,
        is_auto: bool,
        images: &[Option<Image>; N],
    ) {
        self.address = address;
        for (state, image) in self.states.iter_mut().zip(images) {
            let stale = match state.signed {
                Some(signed) => is_auto && signed.address != address,
                None => state.sign_at.is_none(),
            };
            if image.is_none() || (address.is_none() && is_auto) {
                state.sign_at = None;
            } else if stale {
                state.change(now);
            }
        }
    }
}
