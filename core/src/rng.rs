//! Randomness from one seed, as separate labelled streams, so that adding a draw in one place does not shift
//! all others. Not here: entropy; the driver gives the [`Seed`].

use core::time::Duration;

use chacha20::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

use crate::time::micros;

/// 32 octets of entropy from the driver; a fixed value makes a run repeatable.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

impl core::fmt::Debug for Seed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Seed(..)")
    }
}

impl Seed {
    /// The stream of this seed named `label`.
    #[must_use]
    pub fn stream(&self, label: &str) -> Rng {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(label.as_bytes());
        Rng(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    /// The secret numbered `counter` under `label`, for private keys: a hash, so that no secret tells
    /// anything of the seed or of another.
    #[must_use]
    pub fn secret(&self, label: &str, counter: u64) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"secret");
        hash.update(self.0);
        hash.update(counter.to_be_bytes());
        hash.update(label.as_bytes());
        hash.finalize().into()
    }
}

/// One labelled stream of random numbers.
pub struct Rng(ChaCha8Rng);

impl core::fmt::Debug for Rng {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Rng(..)")
    }
}

impl Rng {
    /// A uniform 16-bit number, for query ids.
    pub fn u16(&mut self) -> u16 {
        u16::try_from(self.0.next_u32() >> 16).unwrap_or(0)
    }

    /// A uniform 64-bit number.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A duration uniform in `low..=high`, to the microsecond; `low` where `high` is not above it.
    pub fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        let span = micros(high.saturating_sub(low)).saturating_add(1);
        // Multiply-shift: a bias of at most span / 2^64.
        let product = u128::from(self.0.next_u64()).wrapping_mul(u128::from(span)) >> 64;
        low.saturating_add(Duration::from_micros(u64::try_from(product).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ_by_label() {
        let seed = Seed([7; 32]);
        assert_eq!(seed.stream("a").u64(), seed.stream("a").u64());
        assert_ne!(seed.stream("a").u64(), seed.stream("b").u64());
    }

    #[test]
    fn secrets_repeat_and_differ_by_label_and_counter() {
        let seed = Seed([7; 32]);
        assert_eq!(seed.secret("a", 1), seed.secret("a", 1));
        assert_ne!(seed.secret("a", 1), seed.secret("a", 2));
        assert_ne!(seed.secret("a", 1), seed.secret("b", 1));
    }

    #[test]
    fn durations_fill_their_range() {
        let mut rng = Seed([1; 32]).stream("delay");
        let (low, high) = (Duration::from_millis(20), Duration::from_millis(120));
        let mut seen = [0_u32; 4];
        for _ in 0..4000 {
            let d = rng.duration(low, high);
            assert!(d >= low && d <= high);
            seen[usize::try_from((d - low).as_micros() / 25_001).unwrap()] += 1;
        }
        assert!(seen.iter().all(|n| (850..1150).contains(n)), "{seen:?}");
        assert_eq!(rng.duration(high, high), high);
        assert_eq!(rng.duration(high, low), high);
    }
}
