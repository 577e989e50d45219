//! Rows R16 to R19: replies to one-shot queriers. Spec: RFC 6762 §6.7, §10.2, §18.5.

use super::lab::{Lab, REPLY};
use super::{Outcome, declare, found, require};
use crate::Error;
use crate::subject::Wanted;
use crate::wire_peer::message::{TC, rtype};
use crate::wire_peer::{Data, Door, Message, Question, Route};

declare! { Responder:
    "R16", "6.7", Must, "a query from another port is answered by unicast, id and question repeated", unicast;
    "R17", "6.7", Must, "no cache-flush bits in legacy replies", no_flush;
    "R18", "6.7", Should, "TTL of at most 10 s in legacy replies", short_ttl;
    "R19", "6.7, 18.5", May, "legacy replies have at most 512 octets; TC only when answers do not fit", small;
}

fn unicast(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    for (name, qtype) in [(lab.service(), rtype::PTR), (facts.instance, rtype::SRV)] {
        let reply = found!(lab.ask_one_shot(&name, qtype)?, "type {qtype}: no unicast reply");
        let to_us = reply.heard.envelope.door == Door::OneShot;
        require!(to_us, "type {qtype}: the reply went to another port");
        let id = reply.message.id;
        require!(id == 0x4d44, "type {qtype}: id {id:#06x} for 0x4d44");
        let questions = &reply.message.questions;
        let repeated =
            questions.len() == 1 && questions[0].name == name && questions[0].qtype == qtype;
        require!(repeated, "type {qtype}: question not repeated: {questions:?}");
    }
    Ok(Outcome::Pass)
}

fn no_flush(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let reply = found!(lab.ask_one_shot(&facts.instance, rtype::ANY)?, "no unicast reply");
    let flushing = reply.message.records().find(|r| r.flush && r.rtype != rtype::OPT);
    require!(
        flushing.is_none(),
        "cache-flush in {}",
        flushing.map_or_else(String::new, ToString::to_string)
    );
    Ok(Outcome::Pass)
}

fn short_ttl(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let reply = found!(lab.ask_one_shot(&facts.instance, rtype::ANY)?, "no unicast reply");
    let ttl = reply.message.records().filter(|r| r.rtype != rtype::OPT).map(|r| r.ttl).max();
    require!(ttl.is_some_and(|t| t <= 10), "TTL {}", ttl.unwrap_or_default());
    Ok(Outcome::Pass)
}

fn small(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    const LIMIT: usize = 512;
    let channels = ["stable", "testing", "nightly", "long-name-of-a-channel"];
    let pairs: Vec<_> = channels.iter().flat_map(|c| [(*c, "arm64"), (*c, "x86_64")]).collect();
    lab.establish_as(&Wanted::new("Lab", &pairs))?;
    let question = Question::new(&lab.service(), rtype::PTR);
    let query = Message { id: 9, ..Message::ask(&question) };
    let reply = found!(lab.ask(Route::ONE_SHOT, &query, &question, REPLY)?, "no reply");
    require!(!reply.heard.is_multicast(), "answered by multicast");
    let len = reply.heard.envelope.octets.len();
    require!(len <= LIMIT, "{len} octets");
    let pointers = reply.message.answers.iter().filter(|r| matches!(r.data, Data::Ptr(_))).count();
    let truncated = reply.message.flags & TC != 0;
    require!(
        truncated || pointers == pairs.len(),
        "{pointers} of {} answers without TC",
        pairs.len()
    );
    let all_fit = pointers == pairs.len();
    require!(!(truncated && all_fit), "TC although all answers are there");
    Ok(Outcome::Pass)
}
