//! What is told of one candidate, as JSON and in words.

use std::fmt::Display;
use std::time::Duration;

use phase_core::client::{Candidate, Source};
use phase_core::escape::Escaped;
use phase_core::select::Refusal;
use phase_core::wire::record::{Arch, Channel};

use super::text::{Millis, Object};

/// One candidate, with what it was looked for by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report<'a> {
    pub(super) candidate: &'a Candidate,
    pub(super) channel: &'a Channel,
    pub(super) arch: &'a Arch,
    /// When it was found, since the start.
    pub(super) found_at: Option<Duration>,
}

impl Report<'_> {
    /// One line of JSON. What is not known is `null`.
    pub(super) fn to_json(self) -> String {
        let Self { candidate, channel, arch, found_at } = self;
        let verdict = candidate.verdict();
        let text = |value: Option<&dyn Display>| value.map(ToString::to_string);
        let url = text(candidate.url().map(|url| url as _));
        let peer = text(candidate.peer().map(|peer| peer as _));
        let trust = text(verdict.ok().map(|accepted| &accepted.class as _));
        let seq = candidate.advert().map(|advert| advert.seq);
        let (rtt, elapsed) = (candidate.rtt().map(Millis), found_at.map(Millis));
        Object::default()
            .string("url", url.as_deref())
            .string("peer_id", peer.as_deref())
            .string("provider_name", candidate.name())
            .string("channel", Some(channel.as_str()))
            .string("arch", Some(arch.as_str()))
            .string("version", candidate.version())
            .plain("seq", seq.as_ref().map(|seq| seq as _))
            .string("source", Some(self.source()))
            .string("trust", trust.as_deref())
            .plain("accepted", Some(&verdict.is_ok()))
            .string("reason", verdict.err().map(Refusal::code))
            .plain("rtt_ms", rtt.as_ref().map(|ms| ms as _))
            .plain("elapsed_ms", elapsed.as_ref().map(|ms| ms as _))
            .line()
    }

    /// One line in words.
    pub(super) fn to_line(self) -> String {
        let candidate = self.candidate;
        let url = candidate.url().map(ToString::to_string).unwrap_or_default();
        let peer = candidate.peer().map_or_else(|| "-".to_owned(), ToString::to_string);
        let trust = match candidate.verdict() {
            Ok(accepted) if accepted.stale => format!("{}, expired", accepted.class),
            Ok(accepted) => accepted.class.to_string(),
            Err(refusal) => refusal.code().to_owned(),
        };
        let version = candidate.version().unwrap_or("-");
        format!("{}  {}  {}  {trust}  {peer}\n", Escaped(&url), self.source(), Escaped(version))
    }

    /// Why it was refused: code, reason, who, where.
    pub(super) fn refusal(self) -> Option<String> {
        let refusal = self.candidate.verdict().err()?;
        let who = self.candidate.peer().map(ToString::to_string);
        let who = who.as_deref().unwrap_or_else(|| self.candidate.instance());
        let place = match self.candidate.url() {
            Some(url) => url.to_string(),
            None => self.candidate.remote().ip().to_string(),
        };
        Some(format!("{} at {}: {refusal}", Escaped(who), Escaped(&place)))
    }

    pub(super) const fn source(&self) -> &'static str {
        match self.candidate.source() {
            Source::Lan(_) => "lan",
            Source::Dht { direct: true, .. } => "direct",
            Source::Dht { direct: false, .. } => "dht",
        }
    }
}
