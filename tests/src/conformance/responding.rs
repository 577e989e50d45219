//! Rows R1 to R15 and R25 to R28: answering. Spec: RFC 6762 §5.4, §6; RFC 6763 §7.1, §9, §12.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::lab::{Facts, Lab, REPLY, SECOND_PASSED, answers, list_ms, rival_srv};
use super::{Outcome, declare, found, require};
use crate::Error;
use crate::wire_peer::message::{bitmap_types, rtype};
use crate::wire_peer::{Data, Heard, Message, Name, Question, Record, Route};

declare! { Responder:
    "R1", "6", Must, "silence about names that are not its own", unknown_names;
    "R2", "6", Must, "records of others are never answered from the cache", not_from_cache;
    "R3", "6", Should, "one question about a unique record is answered within 10 ms", unique_at_once;
    "R4", "6", Should, "shared answers wait 20 to 120 ms (14 questions)", shared_delay;
    "R6", "6.3", Must, "two questions: both are answered, after 20 to 120 ms", two_questions;
    "R7", "6.4", Should, "answers to two questions 10 ms apart come in one packet", aggregation;
    "R8", "6.5", Must, "type ANY and class ANY return all", any;
    "R9", "6", Must, "a record is multicast once a second, the second answer late rather than never", once_a_second;
    "R10", "6.1", Must, "NSEC for the types that a name of its own does not have", negative;
    "R11", "6.2", Should, "an A answer brings AAAA and the other way round", both_families;
    "R12", "6.2", Must, "no NSEC denies an address that the host has", no_false_denial;
    "R13", "5.4", Should, "QU is answered by unicast shortly after the record was multicast", unicast_when_fresh;
    "R14", "5.4", May, "a QU probe is always answered by unicast", unicast_to_probe;
    "R15", "5.4", May, "a unicast answer to QU keeps cache-flush bits and the delay of shared records", unicast_is_the_same;
    "R25", "SD 12.1", Should, "PTR brings SRV, TXT and addresses", ptr_additionals;
    "R26", "SD 12.2", Should, "SRV brings addresses", srv_additionals;
    "R27", "SD 9", Should, "_services._dns-sd._udp lists the type, without subtypes", enumeration;
    "R28", "SD 7.1", May, "the subtype points to the same instance", subtype;
}

fn unknown_names(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    lab.establish()?;
    let names = [
        Name::new("nobody.local"),
        lab.service().child("nobody"),
        Name::new("_nothing._tcp.local"),
        Name::new("_none._sub._phase-image._tcp.local"),
    ];
    let mark = lab.peer.mark();
    for name in &names {
        for route in [Route::GROUP, Route::ONE_SHOT] {
            lab.peer.send(route, &Message::query(&[Question::new(name, rtype::ANY)]))?;
        }
    }
    let heard = lab.listen(mark, REPLY);
    let reply = heard.iter().find_map(Heard::response);
    let shown = reply.map(|m| format!("{} answers, flags {:#06x}", m.answers.len(), m.flags));
    require!(
        reply.is_none(),
        "a question about an unknown name is answered: {}",
        shown.unwrap_or_default()
    );
    Ok(Outcome::Pass)
}

fn not_from_cache(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let (other, host) = (lab.service().child("other"), Name::new("rival.local"));
    let address = Record::new(&host, 120, Data::A(Ipv4Addr::new(10, 77, 0, 2))).flushing();
    let ptr = Record::new(&lab.service(), 4500, Data::Ptr(other.clone()));
    lab.peer.send(Route::GROUP, &Message::response(&[ptr, rival_srv(&other), address]))?;
    lab.pass(Duration::from_millis(300));
    let mark = lab.peer.mark();
    let questions = [
        Question::new(&other, rtype::SRV),
        Question::new(&host, rtype::A),
        Question::new(&lab.service(), rtype::PTR),
    ];
    for question in &questions {
        lab.peer.send(Route::GROUP, &Message::query(std::slice::from_ref(question)))?;
    }
    let heard = lab.listen(mark, REPLY);
    for r in heard.iter().filter_map(Heard::response).flat_map(Message::records) {
        let foreign =
            r.name == other || r.name == host || matches!(&r.data, Data::Ptr(n) if *n == other);
        require!(!foreign, "answered for another host: {r}");
    }
    let own = heard
        .iter()
        .any(|h| h.response().is_some_and(|m| m.find(&facts.instance, rtype::SRV).is_some()));
    require!(own || !heard.is_empty(), "its own PTR record is not answered either");
    Ok(Outcome::Pass)
}

fn unique_at_once(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    for (name, qtype) in
        [(&facts.instance, rtype::SRV), (&facts.instance, rtype::TXT), (&facts.host, rtype::A)]
    {
        let mut delays = Vec::new();
        for _ in 0..3 {
            lab.pass(SECOND_PASSED);
            let reply = lab.ask_group(name, qtype)?;
            delays.push(found!(reply, "type {qtype} of {name} is not answered").after);
        }
        delays.sort();
        require!(delays[0] <= Duration::from_millis(10), "type {qtype} after {}", list_ms(&delays));
    }
    Ok(Outcome::Pass)
}

fn shared_delay(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    const QUESTIONS: usize = 14;
    lab.establish()?;
    let mut delays = Vec::new();
    for _ in 0..QUESTIONS {
        lab.pass(SECOND_PASSED);
        delays.push(found!(lab.ask_group(&lab.service(), rtype::PTR)?, "no reply").after);
    }
    delays.sort();
    let (low, high) = (delays[0], delays[QUESTIONS - 1]);
    require!(low >= Duration::from_millis(19), "{}", list_ms(&delays));
    // One late wake-up on a busy machine is not the responder's choice.
    require!(delays[QUESTIONS - 2] <= Duration::from_millis(125), "{}", list_ms(&delays));
    require!(high - low >= Duration::from_millis(40), "not random: {}", list_ms(&delays));
    Ok(Outcome::Pass)
}

fn two_questions(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let questions =
        [Question::new(&facts.instance, rtype::SRV), Question::new(&facts.host, rtype::A)];
    let mut delays = Vec::new();
    for _ in 0..3 {
        lab.pass(SECOND_PASSED);
        let (query, mark) = (Message::query(&questions), lab.peer.mark());
        let reply =
            found!(lab.ask(Route::GROUP, &query, &questions[0], REPLY)?, "SRV is not answered");
        delays.push(reply.after);
        let second = lab.peer.wait(mark, REPLY, |h| {
            h.response().filter(|m| lab.is_mine(h) && answers(m, &questions[1])).map(drop)
        });
        found!(second, "the second question is not answered");
    }
    let good = Duration::from_millis(19)..Duration::from_millis(130);
    require!(delays.iter().all(|d| good.contains(d)), "answered after {}", list_ms(&delays));
    Ok(Outcome::Pass)
}

fn aggregation(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    lab.establish()?;
    let meta = Name::new("_services._dns-sd._udp.local");
    let questions = [Question::new(&lab.service(), rtype::PTR), Question::new(&meta, rtype::PTR)];
    let mark = lab.peer.mark();
    lab.peer.send(Route::GROUP, &Message::query(&questions[..1]))?;
    lab.pass(Duration::from_millis(10));
    lab.peer.send(Route::GROUP, &Message::query(&questions[1..]))?;
    let heard = lab.listen(mark, REPLY);
    let counts: Vec<_> = heard
        .iter()
        .filter_map(Heard::response)
        .map(|m| questions.iter().filter(|q| answers(m, q)).count())
        .filter(|count| *count > 0)
        .collect();
    require!(!counts.is_empty(), "no reply");
    require!(counts == [2], "{} packets with {counts:?} of two answers", counts.len());
    Ok(Outcome::Pass)
}

fn any(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    for qclass in [1, 255] {
        lab.pass(SECOND_PASSED);
        let question = Question { qclass, ..Question::new(&facts.instance, rtype::ANY) };
        let reply = lab.ask(Route::GROUP, &Message::ask(&question), &question, REPLY)?;
        let reply = found!(reply, "type ANY class {qclass} is not answered");
        for rtype in [rtype::SRV, rtype::TXT] {
            let there = reply.message.answer(&facts.instance, rtype).is_some();
            require!(there, "type ANY class {qclass}: no answer of type {rtype}");
        }
    }
    Ok(Outcome::Pass)
}

fn once_a_second(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let question = Question::new(&facts.instance, rtype::SRV);
    let query = Message::ask(&question);
    let first = found!(lab.ask(Route::GROUP, &query, &question, REPLY)?, "no reply");
    lab.pass(Duration::from_millis(250));
    let second = lab.ask(Route::GROUP, &query, &question, Duration::from_millis(1500))?;
    let second = found!(second, "the second answer was dropped");
    let gap = second.heard.envelope.at.since(first.heard.envelope.at);
    require!(gap >= Duration::from_millis(970), "two answers {} apart", list_ms(&[gap]));
    Ok(Outcome::Pass)
}

/// The NSEC record of `name` in the reply to a question for `qtype`.
fn nsec_for(lab: &Lab<'_>, name: &Name, qtype: u16) -> Result<Option<Record>, Error> {
    let mark = lab.peer.mark();
    lab.peer.send(Route::GROUP, &Message::query(&[Question::new(name, qtype)]))?;
    Ok(lab.peer.wait(mark, REPLY, |h| {
        let m = h.response().filter(|_| lab.is_mine(h))?;
        m.records().find(|r| r.rtype == rtype::NSEC && r.name == *name).cloned()
    }))
}

fn negative(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let host_types = [rtype::A, rtype::AAAA];
    let cases = [
        (&facts.host, rtype::TXT, host_types.as_slice()),
        (&facts.instance, rtype::A, &[rtype::TXT, rtype::SRV]),
    ];
    for (name, missing, owned) in cases {
        lab.pass(SECOND_PASSED);
        let nsec = found!(nsec_for(lab, name, missing)?, "no NSEC for type {missing} of {name}");
        let Data::Nsec(next, bits) = &nsec.data else {
            return Ok(Outcome::Fail("NSEC unread".into()));
        };
        require!(next == name, "NSEC of {name} points to {next}");
        let length = bits.get(1).copied().unwrap_or(0);
        let restricted = bits.first() == Some(&0) && usize::from(length) + 2 == bits.len();
        require!(restricted && (1..=32).contains(&length), "NSEC bitmap {bits:?}");
        let types = bitmap_types(bits);
        require!(owned.iter().all(|t| types.contains(t)), "NSEC of {name} lists {types:?}");
        let denied = !types.contains(&missing) && !types.contains(&rtype::NSEC);
        require!(denied, "NSEC of {name} lists {types:?}");
        require!(nsec.ttl == 120 || nsec.ttl == 4500, "NSEC of {name} with TTL {}", nsec.ttl);
    }
    Ok(Outcome::Pass)
}

fn both_families(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    for (asked, other) in [(rtype::A, rtype::AAAA), (rtype::AAAA, rtype::A)] {
        lab.pass(SECOND_PASSED);
        let reply = found!(
            lab.ask_group(&facts.host, asked)?,
            "type {asked} of {} is not answered",
            facts.host
        );
        let brought = reply.message.find(&facts.host, other).is_some();
        require!(brought, "an answer of type {asked} without type {other}");
    }
    Ok(Outcome::Pass)
}

fn no_false_denial(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    lab.ask_group(&facts.host, rtype::A)?;
    lab.ask_one_shot(&facts.host, rtype::AAAA)?;
    for heard in lab.peer.heard_since(lab.peer.beginning()) {
        let Some(m) = heard.response() else { continue };
        for r in m.records().filter(|r| r.name == facts.host) {
            if let Data::Nsec(_, bits) = &r.data {
                let types = bitmap_types(bits);
                let denies = !types.contains(&rtype::A) || !types.contains(&rtype::AAAA);
                require!(!denies, "NSEC of the host lists only {types:?}");
            }
        }
    }
    Ok(Outcome::Pass)
}

fn unicast_when_fresh(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let reply = found!(lab.ask_qu(&facts.instance, rtype::SRV)?, "a QU question is not answered");
    require!(!reply.heard.is_multicast(), "answered by multicast {:.1} ms later", reply.ms());
    Ok(Outcome::Pass)
}

fn unicast_to_probe(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let question = Question::qu(&facts.instance, rtype::ANY);
    let mine = Record { flush: false, ..rival_srv(&facts.instance) };
    let probe = Message { authorities: vec![mine], ..Message::ask(&question) };
    let reply =
        found!(lab.ask(Route::GROUP, &probe, &question, REPLY)?, "a QU probe is not answered");
    require!(!reply.heard.is_multicast(), "a QU probe is answered by multicast");
    Ok(Outcome::Pass)
}

fn unicast_is_the_same(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let reply = found!(lab.ask_qu(&lab.service(), rtype::PTR)?, "a QU question is not answered");
    if reply.heard.is_multicast() {
        return Ok(Outcome::NotApplicable("it answers QU by multicast".into()));
    }
    let good = Duration::from_millis(19)..Duration::from_millis(130);
    require!(good.contains(&reply.after), "answered after {:.1} ms", reply.ms());
    if let Some(srv) = reply.message.find(&facts.instance, rtype::SRV) {
        require!(srv.flush, "SRV without cache-flush in a unicast answer to QU");
    }
    Ok(Outcome::Pass)
}

/// Requires records of `rtypes` beside the answer to one question.
fn brings(
    lab: &Lab<'_>,
    facts: &Facts,
    (name, qtype): (&Name, u16),
    rtypes: &[u16],
) -> Result<Outcome, Error> {
    let reply = found!(lab.ask_group(name, qtype)?, "no reply");
    for rtype in rtypes {
        let owner =
            if matches!(*rtype, rtype::A | rtype::AAAA) { &facts.host } else { &facts.instance };
        let there = reply.message.find(owner, *rtype).is_some();
        require!(there, "the answer of type {qtype} comes without type {rtype}");
    }
    Ok(Outcome::Pass)
}

fn ptr_additionals(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let rtypes = [rtype::SRV, rtype::TXT, rtype::A, rtype::AAAA];
    brings(lab, &facts, (&lab.service(), rtype::PTR), &rtypes)
}

fn srv_additionals(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    brings(lab, &facts, (&facts.instance, rtype::SRV), &[rtype::A, rtype::AAAA])
}

fn enumeration(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    lab.establish()?;
    let meta = Name::new("_services._dns-sd._udp.local");
    let reply = found!(lab.ask_group(&meta, rtype::PTR)?, "not answered");
    for r in reply.message.answers.iter().filter(|r| r.name == meta) {
        let right = matches!(&r.data, Data::Ptr(n) if *n == lab.service());
        require!(right, "lists {:?}", r.data);
    }
    Ok(Outcome::Pass)
}

fn subtype(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let reply =
        found!(lab.ask_group(&lab.subtype(), rtype::PTR)?, "{} is not answered", lab.subtype());
    for r in reply.message.answers.iter().filter(|r| r.rtype == rtype::PTR) {
        let right = matches!(&r.data, Data::Ptr(n) if *n == facts.instance);
        require!(right, "the subtype points to {:?}", r.data);
    }
    Ok(Outcome::Pass)
}
