//! The checksums of TCP, UDP and `ICMPv6` in an Ethernet frame that nobody has looked at.
//!
//! Spec: RFC 1071, RFC 8200 §8.1 (pseudo-header), RFC 768 (no checksum is 0).
//! Not here: the checksums of the IPv4 header and `ICMPv4`, which the stack verifies itself.

use super::frame::{Packet, packet};

/// IP protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Whether the checksum of TCP, UDP or `ICMPv6` is right. Fragments, other protocols, and packets that are cut in a way that
/// the stack sees itself, pass.
#[must_use]
pub(super) fn is_right(frame: &[u8]) -> bool {
    let Some(Packet { source, destination, protocol, payload, .. }) = packet(frame) else {
        return true;
    };
    let is_v4 = source.len() == 4;
    match protocol {
        TCP if payload.len() >= 20 => {}
        UDP if payload.len() >= 8 => {
            if payload.get(6..8) == Some(&[0, 0]) {
                // IPv6 has no UDP without a checksum.
                return is_v4;
            }
        }
        ICMPV6 if !is_v4 && payload.len() >= 4 => {}
        _ => return true,
    }
    let mut sum = u64::from(protocol) + payload.len() as u64;
    for part in [source, destination, payload] {
        sum += add(part);
    }
    fold(sum) == 0xffff
}

/// The sum of all 16-bit words in network order; an odd octet at the end is the upper half of a word.
fn add(octets: &[u8]) -> u64 {
    let mut sum = 0;
    // Words of 32 bits are two of 16 in the end, and half as many.
    let (words, rest) = octets.as_chunks::<4>();
    for word in words {
        sum += u64::from(u32::from_be_bytes(*word));
    }
    let mut last = [0; 4];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    sum + u64::from(u32::from_be_bytes(last))
}

const fn fold(mut sum: u64) -> u64 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

/// Writes the checksum of the `ICMPv6` message `message` between two addresses into its octets 2 and 3.
pub(super) fn set_icmpv6(source: [u8; 16], destination: [u8; 16], message: &mut [u8]) {
    if let Some(field) = message.get_mut(2..4) {
        field.fill(0);
    }
    let sum = u64::from(ICMPV6) + message.len() as u64 + add(&source) + add(&destination);
    let sum = !u16::try_from(fold(sum + add(message))).unwrap_or(0);
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five octets from port 5353 to port 5353, written out from the layouts of RFC 791 and RFC 768.
    fn udp_over_ipv4() -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0]);
        frame.extend([0x45, 0, 0, 33, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0x14, 0xe9, 0x14, 0xe9, 0, 13, 0, 0]);
        frame.extend(b"hello");
        let sum = udp_sum(&frame);
        frame[40..42].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    /// RFC 1071 §1, one pair of octets after the other.
    fn udp_sum(frame: &[u8]) -> u16 {
        let mut sum: u32 = 17 + 13;
        for pair in frame[26..34].chunks(2).chain(frame[34..].chunks(2)) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        }
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    #[test]
    fn a_right_sum_passes_and_one_with_a_flipped_bit_does_not() {
        let frame = udp_over_ipv4();
        assert!(is_right(&frame));
        for bit in 0..8 * 13 {
            let mut bad = frame.clone();
            bad[34 + bit / 8] ^= 1 << (bit % 8);
            // A length in the UDP header that is wrong is a sum that is wrong too.
            assert!(!is_right(&bad), "bit {bit}");
        }
    }

    #[test]
    fn padding_behind_the_packet_is_not_summed() {
        let mut frame = udp_over_ipv4();
        frame.resize(60, 0x55);
        assert!(is_right(&frame));
    }

    #[test]
    fn udp_over_ipv4_may_go_without_and_over_ipv6_it_may_not() {
        let mut frame = udp_over_ipv4();
        frame[40..42].fill(0);
        assert!(is_right(&frame));
        let mut six = vec![0; 12];
        six.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 17, 255]);
        six.extend([0; 32]);
        six.extend([0x14, 0xe9, 0x14, 0xe9, 0, 8, 0, 0]);
        assert!(!is_right(&six));
    }

    #[test]
    fn fragments_and_other_protocols_are_left_to_the_stack() {
        let mut fragment = udp_over_ipv4();
        fragment[20] = 0x20;
        fragment[45] ^= 1;
        assert!(is_right(&fragment));
        let mut other = udp_over_ipv4();
        other[23] = 47;
        other[45] ^= 1;
        assert!(is_right(&other));
        assert!(is_right(&[0; 14]));
    }

    #[test]
    fn an_icmpv6_sum_that_was_written_is_right() {
        let (source, destination) = ([0xfe; 16], [0xff; 16]);
        let mut message = [133, 0, 9, 9, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 1];
        set_icmpv6(source, destination, &mut message);
        let mut frame = vec![0; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 16, 58, 255]);
        frame.extend(source);
        frame.extend(destination);
        frame.extend(message);
        assert!(is_right(&frame));
        frame[60] ^= 1;
        assert!(!is_right(&frame));
    }
}
