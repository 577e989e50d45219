//! Querier rows about what is received: W1 to W16, S5 to S8, Q8, Q11, Q12, Q16, Q18. Spec: RFC 6762 §6, §10, §11, §18.

use std::time::Duration;

use super::lab::{FAR, Lab};
use super::scripted::{Script, finds, service};
use super::{Outcome, declare, found, require};
use crate::Error;
use crate::wire_peer::message::{AA, QR, TC, rtype};
use crate::wire_peer::{Data, Message, Name, Question, Record, Route};

declare! { Querier:
    "W1", "18.1", Must, "the id of a multicast response is ignored", any_id;
    "W2", "18.4", Must, "AA is ignored in responses", no_authority;
    "W3", "18.3", Must, "a response with another opcode is ignored", opcode;
    "W4", "18.11", Must, "a response with a response code is ignored", response_code;
    "W5", "18.5", Must, "TC is ignored in multicast responses", truncated;
    "W6", "18.6-18.10", Must, "RD RA Z AD CD are ignored in responses", other_bits;
    "W7", "6", Must, "questions in a response are ignored", with_question;
    "W8", "18.14", Must, "compressed names are read, in SRV and NSEC data too", compressed;
    "W15", "6.1", Must, "a broken NSEC does not hide the rest of a response", broken_nsec;
    "W16", "-", May, "an unknown type or class does not hide the rest of a response", unknown_types;
    "S5", "6", Must, "a response from another source port is ignored", foreign_port;
    "S7", "6", Must, "an unsolicited unicast response is ignored", unsolicited;
    "S8", "11", Must, "multicast responses are taken from any source, unicast ones only from the link", other_subnet;
    "Q8", "10.1", Should, "a service that says goodbye is gone after a second", goodbye;
    "Q11", "7.1", Must, "known answers of others are not cached", not_from_known_answers;
    "Q12", "18.1", Should, "unasked announcements are used", announcement;
    "Q16", "6.1", Must, "an NSEC with an odd next name is harmless", odd_nsec;
    "Q18", "SD 12", Must, "it works with a responder that adds nothing", no_additionals;
}

/// How long something that must be ignored is sent.
const IGNORED_FOR: Duration = Duration::from_millis(3500);

/// The subject must find a service whose responses are changed by `change`.
fn finds_changed(lab: &Lab<'_>, change: &dyn Fn(Message) -> Vec<u8>) -> Result<Outcome, Error> {
    let records = service(lab, "alpha");
    // Only multicast: one-shot replies have rules of their own.
    let script = Script { encode: change, one_shot: false, ..Script::of(records) };
    let (_browser, found) = finds(lab, &script, "alpha")?;
    require!(found, "a service with such responses is not found");
    Ok(Outcome::Pass)
}

/// The subject must not find a service whose responses are changed by `change`, but find it without.
fn ignores_changed(
    lab: &Lab<'_>,
    route: Route,
    change: &dyn Fn(Message) -> Vec<u8>,
) -> Result<Outcome, Error> {
    let records = service(lab, "alpha");
    let browser = lab.subject.browse(lab.subject_host())?;
    let script = Script { encode: change, route, one_shot: false, ..Script::of(records.clone()) };
    let found = script.serve(lab, IGNORED_FOR, || browser.has_found("alpha"))?;
    require!(!found, "such a response is used");
    let right =
        Script::of(records).serve(lab, Duration::from_secs(12), || browser.has_found("alpha"))?;
    require!(right, "it does not find the service by proper responses either");
    Ok(Outcome::Pass)
}

fn any_id(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    finds_changed(lab, &|m| Message { id: 0x4d44, ..m }.encode())
}

fn no_authority(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    finds_changed(lab, &|m| Message { flags: m.flags & !AA, ..m }.encode())
}

fn opcode(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    ignores_changed(lab, Route::GROUP, &|m| Message { flags: m.flags | 1 << 11, ..m }.encode())
}

fn response_code(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    ignores_changed(lab, Route::GROUP, &|m| Message { flags: m.flags | 3, ..m }.encode())
}

fn truncated(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    finds_changed(lab, &|m| Message { flags: m.flags | TC, ..m }.encode())
}

fn other_bits(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    finds_changed(lab, &|m| Message { flags: m.flags | 0x01f0, ..m }.encode())
}

fn with_question(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let question = Question::new(&lab.service(), rtype::PTR);
    finds_changed(lab, &|m| Message { questions: vec![question.clone()], ..m }.encode())
}

fn compressed(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    finds_changed(lab, &|mut m| {
        let host = Name::new("rival.local");
        m.additionals
            .push(Record::new(&host, 120, Data::Nsec(host.clone(), vec![0, 1, 0x40])).flushing());
        m.encode_compressed()
    })
}

fn broken_nsec(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    finds_changed(lab, &|mut m| {
        // A bitmap whose length runs past the record.
        let broken = Record::raw(&Name::new("rival.local"), rtype::NSEC, 120, &[0, 0, 32, 0x40]);
        m.answers.insert(0, broken);
        m.encode()
    })
}

fn unknown_types(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    finds_changed(lab, &|mut m| {
        let name = Name::new("rival.local");
        m.answers.insert(0, Record::raw(&name, 4711, 120, &[1, 2, 3]));
        m.answers.insert(1, Record { class: 77, ..Record::raw(&name, rtype::TXT, 120, &[0]) });
        m.encode()
    })
}

fn foreign_port(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    ignores_changed(lab, Route::ONE_SHOT, &|m| m.encode())
}

fn unsolicited(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let browser = lab.subject.browse(lab.subject_host())?;
    // RFC 6762 §6: for some two seconds after a QU question a unicast response is asked for.
    let quiet =
        lab.peer.wait_for_silence(Duration::from_millis(2500), Duration::from_secs(20), |h| {
            lab.is_mine(h)
        });
    require!(quiet, "it never stops asking for 2.5 s");
    let message = Message::response(&service(lab, "alpha"));
    lab.peer.send(Route::direct(lab.subject_host().ipv4.into()), &message)?;
    lab.pass(Duration::from_millis(1500));
    require!(!browser.has_found("alpha"), "a unicast response that nobody asked for is used");
    Ok(Outcome::Pass)
}

fn other_subnet(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let browser = lab.subject.browse(lab.subject_host())?;
    let direct = Route::direct(lab.subject_host().ipv4.into()).from(FAR);
    let script = Script { route: direct, ..Script::of(service(lab, "alpha")) };
    let found = script.serve(lab, IGNORED_FOR, || browser.has_found("alpha"))?;
    require!(!found, "a unicast response from {FAR} is used");
    let script = Script {
        route: Route::GROUP.from(FAR),
        one_shot: false,
        ..Script::of(service(lab, "alpha"))
    };
    let found = script.serve(lab, Duration::from_secs(12), || browser.has_found("alpha"))?;
    require!(found, "a multicast response from {FAR} is not used");
    Ok(Outcome::Pass)
}

fn goodbye(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let script = Script::of(service(lab, "alpha"));
    let (browser, found) = finds(lab, &script, "alpha")?;
    require!(found, "it does not find the service");
    lab.pass(Duration::from_millis(1200));
    let records: Vec<_> = service(lab, "alpha").into_iter().map(|r| r.with_ttl(0)).collect();
    lab.peer.send(Route::GROUP, &Message::response(&records))?;
    let silent = Script::of(Vec::new());
    let lost = silent.serve(lab, Duration::from_millis(3000), || browser.has_lost("alpha"))?;
    require!(lost, "not gone 3 s after its goodbye");
    Ok(Outcome::Pass)
}

fn not_from_known_answers(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let browser = lab.subject.browse(lab.subject_host())?;
    lab.pass(Duration::from_millis(1500));
    let mark = lab.peer.mark();
    let question = Question::new(&lab.service(), rtype::PTR);
    let query = Message { answers: service(lab, "alpha"), ..Message::ask(&question) };
    lab.peer.send(Route::GROUP, &query)?;
    let heard = lab.listen(mark, Duration::from_millis(2500));
    let instance = lab.service().child("alpha");
    let asked = heard
        .iter()
        .any(|h| h.query().is_some_and(|m| m.questions.iter().any(|q| q.name == instance)));
    require!(!asked && !browser.has_found("alpha"), "an answer known to another host is used");
    Ok(Outcome::Pass)
}

fn announcement(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let browser = lab.subject.browse(lab.subject_host())?;
    lab.pass(Duration::from_millis(2000));
    let message = Message { flags: QR | AA, ..Message::response(&service(lab, "alpha")) };
    lab.peer.send(Route::GROUP, &message)?;
    let silent = Script::of(Vec::new());
    let found = silent.serve(lab, Duration::from_secs(2), || browser.has_found("alpha"))?;
    require!(found, "an unasked announcement is not used within 2 s");
    Ok(Outcome::Pass)
}

fn odd_nsec(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    finds_changed(lab, &|mut m| {
        let instance = Name::new("_phase-image._tcp.local").child("alpha");
        let next = Name::new("next.example");
        m.additionals.push(
            Record::new(&instance, 120, Data::Nsec(next, vec![0, 5, 0, 0, 0x80, 0, 0x40]))
                .flushing(),
        );
        m.encode()
    })
}

fn no_additionals(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let records = service(lab, "alpha");
    let script = Script { additionals: false, ..Script::of(records) };
    let (_browser, found) = finds(lab, &script, "alpha")?;
    let heard = lab.history();
    let asked = heard.iter().flat_map(|h| h.query()).flat_map(|m| &m.questions);
    let types: std::collections::BTreeSet<u16> = asked.map(|q| q.qtype).collect();
    require!(found, "not found; it asked for types {types:?}");
    let one = found!(types.first(), "it asked nothing");
    require!(*one > 0, "it asked for type 0");
    Ok(Outcome::Pass)
}
