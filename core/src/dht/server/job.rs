//! One thing the node is at: a lookup, and what is given to the peers it found.

use heapless::Vec;

use crate::connection::Tag;
use crate::identity::PeerId;
use crate::kad::query::{Config, Query};
use crate::kad::{Contact, K, Key};
use crate::limits::{BOOTSTRAPS, LOOKUP_CANDIDATES};
use crate::time::{Deadline, Instant};
use crate::wire::record::KEY_MAX;

/// What a job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The routing table: look for peers close to ourselves, beginning with the bootstraps, or in a bucket.
    Table {
        /// It is ourselves that we look for.
        own: bool,
    },
    /// A publication, by its place.
    Advert {
        /// The place.
        at: usize,
        /// How far it is.
        stage: Stage,
    },
}

/// The parts of a publication, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The record under the base key.
    Base,
    /// The provider record under the base key's multihash.
    Provider,
    /// The record under our sub-key.
    SubKey,
}

impl Stage {
    /// The key of the record that the stage puts, if it puts one.
    pub(super) const fn under(self) -> Option<Under> {
        match self {
            Self::Base => Some(Under::Base),
            Self::Provider => None,
            Self::SubKey => Some(Under::SubKey),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The lookup.
    Walk,
    /// The closest peers are given something.
    Push,
}

/// What is under way. Kept in an array, so it is all there all the time.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) kind: Kind,
    pub(super) phase: Phase,
    pub(super) query: Query<LOOKUP_CANDIDATES>,
    /// What requests carry: the octets whose point is looked for.
    pub(super) preimage: Vec<u8, KEY_MAX, u8>,
    /// Bootstraps still to be asked.
    pub(super) bootstraps: Vec<u8, BOOTSTRAPS, u8>,
    pub(super) targets: Vec<Contact, K, u8>,
    /// Targets that were given it.
    pub(super) next: usize,
    /// Peers that took it, of this stage.
    pub(super) taken: usize,
    /// Peers that took what the stages before gave, and the first of them: records, then provider records.
    pub(super) records: usize,
    pub(super) providers: usize,
    /// Peers that were given something at all.
    pub(super) given: usize,
}

impl Job {
    /// A job for the peers closest to `preimage`.
    pub(super) fn new(kind: Kind, own: PeerId, preimage: &[u8]) -> Self {
        Self {
            kind,
            phase: Phase::Walk,
            query: Query::new(Key::of(preimage), Some(own), Config::default()),
            preimage: preimage.iter().copied().take(KEY_MAX).collect(),
            bootstraps: Vec::new(),
            targets: Vec::new(),
            next: 0,
            taken: 0,
            records: 0,
            providers: 0,
            given: 0,
        }
    }

    /// Goes on with another lookup.
    pub(super) fn restart(&mut self, kind: Kind, own: PeerId, preimage: &[u8]) {
        let seeds = core::mem::take(&mut self.targets);
        *self = Self {
            records: self.records,
            providers: self.providers,
            given: self.given,
            ..Self::new(kind, own, preimage)
        };
        for contact in &seeds {
            self.query.seed(contact);
        }
    }

    /// The place of the publication that this job is for.
    pub(super) const fn advert(&self) -> Option<usize> {
        match self.kind {
            Kind::Table { .. } => None,
            Kind::Advert { at, .. } => Some(at),
        }
    }
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A step of the lookup of a job; of this bootstrap, if it is one.
    Walk { job: usize, bootstrap: Option<u8> },
    /// To store the job's record.
    Put { job: usize },
    /// To note us as provider of the job's key.
    Provide { job: usize },
    /// The same under the raw key; nothing depends on it.
    ProvideRaw { job: usize },
    /// To see what is held in the place of a record of a publication.
    Audit { at: usize, under: Under },
    /// To store that record again.
    Repair { at: usize, under: Under },
    /// To see whether a peer is there.
    Probe,
    /// To see whether a peer that connected to us can be dialled where it says.
    DialBack,
}

impl Purpose {
    /// The job it belongs to.
    pub(super) const fn job(&self) -> Option<usize> {
        match self {
            Self::Walk { job, .. }
            | Self::Put { job }
            | Self::Provide { job }
            | Self::ProvideRaw { job } => Some(*job),
            Self::Audit { .. } | Self::Repair { .. } | Self::Probe | Self::DialBack => None,
        }
    }

    /// The publication it belongs to by itself.
    pub(super) const fn publication(&self) -> Option<usize> {
        match self {
            Self::Audit { at, .. } | Self::Repair { at, .. } => Some(*at),
            Self::Walk { .. }
            | Self::Put { .. }
            | Self::Provide { .. }
            | Self::ProvideRaw { .. }
            | Self::Probe
            | Self::DialBack => None,
        }
    }
}

/// The key of one of a publication's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Under {
    /// The key that all providers of the image share.
    Base,
    /// The one that is ours alone.
    SubKey,
}

impl Under {
    pub(super) const ALL: [Self; 2] = [Self::Base, Self::SubKey];
}

/// What an answer had in the place of a record of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No record.
    Nothing,
    /// Ours, or that of another provider: both are right.
    Good,
    /// Something that is no advert for this key, or an older one of ours.
    Bad,
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) tag: Tag,
    /// Whom it went to; `None`: whoever is at a bootstrap's address.
    pub(super) peer: Option<PeerId>,
    pub(super) purpose: Purpose,
    pub(super) found: Found,
    /// When another may be asked beside.
    pub(super) slow_at: Deadline,
}

impl Call {
    /// After this long without an answer another peer is asked beside.
    pub(super) const SLOW: core::time::Duration = core::time::Duration::from_secs(1);

    pub(super) fn new(now: Instant, tag: Tag, peer: Option<PeerId>, purpose: Purpose) -> Self {
        let slow_at = Deadline::new(now + Self::SLOW);
        Self { tag, peer, purpose, found: Found::Nothing, slow_at }
    }
}
