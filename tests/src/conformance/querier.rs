//! Querier rows about what is sent: S1 to S3 and Q2 to Q7, Q13, Q17. Spec: RFC 6762 §5, §7, §10.3, §15.

use std::time::Duration;

use super::lab::{Lab, list_ms};
use super::scripted::{Script, finds, service};
use super::{Outcome, declare, found, require};
use crate::Error;
use crate::netns::Host;
use crate::wire_peer::message::{TC, rtype};
use crate::wire_peer::{
    Data, Door, Heard, MDNS_PORT, Mark, Message, Name, Question, Record, Route, Socket, Stamp,
};

declare! { Querier:
    "S1", "5.2", Must, "a browser asks from port 5353", from_5353;
    "S2", "5.1", Must, "one-shot questions never come from port 5353", one_shot_port;
    "S3", "15.1", Should, "beside another program on port 5353 it asks no QU questions", second_binder;
    "Q2", "5.2", Must, "questions a second apart at first, then at least twice as long (16 s)", backoff;
    "Q3", "7.1", Must, "known answers are sent, without cache-flush", known_answers;
    "Q4", "7.2", Must, "known answers that do not fit follow in further packets (150 instances)", many_known_answers;
    "Q5", "7.3", Should, "a question that another host has just asked is not asked", asked_by_other;
    "Q6", "5.4", Should, "only the first question is QU", first_is_qu;
    "Q7", "5.2", Should, "a record is asked for again at 80 % of its TTL (TTL 10 s)", refresh;
    "Q13", "10.3", May, "the link going down and up makes it ask again within 3 s", link_cycle;
    "Q17", "5.1", May, "a one-shot query ends after 2 to 4 s of silence, exit code 3", gives_up;
}

/// The subject's questions for the service, among `heard`: when, and the message.
fn browse_queries(lab: &Lab<'_>, heard: &[Heard]) -> Vec<(Stamp, Message)> {
    let ours = heard.iter().filter(|h| lab.is_mine(h) && h.envelope.remote.port() == MDNS_PORT);
    let queries = ours.filter_map(|h| Some((h.envelope.at, h.query()?.clone())));
    queries.filter(|(_, m)| m.questions.iter().any(|q| is_browse(lab, q))).collect()
}

fn is_browse(lab: &Lab<'_>, question: &Question) -> bool {
    (question.name == lab.service() || question.name == lab.subtype())
        && question.qtype == rtype::PTR
}

/// When the subject asked, packets closer than half a second counted as one.
fn moments(queries: &[(Stamp, Message)]) -> Vec<Stamp> {
    let mut moments: Vec<Stamp> = Vec::new();
    for (at, _) in queries {
        if moments.last().is_none_or(|last| at.since(*last) > Duration::from_millis(500)) {
            moments.push(*at);
        }
    }
    moments
}

fn from_5353(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let mark = lab.peer.mark();
    let _browser = lab.subject.browse(lab.subject_host())?;
    let heard = lab.listen(mark, Duration::from_secs(4));
    require!(!browse_queries(lab, &heard).is_empty(), "no question from port 5353 in 4 s");
    Ok(Outcome::Pass)
}

fn one_shot_port(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let mark = lab.peer.mark();
    let Some(process) = lab.subject.query_once(lab.subject_host()) else {
        return Ok(Outcome::NotApplicable("it has no one-shot queries".into()));
    };
    let _process = process?;
    let heard = lab.listen(mark, Duration::from_millis(900));
    let asked =
        heard.iter().filter(|h| h.query().is_some() && h.envelope.remote.port() != MDNS_PORT);
    require!(asked.clone().count() > 0, "no question from an ephemeral port");
    let mixed = asked.clone().filter_map(Heard::query).find(|m| !m.answers.is_empty());
    require!(mixed.is_none(), "a one-shot question with known answers");
    Ok(Outcome::Pass)
}

fn second_binder(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let host = lab.subject_host();
    let (ipv4, index) = (host.ipv4, host.index);
    let open = || Ok([Socket::v4(Door::Mdns, ipv4, index)?, Socket::v6(Door::Mdns, index)?]);
    let _first = host.namespace.inside(open)?;
    let mark = lab.peer.mark();
    let _browser = lab.subject.browse(lab.subject_host())?;
    let heard = lab.listen(mark, Duration::from_secs(4));
    let queries = browse_queries(lab, &heard);
    require!(!queries.is_empty(), "no question in 4 s");
    let qu = queries.iter().flat_map(|(_, m)| &m.questions).filter(|q| q.unicast).count();
    require!(qu == 0, "{qu} QU questions although their answers may go to the other program");
    Ok(Outcome::Pass)
}

fn backoff(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let mark = lab.peer.mark();
    let _browser = lab.subject.browse(lab.subject_host())?;
    let heard = lab.listen(mark, Duration::from_secs(16));
    let times = moments(&browse_queries(lab, &heard));
    let gaps: Vec<_> = times.windows(2).map(|w| w[1].since(w[0])).collect();
    require!(gaps.len() >= 3, "{} questions in 16 s, gaps {}", times.len(), list_ms(&gaps));
    require!(gaps[0] >= Duration::from_millis(900), "gaps {}", list_ms(&gaps));
    let doubles = gaps.windows(2).all(|w| w[1] >= w[0].mul_f64(1.8));
    require!(doubles, "gaps {}", list_ms(&gaps));
    Ok(Outcome::Pass)
}

/// Lets the subject find `records` and returns the queries it sends afterwards until one satisfies `wanted`.
fn later_queries(
    lab: &Lab<'_>,
    records: Vec<Record>,
    label: &str,
    wanted: impl Fn(&Message) -> bool,
) -> Result<Option<Vec<Message>>, Error> {
    let script = Script::of(records);
    let (_browser, found) = finds(lab, &script, label)?;
    if !found {
        return Ok(None);
    }
    let mark = lab.peer.mark();
    script.serve(lab, Duration::from_secs(16), || {
        let heard = lab.listen(mark, Duration::ZERO);
        browse_queries(lab, &heard).iter().any(|(_, m)| wanted(m))
    })?;
    // Packets that continue the query follow at once.
    let heard = lab.listen(mark, Duration::from_millis(300));
    let ours = heard.iter().filter(|h| h.envelope.remote.port() == MDNS_PORT);
    Ok(Some(ours.filter_map(|h| h.query().cloned()).collect()))
}

fn known_answers(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let records = service(lab, "alpha");
    let queries = later_queries(lab, records, "alpha", |m| !m.answers.is_empty())?;
    let queries = found!(queries, "it does not find the service");
    let known: Vec<_> = queries.iter().flat_map(|m| &m.answers).collect();
    require!(!known.is_empty(), "no known answers in {} later queries", queries.len());
    let flushing = known.iter().find(|r| r.flush);
    require!(flushing.is_none(), "cache-flush in a known answer: {flushing:?}");
    let stale = known.iter().find(|r| r.rtype == rtype::PTR && r.ttl < 2250);
    require!(stale.is_none(), "a known answer with less than half its TTL: {stale:?}");
    Ok(Outcome::Pass)
}

fn many_known_answers(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    const INSTANCES: usize = 150;
    let browser = lab.subject.browse(lab.subject_host())?;
    let mut all = service(lab, "alpha");
    for n in 0..INSTANCES {
        let instance = lab.service().child(&format!("instance with a rather long name {n:03}"));
        all.push(Record::new(&lab.service(), 4500, Data::Ptr(instance.clone())));
        all.push(Record::new(&lab.subtype(), 4500, Data::Ptr(instance)));
    }
    let mark = lab.peer.mark();
    for chunk in all.chunks(12) {
        lab.peer.send(Route::GROUP, &Message::response(chunk))?;
        lab.pass(Duration::from_millis(5));
    }
    let truncated = |m: &Message| m.flags & TC != 0;
    // Its next questions come 1, 2, 4 and 8 s after each other.
    let seen = lab.peer.wait(mark, Duration::from_secs(16), |h| {
        h.query().filter(|m| lab.is_mine(h) && truncated(m)).map(|_| h.envelope.at)
    });
    drop(browser);
    if seen.is_none() {
        return Ok(without_truncation(lab, mark, INSTANCES));
    }
    let heard = lab.listen(mark, Duration::from_millis(600));
    let more = heard.iter().filter_map(Heard::query).filter(|m| m.questions.is_empty());
    require!(more.count() > 0, "TC, but no packet with further known answers follows");
    let longest = heard.iter().map(|h| h.envelope.octets.len()).max().unwrap_or_default();
    require!(longest <= 1472, "a query of {longest} octets");
    Ok(Outcome::Pass)
}

/// A querier that keeps few services needs no second packet for them.
fn without_truncation(lab: &Lab<'_>, mark: Mark, announced: usize) -> Outcome {
    const ROOM_FOR_ONE_MORE: usize = 1472 - 100;
    let heard = lab.listen(mark, Duration::ZERO);
    let lists =
        heard.iter().filter_map(|h| Some((h.query()?.answers.len(), h.envelope.octets.len())));
    let (count, len) = lists.max().unwrap_or_default();
    if count > 0 && len < ROOM_FOR_ONE_MORE {
        return Outcome::NotApplicable(format!(
            "it keeps {count} services at most; they fit one packet"
        ));
    }
    Outcome::Fail(format!(
        "{count} known answers without TC after {announced} instances were announced"
    ))
}

fn asked_by_other(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let mark = lab.peer.mark();
    let _browser = lab.subject.browse(lab.subject_host())?;
    let (first, second) = found!(first_two(lab, mark), "no two questions within 10 s");
    let gap = second.since(first);
    let (names, before) = ([lab.service(), lab.subtype()], Duration::from_millis(150));
    // The third comes twice the gap after the second.
    lab.pass((gap * 2).saturating_sub(Stamp::read().since(second)).saturating_sub(before));
    let mark = lab.peer.mark();
    for name in &names {
        lab.peer.send(Route::GROUP, &Message::ask(&Question::new(name, rtype::PTR)))?;
    }
    let heard = lab.listen(mark, Duration::from_millis(700));
    let asked = browse_queries(lab, &heard).len();
    require!(asked == 0, "asked {} later", list_ms(&[heard[0].envelope.at.since(second)]));
    Ok(Outcome::Pass)
}

/// When the subject's first two questions came.
fn first_two(lab: &Lab<'_>, mark: Mark) -> Option<(Stamp, Stamp)> {
    let deadline = crate::deadline::Deadline::after(Duration::from_secs(10));
    while !deadline.has_passed() {
        let heard = lab.listen(mark, Duration::from_millis(20));
        if let [first, second, ..] = moments(&browse_queries(lab, &heard)).as_slice() {
            return Some((*first, *second));
        }
    }
    None
}

fn first_is_qu(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let mark = lab.peer.mark();
    let _browser = lab.subject.browse(lab.subject_host())?;
    let heard = lab.listen(mark, Duration::from_secs(8));
    let queries = browse_queries(lab, &heard);
    let start = found!(queries.first(), "no question in 8 s").0;
    let is_qu = |m: &Message| m.questions.iter().any(|q| q.unicast);
    let late =
        queries.iter().filter(|(at, m)| is_qu(m) && at.since(start) > Duration::from_millis(500));
    require!(late.count() == 0, "a repeated question is QU");
    require!(queries.iter().any(|(_, m)| is_qu(m)), "its first question is not QU");
    Ok(Outcome::Pass)
}

fn refresh(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let records: Vec<_> = service(lab, "alpha").into_iter().map(|r| r.with_ttl(10)).collect();
    let browser = lab.subject.browse(lab.subject_host())?;
    // Once, unasked: no later answer must start the lifetime again.
    lab.pass(Duration::from_millis(1500));
    let (mark, sent) =
        (lab.peer.mark(), lab.peer.send(Route::GROUP, &Message::response(&records))?);
    let names: Vec<Name> = records.iter().map(|r| r.name.clone()).collect();
    let heard = lab.listen(mark, Duration::from_millis(9700));
    require!(browser.has_found("alpha"), "it does not find the service");
    let asked: Vec<_> = heard
        .iter()
        .filter(|h| h.query().is_some_and(|m| m.questions.iter().any(|q| names.contains(&q.name))))
        .map(|h| h.envelope.at.since(sent))
        .filter(|after| *after > Duration::from_millis(7500))
        .collect();
    let good = Duration::from_millis(7950)..Duration::from_millis(8350);
    require!(asked.iter().any(|a| good.contains(a)), "asked {} after receipt", list_ms(&asked));
    Ok(Outcome::Pass)
}

fn link_cycle(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let _browser = lab.subject.browse(lab.subject_host())?;
    lab.pass(Duration::from_secs(4));
    lab.subject_host().namespace.set_down(Host::INTERFACE)?;
    lab.pass(Duration::from_millis(1500));
    let mark = lab.peer.mark();
    lab.subject_host().namespace.set_up(Host::INTERFACE)?;
    let asked = lab.peer.wait(mark, Duration::from_secs(3), |h| {
        let browse = h.query().is_some_and(|m| m.questions.iter().any(|q| is_browse(lab, q)));
        (lab.is_mine(h) && browse).then_some(())
    });
    found!(asked, "no question within 3 s of link up");
    Ok(Outcome::Pass)
}

fn gives_up(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let Some(process) = lab.subject.query_once(lab.subject_host()) else {
        return Ok(Outcome::NotApplicable("it has no one-shot queries".into()));
    };
    let (started, process) = (Stamp::read(), process?);
    let done = process.wait(Duration::from_secs(10))?;
    let took = Stamp::read().since(started);
    require!(done.code() == 3, "exit code {}: {}", done.code(), done.stderr);
    let good = Duration::from_secs(2)..Duration::from_secs(4);
    require!(good.contains(&took), "ended after {}", list_ms(&[took]));
    Ok(Outcome::Pass)
}
