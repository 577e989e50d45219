//! Places for connections that come as they are needed: each takes 70 KiB and more, and most of the time few are in use.
//! Not here: what a place is (`phase_core::dht::swarm`).

use phase_core::dht::swarm::Slot;

/// Some places, of which a few are always free until there are as many as there may be.
///
/// `RX`, `TX` and `A` are those of [`Slot`].
#[derive(Debug)]
pub struct Slots<const RX: usize, const TX: usize, const A: usize> {
    places: Vec<Slot<RX, TX, A>>,
    spare: usize,
    most: usize,
}

impl<const RX: usize, const TX: usize, const A: usize> Slots<RX, TX, A> {
    /// `spare`: how many are free as long as there may be more, so that a connection finds one as soon as it is there;
    /// as many can be dialled at one time, and two more. `most`: how many there may be; 0: none.
    #[must_use]
    pub fn new(spare: usize, most: usize) -> Self {
        let mut slots = Self { places: Vec::new(), spare, most };
        slots.grow();
        slots
    }

    fn grow(&mut self) {
        let free = self.places.iter().filter(|slot| slot.is_vacant()).count();
        let missing = self.spare.saturating_sub(free);
        let missing = missing.min(self.most.saturating_sub(self.places.len()));
        if missing > 0 {
            self.places.reserve_exact(missing);
            // A constant is copied to where it belongs; a value would be made on the stack, which grows by it for good.
            self.places.extend((0..missing).map(|_| const { Slot::new() }));
        }
    }
}

impl<const RX: usize, const TX: usize, const A: usize> AsRef<[Slot<RX, TX, A>]>
    for Slots<RX, TX, A>
{
    fn as_ref(&self) -> &[Slot<RX, TX, A>] {
        &self.places
    }
}

/// Whoever changes a place may take one: there are more for the next.
impl<const RX: usize, const TX: usize, const A: usize> AsMut<[Slot<RX, TX, A>]>
    for Slots<RX, TX, A>
{
    fn as_mut(&mut self) -> &mut [Slot<RX, TX, A>] {
        self.grow();
        &mut self.places
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use phase_core::connection::{Answer, Identity, Tag};
    use phase_core::dht::swarm::{Failure, Owner, Remote, Settings, Swarm};
    use phase_core::identity::SecretKey;
    use phase_core::limits::{ASSEMBLERS_CLIENT, RX_SMALL, TX_CLIENT};
    use phase_core::machine::{ConnectionId, ConnectionInput};
    use phase_core::rng::Seed;
    use phase_core::time::Instant;
    use phase_core::wire::cursor::Writer;
    use phase_core::wire::identify::Identified;
    use phase_core::wire::kad::{Part, Request};

    use super::*;

    type Small = Slots<RX_SMALL, TX_CLIENT, ASSEMBLERS_CLIENT>;

    #[test]
    fn a_few_places_are_free_until_there_are_as_many_as_there_may_be() {
        for (spare, most, count) in [(2, 8, 2), (2, 1, 1), (2, 0, 0)] {
            let mut slots = Small::new(spare, most);
            assert_eq!(slots.as_ref().len(), count);
            assert_eq!(slots.as_mut().len(), count, "none is in use");
        }
    }

    #[test]
    fn every_connection_finds_a_place_at_once_up_to_the_most() {
        let (seed, now) = (Seed([7; 32]), Instant::ZERO);
        let settings = Settings { inbound: 8, idle: Duration::from_secs(9), prefer: None };
        let identity = Identity::new(&SecretKey::from_seed(&seed.0), &seed);
        let mut swarm: Swarm<Small, RX_SMALL, TX_CLIENT, ASSEMBLERS_CLIENT> =
            Swarm::new(now, Small::new(2, 5), identity, seed, settings);
        for number in 0..7 {
            let remote = SocketAddr::from(([192, 0, 2, 1], 4001));
            let accepted = ConnectionInput::Accepted { remote };
            swarm.handle_connection(now, ConnectionId::Accepted(number), accepted, &mut Nobody);
        }
        assert_eq!(swarm.stats().connections_accepted, 5);
        assert_eq!(swarm.stats().connections_over_limit, 2);
    }

    /// Asks nothing and answers nothing.
    struct Nobody;

    impl Owner for Nobody {
        fn request(&mut self, _: Tag) -> Option<Request<'_>> {
            None
        }
        fn reached(&mut self, _: Tag, _: &Remote) {}
        fn part(&mut self, _: Instant, _: Tag, _: &Remote, _: Part<'_>) {}
        fn failed(&mut self, _: Instant, _: Tag, _: &Failure) {}
        fn answer(&mut self, _: Instant, _: &Remote, _: Request<'_>, _: &mut Writer<'_>) -> Answer {
            Answer::Reset
        }
        fn identified(&mut self, _: Instant, _: &Remote, _: &Identified) {}
        fn identify(&mut self, _: &Remote, _: &mut Writer<'_>) {}
        fn left(&mut self, _: Instant, _: &Remote) {}
    }
}
