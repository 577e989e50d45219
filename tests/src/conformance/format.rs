//! Rows W1 to W17: the form of messages. Spec: RFC 6762 §6, §10.2, §11, §16 to §18 and Appendix C.

use std::collections::BTreeSet;
use std::time::Duration;

use super::lab::{Lab, REPLY, SECOND_PASSED, answers};
use super::{Outcome, declare, found, require};
use crate::Error;
use crate::subject::Wanted;
use crate::wire_peer::message::{AA, TC, rtype};
use crate::wire_peer::{Message, Name, Question, Record, Route};

declare! { Responder:
    "W1", "18.1", Must, "multicast responses carry id 0; the id of a query is ignored", ids;
    "W2", "18.2, 18.4", Must, "QR right, AA set in responses and clear in queries, ignored on receipt", authority;
    "W3", "18.3", Must, "a query with another opcode is ignored", opcode;
    "W4", "18.11", Must, "a query with a response code is ignored; codes sent are 0", response_code;
    "W5", "18.5", Must, "TC clear in multicast responses", truncation;
    "W6", "18.6-18.10", Must, "RD RA Z AD CD sent as 0, ignored on receipt", other_bits;
    "W7", "6", Must, "multicast responses have no questions", no_questions;
    "W8", "18.14", Should, "names are compressed, in PTR data too; compressed questions are read", compression;
    "W9", "18.14", Must, "SRV data is not compressed in legacy replies", legacy_srv;
    "W10", "17", Must, "no datagram is longer than the MTU allows, with 30 instances", packet_size;
    "W11", "16", Must, "names are compared without regard to ASCII case", letter_case;
    "W12", "App. C", Must, "a question with a 255-octet name does not hide the next one", long_name;
    "W13", "11", Should, "IP TTL is 255, in unicast responses too", ttl;
    "W14", "10.2", Must, "cache-flush on unique records only, never in probes or legacy replies", flush_bits;
    "W15", "6.1", Must, "a broken NSEC does not hide the rest of a message", broken_nsec;
    "W16", "-", May, "an unknown type or class hides only its own question", unknown_types;
    "W17", "10.2", May, "EDNS(0) in a query is tolerated", edns;
}

fn ids(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    lab.establish()?;
    let question = Question::new(&lab.service(), rtype::PTR);
    let query = Message { id: 0x1234, ..Message::ask(&question) };
    let reply =
        found!(lab.ask(Route::GROUP, &query, &question, REPLY)?, "no reply to a query with an id");
    require!(reply.message.id == 0, "response id {:#06x}", reply.message.id);
    for heard in lab.history().iter().filter(|h| h.is_multicast()) {
        if let Some(m) = heard.response() {
            require!(m.id == 0, "a multicast response with id {:#06x}", m.id);
        }
    }
    Ok(Outcome::Pass)
}

fn authority(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    lab.establish()?;
    let question = Question::new(&lab.service(), rtype::PTR);
    let query = Message { flags: AA, ..Message::ask(&question) };
    found!(lab.ask(Route::GROUP, &query, &question, REPLY)?, "a query with AA is not answered");
    for heard in lab.history() {
        let Ok(m) = &heard.message else { continue };
        require!(!m.is_response() || m.flags & AA != 0, "a response without AA");
        require!(m.is_response() || m.flags & AA == 0, "a query with AA (probe: {})", m.is_probe());
    }
    Ok(Outcome::Pass)
}

fn opcode(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    ignored_with_flags(lab, 1 << 11, "opcode 1")
}

fn response_code(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let outcome = ignored_with_flags(lab, 3, "rcode 3")?;
    let coded =
        lab.history().iter().filter_map(|h| h.message.clone().ok()).find(|m| m.flags & 0xf != 0);
    require!(
        coded.is_none(),
        "it sent a message with rcode {}",
        coded.map_or(0, |m| m.flags & 0xf)
    );
    Ok(outcome)
}

/// A query with `flags` must be ignored; without them it must be answered, else the test shows nothing.
fn ignored_with_flags(lab: &mut Lab<'_>, flags: u16, what: &str) -> Result<Outcome, Error> {
    lab.establish()?;
    let question = Question::new(&lab.service(), rtype::PTR);
    for route in [Route::GROUP, Route::ONE_SHOT] {
        let query = Message { flags, ..Message::ask(&question) };
        let reply = lab.ask(route, &query, &question, REPLY)?;
        require!(reply.is_none(), "a query with {what} from {:?} is answered", route.door);
    }
    lab.pass(SECOND_PASSED);
    found!(lab.ask_group(&question.name, rtype::PTR)?, "a plain query is not answered either");
    Ok(Outcome::Pass)
}

fn truncation(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    lab.establish()?;
    found!(lab.ask_group(&lab.service(), rtype::PTR)?, "no reply");
    for heard in lab.history().iter().filter(|h| h.is_multicast()) {
        if let Some(m) = heard.response() {
            require!(m.flags & TC == 0, "a multicast response with TC");
        }
    }
    Ok(Outcome::Pass)
}

fn other_bits(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    const OTHERS: u16 = 0x01f0;
    lab.establish()?;
    let question = Question::new(&lab.service(), rtype::PTR);
    let query = Message { flags: OTHERS, ..Message::ask(&question) };
    found!(
        lab.ask(Route::GROUP, &query, &question, REPLY)?,
        "a query with RD RA Z AD CD is not answered"
    );
    let sent =
        lab.history().iter().filter_map(|h| h.message.clone().ok()).find(|m| m.flags & OTHERS != 0);
    require!(sent.is_none(), "it sent flags {:#06x}", sent.map_or(0, |m| m.flags));
    Ok(Outcome::Pass)
}

fn no_questions(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    lab.establish()?;
    found!(lab.ask_group(&lab.service(), rtype::PTR)?, "no reply");
    for heard in lab.history().iter().filter(|h| h.is_multicast()) {
        if let Some(m) = heard.response() {
            require!(
                m.questions.is_empty(),
                "a multicast response with {} questions",
                m.questions.len()
            );
        }
    }
    Ok(Outcome::Pass)
}

fn compression(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let reply = found!(lab.ask_group(&lab.service(), rtype::PTR)?, "no reply");
    let ptr = found!(reply.message.answer(&lab.service(), rtype::PTR), "no PTR");
    let (packed, plain) = (reply.heard.envelope.octets.len(), reply.message.encode().len());
    require!(ptr.compressed_data, "PTR data is not compressed");
    require!(packed < plain, "{packed} octets, {plain} without compression");
    lab.pass(SECOND_PASSED);
    let questions =
        [Question::new(&lab.service(), rtype::PTR), Question::new(&facts.instance, rtype::SRV)];
    let mark = lab.peer.mark();
    lab.peer.send_octets(Route::GROUP, &Message::query(&questions).encode_compressed())?;
    let heard = lab.listen(mark, REPLY);
    let answered = |q: &Question| heard.iter().any(|h| h.response().is_some_and(|m| answers(m, q)));
    require!(questions.iter().all(answered), "a question with a compressed name is not answered");
    Ok(Outcome::Pass)
}

fn legacy_srv(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let reply =
        found!(lab.ask_one_shot(&facts.instance, rtype::SRV)?, "no reply to a one-shot query");
    let srv = found!(reply.message.find(&facts.instance, rtype::SRV), "no SRV in the reply");
    require!(!srv.compressed_data, "the target of the SRV record is compressed");
    Ok(Outcome::Pass)
}

fn packet_size(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    // Ethernet's 1,500 octets less IP and UDP headers.
    const ROOM_V4: usize = 1472;
    const ROOM_V6: usize = 1452;
    const ALL_WITHIN: Duration = Duration::from_secs(60);
    let channels: Vec<String> = (0..30).map(|n| format!("channel-number-{n:02}")).collect();
    let pairs: Vec<_> = channels.iter().map(|c| (c.as_str(), "arm64")).collect();
    lab.establish_as(&Wanted::new("Lab", &pairs))?;
    // A library may register one after the other, each with its probes.
    let (service, mut instances) = (lab.service(), BTreeSet::new());
    lab.peer.wait(lab.peer.beginning(), ALL_WITHIN, |h| {
        let ptrs = h.response()?.answers.iter().filter(|r| r.name == service && r.ttl > 0);
        instances.extend(ptrs.map(|r| format!("{:?}", r.data)));
        (instances.len() == pairs.len()).then_some(())
    });
    let mark = lab.peer.mark();
    lab.peer.send(Route::GROUP, &Message::ask(&Question::new(&service, rtype::PTR)))?;
    let _ = lab.listen(mark, REPLY);
    for heard in lab.peer.heard_since(lab.peer.beginning()) {
        let room = if heard.envelope.remote.is_ipv4() { ROOM_V4 } else { ROOM_V6 };
        let len = heard.envelope.octets.len();
        let Ok(m) = &heard.message else { continue };
        let count = m.answers.len() + m.authorities.len() + m.additionals.len();
        require!(len <= room || count == 1, "a datagram of {len} octets with {count} records");
    }
    require!(instances.len() == 30, "{} of 30 instances were seen", instances.len());
    Ok(Outcome::Pass)
}

fn letter_case(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    lab.establish()?;
    found!(
        lab.ask_group(&lab.service().to_upper(), rtype::PTR)?,
        "an upper-case question is not answered"
    );
    Ok(Outcome::Pass)
}

fn long_name(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    lab.establish()?;
    // 4 x (1 + 62) + (1 + 2) = 255 octets without the root octet.
    let long =
        Name(vec![vec![b'x'; 62], vec![b'x'; 62], vec![b'x'; 62], vec![b'x'; 62], b"yz".to_vec()]);
    let question = Question::new(&lab.service(), rtype::PTR);
    let query = Message::query(&[Question::new(&long, rtype::ANY), question.clone()]);
    found!(
        lab.ask(Route::GROUP, &query, &question, REPLY)?,
        "the question after a 255-octet name is not answered"
    );
    Ok(Outcome::Pass)
}

fn ttl(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    lab.ask_one_shot(&facts.instance, rtype::SRV)?;
    lab.ask_qu(&facts.instance, rtype::TXT)?;
    let (mut unicast, all) = (0, lab.peer.heard_since(lab.peer.beginning()));
    for heard in all.iter().filter(|h| h.response().is_some()) {
        let (ttl, to) = (heard.envelope.ttl, heard.envelope.destination);
        require!(ttl == 255, "TTL {ttl} in a response to {to}");
        unicast += usize::from(!heard.is_multicast());
    }
    require!(unicast > 0, "255 in multicast; no unicast response was sent");
    Ok(Outcome::Pass)
}

fn flush_bits(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    lab.ask_one_shot(&facts.instance, rtype::SRV)?;
    for heard in lab.history() {
        let Ok(m) = &heard.message else { continue };
        let to_mdns = heard.envelope.door == crate::wire_peer::Door::Mdns;
        for r in m.answers.iter().chain(&m.authorities).chain(&m.additionals) {
            if r.rtype == rtype::OPT {
                continue;
            }
            let unique =
                r.rtype != rtype::PTR || r.name.0.iter().any(|l| l == b"in-addr" || l == b"ip6");
            let wanted = m.is_response() && to_mdns && unique && r.ttl > 0;
            let kind = if m.is_response() { "response" } else { "query" };
            require!(r.flush == wanted || r.ttl == 0, "flush bit {} in a {kind}: {r}", r.flush);
        }
    }
    Ok(Outcome::Pass)
}

fn broken_nsec(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    lab.establish()?;
    let question = Question::new(&lab.service(), rtype::PTR);
    // A bitmap whose length runs past the record.
    let mut octets = vec![0_u8];
    octets.extend([0, 32, 0x40]);
    let broken = Record::raw(&Name::new("rival.local"), rtype::NSEC, 120, &octets);
    let query = Message { answers: vec![broken], ..Message::ask(&question) };
    found!(
        lab.ask(Route::GROUP, &query, &question, REPLY)?,
        "a query beside a broken NSEC is not answered"
    );
    Ok(Outcome::Pass)
}

fn unknown_types(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    lab.establish()?;
    let question = Question::new(&lab.service(), rtype::PTR);
    let odd_class = Question { qclass: 77, ..Question::new(&lab.service(), rtype::PTR) };
    let query = Message {
        answers: vec![Record::raw(&Name::new("rival.local"), 4711, 120, &[1, 2, 3])],
        ..Message::query(&[
            Question::new(&lab.service(), rtype::HTTPS),
            odd_class,
            question.clone(),
        ])
    };
    found!(
        lab.ask(Route::GROUP, &query, &question, REPLY)?,
        "PTR beside HTTPS and class 77 is not answered"
    );
    Ok(Outcome::Pass)
}

fn edns(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    lab.establish()?;
    let question = Question::new(&lab.service(), rtype::PTR);
    // The class of an OPT record is the sender's buffer, here with the top bit set.
    let opt =
        Record { class: 0x05a0, flush: true, ..Record::raw(&Name::default(), rtype::OPT, 0, &[]) };
    let query = Message { additionals: vec![opt], ..Message::ask(&question) };
    found!(lab.ask(Route::GROUP, &query, &question, REPLY)?, "a query with OPT is not answered");
    Ok(Outcome::Pass)
}
