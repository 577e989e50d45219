//! Between a connection and the owner of the swarm: says of whom each piece is.

use super::slot::Link;
use super::{Owner, Remote};
use crate::connection::{Answer, Error, Handler, KadProtocol, StreamError, Tag};
use crate::identity::PeerId;
use crate::stats::Stats;
use crate::time::Instant;
use crate::wire::cursor::Writer;
use crate::wire::identify::Identified;
use crate::wire::kad::{Part, Request};

pub(super) struct Relay<'a, O> {
    pub(super) now: Instant,
    pub(super) serves: bool,
    pub(super) link: Option<&'a mut Link>,
    pub(super) stats: &'a mut Stats,
    pub(super) owner: &'a mut O,
}

impl<O> Relay<'_, O> {
    fn remote(&self) -> Option<Remote> {
        self.link.as_ref()?.remote()
    }
}

impl<O: Owner> Handler for Relay<'_, O> {
    fn stats(&mut self) -> &mut Stats {
        self.stats
    }

    fn is_server(&self) -> bool {
        self.owner.is_server()
    }

    fn serves_kad(&self) -> bool {
        self.owner.is_server() && self.serves
    }

    fn serves(&self, protocol: KadProtocol) -> bool {
        self.serves_kad() && self.owner.speaks(protocol)
    }

    fn established(&mut self, peer: &PeerId) {
        let Some(link) = self.link.as_mut() else { return };
        link.peer = Some(*peer);
        let Some(remote) = link.remote() else { return };
        for tag in &link.open {
            self.owner.reached(*tag, &remote);
        }
    }

    fn answer(&mut self, _: &PeerId, request: Request<'_>, out: &mut Writer<'_>) -> Answer {
        match self.remote() {
            Some(remote) => self.owner.answer(self.now, &remote, request, out),
            None => Answer::Reset,
        }
    }

    fn request(&mut self, tag: Tag) -> Option<Request<'_>> {
        self.owner.request(tag)
    }

    fn part(&mut self, _: &PeerId, tag: Tag, part: Part<'_>) {
        let Some(remote) = self.remote() else { return };
        let is_end = matches!(part, Part::End);
        let link = self.link.as_mut();
        let known =
            link.is_some_and(|link| link.open.contains(&tag) && (!is_end || link.take(tag)));
        if known {
            self.owner.part(self.now, tag, &remote, part);
        }
    }

    fn failed(&mut self, tag: Tag, why: StreamError) {
        // When it was the connection that failed, its end says why; see `Swarm::settle`.
        if let Some(link) = self.link.as_mut()
            && why != StreamError::Closed
            && link.take(tag)
        {
            // There is room for as many as can be open.
            let _ = link.failed.push((tag, why));
        }
    }

    fn identifies(&self) -> bool {
        self.owner.identifies()
    }

    fn identified(&mut self, _: &PeerId, identified: &Identified) {
        if let Some(remote) = self.remote() {
            self.owner.identified(self.now, &remote, identified);
        }
    }

    fn identify(&mut self, out: &mut Writer<'_>) {
        if let Some(remote) = self.remote() {
            self.owner.identify(&remote, out);
        }
    }

    fn closed(&mut self, why: Error) {
        if let Some(link) = self.link.as_mut() {
            link.why = Some(why);
        }
    }
}
