//! What is told of one candidate, as JSON and in words.

use std::net::IpAddr;
use std::time::Duration;

use phase_core::client::{Candidate, Source};
use phase_core::escape::Escaped;
use phase_core::select::{Refusal, TrustClass};
use phase_core::wire::record::{Arch, Channel};
use phase_core::wire::unix_time;
use serde::Serialize;

use crate::cli::text::escape_json;
use crate::discovery::Discovery;

/// One candidate. What is not known is `null`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Report {
    /// With `--watch`: what happened to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<Happening>,
    pub(crate) url: Option<String>,
    pub(crate) peer_id: Option<String>,
    pub(crate) provider_name: Option<String>,
    channel: String,
    arch: String,
    pub(crate) version: Option<String>,
    seq: Option<u64>,
    source: &'static str,
    pub(crate) trust: Option<String>,
    pub(crate) accepted: bool,
    /// The stable code of a refusal.
    pub(crate) reason: Option<&'static str>,
    /// The same in words.
    explanation: Option<String>,
    pub(crate) rtt_ms: Option<f64>,
    pub(crate) elapsed_ms: Option<f64>,
    last_updated: Option<String>,
    ttl: Option<u32>,
    digest: Option<String>,
    expired: bool,
    interface: Option<String>,
    remote: IpAddr,
    /// The node of the DHT that had it.
    responder: Option<String>,
    instance: String,
}

/// What happened to a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Happening {
    Found,
    Changed,
    Lost,
}

impl Happening {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Changed => "changed",
            Self::Lost => "lost",
        }
    }
}

impl Report {
    pub(crate) fn new(
        discovery: &Discovery,
        candidate: &Candidate,
        channel: &Channel,
        arch: &Arch,
    ) -> Self {
        let advert = candidate.advert();
        let verdict = candidate.verdict();
        let refusal = verdict.err();
        Self {
            event: None,
            url: candidate.url().map(ToString::to_string),
            peer_id: candidate.peer().map(ToString::to_string),
            provider_name: candidate.name().map(ToOwned::to_owned),
            channel: channel.to_string(),
            arch: arch.to_string(),
            version: candidate.version().map(ToOwned::to_owned),
            seq: advert.map(|advert| advert.seq),
            source: match candidate.source() {
                Source::Lan(_) => "lan",
                Source::Dht { direct: true, .. } => "direct",
                Source::Dht { direct: false, .. } => "dht",
            },
            trust: verdict.ok().map(|accepted| accepted.class.to_string()),
            accepted: verdict.is_ok(),
            reason: refusal.map(Refusal::code),
            explanation: refusal.map(explain),
            rtt_ms: candidate.rtt().map(milliseconds),
            elapsed_ms: discovery.elapsed_of(candidate.id()).map(milliseconds),
            last_updated: advert
                .and_then(|advert| unix_time::encode(advert.issued))
                .map(|text| text.to_string()),
            ttl: advert.map(|advert| advert.ttl),
            digest: advert.and_then(|advert| advert.digest).map(|digest| digest.to_string()),
            expired: verdict.is_ok_and(|accepted| accepted.stale),
            interface: discovery.interface_of(candidate).map(ToOwned::to_owned),
            remote: candidate.remote().ip(),
            responder: match candidate.source() {
                Source::Lan(_) => None,
                Source::Dht { responder, .. } => Some(responder.to_string()),
            },
            instance: candidate.instance().to_owned(),
        }
    }

    /// Whether nothing but times differs.
    pub(crate) fn says_the_same_as(&self, other: &Self) -> bool {
        let timeless =
            |report: &Self| Self { event: None, rtt_ms: None, elapsed_ms: None, ..report.clone() };
        timeless(self) == timeless(other)
    }

    pub(crate) fn is_unpinned(&self) -> bool {
        self.trust.as_deref() == Some(TrustClass::SelfSigned.to_string().as_str())
    }

    /// One line of JSON.
    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self).map(|json| escape_json(&json))
    }

    /// The cells of a table.
    pub(crate) fn cells(&self) -> [String; COLUMNS] {
        let text = |value: &Option<String>| match value {
            Some(value) => Escaped(value).to_string(),
            None => "-".to_owned(),
        };
        let rtt = self.rtt_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
        let mut trust = text(&self.trust);
        if self.expired {
            trust.push_str(", expired");
        }
        [
            text(&self.url),
            self.source.to_owned(),
            text(&self.version),
            trust,
            rtt,
            text(&self.provider_name),
            text(&self.peer_id),
        ]
    }

    /// One line that says why it was refused: code, who, where, what to do.
    pub(crate) fn refusal(&self) -> Option<String> {
        let (code, explanation) = (self.reason?, self.explanation.as_ref()?);
        let who = self.peer_id.as_ref().unwrap_or(&self.instance);
        let mut line = format!("{code} {}", Escaped(who));
        if let Some(url) = &self.url {
            line.push_str(&format!(" at {}", Escaped(url)));
        } else {
            line.push_str(&format!(" at {}", self.remote));
        }
        if let Some(responder) = &self.responder {
            line.push_str(&format!(" (from {responder})"));
        }
        line.push_str(&format!(": {}", Escaped(explanation)));
        Some(line)
    }
}

/// The number of columns of [`HEADINGS`].
pub(crate) const COLUMNS: usize = 7;

/// The headings of a table.
pub(crate) const HEADINGS: [&str; COLUMNS] =
    ["URL", "FROM", "VERSION", "TRUST", "RTT", "PROVIDER", "PEER ID"];

/// The text of a refusal without its code.
fn explain(refusal: &Refusal) -> String {
    let text = refusal.to_string();
    let code = refusal.code();
    text.strip_prefix(code).unwrap_or(&text).trim_start_matches([' ', ':']).to_owned()
}

fn milliseconds(duration: Duration) -> f64 {
    // Microseconds are what the clock gives; more digits would be noise.
    let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1e3
}
