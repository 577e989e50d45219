//! What the client machines take: all of their state, as there is no heap.

use phase_core::client::Client;
use phase_core::dht::finder::{ClientSlot, Finder, SmallFinder, SmallSlot};
use phase_core::limits::RX_FULL;

type Full = Client<Finder<[ClientSlot<RX_FULL>; 3], RX_FULL>>;
type Small = Client<SmallFinder<[SmallSlot; 3]>>;

/// What each is, and its octets.
#[must_use]
pub const fn of_clients() -> [(&'static str, usize); 3] {
    [
        ("the client for the LAN alone", size_of::<Client>()),
        ("the client for LAN and DHT, three connections, small buffers", size_of::<Small>()),
        ("the client for LAN and DHT, three connections, full buffers", size_of::<Full>()),
    ]
}
