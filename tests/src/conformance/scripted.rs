//! A scripted responder for querier rows: answers the subject's questions exactly as a row wants.

use std::time::Duration;

use super::lab::Lab;
use crate::Error;
use crate::subject::Browsing;
use crate::wire_peer::message::{rtype, txt};
use crate::wire_peer::{Data, Door, Heard, MDNS_PORT, Message, Name, Question, Record, Route};

/// How long the responder answers before it looks at the browser again.
const TURN: Duration = Duration::from_millis(50);

/// A service that the peer publishes; its label is part of its version, which every browser prints.
pub(super) fn service(lab: &Lab<'_>, label: &str) -> Vec<Record> {
    let (instance, host) = (lab.service().child(label), Name::new("rival.local"));
    let text = txt(&[
        "txtvers=1",
        "arch=arm64",
        "channel=stable",
        "manifest=http://10.77.0.2:8080/stable/arm64/manifest.json",
        &format!("version=1.{label}"),
    ]);
    vec![
        Record::new(&lab.service(), 4500, Data::Ptr(instance.clone())),
        Record::new(&lab.subtype(), 4500, Data::Ptr(instance.clone())),
        Record::new(&instance, 120, Data::Srv(0, 0, 8080, host.clone())).flushing(),
        Record::new(&instance, 4500, Data::Txt(text)).flushing(),
        Record::new(&host, 120, Data::A(lab.lan.host(1).ipv4)).flushing(),
    ]
}

/// How the responder answers.
pub(super) struct Script<'a> {
    /// What it has.
    pub(super) records: Vec<Record>,
    /// Whether it adds what was not asked for.
    pub(super) additionals: bool,
    /// Whether it answers one-shot queries too.
    pub(super) one_shot: bool,
    /// Makes the octets of a response.
    pub(super) encode: &'a dyn Fn(Message) -> Vec<u8>,
    /// From where multicast responses go.
    pub(super) route: Route,
}

impl Script<'_> {
    /// Answers everything as a careful responder does.
    pub(super) fn of(records: Vec<Record>) -> Self {
        let encode = &|m: Message| m.encode();
        Self { records, additionals: true, one_shot: true, encode, route: Route::GROUP }
    }

    /// The response to one query; `None` when there is nothing to say.
    fn response(&self, query: &Message) -> Option<Message> {
        let asked = |q: &Question, r: &Record| {
            q.name == r.name && (q.qtype == r.rtype || q.qtype == rtype::ANY)
        };
        let (mut answers, mut rest) = (Vec::new(), Vec::new());
        for record in &self.records {
            let known = query.answers.iter().any(|k| k.is_same(record) && k.ttl >= record.ttl / 2);
            if query.questions.iter().any(|q| asked(q, record)) {
                if !known {
                    answers.push(record.clone());
                }
            } else if self.additionals {
                rest.push(record.clone());
            }
        }
        (!answers.is_empty()).then(|| Message { additionals: rest, ..Message::response(&answers) })
    }

    fn answer(&self, lab: &Lab<'_>, heard: &Heard) -> Result<(), Error> {
        let Some(query) = heard.query().filter(|_| lab.is_mine(heard)) else { return Ok(()) };
        let Some(response) = self.response(query) else { return Ok(()) };
        if heard.envelope.remote.port() == MDNS_PORT {
            return lab.peer.send_octets(self.route, &(self.encode)(response)).map(drop);
        }
        if !self.one_shot {
            return Ok(());
        }
        let route = Route {
            door: Door::Mdns,
            source: self.route.source,
            destination: heard.envelope.remote,
        };
        let legacy = Message { id: query.id, questions: query.questions.clone(), ..response };
        let plain = |r: Record| Record { flush: false, ttl: r.ttl.min(10), ..r };
        let legacy = Message {
            answers: legacy.answers.into_iter().map(plain).collect(),
            additionals: legacy.additionals.into_iter().map(plain).collect(),
            ..legacy
        };
        lab.peer.send_octets(route, &(self.encode)(legacy)).map(drop)
    }

    /// Answers the subject until `done`, at most for `within`; whether it was done.
    pub(super) fn serve(
        &self,
        lab: &Lab<'_>,
        within: Duration,
        done: impl Fn() -> bool,
    ) -> Result<bool, Error> {
        let deadline = crate::deadline::Deadline::after(within);
        let mut next = lab.peer.mark();
        while !done() {
            if deadline.has_passed() {
                return Ok(false);
            }
            let mark = next;
            let heard = lab.peer.wait(mark, TURN, |h| Some(h.clone()));
            if let Some(heard) = heard {
                next = mark.after_one();
                self.answer(lab, &heard)?;
            }
        }
        Ok(true)
    }
}

/// Starts the subject's browser and serves `script` until it has found `label`; whether it did.
pub(super) fn finds(
    lab: &Lab<'_>,
    script: &Script<'_>,
    label: &str,
) -> Result<(Box<dyn Browsing>, bool), Error> {
    const WITHIN: Duration = Duration::from_secs(12);
    let browser = lab.subject.browse(lab.subject_host())?;
    let found = script.serve(lab, WITHIN, || browser.has_found(label))?;
    Ok((browser, found))
}
