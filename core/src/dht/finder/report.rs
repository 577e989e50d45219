//! What a search did and what came of it, for people.

use core::fmt;

use super::bootstrap::{Bootstrap, Reach};
use crate::dht::swarm::Failure;
use crate::identity::PeerId;

/// Counts of one search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Peers that were asked.
    pub asked: u16,
    /// Peers that answered.
    pub answered: u16,
    /// Peers that could not be reached, or did not answer.
    pub failed: u16,
    /// Records that were read.
    pub records: u16,
    /// Of those, accepted ones.
    pub accepted: u16,
    /// Records that were too long to be one of ours.
    pub oversized: u16,
    /// Providers that were named, those named twice counted twice.
    pub providers: u16,
    /// Providers that were asked for their own record.
    pub dialled: u16,
}

/// What a search did and what came of it. Its [`Display`](fmt::Display) is one line for each step; the last one
/// says why nothing was found, if so.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    pub(super) bootstraps: &'a [Bootstrap],
    pub(super) counts: Counts,
    pub(super) last_failure: Option<&'a (Option<PeerId>, Failure)>,
    pub(super) over: bool,
    pub(super) out_of_time: bool,
}

/// Why a search found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// There is nobody to begin with.
    NoBootstrap,
    /// No bootstrap peer could be reached, or none answered.
    NoneReached,
    /// Peers were asked and none has a record.
    NoRecord,
    /// There were records, and each was refused; the candidates say why.
    AllRefused,
}

impl Report<'_> {
    /// The peers the search began with.
    #[must_use]
    pub const fn bootstraps(&self) -> &[Bootstrap] {
        self.bootstraps
    }

    /// Counts.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether the search is over.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Whether any node of the DHT was reached.
    #[must_use]
    pub fn was_anybody_reached(&self) -> bool {
        let reached = |one: &Bootstrap| matches!(one.reach, Reach::Reached(_) | Reach::Answered(_));
        self.counts.answered > 0 || self.bootstraps.iter().any(reached)
    }

    /// Why nothing was found; `None` when something was.
    #[must_use]
    pub fn nothing(&self) -> Option<Nothing> {
        if self.counts.accepted > 0 {
            None
        } else if self.bootstraps.is_empty() {
            Some(Nothing::NoBootstrap)
        } else if self.counts.answered == 0 {
            Some(Nothing::NoneReached)
        } else if self.counts.records == 0 {
            Some(Nothing::NoRecord)
        } else {
            Some(Nothing::AllRefused)
        }
    }
}

/// So many of something.
struct Of(u16, &'static str);

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, noun) = self;
        write!(f, "{count} {noun}{}", if *count == 1 { "" } else { "s" })
    }
}

impl fmt::Display for Nothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoBootstrap => "no peer to begin with; name one with --bootstrap",
            Self::NoneReached => {
                "no bootstrap peer answered; check their addresses and that this network leads there"
            }
            Self::NoRecord => {
                "no peer has a record; check channel and architecture, and that a provider publishes into this DHT"
            }
            Self::AllRefused => "every record was refused; --explain lists the reasons",
        })
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for bootstrap in self.bootstraps.iter().filter(|one| one.reach != Reach::Waiting) {
            writeln!(f, "{bootstrap}")?;
        }
        let Counts { asked, answered, failed, .. } = self.counts;
        let asked = Of(asked, "peer");
        writeln!(f, "asked {asked}: {answered} answered, {failed} did not")?;
        if let Some((peer, failure)) = self.last_failure {
            match peer {
                Some(peer) => writeln!(f, "the last one that did not: {peer} {failure}")?,
                None => writeln!(f, "the last one that did not: {failure}")?,
            }
        }
        let Counts { providers, dialled, .. } = self.counts;
        if providers > 0 {
            let providers = Of(providers, "provider");
            writeln!(f, "{providers} named, {dialled} asked for their own record")?;
        }
        let Counts { records, accepted, oversized, .. } = self.counts;
        write!(f, "{}, {accepted} accepted", Of(records, "record"))?;
        if oversized > 0 {
            write!(f, ", {oversized} too long")?;
        }
        if self.out_of_time {
            f.write_str("\nthe time was over before every peer was asked")?;
        }
        match self.nothing().filter(|_| self.over) {
            Some(nothing) => write!(f, "\n{nothing}"),
            None => Ok(()),
        }
    }
}
