//! The laws of [`phase_core::machine`], held for every machine under random inputs.

mod client;
mod finder;
mod provider;
