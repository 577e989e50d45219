//! Rows C1 to C4: conflicts after the name was won. Spec: RFC 6762 §9.

use std::collections::BTreeSet;
use std::time::Duration;

use super::announcing::watch_bridged;
use super::lab::{Lab, SECOND, rival_srv};
use super::probing::{next_probed_instance, probes_for};
use super::{Outcome, declare, found, require};
use crate::Error;
use crate::wire_peer::message::rtype;
use crate::wire_peer::{Heard, Message, Route};

declare! { Responder:
    "C1", "9", Must, "a conflicting response makes it probe again at once; the loser takes another name", reprobes;
    "C2", "9, 6.6", Must, "its own packets, repeated by another host, are no conflict", reflections;
    "C3", "9", May, "a new name is the old one with a number, and outlives a restart", kept_name;
    "C4", "9", Must, "two interfaces on one LAN are no conflict (8 s)", two_interfaces;
}

fn reprobes(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let conflict = Message::response(&[rival_srv(&facts.instance)]);
    let mark = lab.peer.mark();
    let sent = lab.peer.send(Route::GROUP.from(SECOND), &conflict)?;
    let probed = lab.peer.wait(mark, Duration::from_millis(1500), |h| {
        let m = h.query().filter(|m| m.is_probe() && lab.is_mine(h))?;
        m.questions.iter().any(|q| q.name == facts.instance).then_some(h.envelope.at)
    });
    let after = found!(probed, "no probe within 1.5 s of a conflicting SRV record").since(sent);
    require!(after <= Duration::from_millis(350), "the probe came {} ms later", after.as_millis());
    lab.peer.send(Route::GROUP.from(SECOND), &conflict)?;
    let last = lab.facts_since(mark);
    let renamed = last.is_ok_and(|f| f.instance != facts.instance)
        || lab.listen(mark, Duration::from_secs(3)).iter().any(|h| {
            h.response().is_some_and(|m| {
                m.answers
                    .iter()
                    .any(|r| r.rtype == rtype::SRV && r.ttl > 0 && r.name != facts.instance)
            })
        });
    require!(renamed, "it keeps the name although its probe was answered");
    Ok(Outcome::Pass)
}

fn reflections(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let own: Vec<_> = lab.history().into_iter().filter(|h| h.is_multicast()).collect();
    let mark = lab.peer.mark();
    for heard in &own {
        for route in [Route::GROUP.from(SECOND), Route::GROUP_V6] {
            lab.peer.send_octets(route, &heard.envelope.octets)?;
        }
    }
    let after = lab.listen(mark, Duration::from_secs(3));
    let probes = probes_for(&after, &facts.instance).len() + probes_for(&after, &facts.host).len();
    require!(probes == 0, "{probes} probes after its own {} packets were repeated", own.len());
    // Repeated probes are answered, as any probe for its name is.
    require!(
        after.len() <= own.len() * 2,
        "{} packets for {} repeated ones",
        after.len(),
        own.len()
    );
    Ok(Outcome::Pass)
}

fn kept_name(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let mark = lab.peer.mark();
    lab.launch(&Lab::wanted())?;
    let first = found!(next_probed_instance(lab, mark), "no probe for an instance");
    lab.peer.send(Route::GROUP, &Message::response(&[rival_srv(&first)]))?;
    let second = lab.facts_since(mark)?.instance;
    require!(first != second, "it takes no new name");
    let (label, old) = (second.first(), first.first());
    let numbered = label.contains('2') && label.chars().take(3).eq(old.chars().take(3));
    require!(numbered, "after {old:?} it takes {label:?}");
    // Long enough for announcements to end, so that the name counts as established.
    lab.pass(Duration::from_millis(1500));
    lab.stop()?;
    let mark = lab.peer.mark();
    lab.launch(&Lab::wanted())?;
    let third = lab.facts_since(mark)?.instance;
    require!(third == second, "after a restart {:?} is {:?} again", label, third.first());
    Ok(Outcome::Pass)
}

fn two_interfaces(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let (facts, heard) = watch_bridged(lab)?;
    let hosts: BTreeSet<_> = heard
        .iter()
        .filter_map(Heard::response)
        .flat_map(|m| &m.answers)
        .filter(|r| matches!(r.rtype, rtype::A | rtype::AAAA) && r.ttl > 0)
        .map(|r| r.name.clone())
        .collect();
    require!(hosts.len() == 1 && hosts.contains(&facts.host), "host names {hosts:?}");
    let probes = probes_for(&heard, &facts.host).len();
    // Three on each of two interfaces and families, each heard on the other cable too.
    require!(probes <= 24, "{probes} probes for the host name");
    Ok(Outcome::Pass)
}
