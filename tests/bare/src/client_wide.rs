//! The client for the LAN and the DHT.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

use phase_core::client::{Client, Config};
use phase_core::dht::finder::{Bootstrap, ClientSlot, Finder};
use phase_core::limits;

use crate::Place;
use crate::device::Device;

#[cfg(not(feature = "full"))]
const RX: usize = limits::RX_SMALL;
#[cfg(feature = "full")]
const RX: usize = limits::RX_FULL;

/// Three connections.
type Slots = [ClientSlot<RX>; 3];

/// Their place: apart from the client, they are never moved, and as all zeros they take no flash.
static SLOTS: Place<Slots> = Place(UnsafeCell::new([const { ClientSlot::new() }; 3]));

/// The client that is linked.
pub type Wanted = Client<Finder<&'static mut Slots, RX>>;

/// Makes it in its place, with one bootstrap.
pub fn make<'a>(
    place: &'a mut MaybeUninit<Wanted>,
    device: &Device,
    config: Config,
) -> &'a mut Wanted {
    let now = device.now();
    let (channel, arch) = (config.channel.clone(), config.arch.clone());
    // SAFETY: there is one thread, and the client before this one is not used any more.
    let slots = unsafe { &mut *SLOTS.0.get() };
    let finder = Finder::new(now, &config.seed, slots, channel, arch);
    let client = place.write(Client::with_dht(now, config, finder));
    let bootstrap = Bootstrap::new("", [device.socket()], None);
    device.tell(client.dht_mut().add_bootstrap(now, bootstrap));
    client
}
