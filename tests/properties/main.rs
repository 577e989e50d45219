//! Properties: laws held for many generated values. The generators draw from a fixed seed, so that a failure
//! repeats; each check names its case.

mod dns;
mod formats;
mod libp2p;
mod lookup;

use phase_core::rng::{Rng, Seed};

/// A stream of random numbers for the property `label`.
fn rng(label: &str) -> Rng {
    Seed([0x5a; 32]).stream(label)
}

/// A number below `end`, which is not 0.
fn below(rng: &mut Rng, end: usize) -> usize {
    usize::try_from(rng.u64() % u64::try_from(end).expect("64 bits")).expect("below end")
}
