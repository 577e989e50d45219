//! Record data: A, AAAA, PTR, SRV, TXT, NSEC; every other type as opaque octets.
//! Spec: RFC 1035 §3.3, §3.4; RFC 3596 (AAAA); RFC 2782 (SRV); RFC 4034 §4.1 and RFC 6762 §6.1 (NSEC).
//!
//! Octets after the data of a known type are malformed.

use core::cmp::Ordering;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::Type;
use super::name::Name;
use super::txt::Txt;
use crate::wire::cursor::{Reader, Writer};
use crate::wire::{Error, Overflow};

/// The data of one record. Equality ignores ASCII case in names, and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordData<'a> {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A service instance, a service type, or the name of an address.
    Ptr(Name<'a>),
    /// Where a service instance is.
    Srv(Srv<'a>),
    /// What is said about a service instance.
    Txt(Txt<'a>),
    /// Which types a name has, and so which it has not.
    Nsec(Nsec<'a>),
    /// Any other type. With a type that has a variant of its own, this decodes as that variant.
    Unknown {
        /// The type.
        rtype: Type,
        /// The octets as they are.
        rdata: &'a [u8],
    },
}

/// The data of an SRV record (RFC 2782).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Srv<'a> {
    /// Lower is tried first.
    pub priority: u16,
    /// Share among equal priorities.
    pub weight: u16,
    /// The TCP or UDP port.
    pub port: u16,
    /// The host.
    pub target: Name<'a>,
}

/// The data of an NSEC record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nsec<'a> {
    /// RFC 6762 §6.1: the owner itself in multicast DNS.
    pub next: Name<'a>,
    /// The types that exist.
    pub types: TypeBitmap<'a>,
}

/// Types as windows of bits (RFC 4034 §4.1.2). On reading, windows may come in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeBitmap<'a> {
    windows: &'a [u8],
}

/// Room for the bitmap of RFC 6762 §6.1: one window, types 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeWindow {
    octets: [u8; 34],
    len: usize,
}

impl TypeWindow {
    /// The window of `types`. Types above 255 cannot be said in multicast DNS and are left out.
    #[must_use]
    pub fn of(types: &[Type]) -> Self {
        let mut octets = [0_u8; 34];
        let mut len = 0_usize;
        for rtype in types {
            let code = u16::from(*rtype);
            let at = usize::from(code / 8).saturating_add(2);
            if let Some(octet) = octets.get_mut(at) {
                *octet |= 0x80 >> (code % 8);
                len = len.max(at.saturating_sub(1));
            }
        }
        let [_, count, ..] = &mut octets;
        *count = u8::try_from(len).unwrap_or(0);
        Self { octets, len: if len == 0 { 0 } else { len.saturating_add(2) } }
    }

    /// The bitmap, borrowed.
    #[must_use]
    pub fn as_bitmap(&self) -> TypeBitmap<'_> {
        TypeBitmap { windows: self.octets.get(..self.len).unwrap_or(&[]) }
    }
}

impl<'a> TypeBitmap<'a> {
    /// Takes everything that is left as windows.
    ///
    /// # Errors
    /// [`Error::Truncated`] when a window ends early, [`Error::Malformed`] when it has not 1 to 32 octets.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        let mut check = *r;
        while !check.is_empty() {
            let [_window, len] = check.array("NSEC window")?;
            if !(1..=32).contains(&len) {
                return Err(Error::Malformed("NSEC window length"));
            }
            check.take(usize::from(len), "NSEC window")?;
        }
        Ok(Self { windows: r.rest() })
    }

    /// Whether `rtype` exists.
    #[must_use]
    pub fn contains(&self, rtype: Type) -> bool {
        let [high, low] = u16::from(rtype).to_be_bytes();
        self.windows().any(|(window, bits)| {
            window == high
                && bits
                    .get(usize::from(low / 8))
                    .is_some_and(|octet| octet & (0x80 >> (low % 8)) != 0)
        })
    }

    /// The types, in the order of the windows.
    pub fn types(&self) -> impl Iterator<Item = Type> + use<'a> {
        self.windows().flat_map(|(window, bits)| {
            (0..=u8::MAX)
                .filter(|low| {
                    bits.get(usize::from(low / 8))
                        .is_some_and(|octet| octet & (0x80 >> (low % 8)) != 0)
                })
                .map(move |low| Type::from(u16::from_be_bytes([window, low])))
        })
    }

    fn windows(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut r = Reader::new(self.windows);
        core::iter::from_fn(move || {
            let [window, len] = r.array("window").ok()?;
            Some((window, r.take(usize::from(len), "window").ok()?))
        })
    }
}

impl<'a> RecordData<'a> {
    /// Takes everything that is left as data of `rtype`.
    ///
    /// # Errors
    /// [`Error`] naming the field that is cut short or malformed.
    #[inline]
    pub fn decode(rtype: Type, r: &mut Reader<'a>) -> Result<Self, Error> {
        let data = match rtype {
            Type::A => Self::A(Ipv4Addr::from_octets(r.array("A")?)),
            Type::Aaaa => Self::Aaaa(Ipv6Addr::from_octets(r.array("AAAA")?)),
            Type::Ptr => Self::Ptr(Name::decode(r)?),
            Type::Srv => Self::Srv(Srv::decode(r)?),
            Type::Txt => Self::Txt(Txt::decode(r)?),
            Type::Nsec => {
                Self::Nsec(Nsec { next: Name::decode(r)?, types: TypeBitmap::decode(r)? })
            }
            Type::Opt | Type::Any | Type::Unknown(_) => Self::Unknown { rtype, rdata: r.rest() },
        };
        if r.is_empty() { Ok(data) } else { Err(Error::Malformed("record data: octets after it")) }
    }

    /// The type of this data.
    #[must_use]
    #[inline]
    pub const fn rtype(&self) -> Type {
        match self {
            Self::A(_) => Type::A,
            Self::Aaaa(_) => Type::Aaaa,
            Self::Ptr(_) => Type::Ptr,
            Self::Srv(_) => Type::Srv,
            Self::Txt(_) => Type::Txt,
            Self::Nsec(_) => Type::Nsec,
            Self::Unknown { rtype, .. } => *rtype,
        }
    }

    /// The name inside this data, if there is one.
    #[must_use]
    pub const fn name(&self) -> Option<Name<'a>> {
        match self {
            Self::Ptr(name) => Some(*name),
            Self::Srv(srv) => Some(srv.target),
            Self::Nsec(nsec) => Some(nsec.next),
            Self::A(_) | Self::Aaaa(_) | Self::Txt(_) | Self::Unknown { .. } => None,
        }
    }

    /// Octets of the data with uncompressed names.
    #[must_use]
    pub fn uncompressed_len(&self) -> usize {
        let name = self.name().map_or(0, |name| name.encoded_len());
        self.head().1.saturating_add(name).saturating_add(self.tail().len())
    }

    /// Writes the raw octets with uncompressed names and returns how many.
    ///
    /// # Errors
    /// [`Overflow`] when `out` is shorter than [`uncompressed_len`](Self::uncompressed_len).
    pub fn write_uncompressed(&self, out: &mut [u8]) -> Result<usize, Overflow> {
        let mut w = Writer::new(out);
        for octet in self.uncompressed() {
            w.u8(octet);
        }
        w.finish()
    }

    /// Compares as unsigned octets with uncompressed names, letters by their case: the last step of the
    /// tie-break of simultaneous probes (RFC 6762 §8.2).
    #[must_use]
    pub fn compare_uncompressed(&self, other: &RecordData<'_>) -> Ordering {
        self.uncompressed().cmp(other.uncompressed())
    }

    /// The raw octets with uncompressed names.
    fn uncompressed(&self) -> impl Iterator<Item = u8> + use<'a> {
        let (head, len) = self.head();
        let name = self.name().into_iter().flat_map(|name| name.uncompressed());
        head.into_iter().take(len).chain(name).chain(self.tail().iter().copied())
    }

    /// What stands before the name, or all of an address.
    fn head(&self) -> ([u8; 16], usize) {
        let mut head = [0; 16];
        let mut w = Writer::new(&mut head);
        match self {
            Self::A(address) => w.put(&address.octets()),
            Self::Aaaa(address) => w.put(&address.octets()),
            Self::Srv(srv) => w.put(&srv.numbers()),
            Self::Ptr(_) | Self::Txt(_) | Self::Nsec(_) | Self::Unknown { .. } => {}
        }
        let len = w.len();
        (head, len)
    }

    /// What stands behind the name, or all of opaque octets.
    const fn tail(&self) -> &'a [u8] {
        match self {
            Self::A(_) | Self::Aaaa(_) | Self::Ptr(_) | Self::Srv(_) => &[],
            Self::Txt(txt) => txt.as_octets(),
            Self::Nsec(nsec) => nsec.types.as_octets(),
            Self::Unknown { rdata, .. } => rdata,
        }
    }
}

impl<'a> Srv<'a> {
    #[inline]
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        let [p0, p1, w0, w1, q0, q1] = r.array("SRV")?;
        Ok(Self {
            priority: u16::from_be_bytes([p0, p1]),
            weight: u16::from_be_bytes([w0, w1]),
            port: u16::from_be_bytes([q0, q1]),
            target: Name::decode(r)?,
        })
    }

    /// Priority, weight and port as on the wire.
    #[inline]
    pub(super) const fn numbers(&self) -> [u8; 6] {
        let [p0, p1] = self.priority.to_be_bytes();
        let [w0, w1] = self.weight.to_be_bytes();
        let [q0, q1] = self.port.to_be_bytes();
        [p0, p1, w0, w1, q0, q1]
    }
}

impl<'a> TypeBitmap<'a> {
    /// The windows as on the wire.
    #[must_use]
    pub const fn as_octets(&self) -> &'a [u8] {
        self.windows
    }
}

/// Type and data as dig and tcpdump show them.
impl fmt::Display for RecordData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.rtype())?;
        match self {
            Self::A(address) => address.fmt(f),
            Self::Aaaa(address) => address.fmt(f),
            Self::Ptr(name) => name.fmt(f),
            Self::Srv(srv) => {
                write!(f, "{} {} {} {}", srv.priority, srv.weight, srv.port, srv.target)
            }
            Self::Txt(txt) => txt.fmt(f),
            Self::Nsec(nsec) => {
                nsec.next.fmt(f)?;
                nsec.types.types().try_for_each(|rtype| write!(f, " {rtype}"))
            }
            Self::Unknown { rdata, .. } => {
                // RFC 3597 §5.
                write!(f, "\\# {}", rdata.len())?;
                if !rdata.is_empty() {
                    f.write_str(" ")?;
                }
                rdata.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;
    use std::vec::Vec;

    fn decode(rtype: Type, octets: &[u8]) -> Result<RecordData<'_>, Error> {
        RecordData::decode(rtype, &mut Reader::new(octets))
    }

    #[test]
    fn every_type_reads_back_what_it_writes_uncompressed() {
        let cases: [(Type, &[u8], &str); 9] = [
            (Type::A, &[192, 0, 2, 1], "A 192.0.2.1"),
            (
                Type::Aaaa,
                &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                "AAAA 2001:db8::1",
            ),
            (Type::Ptr, b"\x01a\x05local\x00", "PTR a.local."),
            (Type::Srv, b"\x00\x01\x00\x02\x1f\x90\x01h\x00", "SRV 1 2 8080 h."),
            (Type::Txt, b"\x03a=1", "TXT \"a=1\""),
            (Type::Nsec, b"\x01h\x00\x00\x05\x40\x00\x80\x00\x40", "NSEC h. A TXT SRV"),
            (Type::Unknown(65), b"\xde\xad", "TYPE65 \\# 2 dead"),
            (Type::Unknown(65), b"", "TYPE65 \\# 0"),
            (Type::Opt, b"\x00\x04\x00\x00", "OPT \\# 4 00040000"),
        ];
        for (rtype, octets, text) in cases {
            let data = decode(rtype, octets).unwrap();
            assert_eq!(data.to_string(), text);
            assert_eq!(data.rtype(), rtype);
            assert_eq!(data.uncompressed_len(), octets.len());
            let mut out = [0xa5; 20];
            assert_eq!(data.write_uncompressed(&mut out), Ok(octets.len()));
            assert_eq!(&out[..octets.len()], octets);
            assert!(out[octets.len()..].iter().all(|octet| *octet == 0xa5));
            if let Some(short) = octets.len().checked_sub(1) {
                assert_eq!(data.write_uncompressed(&mut out[..short]), Err(Overflow));
            }
        }
    }

    #[test]
    fn data_must_have_its_length() {
        let after = Err(Error::Malformed("record data: octets after it"));
        assert_eq!(decode(Type::A, &[1, 2, 3]), Err(Error::Truncated("A")));
        assert_eq!(decode(Type::A, &[1, 2, 3, 4, 5]), after);
        assert_eq!(decode(Type::Aaaa, &[0; 15]), Err(Error::Truncated("AAAA")));
        assert_eq!(decode(Type::Aaaa, &[0; 17]), after);
        assert_eq!(decode(Type::Ptr, b""), Err(Error::Truncated("name")));
        assert_eq!(decode(Type::Ptr, b"\x00\x00"), after);
        assert_eq!(decode(Type::Srv, &[0; 5]), Err(Error::Truncated("SRV")));
        assert_eq!(decode(Type::Srv, &[0; 6]), Err(Error::Truncated("name")));
        assert_eq!(decode(Type::Srv, &[0; 8]), after);
        assert_eq!(decode(Type::Txt, b"\x05a"), Err(Error::Truncated("TXT string")));
        assert_eq!(decode(Type::Nsec, b""), Err(Error::Truncated("name")));
        assert_eq!(decode(Type::Nsec, b"\x00\x00"), Err(Error::Truncated("NSEC window")));
        assert_eq!(decode(Type::Nsec, b"\x00\x00\x02\x40"), Err(Error::Truncated("NSEC window")));
        for len in [0, 33] {
            let mut octets = std::vec![0, 0, len];
            octets.resize(3 + usize::from(len), 0xff);
            assert_eq!(decode(Type::Nsec, &octets), Err(Error::Malformed("NSEC window length")));
        }
    }

    #[test]
    fn a_type_window_says_exactly_its_types() {
        let types = [Type::Srv, Type::Txt, Type::Any];
        let window = TypeWindow::of(&types);
        let bitmap = window.as_bitmap();
        for code in 0..=u16::MAX {
            let rtype = Type::from(code);
            assert_eq!(bitmap.contains(rtype), types.contains(&rtype), "{rtype}");
        }
        assert_eq!(bitmap.types().collect::<Vec<_>>(), [Type::Txt, Type::Srv, Type::Any]);
        assert_eq!(bitmap.as_octets().len(), 34);
        assert_eq!(TypeWindow::of(&[Type::A]).as_bitmap().as_octets(), [0, 1, 0x40]);
        assert_eq!(TypeWindow::of(&[]).as_bitmap().as_octets(), []);
        assert_eq!(TypeWindow::of(&[Type::Unknown(256)]).as_bitmap().as_octets(), []);
    }

    #[test]
    fn nsec_windows_may_come_in_any_number_and_order() {
        let octets = b"\x01h\x00\x01\x01\x40\x00\x01\x40\x01\x02\x00\x80";
        let RecordData::Nsec(nsec) = decode(Type::Nsec, octets).unwrap() else {
            panic!("not NSEC")
        };
        let types = [Type::A, Type::Unknown(257), Type::Unknown(264)];
        assert!(types.iter().all(|rtype| nsec.types.contains(*rtype)));
        assert!(!nsec.types.contains(Type::Unknown(258)));
        assert_eq!(nsec.types.types().count(), 3);
    }

    #[test]
    fn the_tie_break_compares_unsigned_octets_with_uncompressed_names() {
        let compare = |a, b| -> Ordering {
            let (rtype, a): (Type, &[u8]) = a;
            decode(rtype, a).unwrap().compare_uncompressed(&decode(rtype, b).unwrap())
        };
        // RFC 6762 §8.2.1: 169.254.99.200 lies before 169.254.200.50.
        assert_eq!(compare((Type::A, &[169, 254, 99, 200]), &[169, 254, 200, 50]), Ordering::Less);
        assert_eq!(compare((Type::Txt, b"\x01a"), b"\x01a\x01b"), Ordering::Less);
        assert_eq!(compare((Type::Ptr, b"\x01a\x00"), b"\x01A\x00"), Ordering::Greater);
        assert_eq!(
            compare((Type::Srv, b"\0\0\0\0\0\x01\x01a\0"), b"\0\0\0\0\0\x01\x01a\0"),
            Ordering::Equal
        );

        let message = b"............\x01a\x05local\x00\x00\x00\x00\x00\x00\x01\x01b\xC0\x0E";
        let mut r = Reader::new(message);
        r.take(21, "start").unwrap();
        let compressed = RecordData::decode(Type::Srv, &mut r).unwrap();
        let plain = decode(Type::Srv, b"\0\0\0\0\0\x01\x01b\x05local\0").unwrap();
        assert_eq!(compressed.compare_uncompressed(&plain), Ordering::Equal);
        assert_eq!(compressed, plain);
        assert_eq!(compressed.uncompressed_len(), 15);
    }
}
