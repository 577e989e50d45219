//! The client for the LAN alone.

use core::mem::MaybeUninit;

use phase_core::client::{Client, Config};

use crate::device::Device;

/// The client that is linked.
pub type Wanted = Client;

/// Makes it in its place.
pub fn make<'a>(
    place: &'a mut MaybeUninit<Wanted>,
    device: &Device,
    config: Config,
) -> &'a mut Wanted {
    place.write(Client::new(device.now(), config))
}
