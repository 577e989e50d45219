//! Rows S3 to S14 of a responder: sockets, addresses, scope. Spec: RFC 6762 §5.4, §5.5, §6, §11, §14, §15.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::lab::{FAR, Facts, Lab, REPLY, rival_srv};
use super::{Outcome, declare, found, require};
use crate::Error;
use crate::netns::Namespace;
use crate::wire_peer::message::rtype;
use crate::wire_peer::{
    Data, Door, GROUP_V6, Heard, MDNS_PORT, Message, Peer, Question, Record, Route, Socket,
};

declare! { Responder:
    "S3", "15.1", Should, "beside another program on port 5353 it asks no QU questions", second_binder;
    "S4", "6", Must, "responses leave from port 5353", source_port;
    "S5", "6", Must, "a conflicting response from another source port is ignored", foreign_port;
    "S6", "6", Must, "responses to QM questions go to the group", to_group;
    "S7", "6", Must, "an unsolicited unicast response is ignored", unsolicited;
    "S8", "11", Must, "a unicast response from off the link is ignored", off_link_response;
    "S9", "5.5", Should, "a direct unicast query is answered by unicast", direct_query;
    "S10", "5.5", Should, "unicast queries from off the link are ignored", off_link_query;
    "S11", "11", Should, "a QU query to the group from another subnet is answered by multicast", other_subnet;
    "S12", "6.2, 14", Must, "each interface gets its own addresses, and all of them", per_interface;
    "S13", "14", Should, "the host name is defended on every interface", every_interface;
    "S14", "3", Must, "IPv6 is served on ff02::fb", ipv6;
}

fn second_binder(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let host = lab.subject_host();
    let (ipv4, index) = (host.ipv4, host.index);
    let first = host
        .namespace
        .inside(|| Ok([Socket::v4(Door::Mdns, ipv4, index)?, Socket::v6(Door::Mdns, index)?]))?;
    lab.establish()?;
    drop(first);
    let heard = lab.history();
    let asked = heard.iter().filter_map(Heard::query).flat_map(|m| &m.questions);
    let qu = asked.filter(|q| q.unicast).count();
    require!(qu == 0, "{qu} QU questions although their answers may go to the other program");
    Ok(Outcome::Pass)
}

fn source_port(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    lab.ask_one_shot(&facts.instance, rtype::SRV)?;
    lab.ask_qu(&facts.instance, rtype::TXT)?;
    for heard in lab.history().iter().filter(|h| h.response().is_some()) {
        let port = heard.envelope.remote.port();
        require!(port == MDNS_PORT, "a response from port {port}");
    }
    Ok(Outcome::Pass)
}

fn foreign_port(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    ignores_conflict_by(lab, &facts, Route::ONE_SHOT, "from an ephemeral port")
}

fn unsolicited(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let route = Route::direct(lab.subject_host().ipv4.into());
    ignores_conflict_by(lab, &facts, route, "by unicast, unasked")
}

fn off_link_response(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let route = Route::direct(lab.subject_host().ipv4.into()).from(FAR);
    ignores_conflict_by(lab, &facts, route, "by unicast from another subnet")
}

/// A conflicting SRV record by `route` must cause nothing; by the group it must, else the test shows nothing.
fn ignores_conflict_by(
    lab: &Lab<'_>,
    facts: &Facts,
    route: Route,
    how: &str,
) -> Result<Outcome, Error> {
    let conflict = Message::response(&[rival_srv(&facts.instance)]);
    let reacts = |h: &Heard| {
        let touches = |m: &Message| {
            m.questions.iter().any(|q| q.name == facts.instance)
                || m.answers.iter().any(|r| r.name == facts.instance)
        };
        (lab.is_mine(h) && h.message.as_ref().is_ok_and(touches)).then_some(())
    };
    let mark = lab.peer.mark();
    lab.peer.send(route, &conflict)?;
    let reacted = lab.peer.wait(mark, Duration::from_millis(1500), reacts);
    require!(reacted.is_none(), "reacts to a conflicting response {how}");
    let mark = lab.peer.mark();
    lab.peer.send(Route::GROUP, &conflict)?;
    if lab.peer.wait(mark, Duration::from_millis(1500), reacts).is_none() {
        return Ok(Outcome::NotApplicable("it reacts to no conflict at all".into()));
    }
    Ok(Outcome::Pass)
}

fn to_group(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    lab.establish()?;
    let reply = found!(lab.ask_group(&lab.service(), rtype::PTR)?, "no reply");
    let to = reply.heard.envelope.destination;
    require!(to == IpAddr::V4(crate::wire_peer::GROUP_V4), "a QM question is answered to {to}");
    Ok(Outcome::Pass)
}

fn direct_query(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let question = Question::new(&facts.instance, rtype::SRV);
    let route = Route::direct(lab.subject_host().ipv4.into());
    let reply = lab.ask(route, &Message::ask(&question), &question, REPLY)?;
    let reply = found!(reply, "no reply to a direct unicast query");
    require!(!reply.heard.is_multicast(), "a direct unicast query is answered by multicast");
    Ok(Outcome::Pass)
}

fn off_link_query(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let question = Question::new(&facts.instance, rtype::SRV);
    let direct = Route::direct(lab.subject_host().ipv4.into()).from(FAR);
    for route in [direct, direct.one_shot()] {
        let reply = lab.ask(route, &Message::ask(&question), &question, REPLY)?;
        require!(reply.is_none(), "a unicast query from {FAR} ({:?}) is answered", route.door);
    }
    Ok(Outcome::Pass)
}

fn other_subnet(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let question = Question::qu(&facts.instance, rtype::SRV);
    let query = Message::ask(&question);
    let reply = lab.ask(Route::GROUP.from(FAR), &query, &question, REPLY)?;
    let reply = found!(reply, "a QU query to the group from {FAR} is not answered");
    require!(
        reply.heard.is_multicast(),
        "a QU query to the group from {FAR} is answered by unicast"
    );
    Ok(Outcome::Pass)
}

/// A second cable from the subject to a host of its own, with a peer on it.
fn second_cable(lab: &Lab<'_>) -> Result<(Namespace, Peer), Error> {
    let far = Namespace::new("far")?;
    let here = &lab.subject_host().namespace;
    here.ip(&["link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", far.name()])?;
    here.add_address("eth1", "10.78.0.1/24")?;
    far.add_address("eth0", "10.78.0.2/24")?;
    far.ip(&["link", "set", "dev", "eth0", "up"])?;
    here.set_up("eth1")?;
    far.set_up("eth0")?;
    let index = far.interface_index("eth0")?;
    let peer = Peer::open(&far, index, Some(Ipv4Addr::new(10, 78, 0, 2)))?;
    Ok((far, peer))
}

/// All addresses that responses among `heard` give to the host of `facts`.
fn addresses(heard: &[Heard], facts: &Facts) -> BTreeSet<IpAddr> {
    let records = heard.iter().filter_map(Heard::response).flat_map(Message::records);
    let of_host = records.filter(|r| r.name == facts.host && r.ttl > 0);
    of_host
        .filter_map(|r| match &r.data {
            Data::A(a) => Some(IpAddr::V4(*a)),
            Data::Aaaa(a) => Some(IpAddr::V6(*a)),
            Data::Ptr(_) | Data::Srv(..) | Data::Txt(_) | Data::Nsec(..) | Data::Raw(_) => None,
        })
        .collect()
}

fn per_interface(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let (_far, other) = second_cable(lab)?;
    let facts = lab.establish()?;
    let host = lab.subject_host();
    let first: BTreeSet<IpAddr> =
        [host.ipv4.into(), host.ipv6.into(), host.link_local.into()].into();
    let seen = addresses(&lab.peer.heard_since(lab.peer.beginning()), &facts);
    require!(seen == first, "on the interface with {first:?} it says {seen:?}");
    let seen = addresses(&other.heard_since(other.beginning()), &facts);
    let strange = seen.intersection(&first).next();
    require!(strange.is_none(), "on the other interface it says {seen:?}");
    require!(
        seen.contains(&Ipv4Addr::new(10, 78, 0, 1).into()),
        "on the other interface it says {seen:?}"
    );
    Ok(Outcome::Pass)
}

fn every_interface(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let (_far, other) = second_cable(lab)?;
    let facts = lab.establish()?;
    let question = Question::new(&facts.host, rtype::ANY);
    let claim = Record::new(&facts.host, 120, Data::A(Ipv4Addr::new(10, 78, 0, 66)));
    let probe = Message { authorities: vec![claim], ..Message::query(&[question]) };
    let mark = other.mark();
    other.send(Route::GROUP, &probe)?;
    let defended = other.wait(mark, Duration::from_millis(1000), |h| {
        h.response().is_some_and(|m| m.answers.iter().any(|r| r.name == facts.host)).then_some(())
    });
    found!(defended, "the host name is not defended on the second interface");
    Ok(Outcome::Pass)
}

fn ipv6(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    lab.establish()?;
    let (mark, question) = (lab.peer.mark(), Question::new(&lab.service(), rtype::PTR));
    lab.peer.send(Route::GROUP_V6, &Message::ask(&question))?;
    let to = lab.peer.wait(mark, REPLY, |h| {
        let ours = h.envelope.remote.ip() == IpAddr::V6(lab.subject_host().link_local);
        let m = h.response().filter(|_| ours || h.envelope.remote.is_ipv6())?;
        super::lab::answers(m, &question).then_some(h.envelope.destination)
    });
    let to = found!(to, "a query to ff02::fb is not answered by IPv6");
    require!(to == IpAddr::V6(GROUP_V6), "a query to ff02::fb is answered to {to}");
    Ok(Outcome::Pass)
}
