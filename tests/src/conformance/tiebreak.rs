//! Rows P11 to P13: two hosts probing for one name at the same time. Spec: RFC 6762 §8.2.

use std::time::Duration;

use super::lab::{Facts, Lab, SECOND_PASSED};
use super::probing::{next_probed_instance, probes_for};
use super::{Outcome, declare, found, require};
use crate::Error;
use crate::wire_peer::message::rtype;
use crate::wire_peer::{Data, Message, Name, Question, Record, Route, Stamp};

declare! { Responder:
    "P11", "8.2", Must, "the later record wins, compared as unsigned octets with names in full", comparison;
    "P12", "8.2", Must, "the loser waits a second and probes for the same name again", loser_waits;
    "P13", "8.2.1", Must, "identical lists are no conflict; a list with leftovers wins", lists;
}

/// More than the rest of an undisturbed probing after its first probe (750 ms), less than a deferral.
const UNDISTURBED: Duration = Duration::from_millis(1200);

/// What happened after another host's probe.
struct Course {
    first: Name,
    last: Facts,
    probes: Vec<Stamp>,
    announced: Duration,
}

impl Course {
    fn was_deferred(&self) -> bool {
        self.announced > UNDISTURBED
    }

    fn text(&self) -> String {
        let ms = self.announced.as_millis();
        format!(
            "announced as {} {ms} ms after its first probe, {} probes",
            self.last.instance,
            self.probes.len()
        )
    }
}

/// Starts the subject, answers its first probe for the instance with the probe that `rival` makes of it, and
/// watches until it announces.
fn contend(
    lab: &mut Lab<'_>,
    rival: impl Fn(&Name, &Message) -> Vec<u8>,
) -> Result<Option<Course>, Error> {
    lab.stop()?;
    lab.pass(SECOND_PASSED);
    let mark = lab.peer.mark();
    lab.launch(&Lab::wanted())?;
    let Some(first) = next_probed_instance(lab, mark) else { return Ok(None) };
    let heard = lab.listen(mark, Duration::ZERO);
    let Some((at, probe)) = probes_for(&heard, &first).into_iter().next() else { return Ok(None) };
    lab.peer.send_octets(Route::GROUP, &rival(&first, &probe))?;
    let last = lab.facts_since(mark)?;
    let heard = lab.listen(mark, Duration::ZERO);
    let probes = probes_for(&heard, &first).iter().map(|(at, _)| *at).collect();
    let announced = heard
        .iter()
        .find(|h| h.response().is_some_and(|m| m.find(&last.instance, rtype::SRV).is_some()));
    let announced = announced.map_or(Duration::ZERO, |h| h.envelope.at.since(at));
    Ok(Some(Course { first, last, probes, announced }))
}

/// The records that `probe` proposes at `name`.
fn proposals(name: &Name, probe: &Message) -> Vec<Record> {
    probe.authorities.iter().filter(|r| r.name == *name).cloned().collect()
}

/// A probe for `name` with a TXT record whose first octet is 200: later than any text of the subject, but only
/// for those who compare unsigned octets.
fn later_text(name: &Name, probe: &Message) -> Vec<u8> {
    let mut records = proposals(name, probe);
    let mut long = vec![200_u8];
    long.extend([b'z'; 200]);
    for record in records.iter_mut().filter(|r| r.rtype == rtype::TXT) {
        record.data = Data::Txt(long.clone());
    }
    let message = Message::query(&[Question::new(name, rtype::ANY)]);
    Message { authorities: records, ..message }.encode()
}

/// The subject's own records but for a SRV target that is earlier in full and later when its compressed
/// octets are compared.
fn earlier_target(name: &Name, probe: &Message) -> Vec<u8> {
    let target = Name::new("a.local");
    let mut records = proposals(name, probe);
    for record in &mut records {
        if let Data::Srv(.., old) = &mut record.data {
            *old = target.clone();
        }
    }
    let questions = [Question::new(&target, rtype::ANY), Question::new(name, rtype::ANY)];
    Message { authorities: records, ..Message::query(&questions) }.encode_compressed()
}

fn comparison(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let course = found!(contend(lab, later_text)?, "no probe for an instance");
    require!(
        course.was_deferred() || course.first != course.last.instance,
        "lost with 9 against 200 octets, yet {}",
        course.text()
    );
    let course = found!(contend(lab, earlier_target)?, "no probe for an instance");
    require!(
        !course.was_deferred() && course.first == course.last.instance,
        "won with the later target, yet {}",
        course.text()
    );
    Ok(Outcome::Pass)
}

fn loser_waits(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let course = found!(contend(lab, later_text)?, "no probe for an instance");
    require!(
        course.first == course.last.instance,
        "renamed after one lost tie-break: {}",
        course.text()
    );
    let gaps: Vec<_> = course.probes.windows(2).map(|w| w[1].since(w[0])).collect();
    let wait = gaps.iter().max().copied().unwrap_or_default();
    require!(
        wait >= Duration::from_millis(950),
        "longest wait between probes {wait:?}: {}",
        course.text()
    );
    Ok(Outcome::Pass)
}

fn lists(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let echo = |_: &Name, probe: &Message| probe.encode();
    let course = found!(contend(lab, echo)?, "no probe for an instance");
    require!(
        !course.was_deferred() && course.first == course.last.instance,
        "its own probe echoed: {}",
        course.text()
    );
    let more = |name: &Name, probe: &Message| {
        let mut records = proposals(name, probe);
        records.push(Record::raw(name, 4711, 120, b"more"));
        Message { authorities: records, ..Message::query(&[Question::new(name, rtype::ANY)]) }
            .encode()
    };
    let course = found!(contend(lab, more)?, "no probe for an instance");
    require!(
        course.was_deferred() || course.first != course.last.instance,
        "the other list had one record more, yet {}",
        course.text()
    );
    Ok(Outcome::Pass)
}
