//! Yamux: the head of a frame.
//! Spec: libp2p `specs/yamux`.
//!
//! ```text
//! version  1 octet    0
//! type     1 octet    0 data, 1 window update, 2 ping, 3 go away
//! flags    2 octets   1 SYN, 2 ACK, 4 FIN, 8 RST
//! stream   4 octets   odd: opened by the dialer; even: by the listener; 0: the session
//! length   4 octets   data: octets that follow; window update: octets more; ping: its value;
//!                     go away: why
//! ```
//!
//! Only data has octets that follow. Flags without a name here are kept and mean nothing.

use super::cursor::{Reader, Writer};
use super::{Error, open_enum};

/// Octets of a head.
pub const HEADER_LEN: usize = 12;

/// Octets of data that either side may send on a new stream before it is given more.
pub const INITIAL_WINDOW: u32 = 256 * 1024;

/// The stream of pings and go-aways.
pub const SESSION: u32 = 0;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Kind {
    /// Octets of a stream follow.
    Data,
    /// More octets may be sent.
    WindowUpdate,
    /// A question or, with ACK, its answer.
    Ping,
    /// The session ends.
    GoAway,
}

/// The flags of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Flags(pub u16);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Opens a stream; on a ping, asks.
    pub const SYN: Self = Self(1);
    /// Takes a stream; on a ping, answers.
    pub const ACK: Self = Self(2);
    /// The sender sends no more on this stream.
    pub const FIN: Self = Self(4);
    /// The stream is gone, both ways.
    pub const RST: Self = Self(8);

    /// Whether all flags of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

open_enum! {
    /// Why a session ends.
    pub enum GoAway(u32) {
        /// It is not needed any more.
        Normal = 0,
        /// The other side broke the protocol.
        ProtocolError = 1,
        /// This side failed.
        InternalError = 2,
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Header {
    /// What the frame is.
    pub kind: Kind,
    /// Its flags.
    pub flags: Flags,
    /// The stream it is about; [`SESSION`] for pings and go-aways.
    pub stream: u32,
    /// For data, octets that follow; else a number that depends on the kind.
    pub len: u32,
}

impl Header {
    /// `len` octets of `stream` follow.
    #[must_use]
    pub const fn data(stream: u32, flags: Flags, len: u32) -> Self {
        Self { kind: Kind::Data, flags, stream, len }
    }

    /// The receiver may send `delta` octets more on `stream`.
    #[must_use]
    pub const fn window_update(stream: u32, flags: Flags, delta: u32) -> Self {
        Self { kind: Kind::WindowUpdate, flags, stream, len: delta }
    }

    /// Asks for an answer with the same value.
    #[must_use]
    pub const fn ping(value: u32) -> Self {
        Self { kind: Kind::Ping, flags: Flags::SYN, stream: SESSION, len: value }
    }

    /// Answers a ping.
    #[must_use]
    pub const fn pong(value: u32) -> Self {
        Self { kind: Kind::Ping, flags: Flags::ACK, stream: SESSION, len: value }
    }

    /// Ends the session.
    #[must_use]
    pub fn go_away(why: GoAway) -> Self {
        Self { kind: Kind::GoAway, flags: Flags::NONE, stream: SESSION, len: why.into() }
    }

    /// Octets of data that follow.
    #[must_use]
    pub const fn body_len(&self) -> u32 {
        match self.kind {
            Kind::Data => self.len,
            Kind::WindowUpdate | Kind::Ping | Kind::GoAway => 0,
        }
    }

    /// Takes a head.
    ///
    /// # Errors
    /// `Truncated` at the end, `Unsupported` for another version, `Malformed` for another type.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Error> {
        let octets = r.array::<HEADER_LEN>("Yamux header")?;
        Self::from_octets(&octets)
    }

    /// Reads a head.
    ///
    /// # Errors
    /// `Unsupported` for another version, `Malformed` for another type.
    pub const fn from_octets(octets: &[u8; HEADER_LEN]) -> Result<Self, Error> {
        let [version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = *octets;
        if version != 0 {
            return Err(Error::Unsupported("Yamux version"));
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            _ => return Err(Error::Malformed("Yamux frame type")),
        };
        Ok(Self {
            kind,
            flags: Flags(u16::from_be_bytes([f0, f1])),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            len: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }

    /// The octets of this head.
    #[must_use]
    pub const fn to_octets(&self) -> [u8; HEADER_LEN] {
        let kind = match self.kind {
            Kind::Data => 0,
            Kind::WindowUpdate => 1,
            Kind::Ping => 2,
            Kind::GoAway => 3,
        };
        let [f0, f1] = self.flags.0.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        let [l0, l1, l2, l3] = self.len.to_be_bytes();
        [0, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3]
    }

    /// Appends this head.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put(&self.to_octets());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::text::decode_hex;

    #[test]
    fn frames_of_other_implementations_read_and_write() {
        let finished = Header::data(1, Flags::FIN, 0);
        for (hex, header) in [
            ("000000010000000100000005", Header::data(1, Flags::SYN, 5)),
            ("000100020000000100000000", Header::window_update(1, Flags::ACK, 0)),
            ("000000040000000100000000", finished),
            ("000100080000000300000000", Header::window_update(3, Flags::RST, 0)),
            ("000200010000000000000007", Header::ping(7)),
            ("000200020000000000000007", Header::pong(7)),
            ("000300000000000000000000", Header::go_away(GoAway::Normal)),
            ("000100000000000200040000", Header::window_update(2, Flags::NONE, INITIAL_WINDOW)),
        ] {
            let octets = decode_hex::<HEADER_LEN>(hex.as_bytes()).unwrap();
            assert_eq!(Header::decode(&mut Reader::new(&octets)), Ok(header), "{hex}");
            let mut buffer = [0xa5; 14];
            let mut w = Writer::new(&mut buffer);
            header.encode(&mut w);
            assert_eq!(w.finish(), Ok(HEADER_LEN));
            assert_eq!((&buffer[..12], &buffer[12..]), (&octets[..], &[0xa5; 2][..]));
        }
    }

    #[test]
    fn only_data_has_octets_that_follow() {
        assert_eq!(Header::data(1, Flags::NONE, 9).body_len(), 9);
        assert_eq!(Header::window_update(1, Flags::NONE, 9).body_len(), 0);
        assert_eq!(Header::ping(9).body_len(), 0);
        assert_eq!(Header::go_away(GoAway::Unknown(9)).body_len(), 0);
    }

    #[test]
    fn other_versions_and_types_are_refused_and_other_flags_kept() {
        let good = Header::data(1, Flags(0xfff0), 5).to_octets();
        assert_eq!(Header::from_octets(&good).unwrap().flags, Flags(0xfff0));
        let mut bad = good;
        bad[0] = 1;
        assert_eq!(Header::from_octets(&bad), Err(Error::Unsupported("Yamux version")));
        for kind in 4..=255 {
            let mut bad = good;
            bad[1] = kind;
            assert_eq!(Header::from_octets(&bad), Err(Error::Malformed("Yamux frame type")));
        }
        for len in 0..HEADER_LEN {
            let mut r = Reader::new(&good[..len]);
            assert_eq!(Header::decode(&mut r), Err(Error::Truncated("Yamux header")));
        }
    }

    #[test]
    fn flags_are_sets() {
        let both = Flags::SYN.with(Flags::FIN);
        assert!(both.contains(Flags::SYN) && both.contains(Flags::FIN));
        assert!(!both.contains(Flags::SYN.with(Flags::RST)));
        assert!(Flags::NONE.contains(Flags::NONE) && !Flags::NONE.contains(Flags::ACK));
    }
}
