//! The parts of an Ethernet frame that are looked at before the stack has it.
//!
//! Spec: RFC 894, RFC 791 §3.1, RFC 8200 §3. Not here: extension headers of IPv6, which the stack knows.

/// An IP packet in a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    /// 4 or 16 octets.
    pub(super) source: &'a [u8],
    /// As many.
    pub(super) destination: &'a [u8],
    /// The number of what is inside.
    pub(super) protocol: u8,
    /// How many routers it could still pass.
    pub(super) hop_limit: u8,
    /// What is inside, without padding of the frame.
    pub(super) payload: &'a [u8],
}

/// The IP packet in a frame; none, where it is cut, a fragment, or something else.
pub(super) fn packet(frame: &[u8]) -> Option<Packet<'_>> {
    const IPV4: [u8; 2] = [0x08, 0x00];
    const IPV6: [u8; 2] = [0x86, 0xdd];
    let ip = frame.get(14..)?;
    match *frame.get(12..)?.first_chunk::<2>()? {
        IPV4 => {
            let head = usize::from(ip.first()? & 0x0f) * 4;
            let total = usize::from(u16_at(ip, 2)?);
            let is_fragment = u16_at(ip, 6)? & 0x3fff != 0;
            let payload = ip.get(head..total).filter(|_| head >= 20 && !is_fragment)?;
            Some(Packet {
                source: ip.get(12..16)?,
                destination: ip.get(16..20)?,
                protocol: *ip.get(9)?,
                hop_limit: *ip.get(8)?,
                payload,
            })
        }
        IPV6 => {
            let len = usize::from(u16_at(ip, 4)?);
            Some(Packet {
                source: ip.get(8..24)?,
                destination: ip.get(24..40)?,
                protocol: *ip.get(6)?,
                hop_limit: *ip.get(7)?,
                payload: ip.get(40..40 + len)?,
            })
        }
        _ => None,
    }
}

pub(super) fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    octets.get(at..)?.first_chunk().map(|pair| u16::from_be_bytes(*pair))
}

pub(super) fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}
