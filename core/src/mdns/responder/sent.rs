//! Which multicasts were ours. They come back by loopback, by another interface on the same network, or by a
//! reflector that rewrites their source; by then our records may have changed, and they would look like a
//! rival's.
//! Spec: RFC 6762 §14.

/// Packets remembered: more than one machine sends within the time a network holds a packet.
const PACKETS: usize = 64;

/// Hashes of the last multicasts.
#[derive(Debug)]
pub(super) struct SentPackets {
    hashes: heapless::HistoryBuf<u64, PACKETS>,
}

impl SentPackets {
    pub(super) const fn new() -> Self {
        Self { hashes: heapless::HistoryBuf::new() }
    }

    pub(super) fn insert(&mut self, payload: &[u8]) {
        self.hashes.write(hash(payload));
    }

    /// Whether these octets were sent lately. A rival can copy them; then it says what we say.
    pub(super) fn contains(&self, payload: &[u8]) -> bool {
        self.hashes.as_slice().contains(&hash(payload))
    }
}

/// Eight octets at a time; collisions only make one packet be overlooked.
fn hash(octets: &[u8]) -> u64 {
    let (words, tail) = octets.as_chunks::<8>();
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(tail) {
        *to = *from;
    }
    let words = words.iter().chain(core::iter::once(&last));
    let start = u64::try_from(octets.len()).unwrap_or(0);
    words.fold(start, |sum, word| {
        (sum.rotate_left(23) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_remembered_until_many_others_were_sent() {
        let mut sent = SentPackets::new();
        sent.insert(b"first packet");
        assert!(sent.contains(b"first packet"));
        assert!(!sent.contains(b"first packeT") && !sent.contains(b"first packet\0"));
        for n in 0..u8::try_from(PACKETS).unwrap() {
            sent.insert(&[n; 40]);
        }
        assert!(!sent.contains(b"first packet"));
    }
}
