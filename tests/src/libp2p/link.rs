//! One [`Connection`] of the core over a real TCP socket, driven by the thread that calls.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use phase_core::connection::{self, Answer, Connection, Dial, Handler, Identity, StreamError, Tag};
use phase_core::identity::{PeerId, SecretKey};
use phase_core::limits::{RX_FULL, TX_SERVER};
use phase_core::rng::Seed;
use phase_core::stats::Stats;
use phase_core::time;
use phase_core::wire::contact::Contact;
use phase_core::wire::cursor::Writer;
use phase_core::wire::identify::{Identified, Identify};
use phase_core::wire::kad::{Part, Request};
use phase_core::wire::multistream::Line;

use super::shelf::Shelf;
use crate::Error;
use crate::deadline::{self, Deadline, GENEROUS};
use crate::netns::Namespace;

/// How long one wait for octets lasts at most.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// An identity of ours with what it serves.
#[derive(Debug)]
pub struct Local {
    identity: Identity,
    seed: Seed,
    /// What it serves and keeps.
    pub shelf: Shelf,
}

/// A connection of ours to a node.
#[derive(Debug)]
pub struct Link {
    connection: Box<Connection<RX_FULL, TX_SERVER, 4>>,
    socket: TcpStream,
    epoch: Instant,
    owner: Owner,
    next_tag: u32,
}

/// The whole response to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Values of records.
    pub values: Vec<Vec<u8>>,
    /// How many records were too long to be read.
    pub oversized: usize,
    /// Peers closer to the key.
    pub closer: Vec<Contact>,
    /// Providers.
    pub providers: Vec<Contact>,
    /// How it ended, once it has.
    pub end: Option<Result<(), StreamError>>,
}

#[derive(Debug)]
struct Owner {
    local: Arc<Local>,
    remote: SocketAddr,
    stats: Stats,
    established: Option<PeerId>,
    heard: BTreeMap<u32, Heard>,
    identified: Option<Identified>,
    closed: Option<connection::Error>,
}

impl Local {
    /// The identity whose Ed25519 seed is 32 octets of `seed`, reachable at `address`.
    #[must_use]
    pub fn new(seed: u8, address: SocketAddr) -> Arc<Self> {
        let key = SecretKey::from_seed(&[seed; 32]);
        let seed = Seed([seed; 32]);
        let shelf = Shelf::new(Contact::at(key.peer_id(), address));
        Arc::new(Self { identity: Identity::new(&key, &seed), seed, shelf })
    }

    /// Who it is.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.shelf.own.peer
    }
}

impl Link {
    /// Dials `to` from inside `namespace`; `expected` must prove to be there.
    ///
    /// # Errors
    /// [`Error::Os`] without a TCP connection, [`Error::TooLate`] with the reason when the handshake
    /// fails.
    pub fn dial(
        local: &Arc<Local>,
        namespace: &Namespace,
        to: SocketAddr,
        expected: Option<PeerId>,
    ) -> Result<Self, Error> {
        let socket = namespace.inside(|| TcpStream::connect(to))?;
        let mut link = Self::new(local, socket)?;
        // Octets of the process's clock: each ephemeral key is used once.
        let ephemeral = local.seed.secret("dial", link.entropy());
        link.connection.dial(link.now(), ephemeral, Dial { expected, prefer: None });
        Ok(link)
    }

    /// Takes a connection that a node has dialled.
    pub(super) fn accept(local: &Arc<Local>, socket: TcpStream) -> Result<Self, Error> {
        let mut link = Self::new(local, socket)?;
        let ephemeral = local.seed.secret("accept", link.entropy());
        link.connection.accept(link.now(), ephemeral);
        Ok(link)
    }

    fn new(local: &Arc<Local>, socket: TcpStream) -> Result<Self, Error> {
        let remote = socket.peer_addr().map_err(|e| Error::os("ask for the remote", e))?;
        socket.set_nodelay(true).map_err(|e| Error::os("set TCP_NODELAY", e))?;
        let owner = Owner {
            local: Arc::clone(local),
            remote,
            stats: Stats::default(),
            established: None,
            heard: BTreeMap::new(),
            identified: None,
            closed: None,
        };
        let connection = Box::new(Connection::new());
        Ok(Self { connection, socket, epoch: deadline::now(), owner, next_tag: 0 })
    }

    /// Asks and waits for the whole response, or for the request's failure.
    ///
    /// # Errors
    /// [`Error::TooLate`] when neither comes, which no remote may bring about.
    pub fn ask(&mut self, request: Request<'_>) -> Result<Heard, Error> {
        let tag = self.next_tag;
        self.next_tag += 1;
        let now = self.now();
        if self.connection.open(now, request, Tag(tag)).is_err() {
            return Err(self.too_late("room for a request"));
        }
        self.run_until("a response", |owner| {
            owner.heard.get(&tag).filter(|heard| heard.end.is_some()).cloned()
        })
    }

    /// Asks what the remote is.
    ///
    /// # Errors
    /// [`Error::TooLate`] when it does not say.
    pub fn identify(&mut self) -> Result<Identified, Error> {
        if self.connection.open_identify(self.now()).is_err() {
            return Err(self.too_late("room for identify"));
        }
        self.run_until("an identify message", |owner| owner.identified.clone())
    }

    /// Waits for the end of the handshake; who the remote proved to be.
    ///
    /// # Errors
    /// [`Error::TooLate`] with why the connection ended.
    pub fn established(&mut self) -> Result<PeerId, Error> {
        self.run_until("a handshake", |owner| owner.established)
    }

    /// Serves the connection for as long as `on` says; ends early when the connection does.
    ///
    /// # Errors
    /// [`Error::TooLate`] with why it ended.
    pub fn serve_while(&mut self, on: impl Fn() -> bool) -> Result<(), Error> {
        while on() {
            if !self.turn(LOOK_EVERY)? {
                return Err(self.too_late("the end of the wait"));
            }
        }
        Ok(())
    }

    /// Answers while `work`, which may make the remote ask, is done on another thread.
    ///
    /// # Errors
    /// Those of `work`, or as [`Link::serve_while`].
    pub fn serve_during<T: Send, E: From<Error> + Send>(
        &mut self,
        work: impl FnOnce() -> Result<T, E> + Send,
    ) -> Result<T, E> {
        thread::scope(|scope| {
            let working = scope.spawn(work);
            let served = self.serve_while(|| !working.is_finished());
            let done = working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            served?;
            done
        })
    }

    /// Does nothing but answer for `time`.
    ///
    /// # Errors
    /// As [`Link::serve_while`].
    pub fn stay(&mut self, time: Duration) -> Result<(), Error> {
        let deadline = Deadline::after(time);
        self.serve_while(|| !deadline.has_passed())
    }

    fn run_until<T>(&mut self, what: &str, seen: impl Fn(&Owner) -> Option<T>) -> Result<T, Error> {
        let deadline = Deadline::after(GENEROUS);
        loop {
            if let Some(value) = seen(&self.owner) {
                return Ok(value);
            }
            if deadline.has_passed() || !self.turn(LOOK_EVERY)? {
                // The last octets may have brought it.
                return seen(&self.owner).ok_or_else(|| self.too_late(what));
            }
        }
    }

    /// Sends what is ready, waits up to `within` for octets and takes them; whether the connection is still
    /// there.
    fn turn(&mut self, within: Duration) -> Result<bool, Error> {
        self.send()?;
        if self.owner.closed.is_some() {
            return Ok(false);
        }
        let wake = self.connection.next_wake().map(|wake| wake.at.since(self.now()));
        let wait = wake.unwrap_or(within).min(within).max(Duration::from_millis(1));
        let wanted = |e| Error::os("read a connection", e);
        self.socket.set_read_timeout(Some(wait)).map_err(wanted)?;
        let mut octets = [0; 16_384];
        match self.socket.read(&mut octets) {
            Ok(0) => self.connection.handle_lost(&mut self.owner),
            Ok(len) => {
                let (now, local) = (self.now(), Arc::clone(&self.owner.local));
                let octets = octets.get(..len).unwrap_or_default();
                self.connection.handle_octets(now, octets, &local.identity, &mut self.owner);
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => self.connection.handle_lost(&mut self.owner),
        }
        let now = self.now();
        if self.connection.next_wake().is_some_and(|wake| wake.at <= now) {
            self.connection.handle_timeout(now, &mut self.owner);
        }
        self.send()?;
        Ok(self.owner.closed.is_none())
    }

    fn send(&mut self) -> Result<(), Error> {
        let mut out = [0; 4096];
        loop {
            let len = self.connection.poll_send(self.now(), &mut out, &mut self.owner);
            if len == 0 {
                return Ok(());
            }
            let octets = out.get(..len).unwrap_or_default();
            if self.socket.write_all(octets).is_err() {
                self.connection.handle_lost(&mut self.owner);
                return Ok(());
            }
        }
    }

    fn now(&self) -> time::Instant {
        let micros = self.epoch.elapsed().as_micros();
        time::Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Differs for every connection of this process.
    fn entropy(&self) -> u64 {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    fn too_late(&self, what: &str) -> Error {
        let context = match self.owner.closed {
            Some(why) => format!(": the connection ended ({why})"),
            None => format!(": {:?}", self.connection),
        };
        Error::TooLate { what: what.to_owned(), after: self.epoch.elapsed(), context }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.connection.close(&mut self.owner);
        // The remote may be gone already.
        let _ = self.send();
    }
}

impl Handler for Owner {
    fn stats(&mut self) -> &mut Stats {
        &mut self.stats
    }

    fn serves_kad(&self) -> bool {
        true
    }

    fn established(&mut self, peer: &PeerId) {
        self.established = Some(*peer);
    }

    fn answer(&mut self, peer: &PeerId, request: Request<'_>, out: &mut Writer<'_>) -> Answer {
        self.local.shelf.answer(peer, &request, out)
    }

    /// Stock nodes take the first protocol.
    fn request(&mut self, _: Tag) -> Option<Request<'_>> {
        None
    }

    fn part(&mut self, _: &PeerId, tag: Tag, part: Part<'_>) {
        let heard = self.heard.entry(tag.0).or_default();
        match part {
            Part::Record(record) => heard.values.push(record.value.to_vec()),
            Part::Oversized => heard.oversized += 1,
            Part::Closer(contact) => heard.closer.push(contact),
            Part::Provider(contact) => heard.providers.push(contact),
            Part::End => heard.end = Some(Ok(())),
        }
    }

    fn failed(&mut self, tag: Tag, why: StreamError) {
        self.heard.entry(tag.0).or_default().end = Some(Err(why));
    }

    fn identified(&mut self, _: &PeerId, identified: &Identified) {
        self.identified = Some(identified.clone());
    }

    fn identify(&mut self, out: &mut Writer<'_>) {
        let message = Identify {
            peer: self.local.peer(),
            addresses: &self.local.shelf.own.addresses,
            protocols: &[Line::PhaseKad, Line::IpfsKad, Line::Identify, Line::Ping],
            observed: Some(self.remote),
            protocol_version: "phase/1.0.0",
            agent: "phase-tests",
        };
        message.encode(out);
    }

    fn closed(&mut self, why: connection::Error) {
        self.local.shelf.note_closing(why.to_string());
        self.closed = Some(why);
    }
}
