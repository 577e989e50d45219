//! What a connection costs, and what it lets the other side take.

use super::*;
use crate::limits::{RX_FULL, TX_CLIENT};

#[test]
fn a_connection_is_little_more_than_its_receive_buffer() {
    let over = |len: usize, rx: usize| len - rx;
    let small = size_of::<Connection<RX_SMALL>>();
    let full = size_of::<Connection<RX_FULL>>();
    assert!(small < 22 * 1024, "{small}: {} over", over(small, RX_SMALL));
    assert!(full < 72 * 1024, "{full}: {} over", over(full, RX_FULL));
    assert!(over(full, RX_FULL) < 6 * 1024, "{}", over(full, RX_FULL));
    assert_eq!(TX_CLIENT, 1024);
}
