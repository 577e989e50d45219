//! Paying a stream's debts: what it has to send, written when there is room.
//!
//! Yamux implementations differ in what they survive, so the order and the form of what is written matter: data
//! never carries FIN (js-libp2p and py-libp2p then lose it), and FIN comes in an empty frame of its own, after
//! the whole answer.

use super::error::StreamError;
use super::handler::{Answer, Handler, KadProtocol};
use super::mux::{Assembler, Context, Mux, Probe};
use super::outgoing::Outgoing;
use super::stream::{Debts, Purpose, Stage, Stream};
use crate::limits::STREAMS_PER_CONNECTION;
use crate::stats::count;
use crate::wire::cursor::Writer;
use crate::wire::kad::{self, Request};
use crate::wire::multistream::Line;
use crate::wire::varint;
use crate::wire::yamux::{Flags, HEADER_LEN, Header};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// It is answered, or refused.
    Done,
    /// There is no room for the answer yet; nothing was asked.
    NoRoom,
}

impl<const TX: usize> Outgoing<TX> {
    /// Appends a frame without data; whether there was room.
    pub(super) fn frame(&mut self, header: Header) -> bool {
        self.plain(&mut |w| header.encode(w)).is_some()
    }

    /// Appends a data frame that `write` fills; the octets of data, none when there is no room.
    pub(super) fn data(
        &mut self,
        stream: u32,
        flags: Flags,
        write: &mut dyn FnMut(&mut Writer<'_>),
    ) -> Option<usize> {
        let mut len = 0;
        self.plain(&mut |w| {
            w.put(&[0; HEADER_LEN]);
            write(w);
            len = w.len().saturating_sub(HEADER_LEN);
            // What is longer does not fit.
            let header = Header::data(stream, flags, u32::try_from(len).unwrap_or(u32::MAX));
            w.patch(0, header.to_octets());
        })?;
        Some(len)
    }

    /// Whether there is room for whatever a handler writes: half the buffer, besides what a negotiation takes.
    const fn has_room_for_answer(&self) -> bool {
        self.room() >= (TX / 2).saturating_add(ANSWER_OVERHEAD)
    }
}

/// Octets in front of an answer: a frame's head, the lines of a negotiation and a length.
const ANSWER_OVERHEAD: usize = HEADER_LEN + 80;

impl<const TX: usize, const A: usize> Mux<TX, A> {
    /// Writes what is owed, as far as there is room.
    pub(super) fn flush(&mut self, cx: &mut Context<'_, impl Handler>) {
        while let Some(value) = self.pongs.first()
            && self.outgoing.frame(Header::pong(*value))
        {
            self.pongs.remove(0);
        }
        while let Some(id) = self.refusals.first()
            && self.outgoing.frame(Header::data(*id, Flags::RST, 0))
        {
            self.refusals.remove(0);
        }
        for at in 0..STREAMS_PER_CONNECTION {
            let Some(stream) = self.streams.get_mut(at).filter(|it| !it.is_free()) else {
                continue;
            };
            let id = stream.id;
            if matches!(stream.stage, Stage::Waiting) && cx.handler.is_server() {
                self.answer_waiting(id, cx);
            }
            let Some(stream) = self.streams.get_mut(at) else { continue };
            if !stream.debts.is_empty() || stream.refusals > 0 {
                pay(stream, &mut self.outgoing, cx);
            }
            if stream.is_settled() {
                self.free(id);
            } else if stream.is_parked() && stream.debts.is_empty() {
                self.resume(at, cx);
            }
        }
    }

    /// Sends a request again, under the protocol that the remote has shown to speak instead; or finds out whether
    /// it speaks that, or gives up.
    fn resume(&mut self, at: usize, cx: &mut Context<'_, impl Handler>) {
        let Some(stream) = self.streams.get(at) else { return };
        let (id, deadline) = (stream.id, stream.deadline);
        let Purpose::Request { tag, answered, .. } = stream.purpose else { return };
        let give_up = if self.spoken == Some(KadProtocol::Phase) {
            let purpose = Purpose::Request { tag, protocol: KadProtocol::Phase, answered };
            let request = cx.handler.request(tag);
            // Without room it is tried again with the next octets.
            request.is_none_or(|it| {
                let _ = self.open_at(at, purpose, deadline, &mut |w| it.encode(w));
                false
            })
        } else {
            let _ = self.open_probe(deadline);
            self.probe == Probe::Answered
        };
        if give_up {
            self.fail_request(id, StreamError::Refused, cx);
            self.free(id);
        }
    }

    /// Answers a request that waits, when there is room.
    fn answer_waiting(&mut self, id: u32, cx: &mut Context<'_, impl Handler>) {
        let Some(stream) = self.streams.iter_mut().find(|it| it.id == id) else { return };
        let Some(at) = stream.assembler else { return };
        let Some(Assembler::Message(message)) = self.assemblers.get(usize::from(at)) else {
            return;
        };
        if answer(stream, &mut self.outgoing, message, cx) == Served::Done {
            if stream.remote_finished {
                stream.finish();
            }
            self.active_at = cx.now;
            self.release(id);
        }
    }
}

impl Stream {
    /// Takes note that a frame with the lines owed and `len` octets of data has left.
    fn sent(&mut self, len: usize) {
        self.debts.clear(Debts::ACK);
        self.debts.clear(Debts::HEADER);
        self.debts.clear(Debts::PROTOCOL);
        self.refusals = 0;
        self.has_sent(len);
    }

    /// The flags of the next frame.
    const fn flags(&self) -> Flags {
        if self.debts.has(Debts::ACK) { Flags::ACK } else { Flags::NONE }
    }

    const fn owes_lines(&self) -> bool {
        self.debts.has(Debts::HEADER) || self.debts.has(Debts::PROTOCOL) || self.refusals > 0
    }

    /// Writes the lines that are owed.
    fn lines(&self, w: &mut Writer<'_>) {
        if self.debts.has(Debts::HEADER) {
            Line::Multistream.encode(w);
        }
        for _ in 0..self.refusals {
            Line::Na.encode(w);
        }
        if self.debts.has(Debts::PROTOCOL) {
            match self.purpose {
                Purpose::Ping => Line::Ping.encode(w),
                Purpose::Identify => Line::Identify.encode(w),
                Purpose::Serve(protocol) => protocol.line().encode(w),
                Purpose::Unknown | Purpose::Probe | Purpose::Request { .. } | Purpose::Whois => {}
            }
        }
    }

    /// Whether the window allows an answer of any length.
    const fn may_send(&self, len: usize) -> bool {
        self.send_window as usize >= len
    }

    /// Whether FIN or RST was the last that this stream had to send.
    const fn is_settled(&self) -> bool {
        self.id != 0 && self.is_ended && self.debts.is_empty()
    }
}

/// Writes what a stream owes, as far as there is room.
fn pay<const TX: usize>(
    stream: &mut Stream,
    outgoing: &mut Outgoing<TX>,
    cx: &mut Context<'_, impl Handler>,
) {
    let id = stream.id;
    if stream.debts.has(Debts::RST) {
        if outgoing.frame(Header::data(id, Flags::RST, 0)) {
            stream.debts.clear(Debts::RST);
        }
        return;
    }
    if stream.debts.has(Debts::IDENTIFY) {
        if !outgoing.has_room_for_answer() || !stream.may_send(TX) {
            return;
        }
        let len = outgoing.data(id, stream.flags(), &mut |w| {
            stream.lines(w);
            prefixed(w, |w| cx.handler.identify(w));
        });
        // The message is longer than it may be: the remote learns nothing, and everything else goes on.
        stream.sent(len.unwrap_or(0));
        stream.debts.clear(Debts::IDENTIFY);
        // specs/identify: the stream ends behind the message.
        if len.is_some() {
            stream.finish()
        } else {
            stream.reset()
        }
        return pay(stream, outgoing, cx);
    }
    if stream.owes_lines() {
        let Some(len) = outgoing.data(id, stream.flags(), &mut |w| stream.lines(w)) else { return };
        stream.sent(len);
    }
    if stream.debts.has(Debts::ACK) && outgoing.frame(Header::window_update(id, Flags::ACK, 0)) {
        stream.debts.clear(Debts::ACK);
    }
    if stream.debts.has(Debts::WINDOW)
        && outgoing.frame(Header::window_update(id, Flags::NONE, stream.received))
    {
        stream.debts.clear(Debts::WINDOW);
        stream.received = 0;
    }
    if stream.debts.has(Debts::FIN) && outgoing.frame(Header::data(id, Flags::FIN, 0)) {
        stream.debts.clear(Debts::FIN);
    }
}

/// Asks the owner to answer a request and writes what the stream owes and the answer as one frame.
pub(super) fn answer<const TX: usize>(
    stream: &mut Stream,
    outgoing: &mut Outgoing<TX>,
    message: &[u8],
    cx: &mut Context<'_, impl Handler>,
) -> Served {
    let Ok(request) = kad::decode_request(message) else {
        count!(cx.handler.stats(), requests_malformed);
        stream.reset();
        return Served::Done;
    };
    let (peer, handler) = (cx.peer, &mut *cx.handler);
    if matches!(request, Request::AddProvider { .. }) {
        stream.stage = Stage::prefix();
        // Nothing is sent, so no room is needed.
        if handler.answer(peer, request, &mut Writer::new(&mut [])) == Answer::Reset {
            stream.reset();
        }
        return Served::Done;
    }
    if !outgoing.has_room_for_answer() || !stream.may_send(TX) {
        return Served::NoRoom;
    }
    stream.stage = Stage::prefix();
    let mut answer = Answer::Reset;
    let len = outgoing.data(stream.id, stream.flags(), &mut |w| {
        stream.lines(w);
        let begin = w.mark();
        answer = handler.answer(peer, request, w);
        if answer != Answer::Reply {
            w.rewind(begin);
        }
    });
    match len {
        Some(len) => stream.sent(len),
        // The owner wrote more than there is room for.
        None => answer = Answer::Reset,
    }
    if answer == Answer::Reset {
        stream.reset();
    }
    Served::Done
}

/// Sends octets back; whether there was room.
pub(super) fn echo<const TX: usize>(
    stream: &mut Stream,
    outgoing: &mut Outgoing<TX>,
    octets: &[u8],
) -> bool {
    if !stream.may_send(TX.saturating_add(octets.len())) {
        return false;
    }
    let len = outgoing.data(stream.id, stream.flags(), &mut |w| {
        stream.lines(w);
        w.put(octets);
    });
    stream.sent(len.unwrap_or(0));
    len.is_some()
}

/// Appends what `write` writes behind its length.
fn prefixed(w: &mut Writer<'_>, write: impl FnOnce(&mut Writer<'_>)) {
    let begin = w.mark();
    let at = w.len();
    write(w);
    let len = w.len().saturating_sub(at);
    let head = varint::encoded_len(u64::try_from(len).unwrap_or(u64::MAX));
    // The length is known only behind the message, which moves to make room for it.
    w.put([0; varint::LEN_MAX].get(..head).unwrap_or_default());
    let octets = w.written_since_mut(begin);
    octets.rotate_right(head.min(octets.len()));
    let mut prefix = Writer::new(octets);
    prefix.varint_len(len);
}
