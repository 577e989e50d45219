//! One subject, one scripted peer, one cable: the place where a row is checked.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::Error;
use crate::netns::{Host, Lan};
use crate::subject::{Running, Subject, Wanted};
use crate::wire_peer::message::rtype;
use crate::wire_peer::{Data, Heard, Mark, Message, Name, Peer, Question, Record, Route, Stamp};

/// The peer's second address on the cable, as another host.
pub(super) const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 3));
/// An address of the peer that is on no subnet of the subject; the subject has a route to it.
pub(super) const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 2));
/// Longer than any delay of RFC 6762 §6 for one packet (120 ms), with room for a loaded machine.
pub(super) const REPLY: Duration = Duration::from_millis(900);
/// Longer than the time in which a record may be multicast once (RFC 6762 §6).
pub(super) const SECOND_PASSED: Duration = Duration::from_millis(1150);

const ANNOUNCED_WITHIN: Duration = Duration::from_secs(20);
/// Longer than the gap before the third announcement of a responder that sends three.
const SETTLED: Duration = Duration::from_millis(2300);
const SETTLED_WITHIN: Duration = Duration::from_secs(20);

/// What a subject publishes, learned from its announcements.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The first instance.
    pub instance: Name,
    /// Its SRV record.
    pub srv: Record,
    /// Its TXT record.
    pub txt: Record,
    /// The host it runs on.
    pub host: Name,
}

/// The network, the peer, and the subject once it is started.
pub struct Lab<'s> {
    /// The implementation under test.
    pub subject: &'s dyn Subject,
    /// The scripted participant on the other end of the cable.
    pub peer: Peer,
    /// The subject at work.
    pub running: Option<Box<dyn Running>>,
    /// Both hosts: 0 is the subject's, 1 the peer's.
    pub lan: Lan,
    directory: TempDir,
}

impl std::fmt::Debug for Lab<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lab of {}", self.subject.name())
    }
}

impl<'s> Lab<'s> {
    /// Lays the cable and opens the peer; the subject is not started.
    ///
    /// # Errors
    /// As [`Lan::pair`].
    pub fn new(subject: &'s dyn Subject) -> Result<Self, Error> {
        let lan = Lan::pair()?;
        let (here, there) = (lan.host(0), lan.host(1));
        there.namespace.add_address(Host::INTERFACE, &format!("{SECOND}/24"))?;
        there.namespace.add_address(Host::INTERFACE, &format!("{FAR}/24"))?;
        let gateway = there.ipv4.to_string();
        here.namespace.ip(&["route", "add", "default", "via", &gateway])?;
        let peer = Peer::open(&there.namespace, there.index, Some(there.ipv4))?;
        let directory = TempDir::new().map_err(|e| Error::os("make a directory", e))?;
        Ok(Self { subject, peer, running: None, lan, directory })
    }

    /// The subject's host.
    #[must_use]
    pub fn subject_host(&self) -> &Host {
        self.lan.host(0)
    }

    /// The directory of the subject's files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The service type.
    #[must_use]
    pub fn service(&self) -> Name {
        Name::new("_phase-image._tcp.local")
    }

    /// The subtype of the default instance.
    #[must_use]
    pub fn subtype(&self) -> Name {
        Name::new("_arm64-stable._sub._phase-image._tcp.local")
    }

    /// The instance most rows publish.
    #[must_use]
    pub fn wanted() -> Wanted {
        Wanted::new("Lab", &[("stable", "arm64")])
    }

    /// Starts the subject and returns when.
    ///
    /// # Errors
    /// Why it does not start.
    pub fn launch(&mut self, wanted: &Wanted) -> Result<Stamp, Error> {
        let at = Stamp::read();
        self.running = Some(self.subject.start(self.lan.host(0), wanted, self.directory.path())?);
        Ok(at)
    }

    /// The subject at work.
    ///
    /// # Errors
    /// When no row has started it.
    pub fn running(&mut self) -> Result<&mut dyn Running, Error> {
        let error =
            || Error::os("use a subject that was not started", std::io::ErrorKind::NotFound.into());
        self.running.as_deref_mut().map_or_else(|| Err(error()), |r| Ok(r as &mut dyn Running))
    }

    /// Stops the subject cleanly.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.running.take().map_or(Ok(()), Running::stop)
    }

    /// Starts the default instance, waits until it is announced and everything is quiet.
    ///
    /// # Errors
    /// [`Error::TooLate`] with the subject's output.
    pub fn establish(&mut self) -> Result<Facts, Error> {
        self.establish_as(&Self::wanted())
    }

    /// The same with other instances.
    ///
    /// # Errors
    /// [`Error::TooLate`] with the subject's output.
    pub fn establish_as(&mut self, wanted: &Wanted) -> Result<Facts, Error> {
        let mark = self.peer.mark();
        self.launch(wanted)?;
        let facts = self.facts_since(mark)?;
        self.peer.wait_for_silence(SETTLED, SETTLED_WITHIN, |h| self.is_mine(h));
        Ok(facts)
    }

    /// Waits for the announcement of an instance after `mark`.
    ///
    /// # Errors
    /// [`Error::TooLate`] with the subject's output.
    pub fn facts_since(&self, mark: Mark) -> Result<Facts, Error> {
        let service = self.service();
        let mut records: Vec<Record> = Vec::new();
        let facts = self.peer.wait(mark, ANNOUNCED_WITHIN, |heard| {
            let message = heard.response().filter(|_| self.is_mine(heard))?;
            records.extend(message.records().cloned());
            let of = |rtype| {
                let all = records.iter().rev().filter(move |r| r.rtype == rtype && r.ttl > 0);
                all.filter(|r| r.name.parent() == service)
            };
            let srv = of(rtype::SRV).next()?.clone();
            let txt = of(rtype::TXT).find(|t| t.name == srv.name)?.clone();
            let Data::Srv(.., host) = &srv.data else { return None };
            Some(Facts { instance: srv.name.clone(), host: host.clone(), srv, txt })
        });
        facts.ok_or_else(|| Error::TooLate {
            what: format!("an announcement of {}", self.subject.name()),
            after: ANNOUNCED_WITHIN,
            context: format!(
                "; it said: {}",
                self.running.as_ref().map(|r| r.output()).unwrap_or_default()
            ),
        })
    }

    /// Whether the subject sent this by IPv4: nobody else does, and the peer does not hear itself.
    #[must_use]
    pub fn is_mine(&self, heard: &Heard) -> bool {
        heard.envelope.remote.is_ipv4()
    }

    /// What the subject sent by IPv4 after `mark` until `window` has passed.
    #[must_use]
    pub fn listen(&self, mark: Mark, window: Duration) -> Vec<Heard> {
        let mut heard = self.peer.listen(mark, window);
        heard.retain(|h| self.is_mine(h));
        heard
    }

    /// What the subject sent by IPv4 so far.
    #[must_use]
    pub fn history(&self) -> Vec<Heard> {
        self.listen(self.peer.beginning(), Duration::ZERO)
    }

    /// Lets `window` pass.
    pub fn pass(&self, window: Duration) {
        let _ = self.peer.listen(self.peer.mark(), window);
    }

    /// Sends a message and returns the first response of the subject that answers `question`, and after
    /// how long.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn ask(
        &self,
        route: Route,
        message: &Message,
        question: &Question,
        within: Duration,
    ) -> Result<Option<Reply>, Error> {
        let mark = self.peer.mark();
        let sent = self.peer.send(route, message)?;
        Ok(self.peer.wait(mark, within, |heard| {
            let message = heard.response().filter(|_| self.is_mine(heard))?;
            answers(message, question).then(|| Reply {
                after: heard.envelope.at.since(sent),
                heard: heard.clone(),
                message: message.clone(),
            })
        }))
    }

    /// Asks one QM question of the IPv4 group.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn ask_group(&self, name: &Name, qtype: u16) -> Result<Option<Reply>, Error> {
        let question = Question::new(name, qtype);
        self.ask(Route::GROUP, &Message::ask(&question), &question, REPLY)
    }

    /// Asks one QU question of the IPv4 group.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn ask_qu(&self, name: &Name, qtype: u16) -> Result<Option<Reply>, Error> {
        let question = Question::qu(name, qtype);
        self.ask(Route::GROUP, &Message::ask(&question), &question, REPLY)
    }

    /// Asks one question of the IPv4 group from an ephemeral port, for a unicast reply.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn ask_one_shot(&self, name: &Name, qtype: u16) -> Result<Option<Reply>, Error> {
        let question = Question::new(name, qtype);
        let message = Message { id: 0x4d44, ..Message::ask(&question) };
        let reply = self.ask(Route::ONE_SHOT, &message, &question, REPLY)?;
        Ok(reply.filter(|reply| !reply.heard.is_multicast()))
    }
}

/// A response to a question.
#[derive(Clone, Debug)]
pub struct Reply {
    /// From sending the question to the response's arrival.
    pub after: Duration,
    /// The datagram.
    pub heard: Heard,
    /// Its message.
    pub message: Message,
}

impl Reply {
    /// The delay in milliseconds, for evidence.
    #[must_use]
    pub fn ms(&self) -> f64 {
        self.after.as_secs_f64() * 1000.0
    }
}

/// Whether the answer section answers `question`, goodbyes apart.
#[must_use]
pub(super) fn answers(message: &Message, question: &Question) -> bool {
    message.answers.iter().any(|r| {
        r.ttl > 0
            && r.name == question.name
            && (r.rtype == question.qtype
                || (question.qtype == rtype::ANY && r.rtype != rtype::NSEC))
    })
}

/// The SRV record of another host that claims `name`.
#[must_use]
pub(super) fn rival_srv(name: &Name) -> Record {
    Record::new(name, 120, Data::Srv(0, 0, 4711, Name::new("rival.local"))).flushing()
}

/// Milliseconds of each duration, for evidence.
#[must_use]
pub(super) fn list_ms(all: &[Duration]) -> String {
    let words: Vec<String> =
        all.iter().map(|d| format!("{:.1}", d.as_secs_f64() * 1000.0)).collect();
    format!("{} ms", words.join(", "))
}
