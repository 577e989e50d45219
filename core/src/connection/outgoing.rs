//! Octets on their way out: those ready for the wire, and behind them the plain octets of the next Noise message.
//!
//! ```text
//! 0 ......... sent ========= ready ......... head [2] ---------- end ......... TX
//!             ready for the wire             next message, not encrypted yet
//! ```
//!
//! Frames gather in the next message until the wire has taken what was ready, so that many small ones leave as
//! one. Before the handshake has ended they gather as well, behind the room that the handshake needs.

use super::noise::{Cipher, Error};
use crate::wire::cursor::Writer;
use crate::wire::noise::{FRAME_HEAD_LEN, TAG_LEN, frame_head};

/// Octets at the front for the handshake. A dialer writes two flights there: multistream's two lines (28) and the
/// first message (34), then the third (186). A listener: one line (20), eight refusals (32), one line (8)
/// and the second message (218).
pub(super) const HANDSHAKE_ROOM: usize = 320;

/// Octets of the two lines that choose Yamux; they come first in the first message after the handshake.
pub(super) const MUXER_LINES: usize = 34;

pub(super) struct Outgoing<const TX: usize> {
    octets: [u8; TX],
    sent: usize,
    ready: usize,
    head: usize,
    end: usize,
    /// Octets that [`room`](Self::room) keeps free.
    kept: usize,
}

impl<const TX: usize> Outgoing<TX> {
    /// Of no connection: [`Outgoing::reset`] comes before anything else.
    pub(super) const fn new() -> Self {
        Self { octets: [0; TX], sent: 0, ready: 0, head: 0, end: 0, kept: 0 }
    }

    /// Forgets everything and makes room for a handshake.
    pub(super) const fn reset(&mut self) {
        self.sent = 0;
        self.ready = 0;
        self.head = HANDSHAKE_ROOM;
        self.end = HANDSHAKE_ROOM.saturating_add(FRAME_HEAD_LEN);
        self.kept = MUXER_LINES;
    }

    /// Appends to the octets that are ready, in the handshake's room; whether they fitted.
    pub(super) fn ready(&mut self, write: impl FnOnce(&mut Writer<'_>)) -> bool {
        self.ready_if(|w| {
            write(w);
            true
        })
    }

    /// As [`ready`](Self::ready), all or nothing: nothing when `write` says so.
    pub(super) fn ready_if(&mut self, write: impl FnOnce(&mut Writer<'_>) -> bool) -> bool {
        if self.sent == self.ready {
            self.sent = 0;
            self.ready = 0;
        }
        let mut w = Writer::new(self.octets.get_mut(self.ready..self.head).unwrap_or_default());
        let fitted = write(&mut w) && !w.overflowed();
        if fitted {
            self.ready = self.ready.saturating_add(w.len());
        }
        fitted
    }

    /// Ends the handshake: `first` goes in front of what has gathered, and its room is free again.
    pub(super) fn end_handshake(&mut self, first: impl FnOnce(&mut Writer<'_>)) {
        let mut lines = [0; MUXER_LINES];
        let mut w = Writer::new(&mut lines);
        first(&mut w);
        let len = w.len();
        let begin = self.head.saturating_add(FRAME_HEAD_LEN);
        let gathered = begin..self.end;
        self.octets.copy_within(gathered, begin.saturating_add(len));
        self.end = self.end.saturating_add(len);
        if let (Some(room), Some(lines)) =
            (self.octets.get_mut(begin..begin.saturating_add(len)), lines.get(..len))
        {
            room.copy_from_slice(lines);
        }
        self.kept = 0;
    }

    /// Plain octets that still fit the next message.
    pub(super) const fn room(&self) -> usize {
        TX.saturating_sub(self.end).saturating_sub(TAG_LEN).saturating_sub(self.kept)
    }

    /// Whether nothing is on its way.
    pub(super) const fn is_empty(&self) -> bool {
        self.sent == self.ready && !self.has_plain()
    }

    /// Whether octets wait to be encrypted.
    pub(super) const fn has_plain(&self) -> bool {
        self.end > self.head.saturating_add(FRAME_HEAD_LEN)
    }

    /// Appends to the next message what `write` writes, all or nothing: nothing when it does not fit. How much it was.
    pub(super) fn plain(&mut self, write: &mut dyn FnMut(&mut Writer<'_>)) -> Option<usize> {
        let limit = self.end.saturating_add(self.room());
        let mut w = Writer::new(self.octets.get_mut(self.end..limit).unwrap_or_default());
        write(&mut w);
        let len = w.len();
        if w.overflowed() {
            return None;
        }
        self.end = self.end.saturating_add(len);
        Some(len)
    }

    /// The place where the next message ends so far.
    pub(super) const fn mark(&self) -> usize {
        self.end
    }

    /// Takes back what was appended to the next message since `mark`.
    pub(super) const fn rewind(&mut self, mark: usize) {
        self.end = mark;
    }

    /// Encrypts the next message once everything before it is on the wire; whether octets became ready.
    pub(super) fn seal(&mut self, cipher: &mut Cipher) -> Result<bool, Error> {
        if self.sent < self.ready || !self.has_plain() {
            return Ok(false);
        }
        self.octets.copy_within(self.head..self.end, 0);
        let plain_end = self.end.saturating_sub(self.head);
        let plain = self.octets.get_mut(FRAME_HEAD_LEN..plain_end).ok_or(Error::Room)?;
        let tag = cipher.encrypt(&[], plain)?;
        let end = plain_end.saturating_add(TAG_LEN);
        self.octets.get_mut(plain_end..end).ok_or(Error::Room)?.copy_from_slice(&tag);
        let head = frame_head(end.saturating_sub(FRAME_HEAD_LEN)).ok_or(Error::Room)?;
        *self.octets.first_chunk_mut().ok_or(Error::Room)? = head;
        self.sent = 0;
        self.ready = end;
        self.head = end;
        self.end = end.saturating_add(FRAME_HEAD_LEN);
        Ok(true)
    }

    /// Moves ready octets to `out`; how many.
    pub(super) fn poll(&mut self, out: &mut [u8]) -> usize {
        let ready = self.octets.get(self.sent..self.ready).unwrap_or_default();
        let len = ready.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..len), ready.get(..len)) {
            to.copy_from_slice(from);
        }
        self.sent = self.sent.saturating_add(len);
        if self.sent == self.ready && !self.has_plain() && self.kept == 0 {
            self.sent = 0;
            self.ready = 0;
            self.head = 0;
            self.end = FRAME_HEAD_LEN;
        }
        len
    }
}
