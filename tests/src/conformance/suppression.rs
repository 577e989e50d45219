//! Rows R5 and R20 to R24: known answers and other responders' answers. Spec: RFC 6762 §6.6, §7.

use std::time::Duration;

use super::lab::{Facts, Lab, REPLY, SECOND, SECOND_PASSED, list_ms};
use super::{Outcome, declare, found, require};
use crate::Error;
use crate::wire_peer::message::{TC, rtype};
use crate::wire_peer::{Data, Heard, Message, Question, Record, Route};

declare! { Responder:
    "R5", "6, 7.2", Should, "a query with TC is answered 400 to 500 ms after its last packet", truncated_query;
    "R20", "7.1", Must, "a known answer with half the TTL or more is not repeated", known;
    "R21", "7.1", Must, "a known answer with less than half the TTL is repeated", nearly_unknown;
    "R22", "7.2", Must, "known answers in a following packet suppress too", known_later;
    "R23", "7.4", Should, "an answer that another host has just given is not repeated", given_by_other;
    "R24", "6.6", Must, "its own record with less than half the TTL from another host is announced again", rescued;
}

/// The PTR record of the default instance as a known answer.
fn pointer(lab: &Lab<'_>, facts: &Facts, ttl: u32) -> Record {
    Record::new(&lab.service(), ttl, Data::Ptr(facts.instance.clone()))
}

/// The PTR question with known answers.
fn query_with(lab: &Lab<'_>, known: Vec<Record>) -> (Message, Question) {
    let question = Question::new(&lab.service(), rtype::PTR);
    (Message { answers: known, ..Message::ask(&question) }, question)
}

fn truncated_query(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let other = lab.service().child("other");
    let known = Record::new(&lab.service(), 4500, Data::Ptr(other));
    let mut delays = Vec::new();
    for _ in 0..3 {
        lab.pass(SECOND_PASSED);
        let (mut query, question) = query_with(lab, vec![known.clone()]);
        query.flags |= TC;
        let reply = lab.ask(Route::GROUP, &query, &question, Duration::from_millis(1500))?;
        delays.push(found!(reply, "a query with TC is not answered").after);
    }
    let good = Duration::from_millis(395)..Duration::from_millis(515);
    require!(
        delays.iter().all(|d| good.contains(d)),
        "{} answered after {}",
        facts.instance,
        list_ms(&delays)
    );
    Ok(Outcome::Pass)
}

fn known(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    for ttl in [4500, 2250] {
        let (query, question) = query_with(lab, vec![pointer(lab, &facts, ttl)]);
        let reply = lab.ask(Route::GROUP, &query, &question, REPLY)?;
        require!(reply.is_none(), "answered although the known answer has TTL {ttl} of 4500");
    }
    found!(lab.ask_group(&lab.service(), rtype::PTR)?, "a plain question is not answered either");
    Ok(Outcome::Pass)
}

fn nearly_unknown(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let (query, question) = query_with(lab, vec![pointer(lab, &facts, 2248)]);
    let reply = lab.ask(Route::GROUP, &query, &question, REPLY)?;
    found!(reply, "not answered although the known answer has TTL 2248 of 4500");
    Ok(Outcome::Pass)
}

fn known_later(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let other = lab.service().child("other");
    let known = Record::new(&lab.service(), 4500, Data::Ptr(other));
    let (mut query, question) = query_with(lab, vec![known]);
    query.flags |= TC;
    let mark = lab.peer.mark();
    lab.peer.send(Route::GROUP, &query)?;
    lab.pass(Duration::from_millis(100));
    let rest = Message { answers: vec![pointer(lab, &facts, 4500)], ..Message::default() };
    lab.peer.send(Route::GROUP, &rest)?;
    let heard = lab.listen(mark, REPLY);
    let answered =
        heard.iter().any(|h| h.response().is_some_and(|m| super::lab::answers(m, &question)));
    require!(!answered, "answered although the known answer followed 100 ms later");
    found!(lab.ask_group(&lab.service(), rtype::PTR)?, "a plain question is not answered either");
    Ok(Outcome::Pass)
}

fn given_by_other(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    const TRIES: usize = 3;
    let facts = lab.establish()?;
    for _ in 0..TRIES {
        lab.pass(SECOND_PASSED);
        let (query, question) = query_with(lab, Vec::new());
        let mark = lab.peer.mark();
        lab.peer.send(Route::GROUP, &query)?;
        lab.pass(Duration::from_millis(5));
        let given = Message::response(&[pointer(lab, &facts, 4500)]);
        lab.peer.send(Route::GROUP.from(SECOND), &given)?;
        let heard = lab.listen(mark, REPLY);
        let answered =
            heard.iter().find(|h| h.response().is_some_and(|m| super::lab::answers(m, &question)));
        require!(
            answered.is_none(),
            "answered although another host gave the answer 5 ms after the question"
        );
    }
    Ok(Outcome::Pass)
}

fn rescued(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    for record in [facts.srv.with_ttl(10), facts.txt.with_ttl(10)] {
        lab.pass(SECOND_PASSED);
        let mark = lab.peer.mark();
        lab.peer
            .send(Route::GROUP.from(SECOND), &Message::response(std::slice::from_ref(&record)))?;
        let again = |h: &Heard| {
            let m = h.response().filter(|_| lab.is_mine(h) && h.is_multicast())?;
            m.answers.iter().find(|r| r.is_same(&record) && r.ttl >= record.ttl * 2).map(drop)
        };
        let announced = lab.peer.wait(mark, Duration::from_secs(2), again);
        found!(announced, "type {} seen with TTL 10 is not announced again", record.rtype);
    }
    Ok(Outcome::Pass)
}
