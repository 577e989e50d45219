//! Command lines: what the flags are called, what they mean and what is printed.

pub mod common;
pub mod dht;
pub mod discover;
pub mod fetch;
pub mod provider;
mod provider_channel;
mod provider_doctor;
mod provider_key;
mod provider_manifest;
mod provider_status;
pub mod text;
pub mod trust;
pub mod verify;
