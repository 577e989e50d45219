//! The earliest time it can be, for machines whose clock may be wrong or absent.
//!
//! `max(epoch, the clock if it is not before the epoch, the second-highest time over different pinned
//! signers)`. The second-highest, so that one provider whose clock is in 2099 cannot expire all others; only
//! pinned signers, so that nobody else can move it.

use crate::identity::PeerId;
use crate::time::UnixTime;
use crate::wire::trust::Trust;

/// Seconds that an advert is accepted after its time is over.
pub const EXPIRY_GRACE: u64 = 300;

/// The earliest time it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ClockFloor {
    base: UnixTime,
    plausible: bool,
    /// The two signers with the highest times, the higher first.
    highest: [Option<(PeerId, UnixTime)>; 2],
}

impl ClockFloor {
    /// `epoch`: a time that has passed, as when the client was built. `clock`: what the machine's clock
    /// says, if it has one.
    #[must_use]
    pub fn new(epoch: UnixTime, clock: Option<UnixTime>) -> Self {
        let clock = clock.filter(|clock| *clock >= epoch);
        let base = clock.unwrap_or(epoch);
        Self { base, plausible: clock.is_some(), highest: [None; 2] }
    }

    /// As [`ClockFloor::new`], with an epoch that the trust store may move forward.
    #[must_use]
    pub fn of(trust: &Trust, epoch: UnixTime, clock: Option<UnixTime>) -> Self {
        Self::new(trust.epoch().map_or(epoch, |later| later.max(epoch)), clock)
    }

    /// Whether the machine's clock is believed.
    #[must_use]
    pub const fn is_plausible(&self) -> bool {
        self.plausible
    }

    /// Moves the machine's clock forward.
    pub fn advance(&mut self, clock: UnixTime) {
        if self.plausible && clock > self.base {
            self.base = clock;
        }
    }

    /// Takes note of the time in an advert of a pinned signer, after its signature was found right.
    pub fn observe(&mut self, signer: &PeerId, issued: UnixTime) {
        let entry = Some((*signer, issued));
        let is_signer =
            |slot: &Option<(PeerId, UnixTime)>| slot.is_some_and(|(id, _)| id == *signer);
        let is_later = |slot: &Option<(PeerId, UnixTime)>| slot.is_none_or(|(_, at)| issued > at);
        let [first, second] = self.highest;
        self.highest = if is_signer(&first) {
            if is_later(&first) { [entry, second] } else { [first, second] }
        } else if is_later(&first) {
            // The signer moves to the front; it must not stay behind itself.
            [entry, first]
        } else if is_later(&second) {
            [first, entry]
        } else {
            [first, second]
        };
    }

    /// The earliest time it can be.
    #[must_use]
    pub fn floor(&self) -> UnixTime {
        let [_, second] = self.highest;
        second.map_or(self.base, |(_, issued)| issued.max(self.base))
    }

    /// Whether what was good until `expires_at` is over, by more than [`EXPIRY_GRACE`].
    #[must_use]
    pub fn is_expired(&self, expires_at: UnixTime) -> bool {
        expires_at.plus(EXPIRY_GRACE) < self.floor()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;

    fn signer(n: u8) -> PeerId {
        SecretKey::from_seed(&[n; 32]).peer_id()
    }

    #[test]
    fn a_clock_before_the_epoch_is_not_believed() {
        let epoch = UnixTime(1000);
        assert_eq!(ClockFloor::new(epoch, None).floor(), epoch);
        assert_eq!(ClockFloor::new(epoch, Some(UnixTime(0))).floor(), epoch);
        assert!(!ClockFloor::new(epoch, Some(UnixTime(999))).is_plausible());
        assert!(ClockFloor::new(epoch, Some(UnixTime(1000))).is_plausible());
        assert_eq!(ClockFloor::new(epoch, Some(UnixTime(2000))).floor(), UnixTime(2000));
    }

    #[test]
    fn a_trust_store_moves_the_epoch_forward_and_never_back() {
        let key = signer(1).key_id();
        let floor = |said: u64| {
            let text = std::format!("release {key}\nepoch {said}\n");
            let trust = Trust::decode(text.as_bytes()).unwrap();
            ClockFloor::of(&trust, UnixTime(1000), None).floor()
        };
        assert_eq!((floor(999), floor(1001)), (UnixTime(1000), UnixTime(1001)));
    }

    #[test]
    fn the_floor_is_the_second_highest_of_different_signers() {
        let mut clock = ClockFloor::new(UnixTime(10), None);
        clock.observe(&signer(1), UnixTime(4_000_000_000));
        assert_eq!(clock.floor(), UnixTime(10));
        clock.observe(&signer(1), UnixTime(4_100_000_000));
        clock.observe(&signer(1), UnixTime(5));
        assert_eq!(clock.floor(), UnixTime(10), "one signer is never enough");
        clock.observe(&signer(2), UnixTime(100));
        assert_eq!(clock.floor(), UnixTime(100));
        clock.observe(&signer(3), UnixTime(90));
        assert_eq!(clock.floor(), UnixTime(100));
        clock.observe(&signer(3), UnixTime(110));
        assert_eq!(clock.floor(), UnixTime(110));
        clock.observe(&signer(2), UnixTime(5_000_000_000));
        assert_eq!(clock.floor(), UnixTime(4_100_000_000));
        clock.observe(&signer(2), UnixTime(6_000_000_000));
        assert_eq!(clock.floor(), UnixTime(4_100_000_000));
    }

    #[test]
    fn the_floor_is_that_of_a_list_of_all_signers() {
        let mut rng = crate::rng::Seed([3; 32]).stream("clock");
        for _ in 0..200 {
            let mut clock = ClockFloor::new(UnixTime(0), None);
            let mut latest = [0_u64; 5];
            for _ in 0..20 {
                let (who, at) = (usize::from(rng.u16()) % 5, u64::from(rng.u16()) % 50);
                clock.observe(&signer(who as u8 + 1), UnixTime(at));
                latest[who] = latest[who].max(at);
                let mut sorted = latest;
                sorted.sort_unstable();
                assert_eq!(clock.floor(), UnixTime(sorted[3]), "{latest:?}");
            }
        }
    }

    #[test]
    fn expiry_has_a_grace_and_does_not_overflow() {
        let clock = ClockFloor::new(UnixTime(0), Some(UnixTime(10_000)));
        assert!(!clock.is_expired(UnixTime(9_700)));
        assert!(clock.is_expired(UnixTime(9_699)));
        assert!(!clock.is_expired(UnixTime(u64::MAX)));
    }

    #[test]
    fn only_a_believed_clock_advances() {
        let mut clock = ClockFloor::new(UnixTime(10), Some(UnixTime(20)));
        clock.advance(UnixTime(30));
        clock.advance(UnixTime(25));
        assert_eq!(clock.floor(), UnixTime(30));
        let mut clock = ClockFloor::new(UnixTime(10), None);
        clock.advance(UnixTime(30));
        assert_eq!(clock.floor(), UnixTime(10));
    }
}
