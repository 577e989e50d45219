//! The streams of one connection: frames in, requests in and out.
//! Spec: libp2p `specs/yamux`.
//!
//! What comes in is taken apart at once, whatever its size, and leaves debts behind ([`super::stream::Debts`]); what
//! goes out is written when there is room ([`super::flush`]). Frames of streams that are unknown or closed are skipped,
//! as the other side may not know yet (js-libp2p sends window updates after FIN).

use heapless::Vec;

use super::courtesy::Hold;
use super::error::{NoRoom, StreamError};
use super::handler::{Handler, KadProtocol, Tag};
use super::outgoing::Outgoing;
use super::stream::{Answered, Debts, Purpose, Stage, Stream};
use super::yamux::{Error, Event, Receiver};
use crate::identity::PeerId;
use crate::limits::{
    KAD_MESSAGE_MAX, STREAMS_PER_CONNECTION, STREAMS_PER_SIDE, YAMUX_PONGS, YAMUX_REFUSALS,
};
use crate::stats::count;
use crate::time::{Deadline, Instant};
use crate::wire::cursor::Writer;
use crate::wire::identify;
use crate::wire::kad::{Request, ResponseParser};
use crate::wire::multistream::Line;
use crate::wire::yamux::{Flags, Header, INITIAL_WINDOW, Kind, SESSION};

/// What the remote's octets are handled with.
pub(super) struct Context<'a, H> {
    pub(super) now: Instant,
    pub(super) peer: &'a PeerId,
    pub(super) handler: &'a mut H,
}

/// A message that is not whole, or waits.
// Numbered by an octet of its own, so that zero is the first: see `Connection::new`.
#[derive(Debug)]
#[repr(u8)]
pub(super) enum Assembler {
    Free,
    /// A request of the remote.
    Message(Vec<u8, KAD_MESSAGE_MAX, u16>),
    /// The response to a request of ours.
    Response(ResponseParser),
    /// What the remote says it is.
    Identify(identify::Parser),
}

/// Whether the remote was asked if it speaks `/phase/kad/1.0.0`; [`Mux::spoken`] tells what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    NotSent,
    Sent,
    Answered,
}

/// Streams, and what waits to be sent on them.
pub(super) struct Mux<const TX: usize, const A: usize> {
    pub(super) outgoing: Outgoing<TX>,
    pub(super) streams: [Stream; STREAMS_PER_CONNECTION],
    pub(super) assemblers: [Assembler; A],
    /// Values of pings to answer.
    pub(super) pongs: Vec<u32, YAMUX_PONGS, u8>,
    /// Streams over the limit, to be reset.
    pub(super) refusals: Vec<u32, YAMUX_REFUSALS, u8>,
    receiver: Receiver,
    /// The number of the next stream we open: odd for the dialer, even for the listener.
    next_id: u32,
    /// What the remote speaks, once it has shown it.
    pub(super) spoken: Option<KadProtocol>,
    /// What it is expected to speak.
    pub(super) prefer: Option<KadProtocol>,
    pub(super) probe: Probe,
    /// Whether what is owed waits for company.
    pub(super) hold: Hold,
    /// When a stream was opened or a request ended last.
    pub(super) active_at: Instant,
}

impl<const TX: usize, const A: usize> Mux<TX, A> {
    /// Streams of no connection; [`Mux::reset`] makes them those of one.
    pub(super) const fn new() -> Self {
        Self {
            outgoing: Outgoing::new(),
            streams: [Stream::FREE; STREAMS_PER_CONNECTION],
            assemblers: [const { Assembler::Free }; A],
            pongs: Vec::new(),
            refusals: Vec::new(),
            receiver: Receiver::new(),
            next_id: 0,
            spoken: None,
            prefer: None,
            probe: Probe::NotSent,
            hold: Hold::Nothing,
            active_at: Instant::ZERO,
        }
    }

    /// Forgets everything, in place.
    pub(super) fn reset(&mut self, now: Instant, first_id: u32, prefer: Option<KadProtocol>) {
        self.outgoing.reset();
        self.streams = [Stream::FREE; STREAMS_PER_CONNECTION];
        self.assemblers.iter_mut().for_each(|it| *it = Assembler::Free);
        self.pongs.clear();
        self.refusals.clear();
        self.receiver = Receiver::new();
        self.next_id = first_id;
        self.spoken = None;
        self.prefer = prefer;
        self.probe = Probe::NotSent;
        self.hold = Hold::Nothing;
        self.active_at = now;
    }

    /// Opens a stream for `request`, which leaves in the same frame as the proposal: under `/ipfs/kad/1.0.0`, which
    /// nearly every node serves, unless this one has shown that it speaks `/phase/kad/1.0.0`. A node that is not
    /// known is asked for the latter by an empty stream beside it.
    ///
    /// Nothing follows a proposal that may well be refused: py-libp2p reads on, and octets that are no text end its
    /// process.
    pub(super) fn open(
        &mut self,
        now: Instant,
        request: &Request<'_>,
        tag: Tag,
        deadline: Deadline,
    ) -> Result<(), NoRoom> {
        let answered = match request {
            Request::AddProvider { .. } => Answered::Accepted,
            Request::PutValue { .. }
            | Request::GetValue { .. }
            | Request::GetProviders { .. }
            | Request::FindNode { .. } => Answered::Response,
        };
        let (mark, id, probe) = (self.outgoing.mark(), self.next_id, self.probe);
        if self.spoken.or(self.prefer) != Some(KadProtocol::Ipfs) {
            self.open_probe(deadline)?;
        }
        let protocol = self.spoken.unwrap_or(KadProtocol::Ipfs);
        let purpose = Purpose::Request { tag, protocol, answered };
        let opened = self.open_stream(purpose, deadline, &mut |w| request.encode(w));
        if opened.is_err() && self.probe != probe {
            self.outgoing.rewind(mark);
            self.next_id = id;
            self.probe = probe;
            self.free(id);
        }
        self.active_at = now;
        opened
    }

    /// Asks whether the remote speaks `/phase/kad/1.0.0`, unless that is known or asked.
    pub(super) fn open_probe(&mut self, deadline: Deadline) -> Result<(), NoRoom> {
        if self.probe == Probe::NotSent && self.spoken != Some(KadProtocol::Phase) {
            self.open_stream(Purpose::Probe, deadline, &mut |_| {})?;
            self.probe = Probe::Sent;
        }
        Ok(())
    }

    /// Opens a stream to ask what the remote is.
    pub(super) fn open_identify(&mut self, now: Instant, deadline: Deadline) -> Result<(), NoRoom> {
        self.open_stream(Purpose::Whois, deadline, &mut |_| {})?;
        self.active_at = now;
        Ok(())
    }

    /// Opens a stream, proposes what it is for and sends `request` at once.
    fn open_stream(
        &mut self,
        purpose: Purpose,
        deadline: Deadline,
        request: &mut dyn FnMut(&mut Writer<'_>),
    ) -> Result<(), NoRoom> {
        let id = self.next_id;
        if self.count(|it| it & 1 == id & 1) >= STREAMS_PER_SIDE {
            return Err(NoRoom);
        }
        let at = self.streams.iter().position(Stream::is_free).ok_or(NoRoom)?;
        self.open_at(at, purpose, deadline, request)
    }

    /// Opens a stream in a place that is not needed any more.
    pub(super) fn open_at(
        &mut self,
        at: usize,
        purpose: Purpose,
        deadline: Deadline,
        request: &mut dyn FnMut(&mut Writer<'_>),
    ) -> Result<(), NoRoom> {
        let id = self.next_id;
        let next_id = id.checked_add(2).ok_or(NoRoom)?;
        let place = self.streams.get_mut(at).ok_or(NoRoom)?;
        let mut stream = Stream::opened(id, purpose, deadline);
        let len = self.outgoing.data(id, Flags::SYN, &mut |w| {
            Line::Multistream.encode(w);
            stream.proposed().encode(w);
            request(w);
        });
        stream.has_sent(len.ok_or(NoRoom)?);
        *place = stream;
        self.next_id = next_id;
        Ok(())
    }

    /// Streams whose number is of a kind.
    fn count(&self, is: impl Fn(u32) -> bool) -> usize {
        self.streams.iter().filter(|it| !it.is_free() && is(it.id)).count()
    }

    pub(super) fn stream(&mut self, id: u32) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|it| it.id == id && !it.is_free())
    }

    /// Takes decrypted octets of the remote.
    pub(super) fn receive(
        &mut self,
        mut octets: &[u8],
        cx: &mut Context<'_, impl Handler>,
    ) -> Result<(), super::Error> {
        while let Some(event) = self.receiver.next(&mut octets)? {
            match event {
                Event::Head(header) => self.head(&header, cx)?,
                Event::Data { stream, octets } => self.data(stream, octets, cx),
                Event::Fin { stream } => self.fin(stream, cx),
            }
        }
        Ok(())
    }

    fn head(
        &mut self,
        header: &Header,
        cx: &mut Context<'_, impl Handler>,
    ) -> Result<(), super::Error> {
        match header.kind {
            Kind::Data | Kind::WindowUpdate => Ok(self.of_stream(header, cx)?),
            Kind::Ping if header.flags.contains(Flags::ACK) => {
                count!(cx.handler.stats(), frames_stray);
                Ok(())
            }
            Kind::Ping => Ok(self.pongs.push(header.len).map_err(|_| Error::Flood)?),
            // Deviation: any GO_AWAY ends the connection, as in rust-libp2p, although specs/yamux lets open streams go
            // on: no implementation sends one for anything but an end.
            Kind::GoAway => Err(super::Error::GoAway(header.len)),
        }
    }

    fn of_stream(
        &mut self,
        header: &Header,
        cx: &mut Context<'_, impl Handler>,
    ) -> Result<(), Error> {
        if header.stream == SESSION {
            return Err(Error::StreamId);
        }
        if header.flags.contains(Flags::SYN) {
            self.accept(header.stream, cx)?;
        }
        let Some(stream) = self.stream(header.stream) else {
            count!(cx.handler.stats(), frames_stray);
            return Ok(());
        };
        match header.kind {
            Kind::Data => {
                let received = stream.received.saturating_add(header.len);
                if received > INITIAL_WINDOW {
                    return Err(Error::Window);
                }
                stream.received = received;
                if received >= INITIAL_WINDOW / 2 {
                    stream.debts.add(Debts::WINDOW);
                }
            }
            Kind::WindowUpdate => {
                stream.send_window = stream.send_window.saturating_add(header.len);
            }
            Kind::Ping | Kind::GoAway => {}
        }
        // rust-libp2p resets what it could not read after its refusal.
        if header.flags.contains(Flags::RST) && !stream.is_parked() {
            self.fail_request(header.stream, StreamError::Reset, cx);
            self.free(header.stream);
        }
        Ok(())
    }

    /// Takes a stream that the remote opens, or notes that it is refused.
    fn accept(&mut self, id: u32, cx: &mut Context<'_, impl Handler>) -> Result<(), Error> {
        if id & 1 == self.next_id & 1 {
            return Err(Error::StreamId);
        }
        if self.stream(id).is_some() {
            return Err(Error::Duplicate);
        }
        let is_over = self.count(|it| it & 1 == id & 1) >= STREAMS_PER_SIDE;
        match self.streams.iter_mut().find(|it| it.is_free()) {
            Some(place) if !is_over => {
                *place = Stream::accepted(id, cx.now + super::STREAM_IDLE);
                self.active_at = cx.now;
                Ok(())
            }
            Some(_) | None => {
                count!(cx.handler.stats(), streams_refused);
                self.refusals.push(id).map_err(|_| Error::Flood)
            }
        }
    }

    /// The remote sends nothing more on a stream.
    fn fin(&mut self, id: u32, cx: &mut Context<'_, impl Handler>) {
        let Some(stream) = self.stream(id).filter(|it| !it.is_parked()) else { return };
        stream.remote_finished = true;
        if stream.is_ours() {
            self.fail_request(id, StreamError::Ended, cx);
        }
        if let Some(stream) = self.stream(id)
            && !matches!(stream.stage, Stage::Waiting)
        {
            // js-libp2p ends the connection when a stream it has finished stays half open.
            stream.finish();
            self.release(id);
        }
    }

    /// Ends a request of ours without a response.
    pub(super) fn fail_request(
        &mut self,
        id: u32,
        why: StreamError,
        cx: &mut Context<'_, impl Handler>,
    ) {
        let Some(stream) = self.stream(id) else { return };
        let tag = stream.tag();
        if stream.purpose == Purpose::Probe {
            self.probe = Probe::Answered;
        } else if stream.is_ours() {
            stream.purpose = Purpose::Unknown;
        }
        if let Some(tag) = tag {
            self.active_at = cx.now;
            cx.handler.failed(tag, why);
        }
    }

    /// Breaks a stream off: the remote is told, and our owner when it was a request of ours.
    pub(super) fn break_off(
        &mut self,
        id: u32,
        why: StreamError,
        cx: &mut Context<'_, impl Handler>,
    ) {
        count!(cx.handler.stats(), streams_reset);
        self.fail_request(id, why, cx);
        if let Some(stream) = self.stream(id) {
            stream.reset();
        }
        self.release(id);
    }

    /// Gives back the assembler of a stream.
    pub(super) fn release(&mut self, id: u32) {
        let at = self.stream(id).and_then(|stream| stream.assembler.take());
        if let Some(assembler) = at.and_then(|at| self.assemblers.get_mut(usize::from(at))) {
            *assembler = Assembler::Free;
        }
    }

    /// Forgets a stream.
    pub(super) fn free(&mut self, id: u32) {
        self.release(id);
        if let Some(stream) = self.stream(id) {
            *stream = Stream::FREE;
        }
    }

    /// Sets the deadline of the requests that waited for the handshake.
    pub(super) fn start(&mut self, now: Instant, deadline: Instant) {
        self.active_at = now;
        for stream in self.streams.iter_mut().filter(|it| !it.is_free()) {
            stream.deadline = Deadline::new(deadline);
        }
    }

    /// The earliest deadline of a stream.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.streams.iter().filter(|it| !it.is_free()).filter_map(|it| it.deadline.get()).min()
    }

    /// Ends the streams whose deadline has come.
    pub(super) fn expire(&mut self, cx: &mut Context<'_, impl Handler>) {
        let now = cx.now;
        while let Some(stream) =
            self.streams.iter_mut().find(|it| !it.is_free() && it.deadline.is_due(now))
        {
            let id = stream.id;
            stream.deadline = Deadline::NONE;
            self.break_off(id, StreamError::TimedOut, cx);
        }
    }

    /// Ends every request: the connection has ended.
    pub(super) fn fail_all(&mut self, handler: &mut impl Handler) {
        for stream in &mut self.streams {
            if let Some(tag) = core::mem::replace(stream, Stream::FREE).tag() {
                handler.failed(tag, StreamError::Closed);
            }
        }
        self.assemblers.iter_mut().for_each(|it| *it = Assembler::Free);
    }

    /// Requests of ours that have not ended.
    pub(super) fn in_flight(&self) -> usize {
        self.streams.iter().filter(|it| it.tag().is_some()).count()
    }

    /// Whether a request of either side is in progress.
    pub(super) fn is_busy(&self) -> bool {
        let waits = |it: &Stream| it.is_ours() || matches!(it.stage, Stage::Waiting);
        self.streams.iter().any(|it| !it.is_free() && waits(it)) || !self.outgoing.is_empty()
    }
}
