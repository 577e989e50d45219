//! The data of streams as it comes in: negotiations, requests, responses, pings.
//! Spec: libp2p `specs/connections#multistream-select`, `specs/kad-dht#rpc-messages`, `specs/identify`,
//! `specs/ping`.

use super::error::StreamError;
use super::flush::{self, Served};
use super::handler::{Handler, KadProtocol};
use super::mux::{Assembler, Context, Mux, Probe};
use super::stream::{Answered, Debts, Purpose, Stage, Stream};
use crate::limits::{KAD_RESPONSE_MAX, REQUEST_MAX, STREAM_PROPOSALS};
use crate::stats::count;
use crate::time::Deadline;
use crate::wire::identify;
use crate::wire::kad::{Part, ResponseParser};
use crate::wire::multistream::{Line, Read};

impl<const TX: usize, const A: usize> Mux<TX, A> {
    /// Takes data of a stream.
    pub(super) fn data(&mut self, id: u32, mut octets: &[u8], cx: &mut Context<'_, impl Handler>) {
        while !octets.is_empty() {
            let Some(stream) = self.stream(id) else { return };
            match &mut stream.stage {
                Stage::Header(reader) | Stage::Protocol(reader) => {
                    let Ok((taken, read)) = reader.feed(octets) else {
                        return self.no_line(id, cx);
                    };
                    octets = octets.get(taken..).unwrap_or_default();
                    self.line(id, read, cx);
                }
                Stage::Prefix(prefix) => {
                    let Some((first, rest)) = octets.split_first() else { return };
                    octets = rest;
                    match prefix.push(*first) {
                        Ok(None) => {}
                        Ok(Some(len)) => self.length(id, len, cx),
                        Err(_) => self.break_off(id, StreamError::Malformed, cx),
                    }
                }
                Stage::Body { left } => {
                    let len = usize::try_from(*left).unwrap_or(usize::MAX).min(octets.len());
                    let Some((body, rest)) = octets.split_at_checked(len) else { return };
                    octets = rest;
                    self.body(id, body, cx);
                }
                // Another request before the first is answered: there is no room to keep it.
                Stage::Waiting => {
                    count!(cx.handler.stats(), requests_over_limit);
                    return self.break_off(id, StreamError::Busy, cx);
                }
                Stage::Echo => return self.echo(id, octets, cx),
                Stage::Parked | Stage::Ignored => return,
            }
        }
    }

    /// What came is no line. After a refusal it may be a request that was sent without waiting; the remote will
    /// see the refusal.
    fn no_line(&mut self, id: u32, cx: &mut Context<'_, impl Handler>) {
        match self.stream(id) {
            Some(stream) if stream.refused => stream.stage = Stage::Ignored,
            Some(_) => self.break_off(id, StreamError::Malformed, cx),
            None => {}
        }
    }

    fn line(&mut self, id: u32, read: Read, cx: &mut Context<'_, impl Handler>) {
        let Some(stream) = self.stream(id) else { return };
        if read == Read::Pending {
            return;
        }
        if !matches!(stream.stage, Stage::Header(_)) {
            return if stream.is_ours() {
                self.reply(id, read, cx);
            } else {
                self.proposal(id, read, cx);
            };
        }
        if read != Read::Line(Line::Multistream) {
            return self.break_off(id, StreamError::Malformed, cx);
        }
        if !stream.is_ours() {
            stream.debts.add(Debts::HEADER);
        }
        stream.stage = Stage::protocol();
    }

    /// The remote answers our proposal.
    fn reply(&mut self, id: u32, read: Read, cx: &mut Context<'_, impl Handler>) {
        let Some(stream) = self.stream(id) else { return };
        match read {
            Read::Line(line) if line == stream.proposed() => {
                stream.stage = Stage::prefix();
                self.accepted(id, cx);
            }
            Read::Line(Line::Na) => self.refused(id, cx),
            Read::Line(_) | Read::Unknown | Read::Pending => {
                self.break_off(id, StreamError::Malformed, cx);
            }
        }
    }

    /// The remote takes what we proposed.
    fn accepted(&mut self, id: u32, cx: &mut Context<'_, impl Handler>) {
        let Some(stream) = self.stream(id) else { return };
        match stream.purpose {
            Purpose::Probe => {
                stream.finish();
                self.spoken = Some(KadProtocol::Phase);
                self.probe = Probe::Answered;
            }
            Purpose::Request { tag, protocol, answered } => {
                if answered == Answered::Accepted {
                    stream.finish();
                }
                self.spoken = self.spoken.or(Some(protocol));
                if answered == Answered::Accepted {
                    self.active_at = cx.now;
                    cx.handler.part(cx.peer, tag, Part::End);
                }
            }
            Purpose::Unknown
            | Purpose::Ping
            | Purpose::Identify
            | Purpose::Serve(_)
            | Purpose::Whois => {}
        }
    }

    /// The remote refuses what we proposed. It has no answer to give, so the stream need not end in order.
    fn refused(&mut self, id: u32, cx: &mut Context<'_, impl Handler>) {
        let (probe, spoken) = (self.probe, self.spoken);
        let Some(stream) = self.stream(id) else { return };
        if let Purpose::Request { protocol: KadProtocol::Ipfs, .. } = stream.purpose
            && (probe != Probe::Answered || spoken == Some(KadProtocol::Phase))
        {
            return stream.park();
        }
        self.fail_request(id, StreamError::Refused, cx);
        if let Some(stream) = self.stream(id) {
            stream.reset();
        }
    }

    /// The remote proposes a protocol.
    fn proposal(&mut self, id: u32, read: Read, cx: &mut Context<'_, impl Handler>) {
        let Some(stream) = self.stream(id) else { return };
        let serve = |protocol| Some((Purpose::Serve(protocol), Stage::prefix()));
        let purpose = match read {
            Read::Line(Line::Ping) => Some((Purpose::Ping, Stage::Echo)),
            Read::Line(Line::Identify) => Some((Purpose::Identify, Stage::Ignored)),
            Read::Line(Line::PhaseKad) if cx.handler.serves(KadProtocol::Phase) => {
                serve(KadProtocol::Phase)
            }
            Read::Line(Line::IpfsKad) if cx.handler.serves(KadProtocol::Ipfs) => {
                serve(KadProtocol::Ipfs)
            }
            Read::Line(_) | Read::Unknown | Read::Pending => None,
        };
        let Some((purpose, stage)) = purpose else {
            count!(cx.handler.stats(), protocols_refused);
            stream.refused = true;
            stream.refusals = stream.refusals.saturating_add(1);
            if stream.refusals > STREAM_PROPOSALS {
                self.break_off(id, StreamError::Refused, cx);
            }
            return;
        };
        stream.purpose = purpose;
        stream.stage = stage;
        stream.debts.add(Debts::PROTOCOL);
        if purpose == Purpose::Identify {
            stream.debts.add(Debts::IDENTIFY);
        } else if purpose == Purpose::Serve(KadProtocol::Phase) {
            self.spoken = Some(KadProtocol::Phase);
        }
    }

    /// The length of a message has come.
    fn length(&mut self, id: u32, len: u64, cx: &mut Context<'_, impl Handler>) {
        let Some(stream) = self.stream(id) else { return };
        let max = if stream.tag().is_some() { KAD_RESPONSE_MAX } else { REQUEST_MAX };
        match u32::try_from(len).ok().filter(|len| *len <= max) {
            Some(left) => {
                stream.stage = Stage::Body { left };
                if left == 0 {
                    self.body(id, &[], cx);
                }
            }
            None => self.break_off(id, StreamError::Malformed, cx),
        }
    }

    /// Octets of a message have come, no more than it has.
    fn body(&mut self, id: u32, octets: &[u8], cx: &mut Context<'_, impl Handler>) {
        let Some(stream) = self.stream(id) else { return };
        let Stage::Body { left } = &mut stream.stage else { return };
        *left = left.saturating_sub(u32::try_from(octets.len()).unwrap_or(u32::MAX));
        let is_last = *left == 0;
        let is_whole = is_last && stream.assembler.is_none();
        let purpose = stream.purpose;
        match purpose {
            Purpose::Request { .. } => self.response(id, octets, cx),
            Purpose::Whois if cx.handler.identifies() => self.identified(id, octets, cx),
            Purpose::Serve(_) if !cx.handler.is_server() => {}
            Purpose::Serve(_) if is_whole => self.serve(id, octets, cx),
            Purpose::Serve(_) if !self.assemble(id, octets) => {
                count!(cx.handler.stats(), requests_over_limit);
                self.break_off(id, StreamError::Busy, cx);
            }
            Purpose::Serve(_) if is_last => self.with_message(id, cx, Self::serve),
            Purpose::Unknown
            | Purpose::Ping
            | Purpose::Identify
            | Purpose::Serve(_)
            | Purpose::Probe
            | Purpose::Whois => {}
        }
    }

    /// Octets of the response to a request of ours.
    fn response(&mut self, id: u32, octets: &[u8], cx: &mut Context<'_, impl Handler>) {
        let new = |len| Assembler::Response(ResponseParser::new(len));
        let Some((stream, assembler)) = self.assembler(id, octets, new) else {
            return self.break_off(id, StreamError::Busy, cx);
        };
        let (Some(tag), Assembler::Response(parser)) = (stream.tag(), assembler) else { return };
        let mut ended = false;
        let fed = parser.feed(octets, &mut |part| match part {
            // The owner may ask the next thing as soon as it knows: the stream is ended first, below.
            Part::End => ended = true,
            Part::Record(_) | Part::Oversized | Part::Closer(_) | Part::Provider(_) => {
                cx.handler.part(cx.peer, tag, part);
            }
        });
        if fed.is_err() {
            return self.break_off(id, StreamError::Malformed, cx);
        }
        if ended {
            stream.finish();
            self.release(id);
            self.active_at = cx.now;
            cx.handler.part(cx.peer, tag, Part::End);
        }
    }

    /// Octets of the remote's identify message.
    fn identified(&mut self, id: u32, octets: &[u8], cx: &mut Context<'_, impl Handler>) {
        let new = |len| Assembler::Identify(identify::Parser::new(len));
        let Some((stream, assembler)) = self.assembler(id, octets, new) else {
            return self.break_off(id, StreamError::Busy, cx);
        };
        let Assembler::Identify(parser) = assembler else { return };
        match parser.feed(octets) {
            Ok(None) => {}
            Ok(Some(identified)) => {
                stream.finish();
                cx.handler.identified(cx.peer, identified);
                self.release(id);
            }
            Err(_) => self.break_off(id, StreamError::Malformed, cx),
        }
    }

    /// The assembler of a stream, which is made by `new` of the message's length when the first of its octets
    /// have come; none when there are too many.
    fn assembler(
        &mut self,
        id: u32,
        octets: &[u8],
        new: impl FnOnce(u32) -> Assembler,
    ) -> Option<(&mut Stream, &mut Assembler)> {
        let stream = self.streams.iter_mut().find(|it| it.id == id)?;
        if let Some(at) = stream.assembler {
            return Some((stream, self.assemblers.get_mut(usize::from(at))?));
        }
        let Stage::Body { left } = stream.stage else { return None };
        let mut places = self.assemblers.iter_mut().zip(0_u8..);
        let (place, at) = places.find(|(it, _)| matches!(it, Assembler::Free))?;
        *place = new(left.saturating_add(u32::try_from(octets.len()).ok()?));
        stream.assembler = Some(at);
        Some((stream, place))
    }

    /// A request of the remote is whole: answers it, or keeps it until there is room for the answer.
    fn serve(&mut self, id: u32, message: &[u8], cx: &mut Context<'_, impl Handler>) {
        let Some(stream) = self.streams.iter_mut().find(|it| it.id == id) else { return };
        stream.deadline = Deadline::new(cx.now + super::STREAM_IDLE);
        match flush::answer(stream, &mut self.outgoing, message, cx) {
            Served::Done => self.active_at = cx.now,
            Served::NoRoom => {
                let is_kept = stream.assembler.is_some() || self.assemble(id, message);
                match self.stream(id).filter(|_| is_kept) {
                    Some(stream) => stream.stage = Stage::Waiting,
                    None => {
                        count!(cx.handler.stats(), requests_over_limit);
                        self.break_off(id, StreamError::Busy, cx);
                    }
                }
            }
        }
    }

    /// Runs `run` with the message that was assembled for a stream, and gives its assembler back unless the
    /// stream waits.
    pub(super) fn with_message<H: Handler>(
        &mut self,
        id: u32,
        cx: &mut Context<'_, H>,
        run: impl FnOnce(&mut Self, u32, &[u8], &mut Context<'_, H>),
    ) {
        let Some(at) = self.stream(id).and_then(|it| it.assembler) else { return };
        let place = self.assemblers.get_mut(usize::from(at));
        let Some(place) = place else { return };
        let taken = core::mem::replace(place, Assembler::Free);
        if let Assembler::Message(message) = &taken {
            run(self, id, message, cx);
        }
        let waits = self.stream(id).is_some_and(|it| matches!(it.stage, Stage::Waiting));
        if waits && let Some(place) = self.assemblers.get_mut(usize::from(at)) {
            *place = taken;
        } else if let Some(stream) = self.stream(id) {
            stream.assembler = None;
        }
    }

    /// Appends to the message of a stream; whether there was room.
    fn assemble(&mut self, id: u32, octets: &[u8]) -> bool {
        let new = |_| Assembler::Message(heapless::Vec::new());
        match self.assembler(id, octets, new) {
            Some((_, Assembler::Message(message))) => message.extend_from_slice(octets).is_ok(),
            Some(_) | None => false,
        }
    }

    /// Sends back what the remote pings with. Without room the remote does not read: nothing is kept for it.
    fn echo(&mut self, id: u32, octets: &[u8], cx: &mut Context<'_, impl Handler>) {
        let Some(stream) = self.streams.iter_mut().find(|it| it.id == id) else { return };
        stream.deadline = Deadline::new(cx.now + super::STREAM_IDLE);
        if !flush::echo(stream, &mut self.outgoing, octets) {
            self.break_off(id, StreamError::Busy, cx);
        }
    }
}
