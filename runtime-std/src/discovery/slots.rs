//! Places for connections that come as they are needed: each takes 70 KiB, and most lookups need one.
//! Not here: what a place is (`phase_core::dht::swarm`).

use phase_core::dht::finder::ClientSlot;
use phase_core::limits::RX_FULL;

/// A place for a connection to a node that sends messages of any size.
type Slot = ClientSlot<RX_FULL>;

/// Free places that there are, so that a connection finds one as soon as it is there.
const SPARE: usize = 2;

/// Some places, of which there are always [`SPARE`] free until there are as many as there may be.
#[derive(Debug)]
pub struct Slots {
    places: Vec<Slot>,
    most: usize,
}

impl Slots {
    /// `most`: how many there may be; 0: none.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let mut slots = Self { places: Vec::new(), most };
        slots.grow();
        slots
    }

    fn grow(&mut self) {
        let free = self.places.iter().filter(|slot| slot.is_vacant()).count();
        let missing = SPARE.saturating_sub(free).min(self.most - self.places.len());
        if missing > 0 {
            self.places.reserve_exact(missing);
            self.places.extend((0..missing).map(|_| Slot::new()));
        }
    }
}

impl AsRef<[Slot]> for Slots {
    fn as_ref(&self) -> &[Slot] {
        &self.places
    }
}

impl AsMut<[Slot]> for Slots {
    fn as_mut(&mut self) -> &mut [Slot] {
        self.grow();
        &mut self.places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_two_places_until_a_connection_takes_one_and_none_where_none_may_be() {
        let mut slots = Slots::new(8);
        assert_eq!(slots.as_mut().len(), 2);
        assert_eq!(slots.as_ref().len(), 2);
        assert!(Slots::new(0).as_mut().is_empty());
        assert_eq!(Slots::new(1).as_mut().len(), 1);
    }
}
