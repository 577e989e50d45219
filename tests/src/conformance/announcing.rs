//! Rows A1 to A9: announcing, updating, saying goodbye. Spec: RFC 6762 §8.3, §8.4, §10, §14.

use std::collections::BTreeSet;
use std::time::Duration;

use super::lab::{Facts, Lab, list_ms};
use super::{Outcome, declare, found, require};
use crate::Error;
use crate::netns::Host;
use crate::wire_peer::message::rtype;
use crate::wire_peer::{Data, Heard, Name, Peer, Stamp};

declare! { Responder:
    "A1", "8.3", Must, "two to eight announcements, the first gap a second, each next at least double", repeats;
    "A2", "8.3", Must, "all records are announced in the answer section", in_answers;
    "A3", "8.3", Must, "no announcement without a reason (20 s of silence)", silence;
    "A4", "8.4", Must, "a changed TXT record is announced", update;
    "A5", "8.4", Should, "at most ten updates a minute (20 s of changes at 5 Hz)", update_limit;
    "A6", "10.1", Should, "a clean stop says goodbye", goodbye;
    "A7", "10.2", Must, "both of two A records are sent together", whole_set;
    "A8", "10", Should, "TTL 120 for SRV, A, AAAA; 4500 for the rest", ttls;
    "A9", "14", May, "two interfaces bridged together: no ping-pong, no rename (8 s)", bridged;
}

/// Announcements of `name`: multicast responses with its SRV record as an answer, and their times.
fn announcements(heard: &[Heard], name: &Name) -> Vec<Stamp> {
    let of = |h: &Heard| {
        h.is_multicast()
            && h.response().is_some_and(|m| m.answer(name, rtype::SRV).is_some_and(|r| r.ttl > 0))
    };
    heard.iter().filter(|h| of(h)).map(|h| h.envelope.at).collect()
}

fn repeats(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let mark = lab.peer.mark();
    lab.launch(&Lab::wanted())?;
    let facts = lab.facts_since(mark)?;
    lab.pass(Duration::from_secs(9));
    let times = announcements(&lab.history(), &facts.instance);
    let gaps: Vec<_> = times.windows(2).map(|w| w[1].since(w[0])).collect();
    require!(
        (2..=8).contains(&times.len()),
        "{} announcements, gaps {}",
        times.len(),
        list_ms(&gaps)
    );
    require!(gaps[0] >= Duration::from_millis(970), "gaps {}", list_ms(&gaps));
    let doubles = gaps.windows(2).all(|w| w[1] >= w[0].mul_f64(1.85));
    require!(doubles, "gaps {}", list_ms(&gaps));
    Ok(Outcome::Pass)
}

fn in_answers(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let (service, heard) = (lab.service(), lab.history());
    let responses = heard.iter().filter(|h| h.is_multicast()).filter_map(Heard::response);
    let answers: Vec<_> = responses.flat_map(|m| m.answers.clone()).collect();
    let wanted = [
        (&service, rtype::PTR),
        (&facts.instance, rtype::SRV),
        (&facts.instance, rtype::TXT),
        (&facts.host, rtype::A),
        (&facts.host, rtype::AAAA),
    ];
    for (name, rtype) in wanted {
        let there = answers.iter().any(|r| r.name == *name && r.rtype == rtype);
        require!(there, "{name} type {rtype} was never an answer of an announcement");
    }
    Ok(Outcome::Pass)
}

fn silence(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    lab.establish()?;
    let mark = lab.peer.mark();
    let heard = lab.listen(mark, Duration::from_secs(20));
    let first = heard.iter().find_map(|h| h.response().map(|m| m.answers.len()));
    require!(first.is_none(), "unasked response with {} answers", first.unwrap_or_default());
    Ok(Outcome::Pass)
}

fn update(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let mark = lab.peer.mark();
    lab.running()?.change_txt()?;
    let txt = lab.peer.wait(mark, Duration::from_secs(6), |h| {
        let m = h.response().filter(|_| lab.is_mine(h) && h.is_multicast())?;
        m.answer(&facts.instance, rtype::TXT)
            .filter(|r| r.ttl > 0 && r.data != facts.txt.data)
            .cloned()
    });
    let txt = found!(txt, "no announcement of the new TXT record within 6 s");
    require!(txt.flush, "the new TXT record comes without cache-flush");
    Ok(Outcome::Pass)
}

fn update_limit(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let mark = lab.peer.mark();
    for _ in 0..100 {
        lab.running()?.change_txt()?;
        lab.pass(Duration::from_millis(200));
    }
    let heard = lab.listen(mark, Duration::ZERO);
    let responses = heard.iter().filter(|h| h.is_multicast()).filter_map(Heard::response);
    let texts: BTreeSet<_> = responses
        .filter_map(|m| m.answer(&facts.instance, rtype::TXT).filter(|r| r.ttl > 0))
        .map(|r| format!("{:?}", r.data))
        .collect();
    require!(!texts.is_empty(), "no update was announced");
    require!(texts.len() <= 10, "{} different TXT records in 20 s", texts.len());
    Ok(Outcome::Pass)
}

fn goodbye(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let mark = lab.peer.mark();
    lab.stop()?;
    let heard = lab.listen(mark, Duration::from_millis(300));
    let gone = heard.iter().filter_map(Heard::response).flat_map(|m| &m.answers).any(|r| {
        r.ttl == 0
            && matches!(&r.data, Data::Ptr(n) if *n == facts.instance && r.name == lab.service())
    });
    require!(gone, "no PTR record with TTL 0 at a clean stop");
    Ok(Outcome::Pass)
}

fn whole_set(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    lab.subject_host().namespace.add_address(Host::INTERFACE, "10.77.0.9/24")?;
    let facts = lab.establish()?;
    let reply = found!(lab.ask_group(&facts.host, rtype::A)?, "no reply for A of {}", facts.host);
    let addresses = reply.message.answers.iter().filter(|r| r.rtype == rtype::A).count();
    require!(addresses == 2, "{addresses} of two A records in the reply");
    for heard in lab.history().iter().filter(|h| h.is_multicast()) {
        let Some(m) = heard.response() else { continue };
        let count = m.records().filter(|r| r.rtype == rtype::A && r.ttl > 0).count();
        require!(matches!(count, 0 | 2), "a response with {count} of two A records");
    }
    Ok(Outcome::Pass)
}

fn ttls(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    lab.establish()?;
    let heard = lab.history();
    for r in heard
        .iter()
        .filter(|h| h.is_multicast())
        .filter_map(Heard::response)
        .flat_map(|m| &m.answers)
    {
        let wanted = match r.rtype {
            rtype::SRV | rtype::A | rtype::AAAA => 120,
            // Its TTL is that of the record that is not there.
            rtype::NSEC => continue,
            _ if matches!(&r.data, Data::Ptr(n) if n.0.len() == 2) => 120,
            _ => 4500,
        };
        require!(r.ttl == wanted, "TTL {}: {r}", r.ttl);
    }
    Ok(Outcome::Pass)
}

/// Gives the subject a second interface and bridges both cables at the peer's end, where the peer listens then.
fn bridge_second_interface(lab: &mut Lab<'_>) -> Result<(), Error> {
    let (here, there) = (&lab.lan.host(0).namespace, &lab.lan.host(1).namespace);
    let second = ["type", "veth", "peer", "name", "port1", "netns", there.name()];
    here.ip(&[["link", "add", "eth1"].as_slice(), second.as_slice()].concat())?;
    here.add_address("eth1", "10.77.0.101/24")?;
    let bridge = ["type", "bridge", "mcast_snooping", "0", "forward_delay", "0"];
    there.ip(&[["link", "add", "br0"].as_slice(), bridge.as_slice()].concat())?;
    there.ip(&["addr", "flush", "dev", Host::INTERFACE])?;
    for port in [Host::INTERFACE, "port1"] {
        there.ip(&["link", "set", "dev", port, "master", "br0", "up"])?;
    }
    let own = lab.lan.host(1).ipv4;
    there.add_address("br0", &format!("{own}/24"))?;
    there.set_up("br0")?;
    here.set_up("eth1")?;
    let index = there.interface_index("br0")?;
    lab.peer = Peer::open(there, index, Some(own))?;
    Ok(())
}

/// Watches a subject whose two interfaces hear each other.
pub(super) fn watch_bridged(lab: &mut Lab<'_>) -> Result<(Facts, Vec<Heard>), Error> {
    bridge_second_interface(lab)?;
    let mark = lab.peer.mark();
    lab.launch(&Lab::wanted())?;
    let facts = lab.facts_since(mark)?;
    let heard = lab.peer.listen(mark, Duration::from_secs(8));
    Ok((facts, heard))
}

fn bridged(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let (facts, heard) = watch_bridged(lab)?;
    let late = |h: &&Heard| h.envelope.at.since(heard[0].envelope.at) > Duration::from_secs(6);
    let responses = heard.iter().filter(|h| h.response().is_some());
    let (all, at_the_end) = (responses.clone().count(), responses.filter(late).count());
    require!(all <= 40, "{all} responses in 8 s");
    require!(at_the_end <= 8, "{at_the_end} responses in the last 2 s");
    let names: BTreeSet<_> = heard
        .iter()
        .filter_map(Heard::response)
        .flat_map(|m| &m.answers)
        .filter(|r| r.rtype == rtype::SRV && r.ttl > 0)
        .map(|r| r.name.clone())
        .collect();
    require!(names.len() == 1 && names.contains(&facts.instance), "announced as {names:?}");
    Ok(Outcome::Pass)
}
