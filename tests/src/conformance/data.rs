//! Rows D1 to D10: what DNS-SD asks of names and TXT records. Spec: RFC 6763 §4 to §7.

use super::lab::Lab;
use super::{Outcome, declare, found, require};
use crate::Error;
use crate::netns::Host;
use crate::subject::Wanted;
use crate::wire_peer::message::{rtype, txt_strings};
use crate::wire_peer::{Data, Heard, Message};

declare! { Responder:
    "D1", "SD 4.1.1, 4.3", Must, "an instance name is one label, dots and spaces kept", one_label;
    "D2", "SD 4.1.1", Should, "the default name is readable, without hardware addresses", default_name;
    "D3", "SD 6.1", Must, "one TXT record for every instance, with at least one string", one_text;
    "D4", "SD 6.2", Should, "a TXT record has at most 1300 octets", text_size;
    "D5", "SD 6.3", Must, "host and port are not repeated in the TXT record", no_repetition;
    "D6", "SD 6.4", Must, "keys are 1 to 9 printable ASCII characters without =, each once", keys;
    "D7", "SD 6.5", Must, "values are not quoted", values;
    "D8", "SD 6.7", Should, "txtvers comes first", version_first;
    "D9", "SD 7.2", Must, "the service name has at most 15 characters, under _tcp", service_name;
    "D10", "SD 5", Must, "SRV priority and weight are 0 for a single server", srv;
}

fn one_label(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish_as(&Wanted::new("Bob's v1.2 (stable)", &[("stable", "arm64")]))?;
    let label = facts.instance.first();
    require!(label.starts_with("Bob's v1.2 (stable)"), "the label is {label:?}");
    let reply = found!(
        lab.ask_group(&facts.instance, rtype::SRV)?,
        "a question about {label:?} is not answered"
    );
    let name = reply.message.answer(&facts.instance, rtype::SRV).map(|r| r.name.clone());
    require!(
        name.is_some_and(|n| n.is_identical(&facts.instance)),
        "the answer spells the name differently"
    );
    Ok(Outcome::Pass)
}

fn default_name(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    if lab.subject.name() != "phase" {
        return Ok(Outcome::NotApplicable("its user chooses every name".into()));
    }
    let facts = lab.establish_as(&Wanted::new("", &[("stable", "arm64")]))?;
    let label = facts.instance.first();
    let link = lab.subject_host().namespace.ip(&["-o", "link", "show", "dev", Host::INTERFACE])?;
    let mac =
        link.split("link/ether ").nth(1).and_then(|t| t.split(' ').next()).unwrap_or_default();
    let lower = label.to_ascii_lowercase();
    let has_mac = lower.contains(mac) || lower.contains(&mac.replace(':', ""));
    require!(!has_mac && !mac.is_empty(), "the default label {label:?} has the hardware address");
    let readable = label
        .split(' ')
        .next()
        .is_some_and(|w| w.len() > 1 && !w.bytes().all(|b| b.is_ascii_hexdigit()));
    require!(readable, "the default label {label:?} does not start with a word");
    Ok(Outcome::Pass)
}

/// The strings of the default instance's TXT record; `None` when it cannot be read.
fn strings(lab: &mut Lab<'_>) -> Result<Option<Vec<Vec<u8>>>, Error> {
    let facts = lab.establish()?;
    let Data::Txt(raw) = &facts.txt.data else { return Ok(None) };
    Ok(txt_strings(raw))
}

fn one_text(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    for heard in lab.history() {
        let Some(m) = heard.response() else { continue };
        let texts =
            m.records().filter(|r| r.rtype == rtype::TXT && r.name == facts.instance && r.ttl > 0);
        let all: Vec<_> = texts.collect();
        require!(all.len() <= 1, "{} TXT records in a response", all.len());
        let empty = all.iter().any(|r| matches!(&r.data, Data::Txt(raw) if raw.is_empty()));
        require!(!empty, "a TXT record without a string");
    }
    Ok(Outcome::Pass)
}

fn text_size(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let Data::Txt(raw) = &facts.txt.data else { return Ok(Outcome::Fail("no TXT data".into())) };
    require!(raw.len() <= 1300, "{} octets", raw.len());
    Ok(Outcome::Pass)
}

fn no_repetition(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let strings = found!(strings(lab)?, "the TXT record cannot be read");
    let address = lab.subject_host().ipv4.to_string();
    let others = strings.iter().filter(|s| !s.starts_with(b"manifest="));
    let repeated = others.map(|s| String::from_utf8_lossy(s)).find(|s| s.contains(&address));
    require!(repeated.is_none(), "{repeated:?}");
    // Every subject is told to publish this key.
    Ok(Outcome::NotApplicable(
        "`manifest` is an absolute URL in this service, a stated deviation".into(),
    ))
}

fn keys(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let strings = found!(strings(lab)?, "the TXT record cannot be read");
    let mut seen = std::collections::BTreeSet::new();
    for string in &strings {
        let key = string.split(|b| *b == b'=').next().unwrap_or_default();
        let legal = (1..=9).contains(&key.len()) && key.iter().all(|b| (0x20..=0x7e).contains(b));
        require!(legal, "key {:?}", String::from_utf8_lossy(key));
        require!(
            seen.insert(key.to_ascii_lowercase()),
            "key {:?} twice",
            String::from_utf8_lossy(key)
        );
    }
    Ok(Outcome::Pass)
}

fn values(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let strings = found!(strings(lab)?, "the TXT record cannot be read");
    let quoted = strings.iter().find(|s| {
        let value = s.splitn(2, |b| *b == b'=').nth(1).unwrap_or_default();
        value.starts_with(b"\"") || value.starts_with(b"'")
    });
    require!(quoted.is_none(), "{:?}", quoted.map(|s| String::from_utf8_lossy(s)));
    Ok(Outcome::Pass)
}

fn version_first(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let strings = found!(strings(lab)?, "the TXT record cannot be read");
    let first =
        strings.first().map(|s| String::from_utf8_lossy(s).into_owned()).unwrap_or_default();
    require!(first == "txtvers=1", "the first string is {first:?}");
    Ok(Outcome::Pass)
}

fn service_name(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    let facts = lab.establish()?;
    let labels = &facts.instance.0;
    let service = labels.get(1).map(Vec::len).unwrap_or_default();
    require!((2..=16).contains(&service), "service label of {service} octets");
    require!(labels.get(2).is_some_and(|l| l == b"_tcp"), "not under _tcp: {}", facts.instance);
    Ok(Outcome::Pass)
}

fn srv(lab: &mut Lab<'_>) -> Result<Outcome, Error> {
    lab.establish()?;
    let heard = lab.history();
    for r in heard.iter().filter_map(Heard::response).flat_map(Message::records) {
        if let Data::Srv(priority, weight, ..) = r.data {
            require!((priority, weight) == (0, 0), "SRV priority {priority}, weight {weight}");
        }
    }
    Ok(Outcome::Pass)
}
