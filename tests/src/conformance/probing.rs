//! Rows P1 to P10 and P14 to P18: probing. Spec: RFC 6762 §8.1, §8.3, §9.

use std::time::Duration;

use super::lab::{Facts, Lab, list_ms, rival_srv};
use super::{Outcome, declare, found, require};
use crate::Error;
use crate::netns::Host;
use crate::wire_peer::message::rtype;
use crate::wire_peer::{Heard, Message, Name, Question, Record, Route, Stamp};

declare! { Responder:
    "P1", "2, 8.1", Must, "host name and instance are probed before use", everything_is_probed;
    "P2", "8.1", May, "a random wait of 0 to 250 ms before the first probe (10 starts)", random_start;
    "P3", "8.1", May, "three probes, 250 ms apart, then 250 ms before the announcement", spacing;
    "P4", "8.1", Should, "probes ask for type ANY in class IN", type_any;
    "P5", "8.1", Should, "probes have the unicast-response bit", unicast_bit;
    "P6", "8.2", Must, "probes hold all proposed records in the authority section, without cache-flush", proposed;
    "P7", "8.1", Must, "the cache is not consulted while probing", cache_not_consulted;
    "P8", "8.1", Must, "a conflicting response makes it choose a new name", denied;
    "P9", "8.1", Must, "conflicting responses before the first probe are ignored", early_denial;
    "P10", "8.1", Must, "a record of any type at a probed name is a conflict", any_type_conflicts;
    "P14", "8.1", Must, "after 15 conflicts in 10 s each try waits 5 s (watched for 40 s)", rate_limit;
    "P15", "8.1", Should, "no probing for shared or reverse-mapping names", no_needless_probes;
    "P16", "8", Must, "the link going down and up makes it probe and announce again", link_cycle;
    "P17", "8.1, 6", Should, "its own name probed by another host is defended at once, by unicast when asked", defence;
    "P18", "9", May, "a minute without a name is logged", endless_denial;
}

/// The probes of the subject for `name` among `heard`, with their times.
pub(super) fn probes_for(heard: &[Heard], name: &Name) -> Vec<(Stamp, Message)> {
    let probes = heard.iter().filter_map(|h| Some((h.envelope.at, h.query()?.clone())));
    probes.filter(|(_, m)| m.is_probe() && m.questions.iter().any(|q| q.name == *name)).collect()
}

/// When the subject first announced the SRV record of `name`.
pub(super) fn announced_at(heard: &[Heard], name: &Name) -> Option<Stamp> {
    let of = |h: &Heard| {
        h.response().is_some_and(|m| m.answer(name, rtype::SRV).is_some_and(|r| r.ttl > 0))
    };
    heard.iter().find(|h| of(h)).map(|h| h.envelope.at)
}

fn everything_is_probed(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let heard = lab.history();
    for name in [&facts.instance, &facts.host] {
        let announced = heard.iter().find(|h| {
            h.response().is_some_and(|m| m.answers.iter().any(|r| r.name == *name && r.ttl > 0))
        });
        let announced = found!(announced, "{name} was never announced in an answer section");
        let first = probes_for(&heard, name).first().map(|(at, _)| *at);
        let first = found!(first, "{name} was not probed");
        require!(first < announced.envelope.at, "{name} was announced before it was probed");
    }
    Ok(Outcome::Pass)
}

fn random_start(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    const STARTS: usize = 10;
    // Ten waits of a uniform 0 to 250 ms lie within 60 ms of each other once in 40,000 runs.
    const SPREAD: Duration = Duration::from_millis(60);
    let mut waits = Vec::new();
    for _ in 0..STARTS {
        let mark = lab.peer.mark();
        let launched = lab.launch(&Lab::wanted())?;
        let probe = lab.peer.wait(mark, Duration::from_secs(10), |h| {
            (lab.is_mine(h) && h.query().is_some_and(Message::is_probe)).then_some(h.envelope.at)
        });
        waits.push(found!(probe, "no probe within 10 s of the start").since(launched));
        lab.running = None;
    }
    let (low, high) = (waits.iter().min().copied(), waits.iter().max().copied());
    let spread = high.unwrap_or_default().saturating_sub(low.unwrap_or_default());
    require!(spread >= SPREAD, "the first probe comes {} after the start", list_ms(&waits));
    Ok(Outcome::Pass)
}

fn spacing(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let heard = lab.history();
    let mut times: Vec<_> = probes_for(&heard, &facts.instance).iter().map(|(at, _)| *at).collect();
    times.push(found!(announced_at(&heard, &facts.instance), "never announced"));
    let gaps: Vec<_> = times.windows(2).map(|w| w[1].since(w[0])).collect();
    require!(gaps.len() == 3, "{} probes, gaps {}", gaps.len(), list_ms(&gaps));
    let good = Duration::from_millis(235)..Duration::from_millis(330);
    require!(gaps.iter().all(|g| good.contains(g)), "gaps {}", list_ms(&gaps));
    Ok(Outcome::Pass)
}

/// The questions of every probe of the default instance and its host.
fn probe_questions(lab: &mut Lab<'_>) -> Result<(Facts, Vec<Question>), Error> {
    let facts = lab.establish()?;
    let heard = lab.history();
    let probes = heard.iter().filter_map(|h| h.query().filter(|m| m.is_probe()));
    let questions = probes.flat_map(|m| m.questions.clone()).collect();
    Ok((facts, questions))
}

fn type_any(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let (_, questions) = probe_questions(lab)?;
    require!(!questions.is_empty(), "no probes");
    let odd = questions.iter().find(|q| q.qtype != rtype::ANY || q.qclass != 1);
    require!(odd.is_none(), "a probe asks {odd:?}");
    Ok(Outcome::Pass)
}

fn unicast_bit(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let (_, questions) = probe_questions(lab)?;
    require!(!questions.is_empty(), "no probes");
    let qm = questions.iter().filter(|q| !q.unicast).count();
    require!(qm == 0, "{qm} of {} probe questions are QM", questions.len());
    Ok(Outcome::Pass)
}

fn proposed(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let heard = lab.history();
    let wanted =
        [(&facts.instance, rtype::SRV), (&facts.instance, rtype::TXT), (&facts.host, rtype::A)];
    for (name, rtype) in wanted {
        let probes = probes_for(&heard, name);
        require!(!probes.is_empty(), "{name} was not probed");
        for (_, m) in probes {
            let has = m.authorities.iter().any(|r| r.name == *name && r.rtype == rtype);
            require!(has, "a probe for {name} without its record of type {rtype}");
            let flush = m.authorities.iter().find(|r| r.flush);
            let shown = flush.map_or(0, |r| r.rtype);
            require!(flush.is_none(), "cache-flush in a probe, type {shown}");
        }
    }
    Ok(Outcome::Pass)
}

/// The name that the subject will give to another pair, from the name it gave to the default one.
pub(super) fn renamed_pair(facts: &Facts, channel: &str, arch: &str) -> Name {
    let label = facts.instance.first().replace("stable", channel).replace("arm64", arch);
    facts.instance.parent().child(&label)
}

fn cache_not_consulted(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let next = renamed_pair(&facts, "testing", "x86_64");
    lab.peer.send(Route::GROUP, &Message::response(&[rival_srv(&next)]))?;
    lab.pass(Duration::from_millis(300));
    let mark = lab.peer.mark();
    lab.running()?.add("testing", "x86_64")?;
    let new = lab.facts_since(mark)?;
    require!(new.instance == next, "a cached record made it take the name {}", new.instance);
    let heard = lab.listen(mark, Duration::ZERO);
    require!(!probes_for(&heard, &next).is_empty(), "{next} was announced without a probe");
    Ok(Outcome::Pass)
}

/// Starts the default instance, answers every probe for its first name with `denial`, and returns the
/// first name and what is announced in the end.
fn deny_first_name(
    lab: &mut Lab<'_>,
    denial: impl Fn(&Name) -> Record,
) -> Result<Option<(Name, Name)>, Error> {
    let mark = lab.peer.mark();
    lab.launch(&Lab::wanted())?;
    let Some(first) = next_probed_instance(lab, mark) else { return Ok(None) };
    lab.peer.send(Route::GROUP, &Message::response(&[denial(&first)]))?;
    Ok(Some((first, lab.facts_since(mark)?.instance)))
}

/// The instance of the first probe after `mark`.
pub(super) fn next_probed_instance(lab: &Lab<'_>, mark: crate::wire_peer::Mark) -> Option<Name> {
    let service = lab.service();
    lab.peer.wait(mark, Duration::from_secs(15), |h| {
        let m = h.query().filter(|m| m.is_probe() && lab.is_mine(h))?;
        m.questions.iter().map(|q| &q.name).find(|n| n.parent() == service).cloned()
    })
}

fn denied(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let (first, last) = found!(deny_first_name(lab, rival_srv)?, "no probe for an instance");
    require!(first != last, "{first} was announced although another host answered its probe");
    Ok(Outcome::Pass)
}

fn any_type_conflicts(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    // HINFO: a type that the subject does not have at that name.
    let hinfo = |name: &Name| Record::raw(name, 13, 120, b"\x03cpu\x02os").flushing();
    let (first, last) = found!(deny_first_name(lab, hinfo)?, "no probe for an instance");
    require!(first != last, "{first} was announced although it has a HINFO record of another host");
    Ok(Outcome::Pass)
}

fn early_denial(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    const EVERY: Duration = Duration::from_millis(10);
    // A response that crosses with the first probe is no early one: then nothing is known.
    for _ in 0..5 {
        lab.stop()?;
        let instance = lab.establish()?.instance;
        lab.stop()?;
        lab.pass(Duration::from_millis(1500));
        let mark = lab.peer.mark();
        let mut left = lab.launch(&Lab::wanted())?;
        let probe = |h: &Heard| {
            let m = h.query().filter(|m| m.is_probe() && lab.is_mine(h))?;
            m.questions.iter().any(|q| q.name == instance).then_some(h.envelope.at)
        };
        let mut sent = 0;
        let probed = loop {
            if let Some(at) = lab.peer.wait(mark, EVERY, probe) {
                break at;
            }
            lab.peer.send(Route::GROUP, &Message::response(&[rival_srv(&instance)]))?;
            left = Stamp::read();
            sent += 1;
            require!(sent < 1500, "no probe within 15 s");
        };
        if left.since(probed) > Duration::ZERO {
            continue;
        }
        let announced = lab.facts_since(mark)?.instance;
        require!(
            announced == instance,
            "{sent} responses before the first probe: renamed to {announced}"
        );
        return Ok(Outcome::Pass);
    }
    Ok(Outcome::Fail("in each of five starts a response crossed with the first probe".to_owned()))
}

fn rate_limit(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let mark = lab.peer.mark();
    lab.launch(&Lab::wanted())?;
    let tries = deny_all(lab, mark, Duration::from_secs(40))?;
    require!(tries.len() > 1, "{} probes were answered", tries.len());
    for window in tries.windows(16) {
        let (first, fifteenth, next) = (window[0], window[14], window[15]);
        if fifteenth.since(first) < Duration::from_secs(10) {
            let gap = next.since(fifteenth);
            require!(gap >= Duration::from_millis(4900), "try 16 came {gap:?} after conflict 15");
        }
    }
    Ok(Outcome::Pass)
}

/// Denies every probed instance for `window` and returns when each was probed first.
fn deny_all(
    lab: &Lab<'_>,
    mark: crate::wire_peer::Mark,
    window: Duration,
) -> Result<Vec<Stamp>, Error> {
    let (service, mut tries, mut failed) = (lab.service(), Vec::new(), None);
    let ended: Option<()> = lab.peer.wait(mark, window, |h| {
        let m = h.query().filter(|m| m.is_probe() && lab.is_mine(h))?;
        for q in m.questions.iter().filter(|q| q.name.parent() == service) {
            let denial = Message::response(&[rival_srv(&q.name)]);
            if let Err(error) = lab.peer.send(Route::GROUP, &denial) {
                failed.get_or_insert(error);
            }
            tries.push(h.envelope.at);
        }
        None
    });
    match (failed, ended) {
        (Some(error), _) => Err(error),
        (None, _) => Ok(tries),
    }
}

fn no_needless_probes(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let (_, questions) = probe_questions(lab)?;
    require!(!questions.is_empty(), "no probes");
    let shared = |n: &Name| n.0.first().is_some_and(|l| l.starts_with(b"_"));
    let reverse = |n: &Name| n.0.iter().any(|l| l == b"in-addr" || l == b"ip6");
    let odd = questions.iter().find(|q| shared(&q.name) || reverse(&q.name));
    require!(odd.is_none(), "a probe for {}", odd.map_or_else(String::new, |q| q.name.to_string()));
    Ok(Outcome::Pass)
}

fn link_cycle(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    lab.subject_host().namespace.set_down(Host::INTERFACE)?;
    lab.pass(Duration::from_millis(1500));
    let mark = lab.peer.mark();
    lab.subject_host().namespace.set_up(Host::INTERFACE)?;
    let heard = lab.listen(mark, Duration::from_secs(9));
    let at = found!(announced_at(&heard, &facts.instance), "no announcement within 9 s of link up");
    let probes = probes_for(&heard, &facts.instance);
    require!(probes.iter().any(|(p, _)| *p < at), "announced without a probe after link up");
    Ok(Outcome::Pass)
}

fn defence(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let mut delays = Vec::new();
    for unicast in [true, false, true] {
        let question = Question { unicast, ..Question::new(&facts.instance, rtype::ANY) };
        let mine = Record { flush: false, ..rival_srv(&facts.instance) };
        let probe = Message { authorities: vec![mine], ..Message::ask(&question) };
        let reply = lab.ask(Route::GROUP, &probe, &question, Duration::from_millis(1500))?;
        let reply = found!(reply, "a {} probe was not answered", if unicast { "QU" } else { "QM" });
        let to_group = reply.heard.is_multicast();
        require!(
            !unicast || !to_group,
            "a QU probe was answered by multicast after {:.1} ms",
            reply.ms()
        );
        delays.push(reply.after);
        // RFC 6762 §6: in defence a record may be multicast every 250 ms.
        lab.pass(Duration::from_millis(300));
    }
    let quick = delays.iter().filter(|d| **d < Duration::from_millis(10)).count();
    require!(quick >= 2, "answered after {}", list_ms(&delays));
    Ok(Outcome::Pass)
}

fn endless_denial(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let mark = lab.peer.mark();
    lab.launch(&Lab::wanted())?;
    let tries = deny_all(lab, mark, Duration::from_secs(75))?;
    require!(tries.len() > 1, "{} probes were answered", tries.len());
    let output = lab.running()?.output();
    let told = output
        .lines()
        .any(|l| l.contains("name") || l.contains("onflict") || l.contains("ollision"));
    require!(told, "nothing about a missing name in its log: {output:?}");
    Ok(Outcome::Pass)
}
