//! The client for the LAN and the DHT.

use core::mem::MaybeUninit;

use phase_core::client::{Client, Config};
use phase_core::dht::finder::{Bootstrap, ClientSlot, Finder};
use phase_core::limits;

use crate::device::Device;

#[cfg(not(feature = "full"))]
const RX: usize = limits::RX_SMALL;
#[cfg(feature = "full")]
const RX: usize = limits::RX_FULL;

/// Three connections, in their place.
type Slots = [ClientSlot<RX>; 3];

/// The client that is linked.
pub type Wanted = Client<Finder<Slots, RX>>;

/// Makes it in its place, with one bootstrap.
pub fn make<'a>(
    place: &'a mut MaybeUninit<Wanted>,
    device: &Device,
    config: Config,
) -> &'a mut Wanted {
    let now = device.now();
    let (channel, arch) = (config.channel.clone(), config.arch.clone());
    let slots = [const { ClientSlot::new() }; 3];
    let finder = Finder::new(now, &config.seed, slots, channel, arch);
    let client = place.write(Client::with_dht(now, config, finder));
    let bootstrap = Bootstrap::new("", [device.socket()], None);
    device.tell(client.dht_mut().add_bootstrap(now, bootstrap));
    client
}
